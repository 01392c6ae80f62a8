package authority

import (
	"context"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// restoreTokens ends again the tokens that were revoked since the backup. Where it
// is not known in full what was lost, every token is ended, since any may have been
// revoked; the socket needs none.
func restoreTokens(ctx context.Context, tx store.Tx, lost Lost, now time.Time) error {
	revoked := make(map[string]time.Time)
	for _, m := range lost.Marks {
		if id, _ := m.Facts["token"].(string); m.Action == license.ActionTokenRevoke {
			revoked[id] = m.At
		}
	}
	all, err := tokens(ctx, tx)
	if err != nil {
		return err
	}
	for _, t := range all {
		at, known := revoked[t.ID]
		if !known && !lost.Complete {
			at = now
		}
		if at.IsZero() || !t.RevokedAt.IsZero() {
			continue
		}
		t.RevokedAt = at
		if err := putToken(ctx, tx, t); err != nil {
			return err
		}
		if err := auditTokenRevoke(ctx, tx, now, restorer, t); err != nil {
			return err
		}
	}
	return nil
}
