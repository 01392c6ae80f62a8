package boltstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
)

// format is the version of the layout. 1: first. 2: status lists, jobs and
// orders. 3: indexes of licences, and the audit log is a chain.
const format = 3

// formatBuckets is how many of the buckets in layout a file of an older format
// has at least. Before it was released format 2 had no jobs and orders, and then
// no index of orders.
var formatBuckets = [format]bucketID{1: bucketLists, 2: bucketJobs} //nolint:gochecknoglobals // a table

// upgradeSteps lead from format 2 to 3, one after the other. They are run on
// files that are in use at the next release: a step that has been released does
// not change, and what is added comes last.
var upgradeSteps = []upgradeStep{ //nolint:gochecknoglobals // a table
	{"indexes of licences", bucketLicenses, indexLicenses},
	{"chain of the audit log", bucketAudit, chainAudit},
}

// upgradeStep goes through the records of one bucket in the order of their keys.
//
// begin is called for each batch, which is one transaction of bbolt. after is the
// last key that was done before, nil at first. What it returns is called for each
// record and says by put what is to be written: everything that follows from what
// is in the file, since a batch that was cut off is made again. A value of nil
// removes the key. What was put is written when the batch is complete, in the
// order of the keys; the key that the next batch begins after is part of it.
//
// A record that cannot be read is no reason to fail, since the store could
// then not be opened at all: convert returns errUnreadable, which is counted.
type upgradeStep struct {
	name  string // kept in the file while the step is under way
	over  bucketID
	begin func(b *buckets, after []byte) (convert, error)
}

type (
	convert func(key, raw []byte, put putFunc) error
	putFunc func(id bucketID, key, value []byte)
)

// Upgrade is how far Open is in bringing a file up to date.
type Upgrade struct {
	From, To int    // formats
	Step     string // what is being done
	Done     int64  // records of this step
	// Unreadable is how many records of all steps were left as they are because
	// they cannot be read. Check names them.
	Unreadable int64
}

// A batch holds so many records, and their writes so many bytes, at most.
const (
	upgradeRecords = 100_000
	upgradeBytes   = 32 << 20
)

// upgradeKey is where it is kept how far an upgrade is. A file that has it holds
// parts of two formats.
const upgradeKey = "upgrade"

// progress is what is kept under upgradeKey.
type progress struct {
	From       int    `json:"from"`
	Step       string `json:"step"`
	After      []byte `json:"after,omitempty"`
	Done       int64  `json:"done"`
	Unreadable int64  `json:"unreadable,omitempty"`
}

// laid is how many of the buckets in layout a file must have: those of its
// format. A file that lacks others was damaged.
func laid(btx *bolt.Tx, version int) bucketID {
	switch version {
	case format:
		return bucketCount
	case 2:
		return laid2(btx)
	}
	return formatBuckets[version]
}

// laid2 is laid for format 2: those that it had at the time. The index of orders
// follows from them, and is made again.
func laid2(btx *bolt.Tx) bucketID {
	for _, l := range layout[bucketJobs : bucketOrders+1] {
		if btx.Bucket([]byte(l.name)) != nil {
			return bucketOrders + 1
		}
	}
	return bucketJobs
}

// readProgress returns how far the upgrade of a file is, nil where none was begun.
func readProgress(btx *bolt.Tx) (*progress, error) {
	raw := btx.Bucket([]byte(metaBucket)).Get([]byte(upgradeKey))
	if raw == nil {
		return nil, nil //nolint:nilnil // there need not be one
	}
	var p progress
	if err := json.Unmarshal(raw, &p); err != nil || stepOf(p.Step) < 0 {
		return nil, license.Errorf(license.Damaged, "an upgrade of the file was begun that this program cannot go on with: %q; please use the version that began it", raw)
	}
	return &p, nil
}

func writeProgress(btx *bolt.Tx, p *progress) error {
	meta := btx.Bucket([]byte(metaBucket))
	if p == nil {
		return meta.Delete([]byte(upgradeKey))
	}
	raw, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return meta.Put([]byte(upgradeKey), raw)
}

func stepOf(name string) int {
	return slices.IndexFunc(upgradeSteps, func(s upgradeStep) bool { return s.name == name })
}

// upgrade brings a file of an older format up to this one. It is marked as one of
// this format first, so that no older program takes it for its own, and then goes
// from step to step and batch to batch, each durable by itself: one that is cut
// off goes on at the next Open.
func upgrade(db *bolt.DB, o Options) error {
	var version int
	var p *progress
	err := db.View(func(btx *bolt.Tx) (err error) {
		if version, err = formatOf(btx.Bucket([]byte(metaBucket))); err == nil && version == format {
			p, err = readProgress(btx)
		}
		return err
	})
	switch {
	case err != nil || version == format && p == nil:
		return err
	case o.ReadOnly && p != nil:
		return license.Errorf(license.Conflict, "the file is on its way from format %d to %d; start the daemon, which goes on with it", p.From, format)
	case o.ReadOnly:
		return license.Errorf(license.Conflict, "the file has the older format %d; start the daemon once, which brings it up to date", version)
	case p == nil:
		if p, err = beginUpgrade(db, version); err != nil {
			return fmt.Errorf("begin to bring the file from format %d up to %d: %w", version, format, err)
		}
	}
	for p != nil {
		if err := o.report(*p); err != nil {
			return err
		}
		if p, err = upgradeBatch(db, *p, o.batch); err != nil {
			return fmt.Errorf("bring the file up to format %d: %w", format, err)
		}
	}
	return nil
}

