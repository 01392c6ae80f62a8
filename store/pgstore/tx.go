package pgstore

import (
	"context"
	"maps"
	"strings"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// txn is a store.Tx: one function's view of a session that it may share with
// others. What the function writes lies in cells of its own, before those of the
// session, and becomes a part of the session if the function succeeds.
type txn struct {
	d        *session
	writable bool
	ended    bool
	loading  bool       // records come with their revisions: PutRecord
	practice *rehearsal // what is written is for nobody

	cells cells
	changes
	guesses guesses
	wrotes  bool
	spilled bool // some of it was sent, behind a savepoint

	head     license.AuditHead // with what the function has added
	appended int

	licenses map[string]licenseHead // of licences that were read or written, to compare
}

var _ store.Tx = (*txn)(nil)

var (
	errEnded    = license.Errorf(license.Internal, "the transaction has ended")
	errViewOnly = license.Errorf(license.Internal, "a View cannot write")
)

func newTxn(d *session, writable bool) *txn {
	return &txn{d: d, writable: writable, cells: make(cells)}
}

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
	case t.practice != nil:
		return nil
	}
	return t.d.failure
}

// known returns what is known of a place, nil where it has to be asked for.
func (t *txn) known(p place) *cell {
	c, ok := t.cells[p]
	if ok || !t.writable {
		return c
	}
	if t.practice != nil {
		return t.practice.known(p)
	}
	return t.d.cells[p]
}

// at returns what is at a place.
func (t *txn) at(ctx context.Context, p place) (*cell, error) {
	if err := t.fetch(ctx, p); err != nil {
		return nil, err
	}
	c := t.known(p)
	if c == nil || c.untold { // in a rehearsal
		return nil, errRehearsed
	}
	return c, nil
}

// fetch has it known what is at some places.
func (t *txn) fetch(ctx context.Context, places ...place) error {
	asked := make([]place, 0, len(places))
	for _, p := range places {
		if t.known(p) == nil {
			asked = append(asked, p)
		}
	}
	switch {
	case len(asked) == 0:
		return nil
	case t.practice != nil:
		return t.practice.fetch(asked)
	case t.writable && !t.spilled:
		return t.d.learn(ctx, asked)
	}
	g, err := t.d.gather(ctx, asked)
	if err != nil {
		return err
	}
	if !t.writable { // a View may read any number
		t.cells = cells(g)
		return nil
	}
	if trim(t.cells, &t.changes) {
		// What the session knows is older than what was dropped, and none of it waits to
		// be sent: that was done before this function sent anything.
		clear(t.d.cells)
		t.d.written = [kinds][]place{}
	}
	t.learned(g)
	return nil
}

// learned keeps what was read, but what is known already, which is newer. Where the
// function has sent something it is its own knowledge, since it may be undone.
func (t *txn) learned(g gathered) {
	for p, c := range g {
		switch {
		case t.known(p) != nil:
		case t.spilled:
			t.cells[p] = c
		default:
			t.d.cells[p] = c
		}
	}
}

// several returns the records that a place names: those that lie in the database, and
// those of that kind that were written since and belong to it. They may have
// changed, or be gone. whole is false where there may be others.
func (t *txn) several(ctx context.Context, of place, record func(id string) place, belongs func(p place) bool) (out []place, whole bool, err error) {
	base, err := t.at(ctx, of)
	if err != nil {
		return nil, false, err
	}
	seen := make(map[place]struct{}, len(base.ids))
	take := func(p place) {
		if _, twice := seen[p]; !twice {
			seen[p] = struct{}{}
			out = append(out, p)
		}
	}
	for _, id := range base.ids {
		take(record(id))
	}
	if t.writable {
		k := record("").kind
		lists := [][]place{t.written[k]}
		if t.practice == nil { // else nothing was written before
			lists = append(lists, t.d.written[k])
		}
		for _, written := range lists {
			for _, p := range written {
				if belongs(p) {
					take(p)
				}
			}
		}
	}
	return out, base.whole, nil
}

// dirtyMost is how many records are held back at most, and bytesMost how large they
// are together: a statement takes them all, and the database none of a gigabyte.
const (
	dirtyMost = 2000
	bytesMost = 16 << 20
)

// put has a record written, or removed where c is not there.
func (t *txn) put(p place, c *cell) error {
	switch {
	case t.practice != nil && p.kind == kindList:
		return t.practice.putList(p, c)
	case t.practice != nil:
		if t.practice.ended() {
			return errRehearsed
		}
		c = &cell{untold: true}
	}
	t.wrotes = true
	t.cells[p] = c
	t.wrote(p)
	t.bytes += len(c.raw) + len(c.add)
	return t.unburden()
}

// unburden sends what was written where it is much.
func (t *txn) unburden() error {
	if t.practice != nil || len(t.dirty)+len(t.lines)+len(t.d.dirty)+len(t.d.lines) < dirtyMost && t.bytes+t.d.bytes < bytesMost {
		return t.mayWrite()
	}
	t.spill()
	return t.d.send(context.Background())
}

// spill has all that was written sent with the next statement that is waited for:
// that of the functions before, and behind a savepoint that of this one.
func (t *txn) spill() {
	t.prove()
	t.d.queueChanges(t.d.cells, &t.d.changes)
	if t.any() {
		t.save()
		t.d.queueChanges(t.cells, &t.changes)
	}
}

func (t *txn) save() {
	if !t.spilled {
		t.spilled = true
		t.d.later("savepoint f")
	}
}

// ranging is called before a table is asked for more than single records: what was
// written has to be there.
func (t *txn) ranging() error {
	switch {
	case t.ended:
		return errEnded
	case t.practice != nil:
		return errRehearsed
	case t.writable:
		t.spill()
	}
	return nil
}

// keep makes what the function wrote a part of its group.
func (t *txn) keep() {
	d := t.d
	if t.spilled {
		d.later("release savepoint f")
	}
	maps.Copy(d.cells, t.cells)
	for k, places := range t.written {
		for _, p := range places {
			if _, is := t.dirty[p]; is {
				d.wrote(p)
			} else {
				d.written[k] = append(d.written[k], p)
			}
		}
	}
	d.lines, d.bytes = append(d.lines, t.lines...), d.bytes+t.bytes
	d.drops, d.old = d.drops+t.drops, max(d.old, t.old)
	if t.appended > 0 {
		d.head = t.head
	}
}

// undo takes back what the function wrote.
func (t *txn) undo() {
	if t.spilled {
		t.d.later("rollback to savepoint f")
		t.d.later("release savepoint f")
	}
}

// canBe reports whether all of these can be parts of keys. What cannot is not
// looked for: the database would refuse it as text.
func canBe(keys ...string) bool {
	for _, s := range keys {
		if s == "" || len(s) > store.MaxKey || !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
			return false
		}
	}
	return true
}

// maxFound is how much of a value stands in a column by which records are found.
// Values that begin alike are told apart by their records.
const maxFound = 64

// found is the part of a value by which records are found, nil where it is empty.
func found(s string) *string {
	if s == "" {
		return nil
	}
	if !utf8.ValidString(s) {
		s = string([]rune(s)) // as it comes back from its record, which is JSON
	}
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	if len(s) > maxFound {
		end := maxFound
		for !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end]
	}
	return &s
}
