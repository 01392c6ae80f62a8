package authority

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

const healthTold = "health.told/"

// NoteHealth records that a marketplace entry began to fail, or does so no more:
// once for each change.
func (a *Authority) NoteHealth(ctx context.Context, h Health) error {
	failing := h.Level() == LevelFail
	was := func(ctx context.Context, tx store.Tx) (bool, error) {
		_, err := tx.Value(ctx, healthTold+h.Channel)
		if errors.Is(err, license.NotFound) {
			return false, nil
		}
		return err == nil, err
	}
	var before bool
	err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		before, err = was(ctx, tx)
		return err
	})
	if err != nil || before == failing {
		return err
	}
	codes := []ProblemCode{}
	for _, p := range h.Problems {
		if p.Level == LevelFail {
			codes = append(codes, p.Code)
		}
	}
	return a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		before, err := was(ctx, tx)
		if err != nil || before == failing {
			return err
		}
		var mark []byte
		if failing {
			mark = []byte("failing")
		}
		if err := tx.SetValue(ctx, healthTold+h.Channel, mark); err != nil {
			return fmt.Errorf("record how %s is doing: %w", h.Channel, err)
		}
		_, err = tx.Append(ctx, license.AuditEvent{
			At: a.now(), Actor: license.Actor{Kind: license.ActorSystem, Name: "marketplace"}, Action: license.ActionMarketplaceHealth,
			Before: map[string]any{"failing": before},
			After:  map[string]any{"marketplace": h.Channel, "failing": failing, "problems": codes},
		})
		return err
	})
}
