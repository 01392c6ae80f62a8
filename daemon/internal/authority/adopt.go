package authority

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Bounds of the steps of an adoption. Each has its own, so that an activation
// at the marketplace is never cut off by what was waited for before it.
const (
	gateTimeout     = 5 * time.Second
	queryTimeout    = 10 * time.Second
	activateTimeout = 22 * time.Second // two addresses, one after the other
	recordTimeout   = 10 * time.Second
)

// adopt asks the marketplaces about a code and makes, or brings up to date, our
// record of it: the code is queried first; where it is not active yet it is
// activated, and queried again, since the end that an activation tells is only
// an estimate (access guide …649244).
//
// Only the activation surely names product, order and quantity, and it does so
// once. So what it tells is kept before anything else is done, whatever the
// caller does meanwhile, and of several callers with one code one asks.
func (a *Authority) adopt(ctx context.Context, code license.Code, index []byte, wanted license.Product, actor license.Actor, request string) error {
	if a.gate.isUnknown("", index, a.now()) {
		return errUnknownCode
	}
	if DryRun(ctx) {
		return errNotAsked
	}
	if c := CallOf(ctx); c != nil && !a.mayAdopt(c.Principal, wanted) {
		return outside(wanted.ID)
	}
	leave, err := a.gate.enter(ctx, index)
	if err != nil {
		return err
	}
	defer leave()
	if a.gate.isUnknown("", index, a.now()) { // somebody with the same code has asked meanwhile
		return errUnknownCode
	}
	known, done, err := a.channelOf(ctx, index)
	if err != nil || done {
		return err
	}
	return a.askAll(ctx, known, adoption{a: a, code: code, index: index, wanted: wanted, actor: actor, request: request})
}

// mayAdopt reports whether p sees a product that a program of wanted can be used
// with.
func (a *Authority) mayAdopt(p Principal, wanted license.Product) bool {
	if p.Sees(wanted.ID) {
		return true
	}
	for _, id := range p.Products {
		if a.products[id].Takes(wanted.ID) {
			return true
		}
	}
	return false
}

// askAll asks the marketplaces that may know a code, one after the other; known
// is the entry that it is known from, "" where it is not. A code that is not
// known costs of the budget once, where anybody was asked about it at all.
func (a *Authority) askAll(ctx context.Context, known string, ad adoption) error {
	var failure error
	var strange []string // the entries that do not know it
	for _, ch := range a.channels {
		asked := ch.Upstream != nil && (ch.Pattern == nil || ch.Pattern.MatchString(ad.code.Reveal()))
		if !asked || known != "" && known != ch.Name || known == "" && a.gate.isUnknown(ch.Name, ad.index, a.now()) {
			continue
		}
		if known == "" && a.gate.exhausted(a.now()) {
			if failure == nil {
				failure = errBusy.WithRetryAfter(time.Minute)
			}
			break
		}
		one := ad
		one.ch = ch
		err := one.run(ctx)
		if err == nil {
			return nil
		}
		if errors.Is(err, license.UnknownCode) {
			strange = append(strange, ch.Name)
		} else if failure == nil {
			failure = err // another entry may still know the code
		}
	}
	switch {
	case len(strange) == 0 && failure == nil: // nobody was asked
		return errUnknownCode
	case len(strange) > 0:
		a.gate.spend(a.now())
	}
	if failure == nil {
		a.gate.setUnknown("", ad.index, a.now())
		return errUnknownCode
	}
	for _, name := range strange { // while another one does not answer
		a.gate.setUnknown(name, ad.index, a.now())
	}
	return failure
}

var errUnknownCode = license.Errorf(license.UnknownCode, "this code is not known")

// channelOf returns the entry that a code is known from, "" where it is not,
// and whether there is nothing left to ask.
func (a *Authority) channelOf(ctx context.Context, index []byte) (channel string, done bool, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		l, err := tx.LicenseByCode(ctx, index)
		if errors.Is(err, license.NotFound) {
			return nil
		}
		channel, done = l.Channel, !l.ActivatedAt.IsZero()
		return err
	})
	return channel, done, err
}

// adoption turns what a marketplace says about one code into our record.
type adoption struct {
	a       *Authority
	ch      Channel
	code    license.Code
	index   []byte
	wanted  license.Product
	actor   license.Actor
	request string

	sold  license.Sold // what an activation told, now or before
	heard int64        // the newest message about the end before the query went out

	changed bool           // record has changed something
	own     bool           // the merchant has set another end than the marketplace says, which stays
	was, is map[string]any // what has changed, before and after
}

