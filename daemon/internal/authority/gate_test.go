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
