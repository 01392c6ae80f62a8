package license

import (
	"cmp"
	"slices"
	"time"
)

// Term is what one order did to a licence that a marketplace sold: the purchase,
// a renewal, a change. Parts of it that are not known are zero.
type Term struct {
	Order     string    `json:"order"`               // "" of what was told without one, of which the newest is kept
	OrderedAt time.Time `json:"ordered_at,omitzero"` // zero until the order was read
	ExpiresAt time.Time `json:"expires_at,omitzero"` // the end that the order gives
	Estimated bool      `json:"estimated,omitzero"`  // that end was computed from the period that was bought
	Told      time.Time `json:"told,omitzero"`       // the end that a message about the order named
	Amount    int       `json:"amount,omitzero"`     // the quantity that the order gives
	Undone    bool      `json:"undone,omitzero"`     // a message about it was a cancellation
	Undoes    bool      `json:"undoes,omitzero"`     // the order itself is a cancellation, of the one before it
}

// Terms are the orders about one licence. Neither when a message about an order
// arrives nor when it was signed tells which order was the last: a message that
// is repeated is signed anew. When they were made does.
type Terms []Term

// maxTerms is how many orders are kept: those that were made last.
const maxTerms = 16

// With returns ts with what is known of an order: an empty part of t changes
// nothing, what was undone stays so, and only another cancellation says anything
// about the end of that.
func (ts Terms) With(t Term) Terms {
	out := slices.Clone(ts)
	i := slices.IndexFunc(out, func(o Term) bool { return o.Order == t.Order })
	if i < 0 {
		if len(out) >= maxTerms { // what was not read yet may be newer than all others
			old := max(slices.IndexFunc(out, func(o Term) bool { return !o.OrderedAt.IsZero() }), 0)
			out = slices.Delete(out, old, old+1)
		}
		out = append(out, t)
	} else if o := &out[i]; t.Order != "" || t.OrderedAt.After(o.OrderedAt) {
		if !o.Undone || t.Undone {
			o.Told = orElse(t.Told, o.Told)
		}
		o.OrderedAt = orElse(t.OrderedAt, o.OrderedAt)
		if !t.ExpiresAt.IsZero() {
			o.ExpiresAt, o.Estimated = t.ExpiresAt, t.Estimated
		}
		o.Amount = cmp.Or(t.Amount, o.Amount)
		o.Undone, o.Undoes = o.Undone || t.Undone, o.Undoes || t.Undoes
	}
	slices.SortStableFunc(out, func(a, b Term) int {
		return cmp.Or(a.OrderedAt.Compare(b.OrderedAt), a.ExpiresAt.Compare(b.ExpiresAt))
	})
	return out
}

// Repeats reports whether t, as a message says it, says nothing new: it was said
// before, or is about what was cancelled since.
func (ts Terms) Repeats(t Term) bool {
	return slices.ContainsFunc(ts, func(o Term) bool {
		return o.Order == t.Order && (o.Undone && !t.Undone || o.Undone == t.Undone && !o.Told.IsZero() && o.Told.Equal(t.Told))
	})
}

// Read reports whether an order was read.
func (ts Terms) Read(order string) bool {
	return slices.ContainsFunc(ts, func(o Term) bool { return o.Order == order && !o.OrderedAt.IsZero() })
}

// End is the end that follows from the orders: that of the newest which was not
// cancelled, of two of one second the later end. Where that order gives none, the
// end counts that a message has named last, and one that was computed only where
// nobody has named any. ok is false where an order was not read yet, or none gives
// an end.
func (ts Terms) End() (end time.Time, ok bool) {
	standing, told, ok := ts.standing()
	if !ok {
		return time.Time{}, false
	}
	if len(standing) > 0 {
		t := standing[len(standing)-1]
		told = orElse(told, t.Told)
		if told.IsZero() || !t.Estimated {
			told = orElse(t.ExpiresAt, told)
		}
	}
	return told, !told.IsZero()
}

// Amount is the quantity of the order in force, zero where that is not known.
func (ts Terms) Amount() int {
	standing, _, ok := ts.standing()
	if !ok {
		return 0
	}
	for _, t := range slices.Backward(standing) {
		if t.Amount > 0 {
			return t.Amount
		}
	}
	return 0
}

// standing are the orders that were not cancelled, the newest last, and the end
// that a cancellation since the newest of them has named. ok is false where an
// order was not read yet.
func (ts Terms) standing() (out []Term, told time.Time, ok bool) {
	for _, t := range ts {
		switch {
		case t.OrderedAt.IsZero():
			return nil, time.Time{}, false
		case !t.Undone:
			out, told = append(out, t), time.Time{}
			continue
		case t.Undoes && len(out) > 1:
			out = out[:len(out)-1]
		}
		told = t.Told
	}
	return out, told, true
}

// orElse is a, or b where a says nothing.
func orElse(a, b time.Time) time.Time {
	if a.IsZero() {
		return b
	}
	return a
}
