package authority

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// MoveOff is a move of a licence that the merchant's staff begins, for a customer
// whose old machine cannot be asked any more.
type MoveOff struct {
	Install string // one on the machine that is left; "" where only one machine has the licence
	Reason  string
	Force   bool // approves what the transfer policy refuses
}

// MovedOff is what came of it.
type MovedOff struct {
	License license.License
	Ended   []license.Install // none where the install had ended already
	Forced  bool              // the transfer policy would have refused it
}

// MoveOff ends the installs on one machine of the licence that ref names, by id or
// by code, and counts that as a move under the product's transfer policy, which may
// refuse it. The next machine then takes the free seat without counting again. A
// floating seat is freed at no cost, as installs do it themselves.
func (a *Authority) MoveOff(ctx context.Context, actor license.Actor, ref string, m MoveOff) (out MovedOff, err error) {
	now, err := a.dated(ctx)
	if err != nil {
		return MovedOff{}, err
	}
	if err := plain("reason", m.Reason, 512); err != nil {
		return MovedOff{}, err
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		out = MovedOff{}
		l, err := a.find(ctx, tx, ref)
		if err != nil {
			return err
		}
		out.License = l
		installs, err := tx.Installs(ctx, l.ID)
		if err != nil {
			return err
		}
		leaving, err := onMachine(l, installs, m.Install, now)
		if err != nil || len(leaving) == 0 {
			return err
		}
		next, _, err := l.Apply(license.Change{Event: license.EventActivate, At: now}) // else no machine could take it
		if err != nil {
			return err
		}
		if l.Mode != license.ModeFloating {
			if next, out.Forced, err = a.countMove(next, m.Force, now); err != nil {
				return err
			}
			if err := tx.UpdateLicense(ctx, next); err != nil {
				return fmt.Errorf("move %s: %w", l.ID, err)
			}
			next.Revision++
		}
		out.License = next
		for _, i := range leaving {
			i.State, i.EndedAt, i.Answer, i.MovedOff = license.InstallTransferred, now, nil, true
			if err := tx.UpdateInstall(ctx, i); err != nil {
				return fmt.Errorf("move %s: %w", l.ID, err)
			}
			out.Ended = append(out.Ended, i)
			after := map[string]any{"state": i.State, "from_seat": i.Seat}
			if out.Forced {
				after["forced"] = true
			}
			if _, err = tx.Append(ctx, license.AuditEvent{
				At: now, Actor: actor, Action: license.ActionTransfer, License: l.ID, Install: i.ID, Product: l.Product, After: after, Note: m.Reason,
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return MovedOff{}, err
	}
	return out, nil
}

// countMove records a move, and whether the policy had to be overruled.
func (a *Authority) countMove(l license.License, force bool, now time.Time) (next license.License, forced bool, err error) {
	p, err := a.product(l.Product)
	if err != nil {
		return l, false, err
	}
	next, err = l.Transfer(p.Transfers, now)
	if license.ReasonOf(err) != license.TransferLimit || !force {
		return next, false, err
	}
	next, err = l.Transfer(license.TransferPolicy{PerYear: len(l.Transfers) + 1}, now)
	return next, true, err
}

// onMachine returns the live installs on the machine of the one that id names, or of
// all where the licence is in use on one machine; none where that one has ended.
func onMachine(l license.License, installs []license.Install, id string, now time.Time) (list []license.Install, err error) {
	seats := make(map[string][]license.Install)
	for _, i := range installs {
		if i.State == license.InstallLive && i.OnMachine() && (l.Mode != license.ModeFloating || now.Before(i.LeaseUntil)) {
			seats[i.Seat] = append(seats[i.Seat], i)
		}
	}
	if id == "" {
		if len(seats) != 1 {
			return nil, license.FieldErrorf("install", "the licence is in use on %d machines; name an install on the one that is left", len(seats))
		}
		for _, list = range seats {
		}
		return list, nil
	}
	for _, i := range installs {
		if i.ID != id {
			continue
		}
		if !i.OnMachine() {
			return nil, license.FieldErrorf("install", "this install is on no machine, so it cannot be moved to another")
		}
		if i.State != license.InstallLive {
			return nil, nil
		}
		if len(seats[i.Seat]) == 0 { // a floating one whose lease is over
			return []license.Install{i}, nil
		}
		return seats[i.Seat], nil
	}
	return nil, license.Errorf(license.NotFound, "the licence has no such install")
}
