package authority_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// The end of a licence writes the entries of the installs that were live, and
// no others, however many have come and gone.
func TestStatusWritesWhatChanges(t *testing.T) {
	t.Parallel()
	w, f := faultWorld(t, func(p *license.Product) {
		p.Mode, p.Machines, p.Binding, p.FloatingLease = license.ModeFloating, 3, license.PolicyNone, time.Hour
	})
	is := w.issue()
	for range 30 {
		i := w.install("m")
		w.must(i.activate(is.Code), "")
		_, err := i.send(i.request(token.OpDeactivate))
		w.must(err, "")
	}
	live := w.install("m")
	w.must(live.activate(is.Code), "")
	w.publish()
	count := func(what string, want int, do func()) {
		t.Helper()
		f.Reset()
		puts := 0
		f.FailUpdate(func(u faultstore.Update) faultstore.Fault {
			for _, c := range u.Calls {
				if c == "PutStatusEntry" {
					puts++
				}
			}
			return faultstore.None
		})
		do()
		f.Reset()
		if puts != want {
			t.Errorf("%s writes %d entries, want %d", what, puts, want)
		}
	}
	edit := func(e license.Event) func() { return func() { w.must(w.edit(is.License.ID, e), "") } }
	count("a refresh", 0, func() { w.must(live.refresh(), "") })
	count("an activation", 0, func() { w.must(w.install("n").activate(is.Code), "") })
	count("a suspension", 2, edit(license.EventSuspend))
	count("a repeated suspension", 0, edit(license.EventSuspend))
	count("a revocation", 2, edit(license.EventRevoke))
	count("a release", 2, edit(license.EventRelease))
	w.wantListed("released", revoked, live)
}

// Where the store fails while a list is being recorded, whether that happened
// or not, the last list is served, and then one that has a date of its own.
func TestStatusStoreFails(t *testing.T) {
	t.Parallel()
	for _, fault := range []faultstore.Fault{faultstore.NotDone, faultstore.DoneButFails, faultstore.Again} {
		w, f := faultWorld(t)
		is := w.issue()
		i := w.install("machine-1")
		w.must(i.activate(is.Code), "")
		last := w.list(i.listID())
		w.pass(time.Minute)
		w.must(w.edit(is.License.ID, license.EventSuspend), "")
		f.Reset()
		f.FailUpdate(faultstore.Nth(1, fault))
		wait, err := w.a.Publish(t.Context())
		if fault == faultstore.Again {
			w.must(err, "")
		} else {
			w.must(err, license.ReadOnly)
			if wait > 5*time.Second || w.list(i.listID()).Raw != last.Raw {
				t.Errorf("fault %d: tried again after %s, or the list differs", fault, wait)
			}
		}
		f.Reset()
		w.wantListed("after the fault", suspended, i)
		if l := w.list(i.listID()); !l.IssuedAt.After(last.IssuedAt) {
			t.Errorf("fault %d: of %s after %s", fault, l.IssuedAt, last.IssuedAt)
		}
		for n := 1; ; n++ {
			w.pass(time.Minute)
			w.must(w.edit(is.License.ID, []license.Event{license.EventResume, license.EventSuspend}[n%2]), "")
			f.Reset()
			f.FailCall(faultstore.NthCall(n))
			_, err := w.a.Publish(t.Context())
			failed := f.Injected() > 0
			f.Reset()
			if (err != nil) != failed {
				t.Errorf("call %d: %v", n, err)
			}
			w.wantListed(fmt.Sprint("after call ", n), []license.ListStatus{valid, suspended}[n%2], i)
			if !failed {
				break
			}
		}
	}
}

// Damaged records of one list keep no other from being published.
func TestStatusListDamaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return errors.Join(
			tx.PutStatusList(ctx, license.StatusList{ID: "sl_0", Length: 1 << 40}),
			tx.PutStatusList(ctx, license.StatusList{ID: "sl_00", Length: 4, Seed: bytes.Repeat([]byte{1}, 32)}),
			tx.PutStatusEntry(ctx, "sl_00", license.StatusEntry{Index: 4, Status: revoked}))
	})
	if err != nil {
		t.Fatal(err)
	}
	w.again()
	if err := w.a.LoadStatusLists(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.must(w.edit(is.License.ID, license.EventSuspend), "")
	_, err = w.a.Publish(t.Context())
	if license.ReasonOf(err) != license.Internal || !strings.Contains(err.Error(), "sl_0:") || !strings.Contains(err.Error(), "sl_00:") {
		t.Errorf("%v", err)
	}
	if i.listed() != suspended {
		t.Errorf("listed as %d", i.listed())
	}
	// A list that cannot be drawn from keeps installs from being bound, and nothing is changed.
	err = w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return tx.PutStatusList(ctx, license.StatusList{ID: "sl_z", Length: 4, Seed: []byte{1}})
	})
	if err != nil {
		t.Fatal(err)
	}
	fresh := w.issue()
	w.must(w.install("machine-2").activate(fresh.Code), license.Internal)
	if got := w.state(fresh.License.ID); got != license.StateIssued {
		t.Errorf("state %s", got)
	}
}

// The worst list there can be, of which nothing can be compressed, still fits
// into one token; one of twice the length does not (docs/decisions/0012).
func TestStatusListWorstCase(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	longest := strings.Repeat("i", 1024)
	for length, fits := range map[int]bool{license.StatusListLength: true, 2 * license.StatusListLength: false} {
		statuses := token.NewStatuses(length)
		rng := rand.New(rand.NewPCG(1, 2))
		for i := range length {
			statuses.Set(i, license.ListStatus(rng.UintN(4)))
		}
		raw, err := token.SignStatusList(token.StatusList{
			Issuer: longest, URI: longest + "/v1/status/sl_" + strings.Repeat("l", 26), IssuedAt: w.clock(), ExpiresAt: license.Forever,
			TTL: authority.StatusTTL, List: statuses.Compress(),
		}, w.ring.Signing())
		if (err == nil) != fits || len(raw) > token.MaxToken {
			t.Errorf("%d places: %d bytes, %v", length, len(raw), err)
		}
		if !fits {
			continue
		}
		set := w.ring.KeySet()
		set.Issuer = longest
		l, err := token.VerifyStatusList(raw, set, token.ExpectStatusList{})
		if err != nil || l.Len() != length {
			t.Errorf("%d places: %v", l.Len(), err)
		}
		for i := range length {
			got, _ := l.At(i)
			if want, _ := statuses.At(i); got != want {
				t.Fatalf("place %d is %d, want %d", i, got, want)
			}
		}
	}
}
