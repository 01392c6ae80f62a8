package authority_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

func (w *world) health() authority.Health {
	w.t.Helper()
	h, err := w.a.Health(w.t.Context(), "koogallery", true)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func (w *world) save() {
	w.t.Helper()
	if err := w.a.SaveHealth(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) probe(result string) {
	w.a.Count(authority.Heard{Channel: "koogallery", Activity: "releaseLicenseCode", Result: result, Test: true})
}

// problems are the codes of the problems, each with its level.
func problems(h authority.Health) []string {
	out := []string{}
	for _, p := range h.Problems {
		out = append(out, string(p.Level)+" "+string(p.Code))
	}
	return out
}

// script plays half-days: the first letter is a morning in the zone of the
// probes. o: a probe is answered, x: one is refused, -: none comes.
func (w *world) script(halves string) {
	for i, c := range halves {
		if i > 0 {
			w.pass(12 * time.Hour)
		}
		switch c {
		case 'o':
			w.probe("000000")
		case 'x':
			w.probe("000002")
		}
	}
}

// morningThere is 08:00 in Shanghai, where the day before has not ended in UTC
// but for the hour.
var morningThere = time.Date(2026, 3, 2, 0, 30, 0, 0, time.UTC)

func healthWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.again(func(o *authority.Options) { o.Channels[0].ProbeZone = time.FixedZone("UTC+8", 8*3600) })
	w.pass(morningThere.Sub(begin))
	return w
}

// What keeps probes from succeeding is said on the first day, and is a failure
// long before trading is frozen.
func TestProbesOfDays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		halves string
		after  time.Duration // since the last half-day began
		days   string        // of the last ones, by the first letters of their states
		bad    int
		want   []string
	}{
		{"", 0, "", 0, []string{"note no_probes"}},
		{"-", 9 * day, "", 0, []string{"note no_probes"}},
		{"o", 0, "o", 0, []string{}},
		{"oo", 0, "o", 0, []string{}},
		{"oooo", time.Hour, "oo", 0, []string{}},
		{"oo", 23 * time.Hour, "o_", 0, []string{}},
		{"oo-", 13 * time.Hour, "o_", 0, []string{"warn probes_missing"}},
		{"oo--", 13 * time.Hour, "om_", 1, []string{"warn probes_missing", "warn bad_days"}},
		{"oo--o", 0, "omo", 0, []string{}},
		{"oo----", 12 * time.Hour, "omm_", 2, []string{"warn probes_missing", "fail bad_days"}},
		{"oo--------", 12 * time.Hour, "omm" + "mm_", 4, []string{"warn probes_missing", "fail bad_days"}},
		{"oo----------", 12 * time.Hour, "ommmmm_", 5, []string{"warn probes_missing", "fail bad_days"}},
		{"o", 13 * day, "hmmmmmmmmmmmm_", 12, []string{"warn probes_missing", "fail bad_days"}},
		{"o", 14 * day, "mmmmmmmmmmmmm_", 0, []string{"warn probes_gone"}},
		{"o", 40 * day, "mmmmmmmmmmmmm_", 0, []string{"warn probes_gone"}},
		{"x", 0, "r", 1, []string{"fail probes_refused", "warn bad_days"}},
		{"xo", 0, "r", 1, []string{"warn bad_days"}},
		{"xoo", 0, "ro", 0, []string{}},
		{"oox", 0, "or", 1, []string{"fail probes_refused", "warn bad_days"}},
		{"ooxxxx", 0, "orr", 2, []string{"fail probes_refused", "fail bad_days"}},
		{"o-o-", time.Hour, "ho", 0, []string{}},
		{"o-o-", 12 * time.Hour, "hh_", 0, []string{"warn probes_half"}},
		{"o--o", 12 * time.Hour, "hh_", 0, []string{"warn probes_half"}},
		{"o-o-o", 0, "hho", 0, []string{"warn probes_half"}},
		{"o-o-oo", 0, "hho", 0, []string{}},
		{"-o-o", 12 * time.Hour, "hh_", 0, []string{}}, // on sale since the first noon
		{"xx", 0, "r", 1, []string{"fail probes_refused", "warn bad_days"}},
		{"xxxo", 0, "rr", 2, []string{"warn bad_days"}},
		{"xxxxxxxxxo", 0, "rrrrr", 5, []string{"fail bad_days"}},
	} {
		t.Run(fmt.Sprintf("%s+%s", c.halves, c.after), func(t *testing.T) {
			t.Parallel()
			w := healthWorld(t)
			w.script(c.halves)
			w.save()
			w.again()
			w.pass(c.after)
			h := w.health()
			if diff := cmp.Diff(c.want, problems(h)); diff != "" || h.BadDays != c.bad {
				t.Errorf("%d bad days; problems (-want +got):\n%s", h.BadDays, diff)
			}
			days := ""
			for _, d := range h.Days {
				days += map[authority.ProbeState]string{
					"ok": "o", "half": "h", "refused": "r", "missed": "m", "open": "_", "unknown": "?",
				}[d.Probes]
			}
			if days != c.days {
				t.Errorf("the days are %q, want %q: %+v", days, c.days, h.Days)
			}
			for _, p := range h.Problems {
				if p.Detail == "" || p.Mend == "" {
					t.Errorf("%s does not say what is wrong, or what to do: %+v", p.Code, p)
				}
			}
		})
	}
}

