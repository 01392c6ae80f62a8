package keys_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
)

// stands is how r stands to what o says.
func stands(t *testing.T, r, o *keys.Ring) int {
	t.Helper()
	c, err := r.Stands(standing(t, o))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func standing(t *testing.T, r *keys.Ring) keys.Standing {
	t.Helper()
	s, err := r.Standing()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func follow(t *testing.T, r *keys.Ring, s keys.Standing) bool {
	t.Helper()
	changed, err := r.Follow(s)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// A rotation is planned, noted and followed; a copy of the folder follows it by
// itself, and neither keeps what was retired. What is older is not followed.
func TestFollowRotation(t *testing.T) {
	t.Parallel()
	a := newRing(t)
	b := open(t, copyFolder(t, a.Dir()))
	before, first := standing(t, a), a.Signing().ID
	plan, err := a.PlanRotation(made.Add(day))
	if err != nil {
		t.Fatal(err)
	}
	if a.Signing().ID != first || stands(t, a, b) != 0 {
		t.Fatal("a plan has changed the folder")
	}
	if !follow(t, a, plan) || follow(t, a, plan) {
		t.Error("followed never, or twice")
	}
	if stands(t, a, b) <= 0 || stands(t, b, a) >= 0 {
		t.Error("the folder that was rotated is not the newer one")
	}
	if !follow(t, b, standing(t, a)) || follow(t, a, before) || follow(t, b, before) {
		t.Error("followed what is older, or not what is newer")
	}
	for _, r := range []*keys.Ring{a, b, open(t, b.Dir())} {
		if r.Signing().ID == first || fileExists(t, private(r.Dir(), first)) || !standing(t, r).Equal(plan) {
			t.Errorf("%s: signs with %s; the retired key is there: %t", r.Dir(), r.Signing().ID, fileExists(t, private(r.Dir(), first)))
		}
		mustWork(t, r, made.Add(day))
	}
}

// A copy that is several steps behind follows at once, as long as it has the private
// half of the current key; where it does not, it stays as it is until that is there.
func TestFollowManySteps(t *testing.T) {
	t.Parallel()
	a := newRing(t)
	b := open(t, copyFolder(t, a.Dir()))
	rotate(t, a, made.Add(day))
	install(t, a, nextSet(t, a, "primary", made.Add(2*day)), made.Add(2*day))
	if !follow(t, b, standing(t, a)) || b.KeySet().Raw != a.KeySet().Raw {
		t.Fatal("an installed set is not followed")
	}
	mustWork(t, b, made.Add(2*day))
	rotate(t, a, made.Add(3*day)) // to a key that was made after the copy
	was := standing(t, b)
	_, err := b.Follow(standing(t, a))
	wantReason(t, err, license.NotFound, a.Signing().ID)
	if !standing(t, b).Equal(was) || stands(t, b, a) >= 0 {
		t.Fatal("changed, or not known to be older")
	}
	write(t, private(b.Dir(), a.Signing().ID), read(t, private(a.Dir(), a.Signing().ID)))
	if !follow(t, b, standing(t, a)) || b.Signing().ID != a.Signing().ID {
		t.Error("not followed when the private half was there")
	}
	mustWork(t, b, made.Add(3*day))
}

// A key that a set has revoked is destroyed by who follows, and never signs again.
func TestFollowRevocation(t *testing.T) {
	t.Parallel()
	a := newRing(t)
	b := open(t, copyFolder(t, a.Dir()))
	stolen := a.Signing().ID
	install(t, a, nextSet(t, a, "standby", made.Add(day), stolen), made.Add(day))
	if !follow(t, b, standing(t, a)) || b.Signing().ID == stolen || fileExists(t, private(b.Dir(), stolen)) {
		t.Error("the revoked key is in use, or here")
	}
	mustWork(t, b, made.Add(day))
}

// Folders that were changed apart are told of, and what was damaged or forged on
// its way is refused: nothing is changed.
func TestFollowRefuses(t *testing.T) {
	t.Parallel()
	dir, _ := newFolder(t)
	o := options()
	o.Ahead = 2
	a := open(t, dir)
	install(t, a, nextSetAhead(t, dir, o), made.Add(day))
	b := open(t, copyFolder(t, dir))
	if err := os.Remove(private(b.Dir(), a.Health(made).Next)); err != nil {
		t.Fatal(err)
	}
	b = open(t, b.Dir())
	rotate(t, a, made.Add(2*day))
	rotate(t, b, made.Add(2*day))
	_, err := b.Stands(standing(t, a))
	wantReason(t, err, license.Conflict, a.Signing().ID, b.Signing().ID)
	_, err = b.Follow(standing(t, a))
	wantReason(t, err, license.Conflict)

	good := standing(t, a)
	c := newRing(t)
	for name, s := range map[string]keys.Standing{
		"of other anchors": standing(t, c),
		"another set":      {State: good.State, Set: standing(t, open(t, copyFolder(t, c.Dir()))).Set},
		"no state":         {Set: good.Set},
		"no set":           {State: good.State},
		"another current":  {State: bytes.ReplaceAll(good.State, []byte(a.Signing().ID), []byte(c.Signing().ID)), Set: good.Set},
	} {
		was := standing(t, b)
		if _, err := b.Follow(s); err == nil || !standing(t, b).Equal(was) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// nextSetAhead signs a set by which two rotations are possible.
func nextSetAhead(t *testing.T, dir string, o keys.Options) string {
	t.Helper()
	r, err := keys.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return nextSet(t, r, "primary", made.Add(day))
}

// A crash at any step of following leaves a folder that opens, and follows then.
func TestFollowCrash(t *testing.T) {
	t.Parallel()
	a := newRing(t)
	old := copyFolder(t, a.Dir())
	rotate(t, a, made.Add(day))
	install(t, a, nextSet(t, a, "primary", made.Add(2*day)), made.Add(2*day))
	for n := 0; ; n++ {
		dir := copyFolder(t, old)
		r, err := keys.OpenWith(crashAt(n), dir, options())
		if err != nil {
			t.Fatal(err)
		}
		ended := crashed(func() { _, err = r.Follow(standing(t, a)) })
		b := open(t, dir)
		follow(t, b, standing(t, a))
		mustWork(t, b, made.Add(2*day))
		if stands(t, b, a) != 0 || b.Signing().ID != a.Signing().ID {
			t.Errorf("after a crash at step %d: not in step", n)
		}
		if !ended {
			if err != nil || n < 3 {
				t.Errorf("%d steps, %v", n, err)
			}
			return
		}
	}
}

// A folder is unpacked of what another one has, and an identity; it serves as that
// one does, and no anchor's private half comes along, nor what was retired.
func TestUnpack(t *testing.T) {
	t.Parallel()
	a := newRing(t)
	retired := a.Signing().ID
	rotate(t, a, made.Add(day))
	install(t, a, nextSet(t, a, "primary", made.Add(2*day)), made.Add(2*day))
	bundle, err := a.Bundle()
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := bundle.Private[retired]; ok || len(bundle.Private) != 2 {
		t.Errorf("%d private halves, the retired one among them: %t", len(bundle.Private), ok)
	}
	text := slices.Concat(bundle.DataKey, bundle.Anchors, bundle.Standing.State, bundle.Standing.Set)
	for _, sealed := range bundle.Private {
		text = append(text, sealed...)
	}
	for _, secret := range []string{"AGE-SECRET-KEY", "PRIVATE KEY"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%s is in it in clear", secret)
		}
	}
	for _, beside := range []bool{false, true} {
		dir, o := filepath.Join(t.TempDir(), "keys"), options()
		wantReason(t, keys.Unpack(dir, bundle, o), license.Damaged, "identity")
		o.Identity = filepath.Join(t.TempDir(), "id")
		if beside {
			o.Identity = ""
			write(t, filepath.Join(dir, "identity"), read(t, filepath.Join(a.Dir(), "identity")))
		} else {
			wantReason(t, keys.Unpack(dir, bundle, o), license.NotFound, o.Identity)
			write(t, o.Identity, read(t, filepath.Join(a.Dir(), "identity")))
		}
		if err := keys.Unpack(dir, bundle, o); err != nil {
			t.Fatal(err)
		}
		b, err := keys.Open(dir, o)
		if err != nil {
			t.Fatal(err)
		}
		mustWork(t, b, made.Add(2*day))
		if b.Signing().ID != a.Signing().ID || !bytes.Equal(b.CodeKey().Check(), a.CodeKey().Check()) || len(b.AnchorPrivatesPresent()) != 0 {
			t.Error("it is not the same")
		}
		wantReason(t, keys.Unpack(dir, bundle, o), license.Conflict)
		rotate(t, b, made.Add(3*day))
	}
	dir, o := filepath.Join(t.TempDir(), "keys"), options()
	o.Identity = filepath.Join(newRing(t).Dir(), "identity")
	wantReason(t, keys.Unpack(dir, bundle, o), license.Damaged, "another identity")
}

// The private half of a new key comes from elsewhere, sealed; one that was given up,
// and what is another key, is refused.
func TestTakePrivate(t *testing.T) {
	t.Parallel()
	a := newRing(t)
	b := open(t, copyFolder(t, a.Dir()))
	first := a.Signing().ID
	sealed := read(t, private(a.Dir(), first))
	rotate(t, a, made.Add(day))
	follow(t, b, standing(t, a))
	if taken, err := b.TakePrivate(first, sealed); err != nil || taken || fileExists(t, private(b.Dir(), first)) {
		t.Errorf("a retired key was taken: %t, %v", taken, err)
	}
	install(t, a, nextSet(t, a, "primary", made.Add(2*day)), made.Add(2*day))
	next := a.Health(made).Next
	_, err := b.TakePrivate(next, sealed)
	wantReason(t, err, license.Damaged, "another key")
	_, err = b.TakePrivate("../identity", sealed)
	wantReason(t, err, license.Damaged)
	for _, want := range []bool{true, false} {
		if taken, err := b.TakePrivate(next, read(t, private(a.Dir(), next))); err != nil || taken != want {
			t.Errorf("taken: %t, %v", taken, err)
		}
	}
	follow(t, b, standing(t, a))
	rotate(t, b, made.Add(3*day))
	mustWork(t, b, made.Add(3*day))
	if b.Signing().ID != next {
		t.Error("it does not sign with what it was given")
	}
}

// A first start takes the identity that it is told of, and leaves none in the folder.
func TestInitWithIdentity(t *testing.T) {
	t.Parallel()
	o := options()
	o.Identity = filepath.Join(newRing(t).Dir(), "identity")
	dir := filepath.Join(t.TempDir(), "keys")
	created, err := keys.Init(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	if created.CopyOffline != o.Identity || fileExists(t, filepath.Join(dir, "identity")) {
		t.Errorf("%+v", created)
	}
	r, err := keys.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	mustWork(t, r, made.Add(time.Hour))
}
