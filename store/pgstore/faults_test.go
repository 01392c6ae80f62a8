package pgstore_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

// TestKilled has two daemons write while the database is killed and started again,
// twice: what was answered is there, once, nothing that was undone is, and
// nobody has to open anything anew.
func TestKilled(t *testing.T) {
	c := pgtest.New(t)
	url := c.Schema(t)
	w := begin(t, open(t, url, pgstore.Options{}), open(t, url, pgstore.Options{}))
	for range 2 {
		w.goOn(20)
		if err := errors.Join(c.Kill(), c.Start()); err != nil {
			t.Fatal(err)
		}
	}
	w.goOn(20)
	w.check()
}

// TestGone stops the database: everything fails with something to try again after,
// and works again when it is back.
func TestGone(t *testing.T) {
	c := pgtest.New(t)
	s := open(t, c.Schema(t), pgstore.Options{})
	view := func() error {
		return s.View(t.Context(), func(ctx context.Context, tx store.Tx) error { _, err := tx.AuditHead(ctx); return err })
	}
	update := func() error { return s.Update(t.Context(), issueEvent) }
	if err := errors.Join(view(), update()); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		for what, err := range map[string]error{"View": view(), "Update": update()} {
			var ours *license.Error
			if !errors.As(err, &ours) || ours.Reason != license.ReadOnly || ours.RetryAfter == 0 {
				t.Errorf("%s without a database: %v", what, err)
			}
		}
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(view(), update()); err != nil {
		t.Errorf("with the database back: %v", err)
	}
}

// TestAllConnectionsLost has all connections for reading broken at once, as when the
// server is started again: whoever reads then does not meet them one after the other.
func TestAllConnectionsLost(t *testing.T) {
	url := pgtest.URL(t)
	s := open(t, url, pgstore.Options{ApplicationName: t.Name()})
	const n = 8
	var inside, all sync.WaitGroup
	inside.Add(n)
	for range n {
		all.Go(func() {
			if err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
				_, err := tx.AuditHead(ctx)
				inside.Done()
				inside.Wait()
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if _, err := connect(t, url).Exec(t.Context(), "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = $1", t.Name()); err != nil {
		t.Fatal(err)
	}
	if err := headOf(t, s); err != nil {
		t.Errorf("reading: %v", err)
	}
}

// TestTakesNoChanges has the database read only for a while.
func TestTakesNoChanges(t *testing.T) {
	c := pgtest.New(t)
	s := open(t, c.Schema(t), pgstore.Options{})
	conn := connect(t, c.URL())
	set := func(value string) {
		t.Helper()
		for _, sql := range []string{"alter system set default_transaction_read_only = " + value, "select pg_reload_conf()"} {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		for now := ""; now != value; { // the reload comes to each server process in its time
			if err := connect(t, c.URL()).QueryRow(t.Context(), "show default_transaction_read_only").Scan(&now); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Update(t.Context(), issueEvent); err != nil {
		t.Fatal(err)
	}
	set("on")
	var ours *license.Error
	if err := s.Update(t.Context(), issueEvent); !errors.As(err, &ours) || ours.Reason != license.ReadOnly || ours.RetryAfter == 0 {
		t.Errorf("a change of a database that takes none: %v", err)
	}
	if err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error { _, err := tx.AuditHead(ctx); return err }); err != nil {
		t.Errorf("reading it: %v", err)
	}
	set("off")
	if err := s.Update(t.Context(), issueEvent); err != nil {
		t.Errorf("a change when it takes them again: %v", err)
	}
}

// TestStalls has a daemon stall while it has the turn: the database ends its
// transaction, another daemon goes on, and it makes its change when it comes back.
func TestStalls(t *testing.T) {
	url := pgtest.URL(t)
	stalled := open(t, url, pgstore.Options{IdleTimeout: 300 * time.Millisecond})
	other := open(t, url, pgstore.Options{})
	inside, goOn := make(chan struct{}), make(chan struct{})
	result := make(chan error, 1)
	runs := 0
	go func() {
		result <- stalled.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			if _, err := tx.AuditHead(ctx); err != nil { // with which it has the turn
				return err
			}
			if runs++; runs == 1 {
				close(inside)
				<-goOn
			}
			return issueEvent(ctx, tx)
		})
	}()
	<-inside
	if err := other.Update(t.Context(), issueEvent); err != nil { // which waits for the database to end the other's
		t.Errorf("beside one that stalls: %v", err)
	}
	close(goOn)
	if err := <-result; err != nil {
		t.Errorf("the one that stalled: %v", err)
	}
	var n int
	if err := connect(t, url).QueryRow(t.Context(), "select count(*) from audit").Scan(&n); err != nil || n != 2 || runs != 2 {
		t.Errorf("there are %d events after %d runs, %v", n, runs, err)
	}
}

// TestCtxOfAFunction has a function give up its own ctx in the middle: neither it nor
// who shares its transaction loses anything by that.
func TestCtxOfAFunction(t *testing.T) {
	s := open(t, pgtest.URL(t), pgstore.Options{})
	if err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		short, cancel := context.WithCancel(ctx)
		cancel()
		_, _, err := tx.Licenses(short, store.Filter{}, store.Page{})
		return errors.Join(err, issueEvent(ctx, tx))
	}); err != nil {
		t.Error(err)
	}
	if n := s.Again(); n != 0 {
		t.Errorf("it was run again %d times", n)
	}
}

// TestOutOfConnections has more Views at once than there are connections, and a
// change beside them, which has a connection of its own.
func TestOutOfConnections(t *testing.T) {
	s := open(t, pgtest.URL(t), pgstore.Options{Connections: 2, StatementTimeout: 50 * time.Millisecond, LockTimeout: 50 * time.Millisecond})
	err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		if _, err := tx.AuditHead(ctx); err != nil {
			return err
		}
		result := make(chan error)
		go func() {
			result <- s.View(t.Context(), func(ctx context.Context, tx store.Tx) error { _, err := tx.AuditHead(ctx); return err })
		}()
		var ours *license.Error
		if err := <-result; !errors.As(err, &ours) || ours.Reason != license.ReadOnly || ours.RetryAfter == 0 {
			t.Errorf("a View without a connection: %v", err)
		}
		go func() { result <- s.Update(t.Context(), issueEvent) }()
		return <-result
	})
	if err != nil {
		t.Error(err)
	}
}
