package pgstore_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

type txFunc = func(ctx context.Context, tx store.Tx) error

// inOneGroup has functions wait in this order until the one before them is done, and
// returns what became of each.
func inOneGroup(t *testing.T, s *pgstore.Store, fns ...txFunc) []error {
	t.Helper()
	inside, goOn := make(chan struct{}), make(chan struct{})
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Update(t.Context(), func(context.Context, store.Tx) error {
			close(inside)
			<-goOn
			return nil
		}); err != nil {
			t.Error(err)
		}
	})
	<-inside
	for k, fn := range fns {
		wg.Go(func() { errs[k] = s.Update(t.Context(), fn) })
		for s.Waiting() <= k {
			runtime.Gosched()
		}
	}
	close(goOn)
	wg.Wait()
	return errs
}

func count(ctx context.Context, tx store.Tx) error {
	raw, err := tx.Value(ctx, "count")
	n := 0
	if err == nil {
		n, err = strconv.Atoi(string(raw))
	} else if errors.Is(err, license.NotFound) {
		err = nil
	}
	return errors.Join(err, tx.SetValue(ctx, "count", strconv.AppendInt(nil, int64(n+1), 10)))
}

func counted(t *testing.T, s store.Store) string {
	t.Helper()
	var raw []byte
	if err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		raw, err = tx.Value(ctx, "count")
		return err
	}); err != nil {
		t.Error(err)
	}
	return string(raw)
}

// TestOneCommit has a group share a commit and a few round trips.
func TestOneCommit(t *testing.T) {
	s := open(t, pgtest.URL(t), pgstore.Options{})
	before := s.Stats()
	fns := make([]txFunc, 20)
	for k := range fns {
		fns[k] = func(ctx context.Context, tx store.Tx) error {
			_, err := tx.Value(ctx, fmt.Sprint("own ", k))
			if !errors.Is(err, license.NotFound) {
				return err
			}
			return errors.Join(count(ctx, tx), tx.SetValue(ctx, fmt.Sprint("own ", k), []byte("x")))
		}
	}
	if err := errors.Join(inOneGroup(t, s, fns...)...); err != nil {
		t.Fatal(err)
	}
	after := s.Stats()
	if n := after.Commits - before.Commits; n != 1 || after.Updates-before.Updates != 20 {
		t.Errorf("%d commits for %d updates", n, after.Updates-before.Updates)
	}
	if got := counted(t, s); got != "20" {
		t.Errorf("counted %s", got)
	}
}

// TestLostInTheMiddle has the connection of a group break while its second function
// runs: all of it is done once more, from what the database holds.
func TestLostInTheMiddle(t *testing.T) {
	at := pgtest.URL(t)
	s := open(t, at, pgstore.Options{ApplicationName: "breaks"})
	if err := s.Update(t.Context(), count); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, at)
	broken := false
	// A group that is lost at its commit is known by its events.
	errs := inOneGroup(t, s, issueEvent, count, func(ctx context.Context, tx store.Tx) error {
		if err := count(ctx, tx); err != nil {
			return err
		}
		_, _, err := tx.Values(ctx, "", store.Page{Limit: 1, Cursor: ""}) // which sends what was written
		if err == nil && !broken {
			broken = true
			_, err = conn.Exec(ctx, `select pg_terminate_backend(pid) from pg_stat_activity
				where application_name = 'breaks' and state = 'idle in transaction'`)
		}
		return err
	}, func(ctx context.Context, tx store.Tx) error {
		if err := count(ctx, tx); err != nil {
			return err
		}
		return license.Errorf(license.MachineLimit, "refused")
	}, count)
	if errors.Join(errs[0], errs[1], errs[2], errs[4]) != nil || !errors.Is(errs[3], license.MachineLimit) {
		t.Errorf("errors are %v", errs)
	}
	if got := counted(t, s); got != "4" || !broken {
		t.Errorf("counted %s", got)
	}
}

