package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// recordedError is a refusal of which a record is kept: the transaction that
// refuses is committed all the same.
type recordedError struct{ error }

func (e recordedError) Unwrap() error { return e.error }

// update runs fn as one transaction, and commits it where fn returns nil or a
// recordedError. Only what is known to be of an install, or of who holds the
// code, may be refused so, and not often: a refusal makes the disk sync then.
func (c *call) update(ctx context.Context, fn func(context.Context, store.Tx) error) error {
	var refusal error
	err := c.a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		refusal = nil
		err := fn(ctx, tx)
		if _, ok := errors.AsType[recordedError](err); ok {
			refusal = err
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return refusal
}

// refusesForks reports whether the product does more about forks than to report them.
func (c *call) refusesForks() bool {
	return c.product.Forks == license.ForkRefuseNewest || c.product.Forks == license.ForkRefuseBoth
}

const activateAgain = "activate again with the code to get a new one"

// refuseChain refuses a request of install old that names as the newest another
// licence than its chain accepts. Under ForkRefuseNewest that changes nothing
// but the record of the fork, so that whoever holds the newest licence goes on.
func (c *call) refuseChain(ctx context.Context, tx store.Tx, l license.License, old license.Install) error {
	refusal := license.Errorf(license.CloneDetected,
		"this install has a copy that called in the meantime, or was set back to an older state; "+activateAgain)
	if c.product.Forks == license.ForkRefuseBoth {
		return c.endForked(ctx, tx, l, old, []license.Install{old}, license.ForkChain, refusal)
	}
	return c.refuseFork(ctx, tx, l, old, license.ForkChain, refusal)
}

// refuseFork records a fork of inst that is refused, unless one of the kind was
// recorded just now or for the same request.
func (c *call) refuseFork(ctx context.Context, tx store.Tx, l license.License, inst license.Install, kind license.ForkKind, refusal error) error {
	if !inst.Forks.Due(kind, c.req.ID, c.now) {
		return refusal
	}
	inst.Forks = inst.Forks.With(kind, c.req.ID, c.now)
	if err := tx.UpdateInstall(ctx, inst); err != nil {
		return fmt.Errorf("record a fork of an install of %s: %w", l.ID, err)
	}
	return c.recordFork(ctx, tx, l, inst, kind, "refused", refusal)
}

// endForked records a fork of inst and ends the installs concerned, of which it
// is one.
func (c *call) endForked(ctx context.Context, tx store.Tx, l license.License, inst license.Install, concerned []license.Install, kind license.ForkKind, refusal error) error {
	for i := range concerned {
		if concerned[i].ID == inst.ID {
			inst.Forks = inst.Forks.With(kind, c.req.ID, c.now)
			concerned[i].Forks = inst.Forks
		}
	}
	if err := c.retire(ctx, tx, concerned, license.InstallForked); err != nil {
		return err
	}
	return c.recordFork(ctx, tx, l, inst, kind, "ended", refusal)
}

// recordFork records with the licence a fork that is refused, and returns the refusal.
func (c *call) recordFork(ctx context.Context, tx store.Tx, l license.License, inst license.Install, kind license.ForkKind, outcome string, refusal error) error {
	if err := tx.UpdateLicense(ctx, l.WithFork(c.now)); err != nil {
		return fmt.Errorf("update %s: %w", l.ID, err)
	}
	if err := c.auditFork(ctx, tx, inst, kind, outcome); err != nil {
		return err
	}
	return recordedError{refusal}
}

func (c *call) auditFork(ctx context.Context, tx store.Tx, inst license.Install, kind license.ForkKind, outcome string) error {
	return c.audit(ctx, tx, license.ActionFork, inst, map[string]any{
		"kind": kind, "forks": inst.Forks.Total(), "seat": inst.Seat, "outcome": outcome,
	})
}

// ended refuses an install that has ended and calls all the same. It is how one
// learns that another took its place. It is also how a copy shows itself that
// was made before the end, so it is recorded as a fork; but not of an install
// that the merchant removed, nor for a request that it made before its end.
//
// An ended install has nothing that could be refused, so a policy makes a
// difference to the word only: who has been told why it ended and calls on is
// told that it looks like a copy.
func (c *call) ended(ctx context.Context, tx store.Tx, l license.License, old license.Install) error {
	var refusal error
	switch old.State {
	case license.InstallReplaced, license.InstallTransferred:
		refusal = license.Errorf(license.Replaced, "another install took this one's place; "+activateAgain)
	case license.InstallDeactivated, license.InstallRemoved:
		refusal = license.Errorf(license.Unauthorized, "this install has been given up; "+activateAgain)
	case license.InstallForked:
		refusal = license.Errorf(license.CloneDetected, "this install was ended because more than one machine seems to hold it; "+activateAgain)
	case license.InstallReleased: // being away for long is no sign of a copy
		return license.Errorf(license.Replaced, "this install was not seen for so long that its place was given up; "+activateAgain)
	case license.InstallLive:
		fallthrough
	default:
		return license.Errorf(license.Internal, "install in state %q", old.State)
	}
	if old.State == license.InstallRemoved || old.Chain.Repeats(c.req.ID, c.req.Digest) != license.RequestNew {
		return refusal
	}
	if old.MovedOff { // it could not know
		return license.Errorf(license.Replaced, "the vendor has moved this licence to another machine; "+activateAgain)
	}
	told := old.Forks[license.ForkRetired].Count > 0 && !old.Forks.Has(c.req.ID)
	if told && c.refusesForks() {
		refusal = license.Errorf(license.CloneDetected,
			"this install has ended (%s), was told so, and calls again, as a copy of it would; %s", old.State, activateAgain)
	}
	return c.refuseFork(ctx, tx, l, old, license.ForkRetired, refusal)
}

// forkedEnd judges a deactivation by a live install whose chain has forked. What
// ends the install for all its holders must not come from the newest of them
// where that is refused; under ForkRefuseBoth the end is what both come to.
func (c *call) forkedEnd(ctx context.Context, tx store.Tx, old license.Install) error {
	l, err := tx.License(ctx, old.LicenseID)
	switch {
	case err != nil:
		return fmt.Errorf("read %s: %w", old.LicenseID, err)
	case !c.forProduct(l): // its policy is not the one that counts
		return license.Errorf(license.WrongProduct, "this licence is for another product")
	case c.product.Forks == license.ForkRefuseNewest:
		return c.refuseChain(ctx, tx, l, old)
	}
	if err := tx.UpdateLicense(ctx, l.WithFork(c.now)); err != nil {
		return fmt.Errorf("update %s: %w", l.ID, err)
	}
	return nil
}

// reactivate judges how often the seat that inst is to take has been activated
// again. It reports whether this time is a fork that is let pass. Floating
// seats are installs and no machines, and known by nothing: each is new.
func (c *call) reactivate(ctx context.Context, tx store.Tx, l license.License, installs []license.Install, inst *license.Install) (forked bool, err error) {
	if l.Mode == license.ModeFloating {
		return false, nil
	}
	most, within := c.product.Reactivations()
	n, next := license.Reactivations(installs, inst.Seat, within, c.now)
	inst.Reactivation = n
	switch {
	case n <= most:
		return false, nil
	case !c.refusesForks():
		inst.Forks = inst.Forks.With(license.ForkReactivated, c.req.ID, c.now)
		return true, nil
	}
	return false, c.refuseReactivation(ctx, tx, l, installs, inst.Seat, next)
}

// refuseReactivation refuses to activate a seat once more. It is recorded with
// the install that was bound to the seat last. Where no live install is left to
// be ended, there is only the refusal, until the seat has been quiet for long
// enough.
func (c *call) refuseReactivation(ctx context.Context, tx store.Tx, l license.License, installs []license.Install, seat string, next time.Time) error {
	var live []license.Install
	var newest license.Install
	for _, i := range installs {
		if i.Seat != seat {
			continue
		}
		isLive := i.State == license.InstallLive
		if isLive {
			live = append(live, i)
		}
		wasLive := newest.State == license.InstallLive
		if newest.ID == "" || isLive && !wasLive || isLive == wasLive && i.BoundAt.After(newest.BoundAt) {
			newest = i
		}
	}
	refusal := license.Errorf(license.CloneDetected, "this machine has been activated again too often within a short time, "+
		"as copies of one machine would; use the installs that it has, or wait")
	if c.product.Forks == license.ForkRefuseBoth && len(live) > 0 {
		refusal = license.Errorf(license.CloneDetected, "this machine has been activated again too often within a short time, "+
			"as copies of one machine would, so its installs were ended; activate again with the code where one is needed")
		return c.endForked(ctx, tx, l, newest, live, license.ForkReactivated, refusal)
	}
	if !next.IsZero() {
		refusal = refusal.WithRetryAfter(next.Sub(c.now))
	}
	return c.refuseFork(ctx, tx, l, newest, license.ForkReactivated, refusal)
}

// tell writes the audit events of what came to light while a request was
// answered.
func (c *call) tell(ctx context.Context, tx store.Tx, inst license.Install, drift license.Drift, forks ...license.ForkKind) error {
	for _, kind := range forks {
		outcome := "answered"
		if c.req.Op == token.OpDeactivate {
			outcome = "ended"
		}
		if err := c.auditFork(ctx, tx, inst, kind, outcome); err != nil {
			return err
		}
	}
	if drift.IsZero() {
		return nil
	}
	return c.auditDrift(ctx, tx, inst, drift)
}
