package backup_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/backup"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

var noon = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

// open opens the store at path, and closes it at the end of the test.
func open(t *testing.T, path string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, boltstore.Options{LockTimeout: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// fill adds n licences with an audit event each, from the number first on.
func fill(t *testing.T, s store.Store, first, n int) {
	t.Helper()
	err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		for i := first; i < first+n; i++ {
			l := license.License{
				ID: fmt.Sprintf("lic_%026d", i), Product: "demo", Channel: license.ChannelManual, Machines: 1, Mode: license.ModeNode, IssuedAt: noon,
				Code: license.StoredCode{Last4: "7777", Index: fmt.Appendf(nil, "%032d", i), Sealed: bytes.Repeat([]byte{byte(i)}, 64)},
			}
			if err := tx.CreateLicense(ctx, l); err != nil {
				return err
			}
			if _, err := tx.Append(ctx, license.AuditEvent{At: noon, Action: license.ActionIssue, License: l.ID}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// makeBackup makes a backup of s in a folder of its own.
func makeBackup(t *testing.T, s store.Store) (string, backup.Manifest) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.backup")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := backup.Write(t.Context(), s, f, backup.Options{Version: "v1", Now: noon})
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return path, m
}

// count returns how many licences and audit events a store has.
func count(t *testing.T, s store.Store) (licences, events int) {
	t.Helper()
	err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		ls, _, err := tx.Licenses(ctx, store.Filter{}, store.Page{Limit: store.MaxPage})
		if err != nil {
			return err
		}
		es, _, err := tx.Events(ctx, store.EventFilter{}, store.Page{Limit: store.MaxPage})
		licences, events = len(ls), len(es)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return licences, events
}

func TestBackupAndRestore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "licensed.db")
	s := open(t, path)
	fill(t, s, 0, 100)
	file, m := makeBackup(t, s)
	fill(t, s, 100, 20)

	if m.Audit.Seq != 100 || m.Audit.Digest == "" || m.Records["licenses"] != 100 || !m.MadeAt.Equal(noon) || m.Version != "v1" {
		t.Errorf("the manifest says %+v", m)
	}
	if _, err := backup.Verify(t.Context(), file, nil); err != nil {
		t.Error(err)
	}
	// While somebody has the store open nothing happens.
	_, _, err := backup.Restore(t.Context(), file, path, backup.RestoreOptions{Now: noon})
	if !errors.Is(err, license.Conflict) || !strings.Contains(err.Error(), "is the daemon running") {
		t.Errorf("over a store in use: %v", err)
	}
	if l, _ := count(t, s); l != 120 {
		t.Errorf("the store has %d licences", l)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	var told int64
	for range 2 { // the second time another name is free for what is there
		r, _, err := backup.Restore(t.Context(), file, path, backup.RestoreOptions{Now: noon, Progress: func(done, _ int64) { told = done }})
		if err != nil {
			t.Fatal(err)
		}
		if r.Audit.Seq != 100 || !strings.HasPrefix(r.Kept, path+".replaced-20270301T120000Z") || told != m.Size {
			t.Errorf("restored %+v, told of %d bytes", r, told)
		}
		s = open(t, path)
		if l, e := count(t, s); l != 100 || e != 100 {
			t.Errorf("the restored store has %d licences and %d events", l, e)
		}
		wantRestored(t, s, r)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if l, _ := count(t, open(t, path+".replaced-20270301T120000Z")); l != 120 {
		t.Errorf("the store that was kept has %d licences", l)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 3 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

// wantRestored demands that the store says that it was restored.
func wantRestored(t *testing.T, s store.Store, want backup.Restored) {
	t.Helper()
	var raw []byte
	err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		raw, err = tx.Value(ctx, store.ValueRestored)
		return err
	})
	var got backup.Restored
	if err := errors.Join(err, json.Unmarshal(raw, &got)); err != nil || got != want {
		t.Errorf("the store says %+v, %v; want %+v", got, err, want)
	}
}

func TestRestoreIntoAFreshFolder(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "licensed.db"))
	fill(t, s, 0, 3)
	file, _ := makeBackup(t, s)
	to := filepath.Join(t.TempDir(), "a", "b", "licensed.db")
	r, _, err := backup.Restore(t.Context(), file, to, backup.RestoreOptions{Now: noon})
	if err != nil || r.Kept != "" {
		t.Fatalf("%+v, %v", r, err)
	}
	if l, _ := count(t, open(t, to)); l != 3 {
		t.Errorf("%d licences", l)
	}
}

// What is damaged is replaced, too: that is what backups are for.
func TestRestoreOverADamagedStore(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "licensed.db"))
	fill(t, s, 0, 3)
	file, _ := makeBackup(t, s)
	to := filepath.Join(t.TempDir(), "licensed.db")
	if err := os.WriteFile(to, []byte("not a store"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, _, err := backup.Restore(t.Context(), file, to, backup.RestoreOptions{Now: noon})
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := os.ReadFile(r.Kept); err != nil || string(kept) != "not a store" {
		t.Errorf("kept %q, %v", kept, err)
	}
	if l, _ := count(t, open(t, to)); l != 3 {
		t.Errorf("%d licences", l)
	}
}

// Every byte counts: a backup that was cut short, continued or changed anywhere is
// refused, the place is named, and the store that is there stays.
func TestDamagedBackups(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "licensed.db"))
	fill(t, s, 0, 4000) // several blocks
	file, m := makeBackup(t, s)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Blocks) < 2 {
		t.Fatalf("the backup has %d blocks", len(m.Blocks))
	}
	flip := func(at int64) []byte {
		data := bytes.Clone(whole)
		data[at] ^= 1
		return data
	}
	end := int64(len(whole))
	for _, test := range []struct {
		name string
		data []byte
		says string
	}{
		{"empty", nil, "it has 0 bytes"},
		{"cut in the copy", whole[:m.Size/2], fmt.Sprintf("it ends at byte %d without", m.Size/2)},
		{"cut by one byte", whole[:end-1], fmt.Sprintf("it ends at byte %d without", end-1)},
		{"continued", append(bytes.Clone(whole), '\n'), fmt.Sprintf("it ends at byte %d without", end+1)},
		{"first byte", flip(0), "between byte 0 and byte"},
		{"second block", flip(int64(m.BlockSize) + 7), fmt.Sprintf("between byte %d and byte", m.BlockSize)},
		{"last byte of the copy", flip(m.Size - 1), fmt.Sprintf("and byte %d", m.Size)},
		{"manifest", flip(m.Size + 9), fmt.Sprintf("the manifest, from byte %d on, was changed", m.Size)},
		{"last line", flip(end - 9), fmt.Sprintf("the manifest, from byte %d on, was changed", m.Size)},
		{"a manifest of less than nothing", append(bytes.Clone(whole[:end-64]), fmt.Sprintf("licensed-backup %019d %s\n", -5, strings.Repeat("A", 43))...), "a manifest of -5 bytes"},
		{"a piece is missing", append(bytes.Clone(whole[:4096]), whole[8192:]...), "the copy has"},
		{"another file", []byte(strings.Repeat("something else\n", 100)), "cut short or continued, or is none"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			bad, to := filepath.Join(dir, "bad"), filepath.Join(dir, "licensed.db")
			for path, data := range map[string][]byte{bad: test.data, to: []byte("what was there")} {
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, verr := backup.Verify(t.Context(), bad, nil)
			_, _, rerr := backup.Restore(t.Context(), bad, to, backup.RestoreOptions{Now: noon})
			for _, err := range []error{verr, rerr} {
				if !errors.Is(err, license.Damaged) || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), bad) {
					t.Errorf("got %v", err)
				}
			}
			if kept, err := os.ReadFile(to); err != nil || string(kept) != "what was there" {
				t.Errorf("the store became %q, %v", kept, err)
			}
			if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
				t.Errorf("the folder holds %v, %v", entries, err)
			}
		})
	}
}

// The head is that of the log, whatever its length.
func TestHeadOf(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "licensed.db"))
	for want := range int64(40) {
		err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			if h, err := store.HeadOf(ctx, tx); err != nil || h.Seq != want {
				t.Errorf("the head is %+v, %v; want %d", h, err, want)
			}
			_, err := tx.Append(ctx, license.AuditEvent{At: noon, Action: license.ActionIssue})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
