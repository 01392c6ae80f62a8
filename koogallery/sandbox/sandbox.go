// Package sandbox is a stand-in for the Huawei Cloud marketplace (KooGallery),
// for tests, demonstrations and development without an account. It sells
// products, hands out authorization codes, serves the open API over HTTPS under
// a certificate authority of its own, and calls the merchant's production
// address like the real one: signed afresh for every attempt, repeated every
// two minutes up to 60 times, in order for each code.
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
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// Defaults of Options.
const (
	DefaultAddr          = "127.0.0.1:0"
	DefaultRetryInterval = 2 * time.Minute
	DefaultMaxAttempts   = 60
	DefaultCallTimeout   = 10 * time.Second
)

// Product is something for sale.
type Product struct {
	ID   string `json:"id"`             // productId, 1 to 64 characters
	Name string `json:"name,omitempty"` // for people
}

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
	// localhost, 127.0.0.1, ::1 and the host of Addr.
	Hosts    []string
	Products []Product

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
	// ProbeInterval is the time between two probes, see Probe; 0 means that
	// nothing is probed by itself.
	ProbeInterval time.Duration
	// CallbackTransport replaces the transport of callbacks, so that tests can
	// call a handler in the same process.
	CallbackTransport http.RoundTripper

	// RequireReceive makes Activate fail with 92020004 until Receive was called
	// for the code, as in the supervision flow.
	RequireReceive bool
	// Location is where expiry times on the wire are at home; nil means UTC.
	Location *time.Location
	// Now is the clock for periods, timestamps and the signature window; nil
	// means time.Now.
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

	mu        sync.Mutex
	closed    bool
	server    *http.Server
	url       string
	outage    Outage
	products  map[string]Product
	codes     map[string]*code
	order     []*code // by purchase
	target    *target
	accessKey koogallery.AccessKey
	deliveryState
}

// New checks the options and makes a sandbox. It works at once through its
// methods and Handler; Start makes it listen. Close it in any case.
func New(opts Options) (*Sandbox, error) {
	if err := opts.complete(); err != nil {
		return nil, err
	}
	ca, err := newAuthority(opts.certificateHosts())
	if err != nil {
		return nil, err
	}
	s := &Sandbox{
		opts:      opts,
		ca:        ca,
		done:      make(chan struct{}),
		products:  make(map[string]Product),
		codes:     make(map[string]*code),
		accessKey: opts.Callback.AccessKey,
	}
	s.deliveryState = newDeliveryState()
	for _, p := range opts.Products {
		s.products[p.ID] = p
	}
	if err := s.SetCallback(opts.Callback); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.spawn = func(run func(context.Context)) { s.workers.Go(func() { run(ctx) }) }
	s.handler = s.routes()
	if opts.ProbeInterval > 0 {
		s.spawn(s.probeRegularly)
	}
	return s, nil
}

func (o *Options) complete() error {
	if len(o.Products) == 0 {
		return errors.New("sandbox: no products")
	}
	seen := make(map[string]bool)
	for _, p := range o.Products {
		if p.ID == "" || len(p.ID) > 64 || seen[p.ID] {
			return fmt.Errorf("sandbox: product id %q is empty, longer than 64 or repeated", p.ID)
		}
		seen[p.ID] = true
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
	if host, _, err := net.SplitHostPort(o.Addr); err == nil && host != "" {
		hosts = append(hosts, host)
	}
	return hosts
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
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{s.ca.server}, MinVersion: tls.VersionTLS12},
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
	s.server, s.url = server, "https://"+ln.Addr().String()
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

// URL is the base URL of the open API, "https://127.0.0.1:port"; empty before
// Start.
func (s *Sandbox) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// CAPEM is the certificate of the authority that vouches for the server.
func (s *Sandbox) CAPEM() []byte { return s.ca.pem }

// AccessKeyID is the AK of the open API.
func (s *Sandbox) AccessKeyID() string { return s.opts.AccessKeyID }

// SecretAccessKey is the SK of the open API.
func (s *Sandbox) SecretAccessKey() koogallery.SecretKey { return s.opts.SecretAccessKey }

// ControlToken opens the control API.
func (s *Sandbox) ControlToken() Token { return s.opts.ControlToken }

// AccessKey is the key which signs callbacks at present.
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

func (s *Sandbox) now() time.Time { return s.opts.Now().UTC().Truncate(time.Second) }
