package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// newJob is a job that is due at base.
func newJob(id, key string) license.Job {
	return license.Job{
		ID:        id,
		Revision:  77, // does not count for a new one
		Kind:      license.JobCheck,
		Key:       key,
		Channel:   "koogallery",
		License:   "lic_1",
		Payload:   json.RawMessage(`{"code":"Müller & Söhne <info>"}`),
		CreatedAt: base.Add(-time.Minute),
		DueAt:     base,
	}
}

func parkedJob(id, key string) license.Job {
	j := newJob(id, key)
	j.ParkedAt = base
	return j
}

// asStored is a job as a store must give it back, its payload in one form.
func asStored(j license.Job, revision int64) license.Job {
	j.Revision = revision
	return plain(j)[0]
}

// plain puts payloads into one form, since a store need not keep theirs.
func plain(jobs ...license.Job) []license.Job {
	out := slices.Clone(jobs)
	for i, j := range out {
		if len(j.Payload) == 0 {
			continue
		}
		var v any
		if err := json.Unmarshal(j.Payload, &v); err != nil {
			continue // the difference will show
		}
		out[i].Payload, _ = json.Marshal(v) //nolint:errchkjson // it was read from JSON
	}
	return out
}

func createJobs(t *testing.T, st store.Store, jobs ...license.Job) {
	t.Helper()
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		for _, j := range jobs {
			if err := tx.CreateJob(ctx, j); err != nil {
				return fmt.Errorf("%s: %w", j.ID, err)
			}
		}
		return nil
	})
}

func getJob(t *testing.T, st store.Store, id string) (j license.Job) {
	t.Helper()
	view(t, st, func(ctx context.Context, tx store.Tx) (err error) {
		j, err = tx.Job(ctx, id)
		return err
	})
	return plain(j)[0]
}

// changeJob reads a job, changes and writes it.
func changeJob(t *testing.T, st store.Store, id string, change func(j *license.Job)) {
	t.Helper()
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		j, err := tx.Job(ctx, id)
		if err != nil {
			return err
		}
		change(&j)
		return tx.UpdateJob(ctx, j)
	})
}

func dropJob(t *testing.T, st store.Store, id string) {
	t.Helper()
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		j, err := tx.Job(ctx, id)
		return errors.Join(err, tx.DeleteJob(ctx, j))
	})
}

func park(j *license.Job)   { j.ParkedAt = base }
func unpark(j *license.Job) { j.ParkedAt = time.Time{} }
func dueIn(d time.Duration) func(*license.Job) {
	return func(j *license.Job) { j.DueAt = base.Add(d) }
}

// wantDue checks which jobs are due at now, and when the next one is.
func wantDue(t *testing.T, st store.Store, now time.Time, next time.Time, ids ...string) {
	t.Helper()
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		due, at, err := tx.DueJobs(ctx, now, 0)
		wantSame(t, fmt.Sprintf("due at %s", now.Format(time.TimeOnly)), jobIDs(due), ids)
		if !at.Equal(next) || at.Location() != time.UTC {
			t.Errorf("the next job is due at %v, want %v", at, next)
		}
		return err
	})
}

func jobIDs(jobs []license.Job) (ids []string) {
	for _, j := range jobs {
		ids = append(ids, j.ID)
	}
	return ids
}

func (s suite) jobs(t *testing.T) {
	st := s.open(t)
	j := newJob("job_1", "lic_1")
	wantDue(t, st, base, time.Time{})
	createJobs(t, st, j)
	wantSame(t, "created", getJob(t, st, "job_1"), asStored(j, 1))

	next := asStored(j, 1)
	next.Attempts, next.Failure, next.FailedAt, next.DueAt = 3, "Zeit <abgelaufen>", base, base.Add(time.Hour)
	next.Payload = nil
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.UpdateJob(ctx, next) })
	wantSame(t, "updated", getJob(t, st, "job_1"), asStored(next, 2))

	next = asStored(next, 2)
	next.ParkedAt, next.Payload = base.Add(time.Hour), json.RawMessage("null")
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.UpdateJob(ctx, next) })
	wantSame(t, "parked", getJob(t, st, "job_1"), asStored(next, 3))

	next = asStored(next, 3)
	next.Failure = "the merchant has read it"
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.UpdateJob(ctx, next) })
	wantSame(t, "changed while it is parked", getJob(t, st, "job_1"), asStored(next, 4))

	dropJob(t, st, "job_1")
	err := st.View(t.Context(), func(ctx context.Context, tx store.Tx) error { _, err := tx.Job(ctx, "job_1"); return err })
	wantReason(t, err, license.NotFound)

	// What is gone can come again, parked from the beginning too.
	again := parkedJob("job_1", "lic_1")
	again.Payload = json.RawMessage{}
	createJobs(t, st, again)
	again.Payload = nil
	wantSame(t, "again", getJob(t, st, "job_1"), asStored(again, 1))
	wantDue(t, st, base, time.Time{})
}

