package pgstore

import (
	"cmp"
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// jobHead is what UpdateJob and DeleteJob compare with the stored record, and
// whether it is the job's turn: it waits, and none of its key stands before it.
type jobHead struct {
	revision     int64
	kind         license.JobKind
	key          string
	channel      string
	license      string
	createdAt    time.Time
	parked, turn bool
}

func headOfJob(j license.Job, turn bool) jobHead {
	return jobHead{j.Revision, j.Kind, j.Key, j.Channel, j.License, j.CreatedAt, !j.ParkedAt.IsZero(), turn}
}

func (t *txn) rememberJob(id string, h jobHead) {
	if !t.writable {
		return
	}
	if t.jobs == nil {
		t.jobs = make(map[string]jobHead)
	}
	t.jobs[id] = h
}

func noJob() error { return license.Errorf(license.NotFound, "there is no such job") }

// Job returns a job.
func (t *txn) Job(ctx context.Context, id string) (license.Job, error) {
	if err := t.readable(); err != nil {
		return license.Job{}, err
	}
	j, _, err := t.readJob(ctx, id)
	return j, err
}

func (t *txn) readJob(ctx context.Context, id string) (license.Job, jobHead, error) {
	if !canBe(id) {
		return license.Job{}, jobHead{}, noJob()
	}
	var turn bool
	rows, err := t.rows(ctx, func(rows pgx.Rows) (r row, err error) {
		err = rows.Scan(&r.key, &r.raw, &turn)
		return r, err
	}, "select id, record, turn from jobs where id = $1", id)
	if err == nil && len(rows) == 0 {
		err = noJob()
	}
	if err != nil {
		return license.Job{}, jobHead{}, err
	}
	j, err := decode[license.Job]("jobs", id, rows[0].raw)
	h := headOfJob(j, turn)
	if err == nil {
		t.rememberJob(id, h)
	}
	return j, h, err
}

// unchangedJob returns what is stored of a job, and fails unless it has this revision.
func (t *txn) unchangedJob(ctx context.Context, id string, revision int64) (jobHead, error) {
	h, ok := t.jobs[id]
	if !ok {
		var err error
		if _, h, err = t.readJob(ctx, id); err != nil {
			return h, err
		}
	}
	if revision != h.revision {
		return h, license.Errorf(license.Conflict, "the job was changed since it was read")
	}
	return h, nil
}

func encodeJob(j license.Job) (string, error) {
	if len(j.Payload) == 0 {
		j.Payload = nil // an empty one is not JSON
	}
	return encode(utcJob(j))
}

// CreateJob stores a new job with revision 1.
func (t *txn) CreateJob(ctx context.Context, j license.Job) error {
	if err := cmp.Or(t.mayWrite(), checkKey("id", j.ID), j.Check()); err != nil {
		return err
	}
	if j.Key != "" {
		if err := checkKey("key", j.Key); err != nil {
			return err
		}
	}
	there, err := t.exists(ctx, "select 1 from jobs where id = $1", j.ID)
	switch {
	case err != nil:
		return err
	case there:
		return license.Errorf(store.Exists, "there is a job with this id already")
	}
	j.Revision = t.firstRevision(j.Revision)
	raw, err := encodeJob(j)
	if err != nil {
		return err
	}
	turn := false
	if j.ParkedAt.IsZero() {
		if turn, err = t.enter(ctx, j.Key, j.ID); err != nil {
			return err
		}
	}
	t.rememberJob(j.ID, headOfJob(j, turn))
	return t.put("insert into jobs (id, revision, key, parked, turn, due, record) values ($1, $2, $3, $4, $5, $6, $7)",
		j.ID, j.Revision, keyOf(j), !j.ParkedAt.IsZero(), turn, j.DueAt.Unix(), raw)
}

// keyOf is the key as its column holds it.
func keyOf(j license.Job) *string {
	if j.Key == "" {
		return nil
	}
	return &j.Key
}

// UpdateJob replaces a job and counts its revision up.
func (t *txn) UpdateJob(ctx context.Context, j license.Job) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	was, err := t.unchangedJob(ctx, j.ID, j.Revision)
	switch {
	case err != nil:
		return err
	case j.Kind != was.kind, j.Key != was.key, j.Channel != was.channel, j.License != was.license, !j.CreatedAt.Equal(was.createdAt):
		return license.Errorf(license.Internal, "the kind, key, channel, licence and time of creation of job %s cannot change", j.ID)
	}
	if err := j.Check(); err != nil {
		return err
	}
	j.Revision++
	raw, err := encodeJob(j)
	if err != nil {
		return err
	}
	parked, turn := !j.ParkedAt.IsZero(), was.turn
	switch {
	case parked && !was.parked:
		turn = false
		err = t.leave(ctx, was, j.ID)
	case was.parked && !parked:
		turn, err = t.enter(ctx, j.Key, j.ID)
	}
	if err != nil {
		return err
	}
	t.rememberJob(j.ID, headOfJob(j, turn))
	return t.put("update jobs set revision = $2, parked = $3, turn = $4, due = $5, record = $6 where id = $1",
		j.ID, j.Revision, parked, turn, j.DueAt.Unix(), raw)
}

