package boltstore

import (
	"context"
	"errors"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/store"
)

// DB is the database of s, for tests that make its file fail.
func DB(s *Store) *bolt.DB { return s.db }

// HoldGate holds the gate of s as Check does, until it is released.
func HoldGate(s *Store) (release func()) {
	s.gate.RLock()
	return s.gate.RUnlock
}

// Waiting is how many Updates are in the queue of s.
func Waiting(s *Store) int {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return len(s.queue.items)
}

// InSpoiled puts a record into the file of s as it stands, runs fn on what the
// file is then, and throws it all away. soundness is what Check would say.
func InSpoiled(ctx context.Context, s *Store, bucket string, key, raw []byte, fn func(tx store.Tx, soundness func() error)) error {
	spoiled := errors.New("thrown away")
	err := s.db.Update(func(btx *bolt.Tx) error {
		if err := btx.Bucket([]byte(bucket)).Put(key, raw); err != nil {
			return err
		}
		b := openBuckets(btx)
		fn(newTxn(b, true), func() error {
			c := checker{ctx: ctx, b: b}
			return c.records()
		})
		return spoiled
	})
	if errors.Is(err, spoiled) {
		return nil
	}
	return err
}

// Buckets are the names of the buckets.
func Buckets() []string {
	var names []string
	for _, l := range layout {
		names = append(names, l.name)
	}
	return names
}

// WithBatch is o with so many records in a batch of an upgrade.
func WithBatch(o Options, records int) Options {
	o.batch = records
	return o
}

// PageReads is how many records a page reads at most.
const PageReads = maxLooks / readLook
