// Package adminclient calls the admin API of a running daemon, over its unix
// socket or over TCP with a token. Every path of package adminwire has one
// typed method.
//
// A refusal comes back as the [license.Error] that the daemon made, rebuilt
// from the problem in the body and never from the status. A daemon that does
// not answer, or something else that answers in its place, is
// [license.Unreachable] with a detail that says what to do.
package adminclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// DefaultTimeout bounds one call, with Options.Timeout zero.
const DefaultTimeout = 30 * time.Second

// maxAnswer is the largest answer that is read, in bytes: a full page of
// licences with their installs is a few megabytes.
const maxAnswer = 64 << 20

// Bounds of what is read from files, in bytes.
const (
	maxToken   = 4096
	maxPrivate = 1 << 20
)

// maxSocketPath is what a unix socket address holds on every system that has
// them, less its final zero.
const maxSocketPath = 103

// Options configure a Client. The zero value does for a unix socket.
type Options struct {
	// TokenFile holds the bearer token for a server on TCP. A final newline is
	// cut; a file that others may read is refused.
	TokenFile string
	// CAFile holds PEM certificates to trust for the server's, instead of those of
	// the system.
	CAFile string
	// CertFile and KeyFile hold a client certificate and its key, PEM both, where
	// the server asks for one. The key's file must not be open to others.
	CertFile, KeyFile string
	// DryRun asks the daemon to check and decide every change, and to make none.
	DryRun bool
	// Timeout bounds one call; zero means DefaultTimeout.
	Timeout time.Duration
	// UserAgent names the caller; empty means "licensed-adminclient".
	UserAgent string
}

// Client calls one daemon. It is safe for concurrent use.
type Client struct {
	server string // as the user wrote it, for errors
	socket string // path of the unix socket, "" for TCP
	base   *url.URL
	// authorize adds the token. It is held in a function, since fmt prints the
	// fields of a struct without asking them.
	authorize func(*http.Request)
	agent     string
	timeout   time.Duration
	dryRun    bool
	http      *http.Client
}

// New makes a client for server: "unix:/path", "https://host[:port]", or
// "http://" to the loopback. It does not connect yet. A server or token file
// that cannot be used is license.BadRequest.
func New(server string, o Options) (*Client, error) {
	c := &Client{server: server, agent: o.UserAgent, timeout: o.Timeout, dryRun: o.DryRun, authorize: func(*http.Request) {}}
	if c.agent == "" {
		c.agent = "licensed-adminclient"
	}
	if c.timeout <= 0 {
		c.timeout = DefaultTimeout
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConns: 4, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
	var err error
	if path, ok := strings.CutPrefix(server, "unix:"); ok {
		err = c.useSocket(path, transport)
	} else {
		if err = c.useURL(server); err == nil {
			transport.TLSClientConfig, err = o.tls()
		}
	}
	if err != nil {
		return nil, err
	}
	if o.TokenFile != "" {
		token, err := readToken(o.TokenFile)
		if err != nil {
			return nil, err
		}
		c.authorize = func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
	}
	c.http = &http.Client{
		Transport: transport,
		// An API does not redirect; following one could carry the token elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func (c *Client) useSocket(path string, transport *http.Transport) error {
	// "unix:///path" is how others write it.
	if rest, ok := strings.CutPrefix(path, "///"); ok {
		path = "/" + rest
	}
	if path == "" {
		return badServer("unix: needs the path of the socket, as in unix:/var/lib/licensed/admin.sock")
	}
	c.socket = filepath.Clean(path)
	if len(c.socket) > maxSocketPath {
		return badServer("the socket path %s is longer than the %d bytes that systems allow; use a shorter one, or a relative one",
			c.socket, maxSocketPath)
	}
	c.base = &url.URL{Scheme: "http", Host: "licensed"}
	transport.Proxy = nil
	dialer := &net.Dialer{}
	transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "unix", c.socket)
	}
	return nil
}

