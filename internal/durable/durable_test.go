package durable_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/seed-357fa782/licensed/internal/durable"
)

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for _, data := range []string{"one", "a longer second version", "", "4"} {
		if err := durable.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		wantFile(t, path, data)
	}
	wantEntries(t, filepath.Dir(path), "state")
}

func TestWriteFilePermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	path := filepath.Join(t.TempDir(), "key")
	for _, perm := range []fs.FileMode{0o644, 0o600, 0o666} {
		if err := durable.WriteFile(path, []byte("x"), perm); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != perm {
			t.Errorf("mode is %v, want %v", info.Mode().Perm(), perm)
		}
	}
}

func TestWriteFileInWorkingFolder(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := durable.WriteFile("plain", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFile(t, "plain", "x")
}

func TestWriteFileReplacesLink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		if runtime.GOOS != "windows" {
			t.Fatal(err)
		}
		t.Skipf("only some users of Windows make links: %v", err)
	}
	if err := durable.WriteFile(link, []byte("new"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantFile(t, target, "old")
	wantFile(t, link, "new")
}

// Each step that fails leaves the old file whole and nothing beside it. The
// sync of the folder is the exception: by then the new file is in place.
func TestWriteFileFaults(t *testing.T) {
	tests := []struct {
		name   string
		faults durable.Faults
		err    error
		want   string
	}{
		{"disk full half-way", durable.Faults{Write: func(f *os.File, data []byte) (int, error) {
			n, err := f.Write(data[:len(data)/2])
			if err != nil {
				return n, err
			}
			return n, &fs.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
		}}, syscall.ENOSPC, "old"},
		{"disk full at sync", durable.Faults{Sync: func(*os.File) error { return syscall.ENOSPC }}, syscall.ENOSPC, "old"},
		{"rename refused", durable.Faults{Rename: func(from, to string) error {
			return &os.LinkError{Op: "rename", Old: from, New: to, Err: fs.ErrPermission}
		}}, fs.ErrPermission, "old"},
		{"folder not synced", durable.Faults{SyncDir: func(string) error { return syscall.EIO }}, syscall.EIO, "new content"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			err := durable.WriteFileWith(test.faults, path, []byte("new content"), 0o600)
			if !errors.Is(err, test.err) {
				t.Fatalf("error is %v, want %v", err, test.err)
			}
			wantFile(t, path, test.want)
			wantEntries(t, filepath.Dir(path), "file")
		})
	}
}

func TestErrorsNameThePath(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		path string
		do   func(path string) error
		is   error
	}{
		{"write without folder", filepath.Join(dir, "none", "f"), func(p string) error { return durable.WriteFile(p, nil, 0o600) }, fs.ErrNotExist},
		{"write over a folder", dir, func(p string) error { return durable.WriteFile(p, nil, 0o600) }, nil},
		{"remove nothing", filepath.Join(dir, "none"), durable.Remove, fs.ErrNotExist},
		{"folder over a file", file, durable.MkdirAll, nil},
		{"folder under a file", filepath.Join(file, "x"), durable.MkdirAll, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := test.do(test.path)
			if err == nil {
				t.Fatal("no error")
			}
			if test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("error %v is not %v", err, test.is)
			}
			if got := strings.Count(err.Error(), test.path); got == 0 {
				t.Errorf("error %q does not name %s", err, test.path)
			}
			if strings.Contains(err.Error(), ".tmp") {
				t.Errorf("error %q names a temporary file", err)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := durable.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.Remove(path); err != nil {
		t.Fatal(err)
	}
	wantEntries(t, filepath.Dir(path))
}

func TestMkdirAll(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "a", "b", "c")
	for range 2 { // the second time it is there already
		if err := durable.MkdirAll(path); err != nil {
			t.Fatal(err)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	for _, dir := range []string{"a", "a/b", "a/b/c"} {
		info, err := os.Stat(filepath.Join(root, dir))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %v", dir, info.Mode().Perm())
		}
	}
}

// Readers see one version or the other, whole, while writers replace the file.
func TestWriteFileIsAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	versions := [][]byte{bytes.Repeat([]byte("a"), 70_000), bytes.Repeat([]byte("b"), 90_000)}
	if err := durable.WriteFile(path, versions[0], 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		defer close(done)
		for i := range 20 {
			if err := durable.WriteFile(path, versions[i%2], 0o600); err != nil {
				t.Error(err)
			}
		}
	})
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			break
		}
		if !bytes.Equal(got, versions[0]) && !bytes.Equal(got, versions[1]) {
			t.Errorf("read a mix of %d bytes", len(got))
		}
	}
	wg.Wait()
}

func wantFile(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s holds %q, want %q", path, got, want)
	}
}

func wantEntries(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("folder holds %q, want %q", got, want)
	}
}
