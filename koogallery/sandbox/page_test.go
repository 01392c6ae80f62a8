package sandbox_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

// browser is what a person has: cookies, redirects, forms.
type browser struct {
	t    *testing.T
	hc   *http.Client
	base string
	form string
}

func newBrowser(t *testing.T, s *sandbox.Sandbox) *browser {
	t.Helper()
	hc := httpClient(t, s.ClientOptions())
	jar, err := cookiejar.New(nil)
	must(t, err)
	hc.Jar = jar
	return &browser{t: t, hc: hc, base: s.URL()}
}

func (b *browser) do(method, path string, form url.Values, change func(*http.Request)) (int, string) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.base+path, strings.NewReader(form.Encode()))
	must(b.t, err)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if change != nil {
		change(req)
	}
	resp, err := b.hc.Do(req)
	must(b.t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	must(b.t, err)
	return resp.StatusCode, string(body)
}

func (b *browser) press(fields ...string) (int, string) {
	b.t.Helper()
	form := url.Values{"form": {b.form}}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.do(http.MethodPost, "/sandbox/do", form, nil)
}

func (b *browser) login(s *sandbox.Sandbox) {
	b.t.Helper()
	status, page := b.do(http.MethodPost, "/sandbox/login", url.Values{"token": {s.ControlToken().Reveal()}}, nil)
	found := regexp.MustCompile(`name="form" value="([0-9a-f]+)"`).FindStringSubmatch(page)
	if status != http.StatusOK || found == nil {
		b.t.Fatalf("login: %d %s", status, page)
	}
	b.form = found[1]
}

func TestPage(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	must(t, m.s.Start(t.Context()))
	b := newBrowser(t, m.s)
	o := m.buy(product, 1, year)
	if status, page := b.do(http.MethodGet, "/sandbox/", nil, nil); status != http.StatusOK || strings.Contains(page, o.Code.Reveal()) || strings.Contains(page, "Purchases") {
		t.Errorf("before the login: %d %s", status, page)
	}
	b.login(m.s)
	if status, page := b.do(http.MethodGet, "/sandbox/", nil, nil); status != http.StatusOK || !strings.Contains(page, o.Code.Reveal()) {
		t.Errorf("after the login: %d %s", status, page)
	}
	if status, css := b.do(http.MethodGet, "/sandbox/page.css", nil, nil); status != http.StatusOK || !strings.Contains(css, "table") {
		t.Errorf("style: %d", status)
	}

	ok := func(fields ...string) string {
		t.Helper()
		status, page := b.press(fields...)
		if status != http.StatusOK || strings.Contains(page, `role="alert"`) {
			t.Fatalf("%v: %d %s", fields, status, page)
		}
		return page
	}
	code := o.Code.Reveal()
	ok("do", "buy", "product", "ONLINE", "amount", "2", "period", "30d", "trial", "1")
	ok("do", "advance", "period", "2m")
	instance := m.s.Codes()[1]
	if !instance.Trial || instance.Amount != 2 || instance.Status != sandbox.Alive {
		t.Errorf("bought %+v", instance)
	}
	for _, do := range []string{"receive", "renew", "cancel-renewal", "freeze", "unfreeze"} {
		ok("do", do, "code", code, "period", "365d")
	}
	ok("do", "apply", "code", instance.Code.Reveal(), "device", `<script>alert(1)</script>`)
	ok("do", "probe")
	ok("do", "retry")
	ok("do", "outage", "mode", "html")
	page := ok("do", "misbehave", "fault-late", "0.25")
	if !strings.Contains(page, `name="fault-late" value="0.25"`) || !strings.Contains(page, "open API fails: html") {
		t.Error("the page does not show what was set")
	}
	if strings.Contains(page, "<script") {
		t.Error("the page holds a script")
	}
	ok("do", "release", "code", code)
	ok("do", "stop", "product", "ONLINE")
	if got := m.state(o); got.Status != sandbox.Released {
		t.Errorf("%+v", got)
	}
	if !m.product("ONLINE").Stopped {
		t.Error("not stopped")
	}

	for _, tt := range []struct {
		status int
		fields []string
	}{
		{400, []string{"do", "nothing"}},
		{400, []string{"do", "buy", "product", product, "amount", "many"}},
		{400, []string{"do", "buy", "product", product, "period", "x"}},
		{400, []string{"do", "misbehave", "fault-late", "often"}},
		{404, []string{"do", "freeze", "code", "none"}},
		{409, []string{"do", "freeze", "code", code}},
	} {
		if status, page := b.press(tt.fields...); status != tt.status || !strings.Contains(page, `role="alert"`) {
			t.Errorf("%v: %d", tt.fields, status)
		}
	}
}

