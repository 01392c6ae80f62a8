package boltstore

import (
	"bytes"
	"context"
	"encoding/binary"

	bolt "go.etcd.io/bbolt"

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

// auditHead is the head of the audit log. It follows from the last line there,
// not from a counter of bbolt's, which would not be put back.
func (b *buckets) auditHead() (license.AuditHead, error) {
	if b.headLoaded {
		return b.head, nil
	}
	key, raw := b.get(bucketAudit).Cursor().Last()
	if key != nil {
		line, err := parseLine(key, raw)
		if err != nil {
			return license.AuditHead{}, license.Errorf(license.Internal, "the last entry of the audit log, %q, cannot be followed by another", key).WithCause(err)
		}
		b.head = line.Head()
	}
	b.headLoaded = true
	return b.head, nil
}

// parseLine reads the line of an entry, which keeps raw.
func parseLine(key, raw []byte) (license.AuditLine, error) {
	line, err := license.ParseAuditLine(raw)
	switch {
	case err != nil:
		return line, unreadable(bucketAudit, key).WithCause(err)
	case line.Seq != seqOf(key):
		return line, unreadable(bucketAudit, key).WithCause(license.Errorf(license.Damaged, "it is that of position %d", line.Seq))
	}
	return line, nil
}

// Append adds an event to the audit log.
func (t *txn) Append(_ context.Context, e license.AuditEvent) (int64, error) {
	if err := t.mayWrite(); err != nil {
		return 0, err
	}
	head, err := t.b.auditHead()
	if err != nil {
		return 0, err
	}
	line, next, err := seal(head, e)
	if err != nil {
		return 0, err
	}
	if err := t.putLine(head, next, line); err != nil {
		return 0, err
	}
	return next.Seq, nil
}

// putLine stores the line by which the head of the log becomes next.
func (t *txn) putLine(head, next license.AuditHead, line []byte) error {
	if err := t.putNew(bucketAudit, seqKey(next.Seq), line); err != nil {
		return err
	}
	if !t.appended {
		t.appended, t.headBefore = true, head
	}
	t.b.head = next
	return nil
}

// AuditHead returns the head of the audit log.
func (t *txn) AuditHead(context.Context) (license.AuditHead, error) {
	if err := t.readable(); err != nil {
		return license.AuditHead{}, err
	}
	return t.b.auditHead()
}

// Events lists the audit log in the order of the filter.
func (t *txn) Events(ctx context.Context, f store.EventFilter, p store.Page) ([]license.AuditEvent, string, error) {
	var out []license.AuditEvent
	next, err := t.lines(ctx, f, p, func(key, raw []byte) (bool, error) {
		e, ok, err := selectedEvent(f, key, raw)
		if ok {
			out = append(out, e)
		}
		return ok, err
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}

// EventLines lists the audit log as it is kept.
func (t *txn) EventLines(ctx context.Context, f store.EventFilter, p store.Page) ([][]byte, string, error) {
	var out [][]byte
	// Where all are wanted none need be read to be judged: whoever verifies the log
	// reads them anyway.
	all := f == store.EventFilter{After: f.After}
	next, err := t.lines(ctx, f, p, func(key, raw []byte) (bool, error) {
		if !all {
			if _, ok, err := selectedEvent(f, key, raw); !ok {
				return false, err
			}
		}
		out = append(out, bytes.Clone(raw))
		return true, nil
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}

// lines walks the lines of the audit log among which those of a filter are.
func (t *txn) lines(ctx context.Context, f store.EventFilter, p store.Page, take func(key, raw []byte) (bool, error)) (string, error) {
	if err := t.readable(); err != nil {
		return "", err
	}
	after, err := parseCursor(bucketAudit, p.Cursor)
	if err != nil {
		return "", err
	}
	if len(after) > 0 && (seqOf(after) < 0) != f.Newest {
		return "", license.FieldErrorf("cursor", "the cursor is not one of this list, in this order")
	}
	of := needles(f.License, string(f.Action))
	if f.Newest {
		way := &newest{c: t.b.get(bucketAudit).Cursor(), after: max(f.After, 0)}
		return walkMost(ctx, way, bucketAudit, p, backLooks, of, func(key, raw []byte) (bool, error) { return take(seqKey(^seqOf(key)), raw) })
	}
	way := behind{t.b.get(bucketAudit).Cursor(), seqKey(max(f.After, 0))}
	return walk(ctx, way, bucketAudit, p, of, take)
}

// newest is the way through the audit log from its end back to behind a position. Its
// keys are the complements of the positions: they grow on the way as those of others
// do, and none of them is one of the way forth. A key is good until the next but one.
type newest struct {
	c     *bolt.Cursor
	after int64
	keys  [2][8]byte
	n     int
}

func (n *newest) First() (key, value []byte) { return n.at(n.c.Last()) }

func (n *newest) Seek(key []byte) (k, value []byte) {
	if len(key) != 8 {
		return n.First()
	}
	at := seqKey(^seqOf(key))
	found, raw := n.c.Seek(at)
	if found == nil {
		return n.First()
	}
	if !bytes.Equal(found, at) { // the first behind it
		return n.at(n.c.Prev())
	}
	return n.at(found, raw)
}

func (n *newest) Next() (key, value []byte) { return n.at(n.c.Prev()) }

func (n *newest) at(key, raw []byte) (k, value []byte) {
	seq := seqOf(key)
	if key == nil || seq <= n.after {
		return nil, nil
	}
	n.n ^= 1
	k = n.keys[n.n][:]
	binary.BigEndian.PutUint64(k, uint64(^seq))
	return k, raw
}

// selectedEvent reads an entry, and reports whether a filter selects it.
func selectedEvent(f store.EventFilter, key, raw []byte) (e license.AuditEvent, ok bool, err error) {
	line, err := parseLine(key, raw)
	if err != nil {
		return e, false, err
	}
	if f.License != "" && line.License != f.License || f.Action != "" && line.Action != f.Action {
		return e, false, nil
	}
	if e, err = line.Event(); err != nil {
		return e, false, unreadable(bucketAudit, key).WithCause(err)
	}
	return e, f.Match(e), nil
}

// EraseEvents takes personal data out of the audit log.
func (t *txn) EraseEvents(_ context.Context, positions ...int64) (erased int, err error) {
	if err := t.mayWrite(); err != nil {
		return 0, err
	}
	lines := make([]license.AuditLine, len(positions))
	for i, seq := range positions {
		key := seqKey(seq)
		raw := t.b.get(bucketAudit).Get(key)
		if raw == nil || seq < 1 {
			return 0, license.Errorf(license.NotFound, "the audit log has no entry %d", seq)
		}
		if lines[i], err = parseLine(key, raw); err != nil {
			return 0, err
		}
	}
	for _, line := range lines {
		if !line.Personal {
			continue
		}
		if err := t.put(bucketAudit, seqKey(line.Seq), line.Erased()); err != nil {
			return erased, err
		}
		erased++
	}
	return erased, nil
}
