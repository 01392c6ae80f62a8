package keys_test

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func TestRotation(t *testing.T) {
	r := newRing(t)
	first, second := r.KeySet().Keys[0].ID, r.KeySet().Keys[1].ID
	before := sign(t, r, made)
	at := made.Add(100 * day)

	rotation := rotate(t, r, at)
	want := keys.Rotation{From: first, To: second, At: at}
	if diff := cmp.Diff(want, rotation); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for _, r := range []*keys.Ring{r, open(t, r.Dir())} {
		if r.Signing().ID != second {
			t.Errorf("%s signs, want %s", r.Signing().ID, second)
		}
		mustWork(t, r, at)
		if err := verify(before, r.KeySet()); err != nil {
			t.Errorf("what was signed before: %v", err)
		}
		if diff := cmp.Diff([]string{"retired", "current"}, roles(r)); diff != "" {
			t.Errorf("roles: -want +got:\n%s", diff)
		}
		retired := r.List()[0]
		if retired.PrivatePresent || !retired.RetiredAt.Equal(at) {
			t.Errorf("retired: %+v", retired)
		}
	}
	if fileExists(t, private(r.Dir(), first)) {
		t.Error("the retired private half is still there")
	}
	_, err := r.Rotate(at.Add(day))
	wantReason(t, err, license.Conflict, "no next key")

	// The next set ends the retired key shortly after its retirement: what it
	// signed stays good, what a thief would sign later does not.
	install(t, r, nextSet(t, r, "primary", at.Add(day)), at.Add(day))
	if err := verify(before, r.KeySet()); err != nil {
		t.Errorf("what was signed before, under the next set: %v", err)
	}
	if diff := cmp.Diff([]string{"current", "next", "retired"}, roles(r)); diff != "" {
		t.Errorf("roles: -want +got:\n%s", diff)
	}
	if k, _ := r.KeySet().Key(first); !k.NotAfter.Equal(at.Add(10 * time.Minute)) {
		t.Errorf("the retired key ends at %s", k.NotAfter)
	}
	rotate(t, r, at.Add(2*day))
	mustWork(t, open(t, r.Dir()), at.Add(2*day))
}

func TestRotationKeepsAManyYearsOldLicence(t *testing.T) {
	r := newRing(t)
	raw := sign(t, r, made)
	now := made
	for range 6 {
		now = now.Add(390 * day)
		install(t, r, nextSet(t, r, "primary", now), now)
		rotate(t, r, now.Add(day))
		mustWork(t, r, now.Add(day))
	}
	if err := verify(raw, r.KeySet()); err != nil {
		t.Errorf("after %s: %v", now.Sub(made), err)
	}
	if names, _ := os.ReadDir(filepath.Join(r.Dir(), "signing")); len(names) != 1 {
		t.Errorf("%d private halves lie in the folder", len(names))
	}
}

func TestRotationNeedsAValidNextKey(t *testing.T) {
	for what, edit := range map[string]func(*token.Key){
		"not valid before": func(k *token.Key) { k.NotBefore = made.Add(day) },
		"was valid until":  func(k *token.Key) { k.NotAfter = made },
	} {
		r := newRing(t)
		install(t, r, change(t, r, "primary", func(s *token.KeySet) { edit(&s.Keys[1]) }), made)
		current := r.Signing().ID
		_, err := r.Rotate(made)
		wantReason(t, err, license.Conflict, what)
		if r.Signing().ID != current || !fileExists(t, private(r.Dir(), current)) {
			t.Errorf("%s: a refused rotation changed something", what)
		}
	}
}

