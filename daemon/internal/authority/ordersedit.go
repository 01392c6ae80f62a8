package authority

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// NewOrder is an order of which the merchant's staff knows. Zero fields are not
// known.
type NewOrder struct {
	Channel   string // a marketplace entry, or license.ChannelManual; "": the only entry
	ID        string
	Line      string // "" where the order has only one
	Product   string // the marketplace's product id
	Amount    int
	Customer  string
	OrderedAt time.Time
	ExpiresAt time.Time
	Stage     license.Stage // "": StageToDeliver
	StageAt   time.Time     // since when; zero: from now on
	// Rejections is how often the buyer has rejected; one that stands rejected was
	// so once at least.
	Rejections int
	License    string // by id or code: what was made for it
	Note       string
	// Offline: the marketplace is not asked about it. Else that is done where
	// nothing is said of what was ordered, and the entry can be asked.
	Offline bool
}

// AddOrder records an order of which the staff knows, and reports whether it was
// not known. The same again changes nothing, also when the order has been moved on
// since; an order that is known otherwise is Conflict.
func (a *Authority) AddOrder(ctx context.Context, actor license.Actor, n NewOrder) (o license.Order, added bool, err error) {
	all, err := a.addOrders(ctx, actor, []NewOrder{n}, false)
	if err != nil {
		return o, false, err
	}
	return all[0].Order, all[0].Added, all[0].Err
}

// AddedOrder is what became of an order of ImportOrders.
type AddedOrder struct {
	Order license.Order
	Added bool // it was not known
	Err   error
}

// MaxImport is how many orders ImportOrders takes.
const MaxImport = 1000

// ImportOrders records many orders at once as AddOrder does, all or none of them:
// where one has an Err, nothing was recorded, as in a dry run. The marketplace is
// asked about none.
func (a *Authority) ImportOrders(ctx context.Context, actor license.Actor, orders []NewOrder, dryRun bool) ([]AddedOrder, error) {
	if len(orders) == 0 || len(orders) > MaxImport {
		return nil, license.FieldErrorf("orders", "there must be 1 to %d of them", MaxImport)
	}
	orders = slices.Clone(orders)
	for i := range orders {
		orders[i].Offline = true
	}
	return a.addOrders(ctx, actor, orders, dryRun)
}

// errNothing undoes an Update whose results are wanted all the same.
var errNothing = errors.New("nothing is to be recorded")

func (a *Authority) addOrders(ctx context.Context, actor license.Actor, orders []NewOrder, dryRun bool) ([]AddedOrder, error) {
	var out []AddedOrder
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		out = make([]AddedOrder, len(orders))
		failed := dryRun
		for i, n := range orders {
			out[i].Order, out[i].Added, out[i].Err = a.addOrder(ctx, tx, actor, n)
			failed = failed || out[i].Err != nil
		}
		if failed {
			return errNothing
		}
		return nil
	})
	if err != nil && !errors.Is(err, errNothing) {
		return nil, err
	}
	return out, nil
}

func (a *Authority) addOrder(ctx context.Context, tx store.Tx, actor license.Actor, n NewOrder) (o license.Order, added bool, err error) {
	is, err := a.newOrder(actor, n)
	if err != nil {
		return o, false, err
	}
	line := is.Line
	if strings.TrimSpace(n.Line) == "" {
		line = ""
	}
	was, known, err := a.orderLine(ctx, tx, actor, is.Channel, is.ID, line)
	if err != nil {
		return o, false, err
	}
	if n.License != "" {
		l, err := a.find(ctx, tx, n.License)
		if err != nil {
			return o, false, err
		}
		is.License = l.ID
		if !known {
			if err := a.linkTo(ctx, tx, actor, is, l); err != nil {
				return o, false, err
			}
		}
	}
	if known {
		return was, false, sameOrder(was, is, n)
	}
	if err := tx.CreateOrder(ctx, is); err != nil {
		return o, false, fmt.Errorf("record an order: %w", err)
	}
	is.Revision = 1
	if err := auditOrder(ctx, tx, actor, license.ActionOrderAdd, license.Order{}, is, is.SeenAt, n.Note); err != nil {
		return o, false, err
	}
	ch, ok := a.channel(is.Channel)
	if n.Offline || !ok || ch.Desk == nil || n.Product != "" || n.Amount != 0 || n.Customer != "" || !n.OrderedAt.IsZero() {
		return is, true, nil
	}
	return is, true, a.readLater(ctx, tx, is.Channel, is.ID, n.Line)
}