func (s suite) jobRefused(t *testing.T) {
	st := s.open(t)
	createJobs(t, st, newJob("job_1", "k"), parkedJob("job_2", "k"))
	one, two := getJob(t, st, "job_1"), getJob(t, st, "job_2")
	with := func(j license.Job, change func(j *license.Job)) license.Job {
		j = j.Clone()
		change(&j)
		return j
	}
	create := func(id string, change func(j *license.Job)) txFunc {
		return func(ctx context.Context, tx store.Tx) error { return tx.CreateJob(ctx, with(newJob(id, "k"), change)) }
	}
	change := func(j license.Job, change func(j *license.Job)) txFunc {
		return func(ctx context.Context, tx store.Tx) error { return tx.UpdateJob(ctx, with(j, change)) }
	}
	drop := func(j license.Job) txFunc {
		return func(ctx context.Context, tx store.Tx) error { return tx.DeleteJob(ctx, j) }
	}
	as := func(*license.Job) {}
	stale := func(j *license.Job) { j.Revision-- }
	long := `"` + strings.Repeat("x", license.MaxJobPayload-2) + `"`
	for name, test := range map[string]struct {
		do   txFunc
		want license.Reason // empty: any
	}{
		"missing":                   {func(ctx context.Context, tx store.Tx) error { _, err := tx.Job(ctx, "job_9"); return err }, license.NotFound},
		"no id":                     {func(ctx context.Context, tx store.Tx) error { _, err := tx.Job(ctx, ""); return err }, license.NotFound},
		"taken":                     {create("job_1", as), store.Exists},
		"taken by one that waits":   {create("job_1", park), store.Exists},
		"taken by a parked one":     {create("job_2", as), store.Exists},
		"empty id":                  {create("", as), license.BadRequest},
		"control id":                {create("job\n", as), license.BadRequest},
		"id not text":               {create("job\xff", as), license.BadRequest},
		"control key":               {create("job_9", func(j *license.Job) { j.Key = "a\x00b" }), license.BadRequest},
		"key not text":              {create("job_9", func(j *license.Job) { j.Key = "\xff" }), license.BadRequest},
		"never due":                 {create("job_9", func(j *license.Job) { j.DueAt = time.Time{} }), license.BadRequest},
		"payload not JSON":          {create("job_9", func(j *license.Job) { j.Payload = []byte(`{"a":}`) }), license.BadRequest},
		"payload too long":          {create("job_9", func(j *license.Job) { j.Payload = []byte(long + " ") }), license.BadRequest},
		"update missing":            {change(newJob("job_9", ""), as), license.NotFound},
		"update without id":         {change(newJob("", ""), as), license.NotFound},
		"stale":                     {change(one, stale), license.Conflict},
		"stale and parked":          {change(two, stale), license.Conflict},
		"another kind":              {change(one, func(j *license.Job) { j.Kind = license.JobUsage }), ""},
		"another key":               {change(one, func(j *license.Job) { j.Key = "m" }), ""},
		"no key":                    {change(two, func(j *license.Job) { j.Key = "" }), ""},
		"another channel":           {change(one, func(j *license.Job) { j.Channel = "m" }), ""},
		"another licence":           {change(one, func(j *license.Job) { j.License = "lic_2" }), ""},
		"created at another time":   {change(one, func(j *license.Job) { j.CreatedAt = base }), ""},
		"due never again":           {change(one, func(j *license.Job) { j.DueAt = time.Time{} }), license.BadRequest},
		"changed to no JSON":        {change(one, func(j *license.Job) { j.Payload = []byte("x") }), license.BadRequest},
		"delete missing":            {drop(newJob("job_9", "k")), license.NotFound},
		"delete without id":         {drop(license.Job{}), license.NotFound},
		"delete when overtaken":     {drop(with(one, stale)), license.Conflict},
		"delete a stale parked one": {drop(with(two, stale)), license.Conflict},
		"update and delete": {func(ctx context.Context, tx store.Tx) error {
			return errors.Join(tx.UpdateJob(ctx, one), tx.DeleteJob(ctx, one))
		}, license.Conflict},
		"delete twice": {func(ctx context.Context, tx store.Tx) error {
			return errors.Join(tx.DeleteJob(ctx, one), tx.DeleteJob(ctx, one))
		}, license.NotFound},
		"delete what was read, twice": {func(ctx context.Context, tx store.Tx) error {
			j, err := tx.Job(ctx, "job_1")
			return errors.Join(err, tx.DeleteJob(ctx, j), tx.DeleteJob(ctx, j))
		}, license.NotFound},
		"update what was deleted": {func(ctx context.Context, tx store.Tx) error {
			j, err := tx.Job(ctx, "job_2")
			return errors.Join(err, tx.DeleteJob(ctx, j), tx.UpdateJob(ctx, j))
		}, license.NotFound},
		"update of a copy read before": {func(ctx context.Context, tx store.Tx) error {
			j, err := tx.Job(ctx, "job_2")
			if err == nil {
				err = tx.UpdateJob(ctx, j)
			}
			return errors.Join(err, tx.UpdateJob(ctx, two))
		}, license.Conflict},
	} {
		t.Run(name, func(t *testing.T) {
			err := st.Update(t.Context(), test.do)
			if err == nil {
				t.Fatal("it was accepted")
			}
			if test.want != "" {
				wantReason(t, err, test.want)
			}
		})
	}
	// What is refused leaves the transaction usable.
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		return errors.Join(expect("taken", tx.CreateJob(ctx, one), store.Exists), expect("stale", tx.DeleteJob(ctx, with(one, stale)), license.Conflict),
			tx.CreateJob(ctx, with(newJob("job_0", ""), func(j *license.Job) { j.Payload = []byte(long) })))
	})
	wantSame(t, "first", getJob(t, st, "job_1"), one)
	wantSame(t, "second", getJob(t, st, "job_2"), two)
	wantDue(t, st, base, time.Time{}, "job_0", "job_1")
}
