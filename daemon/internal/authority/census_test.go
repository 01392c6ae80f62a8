package authority_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// rounds has a taker go on until it rests, and returns how many steps that were.
func (w *world) rounds(c *authority.CensusTaker) (n int) {
	w.t.Helper()
	for n = 1; ; n++ {
		wait, err := c.Round(w.t.Context())
		if err != nil {
			w.t.Fatal(err)
		}
		if wait >= time.Minute {
			return n
		}
	}
}

func (w *world) census() authority.Census {
	w.t.Helper()
	c, err := w.a.Census(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// of counts licences as they are listed.
func (w *world) of(f authority.Filter) (n int) {
	w.t.Helper()
	f.Now = w.clock()
	p := authority.Page{Limit: store.MaxPage}
	for {
		list, next, err := w.a.Licenses(w.t.Context(), f, p)
		if err != nil {
			w.t.Fatal(err)
		}
		if n += len(list); next == "" {
			return n
		}
		p.Cursor = next
	}
}

// The census says what the lists say: by product, by state as that follows from the
// clock alone, by end; and by day what was activated.
func TestCensusAgreesWithTheLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if c := w.census(); !c.At.IsZero() || len(c.Products)+len(c.Days) != 0 {
		t.Errorf("before anything was counted: %+v", c)
	}
	lasts := func(d time.Duration) func(*authority.Order) {
		return func(o *authority.Order) { o.For = d }
	}
	other := func(o *authority.Order) { o.Product = "other" }
	var all []authority.Issued
	for _, d := range []time.Duration{time.Hour, 5 * day, 20 * day, 60 * day, 365 * day} {
		all = append(all, w.issue(lasts(d)))
	}
	trial := w.issue(lasts(40*day), func(o *authority.Order) { o.Trial = true })
	w.issue(other)
	held, gone := w.issue(other), w.issue(other)
	w.must(w.edit(held.License.ID, license.EventSuspend), "")
	w.must(w.edit(gone.License.ID, license.EventRevoke), "")
	for n, is := range append(all[1:], trial) {
		w.must(w.install(string(rune('a'+n))).activate(is.Code), "")
	}
	w.pass(day)
	w.must(w.install("z").activate(all[4].Code), license.MachineLimit)
	two := w.issue(func(o *authority.Order) { o.Machines = 2 })
	w.must(w.install("x").activate(two.Code), "")
	w.must(w.install("y").activate(two.Code), "")
	w.rounds(w.a.CensusTaker())

	c := w.census()
	if !c.At.Equal(w.clock()) {
		t.Errorf("it was counted at %s", c.At)
	}
	total := 0
	for product, n := range c.Products {
		total += n.Total()
		for _, state := range license.States() {
			if want := w.of(authority.Filter{Product: product, State: state}); n.States[state] != want {
				t.Errorf("%s %s: %d, and %d are listed", product, state, n.States[state], want)
			}
		}
		if want := w.of(authority.Filter{Product: product, State: license.StateActive, Trial: true}); n.Trials != want {
			t.Errorf("%s: %d trials, and %d are listed", product, n.Trials, want)
		}
		for i, span := range authority.CensusSpans() {
			if want := w.of(authority.Filter{Product: product, State: license.StateActive, ExpiringBefore: w.clock().Add(span)}); n.Ending[i] != want {
				t.Errorf("%s: %d end within %s, and %d are listed", product, n.Ending[i], span, want)
			}
		}
	}
	if total != 10 || c.Products["cad"].States[license.StateExpired] != 1 || c.Products["cad"].Trials != 1 || c.Products["cad"].Ending != [3]int{1, 2, 4} {
		t.Errorf("%+v", c.Products)
	}
	days := c.Days[len(c.Days)-2:]
	want := []authority.CensusDay{
		{Day: "2026-03-01", DayCount: authority.DayCount{Activated: 5, Bound: 5}},
		{Day: "2026-03-02", DayCount: authority.DayCount{Activated: 1, Bound: 2}},
	}
	if diff := cmp.Diff(want, days); diff != "" || len(c.Days) != authority.CensusDays || c.Days[0].Day != "2025-12-03" {
		t.Errorf("%d days from %s (-want +got):\n%s", len(c.Days), c.Days[0].Day, diff)
	}

	// Who sees one product sees its numbers and no others.
	ctx := authority.WithCall(t.Context(), &authority.Call{Principal: authority.Principal{Role: authority.RoleViewer, Products: []string{"other"}}})
	c, err := w.a.Census(ctx)
	if last := c.Days[len(c.Days)-1]; err != nil || len(c.Products) != 1 || c.Products["other"].Total() != 3 || last.Bound != 0 {
		t.Errorf("%+v: %v", c, err)
	}
}

// The days are those of the merchant's zone, and old ones are forgotten.
func TestCensusDays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	zone := time.FixedZone("CST", 8*60*60)
	w.again(func(o *authority.Options) { o.Zone = zone })
	taker := w.a.CensusTaker()
	w.pass(5 * time.Hour) // 01:00 of the second of March there
	w.must(w.install("a").activate(w.issue().Code), "")
	w.rounds(taker)
	c := w.census()
	if last := c.Days[len(c.Days)-1]; last.Day != "2026-03-02" || last.Activated != 1 {
		t.Errorf("%+v", last)
	}
	w.pass(89 * day)
	w.issue()
	w.rounds(taker)
	if first := w.census().Days[0]; first.Day != "2026-03-02" || first.Activated != 1 {
		t.Errorf("on its last day: %+v", first)
	}
	w.pass(day)
	w.issue()
	w.rounds(taker)
	for _, d := range w.census().Days {
		if d.Activated != 0 {
			t.Errorf("after 90 days: %+v", d)
		}
	}
}

