package client_test

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// What a proxy does not let through goes nowhere else, and a proxy that does
// sees nothing but the name of the server.
func TestNothingGoesAroundTheProxy(t *testing.T) {
	a := newAway(t)
	connections := a.secure(a.certificate(epoch, epoch.Add(day), "127.0.0.1"), a.relay())
	address := a.opts.Server
	asked := a.proxied("HTTP/1.1 403 Forbidden\r\n\r\n")
	a.opts.Server = address
	g := a.opened(true)
	a.vendor.grant = nil
	wantReason(t, g.Refresh(t.Context()), license.Unreachable)
	wantReason(t, g.Activate(t.Context(), code), license.Unreachable)
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections came to the server", n)
	}
	seen := *asked.Load()
	if !strings.HasPrefix(seen, "CONNECT "+strings.TrimPrefix(address, "https://")+" ") || strings.Contains(seen, code) || strings.Contains(seen, "license") {
		t.Errorf("the proxy saw %q", seen)
	}
	check(t, g.Close())

	// A server on this machine is called without TLS, but not by way of others.
	a.plain(a.relay())
	g = a.opened(false)
	check(t, g.Refresh(t.Context()))
}

// The proxy of the environment is taken, with its password, and looked up with
// each call.
func TestProxyOfTheEnvironment(t *testing.T) {
	a := newAway(t)
	a.secure(a.certificate(epoch, epoch.Add(day), "licence.example.com"), a.relay())
	server := strings.TrimPrefix(a.opts.Server, "https://")
	var asked atomic.Int64
	proxy := a.raw(func(c net.Conn) {
		text := head(c)
		// "me" and "secret" in base64.
		if !strings.HasPrefix(text, "CONNECT licence.example.com:443 ") || !strings.Contains(text, "Proxy-Authorization: Basic bWU6c2VjcmV0\r\n") {
			_, _ = io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
			return
		}
		asked.Add(1)
		there, err := net.Dial("tcp", server)
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(there, c)
			_ = there.Close()
		}()
		_, _ = io.Copy(c, there)
		_ = c.Close()
		<-done
	})
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"} {
		t.Setenv(name, "")
	}
	t.Setenv("HTTPS_PROXY", "http://me:wrong@"+proxy)
	a.opts.Proxy, a.opts.Server = nil, "https://licence.example.com"
	g := a.opened(true)
	err := g.Refresh(t.Context())
	wantReason(t, err, license.Unreachable)
	if strings.Contains(err.Error(), "wrong@") || !strings.Contains(err.Error(), proxy) {
		t.Error(err)
	}
	t.Setenv("HTTPS_PROXY", "http://me:secret@"+proxy)
	check(t, g.Refresh(t.Context()))
	wantLicensed(t, g)
	if asked.Load() != 1 {
		t.Errorf("the proxy was asked %d times", asked.Load())
	}
	t.Setenv("HTTPS_PROXY", "http://me:secret@"+proxy+":")
	if err := g.Refresh(t.Context()); license.ReasonOf(err) != license.Unreachable || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "environment") {
		t.Error(err)
	}
}

