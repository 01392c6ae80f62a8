package authority_test

import (
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// What counts for an upgrade is the product of the programs that run, not the one
// that the licence happened to have in between: a chain of upgrades cuts nobody
// off in silence, and a way back is open.
func TestUpgradeTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.again(func(o *authority.Options) {
		o.Products[1].Accepts, o.Products[1].InstallsPerMachine = []string{"cad"}, 3
		mega := o.Products[1]
		mega.ID, mega.Accepts = "mega", []string{"other"}
		o.Products = append(o.Products, mega)
	})
	is := w.issue(func(o *authority.Order) { o.Machines = 2 })
	i := w.install("a")
	w.must(i.activate(is.Code), "")
	to := func(product string) error {
		return w.upgrade(is.License.ID, authority.Edit{Upgrade: authority.UpgradeTo{Product: product}})
	}
	w.must(to("other"), "")
	w.must(i.refresh(), "")
	w.must(to("mega"), license.Conflict) // its programs are cad, which mega does not accept
	w.must(i.refresh(), "")
	w.must(to("cad"), "") // they are at home there
	w.must(i.refresh(), "")
	w.must(to("other"), "")

	own := w.install("b")
	own.product = "other"
	w.must(own.activate(is.Code), "")
	w.must(to("cad"), license.Conflict)
	_, err := i.send(i.request(token.OpDeactivate))
	w.must(err, "")
	w.must(to("mega"), "")
	w.must(own.refresh(), "")
}

// An upgrade is no way round the window of renewals, but for a trial, which had no
// end that anybody paid for.
func TestUpgradeRenews(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) {
		p.RenewWithin, p.Trial = 90*day, license.TrialPolicy{For: 14 * day, PerMachine: 1, Remember: 365 * day}
	})
	is := w.issue(func(o *authority.Order) { o.For = day })
	trial := w.issue(func(o *authority.Order) { o.For, o.Trial = 0, true })
	w.pass(110 * day)
	w.must(w.upgrade(is.License.ID, authority.Edit{For: day}), license.Expired)
	w.must(w.upgrade(is.License.ID, authority.Edit{Upgrade: authority.UpgradeTo{Machines: 2}}), "") // does not revive it
	w.must(w.upgrade(is.License.ID, authority.Edit{For: day, Force: true}), "")
	if e := w.last(license.ActionUpgrade); e.After["forced"] != true {
		t.Errorf("%+v", e)
	}
	w.must(w.upgrade(trial.License.ID, authority.Edit{For: day}), "")
}

// While a licence is suspended or over its installs call and are refused, so
// nothing is known of them: that time is no silence, and who calls on comes back
// to its seat.
func TestSilenceOfTheRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ away, back func(*world, string) error }{
		"suspended": {
			func(w *world, id string) error { return w.edit(id, license.EventSuspend) },
			func(w *world, id string) error { return w.edit(id, license.EventResume) },
		},
		"over": {
			func(w *world, id string) error {
				_, _, err := w.a.Edit(w.t.Context(), admin, id, authority.Edit{Event: license.EventRenew, ExpiresAt: w.clock().Add(time.Hour)})
				return err
			},
			func(w *world, id string) error {
				_, _, err := w.a.Edit(w.t.Context(), admin, id, authority.Edit{Event: license.EventRenew, For: 365 * day})
				return err
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(p *license.Product) { p.ReleaseAfter = 90 * day })
			is := w.issue(func(o *authority.Order) { o.For = 1000 * day })
			i := w.install("a")
			w.must(i.activate(is.Code), "")
			w.must(c.away(w, is.License.ID), "")
			w.pass(200 * day)
			if i.refresh() == nil {
				t.Fatal("it was not refused")
			}
			if did := w.sweep(); did.Released != 0 {
				t.Errorf("%+v while it is away", did)
			}
			w.must(c.back(w, is.License.ID), "")
			w.pass(day)
			if did := w.sweep(); did.Released != 0 {
				t.Errorf("%+v after it came back", did)
			}
			w.must(w.install("b").activate(is.Code), license.MachineLimit)
			w.must(i.refresh(), "")
			w.pass(90 * day)
			if did := w.sweep(); did.Released != 1 {
				t.Errorf("%+v of one that is silent indeed", did)
			}
		})
	}
}

// A seat is given up for who needs it: a transfer that names whom it replaces does not.
func TestNamedTransferLeavesTheSilent(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.ReleaseAfter = 90 * day })
	is := w.issue(func(o *authority.Order) { o.Machines = 2 })
	silent, named := w.install("a"), w.install("b")
	w.must(silent.activate(is.Code), "")
	w.pass(100 * day)
	w.must(named.activate(is.Code), "")
	next := w.install("c")
	_, err := next.send(next.request(token.OpTransfer, withCode(is.Code), func(r *token.Request) { r.From = named.key.ID }))
	w.must(err, "")
	if a, b := w.installState(is.License.ID, silent), w.installState(is.License.ID, named); a != license.InstallLive || b != license.InstallTransferred {
		t.Errorf("the silent one is %s, the one that was named %s", a, b)
	}
}

