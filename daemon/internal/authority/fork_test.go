package authority_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

func forks(p license.ForkPolicy) func(*license.Product) {
	return func(product *license.Product) { product.Forks = p }
}

// copied is a second holder of the install, as a copy of its memory makes one.
func (i *install) copied() *install {
	c := *i
	c.n += 1000
	return &c
}

// one returns the only install of a licence.
func (w *world) one(id string) license.Install {
	w.t.Helper()
	_, installs := w.license(id)
	if len(installs) != 1 {
		w.t.Fatalf("%d installs", len(installs))
	}
	return installs[0]
}

// wantForks checks what is recorded of the licence and of the audit log.
func (w *world) wantForks(id string, kind license.ForkKind, want int) {
	w.t.Helper()
	l, installs := w.license(id)
	n := 0
	for _, i := range installs {
		n += i.Forks[kind].Count
	}
	if n != want || l.Forks != want || w.events(license.ActionFork) != want {
		w.t.Errorf("%d forks of kind %s, %d of the licence, %d events; want %d", n, kind, l.Forks, w.events(license.ActionFork), want)
	}
	if want > 0 && l.ForkedAt.IsZero() {
		w.t.Error("nobody knows when")
	}
}

// clone activates an install and makes a copy of it that calls twice: the next
// call of the original is a fork.
func (w *world) clone() (is authority.Issued, original, duplicate *install) {
	w.t.Helper()
	is = w.issue()
	original = w.install("machine-1")
	w.must(original.activate(is.Code), "")
	duplicate = original.copied()
	w.must(duplicate.refresh(), "")
	w.must(duplicate.refresh(), "")
	w.wantForks(is.License.ID, license.ForkChain, 0)
	return is, original, duplicate
}

func TestForkReported(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is, original, duplicate := w.clone()
	for n := 1; n <= 3; n++ {
		w.must(original.refresh(), "")
		w.wantForks(is.License.ID, license.ForkChain, 2*n-1)
		w.must(original.refresh(), "")
		w.must(duplicate.refresh(), "")
		w.wantForks(is.License.ID, license.ForkChain, 2*n)
		w.must(duplicate.refresh(), "")
	}
}

// Under refuse-newest the request that forks changes nothing but the record of
// it, so the other holder goes on.
func TestForkNewestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, forks(license.ForkRefuseNewest))
	is, original, duplicate := w.clone()
	before := w.one(is.License.ID)
	w.must(original.refresh(), license.CloneDetected)
	if diff := cmp.Diff(before, w.one(is.License.ID), cmpopts.IgnoreFields(license.Install{}, "Forks", "Revision")); diff != "" {
		t.Errorf("a refused fork changed the install:\n%s", diff)
	}
	w.wantForks(is.License.ID, license.ForkChain, 1)
	w.must(duplicate.refresh(), "")
	w.must(original.refresh(), license.CloneDetected)
	again := w.install("machine-1")
	w.must(again.activate(is.Code), "")
	w.must(again.refresh(), "")
	w.must(duplicate.refresh(), "")
}

// commits counts what was written to the disk.
func (w *world) commits() int64 { return w.store.Stats().Commits }

// Whoever repeats a fork that is refused does not make the disk sync each time.
func TestForkRepeated(t *testing.T) {
	t.Parallel()
	for _, policy := range []license.ForkPolicy{license.ForkRefuseNewest, license.ForkRefuseBoth} {
		w := newWorld(t, forks(policy))
		is, original, _ := w.clone()
		raw := original.request(token.OpRefresh)
		_, err := original.send(raw)
		w.must(err, license.CloneDetected)
		w.must(original.refresh(), license.CloneDetected) // under refuse-both it is ended by now, and recorded once as such
		id := is.License.ID
		events, commits := w.events(license.ActionFork), w.commits()
		for range 20 {
			_, err := original.send(raw)
			w.must(err, license.CloneDetected)
			w.must(original.refresh(), license.CloneDetected)
		}
		if w.events(license.ActionFork) != events || w.commits() != commits {
			t.Errorf("%s: %d forks recorded and %d commits for repetitions", policy, w.events(license.ActionFork)-events, w.commits()-commits)
		}
		w.pass(time.Hour)
		w.must(original.refresh(), license.CloneDetected)
		w.must(original.refresh(), license.CloneDetected)
		if l, _ := w.license(id); w.events(license.ActionFork) != events+1 || l.Forks != events+1 {
			t.Errorf("%s: %d forks after an hour, want %d", policy, l.Forks, events+1)
		}
	}
}

