package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// adoptTimeout bounds everything that an activation asks a marketplace. The
// client waits longer than that.
const adoptTimeout = 20 * time.Second

// adopt asks the marketplaces about a code and makes, or brings up to date, our
// record of it: the code is queried first; where it is not active yet it is
// activated, recorded with what that said, and queried again, since the expiry
// that an activation tells is only an estimate (access guide …649244).
//
// Only the activation names product, order and quantity, and it does so once.
// So from there on nothing that the caller does interrupts the way to the
// record, and of several callers with one code one asks.
func (a *Authority) adopt(ctx context.Context, code license.Code, index []byte, wanted license.Product, actor license.Actor, request string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), adoptTimeout)
	defer cancel()
	release, err := a.gate.enter(ctx, index)
	if err != nil {
		return err
	}
	defer release()
	if a.gate.isUnknown(index, a.now()) {
		return errUnknownCode
	}
	var failure error
	for _, ch := range a.channels {
		if ch.Upstream == nil || ch.Pattern != nil && !ch.Pattern.MatchString(code.Reveal()) {
			continue
		}
		ad := adoption{a: a, ch: ch, code: code, index: index, wanted: wanted, actor: actor, request: request}
		err := ad.run(ctx)
		if err == nil {
			return nil
		}
		if !errors.Is(err, license.UnknownCode) && failure == nil {
			failure = err // another entry may still know the code
		}
	}
	if failure != nil {
		return failure
	}
	a.gate.setUnknown(index, a.now())
	return errUnknownCode
}

var errUnknownCode = license.Errorf(license.UnknownCode, "this code is not known")

// adoption turns what a marketplace says about one code into our record.
type adoption struct {
	a       *Authority
	ch      Channel
	code    license.Code
	index   []byte
	wanted  license.Product
	actor   license.Actor
	request string
	asked   time.Time // when the query went out
}

func (ad adoption) run(ctx context.Context) error {
	confirmed, told, err := ad.before(ctx)
	if err != nil || confirmed {
		return err
	}
	if told != (Entitlement{}) {
		if err := ad.recordActivation(ctx, told); err != nil {
			return err
		}
	}
	ad.asked = ad.a.clock()
	e, err := ad.ch.Upstream.Query(ctx, ad.code)
	if errors.Is(err, ErrNotActivated) {
		e, err = ad.activate(ctx)
	}
	if err != nil {
		return fmt.Errorf("ask %s about a code: %w", ad.ch.Name, err)
	}
	return ad.record(ctx, e, true)
}

// before reports whether somebody else with the same code was here first, and
// what an earlier activation told that no licence could be made of then.
func (ad adoption) before(ctx context.Context) (confirmed bool, told Entitlement, err error) {
	told, _ = ad.a.gate.toldOf(ad.index)
	err = ad.a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		l, err := tx.LicenseByCode(ctx, ad.index)
		if err == nil {
			confirmed = !l.ActivatedAt.IsZero() || l.Channel != ad.ch.Name
			return nil
		}
		if !errors.Is(err, license.NotFound) {
			return err
		}
		p, err := tx.Pending(ctx, ad.ch.Name, ad.index)
		if errors.Is(err, license.NotFound) {
			return nil
		}
		if p.Sold != (license.Sold{}) {
			told = Entitlement{Product: p.Sold.Product, Order: p.Sold.Order, Amount: p.Sold.Amount, ExpiresAt: p.Sold.ExpiresAt}
		}
		return err
	})
	return confirmed, told, err
}

// activate activates the code, records what that tells, and queries again.
func (ad adoption) activate(ctx context.Context) (Entitlement, error) {
	told, err := ad.ch.Upstream.Activate(ctx, ad.code)
	switch {
	case errors.Is(err, ErrAlreadyActive): // it told nothing
	case err != nil:
		return Entitlement{}, err
	default:
		if err := ad.recordActivation(ctx, told); err != nil {
			return Entitlement{}, err
		}
	}
	e, err := ad.ch.Upstream.Query(ctx, ad.code)
	if errors.Is(err, license.UnknownCode) || errors.Is(err, ErrNotActivated) {
		return Entitlement{}, license.Errorf(license.MarketplaceUnavailable,
			"the marketplace has not heard of its own activation yet; please try again shortly").WithCause(err)
	}
	return e, err
}

// recordActivation records what an activation told. It is told once, so it is
// kept where no licence can be made of it: in memory when the store cannot be
// written, in the store when the product is not configured.
func (ad adoption) recordActivation(ctx context.Context, told Entitlement) error {
	ad.a.gate.remember(ad.index, told)
	err := ad.record(ctx, told, false)
	if errors.Is(err, license.WrongProduct) {
		if kept := ad.keep(ctx, told); kept != nil {
			return errors.Join(err, kept)
		}
		ad.a.gate.forget(ad.index)
	}
	if err == nil {
		ad.a.gate.forget(ad.index)
	}
	return err
}

func (ad adoption) keep(ctx context.Context, told Entitlement) error {
	now := ad.a.now()
	return ad.a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		p, err := tx.Pending(ctx, ad.ch.Name, ad.index)
		if errors.Is(err, license.NotFound) {
			p = license.Pending{Channel: ad.ch.Name, CodeIndex: ad.index, Last4: ad.code.Last4(), FirstAt: now, LastAt: now}
		} else if err != nil {
			return fmt.Errorf("read what is pending for a code: %w", err)
		}
		p.Sold = license.Sold{Product: told.Product, Order: told.Order, Amount: told.Amount, ExpiresAt: told.ExpiresAt}
		return tx.PutPending(ctx, p)
	})
}

