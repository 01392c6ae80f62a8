package boltstore

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// dropAtOnce is how many old marks one MarkSeen drops. It is more than one, so
// that old marks grow fewer, and few, because deleting much at once makes a
// bbolt file slow.
const dropAtOnce = 4

// MarkSeen records that a message was taken. Marks lie in the order of the
// instants until which they are kept. Those of messages that are kept equally
// long come in the order in which they were sent, so what is looked up and added
// lies on a page or two, at the end of those of its kind, and what can be dropped
// lies at the front, whatever its kind.
func (t *txn) MarkSeen(_ context.Context, key []byte, until, now time.Time) error {
	if err := cmp.Or(t.mayWrite(), store.CheckIndex("key", key)); err != nil {
		return err
	}
	if until.Unix() < 0 {
		return license.FieldErrorf("until", "a mark cannot be kept until before 1970")
	}
	mark := append(markPrefix(until), key...)
	bucket := t.b.get(bucketMarks)
	if bucket.Get(mark) != nil {
		return license.Errorf(store.Exists, "this message was taken already")
	}
	if err := t.putNew(bucketMarks, mark, []byte{}); err != nil {
		return err
	}
	return t.dropMarks(now)
}

func markPrefix(at time.Time) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(max(at.UnixMilli(), 0)))
}

// dropMarks drops a few of the marks that had to be kept until before now.
func (t *txn) dropMarks(now time.Time) error {
	c := t.b.get(bucketMarks).Cursor()
	oldest, _ := c.First()
	border := markPrefix(now)
	if oldest == nil || bytes.Compare(oldest, border) >= 0 {
		return nil
	}
	old := make([][]byte, 0, dropAtOnce)
	for key := oldest; len(old) < dropAtOnce && key != nil && bytes.Compare(key, border) < 0; key, _ = c.Next() {
		old = append(old, bytes.Clone(key))
	}
	for _, key := range old {
		if err := t.remove(bucketMarks, key); err != nil {
			return err
		}
	}
	return nil
}
