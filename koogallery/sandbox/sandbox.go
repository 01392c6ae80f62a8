// Package sandbox is a stand-in for the Huawei Cloud marketplace (KooGallery),
// for tests, demonstrations and development without an account. It sells
// products of all three interfaces, hands out authorization codes, asks for
// instances and licences, serves the open API over HTTPS under a certificate
// authority of its own, and calls the merchant's production address like the
// real one: signed afresh for every attempt, repeated by the published
// schedules, in order for each purchase, and probed.
//
//	s, err := sandbox.New(sandbox.Options{
//		Products: []sandbox.Product{{ID: "OFFI0001", Name: "CAD Pro"}},
//		Callback: sandbox.Callback{URL: "http://127.0.0.1:8080/marketplace/koogallery"},
//	})
//	…
//	if err := s.Start(ctx); err != nil { … }
//	defer s.Close()
//	order, err := s.Buy(ctx, "OFFI0001", 5, 365*24*time.Hour)
//	client, err := koogallery.NewClient(s.ClientOptions())
//	activation, err := client.Activate(ctx, order.Code, time.Time{})
//
// # Tests
//
// The sandbox is the authority: State tells what a purchase is, whatever the
// merchant believes, and what it was told. Misbehaviour makes the sandbox and
// its network go wrong as often as wanted, the same way for the same Seed. With
// Manual nothing happens but in Advance, which moves the clock and makes what
// falls due on the way, one thing after the other:
//
//	s, err := sandbox.New(sandbox.Options{
//		Manual: true, Seed: 7, Now: func() time.Time { return begin }, …
//		CallbackTransport: myHandler, // in this process, with s.Now as its clock
//	})
//	err = s.Advance(ctx, 15*24*time.Hour)
//
// Without Manual it works inside a testing/synctest bubble too. A Scenario is a
// file of such steps.
//
// Everything lives in memory and ends with the process. Where the real
// marketplace's behaviour is not known, the sandbox says in the comment of the
// method what it does instead.
package sandbox

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// Defaults of Options.
const (
	DefaultAddr          = "127.0.0.1:0"
	DefaultRetryInterval = 2 * time.Minute
	DefaultMaxAttempts   = 60
	DefaultCallTimeout   = 10 * time.Second
	DefaultDay           = 24 * time.Hour
)

// Callback says where the merchant is called.
type Callback struct {
	// URL is the production address: https, or http on the loopback. It may
	// have a query of its own. Empty means that the merchant is not called.
	URL string
	// AccessKey signs the calls; zero keeps the present one.
	AccessKey koogallery.AccessKey
	// RootCAs verify the merchant's certificate; nil means the system's.
	RootCAs *x509.CertPool
}

