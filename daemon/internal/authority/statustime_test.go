package authority_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// After a restart a list that has not changed is the same to the byte, and one
// that has changed has a later date, in the same second too. Nothing is written
// for the former.
func TestStatusAfterRestart(t *testing.T) {
	t.Parallel()
	w, f := faultWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	id := i.listID()
	before, err := w.a.StatusList(t.Context(), id)
	w.must(err, "")
	restart := func() *authority.StatusList {
		t.Helper()
		w.again()
		if err := w.a.LoadStatusLists(t.Context()); err != nil {
			t.Fatal(err)
		}
		asking, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := w.a.StatusList(asking, id); license.ReasonOf(err) != license.ReadOnly {
			t.Errorf("before it was made: %v", err)
		}
		w.publish()
		l, err := w.a.StatusList(t.Context(), id)
		w.must(err, "")
		return l
	}
	w.pass(5 * time.Minute)
	f.Reset()
	if after := restart(); after.Token != before.Token || f.Updates() != 0 {
		t.Errorf("the list differs, or %d updates", f.Updates())
	}
	w.must(w.edit(is.License.ID, license.EventSuspend), "") // and it dies before the list is signed
	if after := restart(); !after.IssuedAt.After(before.IssuedAt) {
		t.Error("a list that has changed has no later date")
	}
	suspendedAt := w.list(id).IssuedAt
	w.wantListed("suspended", suspended, i)
	w.must(w.edit(is.License.ID, license.EventResume), "")
	if after := restart(); !after.IssuedAt.After(suspendedAt) {
		t.Error("in the same second: a list that has changed has no later date")
	}
	w.wantListed("resumed", valid, i)
	w.pass(16 * time.Minute)
	if after := restart(); !after.IssuedAt.Equal(w.clock()) {
		t.Errorf("a list that has grown old is of %s, at %s", after.IssuedAt, w.clock())
	}
}

// A list is dated anew when it is as old as its ttl, with the same statuses.
func TestStatusGrowsOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.install("machine-1")
	w.must(i.activate(w.issue().Code), "")
	first := w.list(i.listID())
	if wait := w.publish(); wait > time.Minute {
		t.Errorf("the next look is in %s", wait)
	}
	w.pass(15*time.Minute - time.Second)
	if wait := w.publish(); wait != time.Second {
		t.Errorf("the next look is in %s", wait)
	}
	if l := w.list(i.listID()); l.Raw != first.Raw {
		t.Error("it was signed anew without need")
	}
	w.pass(time.Second)
	w.publish()
	if l := w.list(i.listID()); !l.IssuedAt.Equal(w.clock()) || l.List != first.List {
		t.Errorf("it is of %s", l.IssuedAt)
	}
}

// Changes in one second: the first list is of that second, the second of the
// next, the third waits; each later one has a later date, none lies more than a
// second ahead, and what changed is there after a second at most.
func TestStatusDates(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	last := w.list(i.listID())
	turns := []license.Event{license.EventSuspend, license.EventResume}
	for n := range 12 {
		w.must(w.edit(is.License.ID, turns[n%2]), "")
		waited := time.Duration(0)
		wait := w.publish()
		l := w.list(i.listID())
		for l.Raw == last.Raw {
			waited += wait
			if waited > time.Second {
				t.Fatalf("change %d does not show after a second", n)
			}
			w.pass(wait)
			wait = w.publish()
			l = w.list(i.listID())
		}
		if !l.IssuedAt.After(last.IssuedAt) || l.IssuedAt.Sub(w.clock()) > time.Second || (n == 0) != (waited == 0) {
			t.Errorf("list %d of %s after %s, at %s, after a wait of %s", n, l.IssuedAt, last.IssuedAt, w.clock(), waited)
		}
		last = l
	}
	// What was undone before it was published is no change.
	w.pass(time.Minute)
	w.must(w.edit(is.License.ID, license.EventSuspend), "")
	w.must(w.edit(is.License.ID, license.EventResume), "")
	w.publish()
	if l := w.list(i.listID()); l.Raw != last.Raw {
		t.Error("signed although nothing has changed")
	}
}

// Where the clock was set back a little, dates go on from the last one, and a
// revocation still shows at once.
func TestStatusClockBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	w.pass(time.Hour)
	w.publish()
	last := w.list(i.listID())
	w.set(-8 * time.Minute)
	for n, event := range []license.Event{license.EventSuspend, license.EventResume, license.EventRevoke} {
		w.must(w.edit(is.License.ID, event), "")
		if wait := w.publish(); n > 0 {
			w.pass(wait)
			w.publish()
		}
		l := w.list(i.listID())
		if ahead := l.IssuedAt.Sub(w.clock()); !l.IssuedAt.After(last.IssuedAt) || ahead > 8*time.Minute+time.Second {
			t.Errorf("%s: of %s after %s, at %s", event, l.IssuedAt, last.IssuedAt, w.clock())
		}
		last = l
	}
	if i.listed() != suspended {
		t.Errorf("a revocation is listed as %d", i.listed())
	}
}