// Under refuse-both every holder has to activate again.
func TestForkBothRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, forks(license.ForkRefuseBoth))
	is, original, duplicate := w.clone()
	w.must(original.refresh(), license.CloneDetected)
	w.wantForks(is.License.ID, license.ForkChain, 1)
	got := w.one(is.License.ID)
	if got.State != license.InstallForked || got.EndedAt.IsZero() || got.Answer != nil || w.events(license.ActionEnd) != 1 {
		t.Errorf("after the fork: %+v", got)
	}
	w.must(duplicate.refresh(), license.CloneDetected)
	w.must(original.activate(is.Code), license.CloneDetected) // a key lives once
	again := w.install("machine-1")
	w.must(again.activate(is.Code), "")
	w.must(again.refresh(), "")
	w.must(original.refresh(), license.CloneDetected)
	if l, _ := w.license(is.License.ID); len(l.Transfers) != 0 {
		t.Error("activating again counted as a move")
	}
}

// An install that has ended and is seen again is recorded, and told why it
// ended; what calls on in spite of that is a copy where the policy is strict.
func TestEndedSeenAgain(t *testing.T) {
	t.Parallel()
	type world2 = struct {
		w  *world
		is authority.Issued
		i  *install
	}
	for name, c := range map[string]struct {
		end   func(world2)
		told  license.Reason
		later license.Reason // under the strict policies
	}{
		"replaced": {func(x world2) {
			for range 3 {
				x.w.must(x.w.install(x.i.machine).activate(x.is.Code), "")
			}
		}, license.Replaced, license.CloneDetected},
		"transferred": {func(x world2) {
			other := x.w.install("machine-2")
			_, err := other.send(other.request(token.OpTransfer, withCode(x.is.Code)))
			x.w.must(err, "")
		}, license.Replaced, license.CloneDetected},
		"deactivated": {func(x world2) {
			c := x.i.copied()
			_, err := c.send(c.request(token.OpDeactivate))
			x.w.must(err, "")
		}, license.Unauthorized, license.CloneDetected},
		"removed": {func(x world2) {
			x.w.must(x.w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
				i, err := tx.Install(ctx, x.is.License.ID, x.i.key.ID)
				i.State, i.EndedAt, i.Answer = license.InstallRemoved, x.w.clock(), nil
				if err != nil {
					return err
				}
				return tx.UpdateInstall(ctx, i)
			}), "")
		}, license.Unauthorized, license.Unauthorized},
	} {
		for _, policy := range license.ForkPolicies() {
			t.Run(name+" "+string(policy), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, forks(policy))
				is := w.issue()
				i := w.install("machine-1")
				w.must(i.activate(is.Code), "")
				w.pass(time.Minute)
				old := i.request(token.OpRefresh)
				_, err := i.send(old)
				w.must(err, "")
				c.end(world2{w, is, i})

				_, err = i.send(old) // what it asked for before its end
				w.must(err, c.told)
				w.wantForks(is.License.ID, license.ForkRetired, 0)
				live := 0
				raw := i.request(token.OpRefresh)
				for range 2 {
					_, err = i.send(raw) // the same bytes are told the same
					w.must(err, c.told)
				}
				recorded := 1
				if name == "removed" {
					recorded = 0
				}
				w.wantForks(is.License.ID, license.ForkRetired, recorded)
				w.pass(24 * time.Hour)
				want := c.told
				if policy != license.ForkReport {
					want = c.later
				}
				w.must(i.refresh(), want)
				w.wantForks(is.License.ID, license.ForkRetired, 2*recorded)
				_, installs := w.license(is.License.ID)
				for _, other := range installs {
					if other.State == license.InstallLive {
						live++
					}
				}
				if wantLive := map[string]int{"replaced": 3, "transferred": 1}[name]; live != wantLive {
					t.Errorf("%d installs live on, want %d", live, wantLive)
				}
			})
		}
	}
}

