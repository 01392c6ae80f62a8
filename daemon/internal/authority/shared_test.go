package authority_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

const (
	firstPC  = "custom:X os:1 disk:1 mac:1"
	secondPC = "custom:X os:2 disk:2 mac:2"
)

// sharing activates a licence for one machine on two that were given one id.
func sharing(t *testing.T, policy license.ForkPolicy) (w *world, is authority.Issued, first, second *install) {
	t.Helper()
	w = newWorld(t, forks(policy))
	is = w.issue()
	first, second = w.install("1"), w.install("2")
	w.must(first.activateOn(is.Code, firstPC), "")
	w.must(second.activateOn(is.Code, secondPC), "")
	w.must(second.refreshOn(secondPC), "")
	w.wantForks(is.License.ID, license.ForkShared, 0) // it may be the first one, repaired
	return w, is, first, second
}

func TestSharedIDReported(t *testing.T) {
	t.Parallel()
	w, is, first, second := sharing(t, license.ForkReport)
	for range 3 {
		w.must(first.refreshOn(firstPC), "")
		w.must(second.refreshOn(secondPC), "")
		w.pass(24 * time.Hour)
	}
	w.wantForks(is.License.ID, license.ForkShared, 1) // once for each machine that came
	third := w.install("3")
	w.must(third.activateOn(is.Code, "custom:X os:3 disk:3 mac:3"), "")
	w.must(first.refreshOn(firstPC), "")
	w.must(second.refreshOn(secondPC), "")
	w.wantForks(is.License.ID, license.ForkShared, 3)
}

// The one that had the seat goes on. The other one ends, and is a machine of its
// own when it comes back, id or not.
func TestSharedIDNewestRefused(t *testing.T) {
	t.Parallel()
	w, is, first, second := sharing(t, license.ForkRefuseNewest)
	w.must(first.refreshOn(firstPC), "")
	w.must(second.refreshOn(secondPC), license.CloneDetected)
	w.must(first.refreshOn(firstPC), "")
	w.must(w.install("4").activateOn(is.Code, secondPC), license.MachineLimit)
	w.must(w.install("5").activateOn(is.Code, "custom:X os:5 disk:5 mac:5"), license.MachineLimit)
	w.must(w.install("6").activateOn(is.Code, firstPC), "")
	if l, _ := w.license(is.License.ID); l.Forks != 2 || len(l.Transfers) != 0 { // it, and that the second called
		t.Errorf("%d forks, %d moves", l.Forks, len(l.Transfers))
	}
}

func TestSharedIDBothRefused(t *testing.T) {
	t.Parallel()
	w, is, first, second := sharing(t, license.ForkRefuseBoth)
	raw := first.request(token.OpRefresh, on(firstPC))
	_, err := first.send(raw)
	w.must(err, license.CloneDetected)
	w.must(second.refreshOn(secondPC), license.CloneDetected)
	_, installs := w.license(is.License.ID)
	for _, i := range installs {
		if i.State != license.InstallForked {
			t.Errorf("%s is %s", i.ID, i.State)
		}
	}
	w.must(w.install("3").activateOn(is.Code, firstPC), "")
	w.must(w.install("4").activateOn(is.Code, secondPC), license.MachineLimit)
}

// A licence for several machines gives each of them a seat.
func TestSharedIDWithSeats(t *testing.T) {
	t.Parallel()
	w := newWorld(t, forks(license.ForkRefuseNewest))
	is := w.issue(func(o *authority.Order) { o.Machines = 2 })
	first, second := w.install("1"), w.install("2")
	w.must(first.activateOn(is.Code, firstPC), "")
	w.must(second.activateOn(is.Code, secondPC), "")
	w.must(first.refreshOn(firstPC), "")
	w.must(second.refreshOn(secondPC), license.CloneDetected)
	again := w.install("2 again")
	w.must(again.activateOn(is.Code, secondPC), "")
	for range 3 {
		w.must(first.refreshOn(firstPC), "")
		w.must(again.refreshOn(secondPC), "")
	}
	w.must(w.install("3").activateOn(is.Code, "custom:X os:3 disk:3 mac:3"), license.MachineLimit)
}

// What is no second machine: one that was repaired or set up anew under its id
// and whose former install is gone, and two installs on one machine that is
// repaired while it has both.
func TestSharedIDIsNoAlarm(t *testing.T) {
	t.Parallel()
	for _, policy := range license.ForkPolicies() {
		w := newWorld(t, forks(policy))
		is := w.issue()
		w.must(w.install("old parts").activateOn(is.Code, firstPC), "")
		anew := w.install("new parts")
		w.must(anew.activateOn(is.Code, secondPC), "")
		w.must(anew.refreshOn(secondPC), "")
		beside := w.install("beside")
		w.must(beside.activateOn(is.Code, "custom:X os:2 disk:3 mac:3"), "")
		w.must(anew.refreshOn("custom:X os:2 disk:3 mac:3"), "")
		w.must(beside.refreshOn("custom:X os:2 disk:3 mac:3"), "")
		w.wantForks(is.License.ID, license.ForkShared, 0)

		// Containers show their id and nothing else.
		is = w.issue()
		one, two := w.install("one"), w.install("two")
		for _, i := range []*install{one, two} {
			w.must(i.activateOn(is.Code, "custom:Y cpu:1"), "")
		}
		w.must(one.refreshOn("custom:Y cpu:2"), "")
		w.must(two.refreshOn("custom:Y cpu:1"), "")
		w.wantForks(is.License.ID, license.ForkShared, 0)
	}
}

// Who activates on ever more machines of one id does not make the record of the
// first one grow.
func TestSharedIDManyRivals(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.InstallsPerMachine = 30 })
	is := w.issue()
	first := w.install("1")
	w.must(first.activateOn(is.Code, firstPC), "")
	for n := range 20 {
		w.must(w.install("").activateOn(is.Code, fmt.Sprintf("custom:X os:a%d disk:a%d", n, n)), "")
	}
	_, installs := w.license(is.License.ID)
	for _, i := range installs {
		if len(i.Rivals) > 8 {
			t.Fatalf("an install remembers %d rivals", len(i.Rivals))
		}
	}
	w.must(first.refreshOn(firstPC), "")
	w.wantForks(is.License.ID, license.ForkShared, 1)
}
