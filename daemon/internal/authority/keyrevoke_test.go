package authority_test

import (
	"context"
	"crypto"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

type signerLike = crypto.Signer

type brokenSigner struct {
	signerLike
	fail *error
}

func (s brokenSigner) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	if *s.fail != nil {
		return nil, *s.fail
	}
	return s.signerLike.Sign(random, message, opts)
}

// signSet has an anchor sign the next key set.
func (w *world) signSet(anchor string, now time.Time, revoke ...string) string {
	w.t.Helper()
	unsigned, err := w.a.ProposeKeySet(w.t.Context(), admin, revoke...)
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := keys.OpenAnchor(filepath.Join(w.ring.Dir(), "anchors", anchor+".pem.age"), keys.AnchorOptions{
		Identity: filepath.Join(w.ring.Dir(), "identity"),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	set, err := a.SignKeySet(unsigned, now)
	if err != nil {
		w.t.Fatal(err)
	}
	return set
}

// putSet installs a signed key set.
func (w *world) putSet(set string) error {
	w.t.Helper()
	_, err := w.a.InstallKeySet(w.t.Context(), admin, set)
	return err
}

func (w *world) installKeysAt(now time.Time) {
	w.t.Helper()
	w.must(w.putSet(w.signSet("primary", now)), "")
}

func (w *world) revoke(kids ...string) authority.RevokedKeys {
	w.t.Helper()
	out, err := w.a.RevokeKeys(w.t.Context(), admin, "stolen", kids...)
	w.must(err, "")
	return out
}

// affected returns the ids of the installs that a key is missed by, page by page.
func (w *world) affected(kids ...string) []string {
	w.t.Helper()
	ids := []string{}
	for p := (store.Page{Limit: 1}); ; {
		list, next, err := w.a.AffectedInstalls(w.t.Context(), p, kids...)
		w.must(err, "")
		for _, a := range list {
			ids = append(ids, a.Install.ID)
		}
		if p.Cursor = next; next == "" {
			return ids
		}
	}
}

func (w *world) current() string {
	key, _ := w.ring.Current()
	return key.ID
}

// The drill of a stolen signing key: the next one takes over at once, the set
// without it is signed and installed, and the installs that must refresh are
// listed until they have.
func TestRevokeCurrentKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	stolen := w.current()
	var installs []*install
	for _, machine := range []string{"a", "b", "c"} {
		i := w.install(machine)
		w.must(i.activate(w.issue().Code), "")
		installs = append(installs, i)
	}
	released := w.issue()
	w.must(w.install("d").activate(released.Code), "")
	w.must(w.edit(released.License.ID, license.EventRelease), "")
	w.pass(time.Hour)
	if got := w.affected(stolen); len(got) != 3 {
		t.Errorf("before anything is done: %v", got)
	}
	if got := w.affected(); len(got) != 0 {
		t.Errorf("affected by nothing: %v", got)
	}
	out := w.revoke(stolen)
	if out.Rotated == nil || out.Rotated.Retired != stolen || w.current() == stolen {
		t.Errorf("the stolen key still signs: %+v", out)
	}
	w.must(installs[0].refresh(), "")
	if got := w.affected(); len(got) != 2 {
		t.Errorf("after one refreshed: %v", got)
	}
	w.installKeysAt(w.clock())
	if _, listed := w.ring.KeySet().Key(stolen); listed {
		t.Error("the stolen key is listed still")
	}
	for n, i := range installs[1:] {
		if got := w.affected(); len(got) != 2-n {
			t.Errorf("%d affected, want %d", len(got), 2-n)
		}
		w.must(i.refresh(), "")
	}
	if got := w.affected(); len(got) != 0 {
		t.Errorf("affected in the end: %v", got)
	}
	list, err := w.a.Revocations(t.Context())
	w.must(err, "")
	if len(list) != 1 || !list[0].Ended() || list[0].Seq != 2 || list[0].Role != authority.RoleCurrent || list[0].Reason != "stolen" {
		t.Errorf("%+v", list)
	}
	for action, want := range map[license.Action]int{license.ActionKeysRevoke: 1, license.ActionKeysRotate: 1, license.ActionKeysInstall: 1} {
		if got := w.events(action); got != want {
			t.Errorf("%d events %s, want %d", got, action, want)
		}
	}
	_, err = w.a.KeepKey(t.Context(), admin, stolen)
	w.must(err, license.Conflict)
}

// Both keys are stolen, as with the whole folder: there is nothing good to rotate
// to, so the stolen key signs until the new set is there, and what it signs until
// then is listed too.
func TestRevokeAllKeysHeld(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	set := w.ring.KeySet()
	stolen := []string{set.Keys[0].ID, set.Keys[1].ID}
	if out := w.revoke(stolen...); out.Rotated != nil || len(out.Keys) != 2 {
		t.Errorf("%+v", out)
	}
	_, err := w.a.RotateKeys(t.Context(), admin)
	w.must(err, license.Conflict)
	i := w.install("a")
	w.must(i.activate(w.issue().Code), "")
	w.pass(time.Hour)
	w.installKeysAt(w.clock())
	if slices.Contains(stolen, w.current()) {
		t.Error("a stolen key signs")
	}
	if got := w.affected(); !slices.Equal(got, []string{i.key.ID}) {
		t.Errorf("affected %v", got)
	}
	w.must(i.refresh(), "")
	if got := w.affected(); len(got) != 0 {
		t.Errorf("affected %v", got)
	}
}

// A set that does not end what is being ended is refused, whoever signed it, and
// nothing changes; the mark can be taken back before.
func TestMarkedKeysAreNotInstalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	next := w.ring.KeySet().Keys[1].ID
	old := w.signSet("primary", w.clock())
	w.revoke(next)
	w.revoke(next) // once more changes nothing
	if n := w.events(license.ActionKeysRevoke); n != 1 {
		t.Errorf("%d events", n)
	}
	before := w.ring.KeySet().Seq
	w.must(w.putSet(old), license.Conflict)
	if w.ring.KeySet().Seq != before {
		t.Error("it was installed all the same")
	}
	_, err := w.a.RotateKeys(t.Context(), admin)
	w.must(err, license.Conflict)
	for _, want := range []bool{true, false} {
		if changed, err := w.a.KeepKey(t.Context(), admin, next); err != nil || changed != want {
			t.Errorf("keep: %v, %v", changed, err)
		}
	}
	w.must(w.putSet(old), "")
	_, err = w.a.RotateKeys(t.Context(), admin)
	w.must(err, "")
	for _, bad := range [][]string{{"no such key"}, {}, slices.Repeat([]string{next}, 65)} {
		if _, err := w.a.RevokeKeys(t.Context(), admin, "stolen", bad...); err == nil {
			t.Errorf("%d keys are marked", len(bad))
		}
	}
	if _, err := w.a.RevokeKeys(t.Context(), admin, " ", next); license.ReasonOf(err) != license.BadRequest {
		t.Errorf("without a reason: %v", err)
	}
}

