package authority_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// refresh says a new end of an instance.
func (m *market) refresh(id, order string, end time.Time, undone bool) {
	m.t.Helper()
	at, key := m.sent()
	_, err := m.a.Message(m.t.Context(), authority.Message{
		Channel: "koogallery", Instance: id, Event: license.EventSetExpiry, ExpiresAt: end, Order: order, Line: order + "-1", Undone: undone,
		SentAt: at, ReplayKey: key,
	})
	m.must(err, "")
	time.Sleep(time.Minute)
	synctest.Wait()
}

// The order that a cancellation names is the renewal which it takes back, or one
// of its own.
func TestCancellationNamesItsOwnOrder(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		first := m.instance(id).ExpiresAt
		renewed := first.Add(365 * day)
		time.Sleep(time.Hour)
		m.desk.sell("CS2 CS2-1", authority.OrderInfo{Type: "RENEW", Product: "OFFI1", Amount: 2, OrderedAt: m.a.Now(), ExpiresAt: renewed})
		m.refresh(id, "CS2", renewed, false)
		time.Sleep(time.Hour)
		m.desk.sell("CS3 CS3-1", authority.OrderInfo{Type: "UNSUBSCRIBE", Product: "OFFI1", Amount: 2, OrderedAt: m.a.Now(), ExpiresAt: renewed})
		m.refresh(id, "CS3", first, true)
		if got := m.instance(id).ExpiresAt; !got.Equal(first) {
			t.Errorf("cancelled and refunded, it ends %s, want %s", got, first)
		}
		m.refresh(id, "CS2", renewed, false) // the renewal once more, signed anew
		if got := m.instance(id).ExpiresAt; !got.Equal(first) {
			t.Errorf("after the renewal was repeated it ends %s, want %s", got, first)
		}
	})
}

// Where an order names no end, that of the message counts; one that only follows
// from the period that was bought never does.
func TestRenewalWithoutAnEndOfItsOwn(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		bought := m.desk.order("CS1 CS1-1")
		bought.Estimated = true
		m.desk.sell("CS1 CS1-1", bought)
		id := m.buy("CS1")
		synctest.Wait()
		if got := m.instance(id).ExpiresAt; !got.Equal(bought.ExpiresAt) {
			t.Fatalf("it ends %s, want %s", got, bought.ExpiresAt)
		}
		time.Sleep(time.Hour)
		renewed := bought.ExpiresAt.Add(365 * day)
		m.desk.sell("CS2 CS2-1", authority.OrderInfo{Type: "RENEW", Product: "OFFI1", OrderedAt: m.a.Now()})
		m.refresh(id, "CS2", renewed, false)
		if got := m.instance(id).ExpiresAt; !got.Equal(renewed) {
			t.Errorf("it ends %s, want %s", got, renewed)
		}
		m.refresh(id, "CS2", bought.ExpiresAt.Add(-day), true)
		if got := m.instance(id).ExpiresAt; !got.Equal(bought.ExpiresAt.Add(-day)) {
			t.Errorf("cancelled, it ends %s, want %s", got, bought.ExpiresAt.Add(-day))
		}
	})
}

// The quota is that of the order in force.
func TestQuantityOfTheOrderInForce(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		end := m.instance(id).ExpiresAt.Add(365 * day)
		time.Sleep(time.Hour)
		m.desk.sell("CS2 CS2-1", authority.OrderInfo{Type: "CHANGE", Product: "OFFI1", Amount: 5, OrderedAt: m.a.Now(), ExpiresAt: end})
		m.refresh(id, "CS2", end, false)
		for n, hw := range []string{"HW-1", "HW-2", "HW-3"} {
			if err := m.apply(id, hw, hw); err != nil {
				t.Errorf("device %d of 5 that were bought: %v", n+1, err)
			}
		}
		m.refresh(id, "CS2", end.Add(-365*day), true)
		m.must(m.apply(id, "HW-4", "HW-4"), license.MachineLimit)
	})
}

// What an order's product is called is not verified: where a single product is
// sold it can only be that, as for codes.
func TestOrderNamesNoProduct(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.stop()
		m.again(func(o *authority.Options) { o.Products = o.Products[:1] })
		m.run()
		info := m.desk.order("CS1 CS1-1")
		info.Product = ""
		m.desk.sell("CS1 CS1-1", info)
		id := m.buy("CS1")
		synctest.Wait()
		if jobs := m.jobs(); len(jobs) != 0 {
			t.Fatalf("left over: %+v", jobs)
		}
		if l := m.instance(id); l.Product != "cad" {
			t.Errorf("sold as %q", l.Product)
		}
	})
}

