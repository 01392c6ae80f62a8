package license_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// In whatever order messages arrive and orders are read, the end is that of the
// newest order which was not cancelled.
func TestTerms(t *testing.T) {
	at := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		var news []license.Term
		newest := 0
		for n := 1; n <= 8; n++ {
			order := fmt.Sprint("CS", n)
			news = append(news, license.Term{Order: order}, license.Term{Order: order, OrderedAt: at(n), ExpiresAt: at(40 - n)})
			if r.IntN(3) == 0 && n > 1 {
				news = append(news, license.Term{Order: order, Undone: true})
			} else {
				newest = n
			}
		}
		r.Shuffle(len(news), func(i, j int) { news[i], news[j] = news[j], news[i] })
		var ts license.Terms
		for _, n := range news {
			ts = ts.With(n)
		}
		if end, ok := ts.End(); !ok || !end.Equal(at(40-newest)) {
			t.Fatalf("seed %d: it ends %s, %v, want that of order %d: %+v", seed, end, ok, newest, ts)
		}
	}
	if _, ok := (license.Terms{{Order: "a", OrderedAt: at(1), ExpiresAt: at(2)}, {Order: "b"}}).End(); ok {
		t.Error("an order that was not read yet was passed over")
	}
	var many license.Terms
	for n := range 100 {
		many = many.With(license.Term{Order: fmt.Sprint(n), OrderedAt: at(n), ExpiresAt: at(n)})
	}
	if end, ok := many.End(); len(many) != 16 || !ok || !end.Equal(at(99)) {
		t.Errorf("%d are kept, the end is %s", len(many), end)
	}
}

// What follows from the orders about one purchase: of 2 until day 10.
func TestTermsEnd(t *testing.T) {
	at := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	bought := license.Term{Order: "CS1", OrderedAt: at(1), ExpiresAt: at(10), Amount: 2}
	for name, tt := range map[string]struct {
		terms  []license.Term
		end    int
		amount int
	}{
		"bought":                           {[]license.Term{bought}, 10, 2},
		"renewed":                          {[]license.Term{bought, {Order: "CS2", Told: at(20)}, {Order: "CS2", OrderedAt: at(2), ExpiresAt: at(21)}}, 21, 2},
		"changed":                          {[]license.Term{bought, {Order: "CS2", OrderedAt: at(2), ExpiresAt: at(20), Amount: 5}}, 20, 5},
		"order without an end":             {[]license.Term{bought, {Order: "CS2", Told: at(20)}, {Order: "CS2", OrderedAt: at(2)}}, 20, 2},
		"an estimate counts less":          {[]license.Term{{Order: "CS1", Told: at(12)}, {Order: "CS1", OrderedAt: at(1), ExpiresAt: at(10), Estimated: true}}, 12, 0},
		"an estimate is better than none":  {[]license.Term{{Order: "CS1", OrderedAt: at(1), ExpiresAt: at(10), Estimated: true}}, 10, 0},
		"renewal cancelled":                {[]license.Term{bought, {Order: "CS2", OrderedAt: at(2), ExpiresAt: at(20), Amount: 5}, {Order: "CS2", Told: at(10), Undone: true}}, 10, 2},
		"cancelled, with another end":      {[]license.Term{bought, {Order: "CS2", OrderedAt: at(2), ExpiresAt: at(20)}, {Order: "CS2", Told: at(9), Undone: true}}, 10, 2},
		"the renewal after its cancelling": {[]license.Term{bought, {Order: "CS2", Told: at(10), Undone: true}, {Order: "CS2", Told: at(20)}, {Order: "CS2", OrderedAt: at(2), ExpiresAt: at(20)}}, 10, 2},
		"cancelled by an order of its own": {[]license.Term{
			bought,
			{Order: "CS2", OrderedAt: at(2), ExpiresAt: at(20), Amount: 5},
			{Order: "CS3", Told: at(10), Undone: true},
			{Order: "CS3", OrderedAt: at(3), ExpiresAt: at(20), Amount: 7, Undoes: true},
		}, 10, 2},
		"renewed after that": {[]license.Term{
			bought,
			{Order: "CS2", OrderedAt: at(2), ExpiresAt: at(20), Amount: 5},
			{Order: "CS3", OrderedAt: at(3), Told: at(10), Undone: true, Undoes: true},
			{Order: "CS4", OrderedAt: at(4), ExpiresAt: at(25)},
		}, 25, 2},
		"not read yet": {[]license.Term{bought, {Order: "CS2", Told: at(20)}}, 0, 0},
	} {
		var ts license.Terms
		for _, term := range tt.terms {
			ts = ts.With(term)
		}
		end, ok := ts.End()
		if ok != (tt.end > 0) || ok && !end.Equal(at(tt.end)) || ts.Amount() != tt.amount {
			t.Errorf("%s: %s, %v for %d, want day %d for %d", name, end, ok, ts.Amount(), tt.end, tt.amount)
		}
	}
}

// A message about an order that was heard says nothing new, nor does one about
// what was cancelled since.
func TestTermsRepeats(t *testing.T) {
	at := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	renewed, cancelled := license.Term{Order: "CS2", Told: at(20)}, license.Term{Order: "CS2", Told: at(10), Undone: true}
	ts := license.Terms{}.With(license.Term{Order: "CS1", OrderedAt: at(1), ExpiresAt: at(10)})
	if ts.Repeats(renewed) || ts.Repeats(license.Term{Order: "CS1", Told: at(10)}) {
		t.Error("what was never heard is taken for a repetition")
	}
	ts = ts.With(renewed)
	if !ts.Repeats(renewed) || ts.Repeats(cancelled) || ts.Repeats(license.Term{Order: "CS2", Told: at(21)}) {
		t.Errorf("renewed: %+v", ts)
	}
	ts = ts.With(cancelled)
	if !ts.Repeats(renewed) || !ts.Repeats(cancelled) {
		t.Errorf("cancelled: %+v", ts)
	}
	// An order that waits to be read is not crowded out by those that were.
	for n := range 40 {
		ts = ts.With(license.Term{Order: fmt.Sprint("R", n), OrderedAt: at(n + 3), ExpiresAt: at(n + 40)})
	}
	if !ts.Repeats(cancelled) {
		t.Error("an order was forgotten before it was read")
	}
}

// What was told without an order counts from when it was told.
func TestTermsWithoutAnOrder(t *testing.T) {
	at := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	told := func(sent, end int) license.Term { return license.Term{OrderedAt: at(sent), ExpiresAt: at(end)} }
	ts := license.Terms{{Order: "CS1", OrderedAt: at(1), ExpiresAt: at(10)}}
	for _, step := range []struct {
		term license.Term
		end  int
	}{
		{told(3, 15), 15},
		{license.Term{Order: "CS2", OrderedAt: at(2), ExpiresAt: at(12)}, 15},
		{told(2, 11), 15}, // late
		{license.Term{Order: "CS3", OrderedAt: at(4), ExpiresAt: at(20)}, 20},
		{told(5, 25), 25},
	} {
		ts = ts.With(step.term)
		if end, ok := ts.End(); !ok || !end.Equal(at(step.end)) {
			t.Errorf("after %+v it ends %s, %v, want day %d", step.term, end, ok, step.end)
		}
	}
	if len(ts) != 4 {
		t.Errorf("kept %+v", ts)
	}
}
