package dump

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

const (
	// maxLine is the longest line that is read.
	maxLine = 4 << 20
	// batch is how many records one transaction stores.
	batch = 2000
)

// state is what a store that is being loaded keeps of the load.
type state struct {
	Dump    string `json:"dump"`    // SHA-256 of the first line
	Records int64  `json:"records"` // how many of it are stored
}

// LoadOptions say how a dump is loaded.
type LoadOptions struct {
	// Progress, which may be nil, is told after each batch how many records are stored.
	Progress func(records int64)
}

// Verify reads a dump to its end and stores nothing. A dump that is damaged is
// license.Damaged, with the line named.
func Verify(r io.Reader) (Summary, error) {
	in := newReader(r)
	if _, err := in.header(); err != nil {
		return Summary{}, err
	}
	for {
		_, ok, err := in.record()
		if err != nil || !ok {
			return in.summary(), err
		}
	}
}

// Load stores the records of a dump in s, which has to be empty or to hold the
// beginning of the same load (license.Conflict otherwise): one that was broken
// off goes on where it stopped. Each batch of records is one transaction. Until
// the last line was read and fits, the store says that it is unfinished. A line
// that is damaged is license.Damaged, one that s refuses keeps its reason; both
// are named, and what came before their batch is stored. At the end every record is
// read back and the digest of all compared with that of the dump.
func Load(ctx context.Context, s store.Store, r io.Reader, o LoadOptions) (Summary, error) {
	in := newReader(r)
	id, err := in.header()
	if err != nil {
		return Summary{}, err
	}
	done, err := begin(ctx, s, id)
	if err != nil {
		return Summary{}, err
	}
	for {
		lines, more, err := in.batch()
		if err != nil {
			return in.summary(), err
		}
		if len(lines) > 0 && in.n > done {
			if err := put(ctx, s, id, lines, done); err != nil {
				return in.summary(), err
			}
			done = in.n
		}
		if o.Progress != nil {
			o.Progress(in.n)
		}
		if !more {
			break
		}
	}
	if done > in.n {
		return in.summary(), license.Errorf(license.Conflict, "the store holds %d records of this dump, which has %d", done, in.n)
	}
	if err := compare(ctx, s, in.digests); err != nil {
		return in.summary(), err
	}
	return in.summary(), finish(ctx, s)
}

// readState returns nil where no load was begun.
func readState(ctx context.Context, s store.Store) (st *state, err error) {
	err = s.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		st, err = stateIn(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look whether the store is being loaded: %w", err)
	}
	return st, nil
}

func stateIn(ctx context.Context, tx store.Tx) (*state, error) {
	raw, err := tx.Value(ctx, valueState)
	if errors.Is(err, license.NotFound) {
		return nil, nil //nolint:nilnil // there need not be one
	}
	if err != nil {
		return nil, err
	}
	st := new(state)
	return st, json.Unmarshal(raw, st)
}

// begin returns how many records of the dump the store has.
func begin(ctx context.Context, s store.Store, id string) (int64, error) {
	st, err := readState(ctx, s)
	switch {
	case err != nil:
		return 0, err
	case st != nil && st.Dump != id:
		return 0, license.Errorf(license.Conflict, "the store holds the beginning of another dump; load that one to its end, or begin with a new store")
	case st != nil:
		return st.Records, nil
	}
	err = s.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		for _, kind := range store.RecordKinds() {
			there, _, err := tx.Records(ctx, kind, store.Page{Limit: 1})
			if err != nil {
				return err
			}
			if len(there) > 0 {
				return license.Errorf(license.Conflict, "the store is not empty: it has records of the kind %s; a dump is loaded into a new store", kind)
			}
		}
		return setState(ctx, tx, &state{Dump: id})
	})
	return 0, err
}

func setState(ctx context.Context, tx store.Tx, st *state) error {
	if st == nil {
		return tx.SetValue(ctx, valueState, nil)
	}
	raw, err := json.Marshal(st)
	if err != nil {
		return err
	}
	return tx.SetValue(ctx, valueState, raw)
}

// put stores the lines behind the first done.
func put(ctx context.Context, s store.Store, id string, lines []line, done int64) error {
	return s.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		for _, l := range lines {
			if l.N <= done {
				continue
			}
			if err := tx.PutRecord(ctx, store.Record{Kind: l.Kind, Data: l.Data}); err != nil {
				return fmt.Errorf("line %d (%s): %w", l.N+1, l.Kind, err)
			}
		}
		return setState(ctx, tx, &state{id, lines[len(lines)-1].N})
	})
}