// Options configures a Sandbox. Only Products is required.
type Options struct {
	// Addr is the TCP address to listen on; empty means DefaultAddr, a free
	// port on the loopback.
	Addr string
	// Hosts are further names and addresses for the server certificate, beside
	// localhost, 127.0.0.1, ::1 and the host of Addr. The page answers under the
	// same names and no other. The first stands in URL where Addr is not on the
	// loopback.
	Hosts    []string
	Products []Product

	// CAPEM and CAKeyPEM are the authority of an earlier sandbox, as its methods
	// of these names tell them; a new one when both are empty.
	CAPEM    []byte
	CAKeyPEM koogallery.SecretKey
	// AccessKeyID and SecretAccessKey are the AK/SK of the open API; random
	// when empty.
	AccessKeyID     string
	SecretAccessKey koogallery.SecretKey
	// ControlToken opens the control API; random when zero.
	ControlToken Token

	// Callback is where to call; its AccessKey is random when zero. See
	// SetCallback.
	Callback Callback
	// RetryInterval is the time between two attempts of a callback; 0 means
	// DefaultRetryInterval.
	RetryInterval time.Duration
	// MaxAttempts is how often a callback is tried; 0 means DefaultMaxAttempts.
	MaxAttempts int
	// CallTimeout bounds one attempt; 0 means DefaultCallTimeout.
	CallTimeout time.Duration
	// ProbeInterval is the time between two probes, see Probe and
	// DefaultProbeInterval; 0 means that nothing is probed by itself.
	ProbeInterval time.Duration
	// NotifyOrders sends the optional order notification for every order.
	NotifyOrders bool
	// CallbackTransport replaces the transport of callbacks, so that tests can
	// call a handler in the same process.
	CallbackTransport http.RoundTripper

	// RequireReceive makes Activate fail with 92020004 until Receive was called
	// for the code, as in the supervision flow.
	RequireReceive bool
	// NoQueryV2 leaves out the query of several codes, which is not documented:
	// it is then answered like any path that does not exist.
	NoQueryV2 bool
	// Dialect is how the marketplace speaks where its pages leave that open, see
	// SetDialect.
	Dialect Dialect
	// Misbehaviour is what goes wrong, see SetMisbehaviour.
	Misbehaviour Misbehaviour
	// Seed is what misbehaviour is drawn from, and when Manual ids and codes too,
	// so that a run can be told again; 0 means another one each time, see
	// Sandbox.Seed. Nonces, keys and tokens are never drawn from it, nor are ids
	// unless Manual: a merchant that outlives a run must see none of them twice.
	Seed uint64
	// Day is how long a day lasts in the rules that count days: failed probes,
	// and Retention in Lapse. 0 means DefaultDay, a calendar day. Periods of
	// purchases and times on the wire do not follow it.
	Day time.Duration
	// Manual leaves everything that takes time to Advance: no message is sent and
	// nothing is probed by itself, and no goroutine runs.
	Manual bool
	// Sleep pauses where a slow fault wants it; nil means a timer.
	Sleep func(ctx context.Context, d time.Duration) error
	// Location is where expiry times on the wire are at home; nil means UTC.
	Location *time.Location
	// Now is the clock for periods, timestamps and the signature window; nil
	// means time.Now. When Manual, Advance adds to it.
	Now func() time.Time
	// Log learns of calls and deliveries, without codes; nil means nobody.
	Log *slog.Logger
}

// Token opens the control API. It prints as "[redacted]" like any secret.
type Token struct{ koogallery.SecretKey }

// NewToken holds s as a token.
func NewToken(s string) Token { return Token{koogallery.NewSecretKey(s)} }

// What operations refuse, for errors.Is. No error holds a code.
var (
	ErrUnknownCode     = errors.New("sandbox: unknown code")
	ErrUnknownProduct  = errors.New("sandbox: unknown product")
	ErrUnknownDelivery = errors.New("sandbox: unknown delivery")
	ErrState           = errors.New("sandbox: state does not allow this")
	ErrInvalid         = errors.New("sandbox: invalid value")
	ErrExpectation     = errors.New("sandbox: expectation of a scenario not met")
	ErrClosed          = errors.New("sandbox: closed")
)

// Sandbox is the marketplace. It is safe for concurrent use.
type Sandbox struct {
	opts    Options
	ca      *authority
	handler http.Handler
	done    chan struct{}
	workers sync.WaitGroup
	// spawn starts a goroutine which Close cancels and waits for.
	spawn  func(run func(ctx context.Context))
	cancel context.CancelFunc

	offset  atomic.Int64  // nanoseconds by Advance
	turn    chan struct{} // held by Advance
	session string        // what the page's cookies and form tokens are made with

	mu           sync.Mutex
	closed       bool
	server       *http.Server
	url          string
	outage       Outage
	misbehaviour Misbehaviour
	dialect      Dialect
	badOrders    map[string]Fault
	misbehaved   int            // faults since SetMisbehaviour
	calls        map[string]int // of the open API, by kind, and handshakes
	ids          *mathrand.Rand // nil: crypto/rand
	products     map[string]*catalogued
	codes        map[string]*sale // by Ref
	instances    map[string]*sale
	orders       map[string]*orderRecord
	applications map[string]*application // by event
	order        []*sale                 // by purchase
	events       []Event
	lastEvent    int64
	nextProbe    time.Time          // when Manual
	targets      map[string]*target // by product; "" for all others
	accessKey    koogallery.AccessKey
	deliveryState
}

