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
	w.pass(day)
	w.must(second.activateOn(is.Code, secondPC), "")
	w.pass(day)
	w.must(second.refreshOn(secondPC), "")
	w.pass(day)
	w.wantForks(is.License.ID, license.ForkShared, 0) // it may be the first one, repaired
	return w, is, first, second
}

// Machines that share an id are reported, once for each that comes, and go on
// under every policy.
func TestSharedID(t *testing.T) {
	t.Parallel()
	for _, policy := range license.ForkPolicies() {
		w, is, first, second := sharing(t, policy)
		for range 3 {
			w.must(first.refreshOn(firstPC), "")
			w.pass(day)
			w.must(second.refreshOn(secondPC), "")
			w.pass(day)
		}
		w.wantForks(is.License.ID, license.ForkShared, 1)
		third := w.install("3")
		w.must(third.activateOn(is.Code, "custom:X os:3 disk:3 mac:3"), "")
		for range 3 {
			w.pass(day)
			w.must(first.refreshOn(firstPC), "")
			w.pass(day)
			w.must(third.refreshOn("custom:X os:3 disk:3 mac:3"), "")
		}
		w.wantForks(is.License.ID, license.ForkShared, 2)
		w.wantMoves(is.License.ID, 0)
	}
}

// Neither does it help to activate again each time, nor to show only the id, nor
// to show the rest later.
func TestSharedIDHidden(t *testing.T) {
	t.Parallel()
	t.Run("activations only", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		is := w.issue()
		for range 3 {
			for _, pc := range []string{firstPC, secondPC} {
				w.must(w.install("").activateOn(is.Code, pc), "")
				w.pass(6 * day)
			}
		}
		if l, _ := w.license(is.License.ID); l.Forks == 0 {
			t.Error("nobody noticed")
		}
	})
	for name, words := range map[string][]string{
		"the id only, later on":   {secondPC, "custom:X", "custom:X"},
		"the id only, at first":   {"custom:X", secondPC, secondPC},
		"one part only, at first": {"custom:X os:2", secondPC, secondPC},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			is := w.issue()
			first, second := w.install("1"), w.install("2")
			w.must(first.activateOn(is.Code, firstPC), "")
			w.pass(day)
			w.must(second.activateOn(is.Code, words[0]), "")
			for _, shown := range words[1:] {
				w.pass(day)
				w.must(second.refreshOn(shown), "")
				w.pass(day)
				w.must(first.refreshOn(firstPC), "")
			}
			w.pass(day)
			w.must(second.refreshOn(secondPC), "")
			w.wantForks(is.License.ID, license.ForkShared, 1)
		})
	}
}

// What is no second machine, or one that was paid for.
func TestSharedIDIsNoAlarm(t *testing.T) {
	t.Parallel()
	none := func(w *world, is authority.Issued) {
		w.t.Helper()
		w.wantForks(is.License.ID, license.ForkShared, 0)
		w.wantMoves(is.License.ID, 0)
	}
	call := func(w *world, who map[*install]string, order ...*install) {
		w.t.Helper()
		for _, i := range order {
			w.pass(day)
			w.must(i.refreshOn(who[i]), "")
		}
	}
	w := newWorld(t)
	is := w.issue() // repaired under its id and activated again; later repaired once more, with two installs
	w.must(w.install("old parts").activateOn(is.Code, firstPC), "")
	w.pass(day)
	anew, beside := w.install("new parts"), w.install("beside")
	w.must(anew.activateOn(is.Code, secondPC), "")
	call(w, map[*install]string{anew: secondPC}, anew)
	w.must(beside.activateOn(is.Code, "custom:X os:2 disk:3 mac:3"), "")
	call(w, map[*install]string{anew: "custom:X os:2 disk:3 mac:3", beside: "custom:X os:2 disk:3 mac:3"}, anew, beside, anew)
	none(w, is)

	is = w.issue() // containers show their id and nothing else
	one, two := w.install("one"), w.install("two")
	w.must(one.activateOn(is.Code, "custom:Y cpu:1"), "")
	w.must(two.activateOn(is.Code, "custom:Y cpu:1"), "")
	call(w, map[*install]string{one: "custom:Y cpu:2", two: "custom:Y cpu:1"}, one, two, one, two)
	none(w, is)

	is = w.issue(func(o *authority.Order) { o.Machines = 2 }) // a seat is left for it
	one, two = w.install("one"), w.install("two")
	w.must(one.activateOn(is.Code, firstPC), "")
	w.must(two.activateOn(is.Code, secondPC), "")
	call(w, map[*install]string{one: firstPC, two: secondPC}, one, two, one, two)
	none(w, is)
}

