package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// jobsDue checks the order in which jobs come: by DueAt, then by id.
func (s suite) jobsDue(t *testing.T) {
	st := s.open(t)
	at := func(id string, due time.Time) license.Job {
		j := newJob(id, "")
		j.DueAt = due
		return j
	}
	early := time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC)
	east := base.Add(time.Second).In(time.FixedZone("east", 3600))
	createJobs(t, st,
		at("job_1", license.Forever), at("job_2", base.Add(2*time.Second)), at("job_3", east), at("job_B", base), at("job_a", base),
		at("job_4", time.Unix(1<<32, 0)), at("job_5", early), at("job_6", time.Unix(0, 0)), at("job_ä", base), at("job_A", base),
	)
	all := []string{"job_5", "job_6", "job_A", "job_B", "job_a", "job_ä", "job_3", "job_2", "job_4", "job_1"}
	for _, step := range []struct {
		now, next time.Time
		n         int
	}{
		{early.Add(-time.Second), early, 0},
		{early, time.Unix(0, 0), 1},
		{base.Add(-time.Second), base, 2},
		{base, base.Add(time.Second), 6},
		{base.Add(time.Second - 1), base.Add(time.Second), 6},
		{base.Add(time.Second), base.Add(2 * time.Second), 7},
		{base.Add(time.Hour), time.Unix(1<<32, 0), 8},
		{license.Forever.Add(-time.Second), license.Forever, 9},
		{license.Forever, time.Time{}, 10},
	} {
		wantDue(t, st, step.now, step.next.UTC(), append([]string(nil), all[:step.n]...)...)
	}
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		for limit := 1; limit <= len(all); limit++ {
			due, next, err := tx.DueJobs(ctx, license.Forever, limit)
			if err != nil {
				return err
			}
			wantSame(t, fmt.Sprint("limit ", limit), jobIDs(due), all[:limit])
			// Those that a limit cuts off are due, too.
			if limit < len(all) != !next.IsZero() || next.After(license.Forever) {
				t.Errorf("limit %d: the next job is due at %v", limit, next)
			}
		}
		return nil
	})
}

func (s suite) jobLimits(t *testing.T) {
	st := s.open(t)
	jobs := make([]license.Job, store.MaxPage+5)
	for i := range jobs {
		jobs[i] = newJob(fmt.Sprintf("job_%04d", i), "")
	}
	createJobs(t, st, jobs...)
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		for limit, want := range map[int]int{-1: store.DefaultPage, 0: store.DefaultPage, 3: 3, store.MaxPage: store.MaxPage, store.MaxPage + 9: store.MaxPage} {
			due, next, err := tx.DueJobs(ctx, base, limit)
			if err != nil {
				return err
			}
			if len(due) != want || !next.Equal(base) {
				t.Errorf("limit %d gives %d jobs and the next at %v, want %d", limit, len(due), next, want)
			}
		}
		return nil
	})
}

// jobLease has two workers meet: the lease of the first ends, the second takes
// the job, and the first can no longer end it.
func (s suite) jobLease(t *testing.T) {
	st := s.open(t)
	createJobs(t, st, newJob("job_1", "lic_1"), newJob("job_2", "lic_1"), newJob("job_3", ""))
	take := func(now time.Time) (taken []license.Job) {
		update(t, st, func(ctx context.Context, tx store.Tx) error {
			due, _, err := tx.DueJobs(ctx, now, 1)
			taken = due
			for i := range due {
				due[i].DueAt = now.Add(time.Minute)
				due[i].Attempts++
				err = errors.Join(err, tx.UpdateJob(ctx, due[i]))
				due[i].Revision++
			}
			return err
		})
		return taken
	}
	first := take(base)
	wantSame(t, "taken first", jobIDs(first), []string{"job_1"})
	wantDue(t, st, base, base.Add(time.Minute), "job_3")
	wantDue(t, st, base.Add(59*time.Second), base.Add(time.Minute), "job_3")
	dropJob(t, st, "job_3")
	second := take(base.Add(time.Minute))
	wantSame(t, "taken again", jobIDs(second), []string{"job_1"})
	if second[0].Attempts != 2 {
		t.Errorf("there were %d attempts", second[0].Attempts)
	}
	end := func(j license.Job) error {
		return st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return tx.DeleteJob(ctx, j) })
	}
	wantReason(t, end(first[0]), license.Conflict)
	wantDue(t, st, base.Add(time.Minute), base.Add(2*time.Minute))
	if err := end(second[0]); err != nil {
		t.Error(err)
	}
	wantDue(t, st, base.Add(time.Minute), time.Time{}, "job_2")
}

