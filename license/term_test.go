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
	if end, ok := many.End(); len(many) != 32 || !ok || !end.Equal(at(99)) {
		t.Errorf("%d are kept, the end is %s", len(many), end)
	}
}
