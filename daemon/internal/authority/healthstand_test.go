package authority_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// hear counts real messages of an activity.
func (w *world) hear(activity, result string, about authority.Subject) {
	w.a.Count(authority.Heard{Channel: "koogallery", Activity: activity, Result: result, About: about})
}

// detail is what is said of a problem, "" where there is none.
func detail(h authority.Health, code authority.ProblemCode) string {
	for _, p := range h.Problems {
		if p.Code == code {
			return p.Detail
		}
	}
	return ""
}

// A debug case that was mended and replayed is mended, whatever else was refused
// in the same half of the day; each activity is judged by its last probe.
func TestProbesMendedAndReplayed(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	probe := func(activity, result, field string) {
		w.a.Count(authority.Heard{Channel: "koogallery", Activity: activity, Result: result, Field: field, Test: true})
	}
	w.script("oo")
	w.pass(12 * time.Hour)
	probe("updateLicenseCodeStatus", "000002", "status")
	probe("refreshLicenseCode", "000002", "expireTime")
	probe("releaseLicenseCode", "000000", "") // says nothing about the others
	w.save()
	if got := detail(w.health(), authority.ProblemProbesRefused); !strings.Contains(got, "refreshLicenseCode with 000002: expireTime") ||
		!strings.Contains(got, "updateLicenseCodeStatus with 000002: status") || !strings.HasPrefix(got, "2 kinds of probes were refused") {
		t.Errorf("said is: %q", got)
	}
	w.pass(time.Hour)
	probe("updateLicenseCodeStatus", "000000", "")
	w.again() // one is saved, one is not: the daemon was killed
	w.pass(time.Minute)
	probe("refreshLicenseCode", "000000", "")
	if got := detail(w.health(), authority.ProblemProbesRefused); !strings.HasPrefix(got, "1 kind of probe was refused: updateLicenseCodeStatus") {
		t.Errorf("one was replayed: %q", got)
	}
	probe("updateLicenseCodeStatus", "000000", "")
	w.save()
	if h := w.health(); !slices.Equal(problems(h), []string{"warn bad_days"}) || strings.Contains(h.Problems[0].Mend, "stands beside") {
		t.Errorf("mended and replayed: %+v", h.Problems)
	}
}

// A debug case that was taken out of the console is no alarm for ever.
func TestProbesTakenOut(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	w.script("oo")
	w.a.Count(authority.Heard{Channel: "koogallery", Activity: "newInstance", Result: "000002", Field: "orderLineId", Test: true})
	for n := range 4 {
		if got := detail(w.health(), authority.ProblemProbesRefused); (got != "") != (n < 3) {
			t.Errorf("after %d half days: %q", n, got)
		}
		w.pass(12 * time.Hour)
		w.probe("000000")
	}
}

// Every real callback of an activity fails while probes, which touch no store,
// succeed: it ends in a delisting.
func TestRealCallbacksFail(t *testing.T) {
	t.Parallel()
	for _, result := range []string{"000005", "000002", "000003", "000100"} {
		w := healthWorld(t)
		w.script("oo")
		for range 2 {
			w.pass(12 * time.Hour)
			w.probe("000000")
			for range 60 {
				w.hear("newInstance", result, authority.Subject{})
				w.hear("refreshLicenseCode", "000000", authority.Subject{}) // another activity is no consolation
			}
			w.save()
		}
		h := w.health()
		if text := detail(h, authority.ProblemCallbacksFailed) + detail(h, authority.ProblemCallbacksRefused); h.Level() != authority.LevelFail ||
			!strings.Contains(text, "none of newInstance has succeeded since") {
			t.Errorf("%s: 120 real calls failed and none succeeded: level %q, %+v", result, h.Level(), h.Problems)
		}
		w.hear("newInstance", "000000", authority.Subject{})
		if h := w.health(); h.Level() != authority.LevelWarn {
			t.Errorf("%s: one succeeded: level %q, %+v", result, h.Level(), h.Problems)
		}
		w.pass(time.Second)
		w.hear("newInstance", result, authority.Subject{})
		if h := w.health(); h.Level() != authority.LevelWarn {
			t.Errorf("%s: then one failed: level %q, %+v", result, h.Level(), h.Problems)
		}
	}
	w := healthWorld(t) // an answer about a device's quota is as it should be
	w.script("oo")
	for range 5 {
		w.pass(time.Hour)
		w.hear("getLicenseAsync", "000900", authority.Subject{})
	}
	if got := problems(w.health()); len(got) != 0 {
		t.Errorf("quotas: %v", got)
	}
}

