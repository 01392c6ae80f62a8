package authority_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// last is the newest audit event of an action.
func (w *world) last(action license.Action) license.AuditEvent {
	w.t.Helper()
	events, _, err := w.a.Events(w.t.Context(), store.EventFilter{Action: action}, store.Page{Limit: store.MaxPage})
	if err != nil || len(events) == 0 {
		w.t.Fatalf("%s: %v, %d events", action, err, len(events))
	}
	return events[len(events)-1]
}

// installState is the state of an install, as it is stored.
func (w *world) installState(id string, i *install) license.InstallState {
	w.t.Helper()
	_, installs := w.license(id)
	at := slices.IndexFunc(installs, func(o license.Install) bool { return o.ID == i.key.ID })
	if at < 0 {
		w.t.Fatalf("%s has no such install", id)
	}
	return installs[at].State
}

// Beyond what was sold so many machines are let in as the product says, or the
// licence itself, each of which is recorded; one more is refused.
func TestOverage(t *testing.T) {
	t.Parallel()
	for _, mode := range []license.Mode{license.ModeNode, license.ModeFloating} {
		w := newWorld(t, func(p *license.Product) { p.Overage, p.Mode = 1, mode })
		is := w.issue()
		w.must(w.install("a").activate(is.Code), "")
		if n := w.events(license.ActionOverage); n != 0 {
			t.Errorf("%s: %d events for what was sold", mode, n)
		}
		b := w.install("b")
		w.must(b.activate(is.Code), "")
		e := w.last(license.ActionOverage)
		if e.Install != b.key.ID || e.After["machines"] != 1.0 || e.After["beyond"] != 1.0 || e.After["allowed"] != 1.0 {
			t.Errorf("%s: %+v", mode, e)
		}
		if b.held.Machines != 1 {
			t.Errorf("%s: the licence says %d machines", mode, b.held.Machines)
		}
		w.must(w.install("c").activate(is.Code), license.MachineLimit)
		w.wantMoves(is.License.ID, 0)

		own := w.issue(func(o *authority.Order) { o.Overage = new(int) })
		w.must(w.install("a").activate(own.Code), "")
		w.must(w.install("b").activate(own.Code), license.MachineLimit)
		edit := authority.Edit{Event: license.EventEdit, Overage: func(*int) *int { return new(2) }}
		if _, changed, err := w.a.Edit(t.Context(), admin, own.License.ID, edit); err != nil || !changed {
			t.Fatal(changed, err)
		}
		w.must(w.install("b").activate(own.Code), "")
		w.must(w.install("c").activate(own.Code), "")
		w.must(w.install("d").activate(own.Code), license.MachineLimit)
		edit.Overage = func(*int) *int { return new(-1) }
		_, _, err := w.a.Edit(t.Context(), admin, own.License.ID, edit)
		w.must(err, license.BadRequest)
	}
}

// An install that was not seen for long, and whose lease is over, makes room
// where a seat is needed. It is no fork when it comes back.
func TestSilentInstallMakesRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.ReleaseAfter = 90 * day })
	is := w.issue(func(o *authority.Order) { o.Machines = 2 })
	old, fresh := w.install("old"), w.install("fresh")
	w.must(old.activate(is.Code), "")
	w.pass(day)
	w.must(fresh.activate(is.Code), "")
	w.pass(89*day - time.Second)
	w.must(w.install("new").activate(is.Code), license.MachineLimit)
	w.pass(time.Second)
	w.must(fresh.refresh(), "")
	comes := w.install("new")
	w.must(comes.activate(is.Code), "")
	if s := w.installState(is.License.ID, old); s != license.InstallReleased {
		t.Errorf("the silent one is %s", s)
	}
	if n := w.events(license.ActionInstallRelease); n != 1 {
		t.Errorf("%d events", n)
	}
	w.wantMoves(is.License.ID, 1) // the licence is on a third machine
	for range 2 {
		w.must(old.refresh(), license.Replaced)
	}
	if n := w.events(license.ActionFork); n != 0 {
		t.Errorf("%d forks of one that was away", n)
	}
	// Its machine is activated anew when there is a seat again.
	w.must(w.install("old").activate(is.Code), license.MachineLimit)
	_, err := comes.send(comes.request(token.OpDeactivate))
	w.must(err, "")
	w.pass(2 * day)
	w.must(w.install("old").activate(is.Code), "")
}

// One whose lease runs keeps its seat, however long it was silent, and so does
// one that never had to call home.
func TestSilentButLeased(t *testing.T) {
	t.Parallel()
	for _, lease := range []time.Duration{200 * day, 0} {
		w := newWorld(t, func(p *license.Product) { p.ReleaseAfter, p.Schedule.Lease = 30*day, lease })
		is := w.issue(func(o *authority.Order) { o.For, o.Perpetual = 0, true })
		w.must(w.install("a").activate(is.Code), "")
		w.pass(100 * day)
		w.must(w.install("b").activate(is.Code), license.MachineLimit)
	}
}

