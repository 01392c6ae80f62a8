package sandbox_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const product = "OFFI0001"

const year = 365 * 24 * time.Hour

// clock is a settable clock.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newSandbox(t *testing.T, opts sandbox.Options) *sandbox.Sandbox {
	t.Helper()
	if opts.Products == nil {
		opts.Products = []sandbox.Product{{ID: product, Name: "CAD Pro"}, {ID: "OFFI0002"}}
	}
	s, err := sandbox.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func start(t *testing.T, opts sandbox.Options) (*sandbox.Sandbox, *koogallery.Client) {
	t.Helper()
	s := newSandbox(t, opts)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, client(t, s.ClientOptions())
}

func client(t *testing.T, opts koogallery.ClientOptions) *koogallery.Client {
	t.Helper()
	c, err := koogallery.NewClient(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func buy(t *testing.T, s *sandbox.Sandbox, period time.Duration) sandbox.Order {
	t.Helper()
	o, err := s.Buy(t.Context(), product, 5, period)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("got error %v, want %v", err, target)
	}
}

func TestLifeOverAPI(t *testing.T) {
	clk := newClock()
	s, c := start(t, sandbox.Options{Now: clk.Now, RequireReceive: true})
	ctx := t.Context()
	o := buy(t, s, year)

	_, err := c.Query(ctx, o.Code)
	want(t, err, koogallery.ErrNotActivated)
	_, err = c.Activate(ctx, o.Code, time.Time{})
	want(t, err, koogallery.ErrNotReceived)
	must(t, s.Receive(o.Code))
	_, err = c.Activate(ctx, o.Code, clk.Now().Add(-time.Second))
	want(t, err, koogallery.ErrInvalidParam)

	clk.advance(time.Hour)
	activation, err := c.Activate(ctx, o.Code, clk.Now())
	must(t, err)
	info, err := c.Query(ctx, o.Code)
	must(t, err)
	end := clk.Now().Add(year)
	if diff := cmp.Diff(koogallery.CodeInfo{
		Status: koogallery.CodeAlive, ExpireTime: end, ActivateTime: clk.Now(), ProductID: product, OrderID: o.ID, Amount: 5,
	}, info); diff != "" {
		t.Errorf("query (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(koogallery.Activation{
		Status: koogallery.CodeAlive, ExpireTime: end.Add(-time.Minute), ProductID: product, OrderID: o.ID, Amount: 5,
	}, activation); diff != "" {
		t.Errorf("activation (-want +got):\n%s", diff)
	}
	_, err = c.Activate(ctx, o.Code, time.Time{})
	want(t, err, koogallery.ErrAlreadyActive)

	status := func(status koogallery.CodeStatus, end time.Time) {
		t.Helper()
		info, err := c.Query(ctx, o.Code)
		must(t, err)
		if info.Status != status || !info.ExpireTime.Equal(end) {
			t.Errorf("got %s until %v, want %s until %v", info.Status, info.ExpireTime, status, end)
		}
	}
	clk.advance(year)
	status(koogallery.CodeExpired, end)
	clk.advance(time.Hour)
	_, err = s.Renew(o.Code, year)
	must(t, err)
	status(koogallery.CodeAlive, clk.Now().Add(year))
	_, err = s.CancelRenewal(o.Code)
	must(t, err)
	status(koogallery.CodeExpired, end)
	_, err = s.CancelRenewal(o.Code)
	want(t, err, sandbox.ErrState)
	must(t, s.ReleaseAfterRetention(o.Code))
	status(koogallery.CodeReleased, end)
	_, err = c.Activate(ctx, o.Code, time.Time{})
	want(t, err, koogallery.ErrAlreadyActive)
	want(t, s.Freeze(o.Code), sandbox.ErrState)

	_, err = c.Query(ctx, koogallery.NewCode("PLunknown"))
	want(t, err, koogallery.ErrUnknownCode)
	_, err = c.Activate(ctx, koogallery.NewCode("PLunknown"), time.Time{})
	want(t, err, koogallery.ErrUnknownCode)
}

func TestForEverAndLocation(t *testing.T) {
	s, c := start(t, sandbox.Options{Location: time.FixedZone("UTC+8", 8*3600)})
	forEver, aYear := buy(t, s, 0), buy(t, s, year)
	must(t, c.ActivateBatch(t.Context(), []koogallery.Code{forEver.Code, aYear.Code}, time.Time{}))
	info, err := c.Query(t.Context(), forEver.Code)
	must(t, err)
	if !info.ExpireTime.IsZero() {
		t.Errorf("ends at %v", info.ExpireTime)
	}
	_, err = s.Renew(forEver.Code, year)
	want(t, err, sandbox.ErrState)
	want(t, s.Expire(forEver.Code), sandbox.ErrState)
	info, err = c.Query(t.Context(), aYear.Code)
	must(t, err)
	if got := s.Codes()[1].ExpiresAt; !got.Equal(info.ExpireTime) {
		t.Errorf("client reads %v, sandbox means %v", info.ExpireTime, got)
	}
	must(t, s.Expire(aYear.Code))
	if got := s.Codes()[1].Status; got != sandbox.Expired {
		t.Errorf("status %s", got)
	}
}

func TestActivateBatch(t *testing.T) {
	s, c := start(t, sandbox.Options{})
	a, b := buy(t, s, year), buy(t, s, year)
	batch := func(codes ...koogallery.Code) error { return c.ActivateBatch(t.Context(), codes, time.Time{}) }
	want(t, batch(a.Code, koogallery.NewCode("PLunknown")), koogallery.ErrInvalidBatch)
	if got := s.Codes()[0].Status; got != sandbox.Issued {
		t.Errorf("a refused batch left %s", got)
	}
	must(t, batch(a.Code, b.Code))
	want(t, batch(a.Code), koogallery.ErrAlreadyActive)
}

func TestAPIRefusals(t *testing.T) {
	s, _ := start(t, sandbox.Options{})
	opts := s.ClientOptions()
	const activate = "/api/mkp-openapi-public/global/v1/license/activate"
	send := func(method, path, contentType, body string, change func(*http.Request)) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, s.URL()+path, strings.NewReader(body))
		must(t, err)
		req.Header.Set("Content-Type", contentType)
		must(t, koogallery.SignRequest(req, []byte(body), opts.AccessKeyID, opts.SecretAccessKey, time.Now()))
		if change != nil {
			change(req)
		}
		resp, err := httpClient(t, opts).Do(req)
		must(t, err)
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		must(t, err)
		_, code, _ := strings.Cut(string(answer), `"error_code":"`)
		code, _, _ = strings.Cut(code, `"`)
		return resp.StatusCode, code
	}
	for _, tt := range []struct {
		name, method, path, contentType, body string
		change                                func(*http.Request)
		status                                int
		code                                  string
	}{
		{"method", "PUT", activate, "application/json", `{}`, nil, 405, "95000002"},
		{"content type", "POST", activate, "text/plain", `{}`, nil, 415, "95000003"},
		{"not JSON", "POST", activate, "application/json", `{"license"`, nil, 400, "95000004"},
		{"no licence", "POST", activate, "application/json", `{}`, nil, 400, "95000001"},
		{"licence too long", "POST", activate, "application/json", `{"license":"` + strings.Repeat("x", 65) + `"}`, nil, 400, "95000001"},
		{"time malformed", "POST", activate, "application/json", `{"license":"PL","real_effect_time":"2026"}`, nil, 400, "95000001"},
		{"unknown code", "POST", activate + "?a=1&b=%20", "application/json; charset=utf-8", `{"license":"PL"}`, nil, 200, "92020005"},
		{"no interface", "POST", "/api/other", "application/json", `{}`, nil, 404, "APIGW.0101"},
		{"not signed", "POST", activate, "application/json", `{}`, func(r *http.Request) { r.Header.Del("Authorization") }, 401, "APIGW.0301"},
		{"date changed", "POST", activate, "application/json", `{}`, func(r *http.Request) {
			r.Header.Set("X-Sdk-Date", time.Now().UTC().Add(time.Minute).Format("20060102T150405Z"))
		}, 401, "APIGW.0301"},
		{"query changed", "POST", activate, "application/json", `{}`, func(r *http.Request) { r.URL.RawQuery = "a=b" }, 401, "APIGW.0301"},
		{"no date signed", "POST", activate, "application/json", `{}`, func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), ";x-sdk-date", "", 1))
		}, 401, "APIGW.0301"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, code := send(tt.method, tt.path, tt.contentType, tt.body, tt.change)
			if status != tt.status || code != tt.code {
				t.Errorf("got %d %s, want %d %s", status, code, tt.status, tt.code)
			}
		})
	}
}