// A count is done in pages, goes on after a restart where it was kept, and is the same
// as if it had been done at once.
func TestCensusGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.a.Issue(t.Context(), admin, authority.Order{Product: "cad", For: day, Count: 1000}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.a.Issue(t.Context(), admin, authority.Order{Product: "other", For: day, Count: 600}); err != nil {
		t.Fatal(err)
	}
	taker := w.a.CensusTaker()
	if wait, err := taker.Round(t.Context()); err != nil || wait != 0 {
		t.Fatalf("the first page: %s, %v", wait, err)
	}
	if c := w.census(); !c.At.IsZero() {
		t.Errorf("half a count is shown: %+v", c)
	}
	w.again() // killed: what was not kept is counted again
	taker = w.a.CensusTaker()
	if _, err := taker.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.pass(time.Minute) // it is kept with the next page
	if _, err := taker.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.again()
	w.pass(2 * day) // by now all have expired, and the count is too old to go on
	w.rounds(w.a.CensusTaker())
	if c := w.census(); c.Products["cad"].States[license.StateExpired] != 1000 || c.Products["other"].States[license.StateExpired] != 600 {
		t.Errorf("begun anew: %+v", c.Products)
	}

	w.pass(time.Hour)
	began := w.clock()
	w.issue()
	taker = w.a.CensusTaker()
	for range 2 {
		if _, err := taker.Round(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
	}
	w.again()
	steps := w.rounds(w.a.CensusTaker())
	if c := w.census(); !c.At.Equal(began) || c.Products["cad"].Total() != 1001 || c.Products["other"].Total() != 600 {
		t.Errorf("after a restart: counted for %s, %d steps, %+v", c.At, steps, c.Products)
	}
}

// Of several daemons one counts, and another goes on when it is not heard of any more.
func TestCensusIsTakenByOne(t *testing.T) {
	t.Parallel()
	x := sharedWorld(t)
	y := x.beside(0)
	x.issue()
	a, b := x.a.CensusTaker(), y.a.CensusTaker()
	if _, err := a.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if wait, err := b.Round(t.Context()); err != nil || wait != time.Minute {
			t.Errorf("the other one: %s, %v", wait, err)
		}
	}
	if c := y.census(); !c.At.IsZero() {
		t.Errorf("both count: %+v", c)
	}
	x.pass(3 * time.Minute)
	y.pass(3 * time.Minute)
	y.rounds(b)
	if c := y.census(); c.Products["cad"].Total() != 1 {
		t.Errorf("it does not go on: %+v", c)
	}
	if wait, err := a.Round(t.Context()); err != nil || wait != time.Minute {
		t.Errorf("who has lost it: %s, %v", wait, err)
	}
}

// Nothing is counted, and nothing written, by a clock that is not trusted, or while
// nothing has changed for a few minutes.
func TestCensusRests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	taker := w.a.CensusTaker()
	w.issue()
	w.rounds(taker)
	first := w.census().At
	w.pass(5 * time.Minute)
	w.rounds(taker)
	if at := w.census().At; !at.Equal(first) {
		t.Errorf("nothing has changed, and it is counted again at %s", at)
	}
	w.issue()
	w.rounds(taker)
	if c := w.census(); !c.At.Equal(w.clock()) || c.Products["cad"].Total() != 2 {
		t.Errorf("after a change: %+v", c)
	}
	w.pass(10 * time.Minute)
	w.rounds(taker)
	if c := w.census(); !c.At.Equal(w.clock()) {
		t.Errorf("after a while: %+v", c)
	}
	last := w.census().At
	w.set(-90 * day)
	for range 3 {
		w.rounds(taker)
	}
	w.set(90 * day)
	if at := w.census().At; !at.Equal(last) {
		t.Errorf("it was counted by a clock that is not trusted: at %s", at)
	}
	w.pass(time.Hour)
	w.issue()
	w.rounds(taker)
	if c := w.census(); !c.At.Equal(w.clock()) || c.Products["cad"].Total() != 3 {
		t.Errorf("after the clock was put right: %+v", c)
	}
}

// The entries of the last days are found without a walk.
func TestFirstEntrySince(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var at []time.Time
	for n := range 9 {
		at = append(at, w.clock())
		w.issue()
		w.pass(time.Duration(n) * time.Hour)
	}
	for n, since := range at {
		want := int64(n) + 1
		if n == 1 { // both were issued at once
			want = 1
		}
		if got, err := w.a.FirstSince(t.Context(), since); err != nil || got != want {
			t.Errorf("since the %d. it is %d (%v), want %d", n+1, got, err, want)
		}
	}
	if got, err := w.a.FirstSince(t.Context(), w.clock().Add(day)); err != nil || got != 10 {
		t.Errorf("since tomorrow it is %d: %v", got, err)
	}
}
