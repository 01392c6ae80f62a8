package authority

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// evidence returns the licence that the install presents where it proves that it
// was granted after the backup and before the restore: we signed it, for this
// install, in the time that the store has lost.
func (c *call) evidence() (token.License, bool) {
	r := c.a.restoring.Load()
	if r == nil || !r.open || c.req.License == "" {
		return token.License{}, false
	}
	l, err := token.VerifyLicense(c.req.License, c.keys, token.Expect{Product: c.product.ID})
	switch {
	case err != nil, l.InstallID != c.req.InstallID, l.InstallID == "",
		l.Dates.IssuedAt.Before(r.headAt), l.Dates.IssuedAt.After(r.begunAt.Add(clockStep)):
		return token.License{}, false
	}
	return l, true
}

// goesOn reports whether the request goes on from a licence that the store has
// forgotten that it granted to old, and returns old with the chain as it was.
func (c *call) goesOn(old license.Install) (license.Install, bool) {
	held, ok := c.evidence()
	if !ok || held.LicenseID != old.LicenseID || held.ID != c.req.Prev || held.Dates.IssuedAt.Before(old.Dated()) {
		return old, false
	}
	old.Chain.Last, old.Chain.Before, old.Chain.Spent = held.ID, "", true
	if held.Dates.IssuedAt.After(old.SeenAt) {
		old.DatedAt = held.Dates.IssuedAt
	}
	return old, true
}

// stranger answers the call of an install that the licence does not have. In
// reconcile mode one that shows by a licence of ours that it was bound after the
// backup is taken in again, where there is a seat, and gets its answer; where
// there is none it is listed for the merchant to decide.
func (c *call) stranger(ctx context.Context, tx store.Tx, licenseID string, op func(context.Context, store.Tx, license.Install) (license.Install, error)) (license.Install, error) {
	refusal := error(errStranger)
	if c.knownOnly {
		refusal = errTooMany
	}
	held, ok := c.evidence()
	if !ok || held.LicenseID != licenseID {
		return license.Install{}, refusal
	}
	if err := c.deadInstall(ctx, tx, licenseID); err != nil {
		return license.Install{}, err
	}
	l, err := tx.License(ctx, licenseID)
	if errors.Is(err, license.NotFound) {
		item := c.itemOf(ItemLicense, held)
		item.ID, item.Install = itemID(licenseID, ""), ""
		if known, err := getItem(ctx, tx, item.ID); err == nil {
			item.Actions, item.At = known.Actions, known.At
		}
		if err := putItem(ctx, tx, item); err != nil {
			return license.Install{}, err
		}
		return license.Install{}, recordedError{license.Errorf(license.UnknownLicense,
			"the licence server was restored from a backup that does not have this licence yet; please ask the vendor")}
	}
	if err != nil {
		return license.Install{}, fmt.Errorf("read %s: %w", licenseID, err)
	}
	inst, seated, err := c.reseat(ctx, tx, l, held)
	if err != nil {
		return license.Install{}, err
	}
	if !seated {
		item := c.itemOf(ItemSeat, held)
		if err := putItem(ctx, tx, item); err != nil {
			return license.Install{}, err
		}
		return license.Install{}, recordedError{license.Errorf(license.MachineLimit,
			"the licence server was restored from a backup, and this licence is in use on as many machines as it is for (%d) by now", c.a.products[l.Product].Limit(l))}
	}
	if err := c.takeIn(ctx, tx, l, inst); err != nil {
		return license.Install{}, err
	}
	if err := c.tryOut(ctx, tx, l); err != nil && license.ReasonOf(err) != license.TrialUsed { // it is let in, and has its trial
		return license.Install{}, err
	}
	inst.Revision = 1
	return op(ctx, tx, inst)
}

