package authority

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// Custody keeps the signing keys: it signs, and it can be told to change them.
// Anchors are never needed for any of it.
type Custody interface {
	// Current returns the key that signs and the set that vouches for it,
	// both of the same moment.
	Current() (token.SigningKey, token.KeySet)
	// KeySet returns the set in force.
	KeySet() token.KeySet
	// Anchors are the public halves that products compile in, primary first.
	Anchors() token.Anchors
	// Keys lists the keys of the set in force, and those that were made for the
	// next one.
	Keys() []KeyInfo
	// Standing says what the keeper of the keys has to know at now.
	Standing(now time.Time) KeyStanding
	// Signs returns nil where the current key could be used when it was used last;
	// else it tries again, and returns why it cannot.
	Signs() error
	// Reload reads what another process has changed, and reports whether it had.
	Reload() (bool, error)
	// Propose makes the next key set, unsigned, for an anchor to sign offline,
	// without the keys whose ids are in revoke.
	Propose(now time.Time, revoke ...string) ([]byte, error)
	// InForce says which keys are in force by what is here.
	InForce() (KeysInForce, error)
	// Stands places what is here against what was noted: below zero where it is older,
	// above where it is newer. It fails where the two do not belong together.
	Stands(noted KeysInForce) (int, error)
	// Follow brings what is here in step with what was noted, where that is newer, and
	// destroys the private halves that it has retired or revoked. The reason is
	// NotFound where the private half of the current key is not here.
	Follow(noted KeysInForce) (bool, error)
	// Ends lists the keys at hand whose private halves Follow would destroy.
	Ends(noted KeysInForce) ([]string, error)
	// PlanRotation returns what a rotation to the next key would put in force, which
	// Follow does then.
	PlanRotation(now time.Time) (KeysInForce, error)
	// PlanInstall returns what a signed key set would put in force.
	PlanInstall(raw string, now time.Time) (KeysInForce, error)
	// Sealed returns what another daemon needs to serve with these keys, beside the
	// identity that opens it.
	Sealed() (SealedKeys, error)
	// TakePrivate takes the sealed private half of a key that is not here yet, and
	// reports whether it did: not one that was retired or revoked.
	TakePrivate(kid string, sealed []byte) (bool, error)
	// TryInstall judges one as Install does, and changes nothing. It returns the
	// set, and the id of the key that would sign under it.
	TryInstall(raw string, now time.Time) (set token.KeySet, current string, err error)
}

// Roles of keys.
const (
	RoleCurrent = "current" // signs
	RoleNext    = "next"    // rotations move to it, to the first of several
	RoleRetired = "retired" // listed for what it has signed
	RolePending = "pending" // made for a set that is not installed yet
	RoleAnchor  = "anchor"  // no signing key: it signs the sets
)

// KeyInfo is one key of the set in force.
type KeyInfo struct {
	ID        string
	Role      string // current, next, retired or pending
	NotBefore time.Time
	NotAfter  time.Time
	Private   bool // its private half is here
}

// KeyStanding is how the keys stand at some time.
type KeyStanding struct {
	SetUntil     time.Time // after it verifiers want a newer set
	CurrentSince time.Time
	CurrentUntil time.Time // from then on verifiers refuse what the current key signs
	Next         string    // "" where there is none to rotate to
	Ahead        int       // how many rotations need no anchor
	Fault        string    // why the current key could not be used when it was used last
	Leftover     []string  // places of private halves that should have been destroyed and could not be
	Lacking      []string  // keys to rotate to whose private halves are not here
}

// KeysInForce are the keys in force as all daemons on a store have to see them. It
// holds no secret.
type KeysInForce struct {
	Current string          `json:"-"`     // kid
	State   json.RawMessage `json:"state"` // as the keeper of the keys writes it
	Set     string          `json:"set"`   // the token of the key set
}

// SealedKeys is what a daemon needs to serve, beside the identity that opens what is
// sealed in it.
type SealedKeys struct {
	InForce KeysInForce
	Anchors []byte            // their public halves
	DataKey []byte            // sealed
	Private map[string][]byte // sealed, by kid
}

// Rotated says which key signs from now on.
type Rotated struct {
	Current string
	Retired string
	HasNext bool
	// Leftover are places of private halves that should have been destroyed
	// and could not be.
	Leftover []string
}

// Anchors are the public halves that products compile in, primary first.
func (a *Authority) Anchors() token.Anchors { return a.custody.Anchors() }

// Keys lists the keys of the set in force, and those made for the next one.
func (a *Authority) Keys() []KeyInfo { return a.custody.Keys() }

