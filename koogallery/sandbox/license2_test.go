package sandbox_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func TestQueryBatch(t *testing.T) {
	for _, off := range []bool{false, true} {
		m := newShop(t, sandbox.Options{NoQueryV2: off})
		var codes []koogallery.Code
		for range 3 {
			o := m.buy(product, 2, year)
			m.activate(o)
			codes = append(codes, o.Code)
		}
		results, err := m.c.QueryBatch(t.Context(), codes)
		if off {
			want(t, err, koogallery.ErrBatchUnusable)
		} else {
			must(t, err)
			if len(results) != 3 || results[2].Err != nil || !results[2].Info.ExpireTime.Equal(begin.Add(year)) {
				t.Errorf("%+v", results)
			}
			issued := m.buy(product, 1, year)
			_, err = m.c.QueryBatch(t.Context(), []koogallery.Code{codes[0], issued.Code})
			want(t, err, koogallery.ErrNotActivated)
			_, err = m.c.QueryBatch(t.Context(), []koogallery.Code{codes[0], koogallery.NewCode("PLnone")})
			want(t, err, koogallery.ErrInvalidBatch)
		}
		for r := range m.c.QueryAll(t.Context(), slices.Values(codes), nil) {
			must(t, r.Err)
		}
	}
}

func TestUsage(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	a, b, gone := m.buy(product, 1, year), m.buy(product, 1, year), m.buy(product, 1, year)
	for _, o := range []sandbox.Order{a, b, gone} {
		m.activate(o)
	}
	must(t, m.s.ReleaseAfterRetention(gone.Ref()))
	report := func(u ...koogallery.Usage) koogallery.UsageResult {
		t.Helper()
		r, err := m.c.ReportUsage(t.Context(), u)
		must(t, err)
		return r
	}
	unknown := koogallery.NewCode("PLnone")
	r := report(
		koogallery.Usage{License: a.Code, IDs: []string{"x", "y"}},
		koogallery.Usage{License: gone.Code, ActiveNum: 1}, koogallery.Usage{License: unknown, ActiveNum: 1},
		koogallery.Usage{License: b.Code, ActiveNum: 7},
	)
	if diff := cmp.Diff([]koogallery.Code{gone.Code, unknown}, r.Rejected); diff != "" || r.Unread {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
	report(koogallery.Usage{License: a.Code, IDs: []string{"y", "z"}})
	m.advance(24 * time.Hour)
	report(koogallery.Usage{License: a.Code, IDs: []string{"x"}})
	if diff := cmp.Diff([]sandbox.UsageDay{{"2026-03-04", 3, 0}, {"2026-03-05", 1, 0}}, m.state(a).Usage); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]sandbox.UsageDay{{"2026-03-04", 0, 7}}, m.state(b).Usage); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	issued := m.buy(product, 1, year)
	_, err := m.c.ReportUsage(t.Context(), []koogallery.Usage{{License: issued.Code, ActiveNum: 1}, {License: b.Code, ActiveNum: 9}})
	want(t, err, koogallery.ErrNotActivated)
	if m.state(b).Usage[0].ActiveNum != 7 || len(m.state(b).Usage) != 1 {
		t.Error("a refused report was recorded")
	}
}

func TestManualSchedule(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	m.answer = failing
	o := m.buy(product, 1, year)
	must(t, m.s.Freeze(o.Ref()))
	m.advance(2 * time.Hour)
	d := m.last()
	if d.State != sandbox.Failed || len(d.Attempts) != 60 {
		t.Fatalf("%s after %d attempts", d.State, len(d.Attempts))
	}
	for i, a := range d.Attempts {
		if want := begin.Add(time.Duration(i) * 2 * time.Minute); !a.At.Equal(want) {
			t.Fatalf("attempt %d at %v, want %v", i, a.At, want)
		}
	}
	if !m.s.Now().Equal(begin.Add(2 * time.Hour)) {
		t.Errorf("now is %v", m.s.Now())
	}
	must(t, m.s.Retry(d.ID))
	must(t, m.s.Advance(t.Context(), 0))
	want(t, m.s.WaitIdle(t.Context()), sandbox.ErrState)
	m.answer = nil
	m.s.RetryNow()
	must(t, m.s.WaitIdle(t.Context()))
	if c := m.state(o); !c.Told.Frozen || c.Pending != 0 {
		t.Errorf("%+v", c.Told)
	}
	must(t, m.s.Close())
	want(t, m.s.Advance(t.Context(), time.Hour), sandbox.ErrClosed)
	if _, err := m.s.State(koogallery.NewCode("none")); err == nil {
		t.Error("an unknown code has a state")
	}
}

