package authority

import (
	"cmp"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Bounds of what is remembered of messages that failed.
const (
	failingKept = 64                  // at most
	failingFor  = 14 * 24 * time.Hour // since the last attempt
	mendedKept  = 256                 // between two writes
)

// Subject is what a message names. At most one of Instance and Code is set.
type Subject struct {
	Order    string // with its line, where that is named
	Instance string
	Code     license.Code
}

// Failing is a message that failed, and has not succeeded since.
type Failing struct {
	Activity string    `json:"activity"`
	Kind     string    `json:"kind"` // order, instance or code
	Name     string    `json:"name"` // of a code its last characters
	Digest   string    `json:"digest,omitzero"`
	Since    time.Time `json:"since"`
	Last     time.Time `json:"last"`
	Times    int       `json:"times"`
	Result   string    `json:"result"`
	Field    string    `json:"field,omitzero"`
}

// GivesUpAt is when the marketplace gives the message up; zero where that is not
// documented.
func (f Failing) GivesUpAt() time.Time {
	g := givesUp(f.Activity)
	if !g.sure {
		return time.Time{}
	}
	return f.Since.Add(g.after)
}

// Lost reports whether it was about an order that did not get its licence.
func (f Failing) Lost() bool { return purchase(f.Activity) }

// stale reports whether it is forgotten. A lost order counts in its month.
func (f Failing) stale(local time.Time) bool {
	counts := f.Lost() && sameMonth(f.Since.In(local.Location()), local)
	return local.Sub(f.Last) > failingFor && !counts
}

// failingKey tells messages apart: a later one of the same activity about the
// same thing takes its place.
type failingKey struct{ activity, kind, id string }

func (f Failing) key() failingKey { return failingKey{f.Activity, f.Kind, cmp.Or(f.Digest, f.Name)} }

// mended is a success of what failed before.
type mended struct {
	key failingKey
	at  time.Time
}

// maxSubject is the longest name that is kept of what a message is about.
const maxSubject = 130 // an order and its line

// failingKey is the key of what was heard, zero where it is of no interest. A
// code is kept as the beginning of its keyed digest.
func (a *Authority) failingKey(h Heard) failingKey {
	if h.Test || h.Doubt != "" {
		return failingKey{}
	}
	k := failingKey{activity: h.Activity}
	switch s := h.About; {
	case !s.Code.IsZero():
		k.kind, k.id = "code", hex.EncodeToString(a.codes.Index(s.Code)[:8])
	case s.Instance != "":
		k.kind, k.id = "instance", s.Instance
	case s.Order != "":
		k.kind, k.id = "order", s.Order
	default:
		return failingKey{}
	}
	if len(k.id) > maxSubject {
		k.id = strings.ToValidUTF8(k.id[:maxSubject], "")
	}
	return k
}

// follow notes that a message failed, or that it does not any more.
func (c *counter) follow(h Heard, key failingKey, now time.Time) {
	if key.kind == "" {
		return
	}
	r := c.fresh
	i := slices.IndexFunc(r.Failing, func(f Failing) bool { return f.key() == key })
	if !failed(h.Result) {
		if i >= 0 {
			r.Failing = slices.Delete(r.Failing, i, i+1)
		}
		if c.failing[key] && len(r.mended) < mendedKept {
			r.mended = append(r.mended, mended{key, now})
			delete(c.failing, key)
			c.tracks.Store(len(c.failing) > 0)
		}
		return
	}
	if i < 0 {
		if len(r.Failing) >= failingKept {
			return
		}
		f := Failing{Activity: key.activity, Kind: key.kind, Name: key.id, Since: now}
		if key.kind == "code" {
			f.Name, f.Digest = h.About.Code.String(), key.id
		}
		r.Failing = append(r.Failing, f)
		i = len(r.Failing) - 1
		c.failing[key] = true
		c.tracks.Store(true)
	}
	f := &r.Failing[i]
	f.Last, f.Times, f.Result, f.Field = now, f.Times+1, h.Result, h.Field
}

func (r *healthRecord) mergeFailing(later *healthRecord) {
	for _, m := range later.mended {
		r.Failing = slices.DeleteFunc(r.Failing, func(f Failing) bool { return f.key() == m.key && !f.Last.After(m.at) })
		r.mended = append(r.mended, m)
	}
	for _, f := range later.Failing {
		i := slices.IndexFunc(r.Failing, func(have Failing) bool { return have.key() == f.key() })
		if i < 0 {
			r.Failing = append(r.Failing, f)
			continue
		}
		have := &r.Failing[i]
		have.Last, have.Times, have.Result, have.Field = f.Last, have.Times+f.Times, f.Result, f.Field
	}
	r.sortFailing()
}

// sortFailing puts the oldest first.
func (r *healthRecord) sortFailing() {
	slices.SortStableFunc(r.Failing, func(a, b Failing) int { return a.Since.Compare(b.Since) })
}

// boundFailing keeps the oldest, and lost orders before all others.
func (r *healthRecord) boundFailing() {
	for i := len(r.Failing) - 1; i >= 0 && len(r.Failing) > failingKept; i-- {
		if !r.Failing[i].Lost() {
			r.Failing = slices.Delete(r.Failing, i, i+1)
		}
	}
	r.Failing = r.Failing[:min(len(r.Failing), failingKept)]
}

// learn takes over what fails from what is kept, which other daemons write too.
func (c *counter) learn(kept *healthRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.failing)
	for _, f := range kept.Failing {
		c.failing[f.key()] = true
	}
	if c.fresh != nil {
		for _, m := range c.fresh.mended {
			delete(c.failing, m.key)
		}
		for _, f := range c.fresh.Failing {
			c.failing[f.key()] = true
		}
	}
	c.tracks.Store(len(c.failing) > 0)
}
