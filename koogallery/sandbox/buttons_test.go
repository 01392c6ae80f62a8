package sandbox_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func TestPageHasAButtonForEverything(t *testing.T) {
	s, _ := start(t, sandbox.Options{Products: []sandbox.Product{{ID: product}, {ID: "ONLINE", Interface: sandbox.Online}}})
	buy(t, s, year)
	_, err := s.Buy(t.Context(), "ONLINE", 1, year)
	must(t, err)
	b := newBrowser(t, s)
	_, page := b.do(http.MethodPost, "/sandbox/login", url.Values{"token": {s.ControlToken().Reveal()}}, nil)
	for _, call := range []string{"change", "notify", "debug", "callback", "dialect", "fail-order", "misbehave", "probe", "lapse"} {
		if !strings.Contains(page, `value="`+call+`"`) {
			t.Errorf("no button for %s", call)
		}
	}
}

func TestPageKeepsTheLimit(t *testing.T) {
	merchant := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"resultCode":"000000"}`)) }))
	defer merchant.Close()
	s, _ := start(t, sandbox.Options{
		Callback: sandbox.Callback{URL: merchant.URL}, RetryInterval: time.Millisecond,
		Misbehaviour: sandbox.Misbehaviour{Limit: 1, Faults: map[sandbox.Fault]float64{sandbox.FaultLostAnswer: 1}},
	})
	b := newBrowser(t, s)
	_, page := b.do(http.MethodPost, "/sandbox/login", url.Values{"token": {s.ControlToken().Reveal()}}, nil)
	b.form = regexp.MustCompile(`name="form" value="([^"]+)"`).FindStringSubmatch(page)[1]
	b.press("do", "misbehave", "fault-lost-answer", "1")
	o := buy(t, s, year)
	must(t, s.Freeze(o.Code))
	must(t, s.WaitIdle(t.Context()))
	if n := len(s.Deliveries()[0].Attempts); n != 2 {
		t.Errorf("with a limit of one fault the message took %d attempts", n)
	}
}

// What can only fail has no button.
func TestPageOffersWhatCanSucceed(t *testing.T) {
	m := newShop(t, sandbox.Options{Products: []sandbox.Product{{ID: product}, {ID: "OLD", Interface: sandbox.License1}}})
	must(t, m.s.Start(t.Context()))
	b := newBrowser(t, m.s)
	b.login(m.s)
	row := func(ref string) string {
		t.Helper()
		_, page := b.do(http.MethodGet, "/sandbox/", nil, nil)
		i := strings.Index(page, "<code>"+ref+"</code>")
		if i < 0 {
			t.Fatalf("%s is not on the page", ref)
		}
		row, _, _ := strings.Cut(page[i:], "</tr>")
		return row
	}
	buttons := func(ref string, want string) {
		t.Helper()
		var got []string
		for _, found := range regexp.MustCompile(`<button name="do" value="([a-z-]+)"`).FindAllStringSubmatch(row(ref), -1) {
			got = append(got, found[1])
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("%.4s…: %s; want %s", ref, text, want)
		}
	}
	buttons(product, "stop")
	must(t, m.s.Stop(product))
	buttons(product, "resume")
	if strings.Contains(row(product), ">Buy<") {
		t.Error("what is stopped can be bought")
	}
	must(t, m.s.Resume(product))
	forever, code, old := m.buy(product, 1, 0), m.buy(product, 1, year), m.buy("OLD", 1, year)
	buttons(forever.Ref().Reveal(), "receive freeze notify unsubscribe release")
	buttons(code.Ref().Reveal(), "receive renew freeze notify unsubscribe release")
	buttons(old.Ref().Reveal(), "renew freeze expire notify unsubscribe release")
	m.advance(0)
	m.activate(code)
	must(t, m.s.Receive(code.Ref()))
	_, err := m.s.Renew(code.Ref(), year)
	must(t, err)
	must(t, m.s.Freeze(code.Ref()))
	must(t, m.s.Freeze(old.Ref()))
	buttons(code.Ref().Reveal(), "renew cancel-renewal unfreeze expire notify unsubscribe release")
	buttons(old.Ref().Reveal(), "renew expire get-license notify unsubscribe release")
	must(t, m.s.ReleaseAfterRetention(code.Ref()))
	buttons(code.Ref().Reveal(), "")
}

