package license

import (
	"encoding/json"
	"slices"
	"time"
)

// JobPrefix begins the id of a job.
const JobPrefix = "job_"

// JobKind says what a job does.
type JobKind string

// The kinds of jobs.
const (
	// JobOrder reads an order from the marketplace that a message named, and
	// makes or changes what it says.
	JobOrder JobKind = "order"
	// JobDeliver hands a signed licence to the marketplace, which passes it on to
	// the device that applied for it (access guide …649255, …649351).
	JobDeliver JobKind = "deliver"
	// JobCheck asks the marketplace for the state and end of a code, and brings
	// the licence to what it says (…649245).
	JobCheck JobKind = "check"
	// JobUsage reports use to the marketplace (…2290055385).
	JobUsage JobKind = "usage"
)

// JobKinds returns all kinds.
func JobKinds() []JobKind { return []JobKind{JobOrder, JobDeliver, JobCheck, JobUsage} }

// JobState is where a job stands.
type JobState string

// The states of a job.
const (
	JobWaiting JobState = "waiting" // to be tried, for the first time or again
	JobParked  JobState = "parked"  // given up, until the merchant has it tried again or drops it
)

// JobStates returns both.
func JobStates() []JobState { return []JobState{JobWaiting, JobParked} }

// Job is a call to somebody outside. It is written in the transaction of the
// change that causes it and carried out afterwards, at least once, so what it
// does has to bear being done twice. When it has succeeded it is gone; when it
// is given up it is parked.
type Job struct {
	ID       string  `json:"id"` // JobPrefix and a time-ordered id
	Revision int64   `json:"revision"`
	Kind     JobKind `json:"kind"`
	// Key keeps an order, such as that of the calls about one licence: of the jobs
	// with one key the oldest, which has the smallest id, goes first, and the next
	// one when it is done or parked. Jobs without a key are in no order.
	Key     string `json:"key,omitzero"`
	Channel string `json:"channel,omitzero"` // the marketplace entry that it is for
	License string `json:"license,omitzero"` // the id of the licence that it is about
	// Payload is what the kind wants to know: JSON of at most MaxJobPayload bytes,
	// and never a secret.
	Payload json.RawMessage `json:"payload,omitzero"`

	CreatedAt time.Time `json:"created_at"`
	// DueAt is when it is tried next. Whoever takes a job moves it on by a lease, so
	// that another one tries again if nothing is heard of the first.
	DueAt    time.Time `json:"due_at"`
	Attempts int       `json:"attempts,omitzero"`
	// Unsure: an attempt was begun of which nobody knows what came of it, since it
	// was not answered or whoever made it is gone.
	Unsure bool `json:"unsure,omitzero"`
	// Failure is why the last attempt failed, in words for the merchant.
	Failure  string    `json:"failure,omitzero"`
	FailedAt time.Time `json:"failed_at,omitzero"`
	// ParkedAt is when it was given up, zero while it waits.
	ParkedAt time.Time `json:"parked_at,omitzero"`
}

// MaxJobPayload is the longest payload of a job, in bytes.
const MaxJobPayload = 16 << 10

// State is JobParked where ParkedAt is set and JobWaiting otherwise.
func (j Job) State() JobState {
	if j.ParkedAt.IsZero() {
		return JobWaiting
	}
	return JobParked
}

// Check refuses with BadRequest what no store can keep: a job that is never
// due, and a payload that is too long or not JSON.
func (j Job) Check() error {
	switch {
	case j.DueAt.IsZero():
		return FieldErrorf("due_at", "the job has no time at which it is due")
	case len(j.Payload) > MaxJobPayload:
		return FieldErrorf("payload", "the payload of the job has %d bytes, at most %d are kept", len(j.Payload), MaxJobPayload)
	case len(j.Payload) > 0 && !json.Valid(j.Payload):
		return FieldErrorf("payload", "the payload of the job is not JSON")
	}
	return nil
}

// Clone returns a copy that shares nothing with j.
func (j Job) Clone() Job {
	j.Payload = slices.Clone(j.Payload)
	return j
}
