package storetest

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

var (
	drawJob   = rapid.SampledFrom([]string{"job_a", "job_B", "job_ä", "job_a1", "job_c"})
	drawKey   = rapid.SampledFrom([]string{"", "n", "m"})
	drawOrder = rapid.SampledFrom([][3]string{{"k", "a", "1"}, {"k", "a", "2"}, {"K", "a b", "1"}})
)

func drawJobCommand(t *rapid.T, n int) command {
	id := drawJob.Draw(t, "job")
	switch kind := rapid.IntRange(0, 9).Draw(t, "of jobs"); kind {
	case 0, 1, 2:
		return modelCreateJob(id, drawKey.Draw(t, "key"), n)
	case 3, 4:
		return modelChangeJob(fmt.Sprintf("%s due in %d", id, n), id, dueIn(time.Duration(n)*time.Second))
	case 5:
		return modelChangeJob(id+" parks", id, park)
	case 6:
		return modelChangeJob(id+" waits", id, unpark)
	case 7:
		return modelChangeJob(id+" stale", id, func(j *license.Job) { j.Revision-- })
	default:
		return modelDeleteJob(id, n == 0)
	}
}

func modelCreateJob(id, key string, n int) command {
	j := newJob(id, key)
	dueIn(time.Duration(n) * time.Second)(&j)
	return command{
		fmt.Sprintf("create %s of %q due in %d", id, key, n),
		func(ctx context.Context, tx store.Tx) error { return tx.CreateJob(ctx, j) },
		func(s *state) license.Reason {
			if _, ok := s.jobs[id]; ok {
				return store.Exists
			}
			s.jobs[id] = asStored(j, 1)
			return ""
		},
	}
}

func modelChangeJob(name, id string, change func(j *license.Job)) command {
	return command{
		name,
		func(ctx context.Context, tx store.Tx) error {
			j, err := tx.Job(ctx, id)
			if err != nil {
				return err
			}
			change(&j)
			return tx.UpdateJob(ctx, j)
		},
		func(s *state) license.Reason {
			old, ok := s.jobs[id]
			if !ok {
				return license.NotFound
			}
			j := old
			change(&j)
			if j.Revision != old.Revision {
				return license.Conflict
			}
			j.Revision++
			s.jobs[id] = j
			return ""
		},
	}
}

func modelDeleteJob(id string, stale bool) command {
	return command{
		fmt.Sprintf("delete %s, stale %v", id, stale),
		func(ctx context.Context, tx store.Tx) error {
			j, err := tx.Job(ctx, id)
			if err != nil {
				return err
			}
			if stale {
				j.Revision++
			}
			return tx.DeleteJob(ctx, j)
		},
		func(s *state) license.Reason {
			switch _, ok := s.jobs[id]; {
			case !ok:
				return license.NotFound
			case stale:
				return license.Conflict
			}
			delete(s.jobs, id)
			return ""
		},
	}
}

func modelOrder(name [3]string, n int) command {
	o := newOrder(name[0], name[1], name[2])
	o.Rejections, o.Revision = n, int64(n)
	if n == 0 {
		return command{
			fmt.Sprint("create order ", name),
			func(ctx context.Context, tx store.Tx) error { return tx.CreateOrder(ctx, o) },
			func(s *state) license.Reason {
				if _, ok := s.orders[name]; ok {
					return store.Exists
				}
				o := o
				o.Revision = 1
				s.orders[name] = o
				return ""
			},
		}
	}
	return command{
		fmt.Sprintf("update order %v from %d", name, n),
		func(ctx context.Context, tx store.Tx) error { return tx.UpdateOrder(ctx, o) },
		func(s *state) license.Reason {
			switch old, ok := s.orders[name]; {
			case !ok:
				return license.NotFound
			case old.Revision != o.Revision:
				return license.Conflict
			}
			o := o
			o.Revision++
			s.orders[name] = o
			return ""
		},
	}
}

func modelRenameOrder(name [3]string, line string) command {
	return command{
		fmt.Sprintf("rename order %v to %s", name, line),
		func(ctx context.Context, tx store.Tx) error {
			o, err := tx.Order(ctx, name[0], name[1], name[2])
			if err != nil {
				return err
			}
			return tx.RenameOrder(ctx, o, line)
		},
		func(s *state) license.Reason {
			to := [3]string{name[0], name[1], line}
			o, ok := s.orders[name]
			if !ok {
				return license.NotFound
			}
			if _, taken := s.orders[to]; taken {
				return store.Exists
			}
			delete(s.orders, name)
			o.Line = line
			o.Revision++
			s.orders[to] = o
			return ""
		},
	}
}

// turns is what DueJobs should go through, whenever that is due.
func (s state) turns() []license.Job {
	oldest := make(map[string]license.Job)
	var turns []license.Job
	for _, id := range slices.Sorted(maps.Keys(s.jobs)) {
		switch j := s.jobs[id]; {
		case !j.ParkedAt.IsZero():
		case j.Key == "":
			turns = append(turns, j)
		case oldest[j.Key].ID == "":
			oldest[j.Key] = j
		}
	}
	turns = slices.AppendSeq(turns, maps.Values(oldest))
	slices.SortFunc(turns, func(a, b license.Job) int { return cmp.Or(a.DueAt.Compare(b.DueAt), cmp.Compare(a.ID, b.ID)) })
	return turns
}

// compareTurns compares what is due, at each instant and under each limit that
// makes a difference.
func compareTurns(ctx context.Context, tx store.Tx, want state) error {
	turns := want.turns()
	for n := -1; n <= 3; n++ {
		now := base.Add(time.Duration(n) * time.Second)
		for limit := 1; limit <= len(turns)+1; limit++ {
			var due []license.Job
			var at time.Time
			for _, j := range turns {
				if j.DueAt.After(now) || len(due) == limit {
					at = j.DueAt
					break
				}
				due = append(due, j)
			}
			got, next, err := tx.DueJobs(ctx, now, limit)
			if err != nil {
				return err
			}
			if diff := gocmp.Diff(due, plain(got...)); diff != "" || !next.Equal(at) {
				return fmt.Errorf("due in %d, at most %d, the next at %v, want %v (-want +got):\n%s", n, limit, next, at, diff)
			}
		}
	}
	var counts store.JobCounts
	for _, id := range slices.Sorted(maps.Keys(want.jobs)) {
		switch j := want.jobs[id]; {
		case !j.ParkedAt.IsZero():
			counts.Parked++
		default:
			counts.Waiting++
			counts.Oldest = cmp.Or(counts.Oldest, j.CreatedAt)
		}
	}
	if len(turns) > 0 {
		counts.Due = turns[0].DueAt
	}
	got, err := tx.CountJobs(ctx)
	if diff := gocmp.Diff(counts, got); err == nil && diff != "" {
		return fmt.Errorf("counts (-want +got):\n%s", diff)
	}
	return err
}

// readJobs reads what of jobs and orders can be listed.
func (s state) readJobs(ctx context.Context, tx store.Tx) error {
	jobs, _, err := tx.Jobs(ctx, store.JobFilter{}, store.Page{})
	if err != nil {
		return err
	}
	for _, j := range plain(jobs...) {
		s.jobs[j.ID] = j
	}
	orders, _, err := tx.Orders(ctx, store.OrderFilter{}, store.Page{})
	for _, o := range orders {
		s.orders[[3]string{o.Channel, o.ID, o.Line}] = o
	}
	return err
}
