package pgstore_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

// pair is a cluster with a synchronous standby, and the URL of a schema on
// whichever of them takes changes.
func pair(t *testing.T) (primary, standby *pgtest.Cluster, url string) {
	t.Helper()
	primary = pgtest.New(t)
	standby = primary.Standby(t)
	url, err := pgtest.Hosts(primary.Schema(t), primary, standby)
	if err != nil {
		t.Fatal(err)
	}
	return primary, standby, url
}

// TestPromoted kills the database in the middle of traffic, for good, and has the
// synchronous standby take its place: nothing that was answered is lost, nothing
// is there twice, and the stores go on.
func TestPromoted(t *testing.T) {
	primary, standby, url := pair(t)
	w := begin(t, open(t, url, pgstore.Options{}), open(t, url, pgstore.Options{}))
	w.goOn(40)
	if err := errors.Join(primary.Kill(), standby.Promote()); err != nil {
		t.Fatal(err)
	}
	w.goOn(40)
	w.check()
}

// TestStandbyAway has the standby gone while changes are made. Until it is back
// none is answered, none can be seen, and others are told to try again; and
// where the standby takes over instead, nothing that was answered is lost.
func TestStandbyAway(t *testing.T) {
	short := pgstore.Options{StatementTimeout: 100 * time.Millisecond, LockTimeout: 100 * time.Millisecond, ConnectTimeout: 100 * time.Millisecond}
	for name, after := range map[string]func(t *testing.T, primary, standby *pgtest.Cluster){
		"it comes back": func(t *testing.T, primary, standby *pgtest.Cluster) {
			t.Helper()
			if err := errors.Join(standby.Start(), primary.Await(standby)); err != nil {
				t.Fatal(err)
			}
		},
		"it takes over": func(t *testing.T, primary, standby *pgtest.Cluster) {
			t.Helper()
			if err := errors.Join(primary.Kill(), standby.Start(), standby.Promote()); err != nil {
				t.Fatal(err)
			}
		},
		"the other one was started again before": func(t *testing.T, primary, standby *pgtest.Cluster) {
			t.Helper()
			if err := errors.Join(primary.Kill(), primary.Start()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			primary, standby, url := pair(t)
			s := open(t, url, short)
			if err := change(t.Context(), s, "before"); err != nil {
				t.Fatal(err)
			}
			if err := standby.Kill(); err != nil {
				t.Fatal(err)
			}
			answered := map[string]bool{}
			for _, name := range []string{"first", "second"} {
				err := change(t.Context(), s, name)
				var ours *license.Error
				if answered[name] = err == nil; err == nil || !errors.As(err, &ours) || ours.RetryAfter == 0 {
					t.Errorf("a change that only one of two servers has is answered with %v", err)
				}
			}
			if err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
				head, err := tx.AuditHead(ctx)
				if head.Seq != 1 {
					t.Errorf("the head can be seen at %d", head.Seq)
				}
				return err
			}); err != nil {
				t.Error(err)
			}
			after(t, primary, standby)
			if name == "the other one was started again before" {
				// It shows what it has, and still answers nothing that only it has.
				if err := change(t.Context(), s, "third"); err == nil {
					t.Error("a change is answered without the standby")
				}
				return
			}
			long := open(t, url, pgstore.Options{})
			if err := change(t.Context(), long, "after"); err != nil {
				t.Fatal(err)
			}
			there := named(t, long)
			for name, n := range there {
				if n != 1 {
					t.Errorf("%s is there %d times", name, n)
				}
			}
			for _, name := range []string{"before", "first", "second", "after"} {
				if there[name] == 0 && (answered[name] || name == "before" || name == "after") {
					t.Errorf("%s was answered and is lost", name)
				}
			}
		})
	}
}

// TestWaitIsCancelled has somebody cancel a commit that waits for the standby, as one
// does with what runs for long. It is there without the standby, and is not answered
// before that has it.
func TestWaitIsCancelled(t *testing.T) {
	primary, standby, url := pair(t)
	s := open(t, url, pgstore.Options{})
	if err := change(t.Context(), s, "before"); err != nil {
		t.Fatal(err)
	}
	if err := standby.Kill(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- change(context.WithoutCancel(t.Context()), s, "alone") }()
	conn := connect(t, primary.URL())
	for cancelled := 0; cancelled < 1; {
		err := conn.QueryRow(t.Context(), "select count(pg_cancel_backend(pid)) from pg_stat_activity where wait_event = 'SyncRep'").Scan(&cancelled)
		if err != nil {
			t.Fatal(err)
		}
	}
	const waits = "select count(*) from pg_stat_activity where wait_event = 'SyncRep' and query = 'commit'"
	for n := 0; n == 0; {
		select {
		case err := <-done:
			t.Fatalf("answered without the standby: %v", err)
		default:
		}
		if err := conn.QueryRow(t.Context(), waits).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if err := standby.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("when the standby is back: %v", err)
	}
	if n := named(t, s)["alone"]; n != 1 {
		t.Errorf("it is there %d times", n)
	}
}
