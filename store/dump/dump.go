// Package dump writes every record of a store as text, and loads such a text
// into another store, of whatever backend.
//
// A dump is JSON Lines. The first line is the header:
//
//	{"licensed_dump":1,"version":"v1.2.0","made_at":"2027-03-01T12:00:00Z","audit_seq":4711}
//
// Then comes one line a record, numbered from 1 and grouped by kind, each kind
// after those that it refers to. crc is the CRC-32 (IEEE, 8 hexadecimal digits)
// of the bytes of kind and data; data is the record, whose members are those of
// the Go type that store.RecordKind names:
//
//	{"n":1,"kind":"license","crc":"1c2d3e4f","data":{"id":"lic_…",…}}
//
// The last line counts the records, and has the SHA-256 (base64url) of all bytes
// before it:
//
//	{"end":{"records":{"license":1},"sha256":"…"}}
//
// The digest of all records that a Summary has is not in it: it follows from them.
//
// So a dump that was cut short or changed is refused with the line named. Codes
// are in it only as the store has them: sealed under the data key, which is not in
// it. A reader takes the forms up to its own, and refuses members that it does not
// know. Form 1 is the first.
//
// The package may change in any release.
package dump

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Form is the version of the text.
const Form = 1

// valueState is the value that a store has while it is being loaded.
const valueState = "load.state"

// maxGrowth is by how much a store may grow while it is dumped: its backend keeps
// what was changed since for who reads the old state.
const maxGrowth = 512 << 20

// header is the first line.
type header struct {
	Form     int       `json:"licensed_dump"`
	Version  string    `json:"version"`
	MadeAt   time.Time `json:"made_at"`
	AuditSeq int64     `json:"audit_seq"` // how many events there are
}

// line is a record.
type line struct {
	N    int64            `json:"n"`
	Kind store.RecordKind `json:"kind"`
	CRC  string           `json:"crc"`
	Data json.RawMessage  `json:"data"`
}

// end is the last line.
type end struct {
	End struct {
		Records map[store.RecordKind]int64 `json:"records"`
		SHA256  string                     `json:"sha256"`
	} `json:"end"`
}

// Summary says what was dumped or loaded.
type Summary struct {
	Records map[store.RecordKind]int64
	Lines   int64 // all of them
	// Digest is of all records, whatever their order: the same for two stores that
	// hold the same ones. Hexadecimal digits.
	Digest string
}

// Total is how many records there are.
func (s Summary) Total() (n int64) {
	for _, k := range s.Records {
		n += k
	}
	return n
}

// Options say how a dump is made.
type Options struct {
	Version string    // of the program
	Now     time.Time // what the header is dated
	// Progress, which may be nil, is told now and then how many records are written.
	Progress func(records int64)
}

// Write writes a dump of one consistent state of s to w. Reading and writing go
// on meanwhile, and memory does not grow with the store. Where a store that is
// being changed grows by more than 512 MiB until w has taken the dump, it is given
// up with license.Conflict, and so is one whose state the database does not keep so long.
func Write(ctx context.Context, s store.Store, w io.Writer, o Options) (Summary, error) {
	out := &writer{w: w, sum: sha256.New(), counts: make(map[store.RecordKind]int64), digests: make(digests)}
	begun := false
	err := s.View(ctx, func(ctx context.Context, tx store.Tx) error {
		if begun { // a database that lost the state which was read; what is written cannot be taken back
			return license.Errorf(license.Conflict, "the database broke off the reading of its state: it was restarted, or the dump is taken too slowly; begin again")
		}
		switch st, err := stateIn(ctx, tx); {
		case err != nil:
			return err
		case st != nil:
			return ErrUnfinished
		}
		begun = true
		return out.all(ctx, s, tx, o)
	})
	if err != nil {
		return Summary{}, fmt.Errorf("dump the store: %w", err)
	}
	return Summary{Records: out.counts, Lines: out.n + 2, Digest: out.digests.String()}, nil
}

// ErrUnfinished is the error of a store that is not loaded to its end.
var ErrUnfinished = license.Errorf(license.Conflict, "the load of this store was begun and not finished; repeat it with licensectl load")

// Unfinished reports whether the load of a store was begun and not finished.
func Unfinished(ctx context.Context, s store.Store) (bool, error) {
	st, err := readState(ctx, s)
	return st != nil, err
}

// writer writes lines.
type writer struct {
	w       io.Writer
	sum     hash.Hash
	n       int64
	counts  map[store.RecordKind]int64
	digests digests
}

func (w *writer) line(v any, sum bool) error {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // the bytes of an audit entry are what its hash is of
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("line %d: %w", w.n+2, err)
	}
	raw := out.Bytes()
	if sum {
		_, _ = w.sum.Write(raw) // never fails
	}
	_, err := w.w.Write(raw)
	return err
}

func (w *writer) all(ctx context.Context, s store.Store, tx store.Tx, o Options) error {
	began := s.Stats().SizeBytes
	head, err := store.HeadOf(ctx, tx)
	if err != nil {
		return err
	}
	if err := w.line(header{Form, o.Version, o.Now.UTC().Truncate(time.Second), head.Seq}, true); err != nil {
		return err
	}
	for _, kind := range store.RecordKinds() {
		for cursor := ""; ; {
			records, next, err := tx.Records(ctx, kind, store.Page{Limit: store.MaxPage, Cursor: cursor})
			if err != nil {
				return fmt.Errorf("after %d records of the kind %s: %w", w.counts[kind], kind, err)
			}
			for _, r := range records {
				w.n++
				w.counts[kind]++
				w.digests.add(kind, r.Data)
				if err := w.line(line{w.n, kind, checksum(kind, r.Data), r.Data}, true); err != nil {
					return err
				}
			}
			if o.Progress != nil {
				o.Progress(w.n)
			}
			switch grown := s.Stats().SizeBytes - began; {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case grown > maxGrowth:
				return license.Errorf(license.Conflict, "the store grew by %d MiB while it was dumped: the dump is taken too slowly", grown>>20)
			}
			if cursor = next; next == "" {
				break
			}
		}
	}
	var e end
	e.End.Records, e.End.SHA256 = w.counts, encodeSum(w.sum)
	return w.line(e, false)
}

func checksum(kind store.RecordKind, data []byte) string {
	return fmt.Sprintf("%08x", crc32.Update(crc32.ChecksumIEEE([]byte(kind)), crc32.IEEETable, data))
}

func encodeSum(h hash.Hash) string { return base64.RawURLEncoding.EncodeToString(h.Sum(nil)) }

// String lists the counts by kind, for a person.
func (s Summary) String() string {
	var parts []string
	for _, kind := range store.RecordKinds() {
		if n := s.Records[kind]; n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", kind, n))
		}
	}
	return strings.Join(parts, ", ")
}