// New checks the options and makes a sandbox. It works at once through its
// methods and Handler; Start makes it listen. Close it in any case.
func New(opts Options) (*Sandbox, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	ca, err := newAuthority(opts.CAPEM, opts.CAKeyPEM, opts.certificateHosts())
	if err != nil {
		return nil, err
	}
	s := &Sandbox{
		opts:         opts,
		ca:           ca,
		done:         make(chan struct{}),
		turn:         make(chan struct{}, 1),
		session:      rand.Text(),
		misbehaviour: opts.Misbehaviour,
		dialect:      opts.Dialect,
		badOrders:    make(map[string]Fault),
		calls:        make(map[string]int),
		products:     make(map[string]*catalogued),
		codes:        make(map[string]*sale),
		instances:    make(map[string]*sale),
		orders:       make(map[string]*orderRecord),
		applications: make(map[string]*application),
		targets:      make(map[string]*target),
		accessKey:    opts.Callback.AccessKey,
	}
	s.deliveryState = newDeliveryState()
	for _, p := range opts.Products {
		s.products[p.ID] = &catalogued{ProductState: ProductState{Product: p}}
	}
	if opts.Manual {
		clock := opts.Now
		s.opts.Now = func() time.Time { return clock().Add(time.Duration(s.offset.Load())) }
	}
	if opts.Seed == 0 {
		s.opts.Seed = mathrand.Uint64N(1<<53) | 1 //nolint:gosec // of misbehaviour; JSON keeps its every digit
	} else if opts.Manual {
		s.ids = s.draws("ids", 0)
	}
	if err := s.SetCallback(opts.Callback); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.spawn = func(run func(context.Context)) { s.workers.Go(func() { run(ctx) }) }
	s.handler = s.routes()
	switch {
	case opts.ProbeInterval > 0 && opts.Manual:
		s.nextProbe = s.opts.Now().Add(opts.ProbeInterval)
	case opts.ProbeInterval > 0:
		s.spawn(s.probeRegularly)
	}
	return s, nil
}

func (o *Options) complete() (err error) {
	if o.Products, err = checkProducts(o.Products); err != nil {
		return err
	}
	if o.Misbehaviour, err = o.Misbehaviour.complete(); err != nil {
		return err
	}
	if o.Dialect, err = o.Dialect.complete(); err != nil {
		return err
	}
	for _, host := range o.Hosts {
		if strings.ContainsFunc(host, notInHost) && net.ParseIP(host) == nil || host == "" || len(host) > 253 {
			return fmt.Errorf("sandbox: host %q is neither a name nor an address, without scheme and port: %w", shorten(host, 64), ErrInvalid)
		}
	}
	if o.Addr == "" {
		o.Addr = DefaultAddr
	}
	if o.AccessKeyID == "" {
		o.AccessKeyID = "AK" + rand.Text()[:18]
	}
	if o.SecretAccessKey.IsZero() {
		o.SecretAccessKey = koogallery.NewSecretKey(rand.Text() + rand.Text())
	}
	if o.Callback.AccessKey.IsZero() {
		o.Callback.AccessKey = koogallery.NewAccessKey(rand.Text())
	}
	if o.ControlToken.IsZero() {
		o.ControlToken = NewToken(rand.Text())
	}
	if o.RetryInterval <= 0 {
		o.RetryInterval = DefaultRetryInterval
	}
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = DefaultMaxAttempts
	}
	if o.CallTimeout <= 0 {
		o.CallTimeout = DefaultCallTimeout
	}
	if o.Day <= 0 {
		o.Day = DefaultDay
	}
	if o.Location == nil {
		o.Location = time.UTC
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the default of the field
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (o *Options) certificateHosts() []string {
	hosts := append([]string{"localhost", "127.0.0.1", "::1"}, o.Hosts...)
	if host, _, err := net.SplitHostPort(o.Addr); err == nil && host != "" && !unspecified(host) {
		hosts = append(hosts, host)
	}
	return hosts
}

func notInHost(r rune) bool {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._"
	return !strings.ContainsRune(allowed, r)
}

func unspecified(host string) bool {
	ip := net.ParseIP(host)
	return ip != nil && ip.IsUnspecified()
}

// baseURL is how a listener is reached: by the name in Addr, or by the first of
// Hosts unless it is on the loopback, and by localhost where it is on every
// address.
func (o *Options) baseURL(ln net.Addr) string {
	host, port, err := net.SplitHostPort(ln.String())
	named, _, _ := net.SplitHostPort(o.Addr)
	switch {
	case err != nil:
		return "https://" + ln.String()
	case named != "" && net.ParseIP(named) == nil: // what it resolves to is not in the certificate
		host = named
	case len(o.Hosts) > 0 && !loopback(host):
		host = o.Hosts[0]
	case unspecified(host):
		host = "localhost"
	}
	return "https://" + net.JoinHostPort(host, port)
}

// Start listens and serves until Close. ctx bounds only the opening of the
// port.
func (s *Sandbox) Start(ctx context.Context) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", s.opts.Addr)
	if err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	server := &http.Server{
		Handler:           s.handler,
		TLSConfig:         &tls.Config{GetCertificate: s.certificate, MinVersion: tls.VersionTLS12},
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      2 * maxWait,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.opts.Log.Handler(), slog.LevelDebug),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.server != nil {
		_ = ln.Close()
		return fmt.Errorf("%w, or started twice", ErrClosed)
	}
	s.server, s.url = server, s.opts.baseURL(ln.Addr())
	s.spawn(func(context.Context) {
		if err := server.ServeTLS(ln, "", ""); !errors.Is(err, http.ErrServerClosed) {
			s.opts.Log.Error("sandbox stopped serving", "error", err)
		}
	})
	return nil
}

