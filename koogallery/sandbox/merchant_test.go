package sandbox_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func TestCallbackKeyAloneKeepsTheAddress(t *testing.T) {
	called := false
	s := merchantSays(t, sandbox.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		called = true
		_, _ = w.Write([]byte(`{"resultCode":"000000"}`))
	})
	req := httptest.NewRequest(http.MethodPost, "/sandbox/v1/callback", strings.NewReader(`{"access_key":"next"}`))
	req.Header.Set("Authorization", "Bearer "+s.ControlToken().Reveal())
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, req)
	o := buy(t, s, year)
	must(t, s.Freeze(o.Code))
	must(t, s.Advance(t.Context(), 0))
	if !called {
		t.Errorf("the merchant is no longer called: %d, delivery %s", rec.Code, s.Deliveries()[0].State)
	}
}

func TestRotationReachesProductAddresses(t *testing.T) {
	var got []byte
	s := merchantSays(t, sandbox.Options{}, func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		q := r.URL.Query()
		if q.Get("signature") != koogallery.SignCallback(koogallery.NewAccessKey("next"), q.Get("nonce"), q.Get("timestamp"), got) {
			t.Error("signed with the old key")
		}
		_, _ = w.Write([]byte(`{"resultCode":"000000"}`))
	})
	must(t, s.SetProductCallback(product, sandbox.Callback{URL: address}))
	must(t, s.SetCallback(sandbox.Callback{URL: address, AccessKey: koogallery.NewAccessKey("next")}))
	o := buy(t, s, year)
	must(t, s.Freeze(o.Code))
	must(t, s.Advance(t.Context(), 0))
}

func TestProbeUsesTheProductsLiteral(t *testing.T) {
	var got []string
	s := merchantSays(t, sandbox.Options{Products: []sandbox.Product{{ID: "OLD", Interface: sandbox.License1, ExpireActivity: "expireInstance"}}},
		func(_ http.ResponseWriter, r *http.Request) { got = append(got, r.URL.Query().Get("activity")) })
	s.Probe()
	must(t, s.Advance(t.Context(), 0))
	if !strings.Contains(strings.Join(got, " "), "expireInstance") {
		t.Errorf("probed with %v", got)
	}
}

func (m *shop) debugged(t *testing.T, product, activity string) error {
	t.Helper()
	_, err := m.s.DebugProduct(product, koogallery.Activity(activity), koogallery.NewCode("x"))
	return err
}

// A debug call goes to the address of the product that is named.
func TestDebugOfAProduct(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	must(t, m.s.SetProductCallback("ONLINE2", sandbox.Callback{URL: "http://127.0.0.1/second"}))
	must(t, m.debugged(t, "ONLINE2", "newInstance"))
	must(t, m.debugged(t, "", "newInstance"))
	m.advance(0)
	for id, path := range map[int64]string{1: "/second", 2: "/marketplace"} {
		d, err := m.s.Delivery(id)
		must(t, err)
		if !strings.Contains(d.Last.Request.Reveal(), "http://127.0.0.1"+path) {
			t.Errorf("%d went to %.60s", id, d.Last.Request.Reveal())
		}
	}
	want(t, m.debugged(t, product, "newInstance"), sandbox.ErrInvalid)
	want(t, m.debugged(t, "none", "newInstance"), sandbox.ErrUnknownProduct)
	for _, body := range []string{`{"product":"OLD","activity":"releaseLicense","code":"x"}`, `{"activity":"releaseInstance"}`} {
		if status, answer := control(t, m.s, "POST", "debug", body); status != http.StatusOK {
			t.Error(body, status, answer)
		}
	}
}

// A merchant who hangs does not let debug calls and probes pile up.
func TestDebugIsBounded(t *testing.T) {
	m := newShop(t, sandbox.Options{Products: []sandbox.Product{{ID: product}}})
	for range 200 {
		must(t, m.debugged(t, product, "releaseLicenseCode"))
	}
	want(t, m.debugged(t, product, "releaseLicenseCode"), sandbox.ErrState)
	if ids := m.s.Probe(); len(ids) != 0 || !has(m.events(sandbox.EventProbe), "not sent") {
		t.Errorf("%d probes on top", len(ids))
	}
	m.advance(0)
	must(t, m.debugged(t, product, "releaseLicenseCode"))
}