// What is paid by use has no end that anybody could wait for.
func TestOrderPaidByUse(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		info := m.desk.order("CS1 CS1-1")
		info.ExpiresAt, info.ByUse = time.Time{}, true
		m.desk.sell("CS1 CS1-1", info)
		_ = m.buy("CS1")
		synctest.Wait()
		if jobs := m.jobs(); len(jobs) != 1 || jobs[0].State() != license.JobParked || jobs[0].Attempts != 1 {
			t.Errorf("not given up at once: %+v", jobs)
		}
	})
}

// poisonedDesk has an order that is never answered so that it can be used.
type poisonedDesk struct {
	*desk
	cause error
}

func (d *poisonedDesk) Order(ctx context.Context, order, line string) (authority.OrderInfo, error) {
	if order == "BAD" {
		return authority.OrderInfo{}, license.Errorf(license.MarketplaceUnavailable, "the marketplace does not answer").WithCause(d.cause)
	}
	return d.desk.Order(ctx, order, line)
}

// One order that is answered by something that cannot be used, or by failures,
// holds up neither what others have paid for nor what was made already.
func TestOnePoisonedOrder(t *testing.T) {
	t.Parallel()
	for _, cause := range []error{authority.ErrUnbelievable, authority.ErrFailing} {
		t.Run(cause.Error(), func(t *testing.T) {
			t.Parallel()
			inMarket(t, func(m *market) {
				m.stop()
				bad := &poisonedDesk{desk: m.desk, cause: cause}
				m.again(func(o *authority.Options) { o.Channels[0].Desk = bad })
				m.run()
				_ = m.buy("BAD")
				time.Sleep(3 * time.Hour)
				synctest.Wait()
				id := m.buy("CS1")
				synctest.Wait()
				m.must(m.apply(id, "event-1", pc), "")
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if len(m.desk.files("event-1")) == 0 {
					t.Error("the marketplace answers, and the buyer of another order waits")
				}
				m.refresh(id, "BAD", m.instance(id).ExpiresAt.Add(365*day), false)
				m.must(m.apply(id, "event-2", pc), "")
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if len(m.desk.files("event-2")) == 0 {
					t.Error("a renewal that cannot be read holds up a licence that was made")
				}
			})
		})
	}
}

// The same renewal again, signed anew since its answer was lost or somebody has
// restarted it in the seller console, changes nothing: what the merchant has set
// since stays, and what was cancelled since does not come back.
func TestRepeatedRenewal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bought, _ := w.sell("PL002")
	w.must(w.install("buyer").activate(bought), "")
	l, _ := w.license(bought.Reveal())
	n := 0
	say := func(order string, end time.Time, undone bool) authority.Outcome {
		t.Helper()
		w.pass(3 * time.Minute)
		n++
		out, err := w.a.Message(t.Context(), authority.Message{
			Channel: "koogallery", Event: license.EventSetExpiry, Code: bought, ExpiresAt: end, Order: order, Undone: undone,
			SentAt: w.clock(), ReplayKey: fmt.Append(nil, "message ", n),
		})
		w.must(err, "")
		return out
	}
	ends := func(want time.Time) {
		t.Helper()
		if l, _ := w.license(l.ID); !l.ExpiresAt.Equal(want) {
			t.Errorf("it ends %s, want %s", l.ExpiresAt, want)
		}
	}
	first, renewed := l.ExpiresAt, w.clock().Add(400*day)
	if out := say("R1", renewed, false); !out.Changed {
		t.Error("the first time nothing was changed")
	}
	own := w.clock().Add(500 * day)
	_, _, err := w.a.Edit(t.Context(), admin, l.ID, authority.Edit{Event: license.EventRenew, ExpiresAt: own})
	w.must(err, "")
	if out := say("R1", renewed, false); out.Changed {
		t.Error("a repetition changed something")
	}
	ends(own)
	say("R1", first, true)
	ends(first)
	say("R1", renewed, false)
	ends(first)
	say("R2", renewed, false)
	ends(renewed)
}

// A renewal that names another product is applied and told: what the licence is of
// is not changed by a message.
func TestRenewalAsAnotherProduct(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bought, _ := w.sell("PL002")
	w.must(w.install("buyer").activate(bought), "")
	before, _ := w.license(bought.Reveal())
	for n, product := range []string{"OFFI1", "OFFI-OTHER"} {
		w.pass(3 * time.Minute)
		out, err := w.a.Message(t.Context(), authority.Message{
			Channel: "koogallery", Event: license.EventSetExpiry, Code: bought, ExpiresAt: w.clock().Add(400 * day), Order: fmt.Sprint("R", n), Product: product,
			SentAt: w.clock(), ReplayKey: fmt.Append(nil, "message ", n),
		})
		w.must(err, "")
		if want := map[int]string{1: product}[n]; out.Elsewhere != want || !out.Changed {
			t.Errorf("%s: %+v, want %q", product, out, want)
		}
	}
	if l, _ := w.license(before.ID); l.Product != before.Product || l.ExpiresAt.Equal(before.ExpiresAt) {
		t.Errorf("renewed as %+v", l)
	}
}

