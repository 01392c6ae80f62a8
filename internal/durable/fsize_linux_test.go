package durable_test

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-357fa782/licensed/internal/durable"
)

const limitedChild = "DURABLE_TEST_LIMITED_CHILD"

// The real thing instead of a fault: the kernel lets the process write only
// part of the file, as it does when a disk or a quota is full.
func TestWriteFileOverLimit(t *testing.T) {
	if path := os.Getenv(limitedChild); path != "" {
		writeOverLimit(t, path)
		return
	}
	path := filepath.Join(t.TempDir(), "file")
	if err := durable.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestWriteFileOverLimit$")
	cmd.Env = append(os.Environ(), limitedChild+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	wantFile(t, path, "old")
	wantEntries(t, filepath.Dir(path), "file")
}

// writeOverLimit runs in a process of its own, because the limit counts for a whole process.
func writeOverLimit(t *testing.T, path string) {
	t.Helper()
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4096, Max: 4096}); err != nil {
		t.Fatal(err)
	}
	err := durable.WriteFile(path, make([]byte, 10_000), 0o600)
	if !errors.Is(err, syscall.EFBIG) || !strings.Contains(err.Error(), path) {
		t.Errorf("error is %v", err)
	}
}