func (c *Client) useURL(server string) error {
	u, err := url.Parse(server)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return badServer("the server is not of the form unix:/path or https://host:port")
	case u.User != nil:
		return badServer("the server's address must hold no user or password; use --token-file")
	case u.RawQuery != "" || u.Fragment != "":
		return badServer("the server's address must not have a query or fragment")
	case u.Scheme == "https":
	case u.Scheme == "http" && loopback(u.Hostname()):
	case u.Scheme == "http":
		return badServer("http:// is accepted for the loopback only; use https://%s", u.Host)
	default:
		return badServer("the server must begin with unix:, https:// or (loopback only) http://")
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	c.base = u
	return nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func badServer(format string, args ...any) error {
	return license.FieldErrorf("server", format, args...)
}

func readToken(path string) (string, error) {
	bad := func(what string) *license.Error {
		return license.FieldErrorf("token-file", "token file %s %s", path, what)
	}
	data, err := readPrivate(path, bad)
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(data), "\r\n")
	switch {
	case text == "":
		return "", bad("is empty")
	case len(data) > maxToken || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", bad("does not hold one token")
	}
	return text, nil
}

// readPrivate reads a file that must not be open to others than its owner.
func readPrivate(path string, bad func(what string) *license.Error) ([]byte, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, bad("does not exist")
	case err != nil:
		return nil, bad("cannot be read").WithCause(err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return nil, bad("is not a file")
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, bad("is open to others than its owner; chmod 600 it first")
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPrivate))
	if err != nil {
		return nil, bad("cannot be read").WithCause(err)
	}
	return data, nil
}

// call is one call of the API.
type call struct {
	method, path string
	query        url.Values
	in, out      any    // JSON bodies; nil for none
	accept       string // instead of JSON: the answer is then the raw body in raw
	raw          *[]byte
	timeout      time.Duration // instead of the client's, where it is longer
}

func (c *Client) do(ctx context.Context, k call) error {
	timeout := max(c.timeout, k.timeout)
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := c.request(ctx, k)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.unreachable(ctx, timeout, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return c.unreachable(ctx, timeout, err)
	}
	if len(body) > maxAnswer {
		return license.Errorf(license.Unreachable, "%s answered with more than %d MiB", c.server, maxAnswer>>20)
	}
	return c.decode(k, resp, body)
}

func (c *Client) request(ctx context.Context, k call) (*http.Request, error) {
	var body io.Reader
	if k.in != nil {
		data, err := json.Marshal(k.in)
		if err != nil {
			return nil, fmt.Errorf("encode the call: %w", err)
		}
		body = bytes.NewReader(data)
	}
	address := c.base.String() + k.path
	query := k.query
	if c.tries(ctx) && k.method != http.MethodGet {
		query = maps.Clone(query)
		if query == nil {
			query = url.Values{}
		}
		query.Set(adminwire.QueryDryRun, "true")
	}
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, k.method, address, body)
	if err != nil {
		return nil, fmt.Errorf("make the call: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", wire.TypeJSON)
	}
	accept := wire.TypeJSON
	if k.accept != "" {
		accept = k.accept
	}
	req.Header.Set("Accept", accept)
	req.Header.Set("User-Agent", c.agent)
	if k.method != http.MethodGet {
		conditions(ctx, req.Header)
	}
	c.authorize(req)
	return req, nil
}

func (c *Client) decode(k call, resp *http.Response, body []byte) error {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media == wire.TypeProblem {
		var p wire.Problem
		if json.Unmarshal(body, &p) != nil || p.Reason == "" {
			return c.stranger(resp, media)
		}
		return revisionConflict(body, refusal(p))
	}
	want := wire.TypeJSON
	if k.accept != "" {
		want = k.accept
	}
	ok := resp.StatusCode >= 200 && resp.StatusCode < 300
	switch {
	case !ok, resp.StatusCode != http.StatusNoContent && media != want && (k.out != nil || k.raw != nil):
		return c.stranger(resp, media)
	case k.raw != nil:
		*k.raw = body
	case k.out != nil:
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber() // features keep their numbers as they stand
		if err := dec.Decode(k.out); err != nil {
			return license.Errorf(license.Unreachable, "the answer of %s cannot be read; is it a licensed of another version?", c.server).WithCause(err)
		}
	}
	return nil
}

// refusal is the daemon's error. An internal one has its cause in the log
// only, so the request id that finds it there goes with it.
func refusal(p wire.Problem) error {
	e := p.Err()
	if p.RequestID != "" && e.Reason == license.Internal {
		e.Detail = strings.TrimSpace(fmt.Sprintf("%s (request id %s)", e.Detail, p.RequestID))
	}
	return e
}

// stranger is the error for an answer that no daemon of ours gives.
func (c *Client) stranger(resp *http.Response, media string) error {
	if media == "" {
		media = "no content type"
	}
	return license.Errorf(license.Unreachable, "%s answered %d with %s: that is not the admin API of a licensed; check the address",
		c.server, resp.StatusCode, media)
}
