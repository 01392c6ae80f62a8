package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// syncEvery is after how many bytes a File is synced while it is written. A
// large file that is synced at its end only would hold up, all at once, every
// other file of the disk that is synced then, such as a store's.
const syncEvery = 8 << 20

// File is a file that is being written beside the path that it is meant for,
// where it appears whole or not at all: see Create.
type File struct {
	sys      system
	f        *os.File
	path     string
	unsynced int
}

// Create begins a file for path with the permissions perm, under a temporary
// name in the same folder (".NAME.*.tmp"). Commit puts it in its place, as
// WriteFile does; Abort drops it.
func Create(path string, perm fs.FileMode) (*File, error) { return realSystem().create(path, perm) }

func (s system) create(path string, perm fs.FileMode) (*File, error) {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := os.CreateTemp(dir, "."+name+".*.tmp")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, cause(err))
	}
	w := &File{sys: s, f: f, path: path}
	if err := f.Chmod(perm); err != nil {
		w.Abort()
		return nil, fmt.Errorf("write %s: %w", path, cause(err))
	}
	return w, nil
}

// Write appends data.
func (w *File) Write(data []byte) (int, error) {
	n, err := w.sys.write(w.f, data)
	if w.unsynced += n; err == nil && w.unsynced >= syncEvery {
		err = w.sync()
	}
	if err != nil {
		return n, fmt.Errorf("write %s: %w", w.path, cause(err))
	}
	return n, nil
}

func (w *File) sync() error {
	w.unsynced = 0
	return w.sys.sync(w.f)
}

// Name is the temporary name under which what was written can be read.
func (w *File) Name() string { return w.f.Name() }

// Sync puts what was written so far on disk.
func (w *File) Sync() error {
	if err := w.sync(); err != nil {
		return fmt.Errorf("write %s: %w", w.path, cause(err))
	}
	return nil
}

// Commit puts the file in its place. When it fails the file is gone, except
// where only the last step failed: then it is in place and may not survive a
// power cut.
func (w *File) Commit() error {
	if w.f == nil {
		return fmt.Errorf("write %s: %w", w.path, os.ErrClosed)
	}
	err := errors.Join(w.sync(), w.f.Close())
	if err == nil {
		err = w.sys.rename(w.f.Name(), w.path)
	}
	if err != nil {
		_ = os.Remove(w.f.Name()) // the first error is the one to report
		w.f = nil
		return fmt.Errorf("write %s: %w", w.path, cause(err))
	}
	w.f = nil
	if err := w.sys.syncDir(filepath.Dir(w.path)); err != nil {
		return fmt.Errorf("write %s: %w", w.path, cause(err))
	}
	return nil
}

// Abort drops the file. After Commit it does nothing.
func (w *File) Abort() {
	if w.f == nil {
		return
	}
	_ = w.f.Close() // it is thrown away
	_ = os.Remove(w.f.Name())
	w.f = nil
}

// SyncDir makes new names in the folder survive a power cut.
func SyncDir(dir string) error {
	if err := syncDir(dir); err != nil {
		return fmt.Errorf("sync the folder %s: %w", dir, cause(err))
	}
	return nil
}