func TestCrashes(t *testing.T) {
	at := made.Add(day)
	for name, act := range map[string]func(*testing.T, *keys.Ring, string) error{
		"rotate":  func(_ *testing.T, r *keys.Ring, _ string) error { _, err := r.Rotate(at); return err },
		"install": func(_ *testing.T, r *keys.Ring, raw string) error { return r.Install(raw, at) },
		"propose": func(_ *testing.T, r *keys.Ring, _ string) error { _, err := r.ProposeKeySet(at); return err },
	} {
		t.Run(name, func(t *testing.T) {
			base, raw := halfway(t, name)
			for n := 0; ; n++ {
				r := open(t, copyFolder(t, base.Dir()))
				licence := sign(t, r, made)
				before := r.Signing().ID
				crashing, err := keys.OpenWith(crashAt(n), r.Dir(), options())
				if err != nil {
					t.Fatal(err)
				}
				stopped := crashed(func() { err = act(t, crashing, raw) })
				if err != nil {
					t.Fatalf("step %d: %v", n, err)
				}
				again := open(t, r.Dir())
				mustWork(t, again, at)
				if err := verify(licence, again.KeySet()); err != nil && name != "install" {
					t.Errorf("step %d: what was signed before: %v", n, err)
				}
				if now := again.Signing().ID; now != before && fileExists(t, private(r.Dir(), before)) {
					t.Errorf("step %d: the private half of %s is still there", n, before)
				}
				finish(t, again, name, raw, before, at)
				if !stopped {
					break
				}
			}
		})
	}
}

// halfway makes a ring to which something is about to happen; for "install" the
// key set revokes the current key, which is the most that can happen.
func halfway(t *testing.T, what string) (*keys.Ring, string) {
	t.Helper()
	r := newRing(t)
	switch what {
	case "install":
		return r, nextSet(t, r, "primary", made, r.Signing().ID)
	case "propose":
		rotate(t, r, made)
	}
	return r, ""
}

// finish repeats what a crash has interrupted and checks where it leads.
func finish(t *testing.T, r *keys.Ring, what, raw, before string, at time.Time) {
	t.Helper()
	switch what {
	case "rotate":
		if r.Signing().ID == before {
			rotate(t, r, at)
		}
		if r.Signing().ID == before || fileExists(t, private(r.Dir(), before)) {
			t.Error("rotating again did not rotate")
		}
	case "install":
		install(t, r, raw, at)
		if r.KeySet().Seq != 2 || r.Signing().ID == before || fileExists(t, private(r.Dir(), before)) {
			t.Error("installing again did not install")
		}
	case "propose":
		install(t, r, nextSet(t, r, "primary", at), at)
		if got := len(r.KeySet().Keys); got != 3 {
			t.Errorf("%d keys, want 3: the half-made key was not taken again", got)
		}
	}
	mustWork(t, open(t, r.Dir()), at)
}

func TestFailures(t *testing.T) {
	at := made.Add(day)
	base, raw := halfway(t, "install")
	for _, after := range []bool{false, true} {
		for n := range 3 {
			r := open(t, copyFolder(t, base.Dir()))
			failing, err := keys.OpenWith(failAt(n, after), r.Dir(), options())
			if err != nil {
				t.Fatal(err)
			}
			// The last step removes a private half: the installation stands without it.
			if err := failing.Install(raw, at); (err != nil) != (n < 2) {
				t.Errorf("install, step %d: %v", n, err)
			}
			mustWork(t, failing, at)
			install(t, failing, raw, at)
			finish(t, failing, "install", raw, r.Signing().ID, at)

			r = open(t, copyFolder(t, base.Dir()))
			before := r.Signing().ID
			if failing, err = keys.OpenWith(failAt(n, after), r.Dir(), options()); err != nil {
				t.Fatal(err)
			}
			rotation, err := failing.Rotate(at)
			if (err != nil) != (n < 1) {
				t.Errorf("rotate, step %d: %v", n, err)
			}
			if n == 1 && !after && !slices.Equal(rotation.Leftover, []string{private(r.Dir(), before)}) {
				t.Errorf("left over: %v", rotation.Leftover)
			}
			mustWork(t, failing, at)
			again := open(t, r.Dir())
			finish(t, again, "rotate", "", before, at)
			// What failed after all may have been done: then the ring must know.
			if n == 0 && after && failing.Signing().ID == before {
				t.Error("the ring signs with a key that the folder has retired")
			}
		}
	}
}