func finish(ctx context.Context, s store.Store) error {
	return s.Update(ctx, func(ctx context.Context, tx store.Tx) error { return setState(ctx, tx, nil) })
}

// reader reads a dump and compares it with itself.
type reader struct {
	in      *bufio.Reader
	sum     hash.Hash
	n       int64 // records
	lines   int64
	counts  map[store.RecordKind]int64
	digests digests
}

func newReader(r io.Reader) *reader {
	return &reader{in: bufio.NewReaderSize(r, 256<<10), sum: sha256.New(), counts: make(map[store.RecordKind]int64), digests: make(digests)}
}

func (r *reader) summary() Summary {
	return Summary{Records: r.counts, Lines: r.lines, Digest: r.digests.String()}
}

func (r *reader) damaged(format string, args ...any) error {
	return license.Errorf(license.Damaged, "line %d of the dump %s", r.lines, fmt.Sprintf(format, args...))
}

// next reads a line, with its end.
func (r *reader) next() ([]byte, error) {
	r.lines++
	var out []byte
	for {
		part, err := r.in.ReadSlice('\n')
		switch {
		case len(out)+len(part) > maxLine:
			return nil, r.damaged("is longer than %d MiB", maxLine>>20)
		case err == nil && out == nil:
			return bytes.Clone(part), nil
		}
		out = append(out, part...)
		switch {
		case err == nil:
			return out, nil
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) && len(out) == 0:
			return nil, r.damaged("is missing: the dump was cut short, or is none")
		case errors.Is(err, io.EOF):
			return nil, r.damaged("was cut short")
		default:
			return nil, fmt.Errorf("read line %d of the dump: %w", r.lines, err)
		}
	}
}

func strictly(raw []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	return dec.Decode(v)
}

// header reads the first line, and returns its digest.
func (r *reader) header() (string, error) {
	raw, err := r.next()
	if err != nil {
		return "", err
	}
	var h header
	switch err := json.Unmarshal(raw, &h); {
	case err != nil || h.Form < 1:
		return "", r.damaged("is not the header of a dump")
	case h.Form > Form:
		return "", license.Errorf(license.BadRequest, "the dump has form %d, and this program knows forms up to %d; please use a newer version", h.Form, Form)
	}
	_, _ = r.sum.Write(raw) // never fails
	return encodeSum(r.sum), nil
}

// record reads a record, or the last line and what must not follow it.
func (r *reader) record() (line, bool, error) {
	raw, err := r.next()
	if err != nil {
		return line{}, false, err
	}
	if bytes.HasPrefix(raw, []byte(`{"end":`)) {
		return line{}, false, r.end(raw)
	}
	var l line
	if err := strictly(raw, &l); err != nil {
		return l, false, r.damaged("cannot be read: %v", err)
	}
	switch {
	case l.N != r.n+1:
		return l, false, r.damaged("has the number %d where %d comes: lines are missing or in another order", l.N, r.n+1)
	case checksum(l.Kind, l.Data) != l.CRC:
		return l, false, r.damaged("was changed")
	}
	r.n++
	r.counts[l.Kind]++
	r.digests.add(l.Kind, l.Data)
	_, _ = r.sum.Write(raw) // never fails
	return l, true, nil
}

func (r *reader) end(raw []byte) error {
	var e end
	if err := strictly(raw, &e); err != nil {
		return r.damaged("cannot be read: %v", err)
	}
	switch {
	case !maps.Equal(e.End.Records, r.counts):
		return r.damaged("counts other records than there are")
	case e.End.SHA256 != encodeSum(r.sum):
		return r.damaged("has another SHA-256 than the lines before it: one of them was changed")
	}
	if _, err := r.in.ReadByte(); !errors.Is(err, io.EOF) {
		r.lines++
		return r.damaged("stands behind the end")
	}
	return nil
}

// batch reads the next records, and reports whether there may be more.
func (r *reader) batch() ([]line, bool, error) {
	out := make([]line, 0, batch)
	for len(out) < batch {
		l, ok, err := r.record()
		if err != nil || !ok {
			return out, false, err
		}
		out = append(out, l)
	}
	return out, true, nil
}
