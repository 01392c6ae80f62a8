package client_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// away is an install with a licence whose network is then another one.
type away struct {
	*site
	t    *testing.T
	good client.Options // with which the server is reached
	root *x509.Certificate
}

func newAway(t *testing.T) *away {
	t.Helper()
	s := newSite(t)
	check(t, s.activated().Close())
	return awayFrom(t, s)
}

// awayFrom is an install that is closed.
func awayFrom(t *testing.T, s *site) *away {
	t.Helper()
	s.clock.add(time.Hour)
	good := s.opts
	s.opts.HTTPClient = nil
	s.opts.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
	ca := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Example Inspection"}, SerialNumber: big.NewInt(1), NotBefore: epoch.Add(-day), NotAfter: epoch.Add(400 * day),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, public("ca"), key("ca"))
	check(t, err)
	root, err := x509.ParseCertificate(der)
	check(t, err)
	return &away{s, t, good, root}
}

// certificate is one that the authority of this network made.
func (a *away) certificate(from, until time.Time, name string) tls.Certificate {
	a.t.Helper()
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: from, NotAfter: until, DNSNames: []string{name}}
	if ip := net.ParseIP(name); ip != nil {
		leaf.DNSNames, leaf.IPAddresses = nil, []net.IP{ip}
	}
	_, private, err := ed25519.GenerateKey(nil)
	check(a.t, err)
	der, err := x509.CreateCertificate(rand.Reader, leaf, a.root, private.Public(), key("ca"))
	check(a.t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}

func (a *away) caFile() string {
	a.t.Helper()
	path := a.t.TempDir() + "/ca.pem"
	check(a.t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.root.Raw}), 0o600))
	return path
}

// relay is the server itself behind a listener.
func (a *away) relay() http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		resp, err := a.vendor.RoundTrip(r)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}
}

// plain serves by HTTP on the loopback interface.
func (a *away) plain(h http.HandlerFunc) {
	a.t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Start()
	a.t.Cleanup(srv.Close)
	a.opts.Server = srv.URL
}

// secure serves by HTTPS on the loopback interface, and returns how many
// connections came.
func (a *away) secure(c tls.Certificate, h http.HandlerFunc) *atomic.Int64 {
	a.t.Helper()
	var n atomic.Int64
	srv := httptest.NewUnstartedServer(h)
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			n.Add(1)
		}
	}
	srv.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{c}}
	srv.EnableHTTP2 = true
	srv.StartTLS()
	a.t.Cleanup(srv.Close)
	a.opts.Server = srv.URL
	return &n
}