// What is said of repeats is what the marketplace does with that activity.
func TestRepeatsOfEachActivity(t *testing.T) {
	t.Parallel()
	for activity, says := range map[string]string{
		"refreshLicenseCode": "repeated 60 times, every 2 minutes", "newInstance": "up to 3 hours, then the order is cancelled and refunded",
		"refreshInstance": "sent once, then it waits for a restart", "updateInstanceStatus": "repeated 60 times, every 2 minutes",
		"getLicense": "hourly for 3 hours", "refreshLicense": "sent once", "getLicenseAsync": "not documented",
	} {
		for _, result := range []string{"000005", "000002"} {
			w := healthWorld(t)
			w.script("oo")
			w.hear(activity, result, authority.Subject{})
			h := w.health()
			if text := detail(h, authority.ProblemCallbacksFailed) + detail(h, authority.ProblemCallbacksRefused); !strings.Contains(text, activity+" 1") || !strings.Contains(text, says) {
				t.Errorf("%s %s: %q, want %q", activity, result, text, says)
			}
		}
	}
}

// Orders are looked at to the last of them, and those that wait for nobody here
// are not counted.
func TestWarningsOfManyOrders(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	w.script("oo")
	order := func(id string, stage license.Stage) license.Order {
		return license.Order{Channel: "koogallery", ID: id, Line: id, Stage: stage, StageAt: w.clock(), SeenAt: w.clock()}
	}
	w.must(w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		for n := range store.MaxPage {
			if err := tx.CreateOrder(ctx, order(fmt.Sprintf("CS%05d", n), license.StageAccepted)); err != nil {
				return err
			}
		}
		return tx.CreateOrder(ctx, order("CS99999", license.StageToDeliver))
	}), "")
	w.pass(12 * time.Hour)
	w.script("oooooo")
	h := w.health()
	if !slices.Equal(problems(h), []string{"warn orders_to_deliver"}) || h.Orders.Open != 1 || !strings.HasPrefix(detail(h, authority.ProblemOrdersToDeliver), "1 order has waited") {
		t.Errorf("an order waits for 3 days: %+v, %+v", h.Orders, h.Problems)
	}
	seen, err := w.a.Health(t.Context(), "koogallery", false)
	if err != nil || !slices.Equal(problems(seen), problems(h)) || !seen.Orders.At.Equal(w.clock()) {
		t.Errorf("as they were looked at last: %+v (%v)", seen.Orders, err)
	}
}

// One unsigned call from anywhere is no failure of an entry that the marketplace
// does not probe: none yet, or none any more.
func TestStrangerAlone(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(w *world){
		"not on sale yet":     func(*world) {},
		"off sale":            func(w *world) { w.script("oo"); w.save(); w.pass(20 * day) },
		"only a message once": func(w *world) { w.hear("newInstance", "000000", authority.Subject{}); w.pass(2 * day) },
	} {
		w := healthWorld(t)
		before(w)
		w.a.Count(authority.Heard{Channel: "koogallery", Doubt: authority.DoubtTime})
		w.a.Count(authority.Heard{Channel: "koogallery", Doubt: authority.DoubtSignature})
		if h := w.health(); h.Level() != authority.LevelWarn {
			t.Errorf("%s: %+v", name, h.Problems)
		}
	}
}

// A clock that is wrong for a minute costs none of what is known.
func TestHealthSurvivesAWrongClock(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{400 * day, 20 * day, -400 * day} {
		w := healthWorld(t)
		w.script(strings.Repeat("oo", 8))
		w.save()
		before := w.health()
		w.set(by)
		w.a.Count(authority.Heard{Channel: "koogallery", Doubt: authority.DoubtTime})
		w.probe("000000")
		w.hear("newInstance", "000005", authority.Subject{Order: "CS1"})
		w.save()
		w.set(-by)
		w.probe("000000")
		w.save()
		h := w.health()
		if h.BadDays != 0 || h.Level() == authority.LevelFail || len(h.Days) != len(before.Days) || h.LastProbe.After(w.clock()) {
			t.Errorf("%s off: %d bad days of %d, level %s: %+v", by, h.BadDays, len(h.Days), h.Level(), h.Problems)
		}
		for i, d := range h.Days[:7] {
			if diff := cmp.Diff(before.Days[i], d); diff != "" {
				t.Errorf("%s off: a day before (-was +is):\n%s", by, diff)
			}
		}
	}
}

