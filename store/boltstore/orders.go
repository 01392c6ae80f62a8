package boltstore

import (
	"cmp"
	"context"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

func noOrder() error { return license.Errorf(license.NotFound, "there is no such order line") }

// orderKey has a zero byte after each part but the last, which keeps the order
// of the parts, since none holds one.
func orderKey(channel, id, line string) []byte {
	return append(orderPrefix(channel, id), line...)
}

func orderPrefix(channel, id string) []byte {
	key := make([]byte, 0, len(channel)+len(id)+34) // room for a line
	key = append(key, channel...)
	key = append(key, 0)
	key = append(key, id...)
	return append(key, 0)
}

// Order returns a line of an order.
func (t *txn) Order(_ context.Context, channel, id, line string) (license.Order, error) {
	if err := t.readable(); err != nil {
		return license.Order{}, err
	}
	key := orderKey(channel, id, line)
	raw := t.b.get(bucketOrders).Get(key)
	if raw == nil {
		return license.Order{}, noOrder()
	}
	return decodeOrder(key, raw)
}

func decodeOrder(key, raw []byte) (license.Order, error) {
	var o license.Order
	err := decode(bucketOrders, key, raw, &o)
	return o, err
}

// CreateOrder stores a new line of an order with revision 1.
func (t *txn) CreateOrder(_ context.Context, o license.Order) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("channel", o.Channel), store.CheckKey("id", o.ID), store.CheckKey("line", o.Line), store.CheckLink(o)); err != nil {
		return err
	}
	key := orderKey(o.Channel, o.ID, o.Line)
	if t.b.get(bucketOrders).Get(key) != nil {
		return license.Errorf(store.Exists, "there is this order line already")
	}
	o.Revision = t.firstRevision(o.Revision)
	raw, err := encode(store.UTCOrder(o))
	if err != nil {
		return err
	}
	return cmp.Or(t.putNew(bucketOrders, key, raw), t.link(o.License, key))
}

// UpdateOrder replaces a line of an order and counts its revision up.
func (t *txn) UpdateOrder(_ context.Context, o license.Order) error {
	if err := cmp.Or(t.mayWrite(), store.CheckLink(o)); err != nil {
		return err
	}
	key := orderKey(o.Channel, o.ID, o.Line)
	was, err := t.unchangedOrder(key, o.Revision)
	if err != nil {
		return err
	}
	o.Revision++
	raw, err := encode(store.UTCOrder(o))
	if err != nil {
		return err
	}
	if err := t.put(bucketOrders, key, raw); err != nil || was == o.License {
		return err
	}
	return cmp.Or(t.link(o.License, key), t.unlink(was, key))
}

// linkKey is where an order stands in the index of the licence that it is linked to.
func linkKey(licenseID string, key []byte) []byte {
	return append(append([]byte(licenseID), 0), key...)
}

func (t *txn) link(licenseID string, key []byte) error {
	if licenseID == "" {
		return nil
	}
	return t.put(bucketOrdersLicense, linkKey(licenseID, key), []byte{})
}

func (t *txn) unlink(licenseID string, key []byte) error {
	if licenseID == "" {
		return nil
	}
	return t.remove(bucketOrdersLicense, linkKey(licenseID, key))
}

// RenameOrder replaces a line of an order under another name.
func (t *txn) RenameOrder(_ context.Context, o license.Order, line string) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("line", line), store.CheckLink(o)); err != nil {
		return err
	}
	key, to := orderKey(o.Channel, o.ID, o.Line), orderKey(o.Channel, o.ID, line)
	was, err := t.unchangedOrder(key, o.Revision)
	if err != nil {
		return err
	}
	if t.b.get(bucketOrders).Get(to) != nil {
		return license.Errorf(store.Exists, "there is this order line already")
	}
	o.Line = line
	o.Revision++
	raw, err := encode(store.UTCOrder(o))
	if err != nil {
		return err
	}
	return cmp.Or(t.putNew(bucketOrders, to, raw), t.remove(bucketOrders, key), t.link(o.License, to), t.unlink(was, key))
}

// unchangedOrder fails unless there is an order under key, of that revision, and
// returns the licence that it is linked to.
func (t *txn) unchangedOrder(key []byte, revision int64) (licenseID string, err error) {
	raw := t.b.get(bucketOrders).Get(key)
	if raw == nil {
		return "", noOrder()
	}
	var was struct {
		Revision int64  `json:"revision"`
		License  string `json:"license"`
	}
	if err := decode(bucketOrders, key, raw, &was); err != nil {
		return "", err
	}
	if revision != was.Revision {
		return "", license.Errorf(license.Conflict, "the order line was changed since it was read")
	}
	return was.License, nil
}

// Orders lists lines of orders in the order of their channels, ids and lines.
func (t *txn) Orders(ctx context.Context, f store.OrderFilter, p store.Page) ([]license.Order, string, error) {
	if err := t.readable(); err != nil {
		return nil, "", err
	}
	var c way = t.b.get(bucketOrders).Cursor()
	switch {
	case f.Channel != "" && f.ID != "":
		c = within{c, orderPrefix(f.Channel, f.ID)}
	case f.License != "":
		c = &recorded{way: under{t.b.get(bucketOrdersLicense).Cursor(), linkKey(f.License, nil)}, records: t.b.get(bucketOrders)}
	case f.Channel != "":
		c = within{c, append([]byte(f.Channel), 0)}
	}
	var out []license.Order
	next, err := walk(ctx, c, bucketOrders, p, needles(f.ID, f.License, f.Instance, string(f.Stage)), func(key, raw []byte) (bool, error) {
		o, err := decodeOrder(key, raw)
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
