package boltstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// bucketID numbers the buckets.
type bucketID int

const (
	bucketLicenses bucketID = iota
	bucketCodes
	bucketInstalls
	bucketAudit
	bucketPending
	bucketMarks
	bucketValues
	bucketLists
	bucketStatuses
	bucketJobs
	bucketJobsParked
	bucketJobsDue
	bucketJobsKeys
	bucketOrders
	bucketOrdersLicense
	bucketStanding
	bucketLookups
	bucketCount
)

// layout describes the buckets of this format. How full a page is left when it is
// split pays where keys come in order: nothing will be inserted between them.
var layout = [bucketCount]struct {
	name string
	fill float64
}{
	bucketLicenses:      {"licenses", 0.9},                          // licence id → record; records grow a little
	bucketCodes:         {"codes", bolt.DefaultFillPercent},         // code index → licence id
	bucketInstalls:      {"installs", bolt.DefaultFillPercent},      // licence id "/" install id → record
	bucketAudit:         {"audit", 1},                               // position, big-endian → line of the chain (docs/audit.md)
	bucketPending:       {"pending", bolt.DefaultFillPercent},       // channel 0 code index → record
	bucketMarks:         {"marks", 0.9},                             // milliseconds until which it is kept, big-endian, and key → nothing
	bucketValues:        {"values", bolt.DefaultFillPercent},        // name → value
	bucketLists:         {"statuslists", 0.9},                       // list id → record
	bucketStatuses:      {"statuses", bolt.DefaultFillPercent},      // list id 0 index, big-endian → status, and when it is final
	bucketJobs:          {"jobs", 0.9},                              // id of a job that waits → record; records grow a little
	bucketJobsParked:    {"jobsparked", 0.9},                        // id of a job that is parked → record
	bucketJobsDue:       {"jobsdue", bolt.DefaultFillPercent},       // seconds, big-endian, and id of a job that none stands before → nothing
	bucketJobsKeys:      {"jobskeys", bolt.DefaultFillPercent},      // key of jobs 0 id of one that waits → seconds, big-endian
	bucketOrders:        {"orders", bolt.DefaultFillPercent},        // channel 0 order id 0 line → record
	bucketOrdersLicense: {"orderslicense", bolt.DefaultFillPercent}, // licence id 0 key of an order that is linked to it → nothing
	bucketStanding:      {"standing", bolt.DefaultFillPercent},      // class, second of the end, big-endian, licence id → whether it was activated
	bucketLookups:       {"lookups", bolt.DefaultFillPercent},       // kind of value, value 0 licence id → nothing
}

// buckets are the buckets of one bbolt transaction, opened when they are first
// asked for: most functions need three or four.
type buckets struct {
	btx    *bolt.Tx
	opened [bucketCount]*bolt.Bucket
	// head is that of the audit log once it has been looked up.
	head       license.AuditHead
	headLoaded bool
}

func openBuckets(btx *bolt.Tx) *buckets { return &buckets{btx: btx} }

func (b *buckets) get(id bucketID) *bolt.Bucket {
	if b.opened[id] == nil {
		bucket := b.btx.Bucket([]byte(layout[id].name))
		bucket.FillPercent = layout[id].fill
		b.opened[id] = bucket
	}
	return b.opened[id]
}

// txn is a store.Tx: one function's view of a bbolt transaction that it may
// share with others.
type txn struct {
	b        *buckets
	writable bool
	ended    bool
	journal  []change
	loading  bool // records come with their revisions: PutRecord

	// headBefore is the head of the audit log as it was before the function added
	// to it, where it did.
	appended   bool
	headBefore license.AuditHead

	// What was read or written last, since a record is mostly read just before
	// it is replaced and need not be decoded again to compare it.
	license licenseHead
	install installHead
	job     jobHead
}

// change is how one key was before it was written.
type change struct {
	bucket bucketID
	key    []byte
	old    []byte // nil: there was none
}

var _ store.Tx = (*txn)(nil)

var (
	errEnded    = license.Errorf(license.Internal, "the transaction has ended")
	errViewOnly = license.Errorf(license.Internal, "a View cannot write")
)

func newTxn(b *buckets, writable bool) *txn { return &txn{b: b, writable: writable} }

// end makes a Tx that outlives its function harmless.
func (t *txn) end() { t.ended = true }

func (t *txn) readable() error {
	if t.ended {
		return errEnded
	}
	return nil
}

func (t *txn) mayWrite() error {
	switch {
	case t.ended:
		return errEnded
	case !t.writable:
		return errViewOnly
	}
	return nil
}

