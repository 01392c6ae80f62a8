package authority_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

var update = flag.Bool("update", false, "write the table of the daemon's clock in docs anew")

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// clock is the guard's word on the clock.
func (w *world) clockNow() authority.Clock {
	w.t.Helper()
	c, err := w.a.Clock(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// tick is what the daemon does once a minute.
func (w *world) tick() authority.Clock {
	w.t.Helper()
	c, err := w.a.RecordClock(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// stop is the end of the process; off is for how long it does not run.
func (w *world) stop(off time.Duration) {
	w.t.Helper()
	w.set(off)
	w.again()
}

// accept confirms the clock as an administrator who sees what it shows.
func (w *world) accept() (before, after authority.Clock, err error) {
	w.t.Helper()
	return w.a.AcceptClock(w.t.Context(), admin, w.clock())
}

func (w *world) accepted() {
	w.t.Helper()
	before, after, err := w.accept()
	if err != nil || before.Trusted() || !after.Trusted() || !after.Record.Equal(w.clock()) {
		w.t.Fatalf("%+v became %+v: %v", before, after, err)
	}
}

// restore puts the store back to what it was d ago, as far as the clock goes.
func (w *world) restore(d time.Duration) {
	w.t.Helper()
	w.value(fmt.Sprintf(`{"at":%d}`, w.clock().Add(-d).Unix()))
}

// value writes the record of the clock.
func (w *world) value(raw string) {
	w.t.Helper()
	if err := w.store.Update(w.t.Context(), func(ctx context.Context, tx store.Tx) error {
		return tx.SetValue(ctx, "clock.record", []byte(raw))
	}); err != nil {
		w.t.Fatal(err)
	}
}

// stored is the record in the store.
func (w *world) stored() (raw string) {
	w.t.Helper()
	if err := w.store.View(w.t.Context(), func(ctx context.Context, tx store.Tx) error {
		value, err := tx.Value(ctx, "clock.record")
		raw = string(value)
		if errors.Is(err, license.NotFound) {
			return nil
		}
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return raw
}

// skew is a row of the table in docs/time.md. It begins with a daemon that has
// run for a while and signed something just now, unless it is the first start.
type skew struct {
	clock string // what is wrong with it
	first bool
	do    func(*world)
	note  string
}

func skews() []skew {
	const second = time.Second
	return []skew{
		{"the first start", true, func(w *world) { w.tick() }, "what it shows then is believed, and becomes the first record"},
		{
			"the first start, keys made elsewhere, before their time", true, func(w *world) { w.set(-day); w.tick() },
			"nothing that is signed would verify; trusted again once it is right",
		},
		{"right, nothing happens for 31 days", false, func(w *world) {
			for range 31 * 24 {
				w.pass(time.Hour)
				w.tick()
			}
		}, "the record is brought up to date once an hour"},
		{
			"right, the record cannot be written for 31 days", false, func(w *world) { w.pass(31 * day) },
			"the process knows how long it has run",
		},
		{"right, switched off for 30 days", false, func(w *world) { w.stop(30 * day) }, ""},
		{"right, switched off for longer", false, func(w *world) { w.stop(30*day + second) }, "confirm it once"},
		{"right, suspended for 30 days", false, func(w *world) { w.set(30 * day) }, "the time of a suspended machine stands still, so this is a jump"},
		{"right, suspended for longer", false, func(w *world) { w.set(40 * day) }, "confirm it once"},
		{"right, the store restored from a backup of 20 days ago", false, func(w *world) { w.restore(20 * day); w.again() }, "the record of then counts"},
		{"right, the store restored from a backup of 40 days ago", false, func(w *world) { w.restore(40 * day); w.again() }, "confirm it once"},
		{"right, the record cannot be read", false, func(w *world) { w.value("?"); w.again() }, "confirm it once"},
		{
			"set back by 10 minutes", false, func(w *world) { w.set(-10 * time.Minute) },
			"time servers do that; a licence is never dated before the one that it follows",
		},
		{"set back by more", false, func(w *world) { w.set(-10*time.Minute - second) }, "waits until the clock is past its record, or right"},
		{"set back by 6 minutes, and once more", false, func(w *world) {
			w.set(-6 * time.Minute)
			w.must(w.install("m").activate(w.issue().Code), "")
			w.tick()
			w.set(-6 * time.Minute)
		}, "small steps do not add up"},
		{"set back by 11 minutes while stopped", false, func(w *world) { w.stop(-11 * time.Minute) }, "the record is in the store"},
		{
			"1970 at the start, because the network's time is late", false, func(w *world) { w.stop(time.Unix(0, 0).Sub(w.clock())); w.tick() },
			"waits for the network's time",
		},
		{"1970 at the start, then right", false, func(w *world) {
			was := w.clock()
			w.stop(time.Unix(0, 0).Sub(was))
			w.tick()
			w.set(was.Sub(w.clock()))
		}, "nobody need do anything"},
		{"set forward by 30 days", false, func(w *world) { w.set(30 * day) }, "cannot be told from a machine that was suspended; the log names the step"},
		{"set forward by a year", false, func(w *world) { w.set(year) }, "do not confirm it: set it right"},
		{"set forward by a year, then right", false, func(w *world) { w.set(year); w.tick(); w.set(-year) }, "nobody need do anything: nothing was signed in between"},
		{"set forward by a year, wrongly confirmed", false, func(w *world) { w.set(year); w.accepted() }, "what is signed now raises the floors of installs: see below"},
		{"set forward by a year, wrongly confirmed, then right", false, func(w *world) { w.set(year); w.accepted(); w.set(-year) }, "confirm that, too"},
		{"set forward by a year, wrongly confirmed, then right and confirmed", false, func(w *world) {
			w.set(year)
			w.accepted()
			w.set(-year)
			w.accepted()
		}, "installs recover at their next refresh: see below"},
		{"set forward by 20 days, something is signed, then right", false, func(w *world) {
			w.set(20 * day)
			w.must(w.install("m").activate(w.issue().Code), "")
			w.set(-20 * day)
		}, "confirm it, or wait for 20 days"},
	}
}

// judge tells what a clock of a row means to those who call. What is refused
// changes nothing.
func (w *world) judge() []string {
	w.t.Helper()
	c := w.clockNow()
	changes := w.store.Stats().Updates
	is, err := w.a.Issue(w.t.Context(), admin, authority.Order{Product: "cad", For: year})
	issue := license.ReasonOf(err)
	code := code(w.t, "PL0778")
	if err == nil {
		code = is[0].Code
	}
	activate := license.ReasonOf(w.install("judged").activate(code))
	if now := w.store.Stats().Updates; issue != "" && now != changes {
		w.t.Errorf("%s: %d changes were made", c.State, now-changes)
	}
	if ready := license.ReasonOf(w.a.Ready(w.t.Context())); ready != issue || issue != activate || c.Trusted() != (issue == "") {
		w.t.Errorf("%s: ready %q, issue %q, activate %q", c.State, ready, issue, activate)
	}
	signs := "signed"
	if issue != "" {
		signs = "`" + string(issue) + "`"
	}
	message := "taken"
	if _, err := w.say(code, license.EventFreeze, 77); err != nil {
		message = string(license.ReasonOf(err))
	}
	confirm := "not needed"
	if !c.Trusted() {
		confirm = "signs again"
		if _, after, err := w.accept(); err != nil {
			confirm = "refused"
		} else if err := w.a.Ready(w.t.Context()); err != nil || !after.Trusted() {
			w.t.Errorf("after it was confirmed: %+v, %v", after, err)
		}
	}
	return []string{string(c.State), signs, message, confirm}
}

const (
	clockTableBegin = "<!-- table of the daemon's clock, written by: go test ./daemon/internal/authority -run ClockTable -update -->\n"
	clockTableEnd   = "<!-- end of table -->\n"
)

// TestClockTable runs every row of the table of the daemon's clock, and compares
// what happens with what docs/time.md says.
func TestClockTable(t *testing.T) {
	t.Parallel()
	const path = "../../../docs/time.md"
	table := "\n| the daemon's clock | state | requests, changes | callbacks | confirming it | |\n|---|---|---|---|---|---|\n"
	for _, row := range skews() {
		t.Run(row.clock, func(t *testing.T) {
			w := newWorld(t)
			if !row.first {
				w.tick()
				w.pass(2 * day)
				w.must(w.install("begin").activate(w.issue().Code), "")
				w.tick()
			}
			row.do(w)
			table += "| " + strings.Join(append(append([]string{row.clock}, w.judge()...), row.note), " | ") + " |\n"
		})
	}
	table += "\n"
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	head, rest, ok := strings.Cut(text, clockTableBegin)
	have, tail, ok2 := strings.Cut(rest, clockTableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", path)
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+clockTableBegin+table+clockTableEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(table, have); diff != "" {
		t.Errorf("the table in %s is not what happens; -update writes it: %s", path, diff)
	}
}

// The record costs no commit of its own while requests are answered: one a
// minute while there are changes, one an hour while there are none.
func TestClockRecordIsCheap(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	commits := func() int64 { return w.store.Stats().Commits }
	w.tick()
	i := w.install("m")
	w.must(i.activate(w.issue().Code), "")
	begin := commits()
	for range 50 {
		w.pass(time.Second)
		w.must(i.refresh(), "")
	}
	if n := commits() - begin; n != 50 {
		t.Errorf("50 requests took %d commits", n)
	}
	for _, c := range []struct {
		pass time.Duration
		use  bool
		want int64
	}{
		{9 * time.Second, false, 0}, // 59 s after the first record
		{time.Second, false, 1},     // for the requests
		{59 * time.Minute, false, 0},
		{time.Minute, false, 1},
		{time.Hour, false, 1},
		{time.Second, true, 0},
		{58 * time.Second, false, 0},
		{time.Minute, false, 1},
		{time.Minute, false, 0},
	} {
		w.pass(c.pass)
		if c.use {
			w.must(i.refresh(), "")
		}
		begin := commits()
		w.tick()
		if n := commits() - begin; n != c.want {
			t.Errorf("%s later: %d commits, want %d", c.pass, n, c.want)
		}
	}
	w.set(-time.Minute)
	was := w.stored()
	w.must(i.refresh(), "")
	w.tick()
	if w.stored() != was {
		t.Errorf("a clock that was set back a little lowered the record %s to %s", was, w.stored())
	}
}

// What a crash loses is less than what is tolerated.
func TestClockRecordSurvivesACrash(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tick()
	w.pass(time.Hour)
	i := w.install("m")
	w.must(i.activate(w.issue().Code), "")
	w.tick()
	w.pass(59 * time.Second)
	w.must(i.refresh(), "")
	w.tick()
	w.stop(-11 * time.Minute)
	if c := w.clockNow(); c.State != authority.ClockBehind {
		t.Errorf("%+v", c)
	}
	w.set(2 * time.Minute)
	before := i.held
	w.must(i.refresh(), "")
	if i.held.Dates.IssuedAt.Before(before.Dates.IssuedAt) {
		t.Errorf("dated %s after %s", i.held.Dates.IssuedAt, before.Dates.IssuedAt)
	}
}

// An administrator confirms what was shown; the confirmation is recorded with
// what was before, outlasts a restart, and every daemon on the store hears of it.
func TestAcceptClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other, err := authority.New(w.options)
	if err != nil {
		t.Fatal(err)
	}
	w.issue()
	record := w.clock()
	for _, a := range []*authority.Authority{w.a, other} {
		if _, err := a.RecordClock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	before, after, err := w.accept()
	if err != nil || !before.Trusted() || before != after || w.events(license.ActionClockAccept) != 0 {
		t.Errorf("a clock that is trusted was confirmed: %+v, %v", after, err)
	}
	w.set(year)
	for _, off := range []time.Duration{-10*time.Minute - time.Second, 10*time.Minute + time.Second, -year} {
		if _, after, err := w.a.AcceptClock(t.Context(), admin, w.clock().Add(off)); license.ReasonOf(err) != license.Conflict || after.Trusted() {
			t.Errorf("%s away from what was shown: %+v, %v", off, after, err)
		}
	}
	if w.events(license.ActionClockAccept) != 0 {
		t.Error("what was refused is in the log")
	}
	if _, after, err := w.a.AcceptClock(t.Context(), admin, w.clock().Add(-10*time.Minute)); err != nil || !after.Trusted() {
		t.Fatalf("%+v, %v", after, err)
	}
	w.issue()
	events, _, err := w.a.Events(t.Context(), store.EventFilter{Action: license.ActionClockAccept}, store.Page{})
	if err != nil || len(events) != 1 {
		t.Fatalf("%v: %+v", err, events)
	}
	want := license.AuditEvent{
		Seq: events[0].Seq, At: w.clock(), Actor: admin, Action: license.ActionClockAccept,
		Before: map[string]any{"clock": "ahead", "last_record": record.Format(time.RFC3339)},
		After:  map[string]any{"clock": "trusted", "last_record": w.clock().Format(time.RFC3339)},
	}
	if diff := cmp.Diff(want, events[0]); diff != "" {
		t.Error(diff)
	}
	w.again()
	if c := w.clockNow(); !c.Trusted() || !c.Record.Equal(w.clock()) {
		t.Errorf("after a restart: %+v", c)
	}
	if c, err := other.RecordClock(t.Context()); err != nil || !c.Trusted() || !c.Record.Equal(w.clock()) {
		t.Errorf("another daemon: %+v, %v", c, err)
	}
	// The other way, and the other daemon has changes of its own that are not recorded yet.
	if _, err := other.Issue(t.Context(), admin, authority.Order{Product: "cad", For: day}); err != nil {
		t.Fatal(err)
	}
	w.set(-year)
	w.accepted()
	if c, err := other.RecordClock(t.Context()); err != nil || !c.Trusted() || !c.Record.Equal(w.clock()) {
		t.Errorf("another daemon: %+v, %v", c, err)
	}
	if want := fmt.Sprintf(`{"at":%d,"accepted":2}`, w.clock().Unix()); w.stored() != want {
		t.Errorf("stored is %s, want %s", w.stored(), want)
	}
}

// A daemon hears from the store how far others have come, and does not lower it.
func TestClockRecordOfAnotherDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tick()
	w.restore(-time.Hour) // another's clock is an hour ahead
	if c := w.tick(); c.State != authority.ClockBehind {
		t.Errorf("%+v", c)
	}
	w.pass(51 * time.Minute)
	w.issue()
	was := w.stored()
	w.tick()
	if c := w.tick(); !c.Trusted() || w.stored() != was {
		t.Errorf("%+v, stored %s, before %s", c, w.stored(), was)
	}
}

// Whoever runs the authority is told once, however many notice.
func TestClockChanged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var mu sync.Mutex
	var told []authority.ClockState
	w.again(func(o *authority.Options) {
		o.ClockChanged = func(c authority.Clock) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, c.State)
		}
	})
	w.pass(30 * day)
	w.tick()
	w.issue()
	crowd := func() {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				_ = w.a.Ready(w.t.Context())
				_, _ = w.a.RecordClock(w.t.Context())
			})
		}
		wg.Wait()
	}
	for _, d := range []time.Duration{0, year, -year, -time.Hour, time.Hour, -20 * day} {
		w.set(d)
		crowd()
		crowd()
	}
	w.accepted()
	want := []authority.ClockState{"ahead", "trusted", "behind", "trusted", "behind", "trusted"}
	if !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

// RecordClock names the step by which the clock was set.
func TestClockStep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct{ pass, set time.Duration }{{0, 0}, {time.Minute, 0}, {time.Minute, day}, {time.Minute, -time.Hour}, {31 * day, 0}} {
		w.pass(c.pass)
		w.set(c.set)
		if got := w.tick().Set; got != c.set {
			t.Errorf("set by %s, says %s", c.set, got)
		}
	}
}

