package client_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

func TestServerTroubles(t *testing.T) {
	html := []byte("<html><body>Please log in</body></html>")
	for name, respond := range map[string]func(*http.Request) (*http.Response, error){
		"refused": func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") },
		"portal": func(*http.Request) (*http.Response, error) {
			return response(200, "text/html; charset=utf-8", html), nil
		},
		"proxy":   func(*http.Request) (*http.Response, error) { return response(407, "text/html", html), nil },
		"no type": func(*http.Request) (*http.Response, error) { return response(200, "", []byte("{}")), nil },
		"half": func(*http.Request) (*http.Response, error) {
			return response(200, wire.TypeJSON, []byte(`{"license_id":"lic_1","lic`)), nil
		},
		"broken off": func(*http.Request) (*http.Response, error) {
			r := response(200, wire.TypeJSON, []byte(`{}`))
			r.Body = brokenBody{}
			return r, nil
		},
		"endless": func(*http.Request) (*http.Response, error) {
			return response(200, wire.TypeJSON, []byte(strings.Repeat(" ", wire.MaxBody+1))), nil
		},
		"other json": func(*http.Request) (*http.Response, error) {
			return response(404, wire.TypeJSON, []byte(`{"error":"no"}`)), nil
		},
		"no reason": func(*http.Request) (*http.Response, error) { return response(403, wire.TypeProblem, []byte(`{}`)), nil },
		"strange reason": func(*http.Request) (*http.Response, error) {
			return response(403, wire.TypeProblem, []byte(`{"reason":"<b>"}`)), nil
		},
		"client's reason": func(*http.Request) (*http.Response, error) {
			return response(403, wire.TypeProblem, []byte(`{"reason":"no_license"}`)), nil
		},
		"elsewhere":  redirect(http.StatusTemporaryRedirect, "https://evil.example/v1/requests"),
		"downgraded": redirect(http.StatusTemporaryRedirect, "http://licence.example.com/v1/requests"),
		"to a page":  redirect(http.StatusFound, "https://licence.example.com/login"),
		"in circles": redirect(http.StatusPermanentRedirect, "https://licence.example.com/v1/requests"),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			g := s.activated()
			s.vendor.respond = func(r *http.Request) (*http.Response, error) {
				if r.URL.Host != "licence.example.com" || r.URL.Scheme != "https" || r.Method != http.MethodPost {
					t.Errorf("called %s %s", r.Method, r.URL)
				}
				return respond(r)
			}
			err := g.Refresh(t.Context())
			wantReason(t, err, license.Unreachable)
			if !strings.Contains(err.Error(), "licence.example.com") {
				t.Errorf("does not name the server: %v", err)
			}
			wantLicensed(t, g)
			s.vendor.respond = nil
			check(t, g.Refresh(t.Context()))
		})
	}
}

type brokenBody struct{}

func (brokenBody) Read([]byte) (int, error) { return 0, errors.New("unexpected EOF") }
func (brokenBody) Close() error             { return nil }

func redirect(status int, to string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		r := response(status, "text/plain", []byte("moved"))
		r.Header.Set("Location", to)
		return r, nil
	}
}

// A reason of a newer server is passed on as it is.
func TestUnknownReason(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	s.vendor.respond = func(*http.Request) (*http.Response, error) {
		return response(403, wire.TypeProblem, []byte(`{"reason":"full_moon","detail":"not today"}`)), nil
	}
	wantReason(t, g.Refresh(t.Context()), license.Reason("full_moon"))
}

func TestTimeoutCancelAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t)
		g := s.activated()
		s.vendor.respond = nil
		hang := hanging{}
		s.opts.HTTPClient = &http.Client{Transport: hang}
		check(t, g.Close())
		g = s.open()

		begin := time.Now()
		err := g.Refresh(t.Context())
		wantReason(t, err, license.Unreachable)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != client.DefaultTimeout {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantReason(t, g.Refresh(ctx), license.Unreachable)

		// Whoever waits for a call gives up with its own context; Close ends all.
		var wg sync.WaitGroup
		wg.Go(func() { wantErr(t, g.Refresh(t.Context()), context.Canceled) })
		synctest.Wait()
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			wantErr(t, g.Refresh(ctx), context.DeadlineExceeded)
		})
		wg.Go(func() { wantErr(t, g.Refresh(t.Context()), license.Conflict) })
		time.Sleep(5 * time.Second)
		wantLicensed(t, g)
		check(t, g.Close())
		wg.Wait()
		wantLicensed(t, g)
	})
}

// Whatever happens at once, nothing is lost and Close waits for all of it.
func TestStress(t *testing.T) {
	for range 5 {
		s := newSite(t)
		g := s.activated()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 10 {
					if err := g.Refresh(t.Context()); err != nil && !errors.Is(err, license.Conflict) && !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					if _, err := g.Request(t.Context(), client.OpRefresh, client.RequestOptions{}); err != nil &&
						!errors.Is(err, license.Conflict) && !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					if !g.Feature("export") || g.Explain().Advice == "" || len(g.File()) == 0 {
						t.Error("not licensed in between")
					}
				}
			})
		}
		wg.Go(func() {
			for len(s.vendor.seen()) < 5 {
				runtime.Gosched()
			}
			check(t, g.Close())
		})
		wg.Wait()
		wantLicensed(t, s.open())
	}
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}

type hanging struct{}

func (hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*client.Options)
		field  string
	}{
		"no product":   {func(o *client.Options) { o.Product = "" }, "product"},
		"plain http":   {func(o *client.Options) { o.Server = "http://licence.example.com" }, "server"},
		"no scheme":    {func(o *client.Options) { o.Server = "licence.example.com" }, "server"},
		"ftp":          {func(o *client.Options) { o.Server = "ftp://licence.example.com" }, "server"},
		"password":     {func(o *client.Options) { o.Server = "https://a:b@licence.example.com" }, "server"},
		"query":        {func(o *client.Options) { o.Server = "https://licence.example.com/?a=b" }, "server"},
		"bad anchor":   {func(o *client.Options) { o.Anchors = token.Anchors{nil} }, "anchors"},
		"timeout":      {func(o *client.Options) { o.Timeout = -1 }, "timeout"},
		"built early":  {func(o *client.Options) { o.BuildTime = time.Unix(-1, 0) }, "build_time"},
		"built late":   {func(o *client.Options) { o.BuildTime = license.Forever }, "build_time"},
		"loopback":     {func(o *client.Options) { o.Server = "http://127.0.0.1:8080" }, ""},
		"loopback six": {func(o *client.Options) { o.Server = "http://[::1]:8080" }, ""},
		"localhost":    {func(o *client.Options) { o.Server = "http://localhost:8080" }, ""},
		"allowed":      {func(o *client.Options) { o.Server, o.AllowPlain = "http://licence.example.com", true }, ""},
	} {
		o := newSite(t).opts
		c.change(&o)
		g, err := client.Open(t.Context(), o)
		var e *license.Error
		if c.field == "" {
			check(t, err)
			check(t, g.Close())
		} else if !errors.As(err, &e) || e.Reason != license.BadRequest || e.Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := newSite(t).opts
	o.Keys = keySet(t, "stranger", 1, "sign-1")
	_, err := client.Open(t.Context(), o)
	wantReason(t, err, license.Forged)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = client.Open(ctx, newSite(t).opts)
	wantErr(t, err, context.Canceled)
}

func TestDefaultClientIsTidiedUp(t *testing.T) {
	s := newSite(t)
	s.opts.HTTPClient, s.opts.Server = nil, "http://127.0.0.1:1"
	g := s.open()
	wantReason(t, g.Activate(t.Context(), code), license.Unreachable)
	check(t, g.Close())
}
