package authority_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/teststore"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// sharedWorld is a world of which others may be on the store.
func sharedWorld(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.again(func(o *authority.Options) { o.Shared = true })
	return w
}

// holds fails unless l is had, or not.
func holds(t *testing.T, what string, l *authority.Lease, want bool) {
	t.Helper()
	got, err := l.Hold(t.Context())
	if err != nil || got != want {
		t.Errorf("%s: held %v (%v), want %v", what, got, err, want)
	}
}

// One daemon at a time has a lease, whatever their clocks show: until it gives it up,
// or is not heard of for as long as it lasts.
func TestLease(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		a := sharedWorld(t)
		b := a.beside(off)
		pass := func(d time.Duration) {
			a.pass(d)
			b.pass(d)
		}
		x, y := a.a.Lease("work", time.Minute), b.a.Lease("work", time.Minute)
		holds(t, "the first", x, true)
		holds(t, "another", y, false)
		holds(t, "something else", b.a.Lease("other work", time.Minute), true)
		for range 10 { // it is alive
			pass(30 * time.Second)
			holds(t, "who has it", x, true)
			holds(t, "another, while that is alive", y, false)
		}
		pass(59 * time.Second)
		holds(t, "another, before it has seen it stand still for long", y, false)
		under := x.Under(t.Context())
		pass(time.Second)
		holds(t, "another, then", y, true)
		if err := edit(under, a); license.ReasonOf(err) != license.Conflict {
			t.Errorf("who has lost it changes something: %v", err)
		}
		a.must(edit(y.Under(t.Context()), b), "")
		holds(t, "who has lost it", x, false)
		if err := x.Release(t.Context()); err != nil {
			t.Error(err)
		}
		holds(t, "who has lost it, after the other was not given up", x, false)
		if err := y.Release(t.Context()); err != nil {
			t.Error(err)
		}
		holds(t, "who had lost it, after it was given up", x, true)
		if err := edit(under, a); license.ReasonOf(err) != license.Conflict {
			t.Errorf("what was begun under the first lease is done under the second: %v", err)
		}
	}
}

// edit changes something under ctx.
func edit(ctx context.Context, w *world) error {
	_, err := w.a.Issue(ctx, admin, authority.Order{Product: "cad", Customer: "ACME", For: day})
	return err
}

// Who is stopped for a minute in the middle of what it does loses the lease, is told
// so, and changes nothing more.
func TestLeaseIsLostInTheMiddle(t *testing.T) {
	t.Parallel()
	a := sharedWorld(t)
	b := a.beside(0)
	x, y := a.a.Lease("work", time.Minute), b.a.Lease("work", time.Minute)
	ran, err := x.During(t.Context(), func(ctx context.Context) error {
		a.must(edit(ctx, a), "")
		holds(t, "another", y, false)
		b.pass(time.Minute)
		ran, err := y.During(b.t.Context(), func(ctx context.Context) error { return edit(ctx, b) })
		if !ran || err != nil {
			t.Errorf("another: %v, %v", ran, err)
		}
		return edit(ctx, a)
	})
	if !ran || license.ReasonOf(err) != license.Conflict {
		t.Errorf("ran %v: %v", ran, err)
	}
	if all, _, err := a.a.Licenses(t.Context(), authority.Filter{}, authority.Page{}); err != nil || len(all) != 2 {
		t.Errorf("%d licences: %v", len(all), err)
	}
}

// Work that ends because the lease was lost says so, and not that it was broken off.
func TestLeaseLostEndsWork(t *testing.T) {
	t.Parallel()
	const lasts = 60 * time.Millisecond
	a := sharedWorld(t)
	b := a.beside(0)
	x, y := a.a.Lease("work", lasts), b.a.Lease("work", lasts)
	ran, err := x.During(t.Context(), func(ctx context.Context) error {
		holds(t, "another", y, false)
		b.pass(lasts)
		holds(t, "another, later", y, true)
		a.pass(lasts)
		<-ctx.Done()
		return ctx.Err()
	})
	if !ran || license.ReasonOf(err) != license.Conflict {
		t.Errorf("ran %v: %v", ran, err)
	}
}

