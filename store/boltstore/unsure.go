package boltstore

import (
	"context"
	"errors"
	"fmt"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// A commit that fails at its very last sync has written the page by which
// readers find it. So its change can be seen and may yet be lost, and two
// things must not happen: that anything is answered which rests on it, since
// whoever repeats the change would find it made; and that the next commit runs,
// since bbolt then takes the pages for free which only the state before it
// uses: that is the one on disk, and the one that earlier readers still read.
//
// So the store is unsure then, and neither reads nor writes until that page is
// on disk. It is written once more before it is synced again: a system may hold
// a page for clean that it could not write, and a sync alone would succeed.

// settle finds out, after a commit that failed, whether readers see it all the same.
func (s *Store) settle() {
	if seen := s.visible(); seen > s.durable.Load() {
		s.unsure.Store(seen)
		_ = s.mend() // asked again before anything else is done
	}
}

// mend makes an unsure store sure again. Only the writer calls it.
func (s *Store) mend() error {
	at := s.unsure.Load()
	if at == 0 {
		return nil
	}
	if s.reading.Load() > 0 {
		return s.unsureError(errors.New("a state before it is still being read"))
	}
	if err := s.secure(at); err != nil {
		return s.unsureError(err)
	}
	s.durable.Store(at)
	s.unsure.Store(0)
	return nil
}

// secure has on disk what readers see, which is the transaction at.
func (s *Store) secure(at int64) error {
	page := make([]byte, s.pageSize)
	offset := at % 2 * int64(len(page)) // where bbolt keeps the header of every second transaction
	if _, err := s.file.ReadAt(page, offset); err != nil {
		return fmt.Errorf("read the header again: %w", err)
	}
	if seen := s.visible(); seen != at {
		return fmt.Errorf("the system has dropped transaction %d and shows %d", at, seen)
	}
	if _, err := s.file.WriteAt(page, offset); err != nil {
		return fmt.Errorf("write the header again: %w", err)
	}
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("sync the header: %w", err)
	}
	return nil
}

// visible returns the transaction that readers see, or -1 where they see none.
func (s *Store) visible() int64 {
	seen := -1
	_ = s.db.View(func(btx *bolt.Tx) error { // one that cannot begin sees nothing
		seen = btx.ID()
		return nil
	})
	return int64(seen)
}

// trust has the writer mend an unsure store, and fails when it cannot.
func (s *Store) trust(ctx context.Context) error {
	if s.unsure.Load() == 0 {
		return nil
	}
	return s.Update(ctx, func(context.Context, store.Tx) error { return nil })
}

// sure passes on the error of a View that has seen a transaction, unless that
// may be lost.
func (s *Store) sure(seen int64, err error) error {
	if seen > s.durable.Load() {
		return s.unsureError(errors.New("its last sync failed"))
	}
	return err
}

func (s *Store) unsureError(cause error) error {
	return license.Errorf(license.ReadOnly,
		"the disk did not take the last change, and nothing is shown or changed before it has; look at the disk, then restart the daemon if this goes on").
		WithCause(fmt.Errorf("%s: %w", s.path, cause))
}
