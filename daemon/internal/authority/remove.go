package authority

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// RemoveInstall ends one install of the licence that ref names, by id or by
// code: its key is dead, its place in the status list says so, and where it was
// the last of its machine the seat is free. It reports false for an install
// that has ended already, and NotFound for one that there is not.
func (a *Authority) RemoveInstall(ctx context.Context, actor license.Actor, ref, installID, reason string) (i license.Install, changed bool, err error) {
	now, err := a.dated(ctx)
	if err != nil {
		return license.Install{}, false, err
	}
	if err := plain("reason", reason, 512); err != nil {
		return license.Install{}, false, err
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		changed = false
		l, err := a.find(ctx, tx, ref)
		if err != nil {
			return err
		}
		i, err = tx.Install(ctx, l.ID, installID)
		if errors.Is(err, license.NotFound) {
			return license.Errorf(license.NotFound, "the licence has no such install")
		}
		if err != nil || i.State != license.InstallLive {
			return err
		}
		i.State, i.EndedAt, i.Answer, changed = license.InstallRemoved, now, nil, true
		if err := tx.UpdateInstall(ctx, i); err != nil {
			return fmt.Errorf("remove an install of %s: %w", l.ID, err)
		}
		_, err = tx.Append(ctx, license.AuditEvent{
			At: now, Actor: actor, Action: license.ActionRemove, License: l.ID, Install: i.ID, Product: l.Product,
			After: map[string]any{"state": i.State}, Note: reason,
		})
		return err
	})
	if err != nil {
		return license.Install{}, false, err
	}
	return i, changed, nil
}
