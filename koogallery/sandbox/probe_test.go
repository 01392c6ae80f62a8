package sandbox_test

import (
	"slices"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func (m *shop) product(id string) sandbox.ProductState {
	m.t.Helper()
	list := m.s.ProductStates()
	i := slices.IndexFunc(list, func(p sandbox.ProductState) bool { return p.ID == id })
	if i < 0 {
		m.t.Fatalf("no product %s", id)
	}
	return list[i]
}

// Probes come twice a day, change nothing, and cover every interface; a good
// merchant stays on sale.
func TestProbesOfAllInterfaces(t *testing.T) {
	m := newShop(t, sandbox.Options{ProbeInterval: sandbox.DefaultProbeInterval})
	m.advance(24 * time.Hour)
	count := map[koogallery.Activity]int{}
	for _, d := range m.s.Deliveries() {
		if d.State != sandbox.Delivered || !d.Test {
			t.Errorf("%s: %s %+v", d.Activity, d.State, d.Attempts)
		}
		count[d.Activity]++
	}
	if len(count) != 3+5+4 || len(m.got) != 0 {
		t.Errorf("probed %v, obeyed %v", count, m.got)
	}
	for a, n := range count {
		if n != 2 {
			t.Errorf("%s was probed %d times a day", a, n)
		}
	}
}

func TestFrozenProduct(t *testing.T) {
	m := newShop(t, sandbox.Options{ProbeInterval: sandbox.DefaultProbeInterval})
	must(t, m.s.SetProductCallback("ONLINE", sandbox.Callback{URL: "http://127.0.0.1/nobody", AccessKey: koogallery.NewAccessKey("wrong")}))
	must(t, m.s.Stop("OLD"))
	// The first probe is on 4 March in the evening, the last of these on the 7th.
	m.advance(3 * 24 * time.Hour)
	if p := m.product("ONLINE"); p.Frozen || p.FailedDays != 4 {
		t.Errorf("after four days %+v", p)
	}
	m.advance(24 * time.Hour)
	if p := m.product("ONLINE"); !p.Frozen || p.FailedDays != sandbox.MaxFailedDays {
		t.Errorf("after five days %+v", p)
	}
	_, err := m.s.Buy(t.Context(), "ONLINE", 1, year)
	want(t, err, sandbox.ErrState)
	for _, id := range []string{product, "ONLINE2", "OLD"} {
		if p := m.product(id); p.Frozen || p.FailedDays != 0 {
			t.Errorf("%+v", p)
		}
	}
	if !has(m.events(sandbox.EventProduct), "frozen") || !has(m.events(sandbox.EventNotice), "day 5 of 5") {
		t.Error("the console does not say so")
	}
	for _, d := range m.s.Deliveries() {
		if d.Activity == koogallery.ActivityV1GetLicense {
			t.Error("a stopped product was probed")
		}
	}
	// A good day in between begins the count anew.
	must(t, m.s.SetProductCallback("ONLINE", sandbox.Callback{}))
	must(t, m.s.Resume("ONLINE"))
	m.advance(24 * time.Hour)
	if p := m.product("ONLINE"); p.Frozen || p.FailedDays != 0 {
		t.Errorf("mended: %+v", p)
	}
	want(t, m.s.Stop("none"), sandbox.ErrUnknownProduct)
	want(t, m.s.SetProductCallback("none", sandbox.Callback{}), sandbox.ErrUnknownProduct)
	_, err = m.s.Buy(t.Context(), "OLD", 1, year)
	want(t, err, sandbox.ErrState)
}

// Days which fail now and then do not add up.
func TestFailedDaysInARow(t *testing.T) {
	m := newShop(t, sandbox.Options{Products: []sandbox.Product{{ID: product}}})
	day := func(good bool) {
		url := "http://127.0.0.1/"
		key := m.s.AccessKey()
		if !good {
			key = koogallery.NewAccessKey("wrong")
		}
		must(t, m.s.SetProductCallback(product, sandbox.Callback{URL: url, AccessKey: key}))
		m.s.Probe()
		m.advance(24 * time.Hour)
	}
	for range 4 {
		day(false)
	}
	day(true)
	for range 4 {
		day(false)
	}
	if p := m.product(product); p.Frozen || p.FailedDays != 4 {
		t.Errorf("%+v", p)
	}
	day(false)
	if p := m.product(product); !p.Frozen {
		t.Errorf("%+v", p)
	}
}

func TestSavedCases(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	_, err := m.s.Debug(koogallery.ActivityGetLicenseAsync, koogallery.NewCode("RA1"))
	must(t, err)
	_, err = m.s.Debug(koogallery.ActivityV1GetLicense, koogallery.NewCode("x"))
	must(t, err)
	m.advance(0)
	if ids := m.s.Probe(); len(ids) != 3+1+1 {
		t.Errorf("%d probes", len(ids))
	}
	m.advance(0)
	for _, d := range m.s.Deliveries() {
		if d.State != sandbox.Delivered {
			t.Errorf("%s %+v", d.Activity, d.Attempts)
		}
	}
	_, err = m.s.Debug(koogallery.ActivityOrderNotify, koogallery.NewCode("x"))
	want(t, err, sandbox.ErrInvalid)
}

// Without an address nobody is probed, and nobody fails.
func TestProbesWithoutAddress(t *testing.T) {
	m := newShop(t, sandbox.Options{ProbeInterval: sandbox.DefaultProbeInterval})
	must(t, m.s.SetCallback(sandbox.Callback{}))
	m.advance(10 * 24 * time.Hour)
	if p := m.product(product); p.Frozen || p.FailedDays != 0 || m.last().State != sandbox.Unsent {
		t.Errorf("%+v, %s", p, m.last().State)
	}
}
