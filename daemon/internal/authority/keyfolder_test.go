package authority_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	folders "github.com/seed-357fa782/licensed/daemon/internal/custody"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// peer is one of several daemons on a store.
type peer struct {
	a    *authority.Authority
	ring *keys.Ring
}

// peers makes two daemons of a world, each with a key folder of its own.
func (w *world) peers(edit ...func(*authority.Options)) (one, other peer) {
	w.t.Helper()
	w.ownKeys()
	w.again(append(edit, func(o *authority.Options) { o.Shared = true })...)
	one = peer{w.a, w.ring}
	w.look(one)
	return one, w.copied(one.ring)
}

// copied makes a daemon whose key folder is a copy.
func (w *world) copied(from *keys.Ring) peer {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "keys")
	w.must(copyFolder(dir, from.Dir()), "")
	return w.peerOn(dir)
}

func (w *world) peerOn(dir string) peer {
	w.t.Helper()
	ring, err := keys.Open(dir, keys.Options{Issuer: issuer})
	w.must(err, "")
	o := w.options
	o.Custody, o.Codes = custody{Ring: ring}, ring.CodeKey()
	a, err := authority.New(o)
	w.must(err, "")
	w.must(a.LoadKeys(w.t.Context()), "")
	return peer{a, ring}
}

// as has what the test does be done by a daemon.
func (w *world) as(p peer) { w.a, w.ring = p.a, p.ring }

// look has the loop of a daemon look at the keys once, and returns what it tells.
func (w *world) look(p peer) (told []string) {
	w.t.Helper()
	w.must(p.a.LookAtKeys(w.t.Context(), func(n authority.KeyNews) {
		switch {
		case n.Rotated != nil:
			told = append(told, "rotated")
		case n.Reloaded:
			told = append(told, "reloaded")
		}
		for _, k := range n.Warnings {
			told = append(told, string(k.Kind)+": "+k.Text)
		}
	}), "")
	return told
}

// unpack makes a key folder of what the store keeps.
func (w *world) unpack(dir string) error {
	w.t.Helper()
	k, err := authority.StoredKeys(w.t.Context(), w.store)
	w.must(err, "")
	return keys.Unpack(dir, folders.Bundle(k), keys.Options{Issuer: issuer})
}

func (w *world) rotate() {
	w.t.Helper()
	_, err := w.a.RotateKeys(w.t.Context(), admin)
	w.must(err, "")
}

func privateFile(p peer, kid string) string {
	return filepath.Join(p.ring.Dir(), "signing", kid+".pem.age")
}

// Two daemons have a folder each. What one of them rotates, or installs, the other
// follows, with no file copied, and the audit log tells of it once; between the change
// and its next look it may sign for as long as products bear it, and no longer.
func TestFollowTheOtherDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.peers()
	first := one.ring.Signing().ID
	i := w.install("machine-1")
	w.must(i.activate(w.issue().Code), "")
	w.rotate()
	w.as(other)
	w.pass(20 * time.Second) // it was stopped for that long, and has not looked
	w.must(i.refresh(), license.ReadOnly)
	if err := w.a.Ready(t.Context()); !errors.Is(err, authority.ErrKeys) {
		t.Errorf("ready: %v", err)
	}
	if set, err := w.a.ServedKeySet(); license.ReasonOf(err) != license.ReadOnly || set.Raw != "" {
		t.Errorf("it serves its key set: %v", err)
	}
	if told := w.look(other); !slices.Equal(told, []string{"reloaded"}) {
		t.Errorf("told %q", told)
	}
	w.must(i.refresh(), "")
	if i.held.KeyID == first || i.held.KeyID != one.ring.Signing().ID {
		t.Errorf("signed with %s, not %s", i.held.KeyID, one.ring.Signing().ID)
	}
	for _, p := range []peer{one, other} {
		if _, err := os.Stat(privateFile(p, first)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the retired key is not destroyed: %v", err)
		}
	}
	w.as(one)
	set := w.signSet("primary", w.clock())
	w.as(other)
	w.must(w.putSet(set), "") // by the one that has not made its next key
	w.look(one)
	if one.ring.KeySet().Raw != set || other.ring.KeySet().Raw != set {
		t.Error("they have different key sets")
	}
	for action, want := range map[license.Action]int{license.ActionKeysRotate: 1, license.ActionKeysInstall: 1} {
		if n := len(w.eventsOf(action)); n != want {
			t.Errorf("%s: told %d times", action, n)
		}
	}
	// Neither has anything to say to the other from now on.
	for range 3 {
		w.pass(time.Hour)
		if told := w.look(one); len(told) > 0 {
			t.Errorf("told %q", told)
		}
		if told := w.look(other); len(told) != 1 || !strings.HasPrefix(told[0], "next_key: ") { // it has not made that
			t.Errorf("the other told %q", told)
		}
	}
}

