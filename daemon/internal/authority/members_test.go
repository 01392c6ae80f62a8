package authority_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

const daemonTurn = 2 * time.Second // two looks of a daemon at the others

// meet has time go by, d in all, and the daemons look at each other as they run.
func meet(t *testing.T, d time.Duration, daemons ...*world) {
	t.Helper()
	for ; d >= 0; d -= daemonTurn {
		for _, w := range daemons {
			if err := w.a.MeetDaemons(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if d < daemonTurn {
			return
		}
		for _, w := range daemons {
			w.pass(daemonTurn)
		}
	}
}

// sees checks how many daemons w sees, and that it is the first of them.
func (w *world) sees(what string, want int) []authority.DaemonSeen {
	w.t.Helper()
	list := w.a.Daemons()
	if len(list) != want {
		w.t.Fatalf("%s: it sees %+v, want %d", what, list, want)
	}
	for k, d := range list {
		if d.Self != (k == 0) {
			w.t.Errorf("%s: no. %d is itself: %v", what, k, d.Self)
		}
	}
	return list
}

// daemonValues are the names of what is stored about daemons.
func (w *world) daemonValues() (names []string) {
	w.t.Helper()
	w.must(w.store.View(w.t.Context(), func(ctx context.Context, tx store.Tx) error {
		values, _, err := tx.Values(ctx, "daemons/", store.Page{})
		names = nil
		for _, v := range values {
			names = append(names, v.Name)
		}
		return err
	}), "")
	return names
}

// Daemons on a store know of each other, whatever their clocks show: from when one
// starts until it stops, or is silent for a minute.
func TestDaemonsOfAStore(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		a := sharedWorld(t)
		a.again(func(o *authority.Options) { o.Host, o.Version = "one", "v1.0.0" })
		b := a.beside(off, func(o *authority.Options) { o.Host, o.Version = "two", "v1.1.0" })
		events := len(a.exported())
		a.sees("before anybody looked", 1)
		meet(t, daemonTurn, a, b)
		if d := a.sees("a", 2)[1]; d.Host != "two" || d.Version != "v1.1.0" || !d.StartedAt.Equal(begin.Add(off)) {
			t.Errorf("%+v", d)
		}
		b.sees("b", 2)
		meet(t, 5*time.Minute, a, b)
		a.sees("a, after a while", 2)
		if d := b.sees("b, after a while", 2)[1]; d.Host != "one" || a.clock().Sub(d.SeenAt) > 10*time.Second+daemonTurn {
			t.Errorf("%s: %+v", a.clock(), d)
		}

		w := a.beside(off)
		meet(t, daemonTurn, w, a, b)
		a.sees("a third", 3)
		w.must(w.a.LeaveDaemons(t.Context()), "")
		meet(t, daemonTurn, a, b)
		a.sees("the third has stopped", 2)

		meet(t, 46*time.Second, a) // the other is silent
		a.sees("one that is silent for a while", 2)
		meet(t, 16*time.Second, a)
		a.sees("one that is silent for longer", 1)
		if n := a.daemonValues(); len(n) != 1 {
			t.Errorf("there is kept: %q", n)
		}
		meet(t, 10*time.Second, b)
		meet(t, daemonTurn, a)
		a.sees("it was only stopped", 2)
		if n := len(a.exported()); n != events {
			t.Error("it is in the audit log")
		}
	}
}

// A daemon that could not read the store has not seen that the others were silent.
func TestDaemonsWhileTheStoreIsAway(t *testing.T) {
	t.Parallel()
	a, f := faultWorld(t)
	b := a.beside(0)
	meet(t, daemonTurn, a, b)
	f.FailCall(func(faultstore.Call) error { return errDisk })
	for range 100 {
		a.pass(daemonTurn)
		b.pass(daemonTurn)
		if err := a.a.MeetDaemons(t.Context()); err == nil {
			t.Fatal("the store answers")
		}
	}
	a.sees("while it is away", 2)
	f.FailCall(nil)
	meet(t, 0, a)
	a.sees("when it is back", 2)
	meet(t, time.Minute, a)
	a.sees("one that did not come back", 1)
}

// What another version writes may be unreadable here; it is a daemon all the same.
func TestDaemonOfAnotherForm(t *testing.T) {
	t.Parallel()
	w := sharedWorld(t)
	w.must(w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return tx.SetValue(ctx, "daemons/NEWER", []byte(`{"beat":"one"`))
	}), "")
	meet(t, 30*time.Second, w)
	if d := w.sees("it", 2)[1]; d.ID != "NEWER" || d.Ahead != 0 {
		t.Errorf("%+v", d)
	}
	meet(t, time.Minute, w)
	w.sees("it is silent", 1)
}

