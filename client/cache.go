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
)

// Cache keeps the memory of one install: its key, what it has seen, the
// licence, a request that waits for its answer. All of it is one value, so
// that who deletes the memory deletes the key with it.
//
// Load returns what Store was given last, and nothing and no error where there
// is nothing yet. Store returns only when data will survive a crash, and
// leaves either the old value or the new one. The value holds a private key:
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
// Writes are atomic. Processes that share a file see each other's last write
// the next time they call the server or import a file, but two that do so at
// the same instant may undo each other's; give each copy a file of its own.
type FileCache struct{ path string }

// NewFileCache returns a Cache in the file at path.
func NewFileCache(path string) *FileCache { return &FileCache{path: path} }

// Load reads the file.
func (c *FileCache) Load() ([]byte, error) {
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
		return nil, fmt.Errorf("read %s: %w", c.path, err)
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

// setAside renames a file that cannot be read, so that nothing is lost and
// somebody can look at it.
func (c *FileCache) setAside() error { return atomicfile.Move(c.path, c.path+".damaged") }

// MemoryCache is a Cache that is gone with the process, for tests and for
// products that bring a licence file along at each start. The zero value is
// empty and ready.
type MemoryCache struct {
	mu   sync.Mutex
	data []byte
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
