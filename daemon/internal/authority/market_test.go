package authority_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

func asError(err error, target **license.Error) bool { return errors.As(err, target) }

func code(t *testing.T, s string) license.Code {
	t.Helper()
	c, err := license.ParseCode(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sell puts a code on the marketplace and returns its authoritative end.
func (w *world) sell(s string) (license.Code, time.Time) {
	end := w.clock().Add(100 * 24 * time.Hour)
	w.up.codes[s] = &sold{
		received: true, estimate: end.Add(24 * time.Hour),
		e: authority.Entitlement{ExpiresAt: end, Product: "OFFI1", Order: "CS1", Amount: 2},
	}
	return code(w.t, s), end
}

// say sends a message as the marketplace; n tells messages apart.
func (w *world) say(c license.Code, event license.Event, n byte, edit ...func(*authority.Message)) (authority.Outcome, error) {
	w.t.Helper()
	m := authority.Message{Channel: "koogallery", Event: event, Code: c, SentAt: w.clock(), ReplayKey: []byte{n}}
	for _, f := range edit {
		f(&m)
	}
	return w.a.Message(w.t.Context(), m)
}

// A bought code is queried, activated, and queried again for the end that
// counts; after that the marketplace is not asked for further machines.
func TestActivateBoughtCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.MachinesFromAmount = true })
	c, end := w.sell("PL001")
	i := w.install("machine-1")
	w.must(i.activate(c), "")
	if want := []string{"query", "activate", "query"}; !slices.Equal(w.up.calls, want) {
		t.Errorf("calls %v, want %v", w.up.calls, want)
	}
	if !i.held.Dates.ExpiresAt.Equal(end) || i.held.Channel != "koogallery" || i.held.Order != "CS1" || i.held.Machines != 2 {
		t.Errorf("licence %+v", i.held)
	}
	w.must(w.install("machine-2").activate(c), "")
	w.must(w.install("machine-3").activate(c), license.MachineLimit)
	if len(w.up.calls) != 3 {
		t.Errorf("calls %v", w.up.calls)
	}
}

// Wherever the marketplace fails on the way, trying again ends well, and the
// product that the activation named is not forgotten.
func TestMarketplaceFails(t *testing.T) {
	t.Parallel()
	down := license.Errorf(license.MarketplaceUnavailable, "down")
	for _, failing := range []string{"query", "activate", "second query"} {
		w := newWorld(t)
		c, end := w.sell("PL001")
		i := w.install("machine-1")
		w.up.failOn(failing, down)
		w.must(i.activate(c), license.MarketplaceUnavailable)
		w.must(i.activate(c), "")
		if !i.held.Dates.ExpiresAt.Equal(end) {
			t.Errorf("%s failing: the end is %v, want %v", failing, i.held.Dates.ExpiresAt, end)
		}
	}
}

// failOn makes one call fail: the first query, the activation, or the query after it.
func (u *upstream) failOn(call string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.failAt, u.failWith = map[string]int{"query": 1, "activate": 2, "second query": 3}[call], err
}

func TestMarketplaceRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	i := w.install("machine-1")
	w.must(i.activate(code(t, "PL404")), license.UnknownCode)
	calls := len(w.up.calls)
	w.must(i.activate(code(t, "not-of-the-pattern")), license.UnknownCode)
	if len(w.up.calls) != calls {
		t.Error("a code that does not fit the pattern was asked upstream")
	}
	c, _ := w.sell("PL002")
	w.up.codes["PL002"].received = false
	w.must(i.activate(c), license.NotReceived)
	w.up.codes["PL002"].received = true
	w.up.codes["PL002"].e.Product = "OFFI-unknown"
	w.must(i.activate(c), license.WrongProduct)
	w.up.codes["PL002"].active = false
	w.up.codes["PL002"].e.Product = "OFFI2"
	w.must(i.activate(c), license.WrongProduct)

	released, _ := w.sell("PL003")
	w.up.codes["PL003"].e.Released = true
	w.must(w.install("m").activate(released), license.Released)
	expired, _ := w.sell("PL004")
	w.up.codes["PL004"].e.Expired = true
	w.must(w.install("m").activate(expired), license.Expired)
}

