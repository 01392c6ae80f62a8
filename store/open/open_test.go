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

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
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
		"":                            "no store",
		"licensed.db":                 "no scheme",
		"bolt:":                       "path",
		"bolt://licensed.db":          "slashes",
		"mysql://user:secret@host/db": `"mysql"`,
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
		if !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), open.Forms) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error is %v", url, err)
		}
	}
}

// A database's URL is refused where it holds a secret, and the error does not show it.
func TestOpenDatabaseRefused(t *testing.T) {
	for url, says := range map[string]string{
		"postgres://user:hunter2@host/db":                "password",
		"postgresql://user@host/db?password=hunter2":     "password",
		"postgresql://user@host/db?sslpassword=hunter2":  "password",
		"postgres://user:hunter2@host:port/db":           "cannot be read",
		"postgres:host":                                  "cannot be read",
		"postgres://user@host/db?sslmode=prefer":         "plain text",
		"postgres://user@host/db?pool_max_conns=hunter2": "cannot be read",
	} {
		s, err := open.Open(t.Context(), url)
		var e *license.Error
		if s != nil || !errors.As(err, &e) || e.Reason != license.BadRequest || e.Field != "store" || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: store is %v, error is %v", url, s, err)
			continue
		}
		if strings.Contains(url, ":hunter2@") && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error shows the password: %v", url, err)
		}
	}
}

// A database is opened as it is to be used: for reading only, with a password
// from a file, with as many connections as it may have.
func TestOpenDatabase(t *testing.T) {
	url := pgtest.URL(t)
	if s, err := open.Open(t.Context(), url, open.ReadOnly()); s != nil || !errors.Is(err, license.ReadOnly) {
		t.Fatalf("an empty database for reading: %v, %v", s, err)
	}
	note := func(ctx context.Context, tx store.Tx) error { return tx.SetValue(ctx, "x", []byte(`"y"`)) }
	s, err := open.Open(t.Context(), strings.Replace(url, "postgres:", "postgresql:", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Update(t.Context(), note), s.Close()); err != nil {
		t.Fatal(err)
	}
	if s, err = open.Open(t.Context(), url, open.ReadOnly(), open.Upgrading(func(u open.Upgrade) { t.Errorf("it was told %+v", u) })); err != nil {
		t.Fatal(err)
	}
	read := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		x, err := tx.Value(ctx, "x")
		if string(x) != `"y"` {
			t.Errorf("it holds %s", x)
		}
		return err
	})
	written := s.Update(t.Context(), note)
	if err := s.Close(); read != nil || !errors.Is(written, license.ReadOnly) || err != nil {
		t.Errorf("reading: %v, writing: %v, closing: %v", read, written, err)
	}
	for name, d := range map[string]open.Database{"connections": {MaxConnections: 1}, "password_file": {PasswordFile: filepath.Join(t.TempDir(), "none")}} {
		s, err := open.Open(t.Context(), url, open.Using(d))
		var e *license.Error
		if s != nil || !errors.As(err, &e) || e.Field != name {
			t.Errorf("%s: %v, %v", name, s, err)
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
