// Package boltstore keeps the records in one bbolt file: the embedded default.
//
// Changes are committed in groups. One goroutine takes whatever waits, runs it
// function after function on one bbolt transaction and commits once, so a lone
// writer pays one commit and a crowd shares it. Nobody waits for company. A
// function that fails is undone alone, by putting back the old value of each
// key that it touched; its neighbours are not run again. A group in which
// nothing was written is rolled back, so a refusal never makes the disk sync.
//
// Keys are in time order wherever that is possible, because a commit costs as
// many pages as its keys are spread over. The only random key of a licence is
// the index of its code.
//
// A Store may be opened inside a testing/synctest bubble; it must then be used
// inside that bubble only, since its goroutine belongs to it.
package boltstore

import (
	"context"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Options say how a store is opened. The zero value is the normal way.
type Options struct {
	// LockTimeout is how long to wait for another process that has the file
	// open. Zero is one second; negative does not wait.
	LockTimeout time.Duration
	// ReadOnly opens a file that exists, for reading only: several readers can
	// share it. Update fails with license.ReadOnly.
	ReadOnly bool
	// Upgrading is told how far the upgrade of a file of an older format is: at
	// its beginning and after each batch of records, which is on disk by then.
	// An error stops the upgrade, which goes on at the next Open, and is
	// returned.
	Upgrading func(Upgrade) error

	batch int // records in a batch of an upgrade, upgradeRecords when zero
}

// Store is a store.Store in one bbolt file.
type Store struct {
	db       *bolt.DB
	path     string
	file     *os.File // bbolt's
	pageSize int
	readOnly bool

	queue     queue
	stopped   chan struct{}  // closed when the writer has ended
	views     sync.WaitGroup // Views that have begun
	writing   chan struct{}  // holds a token while somebody commits a group: the writer, or a lone caller
	lastGroup atomic.Int32   // how many the last group was of

	// gate is held by the writer during a group. Who holds its reading side
	// knows that no group is being written.
	gate sync.RWMutex
	// durable is the newest bbolt transaction known to be on disk. bbolt shows a
	// transaction to readers a moment before its last sync.
	durable atomic.Int64
	// unsure is the transaction that readers see although its last sync failed;
	// zero where there is none.
	unsure  atomic.Int64
	reading atomic.Int64 // bbolt transactions of Views that are open

	commits, updates, undone, failed atomic.Int64

	closeOnce sync.Once
	closeErr  error
}

var _ store.Store = (*Store)(nil)

// nestKey marks the ctx that a function of s was given. It holds the store, so
// that a function may use another store, as copying from one to the other does.
type nestKey struct{ s *Store }

func (s *Store) nest(ctx context.Context) context.Context {
	return context.WithValue(ctx, nestKey{s}, true)
}

// admit refuses what would wait for itself or has been given up already.
func (s *Store) admit(ctx context.Context) error {
	if ctx.Value(nestKey{s}) != nil {
		return store.ErrNested
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// View runs fn on a consistent state. It returns only when what fn has seen is
// on disk, and does not run fn when the disk has not taken the last change.
func (s *Store) View(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	return s.view(ctx, func(ctx context.Context, btx *bolt.Tx) error {
		t := newTxn(openBuckets(btx), false)
		defer t.end()
		return fn(ctx, t)
	})
}

func (s *Store) view(ctx context.Context, fn func(ctx context.Context, btx *bolt.Tx) error) error {
	if err := s.admit(ctx); err != nil {
		return err
	}
	if err := s.trust(ctx); err != nil {
		return err
	}
	seen, err := s.read(ctx, fn)
	if seen > s.durable.Load() {
		// The group that made this state is at its last sync.
		s.gate.RLock()
		s.gate.RUnlock() //nolint:staticcheck // waiting for the gate is all that is wanted
	}
	return s.sure(seen, err)
}

// read runs fn on the newest state and returns which transaction made it.
func (s *Store) read(ctx context.Context, fn func(ctx context.Context, btx *bolt.Tx) error) (int64, error) {
	if !s.queue.enter(&s.views) {
		return 0, store.ErrClosed
	}
	defer s.views.Done()
	s.reading.Add(1)
	defer s.reading.Add(-1)
	seen := int64(-1)
	err := s.db.View(func(btx *bolt.Tx) error {
		seen = int64(btx.ID())
		return fn(s.nest(ctx), btx)
	})
	if seen < 0 {
		return 0, license.Errorf(license.Internal, "the store cannot be read").WithCause(err)
	}
	return seen, err
}

// Update queues fn for the writer and waits until its group is on disk.
func (s *Store) Update(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	if err := s.admit(ctx); err != nil {
		return err
	}
	if s.readOnly {
		return license.Errorf(license.ReadOnly, "the store was opened for reading only")
	}
	// Once the function has begun it is carried through, so it gets a ctx that
	// does not end.
	inner := s.nest(context.WithoutCancel(ctx))
	r := &request{
		run:  func(t *txn) error { return fn(inner, t) },
		done: make(chan struct{}),
	}
	if !s.commitAlone(r) {
		if !s.queue.push(r) {
			return store.ErrClosed
		}
		select {
		case <-r.done:
		case <-ctx.Done():
			if r.state.CompareAndSwap(waiting, givenUp) {
				return context.Cause(ctx)
			}
			<-r.done
		}
	}
	switch {
	case r.exited:
		runtime.Goexit()
	case r.panicked != nil:
		panic(r.panicked)
	}
	return r.err
}

// Stats returns counters since the store was opened, and the size of its file.
func (s *Store) Stats() store.Stats {
	st := store.Stats{
		Commits: s.commits.Load(),
		Updates: s.updates.Load(),
		Undone:  s.undone.Load(),
		Failed:  s.failed.Load(),
	}
	if info, err := os.Stat(s.path); err == nil {
		st.SizeBytes = info.Size()
	}
	return st
}

// Close commits what is queued, waits for what has begun and closes the file.
// It must not be called by a function that View or Update runs.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.queue.close()
		<-s.stopped
		s.views.Wait()
		s.closeErr = s.db.Close()
	})
	return s.closeErr
}
