package license

import (
	"slices"
	"time"
)

// Term is what one order did to the end of an instance that a marketplace sold:
// the purchase, a renewal, a change.
type Term struct {
	Order     string    `json:"order"`
	OrderedAt time.Time `json:"ordered_at,omitzero"` // zero until the order was read
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	Undone    bool      `json:"undone,omitzero"` // cancelled
}

// Terms are the orders about one instance. Neither when a message about an order
// arrives nor when it was signed tells which order was the last: a message that
// is repeated is signed anew. When they were made does.
type Terms []Term

// maxTerms is how many orders are kept: those that were made last.
const maxTerms = 32

// With returns ts with what is known of an order: an empty part of t changes
// nothing, and what was undone stays so.
func (ts Terms) With(t Term) Terms {
	out := slices.Clone(ts)
	i := slices.IndexFunc(out, func(o Term) bool { return o.Order == t.Order })
	if i < 0 {
		out = append(out, t)
		slices.SortStableFunc(out, func(a, b Term) int { return a.OrderedAt.Compare(b.OrderedAt) })
		return out[max(len(out)-maxTerms, 0):]
	}
	o := &out[i]
	o.Undone = o.Undone || t.Undone
	if !t.OrderedAt.IsZero() {
		o.OrderedAt = t.OrderedAt
	}
	if !t.ExpiresAt.IsZero() {
		o.ExpiresAt = t.ExpiresAt
	}
	return out
}

// End is the end that the newest order gives which was not cancelled, of two of
// one second the later end; ok is false where an order was not read yet, or none gives an end.
func (ts Terms) End() (end time.Time, ok bool) {
	var newest Term
	for _, t := range ts {
		switch {
		case t.Undone:
		case t.OrderedAt.IsZero():
			return time.Time{}, false
		case t.OrderedAt.After(newest.OrderedAt), t.OrderedAt.Equal(newest.OrderedAt) && t.ExpiresAt.After(newest.ExpiresAt):
			newest = t
		}
	}
	return newest.ExpiresAt, !newest.ExpiresAt.IsZero()
}
