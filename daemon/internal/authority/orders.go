package authority

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// OrderRef names a line of an order. ID is the id of the order, or of the line
// where it begins with that of its order and a dash, as the marketplace's do.
// Channel and Line are needed only where ID names several lines.
type OrderRef struct {
	Channel string
	ID      string
	Line    string
}

// OrderFilter selects lines of orders; zero fields select all.
type OrderFilter struct {
	Channel  string
	Stage    license.Stage
	Open     bool   // only those that still wait for somebody
	Warned   bool   // only those about which there is something to do
	Product  string // one of ours, or the marketplace's id
	License  string // its id
	Instance string
}

// stored is what the store selects by.
func (f OrderFilter) stored() store.OrderFilter {
	return store.OrderFilter{Channel: f.Channel, Stage: f.Stage, Open: f.Open, License: f.License, Instance: f.Instance}
}

// ProductOf returns our product that was ordered, "" where it is not known.
func (a *Authority) ProductOf(o license.Order) string { return a.byMarket[o.Product] }

// heardOf is the record of an order that a marketplace speaks of for the first
// time.
func heardOf(channel, id, line string, now time.Time) license.Order {
	return license.Order{
		Channel: channel, ID: id, Line: line, SeenAt: now, Stage: license.StageToDeliver, StageAt: now,
		History: []license.StageChange{{At: now, Stage: license.StageToDeliver, By: license.Actor{Kind: license.ActorMarketplace, Name: channel}}},
	}
}

// Orders lists lines of orders, those first of which was heard first.
//
// The store keeps them by their names, so all that could be selected are looked
// at for each page; no more than two pages of them are held at a time.
func (a *Authority) Orders(ctx context.Context, f OrderFilter, p Page) (orders []license.Order, next string, err error) {
	after, err := parseOrderCursor(p.Cursor)
	if err != nil {
		return nil, "", err
	}
	now, most := a.now(), p.Size()+1
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		orders = nil
		return eachOrder(ctx, tx, f.stored(), func(o license.Order) error {
			if f.Product != "" && o.Product != f.Product && a.byMarket[o.Product] != f.Product ||
				f.Warned && len(o.Warnings(now)) == 0 || p.Cursor != "" && compareOrders(placeOf(o), after) <= 0 {
				return nil
			}
			if orders = append(orders, o); len(orders) >= 2*most {
				orders = oldest(orders, most)
			}
			return nil
		})
	})
	if err != nil {
		return nil, "", err
	}
	if orders = oldest(orders, most); len(orders) == most {
		orders = orders[:most-1]
		next = placeOf(orders[most-2]).cursor()
	}
	return orders, next, nil
}

// oldest returns at most so many of the orders, in their order.
func oldest(orders []license.Order, most int) []license.Order {
	slices.SortFunc(orders, func(x, y license.Order) int { return compareOrders(placeOf(x), placeOf(y)) })
	return orders[:min(most, len(orders))]
}

// orderPlace is the place of an order in a list.
type orderPlace struct {
	Seen    int64  `json:"s"`
	Channel string `json:"c"`
	ID      string `json:"o"`
	Line    string `json:"l"`
}

func placeOf(o license.Order) orderPlace { return orderPlace{o.SeenAt.Unix(), o.Channel, o.ID, o.Line} }

func compareOrders(x, y orderPlace) int {
	return cmp.Or(cmp.Compare(x.Seen, y.Seen), strings.Compare(x.Channel, y.Channel), strings.Compare(x.ID, y.ID), strings.Compare(x.Line, y.Line))
}

