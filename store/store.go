// Package store is the contract between licensed and the database that keeps
// its records. It holds no driver: boltstore is the embedded backend, and every
// backend passes the same suite, storetest.
//
// The package may change in any release; it is importable so that a merchant
// can read a store with the daemon's own types.
package store

import (
	"context"
	"io"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Store keeps the records of one merchant. It is safe for concurrent use.
//
// Transactions are serializable: they behave as if they had run one after the
// other. A function passed to View or Update gets a ctx of its own, which the
// methods of Tx take, and an Update or View under that ctx is refused with an
// error, since it would wait for itself. The function may be run again after a
// conflict, so it touches nothing outside but through Tx and sets its results
// anew each time. What it gets from Tx is a copy that it may keep and change.
//
// Strings compare bytewise. Records hold whole seconds in UTC; a backend
// returns exactly the instants that it was given, and the bytes of an install's
// Answer as they were. A job's Payload comes back as the same JSON value, whose
// spacing, escapes and order of members may differ. A part of a key (an id, a
// name, a channel, an order's line) is text without control characters and not
// empty, and a licence's id holds no slash; anything else is refused with
// license.BadRequest. All other strings are UTF-8 too, which callers check: in
// one that is not, a backend may replace the bytes that are wrong by U+FFFD.
//
// Three reasons are told apart: license.NotFound (there is no such record),
// Exists (there is one already) and license.Conflict (it was changed since it
// was read). A method that fails with one of them, or with license.BadRequest,
// has changed nothing and leaves the transaction usable. Errors of the disk or
// the database have the reason license.ReadOnly when nothing can be written,
// license.Internal otherwise; after one of Update the change may, rarely, have
// been made all the same, so what is tried again must bear that. While it is
// not known whether such a change is on disk, View too fails, with
// license.ReadOnly, rather than show it. After Close everything fails with
// ErrClosed.
type Store interface {
	// View runs fn on a consistent state. Writing in it fails. When View returns,
	// everything that fn has seen is on disk.
	View(ctx context.Context, fn func(ctx context.Context, tx Tx) error) error

	// Update runs fn and commits what it wrote if it returns nil, and nothing of
	// it otherwise. When Update returns, with success or with the error of fn,
	// everything that fn has seen is on disk. If ctx ends before the function
	// has begun, it is not run and Update returns the cause; once it has begun
	// it is carried through, and its own ctx does not end. A function that panics
	// is undone, and the panic goes on in the caller.
	Update(ctx context.Context, fn func(ctx context.Context, tx Tx) error) error

	// Stats returns plain counters since the start.
	Stats() Stats

	// Close waits for what has begun and releases the files. It can be called twice.
	Close() error
}

// Backuper is a Store that can write a copy of itself while it serves.
type Backuper interface {
	// Backup calls begin, unless it is nil, with the state that is copied and what
	// there is to know of the copy, and then writes the copy to w.
	Backup(ctx context.Context, w io.Writer, begin func(ctx context.Context, tx Tx, c Copy) error) error
}

// Copy says what a copy of a store is.
type Copy struct {
	Kind    string         // what can open it: "bolt"
	Size    int64          // bytes
	Records map[string]int // how many there are, by what the backend calls them
}

// ValueRestored is the name of the value that whoever puts a copy in the place of
// a store leaves in it: the daemon that opens it next has to look what was lost.
const ValueRestored = "store.restored"

// Tx is one transaction. It is used by one goroutine and ends with the function.
type Tx interface {
	// License returns the licence with the given id, or license.NotFound.
	License(ctx context.Context, id string) (license.License, error)
	// LicenseByCode returns the licence whose code has the given index, or license.NotFound.
	LicenseByCode(ctx context.Context, index []byte) (license.License, error)
	// CreateLicense stores a new licence with revision 1. Exists if its id or its
	// code's index is taken.
	CreateLicense(ctx context.Context, l license.License) error
	// UpdateLicense replaces a licence and counts its revision up. NotFound if it
	// is missing, Conflict if l.Revision is not the stored one. Id, channel
	// and code index must not change.
	UpdateLicense(ctx context.Context, l license.License) error
	// Licenses lists licences. A filter by Customer, Order, Instance or Last4 lists
	// in the order of ids, oldest first, and so does one without State and
	// ExpiringBefore. Any other lists in the order of ends, the earliest first and
	// the perpetual ones last, and of ids where that is the same: there a licence
	// whose end is moved between two pages can come twice, or not at all.
	//
	// By each of these six licences are found without a look at those that differ in it;
	// of several of the first four, by that which fewest licences share as a rule.
	Licenses(ctx context.Context, f Filter, p Page) ([]license.License, string, error)

	// Install returns an install of a licence, or license.NotFound.
	Install(ctx context.Context, licenseID, installID string) (license.Install, error)
	// CreateInstall stores a new install with revision 1. Exists if there is one,
	// NotFound if there is no such licence.
	CreateInstall(ctx context.Context, i license.Install) error
	// UpdateInstall replaces an install: NotFound and Conflict as for licences.
	UpdateInstall(ctx context.Context, i license.Install) error
	// Installs returns all installs of a licence, in the order of their ids.
	Installs(ctx context.Context, licenseID string) ([]license.Install, error)
	// LiveInstalls returns those of Installs that are license.InstallLive. Those that
	// have ended are not read, however many there are.
	LiveInstalls(ctx context.Context, licenseID string) ([]license.Install, error)

	// Append adds an event to the audit log, sealed to the head that the log has in
	// this transaction (license.AuditHead.Seal) under a salt from crypto/rand, and
	// returns its position, which only grows. A transaction that is undone leaves
	// neither a gap nor another hash.
	Append(ctx context.Context, e license.AuditEvent) (int64, error)
	// AuditHead returns the head of the audit log, with what this transaction has
	// added.
	AuditHead(ctx context.Context) (license.AuditHead, error)
	// Events lists the audit log, oldest first, or newest first where the filter says
	// so: then what was added since the first page is on none of them.
	Events(ctx context.Context, f EventFilter, p Page) ([]license.AuditEvent, string, error)
	// EventLines lists the same, each as the line that it was sealed to, byte for
	// byte but for personal data that was taken out since, and without a line break.
	EventLines(ctx context.Context, f EventFilter, p Page) ([][]byte, string, error)
	// EraseEvents takes the personal data out of the events at these positions and
	// returns of how many: those that have none are left as they are. NotFound if
	// the log does not have one of them. No hash changes.
	EraseEvents(ctx context.Context, positions ...int64) (erased int, err error)

	// LastStatusList returns the status list whose id is the greatest, the one
	// that new installs draw from, or license.NotFound.
	LastStatusList(ctx context.Context) (license.StatusList, error)
	// StatusList returns a status list, or license.NotFound.
	StatusList(ctx context.Context, id string) (license.StatusList, error)
	// StatusLists returns all of them in the order of their ids. There is one for
	// every license.StatusListLength installs.
	StatusLists(ctx context.Context) ([]license.StatusList, error)
	// PutStatusList stores or replaces one.
	PutStatusList(ctx context.Context, l license.StatusList) error
	// StatusEntry returns what stands at an index of a list: the zero Status where
	// nothing was put.
	StatusEntry(ctx context.Context, list string, index int) (license.StatusEntry, error)
	// StatusEntries returns all that are not the zero Status, by index.
	StatusEntries(ctx context.Context, list string) ([]license.StatusEntry, error)
	// PutStatusEntry stores or replaces one; one of the zero Status is removed. A
	// negative index is refused with license.BadRequest, a list that there is not
	// with license.NotFound.
	PutStatusEntry(ctx context.Context, list string, e license.StatusEntry) error

	// Pending returns what a marketplace said about a code not yet known, or
	// license.NotFound.
	Pending(ctx context.Context, channel string, index []byte) (license.Pending, error)
	// PutPending stores or replaces it.
	PutPending(ctx context.Context, p license.Pending) error
	// DeletePending removes it; it is no error if there is none.
	DeletePending(ctx context.Context, channel string, index []byte) error

	// Job returns a job, waiting or parked, or license.NotFound.
	Job(ctx context.Context, id string) (license.Job, error)
	// CreateJob stores a new job with revision 1. Exists if its id is taken. Its
	// key, where it has one, is a part of a key as an id is. What license.Job.Check
	// refuses is refused here too.
	CreateJob(ctx context.Context, j license.Job) error
	// UpdateJob replaces a job: NotFound and Conflict as for licences, and what
	// CreateJob refuses. Kind, key, channel, licence and CreatedAt must not change.
	// Setting ParkedAt parks it, clearing that has it wait again.
	UpdateJob(ctx context.Context, j license.Job) error
	// DeleteJob removes a job: NotFound and Conflict as for licences, so that
	// who was overtaken, because its lease had ended, does not remove what another
	// has taken. Only id and revision of j count.
	DeleteJob(ctx context.Context, j license.Job) error
	// DueJobs returns the jobs that can be tried at now, the earliest DueAt first,
	// and by id where that is the same: those that wait and whose DueAt is not
	// after now, and of one key only the oldest of those that wait, so that a key
	// whose oldest is not due yet yields none. The limit is that of a Page.
	//
	// next is the DueAt of the first job in that order that is not among them: after
	// now, or not where the limit cut them off, and zero if there is none. What
	// waits behind another for its key does not count.
	//
	// It looks only at what it returns and at one more, however many jobs wait
	// for their keys, wait for later or are parked. A job that is un-parked, or
	// comes late with a smaller id, goes before the others of its key at once: one
	// of them that has been taken by then is not waited for.
	DueJobs(ctx context.Context, now time.Time, limit int) (due []license.Job, next time.Time, err error)
	// Jobs lists jobs, waiting and parked, in the order of their ids, oldest first.
	Jobs(ctx context.Context, f JobFilter, p Page) ([]license.Job, string, error)
	// CountJobs counts them, for monitoring. It looks at MaxJobCount of each state
	// at most.
	CountJobs(ctx context.Context) (JobCounts, error)

	// Order returns a line of an order, or license.NotFound.
	Order(ctx context.Context, channel, id, line string) (license.Order, error)
	// CreateOrder stores a new one with revision 1. Exists if there is one.
	CreateOrder(ctx context.Context, o license.Order) error
	// UpdateOrder replaces one: NotFound and Conflict as for licences.
	UpdateOrder(ctx context.Context, o license.Order) error
	// RenameOrder replaces one as UpdateOrder does and calls its line another name
	// from then on: Exists if there is one of that name, and o's own is one.
	RenameOrder(ctx context.Context, o license.Order, line string) error
	// Orders lists them in the order of their channels, ids and lines. Those of one
	// licence, and those of one Channel and ID, are found without a look at others.
	Orders(ctx context.Context, f OrderFilter, p Page) ([]license.Order, string, error)

	// MarkSeen records that the message with the given key was taken: Exists if it
	// was before. The mark is kept at least until the instant until, to the
	// millisecond, and where it lies follows from that: the same key with another
	// until is another message. So the caller takes until from what the message
	// itself says, never from a clock or a setting, and far enough ahead that no
	// copy is welcome any more. Marks whose until lies before now, the caller's
	// clock, are dropped by later calls, a few by each; no other mark is.
	MarkSeen(ctx context.Context, key []byte, until, now time.Time) error

	// Value returns a small named value of the daemon itself, or license.NotFound.
	Value(ctx context.Context, name string) ([]byte, error)
	// SetValue stores or replaces it; nil removes it.
	SetValue(ctx context.Context, name string, value []byte) error
	// Values lists those whose name begins with prefix, in the order of their names.
	Values(ctx context.Context, prefix string, p Page) ([]Value, string, error)

	// Records lists all records of a kind, exactly as they are, in the order of
	// their keys: what PutRecord takes, in this or another backend.
	Records(ctx context.Context, kind RecordKind, p Page) ([]Record, string, error)
	// PutRecord stores a record with its revision and, of an event, its position,
	// which has to follow the head of the log (else license.BadRequest). Exists if there is one
	// of its key. Indexes follow. It is for a store that is being filled.
	PutRecord(ctx context.Context, r Record) error
}

// Value is a small named value of the daemon itself.
type Value struct {
	Name string
	Data []byte
}

// Exists is the reason for a record that is there already. To callers outside
// it is a conflict.
const Exists license.Reason = "exists"

// ErrClosed is returned by every method after Close.
var ErrClosed = license.Errorf(license.Internal, "the store is closed")

// ErrNested is returned by an Update or View under another one's ctx.
var ErrNested = license.Errorf(license.Internal, "a transaction was begun inside another")

// MarkKept is for how long after it was sent the mark of a signed callback is
// kept: its replay window on both sides, with room to spare.
const MarkKept = 10 * time.Minute

// Limits of a page.
const (
	DefaultPage = 50
	MaxPage     = 1000
)

// Page asks for a part of a list. The cursor is opaque: empty for the
// beginning, else what the page before returned, which is empty at the end.
// Only that tells the end: under a filter any page can be short or empty, since
// one that has looked at many records which are not selected ends early. A cursor
// that was not made by this list, in this order, is refused with
// license.BadRequest, field "cursor".
type Page struct {
	Limit  int // DefaultPage when zero, at most MaxPage
	Cursor string
}

// Size returns the limit that applies.
func (p Page) Size() int {
	switch {
	case p.Limit <= 0:
		return DefaultPage
	case p.Limit > MaxPage:
		return MaxPage
	}
	return p.Limit
}

// Filter selects licences; zero fields select all.
type Filter struct {
	State          license.State
	Product        string
	Channel        string
	Customer       string
	Order          string
	Instance       string
	Last4          string
	Forked         bool      // only those of which a fork was recorded
	Trial          bool      // only trials
	ExpiringBefore time.Time // those that end before it and have not ended at Now
	Now            time.Time // for State and ExpiringBefore
}

// Match reports whether l is selected. Backends use it, so that all mean the same.
func (f Filter) Match(l license.License) bool {
	switch {
	case f.Product != "" && l.Product != f.Product,
		f.Channel != "" && l.Channel != f.Channel,
		f.Customer != "" && l.Customer != f.Customer,
		f.Order != "" && l.Order != f.Order,
		f.Instance != "" && l.Instance != f.Instance,
		f.Last4 != "" && l.Code.Last4 != f.Last4,
		f.Forked && l.Forks == 0,
		f.Trial && !l.Trial,
		f.State != "" && l.StateAt(f.Now) != f.State:
		return false
	case f.ExpiringBefore.IsZero():
		return true
	}
	return !l.ExpiresAt.IsZero() && l.ExpiresAt.After(f.Now) && l.ExpiresAt.Before(f.ExpiringBefore)
}

// EventFilter selects audit events; zero fields select all.
type EventFilter struct {
	License string
	Action  license.Action
	Since   time.Time
	After   int64 // those behind this position, which is found without a look at what lies before
	Newest  bool  // the newest first: an order, which selects nothing
}

// Match reports whether e is selected.
func (f EventFilter) Match(e license.AuditEvent) bool {
	return e.Seq > f.After &&
		(f.License == "" || e.License == f.License) &&
		(f.Action == "" || e.Action == f.Action) &&
		!e.At.Before(f.Since)
}

// JobFilter selects jobs; zero fields select all.
type JobFilter struct {
	State   license.JobState
	Kind    license.JobKind
	Channel string
	License string
}

// Match reports whether j is selected.
func (f JobFilter) Match(j license.Job) bool {
	return (f.State == "" || j.State() == f.State) &&
		(f.Kind == "" || j.Kind == f.Kind) &&
		(f.Channel == "" || j.Channel == f.Channel) &&
		(f.License == "" || j.License == f.License)
}

// MaxJobCount is how far CountJobs counts the jobs of one state.
const MaxJobCount = 100_000

// JobCounts say how much there is to do. A number of MaxJobCount means that or more.
type JobCounts struct {
	Waiting int
	Parked  int
	// Oldest is the CreatedAt of the oldest job that waits, zero if none does. It
	// grows old while one job fails again and again.
	Oldest time.Time
	// Due is the DueAt of the first job that DueJobs would return, zero if none
	// waits. It lies in the past for long only where nobody takes what is due.
	Due time.Time
}

// OrderFilter selects orders; zero fields select all.
type OrderFilter struct {
	Channel  string
	ID       string
	License  string
	Instance string
	Stage    license.Stage
	Open     bool // only those that still wait for somebody
}

// Match reports whether o is selected.
func (f OrderFilter) Match(o license.Order) bool {
	return (f.Channel == "" || o.Channel == f.Channel) &&
		(f.ID == "" || o.ID == f.ID) &&
		(f.License == "" || o.License == f.License) &&
		(f.Instance == "" || o.Instance == f.Instance) &&
		(f.Stage == "" || o.Stage == f.Stage) &&
		(!f.Open || o.Stage.Open())
}

// Stats are counters since the start, for metrics.
type Stats struct {
	Commits   int64 // groups written to disk
	Updates   int64 // functions that were committed
	Undone    int64 // functions that were undone alone
	Failed    int64 // groups that could not be written
	SizeBytes int64 // of the file or database, where known

	// Stuck is for how long no change could be made, though one was to be: since the
	// group began that is being made, or the first that has failed since one was made.
	// Zero where the last one was made, and where a store does not say.
	Stuck time.Duration
}