func expiring(at time.Time) func(*authority.Message) {
	return func(m *authority.Message) { m.ExpiresAt, m.Order = at, "CS2" }
}

func TestMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, end := w.sell("PL001")
	i := w.install("machine-1")
	w.must(i.activate(c), "")
	later := end.Add(365 * 24 * time.Hour)
	out, err := w.say(c, license.EventSetExpiry, 1, expiring(later))
	w.must(err, "")
	if !out.Changed {
		t.Error("a renewal changed nothing")
	}
	w.must(i.refresh(), "")
	if !i.held.Dates.ExpiresAt.Equal(later) {
		t.Error("the renewal did not arrive")
	}
	_, err = w.say(c, license.EventSetExpiry, 1, expiring(later))
	w.must(err, license.Replayed)
	out, err = w.say(c, license.EventSetExpiry, 2, expiring(later)) // repeated by the marketplace
	if err != nil || out.Changed {
		t.Errorf("repeated: %+v, %v", out, err)
	}
	_, err = w.say(c, license.EventSetExpiry, 3, expiring(end)) // the renewal is cancelled
	w.must(err, "")
	if l, _ := w.license(c.Reveal()); !l.ExpiresAt.Equal(end) {
		t.Error("the end did not go back")
	}
	// A merchant's hold is not the marketplace's to lift.
	w.must(w.edit(i.held.LicenseID, license.EventSuspend), "")
	_, err = w.say(c, license.EventFreeze, 4)
	w.must(err, "")
	_, err = w.say(c, license.EventUnfreeze, 5)
	w.must(err, "")
	w.must(i.refresh(), license.Suspended)
	w.must(w.edit(i.held.LicenseID, license.EventResume), "")
	w.must(i.refresh(), "")
	_, err = w.say(c, license.EventRelease, 6)
	w.must(err, "")
	w.must(i.refresh(), license.Released)
	out, err = w.say(c, license.EventSetExpiry, 7, expiring(later)) // late
	if err != nil || !out.Late || out.Changed {
		t.Errorf("late: %+v, %v", out, err)
	}
	out, err = w.say(c, license.EventRelease, 8)
	if err != nil || out.Changed || out.Late {
		t.Errorf("released again: %+v, %v", out, err)
	}
}

// What the marketplace says about a code that nobody has presented is kept and
// applied when somebody does.
func TestUnknownCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	frozen, _ := w.sell("PL001")
	_, err := w.say(frozen, license.EventFreeze, 1)
	w.must(err, "")
	w.must(w.install("m").activate(frozen), license.Suspended)
	_, err = w.say(frozen, license.EventUnfreeze, 2)
	w.must(err, "")
	w.must(w.install("m").activate(frozen), "")

	released, _ := w.sell("PL002")
	_, err = w.say(released, license.EventRelease, 3)
	w.must(err, "")
	w.must(w.install("m").activate(released), license.Released)

	renewed, end := w.sell("PL003")
	w.up.codes["PL003"].e.ExpiresAt = time.Time{} // neither query nor activation tells
	w.up.codes["PL003"].estimate = time.Time{}
	_, err = w.say(renewed, license.EventSetExpiry, 4, expiring(end))
	w.must(err, "")
	i := w.install("m")
	w.must(i.activate(renewed), "")
	if !i.held.Dates.ExpiresAt.Equal(end) {
		t.Errorf("the end is %v", i.held.Dates.ExpiresAt)
	}
	if n := w.events(license.ActionUnknownCode); n != 3 {
		t.Errorf("%d events about unknown codes", n)
	}
}

