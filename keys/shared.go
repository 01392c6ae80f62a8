package keys

import (
	"bytes"
	"crypto"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Standing is which keys are in force: what several daemons have in common, each
// with a folder of its own. It holds no secret. Who keeps it for them all changes
// it first, by one step that only one of them can make, and then has each Ring
// follow it.
type Standing struct {
	Current string // kid of the key that signs, as State says too
	State   []byte // as state.json, without what is to be destroyed in one folder
	Set     []byte // the token of the key set in force
}

// Equal reports whether both are the same, byte for byte.
func (s Standing) Equal(o Standing) bool {
	return bytes.Equal(s.State, o.State) && bytes.Equal(s.Set, o.Set)
}

// Standing returns what this folder says.
func (r *Ring) Standing() (Standing, error) {
	v := r.view.Load()
	return standing(v.state, v.set)
}

func standing(s state, set token.KeySet) (Standing, error) {
	s.Destroy = nil
	b, err := s.marshal()
	return Standing{Current: s.Current, State: b, Set: []byte(set.Raw)}, err
}

// Stands places what this folder says against s: below zero where the folder is
// older, zero where both are the same, above where it is newer. Of one key set that
// is newer by which the current key of the other is retired. It is license.Damaged
// where s does not verify under the anchors, and license.Conflict where neither
// comes before the other: two folders were changed apart.
func (r *Ring) Stands(s Standing) (int, error) {
	o, err := r.view.Load().parse(s)
	if err != nil {
		return 0, err
	}
	return r.view.Load().stands(o)
}

// parsed is a Standing whose key set verifies and is the one that its state names.
type parsed struct {
	state state
	set   token.KeySet
}

func (v *view) parse(s Standing) (p parsed, err error) {
	const what = "what was noted of the keys in force"
	if p.state, err = parseState(what, s.State); err != nil {
		return p, err
	}
	if p.set, err = token.VerifyKeySet(strings.TrimSpace(string(s.Set)), v.anchors); err != nil {
		return p, damaged(what, "its key set does not verify under the anchors").WithCause(err)
	}
	c, err := p.state.compare(p.set, v.anchors)
	if err != nil || c != 0 || !slices.Equal(p.state.Listed, kids(p.set)) || !slices.Contains(p.state.Listed, p.state.Current) {
		return p, damaged(what, "its key set is not the one that it names").WithCause(err)
	}
	return p, nil
}

func (v *view) stands(o parsed) (int, error) {
	c, err := v.state.compare(o.set, v.anchors)
	if err != nil || c != 0 || v.state.Current == o.state.Current {
		return -c, err
	}
	_, gone := o.state.retiredAt(v.state.Current)
	_, come := v.state.retiredAt(o.state.Current)
	switch {
	case gone && !come:
		return -1, nil
	case come && !gone:
		return 1, nil
	}
	return 0, license.Errorf(license.Conflict,
		"the keys were changed in two places apart: %s signs by this folder, %s by what was noted, both under key set no. %d", v.state.Current, o.state.Current, o.set.Seq)
}

// Follow brings the folder in step with s, where that is newer, and reports whether
// the folder has changed, by that or by another process. Private halves that s has retired or revoked are destroyed. What
// s needs and is not here is the private half of its current key: then nothing is
// changed, with the reason license.NotFound.
//
// Several Rings on one folder may follow the same Standing at the same time.
func (r *Ring) Follow(s Standing) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed, err := r.refresh()
	if err != nil {
		return false, err
	}
	v := r.view.Load()
	o, err := v.parse(s)
	if err != nil {
		return changed, err
	}
	if c, err := v.stands(o); err != nil || c >= 0 {
		return changed, err
	}
	if err := r.folder.checkIssuer("the key set in force", o.set); err != nil {
		return false, err
	}
	private, err := r.folder.listPrivate() // which may be more than when the folder was read
	if err != nil {
		return false, err
	}
	if !slices.Contains(private, o.state.Current) {
		return false, license.Errorf(license.NotFound,
			"the private half of the signing key in force, %s, is not here", o.state.Current)
	}
	n := o.state.inFolder(v.state, private)
	if err := r.folder.loadKeys(&view{set: o.set, state: n, private: private}); err != nil {
		return false, err
	}
	return true, r.install(judged{set: o.set, state: n})
}

// Ends lists the keys at hand whose private halves Follow would destroy.
func (r *Ring) Ends(s Standing) ([]string, error) {
	v := r.view.Load()
	o, err := v.parse(s)
	if err != nil {
		return nil, err
	}
	return o.state.inFolder(v.state, v.private).Destroy, nil
}

// inFolder returns s with what is to be destroyed in a folder that stood at was and
// holds the given private halves.
func (s state) inFolder(was state, private []string) state {
	n := s
	n.Destroy = nil
	for _, kid := range private {
		_, retired := s.retiredAt(kid)
		unlisted := slices.Contains(was.Listed, kid) && !slices.Contains(s.Listed, kid)
		if retired || unlisted || slices.Contains(was.Destroy, kid) {
			n.Destroy = append(n.Destroy, kid)
		}
	}
	return n
}

