package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// unsubscribed moves the order of a licence that its marketplace ends, as it is
// before that, to StageCancelled, so that nobody is asked any more to deliver it or
// to appeal. named is the order that the message names, "" where it names none. An
// order that was moved there before stays as it is.
//
// Of the orders that are linked to the licence those of renewals and changes do
// not count, as they pass no stages. Where none is linked, it is the order that the
// licence or the message names, if it has one line only, which is linked to
// nothing else.
func (a *Authority) unsubscribed(ctx context.Context, tx store.Tx, l license.License, channel, named string, actor license.Actor, now time.Time) error {
	orders, err := a.ordersFor(ctx, tx, l, channel, named)
	if err != nil {
		return err
	}
	for _, o := range orders {
		if err := endOrder(ctx, tx, o, l, actor, now); err != nil {
			return err
		}
	}
	return nil
}

// pendingUnsubscribed is unsubscribed for what has no licence yet, with ReleasedAt
// set: now, where it is released for the first time.
func (a *Authority) pendingUnsubscribed(ctx context.Context, tx store.Tx, p license.Pending, named string, now time.Time) error {
	before := license.License{Terms: p.Terms, ExpiresAt: p.ExpiresAt, Channel: p.Channel}
	if !p.ReleasedAt.Equal(now) {
		before.ReleasedAt = p.ReleasedAt
	}
	if p.Instance == "" {
		return a.unsubscribed(ctx, tx, before, p.Channel, named, marketActor(p.Channel), now)
	}
	o, err := tx.Order(ctx, p.Channel, p.Order, p.Line)
	if errors.Is(err, license.NotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the order of an instance: %w", err)
	}
	return endOrder(ctx, tx, o, before, marketActor(p.Channel), now)
}

// endOrder moves the order of a licence that is released on. Where its time has
// run out, the release is no unsubscription but its end: nothing can be accepted
// or rejected any more, so it is completed. Else it is cancelled; but not again by
// a release that is repeated, as the staff may have corrected it meanwhile.
func endOrder(ctx context.Context, tx store.Tx, o license.Order, l license.License, actor license.Actor, now time.Time) error {
	m := license.Move{To: license.StageCancelled, At: now, By: actor}
	if end := soldUntil(l, o); !end.IsZero() && !now.Before(end) {
		m.To, m.Note = license.StageCompleted, "its time has run out"
	}
	again := !l.ReleasedAt.IsZero() && slices.ContainsFunc(o.History, func(c license.StageChange) bool {
		return !c.Stage.Open() && (c.By.Kind == license.ActorMarketplace || c.By.Kind == license.ActorSystem)
	})
	if again || !slices.Contains(o.Stage.Next(), m.To) {
		return nil
	}
	_, _, err := moveOrder(ctx, tx, o, m)
	return err
}

// soldUntil is the end of a licence as its marketplace knows it, zero where there
// is none or it is not known. What the merchant has set besides does not count: a
// later end of its own, or that of a licence which it issued by hand, unless the
// marketplace has told another one since.
func soldUntil(l license.License, o license.Order) time.Time {
	if end, ok := l.Terms.End(); ok {
		return end
	}
	first, second := l.ExpiresAt, o.ExpiresAt
	switch {
	case l.OwnEnd:
		first = l.SoldUntil
	case l.Channel == license.ChannelManual && l.Heard.Expiry == 0:
		first, second = second, first
	}
	if first.IsZero() {
		return second
	}
	return first
}

// ordersFor returns the orders at a marketplace entry that a licence was made for.
func (a *Authority) ordersFor(ctx context.Context, tx store.Tx, l license.License, channel, named string) ([]license.Order, error) {
	var ids []string
	for _, id := range []string{l.Order, named} {
		if id != "" && !slices.Contains(ids, id) && plain("order", id, 64) == nil {
			ids = append(ids, id)
		}
	}
	var alone []license.Order // linked to nothing
	for _, id := range ids {
		lines, err := ordersOf(ctx, tx, store.OrderFilter{Channel: channel, ID: id})
		if err != nil {
			return nil, err
		}
		if linked := purchasesOf(l, lines); len(linked) > 0 {
			return linked, nil
		}
		if len(alone) == 0 && len(lines) == 1 && a.couldBe(lines[0], l) {
			alone = lines
		}
	}
	if l.ID == "" {
		return alone, nil
	}
	linked, err := ordersOf(ctx, tx, store.OrderFilter{Channel: channel, License: l.ID})
	if err != nil {
		return nil, err
	}
	if linked = purchasesOf(l, linked); len(linked) > 0 {
		return linked, nil
	}
	return alone, nil
}

// purchasesOf are those of some orders that a licence was made for.
func purchasesOf(l license.License, orders []license.Order) []license.Order {
	return slices.DeleteFunc(slices.Clone(orders), func(o license.Order) bool {
		return l.ID == "" || o.License != l.ID || !delivered(o.Type)
	})
}

// couldBe reports whether an order that is linked to nothing may be that of a
// licence, the zero License for a code of which nothing is known.
func (a *Authority) couldBe(o license.Order, l license.License) bool {
	return o.License == "" && o.Instance == "" && delivered(o.Type) &&
		(o.Product == "" || l.Product == "" || a.byMarket[o.Product] == l.Product)
}
