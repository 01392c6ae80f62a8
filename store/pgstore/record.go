package pgstore

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/license"
)

// encode gives the JSON of a record, which is text that a database takes: JSON
// inside JSON is the only thing in it that need not be UTF-8.
func encode(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, license.Errorf(license.Internal, "a record cannot be written").WithCause(err)
	}
	if !utf8.Valid(raw) {
		raw = bytes.ToValidUTF8(raw, []byte("\uFFFD"))
	}
	return raw, nil
}

// encode gives the JSON of a record that is to be written.
func (t *txn) encode(v any) ([]byte, error) {
	if t.practice != nil {
		return nil, nil // for nobody
	}
	return encode(v)
}

func decode[T any](table, key string, raw []byte) (v T, err error) {
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, unreadable(table, key).WithCause(err)
	}
	return v, nil
}

// decodeCell is decode for what is known of a place, which is read once.
func decodeCell[T interface{ Clone() T }](table, key string, c *cell) (T, error) {
	if p := c.read.Load(); p != nil {
		if v, is := (*p).(T); is {
			return v.Clone(), nil
		}
	}
	v, err := decode[T](table, key, c.raw)
	if err == nil {
		var kept any = v.Clone()
		c.read.Store(&kept)
	}
	return v, err
}

func unreadable(table, key string) *license.Error {
	return license.Errorf(license.Internal, "the record %q in %s cannot be read", key, table)
}

// secondsOf is an instant as a column holds it, nil for the zero one.
func secondsOf(at time.Time) *int64 {
	if at.IsZero() {
		return nil
	}
	s := at.Unix()
	return &s
}

// instantOf reads an instant from the eight bytes of its second.
func instantOf(b []byte) time.Time {
	return time.Unix(int64(binary.BigEndian.Uint64(b)), 0).UTC()
}