// DeleteJob removes a job.
func (t *txn) DeleteJob(ctx context.Context, j license.Job) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	was, err := t.unchangedJob(ctx, j.ID, j.Revision)
	if err != nil {
		return err
	}
	if !was.parked {
		if err := t.leave(ctx, was, j.ID); err != nil {
			return err
		}
	}
	delete(t.jobs, j.ID)
	return t.put("delete from jobs where id = $1", j.ID)
}

// enter is called before a job begins to wait. It says whether it is its turn, and
// takes the turn from the one that had it.
func (t *txn) enter(ctx context.Context, key, id string) (bool, error) {
	if key == "" {
		return true, nil
	}
	oldest, err := t.waiting(ctx, "select id from jobs where key = $1 and not parked order by id limit 1", key)
	if err != nil || oldest != "" && oldest < id {
		return false, err
	}
	return true, t.setTurn(oldest, false)
}

// leave is called before a job waits no longer: the next one of its key moves up.
func (t *txn) leave(ctx context.Context, was jobHead, id string) error {
	if was.key == "" || !was.turn {
		return nil
	}
	next, err := t.waiting(ctx, "select id from jobs where key = $1 and not parked and id > $2 order by id limit 1", was.key, id)
	if err != nil {
		return err
	}
	return t.setTurn(next, true)
}

// waiting returns the id of a job, empty where there is none.
func (t *txn) waiting(ctx context.Context, sql string, args ...any) (id string, err error) {
	err = t.d.ask(ctx, func(rows pgx.Rows) error { return rows.Scan(&id) }, sql, args...)
	return id, err
}

func (t *txn) setTurn(id string, turn bool) error {
	if id == "" {
		return nil
	}
	if h, ok := t.jobs[id]; ok {
		h.turn = turn
		t.jobs[id] = h
	}
	return t.put("update jobs set turn = $2 where id = $1", id, turn)
}

// DueJobs returns the jobs that can be tried at now.
func (t *txn) DueJobs(ctx context.Context, now time.Time, limit int) ([]license.Job, time.Time, error) {
	if err := t.readable(); err != nil {
		return nil, time.Time{}, err
	}
	most := store.Page{Limit: limit}.Size()
	var dues []int64
	rows, err := t.rows(ctx, func(rows pgx.Rows) (r row, err error) {
		var due int64
		err = rows.Scan(&due, &r.key, &r.raw)
		dues = append(dues, due)
		return r, err
	}, `(select due, id, record from jobs where turn and due <= $1 order by due, id limit $2)
		union all (select due, id, '' from jobs where turn and due > $1 order by due, id limit 1) order by 1, 2`, now.Unix(), most+1)
	if err != nil {
		return nil, time.Time{}, err
	}
	var out []license.Job
	for i, r := range rows {
		if len(out) == most || dues[i] > now.Unix() {
			return out, time.Unix(dues[i], 0).UTC(), nil
		}
		j, err := decode[license.Job]("jobs", r.key, r.raw)
		if err != nil {
			return nil, time.Time{}, err
		}
		t.rememberJob(j.ID, headOfJob(j, true))
		out = append(out, j)
	}
	return out, time.Time{}, nil
}

// Jobs lists jobs in the order of their ids.
func (t *txn) Jobs(ctx context.Context, f store.JobFilter, p store.Page) ([]license.Job, string, error) {
	if err := t.readable(); err != nil {
		return nil, "", err
	}
	read := t.byID("select id, record from jobs where id > $1 order by id limit $2")
	if f.State == license.JobWaiting || f.State == license.JobParked {
		read = t.byID("select id, record from jobs where parked = $3 and id > $1 order by id limit $2", f.State == license.JobParked)
	}
	var out []license.Job
	next, err := walk(ctx, "jobs", p, read, func(r row) (bool, error) {
		j, err := decode[license.Job]("jobs", r.key, r.raw)
		if err != nil || !f.Match(j) {
			return false, err
		}
		out = append(out, j)
		return true, nil
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}

// CountJobs counts jobs, those of each state to store.MaxJobCount.
func (t *txn) CountJobs(ctx context.Context) (store.JobCounts, error) {
	var n store.JobCounts
	if err := t.readable(); err != nil {
		return n, err
	}
	var due *int64
	var oldest *string
	if err := t.d.ask(ctx, func(rows pgx.Rows) error { return rows.Scan(&n.Waiting, &n.Parked, &due, &oldest) },
		`select (select count(*) from (select 1 from jobs where not parked limit $1) w),
			(select count(*) from (select 1 from jobs where parked limit $1) p),
			(select due from jobs where turn order by due, id limit 1),
			(select record from jobs where not parked order by id limit 1)`, store.MaxJobCount); err != nil {
		return store.JobCounts{}, err
	}
	if due != nil {
		n.Due = time.Unix(*due, 0).UTC()
	}
	if oldest != nil {
		j, err := decode[license.Job]("jobs", "oldest", []byte(*oldest))
		if err != nil {
			return store.JobCounts{}, err
		}
		n.Oldest = j.CreatedAt
	}
	return n, nil
}