// No other site, and nobody without the token, can press a button.
func TestPageRefusals(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	must(t, m.s.Start(t.Context()))
	o := m.buy(product, 1, year)
	freeze := func(form string) url.Values {
		return url.Values{"form": {form}, "do": {"freeze"}, "code": {o.Code.Reveal()}}
	}
	b, stranger := newBrowser(t, m.s), newBrowser(t, m.s)
	b.login(m.s)
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, tt := range map[string]struct {
		who    *browser
		form   string
		change func(*http.Request)
	}{
		"no cookie":     {stranger, b.form, nil},
		"no form token": {b, "", nil},
		"wrong token":   {b, strings.Repeat("0", 64), nil},
		"other origin":  {b, b.form, header("Origin", "https://evil.example")},
		"null origin":   {b, b.form, header("Origin", "null")},
		"other site":    {b, b.form, header("Sec-Fetch-Site", "cross-site")},
		"rebound name":  {b, b.form, func(r *http.Request) { r.Host = "evil.example" }},
	} {
		if status, _ := tt.who.do(http.MethodPost, "/sandbox/do", freeze(tt.form), tt.change); status != http.StatusForbidden {
			t.Errorf("%s: %d", name, status)
		}
	}
	if status, page := b.do(http.MethodGet, "/sandbox/do?do=freeze&form="+b.form+"&code="+o.Code.Reveal(), nil, nil); status == http.StatusOK {
		t.Errorf("GET: %s", page)
	}
	if status, _ := stranger.do(http.MethodPost, "/sandbox/login", url.Values{"token": {"wrong"}}, nil); status != http.StatusForbidden {
		t.Errorf("wrong login: %d", status)
	}
	if status, _ := stranger.do(http.MethodGet, "/sandbox/", nil, func(r *http.Request) { r.Host = "evil.example:443" }); status != http.StatusForbidden {
		t.Errorf("rebound name: %d", status)
	}
	if m.state(o).Frozen {
		t.Error("a button was pressed")
	}
	if status, _ := b.do(http.MethodPost, "/sandbox/do", freeze(b.form), header("Origin", m.s.URL())); status != http.StatusOK || !m.state(o).Frozen {
		t.Errorf("the right one: %d", status)
	}
}

func TestControlOfEverything(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy("ONLINE", 1, 30*24*time.Hour)
	m.advance(0)
	hc := &http.Client{Transport: m.s.Transport()}
	call := func(method, path, body string) (int, string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "https://localhost/sandbox/v1/"+path, strings.NewReader(body))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+m.s.ControlToken().Reveal())
		resp, err := hc.Do(req)
		must(t, err)
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		must(t, err)
		return resp.StatusCode, string(answer)
	}
	for _, tt := range []struct {
		method, path, body string
		status             int
		part               string
	}{
		{"POST", "apply", `{"code":"` + o.ID + `","device":"d"}`, 200, `"state":"applied"`},
		{"POST", "apply", `{"code":"` + o.ID + `","event":"none"}`, 404, "no such event"},
		{"POST", "change", `{"code":"` + o.ID + `","period":"30d"}`, 200, `"code":"CS`},
		{"POST", "convert-trial", `{"code":"` + o.ID + `","period":"30d"}`, 409, "trial"},
		{"POST", "notify", `{"order_id":"` + o.ID + `"}`, 200, "{}"},
		{"POST", "notify", `{"order_id":"none"}`, 404, "order"},
		{"POST", "deny", `{"event":"none"}`, 404, "event"},
		{"POST", "misbehave", `{"faults":{"late":1},"max_delay":"1m","limit":1}`, 200, "{}"},
		{"POST", "misbehave", `{"faults":{"rain":1}}`, 400, "rain"},
		{"POST", "advance", `{"period":"1h"}`, 200, "{}"},
		{"POST", "stop", `{"product":"OLD"}`, 200, "{}"},
		{"POST", "stop", `{"product":"none"}`, 404, "none"},
		{"POST", "callback", `{"product":"OLD","url":"http://127.0.0.1:1/"}`, 200, "{}"},
		{"GET", "products", ``, 200, `"id":"OLD","interface":"license1","sku":"OLD","expire_activity":"expireLicense","encryption":"1","stopped":true`},
		{"GET", "codes", ``, 200, `"interface":"online"`},
		{"GET", "codes", ``, 200, `"applications":[{"event":"ev`},
		{"GET", "codes", ``, 200, `"told":{"at":"`},
		{"GET", "events", ``, 200, `"kind":"order","product":"ONLINE"`},
		{"GET", "deliveries", ``, 200, `"product":"ONLINE"`},
	} {
		if status, answer := call(tt.method, tt.path, tt.body); status != tt.status || !strings.Contains(answer, tt.part) {
			t.Errorf("%s %s: %d %s, want %d with %s", tt.path, tt.body, status, answer, tt.status, tt.part)
		}
	}
	notified := 0
	for _, msg := range m.got {
		if _, ok := msg.(koogallery.OrderNotify); ok {
			notified++
		}
	}
	if notified != 1 {
		t.Errorf("%d notifications", notified)
	}
}
