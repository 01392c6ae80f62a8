package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes the lock unless somebody else holds it. It belongs to the open
// file: two that one process opened exclude each other too.
func tryLock(f *os.File) (held bool, err error) { return lockFile(f, windows.LOCKFILE_EXCLUSIVE_LOCK) }

// tryShare takes the lock beside others who share it.
func tryShare(f *os.File) (held bool, err error) { return lockFile(f, 0) }

func unlock(f *os.File) error {
	err := windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, new(windows.Overlapped))
	if errors.Is(err, windows.ERROR_NOT_LOCKED) || errors.Is(err, windows.ERROR_NOT_SUPPORTED) ||
		errors.Is(err, windows.ERROR_CALL_NOT_IMPLEMENTED) || errors.Is(err, windows.ERROR_INVALID_FUNCTION) {
		return nil // not every file system can do it
	}
	return err
}

func lockFile(f *os.File, how uint32) (held bool, err error) {
	err = windows.LockFileEx(windows.Handle(f.Fd()), how|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, new(windows.Overlapped))
	switch {
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return true, nil
	case errors.Is(err, windows.ERROR_NOT_SUPPORTED), errors.Is(err, windows.ERROR_CALL_NOT_IMPLEMENTED), errors.Is(err, windows.ERROR_INVALID_FUNCTION):
		return false, nil // not every file system can do it
	}
	return false, err
}