// A silence of 13 days says that the product is off sale, and ends the row of bad
// days: those that are refused when it is on sale again count anew.
func TestProbesLongGone(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	w.script("ooxxxx")
	w.save()
	for range 14 { // a message a day keeps the days, and brings no probe
		w.pass(day)
		w.a.Count(authority.Heard{Channel: "koogallery", Activity: "releaseLicenseCode", Result: "000000"})
	}
	if h := w.health(); !h.Gone || h.BadDays != 0 || !slices.Equal(problems(h), []string{"warn probes_gone"}) {
		t.Errorf("gone %v, %d bad days: %v", h.Gone, h.BadDays, h.Problems)
	}
	w.probe("000002")
	w.save()
	if h := w.health(); h.Gone || h.BadDays != 1 || !slices.Equal(problems(h), []string{"fail probes_refused", "warn bad_days"}) {
		t.Errorf("on sale again: %d bad days: %v", h.BadDays, h.Problems)
	}
	w.pass(12 * time.Hour)
	w.script("xxxxxxxx") // to the end of the fifth day
	if h := w.health(); h.BadDays != 5 || h.Level() != authority.LevelFail {
		t.Errorf("five days of refused probes: %d bad days: %v", h.BadDays, h.Problems)
	}
}

// Probes that do not come for less than that are missed, whatever was before.
func TestProbesRefusedWithoutEnd(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	w.script(strings.Repeat("x", 60))
	if h := w.health(); h.Gone || h.BadDays != 14 || !slices.Equal(problems(h), []string{"fail probes_refused", "fail bad_days"}) {
		t.Errorf("30 days of refused probes: gone %v, %d bad days: %v", h.Gone, h.BadDays, h.Problems)
	}
}

// Days begin in the zone of the probes, counts survive a restart, and only what
// was not written yet is lost.
func TestHealthIsKept(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	count := func(activity, result string, test bool, n int) {
		for range n {
			w.a.Count(authority.Heard{Channel: "koogallery", Activity: activity, Result: result, Test: test})
		}
	}
	count("refreshLicenseCode", "000000", false, 3)
	count("refreshLicenseCode", "000000", true, 2)
	w.a.Count(authority.Heard{Channel: "koogallery", Doubt: authority.DoubtForm})
	w.a.Count(authority.Heard{Channel: "nobody", Activity: "refreshLicenseCode", Result: "000000"})
	w.save()
	w.pass(6 * time.Hour) // 14:30 there
	count("refreshLicenseCode", "000000", false, 1)
	count("refreshLicenseCode", "000003", true, 1)
	before := w.health()
	w.save()
	w.again()
	if diff := cmp.Diff(before, w.health()); diff != "" {
		t.Errorf("what is written differs from what was counted (-before +after):\n%s", diff)
	}
	count("refreshLicenseCode", "000000", false, 1) // the daemon is killed
	w.again()
	h := w.health()
	want := []authority.DayHealth{{
		HealthDay: authority.HealthDay{
			Day: "2026-03-02",
			Callbacks: []authority.CallbackCount{
				{Activity: "refreshLicenseCode", Result: "000000", Count: 4},
				{Activity: "refreshLicenseCode", Result: "000000", Test: true, Count: 2},
				{Activity: "refreshLicenseCode", Result: "000003", Test: true, Count: 1},
			},
			Morning:   authority.ProbeCount{OK: 2},
			Afternoon: authority.ProbeCount{Refused: 1, Result: "000003", Reason: "refreshLicenseCode"},
			Doubted:   map[authority.Doubted]int{authority.DoubtForm: 1},
		},
		Probes: authority.ProbesRefused,
	}}
	if diff := cmp.Diff(want, h.Days); diff != "" {
		t.Errorf("days (-want +got):\n%s", diff)
	}
	if !h.FirstProbe.Equal(morningThere) || !h.LastProbe.Equal(morningThere.Add(6*time.Hour)) || !h.LastMessage.Equal(h.LastProbe) {
		t.Errorf("%+v", h)
	}
	w.pass(10 * time.Hour) // 00:30 of the next day there, the same day in UTC
	count("refreshLicenseCode", "000000", true, 1)
	if days := w.health().Days; len(days) != 2 || days[1].Day != "2026-03-03" || days[1].Morning.OK != 1 {
		t.Errorf("%+v", days)
	}
	w.must(errOf(w.a.Health(t.Context(), "nobody", true)), license.NotFound)
}

