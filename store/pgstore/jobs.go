package pgstore

import (
	"cmp"
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

func noJob() error { return license.Errorf(license.NotFound, "there is no such job") }

// Job returns a job.
func (t *txn) Job(ctx context.Context, id string) (license.Job, error) {
	if err := t.readable(); err != nil {
		return license.Job{}, err
	}
	j, _, err := t.readJob(ctx, id)
	return j, err
}

func jobPlace(id string) place { return place{kind: kindJob, a: id} }

func (t *txn) readJob(ctx context.Context, id string) (license.Job, *cell, error) {
	if !canBe(id) {
		return license.Job{}, nil, noJob()
	}
	c, err := t.at(ctx, jobPlace(id))
	if err == nil && !c.there {
		err = noJob()
	}
	if err != nil {
		return license.Job{}, nil, err
	}
	j, err := decode[license.Job]("jobs", id, c.raw)
	return j, c, err
}

// unchangedJob returns what is stored of a job, and fails unless it has this revision.
func (t *txn) unchangedJob(ctx context.Context, id string, revision int64) (license.Job, *cell, error) {
	j, c, err := t.readJob(ctx, id)
	if err == nil && revision != c.revision {
		err = license.Errorf(license.Conflict, "the job was changed since it was read")
	}
	return j, c, err
}

func (t *txn) encodeJob(j license.Job) ([]byte, error) {
	if len(j.Payload) == 0 {
		j.Payload = nil // an empty one is not JSON
	}
	return t.encode(store.UTCJob(j))
}

// putJob stores a job, which has the turn of its key or not.
func (t *txn) putJob(j license.Job, raw []byte, turn bool) error {
	return t.put(jobPlace(j.ID), &cell{
		there: true, revision: j.Revision, raw: raw, key: j.Key, parked: !j.ParkedAt.IsZero(), turn: turn, due: j.DueAt.Unix(),
	})
}

// CreateJob stores a new job with revision 1.
func (t *txn) CreateJob(ctx context.Context, j license.Job) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("id", j.ID), j.Check()); err != nil {
		return err
	}
	if j.Key != "" {
		if err := store.CheckKey("key", j.Key); err != nil {
			return err
		}
	}
	if err := t.fetchFree(ctx, jobPlace(j.ID)); err != nil {
		return err
	}
	c, err := t.at(ctx, jobPlace(j.ID))
	switch {
	case err != nil:
		return err
	case c.there:
		return license.Errorf(store.Exists, "there is a job with this id already")
	}
	j.Revision = t.firstRevision(j.Revision)
	raw, err := t.encodeJob(j)
	if err != nil {
		return err
	}
	turn := false
	if j.ParkedAt.IsZero() {
		if turn, err = t.enter(ctx, j.Key, j.ID); err != nil {
			return err
		}
	}
	return t.putJob(j, raw, turn)
}

// UpdateJob replaces a job and counts its revision up.
func (t *txn) UpdateJob(ctx context.Context, j license.Job) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	old, was, err := t.unchangedJob(ctx, j.ID, j.Revision)
	switch {
	case err != nil:
		return err
	case j.Kind != old.Kind, j.Key != old.Key, j.Channel != old.Channel, j.License != old.License, !j.CreatedAt.Equal(old.CreatedAt):
		return license.Errorf(license.Internal, "the kind, key, channel, licence and time of creation of job %s cannot change", j.ID)
	}
	if err := j.Check(); err != nil {
		return err
	}
	j.Revision++
	raw, err := t.encodeJob(j)
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
	return t.putJob(j, raw, turn)
}

// DeleteJob removes a job.
func (t *txn) DeleteJob(ctx context.Context, j license.Job) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	_, was, err := t.unchangedJob(ctx, j.ID, j.Revision)
	if err != nil {
		return err
	}
	if !was.parked {
		if err := t.leave(ctx, was, j.ID); err != nil {
			return err
		}
	}
	return t.put(jobPlace(j.ID), &cell{key: was.key})
}

// enter is called before a job begins to wait. It says whether it is its turn, and
// takes the turn from the one that had it.
func (t *txn) enter(ctx context.Context, key, id string) (bool, error) {
	if key == "" {
		return true, nil
	}
	oldest, err := t.firstOf(ctx, key, "")
	if err != nil || oldest != "" && oldest < id {
		return false, err
	}
	return true, t.setTurn(ctx, oldest, false)
}

// leave is called before a job waits no longer: the next one of its key moves up.
func (t *txn) leave(ctx context.Context, was *cell, id string) error {
	if was.key == "" || !was.turn {
		return nil
	}
	next, err := t.firstOf(ctx, was.key, id)
	if err != nil {
		return err
	}
	return t.setTurn(ctx, next, true)
}

// firstOf returns the id of the first job that waits for a key behind another, empty
// where there is none.
func (t *txn) firstOf(ctx context.Context, key, behind string) (first string, err error) {
	of := place{kind: kindTurns, a: key}
	places, whole, err := t.several(ctx, of, jobPlace, func(p place) bool {
		c := t.known(p)
		return c != nil && (c.key == key || c.untold)
	})
	if err != nil {
		return "", err
	}
	for _, p := range places {
		c := t.known(p)
		switch {
		case p.a <= behind, first != "" && p.a > first:
			continue
		case c != nil && c.untold:
			return "", errRehearsed
		case c == nil || c.there && !c.parked: // it lies there unchanged
			first = p.a
		}
	}
	if base := t.known(of); whole || first != "" && first <= base.ids[len(base.ids)-1] {
		return first, nil
	}
	if err := t.ranging(); err != nil {
		return "", err
	}
	first = ""
	err = t.d.ask(ctx, func(rows pgx.Rows) error { return rows.Scan(&first) },
		"select id from jobs where key = $1 and not parked and id > $2 order by id limit 1", key, behind)
	return first, err
}

func (t *txn) setTurn(ctx context.Context, id string, turn bool) error {
	if id == "" {
		return nil
	}
	c, err := t.at(ctx, jobPlace(id))
	if err != nil {
		return err
	}
	return t.put(jobPlace(id), &cell{there: true, revision: c.revision, raw: c.raw, key: c.key, parked: c.parked, turn: turn, due: c.due})
}

// DueJobs returns the jobs that can be tried at now.
func (t *txn) DueJobs(ctx context.Context, now time.Time, limit int) ([]license.Job, time.Time, error) {
	if err := t.ranging(); err != nil {
		return nil, time.Time{}, err
	}
	most := store.Page{Limit: limit}.Size()
	var dues []int64
	g := make(gathered)
	rows, err := t.rows(ctx, func(rows pgx.Rows) (row, error) {
		p, c, err := scanJobCell(rows)
		g.found(p, c)
		dues = append(dues, c.due)
		return row{key: p.a, raw: c.raw}, err
	}, `(select id, revision, key, parked, turn, due, record from jobs where turn and due <= $1 order by due, id limit $2)
		union all (select id, revision, key, parked, turn, due, record from jobs where turn and due > $1 order by due, id limit 1) order by due, id`, now.Unix(), most+1)
	if err != nil {
		return nil, time.Time{}, err
	}
	if t.writable {
		t.learned(g) // mostly they are changed now
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
		out = append(out, j)
	}
	return out, time.Time{}, nil
}

// Jobs lists jobs in the order of their ids.
func (t *txn) Jobs(ctx context.Context, f store.JobFilter, p store.Page) ([]license.Job, string, error) {
	if err := t.ranging(); err != nil {
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
	if err := t.ranging(); err != nil {
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
