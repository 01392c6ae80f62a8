package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/store/backup"
)

// Backups are made when they are due and verified, few are kept, and what fails
// is said and costs nothing that there was.
func TestScheduledBackups(t *testing.T) {
	t.Parallel()
	m := start(t, config+"backup: {dir: copies, every: 1h, keep: {last: 2, daily: 0, weekly: 0, monthly: 0}}\n", nil)
	m.issue()
	m.down()
	now := time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC) // after what the daemon made while it ran
	o := m.options()
	o.Now = func() time.Time { return now }
	d, err := daemon.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Stop(t.Context()) })
	dir := filepath.Join(m.dir, "copies")
	for _, f := range list(t, dir) {
		m.ok(os.Remove(f.Path))
	}

	if b := d.Backups(); b.Last != nil || b.Next != nil || b.Late {
		t.Errorf("before the first look: %+v", b)
	}
	if wait := d.BackUp(t.Context()); wait != time.Hour {
		t.Errorf("it looks again in %s", wait)
	}
	b := d.Backups()
	if b.Kept != 1 || b.Last == nil || !b.Last.Equal(now) || b.Failure != "" || b.Late || !b.Next.Equal(now.Add(time.Hour)) {
		t.Errorf("after the first: %+v", b)
	}
	if made, err := backup.Verify(t.Context(), b.LastFile, nil); err != nil || made.Records["licenses"] != 1 {
		t.Errorf("%+v, %v", made, err)
	}
	if info, err := os.Stat(b.LastFile); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	now = now.Add(59 * time.Minute)
	if wait := d.BackUp(t.Context()); wait != time.Minute || d.Backups().Kept != 1 {
		t.Errorf("before it is due: %s, %+v", wait, d.Backups())
	}
	for range 3 {
		now = now.Add(time.Hour)
		d.BackUp(t.Context())
	}
	files := list(t, dir)
	if len(files) != 2 || !files[0].At.Equal(now) || d.Backups().Kept != 2 {
		t.Errorf("of four: %+v", files)
	}

	// Where the folder cannot be written the two stay, and it is said.
	aside := dir + ".aside"
	m.ok(os.Rename(dir, aside))
	m.ok(os.WriteFile(dir, nil, 0o600))
	now = now.Add(90*time.Minute + time.Second)
	if wait := d.BackUp(t.Context()); wait != 15*time.Minute {
		t.Errorf("it is tried again in %s", wait)
	}
	if b := d.Backups(); !strings.Contains(b.Failure, "copies") || b.FailedAt == nil || !b.Late || b.Last == nil || b.Kept != 2 {
		t.Errorf("a failure: %+v", b)
	}
	m.ok(os.Remove(dir))
	m.ok(os.Rename(aside, dir))
	d.BackUp(t.Context())
	if b := d.Backups(); b.Failure != "" || b.Late || !b.Last.Equal(now) {
		t.Errorf("after it was mended: %+v", b)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

func list(t *testing.T, dir string) []backup.File {
	t.Helper()
	files, err := backup.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	return files
}
