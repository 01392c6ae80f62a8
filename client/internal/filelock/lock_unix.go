//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package filelock

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the lock unless somebody else holds it. It belongs to the open
// file: two that one process opened exclude each other too.
func tryLock(f *os.File) (held bool, err error) { return flock(f, syscall.LOCK_EX) }

// tryShare takes the lock beside others who share it.
func tryShare(f *os.File) (held bool, err error) { return flock(f, syscall.LOCK_SH) }

func unlock(f *os.File) error {
	_, err := flock(f, syscall.LOCK_UN)
	return err
}

func flock(f *os.File, how int) (held bool, err error) {
	err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK), errors.Is(err, syscall.EINTR):
		return true, nil
	case errors.Is(err, syscall.ENOTSUP), errors.Is(err, syscall.EOPNOTSUPP), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.ENOLCK):
		return false, nil // not every file system can do it
	}
	return false, err
}
