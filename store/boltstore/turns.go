package boltstore

import (
	"bytes"
	"time"
)

// Two buckets say whose turn it is. Of the jobs that wait, jobsdue holds those
// that no other stands before, in the order in which they are due: all without
// a key, and of each key the oldest. jobskeys holds all that have a key, in the
// order of their ids, with what the next one needs to move up. So whoever takes
// what is due reads from the front and passes no job that has to wait for
// another, for a later time, or for the merchant.
//
// A new job without a key costs one key at the end of jobsdue. Most of the
// time all of this is empty, or lies on a page or two.

// turn is the place of a job among those that wait.
type turn struct {
	key string // empty: it waits for no other
	id  string
	due time.Time
}

func (u turn) dueKey() []byte { return dueKey(u.due, u.id) }

func (u turn) second() []byte { return appendSecond(make([]byte, 0, dueLen), u.due) }

func turnPrefix(key string) []byte {
	prefix := make([]byte, 0, len(key)+32) // room for an id
	prefix = append(prefix, key...)
	return append(prefix, 0)
}

func (u turn) place() []byte { return append(turnPrefix(u.key), u.id...) }

// oldest returns the oldest turn of a key, the zero turn if it has none.
func (b *buckets) oldest(key string) (turn, error) {
	prefix := turnPrefix(key)
	k, raw := b.get(bucketJobsKeys).Cursor().Seek(prefix)
	switch {
	case !bytes.HasPrefix(k, prefix):
		return turn{}, nil
	case len(k) == len(prefix), len(raw) != dueLen:
		return turn{}, unreadable(bucketJobsKeys, k)
	}
	return turn{key, string(k[len(prefix):]), readSecond(raw)}, nil
}

// enter adds a job that has begun to wait.
func (t *txn) enter(u turn) error {
	if u.key == "" {
		return t.putNew(bucketJobsDue, u.dueKey(), []byte{})
	}
	oldest, err := t.b.oldest(u.key)
	if err != nil {
		return err
	}
	if err := t.putNew(bucketJobsKeys, u.place(), u.second()); err != nil {
		return err
	}
	if oldest.id != "" {
		if oldest.id < u.id {
			return nil
		}
		if err := t.remove(bucketJobsDue, oldest.dueKey()); err != nil {
			return err
		}
	}
	return t.putNew(bucketJobsDue, u.dueKey(), []byte{})
}

// leave removes a job that waits no longer; the next one of its key moves up.
func (t *txn) leave(u turn) error {
	if err := t.remove(bucketJobsDue, u.dueKey()); err != nil || u.key == "" {
		return err
	}
	if err := t.remove(bucketJobsKeys, u.place()); err != nil {
		return err
	}
	next, err := t.b.oldest(u.key)
	if err != nil || next.id == "" {
		return err
	}
	return t.put(bucketJobsDue, next.dueKey(), []byte{}) // it is there unless u was the oldest
}

// move follows a change of DueAt.
func (t *txn) move(was, now turn) error {
	if was.due.Equal(now.due) {
		return nil
	}
	if now.key != "" {
		if err := t.put(bucketJobsKeys, now.place(), now.second()); err != nil {
			return err
		}
	}
	if t.b.get(bucketJobsDue).Get(was.dueKey()) == nil {
		return nil // another stands before it
	}
	if err := t.remove(bucketJobsDue, was.dueKey()); err != nil {
		return err
	}
	return t.putNew(bucketJobsDue, now.dueKey(), []byte{})
}
