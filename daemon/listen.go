package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/adminapi"
	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/console/buyer"
	"github.com/seed-357fa782/licensed/daemon/internal/httpapi"
	"github.com/seed-357fa782/licensed/daemon/internal/market"
	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/daemon/internal/refusals"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/buildinfo"
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/license"
)

// Names of the listeners.
const (
	publicListener = "public"
	adminListener  = "admin"
	opsListener    = "ops"
)

// server is one listener and what it serves.
type server struct {
	name     string
	listener net.Listener
	http     *http.Server
}

func (s *server) serve() error {
	if err := s.http.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// shutdown waits for requests under way until ctx ends, then breaks them off.
func (s *server) shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("stop %s: %w", s.name, err), s.http.Close())
	}
	return nil
}

// listen binds the listeners.
func (d *Daemon) listen(context.Context) error {
	listener, err := listenTCP("public.listen", d.config.Public.Listen)
	if err != nil {
		return err
	}
	trusted := operation.Proxies(d.config.Public.TrustedProxies)
	if cert := d.settings.cert; cert != nil {
		cert.log = d.log
		listener = tls.NewListener(listener, &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: cert.get, NextProtos: []string{"h2", "http/1.1"},
		})
	}
	off := make(map[string]string)
	for _, entry := range d.settings.entries {
		if !entry.V1 {
			off["/marketplace/"+entry.Name] = entry.Name
		}
	}
	mux, err := d.publicMux()
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	d.serveOn(publicListener, listener, market.V1Off(d.authority, off, operation.Wrap(mux, d.log, trusted)))

	if err := d.listenAdmin(); err != nil {
		return err
	}
	if d.config.Ops.Listen == "" {
		return nil
	}
	ops, err := listenTCP("ops.listen", d.config.Ops.Listen)
	if err != nil {
		return err
	}
	d.serveOn(opsListener, ops, operation.Wrap(d.opsMux(), d.log, nil))
	return nil
}

// publicMux is the table of routes that anybody can reach.
func (d *Daemon) publicMux() (*http.ServeMux, error) {
	mux := http.NewServeMux()
	limit := refusals.New(d.config.Limits.RequestsPerMinute, d.now)
	httpapi.Register(mux, httpapi.Options{
		Authority: d.authority, Version: buildinfo.Version(), Limit: limit,
	})
	for _, entry := range d.settings.entries {
		entry.Authority, entry.Log, entry.SelfTest = d.authority, d.log, d.selfTestMark
		mux.Handle("POST /marketplace/"+entry.Name, market.Callbacks(entry))
		if entry.V1 {
			mux.Handle("GET /marketplace/"+entry.Name, market.CallbacksV1(entry))
		}
	}
	return mux, d.buyersPage(mux, limit)
}

// buyersPage adds /activate to mux, unless it is switched off.
func (d *Daemon) buyersPage(mux *http.ServeMux, limit *refusals.Limiter) error {
	o := d.config.Activate
	if o.Off {
		return nil
	}
	zone, err := config.ParseZone(d.config.TimeZone)
	if err != nil {
		return fmt.Errorf("time_zone: %w", err)
	}
	origin := ""
	if u, err := url.Parse(d.config.Issuer); err == nil && u.Host != "" {
		origin = u.Scheme + "://" + u.Host
	}
	names := make(map[string]string)
	for _, p := range d.config.Products {
		names[p.ID] = p.Name
	}
	pages, err := buyer.New(buyer.Options{
		Authority: d.authority, Limit: limit, Log: d.log, Zone: zone, Secure: d.settings.cert != nil, Origin: origin,
		Title: o.Title, Contact: o.Contact, Mail: o.ContactIsMail(), Products: names,
	})
	if err != nil {
		return err
	}
	pages.Register(mux)
	return nil
}

func (d *Daemon) serveOn(name string, l net.Listener, h http.Handler) {
	s := &server{name: name, listener: l, http: &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      60 * time.Second, // an activation waits for the marketplace
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}}
	d.servers = append(d.servers, s)
	d.closers = append(d.closers, func() error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("close the %s listener: %w", name, err)
		}
		return nil
	})
}

func listenTCP(key, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr) //nolint:noctx // binding does not wait
	if err != nil {
		return nil, fmt.Errorf("%s: listen on %s: %w", key, addr, err)
	}
	return l, nil
}

// listenUnix binds the admin socket for its owner only. A socket that a daemon
// left behind when it was killed is replaced, one that answers is not.
func listenUnix(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&fs.ModeSocket == 0 {
			return nil, fmt.Errorf("admin.socket: %s is there and is not a socket", path)
		}
		switch c, err := net.Dial("unix", path); { //nolint:noctx // local, answers at once
		case err == nil:
			return nil, errors.Join(fmt.Errorf("admin.socket: another daemon serves %s", path), c.Close())
		case !errors.Is(err, syscall.ECONNREFUSED): // only that says that nobody listens
			return nil, fmt.Errorf("admin.socket: %w", err)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("admin.socket: remove a stale socket: %w", err)
		}
	}
	l, err := net.Listen("unix", path) //nolint:noctx // binding does not wait
	if err != nil {
		return nil, fmt.Errorf("admin.socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("admin.socket: %w", err), l.Close())
	}
	return l, nil
}

// readyWithin is how long the store has to answer until the daemon is not ready.
const readyWithin = 5 * time.Second

