package pgstore

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
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

// Instants come back in UTC, whatever they were given in. The records are
// copies of the caller's, but share its slices.

func utcLicense(l license.License) license.License {
	l.IssuedAt, l.ActivatedAt, l.ExpiresAt = l.IssuedAt.UTC(), l.ActivatedAt.UTC(), l.ExpiresAt.UTC()
	l.ReleasedAt, l.RevokedAt, l.ForkedAt = l.ReleasedAt.UTC(), l.RevokedAt.UTC(), l.ForkedAt.UTC()
	l.SoldUntil, l.BackAt = l.SoldUntil.UTC(), l.BackAt.UTC()
	l.Transfers = slices.Clone(l.Transfers)
	for i, at := range l.Transfers {
		l.Transfers[i] = at.UTC()
	}
	return l
}

func utcInstall(i license.Install) license.Install {
	i.BoundAt, i.SeenAt, i.EndedAt, i.LeaseUntil = i.BoundAt.UTC(), i.SeenAt.UTC(), i.EndedAt.UTC(), i.LeaseUntil.UTC()
	i.DatedAt, i.Handed.At = i.DatedAt.UTC(), i.Handed.At.UTC()
	i.Chain.RequestAt, i.Drifted.At = i.Chain.RequestAt.UTC(), i.Drifted.At.UTC()
	i.Unproven, i.Forks, i.Grants = maps.Clone(i.Unproven), maps.Clone(i.Forks), slices.Clone(i.Grants)
	for k := range i.Grants {
		g := &i.Grants[k]
		g.At, g.From, g.Until = g.At.UTC(), g.From.UTC(), g.Until.UTC()
	}
	for d, at := range i.Unproven {
		i.Unproven[d] = at.UTC()
	}
	for k, c := range i.Forks {
		c.At = c.At.UTC()
		i.Forks[k] = c
	}
	return i
}

func utcPending(p license.Pending) license.Pending {
	p.ExpiresAt, p.ReleasedAt = p.ExpiresAt.UTC(), p.ReleasedAt.UTC()
	p.FirstAt, p.LastAt = p.FirstAt.UTC(), p.LastAt.UTC()
	return p
}

func utcJob(j license.Job) license.Job {
	j.CreatedAt, j.DueAt, j.FailedAt, j.ParkedAt = j.CreatedAt.UTC(), j.DueAt.UTC(), j.FailedAt.UTC(), j.ParkedAt.UTC()
	return j
}

func utcOrder(o license.Order) license.Order {
	o.OrderedAt, o.ExpiresAt = o.OrderedAt.UTC(), o.ExpiresAt.UTC()
	o.SeenAt, o.ReadAt, o.StageAt = o.SeenAt.UTC(), o.ReadAt.UTC(), o.StageAt.UTC()
	o.History = slices.Clone(o.History)
	for i := range o.History {
		o.History[i].At = o.History[i].At.UTC()
	}
	return o
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
