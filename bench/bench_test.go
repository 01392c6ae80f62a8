package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license/wire"
)

var tiny = sizes{requests: 24, warm: 8, conns: 4, paced: 40, codes: 120, rounds: 1, alone: 8, commits: 10, crowd: 20, cached: 20, listed: 300_000, verifies: 1, cold: 1, list: 400, pages: 10, expiring: 300, ends: 60, pg: 24, pgConns: []int{1, 4}}

// Nothing is said here about how fast anything is: only that all of it runs,
// and that every path has its line.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	dir := t.TempDir()
	profiles := filepath.Join(t.TempDir(), "profiles")
	if err := run(t.Context(), options{dir: dir, profile: profiles, sizes: tiny, stdout: &out}); err != nil {
		t.Fatal(err)
	}
	paths := []string{
		"activate, 64 connections ", "activate, 64 connections: p99", "half of the requests refused", "refresh, 64 connections", "renewal callback, 64 connections", "renewal callback, 500 a second", "300 licences having ended at once: p99", "the second half, in which checks are due",
		"reconcile of 120 codes: most memory of the daemon", "codes in a call  ", "renewal callback meanwhile",
		"activate, 1 connection", "group commit, 1 writer", "group commit, 16 writers", "key set (cached)", "client.Verify, key set known", "3 status lists of 300000 installs, 1 % revoked: building", "on the wire, gzip", "as one list: lst",
		"opening a store of 400 licences", "a page by state at 400", "a page by end", "a page by customer", "a page by order", "a page by last four", "a page of all", "a lookup at 400", "while a store of 400 licences is backed up: p99",
		"a lookup in a verified list", "status list (cached, gzip)",
		"client.Verify, the same bytes again", "cold process", "open an install, no server", "open an install, the server hangs",
	}
	if !strings.Contains(out.String(), pgtest.ErrNone.Error()) || os.Getenv("CI") == "true" {
		paths = append(paths, "activate, PostgreSQL, 1 connection ", "activate, PostgreSQL, 4 connections", "refresh, PostgreSQL, 4", "renewal callback, PostgreSQL, 4", "two daemons on one database")
	}
	for _, path := range paths {
		if !strings.Contains(out.String(), path) {
			t.Errorf("there is no line for %q:\n%s", path, out.String())
		}
	}
	for pattern, want := range map[string]int{filepath.Join(dir, "*"): 0, filepath.Join(profiles, "*.pprof"): 4} {
		if left, err := filepath.Glob(pattern); err != nil || len(left) != want {
			t.Errorf("%s: %v, %v; want %d", pattern, left, err, want)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	for name, o := range map[string]options{
		"no such group":  {dir: t.TempDir(), only: "nonsense", sizes: tiny, stdout: &bytes.Buffer{}},
		"no requests":    {dir: t.TempDir(), sizes: sizes{rounds: 1}, stdout: &bytes.Buffer{}},
		"minus licences": {dir: t.TempDir(), sizes: sizes{requests: 1, rounds: 1, list: -1}, stdout: &bytes.Buffer{}},
		"minus codes":    {dir: t.TempDir(), sizes: sizes{requests: 1, rounds: 1, codes: -1}, stdout: &bytes.Buffer{}},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(t.Context(), o); err == nil {
				t.Error("it ran")
			}
		})
	}
}

func newTestSite(t *testing.T) *site {
	t.Helper()
	s, err := newSite(t.Context(), t.TempDir(), options{sizes: tiny})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The prototype does the same work, else it is no measure: what it leaves on
// disk is what the server leaves, key for key and byte for byte.
func TestPrototypeWritesWhatTheServerWrites(t *testing.T) {
	s := newTestSite(t)
	for name, test := range map[string]struct {
		make  func(context.Context) (*work, error)
		check check
		puts  int // of one request
	}{
		"activate": {s.activations, nil, 5},
		"refresh":  {s.refreshes, nil, 2},
		"callback": {s.renewals, accepted, 5},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := test.make(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i, it := range w.items {
				if len(it.puts) != test.puts {
					t.Fatalf("the server wrote %d keys for request %d, not %d", len(it.puts), i, test.puts)
				}
			}
			shots := slices.Clone(w.shots)
			for i := range shots {
				shots[i] = shots[i].to(w.path, w.bare)
			}
			err = s.servePrototype(t.Context(), w, true, func(addr string) error { return fireAll(t.Context(), addr, shots, test.check) })
			if err != nil {
				t.Fatal(err)
			}
			path := s.path("prototype.db")
			if diff := cmp.Diff(contents(t, w.after), contents(t, path)); diff != "" {
				t.Errorf("the prototype (+) wrote something else than the server (-):\n%s", diff)
			}
		})
	}
}