// Clocks that differ are told apart from a counter that was looked at late.
func TestClocksOfDaemons(t *testing.T) {
	t.Parallel()
	const apart = 5 * time.Second
	for _, c := range []struct {
		off       time.Duration
		lag       time.Duration // of one daemon's turns behind those of the other
		different bool
	}{
		{0, 0, false},
		{0, time.Second, false},
		{4 * time.Second, 0, false},
		{-4 * time.Second, time.Second, false},
		{5 * time.Second, time.Second, false},
		{-5 * time.Second, 0, false},
		{9 * time.Second, 0, true},
		{9 * time.Second, time.Second, true},
		{-9 * time.Second, 0, true},
		{-9 * time.Second, time.Second, true},
		{time.Hour, time.Second, true},
		{-time.Hour, time.Second, true},
	} {
		a := sharedWorld(t)
		b := a.beside(c.off)
		for range 20 {
			meet(t, 0, b)
			a.pass(c.lag)
			b.pass(c.lag)
			meet(t, 0, a)
			a.pass(daemonTurn - c.lag)
			b.pass(daemonTurn - c.lag)
		}
		ahead, back := a.sees("a", 2)[1].Ahead, b.sees("b", 2)[1].Ahead
		for _, d := range []struct{ seen, is time.Duration }{{ahead, c.off}, {back, -c.off}} {
			if got := d.seen.Abs() > apart; got != c.different || d.seen.Abs() > d.is.Abs() || d.seen != 0 && (d.seen < 0) != (d.is < 0) {
				t.Errorf("clocks %s apart, looks %s: it sees %s", d.is, c.lag, d.seen)
			}
		}
	}
}

// Where no other daemon can be on the store nothing is written and nobody is seen.
func TestDaemonAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.a.RunDaemons(t.Context(), func(err error) { t.Error(err) }) // it returns
	if n := w.daemonValues(); len(n) > 0 || w.a.Daemons() != nil {
		t.Errorf("%q, %+v", n, w.a.Daemons())
	}
}

// guess asks about a code that nobody knows, another one each time.
func (w *world) guess(n int) license.Reason {
	return license.ReasonOf(w.install("guesser").activate(code(w.t, fmt.Sprintf("PL9%05d", n))))
}

// The daemons on a store share the budget of questions about codes that nobody knows,
// and who is left has what the other had.
func TestGuessingAtSeveralDaemons(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ budget, each, back int }{{6, 3, 3}, {1, 1, 0}} {
		a := sharedWorld(t)
		a.again(func(o *authority.Options) { o.UnknownCodes = c.budget })
		b := a.beside(0)
		n := 0
		spend := func(what string, w *world, want int) {
			t.Helper()
			before := len(a.up.calls)
			for range 20 {
				n++
				_ = w.guess(n)
			}
			if got := len(a.up.calls) - before; got != want {
				t.Errorf("budget %d, %s: the marketplace was asked %d times, want %d", c.budget, what, got, want)
			}
		}
		meet(t, daemonTurn, a, b)
		spend("one of two", a, c.each)
		spend("the other", b, c.each)
		meet(t, time.Minute, a, b)
		spend("one, a minute later", a, c.back)
		meet(t, time.Minute, a, b)
		spend("the other, two minutes later", b, c.each)
		b.must(b.a.LeaveDaemons(t.Context()), "")
		meet(t, 2*time.Minute, a)
		spend("who is left", a, c.budget)
	}
}

// A budget that was spent by one daemon comes back though there are more by now.
func TestBudgetWithMoreDaemons(t *testing.T) {
	t.Parallel()
	a := sharedWorld(t)
	a.again(func(o *authority.Options) { o.UnknownCodes = 6 })
	b := a.beside(0)
	for n := range 6 {
		if r := a.guess(n); r != license.UnknownCode {
			t.Fatal(r)
		}
	}
	meet(t, daemonTurn, b, a)
	if r := a.guess(7); r != license.MarketplaceUnavailable {
		t.Errorf("what it had is spent: %s", r)
	}
	meet(t, time.Minute, b, a)
	if r := a.guess(8); r != license.UnknownCode {
		t.Errorf("a minute later: %s", r)
	}
}
