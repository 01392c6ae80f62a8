package authority_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// notify is an order notification; what follows from it has been done at the end.
func (m *market) notify(order, line string) {
	m.t.Helper()
	at, key := m.sent()
	m.must(m.a.Notice(m.t.Context(), authority.Notice{Channel: "koogallery", Order: order, Line: line, SentAt: at, ReplayKey: key}), "")
	synctest.Wait()
}

// ledger is all lines of orders there are.
func (w *world) ledger() []license.Order {
	w.t.Helper()
	all, _, err := w.a.Orders(w.t.Context(), authority.OrderFilter{}, authority.Page{Limit: 1000})
	w.must(err, "")
	return all
}

// What the staff entered stays where the marketplace says nothing of it, and what
// it says otherwise is in the audit log.
func TestNoticeKeepsWhatTheStaffEntered(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.addOrder(authority.NewOrder{ID: "CS7", Line: "CS7-1", Product: "OFFI1", Amount: 3, Customer: "ACME", OrderedAt: m.a.Now().Add(-day)})
		m.desk.sell("CS7 CS7-1", authority.OrderInfo{Type: "NEW"}) // the table of the line is cut, the buyer is optional
		m.notify("CS7", "CS7-1")
		o := m.order("CS7")
		if o.ReadAt.IsZero() || o.Customer != "ACME" || o.Amount != 3 || o.Product != "OFFI1" || o.OrderedAt.IsZero() {
			t.Errorf("lost what was entered: %+v", o)
		}
		if n := m.events(license.ActionOrderEdit); n != 0 {
			t.Errorf("%d differences", n)
		}
		m.desk.sell("CS7 CS7-1", authority.OrderInfo{Type: "NEW", Amount: 5, Customer: "Example Ltd"})
		m.notify("CS7", "CS7-1")
		if o = m.order("CS7"); o.Amount != 5 || o.Customer != "Example Ltd" || m.events(license.ActionOrderEdit) != 1 {
			t.Errorf("%+v, %d differences", o, m.events(license.ActionOrderEdit))
		}
	})
}

// An order that the staff entered without its line is the one that the
// marketplace speaks of, whichever interface does so.
func TestStaffOrderIsThatOfTheMarketplace(t *testing.T) {
	t.Parallel()
	for name, tell := range map[string]func(m *market){
		"newInstance":        func(m *market) { m.buy("CS1") },
		"notice of the line": func(m *market) { m.notify("CS1", "CS1-1") },
		"notice without one": func(m *market) {
			m.desk.sell("CS1 ", authority.OrderInfo{Line: "CS1-1", Type: "NEW"})
			m.notify("CS1", "")
		},
		"both": func(m *market) { m.notify("CS1", "CS1-1"); m.buy("CS1") },
		"a line without names": func(m *market) {
			m.desk.sell("CS1 ", authority.OrderInfo{Type: "NEW"})
			m.notify("CS1", "")
			m.buy("CS1")
		},
	} {
		t.Run(name, func(t *testing.T) {
			inMarket(t, func(m *market) {
				m.addOrder(authority.NewOrder{ID: "CS1", Stage: license.StageDelivered, Customer: "ACME"})
				tell(m)
				synctest.Wait()
				all := m.ledger()
				if len(all) != 1 || all[0].Line != "CS1-1" || all[0].Stage != license.StageDelivered {
					t.Errorf("the ledger holds %+v", all)
				}
				if _, added, err := m.a.AddOrder(m.t.Context(), admin, authority.NewOrder{ID: "CS1"}); err != nil || added {
					t.Errorf("entered again: %v, %v", added, err)
				}
				if n := len(m.ledger()); n != 1 {
					t.Errorf("%d orders", n)
				}
			})
		})
	}
}

// What was entered before the notice is moved on by the activation of its code.
func TestStaffOrderHeardThenActivated(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.addOrder(authority.NewOrder{ID: "CS1", Stage: license.StageDelivered})
		m.notify("CS1", "CS1-1")
		c, _ := m.sell("PL1")
		m.up.codes[c.Reveal()].e.Order = "CS1"
		m.must(m.install("machine").activate(c), "")
		if o := m.order("CS1"); o.Stage != license.StageActivated {
			t.Errorf("%+v", o)
		}
	})
}