// The end that the merchant sets of what a marketplace sold stays, also where the
// licence was issued by hand and linked.
func TestOwnEndOfALinkedLicence(t *testing.T) {
	t.Parallel()
	for _, linked := range []bool{false, true} {
		t.Run(fmt.Sprint("linked ", linked), func(t *testing.T) {
			t.Parallel()
			inMarket(t, func(m *market) {
				if linked {
					is := m.issue()
					m.addOrder(authority.NewOrder{ID: "CS1", Line: "CS1-1", License: is.License.ID, Offline: true})
				}
				id := m.buy("CS1")
				synctest.Wait()
				l := m.instance(id)
				renewed := l.ExpiresAt.Add(365 * day)
				m.desk.sell("CS2 CS2-1", authority.OrderInfo{Type: "RENEW", Product: "OFFI1", Amount: 2, OrderedAt: m.a.Now(), ExpiresAt: renewed})
				m.desk.set(errUnreachable)
				m.refresh(id, "CS2", renewed, false)
				own := renewed.Add(60 * day)
				_, _, err := m.a.Edit(m.t.Context(), admin, l.ID, authority.Edit{Event: license.EventRenew, ExpiresAt: own})
				m.must(err, "")
				m.desk.set(nil)
				time.Sleep(day)
				synctest.Wait()
				if got := m.instance(id).ExpiresAt; !got.Equal(own) {
					t.Errorf("ends %s, want the merchant's own %s", got, own)
				}
			})
		})
	}
}

// A renewal that GET has told later than the POST one whose order is still unread.
func TestNewerMessageOfTheOtherGeneration(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		first := m.instance(id).ExpiresAt
		m.desk.sell("CS2 CS2-1", authority.OrderInfo{Type: "RENEW", Product: "OFFI1", Amount: 2, OrderedAt: m.a.Now(), ExpiresAt: first.Add(365 * day)})
		m.desk.set(errUnreachable)
		m.refresh(id, "CS2", first.Add(365*day), false)
		want := first.Add(2 * 365 * day)
		at, key := m.sent()
		_, err := m.a.MessageV1(m.t.Context(), authority.Message{
			Channel: "koogallery", Instance: id, Event: license.EventSetExpiry, ExpiresAt: want, Order: "CS3", SentAt: at, ReplayKey: key,
		})
		m.must(err, "")
		m.desk.set(nil)
		time.Sleep(day)
		synctest.Wait()
		if got := m.instance(id).ExpiresAt; !got.Equal(want) {
			t.Errorf("ends %s, want %s, which the marketplace said last", got, want)
		}
	})
}

// The purchase was read, but when it was placed could not be: renewals still count
// by when they were ordered.
func TestPurchaseWithoutADate(t *testing.T) {
	t.Parallel()
	for _, dated := range []bool{true, false} {
		t.Run(fmt.Sprint("dated ", dated), func(t *testing.T) {
			t.Parallel()
			inMarket(t, func(m *market) {
				bought := m.desk.order("CS1 CS1-1")
				if !dated {
					bought.OrderedAt = time.Time{}
				}
				m.desk.sell("CS1 CS1-1", bought)
				id := m.buy("CS1")
				synctest.Wait()
				first := m.instance(id).ExpiresAt
				one, two := first.Add(365*day), first.Add(2*365*day)
				time.Sleep(time.Hour)
				m.desk.sell("CS2 CS2-1", authority.OrderInfo{Type: "RENEW", Product: "OFFI1", Amount: 2, OrderedAt: m.a.Now(), ExpiresAt: one})
				time.Sleep(time.Hour)
				m.desk.sell("CS3 CS3-1", authority.OrderInfo{Type: "RENEW", Product: "OFFI1", Amount: 2, OrderedAt: m.a.Now(), ExpiresAt: two})
				m.refresh(id, "CS3", two, false)
				m.refresh(id, "CS2", one, false) // the older one, whose first attempt failed, signed anew
				if got := m.instance(id).ExpiresAt; !got.Equal(two) {
					t.Errorf("ends %s, want %s", got, two)
				}
			})
		})
	}
}