// A daemon that lacks the private half of the key in force answers nothing that has
// to be signed, says so, and changes nothing; it goes on when its folder has it.
func TestFolderIsLeftBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.peers()
	w.installKeysAt(w.clock()) // the next key of which is that of both folders still
	w.rotate()
	w.installKeysAt(w.clock()) // a new key, which only one folder has
	w.rotate()
	w.look(other)
	w.as(other)
	is := w.issue()
	i := w.install("machine-1")
	w.must(i.activate(is.Code), license.ReadOnly)
	if got := w.state(is.License.ID); got != license.StateIssued {
		t.Errorf("state %s", got)
	}
	warnings, err := w.a.KeyWarnings(t.Context())
	if err != nil || len(warnings) != 1 || warnings[0].Kind != authority.KeyWarnFolder ||
		!strings.Contains(warnings[0].Text, "no. 1, and no. 3 is in force") || !strings.Contains(warnings[0].Text, one.ring.Signing().ID) {
		t.Errorf("warnings %+v, %v", warnings, err)
	}
	_, err = w.a.RotateKeys(t.Context(), admin)
	w.must(err, license.Conflict)
	if told := w.look(other); len(told) != 1 {
		t.Errorf("told %q", told)
	}
	private, err := os.ReadFile(privateFile(one, one.ring.Signing().ID))
	w.must(err, "")
	w.must(os.WriteFile(privateFile(other, one.ring.Signing().ID), private, 0o600), "")
	w.look(other)
	w.must(i.activate(is.Code), "")
	if i.held.KeyID != one.ring.Signing().ID {
		t.Errorf("signed with %s", i.held.KeyID)
	}
	if n := len(w.eventsOf(license.ActionKeysRotate)); n != 2 {
		t.Errorf("%d rotations", n)
	}
}

// When both are told to rotate at the same time, one does.
func TestRotateBoth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.peers()
	first := one.ring.Signing().ID
	var errs [2]error
	var done sync.WaitGroup
	for n, p := range []peer{one, other} {
		done.Go(func() { _, errs[n] = p.a.RotateKeys(t.Context(), admin) })
	}
	done.Wait()
	if (errs[0] == nil) == (errs[1] == nil) || license.ReasonOf(errors.Join(errs[0], errs[1])) != license.Conflict {
		t.Errorf("%v; %v", errs[0], errs[1])
	}
	w.look(one)
	w.look(other)
	if is := one.ring.Signing().ID; is == first || is != other.ring.Signing().ID {
		t.Error("they sign with different keys, or the old one")
	}
	if n := len(w.eventsOf(license.ActionKeysRotate)); n != 1 {
		t.Errorf("%d rotations", n)
	}
}

// stuck is a key folder that cannot be changed.
type stuck struct {
	custody
	fail *error
}

func (s stuck) Follow(k authority.KeysInForce) (bool, error) {
	if *s.fail != nil {
		return false, *s.fail
	}
	return s.custody.Follow(k)
}

// A crash, or a full disk, between the store and the folder is healed at the next
// look; until then nothing is signed with the key that was retired.
func TestFolderCannotFollow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	fail := errors.New("no space left")
	w.again(func(o *authority.Options) { o.Custody, o.Shared = stuck{custody{Ring: w.ring}, &fail}, true })
	first := w.ring.Signing().ID
	is := w.issue()
	i := w.install("machine-1")
	if _, err := w.a.RotateKeys(t.Context(), admin); !errors.Is(err, fail) {
		t.Fatal(err)
	}
	w.must(i.activate(is.Code), license.ReadOnly)
	fail = nil
	w.again()
	w.must(w.a.LoadKeys(t.Context()), "")
	w.must(i.activate(is.Code), "")
	if i.held.KeyID == first || len(w.eventsOf(license.ActionKeysRotate)) != 1 {
		t.Errorf("signed with %s, %d rotations", i.held.KeyID, len(w.eventsOf(license.ActionKeysRotate)))
	}
}

// sealed lists the keys that the store keeps.
func (w *world) sealed() (kids []string) {
	w.t.Helper()
	k, err := authority.StoredKeys(w.t.Context(), w.store)
	w.must(err, "")
	for kid := range k.Private {
		kids = append(kids, kid)
	}
	return kids
}