// jobsOfKey checks that of one key the oldest goes first, whatever happens to
// it and to those behind it.
func (s suite) jobsOfKey(t *testing.T) {
	st := s.open(t)
	const later = time.Hour
	never := time.Time{}
	late := newJob("job_9", "m")
	late.DueAt = base.Add(later)
	// Keys that begin like another's, and ids that do.
	createJobs(t, st, newJob("job_4", "k"), newJob("job_2", "k"), newJob("job_6", "k"), late, newJob("job_91", "m"), newJob("job_5", "kk"), newJob("job_3", "K"))
	wantDue(t, st, base, base.Add(later), "job_2", "job_3", "job_5")
	wantDue(t, st, base.Add(later), never, "job_2", "job_3", "job_5", "job_9")
	dropJob(t, st, "job_3")
	dropJob(t, st, "job_5")

	changeJob(t, st, "job_2", dueIn(later)) // a lease, or a failure
	wantDue(t, st, base, base.Add(later))
	changeJob(t, st, "job_4", dueIn(-later)) // what waits behind it does not come for that
	wantDue(t, st, base, base.Add(later))
	changeJob(t, st, "job_2", park)
	wantDue(t, st, base, base.Add(later), "job_4")
	dropJob(t, st, "job_6") // from behind
	wantDue(t, st, base, base.Add(later), "job_4")
	createJobs(t, st, newJob("job_7", "k"))
	changeJob(t, st, "job_4", park)
	wantDue(t, st, base, base.Add(later), "job_7")
	changeJob(t, st, "job_2", unpark) // it is due later, and before job_7 all the same
	wantDue(t, st, base, base.Add(later))
	wantDue(t, st, base.Add(later), never, "job_2", "job_9")
	changeJob(t, st, "job_2", dueIn(0))
	changeJob(t, st, "job_4", unpark) // behind the oldest
	wantDue(t, st, base, base.Add(later), "job_2")
	dropJob(t, st, "job_2")
	wantDue(t, st, base, base.Add(later), "job_4")
	createJobs(t, st, newJob("job_1", "k")) // late, with an older id
	wantDue(t, st, base, base.Add(later), "job_1")
	dropJob(t, st, "job_4")
	dropJob(t, st, "job_1")
	wantDue(t, st, base, base.Add(later), "job_7")
	changeJob(t, st, "job_7", func(j *license.Job) { park(j); j.DueAt = base.Add(-later) })
	changeJob(t, st, "job_9", park)
	wantDue(t, st, base, never, "job_91")
	dropJob(t, st, "job_9") // one that is parked
	dropJob(t, st, "job_91")
	wantDue(t, st, base, never)
	changeJob(t, st, "job_7", unpark)
	wantDue(t, st, base, never, "job_7")
}

// manyOfKey works off a long line in order, one after the other.
func (s suite) manyOfKey(t *testing.T) {
	st := s.open(t)
	const n = 2000
	var jobs []license.Job
	var want []string
	for i := range n {
		j := newJob(fmt.Sprintf("job_%05d", i), "lic_1")
		j.DueAt = base.Add(-time.Duration(i) * time.Second)
		jobs, want = append(jobs, j), append(want, j.ID)
	}
	createJobs(t, st, jobs...)
	var got []string
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		got = nil
		for {
			due, next, err := tx.DueJobs(ctx, base, 0)
			if err != nil || len(due) == 0 {
				return err
			}
			if len(due) != 1 || !next.IsZero() {
				return fmt.Errorf("%v are due at once, the next at %v", jobIDs(due), next)
			}
			got = append(got, due[0].ID)
			if err := tx.DeleteJob(ctx, due[0]); err != nil {
				return err
			}
		}
	})
	wantSame(t, "order", got, want)
}