// httpClient is a plain client that trusts the sandbox.
func httpClient(t *testing.T, opts koogallery.ClientOptions) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: opts.RootCAs}, DisableKeepAlives: true}
	return &http.Client{Transport: tr}
}

func TestClientCredentials(t *testing.T) {
	clk := newClock()
	s, _ := start(t, sandbox.Options{Now: clk.Now})
	o := buy(t, s, year)
	for name, change := range map[string]func(*koogallery.ClientOptions){
		"secret key": func(o *koogallery.ClientOptions) { o.SecretAccessKey = koogallery.NewSecretKey("wrong") },
		"access key": func(o *koogallery.ClientOptions) { o.AccessKeyID = "AKwrong" },
		"clock behind": func(o *koogallery.ClientOptions) {
			o.Now = func() time.Time { return clk.Now().Add(-15*time.Minute - time.Second) }
		},
		"clock ahead": func(o *koogallery.ClientOptions) {
			o.Now = func() time.Time { return clk.Now().Add(15*time.Minute + time.Second) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts := s.ClientOptions()
			change(&opts)
			_, err := client(t, opts).Activate(t.Context(), o.Code, time.Time{})
			want(t, err, koogallery.ErrUnauthorized)
			var api *koogallery.APIError
			if !errors.As(err, &api) || api.RequestID == "" || api.HTTPStatus != 401 {
				t.Errorf("got %#v", api)
			}
		})
	}
	opts := s.ClientOptions()
	opts.Now = func() time.Time { return clk.Now().Add(-15 * time.Minute) }
	_, err := client(t, opts).Activate(t.Context(), o.Code, time.Time{})
	must(t, err)
}

