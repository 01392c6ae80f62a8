package pgstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Pending returns what a marketplace said about a code not yet known.
func (t *txn) Pending(ctx context.Context, channel string, index []byte) (license.Pending, error) {
	if err := t.readable(); err != nil {
		return license.Pending{}, err
	}
	if !canBe(channel) || len(index) == 0 {
		return license.Pending{}, notPending()
	}
	c, err := t.at(ctx, pendingPlace(channel, index))
	if err == nil && !c.there {
		err = notPending()
	}
	if err != nil {
		return license.Pending{}, err
	}
	return decode[license.Pending]("pending", channel, c.raw)
}

func notPending() error { return license.Errorf(license.NotFound, "nothing is pending for this code") }

func pendingPlace(channel string, index []byte) place {
	return place{kind: kindPending, a: channel, b: string(index)}
}

// PutPending stores or replaces it.
func (t *txn) PutPending(_ context.Context, p license.Pending) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("channel", p.Channel), store.CheckIndex("code", p.CodeIndex)); err != nil {
		return err
	}
	raw, err := t.encode(store.UTCPending(p))
	if err != nil {
		return err
	}
	return t.put(pendingPlace(p.Channel, p.CodeIndex), &cell{there: true, raw: raw})
}

// DeletePending removes it.
func (t *txn) DeletePending(_ context.Context, channel string, index []byte) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	if !canBe(channel) || len(index) == 0 {
		return nil
	}
	return t.put(pendingPlace(channel, index), &cell{})
}

func valuePlace(name string) place { return place{kind: kindValue, a: name} }

// Value returns a small named value.
func (t *txn) Value(ctx context.Context, name string) ([]byte, error) {
	if err := t.readable(); err != nil {
		return nil, err
	}
	if !canBe(name) {
		return nil, noValue(name)
	}
	c, err := t.at(ctx, valuePlace(name))
	if err == nil && !c.there {
		err = noValue(name)
	}
	if err != nil {
		return nil, err
	}
	return append([]byte{}, c.raw...), nil
}

func noValue(name string) error {
	return license.Errorf(license.NotFound, "there is no value %q", name)
}

// SetValue stores, replaces or, when value is nil, removes it. What is known to be the
// same already is not written.
func (t *txn) SetValue(_ context.Context, name string, value []byte) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("name", name)); err != nil {
		return err
	}
	if was := t.known(valuePlace(name)); was != nil && !was.untold && was.there == (value != nil) && bytes.Equal(was.raw, value) {
		return nil
	}
	return t.put(valuePlace(name), &cell{there: value != nil, raw: append([]byte{}, value...)})
}

// Values lists the values whose name begins with prefix.
func (t *txn) Values(ctx context.Context, prefix string, p store.Page) ([]store.Value, string, error) {
	if err := t.readable(); err != nil {
		return nil, "", err
	}
	var out []store.Value
	at := prefixPlace(prefix)
	read := t.byID("select name, data from vals where name > $1 and name >= $3 and name < $4 order by name limit $2", at.a, at.b)
	switch {
	case !utf8.ValidString(prefix) || strings.IndexByte(prefix, 0) >= 0:
		read = func(context.Context, string, int) ([]row, error) { return nil, nil }
	case at.b == "":
		read = t.byID("select name, data from vals where name > $1 and name >= $3 order by name limit $2", at.a)
	case t.writable && p.Cursor == "":
		out, all, err := t.fewValues(ctx, at, p.Size())
		if err != nil || all {
			return out, "", err
		}
	}
	if err := t.ranging(); err != nil {
		return nil, "", err
	}
	next, err := walk(ctx, "values", p, read, func(r row) (bool, error) {
		out = append(out, store.Value{Name: r.key, Data: append([]byte{}, r.raw...)})
		return true, nil
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}

// prefixPlace is where the values lie whose names begin with prefix: b is the first
// text behind them, empty where there is none.
func prefixPlace(prefix string) place {
	p := place{kind: kindPrefix, a: prefix}
	runes := []rune(prefix)
	for n := len(runes); n > 0; n-- {
		next := runes[n-1] + 1
		if next == 0xD800 {
			next = 0xE000 // what lies between is no text
		}
		if next <= utf8.MaxRune {
			p.b = string(append(runes[:n-1:n-1], next))
			break
		}
	}
	return p
}

// fewValues lists values whose names begin alike, where there are no more than n, by
// what is known of them.
func (t *txn) fewValues(ctx context.Context, at place, n int) (out []store.Value, all bool, err error) {
	places, whole, err := t.several(ctx, at, valuePlace, func(p place) bool { return strings.HasPrefix(p.a, at.a) })
	if err != nil || !whole {
		return nil, false, err
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.a, b.a) })
	for _, p := range places {
		c, err := t.at(ctx, p)
		if err != nil {
			return nil, false, err
		}
		if c.there {
			out = append(out, store.Value{Name: p.a, Data: append([]byte{}, c.raw...)})
		}
	}
	if len(out) > n {
		return nil, false, nil
	}
	return out, true, nil
}

// dropAtOnce is how many old marks one MarkSeen drops: more than one, so that old
// marks grow fewer.
const dropAtOnce = 4

// MarkSeen records that a message was taken. Marks lie in the order of the
// instants until which they are kept, so they come at one end and go at the other.
func (t *txn) MarkSeen(ctx context.Context, key []byte, until, now time.Time) error {
	if err := cmp.Or(t.mayWrite(), store.CheckIndex("key", key)); err != nil {
		return err
	}
	if until.Unix() < 0 {
		return license.FieldErrorf("until", "a mark cannot be kept until before 1970")
	}
	c, err := t.at(ctx, markPlace(until.UnixMilli(), key))
	switch {
	case err != nil:
		return err
	case c.there:
		return license.Errorf(store.Exists, "this message was taken already")
	}
	t.drops, t.old = t.drops+dropAtOnce, max(t.old, now.UnixMilli())
	return t.putMark(until.UnixMilli(), key)
}

func markPlace(until int64, key []byte) place {
	return place{kind: kindMark, a: string(key), n: until}
}

func (t *txn) putMark(until int64, key []byte) error {
	return t.put(markPlace(until, key), &cell{there: true})
}

// scanMark reads a mark, whose place is its until and its key.
func scanMark(rows pgx.Rows) (r row, err error) {
	var until int64
	err = rows.Scan(&until, &r.raw)
	r.key = numbered(until, string(r.raw))
	return r, err
}
