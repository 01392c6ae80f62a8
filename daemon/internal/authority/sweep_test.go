package authority_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// sweep has the authority do all that there is to do now.
func (w *world) sweep() (all authority.Swept) {
	w.t.Helper()
	for range 10000 {
		did, more, err := w.a.Sweep(w.t.Context(), w.clock())
		if err != nil {
			w.t.Fatal(err)
		}
		if all = all.Add(did); !more {
			return all
		}
	}
	w.t.Fatal("there is no end of it")
	return all
}

func (w *world) wantSwept(want authority.Swept) {
	w.t.Helper()
	if got := w.sweep(); got != want {
		w.t.Errorf("swept %+v, want %+v", got, want)
	}
	if got := w.sweep(); got != (authority.Swept{}) {
		w.t.Errorf("swept %+v the second time", got)
	}
}

// The warning and the end of a licence are recorded once each, to the second, and
// again for another end.
func TestSweepEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sweep()
	is := w.issue()
	w.issue(func(o *authority.Order) { o.For, o.Perpetual = 0, true })
	w.wantSwept(authority.Swept{})
	w.pass(335*day - time.Second)
	w.wantSwept(authority.Swept{})
	w.pass(time.Second)
	w.wantSwept(authority.Swept{Expiring: 1})
	e := w.last(license.ActionExpiring)
	if e.License != is.License.ID || e.After["expires_at"] != "2027-03-01T12:00:00Z" || e.After["block_at"] != "2027-03-16T12:00:00Z" || e.Actor.Kind != license.ActorSystem {
		t.Errorf("%+v", e)
	}
	w.pass(30*day - time.Second)
	w.wantSwept(authority.Swept{})
	w.pass(time.Second)
	w.wantSwept(authority.Swept{Expired: 1})
	if e := w.last(license.ActionExpire); e.License != is.License.ID || e.After["state"] != "expired" || !e.At.Equal(w.clock()) {
		t.Errorf("%+v", e)
	}

	// A restart, or another daemon, records nothing again; a new end counts anew.
	w.again()
	w.wantSwept(authority.Swept{})
	_, _, err := w.a.Edit(t.Context(), admin, is.License.ID, authority.Edit{Event: license.EventRenew, For: 60 * day})
	w.must(err, "")
	w.wantSwept(authority.Swept{})
	w.pass(30 * day)
	w.wantSwept(authority.Swept{Expiring: 1})
	w.must(w.edit(is.License.ID, license.EventSuspend), "") // what is held ends all the same
	w.pass(30 * day)
	w.wantSwept(authority.Swept{Expired: 1})

	gone := w.issue(func(o *authority.Order) { o.For = 40 * day })
	w.must(w.edit(gone.License.ID, license.EventRelease), "")
	w.pass(50 * day)
	w.wantSwept(authority.Swept{})
}

// What no window finds is found all the same: a warning of its own, an end that is
// near or past from the start, and one that time has skipped.
func TestSweepDue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sweep()
	w.issue(func(o *authority.Order) { o.For = 7 * day })
	w.wantSwept(authority.Swept{Expiring: 1})
	own := w.issue(func(o *authority.Order) { o.Phases = license.Phases{Warn: new(100 * day)} })
	w.pass(7 * day)
	w.wantSwept(authority.Swept{Expired: 1})
	w.pass(257 * day)
	w.wantSwept(authority.Swept{})
	_, _, err := w.a.Edit(t.Context(), admin, own.License.ID, phasesAre(license.Phases{Warn: new(50 * day)}))
	w.must(err, "")
	w.pass(day)
	w.wantSwept(authority.Swept{})
	w.pass(50 * day)
	w.wantSwept(authority.Swept{Expiring: 1})

	// The marketplace sets an end back to the past.
	code, _ := w.sell("PL7")
	w.must(w.install("m").activate(code), "")
	w.sweep()
	at := w.clock().Add(-10 * day)
	if out, err := w.say(code, license.EventSetExpiry, 1, func(m *authority.Message) { m.ExpiresAt = at }); err != nil || !out.Changed {
		t.Fatal(out, err)
	}
	w.wantSwept(authority.Swept{Expired: 1})
	if e := w.last(license.ActionExpire); e.After["expires_at"] != at.Format(time.RFC3339) {
		t.Errorf("%+v", e)
	}
	if values, _, err := w.values("sweep/due/"); err != nil || len(values) != 0 {
		t.Errorf("%v: %+v are left", err, values)
	}

	// While it was revoked nothing was recorded of it, and then all is.
	revoked := w.issue(func(o *authority.Order) { o.For = 100 * day })
	w.pass(100*day - time.Hour)
	w.sweep()
	w.must(w.edit(revoked.License.ID, license.EventRevoke), "")
	w.pass(2 * time.Hour)
	w.sweep()
	n := w.events(license.ActionExpire)
	w.must(w.edit(revoked.License.ID, license.EventUndoRevoke), "")
	w.wantSwept(authority.Swept{Expired: 1})
	if w.events(license.ActionExpire) != n+1 {
		t.Error("the end under a revocation")
	}
}

