package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/seed-357fa782/licensed/client/internal/atomicfile"
	"github.com/seed-357fa782/licensed/client/internal/filelock"
	"github.com/seed-357fa782/licensed/license"
)

// Cache keeps the memory of one install: its key, what it has seen, the
// licence, a request that waits for its answer. All of it is one value, so
// that who deletes the memory deletes the key with it.
//
// Load returns what Store was given last, and nothing and no error where there
// is nothing yet. An error with the reason license.Damaged says that what is
// there is not what was stored: the guard reports it and begins anew, while
// any other error ends what it is doing. Store returns only when data will survive a crash, and
// leaves either the old value or the new one. A Cache of one's own is for one
// Guard at a time: only those of this package can be shared. The value holds a private key:
// others must not be able to read it.
type Cache interface {
	Load() ([]byte, error)
	Store(data []byte) error
}

// maxMemory is the largest memory that is read, in bytes.
const maxMemory = 4 << 20

// FileCache is a Cache in a file that only its owner can read, in a folder
// that is made, open to the owner only, when there is something to store.
//
// Writes are atomic, and processes that share a file take turns at changing
// it: by a lock on a file beside it whose name ends in .lock, held for the
// change and never for a call to the server. What one stored another sees the
// next time that it calls the server or imports a file. So copies of a product
// that share a file are one install. Where the file system has no locks, give
// each a file of its own.
type FileCache struct{ path string }

// NewFileCache returns a Cache in the file at path.
func NewFileCache(path string) *FileCache { return &FileCache{path: path} }

// Load reads the file. One that is empty, which Store never leaves, and
// anything that is no file at all is Damaged.
func (c *FileCache) Load() ([]byte, error) {
	// Before it is opened: a pipe would wait for somebody to write.
	info, err := os.Stat(c.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, license.Errorf(license.Damaged, "the install's memory is damaged: %s is not a file", c.path)
	}
	f, err := os.Open(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(f, maxMemory+1))
	if err != nil {
		return nil, err
	}
	if len(data) == 0 {
		return nil, license.Errorf(license.Damaged, "the install's memory is damaged: its file is empty")
	}
	return data, nil
}

// Store replaces the file.
func (c *FileCache) Store(data []byte) error {
	if err := atomicfile.Write(c.path, data); err != nil {
		return fmt.Errorf("write %s: %w", c.path, err)
	}
	return nil
}

// lock keeps others from storing until unlock is called.
func (c *FileCache) lock() (unlock func(), err error) { return filelock.Lock(c.path + ".lock") }

// join says to others that this process uses a seat that is in the file.
func (c *FileCache) join() (leave func() (last bool), err error) {
	return filelock.Share(c.path + ".users")
}

// setAside renames a file that cannot be used, so that nothing is lost and
// somebody can look at it, if it is still what was read. The lock is held.
func (c *FileCache) setAside(read []byte) (moved bool, err error) {
	now, err := c.Load()
	switch {
	case errors.Is(err, license.Damaged): // read is nothing, or was damaged as well
	case err != nil:
		return false, err
	case now == nil:
		return true, nil // by somebody else
	case !bytes.Equal(now, read):
		return false, nil
	}
	return true, atomicfile.Move(c.path, c.path+".damaged")
}

// MemoryCache is a Cache that is gone with the process, for tests and for
// products that bring a licence file along at each start. Of time it proves no
// more than that file does, so a clock that is set back before each start gains
// time. The zero value is empty and ready.
type MemoryCache struct {
	turn sync.Mutex // for lock
	mu   sync.Mutex
	data []byte

	users int // of a floating seat
}

func (c *MemoryCache) join() (leave func() (last bool), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.users++
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.users--
		return c.users == 0
	}, nil
}

func (c *MemoryCache) lock() (unlock func(), err error) { //nolint:unparam // the form is that of FileCache.lock
	c.turn.Lock()
	return c.turn.Unlock, nil
}

// Load returns a copy of what was stored.
func (c *MemoryCache) Load() ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.data), nil
}

// Store keeps a copy of data.
func (c *MemoryCache) Store(data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.data = bytes.Clone(data)
	return nil
}

// String hides what is kept.
func (c *MemoryCache) String() string { return "client.MemoryCache" }

// GoString hides what is kept from %#v.
func (c *MemoryCache) GoString() string { return c.String() }
