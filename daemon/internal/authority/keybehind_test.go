package authority_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// A balancer sends the next step of an administrator to a daemon that has not heard
// of the one before: a key set that was signed before a rotation does not bring back
// the key which that has retired.
func TestInstallBehindRotation(t *testing.T) {
	t.Parallel()
	for _, share := range []bool{false, true} {
		w := newWorld(t)
		one, other := w.peers(func(o *authority.Options) { o.ShareKeys = share })
		first := one.ring.Signing().ID
		set := w.signSet("primary", w.clock())
		w.rotate()
		second := one.ring.Signing().ID
		w.as(other)
		w.must(w.putSet(set), "")
		w.look(one)
		w.look(other)
		for _, p := range []peer{one, other} {
			w.as(p)
			if is := p.ring.Signing().ID; is != second || is == first {
				t.Errorf("shared %v: it signs with %s, not %s", share, is, second)
			}
			w.must(w.install("machine").activate(w.issue().Code), "")
		}
	}
}

// Nor is a proposed key set of one that lists the retired key among those that sign.
func TestProposeBehindRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.peers()
	first := one.ring.Signing().ID
	w.rotate()
	w.as(other)
	w.installKeysAt(w.clock())
	w.look(one)
	k, listed := one.ring.KeySet().Key(first)
	if end := w.clock().Add(time.Hour); !listed || k.NotAfter.After(end) || one.ring.Signing().ID == first {
		t.Errorf("the retired key is valid until %v", k.NotAfter)
	}
}

// The key that signs is known to others. Whoever is told so leaves it, also where
// another daemon has moved to it a moment ago.
func TestRevokeBehindRotation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.peers(func(o *authority.Options) { o.ShareKeys = true })
	w.rotate()
	w.installKeysAt(w.clock())
	w.look(other)
	w.rotate()
	w.installKeysAt(w.clock())
	stolen := one.ring.Signing().ID
	out, err := other.a.RevokeKeys(t.Context(), admin, "stolen", stolen)
	w.must(err, "")
	if len(out.Keys) != 1 || out.Keys[0].Role != authority.RoleCurrent || out.Rotated == nil {
		t.Errorf("revoked %+v", out)
	}
	w.look(one)
	for _, p := range []peer{one, other} {
		if p.ring.Signing().ID == stolen {
			t.Error("the stolen key signs on")
		}
	}
}

// A folder that is older, and cannot follow, gives the store no keys: others have
// destroyed them.
func TestOlderFolderIsNotShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.peers()
	first := one.ring.Signing().ID
	w.installKeysAt(w.clock())
	w.rotate()
	w.installKeysAt(w.clock()) // a new key, which only one folder has
	w.rotate()
	for _, p := range []peer{other, one} { // share from now on, in the wrong order
		w.as(p)
		w.again(func(o *authority.Options) {
			o.ShareKeys, o.Custody, o.Codes = true, custody{Ring: p.ring}, p.ring.CodeKey()
		})
		w.must(w.a.LoadKeys(t.Context()), "")
		if kids := w.sealedNow(); slices.Contains(kids, first) {
			t.Errorf("the store keeps %v, of which %s was retired", kids, first)
		}
	}
	if kids := w.sealedNow(); !slices.Contains(kids, one.ring.Signing().ID) {
		t.Errorf("the store keeps %v", kids)
	}
	w.must(w.install("machine").activate(w.issue().Code), "")
}

// sealedNow lists the private halves in the store.
func (w *world) sealedNow() (kids []string) {
	for _, v := range w.keyValues() {
		if kid, is := strings.CutPrefix(v.Name, "keys/sealed/"); is {
			kids = append(kids, kid)
		}
	}
	return kids
}

// While the store does not answer, who asks for a signature is told so without asking
// it once more for each of them.
func TestKeysAreNotAskedForEach(t *testing.T) {
	t.Parallel()
	w, f := faultWorld(t)
	w.again(func(o *authority.Options) { o.Shared = true })
	w.must(w.a.LoadKeys(t.Context()), "")
	var calls atomic.Int64
	f.FailCall(func(faultstore.Call) error { calls.Add(1); return errDisk })
	ask := func() {
		t.Helper()
		calls.Store(0)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if _, err := w.a.ServedKeySet(); license.ReasonOf(err) != license.ReadOnly || !errors.Is(err, authority.ErrKeys) {
					t.Errorf("served: %v", err)
				}
			})
		}
		all.Wait()
		if n := calls.Load(); n != 1 {
			t.Errorf("the store was asked %d times", n)
		}
	}
	w.pass(20 * time.Second)
	ask()
	w.pass(time.Second)
	ask()
	f.FailCall(nil)
	w.pass(time.Second)
	_, err := w.a.ServedKeySet()
	w.must(err, "")
}
