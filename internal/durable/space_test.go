package durable_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/durable"
)

func TestSpace(t *testing.T) {
	dir := t.TempDir()
	free, total, err := durable.Space(dir)
	switch runtime.GOOS {
	case "linux", "darwin", "freebsd", "windows":
	default:
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
		return
	}
	if err != nil || free == 0 || free > total {
		t.Errorf("%d of %d bytes are free: %v", free, total, err)
	}
	missing := filepath.Join(dir, "missing")
	if _, _, err := durable.Space(missing); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("of a folder that there is not: %v", err)
	}
}