// jobsUndone checks that a transaction that fails leaves every turn as it was.
func (s suite) jobsUndone(t *testing.T) {
	st := s.open(t)
	createJobs(t, st, newJob("job_2", "k"), newJob("job_3", "k"), newJob("job_4", ""), parkedJob("job_5", "k"))
	on := func(id string, do func(ctx context.Context, tx store.Tx, j license.Job) error) txFunc {
		return func(ctx context.Context, tx store.Tx) error {
			j, err := tx.Job(ctx, id)
			return errors.Join(err, do(ctx, tx, j))
		}
	}
	change := func(id string, change func(*license.Job)) txFunc {
		return on(id, func(ctx context.Context, tx store.Tx, j license.Job) error {
			change(&j)
			return tx.UpdateJob(ctx, j)
		})
	}
	drop := func(id string) txFunc {
		return on(id, func(ctx context.Context, tx store.Tx, j license.Job) error { return tx.DeleteJob(ctx, j) })
	}
	create := func(id, key string) txFunc {
		return func(ctx context.Context, tx store.Tx) error { return tx.CreateJob(ctx, newJob(id, key)) }
	}
	all := []txFunc{
		create("job_1", "k"), create("job_6", "k"), create("job_7", ""), create("job_8", "m"),
		change("job_2", dueIn(time.Hour)), change("job_3", dueIn(time.Hour)), change("job_4", dueIn(-time.Hour)), change("job_2", dueIn(0)),
		change("job_2", park), change("job_3", park), change("job_4", park), change("job_5", unpark), change("job_2", unpark),
		drop("job_2"), drop("job_3"), drop("job_4"), drop("job_5"), create("job_2", "m"), drop("job_2"),
	}
	for first := range all {
		for last := first; last < len(all); last++ {
			err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
				for _, do := range all[first : last+1] {
					_ = do(ctx, tx) // not all go together, and what is refused changes nothing
				}
				return errRefused
			})
			if !errors.Is(err, errRefused) {
				t.Fatal(err)
			}
		}
	}
	wantDue(t, st, base, time.Time{}, "job_2", "job_4")
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		list, _, err := tx.Jobs(ctx, store.JobFilter{}, store.Page{})
		wantSame(t, "jobs", plain(list...), []license.Job{
			asStored(newJob("job_2", "k"), 1), asStored(newJob("job_3", "k"), 1), asStored(newJob("job_4", ""), 1), asStored(parkedJob("job_5", "k"), 1),
		})
		return err
	})
	dropJob(t, st, "job_2")
	wantDue(t, st, base, time.Time{}, "job_3", "job_4")
}

// jobsContended has several workers take what is due, do it and end it.
func (s suite) jobsContended(t *testing.T) {
	st := s.open(t)
	const n, keys, workers = 60, 4, 6
	var jobs []license.Job
	for i := range n {
		key := fmt.Sprint("key ", i%(keys+1))
		if i%(keys+1) == keys {
			key = ""
		}
		jobs = append(jobs, newJob(fmt.Sprintf("job_%02d", i), key))
	}
	createJobs(t, st, jobs...)
	var mu sync.Mutex
	done := make(map[string][]string) // by key
	parallel(workers, func(w int) {
		for {
			var taken []license.Job
			err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
				due, _, err := tx.DueJobs(ctx, base, 2)
				taken = due
				for i := range due {
					due[i].DueAt = base.Add(time.Hour)
					err = errors.Join(err, tx.UpdateJob(ctx, due[i]))
					due[i].Revision++
				}
				if err == nil && w == 0 && len(due) == 1 {
					taken = nil
					return errRefused // which gives back what it took
				}
				return err
			})
			switch {
			case errors.Is(err, errRefused):
				continue
			case err != nil:
				t.Error(err)
				return
			case len(taken) == 0:
				return // who ends a job looks for the next one of its key
			}
			mu.Lock()
			for _, j := range taken {
				done[j.Key] = append(done[j.Key], j.ID)
			}
			mu.Unlock()
			for _, j := range taken {
				if err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return tx.DeleteJob(ctx, j) }); err != nil {
					t.Error(err)
				}
			}
		}
	})
	total := 0
	for key, ids := range done {
		total += len(ids)
		if key == "" {
			slices.Sort(ids)
		}
		if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
			t.Errorf("key %q: done were %v", key, ids)
		}
	}
	if total != n {
		t.Errorf("%d jobs of %d were done", total, n)
	}
}
