package pgstore

import (
	"bytes"
	"cmp"
	"context"
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
	var p *license.Pending
	if canBe(channel) && len(index) > 0 {
		var err error
		if p, err = one[license.Pending](ctx, t, "pending", "select channel, record from pending where channel = $1 and code = $2", channel, index); err != nil {
			return license.Pending{}, err
		}
	}
	if p == nil {
		return license.Pending{}, license.Errorf(license.NotFound, "nothing is pending for this code")
	}
	return *p, nil
}

// PutPending stores or replaces it.
func (t *txn) PutPending(_ context.Context, p license.Pending) error {
	if err := cmp.Or(t.mayWrite(), checkKey("channel", p.Channel), checkBytes("code", p.CodeIndex)); err != nil {
		return err
	}
	raw, err := encode(utcPending(p))
	if err != nil {
		return err
	}
	return t.put("insert into pending (channel, code, record) values ($1, $2, $3) on conflict (channel, code) do update set record = excluded.record",
		p.Channel, bytes.Clone(p.CodeIndex), raw)
}

// DeletePending removes it.
func (t *txn) DeletePending(_ context.Context, channel string, index []byte) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	if !canBe(channel) || len(index) == 0 {
		return nil
	}
	return t.put("delete from pending where channel = $1 and code = $2", channel, bytes.Clone(index))
}

// rememberValue keeps what was read of a value, nil where there is none.
func (t *txn) rememberValue(name string, data []byte) {
	if !t.writable {
		return
	}
	if t.values == nil {
		t.values = make(map[string][]byte)
	}
	t.values[name] = bytes.Clone(data)
}

// Value returns a small named value.
func (t *txn) Value(ctx context.Context, name string) ([]byte, error) {
	if err := t.readable(); err != nil {
		return nil, err
	}
	var data []byte
	if canBe(name) {
		rows, err := t.rows(ctx, scanID, "select name, data from vals where name = $1", name)
		if err != nil {
			return nil, err
		}
		if len(rows) > 0 {
			data = append([]byte{}, rows[0].raw...)
		}
		t.rememberValue(name, data)
	}
	if data == nil {
		return nil, license.Errorf(license.NotFound, "there is no value %q", name)
	}
	return data, nil
}

// SetValue stores, replaces or, when value is nil, removes it. What is the same
// already is not written.
func (t *txn) SetValue(_ context.Context, name string, value []byte) error {
	if err := cmp.Or(t.mayWrite(), checkKey("name", name)); err != nil {
		return err
	}
	if was, ok := t.values[name]; ok && bytes.Equal(was, value) && (was == nil) == (value == nil) {
		return nil
	}
	t.rememberValue(name, value)
	if value == nil {
		return t.put("delete from vals where name = $1", name)
	}
	return t.put("insert into vals (name, data) values ($1, $2) on conflict (name) do update set data = excluded.data", name, append([]byte{}, value...))
}

// Values lists the values whose name begins with prefix.
func (t *txn) Values(ctx context.Context, prefix string, p store.Page) ([]store.Value, string, error) {
	if err := t.readable(); err != nil {
		return nil, "", err
	}
	var out []store.Value
	read := t.byID("select name, data from vals where name > $1 and name >= $3 and starts_with(name, $3) order by name limit $2", prefix)
	if !utf8.ValidString(prefix) || strings.IndexByte(prefix, 0) >= 0 {
		read = func(context.Context, string, int) ([]row, error) { return nil, nil }
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

// dropAtOnce is how many old marks one MarkSeen drops: more than one, so that old
// marks grow fewer.
const dropAtOnce = 4

// MarkSeen records that a message was taken. Marks lie in the order of the
// instants until which they are kept, so they come at one end and go at the other.
func (t *txn) MarkSeen(ctx context.Context, key []byte, until, now time.Time) error {
	if err := cmp.Or(t.mayWrite(), checkBytes("key", key)); err != nil {
		return err
	}
	if until.Unix() < 0 {
		return license.FieldErrorf("until", "a mark cannot be kept until before 1970")
	}
	there, err := t.exists(ctx, "select 1 from marks where until = $1 and key = $2", until.UnixMilli(), key)
	switch {
	case err != nil:
		return err
	case there:
		return license.Errorf(store.Exists, "this message was taken already")
	}
	return cmp.Or(t.putMark(until.UnixMilli(), key), t.put(
		"delete from marks where (until, key) in (select until, key from marks where until < $1 order by until, key limit $2)", max(now.UnixMilli(), 0), dropAtOnce))
}

func (t *txn) putMark(until int64, key []byte) error {
	return t.put("insert into marks (until, key) values ($1, $2) on conflict (until, key) do nothing", until, bytes.Clone(key))
}

// scanMark reads a mark, whose place is its until and its key.
func scanMark(rows pgx.Rows) (r row, err error) {
	var until int64
	err = rows.Scan(&until, &r.raw)
	r.key = numbered(until, string(r.raw))
	return r, err
}