func (o Options) report(p progress) error {
	if o.Upgrading == nil {
		return nil
	}
	return o.Upgrading(Upgrade{From: p.From, To: format, Step: p.Step, Done: p.Done, Unreadable: p.Unreadable})
}

// beginUpgrade makes the buckets that a file lacks and marks it as one whose
// upgrade is at its first step.
func beginUpgrade(db *bolt.DB, version int) (*progress, error) {
	p := &progress{From: version, Step: upgradeSteps[0].name}
	err := db.Update(func(btx *bolt.Tx) error {
		for _, l := range layout {
			if _, err := btx.CreateBucketIfNotExists([]byte(l.name)); err != nil {
				return err
			}
		}
		if err := indexOrders(btx); err != nil {
			return err
		}
		if err := writeProgress(btx, p); err != nil {
			return err
		}
		return btx.Bucket([]byte(metaBucket)).Put([]byte(formatKey), []byte(strconv.Itoa(format)))
	})
	return p, err
}

// upgradeBatch makes one batch and returns how far the upgrade is then, nil when
// it is complete.
func upgradeBatch(db *bolt.DB, p progress, records int) (next *progress, err error) {
	if records == 0 {
		records = upgradeRecords
	}
	err = db.Update(func(btx *bolt.Tx) error {
		b := batch{b: openBuckets(btx), records: records, p: p}
		next, err = b.run(upgradeSteps[stepOf(p.Step)])
		if err != nil {
			return err
		}
		return writeProgress(btx, next)
	})
	return next, err
}

// batch is one batch of an upgrade.
type batch struct {
	b       *buckets
	records int
	p       progress
	writes  [bucketCount][]write
	size    int
}

type write struct{ key, value []byte }

// run takes the next records of a step and returns how far it is then.
func (b *batch) run(step upgradeStep) (*progress, error) {
	each, err := step.begin(b.b, b.p.After)
	if err != nil {
		return nil, err
	}
	c := behind{b.b.get(step.over).Cursor(), b.p.After}
	put := func(id bucketID, key, value []byte) {
		b.writes[id] = append(b.writes[id], write{key, value})
		b.size += len(key) + len(value)
	}
	key, raw := c.First()
	for n := 0; key != nil && n < b.records && b.size < upgradeBytes; key, raw = c.Next() {
		switch err := each(key, raw, put); {
		case err == errUnreadable: //nolint:errorlint // returned as it is
			b.p.Unreadable++
		case err != nil:
			return nil, fmt.Errorf("%s %q: %w", layout[step.over].name, key, err)
		}
		n++
		b.p.Done++
		b.p.After = bytes.Clone(key)
	}
	if err := b.write(); err != nil {
		return nil, err
	}
	if key != nil {
		return &b.p, nil
	}
	at := stepOf(step.name) + 1
	if at == len(upgradeSteps) {
		return nil, nil //nolint:nilnil // it is complete
	}
	return &progress{From: b.p.From, Step: upgradeSteps[at].name, Unreadable: b.p.Unreadable}, nil
}

// write writes what was put, in the order of the keys: bbolt splits a page only
// when it commits, and until then each key that is put between others moves them.
func (b *batch) write() error {
	for id, writes := range b.writes {
		bucket := b.b.get(bucketID(id))
		slices.SortStableFunc(writes, func(x, y write) int { return bytes.Compare(x.key, y.key) })
		for _, w := range writes {
			var err error
			if w.value == nil {
				err = bucket.Delete(w.key)
			} else {
				err = bucket.Put(w.key, w.value)
			}
			if err != nil {
				return writeError(bucketID(id), w.key, err)
			}
		}
	}
	return nil
}

// errUnreadable is returned by a step for a record that cannot be read.
var errUnreadable = license.Errorf(license.Internal, "the record cannot be read")

// indexOrders fills the index of the licences that orders are linked to.
func indexOrders(btx *bolt.Tx) error {
	index := btx.Bucket([]byte(layout[bucketOrdersLicense].name))
	return btx.Bucket([]byte(layout[bucketOrders].name)).ForEach(func(key, raw []byte) error {
		o, err := decodeOrder(key, raw)
		if err != nil || o.License == "" {
			return err
		}
		return index.Put(linkKey(o.License, key), []byte{})
	})
}
