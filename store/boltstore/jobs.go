package boltstore

import (
	"cmp"
	"context"
	"encoding/binary"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Jobs that wait lie in one bucket and those that are parked in another, each
// under their ids. Which of those that wait can be taken is in turns.go.

// jobHead is what UpdateJob and DeleteJob compare with the stored record.
type jobHead struct {
	ID        string          `json:"id"`
	Revision  int64           `json:"revision"`
	Kind      license.JobKind `json:"kind"`
	Key       string          `json:"key"`
	Channel   string          `json:"channel"`
	License   string          `json:"license"`
	CreatedAt time.Time       `json:"created_at"`
	DueAt     time.Time       `json:"due_at"`

	lies bucketID // where it was found
}

func headOfJob(j license.Job) jobHead {
	return jobHead{j.ID, j.Revision, j.Kind, j.Key, j.Channel, j.License, j.CreatedAt, j.DueAt, bucketOf(j)}
}

func (h jobHead) turn() turn { return turn{h.Key, h.ID, h.DueAt} }

func bucketOf(j license.Job) bucketID {
	if j.State() == license.JobParked {
		return bucketJobsParked
	}
	return bucketJobs
}

func noJob() error { return license.Errorf(license.NotFound, "there is no such job") }

// Job returns a job.
func (t *txn) Job(_ context.Context, id string) (license.Job, error) {
	if err := t.readable(); err != nil {
		return license.Job{}, err
	}
	in, raw := t.findJob([]byte(id))
	if raw == nil {
		return license.Job{}, noJob()
	}
	j, err := decodeJob(in, []byte(id), raw)
	if err == nil && t.writable {
		t.job = headOfJob(j)
		t.job.ID, t.job.lies = id, in
	}
	return j, err
}

// findJob returns the record of a job and where it lies, or nil.
func (t *txn) findJob(id []byte) (bucketID, []byte) {
	if raw := t.b.get(bucketJobs).Get(id); raw != nil {
		return bucketJobs, raw
	}
	return bucketJobsParked, t.b.get(bucketJobsParked).Get(id)
}

func decodeJob(in bucketID, key, raw []byte) (license.Job, error) {
	var j license.Job
	err := decode(in, key, raw, &j)
	return j, err
}

// head returns what is stored of a job.
func (t *txn) head(id string) (jobHead, error) {
	if t.job.ID == id && id != "" {
		return t.job, nil
	}
	in, raw := t.findJob([]byte(id))
	if raw == nil {
		return jobHead{}, noJob()
	}
	var h jobHead
	err := decode(in, []byte(id), raw, &h)
	h.ID, h.lies = id, in
	return h, err
}

func encodeJob(j license.Job) ([]byte, error) {
	if len(j.Payload) == 0 {
		j.Payload = nil // an empty one is not JSON
	}
	return encode(store.UTCJob(j))
}

// CreateJob stores a new job with revision 1.
func (t *txn) CreateJob(_ context.Context, j license.Job) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("id", j.ID), j.Check()); err != nil {
		return err
	}
	if j.Key != "" {
		if err := store.CheckKey("key", j.Key); err != nil {
			return err
		}
	}
	id := []byte(j.ID)
	if _, raw := t.findJob(id); raw != nil {
		return license.Errorf(store.Exists, "there is a job with this id already")
	}
	j.Revision = t.firstRevision(j.Revision)
	raw, err := encodeJob(j)
	if err != nil {
		return err
	}
	h := headOfJob(j)
	if err := t.putNew(h.lies, id, raw); err != nil {
		return err
	}
	t.job = h
	if h.lies == bucketJobsParked {
		return nil
	}
	return t.enter(h.turn())
}

// UpdateJob replaces a job and counts its revision up.
func (t *txn) UpdateJob(_ context.Context, j license.Job) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	was, err := t.head(j.ID)
	switch {
	case err != nil:
		return err
	case j.Revision != was.Revision:
		return license.Errorf(license.Conflict, "the job was changed since it was read")
	case j.Kind != was.Kind, j.Key != was.Key, j.Channel != was.Channel, j.License != was.License, !j.CreatedAt.Equal(was.CreatedAt):
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
	now := headOfJob(j)
	if was.lies != now.lies {
		err = cmp.Or(t.remove(was.lies, []byte(j.ID)), t.putNew(now.lies, []byte(j.ID), raw))
	} else {
		err = t.put(now.lies, []byte(j.ID), raw)
	}
	if err != nil {
		return err
	}
	t.job = now
	return t.turned(was, now)
}