// What of a lease cannot be written is not held for longer than it lasts.
func TestLeaseIsNotWritten(t *testing.T) {
	t.Parallel()
	a, f := faultWorld(t)
	a.again(func(o *authority.Options) { o.Shared = true })
	x := a.a.Lease("work", time.Minute)
	holds(t, "the first", x, true)
	f.FailCall(func(faultstore.Call) error { return errDisk })
	for _, after := range []time.Duration{10 * time.Second, 20 * time.Second, 29 * time.Second, time.Second} {
		a.pass(after)
		held, err := x.Hold(t.Context())
		if want := after != time.Second; held != want || (err == nil) != (after == 10*time.Second) {
			t.Errorf("held %v (%v), want %v", held, err, want)
		}
	}
}

var errDisk = errors.New("the disk is gone")

// Where no other daemon can be on the store nothing is written for a lease.
func TestLeaseAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	l := w.a.Lease("work", time.Minute)
	holds(t, "alone", l, true)
	ran, err := l.During(t.Context(), func(ctx context.Context) error { return edit(ctx, w) })
	if !ran || err != nil {
		t.Errorf("%v, %v", ran, err)
	}
	err = w.store.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		values, _, err := tx.Values(ctx, "lease/", store.Page{})
		if len(values) > 0 {
			t.Errorf("%d leases are written", len(values))
		}
		return err
	})
	w.must(err, "")
}

// waits is a store whose calls take their time.
type waits struct {
	store.Store
	read, write func() // before it is read, or answered that it was written
}

func (s *waits) View(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	if s.read != nil {
		s.read()
	}
	return s.Store.View(ctx, fn)
}

func (s *waits) Update(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	err := s.Store.Update(ctx, fn)
	if s.write != nil {
		s.write()
	}
	return err
}

// A store that takes long to say that it fails does not make a lease last longer, nor
// does one that takes long to say that it was renewed.
func TestLeaseOfASlowStore(t *testing.T) {
	t.Parallel()
	f := faultstore.Wrap(teststore.New(t))
	s := &waits{Store: f}
	a := newWorldOn(t, s)
	a.again(func(o *authority.Options) { o.Shared = true })
	x := a.a.Lease("work", time.Minute)
	holds(t, "the first", x, true)
	a.pass(25 * time.Second)
	f.FailCall(func(faultstore.Call) error { return errDisk })
	s.write = func() { a.pass(34 * time.Second) }
	if held, err := x.Hold(t.Context()); !held || !errors.Is(err, errDisk) {
		t.Errorf("after 59 s: %v, %v", held, err)
	}
	s.write = func() { a.pass(time.Second) }
	if held, err := x.Hold(t.Context()); held || !errors.Is(err, errDisk) {
		t.Errorf("after a minute: %v, %v", held, err)
	}
	f.FailCall(nil)

	n := 0
	s.write = func() {
		if n++; n == 1 {
			a.pass(50 * time.Second)
		}
	}
	holds(t, "renewed late", x, true)
	if n != 2 {
		t.Errorf("it was written %d times", n)
	}
	s.write = func() { a.pass(time.Minute) }
	a.pass(30 * time.Second)
	holds(t, "renewed too late each time", x, false)
}

// Who reads a lease late has not seen it stand still before that.
func TestLeaseIsReadLate(t *testing.T) {
	t.Parallel()
	a := sharedWorld(t)
	holds(t, "the first", a.a.Lease("work", time.Minute), true)
	s := &waits{Store: a.store}
	b := newWorldOn(t, s)
	b.again(func(o *authority.Options) { o.Shared = true })
	y := b.a.Lease("work", time.Minute)
	s.read = func() { b.pass(30 * time.Second) }
	holds(t, "another, which reads late", y, false)
	s.read = nil
	b.pass(59 * time.Second)
	holds(t, "another, 59 s later", y, false)
	b.pass(time.Second)
	holds(t, "another, a minute later", y, true)
}

// While the store fails, who has the outbox beside others asks again before its lease
// ends.
func TestOutboxAsksAgainWithinItsLease(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		shared  bool
		longest time.Duration
	}{{false, time.Minute}, {true, 10 * time.Second}} {
		w.again(func(o *authority.Options) { o.Shared = c.shared })
		if got := w.a.OutboxPause(t.Context(), 20, errDisk); got != c.longest {
			t.Errorf("shared %v: asks again after %s", c.shared, got)
		}
	}
}
