package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// markKeptV1 is for how long after it was sent the mark of a call of licence 1.0 is
// kept. A copy of it is welcome for as long as its time window lasts, which is a
// day at most (license_v1_window), and may have been set since the call was taken:
// so it is the widest one, on both sides, with room to spare.
const markKeptV1 = 50 * time.Hour

// MessageV1 applies what a marketplace says of an instance through licence 1.0:
// EventSetExpiry, which lifts the marketplace's hold too, unless a newer message
// has set it, as nothing else there does; EventFreeze; EventRelease. The interface
// knows no nonce, and calls may be repeated as they are: one that was taken before
// is a success without effect. An instance that was not made here is ErrNoInstance.
//
// The end is what the message says. The orders of licence 1.0 are asked of nobody.
func (a *Authority) MessageV1(ctx context.Context, m Message) (Outcome, error) {
	now := a.now()
	index, _, err := a.instanceIndex(m.Channel, m.Instance)
	if err != nil {
		return Outcome{}, err
	}
	var out Outcome
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		out = Outcome{}
		l, err := a.byInstance(ctx, tx, m.Channel, index)
		if errors.Is(err, license.NotFound) {
			return ErrNoInstance
		}
		if err != nil {
			return fmt.Errorf("look an instance up: %w", err)
		}
		switch err := markSeen(ctx, tx, m.ReplayKey, m.SentAt.Add(markKeptV1), now); {
		case errors.Is(err, license.Replayed):
			out.License = l.ID
			return nil
		case err != nil:
			return err
		}
		if out, err = a.hear(ctx, tx, l, m, now); err != nil || m.Event != license.EventSetExpiry || !l.ReleasedAt.IsZero() {
			return err
		}
		if l, err = tx.License(ctx, l.ID); err != nil {
			return err
		}
		if held := l.Heard; !held.Note(license.EventUnfreeze, m.SentAt) {
			return nil // a freeze that is newer stays, and nobody has sent an unfreeze
		}
		lift := m
		lift.Event = license.EventUnfreeze
		lifted, err := a.hear(ctx, tx, l, lift, now)
		out.Changed = out.Changed || lifted.Changed
		return err
	})
	return out, err
}

// byInstance returns the licence that a marketplace means by an instance, or NotFound.
func (a *Authority) byInstance(ctx context.Context, tx store.Tx, channel string, index []byte) (license.License, error) {
	l, err := tx.LicenseByCode(ctx, index)
	if !errors.Is(err, license.NotFound) {
		return l, err
	}
	p, err := tx.Pending(ctx, channel, index)
	if err == nil && p.License == "" {
		err = license.Errorf(license.NotFound, "the instance has no licence yet")
	}
	if err != nil {
		return l, err
	}
	return tx.License(ctx, p.License)
}