// Many that end at once are recorded in small steps, which a restart does not
// lose, nor several daemons do twice.
func TestSweepMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sweep()
	const n = 130
	w.issue(func(o *authority.Order) { o.For, o.Count = 40*day, n })
	w.pass(40 * day)
	other, err := authority.New(w.options)
	w.must(err, "")
	var did authority.Swept
	for i := 0; ; i++ {
		a := w.a
		if i%2 == 1 {
			a = other
		}
		if i == 3 {
			w.again()
		}
		before := w.events(license.ActionExpire)
		some, more, err := a.Sweep(t.Context(), w.clock())
		w.must(err, "")
		if got := w.events(license.ActionExpire) - before; got > 50 {
			t.Errorf("%d in one step", got)
		}
		if did = did.Add(some); !more {
			break
		}
	}
	if did.Expired != n || w.events(license.ActionExpire) != n {
		t.Errorf("%+v, %d events", did, w.events(license.ActionExpire))
	}
}

// Two daemons whose clocks differ sweep at the same time.
func TestSweepConcurrent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sweep()
	const n = 60
	w.issue(func(o *authority.Order) { o.For, o.Count = 40*day, n })
	w.pass(41 * day)
	failed := make(chan error, 3)
	for i := range 3 {
		a, err := authority.New(w.options)
		w.must(err, "")
		go func() {
			for more := true; more; {
				var err error
				if _, more, err = a.Sweep(t.Context(), w.clock().Add(-time.Duration(i)*time.Second)); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range 3 {
		w.must(<-failed, "")
	}
	w.sweep()
	if got := w.events(license.ActionExpire); got != n {
		t.Errorf("%d events", got)
	}
}

// Silent installs are released in the daily walk; what is over is forgotten.
func TestSweepReleasesAndForgets(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) {
		p.ReleaseAfter, p.Machines = 30*day, 200
		p.Trial = license.TrialPolicy{For: 14 * day, PerMachine: 1, Remember: 100 * day}
		p.Transfers = license.TransferPolicy{Approval: license.ApproveAlways}
	})
	is := w.issue(func(o *authority.Order) { o.For = 1000 * day })
	var all []*install
	for i := range 60 {
		all = append(all, w.install(fmt.Sprint("m", i)))
		w.must(all[i].activate(is.Code), "")
	}
	w.sweep()
	w.must(w.install("t").activate(w.issue(func(o *authority.Order) { o.For, o.Trial = 0, true }).Code), "")
	one := w.issue(func(o *authority.Order) { o.Machines = 1 })
	w.must(w.install("x").activate(one.Code), "")
	w.must(w.install("y").activate(one.Code), license.MachineLimit)
	w.pass(20 * day)
	y := w.install("y")
	_, err := y.send(y.request("transfer", withCode(one.Code)))
	w.must(err, license.TransferLimit)
	w.must(all[0].refresh(), "")
	w.pass(10 * day)
	// 59 and x; the trial is over, and nobody could call by it.
	if did := w.sweep(); did.Released != 60 || w.events(license.ActionInstallRelease) != 60 {
		t.Errorf("%+v", did)
	}
	w.must(all[0].refresh(), "")
	w.must(all[1].refresh(), license.Replaced)
	if l, installs := w.license(is.License.ID); l.SeatsTaken(installs, w.clock()) != 1 {
		t.Errorf("%d seats", l.SeatsTaken(installs, w.clock()))
	}
	if did := w.sweep(); did != (authority.Swept{}) {
		t.Errorf("%+v", did)
	}
	w.pass(20 * day) // a month after the move was asked for
	if did := w.sweep(); did.Forgotten != 1 {
		t.Errorf("%+v", did)
	}
	w.pass(50 * day)
	if did := w.sweep(); did.Forgotten != 3 {
		t.Errorf("%+v", did)
	}
	for _, prefix := range []string{"trial/", "transfer/"} {
		if values, _, err := w.values(prefix); err != nil || len(values) != 0 {
			t.Errorf("%v: %+v are left", err, values)
		}
	}
}

// While the clock is not trusted nothing is recorded, and what a wrong clock had
// recorded does not keep it from later ends.
func TestSweepClock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.sweep()
	w.issue(func(o *authority.Order) { o.For = 60 * day })
	w.set(40 * day)
	if _, _, err := w.a.Sweep(t.Context(), w.clock()); !errors.Is(err, license.Clock) {
		t.Errorf("%v", err)
	}
	w.set(-40 * day)
	w.wantSwept(authority.Swept{})
	// The time to sweep for may not lie ahead of the clock.
	if did, _, err := w.a.Sweep(t.Context(), w.clock().Add(100*day)); err != nil || did != (authority.Swept{}) {
		t.Errorf("%+v, %v", did, err)
	}
	w.set(29 * day) // believed
	w.sweep()
	w.set(-29 * day)
	_, _, err := w.a.AcceptClock(t.Context(), admin, w.clock())
	w.must(err, "")
	w.pass(30 * day)
	w.wantSwept(authority.Swept{Expiring: 1})
}