// Of several lines the one without a name is the first that is named.
func TestUnnamedLineIsTheFirstNamed(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.addOrder(authority.NewOrder{ID: "CS9", Customer: "ACME"})
		for _, line := range []string{"CS9-2", "CS9-1"} {
			m.desk.sell("CS9 "+line, authority.OrderInfo{Type: "NEW", Product: "OFFI1"})
			m.notify("CS9", line)
		}
		all := m.ledger()
		if len(all) != 2 || all[0].Line != "CS9-1" || all[0].Customer != "" || all[1].Line != "CS9-2" || all[1].Customer != "ACME" {
			t.Errorf("the ledger holds %+v", all)
		}
	})
}

// A notice of an order with several lines that names none records each.
func TestNoticeOfSeveralLines(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.desk.sell("CS9 ", authority.OrderInfo{Lines: []authority.OrderInfo{
			{Line: "CS9-1", Type: "NEW", Product: "OFFI1", Amount: 2}, {Line: "CS9-2", Type: "NEW", Product: "OFFI2"},
		}})
		for range 2 {
			m.notify("CS9", "")
			all := m.ledger()
			if len(all) != 2 || all[0].Amount != 2 || all[1].Product != "OFFI2" || len(m.jobs()) != 0 {
				t.Errorf("the ledger holds %+v, left over %v", all, m.jobs())
			}
		}
	})
}

// An order that needs no delivery says the same in its stage and its history,
// whether its line was named or not.
func TestRenewalOrderHistory(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		renewal := authority.OrderInfo{Line: "CS8-1", Type: "RENEW", Product: "OFFI1"}
		m.desk.sell("CS8 CS8-1", renewal)
		m.desk.sell("CS9 ", renewal)
		m.notify("CS8", "CS8-1")
		m.notify("CS9", "")
		for _, o := range m.ledger() {
			if o.Stage != license.StageCompleted || o.History[len(o.History)-1].Stage != o.Stage {
				t.Errorf("stage %s, history %+v", o.Stage, o.History)
			}
		}
	})
}

// An order that the marketplace announced is in the ledger, also where it cannot
// be read: somebody has to deliver it.
func TestNoticeOfAnOrderThatCannotBeRead(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.desk.set(license.Errorf(license.Forbidden, "the marketplace refuses"))
		m.notify("CS1", "CS1-1")
		if m.events(license.ActionOrderAdd) != 1 {
			t.Error("it is not in the audit log")
		}
		time.Sleep(48 * time.Hour)
		synctest.Wait()
		if o := m.order("CS1"); len(o.Warnings(m.a.Now())) != 1 {
			t.Errorf("%+v", o)
		}
		// Once it can be read it is the same order.
		m.desk.set(nil)
		m.notify("CS1", "CS1-1")
		if o := m.order("CS1"); o.ReadAt.IsZero() || o.Product != "OFFI1" || m.events(license.ActionOrderAdd) != 1 {
			t.Errorf("%+v", o)
		}
	})
}

// An order of which nothing is said but its id is read from the marketplace, where
// that can be asked and the staff lets it.
func TestOrderAddReads(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.desk.sell("CS5 ", authority.OrderInfo{Line: "CS5-1", Type: "NEW", Product: "OFFI1", Amount: 2, Customer: "ACME"})
		m.addOrder(authority.NewOrder{ID: "CS5"})
		synctest.Wait()
		if o := m.order("CS5"); o.Line != "CS5-1" || o.Customer != "ACME" || o.Amount != 2 || o.ReadAt.IsZero() {
			t.Errorf("%+v", o)
		}
		asked := m.desk.times()
		m.addOrder(authority.NewOrder{ID: "CS6", Offline: true})
		m.addOrder(authority.NewOrder{ID: "CS7", Customer: "ACME"})
		m.addOrder(authority.NewOrder{ID: "CS8", Channel: license.ChannelManual})
		synctest.Wait()
		if m.desk.times() != asked {
			t.Error("the marketplace was asked")
		}
	})
}

