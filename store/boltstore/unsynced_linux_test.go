package boltstore_test

import (
	"context"
	"errors"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// failLastSync makes the very last sync of the next commit fail, after bbolt
// has written the page by which the change becomes visible, and so every use
// of the file after it, until heal is called. Between that write and its sync
// the descriptor is exchanged for one that cannot be synced.
func failLastSync(t *testing.T, s *boltstore.Store) (heal func()) {
	t.Helper()
	db := boltstore.DB(s)
	writeAt := field[func([]byte, int64) (int, error)](db, "ops", "writeAt")
	file := *field[*os.File](db, "file")
	fd := int(file.Fd())
	kept, err := syscall.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(null.Close(), syscall.Close(kept)) })
	through, pageSize := *writeAt, int64(db.Info().PageSize)
	*writeAt = func(b []byte, at int64) (int, error) {
		n, err := through(b, at)
		if at <= pageSize {
			*writeAt = through
			err = errors.Join(err, syscall.Dup3(int(null.Fd()), fd, syscall.O_CLOEXEC))
		}
		return n, err
	}
	return func() {
		if err := syscall.Dup3(kept, fd, syscall.O_CLOEXEC); err != nil {
			t.Error(err)
		}
	}
}

// field points to a field of bbolt's that is there for its own tests.
func field[T any](of any, names ...string) *T {
	v := reflect.ValueOf(of).Elem()
	for _, name := range names {
		v = v.FieldByName(name)
	}
	return (*T)(unsafe.Pointer(v.UnsafeAddr()))
}

func nothing(context.Context, store.Tx) error { return nil }

// TestUnsyncedCommit fails the last sync of a commit. Its change can be seen
// then and may be lost all the same, so nothing that rests on it may be
// answered before it is on disk.
func TestUnsyncedCommit(t *testing.T) {
	s := open(t, newPath(t))
	if err := issue(s, 1); err != nil {
		t.Fatal(err)
	}
	heal := failLastSync(t, s)
	for _, fn := range []func(context.Context, store.Tx) error{setValue("v"), setValue("v"), setValue("w"), nothing} {
		err := s.Update(t.Context(), fn)
		if license.ReasonOf(err) != license.ReadOnly {
			t.Errorf("update: error is %v", err)
		}
	}
	seen := false
	look := func(context.Context, store.Tx) error { seen = true; return nil }
	if err := s.View(t.Context(), look); license.ReasonOf(err) != license.ReadOnly || !strings.Contains(err.Error(), "restart") || seen {
		t.Errorf("view: error is %v, seen %v", err, seen)
	}
	if err := s.Check(t.Context()); license.ReasonOf(err) != license.ReadOnly {
		t.Errorf("check: error is %v", err)
	}

	heal()
	if !hasValue(t, s, "v") { // looking is enough to go on
		t.Error("the change is lost")
	}
	if err := errors.Join(s.Update(t.Context(), setValue("v")), issue(s, 2), s.Check(t.Context())); err != nil {
		t.Error(err)
	}
	if hasValue(t, s, "w") {
		t.Error("a change that was refused was made")
	}
}

// TestUnsyncedCommitUnderView has somebody read the state before such a commit.
// bbolt takes its pages for free then, so nothing may be written until all have
// read to the end.
func TestUnsyncedCommitUnderView(t *testing.T) {
	s := open(t, newPath(t))
	for n := range int64(50) {
		if err := issue(s, n+1); err != nil {
			t.Fatal(err)
		}
	}
	err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		heal := failLastSync(t, s)
		for range 2 {
			if err := issue(s, 51); license.ReasonOf(err) != license.ReadOnly {
				t.Errorf("error is %v", err)
			}
		}
		heal()
		for n := range int64(50) {
			if err := issue(s, 52+n); license.ReasonOf(err) != license.ReadOnly {
				t.Errorf("while a View is open: error is %v", err)
			}
		}
		for n := range int64(51) {
			if _, err := tx.License(ctx, benchLicense(n+1).ID); (err == nil) != (n < 50) {
				t.Errorf("licence %d: error is %v", n+1, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := issue(s, 51); !errors.Is(err, store.Exists) {
		t.Errorf("again: error is %v", err)
	}
	if err := errors.Join(issue(s, 52), s.Check(t.Context())); err != nil {
		t.Error(err)
	}
}