// Nothing lapses by itself; Lapse does it, for every interface.
func TestLapse(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	code, instance, old, forEver := m.buy(product, 1, year), m.buy("ONLINE", 1, year), m.buy("OLD", 1, year), m.buy("ONLINE", 1, 0)
	m.activate(code)
	lapse := func(want int, status sandbox.Status, frozen bool) {
		t.Helper()
		if got := m.s.Lapse(24 * time.Hour); got != want {
			t.Errorf("changed %d, want %d", got, want)
		}
		m.advance(0)
		for _, o := range []sandbox.Order{code, instance, old} {
			c := m.state(o)
			if c.Status != status || c.Frozen != frozen || c.Told.Frozen != frozen || c.Told.Released != (status == sandbox.Released) {
				t.Errorf("%s: %s, frozen %v, told %+v", c.Interface, c.Status, c.Frozen, c.Told)
			}
		}
	}
	m.advance(year)
	lapse(0, sandbox.Expired, false)
	m.advance(24 * time.Hour)
	lapse(3, sandbox.Expired, true)
	lapse(0, sandbox.Expired, true)
	for _, o := range []sandbox.Order{code, instance, old} {
		_, err := m.s.Renew(o.Ref(), year)
		must(t, err)
	}
	m.advance(0)
	lapse(2, sandbox.Alive, false) // the renewal of licence 1.0 has unfrozen it
	must(t, m.s.Freeze(code.Ref()))
	if m.s.Lapse(0) != 0 {
		t.Error("a freeze of another cause was lifted")
	}
	m.advance(year + 24*time.Hour)
	lapse(2, sandbox.Expired, true)
	m.advance(sandbox.Retention)
	lapse(3, sandbox.Released, true)
	if m.state(forEver).Status != sandbox.Alive {
		t.Error("what has no end lapsed")
	}
}

// Everything at once: for the race detector.
func TestConcurrentUse(t *testing.T) {
	m := newMerchant(koogallery.NewAccessKey("k"), nil)
	s, c := start(t, sandbox.Options{
		Callback: sandbox.Callback{URL: address, AccessKey: koogallery.NewAccessKey("k")}, CallbackTransport: inProcess{m},
		RetryInterval: time.Microsecond, MaxAttempts: 5,
		Misbehaviour: sandbox.Misbehaviour{
			Faults:   map[sandbox.Fault]float64{sandbox.FaultLostAnswer: 0.5, sandbox.FaultRepeated: 0.5, sandbox.FaultAPIError: 0.3},
			MaxDelay: time.Microsecond,
		},
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				o, err := s.Buy(t.Context(), product, 1, year)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = c.Activate(t.Context(), o.Code, time.Time{})
				_, _ = s.Renew(o.Ref(), year)
				_ = s.Freeze(o.Ref())
				s.Probe()
				s.RetryNow()
				_, _ = s.Codes(), s.Events(0)
				_ = s.SetMisbehaviour(sandbox.Misbehaviour{Faults: map[sandbox.Fault]float64{sandbox.FaultRepeated: 0.5}})
				s.Lapse(0)
			}
		})
	}
	wg.Wait()
	must(t, s.WaitIdle(t.Context()))
	for _, st := range s.Codes() {
		if st.Pending != 0 || !st.Frozen {
			t.Errorf("%+v", st)
		}
	}
}