// A stolen primary anchor is ended by a set that the standby signs; the last
// anchor cannot be ended by any.
func TestRevokeAnchor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	anchors := w.ring.Anchors()
	primary, standby := token.Thumbprint(anchors[0]), token.Thumbprint(anchors[1])
	i := w.install("a")
	w.must(i.activate(w.issue().Code), "")
	w.pass(time.Hour)
	_, err := w.a.RevokeKeys(t.Context(), admin, "stolen", standby)
	w.must(err, license.Conflict)
	w.revoke(primary)
	w.must(w.putSet(w.signSet("primary", w.clock())), license.Conflict)
	w.must(w.putSet(w.signSet("standby", w.clock())), "")
	if got := w.affected(); !slices.Equal(got, []string{i.key.ID}) {
		t.Errorf("who has not heard of the standby's set: %v", got)
	}
	w.pass(time.Hour)
	w.must(i.refresh(), "")
	if got := w.affected(); len(got) != 0 {
		t.Errorf("affected %v", got)
	}
	list, err := w.a.Revocations(t.Context())
	w.must(err, "")
	if len(list) != 1 || !list[0].Ended() {
		t.Errorf("%+v", list)
	}
}

// What staff carried to a machine without a network is told apart: no call of its
// own will bring it a new licence.
func TestAffectedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	i := w.install("a")
	raw := i.request(token.OpActivate, withCode(w.issue().Code))
	ans, err := w.a.Request(t.Context(), raw, license.Code{}, authority.Caller{Staff: &admin})
	w.must(err, "")
	i.held = w.verify(ans.License, i.product)
	device := w.issue()
	made, err := w.identify(device.License.ID, "AA:BB:CC:DD:EE:01|DISK-1|BOARD-1|CPU")
	w.must(err, "")
	stolen := w.current()
	list, _, err := w.a.AffectedInstalls(t.Context(), store.Page{}, stolen)
	w.must(err, "")
	if len(list) != 2 || !list[0].Install.ByHand || !list[1].Install.ByHand {
		t.Fatalf("%+v", list)
	}
	w.pass(time.Hour)
	w.revoke(stolen)
	w.installKeysAt(w.clock())
	w.must(i.refresh(), "")
	if got := w.affected(); !slices.Equal(got, []string{made.Install.ID}) {
		t.Errorf("affected %v", got)
	}
	if _, err = w.identify(device.License.ID, "AA:BB:CC:DD:EE:01|DISK-1|BOARD-1|CPU"); err != nil {
		t.Fatal(err)
	}
	if got := w.affected(); len(got) != 0 {
		t.Errorf("after its file was made again: %v", got)
	}
}