// RotateKeys moves to the next signing key. One that is being revoked itself is
// refused with Conflict: it would be signed with what somebody else holds.
func (a *Authority) RotateKeys(ctx context.Context, actor license.Actor) (Rotated, error) {
	now, err := a.dated(ctx)
	if err != nil {
		return Rotated{}, err
	}
	if err := a.nextIsGood(ctx, now); err != nil {
		return Rotated{}, err
	}
	if DryRun(ctx) {
		return a.wouldRotate(now)
	}
	return a.rotate(ctx, actor, now)
}

// nextIsGood refuses to rotate to a key that is being revoked.
func (a *Authority) nextIsGood(ctx context.Context, now time.Time) error {
	next := a.custody.Standing(now).Next
	if next == "" {
		return nil // the custody says so
	}
	marked, err := a.Revocations(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(marked, func(r KeyRevocation) bool { return r.KID == next }) {
		return license.Errorf(license.Conflict, "the next key, %s, is being revoked itself: have a key set without it signed and install it", next)
	}
	return nil
}

// ProposeKeySet makes the next key set, unsigned. It leaves out the keys that are
// being revoked, and those whose ids are in revoke: once the set is installed, all
// that they have signed is refused by whoever has heard of it.
func (a *Authority) ProposeKeySet(ctx context.Context, actor license.Actor, revoke ...string) ([]byte, error) {
	now, err := a.dated(ctx)
	if err != nil {
		return nil, err
	}
	was, err := a.catchUp(ctx)
	if err != nil {
		return nil, err
	}
	marked, err := a.Revocations(ctx)
	if err != nil {
		return nil, err
	}
	here := a.custody.Keys()
	for _, r := range marked {
		known := slices.ContainsFunc(here, func(k KeyInfo) bool { return k.ID == r.KID })
		if r.Role != RoleAnchor && known && !slices.Contains(revoke, r.KID) {
			revoke = append(slices.Clone(revoke), r.KID)
		}
	}
	unsigned, err := a.custody.Propose(now, revoke...)
	if err != nil {
		return nil, fmt.Errorf("propose a key set: %w", err)
	}
	if unsigned, err = a.newerThanNoted(ctx, unsigned); err != nil {
		return nil, fmt.Errorf("propose a key set: %w", err)
	}
	var after map[string]any
	if len(revoke) > 0 {
		after = map[string]any{"revoke": revoke}
	}
	made, err := a.sealedHere() // the keys that were made for it, too
	if err != nil {
		return nil, fmt.Errorf("propose a key set: %w", err)
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		noted, err := readValue[notedKeys](ctx, tx, keysNoted)
		if err != nil {
			return err
		}
		if made != nil && !noted.same(was) { // what that has destroyed is not given back to the store
			return changedMeanwhile()
		}
		if err := putSealed(ctx, tx, made); err != nil {
			return err
		}
		_, err = tx.Append(ctx, license.AuditEvent{At: now, Actor: actor, Action: license.ActionKeysRequested, After: after})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("propose a key set: %w", err)
	}
	return unsigned, nil
}

// InstalledKeys is a key set that was put in force, or would be, and its keys.
type InstalledKeys struct {
	Seq       int64
	ExpiresAt time.Time
	Keys      []KeyInfo
}

// InstallKeySet puts a signed key set in force. One that lists a key which is
// being revoked, or that is signed by such an anchor, is refused with Conflict.
func (a *Authority) InstallKeySet(ctx context.Context, actor license.Actor, raw string) (InstalledKeys, error) {
	now, err := a.dated(ctx)
	if err != nil {
		return InstalledKeys{}, err
	}
	if err := a.endsMarked(ctx, raw); err != nil {
		return InstalledKeys{}, err
	}
	if !DryRun(ctx) {
		if err := a.noteKeys(ctx, systemKeys, now); err != nil { // what was in force until now
			return InstalledKeys{}, err
		}
	}
	from, err := a.catchUp(ctx)
	if err != nil {
		return InstalledKeys{}, err
	}
	if DryRun(ctx) {
		return a.wouldInstall(raw, now)
	}
	if err := a.replacesNoted(ctx, raw); err != nil {
		return InstalledKeys{}, err
	}
	plan, err := a.custody.PlanInstall(raw, now)
	if err != nil {
		return InstalledKeys{}, fmt.Errorf("install a key set: %w", err)
	}
	if _, err = a.putInForce(ctx, actor, now, from, plan); err == nil {
		err = a.follow(ctx, plan)
	}
	if err != nil {
		return InstalledKeys{}, fmt.Errorf("install a key set: %w", err)
	}
	a.lists.signAgain(ctx)
	set := a.custody.KeySet()
	return InstalledKeys{Seq: set.Seq, ExpiresAt: set.ExpiresAt, Keys: a.custody.Keys()}, nil
}
