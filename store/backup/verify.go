package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// maxManifest is the longest manifest that is read: that of a copy of 300 GiB.
const maxManifest = 16 << 20

// damaged is the error of a backup that is not what was written.
func damaged(format string, args ...any) error {
	return license.Errorf(license.Damaged, "the backup is damaged: "+format, args...)
}

// Read reads the manifest of the backup at path, and looks at nothing else.
func Read(path string) (Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return Manifest{}, fmt.Errorf("open the backup: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	m, err := manifest(f)
	if err != nil {
		return Manifest{}, fmt.Errorf("read the backup %s: %w", path, err)
	}
	return m, nil
}

func manifest(f *os.File) (Manifest, error) {
	var m Manifest
	info, err := f.Stat()
	switch {
	case err != nil:
		return m, err
	case !info.Mode().IsRegular():
		return m, license.Errorf(license.BadRequest, "it is not a file")
	case info.Size() < int64(lastLen):
		return m, damaged("it has %d bytes: it was cut short, or is none", info.Size())
	}
	last := make([]byte, lastLen)
	if _, err := f.ReadAt(last, info.Size()-int64(lastLen)); err != nil {
		return m, err
	}
	var length int64
	var sum string
	if n, err := fmt.Sscanf(string(last), lastWord+" %d %s\n", &length, &sum); err != nil || n != 2 || fmt.Sprintf(lastFormat, length, sum) != string(last) {
		return m, damaged("it ends at byte %d without the line that ends a backup: it was cut short or continued, or is none", info.Size())
	}
	at := info.Size() - int64(lastLen) - length
	if length < 0 || length > maxManifest || at < 0 {
		return m, damaged("its last line speaks of a manifest of %d bytes", length)
	}
	raw := make([]byte, length)
	if _, err := f.ReadAt(raw, at); err != nil {
		return m, err
	}
	if digest(raw) != sum {
		return m, damaged("the manifest, from byte %d on, was changed", at)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, damaged("the manifest, from byte %d on, cannot be read", at)
	}
	switch {
	case m.Form != Form:
		return m, license.Errorf(license.BadRequest, "the backup has form %d, and this program knows %d; please use a newer version", m.Form, Form)
	case m.BlockSize < 1 || m.BlockSize > 64<<20 || m.Size < 0 || int64(len(m.Blocks)) != (m.Size+int64(m.BlockSize)-1)/int64(m.BlockSize):
		return m, damaged("the manifest speaks of %d blocks of %d bytes for %d bytes", len(m.Blocks), m.BlockSize, m.Size)
	case m.Size != at:
		return m, damaged("the copy has %d bytes of %d", at, m.Size)
	}
	return m, nil
}

// copyTo reads the copy in f, compares it with the manifest and writes it to w,
// which may be nil.
func (m Manifest) copyTo(ctx context.Context, f *os.File, w io.Writer, progress func(done, of int64)) error {
	block := make([]byte, m.BlockSize)
	var at int64
	for _, want := range m.Blocks {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		part := block[:min(int64(len(block)), m.Size-at)]
		if _, err := f.ReadAt(part, at); err != nil {
			return err
		}
		if digest(part) != want {
			return damaged("it was changed between byte %d and byte %d", at, at+int64(len(part)))
		}
		if w != nil {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		if at += int64(len(part)); progress != nil {
			progress(at, m.Size)
		}
	}
	return nil
}

// Verify reads the backup at path to its end, compares it with its manifest,
// opens the copy for reading and has the store check every record. A backup
// that an older version made is not opened, since that would change it; Restore
// checks it then. progress, which may be nil, is told how far it has come.
func Verify(ctx context.Context, path string, progress func(done, of int64)) (Manifest, error) {
	m, err := verify(ctx, path, progress)
	if err != nil {
		return m, fmt.Errorf("verify the backup %s: %w", path, err)
	}
	return m, nil
}

func verify(ctx context.Context, path string, progress func(done, of int64)) (Manifest, error) {
	f, err := os.Open(path)
	if err != nil {
		return Manifest{}, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	m, err := manifest(f)
	if err != nil {
		return m, err
	}
	if m.Kind != "bolt" {
		return m, license.Errorf(license.BadRequest, "it is of a store of the kind %q, which this program does not know", m.Kind)
	}
	if err := m.copyTo(ctx, f, nil, progress); err != nil {
		return m, err
	}
	s, err := boltstore.Open(path, boltstore.Options{ReadOnly: true})
	if errors.Is(err, license.Conflict) && !boltstore.InUse(err) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	return m, errors.Join(s.Check(ctx), s.Close())
}