// record brings our record of the code to e. A decisive one is the answer to
// a query; without it the end in e is an estimate.
func (ad adoption) record(ctx context.Context, e Entitlement, decisive bool) error {
	now := ad.a.now()
	return ad.a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		pending, err := tx.Pending(ctx, ad.ch.Name, ad.index)
		if err != nil && !errors.Is(err, license.NotFound) {
			return fmt.Errorf("read what is pending for a code: %w", err)
		}
		was, err := tx.LicenseByCode(ctx, ad.index)
		known := err == nil
		if !known {
			if !errors.Is(err, license.NotFound) {
				return fmt.Errorf("look a code up: %w", err)
			}
			if was, err = ad.issue(e, now); err != nil {
				return err
			}
		}
		is := was.Clone()
		ad.apply(&is, e, pending, now)
		if decisive && !known && is.ExpiresAt.IsZero() && is.ReleasedAt.IsZero() && !ad.ch.PerpetualWithoutExpiry {
			return license.Errorf(license.MarketplaceUnavailable, "the marketplace does not say until when this code is valid; please contact the vendor").
				WithCause(errors.New("the query names no expiry, and the code was activated elsewhere: if such codes are sold without end, set perpetual_without_expiry"))
		}
		if err := ad.save(ctx, tx, known, was, is, now); err != nil {
			return err
		}
		if pending.FirstAt.IsZero() {
			return nil // there was none
		}
		return tx.DeletePending(ctx, ad.ch.Name, ad.index)
	})
}

// save writes the record with its audit event, where anything is new.
func (ad adoption) save(ctx context.Context, tx store.Tx, known bool, was, is license.License, now time.Time) error {
	event := license.AuditEvent{
		At: now, Actor: ad.actor, Action: license.ActionIssue, License: is.ID, Product: is.Product, Request: ad.request,
		Note: "sold by " + ad.ch.Name,
	}
	if known {
		event.Action, event.Note = license.ActionConfirm, "as "+ad.ch.Name+" says"
		if event.Before, event.After = difference(was, is); len(event.After) == 0 {
			return nil
		}
		if err := tx.UpdateLicense(ctx, is); err != nil {
			return fmt.Errorf("update %s: %w", is.ID, err)
		}
	} else {
		_, event.After = difference(license.License{}, is)
		if err := tx.CreateLicense(ctx, is); err != nil {
			return fmt.Errorf("record a code of %s: %w", ad.ch.Name, err)
		}
	}
	if _, err := tx.Append(ctx, event); err != nil {
		return fmt.Errorf("audit %s: %w", event.Action, err)
	}
	return nil
}

// issue makes our record of a code that the marketplace sold.
func (ad adoption) issue(e Entitlement, now time.Time) (license.License, error) {
	p, err := ad.product(e)
	if err != nil {
		return license.License{}, err
	}
	id, err := ad.a.ids.New(license.LicensePrefix, now)
	if err != nil {
		return license.License{}, err
	}
	sealed, err := ad.a.codes.Seal(ad.code, id)
	if err != nil {
		return license.License{}, fmt.Errorf("seal a code: %w", err)
	}
	return license.License{
		ID: id, Product: p.ID, Channel: ad.ch.Name,
		Code:     license.StoredCode{Last4: ad.code.Last4(), Index: ad.index, Sealed: sealed},
		Machines: p.Machines, Mode: p.Mode, Features: p.Features, IssuedAt: now,
	}, nil
}

// product is the product that a code was sold as. A marketplace that does not
// say, which a query may not, leaves only one answer where a single product is
// sold there: trusting the request would let a buyer choose a dearer one.
func (ad adoption) product(e Entitlement) (license.Product, error) {
	if e.Product != "" {
		id, ok := ad.a.byMarket[e.Product]
		if !ok {
			return license.Product{}, license.Errorf(license.WrongProduct,
				"this code was sold as a product that this server does not know").WithCause(
				fmt.Errorf("marketplace product %q is configured for no product", printable(e.Product)))
		}
		return ad.a.products[id], nil
	}
	sold := make(map[string]bool)
	for _, id := range ad.a.byMarket {
		sold[id] = true
	}
	if len(sold) == 1 && sold[ad.wanted.ID] {
		return ad.wanted, nil
	}
	return license.Product{}, license.Errorf(license.WrongProduct, "the marketplace does not say which product this code is for")
}

// apply sets what the marketplace said, first in earlier messages, then now.
// What it leaves out stays as it is.
func (ad adoption) apply(l *license.License, e Entitlement, pending license.Pending, now time.Time) {
	if e.Order != "" {
		l.Order = e.Order
	}
	if p := ad.a.products[l.Product]; p.MachinesFromAmount && e.Amount > 0 {
		l.Machines = e.Amount
	}
	if !pending.FirstAt.IsZero() {
		l.Heard = pending.Heard
	}
	if !pending.ExpiresAt.IsZero() {
		l.ExpiresAt = pending.ExpiresAt
	}
	if pending.Frozen {
		l.Holds |= license.HoldMarketplace
	}
	if meanwhile := l.Heard.Expiry >= ad.asked.UnixMilli(); !e.ExpiresAt.IsZero() && !meanwhile {
		l.ExpiresAt = e.ExpiresAt
	}
	if e.Expired && (l.ExpiresAt.IsZero() || l.ExpiresAt.After(now)) {
		l.ExpiresAt = now
	}
	switch {
	case !l.ReleasedAt.IsZero():
	case !pending.ReleasedAt.IsZero():
		l.ReleasedAt = pending.ReleasedAt
	case e.Released:
		l.ReleasedAt = now
	}
}
