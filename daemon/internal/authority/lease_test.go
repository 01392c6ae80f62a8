package authority_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
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