// opsMux answers whoever watches the daemon.
func (d *Daemon) opsMux() *http.ServeMux {
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, status int, text string) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(text + "\n")) // the watcher may be gone
	}
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { say(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if !d.ready.Load() {
			say(w, http.StatusServiceUnavailable, "not serving")
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
		defer cancel()
		err := d.authority.Ready(ctx)
		if errors.Is(err, license.Clock) { // that has been told
			say(w, http.StatusServiceUnavailable, "the clock is not trusted")
			return
		}
		if errors.Is(err, authority.ErrKeys) { // that has been told
			say(w, http.StatusServiceUnavailable, "the keys at hand are not those in force")
			return
		}
		if errors.Is(err, authority.ErrSigner) {
			d.log.ErrorContext(r.Context(), "not ready", "error", err.Error())
			say(w, http.StatusServiceUnavailable, "the signing key cannot be used")
			return
		}
		if errors.Is(err, authority.ErrStuck) {
			d.log.ErrorContext(r.Context(), "not ready", "error", err.Error())
			say(w, http.StatusServiceUnavailable, "the store makes no changes")
			return
		}
		if err != nil {
			d.log.ErrorContext(r.Context(), "not ready", "error", err.Error())
			say(w, http.StatusServiceUnavailable, "the store does not answer")
			return
		}
		if text := d.probesMissing(r.Context()); text != "" { // the log tells of it once an hour
			say(w, http.StatusServiceUnavailable, text)
			return
		}
		if d.authority.Restoring() {
			say(w, http.StatusOK, "ready, in reconcile mode; see licensectl db reconcile status")
			return
		}
		say(w, http.StatusOK, "ready")
	})
	return mux
}

// status is how the daemon is doing, for the admin API.
func (d *Daemon) status(ctx context.Context) adminwire.Status {
	health := d.ring.Health(d.now())
	set := d.ring.KeySet()
	s := adminwire.Status{
		Version: buildinfo.Version(), Now: d.authority.Now(), StartedAt: d.startedAt, Issuer: set.Issuer,
		Public: d.Addr(), Ops: d.OpsAddr(), Store: d.config.Store, StoreBytes: d.store.Stats().SizeBytes,
		Products: []string{}, Channels: []string{}, TimeZone: d.config.TimeZone, DataDir: d.config.DataDir,
		Keys: adminwire.KeyHealth{
			Seq: set.Seq, ExpiresAt: set.ExpiresAt, Current: health.Current, CurrentUntil: health.CurrentEnd,
			CurrentSince: health.Since, HasNext: health.Next != "", Ahead: health.Ahead, Fault: health.Fault, Warnings: []adminwire.KeyWarning{}, Standbys: health.Standbys, Leftover: health.Leftover,
			AnchorsPresent: append([]string{}, health.AnchorFiles...),
		},
	}
	if due := d.authority.RotateDue(); !due.IsZero() {
		s.Keys.RotateAt = &due
	}
	if warnings, err := d.authority.KeyWarnings(ctx); err == nil {
		s.Keys.Warnings = adminapi.KeyWarnings(warnings)
	}
	clock, err := d.authority.Clock(ctx)
	s.Clock = adminapi.Clock(clock)
	if err == nil {
		err = d.authority.Ready(ctx)
	}
	s.Ready = d.ready.Load() && err == nil
	switch e, ok := errors.AsType[*license.Error](err); {
	case ok:
		s.NotReady = e.Detail
	case err != nil:
		s.NotReady = "the store does not answer"
	}
	if free, total, err := durable.Space(d.config.DataDir); err == nil {
		s.Disk = &adminwire.Disk{Free: free, Total: total}
	}
	for _, p := range d.config.Products {
		s.Products = append(s.Products, p.ID)
	}
	for _, m := range d.config.Marketplaces {
		s.Channels = append(s.Channels, m.Name)
	}
	s.StoreFindings, s.Daemons = d.storeFindings(ctx), adminapi.Daemons(d.authority.Daemons())
	s.Marketplaces, s.Webhooks = d.marketplaces(ctx), d.webhookLines(ctx)
	s.Backups = d.backups.status(d.now())
	if n, err := d.authority.TransfersWaiting(ctx); err == nil {
		s.TransfersWaiting = n
	}
	s.Restore, s.MarksFailing = d.restoreLine(ctx), d.marks.failure()
	if text := d.probesMissing(ctx); s.Ready && text != "" {
		s.Ready, s.NotReady = false, text
	}
	return s
}

// certificate is a certificate that is read again when its files change.
type certificate struct {
	files config.TLS
	now   func() time.Time
	log   *slog.Logger

	mu      sync.Mutex
	checked time.Time
	stamp   [2]time.Time
	cert    *tls.Certificate
}

// get returns the certificate. Files that cannot be read any more are logged,
// and the one at hand is kept.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	const every = 5 * time.Second
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if c.cert != nil && now.Sub(c.checked).Abs() < every {
		return c.cert, nil
	}
	c.checked = now
	stamp := [2]time.Time{modified(c.files.CertFile), modified(c.files.KeyFile)}
	if c.cert != nil && stamp == c.stamp {
		return c.cert, nil
	}
	cert, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		if c.cert == nil {
			return nil, fmt.Errorf("load the certificate: %w", err)
		}
		c.log.Error("the certificate cannot be loaded again; the one before is kept", "error", err.Error())
		return c.cert, nil
	}
	c.cert, c.stamp = &cert, stamp
	return c.cert, nil
}

func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