// newOrder checks what the staff says of an order.
func (a *Authority) newOrder(actor license.Actor, n NewOrder) (license.Order, error) {
	now := a.now()
	channel, err := a.orderChannel(n.Channel)
	if err != nil {
		return license.Order{}, err
	}
	o := license.Order{
		Channel: channel, ID: strings.TrimSpace(n.ID), Line: cmp.Or(strings.TrimSpace(n.Line), onlyLine), Product: strings.TrimSpace(n.Product),
		Amount: n.Amount, Customer: strings.TrimSpace(n.Customer),
		OrderedAt: n.OrderedAt.UTC().Truncate(time.Second), ExpiresAt: n.ExpiresAt.UTC().Truncate(time.Second),
		SeenAt: now, Stage: cmp.Or(n.Stage, license.StageToDeliver), StageAt: now, Rejections: n.Rejections,
	}
	if _, err := license.ParseStage(string(o.Stage)); err != nil {
		return o, err
	}
	if err := errors.Join(plain("order", o.ID, 64), plain("line", o.Line, 64), plain("note", n.Note, 512), a.sayable(o)); err != nil {
		return o, err
	}
	first := license.StageChange{At: now, Stage: o.Stage, By: actor, Note: n.Note}
	if !n.StageAt.IsZero() {
		o.StageAt = n.StageAt.UTC().Truncate(time.Second)
		first.At, first.EnteredAt = o.StageAt, now
	}
	if o.Stage == license.StageRejected {
		o.Rejections = max(o.Rejections, 1)
	}
	o.History = []license.StageChange{first}
	switch {
	case o.ID == "":
		return o, license.FieldErrorf("order", "the id of the order is required")
	case o.ID == "." || o.ID == ".." || o.Line == "." || o.Line == "..":
		return o, license.FieldErrorf("order", "%q names no order", o.ID)
	case n.Rejections < 0 || n.Rejections > maxRejections:
		return o, license.FieldErrorf("rejections", "it must be between 0 and %d", maxRejections)
	case o.StageAt.After(now):
		return o, license.FieldErrorf("stage_at", "it lies in the future")
	case o.StageAt.Year() < firstYear:
		return o, license.FieldErrorf("stage_at", "it lies before the year %d", firstYear)
	case o.StageAt.Before(o.OrderedAt):
		return o, license.FieldErrorf("stage_at", "it lies before the order was placed")
	}
	return o, nil
}

// maxRejections bounds what is entered of the past.
const maxRejections = 1000

// sayable checks what is said of what was ordered.
func (a *Authority) sayable(o license.Order) error {
	switch {
	case o.Amount < 0 || o.Amount > maxAmount:
		return license.FieldErrorf("amount", "the quantity must be between 1 and %d", maxAmount)
	case o.OrderedAt.After(a.now().Add(24 * time.Hour)):
		return license.FieldErrorf("ordered_at", "it lies in the future")
	case !o.OrderedAt.IsZero() && o.OrderedAt.Year() < firstYear:
		return license.FieldErrorf("ordered_at", "it lies before the year %d", firstYear)
	case !o.ExpiresAt.IsZero() && (o.ExpiresAt.Year() < firstYear || o.ExpiresAt.After(license.Forever)):
		return license.FieldErrorf("expires_at", "it is no time at which an order ends")
	case !o.ExpiresAt.IsZero() && o.ExpiresAt.Before(o.OrderedAt):
		return license.FieldErrorf("expires_at", "it lies before the order was placed")
	}
	return errors.Join(plain("product", o.Product, 64), plain("customer", o.Customer, 256))
}

