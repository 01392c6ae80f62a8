package authority_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/teststore"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// keep writes what the store keeps of a key, and returns what it was.
func (w *world) keepSealed(kid string, data []byte) (was []byte) {
	w.t.Helper()
	w.must(w.store.Update(w.t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		if was, err = tx.Value(ctx, "keys/sealed/"+kid); err != nil {
			return err
		}
		return tx.SetValue(ctx, "keys/sealed/"+kid, data)
	}), "")
	return was
}

func (w *world) warnings(kind authority.KeyWarningKind) (texts []string) {
	w.t.Helper()
	list, err := w.a.KeyWarnings(w.t.Context())
	w.must(err, "")
	for _, k := range list {
		if k.Kind == kind {
			texts = append(texts, k.Text)
		}
	}
	return texts
}

// What the store keeps of one key is damaged. A daemon that lacks it follows all else,
// tells of it once, and leaves the value for who can read it. It signs nothing when that
// key is in force, and says why, until the value is whole again.
func TestSealedKeyIsDamaged(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.peers(func(o *authority.Options) { o.ShareKeys = true })
	w.installKeysAt(w.clock())
	w.rotate()
	w.installKeysAt(w.clock())
	second, third := one.ring.Signing().ID, one.ring.Health(w.clock()).Next
	whole := w.keepSealed(third, []byte("not what it was"))
	var told []string
	look := other.a.KeyLook(func(n authority.KeyNews) {
		for _, k := range n.Warnings {
			told = append(told, string(k.Kind)+": "+k.Text)
		}
	})
	for range 5 {
		w.must(look(t.Context()), "")
		w.pass(2 * time.Minute)
	}
	if other.ring.Signing().ID != second || other.ring.KeySet().Raw != one.ring.KeySet().Raw {
		t.Error("it did not follow")
	}
	if len(told) != 2 || !strings.HasPrefix(told[0], "next_key: ") || !strings.HasPrefix(told[1], "sealed_key: ") || !strings.Contains(told[1], third) {
		t.Errorf("told %q", told)
	}
	if kids := w.sealedNow(); !slices.Contains(kids, third) {
		t.Errorf("the store keeps %v", kids)
	}
	i := w.install("machine")
	l := w.issue()
	w.as(other)
	w.must(i.activate(l.Code), "")

	w.as(one)
	w.rotate()
	w.look(other)
	w.as(other)
	i.w = w
	w.must(i.refresh(), license.ReadOnly)
	if err := w.a.Ready(t.Context()); !errors.Is(err, authority.ErrKeys) || !strings.Contains(err.Error(), "cannot be taken from the store") || !strings.Contains(err.Error(), third) {
		t.Errorf("ready: %v", err)
	}
	if other.ring.Signing().ID != second {
		t.Errorf("it signs with %s", other.ring.Signing().ID)
	}
	w.keepSealed(third, whole)
	w.look(other)
	w.must(i.refresh(), "")
	if i.held.KeyID != third || len(w.warnings(authority.KeyWarnSealed)) > 0 || len(w.warnings(authority.KeyWarnFolder)) > 0 {
		t.Errorf("signed with %s, and it warns still", i.held.KeyID)
	}
}

// A daemon that begins takes all but what is damaged, as long as it can sign.
func TestUnpackWithADamagedKey(t *testing.T) {
	t.Parallel()
	for _, current := range []bool{false, true} {
		w := newWorld(t)
		one, _ := w.peers(func(o *authority.Options) { o.ShareKeys = true })
		kid := one.ring.Health(w.clock()).Next
		if current {
			kid = one.ring.Signing().ID
		}
		w.keepSealed(kid, []byte("not what it was"))
		dir := t.TempDir()
		identity, err := os.ReadFile(one.ring.Dir() + "/identity")
		w.must(err, "")
		w.must(os.WriteFile(dir+"/identity", identity, 0o600), "")
		if err := w.unpack(dir); current {
			w.must(err, license.Damaged)
			continue
		}
		third := w.peerOn(dir)
		w.look(third)
		w.as(third)
		w.must(w.install("machine").activate(w.issue().Code), "")
		if got := w.warnings(authority.KeyWarnSealed); len(got) != 1 || !strings.Contains(got[0], kid) {
			t.Errorf("warned of %q", got)
		}
	}
}

// Where each daemon has a folder of its own, one that lacks the key to which a rotation
// moves says so before that, and not after the key was copied.
func TestNextKeyIsNotHere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.peers()
	w.installKeysAt(w.clock())
	w.rotate()
	w.look(other)
	if got := w.warnings(authority.KeyWarnNext); len(got) > 0 {
		t.Errorf("who made all keys warns %q", got)
	}
	w.installKeysAt(w.clock()) // a new key, which only one folder has
	kid := one.ring.Health(w.clock()).Next
	if told := w.look(other); len(told) != 2 || !strings.Contains(told[1], "next_key: ") || !strings.Contains(told[1], kid) {
		t.Errorf("told %q", told)
	}
	if got := w.warnings(authority.KeyWarnNext); len(got) > 0 {
		t.Errorf("who has it warns %q", got)
	}
	w.as(other)
	if got := w.warnings(authority.KeyWarnNext); len(got) != 1 {
		t.Errorf("who lacks it warns %q", got)
	}
	private, err := os.ReadFile(privateFile(one, kid))
	w.must(err, "")
	w.must(os.WriteFile(privateFile(other, kid), private, 0o600), "")
	w.look(other)
	if got := w.warnings(authority.KeyWarnNext); len(got) > 0 {
		t.Errorf("who has it by now warns %q", got)
	}
	w.as(one)
	w.rotate()
	w.look(other)
	if other.ring.Signing().ID != kid {
		t.Error("it cannot follow")
	}
}