func TestLeftoverIsReported(t *testing.T) {
	r := newRing(t)
	stuck, err := keys.OpenWith(func(action, _ string, do func() error) error {
		if action == "remove" {
			return errCrash
		}
		return do()
	}, r.Dir(), options())
	if err != nil {
		t.Fatal(err)
	}
	before := stuck.Signing().ID
	want := []string{private(r.Dir(), before)}
	if rotation := rotate(t, stuck, made); !slices.Equal(rotation.Leftover, want) {
		t.Errorf("left over: %v", rotation.Leftover)
	}
	if h := stuck.Health(made); !slices.Equal(h.Leftover, want) {
		t.Errorf("health: %v", h.Leftover)
	}
	// It is never used again, and goes away when that is possible.
	install(t, stuck, nextSet(t, stuck, "primary", made), made)
	if stuck.Signing().ID == before || stuck.Health(made).Next == before {
		t.Error("a retired key is in use")
	}
	if got := open(t, r.Dir()).Health(made).Leftover; len(got) != 0 || fileExists(t, want[0]) {
		t.Errorf("left over after all: %v", got)
	}
}

func TestWrongClock(t *testing.T) {
	r := newRing(t)
	_, err := r.ProposeKeySet(made.Add(-time.Hour))
	wantReason(t, err, license.Clock)
	_, err = r.Rotate(made.Add(-time.Hour))
	wantReason(t, err, license.Clock)
	if len(r.List()) != 2 {
		t.Errorf("keys: %v", r.List())
	}
	rotate(t, r, made.Add(-10*time.Minute)) // clocks differ
	install(t, r, nextSet(t, r, "primary", made.Add(-10*time.Minute)), made)
	mustWork(t, r, made)
}

func TestHealth(t *testing.T) {
	r := newRing(t)
	for after, want := range map[time.Duration]struct {
		days     int
		expiring bool
	}{
		0: {400, false}, 310 * day: {90, false}, 310*day + time.Second: {89, true}, 400 * day: {0, true}, 400*day + 1: {-1, true},
	} {
		if h := r.Health(made.Add(after)); h.DaysLeft != want.days || h.Expiring != want.expiring {
			t.Errorf("after %s: %d days, expiring %v", after, h.DaysLeft, h.Expiring)
		}
	}
	h := r.Health(made)
	set := r.KeySet()
	want := keys.Health{
		Issuer: issuer, Seq: 1, IssuedAt: made, ExpiresAt: made.Add(400 * day), DaysLeft: 400,
		Current: set.Keys[0].ID, CurrentEnd: set.Keys[0].NotAfter, Since: made, Ahead: 1, Next: set.Keys[1].ID, Standbys: 1,
		AnchorFiles: r.AnchorPrivatesPresent(),
	}
	if diff := cmp.Diff(want, h); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSharedFolder(t *testing.T) {
	one := newRing(t)
	two := open(t, one.Dir())
	if changed, err := two.Reload(); changed || err != nil {
		t.Errorf("nothing has changed: %v, %v", changed, err)
	}
	rotate(t, one, made)
	// Two must not rotate once more because it did not see the first time.
	_, err := two.Rotate(made)
	wantReason(t, err, license.Conflict, "another process")
	if two.Signing().ID != one.Signing().ID {
		t.Error("the second ring has not followed")
	}
	install(t, one, nextSet(t, one, "primary", made), made)
	if changed, err := two.Reload(); !changed || err != nil {
		t.Errorf("reload: %v, %v", changed, err)
	}
	if two.KeySet().Raw != one.KeySet().Raw {
		t.Error("the second ring has another key set")
	}
	install(t, two, one.KeySet().Raw, made)
}

func TestConcurrentUse(t *testing.T) {
	r := newRing(t)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				mustWork(t, r, made)
				_, _ = r.List(), r.Health(made)
				if _, err := r.Reload(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		install(t, r, nextSet(t, r, "primary", made), made)
		rotate(t, r, made)
	}
	close(stop)
	wg.Wait()
}

// A caller cannot change what the ring holds.
func TestCopies(t *testing.T) {
	r := newRing(t)
	set := r.KeySet()
	without(&set, set.Keys[0].ID)
	set.Keys[0].ID = "x"
	_, other := r.Current()
	clear(other.Keys)
	clear(r.Anchors())
	mustWork(t, r, made)
}
