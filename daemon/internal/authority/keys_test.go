package authority_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// newKeys installs a key set that lists a key that was born now, and rotates
// until it signs.
func (w *world) newKeys() {
	w.t.Helper()
	rotate := func() {
		if _, err := w.a.RotateKeys(w.t.Context(), admin); err != nil {
			w.t.Fatal(err)
		}
	}
	if w.ring.Health(w.clock()).Next != "" {
		rotate()
	}
	w.installKeys()
	rotate()
}

// revokeKey installs a key set without the given key, and with a new one that
// signs.
func (w *world) revokeKey(id string) {
	w.t.Helper()
	w.installKeys(id)
}

// installKeys installs the next key set, without the keys whose ids are given.
func (w *world) installKeys(revoke ...string) {
	w.t.Helper()
	unsigned, err := w.a.ProposeKeySet(w.t.Context(), admin, revoke...)
	if err != nil {
		w.t.Fatal(err)
	}
	anchor, err := keys.OpenAnchor(filepath.Join(w.ring.Dir(), "anchors", "primary.pem.age"), keys.AnchorOptions{
		Identity: filepath.Join(w.ring.Dir(), "identity"),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	set, err := anchor.SignKeySet(unsigned, w.clock())
	if err != nil {
		w.t.Fatal(err)
	}
	w.must(w.putSet(set), "")
}

// The same request is answered with something that verifies, also when the key
// that signs was born after the licence was granted; and the line of the install
// goes on from either licence.
func TestSameRequestAfterNewKeys(t *testing.T) {
	t.Parallel()
	for _, holdsFirst := range []bool{false, true} {
		w := newWorld(t)
		w.ownKeys()
		is := w.issue()
		i := w.install("machine-1")
		raw := i.request(token.OpActivate, withCode(is.Code))
		_, err := i.send(raw)
		w.must(err, "")
		first := i.held
		w.pass(time.Hour)
		w.newKeys()
		_, err = i.send(raw)
		w.must(err, "")
		if i.held.KeyID == first.KeyID || !i.held.Dates.IssuedAt.After(first.Dates.IssuedAt) {
			t.Errorf("signed by %s at %v", i.held.KeyID, i.held.Dates.IssuedAt)
		}
		again, err := i.send(raw)
		w.must(err, "")
		if again.License != i.held.Raw {
			t.Error("the same request has a third answer")
		}
		if holdsFirst {
			i.held = first
		}
		w.must(i.refresh(), "")
		if n := w.events(license.ActionFork); n != 0 {
			t.Errorf("%d forks", n)
		}
		deactivation := i.request(token.OpDeactivate)
		_, err = i.send(deactivation)
		w.must(err, "")
		w.pass(time.Hour)
		w.newKeys()
		ans, err := i.send(deactivation)
		w.must(err, "")
		if _, err := token.VerifyTime(ans.Time, w.ring.KeySet(), i.key.ID, ""); err != nil {
			t.Errorf("the time of a repeated deactivation: %v", err)
		}
	}
}

// With a key that is past its end nothing is signed, and nothing is changed for
// what cannot be answered.
func TestKeyPastItsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.pass(10 * 365 * 24 * time.Hour)
	fresh := w.issue()
	w.must(w.install("machine-1").activate(fresh.Code), license.Internal)
	if got := w.state(fresh.License.ID); got != license.StateIssued {
		t.Errorf("state %s", got)
	}
	if err := w.a.Ready(t.Context()); err == nil {
		t.Error("ready, and cannot sign")
	}
}

// A licence is never dated before the one before it: the later one counts.
func TestClockGoesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	w.pass(24 * time.Hour)
	i := w.install("machine-1")
	w.must(i.activate(is.Code), "")
	first := i.held
	w.pass(-5 * time.Minute)
	w.must(i.refresh(), "")
	if i.held.Dates.IssuedAt.Before(first.Dates.IssuedAt) {
		t.Error("the next licence is older")
	}
	w.pass(-time.Hour)
	w.must(i.refresh(), license.Clock)
	w.pass(2 * time.Hour)
	w.must(i.refresh(), "")
}

// A floating install does not regain its seat by an old request that is signed
// anew.
func TestFloatingSeatAfterNewKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Mode, p.Binding = license.ModeFloating, license.PolicyNone })
	w.ownKeys()
	is := w.issue()
	a, b := w.install("a"), w.install("b")
	raw := a.request(token.OpActivate, withCode(is.Code))
	_, err := a.send(raw)
	w.must(err, "")
	w.pass(16 * time.Minute)
	w.must(b.activate(is.Code), "")
	w.newKeys()
	_, err = a.send(raw)
	w.must(err, license.MachineLimit)
	w.must(b.refresh(), "")
}
