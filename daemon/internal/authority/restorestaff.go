package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// restoreCallKeys remembers the idempotency keys of calls that were answered after
// the backup: what they made was told, and is not made once more.
func (a *Authority) restoreCallKeys(ctx context.Context, ms []Mark) error {
	keyed := slices.DeleteFunc(slices.Clone(ms), func(m Mark) bool { return m.Key == "" || !m.At.Add(KeyKept).After(a.now()) })
	const batch = 500
	for part := range slices.Chunk(keyed, batch) {
		err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
			for _, m := range part {
				name := keyPrefix + m.Key
				if _, err := tx.Value(ctx, name); !errors.Is(err, license.NotFound) {
					if err != nil {
						return err
					}
					continue // it was used before the backup, or for several changes
				}
				if err := writeValue(ctx, tx, name, keyRecord{At: m.At, Lost: true}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("remember idempotency keys: %w", err)
		}
	}
	return nil
}

// restoreWebhooks leaves endpoints disabled that were, and does not tell what the
// staff had said not to be told.
func restoreWebhooks(ctx context.Context, tx store.Tx, lost Lost) error {
	for _, m := range lost.Marks {
		name, _ := m.Facts["webhook"].(string)
		if name == "" {
			continue
		}
		s, err := readWebhook(ctx, tx, name)
		switch {
		case errors.Is(err, license.NotFound): // it was configured since
			s = WebhookState{After: lost.Head.Seq}
		case err != nil:
			return err
		}
		switch m.Action { //nolint:exhaustive // the others are about no endpoint, or what becomes of them is told anew
		case license.ActionWebhookDisable:
			s.Disabled, s.Down = &WebhookDisabled{At: m.At, Reason: "it was disabled when the store was restored"}, nil
		case license.ActionWebhookEnable:
			s.Disabled = nil
		case license.ActionWebhookSkip:
			after, all := m.number("after")
			if !all {
				continue
			}
			s.After, s.Held = max(s.After, min(after, lost.Head.Seq)), nil
		default:
			continue
		}
		s.Revision++
		if err := writeWebhook(ctx, tx, name, s); err != nil {
			return err
		}
	}
	return nil
}

// number is a fact that is a whole number, and whether there is one.
func (m Mark) number(name string) (int64, bool) {
	switch n := m.Facts[name].(type) {
	case int64: // a mark that was not on disk yet
		return n, true
	case float64:
		return int64(n), true
	}
	return 0, false
}
