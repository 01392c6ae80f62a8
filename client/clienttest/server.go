package clienttest

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
)

// ServerOptions say what a Server sells. The zero value is a product like the
// one that the daemon has without a configuration file.
type ServerOptions struct {
	// Product is what the server sells. What is zero in it has the daemon's default:
	// id Product, features as those of Licenses, one machine with three installs,
	// floating seats for 15 minutes, fuzzy binding, a lease of 14 days refreshed
	// daily, 30 days of warning and 15 of grace, three moves a year and one a day,
	// forks reported. A Schedule or Transfers of which anything is set counts as it
	// is; a PerYear of -1 allows no move.
	Product license.Product
	// Clock is the server's, and that of the installs of Options; nil is one that
	// stands still at Epoch, in a bubble NewRunningClock.
	Clock *Clock
}

// Server is a licence server inside the test. Make one with NewServer or
// NewBubbleServer. Its methods may be called from any goroutine, those that can
// fail only from one that runs a test.
type Server struct {
	tb      testing.TB
	clock   *Clock
	machine *Machine
	http    *httptest.Server
	client  *http.Client
	manual  bool // installs do nothing in the background

	mu      sync.Mutex
	book    book
	calls   []*Call
	trouble trouble
	changed chan struct{} // closed when trouble changes
}

// NewServer starts a server on a port of the loopback interface, and stops it
// when the test ends.
func NewServer(tb testing.TB, o ServerOptions) *Server {
	tb.Helper()
	var d net.Dialer
	return newServer(tb, o, nil, d.DialContext)
}

// NewBubbleServer starts a server for a testing/synctest bubble, inside of it;
// tb is the one that the bubble was given. It is reached by Options, or by
// HTTPClient, only.
func NewBubbleServer(tb testing.TB, o ServerOptions) *Server {
	tb.Helper()
	if o.Clock == nil {
		o.Clock = NewRunningClock()
	}
	p := newPipes()
	return newServer(tb, o, p, p.dial)
}

func newServer(tb testing.TB, o ServerOptions, l net.Listener, dial func(context.Context, string, string) (net.Conn, error)) *Server {
	tb.Helper()
	if o.Clock == nil {
		o.Clock = &Clock{}
	}
	s := &Server{tb: tb, clock: o.Clock, machine: NewMachine("machine"), changed: make(chan struct{}), manual: l == nil}
	var err error
	if s.book, err = newBook(productWithDefaults(o.Product), s.clock.Now().Truncate(time.Second)); err != nil {
		tb.Fatalf("clienttest: start a server: %v", err)
	}
	// One connection a call: none is left when a test or a bubble ends.
	s.client = &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	if l == nil {
		s.http = httptest.NewServer(s.handler())
	} else {
		s.http = &httptest.Server{Listener: l, Config: &http.Server{Handler: s.handler(), ReadHeaderTimeout: time.Minute}}
		s.http.Start()
	}
	tb.Cleanup(func() {
		s.Up() // who hangs is let go
		s.http.Close()
		s.client.CloseIdleConnections()
	})
	return s
}

func productWithDefaults(p license.Product) license.Product {
	setDefault(&p.ID, Product)
	setDefault(&p.Machines, 1)
	setDefault(&p.Mode, license.ModeNode)
	setDefault(&p.InstallsPerMachine, 3)
	setDefault(&p.FloatingLease, 15*time.Minute)
	setDefault(&p.Binding, license.PolicyFuzzy)
	setDefault(&p.Forks, license.ForkReport)
	setDefault(&p.Schedule, standard(license.EnforceBlock))
	setDefault(&p.Schedule.Enforcement, license.EnforceBlock)
	setDefault(&p.Transfers, license.TransferPolicy{PerYear: 3, CoolDown: day})
	if p.Features == nil {
		p.Features = Features("export", "projects=10", "edition=gold")
	}
	return p
}

func setDefault[T comparable](v *T, to T) {
	if *v == *new(T) {
		*v = to
	}
}

// Options are those of a new install of the server's product: with Anchors, the
// server's address and clock, a machine, which all its installs share, and a
// folder of its own in tb.TempDir. Change what the test is about: Fingerprint for
// an install on another machine (NewMachine), Now for a clock of its own.
//
// Those of NewServer are Manual, since nothing happens by itself under a clock that
// stands still: the test calls Refresh. Those of NewBubbleServer have a background.
func (s *Server) Options(tb testing.TB) client.Options {
	tb.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	return client.Options{
		Anchors: Anchors(), Product: s.book.product.ID, Server: s.http.URL, StateDir: tb.TempDir(),
		Fingerprint: s.machine.Fingerprint, HTTPClient: s.client, Now: s.clock.Now, Manual: s.manual,
	}
}

// Open opens an install with Options, and closes it when the test ends. Each of
// edit may change the options before.
func (s *Server) Open(tb testing.TB, edit ...func(*client.Options)) *client.Guard {
	tb.Helper()
	o := s.Options(tb)
	for _, e := range edit {
		e(&o)
	}
	g, err := client.Open(tb.Context(), o)
	if err != nil {
		tb.Fatalf("clienttest: open an install: %v", err)
	}
	tb.Cleanup(func() { _ = g.Close() }) // it says nothing that a test could miss
	return g
}

// URL is the server's address.
func (s *Server) URL() string { return s.http.URL }

// HTTPClient reaches the server.
func (s *Server) HTTPClient() *http.Client { return s.client }

// Clock is the server's clock, and that of the installs of Options.
func (s *Server) Clock() *Clock { return s.clock }

// Machine is the machine of the installs of Options.
func (s *Server) Machine() *Machine { return s.machine }