// turned has the turns follow a job that was changed.
func (t *txn) turned(was, now jobHead) error {
	switch {
	case was.lies == now.lies && now.lies == bucketJobs:
		return t.move(was.turn(), now.turn())
	case was.lies == now.lies:
		return nil
	case now.lies == bucketJobs:
		return t.enter(now.turn())
	}
	return t.leave(was.turn())
}

// DeleteJob removes a job.
func (t *txn) DeleteJob(_ context.Context, j license.Job) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	was, err := t.head(j.ID)
	switch {
	case err != nil:
		return err
	case j.Revision != was.Revision:
		return license.Errorf(license.Conflict, "the job was changed since it was read")
	}
	t.job = jobHead{}
	if err := t.remove(was.lies, []byte(j.ID)); err != nil {
		return err
	}
	if was.lies == bucketJobsParked {
		return nil
	}
	return t.leave(was.turn())
}

// DueJobs returns the jobs that can be tried at now.
func (t *txn) DueJobs(_ context.Context, now time.Time, limit int) ([]license.Job, time.Time, error) {
	if err := t.readable(); err != nil {
		return nil, time.Time{}, err
	}
	var out []license.Job
	most := store.Page{Limit: limit}.Size()
	c := t.b.get(bucketJobsDue).Cursor()
	for key, _ := c.First(); key != nil; key, _ = c.Next() {
		due, id, err := splitDue(key)
		switch {
		case err != nil:
			return nil, time.Time{}, err
		case due.After(now), len(out) == most:
			return out, due, nil
		}
		raw := t.b.get(bucketJobs).Get(id)
		if raw == nil {
			return nil, time.Time{}, unreadable(bucketJobsDue, key)
		}
		j, err := decodeJob(bucketJobs, id, raw)
		if err != nil {
			return nil, time.Time{}, err
		}
		out = append(out, j)
	}
	return out, time.Time{}, nil
}

// Jobs lists jobs in the order of their ids.
func (t *txn) Jobs(ctx context.Context, f store.JobFilter, p store.Page) ([]license.Job, string, error) {
	if err := t.readable(); err != nil {
		return nil, "", err
	}
	var c way
	waiting, parked := t.b.get(bucketJobs).Cursor(), t.b.get(bucketJobsParked).Cursor()
	switch f.State {
	case license.JobWaiting:
		c = waiting
	case license.JobParked:
		c = parked
	default:
		c = merged{{c: waiting}, {c: parked}}
	}
	var out []license.Job
	next, err := walk(ctx, c, bucketJobs, p, needles(string(f.Kind), f.Channel, f.License), func(key, raw []byte) (bool, error) {
		j, err := decodeJob(bucketJobs, key, raw)
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
	var err1, err2, err3 error
	n.Waiting, err1 = t.count(ctx, bucketJobs)
	n.Parked, err2 = t.count(ctx, bucketJobsParked)
	if key, _ := t.b.get(bucketJobsDue).Cursor().First(); key != nil {
		n.Due, _, err3 = splitDue(key)
	}
	if err := cmp.Or(err1, err2, err3); err != nil {
		return store.JobCounts{}, err
	}
	if key, raw := t.b.get(bucketJobs).Cursor().First(); key != nil {
		oldest, err := decodeJob(bucketJobs, key, raw)
		if err != nil {
			return store.JobCounts{}, err
		}
		n.Oldest = oldest.CreatedAt
	}
	return n, nil
}

// count counts the keys of a bucket, to store.MaxJobCount.
func (t *txn) count(ctx context.Context, id bucketID) (int, error) {
	n := 0
	c := t.b.get(id).Cursor()
	for key, _ := c.First(); key != nil && n < store.MaxJobCount; key, _ = c.Next() {
		if n++; n%scanStep == 0 && ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
	}
	return n, nil
}

// A due key is the second at which a job is due, so that the keys of seconds
// before 1970 come first, and its id.

const dueLen = 8

func dueKey(due time.Time, id string) []byte {
	return append(appendSecond(make([]byte, 0, dueLen+len(id)), due), id...)
}

func splitDue(key []byte) (time.Time, []byte, error) {
	if len(key) <= dueLen {
		return time.Time{}, nil, unreadable(bucketJobsDue, key)
	}
	return readSecond(key), key[dueLen:], nil
}

// signBit is turned over, since bytes compare as if there were no sign.
const signBit = 1 << 63

func appendSecond(b []byte, at time.Time) []byte {
	return binary.BigEndian.AppendUint64(b, uint64(at.Unix())^signBit)
}

func readSecond(b []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(b)^signBit), 0).UTC()
}
