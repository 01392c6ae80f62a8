package authority_test

import (
	"testing"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// binding sets what the product is bound by from now on, as a new configuration
// does.
func (w *world) binding(p license.Policy) {
	w.t.Helper()
	w.again(func(o *authority.Options) { o.Products[0].Binding = p })
}

// A machine of which a looser policy leaves enough is taken at its next
// check-in, and is bound under that policy.
func TestBindingLooser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("")
	w.must(i.activateOn(is.Code, "os:1 disk:1 mac:1"), "")
	w.must(i.refreshOn("os:2 disk:2 mac:1"), license.MachineMismatch)
	w.binding(license.PolicyLoose)
	w.must(i.refreshOn("os:2 disk:2 mac:1"), "")
	if p := i.held.Binding.Policy; p != license.PolicyLoose {
		t.Errorf("bound by %s", p)
	}
	w.must(w.install("beside").activateOn(is.Code, "os:3 disk:3 mac:1"), "")
	if n := w.seats(is); n != 1 {
		t.Errorf("%d seats", n)
	}
	w.wantMoves(is.License.ID, 0)
}

// One of which too little was proven counts as moved, as it would have from the
// start.
func TestBindingLooserDrifted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("")
	w.must(i.activateOn(is.Code, "os:1 disk:1 mac:1"), "")
	w.must(i.refreshOn("os:1 disk:1 mac:2"), "")
	w.pass(2 * day)
	w.must(i.refreshOn("os:2 disk:2 mac:2"), license.MachineMismatch)
	w.binding(license.PolicyLoose)
	w.must(i.refreshOn("os:2 disk:2 mac:2"), "")
	w.wantMoves(is.License.ID, 1)
}

// A stricter policy takes what a machine has from nobody, and judges all that
// are activated from then on.
func TestBindingStricter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue(func(o *authority.Order) { o.Machines = 2 })
	same, drifted := w.install("same"), w.install("drifted")
	w.must(same.activateOn(is.Code, "os:1 disk:1 mac:1"), "")
	w.must(drifted.activateOn(is.Code, "os:2 disk:2 mac:2"), "")
	w.binding(license.PolicyExact)
	w.must(same.refreshOn("os:1 disk:1 mac:1"), "")
	w.must(drifted.refreshOn("os:2 disk:3 mac:3"), "") // exact refuses that
	if a, b := same.held.Binding.Policy, drifted.held.Binding.Policy; a != license.PolicyExact || b != license.PolicyFuzzy {
		t.Errorf("bound by %s and %s", a, b)
	}
	w.must(same.refreshOn("os:1 disk:4 mac:4"), license.MachineMismatch)
	w.must(w.install("copy").activateOn(is.Code, "os:1 disk:4 mac:4"), license.MachineLimit)
	w.must(drifted.refreshOn("os:2 disk:3 mac:3"), "")
	w.wantMoves(is.License.ID, 0)
	if n := w.seats(is); n != 2 {
		t.Errorf("%d seats", n)
	}
}

// A product that binds to no machine any more forgets what its machines showed,
// and one that binds again learns it at the next check-in.
func TestBindingNoneAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("")
	w.must(i.activateOn(is.Code, "os:1 disk:1 mac:1"), "")
	w.must(i.refreshOn("os:1 disk:1 mac:2"), "") // something is unproven
	w.binding(license.PolicyNone)
	w.must(w.install("beside").activateOn(is.Code, "os:1 disk:1 mac:2"), "") // it is still known
	w.must(i.refreshOn("os:9 disk:9 mac:9"), "")
	got := w.record(i)
	if b := got.Binding; b.Policy != license.PolicyNone || len(b.Components) != 0 || got.Unproven != nil || len(i.held.Binding.Components) != 0 {
		t.Errorf("bound to %+v, unproven %v", b, got.Unproven)
	}
	w.binding(license.PolicyFuzzy)
	w.must(i.refreshOn("cpu:1"), "") // too weak to be bound: as it is
	if b := i.held.Binding; b.Policy != license.PolicyNone {
		t.Errorf("bound to %+v", b)
	}
	w.must(i.refreshOn("os:7 disk:7 mac:7"), "")
	i.binds("os:7 disk:7 mac:7")
	w.must(i.refreshOn("os:8 disk:8 mac:8"), license.MachineMismatch)
	w.wantMoves(is.License.ID, 0)
}

func (w *world) seats(is authority.Issued) int {
	w.t.Helper()
	_, installs := w.license(is.License.ID)
	seats := make(map[string]bool)
	for _, i := range installs {
		seats[i.Seat] = true
	}
	return len(seats)
}

// record is what is kept of an install.
func (w *world) record(i *install) license.Install {
	w.t.Helper()
	_, installs := w.license(i.held.LicenseID)
	for _, s := range installs {
		if s.ID == i.key.ID {
			return s
		}
	}
	w.t.Fatal("no such install")
	return license.Install{}
}
