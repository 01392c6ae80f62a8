package boltstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// recordCodec turns the records of one kind from what lies in the file to what
// leaves it, and back.
type recordCodec struct {
	bucket bucketID
	also   bucketID // a second bucket of the same kind, or the same
	dump   func(key, raw []byte) (any, error)
	load   func(ctx context.Context, t *txn, data []byte) error
}

// as reads a record of one type and hands it to what stores it.
func as[T any](put func(ctx context.Context, t *txn, v T) error) func(context.Context, *txn, []byte) error {
	return func(ctx context.Context, t *txn, data []byte) error {
		dec := json.NewDecoder(bytes.NewReader(data))
		dec.DisallowUnknownFields() // what is not known would be lost
		var v T
		if err := dec.Decode(&v); err != nil {
			return license.FieldErrorf("data", "the record cannot be read: %v", err)
		}
		return put(ctx, t, v)
	}
}

// plain reads what lies in the file as the type that it leaves it as.
func plain[T any](id bucketID) func(key, raw []byte) (any, error) {
	return func(key, raw []byte) (any, error) {
		var v T
		err := decode(id, key, raw, &v)
		return v, err
	}
}

func codecOf(kind store.RecordKind) (recordCodec, error) {
	one := func(id bucketID, dump func(key, raw []byte) (any, error), load func(context.Context, *txn, []byte) error) (recordCodec, error) {
		return recordCodec{id, id, dump, load}, nil
	}
	switch kind {
	case store.RecordStatusList:
		return one(bucketLists, plain[license.StatusList](bucketLists), as(func(ctx context.Context, t *txn, l license.StatusList) error {
			if t.b.get(bucketLists).Get([]byte(l.ID)) != nil {
				return license.Errorf(store.Exists, "there is a status list with this id already")
			}
			return t.PutStatusList(ctx, l)
		}))
	case store.RecordStatusEntry:
		return one(bucketStatuses, dumpEntry, as(func(ctx context.Context, t *txn, e store.DumpedEntry) error {
			return t.PutStatusEntry(ctx, e.List, license.StatusEntry{Index: e.Index, Status: e.Status, FinalAt: e.FinalAt})
		}))
	case store.RecordLicense:
		return one(bucketLicenses, plain[license.License](bucketLicenses), as(func(ctx context.Context, t *txn, l license.License) error {
			return t.CreateLicense(ctx, l)
		}))
	case store.RecordInstall:
		return one(bucketInstalls, dumpInstall, as(func(ctx context.Context, t *txn, i store.DumpedInstall) error {
			i.Install.Answer = i.Answer
			return t.CreateInstall(ctx, i.Install)
		}))
	case store.RecordOrder:
		return one(bucketOrders, plain[license.Order](bucketOrders), as(func(ctx context.Context, t *txn, o license.Order) error {
			return t.CreateOrder(ctx, o)
		}))
	case store.RecordPending:
		return one(bucketPending, plain[license.Pending](bucketPending), as(func(ctx context.Context, t *txn, p license.Pending) error {
			return t.PutPending(ctx, p)
		}))
	case store.RecordJob:
		return recordCodec{bucketJobs, bucketJobsParked, plain[license.Job](bucketJobs), as(func(ctx context.Context, t *txn, j license.Job) error {
			return t.CreateJob(ctx, j)
		})}, nil
	case store.RecordMark:
		return one(bucketMarks, dumpMark, as(loadMark))
	case store.RecordValue:
		return one(bucketValues, func(key, raw []byte) (any, error) {
			return store.DumpedValue{Name: string(key), Data: raw}, nil
		}, as(func(ctx context.Context, t *txn, v store.DumpedValue) error {
			return t.SetValue(ctx, v.Name, append([]byte{}, v.Data...))
		}))
	case store.RecordEvent:
		return one(bucketAudit, func(key, raw []byte) (any, error) {
			line, err := parseLine(key, raw)
			return json.RawMessage(line.Raw()), err
		}, func(_ context.Context, t *txn, data []byte) error { return putEvent(t, data) })
	}
	return recordCodec{}, license.FieldErrorf("kind", "there is no kind of record %q", kind)
}

func dumpInstall(key, raw []byte) (any, error) {
	i, err := decodeInstall(key, raw)
	return store.DumpedInstall{Install: i, Answer: i.Answer}, err
}

func dumpEntry(key, raw []byte) (any, error) {
	e, err := decodeEntry(key, raw)
	if err != nil {
		return nil, err
	}
	return store.DumpedEntry{List: string(key[:len(key)-5]), Index: e.Index, Status: e.Status, FinalAt: e.FinalAt}, nil
}

func dumpMark(key, _ []byte) (any, error) {
	if len(key) <= 8 {
		return nil, unreadable(bucketMarks, key)
	}
	return store.DumpedMark{Key: key[8:], Until: int64(min(binary.BigEndian.Uint64(key), math.MaxInt64))}, nil
}

func loadMark(_ context.Context, t *txn, m store.DumpedMark) error {
	if err := cmp.Or(t.mayWrite(), store.CheckIndex("key", m.Key)); err != nil {
		return err
	}
	if m.Until < 0 {
		return license.FieldErrorf("until", "a mark cannot be kept until before 1970")
	}
	return t.put(bucketMarks, append(markPrefix(time.UnixMilli(m.Until)), m.Key...), []byte{})
}

// putEvent appends an entry as it is kept: its line follows the head of the log,
// or is refused.
func putEvent(t *txn, raw []byte) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	raw = bytes.Clone(raw)
	line, err := license.ParseAuditLine(raw)
	if err != nil {
		return license.FieldErrorf("data", "the record cannot be read").WithCause(err)
	}
	head, err := t.b.auditHead()
	if err != nil {
		return err
	}
	next, fault := head.Follow(line)
	if fault != nil {
		return license.FieldErrorf("data", "it does not follow position %d of the audit log: %v", head.Seq, fault)
	}
	return t.putLine(head, next, raw)
}

// Records lists all records of a kind.
func (t *txn) Records(ctx context.Context, kind store.RecordKind, p store.Page) ([]store.Record, string, error) {
	if err := t.readable(); err != nil {
		return nil, "", err
	}
	c, err := codecOf(kind)
	if err != nil {
		return nil, "", err
	}
	var along way = t.b.get(c.bucket).Cursor()
	if c.also != c.bucket {
		along = merged{{c: along}, {c: t.b.get(c.also).Cursor()}}
	}
	var out []store.Record
	next, err := walk(ctx, along, c.bucket, p, nil, func(key, raw []byte) (bool, error) {
		v, err := c.dump(key, raw)
		if err != nil {
			return false, err
		}
		if line, is := v.(json.RawMessage); is { // its bytes are what its hash is of
			out = append(out, store.Record{Kind: kind, Data: bytes.Clone(line)})
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
	c, err := codecOf(r.Kind)
	if err != nil {
		return err
	}
	t.loading = true
	defer func() { t.loading = false }()
	return c.load(ctx, t, r.Data)
}

// firstRevision is the revision of a record that is stored for the first time.
func (t *txn) firstRevision(given int64) int64 {
	if t.loading {
		return max(given, 1)
	}
	return 1
}