func errOf[T any](_ T, err error) error { return err }

// Fourteen days are kept, and nothing of a clock that was ahead; who has a key
// cannot make the counts grow.
func TestHealthIsBounded(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	w.pass(200 * day)
	w.probe("000000")
	w.save()
	w.pass(-200 * day)
	w.script(strings.Repeat("oo", 20))
	for n := range 1000 {
		w.a.Count(authority.Heard{Channel: "koogallery", Activity: fmt.Sprint(n), Result: "000002"})
	}
	w.save()
	h := w.health()
	if len(h.Days) != 14 || h.Days[13].Day != "2026-03-21" || h.LastProbe.After(w.clock()) || h.BadDays != 0 {
		t.Errorf("%d days to %s, %+v", len(h.Days), h.Days[len(h.Days)-1].Day, h.LastProbe)
	}
	if n := len(h.Standings); n > 2*130 {
		t.Errorf("%d standings", n)
	}
	if n := len(h.Days[13].Callbacks); n > 130 {
		t.Errorf("%d kinds of callbacks", n)
	}
	total := 0
	for _, c := range h.Days[13].Callbacks {
		total += c.Count
	}
	if total != 1002 {
		t.Errorf("%d callbacks", total)
	}
}

// Several daemons on one store add to the same counts.
func TestHealthOfReplicas(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	first := w.a
	w.again()
	second := w.a
	for _, a := range []*authority.Authority{first, second, first} {
		w.a = a
		w.probe("000000")
		w.save()
	}
	w.a = second
	if h := w.health(); h.Days[0].Morning.OK != 3 {
		t.Errorf("%+v", h.Days)
	}
}

// The loop writes once a minute and at the end; a store that cannot be written
// loses nothing, and one that runs the function again counts once.
func TestHealthLoop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, faults := loopWorld(t)
		writes, fault := 0, faultstore.None
		faults.FailUpdate(func(faultstore.Update) faultstore.Fault { writes++; return fault })
		ctx, cancel := context.WithCancel(t.Context())
		var failures []string
		var running sync.WaitGroup
		running.Go(func() { w.a.RunHealth(ctx, func(err error) { failures = append(failures, err.Error()) }) })
		for range 600 {
			w.probe("000000")
			time.Sleep(time.Second)
		}
		synctest.Wait()
		if writes < 9 || writes > 11 {
			t.Errorf("%d writes in 10 minutes", writes)
		}
		time.Sleep(time.Hour)
		if synctest.Wait(); writes > 11 {
			t.Errorf("%d writes while nothing came", writes)
		}
		fault = faultstore.NotDone
		w.probe("000000")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(failures) == 0 || !strings.Contains(failures[0], "write what was counted") {
			t.Errorf("failures: %q", failures)
		}
		fault = faultstore.Again
		w.probe("000000")
		cancel()
		running.Wait()
		faults.FailUpdate(nil)
		w.again()
		total := 0
		for _, d := range w.health().Days {
			total += d.Morning.OK + d.Afternoon.OK
		}
		if total != 602 {
			t.Errorf("%d probes are kept, want 602", total)
		}
	})
}

