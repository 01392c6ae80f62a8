package durable

import (
	"io/fs"
	"os"
)

// Faults are the steps of writing a file that a test wants to fail; nil steps work.
type Faults struct {
	Write   func(f *os.File, data []byte) (int, error)
	Sync    func(f *os.File) error
	Rename  func(from, to string) error
	SyncDir func(dir string) error
}

// WriteFileWith is WriteFile on a system with faults.
func WriteFileWith(f Faults, path string, data []byte, perm fs.FileMode) error {
	s := realSystem()
	if f.Write != nil {
		s.write = f.Write
	}
	if f.Sync != nil {
		s.sync = f.Sync
	}
	if f.Rename != nil {
		s.rename = f.Rename
	}
	if f.SyncDir != nil {
		s.syncDir = f.SyncDir
	}
	return s.writeFile(path, data, perm)
}
