package authority_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// host names where a daemon runs.
func host(name string) func(*authority.Options) {
	return func(o *authority.Options) { o.Host = name }
}

// running is a daemon that is on the store for a while, and has recorded its clock.
func running(t *testing.T, name string) *world {
	t.Helper()
	w := sharedWorld(t)
	w.again(host(name))
	w.tick()
	w.issue()
	meet(t, 20*time.Second, w)
	return w
}

// wantClock checks how daemons judge their clocks, and what that means to who calls.
func wantClock(what string, want authority.ClockState, daemons ...*world) {
	for _, w := range daemons {
		w.t.Helper()
		reason := license.Clock
		if want == authority.ClockTrusted {
			reason = ""
		}
		if c := w.clockNow(); c.State != want {
			w.t.Errorf("%s: the clock is %+v, want %s", what, c, want)
		}
		if got := license.ReasonOf(edit(w.t.Context(), w)); got != reason {
			w.t.Errorf("%s: a change is refused with %q, want %q", what, got, reason)
		}
		if got := license.ReasonOf(w.a.Ready(w.t.Context())); got != reason {
			w.t.Errorf("%s: ready says %q, want %q", what, got, reason)
		}
	}
}

// minutes has daemons run for so many minutes, each with its look at the clock.
func minutes(n int, daemons ...*world) {
	for range n {
		meet(daemons[0].t, time.Minute, daemons...)
		for _, w := range daemons {
			w.tick()
		}
	}
}

// A daemon that starts with a clock that is far ahead changes and records nothing, and
// says with whom it differs; the others go on. Once its clock is right so does it.
func TestClockOfANewcomer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		off  time.Duration
		want authority.ClockState
	}{
		{0, authority.ClockTrusted},
		{9 * time.Minute, authority.ClockTrusted},
		{10*time.Minute + time.Second, authority.ClockApart},
		{time.Hour, authority.ClockApart},
		{365 * day, authority.ClockApart},
		{-9 * time.Minute, authority.ClockTrusted},
		{-time.Hour, authority.ClockBehind},
	} {
		a := running(t, "one")
		record := a.stored()
		b := a.beside(c.off, host("two"))
		if got := b.tick(); got.State != c.want {
			t.Errorf("%s: first it is %+v", c.off, got)
		}
		if c.want == authority.ClockApart && a.stored() != record {
			t.Errorf("%s: it recorded %s behind %s", c.off, a.stored(), record)
		}
		for range 3 {
			wantClock("the first: "+c.off.String(), authority.ClockTrusted, a)
			wantClock("the newcomer: "+c.off.String(), c.want, b)
			minutes(1, a, b)
		}
		if c.want != authority.ClockApart {
			continue
		}
		is := b.clockNow()
		if is.Others != "one" || !is.OthersNow.Equal(a.clock().Truncate(time.Second)) && is.OthersNow.Sub(a.clock()).Abs() > 12*time.Second {
			t.Errorf("%s: it is compared with %s: %s", c.off, is.Others, is.OthersNow)
		}
		if text := is.Err().Error(); !strings.Contains(text, "ahead of the other daemons on the store (one") || strings.Contains(text, "by itself") {
			t.Error(text)
		}
		l := a.issue()
		err := b.install("m").activate(l.Code)
		if e, ok := errors.AsType[*license.Error](err); !ok || e.Reason != license.Clock || e.RetryAfter != 15*time.Second || strings.Contains(e.Detail, "one") {
			t.Errorf("%s: an install is told %v", c.off, err)
		}
		b.set(-c.off)
		wantClock("set right", authority.ClockTrusted, b, a)
		b.must(b.install("m").activate(l.Code), "")
	}
}

// A clock that is set forward while the daemon runs is noticed at the next change.
// What a marketplace says is recorded, and raises nothing.
func TestClockJumpsBesideOthers(t *testing.T) {
	t.Parallel()
	a := running(t, "one")
	b := a.beside(0, host("two"))
	b.tick()
	minutes(2, a, b)
	code, _ := b.sell("PL001")
	b.must(b.install("m").activate(code), "")
	b.set(time.Hour)
	wantClock("set forward", authority.ClockApart, b)
	if _, err := b.say(code, license.EventFreeze, 77); err != nil {
		t.Error(err)
	}
	for range 5 {
		minutes(1, b, a)
		wantClock("set forward", authority.ClockApart, b)
		wantClock("the other", authority.ClockTrusted, a)
	}
	if c := a.tick(); c.Record.After(a.clock()) {
		t.Errorf("%s is recorded at %s", c.Record, a.clock())
	}
	b.set(-time.Hour)
	wantClock("set right", authority.ClockTrusted, a, b)
}

// A machine that was suspended finds out at its next look that the others are where it
// is, and so do several that were suspended together.
func TestClockOfASuspendedMachine(t *testing.T) {
	t.Parallel()
	a := running(t, "one")
	b := a.beside(0, host("two"))
	b.tick()
	minutes(1, a, b)
	b.set(time.Hour)
	meet(t, time.Hour, a)
	wantClock("before its first look", authority.ClockApart, b)
	meet(t, 0, b)
	wantClock("one", authority.ClockTrusted, a, b)

	minutes(1, a, b)
	a.set(time.Hour)
	b.set(time.Hour)
	wantClock("before their first look", authority.ClockApart, a, b)
	meet(t, 2*daemonTurn, a, b)
	wantClock("both", authority.ClockTrusted, a, b)
	minutes(2, a, b)
	wantClock("both, later", authority.ClockTrusted, a, b)
}