// put stores a value, unless it is there already: a group in which nothing
// changes need not be written. The bytes of key and value must not change
// afterwards.
func (t *txn) put(id bucketID, key, value []byte) error {
	bucket := t.b.get(id)
	old := bucket.Get(key)
	if old != nil && bytes.Equal(old, value) {
		return nil
	}
	if err := bucket.Put(key, value); err != nil {
		return writeError(id, key, err)
	}
	t.journal = append(t.journal, change{id, key, old})
	return nil
}

// putNew stores a value under a key that is known not to exist.
func (t *txn) putNew(id bucketID, key, value []byte) error {
	if err := t.b.get(id).Put(key, value); err != nil {
		return writeError(id, key, err)
	}
	t.journal = append(t.journal, change{id, key, nil})
	return nil
}

// remove deletes a key; it is no error if there is none.
func (t *txn) remove(id bucketID, key []byte) error {
	bucket := t.b.get(id)
	old := bucket.Get(key)
	if old == nil {
		return nil
	}
	if err := bucket.Delete(key); err != nil {
		return writeError(id, key, err)
	}
	t.journal = append(t.journal, change{id, key, old})
	return nil
}

// undo puts back what every key was, newest first.
func (t *txn) undo() error {
	if t.appended {
		t.b.head = t.headBefore
	}
	for _, c := range slices.Backward(t.journal) {
		bucket := t.b.get(c.bucket)
		var err error
		if c.old == nil {
			err = bucket.Delete(c.key)
		} else {
			// The old value may lie in the mapped file; bbolt asks for bytes of ours.
			err = bucket.Put(c.key, append([]byte{}, c.old...))
		}
		if err != nil {
			return writeError(c.bucket, c.key, err)
		}
	}
	t.journal = nil
	return nil
}

func writeError(id bucketID, key []byte, err error) error {
	return license.Errorf(license.Internal, "%s %q cannot be written", layout[id].name, key).WithCause(err)
}

// Pending returns what a marketplace said about a code not yet known.
func (t *txn) Pending(_ context.Context, channel string, index []byte) (license.Pending, error) {
	if err := t.readable(); err != nil {
		return license.Pending{}, err
	}
	key := pendingKey(channel, index)
	raw := t.b.get(bucketPending).Get(key)
	if raw == nil {
		return license.Pending{}, license.Errorf(license.NotFound, "nothing is pending for this code")
	}
	var p license.Pending
	if err := decode(bucketPending, key, raw, &p); err != nil {
		return license.Pending{}, err
	}
	return p, nil
}

// PutPending stores or replaces it.
func (t *txn) PutPending(_ context.Context, p license.Pending) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("channel", p.Channel), store.CheckIndex("code", p.CodeIndex)); err != nil {
		return err
	}
	raw, err := encode(store.UTCPending(p))
	if err != nil {
		return err
	}
	return t.put(bucketPending, pendingKey(p.Channel, p.CodeIndex), raw)
}

// DeletePending removes it.
func (t *txn) DeletePending(_ context.Context, channel string, index []byte) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	return t.remove(bucketPending, pendingKey(channel, index))
}

func pendingKey(channel string, index []byte) []byte {
	key := make([]byte, 0, len(channel)+1+len(index))
	key = append(key, channel...)
	key = append(key, 0)
	return append(key, index...)
}

// Value returns a small named value.
func (t *txn) Value(_ context.Context, name string) ([]byte, error) {
	if err := t.readable(); err != nil {
		return nil, err
	}
	raw := t.b.get(bucketValues).Get([]byte(name))
	if raw == nil {
		return nil, license.Errorf(license.NotFound, "there is no value %q", name)
	}
	return append([]byte{}, raw...), nil
}

// SetValue stores, replaces or, when value is nil, removes it.
func (t *txn) SetValue(_ context.Context, name string, value []byte) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("name", name)); err != nil {
		return err
	}
	if value == nil {
		return t.remove(bucketValues, []byte(name))
	}
	return t.put(bucketValues, []byte(name), append([]byte{}, value...))
}

// Values lists the values whose name begins with prefix.
func (t *txn) Values(ctx context.Context, prefix string, p store.Page) ([]store.Value, string, error) {
	if err := t.readable(); err != nil {
		return nil, "", err
	}
	var out []store.Value
	way := within{t.b.get(bucketValues).Cursor(), []byte(prefix)}
	next, err := walk(ctx, way, bucketValues, p, nil, func(key, raw []byte) (bool, error) {
		out = append(out, store.Value{Name: string(key), Data: append([]byte{}, raw...)})
		return true, nil
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}
