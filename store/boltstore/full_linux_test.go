package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

const fullChild = "BOLTSTORE_TEST_FULL_CHILD"

// TestFullDisk lets the kernel refuse what the file would grow by, in a process
// of its own, as it does when a disk or a quota is full.
func TestFullDisk(t *testing.T) {
	if path := os.Getenv(fullChild); path != "" {
		fillUp(t, path)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestFullDisk$")
	path := newPath(t)
	cmd.Env = append(os.Environ(), fullChild+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	if err := open(t, path).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func limitFile(t *testing.T, size uint64) {
	t.Helper()
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &lim); err != nil {
		t.Fatal(err)
	}
	lim.Cur = min(size, lim.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &lim); err != nil {
		t.Fatal(err)
	}
}

// setBlob stores mb megabytes.
func setBlob(name string, mb int) func(ctx context.Context, tx store.Tx) error {
	return func(ctx context.Context, tx store.Tx) error {
		if _, err := tx.Append(ctx, license.AuditEvent{At: benchTime, Action: license.ActionIssue}); err != nil {
			return err
		}
		return tx.SetValue(ctx, name, make([]byte, mb<<20))
	}
}

func fillUp(t *testing.T, path string) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(issue(s, 1), s.Update(t.Context(), setBlob("small", 1))); err != nil {
		t.Fatal(err)
	}
	limitFile(t, uint64(s.Stats().SizeBytes))
	written := 0
	for ; err == nil && written < 100; written++ {
		err = s.Update(t.Context(), setBlob(fmt.Sprint(written), 1))
	}
	if !errors.Is(err, license.ReadOnly) || license.ReasonOf(err) != license.ReadOnly || !strings.Contains(err.Error(), path) {
		t.Fatalf("after %d changes the error is %v", written, err)
	}
	last := fmt.Sprint(written - 1)
	for range 3 {
		// More than the last time, which may have failed for a page or two that
		// are free by now.
		if err := s.Update(t.Context(), setBlob(last, 4)); !errors.Is(err, license.ReadOnly) {
			t.Errorf("again: error is %v", err)
		}
		// Reading goes on, and so does an Update that has nothing to write.
		if hasValue(t, s, last) || !hasValue(t, s, "small") {
			t.Error("the store does not hold what was answered")
		}
		if err := s.Update(t.Context(), func(context.Context, store.Tx) error { return errTest }); !errors.Is(err, errTest) {
			t.Errorf("a refusal: error is %v", err)
		}
	}
	if st := s.Stats(); st.Failed != 4 {
		t.Errorf("stats are %+v", st)
	}

	limitFile(t, 1<<40)
	if err := s.Update(t.Context(), setBlob(last, 4)); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if err := s.Check(t.Context()); err != nil { // the audit log has no gap either
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestFullDiskGroup fails the commit of a whole group: all of it is told so,
// but for those whose answer needs no commit.
func TestFullDiskGroup(t *testing.T) {
	if path := os.Getenv(fullChild); path != "" {
		signal.Ignore(syscall.SIGXFSZ)
		inBubble(t, func(t *testing.T, s *boltstore.Store) {
			t.Helper()
			limitFile(t, uint64(s.Stats().SizeBytes))
			refuse := func(context.Context, store.Tx) error { return errTest }
			errs := together(t, s, refuse, setBlob("a", 1), setValue("b"), refuse)
			for i, want := range []error{errTest, license.ReadOnly, license.ReadOnly, license.ReadOnly} {
				if !errors.Is(errs[i], want) {
					t.Errorf("function %d: error is %v, want %v", i, errs[i], want)
				}
			}
			if hasValue(t, s, "a") || hasValue(t, s, "b") {
				t.Error("something was written")
			}
			limitFile(t, 1<<40)
		})
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestFullDiskGroup$")
	cmd.Env = append(os.Environ(), fullChild+"=yes")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
}
