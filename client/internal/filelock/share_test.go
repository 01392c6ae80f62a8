package filelock_test

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/seed-357fa782/licensed/client/internal/filelock"
)

// Of those who share only the last to leave is told so.
func TestShare(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "users")
	var leave []func() bool
	for range 3 {
		l, err := filelock.Share(path)
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	if _, err := filelock.TryLock(path); !errors.Is(err, filelock.ErrHeld) {
		t.Errorf("while it is shared: %v", err)
	}
	for i, l := range leave {
		if last := l(); last != (i == 2) {
			t.Errorf("%d of 3 leaves, last %v", i+1, last)
		}
	}
	unlock, err := filelock.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := filelock.Share(path); !errors.Is(err, filelock.ErrHeld) {
		t.Errorf("while it is locked: %v", err)
	}
	unlock()
}