// A record from before the key was noted is judged by when its licence was made.
func TestAffectedGuess(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	i := w.install("a")
	is := w.issue()
	w.must(i.activate(is.Code), "")
	err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		inst, err := tx.Install(ctx, is.License.ID, i.key.ID)
		if err != nil {
			return err
		}
		inst.SignedBy = ""
		return tx.UpdateInstall(ctx, inst)
	})
	w.must(err, "")
	list, _, err := w.a.AffectedInstalls(t.Context(), store.Page{}, w.current())
	w.must(err, "")
	if len(list) != 1 || !list[0].Guessed {
		t.Errorf("%+v", list)
	}
}

// A key folder that was put back from an old copy is told of, nothing of it is taken
// for news, and the set that mends it is newer than all that products have seen.
func TestOlderKeyFolder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	old := filepath.Join(t.TempDir(), "keys")
	w.must(copyFolder(old, w.ring.Dir()), "")
	w.pass(time.Hour)
	requested := w.signSet("primary", w.clock()) // has the number of the one that is installed instead
	w.installKeysAt(w.clock())
	w.pass(time.Hour)
	w.installKeysAt(w.clock())
	if warnings, err := w.a.KeyWarnings(t.Context()); err != nil || len(warnings) != 0 {
		t.Fatalf("warnings %+v, %v", warnings, err)
	}
	lost := w.ring.KeySet()
	installed := len(w.eventsOf(license.ActionKeysInstall))

	ring, err := keys.Open(old, keys.Options{Issuer: issuer})
	w.must(err, "")
	w.ring = ring
	w.again(func(o *authority.Options) { o.Custody, o.Codes = custody{Ring: ring}, ring.CodeKey() })
	warnings, err := w.a.KeyWarnings(t.Context())
	if err != nil || len(warnings) != 1 || warnings[0].Kind != authority.KeyWarnFolder || !strings.Contains(warnings[0].Text, "holds key set no. 1, and no. 3 is in force") {
		t.Fatalf("warnings %+v, %v", warnings, err)
	}
	is := w.issue()
	w.must(w.install("machine-1").activate(is.Code), license.ReadOnly)
	if err := w.a.Ready(t.Context()); !errors.Is(err, authority.ErrKeys) || w.state(is.License.ID) != license.StateIssued {
		t.Errorf("ready: %v", err)
	}
	_, err = w.a.InstallKeySet(t.Context(), admin, requested)
	w.must(err, license.Conflict)
	if n := len(w.eventsOf(license.ActionKeysInstall)); n != installed {
		t.Errorf("%d installations were recorded", n-installed)
	}
	w.installKeysAt(w.clock())
	if set := w.ring.KeySet(); !set.Newer(lost) {
		t.Errorf("the set that mends it has seq %d, the lost one %d", set.Seq, lost.Seq)
	}
	if warnings, err := w.a.KeyWarnings(t.Context()); err != nil || len(warnings) != 0 {
		t.Errorf("warnings %+v, %v", warnings, err)
	}
}
