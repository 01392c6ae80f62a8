package keys

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

const (
	// maxKeys is the most that a verifier reads of a key set, which travels in every
	// licence file.
	maxKeys = 64
	// MaxAhead is the most that Options.Ahead may be: each key is in every licence file.
	MaxAhead = 8
)

// ProposeKeySet returns the next key set, unsigned, for an anchor to sign
// offline. It lists the current key, the next one, and the retired ones, as valid
// until ten minutes after their retirement; the keys named by revoke are left
// out, which revokes them and all that they have signed once the set is installed. Where a key to sign
// or to rotate to would be missing, a new one is made and stored, or one that an
// earlier proposal made is taken again, unless revoke names it: then it is
// destroyed at once, as nothing verifies under it. The set in force does not change.
//
// Proposing again is harmless: of several sets with one seq the first that is
// installed counts.
func (r *Ring) ProposeKeySet(now time.Time, revoke ...string) ([]byte, error) {
	now = atSecond(now)
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.refresh(); err != nil {
		return nil, fmt.Errorf("propose a key set: %w", err)
	}
	v := r.view.Load()
	if err := v.checkClock(now); err != nil {
		return nil, err
	}
	for _, kid := range revoke {
		if !slices.Contains(v.state.Listed, kid) && !slices.Contains(v.pending(), kid) {
			return nil, license.Errorf(license.NotFound, "there is no key %s in the key set in force", kid)
		}
	}
	v, err := r.discard(v, revoke)
	if err != nil {
		return nil, fmt.Errorf("propose a key set: %w", err)
	}
	live, retired := v.kept(now, revoke)
	if live, err = r.folder.fill(v, live, now); err != nil {
		return nil, fmt.Errorf("propose a key set: %w", err)
	}
	set := token.KeySet{
		Issuer: v.set.Issuer, IssuedAt: now, ExpiresAt: now.Add(SetLife), Seq: v.state.Seq + 1,
		Keys: slices.Concat(live, retired),
	}
	if len(set.Keys) > maxKeys {
		return nil, license.Errorf(license.Conflict,
			"the key set would list %d keys, more than %d: revoke retired ones under which no licence is in use any more", len(set.Keys), maxKeys)
	}
	if err := r.read(); err != nil { // lists the new private halves
		return nil, fmt.Errorf("propose a key set: %w", err)
	}
	return set.MarshalUnsigned()
}

// discard destroys those of the keys that were made for a set which is not
// installed yet, and returns the view after that.
func (r *Ring) discard(v *view, revoke []string) (*view, error) {
	n := v.state
	for _, kid := range v.pending() {
		if slices.Contains(revoke, kid) {
			n.Destroy = append(slices.Clone(n.Destroy), kid)
		}
	}
	if len(n.Destroy) == len(v.state.Destroy) {
		return v, nil
	}
	if err := r.folder.writeState(n); err != nil {
		_, _ = r.refresh() // the file may be in place all the same
		return nil, err
	}
	if err := r.read(); err != nil {
		return nil, err
	}
	return r.view.Load(), nil
}

// kept returns the keys of the set in force that stay: those that can sign, the
// current one first, with a longer life, and the others, which end where they
// were retired.
func (v *view) kept(now time.Time, revoke []string) (live, retired []token.Key) {
	for _, k := range v.set.Keys {
		switch {
		case slices.Contains(revoke, k.ID):
		case v.state.usable(k.ID, v.private):
			if end := now.Add(keyLife); end.After(k.NotAfter) {
				k.NotAfter = end
			}
			if k.ID == v.state.Current {
				live = slices.Insert(live, 0, k)
			} else {
				live = append(live, k)
			}
		default:
			at, ok := v.state.retiredAt(k.ID)
			if end := at.Add(slack); ok && end.Before(k.NotAfter) && end.After(k.NotBefore) {
				k.NotAfter = end
			}
			retired = append(retired, k)
		}
	}
	return live, retired
}

// fill adds keys until there are enough that can sign.
func (f *folder) fill(v *view, live []token.Key, now time.Time) ([]token.Key, error) {
	for _, kid := range v.pending() {
		if len(live) > f.ahead {
			break
		}
		s, err := f.openSigningKey(kid)
		if err != nil {
			return nil, err
		}
		live = append(live, newKey(s.Signer.Public().(ed25519.PublicKey), now))
	}
	for len(live) <= f.ahead {
		k, err := f.makeSigningKey(now)
		if err != nil {
			return nil, err
		}
		live = append(live, k)
	}
	return live, nil
}

// Install puts a key set that an anchor has signed into force, durably. The set
// in force itself is accepted again and changes nothing.
//
// The current key stays current where the set lists it. A set that does not has
// revoked it: then the first key that it lists and whose private half is here
// becomes current, usually the next. Private halves of revoked keys are
// destroyed.
//
// It is refused with license.BadRequest when it does not verify, is expired, is
// of another issuer or lists an anchor, with license.Clock when it was made in the future, and
// with license.Conflict when it is not newer than every set that was ever in
// force (a later anchor counts before seq, and ends the earlier ones for good)
// or lists no key that can sign here at now.
func (r *Ring) Install(raw string, now time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	j, err := r.judge(raw, now)
	switch {
	case err != nil:
		return err
	case j.same:
		return r.read() // destroys what could not be destroyed before
	}
	return r.install(j)
}

