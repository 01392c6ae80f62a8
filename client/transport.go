package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/client/internal/sysproxy"
)

// CAVariable is the environment variable that names a file of further
// certificate authorities where Options.CAFile does not: with it an
// administrator helps a product whose developer did not think of that.
const CAVariable = "LICENSED_CA_FILE"

// Limits of what a call may bring.
const (
	maxHeader = 64 << 10 // bytes of an answer's header, all told
	maxCAFile = 4 << 20  // bytes; all authorities that a system knows are a quarter of a megabyte
)

// dialTimeout is for how long a connection is tried: less than a call, so that
// the second address of a name gets its turn.
const dialTimeout = 15 * time.Second

// transport is what calls go through when the product brings nothing. It makes
// a connection for each call: one that was kept may be dead after the machine
// slept, and that would be found out by waiting.
type transport struct {
	caFile, caSource string

	mu      sync.Mutex
	current *http.Transport
	read    []byte // what the file of authorities held
}

// newTransport reads and asks nothing yet. now is by what certificates are
// judged: whose clock is behind needs the server most.
func newTransport(o Options, now func() time.Time) *transport {
	t := &transport{caFile: o.CAFile, caSource: "Options.CAFile"}
	if t.caFile == "" {
		t.caFile, t.caSource = os.Getenv(CAVariable), CAVariable
	}
	t.current = &http.Transport{
		Proxy:                  proxyFor(o),
		OnProxyConnectResponse: proxyAnswer,
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, Time: now},
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		ForceAttemptHTTP2:      true,
		DisableKeepAlives:      true,
	}
	return t
}

// RoundTrip is that of http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	current, err := t.trusting()
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close() // it was not read
		}
		return nil, err
	}
	return current.RoundTrip(req)
}

// CloseIdleConnections ends what no call waits for any more.
func (t *transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.current.CloseIdleConnections()
}

// trusting returns a transport that trusts what the file of authorities holds
// now.
func (t *transport) trusting() (*http.Transport, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.caFile == "" {
		return t.current, nil
	}
	data, err := readCAFile(t.caFile)
	if err != nil {
		return nil, &caError{t.caFile, t.caSource, err}
	}
	if t.read != nil && bytes.Equal(data, t.read) {
		return t.current, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // this system knows none: then these are all
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, &caError{t.caFile, t.caSource, errNoCertificate}
	}
	next := t.current.Clone()
	next.TLSClientConfig.RootCAs = pool
	t.current.CloseIdleConnections()
	t.current, t.read = next, data
	return next, nil
}

var errNoCertificate = errors.New("it holds no certificate in PEM form")

func readCAFile(path string) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened: a pipe would wait for who writes
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxCAFile+1))
	if err == nil && len(data) > maxCAFile {
		err = fmt.Errorf("it is longer than %d bytes", maxCAFile)
	}
	return data, err
}

// caError says that the file of authorities cannot be used.
type caError struct {
	path, source string
	err          error
}

func (e *caError) Error() string {
	err := e.err
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		err = p.Err
	}
	return fmt.Sprintf("the certificate authorities in %s (%s) cannot be used: %v", e.path, e.source, err)
}

func (e *caError) Unwrap() error { return e.err }

// route is how one call goes, for the words about what went wrong.
type route struct {
	proxy     atomic.Pointer[url.URL] // nil is directly
	connected atomic.Bool             // with the server, or with who stands in for it
}

type routeKey struct{}

// traced returns a context that notes the route of a call.
func traced(ctx context.Context) (context.Context, *route) {
	r := &route{}
	ctx = context.WithValue(ctx, routeKey{}, r)
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		TLSHandshakeStart: func() { r.connected.Store(true) },
		GotConn:           func(httptrace.GotConnInfo) { r.connected.Store(true) },
	}), r
}

// via names the proxy of a call, without the password that its address may
// hold. "" is none.
func (r *route) via() string {
	if r == nil {
		return ""
	}
	u := r.proxy.Load()
	if u == nil {
		return ""
	}
	return printable(u.Host)
}

// proxyFor chooses the proxy of each call. What may not leave the machine in
// plain text is not given to a proxy either.
func proxyFor(o Options) func(*http.Request) (*url.URL, error) {
	choose := o.Proxy
	if choose == nil {
		choose = sysproxy.Of
	}
	return func(req *http.Request) (*url.URL, error) {
		if req.URL.Scheme != "https" && !o.AllowPlain {
			return nil, nil //nolint:nilnil // as http.Transport.Proxy wants it
		}
		u, err := choose(req)
		if err != nil {
			return nil, &proxySettingError{err}
		}
		if r, ok := req.Context().Value(routeKey{}).(*route); ok {
			r.proxy.Store(u)
		}
		return u, nil
	}
}

// proxySettingError says that it is not known which proxy to use. What is wrong
// is shown only where it is known to hold no password.
type proxySettingError struct{ err error }

func (e *proxySettingError) Error() string {
	if known, ok := errors.AsType[*sysproxy.Error](e.err); ok {
		return known.Error()
	}
	return "Options.Proxy names none that can be used"
}

// proxyRefusal is a proxy's answer that lets nothing through.
type proxyRefusal struct{ status int }

func (e *proxyRefusal) Error() string {
	return fmt.Sprintf("the proxy answered with status %d", e.status)
}

// proxyAnswer judges a proxy's answer to CONNECT.
func proxyAnswer(_ context.Context, _ *url.URL, _ *http.Request, resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return &proxyRefusal{resp.StatusCode}
	}
	return nil
}
