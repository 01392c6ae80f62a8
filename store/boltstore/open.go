package boltstore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/seed-357fa782/licensed/license"
)

const (
	metaBucket = "meta"
	formatKey  = "format"
)

// mapAhead is how much address space is mapped beyond the file. Each time the
// file outgrows its mapping bbolt waits for all readers, so that a long one (a
// backup) would hold up every writer.
const mapAhead = 1 << 30

// Open opens the store at path. When there is none it makes one, with its
// folder, for the owner only.
//
// A file that is held by another process, is no store, is cut short or was
// written by a newer version is refused with an error that names it, and is
// not touched. Opening reads a few pages, whatever the size of the store; only
// a file of an older format is brought up to date first, which can take long.
func Open(path string, o Options) (*Store, error) {
	switch {
	case o.LockTimeout == 0:
		o.LockTimeout = time.Second
	case o.LockTimeout < 0:
		o.LockTimeout = 1 // bbolt takes zero for "for ever"
	}
	s, err := open(path, o)
	if err != nil {
		return nil, fmt.Errorf("open the store %s: %w", path, err)
	}
	return s, nil
}

func open(path string, o Options) (*Store, error) {
	if err := prepare(path, o); err != nil {
		return nil, err
	}
	size, err := inspect(path, o.LockTimeout)
	if err != nil {
		return nil, err
	}
	var file *os.File
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:         o.LockTimeout,
		ReadOnly:        o.ReadOnly,
		InitialMmapSize: mapSize(size),
		FreelistType:    bolt.FreelistMapType,
		NoStatistics:    true,
		OpenFile: func(path string, flag int, perm os.FileMode) (_ *os.File, err error) {
			file, err = openExisting(path, flag, perm)
			return file, err
		},
	})
	if err != nil {
		return nil, openError(err)
	}
	if _, err := verify(db, path); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := upgrade(db, o); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s := &Store{
		db:       db,
		path:     path,
		file:     file,
		pageSize: db.Info().PageSize,
		readOnly: o.ReadOnly,
		queue:    queue{wake: make(chan struct{}, 1)},
		stopped:  make(chan struct{}),
		writing:  make(chan struct{}, 1),
	}
	at := s.visible()
	if !o.ReadOnly {
		// What is there need not be on disk: a process may have been killed, or
		// have given up, before its last sync.
		if err := s.secure(at); err != nil {
			return nil, errors.Join(fmt.Errorf("make sure of the last change: %w", err), db.Close())
		}
	}
	s.durable.Store(at)
	go s.write()
	return s, nil
}

func mapSize(size int64) int {
	// Windows makes the file as large as its mapping.
	if strconv.IntSize < 64 || runtime.GOOS == "windows" {
		return 0
	}
	return int(size) + mapAhead
}

// prepare makes a new store where there is none, and refuses what cannot be one.
func prepare(path string, o Options) error {
	if path == "" {
		return license.FieldErrorf("store", "the path of the store is empty")
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !o.ReadOnly:
		return create(path)
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return license.Errorf(license.Damaged, "it is not a file")
	case info.Size() == 0:
		// A store is never empty, not even a new one. Beginning anew here would
		// make a lost disk look like a fresh installation.
		return license.Errorf(license.Damaged, "the file is empty; restore it from a backup, or delete it to begin with a new store")
	}
	return nil
}

// inspect looks at a file through a handle that cannot write, since bbolt
// otherwise believes its header and would read beyond the end of a file that
// was cut short, which ends the process.
func inspect(path string, lockTimeout time.Duration) (int64, error) {
	db, err := bolt.Open(path, 0, &bolt.Options{Timeout: lockTimeout, ReadOnly: true, NoStatistics: true})
	if err != nil {
		return 0, openError(err)
	}
	size, err := verify(db, path)
	return size, errors.Join(err, db.Close())
}

// verify checks that db is a whole file of a format that we know, and returns its size.
func verify(db *bolt.DB, path string) (size int64, err error) {
	defer func() {
		// bbolt panics where a page is not what its header promised.
		if p := recover(); p != nil {
			err = license.Errorf(license.Damaged, "the file is damaged").WithCause(fmt.Errorf("panic: %v", p))
		}
	}()
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), db.View(func(btx *bolt.Tx) error {
		if want := btx.Size(); want > info.Size() {
			return license.Errorf(license.Damaged, "the file is cut short: it has %d bytes of %d", info.Size(), want)
		}
		meta := btx.Bucket([]byte(metaBucket))
		if meta == nil {
			return license.Errorf(license.Damaged, "the file is a bbolt database, but not one of ours")
		}
		version, err := formatOf(meta)
		switch {
		case err != nil:
			return err
		case version > format:
			return license.Errorf(license.Internal, "the file has format %d and this program knows formats up to %d; please use a newer version", version, format)
		}
		for _, l := range layout[:laid(btx, version)] {
			if btx.Bucket([]byte(l.name)) == nil {
				return license.Errorf(license.Damaged, "the file lacks the bucket %q", l.name)
			}
		}
		return nil
	})
}

func formatOf(meta *bolt.Bucket) (int, error) {
	raw := meta.Get([]byte(formatKey))
	version, err := strconv.Atoi(string(raw))
	if err != nil || version < 1 {
		return 0, license.Errorf(license.Damaged, "the file has no format that can be read: %q", raw)
	}
	return version, nil
}

func openError(err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return license.Errorf(license.Conflict, "another process has it open; is the daemon running?").WithCause(err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, fs.ErrNotExist):
		return err
	}
	return license.Errorf(license.Damaged, "the file is not a bbolt database, or is damaged").WithCause(err)
}

// openExisting keeps bbolt from making a file: that is for create alone.
func openExisting(path string, flag int, perm os.FileMode) (*os.File, error) {
	return os.OpenFile(path, flag&^os.O_CREATE, perm)
}

// create makes a new store under another name and then gives it its own, so
// that a crash cannot leave half of one.
func create(path string) error {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+name+".*.tmp") // with permissions 0600
	if err != nil {
		return err
	}
	tmp := f.Name()
	defer os.Remove(tmp) //nolint:errcheck // mostly it has its new name by then
	if err := f.Close(); err != nil {
		return err
	}
	if err := lay(tmp); err != nil {
		return err
	}
	// Link, unlike Rename, does not replace a store that another process has
	// made meanwhile; some file systems have no links.
	if err := os.Link(tmp, path); err != nil && !errors.Is(err, fs.ErrExist) {
		if err := os.Rename(tmp, path); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// lay writes an empty store into an empty file.
func lay(path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second, NoStatistics: true})
	if err != nil {
		return err
	}
	err = db.Update(func(btx *bolt.Tx) error {
		meta, err := btx.CreateBucket([]byte(metaBucket))
		if err != nil {
			return err
		}
		for _, l := range layout {
			if _, err := btx.CreateBucket([]byte(l.name)); err != nil {
				return err
			}
		}
		return meta.Put([]byte(formatKey), []byte(strconv.Itoa(format)))
	})
	return errors.Join(err, db.Close())
}

// syncDir makes a new name in a folder durable. Windows does so by itself.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// InUse reports whether Open failed because another process has the file open.
func InUse(err error) bool { return errors.Is(err, bolterrors.ErrTimeout) }