// Floating installs come and go: one beyond what was sold is recorded too where it
// comes back to a seat.
func TestOverageRegained(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Overage, p.Mode = 1, license.ModeFloating })
	is := w.issue()
	a, b := w.install("a"), w.install("b")
	w.must(a.activate(is.Code), "")
	w.pass(15 * time.Minute)
	w.must(b.activate(is.Code), "")
	if n := w.events(license.ActionOverage); n != 0 {
		t.Errorf("%d events for one at a time", n)
	}
	w.must(a.refresh(), "")
	if e := w.last(license.ActionOverage); e.Install != a.key.ID || e.After["beyond"] != 1.0 || e.After["machines"] != 1.0 {
		t.Errorf("%+v", e)
	}
	w.must(a.refresh(), "")
	if n := w.events(license.ActionOverage); n != 1 {
		t.Errorf("%d events for one that goes on", n)
	}
}

// A decision that stands is answered as it stands; and a request is over once its
// machine is in, whatever let it in.
func TestTransferRequestsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) {
		p.Transfers = license.TransferPolicy{PerYear: 5, CoolDown: 2 * day, Approval: license.ApproveOverLimit, ApprovalFor: 3 * day}
	})
	is := w.issue()
	w.must(w.install("a").activate(is.Code), "")
	transfer := func(machine string) error {
		i := w.install(machine)
		_, err := i.send(i.request(token.OpTransfer, withCode(is.Code)))
		return err
	}
	w.must(transfer("b"), "")
	w.must(transfer("c"), license.TransferLimit) // the cool-down
	first, changed, err := w.a.DecideTransfer(t.Context(), admin, is.License.ID, "", true, "")
	if err != nil || !changed {
		t.Fatal(changed, err)
	}
	w.pass(day)
	again, changed, err := w.a.DecideTransfer(t.Context(), admin, is.License.ID, first.ID, true, "once more")
	if err != nil || changed || !again.Until.Equal(first.Until) || again.Note != "" {
		t.Errorf("changed %v, %v: %+v", changed, err, again)
	}
	w.pass(day)
	w.must(transfer("c"), "") // within the limits by now
	if rs, _, err := w.a.TransferRequests(t.Context(), is.License.ID, store.Page{}); err != nil || len(rs) != 0 {
		t.Errorf("%v: %+v", err, rs)
	}

	// What was denied does not keep others from asking.
	for _, m := range []string{"d", "e", "f", "g", "h", "i", "j", "k"} {
		w.must(transfer(m), license.TransferLimit)
		_, _, err := w.a.DecideTransfer(t.Context(), admin, is.License.ID, "", false, "")
		w.must(err, "")
	}
	w.must(transfer("l"), license.TransferLimit)
	_, _, err = w.a.DecideTransfer(t.Context(), admin, is.License.ID, "", true, "")
	w.must(err, "")
	w.must(transfer("l"), "")
}

// Each trial is remembered for its own time: a later one does not lengthen it.
func TestTrialsAreForgottenOneByOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) {
		p.Trial = license.TrialPolicy{For: 14 * day, PerMachine: 2, Remember: 365 * day}
	})
	try := func() error {
		return w.install("a").activate(w.issue(func(o *authority.Order) { o.For, o.Trial = 0, true }).Code)
	}
	w.must(try(), "")
	w.pass(300 * day)
	w.must(try(), "")
	w.must(try(), license.TrialUsed)
	w.pass(65 * day)
	w.must(try(), "")
	w.must(try(), license.TrialUsed)
}

// Devices that never call home are let in beyond like all others, which is recorded;
// and their licence says that it is a trial.
func TestPoliciesOfDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) {
		p.Overage, p.Trial = 1, license.TrialPolicy{For: 14 * day, PerMachine: 1, Remember: 365 * day}
	})
	is := w.issue(func(o *authority.Order) { o.For, o.Trial = 0, true })
	one := w.identified(is.License.ID, "HW-1")
	file, err := token.ParseFile(one.File)
	if err != nil || len(file.Licenses) != 1 {
		t.Fatal(err)
	}
	if !w.verify(file.Licenses[0], "cad").Trial {
		t.Error("the licence does not say that it is a trial")
	}
	if n := w.events(license.ActionOverage); n != 0 {
		t.Errorf("%d events for what was sold", n)
	}
	two := w.identified(is.License.ID, "HW-2")
	if e := w.last(license.ActionOverage); e.Install != two.Install.ID || e.After["beyond"] != 1.0 {
		t.Errorf("%+v", e)
	}
	w.identified(is.License.ID, "HW-2")
	if n := w.events(license.ActionOverage); n != 1 {
		t.Errorf("%d events", n)
	}
	_, err = w.identify(is.License.ID, "HW-3")
	w.must(err, license.MachineLimit)
}
