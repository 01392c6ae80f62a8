package filelock

import (
	"os"
	"path/filepath"
)

// Share says, by the file at path, that this process uses what the file stands
// for, as others may at the same time. leave ends that, and reports whether no
// other was left: of several that leave one after the other only the last is
// told so, of two that leave at the same instant perhaps neither. The file, and
// the folder around it, are made where they are missing, open to the owner only;
// the file stays.
//
// Where the file system has no locks everybody is the last.
func Share(path string) (leave func() (last bool), err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	held, err := tryShare(f)
	if err == nil && held {
		err = ErrHeld
	}
	if err != nil {
		_ = f.Close() // nothing was written
		return nil, &os.PathError{Op: "lock", Path: path, Err: err}
	}
	return func() bool {
		defer func() { _ = f.Close() }() // which ends the lock
		if err := unlock(f); err != nil {
			return false
		}
		held, err := tryLock(f)
		return err == nil && !held
	}, nil
}