// Where the keys are shared through the store, a new key reaches the other daemon
// with it, and one that was retired is destroyed there and in each folder. A daemon
// with nothing but the identity serves.
func TestKeysInTheStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.peers(func(o *authority.Options) { o.ShareKeys = true })
	first := one.ring.Signing().ID
	if n := len(w.sealed()); n != 2 {
		t.Errorf("the store keeps %d keys", n)
	}
	i := w.install("machine-1")
	w.must(i.activate(w.issue().Code), "")
	for range 3 {
		w.pass(time.Hour)
		w.installKeysAt(w.clock()) // a new key
		w.rotate()
		w.pass(time.Hour)
		w.look(other)
		w.as(other)
		w.must(i.refresh(), "")
		if i.held.KeyID != one.ring.Signing().ID {
			t.Errorf("signed with %s, not %s", i.held.KeyID, one.ring.Signing().ID)
		}
		w.as(one)
	}
	for _, kid := range w.sealed() {
		if kid == first || one.ring.Signing().ID != kid && one.ring.Health(w.clock()).Next != kid {
			t.Errorf("the store keeps %s", kid)
		}
	}
	dir := filepath.Join(t.TempDir(), "keys")
	w.must(os.MkdirAll(dir, 0o700), "")
	identity, err := os.ReadFile(filepath.Join(one.ring.Dir(), "identity"))
	w.must(err, "")
	w.must(os.WriteFile(filepath.Join(dir, "identity"), identity, 0o600), "")
	w.must(w.unpack(dir), "")
	third := w.peerOn(dir)
	w.as(third)
	w.must(i.refresh(), "")
	w.must(w.install("machine-2").activate(w.issue().Code), "")
	w.as(one)
	w.installKeysAt(w.clock())
	w.look(third)
	w.as(third)
	w.rotate()
	w.look(one)
	if one.ring.Signing().ID != third.ring.Signing().ID || len(w.sealed()) != 1 {
		t.Error("the rotation of the third is not followed, or what it has retired is kept")
	}
}

// A store that was restored from a backup of before a rotation brings the retired key
// back. The folder is newer: the store is told again, and the key destroyed.
func TestOlderStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.peers(func(o *authority.Options) { o.ShareKeys = true })
	first := one.ring.Signing().ID
	backup := w.keyValues()
	w.installKeysAt(w.clock())
	w.rotate()
	w.look(other)
	w.putKeyValues(backup)
	if !slices.Contains(w.sealed(), first) {
		t.Fatal("the test is wrong")
	}
	for _, p := range []peer{one, other} { // that were started again
		w.as(p)
		w.again(func(o *authority.Options) { o.Custody, o.Codes = custody{Ring: p.ring}, p.ring.CodeKey() })
		w.must(w.a.LoadKeys(t.Context()), "")
		w.look(peer{w.a, p.ring})
		w.look(peer{w.a, p.ring})
	}
	if kids := w.sealed(); slices.Contains(kids, first) || len(kids) != 1 {
		t.Errorf("the store keeps %v", kids)
	}
	if one.ring.Signing().ID == first || one.ring.Signing().ID != other.ring.Signing().ID {
		t.Error("the folders followed the old store")
	}
	w.must(w.install("machine-1").activate(w.issue().Code), "")
}

// Keys that were made apart for one store are not mixed: the second daemon signs
// nothing.
func TestOtherKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.peers()
	dir := filepath.Join(t.TempDir(), "keys")
	_, err := keys.Init(dir, keys.Options{Issuer: issuer, Now: w.clock})
	w.must(err, "")
	stranger := w.peerOn(dir)
	w.as(stranger)
	w.look(stranger)
	w.must(w.install("machine-1").activate(w.issue().Code), license.ReadOnly)
	if err := w.a.Ready(t.Context()); !errors.Is(err, authority.ErrKeys) || !strings.Contains(err.Error(), "do not belong") {
		t.Errorf("ready: %v", err)
	}
	if len(w.eventsOf(license.ActionKeysInstall)) > 0 {
		t.Error("its keys were taken for news")
	}
}

func (w *world) keyValues() (all []store.Value) {
	w.t.Helper()
	err := w.store.View(w.t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		all, _, err = tx.Values(ctx, "keys/", store.Page{Limit: store.MaxPage})
		return err
	})
	w.must(err, "")
	return all
}

func (w *world) putKeyValues(values []store.Value) {
	w.t.Helper()
	now := w.keyValues()
	err := w.store.Update(w.t.Context(), func(ctx context.Context, tx store.Tx) error {
		for _, v := range now {
			if err := tx.SetValue(ctx, v.Name, nil); err != nil {
				return err
			}
		}
		for _, v := range values {
			if err := tx.SetValue(ctx, v.Name, v.Data); err != nil {
				return err
			}
		}
		return nil
	})
	w.must(err, "")
}