// Close stops serving and calling, and waits for everything that runs.
// Callbacks which were not delivered are lost. Closing again does nothing.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	server := s.server
	s.mu.Unlock()
	var err error
	if first {
		close(s.done)
		s.cancel()
		if server != nil {
			err = shutdown(server)
		}
	}
	s.workers.Wait()
	return err
}

func shutdown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err == nil {
		return nil
	}
	return server.Close() // whoever holds a connection open does not hold us
}

// Handler is what Start serves: open API and control API.
func (s *Sandbox) Handler() http.Handler { return s.handler }

// URL is the base URL of the open API, "https://127.0.0.1:port", by a name or
// address that stands in the certificate; empty before Start.
func (s *Sandbox) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// CAPEM is the certificate of the authority that vouches for the server.
func (s *Sandbox) CAPEM() []byte { return s.ca.pem }

// CAKeyPEM is the key of that authority, for Options of a later sandbox.
func (s *Sandbox) CAKeyPEM() koogallery.SecretKey { return s.ca.key }

// AccessKeyID is the AK of the open API.
func (s *Sandbox) AccessKeyID() string { return s.opts.AccessKeyID }

// SecretAccessKey is the SK of the open API.
func (s *Sandbox) SecretAccessKey() koogallery.SecretKey { return s.opts.SecretAccessKey }

// ControlToken opens the control API.
func (s *Sandbox) ControlToken() Token { return s.opts.ControlToken }

// AccessKey is the key which signs callbacks at present, but those to products
// with one of their own.
func (s *Sandbox) AccessKey() koogallery.AccessKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accessKey
}

// ClientOptions configures a koogallery.Client for this sandbox, trusting its
// authority and nobody else. Call it after Start.
func (s *Sandbox) ClientOptions() koogallery.ClientOptions {
	return koogallery.ClientOptions{
		AccessKeyID:     s.opts.AccessKeyID,
		SecretAccessKey: s.opts.SecretAccessKey,
		BaseURLs:        []string{s.URL()},
		RootCAs:         s.ca.pool(),
		Location:        s.opts.Location,
		Now:             s.opts.Now,
	}
}

// text is n upper-case letters and digits, up to 26. The caller holds s.mu.
func (s *Sandbox) text(n int) string {
	if s.ids != nil {
		return randomText(s.ids, n)
	}
	return rand.Text()[:n]
}

func (s *Sandbox) now() time.Time { return s.opts.Now().UTC().Truncate(time.Second) }