func TestCallbackByControl(t *testing.T) {
	paths := []string{}
	s := merchantSays(t, sandbox.Options{}, func(w http.ResponseWriter, r *http.Request) {
		paths = append(paths, r.URL.Path)
		_, _ = io.WriteString(w, `{"resultCode":"000000"}`)
	})
	for _, tt := range []struct {
		body   string
		status int
	}{
		{`{}`, 400},
		{`{"product":"OFFI0002","access_key":"x"}`, 409},
		{`{"product":"none","access_key":"x"}`, 404},
		{`{"product":"OFFI0002","ca_pem":"x"}`, 400},
		{`{"url":"http://example.com/"}`, 400},
		{`{"product":"OFFI0001","url":"http://127.0.0.1/own","access_key":"own"}`, 200},
		{`{"product":"OFFI0001","access_key":"next"}`, 200},
		{`{"url":""}`, 200},
	} {
		if status, answer := control(t, s, "POST", "callback", tt.body); status != tt.status {
			t.Errorf("%s: %d %s", tt.body, status, answer)
		}
	}
	must(t, s.Freeze(buy(t, s, year).Code))
	o, err := s.Buy(t.Context(), "OFFI0002", 1, year)
	must(t, err)
	must(t, s.Freeze(o.Code))
	must(t, s.Advance(t.Context(), 0))
	if len(paths) != 1 || paths[0] != "/own" {
		t.Errorf("called %v", paths)
	}
	if d := s.Deliveries()[1]; d.State != sandbox.Unsent {
		t.Errorf("without an address %s", d.State)
	}
}

// The real marketplace takes no address of numbers.
func TestAddressOfNumbersIsWarnedOf(t *testing.T) {
	for url, want := range map[string]bool{
		"https://192.0.2.1/x": true, "https://[2001:db8::1]/x": true, "https://licence.example.com/": false, "http://127.0.0.1:8080/": false,
	} {
		s := newSandbox(t, sandbox.Options{Callback: sandbox.Callback{URL: url}})
		got := false
		for _, e := range s.Events(0) {
			got = got || e.Kind == sandbox.EventWarning && strings.Contains(e.Text, "domain name")
		}
		if got != want {
			t.Errorf("%s: warned is %v", url, got)
		}
	}
}

// Failed days end with the first good probe of a day, and go on where a later
// one of that day fails.
func TestFailedDaysEnd(t *testing.T) {
	m := newShop(t, sandbox.Options{Products: []sandbox.Product{{ID: product}}})
	probe := func(good bool) int {
		key := m.s.AccessKey()
		if !good {
			key = koogallery.NewAccessKey("wrong")
		}
		must(t, m.s.SetProductCallback(product, sandbox.Callback{URL: address, AccessKey: key}))
		m.s.Probe()
		m.advance(0)
		return m.product(product).FailedDays
	}
	tomorrow := func() { m.advance(24 * time.Hour) }
	for day, tt := range []struct {
		good bool
		want int
	}{{false, 1}, {false, 2}, {true, 0}, {false, 1}} {
		if got := probe(tt.good); got != tt.want {
			t.Errorf("day %d: %d failed days, want %d", day, got, tt.want)
		}
		tomorrow()
	}
	if a, b := probe(true), probe(false); a != 0 || b != 2 {
		t.Errorf("good in the morning %d, bad in the afternoon %d", a, b)
	}
}

