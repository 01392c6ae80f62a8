package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// pageThrough reads a whole list by pages.
func pageThrough[T any](p store.Page, read func(p store.Page) ([]T, string, error), name func(T) string) ([]string, error) {
	var names []string
	for {
		list, next, err := read(p)
		if err != nil {
			return nil, err
		}
		if len(list) > p.Size() {
			return nil, fmt.Errorf("a page of %d has %d records", p.Size(), len(list))
		}
		for _, r := range list {
			names = append(names, name(r))
		}
		if next == "" {
			return names, nil
		}
		p.Cursor = next
	}
}

func listJobs(ctx context.Context, tx store.Tx, f store.JobFilter, limit int) ([]string, error) {
	return pageThrough(store.Page{Limit: limit},
		func(p store.Page) ([]license.Job, string, error) { return tx.Jobs(ctx, f, p) },
		func(j license.Job) string { return j.ID })
}

func (s suite) jobList(t *testing.T) {
	st := s.open(t)
	ids := []string{"job_1", "job_10", "job_2", "job_A", "job_a", "job_ä", "job_中"}
	var jobs []license.Job
	for i, id := range ids {
		j := newJob(id, "k")
		j.Kind = license.JobKinds()[i%2]
		j.Channel = []string{"koogallery", "Koogallery", `"<x>" \`}[i%3]
		j.License = []string{"lic_1", "lic_10"}[i/4]
		if i%2 == 1 {
			j.ParkedAt = base
		}
		jobs = append([]license.Job{j}, jobs...)
	}
	createJobs(t, st, jobs...)
	pick := func(at ...int) (out []string) {
		for _, i := range at {
			out = append(out, ids[i])
		}
		return out
	}
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		for f, want := range map[store.JobFilter][]string{
			{}:                                     ids,
			{State: license.JobWaiting}:            pick(0, 2, 4, 6),
			{State: license.JobParked}:             pick(1, 3, 5),
			{State: "lost"}:                        nil,
			{Kind: license.JobKinds()[0]}:          pick(0, 2, 4, 6),
			{Kind: license.JobUsage}:               nil,
			{Channel: `"<x>" \`}:                   pick(2, 5),
			{Channel: "KOOGALLERY"}:                nil,
			{License: "lic_1"}:                     pick(0, 1, 2, 3),
			{License: "lic"}:                       nil,
			{License: "lic_10", State: "parked"}:   pick(5),
			{License: "lic_1", State: "waiting"}:   pick(0, 2),
			{Channel: "koogallery", Kind: "order"}: pick(0, 6),
		} {
			for _, limit := range []int{1, 2, 3, len(want), 0} {
				got, err := listJobs(ctx, tx, f, limit)
				if err != nil {
					return err
				}
				wantSame(t, fmt.Sprintf("%+v by %d", f, limit), got, want)
			}
		}
		list, next, err := tx.Jobs(ctx, store.JobFilter{}, store.Page{Limit: len(ids)})
		if len(list) != len(ids) || next != "" {
			t.Errorf("the only page has %d jobs and cursor %q", len(list), next)
		}
		return err
	})
}

// jobsWhileChanging reads a list, each page in a transaction of its own, while
// jobs come, go, are parked and wait again. What was there all the time comes
// exactly once.
func (s suite) jobsWhileChanging(t *testing.T) {
	st := s.open(t)
	const n = 20
	id := func(i int) string { return fmt.Sprintf("job_%02d", i) }
	for i := range n {
		createJobs(t, st, newJob(id(i), "k"))
	}
	got := make(map[string]int)
	p := store.Page{Limit: 3}
	for round := 0; ; round++ {
		view(t, st, func(ctx context.Context, tx store.Tx) error {
			list, next, err := tx.Jobs(ctx, store.JobFilter{}, p)
			for _, j := range list {
				got[j.ID]++
			}
			p.Cursor = next
			return err
		})
		if p.Cursor == "" {
			break
		}
		for i := range n {
			switch (i + round) % 3 {
			case 0:
				changeJob(t, st, id(i), park)
			case 1:
				changeJob(t, st, id(i), unpark)
			}
		}
		createJobs(t, st, newJob(fmt.Sprintf("job_%02d+", round), ""))
		if round > 2 {
			dropJob(t, st, fmt.Sprintf("job_%02d+", round-2))
		}
	}
	for i := range n {
		if got[id(i)] != 1 {
			t.Errorf("%s came %d times", id(i), got[id(i)])
		}
	}
	for id, n := range got {
		if n > 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
}

// cursorsApart checks that each list takes its own cursors only.
func (s suite) cursorsApart(t *testing.T) {
	st := s.open(t)
	put(t, st, "lic_1", "lic_2")
	createJobs(t, st, newJob("job_1", ""), newJob("job_2", ""), parkedJob("job_3", ""))
	createOrders(t, st, newOrder("k", "CS1", "1"), newOrder("k", "CS1", "2"))
	lists := map[string]func(ctx context.Context, tx store.Tx, p store.Page) (string, error){
		"licences": func(ctx context.Context, tx store.Tx, p store.Page) (string, error) {
			_, next, err := tx.Licenses(ctx, store.Filter{}, p)
			return next, err
		},
		"jobs": func(ctx context.Context, tx store.Tx, p store.Page) (string, error) {
			_, next, err := tx.Jobs(ctx, store.JobFilter{}, p)
			return next, err
		},
		"orders": func(ctx context.Context, tx store.Tx, p store.Page) (string, error) {
			_, next, err := tx.Orders(ctx, store.OrderFilter{}, p)
			return next, err
		},
	}
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		for of, list := range lists {
			cursor, err := list(ctx, tx, store.Page{Limit: 1})
			if err != nil || cursor == "" {
				return fmt.Errorf("%s: cursor %q, %w", of, cursor, err)
			}
			for other, list := range lists {
				if _, err := list(ctx, tx, store.Page{Cursor: cursor}); other != of {
					wantCursorRefused(t, err)
				} else if err != nil {
					t.Errorf("%s: %v", of, err)
				}
			}
			for _, bad := range []string{"x", "!", "AAAAAAAA", cursor + "A"} {
				_, err := list(ctx, tx, store.Page{Cursor: bad})
				wantCursorRefused(t, err)
			}
		}
		return nil
	})
}

func (s suite) jobCounts(t *testing.T) {
	st := s.open(t)
	want := func(what string, want store.JobCounts) {
		t.Helper()
		view(t, st, func(ctx context.Context, tx store.Tx) error {
			got, err := tx.CountJobs(ctx)
			wantSame(t, what, got, want)
			return err
		})
	}
	want("none", store.JobCounts{})
	var jobs []license.Job
	for i := range 6 {
		j := newJob(fmt.Sprintf("job_%d", i), "k")
		j.CreatedAt = base.Add(time.Duration(i) * time.Minute)
		j.DueAt = base.Add(time.Duration(9-i) * time.Hour)
		jobs = append(jobs, j)
	}
	createJobs(t, st, jobs...)
	want("one line", store.JobCounts{Waiting: 6, Oldest: base, Due: base.Add(9 * time.Hour)})
	changeJob(t, st, "job_0", park)
	changeJob(t, st, "job_3", park)
	want("parked", store.JobCounts{Waiting: 4, Parked: 2, Oldest: base.Add(time.Minute), Due: base.Add(8 * time.Hour)})
	createJobs(t, st, newJob("job_9", ""))
	want("another", store.JobCounts{Waiting: 5, Parked: 2, Oldest: base.Add(time.Minute), Due: base})
	err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		for i := range 6 {
			j, err := tx.Job(ctx, fmt.Sprintf("job_%d", i))
			if err := errors.Join(err, tx.DeleteJob(ctx, j)); err != nil {
				return err
			}
		}
		got, err := tx.CountJobs(ctx)
		wantSame(t, "inside", got, store.JobCounts{Waiting: 1, Oldest: base.Add(-time.Minute), Due: base})
		return errors.Join(err, errRefused)
	})
	if !errors.Is(err, errRefused) {
		t.Error(err)
	}
	want("undone", store.JobCounts{Waiting: 5, Parked: 2, Oldest: base.Add(time.Minute), Due: base})
}
