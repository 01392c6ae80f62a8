package store

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/license"
)

// What backends do alike with what they are given: which keys they refuse, and how
// instants come back.

// MaxKey bounds what becomes a part of a key, in bytes.
const MaxKey = 512

// CheckKey refuses with license.BadRequest what cannot be a part of a key, or would
// not come back as it was. Control bytes are refused because backends separate the
// parts of keys by them.
func CheckKey(field, s string) error {
	switch {
	case s == "":
		return license.FieldErrorf(field, "%s is empty", field)
	case len(s) > MaxKey:
		return license.FieldErrorf(field, "%s is longer than %d bytes", field, MaxKey)
	case !utf8.ValidString(s):
		return license.FieldErrorf(field, "%s is not text", field)
	case strings.IndexFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f }) >= 0:
		return license.FieldErrorf(field, "%s holds a control character", field)
	}
	return nil
}

// CheckIndex is CheckKey for a key of any bytes, as a code's index is.
func CheckIndex(field string, b []byte) error {
	switch {
	case len(b) == 0:
		return license.FieldErrorf(field, "%s is empty", field)
	case len(b) > MaxKey:
		return license.FieldErrorf(field, "%s is longer than %d bytes", field, MaxKey)
	}
	return nil
}

// CheckLink refuses what cannot be the licence that an order is linked to. It may have none.
func CheckLink(o license.Order) error {
	if o.License == "" {
		return nil
	}
	return CheckKey("license", o.License)
}

// Instants come back in UTC, whatever they were given in. What the functions below
// return are copies of the caller's records, which may share its slices and maps where
// these hold no instant.

// UTCLicense returns a licence with its instants in UTC.
func UTCLicense(l license.License) license.License {
	l.IssuedAt, l.ActivatedAt, l.ExpiresAt = l.IssuedAt.UTC(), l.ActivatedAt.UTC(), l.ExpiresAt.UTC()
	l.ReleasedAt, l.RevokedAt, l.ForkedAt = l.ReleasedAt.UTC(), l.RevokedAt.UTC(), l.ForkedAt.UTC()
	l.SoldUntil, l.BackAt = l.SoldUntil.UTC(), l.BackAt.UTC()
	if slices.ContainsFunc(l.Transfers, func(t time.Time) bool { return t.Location() != time.UTC }) {
		l.Transfers = slices.Clone(l.Transfers)
		for i, t := range l.Transfers {
			l.Transfers[i] = t.UTC()
		}
	}
	return l
}

// UTCInstall returns an install with its instants in UTC.
func UTCInstall(i license.Install) license.Install {
	i.BoundAt, i.SeenAt, i.EndedAt, i.LeaseUntil = i.BoundAt.UTC(), i.SeenAt.UTC(), i.EndedAt.UTC(), i.LeaseUntil.UTC()
	i.DatedAt, i.Handed.At = i.DatedAt.UTC(), i.Handed.At.UTC()
	i.Chain.RequestAt, i.Drifted.At = i.Chain.RequestAt.UTC(), i.Drifted.At.UTC()
	i.Unproven, i.Forks = maps.Clone(i.Unproven), maps.Clone(i.Forks)
	i.Grants = slices.Clone(i.Grants)
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

// UTCPending returns what is pending with its instants in UTC.
func UTCPending(p license.Pending) license.Pending {
	p.ExpiresAt, p.ReleasedAt = p.ExpiresAt.UTC(), p.ReleasedAt.UTC()
	p.FirstAt, p.LastAt = p.FirstAt.UTC(), p.LastAt.UTC()
	return p
}

// UTCJob returns a job with its instants in UTC.
func UTCJob(j license.Job) license.Job {
	j.CreatedAt, j.DueAt, j.FailedAt, j.ParkedAt = j.CreatedAt.UTC(), j.DueAt.UTC(), j.FailedAt.UTC(), j.ParkedAt.UTC()
	return j
}

// UTCOrder returns a line of an order with its instants in UTC.
func UTCOrder(o license.Order) license.Order {
	o.OrderedAt, o.ExpiresAt = o.OrderedAt.UTC(), o.ExpiresAt.UTC()
	o.SeenAt, o.ReadAt, o.StageAt = o.SeenAt.UTC(), o.ReadAt.UTC(), o.StageAt.UTC()
	o.History = slices.Clone(o.History)
	for i := range o.History {
		o.History[i].At = o.History[i].At.UTC()
	}
	return o
}
