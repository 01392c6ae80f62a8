package authority_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store/boltstore"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// faultWorld is a world whose store fails on demand.
func faultWorld(t *testing.T) (*world, *faultstore.Store) {
	t.Helper()
	s, err := boltstore.Open(filepath.Join(t.TempDir(), "test.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	f := faultstore.Wrap(s)
	return newWorldOn(t, f), f
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
			id := w.issue().License.ID
			return func() error { return w.edit(id, license.EventSuspend) }
		}, func(t *testing.T, w *world) { t.Helper(); one(t, w, license.StateSuspended, license.ActionSuspend) }},
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
	if (err == nil) != harmless {
		t.Fatalf("with a fault the change ended with %v", err)
	}
	f.Reset()
	w.must(do(), "")
	st.end(t, w)
	return occurred
}
