package pgstore

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// A page looks at so many records at most, and then ends early: a long one would
// hold up its caller. It reads so many at once at most.
const (
	maxLooks = 10_000
	maxRead  = 1_000
)

// row is a record on the way through a list.
type row struct {
	key string // its place, which a cursor names
	raw []byte
	add []byte // what lies beside the record
}

// walk reads a list from where the page begins and gives every record to take,
// which says whether it counts. It returns the cursor of the next page, empty
// when there is no further record. read returns the n records that come after a
// place, which is empty at the beginning. list tells the cursors of a list from
// those of others.
func walk(ctx context.Context, list string, p store.Page, read func(ctx context.Context, after string, n int) ([]row, error), take func(row) (bool, error)) (string, error) {
	last, err := parseCursor(list, p.Cursor)
	if err != nil {
		return "", err
	}
	for taken, looks, n := 0, 0, p.Size()+1; ; n = min(4*n, maxRead) {
		rows, err := read(ctx, last, n)
		if err != nil {
			return "", err
		}
		for _, r := range rows {
			if taken == p.Size() || looks == maxLooks {
				return makeCursor(list, last), nil
			}
			looks++
			last = r.key
			ok, err := take(r)
			if err != nil {
				return "", err
			}
			if ok {
				taken++
			}
		}
		if len(rows) < n {
			return "", nil
		}
	}
}

// rows asks for rows and has scan read each.
func (t *txn) rows(ctx context.Context, scan func(pgx.Rows) (row, error), sql string, args ...any) ([]row, error) {
	var out []row
	err := t.d.ask(ctx, func(rows pgx.Rows) error {
		r, err := scan(rows)
		out = append(out, r)
		return err
	}, sql, args...)
	return out, err
}

// scanID reads an id, which is the place, and a record.
func scanID(rows pgx.Rows) (r row, err error) {
	err = rows.Scan(&r.key, &r.raw)
	return r, err
}

// A cursor names the last place that was looked at, so it stays right while
// records are added. A checksum binds it to its list.

const cursorSum = 4 // bytes

func makeCursor(list, place string) string {
	raw := binary.BigEndian.AppendUint32(make([]byte, 0, cursorSum+len(place)), cursorCheck(list, place))
	return base64.RawURLEncoding.EncodeToString(append(raw, place...))
}

func errCursor() error { return license.FieldErrorf("cursor", "the cursor is not one of this list") }

func parseCursor(list, s string) (string, error) {
	if s == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(raw) <= cursorSum || binary.BigEndian.Uint32(raw) != cursorCheck(list, string(raw[cursorSum:])) {
		return "", errCursor()
	}
	return string(raw[cursorSum:]), nil
}

func cursorCheck(list, place string) uint32 {
	return crc32.Update(crc32.ChecksumIEEE([]byte("pgstore "+list)), crc32.IEEETable, []byte(place))
}

// Places are made of texts, with a zero byte between them, and of numbers before them.

// text reads a place that is made of n texts. One whose checksum was forged must
// not reach the database.
func textsOf(place string, n int) ([]string, error) {
	if place == "" {
		return make([]string, n), nil
	}
	parts := strings.SplitN(place, "\x00", n)
	if len(parts) != n || !utf8.ValidString(place) || strings.IndexByte(parts[n-1], 0) >= 0 {
		return nil, errCursor()
	}
	return parts, nil
}

// numbered makes a place of a number and what comes behind it.
func numbered(n int64, rest string) string {
	return string(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(rest)), uint64(n))) + rest
}

// numberOf reads such a place; first is the number of the beginning.
func numberOf(place string, first int64) (n int64, rest string, err error) {
	switch {
	case place == "":
		return first, "", nil
	case len(place) < 8:
		return 0, "", errCursor()
	}
	return int64(binary.BigEndian.Uint64([]byte(place[:8]))), place[8:], nil
}
