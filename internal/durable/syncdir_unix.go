//go:build !windows

package durable

import (
	"errors"
	"os"
	"syscall"
)

// syncDir makes changes of the folder's entries survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil // this file system has no such call for folders
	}
	return errors.Join(err, d.Close())
}