// An authority of before vouches again; another's is none.
func TestKeptAuthority(t *testing.T) {
	first, _ := start(t, sandbox.Options{})
	must(t, first.Keys().Check())
	second := newSandbox(t, first.Keys().Options(sandbox.Options{Products: first.Products(), Hosts: []string{"market.test"}}))
	must(t, second.Start(t.Context()))
	opts := first.ClientOptions() // as the merchant was configured
	opts.BaseURLs = second.ClientOptions().BaseURLs
	if second.AccessKey().Reveal() != first.AccessKey().Reveal() || second.ControlToken().Reveal() != first.ControlToken().Reveal() {
		t.Error("a key was not taken over")
	}
	if text := fmt.Sprintf("%v %+v", first.Keys(), first.Keys()); strings.Contains(text, first.AccessKey().Reveal()) || strings.Contains(text, first.ControlToken().Reveal()) {
		t.Error("keys print themselves")
	}
	o, err := second.Buy(t.Context(), product, 1, year)
	must(t, err)
	_, err = client(t, opts).Activate(t.Context(), o.Code, time.Time{})
	must(t, err)
	other := newSandbox(t, sandbox.Options{})
	for name, bad := range map[string]sandbox.Options{
		"key of another": {CAPEM: first.CAPEM(), CAKeyPEM: other.CAKeyPEM()},
		"no key":         {CAPEM: first.CAPEM()},
		"no certificate": {CAKeyPEM: first.CAKeyPEM()},
		"two":            {CAPEM: append(append([]byte{}, first.CAPEM()...), other.CAPEM()...), CAKeyPEM: first.CAKeyPEM()},
		"no PEM":         {CAPEM: []byte("x"), CAKeyPEM: koogallery.NewSecretKey("y")},
	} {
		bad.Products = first.Products()
		if _, err := sandbox.New(bad); !errors.Is(err, sandbox.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// On every address of the machine the sandbox is named by a host, and the page
// answers under it.
func TestHosts(t *testing.T) {
	for _, tt := range []struct {
		addr  string
		hosts []string
		want  string
	}{
		{"0.0.0.0:0", nil, "https://localhost:"},
		{":0", []string{"market.test", "192.0.2.7"}, "https://market.test:"},
		{"127.0.0.1:0", []string{"market.test"}, "https://127.0.0.1:"},
		{"localhost:0", nil, "https://localhost:"},
	} {
		s := newSandbox(t, sandbox.Options{Addr: tt.addr, Hosts: tt.hosts})
		must(t, s.Start(t.Context()))
		if !strings.HasPrefix(s.URL(), tt.want) {
			t.Errorf("%s %v: %s", tt.addr, tt.hosts, s.URL())
		}
		for _, host := range append([]string{"localhost:1", "127.0.0.1", "[::1]:9443"}, tt.hosts...) {
			req := httptest.NewRequest(http.MethodGet, "https://"+host+"/sandbox/", http.NoBody)
			rec := httptest.NewRecorder()
			if s.Handler().ServeHTTP(rec, req); rec.Code != http.StatusOK {
				t.Errorf("page under %s: %d", host, rec.Code)
			}
		}
		for _, host := range []string{"evil.example", "0.0.0.0"} {
			req := httptest.NewRequest(http.MethodGet, "https://"+host+"/sandbox/", http.NoBody)
			rec := httptest.NewRecorder()
			if s.Handler().ServeHTTP(rec, req); rec.Code != http.StatusForbidden {
				t.Errorf("page under %s: %d", host, rec.Code)
			}
		}
	}
}

func TestHostsAreChecked(t *testing.T) {
	for _, host := range []string{"", "https://market.test", "market.test:9443", "a b", strings.Repeat("a", 254)} {
		if _, err := sandbox.New(sandbox.Options{Products: []sandbox.Product{{ID: product}}, Hosts: []string{host}}); !errors.Is(err, sandbox.ErrInvalid) {
			t.Errorf("%.20q: %v", host, err)
		}
	}
}

// The control API answers for itself: no gateway's answer, and what is wrong.
func TestControlErrors(t *testing.T) {
	s := newSandbox(t, sandbox.Options{})
	for _, tt := range []struct {
		method, path, body string
		status             int
		part               string
	}{
		{"GET", "buy", "", 405, `{"error":"buy wants POST, not GET"}`},
		{"POST", "codes", "", 405, `codes wants GET, not POST`},
		{"POST", "sell", "{}", 404, `there is no call \"sell\"`},
		{"POST", "outage", `{"mode":"rain"}`, 400, `mode \"rain\" is none of gateway, html, truncated, drop`},
		{"POST", "dialect", `{"body_order":"random"}`, 400, `body_order: \"random\" is none of sorted, sample`},
		{"POST", "fail-order", `{"order_id":"x","fault":"late"}`, 400, `fault \"late\" is none of`},
		{"POST", "dialect", `{"body_order":"sample"}`, 200, `{}`},
		{"GET", "dialect", ``, 200, `"body_order":"sample","signed_form":"raw"`},
	} {
		if status, answer := control(t, s, tt.method, tt.path, tt.body); status != tt.status || !strings.Contains(answer, tt.part) {
			t.Errorf("%s %s %s: %d %s", tt.method, tt.path, tt.body, status, answer)
		}
	}
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/sandbox/v1/buy", http.NoBody))
	if rec.Code != http.StatusUnauthorized {
		t.Errorf("a stranger learns %d", rec.Code)
	}
}
