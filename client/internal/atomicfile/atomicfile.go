// Package atomicfile replaces small files so that a crash leaves the old
// content or the new one, never a part of either.
package atomicfile

import (
	"errors"
	"os"
	"path/filepath"
)

// Write puts data at path, readable by the owner only, making the folder (open
// to the owner only) where it is missing. When it returns nil the file
// survives a power cut. When it fails the old file is still there, except
// where only the last step failed: then the new one may not survive.
func Write(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*.tmp") // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// The error that counts is there already.
			_ = f.Close()
			_ = os.Remove(f.Name())
		}
	}()
	if _, err := f.Write(data); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncFolder(dir)
}

// Move renames a file within its folder and replaces what was there.
func Move(from, to string) error {
	return errors.Join(os.Rename(from, to), SyncFolder(filepath.Dir(to)))
}