// itemOf lists an install with what its licence says.
func (c *call) itemOf(kind ItemKind, held token.License) Item {
	facts := map[string]any{
		"customer": held.Customer, "order": held.Order, "channel": held.Channel, "code_last4": held.CodeLast4,
		"machines": held.Machines, "issued_at": instant(held.Dates.IssuedAt), "expires_at": instant(held.Dates.ExpiresAt),
	}
	if held.Dates.ExpiresAt.Equal(license.Forever) {
		facts["expires_at"] = nil
	}
	return Item{
		ID: itemID(held.LicenseID, held.InstallID), Kind: kind, License: held.LicenseID, Install: held.InstallID, Product: held.Product,
		At: c.now, Facts: facts, Held: held.Raw,
	}
}

// installOf makes the record of an install from the licence that it holds.
func installOf(held token.License, seat string) license.Install {
	inst := license.Install{
		ID: held.InstallID, LicenseID: held.LicenseID, Seat: seat, State: license.InstallLive, Binding: held.Binding,
		BoundAt: held.Dates.IssuedAt, SeenAt: held.Dates.IssuedAt, LeaseUntil: held.Dates.LeaseUntil,
		Chain: license.Chain{Last: held.ID, Spent: true},
	}
	if _, id, ok := strings.Cut(held.Status.URI, "/v1/status/"); ok {
		inst.Status = license.StatusRef{List: id, Index: held.Status.Index}
	}
	return inst
}

// reseat finds the seat of an install that is taken in again: the one that is
// kept for it, that of its machine, or a free one.
func (c *call) reseat(ctx context.Context, tx store.Tx, l license.License, held token.License) (license.Install, bool, error) {
	seat, err := tx.Value(ctx, restoreLost+l.ID+"/"+held.InstallID)
	if err == nil {
		return installOf(held, string(seat)), true, nil
	}
	if !errors.Is(err, license.NotFound) {
		return license.Install{}, false, err
	}
	installs, err := c.a.installsAndLost(ctx, tx, l)
	if err != nil {
		return license.Install{}, false, err
	}
	seats := c.survey(l, installs)
	switch {
	case seats.mine != "" && l.Mode != license.ModeFloating && len(seats.live[seats.mine]) < c.product.InstallsPerMachine:
		return installOf(held, seats.mine), true, nil
	case len(seats.live) >= c.a.products[l.Product].Limit(l):
		return license.Install{}, false, nil
	}
	fresh, err := c.a.ids.New(license.SeatPrefix, c.now)
	return installOf(held, fresh), true, err
}

// takeIn stores an install that is known again.
func (c *call) takeIn(ctx context.Context, tx store.Tx, l license.License, inst license.Install) error {
	if l.ActivatedAt.IsZero() {
		l.ActivatedAt = inst.BoundAt
		if err := tx.UpdateLicense(ctx, l); err != nil {
			return fmt.Errorf("update %s: %w", l.ID, err)
		}
	}
	return c.a.takeIn(ctx, tx, inst, l.Product, c.actor, c.now)
}

func (a *Authority) takeIn(ctx context.Context, tx store.Tx, inst license.Install, product string, actor license.Actor, now time.Time) error {
	if _, err := tx.StatusList(ctx, inst.Status.List); errors.Is(err, license.NotFound) {
		inst.Status = license.StatusRef{} // it draws a place anew
	} else if err != nil {
		return err
	}
	if err := tx.CreateInstall(ctx, inst); err != nil {
		return fmt.Errorf("take an install of %s in again: %w", inst.LicenseID, err)
	}
	if err := forgetLost(ctx, tx, inst.LicenseID, inst.ID); err != nil {
		return err
	}
	st, err := readRestore(ctx, tx)
	if err != nil {
		return err
	}
	st.Adopted++
	if err := writeRestore(ctx, tx, st); err != nil {
		return err
	}
	_, err = tx.Append(ctx, license.AuditEvent{
		At: now, Actor: actor, Action: license.ActionRestoreAdopt, License: inst.LicenseID, Install: inst.ID, Product: product,
		After: map[string]any{"seat": inst.Seat, "bound_at": instant(inst.BoundAt)},
	})
	return err
}

