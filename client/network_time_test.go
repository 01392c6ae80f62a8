package client_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/internal/pipenet"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// However slow whoever answers is, a call ends when its time is up, and says
// how far it came.
func TestSlowNetworks(t *testing.T) {
	proxied := func(o *client.Options) {
		o.Server = "https://licence.example.com"
		o.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://me:secret@proxy.example.com:3128") }
	}
	drip := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			for _, b := range []byte(text + strings.Repeat(" ", 1000)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second) // of the bubble
			}
		}
	}
	const begin = "HTTP/1.1 200 OK\r\nContent-Type: " + wire.TypeJSON + "\r\nContent-Length: 5000\r\n\r\n"
	for name, c := range map[string]struct {
		serve  func(net.Conn) // nil: nobody accepts
		set    func(*client.Options)
		words  []string
		atMost time.Duration
	}{
		"nobody accepts":              {words: []string{"nobody answered in time", "licence.example.com:80", "proxy"}, atMost: 15 * time.Second},
		"no proxy accepts":            {set: proxied, words: []string{"proxy.example.com:3128", "proxy does not answer"}, atMost: 15 * time.Second},
		"a hang before the header":    {serve: func(net.Conn) {}, words: []string{"did not answer in time", "try again later"}},
		"a header by drips":           {serve: drip("HTTP/1.1 200 OK\r\nX: "), words: []string{"did not answer in time"}},
		"a hang in the body":          {serve: func(c net.Conn) { _, _ = io.WriteString(c, begin+"{") }, words: []string{"did not end in time", "try again later"}},
		"a body by drips":             {serve: func(c net.Conn) { _, _ = io.WriteString(c, begin); drip("{")(c) }, words: []string{"did not end in time"}},
		"a hang before the handshake": {serve: func(net.Conn) {}, set: func(o *client.Options) { o.Server = "https://licence.example.com" }, words: []string{"did not answer in time"}, atMost: 10 * time.Second},
		"a proxy that hangs":          {serve: func(net.Conn) {}, set: proxied, words: []string{"proxy.example.com:3128", "proxy does not answer"}},
		"a proxy by drips":            {serve: drip("HTTP/1.1 200 OK\r\nX: "), set: proxied, words: []string{"proxy.example.com:3128", "proxy does not answer"}},
		"a hang behind a proxy": {
			serve: func(c net.Conn) { _, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n") }, set: proxied,
			words: []string{"proxy.example.com:3128", "did not answer in time"}, atMost: 10 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t)
				check(t, s.activated().Close())
				good := s.opts
				s.opts.HTTPClient, s.opts.Server, s.opts.AllowPlain = nil, "http://licence.example.com", true
				s.opts.Proxy = func(*http.Request) (*url.URL, error) { return nil, nil }
				if c.set != nil {
					c.set(&s.opts)
				}
				l := pipenet.Listen()
				defer func() { _ = l.Close() }()
				if c.serve != nil {
					go accept(l, c.serve)
				}
				g := s.open()
				g.Dial(func(ctx context.Context, network, address string) (net.Conn, error) {
					ctx, cancel := context.WithTimeout(ctx, 15*time.Second) // as the dialer does
					defer cancel()
					return l.DialContext(ctx, network, address)
				})
				lease, start := g.Status().LeaseUntil, time.Now()
				e, ok := errors.AsType[*license.Error](g.Refresh(t.Context()))
				if !ok || e.Reason != license.Unreachable {
					t.Fatalf("got %v", e)
				}
				for _, w := range c.words {
					if !strings.Contains(e.Detail, w) {
						t.Errorf("it does not say %q: %s", w, e.Detail)
					}
				}
				if strings.Contains(e.Error(), "secret") {
					t.Error(e)
				}
				if c.atMost == 0 {
					c.atMost = client.DefaultTimeout
				}
				if took := time.Since(start); took > c.atMost {
					t.Errorf("it took %v", took)
				}
				if st := g.Status(); !st.Usable || !st.LeaseUntil.Equal(lease) {
					t.Errorf("%s", st)
				}
				check(t, g.Close())
				s.opts = good
				g = s.open()
				check(t, g.Refresh(t.Context()))
				wantLicensed(t, g)
				check(t, g.Close())
				time.Sleep(time.Second) // the last drip; what the call left behind would keep the bubble from ending
			})
		})
	}
}

// accept serves each connection from when something comes in, until it is
// closed from the other side.
func accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			if _, err := c.Read(make([]byte, 1)); err == nil {
				go serve(c)
			}
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}()
	}
}
