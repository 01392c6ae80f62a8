package sandbox_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func TestToldMeansTheEndToo(t *testing.T) {
	s := merchantSays(t, sandbox.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"resultCode":"000005"}`))
	})
	sc, err := sandbox.ParseScenario("x.json", []byte(`{"steps":[
	{"do":"buy","product":"OFFI0001","period":"365d","as":"a"},
	{"do":"renew","of":"a","period":"365d"},
	{"do":"settle"},
	{"do":"expect","of":"a","told":true}]}`))
	must(t, err)
	if err := s.Play(t.Context(), sc, nil); err == nil {
		t.Errorf("told is true though none of the %d attempts at the renewal succeeded", len(s.Deliveries()[0].Attempts))
	}
}

func TestPageTellsWhatTheMerchantWasNotTold(t *testing.T) {
	fail := false
	merchant := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if fail {
			_, _ = w.Write([]byte(`{"resultCode":"000005"}`))
			return
		}
		_, _ = w.Write([]byte(`{"resultCode":"000000"}`))
	}))
	defer merchant.Close()
	s, _ := start(t, sandbox.Options{Callback: sandbox.Callback{URL: merchant.URL}, RetryInterval: time.Millisecond, MaxAttempts: 2})
	o := buy(t, s, year)
	_, err := s.Renew(o.Code, year)
	must(t, err)
	must(t, s.WaitIdle(t.Context()))
	fail = true
	must(t, s.ReleaseAfterRetention(o.Code))
	must(t, s.WaitIdle(t.Context()))
	b := newBrowser(t, s)
	_, page := b.do(http.MethodPost, "/sandbox/login", url.Values{"token": {s.ControlToken().Reveal()}}, nil)
	row := page[strings.Index(page, "RELEASED"):]
	row = row[:strings.Index(row, "</tr>")]
	if strings.Contains(row, "<td>told</td>") {
		t.Errorf("the release failed for good and the page says: %s", row)
	}
}

// What the merchant was not told is said in words, and one predicate says so
// everywhere.
func TestNotTold(t *testing.T) {
	m := newShop(t, sandbox.Options{MaxAttempts: 2})
	o := m.buy(product, 1, year)
	instance := m.buy("ONLINE", 1, year)
	check := func(o sandbox.Order, want ...string) {
		t.Helper()
		if got := m.state(o).NotTold(); !slices.Equal(got, want) {
			t.Errorf("not told: %q, want %q", got, want)
		}
	}
	check(o)
	check(instance, "the purchase")
	m.advance(0)
	check(instance)
	m.answer = failing
	_, err := m.s.Renew(o.Ref(), year)
	must(t, err)
	must(t, m.s.Freeze(o.Ref()))
	m.advance(time.Hour)
	check(o, "the end "+begin.Add(2*year).Format(time.DateTime), "the freeze")
	m.answer = nil
	for _, d := range m.s.Deliveries() {
		if d.State == sandbox.Failed {
			must(t, m.s.Retry(d.ID))
		}
	}
	m.advance(0)
	check(o)
	m.answer = failing
	must(t, m.s.Unfreeze(o.Ref()))
	m.advance(time.Hour)
	check(o, "the unfreeze")
	must(t, m.s.ReleaseAfterRetention(o.Ref()))
	m.advance(time.Hour)
	check(o, "the release")
	m.answer = nil
	must(t, m.s.Retry(m.last().ID))
	m.advance(0)
	check(o) // nothing else counts any more
	_, body := control(t, m.s, "GET", "codes", "")
	if !strings.Contains(body, `"told":{`) || strings.Contains(body, "not_told") {
		t.Errorf("control API: %s", body)
	}
}

// A renewal that arrives after its cancellation does not count as the newest.
func TestToldOutOfOrder(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy(product, 1, year)
	m.activate(o)
	m.misbehave(sandbox.FaultReordered, 1)
	_, err := m.s.Renew(o.Ref(), year)
	must(t, err)
	_, err = m.s.CancelRenewal(o.Ref())
	must(t, err)
	m.advance(time.Hour)
	if got := m.state(o); len(got.NotTold()) != 0 || !got.Told.ExpiresAt.Equal(begin.Add(year)) || len(m.got) != 2 {
		t.Errorf("%v %+v", got.NotTold(), got.Told)
	}
}

// Probes that failed are no messages that were given up.
func TestExpectFailedCountsMessagesOnly(t *testing.T) {
	s := merchantSays(t, sandbox.Options{MaxAttempts: 1}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	sc, err := sandbox.ParseScenario("x", []byte(`{"steps":[{"do":"probe"},{"do":"settle"},{"do":"expect","failed":0},
	{"do":"buy","product":"OFFI0001","as":"a"},{"do":"freeze","of":"a"},{"do":"settle"},{"do":"expect","failed":1}]}`))
	must(t, err)
	must(t, s.Play(t.Context(), sc, nil))
}