// A file of authorities is read when it is needed, and again when it changed;
// one that cannot be used is named.
func TestCAFile(t *testing.T) {
	a := newAway(t)
	a.secure(a.certificate(epoch, epoch.Add(day), "127.0.0.1"), a.relay())
	path := a.t.TempDir() + "/ca.pem"
	a.opts.CAFile = path
	g := a.opened(false) // it is not there yet
	refused := func(words ...string) {
		t.Helper()
		err := g.Refresh(t.Context())
		wantReason(t, err, license.Unreachable)
		e, _ := errors.AsType[*license.Error](err)
		if e.Field != "ca_file" {
			t.Errorf("field %q", e.Field)
		}
		for _, w := range append(words, path, "Options.CAFile", "was not called") {
			if !strings.Contains(e.Detail, w) {
				t.Errorf("it does not say %q: %s", w, e.Detail)
			}
		}
		wantLicensed(t, g)
	}
	refused()
	if err := g.Refresh(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	check(t, os.WriteFile(path, []byte("not a certificate"), 0o600))
	refused("no certificate in PEM form")
	check(t, os.WriteFile(path, a.root.Raw, 0o600))
	refused("no certificate in PEM form")
	check(t, os.WriteFile(path, make([]byte, 4<<20+1), 0o600))
	refused("longer")
	check(t, os.Remove(path))
	check(t, os.Mkdir(path, 0o700))
	refused("not a file")
	check(t, os.Remove(path))
	good, err := os.ReadFile(a.caFile())
	check(t, err)
	check(t, os.WriteFile(path, append([]byte("the firewall's\n"), good...), 0o600))
	check(t, g.Refresh(t.Context()))
	wantLicensed(t, g)

	// It counts no more when it is another one's.
	other := &x509.Certificate{SerialNumber: big.NewInt(7), NotBefore: epoch, NotAfter: epoch.Add(day), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, other, other, public("other-ca"), key("other-ca"))
	check(t, err)
	check(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	wantReason(t, g.Refresh(t.Context()), license.Unreachable)
	check(t, g.Close())

	// The administrator's, where the product names none.
	a.opts.CAFile = ""
	t.Setenv(client.CAVariable, a.caFile())
	g = a.opened(false)
	check(t, g.Refresh(t.Context()))
	check(t, g.Close())
	a.opts.CAFile = path
	wantReason(t, a.opened(false).Refresh(t.Context()), license.Unreachable)
}

// A certificate by an authority of the file is judged by the same times as any.
func TestCAFileUnderAWrongClock(t *testing.T) {
	f := newField(t)
	check(t, f.activated().Close())
	a := awayFrom(t, f.site)
	a.secure(a.certificate(epoch.Add(10*day), epoch.Add(100*day), "127.0.0.1"), a.relay())
	a.opts.CAFile = a.caFile()
	f.off(20 * day)
	f.set(epoch.Add(-20000 * day))
	g := f.open()
	check(t, g.Refresh(t.Context()))
	wantLicensed(t, g)
}

func TestWaitThatAnAnswerAsksFor(t *testing.T) {
	now := "Sun, 01 Mar 2026 12:00:00 GMT"
	for name, c := range map[string]struct {
		status     int
		mediaType  string
		body       string
		retryAfter string
		date       string
		want       time.Duration
	}{
		"seconds":                 {503, "text/html", "", "90", "", 90 * time.Second},
		"of a limit":              {429, "text/plain", "", "90", "", 90 * time.Second},
		"a date":                  {503, "text/html", "", "Sun, 01 Mar 2026 12:05:00 GMT", now, 5 * time.Minute},
		"a date without now":      {503, "text/html", "", "Sun, 01 Mar 2026 12:05:00 GMT", "x", 0},
		"a date of the past":      {503, "text/html", "", "Sun, 01 Mar 2026 11:05:00 GMT", now, 0},
		"a date far ahead":        {503, "text/html", "", "Sun, 01 Mar 9026 11:05:00 GMT", now, day},
		"absurd":                  {503, "text/html", "", "99999999999999999999999999", "", day},
		"negative":                {503, "text/html", "", "-1", "", 0},
		"nonsense":                {503, "text/html", "", "soon", "", 0},
		"of a problem":            {429, wire.TypeProblem, `{"reason":"rate_limited","retry_after":90}`, "1", "", 90 * time.Second},
		"beside a problem":        {503, wire.TypeProblem, `{"reason":"read_only"}`, "90", "", 90 * time.Second},
		"negative, a problem":     {429, wire.TypeProblem, `{"reason":"rate_limited","retry_after":-5}`, "", "", 0},
		"absurd, of a problem":    {429, wire.TypeProblem, `{"reason":"rate_limited","retry_after":9223372036854775807}`, "", "", 366 * day},
		"two weeks, of a problem": {403, wire.TypeProblem, `{"reason":"clone_detected","retry_after":1209600}`, "", "", 14 * day},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			g := s.activated()
			s.vendor.respond = func(*http.Request) (*http.Response, error) {
				r := response(c.status, c.mediaType, []byte(c.body))
				r.Header.Set("Retry-After", c.retryAfter)
				r.Header.Set("Date", c.date)
				return r, nil
			}
			e, ok := errors.AsType[*license.Error](g.Refresh(t.Context()))
			if !ok || e.RetryAfter != c.want {
				t.Errorf("%v: %v, want %v", e, e.RetryAfter, c.want)
			}
			wantLicensed(t, g)
		})
	}
}