// Signatures that do not fit are the marketplace's own only where nothing of it
// fits any more; a stranger cannot raise an alarm.
func TestDoubtedCallbacks(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	doubt := func(d authority.Doubted) { w.a.Count(authority.Heard{Channel: "koogallery", Doubt: d}) }
	w.script("oo")
	doubt(authority.DoubtSignature)
	doubt(authority.DoubtCopy)
	doubt(authority.DoubtForm)
	if got := problems(w.health()); !slices.Equal(got, []string{"note signatures_refused"}) {
		t.Errorf("a stranger beside good probes: %v", got)
	}
	w.pass(25 * time.Hour)
	doubt(authority.DoubtSignature)
	doubt(authority.DoubtTime)
	if got := problems(w.health()); !slices.Contains(got, "fail signatures_refused") || !slices.Contains(got, "fail times_refused") {
		t.Errorf("nothing fits any more: %v", got)
	}
	w.probe("000000")
	if got := problems(w.health()); slices.Contains(got, "fail signatures_refused") {
		t.Errorf("mended: %v", got)
	}
}

// Real messages that failed or were refused are told for two days.
func TestFailedCallbacks(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	w.script("oo")
	for result, n := range map[string]int{"000005": 2, "000002": 3, "000900": 4, "000000": 5, "000001": 1} {
		for range n {
			w.a.Count(authority.Heard{Channel: "koogallery", Activity: "newInstance", Result: result})
		}
	}
	h := w.health()
	if got := problems(h); !slices.Equal(got, []string{"warn callbacks_failed", "warn callbacks_refused"}) ||
		!strings.HasPrefix(h.Problems[0].Detail, "2 calls") || !strings.HasPrefix(h.Problems[1].Detail, "3 calls") {
		t.Errorf("%+v", h.Problems)
	}
	w.pass(12 * time.Hour)
	w.script("oooo")
	if got := problems(w.health()); len(got) != 0 {
		t.Errorf("two days later: %v", got)
	}
}

// What waits in the outbox and in the ledger of orders is told with its age.
func TestHealthOfOutboxAndOrders(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	w.script("oo")
	job := func(id, channel string, parked bool) license.Job {
		j := license.Job{ID: id, Kind: license.JobCheck, Channel: channel, CreatedAt: w.clock(), DueAt: w.clock(), Failure: "no route"}
		if parked {
			j.ParkedAt = w.clock()
		}
		return j
	}
	order := func(id string, stage license.Stage, rejections int) license.Order {
		return license.Order{Channel: "koogallery", ID: id, Line: id, Stage: stage, StageAt: w.clock(), SeenAt: w.clock(), Rejections: rejections}
	}
	err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		for _, j := range []license.Job{
			job("job_1", "koogallery", false), job("job_2", "koogallery", true), job("job_3", "koogallery", true), job("job_4", "elsewhere", true),
		} {
			if err := tx.CreateJob(ctx, j); err != nil {
				return err
			}
		}
		for _, o := range []license.Order{
			order("CS1", license.StageDelivered, 0), order("CS2", license.StageDelivered, 3), order("CS3", license.StageToDeliver, 0),
			order("CS4", license.StageCompleted, 9),
		} {
			if err := tx.CreateOrder(ctx, o); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if h := w.health(); h.Waiting != 1 || h.Parked != 2 || !h.ParkedOldest.Equal(w.clock()) || h.Orders.Open != 3 ||
		!slices.Equal(problems(h), []string{"warn outbox_parked", "warn orders_rejected"}) {
		t.Errorf("%+v, %v", h.Orders, problems(h))
	}
	w.pass(12 * time.Hour)
	w.script(strings.Repeat("oo", 6))
	h := w.health()
	want := []string{"warn outbox_parked", "warn outbox_late", "warn orders_to_deliver", "warn orders_no_answer", "warn orders_rejected"}
	if diff := cmp.Diff(want, problems(h)); diff != "" {
		t.Errorf("six days later (-want +got):\n%s", diff)
	}
	if !strings.Contains(h.Problems[1].Detail, "no route") || !strings.HasPrefix(h.Problems[3].Detail, "2 orders") {
		t.Errorf("%+v", h.Problems)
	}
	if n, more, err := w.a.RetryParked(t.Context(), admin, "koogallery"); n != 2 || more || err != nil {
		t.Errorf("%d, %v, %v", n, more, err)
	}
	if h := w.health(); h.Parked != 0 || h.Waiting != 3 || w.events(license.ActionJobRetry) != 2 {
		t.Errorf("after the retry: %+v", h)
	}
	if n, _, err := w.a.RetryParked(t.Context(), admin, ""); n != 1 || err != nil {
		t.Errorf("of every entry: %d, %v", n, err)
	}
	_, _, err = w.a.RetryParked(t.Context(), admin, "nobody")
	w.must(err, license.NotFound)
}
