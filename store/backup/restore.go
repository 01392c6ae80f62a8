package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// Restored says what Restore did. It is also, as JSON, the value
// store.ValueRestored of the store that was restored.
type Restored struct {
	At      time.Time  `json:"at"`
	MadeAt  time.Time  `json:"made_at"` // the backup
	Version string     `json:"version"`
	Audit   store.Head `json:"audit"`
	Kept    string     `json:"kept,omitzero"` // where the store that was there lies now
}

// RestoreOptions say how a store is restored.
type RestoreOptions struct {
	Now      time.Time
	Progress func(done, of int64) // may be nil
}

// Restore puts the backup at path in the place of the embedded store at to,
// which nobody may have open (license.Conflict). The store that was there is
// kept beside it, under a name with the date. Until the last step nothing at to
// has changed, and a backup that is damaged never gets there: the copy is made
// beside it, compared with the manifest and checked record by record.
func Restore(ctx context.Context, path, to string, o RestoreOptions) (Restored, Manifest, error) {
	r, m, err := restore(ctx, path, to, o)
	if err != nil {
		return r, m, fmt.Errorf("restore %s: %w", path, err)
	}
	return r, m, nil
}

func restore(ctx context.Context, path, to string, o RestoreOptions) (r Restored, m Manifest, err error) {
	f, err := os.Open(path)
	if err != nil {
		return r, m, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if m, err = manifest(f); err != nil {
		return r, m, err
	}
	if m.Kind != "bolt" {
		return r, m, license.Errorf(license.BadRequest, "it is of a store of the kind %q, which this program cannot restore", m.Kind)
	}
	dir := filepath.Dir(to)
	if err := durable.MkdirAll(dir); err != nil {
		return r, m, err
	}
	if free, _, err := durable.Space(dir); err == nil && free < uint64(m.Size) {
		return r, m, license.Errorf(license.ReadOnly, "%d MiB are free at %s, and the backup needs %d MiB beside the present store", free>>20, dir, m.Size>>20)
	}
	release, err := claim(to)
	if err != nil {
		return r, m, err
	}
	defer func() { err = errors.Join(err, release()) }()
	out, err := durable.Create(to, 0o600)
	if err != nil {
		return r, m, err
	}
	defer out.Abort()
	if err := keepOwner(out, to); err != nil {
		return r, m, err
	}
	if err := m.copyTo(ctx, f, out, o.Progress); err != nil {
		return r, m, err
	}
	if err := out.Sync(); err != nil {
		return r, m, err
	}
	now := o.Now.UTC().Truncate(time.Second)
	r = Restored{At: now, MadeAt: m.MadeAt, Version: m.Version, Audit: m.Audit}
	if _, err := os.Lstat(to); err == nil {
		if r.Kept, err = freeName(to + ".replaced-" + now.Format("20060102T150405Z")); err != nil {
			return r, m, err
		}
	}
	if err := prove(ctx, out.Name(), r); err != nil {
		return r, m, err
	}
	return r, m, exchange(out, to, r.Kept, release)
}

// keepOwner gives the new store to who had the old one, or has the folder: restored
// by root it would be closed to the daemon.
func keepOwner(out *durable.File, to string) error {
	like := to
	if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
		like = filepath.Dir(to)
	}
	return out.OwnedLike(like)
}

// claim makes sure that nobody has the store open, and that nobody opens it. A
// store that is missing or damaged can be replaced all the same.
func claim(path string) (release func() error, err error) {
	nothing := func() error { return nil }
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nothing, nil
	}
	s, err := boltstore.Open(path, boltstore.Options{ReadOnly: true, LockTimeout: -1})
	switch {
	case err == nil:
		return s.Close, nil
	case boltstore.InUse(err):
		return nil, err
	}
	return nothing, nil
}

// freeName returns name, or one like it that nothing has.
func freeName(name string) (string, error) {
	for n := range 1000 {
		try := name
		if n > 0 {
			try = fmt.Sprintf("%s-%d", name, n)
		}
		if _, err := os.Lstat(try); errors.Is(err, fs.ErrNotExist) {
			return try, nil
		}
	}
	return "", fmt.Errorf("there are too many files called %s", name)
}

// prove brings the copy up to this version, checks it and leaves word that it
// was restored.
func prove(ctx context.Context, path string, r Restored) error {
	note, err := json.Marshal(r)
	if err != nil {
		return err
	}
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	err = s.Check(ctx)
	if err == nil {
		err = s.Update(ctx, func(ctx context.Context, tx store.Tx) error {
			if head, err := store.HeadOf(ctx, tx); err != nil || head.Seq != r.Audit.Seq || head.Digest != r.Audit.Digest {
				return errors.Join(err, damaged("its audit log ends at %d, and its manifest says %d", head.Seq, r.Audit.Seq))
			}
			return tx.SetValue(ctx, store.ValueRestored, note)
		})
	}
	return errors.Join(err, s.Close())
}

// exchange puts the new store in the place of the old one, which is kept. A crash
// between the two leaves the old store under its new name and none in its place.
func exchange(out *durable.File, to, kept string, release func() error) error {
	if kept != "" {
		if runtime.GOOS == "windows" { // which renames no file that is open
			if err := release(); err != nil {
				return err
			}
		}
		// A link first, so that there is a store at each instant.
		if err := os.Link(to, kept); err != nil {
			if err := os.Rename(to, kept); err != nil {
				return err
			}
		}
		if err := durable.SyncDir(filepath.Dir(to)); err != nil {
			return err
		}
	}
	return out.Commit()
}
