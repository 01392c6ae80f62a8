package pgstore

import (
	"context"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

// kind is a table, or a way to find records in one.
type kind uint8

const (
	kindLicense  kind = iota // a: id
	kindCode                 // a: index; the licence's id
	kindInstall              // a: licence, b: id
	kindInstalls             // a: licence; the ids of its installs
	kindOthers               // a: licence, b: an install; the first of its installs where this is none of them
	kindLive                 // a: licence; the ids of those that are live
	kindLastList             // the id of the last status list
	kindList                 // a: id
	kindEntry                // a: list, n: index
	kindPending              // a: channel, b: code's index
	kindJob                  // a: id
	kindTurns                // a: key; the ids of the first jobs that wait for it
	kindOrder                // a: channel, b: id, c: line
	kindMark                 // a: key, n: until
	kindValue                // a: name
	kindPrefix               // a: prefix; the first names that begin with it
	kinds
)

// place is where a record lies, or what is found by a part of its key.
type place struct {
	kind    kind
	a, b, c string
	n       int64
}

// cell is what is known of a place. It is never changed, only replaced.
type cell struct {
	read atomic.Pointer[any] // the record, once it was read from raw

	there    bool
	untold   bool // written in a rehearsal: nobody knows what
	revision int64
	raw      []byte // the record, or a value
	add      []byte // the answer of an install

	live         bool            // an install
	row          *licenseColumns // a licence that was written
	link         *string         // an order's licence
	key          string          // a job's
	parked, turn bool
	due          int64
	status       int16 // an entry's
	final        *int64

	ids   []string // that lie in the database, for a kind that names several
	whole bool     // there are no others
}

type cells map[place]*cell

// changes are what was written and not sent.
type changes struct {
	dirty map[place]struct{}
	lines []auditLine
	bytes int   // of all that
	drops int   // how many marks are to be dropped
	old   int64 // that were kept until before this

	// written are the places of all records that were written since the cells were
	// cleared last, those that were sent too: they may belong to what a kind names
	// that names several.
	written [kinds][]place
}

type auditLine struct {
	seq     int64
	license *string
	raw     []byte
}

func (c *changes) any() bool { return len(c.dirty) > 0 || len(c.lines) > 0 || c.drops > 0 }

// sent forgets what was sent.
func (c *changes) sent() {
	clear(c.dirty)
	c.lines, c.bytes, c.drops, c.old = nil, 0, 0, 0
}

// wrote notes that a record was written.
func (c *changes) wrote(p place) {
	if c.dirty == nil {
		c.dirty = make(map[place]struct{})
	}
	c.dirty[p] = struct{}{}
	c.written[p.kind] = append(c.written[p.kind], p)
}

// cellsMost is how many cells are kept. What is dirty is kept whatever.
const cellsMost = 20_000

// trim drops what can be read again where there is too much of it, and reports
// whether it has. What names several records goes with them.
func trim(known cells, c *changes) bool {
	if len(known) < cellsMost || len(known) < 2*len(c.dirty) {
		return false
	}
	for p, at := range known {
		_, dirty := c.dirty[p]
		if p.kind == kindCode && len(at.ids) > 0 {
			_, dirty = c.dirty[place{kind: kindLicense, a: at.ids[0]}] // which it leads to
		}
		if !dirty {
			delete(known, p)
		}
	}
	c.written = [kinds][]place{}
	for p := range c.dirty {
		c.written[p.kind] = append(c.written[p.kind], p)
	}
	return true
}

// query is what is asked for places of one kind: one of them, or many.
type query struct {
	one, many string
	args      func(p place) []any
	arrays    func(ps []place) []any
	row       func(rows pgx.Rows, g gathered) error
	most      int // how many of several are read
}

// gathered is what was read.
type gathered cells

// found takes a record in.
func (g gathered) found(p place, c *cell) {
	c.there = true
	g[p] = c
}

// member takes a record in that belongs to what a place names.
func (g gathered) member(of place, id string) {
	if c, ok := g[of]; ok {
		c.ids = append(c.ids, id)
	} else {
		g[of] = &cell{there: true, ids: []string{id}}
	}
}

// others makes the first installs of a licence all of them, where they are.
func (g gathered) others(p place, c *cell) {
	delete(g, p)
	if at := g[installPlace(p.a, p.b)]; at != nil && at.there {
		return // they were not read
	}
	if c == nil {
		c = &cell{}
	}
	if c.whole = len(c.ids) < othersMost; c.whole {
		g[place{kind: kindInstalls, a: p.a}] = c
	}
}

// column is an argument that holds a part of each place.
func column[T any](ps []place, part func(place) T) []T {
	out := make([]T, len(ps))
	for i, p := range ps {
		out[i] = part(p)
	}
	return out
}

func partA(p place) string  { return p.a }
func partB(p place) string  { return p.b }
func partC(p place) string  { return p.c }
func partN(p place) int64   { return p.n }
func bytesA(p place) []byte { return []byte(p.a) }
func bytesB(p place) []byte { return []byte(p.b) }

func argA(p place) []any             { return []any{p.a} }
func arrayA(ps []place) []any        { return []any{column(ps, partA)} }
func keyOnly(k kind, a string) place { return place{kind: k, a: a} }

// gather reads what is at some places, in one round trip.
func (d *session) gather(ctx context.Context, asked []place) (gathered, error) {
	if d.failure != nil {
		return nil, d.failure
	}
	g := make(gathered, len(asked))
	var of [kinds][]place
	seen := make(map[place]struct{}, len(asked))
	for _, p := range asked {
		if _, twice := seen[p]; !twice {
			seen[p] = struct{}{}
			of[p.kind] = append(of[p.kind], p)
		}
	}
	for k, ps := range of {
		if len(ps) == 0 {
			continue
		}
		q := &queries[k]
		s := statement{sql: q.many, row: func(rows pgx.Rows) error { return q.row(rows, g) }}
		if len(ps) == 1 {
			s.sql, s.args = q.one, q.args(ps[0])
		} else {
			s.args = q.arrays(ps)
		}
		d.queue = append(d.queue, s)
	}
	if err := d.send(ctx); err != nil {
		return nil, err
	}
	for p := range seen {
		c, ok := g[p]
		if p.kind == kindOthers {
			g.others(p, c)
			continue
		}
		if !ok {
			c = &cell{}
			g[p] = c
		}
		c.whole = len(c.ids) < queries[p.kind].most
	}
	return g, nil
}

// learn reads what is at some places and keeps it.
func (d *session) learn(ctx context.Context, asked []place) error {
	g, err := d.gather(ctx, asked)
	if err != nil {
		return err
	}
	d.learned(g)
	return nil
}

// learned keeps what was read. What is known already is newer.
func (d *session) learned(g gathered) {
	trim(d.cells, &d.changes)
	for p, c := range g {
		if _, ok := d.cells[p]; !ok {
			d.cells[p] = c
		}
	}
}
