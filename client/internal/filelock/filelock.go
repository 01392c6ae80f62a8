// Package filelock lets processes that share a folder take turns.
package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// Others hold the lock for a read and a write of a small file.
const (
	pause = 5 * time.Millisecond
	tries = 2000 // about ten seconds
)

// ErrHeld says that another process did not let go of the lock.
var ErrHeld = errors.New("another process holds the lock")

// Lock takes the lock that the file at path stands for, and waits a while for
// whoever has it. The file, and the folder around it, are made where they are
// missing, open to the owner only; the file stays. The lock ends with unlock,
// or with the process.
//
// Where the file system has no locks, there is nothing to wait for and nothing
// is locked.
func Lock(path string) (unlock func(), err error) { return lock(path, tries) }

func lock(path string, tries int) (unlock func(), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for i := range tries {
		if i > 0 {
			time.Sleep(pause)
		}
		held, err := tryLock(f)
		switch {
		case err != nil:
			_ = f.Close() // nothing was written
			return nil, &os.PathError{Op: "lock", Path: path, Err: err}
		case !held:
			return func() { _ = f.Close() }, nil // which ends the lock
		}
	}
	_ = f.Close() // nothing was written
	return nil, &os.PathError{Op: "lock", Path: path, Err: ErrHeld}
}