func (p orderPlace) cursor() string {
	data, err := json.Marshal(p)
	if err != nil {
		return "" // numbers and texts marshal
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

func parseOrderCursor(s string) (p orderPlace, err error) {
	if s == "" {
		return p, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	if err != nil || p.ID == "" {
		return p, license.FieldErrorf("cursor", "it is not the cursor of a list of orders")
	}
	return p, nil
}

// eachOrder calls fn for every order that is selected.
func eachOrder(ctx context.Context, tx store.Tx, f store.OrderFilter, fn func(license.Order) error) error {
	page := store.Page{Limit: store.MaxPage}
	for {
		orders, next, err := tx.Orders(ctx, f, page)
		if err != nil {
			return fmt.Errorf("list orders: %w", err)
		}
		for _, o := range orders {
			if err := fn(o); err != nil {
				return err
			}
		}
		if page.Cursor = next; next == "" {
			return nil
		}
	}
}

func ordersOf(ctx context.Context, tx store.Tx, f store.OrderFilter) (orders []license.Order, err error) {
	err = eachOrder(ctx, tx, f, func(o license.Order) error {
		orders = append(orders, o)
		return nil
	})
	return orders, err
}

// Order returns the line of an order that ref names. It fails with NotFound, and
// with Conflict where ref names several.
func (a *Authority) Order(ctx context.Context, ref OrderRef) (o license.Order, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		o, err = a.findOrder(ctx, tx, ref)
		return err
	})
	return o, err
}

// findOrder looks where the order must be: under its id at each marketplace entry,
// or at the one that is named. It never goes through all of them, so it may be
// called in an Update.
func (a *Authority) findOrder(ctx context.Context, tx store.Tx, ref OrderRef) (license.Order, error) {
	id, line := strings.TrimSpace(ref.ID), strings.TrimSpace(ref.Line)
	if id == "" {
		return license.Order{}, license.FieldErrorf("order", "no order is named")
	}
	found, err := a.linesOf(ctx, tx, ref.Channel, id)
	if i := strings.LastIndexByte(id, '-'); err == nil && len(found) == 0 && i > 0 && line == "" {
		line = id
		found, err = a.linesOf(ctx, tx, ref.Channel, id[:i])
	}
	if err != nil {
		return license.Order{}, err
	}
	if line != "" {
		found = slices.DeleteFunc(found, func(o license.Order) bool { return o.Line != line })
	}
	switch len(found) {
	case 0:
		return license.Order{}, license.Errorf(license.NotFound, "there is no such order")
	case 1:
		return found[0], nil
	}
	var names []string
	for _, o := range found[:min(len(found), 8)] {
		names = append(names, o.Line+" of "+o.Channel)
	}
	return license.Order{}, license.Errorf(license.Conflict, "the order has %d lines; name one of them: %s", len(found), strings.Join(names, ", "))
}

// linesOf returns the lines of an order, at all entries where none is named. An
// entry that is no longer configured has to be named.
func (a *Authority) linesOf(ctx context.Context, tx store.Tx, channel, id string) (found []license.Order, err error) {
	channels := []string{channel}
	if channel == "" {
		channels = append(a.Channels(), license.ChannelManual)
	}
	for _, name := range channels {
		lines, err := ordersOf(ctx, tx, store.OrderFilter{Channel: name, ID: id})
		if err != nil {
			return nil, err
		}
		found = append(found, lines...)
	}
	return found, nil
}

// MoveOrder moves an order to another stage; At and By of m are set here. It
// reports whether that is a change.
func (a *Authority) MoveOrder(ctx context.Context, actor license.Actor, ref OrderRef, m license.Move) (o license.Order, changed bool, err error) {
	m.At, m.By, m.Since = a.now(), actor, m.Since.UTC().Truncate(time.Second)
	if !m.Since.IsZero() && m.Since.Year() < firstYear {
		return o, false, license.FieldErrorf("at", "it lies before the year %d", firstYear)
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		was, err := a.findOrder(ctx, tx, ref)
		if err != nil {
			return err
		}
		o, changed, err = moveOrder(ctx, tx, was, m)
		return err
	})
	return o, changed, err
}

func moveOrder(ctx context.Context, tx store.Tx, was license.Order, m license.Move) (license.Order, bool, error) {
	o, changed, err := was.Move(m)
	if err != nil || !changed {
		return was, false, err
	}
	if err := tx.UpdateOrder(ctx, o); err != nil {
		return was, false, fmt.Errorf("record an order: %w", err)
	}
	o.Revision++
	return o, true, auditOrder(ctx, tx, m.By, license.ActionOrderStage, was, o, m.At, m.Note)
}

// auditOrder writes the event of a change of an order.
func auditOrder(ctx context.Context, tx store.Tx, actor license.Actor, action license.Action, was, is license.Order, now time.Time, note string) error {
	before, after := map[string]any{}, map[string]any{"channel": is.Channel, "order": is.ID, "line": is.Line}
	if was.Stage != is.Stage {
		after["stage"] = is.Stage
		if was.Stage != "" {
			before["stage"] = was.Stage
		}
	}
	if was.License != is.License {
		before["license"], after["license"] = was.License, is.License
	}
	if was.Rejections != is.Rejections {
		after["rejections"] = is.Rejections
	}
	if !is.StageAt.Equal(now) && !is.StageAt.Equal(was.StageAt) {
		after["stage_at"] = instant(is.StageAt)
	}
	if was.ID != "" {
		orderDifference(was, is, before, after)
	}
	_, err := tx.Append(ctx, license.AuditEvent{
		At: now, Actor: actor, Action: action, License: cmp.Or(is.License, was.License), Before: before, After: after, Note: note,
	})
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	return nil
}

