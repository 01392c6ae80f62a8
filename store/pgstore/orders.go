package pgstore

import (
	"cmp"
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

func noOrder() error { return license.Errorf(license.NotFound, "there is no such order line") }

// Order returns a line of an order.
func (t *txn) Order(ctx context.Context, channel, id, line string) (license.Order, error) {
	if err := t.readable(); err != nil {
		return license.Order{}, err
	}
	if !canBe(channel, id, line) {
		return license.Order{}, noOrder()
	}
	c, err := t.at(ctx, orderPlace(channel, id, line))
	if err == nil && !c.there {
		err = noOrder()
	}
	if err != nil {
		return license.Order{}, err
	}
	return decode[license.Order]("orders", id, c.raw)
}

func orderPlace(channel, id, line string) place {
	return place{kind: kindOrder, a: channel, b: id, c: line}
}

// CreateOrder stores a new line of an order with revision 1.
func (t *txn) CreateOrder(ctx context.Context, o license.Order) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("channel", o.Channel), store.CheckKey("id", o.ID), store.CheckKey("line", o.Line), store.CheckLink(o)); err != nil {
		return err
	}
	if err := t.fetchFree(ctx, orderPlace(o.Channel, o.ID, o.Line)); err != nil {
		return err
	}
	if err := t.freeOrder(ctx, o.Channel, o.ID, o.Line); err != nil {
		return err
	}
	o.Revision = t.firstRevision(o.Revision)
	return t.putOrder(o, o.Line)
}

// freeOrder fails where there is such an order line.
func (t *txn) freeOrder(ctx context.Context, channel, id, line string) error {
	c, err := t.at(ctx, orderPlace(channel, id, line))
	if err == nil && c.there {
		err = license.Errorf(store.Exists, "there is this order line already")
	}
	return err
}

// putOrder stores an order line, which was called by another name where was is not its
// own.
func (t *txn) putOrder(o license.Order, was string) error {
	raw, err := t.encode(store.UTCOrder(o))
	if err == nil && was != o.Line {
		err = t.put(orderPlace(o.Channel, o.ID, was), &cell{})
	}
	if err != nil {
		return err
	}
	return t.put(orderPlace(o.Channel, o.ID, o.Line), &cell{there: true, revision: o.Revision, raw: raw, link: orNull(o.License)})
}

// unchanged fails unless there is an order line of that revision.
func (t *txn) unchanged(ctx context.Context, o license.Order) error {
	if !canBe(o.Channel, o.ID, o.Line) {
		return noOrder()
	}
	was, err := t.at(ctx, orderPlace(o.Channel, o.ID, o.Line))
	switch {
	case err != nil:
		return err
	case !was.there:
		return noOrder()
	case o.Revision != was.revision:
		return license.Errorf(license.Conflict, "the order line was changed since it was read")
	}
	return nil
}

// UpdateOrder replaces a line of an order and counts its revision up.
func (t *txn) UpdateOrder(ctx context.Context, o license.Order) error {
	if err := cmp.Or(t.mayWrite(), store.CheckLink(o)); err != nil {
		return err
	}
	if err := t.unchanged(ctx, o); err != nil {
		return err
	}
	o.Revision++
	return t.putOrder(o, o.Line)
}

// RenameOrder replaces a line of an order under another name.
func (t *txn) RenameOrder(ctx context.Context, o license.Order, line string) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("line", line), store.CheckLink(o)); err != nil {
		return err
	}
	if err := t.unchanged(ctx, o); err != nil {
		return err
	}
	if err := t.freeOrder(ctx, o.Channel, o.ID, line); err != nil {
		return err
	}
	was := o.Line
	o.Line = line
	o.Revision++
	return t.putOrder(o, was)
}

// Orders lists lines of orders in the order of their channels, ids and lines.
func (t *txn) Orders(ctx context.Context, f store.OrderFilter, p store.Page) ([]license.Order, string, error) {
	if err := t.ranging(); err != nil {
		return nil, "", err
	}
	where, more := "", []any(nil)
	possible := true
	only := func(column, value string) {
		where += column + " = $" + string(rune('5'+len(more))) + " and "
		more = append(more, value)
		possible = possible && canBe(value)
	}
	switch {
	case f.Channel != "" && f.ID != "":
		only("channel", f.Channel)
		only("id", f.ID)
	case f.License != "":
		only("license", f.License)
	case f.Channel != "":
		only("channel", f.Channel)
	}
	read := t.byOrder("select channel, id, line, record from orders where "+where+"(channel, id, line) > ($1, $2, $3) order by channel, id, line limit $4", more...)
	if !possible {
		read = func(context.Context, string, int) ([]row, error) { return nil, nil }
	}
	var out []license.Order
	next, err := walk(ctx, "orders", p, read, func(r row) (bool, error) {
		o, err := decode[license.Order]("orders", r.key, r.raw)
		if err != nil || !f.Match(o) {
			return false, err
		}
		out = append(out, o)
		return true, nil
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}

// byOrder reads orders: $1, $2 and $3 are the place, $4 is how many.
func (t *txn) byOrder(sql string, more ...any) readFunc {
	return func(ctx context.Context, after string, n int) ([]row, error) {
		at, err := textsOf(after, 3)
		if err != nil {
			return nil, err
		}
		return t.rows(ctx, func(rows pgx.Rows) (r row, err error) {
			var key [3]string
			err = rows.Scan(&key[0], &key[1], &key[2], &r.raw)
			r.key = strings.Join(key[:], "\x00")
			return r, err
		}, sql, append([]any{at[0], at[1], at[2], n}, more...)...)
	}
}