// FuzzRetryAfter: whatever a server asks for, it is no time of the past, and
// not more than a day.
func FuzzRetryAfter(f *testing.F) {
	f.Add("90", "")
	f.Add("Sun, 01 Mar 9026 11:05:00 GMT", "Sun, 01 Mar 0001 11:05:00 GMT")
	f.Add("Sunday, 01-Mar-26 11:05:00 GMT", "Sun Mar  1 11:05:00 2026")
	f.Add("99999999999999999999", "")
	f.Fuzz(func(t *testing.T, after, date string) {
		if d := client.RetryAfter(http.Header{"Retry-After": {after}, "Date": {date}}); d < 0 || d > day {
			t.Errorf("%v", d)
		}
	})
}

func TestExcludedOptions(t *testing.T) {
	for field, change := range map[string]func(*client.Options){
		"proxy":   func(o *client.Options) { o.Proxy = http.ProxyFromEnvironment },
		"ca_file": func(o *client.Options) { o.CAFile = "ca.pem" },
	} {
		o := newSite(t).opts
		change(&o)
		_, err := client.Open(t.Context(), o)
		wantErrField(t, err, field)
	}
	o := newSite(t).opts // the environment is for whoever brings nothing
	t.Setenv(client.CAVariable, "/nowhere")
	g, err := client.Open(t.Context(), o)
	check(t, err)
	check(t, g.Activate(t.Context(), code))
	check(t, g.Close())
}

// Opening waits for nothing of the network: neither a proxy nor a file of
// authorities is looked for before a call.
func TestOpenAsksNothing(t *testing.T) {
	a := newAway(t)
	a.opts.CAFile = "/nowhere/ca.pem"
	a.opts.Proxy = func(*http.Request) (*url.URL, error) {
		t.Error("asked")
		return nil, errors.New("no")
	}
	g := a.opened(false)
	wantLicensed(t, g)
	check(t, g.Close())
}

// Each call leaves by a connection of its own, and leaves nothing behind.
func TestNothingIsLeftOfACall(t *testing.T) {
	a := newAway(t)
	connections := a.secure(a.certificate(epoch, epoch.Add(day), "127.0.0.1"), a.relay())
	g := a.opened(true)
	for i := range 3 {
		check(t, g.Refresh(t.Context()))
		if n := connections.Load(); n != int64(i)+1 {
			t.Errorf("%d connections after %d calls", n, i+1)
		}
	}
	eventually(t, func() string {
		var stacks [1 << 20]byte
		all := string(stacks[:runtime.Stack(stacks[:], true)])
		if n := strings.Count(all, "http.(*persistConn)") + strings.Count(all, "ClientConn).readLoop"); n > 0 {
			return fmt.Sprintf("%d goroutines of connections", n)
		}
		return ""
	})
}

// eventually waits until nothing is wrong any more, which the test's own
// deadline ends.
func eventually(t *testing.T, wrong func() string) {
	t.Helper()
	for wrong() != "" {
		if t.Context().Err() != nil {
			t.Fatal(wrong())
		}
		runtime.Gosched()
	}
}