// A message touches only licences of the entry that authenticated it.
func TestMessageOfAnotherEntry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, _ := w.sell("PL001")
	i := w.install("machine-1")
	w.must(i.activate(c), "")
	manual := w.issue()
	other := func(m *authority.Message) { m.Channel = "elsewhere" }
	out, err := w.say(c, license.EventRelease, 1, other)
	w.must(err, "")
	if out.License != "" {
		t.Error("another entry's message found the licence")
	}
	_, err = w.say(manual.Code, license.EventRelease, 2)
	w.must(err, "")
	w.must(i.refresh(), "")
	if got := w.state(manual.License.ID); got != license.StateIssued {
		t.Errorf("a marketplace made a manual licence %s", got)
	}
}

// What only an activation tells is not lost when the caller hangs up.
func TestCallerHangsUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.MachinesFromAmount = true })
	c, _ := w.sell("PL001")
	i := w.install("machine-1")
	raw := i.request(token.OpActivate, withCode(c))
	ctx, hangUp := context.WithCancel(t.Context())
	w.up.during = func(call string) {
		if call == "activate" {
			hangUp()
		}
	}
	_, err := w.a.Request(ctx, raw, license.Code{}, authority.Caller{})
	if err == nil || w.up.count("activate") != 1 {
		t.Fatalf("%d activations, %v", w.up.count("activate"), err)
	}
	// Another process knows too: it is in the store.
	w.up.during = nil
	w.again()
	_, err = i.send(raw)
	w.must(err, "")
	if i.held.Machines != 2 || i.held.Order != "CS1" || w.up.count("activate") != 1 {
		t.Errorf("what the activation told is lost: %d machines, order %q", i.held.Machines, i.held.Order)
	}
}

// Of several machines that bring a new code at once, one activates it and all
// have what that told.
func TestActivatedAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.MachinesFromAmount = true })
	c, _ := w.sell("PL001")
	w.up.codes["PL001"].e.Amount = 10
	const n = 6
	results := make(chan license.Reason, n)
	var sent sync.WaitGroup
	sent.Add(n)
	w.up.during = func(string) { sent.Wait() } // nobody is answered before all have come
	for k := range n {
		i := w.install(fmt.Sprint("machine-", k))
		raw := i.request(token.OpActivate, withCode(c))
		go func() {
			sent.Done()
			_, err := w.a.Request(t.Context(), raw, license.Code{}, authority.Caller{})
			results <- license.ReasonOf(err)
		}()
	}
	for range n {
		if r := <-results; r != "" {
			t.Errorf("a machine was refused: %s", r)
		}
	}
	if l, _ := w.license(c.Reveal()); l.Machines != 10 || l.Order != "CS1" {
		t.Errorf("%d machines, order %q", l.Machines, l.Order)
	}
	if w.up.count("activate") != 1 {
		t.Errorf("calls %v", w.up.calls)
	}
}

// What can be refused without the marketplace does not begin a code's term.
func TestRefusedBeforeTheMarketplace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, _ := w.sell("PL001")
	i := w.install("machine-1")
	_, err := i.send(i.request(token.OpActivate, withCode(c), func(r *token.Request) { r.Fingerprint.Components = nil }))
	w.must(err, license.MachineWeak)
	if len(w.up.calls) != 0 {
		t.Errorf("calls %v for a machine that cannot be bound", w.up.calls)
	}
	for range 3 {
		w.must(i.activate(code(t, "PL404")), license.UnknownCode)
	}
	if want := []string{"query"}; !slices.Equal(w.up.calls, want) {
		t.Errorf("calls %v for a code that is guessed again and again", w.up.calls)
	}
	w.pass(2 * time.Minute)
	w.must(i.activate(code(t, "PL404")), license.UnknownCode)
	if len(w.up.calls) != 2 {
		t.Errorf("calls %v after a while", w.up.calls)
	}
}

