package authority

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// activate binds a new install to the licence of a code. What can be refused
// without the marketplace is refused before it is asked: activating a code
// there begins its term.
func (c *call) activate(ctx context.Context) (Answer, error) {
	if c.req.Code.IsZero() {
		return Answer{}, license.FieldErrorf("code", "a code is required to %s", c.req.Op)
	}
	index := c.a.codes.Index(c.req.Code)
	if err := c.askAgain(ctx, "", index); err != nil {
		return Answer{}, err
	}
	inst, err := c.bindByCode(ctx, index, false)
	if errors.Is(err, errAskMarketplace) {
		if _, err := license.Bind(c.product.Binding, c.req.Fingerprint); err != nil {
			return Answer{}, err
		}
		if err := c.a.adopt(ctx, c.req.Code, index, c.product, c.actor, c.req.ID); err != nil {
			return Answer{}, err
		}
		inst, err = c.bindByCode(ctx, index, true)
	}
	if err != nil {
		return Answer{}, err
	}
	return c.answer(ctx, inst)
}

// errAskMarketplace says that the marketplace has to be asked about a code
// before it can be activated.
var errAskMarketplace = errors.New("the marketplace has to be asked")

// bindByCode binds the install to the licence that the code names. A code that
// is not known, and one of a marketplace that was never in use, have to be
// asked about first; adopted says that this was done just now.
func (c *call) bindByCode(ctx context.Context, index []byte, adopted bool) (inst license.Install, err error) {
	err = c.update(ctx, func(ctx context.Context, tx store.Tx) error {
		l, err := tx.LicenseByCode(ctx, index)
		if c.knownOnly {
			if known, err := c.known(ctx, tx, l, err); err != nil || !known {
				return errors.Join(err, errTooMany)
			}
		}
		if errors.Is(err, license.NotFound) {
			if adopted || c.req.Code.Own() {
				return license.Errorf(license.UnknownCode, "this code is not known")
			}
			return errAskMarketplace
		}
		if err != nil {
			return fmt.Errorf("look a code up: %w", err)
		}
		if !c.forProduct(l) {
			return license.Errorf(license.WrongProduct, "this code is for another product")
		}
		unused := l.Channel != license.ChannelManual && l.ActivatedAt.IsZero()
		if unused && !adopted && l.ReleasedAt.IsZero() && l.RevokedAt.IsZero() {
			return errAskMarketplace
		}
		inst, err = c.bind(ctx, tx, l)
		return err
	})
	return inst, err
}

// errTooMany is all that an address learns that was refused too often.
var errTooMany = license.Errorf(license.RateLimited, "too many requests from this address were refused; please wait")

// known reports whether the install has been bound to l before.
func (c *call) known(ctx context.Context, tx store.Tx, l license.License, lookup error) (bool, error) {
	if lookup != nil {
		return false, nil
	}
	_, err := tx.Install(ctx, l.ID, c.req.InstallID)
	if errors.Is(err, license.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// bind gives the install a seat of l, or answers again the install that has one.
func (c *call) bind(ctx context.Context, tx store.Tx, l license.License) (license.Install, error) {
	old, err := tx.Install(ctx, l.ID, c.req.InstallID)
	switch {
	case err == nil:
		inst, err := c.again(ctx, tx, l, old)
		return inst, ofKnown(err)
	case !errors.Is(err, license.NotFound):
		return license.Install{}, fmt.Errorf("look an install up: %w", err)
	}
	return c.bindNew(ctx, tx, l)
}

// bindNew gives a new install a seat of l.
func (c *call) bindNew(ctx context.Context, tx store.Tx, l license.License) (license.Install, error) {
	c.approval = ""
	next, changed, err := l.Apply(license.Change{Event: license.EventActivate, At: c.now})
	if err != nil {
		return license.Install{}, err
	}
	inst := license.Install{
		ID: c.req.InstallID, LicenseID: l.ID, State: license.InstallLive,
		Environment: c.req.Fingerprint.Environment, BoundAt: c.now, Instance: c.req.Instance,
	}
	if inst.Binding, err = license.Bind(c.product.Binding, c.req.Fingerprint); err != nil {
		return license.Install{}, err
	}
	if err := c.deadInstall(ctx, tx, l.ID); err != nil {
		return license.Install{}, err
	}
	if err := c.comesBack(ctx, tx, l.ID); err != nil {
		return license.Install{}, err
	}
	installs, err := c.a.installsAndLost(ctx, tx, l)
	if err != nil {
		return license.Install{}, err
	}
	if err := c.tooOften(l, installs); err != nil {
		return license.Install{}, err
	}
	place, err := c.place(l, installs)
	if err != nil {
		return license.Install{}, err
	}
	drift, err := c.inherit(&inst, &place)
	if err != nil {
		return license.Install{}, err
	}
	inst.Seat = place.seat
	forked, err := c.reactivate(ctx, tx, l, installs, &inst)
	if err != nil {
		return license.Install{}, err
	}
	if place.moved {
		if next, err = c.move(ctx, tx, next, place); err != nil {
			return license.Install{}, err
		}
	}
	if err := c.tryOut(ctx, tx, l); err != nil {
		return license.Install{}, err
	}
	var forks []license.ForkKind
	if forked {
		next, forks = next.WithFork(c.now), append(forks, license.ForkReactivated)
	}
	if err := c.contest(ctx, tx, place.stay(), &inst); err != nil {
		return license.Install{}, err
	}
	if c.sharesSeat(l, installs, inst) {
		inst.Forks = inst.Forks.With(license.ForkShared, c.req.ID, c.now)
		next, forks = next.WithFork(c.now), append(forks, license.ForkShared)
	}
	if changed || place.moved || len(forks) > 0 {
		if err := tx.UpdateLicense(ctx, next); err != nil {
			return license.Install{}, fmt.Errorf("update %s: %w", l.ID, err)
		}
	}
	if err := errors.Join(c.settleIn(ctx, tx, place, &inst, next), c.movedIn(ctx, tx, l)); err != nil {
		return license.Install{}, err
	}
	action := license.ActionBind
	switch {
	case changed:
		action = license.ActionActivate
	case place.moved:
		action = license.ActionTransfer
	}
	after := map[string]any{"seat": inst.Seat}
	if c.approval != "" {
		after["approval"] = c.approval
	}
	if err := c.audit(ctx, tx, action, inst, after); err != nil {
		return license.Install{}, err
	}
	if err := c.beyond(ctx, tx, l, inst, place.overage); err != nil {
		return license.Install{}, err
	}
	return inst, c.tell(ctx, tx, inst, drift, forks...)
}

// settleIn makes room at a place, gives a new install its licence and stores it.
func (c *call) settleIn(ctx context.Context, tx store.Tx, place placement, inst *license.Install, l license.License) error {
	if err := c.retire(ctx, tx, place.replaced, license.InstallReplaced); err != nil {
		return err
	}
	if err := c.retire(ctx, tx, place.transferred, license.InstallTransferred); err != nil {
		return err
	}
	if err := c.retire(ctx, tx, place.released, license.InstallReleased); err != nil {
		return err
	}
	if err := c.takeOver(ctx, tx, place.overtaken, *inst); err != nil {
		return err
	}
	if err := c.carry(ctx, tx, place.carried, *inst); err != nil {
		return err
	}
	if err := c.grant(ctx, tx, inst, l); err != nil {
		return err
	}
	if err := tx.CreateInstall(ctx, *inst); err != nil {
		return fmt.Errorf("bind an install to %s: %w", l.ID, err)
	}
	return nil
}
