package pgstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// recordCodec turns the records of one kind from what lies in the database to what
// leaves it, and back.
type recordCodec struct {
	list string // whose cursors are taken
	read readFunc
	dump func(row) (any, error)
	load func(ctx context.Context, data []byte) error
}

// as reads a record of one type and hands it to what stores it.
func as[T any](put func(ctx context.Context, v T) error) func(context.Context, []byte) error {
	return func(ctx context.Context, data []byte) error {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields() // what is not known would be lost
		var v T
		if err := dec.Decode(&v); err != nil {
			return license.FieldErrorf("data", "the record cannot be read: %v", err)
		}
		return put(ctx, v)
	}
}

// plain reads what lies in a table as the type that it leaves it as.
func plain[T any](table string) func(row) (any, error) {
	return func(r row) (any, error) { return decode[T](table, r.key, r.raw) }
}

func (t *txn) codecOf(kind store.RecordKind) (recordCodec, error) {
	switch kind {
	case store.RecordStatusList:
		return recordCodec{
			"status lists", t.byID("select id, record from status_lists where id > $1 order by id limit $2"),
			plain[license.StatusList]("status_lists"), as(t.createList),
		}, nil
	case store.RecordStatusEntry:
		return recordCodec{"statuses", t.byEntry, dumpEntry, as(func(ctx context.Context, e store.DumpedEntry) error {
			return t.PutStatusEntry(ctx, e.List, license.StatusEntry{Index: e.Index, Status: e.Status, FinalAt: e.FinalAt})
		})}, nil
	case store.RecordLicense:
		return recordCodec{
			"licenses", t.byID("select id, record from licenses where id > $1 order by id limit $2"),
			plain[license.License]("licenses"), as(t.CreateLicense),
		}, nil
	case store.RecordInstall:
		return recordCodec{"installs", t.byInstall, func(r row) (any, error) {
			i, err := decodeInstall(r)
			return store.DumpedInstall{Install: i, Answer: i.Answer}, err
		}, as(func(ctx context.Context, i store.DumpedInstall) error {
			i.Install.Answer = i.Answer
			return t.CreateInstall(ctx, i.Install)
		})}, nil
	case store.RecordOrder:
		return recordCodec{
			"orders", t.byOrder("select channel, id, line, record from orders where (channel, id, line) > ($1, $2, $3) order by channel, id, line limit $4"),
			plain[license.Order]("orders"), as(t.CreateOrder),
		}, nil
	case store.RecordPending:
		return recordCodec{"pending", t.byCode, plain[license.Pending]("pending"), as(t.PutPending)}, nil
	case store.RecordJob:
		return recordCodec{
			"jobs", t.byID("select id, record from jobs where id > $1 order by id limit $2"),
			plain[license.Job]("jobs"), as(t.CreateJob),
		}, nil
	case store.RecordMark:
		return recordCodec{"marks", t.byMark, func(r row) (any, error) {
			until, _, err := numberOf(r.key, 0)
			return store.DumpedMark{Key: r.raw, Until: until}, err
		}, as(t.loadMark)}, nil
	case store.RecordValue:
		return recordCodec{
			"values", t.byID("select name, data from vals where name > $1 order by name limit $2"),
			func(r row) (any, error) {
				return store.DumpedValue{Name: r.key, Data: append([]byte{}, r.raw...)}, nil
			},
			as(func(ctx context.Context, v store.DumpedValue) error {
				return t.SetValue(ctx, v.Name, append([]byte{}, v.Data...))
			}),
		}, nil
	case store.RecordEvent:
		return recordCodec{
			"audit", t.bySeq(0, "select seq, line from audit where seq > $1 order by seq limit $2"),
			func(r row) (any, error) {
				line, err := parseLine(r)
				return json.RawMessage(line.Raw()), err
			},
			t.putEvent,
		}, nil
	}
	return recordCodec{}, license.FieldErrorf("kind", "there is no kind of record %q", kind)
}

func (t *txn) createList(ctx context.Context, l license.StatusList) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("id", l.ID)); err != nil {
		return err
	}
	c, err := t.at(ctx, listPlace(l.ID))
	switch {
	case err != nil:
		return err
	case c.there:
		return license.Errorf(store.Exists, "there is a status list with this id already")
	}
	return t.PutStatusList(ctx, l)
}

func (t *txn) loadMark(_ context.Context, m store.DumpedMark) error {
	if err := cmp.Or(t.mayWrite(), store.CheckIndex("key", m.Key)); err != nil {
		return err
	}
	if m.Until < 0 {
		return license.FieldErrorf("until", "a mark cannot be kept until before 1970")
	}
	return t.putMark(m.Until, m.Key)
}