// A code that was activated elsewhere is not taken as sold without end because
// the marketplace names no end.
func TestNoExpiryIsNotPerpetual(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, _ := w.sell("PL001")
	w.up.codes["PL001"].active = true
	w.up.codes["PL001"].e.ExpiresAt = time.Time{}
	w.up.codes["PL001"].e.Product = "OFFI1"
	w.up.tellsProduct = true
	i := w.install("machine-1")
	w.must(i.activate(c), license.MarketplaceUnavailable)
	end := w.clock().Add(time.Hour)
	_, err := w.say(c, license.EventSetExpiry, 1, expiring(end))
	w.must(err, "")
	w.must(i.activate(c), "")
	if !i.held.Dates.ExpiresAt.Equal(end) {
		t.Errorf("the end is %v", i.held.Dates.ExpiresAt)
	}
}

// A message that was overtaken by a newer one changes nothing.
func TestMessagesOutOfOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, end := w.sell("PL001")
	i := w.install("machine-1")
	w.must(i.activate(c), "")
	at := w.clock()
	sent := func(offset time.Duration, edit ...func(*authority.Message)) func(*authority.Message) {
		return func(m *authority.Message) {
			m.SentAt = at.Add(offset)
			for _, f := range edit {
				f(m)
			}
		}
	}
	_, err := w.say(c, license.EventUnfreeze, 1, sent(20*time.Second))
	w.must(err, "")
	out, err := w.say(c, license.EventFreeze, 2, sent(0))
	if err != nil || !out.Late || out.Changed {
		t.Errorf("a freeze that was overtaken: %+v, %v", out, err)
	}
	w.must(i.refresh(), "")
	_, err = w.say(c, license.EventSetExpiry, 3, sent(30*time.Second, expiring(end)))
	w.must(err, "")
	out, err = w.say(c, license.EventSetExpiry, 4, sent(10*time.Second, expiring(end.Add(time.Hour))))
	if err != nil || !out.Late {
		t.Errorf("a renewal that was overtaken: %+v, %v", out, err)
	}
	if l, _ := w.license(c.Reveal()); !l.ExpiresAt.Equal(end) || l.Holds != 0 {
		t.Errorf("the licence ends %v, holds %v", l.ExpiresAt, l.Holds.Names())
	}
	// The same holds before anybody has presented the code.
	unknown, _ := w.sell("PL002")
	for n, m := range []struct {
		event  license.Event
		offset time.Duration
	}{{license.EventUnfreeze, 20 * time.Second}, {license.EventFreeze, 0}} {
		_, err := w.say(unknown, m.event, byte(10+n), sent(m.offset))
		w.must(err, "")
	}
	w.must(w.install("machine-2").activate(unknown), "")
}

// One marketplace that is down does not keep the codes of another from being
// activated.
func TestOneOfTwoMarketplacesIsDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	down := &upstream{codes: map[string]*sold{}, failAlways: license.Errorf(license.MarketplaceUnavailable, "down")}
	a, err := authority.New(authority.Options{
		Store: w.store, Custody: custody{Ring: w.ring}, Codes: w.ring.CodeKey(), Now: w.clock,
		Products: []license.Product{{
			ID: "cad", MarketplaceProducts: []string{"OFFI1"}, Mode: license.ModeNode, Binding: license.PolicyFuzzy,
			Schedule: license.Schedule{Enforcement: license.EnforceBlock, Lease: time.Hour},
		}},
		Channels: []authority.Channel{{Name: "first", Upstream: down}, {Name: "second", Upstream: w.up}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.a = a
	c, _ := w.sell("PL001")
	w.must(w.install("m").activate(c), "")
	if l, _ := w.license(c.Reveal()); l.Channel != "second" {
		t.Errorf("channel %s", l.Channel)
	}
	w.must(w.install("m").activate(code(t, "PL404")), license.MarketplaceUnavailable)
}

// A code of a product that the merchant forgot to configure can be activated
// once that is mended, though the marketplace told only once what it was sold as.
func TestForgottenProduct(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.MarketplaceProducts = []string{"OFFI3"} })
	c, end := w.sell("PL001")
	w.must(w.install("m").activate(c), license.WrongProduct)
	w.again(func(o *authority.Options) {
		o.Products[0].MarketplaceProducts, o.Products[0].MachinesFromAmount = []string{"OFFI1"}, true
	})
	i := w.install("m")
	w.must(i.activate(c), "")
	if i.held.Order != "CS1" || i.held.Machines != 2 || !i.held.Dates.ExpiresAt.Equal(end) {
		t.Errorf("%+v", i.held)
	}
}