// Before the signing key was made nothing can be confirmed: what is signed
// would not verify.
func TestClockBeforeKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.set(-year)
	_, after, err := w.accept()
	if license.ReasonOf(err) != license.Clock || after.Trusted() || w.stored() != "" {
		t.Errorf("%+v, %v, stored %q", after, err, w.stored())
	}
	w.tick()
	w.set(year)
	w.issue()
}

// An install of the time of a clock that was far ahead, and confirmed by
// mistake: once the right clock is confirmed it is answered with a licence that
// it accepts, and a time that lowers its floor.
func TestInstallFromTheFuture(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.tick()
	is := w.issue(func(o *authority.Order) { o.For = 3 * year })
	w.set(year)
	w.accepted()
	i := w.install("m")
	w.must(i.activate(is.Code), "")
	wrong := i.held.Dates.IssuedAt
	w.set(-year)
	w.must(i.refresh(), license.Clock)
	w.accepted()

	for range 2 { // and the time after that
		w.pass(day)
		raw := i.request(token.OpRefresh)
		ans, err := i.send(raw)
		w.must(err, "")
		d := i.held.Dates
		now := w.clock()
		if !d.IssuedAt.Equal(wrong) || !d.NotBefore.Equal(now.Add(-10*time.Minute)) || !d.RefreshAfter.Equal(now.Add(day)) ||
			!d.LeaseUntil.Equal(now.Add(14*day)) || d.PhaseAt(now) != license.PhaseValid {
			t.Errorf("at %s: %+v", now, d)
		}
		at, err := token.VerifyTime(ans.Time, w.ring.KeySet(), i.key.ID, "")
		if err != nil || !at.IssuedAt.Equal(now) {
			t.Errorf("the time says %s at %s: %v", at.IssuedAt, now, err)
		}
		w.pass(time.Hour)
		again, err := i.send(raw)
		w.must(err, "")
		if again != ans {
			t.Error("the same request is answered otherwise")
		}
	}
	if _, installs := w.license(is.License.ID); !installs[0].SeenAt.Equal(w.clock().Add(-time.Hour)) {
		t.Errorf("seen at %s", installs[0].SeenAt)
	}
	w.pass(year)
	w.must(i.refresh(), "")
	if !i.held.Dates.IssuedAt.Equal(w.clock()) {
		t.Errorf("dated %s when the time has come", i.held.Dates.IssuedAt)
	}
	_, installs := w.license(is.License.ID)
	if !installs[0].DatedAt.IsZero() {
		t.Errorf("%+v", installs[0])
	}

	// So far ahead that the key will have ended by then: said, and nothing is changed.
	late := installs[0].Clone()
	late.DatedAt = w.clock().Add(10 * year)
	if err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return tx.UpdateInstall(ctx, late) }); err != nil {
		t.Fatal(err)
	}
	w.must(i.refresh(), license.Clock)
	w.must(w.install("m").activate(is.Code), "")
}
