package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Message is what a marketplace says about a code: one of EventSetExpiry,
// EventFreeze, EventUnfreeze and EventRelease.
type Message struct {
	Channel   string // the entry that authenticated it
	Event     license.Event
	Code      license.Code
	ExpiresAt time.Time // with EventSetExpiry
	Order     string
	SentAt    time.Time // its own timestamp
	ReplayKey []byte    // names this very message; the same again is a replay
}

// Outcome says what became of a Message.
type Outcome struct {
	License string // id of the licence, "" where the code is not known here
	Changed bool   // false where everything stood so already
	Late    bool   // the licence had ended before; nothing was changed
}

// Message applies what a marketplace says. A message touches only licences of
// the channel that authenticated it; about any other code it is recorded and
// applied when that code is activated. A message that was taken before is
// Replayed.
func (a *Authority) Message(ctx context.Context, m Message) (Outcome, error) {
	now, index := a.now(), a.codes.Index(m.Code)
	var out Outcome
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		out = Outcome{}
		if err := tx.MarkSeen(ctx, m.SentAt, m.ReplayKey); err != nil {
			if errors.Is(err, store.Exists) {
				return license.Errorf(license.Replayed, "this message was taken before")
			}
			return fmt.Errorf("mark a message: %w", err)
		}
		l, err := tx.LicenseByCode(ctx, index)
		if errors.Is(err, license.NotFound) || err == nil && l.Channel != m.Channel {
			out.Changed = true
			return a.remember(ctx, tx, m, index, now)
		}
		if err != nil {
			return fmt.Errorf("look a code up: %w", err)
		}
		out, err = a.hear(ctx, tx, l, m, now)
		return err
	})
	if err != nil {
		return Outcome{}, err
	}
	return out, nil
}

// hear applies a message to the licence that it is about.
func (a *Authority) hear(ctx context.Context, tx store.Tx, l license.License, m Message, now time.Time) (Outcome, error) {
	out := Outcome{License: l.ID}
	next, changed, err := l.Apply(license.Change{Event: m.Event, At: now, ExpiresAt: m.ExpiresAt})
	if err != nil {
		return Outcome{}, err
	}
	event := license.AuditEvent{
		At: now, Actor: license.Actor{Kind: license.ActorMarketplace, Name: m.Channel},
		Action: license.ActionOf(m.Event), License: l.ID, Product: l.Product, Note: orderNote(m.Order),
	}
	switch {
	case changed:
		out.Changed = true
		if err := tx.UpdateLicense(ctx, next); err != nil {
			return Outcome{}, fmt.Errorf("update %s: %w", l.ID, err)
		}
		event.Before, event.After = difference(l, next)
	case !l.ReleasedAt.IsZero() && m.Event != license.EventRelease:
		out.Late = true
		event.Action = license.ActionLateMessage
		event.Note = string(m.Event) + " " + event.Note
	default:
		return out, nil // it stood so already
	}
	if _, err := tx.Append(ctx, event); err != nil {
		return Outcome{}, fmt.Errorf("audit %s: %w", event.Action, err)
	}
	return out, nil
}

// remember adds a message to what is known about a code that nobody has
// presented yet.
func (a *Authority) remember(ctx context.Context, tx store.Tx, m Message, index []byte, now time.Time) error {
	p, err := tx.Pending(ctx, m.Channel, index)
	if errors.Is(err, license.NotFound) {
		p = license.Pending{Channel: m.Channel, CodeIndex: index, Last4: m.Code.Last4(), FirstAt: now}
	} else if err != nil {
		return fmt.Errorf("read what is pending for a code: %w", err)
	}
	switch m.Event { //nolint:exhaustive // the other events are the merchant's own
	case license.EventSetExpiry:
		p.ExpiresAt = m.ExpiresAt
	case license.EventFreeze:
		p.Frozen = true
	case license.EventUnfreeze:
		p.Frozen = false
	case license.EventRelease:
		if p.ReleasedAt.IsZero() {
			p.ReleasedAt = now
		}
	default:
		return license.Errorf(license.Internal, "a marketplace does not send %q", m.Event)
	}
	p.LastAt, p.Messages = now, p.Messages+1
	if err := tx.PutPending(ctx, p); err != nil {
		return fmt.Errorf("record a message about an unknown code: %w", err)
	}
	_, err = tx.Append(ctx, license.AuditEvent{
		At: now, Actor: license.Actor{Kind: license.ActorMarketplace, Name: m.Channel},
		Action: license.ActionUnknownCode, After: map[string]any{"code_last4": p.Last4, "event": m.Event},
		Note: orderNote(m.Order),
	})
	if err != nil {
		return fmt.Errorf("audit a message about an unknown code: %w", err)
	}
	return nil
}

func orderNote(order string) string {
	if order == "" {
		return ""
	}
	return "order " + order
}

