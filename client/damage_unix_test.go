//go:build unix

package client_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
)

// What Unix lets stand in the place of a file is set aside like any damage.
func TestNoFileAtAll(t *testing.T) {
	for name, put := range map[string]func(w *worn) error{
		"a link to a folder": func(w *worn) error { return os.Symlink(t.TempDir(), w.path) },
		"a pipe":             func(w *worn) error { return syscall.Mkfifo(w.path, 0o600) },
		"a link to a device": func(w *worn) error { return os.Symlink("/dev/zero", w.path) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorn(t)
			check(t, os.Remove(w.path))
			check(t, put(w))
			g := w.open()
			wantDamaged(t, g)
			if _, err := os.Lstat(w.path + ".damaged"); err != nil {
				t.Error(err)
			}
			w.wantNothingGained(g)
			w.clock.add(4 * day)
			check(t, g.Activate(t.Context(), code))
			wantLicensed(t, w.open())
		})
	}
}

// A link to a memory is read; what is written stands in the place of the link,
// and never behind it.
func TestLinkedState(t *testing.T) {
	w := newWorn(t)
	target := filepath.Join(t.TempDir(), "elsewhere")
	check(t, os.Rename(w.path, target))
	check(t, os.Symlink(target, w.path))
	g := w.open()
	w.wantAsBefore(g)
	w.clock.add(5 * day)
	check(t, g.Refresh(t.Context()))
	if data, err := os.ReadFile(target); err != nil || string(data) != string(w.whole) {
		t.Errorf("what the link names was written to: %v", err)
	}
	if info, err := os.Lstat(w.path); err != nil || !info.Mode().IsRegular() {
		t.Errorf("%v %v", info, err)
	}
	wantLicensed(t, w.open())

	// One that leads nowhere is no memory.
	check(t, os.Remove(w.path))
	check(t, os.Symlink(target+"2", w.path))
	g = w.open()
	if w := g.Warnings(); len(w) != 0 || g.License() != nil {
		t.Errorf("%v", w)
	}
	check(t, g.Activate(t.Context(), code))
	if _, err := os.Stat(target + "2"); err == nil {
		t.Error("what the link names was written to")
	}
	wantLicensed(t, w.open())
}

// A memory that this user may not read is not damaged: it is left alone, and
// nothing begins anew beside it.
func TestForbiddenState(t *testing.T) {
	if !asNobody(t) {
		return
	}
	w := newWorn(t)
	check(t, os.Chmod(w.path, 0))
	_, err := client.Open(t.Context(), w.opts)
	wantReason(t, err, license.ReadOnly)
	check(t, os.Chmod(w.path, 0o600))
	w.wantAsBefore(w.open())

	// A folder in which nothing can be written: what is there counts.
	check(t, os.Chmod(w.opts.StateDir, 0o500))
	t.Cleanup(func() { _ = os.Chmod(w.opts.StateDir, 0o700) })
	g := w.open()
	w.wantAsBefore(g)
	w.clock.add(5 * day)
	before := len(w.vendor.seen())
	wantReason(t, g.Refresh(t.Context()), license.ReadOnly)
	if len(w.vendor.seen()) != before {
		t.Error("a request was sent that was not stored")
	}
	wantLicensed(t, g)

	// Damage there is reported all the same, and stays where it is.
	check(t, os.WriteFile(w.path, w.whole[:100], 0o600))
	g = w.open()
	wantDamaged(t, g)
	if data, err := os.ReadFile(w.path); err != nil || string(data) != string(w.whole[:100]) {
		t.Errorf("it was touched: %v", err)
	}
}
