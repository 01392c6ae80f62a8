package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// keysIn counts the keys of buckets.
func keysIn(t *testing.T, s *boltstore.Store, buckets ...string) map[string]int {
	t.Helper()
	n := make(map[string]int)
	err := boltstore.DB(s).View(func(tx *bolt.Tx) error {
		for _, b := range buckets {
			n[b] = tx.Bucket([]byte(b)).Stats().KeyN
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestJobsDueAreFew looks into the file: what DueJobs walks holds one job of
// each key and none that is parked, however many there are.
func TestJobsDueAreFew(t *testing.T) {
	const n = 10_000
	s := open(t, newPath(t))
	want := func(what string, jobs, parked, due, keys int) {
		t.Helper()
		got := keysIn(t, s, "jobs", "jobsparked", "jobsdue", "jobskeys")
		if got["jobs"] != jobs || got["jobsparked"] != parked || got["jobsdue"] != due || got["jobskeys"] != keys {
			t.Errorf("%s: there are %v", what, got)
		}
	}
	do := func(fn func(ctx context.Context, tx store.Tx) error) {
		t.Helper()
		if err := s.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	id := func(i int) string { return fmt.Sprintf("job_%026d", i) }
	do(func(ctx context.Context, tx store.Tx) error {
		for i := range n {
			if err := tx.CreateJob(ctx, newJob(id(i), "one", benchTime)); err != nil {
				return err
			}
		}
		return errors.Join(tx.CreateJob(ctx, newJob("job_a", "other", benchTime)), tx.CreateJob(ctx, newJob("job_b", "", benchTime)))
	})
	want("one key", n+2, 0, 3, n+1)
	do(func(ctx context.Context, tx store.Tx) error {
		due, next, err := tx.DueJobs(ctx, benchTime, 0)
		if len(due) != 3 || due[0].ID != id(0) || !next.IsZero() {
			t.Errorf("%d jobs are due, the next at %v", len(due), next)
		}
		return err
	})
	do(func(ctx context.Context, tx store.Tx) error {
		for i := range n - 5 {
			j, err := tx.Job(ctx, id(i))
			if err := errors.Join(err, tx.UpdateJob(ctx, parked(j))); err != nil {
				return err
			}
		}
		return nil
	})
	want("most parked", 7, n-5, 3, 6)
	do(func(ctx context.Context, tx store.Tx) error {
		due, _, err := tx.DueJobs(ctx, benchTime, 1)
		if len(due) != 1 || due[0].ID != id(n-5) {
			t.Errorf("due are %+v", due)
		}
		return err
	})
	// Whoever drops them all leaves nothing behind.
	for {
		left := 0
		do(func(ctx context.Context, tx store.Tx) error {
			list, _, err := tx.Jobs(ctx, store.JobFilter{}, store.Page{Limit: store.MaxPage})
			left = len(list)
			for _, j := range list {
				err = errors.Join(err, tx.DeleteJob(ctx, j))
			}
			return err
		})
		if left == 0 {
			break
		}
	}
	want("none", 0, 0, 0, 0)
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestCountJobsStops counts more jobs than there is to know of.
func TestCountJobsStops(t *testing.T) {
	path := filled(t)
	// The keys alone are counted, so they can be put there without their records.
	edit(t, path, func(tx *bolt.Tx) (err error) {
		b := tx.Bucket([]byte("jobsparked"))
		for i := range store.MaxJobCount + 5 {
			err = errors.Join(err, b.Put(fmt.Appendf(nil, "job_%08d", i), []byte("{}")))
		}
		return err
	})
	s := open(t, path)
	count := func(ctx context.Context) (n store.JobCounts, err error) {
		err = s.View(t.Context(), func(_ context.Context, tx store.Tx) (err error) {
			n, err = tx.CountJobs(ctx)
			return err
		})
		return n, err
	}
	if n, err := count(t.Context()); err != nil || n.Parked != store.MaxJobCount || n.Waiting != 3 {
		t.Errorf("counts are %+v, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := count(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody waits: error is %v", err)
	}
}

// callback is what a message of a marketplace changes: a licence's end, the
// audit log, and the mark of the message.
func callback(ctx context.Context, tx store.Tx, n int64) error {
	l, err := tx.License(ctx, benchLicense(n%1000+1).ID)
	if err != nil {
		return err
	}
	l.ExpiresAt = l.ExpiresAt.Add(time.Hour)
	_, err = tx.Append(ctx, license.AuditEvent{At: benchTime, Action: license.ActionSetExpiry, License: l.ID})
	return errors.Join(err, tx.UpdateLicense(ctx, l), tx.MarkSeen(ctx, []byte("0123456789abcdef"), benchTime.Add(time.Duration(n)*time.Millisecond), benchTime))
}

// benchJob is a job about one of the licences that callback changes.
func benchJob(n int64, keyed bool) license.Job {
	j := newJob(fmt.Sprintf("job_%026d", n), "", benchTime.Add(time.Duration(n)*time.Millisecond).Truncate(time.Second))
	j.License = benchLicense(n%1000 + 1).ID
	if keyed {
		j.Key = j.License
	}
	return j
}

// openCallbacks has the licences that callback changes, and jobs in the file.
func openCallbacks(b *testing.B, jobs int64) *boltstore.Store {
	b.Helper()
	s := openBench(b)
	err := s.Update(b.Context(), func(ctx context.Context, tx store.Tx) error {
		for n := range int64(1000) {
			if err := tx.CreateLicense(ctx, benchLicense(n+1)); err != nil {
				return err
			}
		}
		for n := range jobs {
			if err := tx.CreateJob(ctx, benchJob(n-jobs, n%2 == 0)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// BenchmarkCallback is a callback with and without a job, while nobody takes
// the jobs: as changes of their own, where the disk decides, and 64 of them in
// one transaction.
func BenchmarkCallback(b *testing.B) {
	kinds := []struct {
		name string
		job  func(ctx context.Context, tx store.Tx, n int64) error
	}{
		{"none", func(context.Context, store.Tx, int64) error { return nil }},
		{"job", func(ctx context.Context, tx store.Tx, n int64) error { return tx.CreateJob(ctx, benchJob(n, false)) }},
		{"keyed", func(ctx context.Context, tx store.Tx, n int64) error { return tx.CreateJob(ctx, benchJob(n, true)) }},
	}
	for _, kind := range kinds {
		for _, writers := range []int{1, 64} {
			b.Run(fmt.Sprintf("commit/%s/%d", kind.name, writers), func(b *testing.B) {
				s := openCallbacks(b, 0)
				b.ReportAllocs()
				b.ResetTimer()
				spread(b, writers, func(n int64) error {
					return s.Update(b.Context(), func(ctx context.Context, tx store.Tx) error {
						return errors.Join(callback(ctx, tx, n), kind.job(ctx, tx, n))
					})
				})
			})
		}
		b.Run("inside/"+kind.name, func(b *testing.B) {
			const many = 64
			s := openCallbacks(b, 0)
			b.ReportAllocs()
			b.ResetTimer()
			for n := int64(0); n < int64(b.N); n += many {
				err := s.Update(b.Context(), func(ctx context.Context, tx store.Tx) error {
					for i := range int64(many) {
						if err := errors.Join(callback(ctx, tx, n+i), kind.job(ctx, tx, n+i)); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkJob is the life of a job beside 10,000 others: to make it, take it
// and end it, each in a change of its own.
func BenchmarkJob(b *testing.B) {
	for _, writers := range []int{1, 64} {
		b.Run(fmt.Sprint(writers), func(b *testing.B) {
			s := openCallbacks(b, 10_000)
			b.ReportAllocs()
			b.ResetTimer()
			spread(b, writers, func(n int64) error {
				err := s.Update(b.Context(), func(ctx context.Context, tx store.Tx) error { return tx.CreateJob(ctx, benchJob(n, true)) })
				if err != nil {
					return err
				}
				var j license.Job
				err = s.Update(b.Context(), func(ctx context.Context, tx store.Tx) error {
					due, _, err := tx.DueJobs(ctx, benchTime.AddDate(1, 0, 0), 1)
					if err != nil || len(due) != 1 {
						return fmt.Errorf("%d jobs are due, %w", len(due), err)
					}
					j = due[0]
					j.DueAt = benchTime.AddDate(2, 0, 0)
					err = tx.UpdateJob(ctx, j)
					j.Revision++
					return err
				})
				if err != nil {
					return err
				}
				return s.Update(b.Context(), func(ctx context.Context, tx store.Tx) error { return tx.DeleteJob(ctx, j) })
			})
		})
	}
}

// BenchmarkDueJobs asks for one job beside 100,000 others, and counts them.
func BenchmarkDueJobs(b *testing.B) {
	s := openCallbacks(b, 100_000)
	for name, ask := range map[string]func(ctx context.Context, tx store.Tx) error{
		"due":   func(ctx context.Context, tx store.Tx) error { _, _, err := tx.DueJobs(ctx, benchTime, 1); return err },
		"count": func(ctx context.Context, tx store.Tx) error { _, err := tx.CountJobs(ctx); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := s.View(b.Context(), ask); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