// raw serves whatever it likes to each connection.
func (a *away) raw(serve func(net.Conn)) (address string) {
	a.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(a.t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			_ = c.(*net.TCPConn).CloseWrite() // what was not read yet would break off what was said
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	a.t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// saying is a server that reads a request and says something.
func (a *away) saying(answer ...string) {
	a.t.Helper()
	whole := []byte(strings.Join(answer, ""))
	a.opts.Server = "http://" + a.raw(func(c net.Conn) {
		head(c)
		_, _ = c.Write(whole)
	})
}

// head reads up to the end of a request's header, and what came with it.
func head(c net.Conn) string {
	var all []byte
	buf := make([]byte, 64<<10)
	for !bytes.Contains(all, []byte("\r\n\r\n")) {
		n, err := c.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			break
		}
	}
	return string(all)
}

// proxied lets calls go through a proxy that answers each CONNECT, and counts
// who called it and how.
func (a *away) proxied(answer string) *atomic.Pointer[string] {
	a.t.Helper()
	var asked atomic.Pointer[string]
	whole := []byte(answer)
	address := a.raw(func(c net.Conn) {
		text := head(c)
		asked.Store(&text)
		_, _ = c.Write(whole)
	})
	a.opts.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://me:secret@" + address) }
	a.opts.Server = "https://licence.example.com"
	return &asked
}

// wantTrouble calls home and wants the words of it, and that nothing is lost and
// no time is gained.
func (a *away) wantTrouble(g *client.Guard, reason license.Reason, words ...string) {
	a.t.Helper()
	before, floor, file := g.Status(), readState(a.t, a.site).Floor, string(g.File())
	for _, call := range []func(context.Context) error{g.Refresh, g.RefreshStatus} {
		err := call(a.t.Context())
		e, ok := errors.AsType[*license.Error](err)
		if !ok || e.Reason != reason {
			if reason != license.Unreachable && license.ReasonOf(err) == license.NotFound {
				continue // the licence names no list
			}
			a.t.Fatalf("got %v, want %s", err, reason)
		}
		for _, w := range words {
			if !strings.Contains(e.Detail, w) {
				a.t.Errorf("it does not say %q: %s", w, e.Detail)
			}
		}
		if text := err.Error(); strings.Contains(text, "secret") || len(text) > 3000 || strings.ContainsAny(text, "\x00\x1b\n") {
			a.t.Errorf("it says too much: %.300q", text)
		}
	}
	if st := g.Status(); !st.Usable || !st.LeaseUntil.Equal(before.LeaseUntil) || !st.At.Equal(before.At) || string(g.File()) != file {
		a.t.Errorf("%s became %s", before, st)
	}
	if now := readState(a.t, a.site).Floor; now != floor {
		a.t.Errorf("the floor went from %d to %d", floor, now)
	}
}

// listing lets the licence held name a status list.
func listing(_ token.Request, c *token.License) { *c = listed(*c) }

// opened opens the install in the network as it is now.
func (a *away) opened(trusts bool) *client.Guard {
	a.t.Helper()
	g := a.open()
	if trusts {
		pool := x509.NewCertPool()
		pool.AddCert(a.root)
		g.TrustCA(pool)
	}
	return g
}

// wantBack comes home: what waited is sent as it was, and answered.
func (a *away) wantBack(g *client.Guard) {
	a.t.Helper()
	check(a.t, g.Close())
	a.opts = a.good
	seen := len(a.vendor.seen())
	g = a.open()
	check(a.t, g.Refresh(a.t.Context()))
	wantLicensed(a.t, g)
	if a.vendor.forks != 0 || len(a.vendor.seen()) == seen {
		a.t.Errorf("%d forks, %d requests", a.vendor.forks, len(a.vendor.seen())-seen)
	}
}

func answers(status int, mediaType, body string, header ...string) http.HandlerFunc {
	whole := []byte(body)
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", mediaType)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write(whole)
	}
}

