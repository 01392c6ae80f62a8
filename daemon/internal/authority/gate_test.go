package authority_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// Whoever guesses codes, each another one, makes us ask the marketplace so often
// and no more, and nobody who is known notices.
func TestGuessingHasABudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.again(func(o *authority.Options) { o.UnknownCodes = 6 })
	known, _ := w.sell("PL001")
	i := w.install("known")
	w.must(i.activate(known), "")
	asked := len(w.up.calls)
	n := 0
	guess := func() license.Reason {
		n++
		return license.ReasonOf(w.install("guesser").activate(code(t, fmt.Sprintf("PL9%05d", n))))
	}
	for range 6 {
		if r := guess(); r != license.UnknownCode {
			t.Fatalf("within the budget: %s", r)
		}
	}
	for range 20 {
		if r := guess(); r != license.MarketplaceUnavailable {
			t.Fatalf("beyond the budget: %s", r)
		}
	}
	if got := len(w.up.calls) - asked; got != 6 {
		t.Errorf("the marketplace was asked %d times", got)
	}
	w.must(i.refresh(), "")
	w.must(w.install("known").activate(known), "") // its code is known here
	bought, _ := w.sell("PL002")
	w.must(w.install("other").activate(bought), license.MarketplaceUnavailable) // has to wait with them

	w.pass(20 * time.Second) // a third of the budget has come back
	w.must(w.install("other").activate(bought), "")
	if a, b, c := guess(), guess(), guess(); a != license.UnknownCode || b != license.UnknownCode || c != license.MarketplaceUnavailable {
		t.Errorf("after a while: %s, %s, %s", a, b, c)
	}
	w.pass(time.Hour)
	for range 6 {
		if r := guess(); r != license.UnknownCode {
			t.Fatalf("an hour later: %s", r)
		}
	}
	if r := guess(); r != license.MarketplaceUnavailable {
		t.Errorf("an hour later it is more than the budget: %s", r)
	}
}

// Codes that fit no pattern are asked of nobody, and cost none of the budget.
func TestJunkCostsNoBudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.again(func(o *authority.Options) { o.UnknownCodes = 6 })
	for n := range 20 {
		w.must(w.install("guesser").activate(code(t, fmt.Sprintf("JUNK-%d", n))), license.UnknownCode)
	}
	if len(w.up.calls) != 0 {
		t.Fatalf("asked: %v", w.up.calls)
	}
	bought, _ := w.sell("PL002")
	w.must(w.install("customer").activate(bought), "")
}

// While one of two marketplaces does not answer, guesses cost of the budget for
// the other, and each is asked of that one once.
func TestBudgetWhileOneIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.two()
	w.again(func(o *authority.Options) { o.UnknownCodes = 6 })
	w.up.failAlways = license.Errorf(license.MarketplaceUnavailable, "down")
	again := code(t, "PL800000")
	for range 10 {
		w.must(w.install("guesser").activate(again), license.MarketplaceUnavailable)
	}
	if n := first.count("query"); n != 1 {
		t.Errorf("one code was asked about %d times", n)
	}
	for n := range 50 {
		_ = w.install("guesser").activate(code(t, fmt.Sprintf("PL9%05d", n)))
	}
	if n := first.count("query"); n != 6 {
		t.Errorf("the marketplace that answers was asked %d times; the budget is 6 a minute", n)
	}
	// What is known at the one that was down is found as soon as it is back.
	w.up.failAlways = nil
	w.pass(time.Minute)
	sold, _ := w.sell("PL800000")
	w.must(w.install("customer").activate(sold), "")
}