// forgetLost drops what is kept of an install that is known now.
func forgetLost(ctx context.Context, tx store.Tx, licenseID, install string) error {
	return errors.Join(
		tx.SetValue(ctx, restoreLost+licenseID+"/"+install, nil),
		tx.SetValue(ctx, restoreItems+itemID(licenseID, install), nil))
}

// deadInstall refuses an install that was ended after the backup: a key lives once.
func (c *call) deadInstall(ctx context.Context, tx store.Tx, licenseID string) error {
	r := c.a.restoring.Load()
	if r == nil || !r.dead {
		return nil
	}
	state, err := tx.Value(ctx, restoreDead+licenseID+"/"+c.req.InstallID)
	if errors.Is(err, license.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if license.InstallState(state) == license.InstallReplaced {
		return license.Errorf(license.Replaced, "another install took this one's place")
	}
	return license.Errorf(license.Unauthorized, "this install has been given up before")
}

// giveUpLost ends an install whose seat was kept and that somebody else gets.
func (a *Authority) giveUpLost(ctx context.Context, tx store.Tx, i license.Install, as license.InstallState) error {
	if r := a.restoring.Load(); r != nil && !r.dead {
		next := *r
		next.dead = true
		a.restoring.CompareAndSwap(r, &next)
	}
	item, err := getItem(ctx, tx, itemID(i.LicenseID, i.ID))
	if err != nil && !errors.Is(err, license.NotFound) {
		return err
	}
	if i.Status, i.State = item.Place, as; item.Held != "" { // it has called, and showed its place
		held, err := token.PeekLicense(item.Held)
		if err != nil {
			return err
		}
		i.Status = installOf(held, "").Status
	}
	return errors.Join(
		a.settleLost(ctx, tx, license.License{ID: i.LicenseID}, i),
		tx.SetValue(ctx, restoreDead+i.LicenseID+"/"+i.ID, []byte(as)),
		forgetLost(ctx, tx, i.LicenseID, i.ID))
}

// comesBack drops what is kept of the install that calls, which is bound anew.
func (c *call) comesBack(ctx context.Context, tx store.Tx, licenseID string) error {
	if !c.a.Restoring() {
		return nil
	}
	return forgetLost(ctx, tx, licenseID, c.req.InstallID)
}

// askAgain has the marketplace asked about a licence that it sold, once after a
// restore and before anything is granted from it: it may have ended since the
// backup. Where the marketplace does not answer, nothing is granted yet.
func (c *call) askAgain(ctx context.Context, licenseID string, index []byte) error {
	if !c.a.Restoring() {
		return nil
	}
	var l license.License
	err := c.a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		if index != nil {
			l, err = tx.LicenseByCode(ctx, index)
			return err
		}
		if _, proven := c.evidence(); !proven { // nobody else makes us ask
			if _, err := tx.Install(ctx, licenseID, c.req.InstallID); err != nil {
				return err
			}
		}
		l, err = tx.License(ctx, licenseID)
		return err
	})
	if errors.Is(err, license.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	ch, ok := c.a.channel(l.Channel)
	if _, done := c.a.readAgain.Load(l.ID); done || !ok || ch.Upstream == nil || l.ActivatedAt.IsZero() {
		return nil
	}
	if DryRun(ctx) {
		return errNotReadAgain
	}
	var total Reconciled
	if err := c.a.comparePage(ctx, ch, []license.License{l}, &total); err != nil {
		return license.Errorf(license.MarketplaceUnavailable,
			"the licence server was restored from a backup and cannot ask the marketplace about this licence yet; please try again shortly").
			WithRetryAfter(askingRetry).WithCause(err)
	}
	c.a.readAgain.Store(l.ID, true)
	return nil
}
