package open_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store/open"
)

func TestOpenBolt(t *testing.T) {
	t.Chdir(t.TempDir())
	abs, err := filepath.Abs("absolute.db")
	if err != nil {
		t.Fatal(err)
	}
	for url, path := range map[string]string{"bolt:data/licensed.db": "data/licensed.db", "bolt:" + abs: abs} {
		s, err := open.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefused(t *testing.T) {
	for url, says := range map[string]string{
		"":                                 "no store",
		"licensed.db":                      "no scheme",
		"bolt:":                            "path",
		"bolt://licensed.db":               "slashes",
		"postgres://user:secret@host/db":   "not built",
		"postgresql://user:secret@host/db": "not built",
		"mysql://user:secret@host/db":      `"mysql"`,
	} {
		s, err := open.Open(t.Context(), url)
		if s != nil {
			t.Errorf("%s: a store came with the error", url)
		}
		var e *license.Error
		if !errors.As(err, &e) || e.Reason != license.BadRequest || e.Field != "store" {
			t.Errorf("%s: error is %v", url, err)
			continue
		}
		if !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "bolt:PATH") || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error is %v", url, err)
		}
	}
}

func TestOpenNotAStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := open.Open(t.Context(), "bolt:"+path)
	if s != nil || !errors.Is(err, license.Damaged) {
		t.Errorf("store is %v, error is %v", s, err)
	}
}

func TestOpenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open.Open(ctx, "bolt:x"); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

// Who opens a store of an older version is told so, and its end stops that.
func TestOpenOlder(t *testing.T) {
	f, err := os.Open("../boltstore/testdata/format1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "licensed.db")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := open.Open(ctx, "bolt:"+path, open.Upgrading(func(open.Upgrade) { cancel() })); !errors.Is(err, context.Canceled) {
		t.Fatalf("error is %v", err)
	}
	var told []open.Upgrade
	s, err := open.Open(t.Context(), "bolt:"+path, open.Upgrading(func(u open.Upgrade) { told = append(told, u) }))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if len(told) == 0 || told[0].From != 1 || told[0].To <= 1 || told[0].Step == "" {
		t.Errorf("it was told %+v", told)
	}
	told = nil
	s, err = open.Open(t.Context(), "bolt:"+path, open.Upgrading(func(u open.Upgrade) { told = append(told, u) }))
	if err != nil || len(told) > 0 {
		t.Fatalf("the second time: %+v, %v", told, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