func (ad *adoption) run(ctx context.Context) error {
	if err := ad.before(ctx); err != nil {
		return err
	}
	e, err := ad.query(ctx)
	if errors.Is(err, ErrNotActivated) {
		e, err = ad.activate(ctx)
	}
	if err != nil {
		return fmt.Errorf("ask %s about a code: %w", ad.ch.Name, err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	return ad.record(ctx, e)
}

// before reads what is known of the code before the marketplace is asked.
func (ad *adoption) before(ctx context.Context) error {
	ad.sold, _ = ad.a.gate.toldOf(ad.ch.Name, ad.index)
	return ad.a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		l, known, p, err := ad.read(ctx, tx)
		if err != nil {
			return err
		}
		ad.heard = p.Heard.Expiry
		if known {
			ad.heard = l.Heard.Expiry
		}
		if p.Sold.Told {
			ad.sold = p.Sold
		}
		return nil
	})
}

// read returns our record of the code and what is pending for it.
func (ad *adoption) read(ctx context.Context, tx store.Tx) (l license.License, known bool, p license.Pending, err error) {
	if p, err = tx.Pending(ctx, ad.ch.Name, ad.index); err != nil && !errors.Is(err, license.NotFound) {
		return l, false, p, fmt.Errorf("read what is pending for a code: %w", err)
	}
	l, err = tx.LicenseByCode(ctx, ad.index)
	if errors.Is(err, license.NotFound) {
		return l, false, p, nil
	}
	return l, err == nil, p, err
}

func (ad *adoption) query(ctx context.Context) (Entitlement, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return ad.ch.Upstream.Query(ctx, ad.code)
}

// activate activates the code, keeps what that tells, and queries again.
func (ad *adoption) activate(ctx context.Context) (Entitlement, error) {
	ctx = context.WithoutCancel(ctx)
	calling, cancel := context.WithTimeout(ctx, activateTimeout)
	defer cancel()
	told, err := ad.ch.Upstream.Activate(calling, ad.code)
	switch {
	case errors.Is(err, ErrAlreadyActive): // it told nothing
	case err != nil:
		return Entitlement{}, err
	default:
		ad.sold = license.Sold{
			Told: true, Product: told.Product, Order: told.Order, Amount: told.Amount, ExpiresAt: told.ExpiresAt, Unsure: told.Unsure,
		}
		if err := ad.keep(ctx); err != nil {
			return Entitlement{}, err
		}
	}
	e, err := ad.query(ctx)
	if errors.Is(err, license.UnknownCode) || errors.Is(err, ErrNotActivated) {
		return Entitlement{}, license.Errorf(license.MarketplaceUnavailable,
			"the marketplace has not heard of its own activation yet; please try again shortly").WithCause(err)
	}
	return e, err
}

// keep stores what an activation told with the code. It is told once, so where
// the store cannot be written just then it stays in memory.
func (ad *adoption) keep(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, recordTimeout)
	defer cancel()
	now := ad.a.now()
	ad.a.gate.remember(ad.ch.Name, ad.index, ad.sold)
	err := ad.a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		_, _, p, err := ad.read(ctx, tx)
		if err != nil {
			return err
		}
		if p.FirstAt.IsZero() {
			p = license.Pending{Channel: ad.ch.Name, CodeIndex: ad.index, Last4: ad.code.Last4(), FirstAt: now, LastAt: now}
		}
		p.Sold = ad.sold
		return tx.PutPending(ctx, p)
	})
	if err != nil {
		return fmt.Errorf("keep what an activation told: %w", err)
	}
	ad.a.gate.forget(ad.ch.Name, ad.index)
	return nil
}

// record brings our record of the code to e, the answer to a query.
func (ad *adoption) record(ctx context.Context, e Entitlement) error {
	now := ad.a.now()
	err := ad.a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		was, known, pending, err := ad.read(ctx, tx)
		if err != nil {
			return err
		}
		if !known {
			if was, err = ad.issue(e, now); err != nil {
				return err
			}
		}
		is := was.Clone()
		ad.changed, ad.own = false, false
		if err := ad.apply(&is, e, pending, now); err != nil {
			return err
		}
		if err := ad.save(ctx, tx, known, was, is, now); err != nil {
			return err
		}
		if err := ad.a.orderActivated(ctx, tx, ad.actor, is, !known, now); err != nil {
			return err
		}
		if was.ReleasedAt.IsZero() && !is.ReleasedAt.IsZero() {
			before := is
			before.ReleasedAt = was.ReleasedAt
			if err := ad.a.unsubscribed(ctx, tx, before, ad.ch.Name, "", ad.actor, now); err != nil {
				return err
			}
		}
		if pending.FirstAt.IsZero() {
			return nil // there was none
		}
		return tx.DeletePending(ctx, ad.ch.Name, ad.index)
	})
	if err == nil {
		ad.a.gate.forget(ad.ch.Name, ad.index)
	}
	return err
}