// TestMuchInOne writes more than is held back, in a function that is kept and in one
// that is undone, between others.
func TestMuchInOne(t *testing.T) {
	s := open(t, pgtest.URL(t), pgstore.Options{})
	const n = 5000
	much := func(prefix string, result error) txFunc {
		return func(ctx context.Context, tx store.Tx) error {
			if err := count(ctx, tx); err != nil {
				return err
			}
			for i := range n {
				if err := tx.SetValue(ctx, fmt.Sprintf("%s %05d", prefix, i), []byte("x")); err != nil {
					return err
				}
			}
			if err := count(ctx, tx); err != nil {
				return err
			}
			return result
		}
	}
	refused := license.Errorf(license.MachineLimit, "refused")
	errs := inOneGroup(t, s, count, much("a", refused), count, much("b", nil), count, much("c", refused))
	for k, err := range errs {
		if (err != nil) != (k == 1 || k == 5) || err != nil && !errors.Is(err, license.MachineLimit) {
			t.Errorf("function %d: %v", k, err)
		}
	}
	names := map[byte]int{}
	if err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		for p := (store.Page{Limit: store.MaxPage}); ; {
			values, next, err := tx.Values(ctx, "", p)
			if err != nil {
				return err
			}
			for _, v := range values {
				names[v.Name[0]]++
			}
			if p.Cursor = next; next == "" {
				return nil
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if names['a'] != 0 || names['b'] != n || names['c'] != 1 { // the count itself
		t.Errorf("there are %v", names)
	}
	if got := counted(t, s); got != "5" {
		t.Errorf("counted %s", got)
	}
}

// TestLarge writes a few large values: they are sent before they are too much for one
// statement.
func TestLarge(t *testing.T) {
	url := pgtest.URL(t)
	s := open(t, url, pgstore.Options{ApplicationName: t.Name()})
	conn := connect(t, url)
	sent := func() (n int) {
		if err := conn.QueryRow(t.Context(), "select count(*) from pg_stat_activity where application_name = $1 and query like 'insert into vals%'", t.Name()).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	large := make([]byte, 1<<20)
	if err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		for i := range 17 {
			if n := sent(); n != 0 && i < 16 {
				t.Errorf("sent after %d", i)
			}
			if err := tx.SetValue(ctx, fmt.Sprint("large ", i), large); err != nil {
				return err
			}
		}
		if n := sent(); n != 1 {
			t.Errorf("17 MiB are held back, and %d statements sent", n)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestMoreThanIsKept has a function change a record that the group has read before, and
// then write more than is kept in memory: what it reads is what it wrote.
func TestMoreThanIsKept(t *testing.T) {
	s := open(t, pgtest.URL(t), pgstore.Options{})
	if err := s.Update(t.Context(), count); err != nil {
		t.Fatal(err)
	}
	if err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		if err := count(ctx, tx); err != nil {
			return err
		}
		for i := range 25_000 {
			if err := tx.SetValue(ctx, fmt.Sprintf("much %05d", i), []byte("x")); err != nil {
				return err
			}
		}
		if _, err := tx.Value(ctx, "nothing"); !errors.Is(err, license.NotFound) { // it is read from the database
			return errors.Join(err, errors.New("there is a value"))
		}
		return count(ctx, tx)
	}); err != nil {
		t.Fatal(err)
	}
	if got := counted(t, s); got != "3" {
		t.Errorf("counted %s", got)
	}
}

// TestTurnsOfAKey has more jobs wait for a key than are looked at in one go, some of
// them only in the group.
func TestTurnsOfAKey(t *testing.T) {
	s := open(t, pgtest.URL(t), pgstore.Options{})
	job := func(n int) license.Job {
		return license.Job{ID: fmt.Sprintf("job_%02d", n), Kind: "note", Key: "k", CreatedAt: benchTime, DueAt: benchTime, Payload: []byte("{}")}
	}
	create := func(ns ...int) txFunc {
		return func(ctx context.Context, tx store.Tx) (err error) {
			for _, n := range ns {
				err = errors.Join(err, tx.CreateJob(ctx, job(n)))
			}
			return err
		}
	}
	// drop removes the jobs of the key from the first on, and checks that it is theirs.
	drop := func(ns ...int) txFunc {
		return func(ctx context.Context, tx store.Tx) error {
			for _, n := range ns {
				j, err := tx.Job(ctx, job(n).ID)
				if err == nil {
					err = tx.DeleteJob(ctx, j)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}
	}
	first := func(want string) txFunc {
		return func(ctx context.Context, tx store.Tx) error {
			due, _, err := tx.DueJobs(ctx, benchTime, 0)
			if err == nil && (len(due) != 1 || due[0].ID != want) {
				err = fmt.Errorf("due are %d jobs, want %s", len(due), want)
			}
			return err
		}
	}
	if err := s.Update(t.Context(), create(10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(inOneGroup(t, s,
		create(5), drop(5), create(30), drop(10, 11, 12, 13, 14, 15, 16, 17, 18), first("job_19"), create(1), drop(19), first("job_01"),
		drop(1, 20), first("job_30"), drop(30), create(40), first("job_40"),
	)...); err != nil {
		t.Error(err)
	}
}

// TestSetBack has the database lose what it had confirmed: changes are refused, with
// what to do, until it has it again.
func TestSetBack(t *testing.T) {
	at := pgtest.URL(t)
	conn := connect(t, at)
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct{ lose []string }{
		"older":   {[]string{"delete from audit where seq = 3", "update head set seq = 2, hash = '\\x00000000000000000000000000000000000000000000000000000000000000ff'"}},
		"another": {[]string{"update head set hash = '\\x00000000000000000000000000000000000000000000000000000000000000ff'"}},
		"gone on": {[]string{
			"update audit set line = (select line from audit where seq = 2) where seq = 3", "update head set seq = 7",
			"select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'set back'",
		}},
	} {
		s := open(t, at, pgstore.Options{ApplicationName: "set back"})
		exec("delete from audit")
		exec("update head set seq = 0, hash = '\\x0000000000000000000000000000000000000000000000000000000000000000'")
		for range 3 {
			if err := s.Update(t.Context(), issueEvent); err != nil {
				t.Fatal(err)
			}
		}
		exec("create table kept_audit as table audit; create table kept_head as table head")
		for _, sql := range test.lose {
			exec(sql)
		}
		for range 2 {
			err := s.Update(t.Context(), issueEvent)
			var ours *license.Error
			if !errors.As(err, &ours) || ours.Reason != license.ReadOnly || !strings.Contains(err.Error(), "lost changes") || !strings.Contains(err.Error(), "restart") {
				t.Errorf("%s: error is %v", name, err)
			}
		}
		if err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error { _, err := tx.AuditHead(ctx); return err }); err != nil {
			t.Errorf("%s: reading: %v", name, err)
		}
		exec("truncate audit, head; insert into audit table kept_audit; insert into head table kept_head; drop table kept_audit, kept_head")
		if err := s.Update(t.Context(), issueEvent); err != nil {
			t.Errorf("%s: when all is there again: %v", name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestSize checks that it is told how large the database is.
func TestSize(t *testing.T) {
	s := open(t, pgtest.URL(t), pgstore.Options{})
	if err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error { _, err := tx.AuditHead(ctx); return err }); err != nil {
		t.Fatal(err)
	}
	if n := s.Stats().SizeBytes; n < 1<<20 {
		t.Errorf("the database is said to have %d bytes", n)
	}
}
