package authority_test

import (
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/teststore"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// faultWorld is a world whose store fails on demand.
func faultWorld(t *testing.T, edit ...func(*license.Product)) (*world, *faultstore.Store) {
	t.Helper()
	f := faultstore.Wrap(teststore.New(t))
	return newWorldOn(t, f, edit...), f
}

// story is one change and how its end is recognised. It is told with the same
// words each time: a caller that was told of a failure says them again.
type story struct {
	name  string
	setup func(*world) func() error
	end   func(*testing.T, *world)
}

func stories() []story {
	return []story{
		{"activate a manual code", func(w *world) func() error {
			is := w.issue()
			i := w.install("machine-1")
			raw := i.request(token.OpActivate, withCode(is.Code))
			return func() error { _, err := i.send(raw); return err }
		}, func(t *testing.T, w *world) { t.Helper(); one(t, w, license.StateActive, license.ActionActivate) }},
		{"activate a bought code", func(w *world) func() error {
			c, _ := w.sell("PL001")
			i := w.install("machine-1")
			raw := i.request(token.OpActivate, withCode(c))
			return func() error { _, err := i.send(raw); return err }
		}, func(t *testing.T, w *world) { t.Helper(); one(t, w, license.StateActive, license.ActionActivate) }},
		{"refresh", func(w *world) func() error {
			is := w.issue()
			i := w.install("machine-1")
			w.must(i.activate(is.Code), "")
			w.pass(time.Hour)
			raw := i.request(token.OpRefresh)
			return func() error { _, err := i.send(raw); return err }
		}, func(t *testing.T, w *world) { t.Helper(); one(t, w, license.StateActive, license.ActionRefresh) }},
		{"deactivate", func(w *world) func() error {
			is := w.issue()
			i := w.install("machine-1")
			w.must(i.activate(is.Code), "")
			raw := i.request(token.OpDeactivate)
			return func() error { _, err := i.send(raw); return err }
		}, func(t *testing.T, w *world) { t.Helper(); one(t, w, license.StateActive, license.ActionDeactivate) }},
		{"record an end", func(w *world) func() error {
			is := w.issue(func(o *authority.Order) { o.For = 40 * day })
			w.must(w.install("machine-1").activate(is.Code), "")
			w.sweep()
			w.pass(40 * day)
			return func() error {
				for {
					if _, more, err := w.a.Sweep(w.t.Context(), w.clock()); err != nil || !more {
						return err
					}
				}
			}
		}, func(t *testing.T, w *world) { t.Helper(); one(t, w, license.StateExpired, license.ActionExpire) }},
		{"ask to be moved", func(w *world) func() error {
			w.options.Products[0].Transfers.Approval = license.ApproveAlways
			w.again()
			is := w.issue()
			w.must(w.install("machine-1").activate(is.Code), "")
			i := w.install("machine-2")
			raw := i.request(token.OpTransfer, withCode(is.Code))
			return func() error {
				if _, err := i.send(raw); license.ReasonOf(err) != license.TransferLimit {
					return err
				}
				return nil
			}
		}, func(t *testing.T, w *world) {
			t.Helper()
			one(t, w, license.StateActive, license.ActionTransferRequest)
		}},
		{"refuse a fork", func(w *world) func() error { return forked(w, license.ForkRefuseNewest) }, func(t *testing.T, w *world) {
			t.Helper()
			one(t, w, license.StateActive, license.ActionFork)
			forksOf(t, w, 1)
		}},
		{"refuse both sides of a fork", func(w *world) func() error { return forked(w, license.ForkRefuseBoth) }, func(t *testing.T, w *world) {
			t.Helper()
			one(t, w, license.StateActive, license.ActionEnd)
			forksOf(t, w, 1)
		}},
		{"follow a machine that became another", func(w *world) func() error {
			is := w.issue()
			i := w.install("")
			w.must(i.activateOn(is.Code, walk[0]), "")
			w.must(i.refreshOn(walk[2]), "")
			raw := i.request(token.OpRefresh, on(walk[3]))
			return func() error { _, err := i.send(raw); return err }
		}, func(t *testing.T, w *world) {
			t.Helper()
			one(t, w, license.StateActive, license.ActionTransfer)
			all, _, err := w.a.Licenses(t.Context(), authority.Filter{}, authority.Page{})
			if err != nil || len(all[0].License.Transfers) != 1 {
				t.Errorf("%+v, %v", all, err)
			}
		}},
		{"renew by a message", func(w *world) func() error {
			c, end := w.sell("PL001")
			w.must(w.install("machine-1").activate(c), "")
			n := byte(0)
			return func() error { // the platform signs each attempt anew
				n++
				_, err := w.say(c, license.EventSetExpiry, n, expiring(end.Add(time.Hour)))
				return err
			}
		}, func(t *testing.T, w *world) { t.Helper(); one(t, w, license.StateActive, license.ActionSetExpiry) }},
		{"release an unknown code", func(w *world) func() error {
			c := code(w.t, "PL001")
			n := byte(0)
			return func() error {
				n++
				_, err := w.say(c, license.EventRelease, n)
				return err
			}
		}, func(t *testing.T, w *world) {
			t.Helper()
			c, _ := w.sell("PL001")
			w.must(w.install("machine-1").activate(c), license.Released)
		}},
		{"suspend", func(w *world) func() error {
			is := w.issue()
			id := is.License.ID
			w.must(w.install("machine-1").activate(is.Code), "")
			return func() error { return w.edit(id, license.EventSuspend) }
		}, func(t *testing.T, w *world) { t.Helper(); one(t, w, license.StateSuspended, license.ActionSuspend) }},
	}
}

// forked tells of an install whose copy has called: its next call is refused.
func forked(w *world, policy license.ForkPolicy) func() error {
	product := w.options.Products[0]
	product.Forks = policy
	w.options.Products[0] = product
	w.again()
	_, original, _ := w.clone()
	raw := original.request(token.OpRefresh)
	return func() error {
		if _, err := original.send(raw); license.ReasonOf(err) != license.CloneDetected {
			return err
		}
		return nil
	}
}

func forksOf(t *testing.T, w *world, want int) {
	t.Helper()
	all, _, err := w.a.Licenses(t.Context(), authority.Filter{}, authority.Page{})
	if err != nil || all[0].License.Forks != want || all[0].Installs[0].Forks.Total() != want {
		t.Errorf("%+v, %v; want %d forks", all, err, want)
	}
}

// one checks that there is one licence, in the given state, with at most one
// install, and that the change was audited, once for each time that it is named.
func one(t *testing.T, w *world, state license.State, actions ...license.Action) {
	t.Helper()
	all, _, err := w.a.Licenses(t.Context(), authority.Filter{}, authority.Page{})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || len(all[0].Installs) > 1 {
		t.Fatalf("%d licences: %+v", len(all), all)
	}
	if got := all[0].License.StateAt(w.clock()); got != state {
		t.Errorf("state %s, want %s", got, state)
	}
	if n := w.events(actions[0]); n != len(actions) {
		t.Errorf("%d events %s, want %d", n, actions[0], len(actions))
	}
}

// Whichever step of a change fails, and whether it then happened or not, asking
// again ends in the same state as if nothing had failed.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, st := range stories() {
		t.Run(st.name, func(t *testing.T) {
			t.Parallel()
			w, f := faultWorld(t)
			do := st.setup(w)
			f.Reset()
			w.must(do(), "")
			updates, calls := f.Updates(), f.Calls()
			st.end(t, w)
			if updates == 0 || calls < 2 {
				t.Fatalf("the change took %d updates and %d calls", updates, calls)
			}
			for _, fault := range []faultstore.Fault{faultstore.NotDone, faultstore.DoneButFails, faultstore.Again} {
				occurred := 0
				for n := 1; n <= updates; n++ { // an update that refuses by itself cannot fail
					occurred += tell(t, st, func(f *faultstore.Store) { f.FailUpdate(faultstore.Nth(n, fault)) }, fault == faultstore.Again)
				}
				if occurred == 0 {
					t.Errorf("fault %d did not occur", fault)
				}
			}
			for n := 1; n <= calls; n++ {
				if tell(t, st, func(f *faultstore.Store) { f.FailCall(faultstore.NthCall(n)) }, false) == 0 {
					t.Errorf("call %d did not fail", n)
				}
			}
		})
	}
}

// tell runs a story in a new world with a fault, then again without it, and
// returns how often the fault occurred.
func tell(t *testing.T, st story, fault func(*faultstore.Store), harmless bool) int {
	t.Helper()
	w, f := faultWorld(t)
	do := st.setup(w)
	f.Reset()
	fault(f)
	err := do()
	occurred := f.Injected()
	if occurred == 0 {
		return 0
	}
	switch {
	case err == nil:
		// It hit what nobody has to wait for, such as the list that goes along with
		// an answer; then all of it has happened.
		st.end(t, w)
	case harmless:
		t.Fatalf("with a fault the change ended with %v", err)
	}
	f.Reset()
	w.must(do(), "")
	st.end(t, w)
	w.wantListed("after the fault", valid)
	return occurred
}
