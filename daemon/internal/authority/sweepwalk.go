package authority

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// begins reports whether a walk has something to do, be it to go on or to begin
// again, and the state with which it does.
func (s sweepState) begins(now time.Time) (sweepState, bool) {
	if !s.Done && !s.BegunAt.IsZero() {
		return s, true
	}
	if now.Sub(s.BegunAt).Abs() < sweepRound {
		return s, false
	}
	return sweepState{BegunAt: now, raw: s.raw}, true
}

// silent ends installs that were not seen for so long that their product gives
// their seat up (Product.Silent), in a walk through all licences once a day.
func (w *sweep) silent(ctx context.Context) (more bool, err error) {
	if !w.a.releases() {
		return false, nil
	}
	var was, is sweepState
	var found []license.Install
	begun := false
	err = w.a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		found = nil
		if was, err = readSweep(ctx, tx, sweepSilent); err != nil {
			return err
		}
		if is, begun = was.begins(w.now); !begun {
			return nil
		}
		page, next, err := tx.Licenses(ctx, store.Filter{}, store.Page{Limit: sweepPage, Cursor: is.Cursor})
		if errors.Is(err, license.BadRequest) && is.Cursor != "" {
			page, next, err = tx.Licenses(ctx, store.Filter{}, store.Page{Limit: sweepPage})
		}
		if err != nil {
			return err
		}
		for _, l := range page {
			if w.a.products[l.Product].ReleaseAfter == 0 {
				continue
			}
			if l.ActivatedAt.IsZero() || l.StateAt(w.now).Refusal() != "" {
				continue // it has no installs, or they cannot be seen
			}
			installs, err := tx.LiveInstalls(ctx, l.ID)
			if err != nil {
				return err
			}
			for _, i := range installs {
				if w.a.products[l.Product].Silent(l, w.a.asRestored(l, i), w.now) {
					found = append(found, i)
				}
			}
		}
		is.Cursor, is.Done = next, next == ""
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", sweepSilent, err)
	}
	if !begun {
		return false, nil
	}
	if len(found) > sweepBatch { // the page is looked at again for the others
		found, is = found[:sweepBatch], was
		is, _ = is.begins(w.now)
	}
	err = w.step(ctx, sweepSilent, was, is, func(ctx context.Context, tx store.Tx) (did Swept, err error) {
		for _, i := range found {
			done, err := w.release(ctx, tx, i)
			if err != nil {
				return did, err
			}
			if done {
				did.Released++
			}
		}
		return did, nil
	})
	return !is.Done, err
}

// releases reports whether any product gives up the seats of silent installs.
func (a *Authority) releases() bool {
	for _, p := range a.products {
		if p.ReleaseAfter > 0 {
			return true
		}
	}
	return false
}

// release ends an install that is still silent.
func (w *sweep) release(ctx context.Context, tx store.Tx, seen license.Install) (bool, error) {
	l, err := tx.License(ctx, seen.LicenseID)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", seen.LicenseID, err)
	}
	i, err := tx.Install(ctx, l.ID, seen.ID)
	if err != nil {
		return false, fmt.Errorf("read an install of %s: %w", l.ID, err)
	}
	if !w.a.products[l.Product].Silent(l, w.a.asRestored(l, i), w.now) {
		return false, nil
	}
	i.State, i.EndedAt, i.Answer = license.InstallReleased, w.now, nil
	if err := tx.UpdateInstall(ctx, i); err != nil {
		return false, fmt.Errorf("release an install of %s: %w", l.ID, err)
	}
	_, err = tx.Append(ctx, license.AuditEvent{
		At: w.now, Actor: sweeper, Action: license.ActionInstallRelease, License: l.ID, Install: i.ID, Product: l.Product,
		After: map[string]any{"state": i.State, "seen_at": instant(i.SeenAt)},
	})
	if err != nil {
		return false, fmt.Errorf("audit %s: %w", license.ActionInstallRelease, err)
	}
	return true, nil
}

// transfers forgets the moves that nobody waits for any more.
func (w *sweep) transfers(ctx context.Context) (bool, error) {
	return w.forget(ctx, transferPrefix, func(ctx context.Context, tx store.Tx, v store.Value) (int, error) {
		return dropTransfers(ctx, tx, strings.TrimPrefix(v.Name, transferPrefix), w.now)
	})
}

// trials forgets machines that had a trial long ago.
func (w *sweep) trials(ctx context.Context) (bool, error) {
	return w.forget(ctx, trialPrefix, func(ctx context.Context, tx store.Tx, v store.Value) (int, error) {
		product, _, _ := strings.Cut(strings.TrimPrefix(v.Name, trialPrefix), "/")
		m, err := parseValue[license.TrialMark](v)
		if err != nil {
			return 0, err
		}
		p := w.a.products[product] // one that is gone remembers nothing
		if len(m.Remembered(p.Trial.Remember, w.now).Had) == len(m.Had) && len(m.Had) > 0 {
			return 0, nil
		}
		if m, err = readValue[license.TrialMark](ctx, tx, v.Name); err != nil { // there may have been one meanwhile
			return 0, err
		}
		if m = m.Remembered(p.Trial.Remember, w.now); len(m.Had) == 0 {
			return 1, tx.SetValue(ctx, v.Name, nil)
		}
		return 0, writeValue(ctx, tx, v.Name, m)
	})
}

// forget walks once a day through the values of a prefix and has drop remove what
// is over in each.
func (w *sweep) forget(ctx context.Context, prefix string, drop func(context.Context, store.Tx, store.Value) (int, error)) (more bool, err error) {
	name := sweepForget + strings.TrimSuffix(prefix, "/")
	var was, is sweepState
	var page []store.Value
	begun := false
	err = w.a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		if was, err = readSweep(ctx, tx, name); err != nil {
			return err
		}
		if is, begun = was.begins(w.now); !begun {
			return nil
		}
		var next string
		page, next, err = tx.Values(ctx, prefix, store.Page{Limit: sweepPage, Cursor: is.Cursor})
		is.Cursor, is.Done = next, next == ""
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", name, err)
	}
	if !begun {
		return false, nil
	}
	err = w.step(ctx, name, was, is, func(ctx context.Context, tx store.Tx) (did Swept, err error) {
		for _, v := range page {
			n, err := drop(ctx, tx, v)
			if err != nil {
				return did, err
			}
			did.Forgotten += n
		}
		return did, nil
	})
	return !is.Done, err
}
