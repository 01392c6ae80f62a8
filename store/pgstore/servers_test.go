package pgstore_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

func headOf(t *testing.T, s *pgstore.Store) error {
	t.Helper()
	return s.View(t.Context(), func(ctx context.Context, tx store.Tx) error { _, err := tx.AuditHead(ctx); return err })
}

// TestServerIsFull has others take all connections that a server gives.
func TestServerIsFull(t *testing.T) {
	c := pgtest.New(t, "-c", "max_connections=5", "-c", "superuser_reserved_connections=1")
	s := open(t, c.Schema(t), pgstore.Options{})
	if err := errors.Join(headOf(t, s), s.Update(t.Context(), issueEvent)); err != nil {
		t.Fatal(err)
	}
	if err := c.Do("select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'licensed'"); err != nil {
		t.Fatal(err)
	}
	var others []*pgx.Conn
	for {
		conn, err := pgx.Connect(t.Context(), c.URL())
		if err != nil {
			break
		}
		others = append(others, conn)
	}
	for what, err := range map[string]error{"View": headOf(t, s), "Update": s.Update(t.Context(), issueEvent)} {
		if !canTryAgain(err) {
			t.Errorf("%s without a connection to be had: %v", what, err)
		}
	}
	for _, conn := range others {
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for { // the server notices in its time
		err := errors.Join(headOf(t, s), s.Update(t.Context(), issueEvent))
		if err == nil {
			return
		}
		if !canTryAgain(err) {
			t.Fatal(err)
		}
	}
}

// TestDiskIsFull has the database refuse a row as it does when there is no room for
// it: nothing of the change is there, the one beside it is, and the store goes on
// when there is room.
func TestDiskIsFull(t *testing.T) {
	url := pgtest.URL(t)
	s := open(t, url, pgstore.Options{})
	conn := connect(t, url)
	for _, sql := range []string{
		"create function full_disk() returns trigger language plpgsql as $$ begin raise exception 'could not extend file: No space left on device' using errcode = 'disk_full'; end $$",
		"create trigger full_disk before insert on audit for each row execute function full_disk()",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := change(t.Context(), s, "first"); !canTryAgain(err) {
		t.Errorf("a change that there is no room for: %v", err)
	}
	if err := headOf(t, s); err != nil {
		t.Errorf("reading: %v", err)
	}
	if _, err := conn.Exec(t.Context(), "drop trigger full_disk on audit"); err != nil {
		t.Fatal(err)
	}
	if err := change(t.Context(), s, "second"); err != nil {
		t.Errorf("with room again: %v", err)
	}
	if there := named(t, s); there["first"] != 0 || there["second"] != 1 {
		t.Errorf("there are %v", there)
	}
}

// TestHeadIsLocked has somebody lock the head of the audit log by hand, and go to lunch.
func TestHeadIsLocked(t *testing.T) {
	url := pgtest.URL(t)
	s := open(t, url, pgstore.Options{LockTimeout: 50 * time.Millisecond})
	if err := s.Update(t.Context(), issueEvent); err != nil {
		t.Fatal(err)
	}
	err := pgx.BeginFunc(t.Context(), connect(t, url), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "select from head for update")
		if err := s.Update(t.Context(), issueEvent); !canTryAgain(err) {
			t.Errorf("a change while others have the head: %v", err)
		}
		if err := headOf(t, s); err != nil {
			t.Errorf("reading: %v", err)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), issueEvent); err != nil {
		t.Errorf("when they have given it back: %v", err)
	}
}

// TestStuck has somebody keep the head of the audit log from all changes: the store
// says so, and finds by itself when it is over.
func TestStuck(t *testing.T) {
	url := pgtest.URL(t)
	s := open(t, url, pgstore.Options{LockTimeout: 50 * time.Millisecond})
	if err := s.Update(t.Context(), issueEvent); err != nil {
		t.Fatal(err)
	}
	if stuck := s.Stats().Stuck; stuck != 0 {
		t.Errorf("stuck for %s after a change was made", stuck)
	}
	if err := pgx.BeginFunc(t.Context(), connect(t, url), func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), "select from head for update")
		if err := s.Update(t.Context(), issueEvent); !canTryAgain(err) {
			t.Errorf("a change while others have the head: %v", err)
		}
		if s.Stats().Stuck == 0 {
			t.Error("a store that makes no changes does not say so")
		}
		if err := s.Update(t.Context(), func(context.Context, store.Tx) error { return nil }); err != nil || s.Stats().Stuck == 0 {
			t.Errorf("a function that asks for nothing counts as a change that was made, or %v", err)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for s.Stats().Stuck > 0 { // nobody changes anything, and the store finds it all the same
		runtime.Gosched()
	}
}

const envFrozen = "PGSTORE_FROZEN"

// TestFrozenProcess is, in the child, a daemon that makes a change as soon as
// somebody writes to it, in the middle of its turn.
func TestFrozenProcess(t *testing.T) {
	url := os.Getenv(envFrozen)
	if url == "" {
		return // it is only a part of TestFrozen
	}
	s := open(t, url, pgstore.Options{IdleTimeout: 300 * time.Millisecond})
	runs := 0
	err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		if _, err := tx.AuditHead(ctx); err != nil { // which takes the turn
			return err
		}
		if runs++; runs == 1 {
			_, _ = os.Stdout.WriteString("inside\n")
			if _, err := os.Stdin.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) {
				return err
			}
		}
		return issueEvent(ctx, tx)
	})
	if err != nil || runs != 2 {
		t.Errorf("%d runs, %v", runs, err)
	}
}

// TestFrozen stops the process of a daemon that has the turn: the database ends its
// transaction, others go on, and when it wakes up it makes its change once, behind
// theirs.
func TestFrozen(t *testing.T) {
	url := pgtest.URL(t)
	other := open(t, url, pgstore.Options{})
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestFrozenProcess$")
	cmd.Env = append(os.Environ(), envFrozen+"="+url)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); line != "inside\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	if err := freeze(cmd.Process); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := change(t.Context(), other, "of the other"); err != nil {
			t.Errorf("beside one that is frozen: %v", err)
		}
	}
	_, err := in.Write([]byte("\n"))
	if err := errors.Join(err, thaw(cmd.Process)); err != nil {
		t.Fatal(err)
	}
	said, _ := io.ReadAll(lines)
	if err := cmd.Wait(); err != nil {
		t.Errorf("the child: %v\n%s", err, said)
	}
	if there := named(t, other); there["of the other"] != 3 || there[""] != 1 || len(there) != 2 {
		t.Errorf("there are %v", there)
	}
}

// TestSwitchedOver has the servers change places as an administrator does it, and
// back: the one that took changes is a standby now, and its address still the
// first.
func TestSwitchedOver(t *testing.T) {
	first, second, url := pair(t)
	w := begin(t, open(t, url, pgstore.Options{}), open(t, url, pgstore.Options{}))
	w.goOn(20)
	for _, p := range [][2]*pgtest.Cluster{{first, second}, {second, first}} {
		if err := p[0].Stop(); err != nil {
			t.Log(err) // the guard tells how the server ended
		}
		if err := errors.Join(p[1].Promote(), p[1].Take(p[0])); err != nil {
			t.Fatal(err)
		}
		w.goOn(20)
	}
	w.check()
	if !strings.Contains(url, "%2C") {
		t.Errorf("%s names one server", url)
	}
}