// A machine that gets an id of its own leaves the shared seat, where there is one
// for it, and takes nobody along.
func TestSharedIDMended(t *testing.T) {
	t.Parallel()
	for machines, want := range map[int]license.Reason{1: license.MachineLimit, 2: ""} {
		w := newWorld(t)
		is := w.issue(func(o *authority.Order) { o.Machines = machines })
		first, second := w.install("1"), w.install("2")
		w.must(first.activateOn(is.Code, firstPC), "")
		w.pass(day)
		w.must(second.activateOn(is.Code, secondPC), "")
		w.pass(day)
		w.must(second.refreshOn("custom:own os:2 disk:2 mac:2"), want)
		w.must(first.refreshOn(firstPC), "")
		w.wantMoves(is.License.ID, 0)
		if n := w.seats(is); n != machines {
			t.Errorf("%d seats", n)
		}
	}
}

// A transfer between machines with one id is a transfer.
func TestSharedIDTransferred(t *testing.T) {
	t.Parallel()
	for _, named := range []bool{true, false} {
		w := newWorld(t)
		is := w.issue()
		first, second := w.install("1"), w.install("2")
		w.must(first.activateOn(is.Code, firstPC), "")
		w.pass(2 * day)
		_, err := second.send(second.request(token.OpTransfer, withCode(is.Code), on(secondPC), func(r *token.Request) {
			if named {
				r.From = first.key.ID
			}
		}))
		w.must(err, "")
		w.must(first.refreshOn(firstPC), license.Replaced)
		w.must(second.refreshOn(secondPC), "")
		w.wantMoves(is.License.ID, 1)
	}
}

// An id that is new on a machine lets no other one in.
func TestSharedIDUnproven(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	first := w.install("1")
	w.must(first.activateOn(is.Code, "os:1 disk:1 mac:1"), "")
	w.must(first.refreshOn(firstPC), "")
	w.pass(2 * day)
	w.must(w.install("2").activateOn(is.Code, secondPC), license.MachineLimit)
	w.must(first.refreshOn(firstPC), "")
}

// Two machines that were let onto one seat while nothing was bound are found when
// it is.
func TestSharedIDAfterNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	first, second := w.install("1"), w.install("2")
	w.must(first.activateOn(is.Code, firstPC), "")
	w.binding(license.PolicyNone)
	w.pass(day)
	w.must(second.activateOn(is.Code, secondPC), "")
	w.binding(license.PolicyFuzzy)
	for range 2 {
		w.pass(day)
		w.must(first.refreshOn(firstPC), "")
		w.pass(day)
		w.must(second.refreshOn(secondPC), "")
	}
	w.wantForks(is.License.ID, license.ForkShared, 1)
}

// However many machines come, a call is answered and each is counted once.
func TestSharedIDMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.InstallsPerMachine = 30 })
	is := w.issue()
	first := w.install("1")
	w.must(first.activateOn(is.Code, firstPC), "")
	for n := range 20 {
		w.pass(time.Minute)
		w.must(w.install("").activateOn(is.Code, fmt.Sprintf("custom:X os:a%d disk:a%d", n, n)), "")
	}
	w.pass(time.Minute)
	w.must(first.refreshOn(firstPC), "")
	w.wantForks(is.License.ID, license.ForkShared, 1)
}