// After the window staff renews only by force, which is recorded; what the
// marketplace renews is applied whenever it comes.
func TestRenewWithin(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.RenewWithin = 90 * day })
	is := w.issue(func(o *authority.Order) { o.For = day })
	renew := func(force bool) error {
		_, _, err := w.a.Edit(t.Context(), admin, is.License.ID, authority.Edit{Event: license.EventRenew, For: day, Force: force})
		return err
	}
	w.pass(91*day - time.Second)
	w.must(renew(true), "") // needs none, so none is recorded
	if e := w.last(license.ActionRenew); e.After["forced"] != nil {
		t.Errorf("%+v", e)
	}
	w.pass(91 * day)
	w.must(renew(false), license.Expired)
	if n := w.events(license.ActionRenew); n != 1 {
		t.Errorf("%d renewals", n)
	}
	w.must(renew(true), "")
	if e := w.last(license.ActionRenew); e.After["forced"] != true {
		t.Errorf("%+v", e)
	}

	code, _ := w.sell("PL7")
	w.must(w.install("m").activate(code), "")
	w.pass(400 * day)
	out, err := w.say(code, license.EventSetExpiry, 1, func(m *authority.Message) { m.ExpiresAt = w.clock().Add(day) })
	if err != nil || !out.Changed {
		t.Errorf("%+v, %v", out, err)
	}
}

// A licence may have a lease of its own, which what is signed next follows.
func TestLeaseOfALicense(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue(func(o *authority.Order) { o.Phases = license.Phases{Lease: new(60 * day)} })
	i := w.install("a")
	w.must(i.activate(is.Code), "")
	lease := func() (time.Duration, time.Duration) {
		return i.held.Dates.LeaseUntil.Sub(w.clock()), i.held.Dates.RefreshAfter.Sub(w.clock())
	}
	if l, r := lease(); l != 60*day || r != day {
		t.Errorf("lease %s, refresh %s", l, r)
	}
	edit := func(p license.Phases) { // one that is shorter than the product's refresh moves that
		t.Helper()
		_, _, err := w.a.Edit(t.Context(), admin, is.License.ID, phasesAre(p))
		w.must(err, "")
		w.must(i.refresh(), "")
	}
	edit(license.Phases{Lease: new(time.Hour)})
	if l, r := lease(); l != time.Hour || r != 20*time.Minute {
		t.Errorf("lease %s, refresh %s", l, r)
	}
	edit(license.Phases{Lease: new(time.Duration), Refresh: new(7 * day)})
	if l, r := lease(); i.held.Dates.LeaseUntil != i.held.Dates.Exp || r != 7*day {
		t.Errorf("lease %s, refresh %s", l, r)
	}
	for _, bad := range []license.Phases{
		{Lease: new(time.Second)}, {Lease: new(-day)}, {Refresh: new(time.Second)}, {Lease: new(day), Refresh: new(day)}, {Lease: new(40000 * day)},
	} {
		_, _, err := w.a.Edit(t.Context(), admin, is.License.ID, phasesAre(bad))
		w.must(err, license.BadRequest)
	}
	if e := w.last(license.ActionEdit); e.After["phases"].(map[string]any)["refresh"] != "168h0m0s" {
		t.Errorf("%+v", e)
	}
}

func named(instance string) func(*token.Request) {
	return func(r *token.Request) { r.Instance = instance }
}

// A floating install that has crashed takes its own seat back at once where it
// says which instance it is, and else once it has missed a check-in; what runs
// beside it on the same machine is let be.
func TestFloatingTakeover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Mode, p.Machines = license.ModeFloating, 1 })
	is := w.issue()
	activate := func(machine, instance string) (*install, error) {
		i := w.install(machine)
		_, err := i.send(i.request(token.OpActivate, withCode(is.Code), named(instance)))
		return i, err
	}
	first, err := activate("host", "pod-0")
	w.must(err, "")
	_, err = activate("host", "pod-1")
	w.must(err, license.MachineLimit)
	_, err = activate("another", "pod-0")
	w.must(err, license.MachineLimit)
	again, err := activate("host", "pod-0")
	w.must(err, "")
	if s := w.installState(is.License.ID, first); s != license.InstallReplaced || w.events(license.ActionFloatingTakeover) != 1 {
		t.Errorf("the crashed one is %s", s)
	}
	w.must(first.refresh(), license.Replaced)
	w.must(again.refresh(), "")

	// The same key is the same install: it never waits.
	w.pass(time.Minute)
	w.must(again.refresh(), "")

	_, err = again.send(again.request(token.OpDeactivate))
	w.must(err, "")
	_, err = activate("host", "")
	w.must(err, "")
	w.pass(9 * time.Minute) // it was to call after five
	_, err = activate("host", "")
	w.must(err, license.MachineLimit)
	w.pass(time.Minute)
	_, err = activate("another", "")
	w.must(err, license.MachineLimit)
	_, err = activate("host", "")
	w.must(err, "")
	w.pass(15 * time.Minute) // the lease is over: the seat is free for all
	_, err = activate("another", "")
	w.must(err, "")
}

