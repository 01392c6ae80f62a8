package authority

import (
	"context"
	"fmt"
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
	// Keys lists the keys of the set in force.
	Keys() []KeyInfo
	// Rotate moves to the next key and destroys the private half of the last.
	Rotate(now time.Time) (Rotated, error)
	// Propose makes the next key set, unsigned, for an anchor to sign offline,
	// without the keys whose ids are in revoke.
	Propose(now time.Time, revoke ...string) ([]byte, error)
	// Install puts a signed key set in force.
	Install(raw string, now time.Time) error
}

// KeyInfo is one key of the set in force.
type KeyInfo struct {
	ID        string
	Role      string // current, next or retired
	NotBefore time.Time
	NotAfter  time.Time
	Private   bool // its private half is here
}

// Rotated says which key signs from now on.
type Rotated struct {
	Current string
	Retired string
	HasNext bool
	// Leftover are files with private halves that should have been destroyed
	// and could not be.
	Leftover []string
}

// Anchors are the public halves that products compile in, primary first.
func (a *Authority) Anchors() token.Anchors { return a.custody.Anchors() }

// Keys lists the keys of the set in force.
func (a *Authority) Keys() []KeyInfo { return a.custody.Keys() }

// RotateKeys moves to the next signing key.
func (a *Authority) RotateKeys(ctx context.Context, actor license.Actor) (Rotated, error) {
	now, err := a.dated(ctx)
	if err != nil {
		return Rotated{}, err
	}
	r, err := a.custody.Rotate(now)
	if err != nil {
		return Rotated{}, fmt.Errorf("rotate the signing key: %w", err)
	}
	return r, a.auditKeys(ctx, actor, now, license.ActionKeysRotate, map[string]any{"current": r.Current, "retired": r.Retired})
}

// ProposeKeySet makes the next key set, unsigned. It leaves out the keys whose
// ids are in revoke: once the set is installed, all that they have signed is
// refused by whoever has heard of it.
func (a *Authority) ProposeKeySet(ctx context.Context, actor license.Actor, revoke ...string) ([]byte, error) {
	now, err := a.dated(ctx)
	if err != nil {
		return nil, err
	}
	unsigned, err := a.custody.Propose(now, revoke...)
	if err != nil {
		return nil, fmt.Errorf("propose a key set: %w", err)
	}
	var after map[string]any
	if len(revoke) > 0 {
		after = map[string]any{"revoke": revoke}
	}
	return unsigned, a.auditKeys(ctx, actor, now, license.ActionKeysRequested, after)
}

// InstallKeySet puts a signed key set in force.
func (a *Authority) InstallKeySet(ctx context.Context, actor license.Actor, raw string) error {
	now, err := a.dated(ctx)
	if err != nil {
		return err
	}
	if err := a.custody.Install(raw, now); err != nil {
		return fmt.Errorf("install a key set: %w", err)
	}
	a.lists.signAgain(ctx)
	return a.auditKeys(ctx, actor, now, license.ActionKeysInstall, map[string]any{"seq": a.custody.KeySet().Seq})
}

func (a *Authority) auditKeys(ctx context.Context, actor license.Actor, now time.Time, action license.Action, after map[string]any) error {
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Append(ctx, license.AuditEvent{At: now, Actor: actor, Action: action, After: after})
		return err
	})
	if err != nil {
		return fmt.Errorf("it was done, but the audit log could not be written: %w", err)
	}
	return nil
}
