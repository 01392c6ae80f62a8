// Package durable changes files so that a crash at any instant leaves the old
// content or the new one, whole and on disk.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// system is what writing a file asks of the operating system where it can fail
// half-way. Tests replace its parts.
type system struct {
	write   func(f *os.File, data []byte) (int, error)
	sync    func(f *os.File) error
	rename  func(from, to string) error
	syncDir func(dir string) error
}

func realSystem() system {
	return system{write: (*os.File).Write, sync: (*os.File).Sync, rename: os.Rename, syncDir: syncDir}
}

// WriteFile puts data at path with exactly the permissions perm (the umask is
// not asked). It writes a temporary file in the same folder, syncs it, renames
// it over path and syncs the folder. When it returns nil the file survives a
// power cut. When it fails the old file is still there, except where only the
// last step failed: then the new file is in place and may not survive.
//
// A symbolic link at path is replaced, not followed. A crash can leave a
// temporary file named ".NAME.*.tmp" behind, which may be deleted.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return realSystem().writeFile(path, data, perm)
}

func (s system) writeFile(path string, data []byte, perm fs.FileMode) error {
	f, err := s.create(path, perm)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// Remove deletes the file at path and syncs its folder. A file that is not
// there is an error that matches [fs.ErrNotExist].
func Remove(path string) error {
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("remove %s: %w", path, cause(err))
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("remove %s: %w", path, cause(err))
	}
	return nil
}

// MkdirAll makes the folder path and the missing ones above it, open to the
// owner only, and syncs each folder that got a new entry. A folder that is
// there already keeps its permissions.
func MkdirAll(path string) error {
	if err := mkdirAll(filepath.Clean(path)); err != nil {
		return fmt.Errorf("make folder %s: %w", path, err)
	}
	return nil
}

func mkdirAll(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is not a folder", path)
	case !errors.Is(err, fs.ErrNotExist):
		return cause(err)
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := mkdirAll(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		// Somebody else may have made it since.
		if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
			return nil
		}
		return cause(err)
	}
	return cause(syncDir(parent))
}

// cause drops the operation and the path that the os package puts before an
// error: the caller names the path that matters, not the temporary one.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
