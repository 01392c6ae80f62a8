package authority

import (
	"context"
	"fmt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Copied records that somebody is handed a copy of everything that the store
// holds: action is license.ActionBackup or ActionDump. Copies are made under any
// clock, since a wrong one is when they may be wanted most.
func (a *Authority) Copied(ctx context.Context, actor license.Actor, action license.Action) error {
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Append(ctx, license.AuditEvent{At: a.now(), Actor: actor, Action: action})
		return err
	})
	if err != nil {
		return fmt.Errorf("record that the store is copied: %w", err)
	}
	return nil
}