// What daemons that were killed have left behind keeps one that starts later from
// working until it has seen that they are gone, and no other start.
func TestClockBesideDeadDaemons(t *testing.T) {
	t.Parallel()
	a := running(t, "one")
	b := a.beside(0, host("two"))
	minutes(1, a, b)
	a.pass(9 * time.Second) // both are killed, and one is started at once
	c := a.beside(0, host("one"))
	wantClock("started anew", authority.ClockTrusted, c)
	if got := c.tick(); !got.Trusted() {
		t.Errorf("%+v", got)
	}
	c.pass(time.Hour) // killed, too
	d := c.beside(0, host("three"))
	e := c.beside(0, host("four"))
	record := d.stored()
	d.tick()
	if is := d.clockNow(); is.State != authority.ClockApart || is.Others != "one, two" || !strings.Contains(is.Err().Error(), "this ends by itself within seconds") {
		t.Errorf("%+v: %v", is, is.Err())
	}
	meet(t, 14*time.Second, d, e)
	wantClock("after 14 s", authority.ClockApart, d, e)
	if d.stored() != record {
		t.Errorf("recorded is %s", d.stored())
	}
	meet(t, 2*time.Second, d, e)
	wantClock("after 16 s", authority.ClockTrusted, d, e)
	minutes(2, d, e)
	wantClock("later", authority.ClockTrusted, d, e)
}

// Who stops for a moment, as for an upgrade, does not leave the store to one that is
// wrong; who is gone for longer does, as a daemon alone has nothing to compare with.
func TestClockWhileTheOtherIsAway(t *testing.T) {
	t.Parallel()
	for _, leaves := range []bool{true, false} {
		a := running(t, "one")
		b := a.beside(time.Hour, host("two"))
		minutes(1, a, b)
		if leaves {
			a.must(a.a.LeaveDaemons(t.Context()), "")
		}
		meet(t, 40*time.Second, b)
		wantClock("away for a moment", authority.ClockApart, b)
		if want := map[bool]int{true: 1, false: 2}[leaves]; len(b.a.Daemons()) != want {
			t.Errorf("it sees %+v", b.a.Daemons())
		}
		meet(t, 22*time.Second, b)
		wantClock("away for good", authority.ClockTrusted, b)
	}
}

// One whose clock was set back lies behind the record, and does not make the other one,
// which is right, believe that it is ahead; whichever starts later.
func TestClockOfTheOtherIsBehind(t *testing.T) {
	t.Parallel()
	a := running(t, "one")
	b := a.beside(0, host("two"))
	b.tick()
	minutes(1, a, b)
	a.set(-time.Hour)
	for range 4 {
		wantClock("set back", authority.ClockBehind, a)
		wantClock("the other one", authority.ClockTrusted, b)
		minutes(1, a, b)
	}
	c := b.beside(0, host("three"))
	wantClock("one that starts", authority.ClockTrusted, c)
	a.set(time.Hour)
	wantClock("all right", authority.ClockTrusted, a, b, c)
}

// An administrator decides which of two is right, either way, and the other one waits
// until it is.
func TestAcceptClockApart(t *testing.T) {
	t.Parallel()
	a := running(t, "one")
	b := a.beside(time.Hour, host("two"))
	minutes(1, a, b)
	wantClock("the newcomer", authority.ClockApart, b)
	before, after, err := b.accept()
	if err != nil || before.State != authority.ClockApart || before.Others != "one" || !after.Trusted() || after.Others != "" || !after.OthersNow.IsZero() {
		t.Fatalf("%+v became %+v: %v", before, after, err)
	}
	wantClock("accepted", authority.ClockTrusted, b)
	meet(t, 30*time.Second, a, b) // the other has not heard of it
	wantClock("accepted, and looked", authority.ClockTrusted, b)
	minutes(2, a, b)
	wantClock("accepted, later", authority.ClockTrusted, b)
	wantClock("the other", authority.ClockBehind, a)
	b.again()
	b.tick()
	wantClock("accepted, and started anew", authority.ClockTrusted, b)

	minutes(1, a, b)
	a.accepted()
	minutes(2, a, b)
	wantClock("the other is accepted", authority.ClockTrusted, a)
	wantClock("the other is accepted, this one", authority.ClockApart, b)
	b.set(-time.Hour)
	minutes(1, a, b)
	wantClock("all right", authority.ClockTrusted, a, b)
}

// Nothing is judged before it is known what the other daemons show.
func TestClockIsComparedFirst(t *testing.T) {
	t.Parallel()
	f := faultstore.Wrap(running(t, "one").store)
	w := newWorldOn(t, f)
	w.again(func(o *authority.Options) { o.Shared = true })
	w.set(time.Hour)
	calls := 0
	f.FailCall(func(c faultstore.Call) error {
		if calls++; calls == 1 {
			return errDisk
		}
		return nil
	})
	if _, err := w.a.RecordClock(t.Context()); !errors.Is(err, errDisk) || calls != 1 {
		t.Errorf("%d calls, the first of which failed: %v", calls, err)
	}
	f.FailCall(nil)
	wantClock("without a look of its own", authority.ClockApart, w)
}

// A daemon that is alone on its store compares its clock with its record only, as one
// on a file does.
func TestClockAloneOnAStore(t *testing.T) {
	t.Parallel()
	w := running(t, "one")
	w.set(time.Hour)
	wantClock("an hour", authority.ClockTrusted, w)
	w.set(40 * day)
	wantClock("40 days", authority.ClockAhead, w)
}