// squeezed is so many zeros, compressed.
func squeezed(tb testing.TB, size int) string {
	tb.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := io.Copy(w, io.LimitReader(zeros{}, int64(size)))
	check(tb, errors.Join(err, w.Close()))
	return b.String()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestBadNetworks(t *testing.T) {
	first := newSite(t)
	first.vendor.grant = listing // so that both ways of calling are tried
	check(t, first.activated().Close())
	home := first.save()
	unusable := strings.Join([]string{"http://me:secret@host", "port"}, ":")
	const page = "<html><body>Welcome! Please log in</body></html>"
	dialling := func(err error) func(*client.Guard) {
		return func(g *client.Guard) {
			g.Dial(func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: err}
			})
		}
	}
	gzipped := squeezed(t, 16<<20)
	for name, c := range map[string]struct {
		set    func(*away)
		change func(*client.Guard)
		trusts bool
		words  []string
	}{
		"refused": {
			set: func(a *away) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				check(a.t, errors.Join(err, l.Close()))
				a.opts.Server = "http://" + l.Addr().String()
			}, words: []string{"nothing listens", "try again later"},
		},
		"no such name":         {change: dialling(&net.DNSError{Err: "no such host", IsNotFound: true}), words: []string{"its name is not known", "online"}},
		"no name service":      {change: dialling(&net.DNSError{Err: "i/o timeout", IsTimeout: true}), words: []string{"name service", "online"}},
		"no network":           {change: dialling(os.NewSyscallError("connect", client.ErrNoNetwork)), words: []string{"no way", "online"}},
		"reset":                {change: dialling(os.NewSyscallError("read", client.ErrReset)), words: []string{"broke the connection off"}},
		"something unheard of": {change: dialling(errors.New("flux\x1b[31m\ncapacitor" + strings.Repeat("!", 5000))), words: []string{"flux", "firewall"}},
		"closes at once":       {set: func(a *away) { a.opts.Server = "http://" + a.raw(func(net.Conn) {}) }},
		"closes after the request": {
			set: func(a *away) { a.saying() }, words: []string{"broke the connection off"},
		},
		"no HTTP":           {set: func(a *away) { a.saying("220 mail.example.com ESMTP\r\n") }, words: []string{"did not answer as a licence server does", "address is right"}},
		"cut in the header": {set: func(a *away) { a.saying("HTTP/1.1 200 OK\r\nContent-Ty") }, words: []string{"did not answer as a licence server does"}},
		"cut in the body": {set: func(a *away) {
			a.saying("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"lic")
		}, words: []string{"broke off its answer"}},
		"cut between chunks":   {set: func(a *away) { a.saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"lic\r\n") }, words: []string{"broke off its answer"}},
		"a header without end": {set: func(a *away) { a.saying("HTTP/1.1 200 OK\r\nX: ", strings.Repeat("x", 8<<20)) }, words: []string{"did not answer as a licence server does"}},
		"headers without end":  {set: func(a *away) { a.saying("HTTP/1.1 200 OK\r\n", strings.Repeat("X: y\r\n", 1<<20)) }, words: []string{"did not answer as a licence server does"}},
		"100 without end":      {set: func(a *away) { a.saying(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1<<18)) }, words: []string{"did not answer as a licence server does"}},
		"a web page":           {set: func(a *away) { a.plain(answers(200, "text/html; charset=utf-8", page)) }, words: []string{"web page", "log in"}},
		"a login page": {set: func(a *away) {
			a.plain(answers(302, "text/html", page, "Location", "http://portal.example/?from=\u202e"))
		}, words: []string{"login page", "http://portal.example", "log in"}},
		"a login page here": {set: func(a *away) {
			a.plain(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/login" {
					http.Redirect(w, r, "/login", http.StatusSeeOther)
				}
				answers(200, "text/html", page)(w, r)
			})
		}, words: []string{"login page"}},
		"network login":    {set: func(a *away) { a.plain(answers(511, "text/html", page)) }, words: []string{"log in first", "web browser"}},
		"a proxy's login":  {set: func(a *away) { a.plain(answers(407, "text/html", page)) }, words: []string{"user name and a password", "HTTPS_PROXY"}},
		"in circles":       {set: func(a *away) { a.plain(answers(308, "text/plain", "", "Location", "/v1/requests")) }, words: []string{"in circles"}},
		"a gateway":        {set: func(a *away) { a.plain(answers(503, "text/html", page, "Retry-After", "60")) }, words: []string{"not there just now", "try again later"}},
		"not found":        {set: func(a *away) { a.plain(answers(404, "text/plain", "404 page not found")) }, words: []string{"status 404", "address is right"}},
		"another type":     {set: func(a *away) { a.plain(answers(200, "application/xml", "<a/>")) }, words: []string{"application/xml", "address is right"}},
		"another service":  {set: func(a *away) { a.plain(answers(200, wire.TypeJSON, `{"status":"ok"}`)) }},
		"half JSON":        {set: func(a *away) { a.plain(answers(200, wire.TypeJSON, `{"keys":"a.b.c`)) }},
		"an odd problem":   {set: func(a *away) { a.plain(answers(403, wire.TypeProblem, `{"reason":"<b>"}`)) }, words: []string{"none of a licence server"}},
		"a huge body":      {set: func(a *away) { a.plain(answers(200, wire.TypeJSON, strings.Repeat(" ", 32<<20))) }},
		"a gzip bomb":      {set: func(a *away) { a.plain(answers(200, wire.TypeJSON, gzipped, "Content-Encoding", "gzip")) }},
		"a half gzip bomb": {set: func(a *away) { a.plain(answers(200, wire.TypeJSON, gzipped[:15], "Content-Encoding", "gzip")) }, words: []string{"its answer"}},
		"plain behind TLS": {set: func(a *away) {
			a.plain(a.relay())
			a.opts.Server = strings.Replace(a.opts.Server, "http:", "https:", 1)
		}, words: []string{"does not speak TLS"}},
		"no TLS": {
			set: func(a *away) {
				a.opts.Server = "https://" + a.raw(func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example.com ESMTP\r\n") })
			},
			words: []string{"does not speak TLS"},
		},
		"looked into": {
			set: func(a *away) { a.secure(a.certificate(epoch, epoch.Add(day), "127.0.0.1"), a.relay()) }, words: []string{"Example Inspection", "firewall", "LICENSED_CA_FILE"},
		},
		"an expired certificate": {
			set: func(a *away) { a.secure(a.certificate(epoch.Add(-2*day), epoch.Add(-day), "127.0.0.1"), a.relay()) }, trusts: true, words: []string{"clock of this machine", "renewed"},
		},
		"another name": {
			set: func(a *away) { a.secure(a.certificate(epoch, epoch.Add(day), "portal.example"), a.relay()) }, trusts: true, words: []string{"portal.example", "address is wrong"},
		},
		"HTTP/2 breaks off": {
			set: func(a *away) {
				a.secure(a.certificate(epoch, epoch.Add(day), "127.0.0.1"), func(_ http.ResponseWriter, r *http.Request) {
					if r.ProtoMajor != 2 {
						a.t.Error(r.Proto)
					}
					panic(http.ErrAbortHandler)
				})
			}, trusts: true, words: []string{"did not answer as a licence server does"},
		},
		"HTTP/2 header bomb": {
			set: func(a *away) {
				a.secure(a.certificate(epoch, epoch.Add(day), "127.0.0.1"), answers(200, wire.TypeJSON, "{}", "X", strings.Repeat("x", 128<<10)))
			}, trusts: true, words: []string{"did not answer as a licence server does"},
		},
		"a proxy with a password": {
			set: func(a *away) {
				a.proxied("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\n\r\n")
			},
			words: []string{"licence.example.com", "proxy 127.0.0.1:", "user name and a password", "http://user:password@host:port"},
		},
		"a proxy that forbids": {
			set: func(a *away) { a.proxied("HTTP/1.1 403 Forbidden\r\n\r\n") }, words: []string{"proxy 127.0.0.1:", "does not allow", "licence.example.com:443"},
		},
		"a proxy without a way": {set: func(a *away) { a.proxied("HTTP/1.1 502 Bad Gateway\r\n\r\n") }, words: []string{"does not reach it"}},
		"a proxy that hangs up": {set: func(a *away) { a.proxied("") }, words: []string{"proxy 127.0.0.1:"}},
		"a proxy's header bomb": {set: func(a *away) { a.proxied("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 8<<20)) }, words: []string{"proxy 127.0.0.1:"}},
		"a proxy that is gone": {
			set: func(a *away) {
				l, err := net.Listen("tcp", "127.0.0.1:0")
				check(a.t, errors.Join(err, l.Close()))
				a.opts.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://me:secret@" + l.Addr().String()) }
			}, words: []string{"proxy 127.0.0.1:", "see that the proxy runs"},
		},
		"a proxy by SOCKS that is none": {
			set: func(a *away) {
				address := a.raw(func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") })
				a.opts.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("socks5://me:secret@" + address) }
			}, words: []string{"proxy 127.0.0.1:", "see that the proxy runs"},
		},
		"no proxy can be told": {
			set: func(a *away) {
				a.opts.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse(unusable) }
			}, words: []string{"was not called", "Options.Proxy"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := awayFrom(t, home.site(t))
			a.opts.Server = "https://licence.example.com"
			if c.set != nil {
				c.set(a)
			}
			g := a.opened(c.trusts)
			if c.change != nil {
				c.change(g)
			}
			var m0, m1 runtime.MemStats
			runtime.ReadMemStats(&m0)
			a.wantTrouble(g, license.Unreachable, c.words...)
			runtime.ReadMemStats(&m1)
			if n := m1.TotalAlloc - m0.TotalAlloc; n > 8<<20 {
				t.Errorf("%d MiB were allocated", n>>20)
			}
			a.wantBack(g)
		})
	}
}

// An answer of another merchant's server is authentic in its way, and not in ours.
func TestAnotherMerchant(t *testing.T) {
	a := newAway(t)
	a.vendor.spoil = func(_ token.Request, answer *wire.Answer) { answer.Keys = keySet(t, "another-anchor", 1, "sign-1") }
	a.opts = a.good
	g := a.open()
	a.wantTrouble(g, license.Forged, "licence.example.com", "Another merchant's server", "address is wrong")
	a.vendor.spoil = nil
	a.wantBack(g)
}