// A move beyond the limits waits for the staff, who is asked once for each
// machine; what was approved is good once, and not for ever.
func TestTransferApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) {
		p.Transfers = license.TransferPolicy{PerYear: 1, Approval: license.ApproveOverLimit, ApprovalFor: 3 * day}
	})
	is := w.issue()
	id := is.License.ID
	w.must(w.install("a").activate(is.Code), "")
	transfer := func(machine string) error {
		i := w.install(machine)
		_, err := i.send(i.request(token.OpTransfer, withCode(is.Code)))
		return err
	}
	decide := func(approve bool) error {
		_, _, err := w.a.DecideTransfer(t.Context(), admin, id, "", approve, "asked by mail")
		return err
	}
	w.must(transfer("b"), "") // within the limits
	w.must(decide(true), license.NotFound)
	w.must(transfer("c"), license.TransferLimit)
	commits := w.commits()
	w.must(transfer("c"), license.TransferLimit) // another key on the same machine
	if n := w.commits(); n != commits || w.events(license.ActionTransferRequest) != 1 {
		t.Errorf("%d commits and %d requests for one that waits already", n-commits, w.events(license.ActionTransferRequest))
	}
	rs, _, err := w.a.TransferRequests(t.Context(), "", store.Page{})
	if err != nil || len(rs) != 1 || rs[0].License != id || rs[0].State != license.TransferWaiting || rs[0].Addr != "192.0.2.1" {
		t.Fatalf("%v: %+v", err, rs)
	}
	w.must(decide(true), "")
	w.must(decide(true), license.NotFound) // none waits any more
	w.must(transfer("d"), license.TransferLimit)
	w.must(transfer("c"), "")
	if e := w.last(license.ActionTransfer); e.After["approval"] != rs[0].ID {
		t.Errorf("%+v", e)
	}
	w.wantMoves(id, 2)
	w.must(decide(false), "") // of d
	w.must(transfer("d"), license.TransferLimit)
	w.must(transfer("a"), license.TransferLimit)
	w.must(decide(true), "")
	w.pass(3 * day)
	w.must(transfer("a"), license.TransferLimit) // too late: it is asked for anew
	if n := w.events(license.ActionTransferRequest); n != 4 {
		t.Errorf("%d requests", n)
	}
	// Nobody fills the store.
	for _, m := range []string{"e", "f", "g", "h", "i", "j", "k", "l"} {
		w.must(transfer(m), license.TransferLimit)
	}
	if rs, _, err := w.a.TransferRequests(t.Context(), id, store.Page{}); err != nil || len(rs) != license.MaxTransferRequests {
		t.Errorf("%v: %d requests", err, len(rs))
	}
	w.must(decide(true), license.BadRequest) // which?
}

// A machine has one trial of a product, whichever licence it is tried by, and
// whatever of it is exchanged but for all of it.
func TestTrial(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) {
		p.Trial = license.TrialPolicy{For: 14 * day, PerMachine: 1, Remember: 365 * day}
	})
	trial := func(o *authority.Order) { o.For, o.Trial = 0, true }
	one, two := w.issue(trial), w.issue(trial)
	if !one.License.Trial || !one.License.ExpiresAt.Equal(begin.Add(14*day)) {
		t.Errorf("%+v", one.License)
	}
	i := w.install("")
	w.must(i.activateOn(one.Code, "os:1 disk:1 mac:1 cpu:1"), "")
	if !i.held.Trial {
		t.Error("the licence does not say that it is a trial")
	}
	commits := w.commits()
	w.must(w.install("").activateOn(two.Code, "os:2 disk:1 mac:2 cpu:1"), license.TrialUsed)
	if w.commits() != commits || w.state(two.License.ID) != license.StateIssued {
		t.Error("a refusal has changed something")
	}
	w.must(w.install("").activateOn(one.Code, "os:1 disk:1 mac:1 cpu:1"), "") // its own is no second one
	w.must(w.install("").activateOn(two.Code, "os:2 disk:2 mac:1 cpu:1"), "") // a network card was handed on
	values, _, err := w.values("trial/")
	if err != nil || len(values) != 5 {
		t.Errorf("%v: %d marks", err, len(values))
	}
	w.must(w.install("").activateOn(w.issue().Code, "os:1 disk:1 mac:1 cpu:1"), "") // a bought one is none
	w.pass(365 * day)
	w.must(w.install("").activateOn(w.issue(trial).Code, "os:1 disk:1 mac:1 cpu:1"), "")

	_, err = w.a.Issue(t.Context(), admin, authority.Order{Product: "cad", Trial: true, Perpetual: true})
	w.must(err, license.BadRequest)
}

