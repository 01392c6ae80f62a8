package authority_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// The end that refreshLicense names counts. Its order is asked of nobody, also
// where the entry has an open API that knows it, or knows nothing of it.
func TestRenewalV1BesideAnOpenAPI(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]bool{"order known": true, "order not known": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inMarket(t, func(m *market) {
				h := m.handed(func(s *authority.Sale) { s.Order, s.ExpiresAt = "CS9", m.a.Now().Add(60*day) })
				end := m.a.Now().Add((60 + 365) * day) // renewed early, for a year
				if known {
					m.desk.sell("CS10 ", authority.OrderInfo{
						Type: "RENEW", Line: "CS10-1", Product: "OFFI1", Amount: 1, OrderedAt: m.a.Now(), ExpiresAt: m.a.Now().Add(365 * day),
					})
				}
				at, key := m.sent()
				if _, err := m.a.MessageV1(m.t.Context(), authority.Message{
					Channel: "koogallery", Instance: h.Instance, Event: license.EventSetExpiry, ExpiresAt: end, Order: "CS10", SentAt: at, ReplayKey: key,
				}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(day)
				synctest.Wait()
				if got := m.instance(h.Instance).ExpiresAt; !got.Equal(end) {
					t.Errorf("it ends %s, the marketplace said %s", got, end)
				}
				if n, jobs := m.desk.times(), m.jobs(); n != 0 || len(jobs) != 0 {
					t.Errorf("the open API was asked %d times, and there are the jobs %+v", n, jobs)
				}
			})
		})
	}
}

// An end that was only computed from the period of an order beats none that a
// message has stated, whichever comes first, and whatever is cancelled.
func TestComputedEndBeatsNoMessage(t *testing.T) {
	t.Parallel()
	renew := func(m *market, id, order string, end time.Time, edit ...func(*authority.Message)) {
		t.Helper()
		at, key := m.sent()
		msg := authority.Message{
			Channel: "koogallery", Instance: id, Event: license.EventSetExpiry, ExpiresAt: end, Order: order, Line: order + "-1", SentAt: at, ReplayKey: key,
		}
		for _, f := range edit {
			f(&msg)
		}
		if _, err := m.a.Message(m.t.Context(), msg); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
	}
	for _, orderFirst := range []bool{true, false} {
		t.Run(fmt.Sprint("purchase read first: ", orderFirst), func(t *testing.T) {
			t.Parallel()
			inMarket(t, func(m *market) {
				now := m.a.Now()
				computed := func(kind, order string, ordered time.Time) {
					m.desk.sell(order+" "+order+"-1", authority.OrderInfo{
						Type: kind, Line: order + "-1", Product: "OFFI1", Amount: 2, OrderedAt: ordered, ExpiresAt: ordered.Add(365 * day), Estimated: true,
					})
				}
				computed("NEW", "CS1", now)
				computed("RENEW", "CS2", now.Add(2*time.Hour))
				if !orderFirst {
					m.desk.set(errUnreachable)
				}
				id := m.buy("CS1")
				time.Sleep(time.Minute)
				synctest.Wait()
				want := func(when string, end time.Time) {
					t.Helper()
					if got := m.instance(id).ExpiresAt; !got.Equal(end) {
						t.Errorf("%s it ends %s, want %s", when, got, end)
					}
				}
				if orderFirst {
					want("bought", now.Add(365*day)) // better than none
				}
				trial := now.Add(400 * day)
				renew(m, id, "CS1", trial) // from trial to formal, say
				m.desk.set(nil)
				time.Sleep(2 * day)
				synctest.Wait()
				want("stated", trial)
				end := now.Add(765 * day)
				renew(m, id, "CS2", end)
				want("renewed", end)
				back := now.Add(390 * day)
				renew(m, id, "CS2", back, func(m *authority.Message) { m.Undone = true })
				want("the renewal cancelled", back)
			})
		})
	}
}
