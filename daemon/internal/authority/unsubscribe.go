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

// unsubscribed moves the order of a licence that its marketplace has ended to
// StageCancelled, so that nobody is asked any more to deliver it or to appeal.
// named is the order that the message names, "" where it names none. An order that
// was moved there before stays as it is.
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
	ranOut := l.ID != "" && !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt)
	for _, o := range orders {
		if err := cancelOrder(ctx, tx, o, ranOut, actor, now); err != nil {
			return err
		}
	}
	return nil
}

// pendingUnsubscribed is unsubscribed for what has no licence yet.
func (a *Authority) pendingUnsubscribed(ctx context.Context, tx store.Tx, p license.Pending, named string, now time.Time) error {
	if p.Instance == "" {
		return a.unsubscribed(ctx, tx, license.License{}, p.Channel, named, marketActor(p.Channel), now)
	}
	o, err := tx.Order(ctx, p.Channel, p.Order, p.Line)
	if errors.Is(err, license.NotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the order of an instance: %w", err)
	}
	return cancelOrder(ctx, tx, o, false, marketActor(p.Channel), now)
}

// cancelOrder moves an order to StageCancelled. What was completed stays so where
// its time has run out: then the release is no unsubscription, but its end.
func cancelOrder(ctx context.Context, tx store.Tx, o license.Order, ranOut bool, actor license.Actor, now time.Time) error {
	if !slices.Contains(o.Stage.Next(), license.StageCancelled) || o.Stage == license.StageCompleted && ranOut {
		return nil
	}
	_, _, err := moveOrder(ctx, tx, o, license.Move{To: license.StageCancelled, At: now, By: actor})
	return err
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