func TestClientTrust(t *testing.T) {
	s, _ := start(t, sandbox.Options{})
	other, _ := start(t, sandbox.Options{})
	o := buy(t, s, year)

	opts := s.ClientOptions()
	opts.RootCAs = other.ClientOptions().RootCAs
	_, err := client(t, opts).Activate(t.Context(), o.Code, time.Time{})
	want(t, err, koogallery.ErrUnavailable)
	if s.Codes()[0].Status != sandbox.Issued {
		t.Error("the call went through")
	}
	opts.ExtraRoots = s.CAPEM()
	_, err = client(t, opts).Activate(t.Context(), o.Code, time.Time{})
	must(t, err)

	if block, _ := pem.Decode(s.CAPEM()); block == nil || block.Type != "CERTIFICATE" {
		t.Error("CAPEM is no certificate")
	}
}

func TestClientSecondDomain(t *testing.T) {
	s, _ := start(t, sandbox.Options{})
	o := buy(t, s, year)
	// A port on which nobody listens.
	server := httptest.NewTLSServer(http.NotFoundHandler())
	dead := server.URL
	server.Close()
	opts := s.ClientOptions()
	opts.BaseURLs = []string{dead, s.URL()}
	c := client(t, opts)
	_, err := c.Activate(t.Context(), o.Code, time.Time{})
	must(t, err)
	_, err = c.Activate(t.Context(), o.Code, time.Time{})
	want(t, err, koogallery.ErrAlreadyActive)
}

func TestOutages(t *testing.T) {
	s, c := start(t, sandbox.Options{})
	o := buy(t, s, year)
	for _, outage := range []sandbox.Outage{
		sandbox.OutageGateway, sandbox.OutageHTML, sandbox.OutageTruncated, sandbox.OutageDrop,
	} {
		must(t, s.SetOutage(outage))
		_, err := c.Activate(t.Context(), o.Code, time.Time{})
		want(t, err, koogallery.ErrUnavailable)
		if err != nil && strings.Contains(err.Error(), o.Code.Reveal()) {
			t.Errorf("%s: error tells the code: %v", outage, err)
		}
	}
	want(t, s.SetOutage("flood"), sandbox.ErrInvalid)
	must(t, s.SetOutage(sandbox.OutageNone))
	_, err := c.Activate(t.Context(), o.Code, time.Time{})
	must(t, err)
}

func TestOptions(t *testing.T) {
	for name, opts := range map[string]sandbox.Options{
		"no products":       {},
		"empty product":     {Products: []sandbox.Product{{}}},
		"product twice":     {Products: []sandbox.Product{{ID: "a"}, {ID: "a"}}},
		"plain address":     {Products: []sandbox.Product{{ID: "a"}}, Callback: sandbox.Callback{URL: "http://192.0.2.1/"}},
		"address is a path": {Products: []sandbox.Product{{ID: "a"}}, Callback: sandbox.Callback{URL: "/x"}},
	} {
		if _, err := sandbox.New(opts); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	s := newSandbox(t, sandbox.Options{})
	_, err := s.Buy(t.Context(), "none", 1, year)
	want(t, err, sandbox.ErrUnknownProduct)
	_, err = s.Buy(t.Context(), product, 0, year)
	want(t, err, sandbox.ErrInvalid)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.Buy(cancelled, product, 1, year)
	want(t, err, context.Canceled)
	want(t, s.Receive(koogallery.NewCode("x")), sandbox.ErrUnknownCode)
	if s.AccessKey().IsZero() || s.ControlToken().IsZero() || s.AccessKeyID() == "" || s.SecretAccessKey().IsZero() {
		t.Error("credentials missing")
	}
}

func TestStartStop(t *testing.T) {
	for range 20 {
		s, err := sandbox.New(sandbox.Options{Products: []sandbox.Product{{ID: product}}, ProbeInterval: time.Hour})
		must(t, err)
		must(t, s.Start(t.Context()))
		want(t, s.Start(t.Context()), sandbox.ErrClosed)
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		must(t, s.Close())
		want(t, s.Start(t.Context()), sandbox.ErrClosed)
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	var log bytes.Buffer
	s, c := start(t, sandbox.Options{Log: newLog(&log)})
	o := buy(t, s, year)
	must(t, s.Freeze(o.Code))
	_, _ = c.Activate(t.Context(), o.Code, time.Time{})
	must(t, s.WaitIdle(t.Context()))
	must(t, s.Close())
	for _, secret := range []string{
		o.Code.Reveal(), s.SecretAccessKey().Reveal(), s.AccessKey().Reveal(), s.ControlToken().Reveal(),
	} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("log holds a secret:\n%s", &log)
		}
	}
}