// Every form of the page does what it says.
func TestPageForms(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	must(t, m.s.Start(t.Context()))
	b := newBrowser(t, m.s)
	b.login(m.s)
	ok := func(fields ...string) string {
		t.Helper()
		status, page := b.press(fields...)
		if status != http.StatusOK || strings.Contains(page, `role="alert"`) {
			t.Fatalf("%v: %d %s", fields, status, page)
		}
		return page
	}
	ok("do", "buy", "product", "ONLINE", "amount", "1", "period", "365d", "email", "a@example.com", "extend", "host = db1\narea=north")
	m.advance(0)
	c := m.s.Codes()[0]
	ok("do", "change", "code", c.OrderID, "amount", "4", "product", "ONLINE2", "period", "365d")
	if got := m.s.Codes()[0]; got.Amount != 4 || got.Product != "ONLINE2" {
		t.Errorf("changed to %d × %s", got.Amount, got.Product)
	}
	ok("do", "apply", "code", c.OrderID, "device", "d", "effective_at", "2027-01-02T03:04", "expires_at", "")
	if got := m.s.Codes()[0].Applications[0]; !got.EffectiveAt.Equal(time.Date(2027, 1, 2, 3, 4, 0, 0, time.UTC)) {
		t.Errorf("applied for %v", got.EffectiveAt)
	}
	order, err := m.c.Order(t.Context(), c.OrderID, "")
	if err != nil || order.Buyer.Email.Reveal() != "a@example.com" || order.Extend["host"] != "db1" || order.Extend["area"] != "north" {
		t.Errorf("%+v %v", order, err)
	}
	ok("do", "fail-order", "order_id", c.OrderID, "fault", "api-5xx")
	if _, err := m.c.Order(t.Context(), c.OrderID, ""); err == nil {
		t.Error("the order is answered well")
	}
	ok("do", "dialect", "expire_time", "17")
	ok("do", "dialect", "body_order", "sample")
	if d := m.s.Dialect(); d.ExpireTime != "17" || d.BodyOrder != "sample" {
		t.Errorf("%+v", d)
	}
	ok("do", "debug", "product", "ONLINE", "activity", "newInstance", "code", "x")
	if d := m.last(); !d.Test || d.Activity != "newInstance" {
		t.Errorf("%+v", d)
	}
	ok("do", "callback", "product", "", "url", "", "access_key", "next")
	if m.s.AccessKey().Reveal() != "next" {
		t.Error("the key was not exchanged")
	}
	if page := ok("do", "callback", "product", "OLD", "url", "http://127.0.0.1/old"); !strings.Contains(page, "at http://127.0.0.1/old") || !strings.Contains(page, "Production address: "+address) {
		t.Error("the addresses are not shown")
	}
	if page := ok("do", "callback", "product", "", "nobody", "1"); !strings.Contains(page, "nobody is called") {
		t.Error("the address was not removed")
	}
	ok("do", "misbehave", "limit", "7", "skew", "90s", "fault-late", "0.5")
	page := ok("do", "misbehave", "fault-late", "")
	for _, part := range []string{`name="limit" value="7"`, `name="skew" value="1m30s"`, `name="fault-late" value="0"`} {
		if !strings.Contains(page, part) {
			t.Errorf("%s is lost", part)
		}
	}
	for _, bad := range [][]string{
		{"do", "apply", "code", c.OrderID, "effective_at", "soon"}, {"do", "buy", "product", product, "extend", "novalue"}, {"do", "dialect", "expire_time", "15"},
	} {
		if status, page := b.press(bad...); status != http.StatusBadRequest || !strings.Contains(page, `role="alert"`) {
			t.Errorf("%v: %d", bad, status)
		}
	}
}