// While the clock is not trusted nothing is signed and nothing becomes final;
// what was signed last is served, after a restart too. Once it is confirmed,
// installs that are bound then get a place in a list that has not seen the
// future, and what changes in the other one still counts as newer.
func TestStatusClockNotTrusted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Machines = 9 })
	is, other := w.issue(), w.issue()
	i, j := w.install("machine-1"), w.install("machine-2")
	w.must(i.activate(is.Code), "")
	w.must(j.activate(other.Code), "")
	w.must(w.edit(is.License.ID, license.EventRevoke), "")
	c, _ := w.sell("PL001")
	bought := w.install("machine-4")
	w.must(bought.activate(c), "")
	w.wantListed("revoked just now", suspended, i)
	last := w.list(i.listID())
	w.tick()
	w.set(40 * day)
	w.publish()
	if w.list(i.listID()).Raw != last.Raw {
		t.Error("another list is served")
	}
	w.again()
	if err := w.a.LoadStatusLists(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.publish()
	if w.list(i.listID()).Raw != last.Raw {
		t.Error("another list is served after a restart")
	}
	_, err := w.say(c, license.EventFreeze, 1) // what a marketplace says is heard under any clock
	w.must(err, "")
	if wait, err := w.a.Publish(t.Context()); license.ReasonOf(err) != license.Clock || wait > 5*time.Second {
		t.Errorf("under a clock that is not trusted: %v", err)
	}
	if w.list(i.listID()).Raw != last.Raw {
		t.Error("another list is served after a message")
	}
	w.accepted() // by mistake
	w.wantListed("frozen", suspended, bought)
	w.wantListed("revoked for good", revoked, i)
	future := w.list(i.listID())
	w.set(-40 * day)
	w.accepted()
	w.must(w.edit(other.License.ID, license.EventSuspend), "")
	w.publish()
	if l := w.list(j.listID()); j.listed() != suspended || !l.IssuedAt.After(future.IssuedAt) {
		t.Errorf("of %s after %s: listed as %d", l.IssuedAt, future.IssuedAt, j.listed())
	}
	fresh := w.install("machine-3")
	w.must(fresh.activate(w.issue().Code), "")
	if at := w.list(fresh.listID()).IssuedAt; fresh.listID() == i.listID() || at.Sub(w.clock()) > time.Second {
		t.Errorf("a new install is shown a list of %s, at %s", at, w.clock())
	}
}

// A list that a retired key signed serves until it is old; one whose key was
// revoked is signed anew at once.
func TestStatusKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	i := w.install("machine-1")
	w.must(i.activate(w.issue().Code), "")
	first := w.list(i.listID())
	w.pass(time.Minute)
	if _, err := w.a.RotateKeys(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	w.publish()
	if l := w.list(i.listID()); l.Raw != first.Raw {
		t.Error("signed anew although its key is only retired")
	}
	w.pass(15 * time.Minute)
	w.publish()
	second := w.list(i.listID())
	if second.KeyID == first.KeyID || second.KeyID != w.ring.Signing().ID {
		t.Errorf("signed by %s, then by %s", first.KeyID, second.KeyID)
	}
	w.pass(time.Second)
	w.revokeKey(second.KeyID)
	third := w.list(i.listID()) // verified under the set without that key
	if third.KeyID == second.KeyID || !third.IssuedAt.After(second.IssuedAt) {
		t.Errorf("signed by %s at %s after %s", third.KeyID, third.IssuedAt, second.IssuedAt)
	}
	// And after a restart.
	w.again()
	if err := w.a.LoadStatusLists(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.publish()
	if l := w.list(i.listID()); l.Raw != third.Raw {
		t.Error("after a restart it is another list")
	}
}

// A key set that revokes the key of a list is not confirmed to be installed
// before the list is signed anew, also where this second has had its lists.
func TestStatusKeyRevokedWithinTheSecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	is, i := w.issue(), w.install("machine-1")
	w.must(i.activate(is.Code), "")
	old := w.list(i.listID())
	if _, err := w.a.RotateKeys(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	w.must(w.edit(is.License.ID, license.EventSuspend), "")
	w.publish()
	ahead := w.list(i.listID())
	if !ahead.IssuedAt.After(w.clock()) || ahead.KeyID == old.KeyID {
		t.Fatalf("the second list of a second is of %s at %s", ahead.IssuedAt, w.clock())
	}
	w.revokeKey(ahead.KeyID)
	if l := w.list(i.listID()); l.KeyID == ahead.KeyID || !l.IssuedAt.After(ahead.IssuedAt) {
		t.Errorf("the list of %s is signed by %s", l.IssuedAt, l.KeyID)
	}
}
