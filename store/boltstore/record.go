package boltstore

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

func encode(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, license.Errorf(license.Internal, "a record cannot be written").WithCause(err)
	}
	return raw, nil
}

func decode(id bucketID, key, raw []byte, v any) error {
	if err := json.Unmarshal(raw, v); err != nil {
		return unreadable(id, key).WithCause(err)
	}
	return nil
}

func unreadable(id bucketID, key []byte) *license.Error {
	return license.Errorf(license.Internal, "the record %q in %s cannot be read", key, layout[id].name)
}

// answerMark separates the JSON of an install, which holds no line break, from
// the answer behind it. The answer must come back byte for byte, because
// signing it again has to give the same signature, and JSON inside JSON is
// compacted and escaped.
var answerMark = []byte{'\n'}

func encodeInstall(i license.Install) ([]byte, error) {
	answer := i.Answer
	i.Answer = nil
	raw, err := encode(utcInstall(i))
	if err != nil || len(answer) == 0 {
		return raw, err
	}
	raw = append(raw, answerMark...)
	return append(raw, answer...), nil
}

func decodeInstall(key, raw []byte) (license.Install, error) {
	var i license.Install
	record, answer, has := bytes.Cut(raw, answerMark)
	if err := decode(bucketInstalls, key, record, &i); err != nil {
		return license.Install{}, err
	}
	if has {
		i.Answer = bytes.Clone(answer)
	}
	return i, nil
}

// Instants come back in UTC, whatever they were given in. The records are
// copies of the caller's, but share its slices.

func utcLicense(l license.License) license.License {
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

func utcInstall(i license.Install) license.Install {
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