// adopt asks the marketplaces about a code and makes, or brings up to date, our
// record of it: the code is queried first; where it is not active yet it is
// activated, recorded with what that said, and queried again, since the expiry
// that an activation tells is only an estimate (access guide …649244).
func (a *Authority) adopt(ctx context.Context, code license.Code, index []byte, wanted license.Product, actor license.Actor, request string) error {
	for _, ch := range a.channels {
		if ch.Upstream == nil || ch.Pattern != nil && !ch.Pattern.MatchString(code.Reveal()) {
			continue
		}
		ad := adoption{a: a, ch: ch, code: code, index: index, wanted: wanted, actor: actor, request: request}
		e, err := ch.Upstream.Query(ctx, code)
		switch {
		case errors.Is(err, license.UnknownCode):
			continue
		case errors.Is(err, ErrNotActivated):
			if e, err = ch.Upstream.Activate(ctx, code); err != nil {
				return fmt.Errorf("activate a code at %s: %w", ch.Name, err)
			}
			if err := ad.record(ctx, e); err != nil {
				return err
			}
			if e, err = ch.Upstream.Query(ctx, code); err != nil {
				return fmt.Errorf("query a code at %s: %w", ch.Name, err)
			}
		case err != nil:
			return fmt.Errorf("query a code at %s: %w", ch.Name, err)
		}
		return ad.record(ctx, e)
	}
	return license.Errorf(license.UnknownCode, "this code is not known")
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
}

func (ad adoption) record(ctx context.Context, e Entitlement) error {
	now := ad.a.now()
	return ad.a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		pending, err := tx.Pending(ctx, ad.ch.Name, ad.index)
		if err != nil && !errors.Is(err, license.NotFound) {
			return fmt.Errorf("read what is pending for a code: %w", err)
		}
		l, err := tx.LicenseByCode(ctx, ad.index)
		switch {
		case errors.Is(err, license.NotFound):
			if l, err = ad.issue(e, now); err != nil {
				return err
			}
			ad.apply(&l, e, pending, now)
			if err := tx.CreateLicense(ctx, l); err != nil {
				return fmt.Errorf("record a code of %s: %w", ad.ch.Name, err)
			}
			if err := ad.audit(ctx, tx, license.ActionIssue, license.License{}, l, now); err != nil {
				return err
			}
		case err != nil:
			return fmt.Errorf("look a code up: %w", err)
		case l.Channel != ad.ch.Name:
			return license.Errorf(license.UnknownCode, "this code is not known")
		default:
			if err := ad.update(ctx, tx, l, e, pending, now); err != nil {
				return err
			}
		}
		if pending.Messages == 0 {
			return nil
		}
		return tx.DeletePending(ctx, ad.ch.Name, ad.index)
	})
}

// update brings a record that exists to what the marketplace says now.
func (ad adoption) update(ctx context.Context, tx store.Tx, l license.License, e Entitlement, pending license.Pending, now time.Time) error {
	next := l.Clone()
	ad.apply(&next, e, pending, now)
	before, after := difference(l, next)
	if len(after) == 0 {
		return nil
	}
	if err := tx.UpdateLicense(ctx, next); err != nil {
		return fmt.Errorf("update %s: %w", l.ID, err)
	}
	_, err := tx.Append(ctx, license.AuditEvent{
		At: now, Actor: license.Actor{Kind: license.ActorMarketplace, Name: ad.ch.Name}, Action: license.ActionSetExpiry,
		License: l.ID, Product: l.Product, Request: ad.request, Before: before, After: after, Note: "as the marketplace says",
	})
	if err != nil {
		return fmt.Errorf("audit %s: %w", l.ID, err)
	}
	return nil
}

func (ad adoption) audit(ctx context.Context, tx store.Tx, action license.Action, was, is license.License, now time.Time) error {
	_, after := difference(was, is)
	_, err := tx.Append(ctx, license.AuditEvent{
		At: now, Actor: ad.actor, Action: action, License: is.ID, Product: is.Product, Request: ad.request, After: after,
		Note: "sold by " + ad.ch.Name,
	})
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
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
	l := license.License{
		ID: id, Product: p.ID, Channel: ad.ch.Name, Order: e.Order,
		Code:     license.StoredCode{Last4: ad.code.Last4(), Index: ad.index, Sealed: sealed},
		Machines: p.Machines, Mode: p.Mode, Features: p.Features, IssuedAt: now,
	}
	if p.MachinesFromAmount {
		l.Machines = max(e.Amount, 1)
	}
	return l, nil
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
func (ad adoption) apply(l *license.License, e Entitlement, pending license.Pending, now time.Time) {
	if !pending.ExpiresAt.IsZero() {
		l.ExpiresAt = pending.ExpiresAt
	}
	if pending.Frozen {
		l.Holds |= license.HoldMarketplace
	}
	if !e.ExpiresAt.IsZero() {
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
