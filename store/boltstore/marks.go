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
// instants at which their messages were sent, so those that are looked up and
// added lie on a page or two at the end, and the old ones at the front.
func (t *txn) MarkSeen(_ context.Context, sent time.Time, key []byte) error {
	if err := cmp.Or(t.mayWrite(), checkBytes("key", key)); err != nil {
		return err
	}
	if sent.Unix() < 0 {
		return license.FieldErrorf("sent", "a message cannot have been sent before 1970")
	}
	mark := append(markPrefix(sent), key...)
	bucket := t.b.get(bucketMarks)
	if bucket.Get(mark) != nil {
		return license.Errorf(store.Exists, "this message was taken already")
	}
	if err := t.putNew(bucketMarks, mark, []byte{}); err != nil {
		return err
	}
	return t.dropMarks()
}

func markPrefix(at time.Time) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 0, 64), uint64(max(at.UnixMilli(), 0)))
}

// dropMarks drops a few of the marks that have lain longer than store.MarkKept.
func (t *txn) dropMarks() error {
	c := t.b.get(bucketMarks).Cursor()
	newest, _ := c.Last()
	oldest, _ := c.First()
	if len(newest) < 8 || len(oldest) < 8 {
		return nil
	}
	keep := time.UnixMilli(int64(binary.BigEndian.Uint64(newest))).Add(-store.MarkKept)
	border := markPrefix(keep)
	if bytes.Compare(oldest, border) >= 0 {
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
