// Package teststore opens the store of a test's world: a file, or, where
// LICENSED_TEST_STORE=postgres says so, a schema of the PostgreSQL that package
// pgtest gives, so that one suite shows the same of both.
//
// A schema that a test has used is emptied and used again, because making the
// tables costs more than most tests do.
package teststore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

// Env names the environment variable that says where the stores of tests are:
// "bolt", which is the default, or "postgres".
const Env = "LICENSED_TEST_STORE"

// Main is for the TestMain of a package whose tests make stores in bubbles of
// testing/synctest.
func Main() {
	if os.Getenv(Env) == "postgres" {
		pgtest.Warm()
	}
}

// Postgres reports whether the stores of tests are in PostgreSQL.
func Postgres(tb testing.TB) bool {
	tb.Helper()
	switch kind := os.Getenv(Env); kind {
	case "", "bolt":
	case "postgres":
		return true
	default:
		tb.Fatalf("%s=%s: there are bolt and postgres", Env, kind)
	}
	return false
}

// BoltOnly skips a test that is about the file of a store where stores are none.
func BoltOnly(tb testing.TB, why string) {
	tb.Helper()
	if Postgres(tb) {
		tb.Skipf("the test is about the store's file: %s", why)
	}
}

// New is an empty store, which is closed when tb ends.
func New(tb testing.TB) store.Store {
	tb.Helper()
	s, err := Opener(tb)()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Opener is for a test that closes its store and opens it again: what it returns
// opens the same store each time. All have to be closed when tb ends.
func Opener(tb testing.TB) func() (store.Store, error) {
	tb.Helper()
	if Postgres(tb) {
		url := URL(tb) + ageless
		return func() (store.Store, error) {
			return some(pgstore.Open(context.WithoutCancel(tb.Context()), url, pgstore.Options{Connections: 6}))
		}
	}
	path := filepath.Join(tb.TempDir(), "test.db")
	return func() (store.Store, error) { return some(boltstore.Open(path, boltstore.Options{})) }
}

// ageless has connections stay open, and nobody look at them now and then: in a bubble
// a year can be a moment.
const ageless = "&pool_health_check_period=87600h&pool_max_conn_lifetime=87600h&pool_max_conn_idle_time=87600h"

// some makes no interface of nil.
func some[S store.Store](s S, err error) (store.Store, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// free are the schemas that are empty, by their URL.
var free struct { //nolint:gochecknoglobals // of the test process
	mu   sync.Mutex
	urls []string
}

// URL is that of a schema with the tables of a store and nothing in them. Whoever
// has opened it closes it before tb ends.
func URL(tb testing.TB) string {
	tb.Helper()
	free.mu.Lock()
	url := ""
	if n := len(free.urls) - 1; n >= 0 {
		url, free.urls = free.urls[n], free.urls[:n]
	}
	free.mu.Unlock()
	stays := true
	if url == "" {
		url, stays = pgtest.Schema(tb)
		s, err := pgstore.Open(tb.Context(), url, pgstore.Options{Connections: 2})
		if err != nil {
			tb.Fatal(err)
		}
		if err := s.Close(); err != nil {
			tb.Fatal(err)
		}
	}
	if !stays {
		return url
	}
	tb.Cleanup(func() {
		if err := empty(url); err != nil {
			tb.Errorf("empty the schema of the test: %v", err)
			return
		}
		free.mu.Lock()
		free.urls = append(free.urls, url)
		free.mu.Unlock()
	})
	return url
}

// Empty empties the schema at url, which nobody has open.
func Empty(tb testing.TB, url string) {
	tb.Helper()
	if err := empty(url); err != nil {
		tb.Fatal(err)
	}
}

// Raw is all that the tables of the schema at url hold, as bytes.
func Raw(tb testing.TB, url string) (all []byte) {
	tb.Helper()
	ctx := tb.Context()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		tb.Fatal(err)
	}
	defer conn.Close(ctx) //nolint:errcheck // it has only read
	tables, err := tablesOf(ctx, conn)
	if err != nil {
		tb.Fatal(err)
	}
	var sql strings.Builder
	sql.WriteString("set bytea_output = 'escape'; ")
	for _, table := range tables {
		fmt.Fprintf(&sql, "select t::text from %s t; ", pgx.Identifier{table}.Sanitize())
	}
	results, err := conn.PgConn().Exec(ctx, sql.String()).ReadAll()
	if err != nil {
		tb.Fatal(err)
	}
	for _, r := range results {
		for _, row := range r.Rows {
			all = append(append(all, row[0]...), '\n')
		}
	}
	return all
}

// patience is how long a schema may be in use behind the end of its test.
const patience = 10 * time.Second

// empty takes a schema back to what it was when its tables had been made.
func empty(url string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	tables, err := tablesOf(ctx, conn)
	if err == nil {
		var sql strings.Builder
		fmt.Fprintf(&sql, "set lock_timeout = %d; ", patience.Milliseconds())
		for _, table := range tables {
			fmt.Fprintf(&sql, "delete from %s; ", pgx.Identifier{table}.Sanitize())
		}
		sql.WriteString("update head set seq = 0, hash = decode(repeat('00', 32), 'hex')")
		_, err = conn.PgConn().Exec(ctx, sql.String()).ReadAll()
	}
	return errors.Join(err, conn.Close(ctx))
}

// tablesOf are the tables of a schema that hold records.
func tablesOf(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, "select tablename from pg_tables where schemaname = current_schema() and tablename not in ('schemas', 'head')")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