// PlanRotation returns what Rotate would put in force at now, and changes nothing:
// Follow does. It tries the next key, and is refused as Rotate is.
func (r *Ring) PlanRotation(now time.Time) (Standing, error) {
	now = atSecond(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.refresh(); err != nil {
		return Standing{}, fmt.Errorf("rotate: %w", err)
	}
	v := r.view.Load()
	if err := v.tryNext(now); err != nil {
		return Standing{}, err
	}
	return standing(v.state.rotated(v.next.ID, now, v.private), v.set)
}

// PlanInstall returns what Install would put in force at now, and changes nothing:
// Follow does. It is refused as Install is.
func (r *Ring) PlanInstall(raw string, now time.Time) (Standing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j, err := r.judge(raw, now)
	if err != nil {
		return Standing{}, err
	}
	return standing(j.state, j.set)
}

// tryNext refuses a rotation to a key that cannot sign: the key that is given up
// can be used, and the one that takes its place has to show it.
func (v *view) tryNext(now time.Time) error {
	if err := v.checkNext(now); err != nil {
		return err
	}
	if _, err := v.next.Signer.Sign(nil, []byte(probe), crypto.Hash(0)); err != nil {
		return fmt.Errorf("try the next key: %w", err)
	}
	return nil
}

// Bundle is all of a key folder that a daemon needs to serve. What is secret in it
// is sealed to the identity, which is no part of it; nor is an anchor's private half.
type Bundle struct {
	Standing Standing
	Anchors  []byte            // anchors.json, nil where the folder has none
	DataKey  []byte            // sealed
	Private  map[string][]byte // sealed private halves of signing keys, by kid; those of a Keystore are not among them
}

// Bundle returns what lies in the folder, without what is to be destroyed.
func (r *Ring) Bundle() (b Bundle, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f, v := r.folder, r.view.Load()
	if b.Standing, err = standing(v.state, v.set); err != nil {
		return b, err
	}
	if b.DataKey, err = readFile(filepath.Join(f.dir, dataKeyFile), secret); err != nil {
		return b, err
	}
	if b.Anchors, err = token.MarshalAnchors(v.anchors); err != nil {
		return b, err
	}
	b.Private = make(map[string][]byte)
	files, err := f.fileKIDs()
	if err != nil {
		return b, err
	}
	for _, kid := range files {
		if slices.Contains(v.state.Destroy, kid) {
			continue
		}
		if _, retired := v.state.retiredAt(kid); retired {
			continue
		}
		if b.Private[kid], err = readFile(keyPath(f.dir, kid), secret); err != nil {
			return b, err
		}
	}
	return b, nil
}

// TakePrivate puts the sealed private half of a signing key into the folder, where
// there is none of it yet, and reports whether it did. One that was retired, revoked
// or given up here is not taken, and one that is not the key kid is refused with
// license.Damaged.
func (r *Ring) TakePrivate(kid string, sealed []byte) (bool, error) {
	if !isKID(kid) {
		return false, errNoKID()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	f, v := r.folder, r.view.Load()
	_, retired := v.state.retiredAt(kid)
	if found, err := exists(keyPath(f.dir, kid)); err != nil || found || retired || slices.Contains(v.state.Destroy, kid) {
		return false, err
	}
	if err := f.takePrivate(kid, sealed); err != nil {
		return false, err
	}
	return true, r.read()
}

func errNoKID() error {
	return license.Errorf(license.Damaged, "the private half of a key is there under what is not a key id")
}

func (f *folder) takeNamed(kid string, sealed []byte) error {
	if !isKID(kid) {
		return errNoKID()
	}
	return f.takePrivate(kid, sealed)
}

func (f *folder) takePrivate(kid string, sealed []byte) error {
	what := "the sealed private half of " + kid
	plain, err := f.vault.unseal(what, sealed)
	if err != nil {
		return err
	}
	defer clear(plain)
	s, err := parsePrivatePEM(what, plain)
	if err != nil {
		return err
	}
	if token.Thumbprint(s.public) != kid {
		return damaged(what, "it holds another key")
	}
	return f.disk.write(keyPath(f.dir, kid), sealed, secretPerm)
}

// Unpack makes a key folder at dir of a bundle. An identity that opens it has to be
// there (Options.Identity, or in dir), and nothing else but that; license.NotFound
// where it is not, license.Damaged where it does not open what is sealed. A folder
// that is not whole when it is broken off has no key set, and can be unpacked again.
// Of the private halves only that of the current key has to be whole.
func Unpack(dir string, b Bundle, o Options) error { return unpackWith(disk{}, dir, b, o) }

func unpackWith(d disk, dir string, b Bundle, o Options) (err error) {
	f := newFolder(d, filepath.Clean(dir), o)
	for _, sub := range []string{"", signingDir} {
		if err := d.mkdir(filepath.Join(dir, sub)); err != nil {
			return err
		}
	}
	if found, err := exists(filepath.Join(dir, keySetFile)); err != nil || found {
		if err == nil {
			err = license.Errorf(license.Conflict, "%s holds keys already, which are never overwritten", dir)
		}
		return err
	}
	if f.vault, err = o.openVault(dir); err != nil {
		return err
	}
	plain, err := f.vault.unseal(filepath.Join(dir, dataKeyFile), b.DataKey)
	if err != nil {
		return err
	}
	clear(plain)
	for kid, sealed := range b.Private {
		err := f.takeNamed(kid, sealed)
		if license.ReasonOf(err) == license.Damaged && kid != b.Standing.Current {
			continue // it is missing here, as in a folder that is behind
		}
		if err != nil {
			return err
		}
	}
	for _, file := range []struct {
		name string
		data []byte
		perm exposure
	}{{dataKeyFile, b.DataKey, secret}, {anchorsFile, b.Anchors, public}, {stateFile, b.Standing.State, secret}, {keySetFile, append(bytes.TrimSpace(b.Standing.Set), '\n'), public}} {
		perm := publicPerm
		if file.perm == secret {
			perm = secretPerm
		}
		if err := d.write(filepath.Join(dir, file.name), file.data, perm); err != nil {
			return err
		}
	}
	return nil
}