func fireAll(ctx context.Context, addr string, shots []shot, ok check) error {
	c, err := dial(ctx, addr, 2)
	if err != nil {
		return err
	}
	_, err = c.fire(ctx, shots, ok)
	return errors.Join(err, c.close())
}

// contents is all that the buckets of the prototype hold.
func contents(t *testing.T, path string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := withBolt(path, func(db *bolt.DB) error {
		return db.View(func(tx *bolt.Tx) error {
			p, err := openPage(tx)
			if err != nil {
				return err
			}
			for i, b := range p {
				err := b.ForEach(func(k, v []byte) error {
					if bucket(i) == audit && bytes.Contains(v, []byte(`"action":"audit.checkpoint"`)) {
						return nil // of the server's end
					}
					all[string(bucketNames[i])+" "+string(k)] = string(v)
					return nil
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// It signs, and the claims that it signs are those of the server.
func TestPrototypeSigns(t *testing.T) {
	s := newTestSite(t)
	w, err := s.activations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPrototype(w, "set")
	if err != nil {
		t.Fatal(err)
	}
	public := p.key.Public().(ed25519.PublicKey)
	err = p.serve(t.Context(), func(addr string) error {
		shots := []shot{w.shots[3].to(w.path, w.bare)}
		return fireAll(t.Context(), addr, shots, func(_ int, body []byte) error {
			var ans wire.Answer
			if err := json.Unmarshal(body, &ans); err != nil {
				return err
			}
			got, err := bareVerify(ans.License, public)
			if diff := cmp.Diff(w.items[3].claims, got); diff != "" {
				t.Errorf("claims differ (-server +prototype):\n%s", diff)
			}
			_, timeErr := bareVerify(ans.Time, public)
			return errors.Join(err, timeErr)
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// It refuses what does not verify, as the server does.
func TestPrototypeVerifies(t *testing.T) {
	s := newTestSite(t)
	w, err := s.activations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPrototype(w, "set")
	if err != nil {
		t.Fatal(err)
	}
	raw := w.items[0].answer.License // signed, and not by the key in its header, which has none
	body, err := json.Marshal(wire.Request{Request: raw})
	if err != nil {
		t.Fatal(err)
	}
	err = p.serve(t.Context(), func(addr string) error {
		return fireAll(t.Context(), addr, []shot{{post("/activate", body), 401}}, nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCommitterReturnsErrors(t *testing.T) {
	s := newTestSite(t)
	c, err := openCommitter(s.fresh)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.update(func(*page) error { return errUnknown }); !errors.Is(err, errUnknown) {
		t.Errorf("got %v, want %v", err, errUnknown)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
}

func TestVerdict(t *testing.T) {
	for _, test := range []struct {
		line    line
		limit   string
		verdict string
	}{
		{line{ratio: 0.8, limit: 0.75}, "≥ 0.75", "reached"},
		{line{ratio: 0.7, limit: 0.75}, "≥ 0.75", "NOT REACHED"},
		{line{ratio: 2.2, limit: 2.2, most: true}, "≤ 2.20", "reached"},
		{line{ratio: 2.3, limit: 2.2, most: true}, "≤ 2.20", "NOT REACHED"},
		{line{ratio: 1}, "", ""},
	} {
		if limit, verdict := test.line.verdict(); limit != test.limit || verdict != test.verdict {
			t.Errorf("%+v: %q, %q; want %q, %q", test.line, limit, verdict, test.limit, test.verdict)
		}
	}
}

func TestQuantile(t *testing.T) {
	values := []time.Duration{5, 1, 4, 2, 3}
	for q, want := range map[float64]time.Duration{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := quantile(values, q); got != want {
			t.Errorf("quantile %v is %d, want %d", q, got, want)
		}
	}
	if got := median(values); got != 3 {
		t.Errorf("the median is %d, want 3", got)
	}
	if quantile(nil, 0.5) != 0 || median[int64](nil) != 0 {
		t.Error("there is a middle of nothing")
	}
}

// Who uses the processors is read from what the system tells of each process.
func TestParentOf(t *testing.T) {
	for stat, want := range map[string]int{
		"17 (postgres: io) worker) S 12 17 17 0 -1 4194560": 12,
		"17 (licensed) S":  0,
		"":                 0,
		"17 (a b) R x 1 2": 0,
	} {
		if got := parentOf(stat); got != want {
			t.Errorf("%q: the parent is %d, not %d", stat, got, want)
		}
	}
}

func TestUsage(t *testing.T) {
	got := usage{all: 300, load: 40, daemons: 90, database: 50, others: 30}.since(usage{all: 100, load: 10, daemons: 10, others: 30}).String()
	if !strings.Contains(got, "daemons 40 %, database 25 %, load 15 %, others 0 %") {
		t.Error(got)
	}
	if got := (usage{}).String(); !strings.Contains(got, "not known") {
		t.Error(got)
	}
}