// orderChannel is the marketplace entry that an order is of.
func (a *Authority) orderChannel(name string) (string, error) {
	entries := a.Channels()
	switch {
	case name == license.ChannelManual, slices.Contains(entries, name):
		return name, nil
	case name == "" && len(entries) == 0:
		return license.ChannelManual, nil
	case name == "" && len(entries) == 1:
		return entries[0], nil
	}
	return "", license.FieldErrorf("channel", "name where the order was placed: %s", strings.Join(append(entries, license.ChannelManual), ", "))
}

// sameOrder is a Conflict that names what is known otherwise, where anything is. A
// stage that the order was in is not.
func sameOrder(was, is license.Order, n NewOrder) error {
	passed := was.Stage == is.Stage || slices.ContainsFunc(was.History, func(c license.StageChange) bool { return c.Stage == is.Stage })
	var differ []string
	for _, f := range []struct {
		name string
		same bool
	}{
		{"product", n.Product == "" || was.Product == is.Product},
		{"amount", n.Amount == 0 || was.Amount == is.Amount},
		{"customer", n.Customer == "" || was.Customer == is.Customer},
		{"ordered", n.OrderedAt.IsZero() || was.OrderedAt.Equal(is.OrderedAt)},
		{"expires", n.ExpiresAt.IsZero() || was.ExpiresAt.Equal(is.ExpiresAt)},
		{"stage", n.Stage == "" || passed},
		{"rejections", n.Rejections == 0 || was.Rejections >= is.Rejections},
		{"license", n.License == "" || was.License == is.License},
	} {
		if !f.same {
			differ = append(differ, f.name)
		}
	}
	if len(differ) == 0 {
		return nil
	}
	return license.Errorf(license.Conflict, "there is this order already, and it says something else of: %s; show it, then edit, move or link it",
		strings.Join(differ, ", "))
}

// OrderEdit is what the staff knows better of an order that it entered; what is
// nil stays, and a zero value is not known.
type OrderEdit struct {
	Product   *string // the marketplace's product id
	Amount    *int
	Customer  *string
	OrderedAt *time.Time
	ExpiresAt *time.Time
	Note      string
}

// EditOrder changes what is known of an order, and reports whether that is a
// change. What the marketplace has told stands: then it is Conflict.
func (a *Authority) EditOrder(ctx context.Context, actor license.Actor, ref OrderRef, e OrderEdit) (o license.Order, changed bool, err error) {
	if err := plain("note", e.Note, 512); err != nil {
		return o, false, err
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		changed = false
		was, err := a.findOrder(ctx, tx, ref)
		if err != nil {
			return err
		}
		o = e.applied(was)
		if err := a.sayable(o); err != nil {
			return err
		}
		switch before, after := map[string]any{}, map[string]any{}; {
		case !was.ReadAt.IsZero() || was.Type != "":
			return license.Errorf(license.Conflict, "the marketplace has told of this order, and what it says stands")
		case was.Product != o.Product && was.License != "":
			l, err := tx.License(ctx, was.License)
			if err != nil {
				return fmt.Errorf("read the licence of an order: %w", err)
			}
			if err := a.madeFor(o, l); err != nil {
				return err
			}
		default:
			if orderDifference(was, o, before, after); len(after) == 0 {
				return nil
			}
		}
		if err := tx.UpdateOrder(ctx, o); err != nil {
			return fmt.Errorf("record an order: %w", err)
		}
		o.Revision++
		changed = true
		return auditOrder(ctx, tx, actor, license.ActionOrderEdit, was, o, a.now(), e.Note)
	})
	return o, changed, err
}

func (e OrderEdit) applied(o license.Order) license.Order {
	if e.Product != nil {
		o.Product = strings.TrimSpace(*e.Product)
	}
	if e.Amount != nil {
		o.Amount = *e.Amount
	}
	if e.Customer != nil {
		o.Customer = strings.TrimSpace(*e.Customer)
	}
	if e.OrderedAt != nil {
		o.OrderedAt = e.OrderedAt.UTC().Truncate(time.Second)
	}
	if e.ExpiresAt != nil {
		o.ExpiresAt = e.ExpiresAt.UTC().Truncate(time.Second)
	}
	return o
}