// byEntry reads status entries in the order of their lists and indexes.
func (t *txn) byEntry(ctx context.Context, after string, n int) ([]row, error) {
	list, index := "", int64(-1)
	if after != "" {
		at := len(after) - 9
		if at < 1 || after[at] != 0 || !canBe(after[:at]) {
			return nil, errCursor()
		}
		list, index = after[:at], int64(binary.BigEndian.Uint64([]byte(after[at+1:])))
	}
	return t.rows(ctx, func(rows pgx.Rows) (r row, err error) {
		var e store.DumpedEntry
		var final *int64
		var status int16
		if err := rows.Scan(&e.List, &e.Index, &status, &final); err != nil {
			return r, err
		}
		r.key = e.List + "\x00" + numbered(int64(e.Index), "")
		r.raw = []byte{byte(status)}
		if final != nil {
			r.add = []byte(numbered(*final, ""))
		}
		return r, nil
	}, "select list, idx, status, final_at from statuses where (list, idx) > ($1, $2) order by list, idx limit $3", list, min(max(index, -1), math.MaxInt32), n)
}

func dumpEntry(r row) (any, error) {
	list, index, _ := strings.Cut(r.key, "\x00")
	n, _, err := numberOf(index, 0)
	e := store.DumpedEntry{List: list, Index: int(n), Status: license.ListStatus(r.raw[0])}
	if len(r.add) > 0 {
		e.FinalAt = instantOf(r.add)
	}
	return e, err
}

// byInstall reads installs in the order of their licences and ids.
func (t *txn) byInstall(ctx context.Context, after string, n int) ([]row, error) {
	at, err := textsOf(after, 2)
	if err != nil {
		return nil, err
	}
	return t.rows(ctx, func(rows pgx.Rows) (r row, err error) {
		var owner string
		err = rows.Scan(&owner, &r.key, &r.raw, &r.add)
		r.key = owner + "\x00" + r.key
		return r, err
	}, "select license, id, record, answer from installs where (license, id) > ($1, $2) order by license, id limit $3", at[0], at[1], n)
}

// byCode reads what is pending in the order of channels and codes.
func (t *txn) byCode(ctx context.Context, after string, n int) ([]row, error) {
	channel, code, _ := strings.Cut(after, "\x00")
	if after != "" && !canBe(channel) {
		return nil, errCursor()
	}
	return t.rows(ctx, func(rows pgx.Rows) (r row, err error) {
		var code []byte
		err = rows.Scan(&r.key, &code, &r.raw)
		r.key += "\x00" + string(code)
		return r, err
	}, "select channel, code, record from pending where (channel, code) > ($1, $2) order by channel, code limit $3", channel, []byte(code), n)
}

// byMark reads marks in their order.
func (t *txn) byMark(ctx context.Context, after string, n int) ([]row, error) {
	until, key, err := numberOf(after, math.MinInt64)
	if err != nil {
		return nil, err
	}
	return t.rows(ctx, scanMark, "select until, key from marks where (until, key) > ($1, $2) order by until, key limit $3", until, []byte(key), n)
}

// Records lists all records of a kind.
func (t *txn) Records(ctx context.Context, kind store.RecordKind, p store.Page) ([]store.Record, string, error) {
	if err := t.ranging(); err != nil {
		return nil, "", err
	}
	c, err := t.codecOf(kind)
	if err != nil {
		return nil, "", err
	}
	var out []store.Record
	next, err := walk(ctx, c.list, p, c.read, func(r row) (bool, error) {
		v, err := c.dump(r)
		if err != nil {
			return false, err
		}
		if line, is := v.(json.RawMessage); is { // its bytes are what its hash is of
			out = append(out, store.Record{Kind: kind, Data: line})
			return true, nil
		}
		data, err := encode(v)
		out = append(out, store.Record{Kind: kind, Data: data})
		return true, err
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}

// PutRecord stores a record as it is.
func (t *txn) PutRecord(ctx context.Context, r store.Record) error {
	c, err := t.codecOf(r.Kind)
	if err != nil {
		return err
	}
	t.loading = true
	defer func() { t.loading = false }()
	return c.load(ctx, r.Data)
}

// firstRevision is the revision of a record that is stored for the first time.
func (t *txn) firstRevision(given int64) int64 {
	if t.loading {
		return max(given, 1)
	}
	return 1
}