// What was written is not counted again because the write is said to have failed,
// and what was not written is not lost.
func TestHealthIsWrittenOnce(t *testing.T) {
	t.Parallel()
	for _, fault := range []faultstore.Fault{faultstore.DoneButFails, faultstore.NotDone} {
		w, faults := faultWorld(t)
		w.probe("000000")
		faults.FailUpdate(faultstore.Nth(1, fault))
		if err := w.a.SaveHealth(t.Context()); err == nil {
			t.Error("no failure")
		}
		faults.FailUpdate(nil)
		w.probe("000000")
		count := func(when string) {
			t.Helper()
			if h := w.health(); h.Days[0].Morning.OK+h.Days[0].Afternoon.OK != 2 {
				t.Errorf("%s: two probes are counted as %+v", when, h.Days[0])
			}
		}
		count("before it is tried again")
		w.save()
		count("after that")
		w.again()
		count("after a restart")
	}
}

// A message that failed is remembered with what it was about until one of its
// kind succeeds, also when another daemon takes that one, and a code is not told.
func TestFailingMessages(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	w.script("oo")
	first := w.a
	secret := code(t, "PL0000012345")
	w.hear("newInstance", "000005", authority.Subject{Order: "CS1 CS1-1"})
	w.pass(time.Minute)
	w.hear("refreshInstance", "000002", authority.Subject{Instance: "i-1"})
	w.hear("updateInstanceStatus", "000003", authority.Subject{Instance: "i-1"})
	w.a.Count(authority.Heard{Channel: "koogallery", Activity: "refreshLicenseCode", Result: "000002", Field: "expireTime", About: authority.Subject{Code: secret}})
	w.pass(2 * time.Minute)
	w.hear("newInstance", "000005", authority.Subject{Order: "CS1 CS1-1"})
	if !w.a.Tracks("koogallery") || w.a.Tracks("nobody") {
		t.Error("what fails is not looked for")
	}
	w.save()
	h := w.health()
	type row struct {
		Activity, Kind, Name string
		Times                int
		GivesUp              time.Duration // after Since
	}
	rows := func(h authority.Health) (out []row) {
		for _, f := range h.Failing {
			r := row{f.Activity, f.Kind, f.Name, f.Times, -1}
			if at := f.GivesUpAt(); !at.IsZero() {
				r.GivesUp = at.Sub(f.Since)
			}
			out = append(out, r)
		}
		return out
	}
	want := []row{
		{"newInstance", "order", "CS1 CS1-1", 2, 3 * time.Hour},
		{"refreshInstance", "instance", "i-1", 1, 0},
		{"updateInstanceStatus", "instance", "i-1", 1, 2 * time.Hour},
		{"refreshLicenseCode", "code", secret.String(), 1, 2 * time.Hour},
	}
	if diff := cmp.Diff(want, rows(h)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text := detail(h, authority.ProblemMessagesFailing); !strings.HasPrefix(text, "3 messages failed and have not succeeded since, the oldest about instance i-1 (refreshInstance, 1 time since ") ||
		!strings.Contains(detail(h, authority.ProblemOrdersLost), "order CS1 CS1-1 (newInstance, 2 times since 2026-03-02 12:30 UTC, last with 000005; the marketplace gives up at 2026-03-02 15:30 UTC)") || strings.Contains(fmt.Sprintf("%+v", h), secret.Reveal()) {
		t.Errorf("%q", text)
	}
	// The repeat succeeds at another daemon on the store, and here.
	w.again()
	w.hear("updateInstanceStatus", "000000", authority.Subject{Instance: "i-1"})
	w.save() // it has not looked at the store yet
	w.pass(time.Minute)
	w.hear("updateInstanceStatus", "000000", authority.Subject{Instance: "i-1"})
	w.hear("refreshLicenseCode", "000000", authority.Subject{Code: secret})
	if got := rows(w.health()); len(got) != 2 {
		t.Errorf("before it is written: %v", got)
	}
	w.save()
	w.a = first
	w.pass(time.Minute)
	w.hear("refreshInstance", "000005", authority.Subject{Instance: "i-1"})
	w.hear("newInstance", "000004", authority.Subject{Order: "CS1 CS1-1"})
	w.save()
	if diff := cmp.Diff([]row{{"refreshInstance", "instance", "i-1", 2, 0}}, rows(w.health())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w.hear("refreshInstance", "000000", authority.Subject{Instance: "i-1"})
	w.save()
	if h := w.health(); len(h.Failing) != 0 || w.a.Tracks("koogallery") {
		t.Errorf("left: %+v", h.Failing)
	}
	for n := range 300 { // a flood is bounded, and the oldest are kept
		w.hear("releaseInstance", "000005", authority.Subject{Instance: fmt.Sprintf("i-%d-%s", n, strings.Repeat("x", 1000))})
	}
	w.save()
	w.pass(13 * day)
	if h := w.health(); len(h.Failing) != 64 || !strings.HasPrefix(h.Failing[0].Name, "i-0-") || len(h.Failing[0].Name) > 200 {
		t.Errorf("%d failing, %.300q", len(h.Failing), fmt.Sprint(h.Failing))
	}
	w.pass(2 * day)
	if h := w.health(); len(h.Failing) != 0 {
		t.Errorf("%d failing after two weeks", len(h.Failing))
	}
}

// Orders that did not get a licence count for the month: beyond five the
// marketplace takes the product down.
func TestLostOrders(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	w.script("oo")
	for n, want := range []string{"warn orders_lost", "warn orders_lost", "fail orders_lost"} {
		w.hear([]string{"newInstance", "getLicense"}[n%2], "000002", authority.Subject{Order: fmt.Sprint("CS", n)})
		h := w.health()
		if h.Lost != n+1 || !slices.Contains(problems(h), want) {
			t.Errorf("%d lost orders: %+v", h.Lost, h.Problems)
		}
	}
	w.hear("refreshInstance", "000002", authority.Subject{Instance: "i"}) // no purchase
	w.save()
	w.pass(20 * day)
	if h := w.health(); h.Lost != 3 || len(h.Failing) != 3 {
		t.Errorf("later in the month: %d, %+v", h.Lost, h.Failing)
	}
	w.hear("newInstance", "000000", authority.Subject{Order: "CS0"}) // restarted in the console
	if h := w.health(); h.Lost != 2 || !strings.HasPrefix(detail(h, authority.ProblemOrdersLost), "2 orders of this month did not get a licence, the oldest order CS1 (") {
		t.Errorf("one was mended: %+v", h.Problems)
	}
	w.pass(12 * day)
	if h := w.health(); h.Lost != 0 || len(h.Failing) != 0 {
		t.Errorf("in the next month: %d, %+v", h.Lost, h.Failing)
	}
}

// A certificate that ends is told three weeks before.
func TestCertificateEnds(t *testing.T) {
	t.Parallel()
	w := healthWorld(t)
	w.script("oo")
	var end time.Time
	w.again(func(o *authority.Options) { o.Certificate = func() time.Time { return end } })
	for _, c := range []struct {
		left time.Duration
		want string
		says string
	}{
		{22 * day, "", ""},
		{21 * day, "warn certificate_ends", "in 21 days"},
		{8 * day, "warn certificate_ends", "in 8 days"},
		{day, "fail certificate_ends", "in 1 day"},
		{-time.Hour, "fail certificate_ends", "ran out at"},
	} {
		end = w.clock().Add(c.left)
		got := problems(w.health())
		if c.want == "" {
			if slices.Contains(got, "warn certificate_ends") {
				t.Errorf("%s: %v", c.left, got)
			}
			continue
		}
		if !slices.Contains(got, c.want) || !strings.Contains(detail(w.health(), authority.ProblemCertificate), c.says) {
			t.Errorf("%s: %v, %q", c.left, got, detail(w.health(), authority.ProblemCertificate))
		}
	}
}

// Counting, which callbacks wait for, makes no garbage.
func TestCountAllocatesNothing(t *testing.T) { //nolint:paralleltest // allocations of others would count
	w := healthWorld(t)
	heard := []authority.Heard{
		{Channel: "koogallery", Activity: "refreshLicenseCode", Result: "000000"},
		{Channel: "koogallery", Activity: "newInstance", Result: "000005"},
		{Channel: "koogallery", Activity: "releaseLicenseCode", Result: "000000", Test: true},
		{Channel: "koogallery", Doubt: authority.DoubtSignature},
	}
	for _, h := range heard {
		w.a.Count(h)
	}
	if n := testing.AllocsPerRun(100, func() {
		for _, h := range heard {
			w.a.Count(h)
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d calls", n, len(heard))
	}
}