// save writes the record with its audit event, where anything is new.
func (ad *adoption) save(ctx context.Context, tx store.Tx, known bool, was, is license.License, now time.Time) error {
	event := license.AuditEvent{
		At: now, Actor: ad.actor, Action: license.ActionIssue, License: is.ID, Product: is.Product, Request: ad.request,
		Note: "sold by " + ad.ch.Name,
	}
	if known {
		event.Action, event.Note = license.ActionConfirm, "as "+ad.ch.Name+" says"
		if event.Before, event.After = difference(was, is); len(event.After) == 0 {
			return nil
		}
		ad.changed, ad.was, ad.is = true, event.Before, event.After
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
func (ad *adoption) issue(e Entitlement, now time.Time) (license.License, error) {
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

// product is the product that a code was sold as. Where neither the query nor
// an activation says, nor the order of an instance, only one answer is left where
// a single product is sold there: trusting the request would let a buyer choose a dearer one.
func (ad *adoption) product(e Entitlement) (license.Product, error) {
	named := e.Product
	if named == "" {
		named = ad.sold.Product
	}
	if named != "" {
		id, ok := ad.a.byMarket[named]
		if !ok {
			return license.Product{}, license.Errorf(license.WrongProduct,
				"this code was sold as a product that this server does not know").WithCause(
				fmt.Errorf("marketplace product %q is configured for no product", printable(named)))
		}
		return ad.a.products[id], nil
	}
	only := ""
	for _, id := range ad.a.byMarket {
		if only != "" && only != id {
			only = ""
			break
		}
		only = id
	}
	if only != "" && (ad.wanted.ID == "" || ad.wanted.ID == only) {
		return ad.a.products[only], nil
	}
	return license.Product{}, license.Errorf(license.WrongProduct, "the marketplace does not say which product this code is for")
}

// apply sets what the marketplace said: at the activation, in messages, and now.
// What it leaves out stays as it is.
func (ad *adoption) apply(l *license.License, e Entitlement, pending license.Pending, now time.Time) error {
	if order := cmp.Or(e.Order, ad.sold.Order); order != "" {
		l.Order = order
	}
	if amount := cmp.Or(e.Amount, ad.sold.Amount); amount > 0 && ad.a.products[l.Product].MachinesFromAmount {
		l.Machines = amount
	}
	if !pending.FirstAt.IsZero() {
		l.Heard = pending.Heard
	}
	if pending.Frozen {
		l.Holds |= license.HoldMarketplace
	}
	if err := ad.applyEnd(l, e, pending, now); err != nil {
		return err
	}
	switch {
	case !l.ReleasedAt.IsZero():
	case !pending.ReleasedAt.IsZero():
		l.ReleasedAt = pending.ReleasedAt
	case e.Released:
		l.ReleasedAt = now
	}
	return nil
}

// applyEnd sets the end: that of the query, unless a message about it came in
// while the query was under way; else the last one that is known.
func (ad *adoption) applyEnd(l *license.License, e Entitlement, pending license.Pending, now time.Time) error {
	if l.OwnEnd {
		ad.own = !e.ExpiresAt.IsZero() && !e.ExpiresAt.Equal(l.ExpiresAt)
		return nil
	}
	if !pending.ExpiresAt.IsZero() {
		l.ExpiresAt = pending.ExpiresAt
	}
	meanwhile := l.Heard.Expiry != ad.heard
	switch {
	case !e.ExpiresAt.IsZero() && !meanwhile:
		l.ExpiresAt = e.ExpiresAt
	case l.ExpiresAt.IsZero():
		l.ExpiresAt = ad.sold.ExpiresAt // an estimate, which is better than none
	}
	if e.Expired && !meanwhile && (l.ExpiresAt.IsZero() || l.ExpiresAt.After(now)) {
		l.ExpiresAt = now
	}
	soldWithoutEnd := ad.sold.Told && !ad.sold.Unsure || !l.ActivatedAt.IsZero() || ad.ch.PerpetualWithoutExpiry
	if l.ExpiresAt.IsZero() && !soldWithoutEnd && !e.Released {
		return license.Errorf(license.MarketplaceUnavailable, "the marketplace does not say until when this code is valid; please contact the vendor").
			WithCause(errors.New("neither the query nor the activation names an end: if such codes are sold without one, set perpetual_without_expiry"))
	}
	return nil
}
