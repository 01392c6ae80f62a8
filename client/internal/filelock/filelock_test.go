package filelock_test

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/seed-357fa782/licensed/client/internal/filelock"
)

// holder is where a process started by a test finds the file to lock.
const holder = "FILELOCK_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holder); path != "" {
		hold(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// hold locks, says so, and dies with the lock when its input ends.
func hold(path string) {
	if _, err := filelock.Lock(path); err != nil {
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString("locked\n")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	os.Exit(0)
}

func TestTurns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "lock")
	var inside, turns atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				unlock, err := filelock.Lock(path)
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d at the same time", n)
				}
				turns.Add(1)
				inside.Add(-1)
				unlock()
			}
		})
	}
	wg.Wait()
	if n := turns.Load(); n != 160 {
		t.Errorf("%d turns", n)
	}
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

// A lock keeps another process out, and ends with the process that has it.
func TestOtherProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), holder+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || strings.TrimSpace(line) != "locked" {
		t.Fatalf("%q %v", line, err)
	}
	if unlock, err := filelock.TryLock(path); !errors.Is(err, filelock.ErrHeld) {
		if err == nil {
			unlock()
		}
		t.Errorf("another process holds the lock, got %v", err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	lock := filelock.TryLock
	if runtime.GOOS == "windows" {
		lock = filelock.Lock // the lock of a process may outlive it for a moment there
	}
	unlock, err := lock(path)
	if err != nil {
		t.Fatalf("the process is gone, got %v", err)
	}
	unlock()
}

func TestNoFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var pathErr *fs.PathError
	if _, err := filelock.Lock(filepath.Join(file, "lock")); !errors.As(err, &pathErr) {
		t.Errorf("got %v", err)
	}
}
