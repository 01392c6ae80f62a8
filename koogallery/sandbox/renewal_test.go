package sandbox_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func TestLicense1RenewalAfterTheEnd(t *testing.T) {
	var last url.Values
	s := merchantSays(t, sandbox.Options{Products: []sandbox.Product{{ID: "OLD", Interface: sandbox.License1}}}, nil)
	_ = s
	key := koogallery.NewAccessKey("callback key")
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last = r.URL.Query()
		body := []byte(`{"resultCode":"000000","resultMsg":"ok","instanceId":"i1","license":"L"}`)
		w.Header().Set("Body-Sign", koogallery.BodySign(key, body))
		_, _ = w.Write(body)
	})
	s = merchantSays(t, sandbox.Options{Products: []sandbox.Product{{ID: "OLD", Interface: sandbox.License1}}}, h)
	o, err := s.Buy(t.Context(), "OLD", 1, year)
	must(t, err)
	must(t, s.Advance(t.Context(), year+3*24*time.Hour))
	_, err = s.Renew(o.Ref(), year)
	must(t, err)
	must(t, s.Advance(t.Context(), 0))
	if last.Get("activity") != "refreshLicense" || last.Get("periodType") != "year" || last.Get("periodNumber") != "1" {
		t.Errorf("a renewal for a year is told as %s × %s: %v", last.Get("periodNumber"), last.Get("periodType"), last.Get("activity"))
	}
}

func TestOrdersHaveTheirOwnPeriod(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy("ONLINE", 1, year)
	m.advance(0)
	r, err := m.s.Renew(o.Ref(), year)
	must(t, err)
	got, err := m.c.Order(t.Context(), r.ID, r.LineID)
	must(t, err)
	if l := got.Lines[0]; l.PeriodType != koogallery.PeriodYear || l.PeriodNumber != 1 {
		t.Errorf("the order of a renewal for a year: %d × %s", l.PeriodNumber, l.PeriodType)
	}
	u, err := m.s.Unsubscribe(o.Ref())
	must(t, err)
	got, err = m.c.Order(t.Context(), u.ID, u.LineID)
	must(t, err)
	if l := got.Lines[0]; l.ChargingMode != koogallery.ChargePeriod {
		t.Errorf("the unsubscription of a period product is charged %s", l.ChargingMode)
	}
}

func TestCancelledRenewalRestoresTheProduct(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy("ONLINE", 1, year)
	m.advance(0)
	_, err := m.s.RenewAs(o.Ref(), "ONLINE2", year)
	must(t, err)
	_, err = m.s.CancelRenewal(o.Ref())
	must(t, err)
	if got := m.state(o); got.Product != "ONLINE" {
		t.Errorf("after the cancelled renewal the product is %s", got.Product)
	}
}

// Licence 1.0 can name years and months only, of two digits.
func TestLicense1Periods(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	const day = 24 * time.Hour
	for period, good := range map[time.Duration]bool{year: true, 99 * year: true, 30 * day: true, 0: true, 31 * day: false, time.Hour: false, 100 * year: false} {
		_, err := m.s.Buy(t.Context(), "OLD", 1, period)
		if good {
			must(t, err)
			continue
		}
		want(t, err, sandbox.ErrInvalid)
		o := m.buy("OLD", 1, year)
		_, err = m.s.Renew(o.Ref(), period)
		want(t, err, sandbox.ErrInvalid)
		if got := m.state(o); got.Renewals != 0 || !got.ExpiresAt.Equal(begin.Add(year)) {
			t.Errorf("a refused renewal changed %+v", got)
		}
	}
	code := m.buy(product, 1, 31*day) // which the others can
	_, err := m.s.Renew(code.Ref(), time.Hour)
	must(t, err)
}

// The gap since an expiry is no part of what was bought, and cancelling the
// renewal restores the end before it.
func TestCancelledRenewalAfterTheEnd(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy("ONLINE", 1, year)
	m.advance(year + 72*time.Hour)
	r, err := m.s.Renew(o.Ref(), year)
	must(t, err)
	if got := m.state(o); r.Period != year || got.Period != 2*year || !got.ExpiresAt.Equal(begin.Add(2*year+72*time.Hour)) {
		t.Errorf("order for %v, %v in all, until %v", r.Period, got.Period, got.ExpiresAt)
	}
	_, err = m.s.CancelRenewal(o.Ref())
	must(t, err)
	if got := m.state(o); got.Period != year || !got.ExpiresAt.Equal(begin.Add(year)) {
		t.Errorf("cancelled: %v in all, until %v", got.Period, got.ExpiresAt)
	}
}
