package main

import (
	"context"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/pgtest"
)

// A store moves from its file to a database and back, by the commands that the
// manual shows, and each end prints the same digest. A database is looked at, dumped
// and checked while a daemon runs on it.
func TestMoveToPostgres(t *testing.T) {
	dir, err := os.MkdirTemp("", "lc") //nolint:usetesting // a socket's path is short, a test's folder is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	at := func(name string) string { return filepath.Join(dir, name) }
	database := pgtest.URL(t)
	for name, store := range map[string]string{"file.yaml": "", "database.yaml": "store: \"" + database + "\"\n", "back.yaml": "store: bolt:back.db\n"} {
		text := "data_dir: data\nissuer: https://licence.example.com\npublic: {listen: \"127.0.0.1:0\"}\nops: {listen: \"\"}\n" + store
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// ctl runs a command while the daemon runs that a configuration is of, if any.
	ctl := func(daemonOf string, want int, args ...string) string {
		t.Helper()
		if daemonOf != "" {
			d, err := daemon.New(t.Context(), daemon.Options{ConfigFile: at(daemonOf)})
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := d.Stop(context.WithoutCancel(t.Context())); err != nil {
					t.Error(err)
				}
			}()
		}
		s := newScreen(t, "")
		if got := s.run(t.Context(), append([]string{"licensectl", "--server", "unix:" + at("data/admin.sock")}, args...)); got != want {
			t.Fatalf("licensectl %s: status %d\n%s", strings.Join(args, " "), got, s.out.String()+s.err.String())
		}
		return s.out.String() + s.err.String()
	}
	has := func(text string, words ...string) {
		t.Helper()
		for _, w := range words {
			if !strings.Contains(text, w) {
				t.Errorf("there is no %q in\n%s", w, text)
			}
		}
	}
	digest := func(config string) string {
		t.Helper()
		var out struct{ Digest string }
		text := ctl("", exitDone, "db", "check", "--config", at(config), "-o", "json")
		if err := json.NewDecoder(strings.NewReader(text[strings.Index(text, "{"):])).Decode(&out); err != nil || out.Digest == "" {
			t.Fatalf("%v: %s", err, text)
		}
		return out.Digest
	}

	ctl("file.yaml", exitDone, "issue", "--product", "demo", "--for", "365d", "--customer", "ACME")
	want := digest("file.yaml")
	has(ctl("", exitDone, "dump", "--config", at("file.yaml"), "-o", at("there.jsonl")), "digest "+want)
	has(ctl("", exitDone, "load", "--config", at("database.yaml"), at("there.jsonl")), want)
	if have := digest("database.yaml"); have != want {
		t.Errorf("the digest in the database is %s, and was %s", have, want)
	}
	has(ctl("database.yaml", exitDone, "list"), "ACME")
	has(ctl("database.yaml", exitDone, "doctor", "--config", at("database.yaml")),
		"database", "PostgreSQL ", "connections are in use", "are those that the database's administrator makes", "fsync is off")
	has(ctl("", exitDone, "doctor", "--config", at("database.yaml")), "tables of version 1", "fsync is off")
	has(ctl("database.yaml", exitUsage, "db", "backup", at("copy")), "pg_dump")
	has(ctl("", exitUsage, "db", "restore", "--config", at("database.yaml"), at("there.jsonl")), "licensectl load")
	has(ctl("database.yaml", exitFailed, "load", "--config", at("database.yaml"), at("there.jsonl")), "the store is not empty")
	has(ctl("database.yaml", exitDone, "dump", "--config", at("database.yaml"), "-o", at("back.jsonl")), "digest ")
	before := digest("database.yaml")
	has(ctl("", exitDone, "dump", "--config", at("database.yaml"), "-o", at("back.jsonl"), "--yes"), "digest "+before)
	has(ctl("", exitDone, "load", "--config", at("back.yaml"), at("back.jsonl")), before)
	if have := digest("back.yaml"); have != before {
		t.Errorf("the digest in the file is %s, and was %s", have, before)
	}

	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/nothing"
	text := "data_dir: data\nissuer: https://licence.example.com\nstore: \"" + u.String() + "\"\n"
	if err := os.WriteFile(at("wrong.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	has(ctl("", exitFailed, "doctor", "--config", at("wrong.yaml")), "refuses the connection", "does not exist")
}
