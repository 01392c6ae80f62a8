package authority

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// UpgradeTo is what a licence is to be from now on. Zero fields leave it as it
// is; the end is the Edit's.
type UpgradeTo struct {
	Product  string           // another one; its features then take the place of those of the licence
	Features license.Features // beside those, or instead of them; one without a value takes away
	Machines int
}

// own sets what an EventEdit changes of what the licence has of its own.
func (e Edit) own(was license.License, change *license.Change) error {
	change.Phases, change.Overage = was.Phases, was.Overage
	if e.Phases != nil {
		change.Phases = e.Phases(was.Phases)
	}
	if e.Overage != nil {
		change.Overage = e.Overage(was.Overage)
	}
	if err := license.CheckOverage(change.Overage); err != nil {
		return err
	}
	return change.Phases.Check()
}

// mayRenew refuses a renewal that comes too long after the end, unless it is
// forced, and reports whether it had to be. An upgrade that sets another end is
// one, but for that of a trial.
func (a *Authority) mayRenew(l license.License, e Edit, now time.Time) (forced bool, err error) {
	if e.Event == license.EventUpgrade && (l.Trial || !e.ends()) {
		return false, nil
	}
	err = a.products[l.Product].Renewable(l, now)
	if err != nil && e.Force {
		return true, nil
	}
	return false, err
}

// ends reports whether an end is given.
func (e Edit) ends() bool { return !e.ExpiresAt.IsZero() || e.For != 0 || e.Perpetual }

// upgraded is what an upgrade makes of a licence.
func (a *Authority) upgraded(was license.License, e Edit, now time.Time) (license.Upgrade, time.Time, error) {
	to := e.Upgrade
	var none time.Time
	ends := e.ends()
	switch {
	case to.Product == "" && len(to.Features) == 0 && to.Machines == 0 && !ends:
		return license.Upgrade{}, none, license.FieldErrorf("product", "nothing to change is given")
	case to.Machines < 0 || to.Machines > license.MaxMachines:
		return license.Upgrade{}, none, license.FieldErrorf("machines", "the number of machines must be between 1 and %d", license.MaxMachines)
	case was.Trial && !ends:
		return license.Upgrade{}, none, license.FieldErrorf("expires_at", "a trial is upgraded to a full licence, whose end has to be given")
	}
	is := license.Upgrade{Product: was.Product, Features: was.Features, Machines: was.Machines, NewEnd: ends}
	if to.Product != "" && to.Product != was.Product {
		p, ok := a.products[to.Product]
		if !ok {
			return is, none, license.FieldErrorf("product", "there is no product %q", printable(to.Product))
		}
		is.Product, is.Features = p.ID, p.Features
	}
	for name := range to.Features {
		if err := plain("features", name, 128); err != nil {
			return is, none, err
		}
	}
	is.Features = merge(is.Features, to.Features)
	if to.Machines > 0 {
		is.Machines = to.Machines
	}
	l := was
	l.Product, l.Features, l.Machines = is.Product, is.Features, is.Machines
	if err := fits(l); err != nil || !ends {
		return is, none, err
	}
	end, err := renewed(was, e, now)
	return is, end, err
}

// programOf is the product whose program an install is: the one that its newest
// licence names last, or by whose salt its machine was bound. It need not be that
// of its licence, which may have become another one since.
func (a *Authority) programOf(i license.Install, otherwise string) string {
	var claims struct { // RFC 7519 section 4.1.3: one, or an array of them
		Audience json.RawMessage `json:"aud"`
	}
	var one string
	var several []string
	switch {
	case json.Unmarshal(i.Answer, &claims) != nil: // nothing was kept
	case json.Unmarshal(claims.Audience, &one) == nil:
		return one
	case json.Unmarshal(claims.Audience, &several) == nil && len(several) > 0:
		return several[len(several)-1]
	}
	for id := range a.products {
		if len(i.Binding.Salt) > 0 && bytes.Equal(i.Binding.Salt, license.ProductSalt(id)) {
			return id
		}
	}
	return otherwise
}

// fitsInstalls refuses an upgrade to a product whose licences the live installs
// cannot use, since they were built for another one. Where it is forced they end,
// so that their machines can be activated anew with the same code.
func (a *Authority) fitsInstalls(ctx context.Context, tx store.Tx, was, is license.License, e Edit, actor license.Actor, now time.Time) (forced bool, err error) {
	p := a.products[is.Product]
	if was.Product == is.Product {
		return false, nil
	}
	installs, err := tx.LiveInstalls(ctx, was.ID)
	if err != nil {
		return false, fmt.Errorf("list installs of %s: %w", was.ID, err)
	}
	for _, i := range installs {
		program := a.programOf(i, was.Product)
		if p.Takes(program) {
			continue
		}
		if !e.Force {
			return false, license.Errorf(license.Conflict, "the licence has live installs of %s, which is not among the products whose programs %s accepts; "+
				"force it to end them", program, is.Product)
		}
		forced = true
		i.State, i.EndedAt, i.Answer = license.InstallRemoved, now, nil
		if err := tx.UpdateInstall(ctx, i); err != nil {
			return false, fmt.Errorf("end an install of %s: %w", was.ID, err)
		}
		if _, err := tx.Append(ctx, license.AuditEvent{
			At: now, Actor: actor, Action: license.ActionRemove, License: was.ID, Install: i.ID, Product: was.Product,
			After: map[string]any{"state": i.State}, Note: "upgraded to " + is.Product,
		}); err != nil {
			return false, fmt.Errorf("audit the end of an install of %s: %w", was.ID, err)
		}
	}
	return forced, nil
}

// forProduct reports whether the program that asks may use l, and has the
// policies of the licence's product count from then on. Mostly both are one.
func (c *call) forProduct(l license.License) bool {
	p, ok := c.a.products[l.Product]
	if !ok || !p.Takes(c.req.Product) {
		return false
	}
	c.product = p
	return true
}