// Nobody writes by the end of another install: a deactivation by a copy is
// refused where the newest is, and changes what it asks for else.
func TestForkedDeactivation(t *testing.T) {
	t.Parallel()
	for policy, want := range map[license.ForkPolicy]license.Reason{
		license.ForkReport: "", license.ForkRefuseNewest: license.CloneDetected, license.ForkRefuseBoth: "",
	} {
		w := newWorld(t, forks(policy))
		is, original, duplicate := w.clone()
		_, err := original.send(original.request(token.OpDeactivate, func(r *token.Request) {
			r.Product, r.Fingerprint = "other", fingerprint("other", "machine-1") // under the policy of another product
		}))
		w.must(err, license.WrongProduct)
		raw := original.request(token.OpDeactivate)
		first, err := original.send(raw)
		w.must(err, want)
		w.wantForks(is.License.ID, license.ForkChain, 1)
		if want == "" {
			again, err := original.send(raw)
			if err != nil || again != first {
				t.Errorf("%s: the same deactivation has another answer: %v", policy, err)
			}
			w.must(duplicate.refresh(), license.Unauthorized)
		} else {
			w.must(duplicate.refresh(), "")
		}
	}
}

// Deleting the memory and activating anew goes well five times within a lease.
func TestReactivation(t *testing.T) {
	t.Parallel()
	const lease = 14 * 24 * time.Hour
	setup := func(t *testing.T, policy license.ForkPolicy) (*world, authority.Issued, []*install) {
		t.Helper()
		w := newWorld(t, forks(policy), func(p *license.Product) { p.Schedule.Lease = lease })
		is := w.issue()
		var all []*install
		for range 6 {
			i := w.install("machine-1")
			w.must(i.activate(is.Code), "")
			all = append(all, i)
			w.pass(time.Hour)
		}
		w.wantForks(is.License.ID, license.ForkReactivated, 0)
		return w, is, all
	}
	seventh := func(w *world, is authority.Issued) error { return w.install("machine-1").activate(is.Code) }

	t.Run("report", func(t *testing.T) {
		t.Parallel()
		w, is, _ := setup(t, license.ForkReport)
		i := w.install("machine-1")
		w.must(i.activate(is.Code), "")
		w.wantForks(is.License.ID, license.ForkReactivated, 1)
		_, installs := w.license(is.License.ID)
		for _, got := range installs {
			if got.ID == i.key.ID && (got.Reactivation != 6 || got.Forks[license.ForkReactivated].Count != 1) {
				t.Errorf("the seventh install: re-activation %d, %v", got.Reactivation, got.Forks)
			}
		}
	})
	t.Run("refuse-newest", func(t *testing.T) {
		t.Parallel()
		w, is, all := setup(t, license.ForkRefuseNewest)
		err := seventh(w, is)
		w.must(err, license.CloneDetected)
		var e *license.Error
		if !asError(err, &e) || e.RetryAfter != lease-5*time.Hour {
			t.Errorf("to be tried again after %v", e.RetryAfter)
		}
		w.wantForks(is.License.ID, license.ForkReactivated, 1)
		w.must(seventh(w, is), license.CloneDetected)
		w.wantForks(is.License.ID, license.ForkReactivated, 1) // not each time
		w.must(all[5].refresh(), "")
		w.must(all[3].refresh(), "")
		w.pass(e.RetryAfter)
		w.must(seventh(w, is), "")
	})
	t.Run("refuse-both", func(t *testing.T) {
		t.Parallel()
		w, is, all := setup(t, license.ForkRefuseBoth)
		w.must(seventh(w, is), license.CloneDetected)
		w.wantForks(is.License.ID, license.ForkReactivated, 1)
		for _, i := range all[3:] {
			w.must(i.refresh(), license.CloneDetected)
		}
		if n := w.events(license.ActionEnd); n != 3 {
			t.Errorf("%d installs were ended", n)
		}
		for range 6 { // counting begins anew
			w.must(seventh(w, is), "")
		}
		w.must(seventh(w, is), license.CloneDetected)
		if l, _ := w.license(is.License.ID); len(l.Transfers) != 0 {
			t.Error("activating again counted as a move")
		}
	})
}