// TryInstall judges a signed key set as Install does, and changes nothing. It
// returns the set, and the id of the key that would sign under it.
func (r *Ring) TryInstall(raw string, now time.Time) (set token.KeySet, current string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	j, err := r.judge(raw, now)
	return j.set, j.state.Current, err
}

// judged is a key set that can be installed, and the state that follows.
type judged struct {
	set   token.KeySet
	state state
	same  bool // it is the one in force
}

// judge decides under the lock whether a key set can be installed. It opens the
// keys that will sign under it.
func (r *Ring) judge(raw string, now time.Time) (judged, error) {
	raw, now = strings.TrimSpace(raw), atSecond(now)
	if _, err := r.refresh(); err != nil {
		return judged{}, fmt.Errorf("install a key set: %w", err)
	}
	v := r.view.Load()
	set, err := token.VerifyKeySet(raw, v.anchors)
	if err != nil {
		return judged{}, license.FieldErrorf("keyset", "the key set does not verify under the anchors of this server").WithCause(err)
	}
	switch c, err := v.state.compare(set, v.anchors); {
	case err != nil:
		return judged{}, fmt.Errorf("install a key set: %w", err)
	case c == 0:
		return judged{set: v.set, state: v.state, same: true}, nil
	case c < 0:
		return judged{}, v.olderThanMark(set)
	}
	if err := checkInstall(set, v.set.Issuer, now); err != nil {
		return judged{}, err
	}
	if kid := listedAnchor(set, v.anchors); kid != "" {
		return judged{}, license.FieldErrorf("keyset", "the key set lists the anchor %s, and an anchor signs nothing but key sets", kid)
	}
	is, err := v.state.adopt(set, v.anchors, v.private)
	if err != nil {
		return judged{}, err
	}
	if err := checkValid(set, "the key that would sign", is.Current, now); err != nil {
		return judged{}, err
	}
	if err := r.folder.loadKeys(&view{set: set, state: is, private: v.private}); err != nil {
		return judged{}, fmt.Errorf("install a key set: %w", err)
	}
	return judged{set: set, state: is}, nil
}

func (v *view) olderThanMark(set token.KeySet) error {
	if set.Rank < v.set.Rank {
		return license.Errorf(license.Conflict,
			"the key set is signed by an anchor that a later one has replaced (%s); it is refused for good", v.state.Anchor)
	}
	return license.Errorf(license.Conflict, "the key set has seq %d and is not newer than the one in force, seq %d", set.Seq, v.state.Seq)
}

// checkInstall judges what the set says about itself.
func checkInstall(set token.KeySet, issuer string, now time.Time) error {
	switch {
	case set.Issuer != issuer:
		return license.FieldErrorf("keyset", "the key set is for the issuer %q, this server signs as %q", set.Issuer, issuer)
	case set.IssuedAt.After(now.Add(slack)):
		return license.Errorf(license.Clock, "the key set was made in the future, at %s", set.IssuedAt.Format(time.RFC3339))
	case !now.Before(set.ExpiresAt):
		return license.FieldErrorf("keyset", "the key set expired at %s", set.ExpiresAt.Format(time.RFC3339))
	}
	return nil
}

// listedAnchor returns the kid of an anchor that a verified set lists, or "". It
// looks into the token, since verifiers leave such a key out.
func listedAnchor(set token.KeySet, anchors token.Anchors) string {
	var claims struct {
		Keys []struct {
			X any `json:"x"`
		} `json:"keys"`
	}
	_, rest, _ := strings.Cut(set.Raw, ".")
	payload, _, _ := strings.Cut(rest, ".")
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(b, &claims) != nil {
		return "" // it has been verified, so that it can be read
	}
	for _, a := range anchors {
		for _, k := range claims.Keys {
			if k.X == base64.RawURLEncoding.EncodeToString(a) {
				return token.Thumbprint(a)
			}
		}
	}
	return ""
}

// install puts a judged set into force. The set is written first: it lies above
// the mark then, so that a crash before the state is written is carried on by the
// next load.
func (r *Ring) install(j judged) error {
	f := r.folder
	err := f.disk.write(filepath.Join(f.dir, keySetFile), []byte(j.set.Raw+"\n"), publicPerm)
	if err == nil {
		err = f.writeState(j.state)
	}
	if err != nil {
		_, _ = r.refresh() // what was written may be in place all the same
		return fmt.Errorf("install a key set: %w", err)
	}
	if err := r.read(); err != nil {
		return fmt.Errorf("read the keys after the installation: %w", err)
	}
	return nil
}