// two makes an authority with two entries, of which the second sells.
func (w *world) two() (first *upstream) {
	w.t.Helper()
	first = &upstream{codes: map[string]*sold{}}
	w.again(func(o *authority.Options) {
		o.Channels = []authority.Channel{{Name: "first", Upstream: first}, {Name: "second", Upstream: w.up}}
	})
	return first
}

// With two entries, what the second told stays the second's, whatever fails
// after the activation.
func TestTwoEntries(t *testing.T) {
	t.Parallel()
	w, f := faultWorld(t)
	w.two()
	c, end := w.sell("PL001")
	w.up.codes["PL001"].e.ExpiresAt = time.Time{} // the query names no end
	i := w.install("m")
	f.FailCall(faultstore.Method("PutPending"))
	w.must(i.activate(c), license.ReadOnly)
	f.Reset()
	w.up.failOn("second query", license.Errorf(license.MarketplaceUnavailable, "down"))
	w.up.failAt = len(w.up.calls) + 1
	w.must(i.activate(c), license.MarketplaceUnavailable)
	w.must(i.activate(c), "")
	if estimate := end.Add(24 * time.Hour); i.held.Channel != "second" || i.held.Order != "CS1" || !i.held.Dates.ExpiresAt.Equal(estimate) {
		t.Errorf("%+v", i.held)
	}
	if w.up.count("activate") != 1 {
		t.Errorf("calls %v", w.up.calls)
	}
	_, err := w.say(c, license.EventRelease, 1, func(m *authority.Message) { m.Channel = "second" })
	w.must(err, "")
	w.must(i.refresh(), license.Released)
}

// What the marketplace ended while nobody could ask is seen at the next attempt.
func TestEndedMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, _ := w.sell("PL001")
	w.up.failOn("second query", license.Errorf(license.MarketplaceUnavailable, "down"))
	i := w.install("m")
	w.must(i.activate(c), license.MarketplaceUnavailable)
	w.up.codes["PL001"].e.Released = true
	w.must(i.activate(c), license.Released)
}

// A renewal that comes in while the query is under way is newer than its answer,
// whatever the clocks say.
func TestRenewedDuringTheQuery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, end := w.sell("PL001")
	later := end.Add(365 * 24 * time.Hour)
	w.up.codes["PL001"].active, w.up.tellsProduct = true, true
	w.up.during = func(string) {
		w.up.during = nil
		_, err := w.say(c, license.EventSetExpiry, 1, expiring(later), func(m *authority.Message) { m.SentAt = w.clock().Add(-50 * time.Second) })
		w.must(err, "")
	}
	i := w.install("m")
	w.must(i.activate(c), "")
	if !i.held.Dates.ExpiresAt.Equal(later) {
		t.Errorf("the end is %v, want that of the renewal", i.held.Dates.ExpiresAt)
	}
}

// A caller that hangs up does not keep its place before the marketplace.
func TestHangUpWhileWaiting(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c, _ := w.sell("PL001")
	begun, go1 := make(chan struct{}), make(chan struct{})
	w.up.during = func(string) {
		w.up.during = nil
		close(begun)
		<-go1
	}
	first := w.install("machine-1").request(token.OpActivate, withCode(c))
	done := make(chan error, 1)
	go func() {
		_, err := w.a.Request(t.Context(), first, license.Code{}, authority.Caller{})
		done <- err
	}()
	<-begun
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	_, err := w.a.Request(ctx, w.install("machine-2").request(token.OpActivate, withCode(c)), license.Code{}, authority.Caller{})
	if err == nil {
		t.Error("a caller that has gone was served")
	}
	close(go1)
	w.must(<-done, "")
}