// turns is a store that notices what is done while a transaction has the turn.
type turns struct {
	store.Store
	taken   atomic.Bool
	intrude atomic.Int64
	wait    func() // for the turn; nil: none
}

func (s *turns) View(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	s.look()
	return s.Store.View(ctx, fn)
}

func (s *turns) Update(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	s.look()
	return s.Store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		s.taken.Store(true)
		defer s.taken.Store(false)
		if s.wait != nil {
			s.wait()
		}
		return fn(ctx, tx)
	})
}

func (s *turns) look() {
	if s.taken.Load() {
		s.intrude.Add(1)
	}
}

// slow is a key folder whose files take their time.
type slow struct {
	custody
	turns *turns
}

func (s slow) Sealed() (authority.SealedKeys, error) {
	s.turns.look()
	return s.custody.Sealed()
}

// While a change has the turn, which all others on the store wait for, nothing else is
// read: neither the key folder, nor in the store which keys are in force.
func TestKeysAreLookedAtBeforeTheTurn(t *testing.T) {
	t.Parallel()
	s := &turns{Store: teststore.New(t)}
	w := newWorldOn(t, s)
	w.ownKeys()
	w.again(func(o *authority.Options) {
		o.Shared, o.ShareKeys, o.Custody = true, true, slow{custody{Ring: w.ring}, s}
	})
	is := w.issue(func(o *authority.Order) { o.Machines = 2 })
	for _, do := range []struct {
		what string
		do   func()
	}{
		{"the first look", func() { w.look(peer{w.a, w.ring}) }},
		{"a sale", func() { w.handed() }},
		{"a sale again", func() { w.handed() }},
		{"a device", func() { w.identified(is.License.ID, "8F6034E2-60E1") }},
		{"a key set", func() { w.installKeysAt(w.clock()) }},
		{"a rotation", w.rotate},
		{"a look", func() { w.look(peer{w.a, w.ring}) }},
		{"an activation", func() { w.must(w.install("m").activate(is.Code), "") }},
	} {
		w.pass(time.Minute) // what was known of the keys is too old
		do.do()
		if n := s.intrude.Swap(0); n > 0 {
			t.Errorf("%s: something was read %d times in the turn", do.what, n)
		}
	}
}

// Who has waited so long for the turn that the look before it does not count any more
// is told to ask again, and nobody waits for another look.
func TestKeysAreNotLookedAtInTheTurn(t *testing.T) {
	t.Parallel()
	s := &turns{Store: teststore.New(t)}
	w := newWorldOn(t, s)
	w.again(func(o *authority.Options) { o.Shared = true })
	is := w.issue()
	s.wait = func() { w.pass(20 * time.Second) }
	_, err := w.a.Sell(t.Context(), aSale())
	w.must(err, license.ReadOnly)
	_, err = w.identify(is.License.ID, "8F6034E2-60E1")
	w.must(err, license.ReadOnly)
	if n := s.intrude.Load(); n > 0 {
		t.Errorf("something was read %d times in the turn", n)
	}
	s.wait = nil
	w.handed()
	w.identified(is.License.ID, "8F6034E2-60E1")
}

// A rotation whose commit was not answered is done once, and goes on where the store
// can say so; else it is said how to find out.
func TestRotationIsNotAnswered(t *testing.T) {
	t.Parallel()
	for _, away := range []bool{false, true} {
		w, f := faultWorld(t)
		w.ownKeys()
		w.again(func(o *authority.Options) { o.Shared = true })
		w.look(peer{w.a, w.ring})
		first := w.ring.Signing().ID
		var committed atomic.Bool
		f.FailUpdate(func(faultstore.Update) faultstore.Fault {
			committed.Store(true)
			return faultstore.DoneButFails
		})
		f.FailCall(func(faultstore.Call) error {
			if away && committed.Load() {
				return errDisk
			}
			return nil
		})
		out, err := w.a.RotateKeys(t.Context(), admin)
		f.Reset()
		if away {
			if err == nil || !strings.Contains(err.Error(), "it is not known whether this was done") || !strings.Contains(err.Error(), "licensectl status") {
				t.Errorf("%v", err)
			}
			w.look(peer{w.a, w.ring})
		} else if err != nil || out.Retired != first || out.Current != w.ring.Signing().ID {
			t.Errorf("%+v: %v", out, err)
		}
		if n := len(w.eventsOf(license.ActionKeysRotate)); n != 1 || w.ring.Signing().ID == first {
			t.Errorf("%d rotations, it signs with %s", n, w.ring.Signing().ID)
		}
		w.must(w.install("m").activate(w.issue().Code), "")
	}
}

// A rotation that was not done is not reported as if nobody knew.
func TestRotationIsRefused(t *testing.T) {
	t.Parallel()
	w, f := faultWorld(t)
	w.ownKeys()
	w.look(peer{w.a, w.ring})
	f.Reset()
	f.FailUpdate(faultstore.Nth(1, faultstore.NotDone))
	if _, err := w.a.RotateKeys(t.Context(), admin); license.ReasonOf(err) != license.ReadOnly || strings.Contains(err.Error(), "not known") {
		t.Errorf("%v", err)
	}
}