// orderDifference notes what is known otherwise of an order than before.
func orderDifference(was, is license.Order, before, after map[string]any) {
	for name, v := range map[string][2]any{
		"line": {was.Line, is.Line}, "type": {was.Type, is.Type}, "marketplace_product": {was.Product, is.Product},
		"amount": {was.Amount, is.Amount}, "customer": {was.Customer, is.Customer},
		"ordered_at": {instant(was.OrderedAt), instant(is.OrderedAt)}, "expires_at": {instant(was.ExpiresAt), instant(is.ExpiresAt)},
	} {
		if v[0] != v[1] {
			before[name], after[name] = v[0], v[1]
		}
	}
}

// orderActivated moves the order of a code on that is in use at its marketplace,
// which passes that node of the supervision by itself, and notes which licence it
// is: by the change that brings the code into use, or later where the order was not
// known by then, and once, since the staff may have corrected either. An order that is not known, and one of several lines of which nobody says
// which is meant, stays as it is.
func (a *Authority) orderActivated(ctx context.Context, tx store.Tx, actor license.Actor, l license.License, fresh bool, now time.Time) error {
	if l.Order == "" || !l.ReleasedAt.IsZero() || plain("order", l.Order, 64) != nil {
		return nil
	}
	lines, err := ordersOf(ctx, tx, store.OrderFilter{Channel: l.Channel, ID: l.Order})
	if err != nil {
		return err
	}
	linked := slices.DeleteFunc(slices.Clone(lines), func(o license.Order) bool { return o.License != l.ID })
	if len(linked) == 0 {
		linked = slices.DeleteFunc(lines, func(o license.Order) bool {
			return o.License != "" || o.Instance != "" || o.Product != "" && a.byMarket[o.Product] != l.Product
		})
	}
	if len(linked) != 1 || !fresh && !heardLater(linked[0], l) {
		return nil
	}
	was := linked[0]
	is := was
	if is.License = l.ID; slices.Contains(was.Stage.Next(), license.StageActivated) {
		if is, _, err = is.Move(license.Move{To: license.StageActivated, At: now, By: actor}); err != nil {
			return err
		}
	}
	if is.License == was.License && is.Stage == was.Stage {
		return nil
	}
	if err := tx.UpdateOrder(ctx, is); err != nil {
		return fmt.Errorf("record an order: %w", err)
	}
	action := license.ActionOrderStage
	if is.Stage == was.Stage {
		action = license.ActionOrderLink
	}
	return auditOrder(ctx, tx, actor, action, was, is, now, "")
}

// clockDifference is by how much the clocks of daemons on one store may differ where
// one has to be told from the other what came first.
const clockDifference = 5 * time.Minute

// heardLater reports whether an order was heard of only when its code was in use,
// and has never stood there. One that was heard of at about the same time counts as
// heard of later: what daemons note are whole seconds of their own clocks.
func heardLater(o license.Order, l license.License) bool {
	return !l.ActivatedAt.IsZero() && o.SeenAt.After(l.ActivatedAt.Add(-clockDifference)) &&
		!slices.ContainsFunc(o.History, func(c license.StageChange) bool { return c.Stage == license.StageActivated })
}

// instanceDelivered moves the order of an instance on whose licence was handed to
// its marketplace. After a rejection that is the delivery which the buyer waits
// for, whichever device the licence is for: an order was rejected, not a device,
// and nobody but the buyer applies for a licence. Should the device in question not
// have been served by it, the buyer rejects again.
func (a *Authority) instanceDelivered(ctx context.Context, tx store.Tx, actor license.Actor, channel, licenseID, instance string) error {
	l, err := tx.License(ctx, licenseID)
	if err != nil {
		return fmt.Errorf("read %s: %w", licenseID, err)
	}
	if l.Order == "" {
		return nil
	}
	lines, err := ordersOf(ctx, tx, store.OrderFilter{Channel: channel, ID: l.Order, Instance: instance})
	if err != nil {
		return err
	}
	for _, o := range lines {
		if !undelivered(o) {
			continue
		}
		if _, _, err := moveOrder(ctx, tx, o, license.Move{To: license.StageDelivered, At: a.now(), By: actor}); err != nil {
			return err
		}
	}
	return nil
}
