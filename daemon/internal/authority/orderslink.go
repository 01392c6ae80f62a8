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

// LinkOrder says which licence was made for an order, by id or by code, and
// reports whether that was not known. A licence that names no order names this one
// from then on. "" takes back what was said; what an instance was made for stays.
//
// It fails with Conflict where the licence of the order's instance is still to be
// made, where the licence is of another product than was ordered, and where it was
// made for another order.
func (a *Authority) LinkOrder(ctx context.Context, actor license.Actor, ref OrderRef, licenseRef string) (o license.Order, changed bool, err error) {
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		changed = false
		was, err := a.findOrder(ctx, tx, ref)
		if err != nil {
			return err
		}
		var l license.License
		if licenseRef != "" {
			if l, err = a.find(ctx, tx, licenseRef); err != nil {
				return err
			}
		}
		if o = was; was.License == l.ID {
			return nil
		}
		o.License = l.ID
		if err := a.mayLink(ctx, tx, was, l); err != nil {
			return err
		}
		if was.License != "" {
			if err := a.unlink(ctx, tx, actor, was); err != nil {
				return err
			}
		}
		if l.ID != "" {
			if err := a.linkTo(ctx, tx, actor, o, l); err != nil {
				return err
			}
		}
		if err := tx.UpdateOrder(ctx, o); err != nil {
			return fmt.Errorf("record an order: %w", err)
		}
		o.Revision++
		changed = true
		return auditOrder(ctx, tx, actor, license.ActionOrderLink, was, o, a.now(), "")
	})
	return o, changed, err
}

// mayLink keeps the order of an instance with the licence that the instance has,
// or will have.
func (a *Authority) mayLink(ctx context.Context, tx store.Tx, was license.Order, l license.License) error {
	if was.Instance == "" {
		return nil
	}
	index, _, err := a.instanceIndex(was.Channel, was.Instance)
	if err != nil {
		return err
	}
	own, err := a.byInstance(ctx, tx, was.Channel, index)
	switch {
	case errors.Is(err, license.NotFound) && l.ID == "":
		return nil
	case errors.Is(err, license.NotFound):
		return errInstanceWaits
	case err != nil:
		return fmt.Errorf("look an instance up: %w", err)
	case was.License == own.ID || l.ID != "" && l.ID != own.ID:
		return license.Errorf(license.Conflict, "the licence of this order, %s, was made for its instance, and stays with it", own.ID)
	}
	return nil
}

// errInstanceWaits tells what to do about an order whose instance has no licence yet.
var errInstanceWaits = license.Errorf(license.Conflict, "the licence of this order is made by itself, for its instance, once the marketplace has been asked what was "+
	"ordered, which has not come to anything yet; see licensectl marketplace outbox list, mend what it says and retry it there, and issue none by hand")

// madeFor refuses a licence of another product than was ordered.
func (a *Authority) madeFor(o license.Order, l license.License) error {
	if ours := a.ProductOf(o); ours != "" && ours != l.Product {
		return license.Errorf(license.Conflict, "the order is for %s, and %s is a licence of %s", ours, l.ID, l.Product)
	}
	return nil
}

// linkTo checks that a licence can be the one that was made for an order, and has
// it name the order.
func (a *Authority) linkTo(ctx context.Context, tx store.Tx, actor license.Actor, o license.Order, l license.License) error {
	if err := a.madeFor(o, l); err != nil {
		return err
	}
	others, err := ordersOf(ctx, tx, store.OrderFilter{License: l.ID})
	if err != nil {
		return err
	}
	for _, other := range others {
		if other.Channel == o.Channel && other.ID == o.ID || other.Stage == license.StageCancelled || !delivered(other.Type) || !delivered(o.Type) {
			continue
		}
		return license.Errorf(license.Conflict, "%s was made for the order %s; issue another one, or take that back first (order link %s none)", l.ID, other.ID, other.ID)
	}
	if l.Order != "" || l.Sold() {
		return nil
	}
	return a.nameOrder(ctx, tx, actor, l, o.ID)
}

// relinked takes back what an order was linked to where its marketplace has told
// which licence it is of. is is recorded by the caller.
func (a *Authority) relinked(ctx context.Context, tx store.Tx, actor license.Actor, was, is license.Order, now time.Time) error {
	if was.License == "" || was.License == is.License {
		return nil
	}
	if err := a.unlink(ctx, tx, actor, was); err != nil {
		return err
	}
	linked := was
	linked.License = is.License
	return auditOrder(ctx, tx, actor, license.ActionOrderLink, was, linked, now, "instead of "+was.License+", as "+was.Channel+" says")
}

// unlink has the licence of an order, which no longer is, name it no longer.
func (a *Authority) unlink(ctx context.Context, tx store.Tx, actor license.Actor, was license.Order) error {
	l, err := tx.License(ctx, was.License)
	if err != nil {
		return fmt.Errorf("read the licence of an order: %w", err)
	}
	if l.Order != was.ID || l.Sold() {
		return nil
	}
	return a.nameOrder(ctx, tx, actor, l, "")
}

// nameOrder changes which order a licence names.
func (a *Authority) nameOrder(ctx context.Context, tx store.Tx, actor license.Actor, l license.License, order string) error {
	next := l.Clone()
	next.Order = order
	if err := tx.UpdateLicense(ctx, next); err != nil {
		return fmt.Errorf("update %s: %w", l.ID, err)
	}
	before, after := difference(l, next)
	if _, err := tx.Append(ctx, license.AuditEvent{
		At: a.now(), Actor: actor, Action: license.ActionEdit, License: l.ID, Product: l.Product, Before: before, After: after, Note: "linked to an order",
	}); err != nil {
		return fmt.Errorf("audit %s: %w", license.ActionEdit, err)
	}
	return nil
}

// OrdersDue is how many orders there is something to do about.
type OrdersDue struct {
	Open     int // still wait for somebody
	Warned   int // of them, there is something to do about
	Warnings map[license.OrderWarning]int
	// Worst is the one that has waited longest of those that were rejected too
	// often, else of those that wait for the buyer, else of those that wait for the
	// merchant; the zero Order where nothing is to be done.
	Worst license.Order
}

// OrdersDue counts the orders about which there is something to do.
func (a *Authority) OrdersDue(ctx context.Context) (due OrdersDue, err error) {
	now := a.now()
	rank := []license.OrderWarning{license.WarnDeliver, license.WarnBuyer, license.WarnRejections}
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		due = OrdersDue{Warnings: make(map[license.OrderWarning]int)}
		worst := -1
		return eachOrder(ctx, tx, store.OrderFilter{Open: true}, func(o license.Order) error {
			due.Open++
			warnings := o.Warnings(now)
			if len(warnings) == 0 {
				return nil
			}
			due.Warned++
			for _, w := range warnings {
				due.Warnings[w]++
				if n := slices.Index(rank, w); n > worst || n == worst && o.StageAt.Before(due.Worst.StageAt) {
					worst, due.Worst = n, o
				}
			}
			return nil
		})
	})
	return due, err
}
