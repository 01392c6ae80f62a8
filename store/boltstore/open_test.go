package boltstore_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// open opens the store at path and closes it when t ends.
func open(tb testing.TB, path string) *boltstore.Store {
	tb.Helper()
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("close: %v", err)
		}
	})
	return s
}

func newPath(tb testing.TB) string {
	tb.Helper()
	return filepath.Join(tb.TempDir(), "licensed.db")
}

// filled makes a store with a few records and closes it.
func filled(tb testing.TB) string {
	tb.Helper()
	path := newPath(tb)
	s := open(tb, path)
	for n := range int64(3) {
		if err := issue(s, n+1); err != nil {
			tb.Fatal(err)
		}
	}
	err := s.Update(tb.Context(), func(ctx context.Context, tx store.Tx) error {
		return errors.Join(
			tx.CreateInstall(ctx, license.Install{ID: "ins", LicenseID: benchLicense(1).ID, Answer: []byte("{}")}),
			tx.PutPending(ctx, license.Pending{Channel: "k", CodeIndex: []byte("p")}),
			tx.MarkSeen(ctx, []byte("m"), benchTime, benchTime),
			tx.SetValue(ctx, "v", []byte("x")),
			tx.PutStatusList(ctx, license.StatusList{ID: "sl_1", Length: 8, Seed: make([]byte, license.StatusSeedLen), Next: 1}),
			tx.PutStatusEntry(ctx, "sl_1", license.StatusEntry{Index: 1, Status: license.StatusRevoked}),
			tx.CreateJob(ctx, newJob("job_1", "k", benchTime)),
			tx.CreateJob(ctx, newJob("job_2", "k", benchTime)),
			tx.CreateJob(ctx, newJob("job_3", "", benchTime)),
			tx.CreateJob(ctx, parked(newJob("job_4", "k", benchTime))),
			tx.CreateOrder(ctx, license.Order{Channel: "k", ID: "CS1", Line: "1", License: "lic_7"}),
		)
	})
	if err := errors.Join(err, s.Close()); err != nil {
		tb.Fatal(err)
	}
	return path
}

func newJob(id, key string, due time.Time) license.Job {
	return license.Job{
		ID: id, Kind: license.JobCheck, Key: key, Channel: "koogallery", License: benchLicense(1).ID,
		Payload: []byte(`{"code":"0123456789abcdef"}`), CreatedAt: benchTime, DueAt: due,
	}
}

func parked(j license.Job) license.Job {
	j.ParkedAt = benchTime
	return j
}

func TestOpenMakesPrivateFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "licensed.db")
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder has %v, %v", entries, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	for name, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700, filepath.Join(dir, "a"): 0o700} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has permissions %v, want %v", name, info.Mode().Perm(), want)
		}
	}
}

func TestOpenInWorkingFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := open(t, "licensed.db").Close(); err != nil {
		t.Fatal(err)
	}
}

func TestOpenRefused(t *testing.T) {
	tests := map[string]struct {
		spoil func(t *testing.T, path string)
		want  license.Reason
		says  string
	}{
		"empty":         {write(nil), license.Damaged, "empty"},
		"text":          {write([]byte("product: cad-pro\n")), license.Damaged, "not a bbolt database"},
		"long text":     {write(bytes.Repeat([]byte("product: cad-pro\n"), 10_000)), license.Damaged, "not a bbolt database"},
		"cut to a page": {cut(4096), license.Damaged, "not a bbolt database"},
		"cut to two":    {cut(8192), license.Damaged, "cut short"},
		"cut to a bit":  {cut(20_000), license.Damaged, "cut short"},
		"newer":         {setFormat("4"), license.Internal, "newer version"},
		"no format":     {setFormat("one"), license.Damaged, "no format"},
		"not ours":      {dropBucket("meta"), license.Damaged, "not one of ours"},
		"half a store":  {dropBucket("audit"), license.Damaged, `"audit"`},
		"half the jobs": {dropBucket("jobsdue"), license.Damaged, `"jobsdue"`},
		"no orders":     {dropBucket("orders"), license.Damaged, `"orders"`},
		"no index":      {dropBucket("standing"), license.Damaged, `"standing"`},
		"holes":         {zeroPages, license.Damaged, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			test.spoil(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = boltstore.Open(path, boltstore.Options{})
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error is %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file was changed, %v", err)
			}
		})
	}
}

func write(data []byte) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func cut(size int64) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
}

// zeroPages clears all but the header, as a file system does that lost them.
func zeroPages(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	clear(data[2*os.Getpagesize():])
	write(data)(t, path)
}

// edit changes the bbolt database behind the store's back.
func edit(t *testing.T, path string, fn func(tx *bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(fn), db.Close()); err != nil {
		t.Fatal(err)
	}
}

func setFormat(v string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		edit(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("format"), []byte(v)) })
	}
}

func dropBucket(names ...string) func(*testing.T, string) {
	return func(t *testing.T, path string) {
		t.Helper()
		edit(t, path, func(tx *bolt.Tx) (err error) {
			for _, name := range names {
				err = errors.Join(err, tx.DeleteBucket([]byte(name)))
			}
			return err
		})
	}
}

func TestOpenNoFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := boltstore.Open(dir, boltstore.Options{}); !errors.Is(err, license.Damaged) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a folder: error is %v", err)
	}
	if _, err := boltstore.Open("", boltstore.Options{}); !errors.Is(err, license.BadRequest) {
		t.Errorf("no path: error is %v", err)
	}
	path := filepath.Join(dir, "missing.db")
	if _, err := boltstore.Open(path, boltstore.Options{ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("missing: error is %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a store opened for reading was made")
	}
}

func TestOpenLocked(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	for _, o := range []boltstore.Options{{LockTimeout: -1}, {LockTimeout: 1, ReadOnly: true}} {
		_, err := boltstore.Open(path, o)
		if !errors.Is(err, license.Conflict) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "another process") {
			t.Errorf("error is %v", err)
		}
	}
	if err := issue(s, 1); err != nil {
		t.Error(err)
	}
}

// TestOpenAtOnce has several make the same store: one gets it and nobody
// replaces it.
func TestOpenAtOnce(t *testing.T) {
	path := newPath(t)
	var wg sync.WaitGroup
	for n := range int64(4) {
		wg.Go(func() {
			s, err := boltstore.Open(path, boltstore.Options{LockTimeout: time.Minute})
			if err != nil {
				t.Error(err)
				return
			}
			if err := errors.Join(issue(s, n+1), s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := open(t, path).View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		list, _, err := tx.Licenses(ctx, store.Filter{}, store.Page{})
		if len(list) != 4 {
			t.Errorf("%d licences are there, want 4", len(list))
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestReadOnly(t *testing.T) {
	path := filled(t)
	for range 2 { // several share it
		s, err := boltstore.Open(path, boltstore.Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}()
		if err := issue(s, 9); !errors.Is(err, license.ReadOnly) {
			t.Errorf("writing: error is %v", err)
		}
		if err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
			_, err := tx.License(ctx, benchLicense(1).ID)
			return err
		}); err != nil {
			t.Error(err)
		}
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
