package durable_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-357fa782/licensed/internal/durable"
)

func TestFileAppearsWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "copy")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := durable.Create(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // is synced on the way
	if _, err := f.Write(large); err != nil {
		t.Fatal(err)
	}
	wantFile(t, path, "old")
	f.Abort()
	wantEntries(t, dir, "copy")
	wantFile(t, path, "old")

	if f, err = durable.Create(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(large); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	f.Abort()
	wantFile(t, path, string(large))
	wantEntries(t, dir, "copy")
	if err := f.Commit(); err == nil {
		t.Error("a file is committed twice")
	}
}

func TestFileInAFolderThatThereIsNot(t *testing.T) {
	if _, err := durable.Create(filepath.Join(t.TempDir(), "missing", "copy"), 0o600); err == nil {
		t.Error("no error")
	}
}
