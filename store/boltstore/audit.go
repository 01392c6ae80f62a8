package boltstore

import (
	"context"
	"encoding/binary"
	"math"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

func seqKey(seq int64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 8), uint64(seq))
}

func seqOf(key []byte) int64 {
	if len(key) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(key))
}

// Append adds an event to the audit log. Its position follows from the last
// one there, not from a counter of bbolt's, which would not be put back.
func (t *txn) Append(_ context.Context, e license.AuditEvent) (int64, error) {
	if err := t.mayWrite(); err != nil {
		return 0, err
	}
	bucket := t.b.get(bucketAudit)
	if !t.b.seqLoaded {
		last, _ := bucket.Cursor().Last()
		seq := seqOf(last)
		if last != nil && (seq < 1 || seq == math.MaxInt64) {
			// The next position would be that of an event which is there.
			return 0, license.Errorf(license.Internal, "the last key %q of the audit log is none of a position", last)
		}
		t.b.lastSeq, t.b.seqLoaded = seq, true
	}
	e.Seq = t.b.lastSeq + 1
	e.At = e.At.UTC()
	raw, err := encode(e)
	if err != nil {
		return 0, err
	}
	if err := t.putNew(bucketAudit, seqKey(e.Seq), raw); err != nil {
		return 0, err
	}
	t.b.lastSeq++
	t.appended++
	return e.Seq, nil
}

// Events lists the audit log, oldest first.
func (t *txn) Events(ctx context.Context, f store.EventFilter, p store.Page) ([]license.AuditEvent, string, error) {
	if err := t.readable(); err != nil {
		return nil, "", err
	}
	var out []license.AuditEvent
	next, err := walk(ctx, behind{t.b.get(bucketAudit).Cursor(), seqKey(max(f.After, 0))}, bucketAudit, p, needles(f.License, string(f.Action)), func(key, raw []byte) (bool, error) {
		var e license.AuditEvent
		if err := decode(bucketAudit, key, raw, &e); err != nil {
			return false, err
		}
		if !f.Match(e) {
			return false, nil
		}
		out = append(out, e)
		return true, nil
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}