// Where a machine may hold many installs, each of its users may activate.
func TestReactivationByManyUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, forks(license.ForkRefuseNewest), func(p *license.Product) { p.InstallsPerMachine = 10 })
	is := w.issue()
	for range 13 {
		w.must(w.install("machine-1").activate(is.Code), "")
	}
	w.must(w.install("machine-1").activate(is.Code), license.CloneDetected)
}

// A machine that gave its installs up has none that could be ended: it waits.
func TestReactivationWithoutInstalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t, forks(license.ForkRefuseBoth))
	is := w.issue()
	for range 6 {
		i := w.install("machine-1")
		w.must(i.activate(is.Code), "")
		_, err := i.send(i.request(token.OpDeactivate))
		w.must(err, "")
	}
	err := w.install("machine-1").activate(is.Code)
	w.must(err, license.CloneDetected)
	var e *license.Error
	if !asError(err, &e) || e.RetryAfter != 14*24*time.Hour || !strings.Contains(e.Detail, "wait") {
		t.Errorf("%v, after %v", err, e.RetryAfter)
	}
	w.pass(e.RetryAfter)
	w.must(w.install("machine-1").activate(is.Code), "")
}

// Floating seats are installs: each new one is one of its own.
func TestFloatingIsNotReactivated(t *testing.T) {
	t.Parallel()
	w := newWorld(t, forks(license.ForkRefuseBoth), func(p *license.Product) { p.Mode, p.Machines = license.ModeFloating, 10 })
	is := w.issue()
	for range 10 {
		w.must(w.install("machine-1").activate(is.Code), "")
	}
	w.wantForks(is.License.ID, license.ForkReactivated, 0)
}

// What the audit log says of a fork.
func TestForkAudited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, forks(license.ForkRefuseNewest))
	is, original, _ := w.clone()
	raw := original.request(token.OpRefresh, func(r *token.Request) { r.ID = "the-fork" })
	_, err := original.send(raw)
	w.must(err, license.CloneDetected)
	events, _, err := w.a.Events(t.Context(), store.EventFilter{Action: license.ActionFork}, store.Page{})
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	e := events[0]
	want := map[string]any{"kind": "chain", "forks": 1.0, "seat": w.one(is.License.ID).Seat, "outcome": "refused"}
	if diff := cmp.Diff(want, e.After); diff != "" || e.Request != "the-fork" || e.Install != original.key.ID || e.License != is.License.ID {
		t.Errorf("%+v\n%s", e, diff)
	}
	if got, _, err := w.a.Licenses(t.Context(), authority.Filter{Forked: true}, authority.Page{}); err != nil || len(got) != 1 {
		t.Errorf("%d licences with forks, %v", len(got), err)
	}
	w.issue()
	if got, _, err := w.a.Licenses(t.Context(), authority.Filter{Forked: true}, authority.Page{}); err != nil || len(got) != 1 {
		t.Errorf("%d licences with forks, %v", len(got), err)
	}
}