// Linking a licence by hand does not lose the instance that waits for its order to
// be read: it is refused, with what to do instead, and the instance gets its own.
func TestLinkWhileAnInstanceWaits(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.desk.set(errUnreachable)
		id := m.buy("CS1")
		synctest.Wait()
		_, err := m.identify("CS1", "HW-1")
		m.must(err, license.Conflict)
		_, _, linked := m.a.LinkOrder(m.t.Context(), admin, authority.OrderRef{ID: "CS1"}, m.issue().License.ID)
		m.must(linked, license.Conflict)
		if err.Error() != linked.Error() {
			t.Errorf("%v, and %v", err, linked)
		}
		m.desk.set(nil)
		m.served(id)
	})
}

// served applies for a licence of an instance, which is delivered.
func (m *market) served(instance string) {
	m.t.Helper()
	time.Sleep(3 * time.Hour)
	synctest.Wait()
	m.must(m.apply(instance, "event-1", pc), "")
	time.Sleep(48 * time.Hour)
	synctest.Wait()
	if len(m.desk.files("event-1")) != 1 {
		for _, j := range m.jobs() {
			m.t.Logf("job %s parked %v: %s", j.Kind, !j.ParkedAt.IsZero(), j.Failure)
		}
		m.t.Error("the paid instance never gets its licence")
	}
}

// A licence that was linked before the marketplace wanted an instance becomes the
// instance's, so that nothing is sold twice; what the marketplace says of the
// instance is then said of it.
func TestLinkedBeforeTheInstance(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		is := m.issue()
		m.addOrder(authority.NewOrder{ID: "CS1", License: is.License.ID, Customer: "ACME"})
		id := m.buy("CS1")
		synctest.Wait()
		l, _ := m.license(is.License.ID)
		if l.Instance != id || l.Machines != 2 || !l.ExpiresAt.Equal(m.desk.order("CS1 CS1-1").ExpiresAt) || m.events(license.ActionIssue) != 1 {
			t.Errorf("the licence is %+v", l)
		}
		m.served(id)
		if o := m.order("CS1"); o.Stage != license.StageDelivered || o.License != l.ID {
			t.Errorf("%+v", o)
		}
		m.must(m.install("machine").activate(is.Code), "")
		m.must(m.say(id, license.EventFreeze, time.Time{}), "")
		if state := m.state(l.ID); state != license.StateSuspended {
			t.Errorf("frozen, it is %s", state)
		}
		m.must(m.apply(id, "event-2", "HW-2"), license.Expired)
		m.must(m.say(id, license.EventRelease, time.Time{}), "")
		if state := m.state(l.ID); state != license.StateReleased {
			t.Errorf("released, it is %s", state)
		}
	})
}

// A licence that cannot be the instance's leaves the instance its own: the link to
// it is taken back, which is in the audit log.
func TestLinkedLicenceThatDoesNotFit(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		is := m.issue()
		m.addOrder(authority.NewOrder{ID: "CS1", License: is.License.ID, Customer: "ACME"})
		m.must(m.edit(is.License.ID, license.EventRevoke), "")
		id := m.buy("CS1")
		synctest.Wait()
		if l := m.instance(id); l.ID == is.License.ID || m.order("CS1").License != l.ID {
			t.Errorf("the instance has %s, the order %s", l.ID, m.order("CS1").License)
		}
		if was, _ := m.license(is.License.ID); was.Order != "" || m.events(license.ActionOrderLink) != 1 {
			t.Errorf("the licence that was linked names the order %q, after %d links", was.Order, m.events(license.ActionOrderLink))
		}
		m.served(id)
	})
}

// The order of a renewal is that of the licence which it renews: what the staff had
// linked to it is taken back, which is in the audit log.
func TestRenewalReplacesALink(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		l, is := m.instance(id), m.issue()
		m.addOrder(authority.NewOrder{ID: "CS2", Line: "CS2-1", License: is.License.ID, Offline: true})
		end := l.ExpiresAt.Add(365 * day)
		m.desk.sell("CS2 CS2-1", authority.OrderInfo{Type: "RENEW", Line: "CS2-1", Product: "OFFI1", Amount: 2, OrderedAt: m.a.Now(), ExpiresAt: end})
		for range 2 {
			m.refresh(id, "CS2", end, false)
			synctest.Wait()
		}
		was, _ := m.license(is.License.ID)
		if o := m.order("CS2"); o.License != l.ID || was.Order != "" || m.events(license.ActionOrderLink) != 1 {
			t.Errorf("linked to %s, the other one names %q, after %d links", o.License, was.Order, m.events(license.ActionOrderLink))
		}
	})
}