func (w *world) values(prefix string) (values []store.Value, next string, err error) {
	err = w.store.View(w.t.Context(), func(ctx context.Context, tx store.Tx) error {
		values, next, err = tx.Values(ctx, prefix, store.Page{Limit: store.MaxPage})
		return err
	})
	return values, next, err
}

// upgrade makes a licence another one.
func (w *world) upgrade(id string, e authority.Edit) error {
	w.t.Helper()
	e.Event = license.EventUpgrade
	_, _, err := w.a.Edit(w.t.Context(), admin, id, e)
	return err
}

// An upgrade leaves id, code and installs, which get what is new at their next
// check-in.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue(func(o *authority.Order) { o.Trial, o.For = true, 14*day })
	id := is.License.ID
	i := w.install("a")
	w.must(i.activate(is.Code), "")
	edition := license.Features{"edition": license.FeatureText("pro"), "export": license.Feature{}}
	w.must(w.upgrade(id, authority.Edit{}), license.BadRequest)
	w.must(w.upgrade(id, authority.Edit{Upgrade: authority.UpgradeTo{Features: edition}}), license.BadRequest) // a trial needs an end
	w.must(w.upgrade(id, authority.Edit{Upgrade: authority.UpgradeTo{Product: "none"}, For: day}), license.BadRequest)
	if n := w.events(license.ActionUpgrade); n != 0 {
		t.Errorf("%d upgrades", n)
	}
	w.must(w.upgrade(id, authority.Edit{Upgrade: authority.UpgradeTo{Features: edition, Machines: 2}, For: 365 * day}), "")
	l, installs := w.license(is.Code.Reveal())
	if l.ID != id || l.Trial || l.Machines != 2 || len(installs) != 1 || !l.ExpiresAt.Equal(begin.Add(379*day)) {
		t.Errorf("%+v", l)
	}
	w.must(i.refresh(), "")
	if v, _ := i.held.Features["edition"].Text(); v != "pro" || i.held.Features["export"].On() || i.held.Trial || i.held.Machines != 2 {
		t.Errorf("%+v", i.held)
	}
	e := w.last(license.ActionUpgrade)
	if e.Before["trial"] != true || e.After["trial"] != false || e.After["machines"] != 2.0 || e.Before["machines"] != 1.0 {
		t.Errorf("%+v", e)
	}
}

// Another product: programs that it accepts go on, and their licence names both;
// those of a product that it does not accept keep a licence from moving, unless
// they are ended by force.
func TestUpgradeProduct(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.again(func(o *authority.Options) {
		o.Products[1].Accepts, o.Products[1].InstallsPerMachine = []string{"cad"}, 3
		o.Products[1].Transfers.PerYear = 1 // a program of another id sees another machine
	})
	is := w.issue()
	i := w.install("a")
	w.must(i.activate(is.Code), "")
	w.must(w.upgrade(is.License.ID, authority.Edit{Upgrade: authority.UpgradeTo{Product: "other"}}), "")
	w.must(i.refresh(), "")
	if i.held.Product != "cad" || !slices.Equal(i.held.Also, []string{"other"}) || i.held.Features["export"].On() {
		t.Errorf("%+v", i.held)
	}
	w.must(i.refresh(), "")
	_, err := i.send(i.request(token.OpDeactivate))
	w.must(err, "")
	i = w.install("a")
	i.product = "other"
	w.must(i.activate(is.Code), "")

	back := authority.Edit{Upgrade: authority.UpgradeTo{Product: "cad"}}
	w.must(w.upgrade(is.License.ID, back), license.Conflict)
	w.must(i.refresh(), "")
	back.Force = true
	w.must(w.upgrade(is.License.ID, back), "")
	if s := w.installState(is.License.ID, i); s != license.InstallRemoved {
		t.Errorf("the install is %s", s)
	}
	if e := w.last(license.ActionUpgrade); e.After["forced"] != true || e.After["product"] != "cad" || e.Before["product"] != "other" {
		t.Errorf("%+v", e)
	}
	w.pass(day) // the cool-down
	w.must(w.install("a").activate(is.Code), "")
}
