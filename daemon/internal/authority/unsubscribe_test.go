package authority_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// wantStage checks where an order stands, and that nothing is to be done about
// one that is cancelled.
func (w *world) wantStage(when, id string, want license.Stage) license.Order {
	w.t.Helper()
	o := w.order(id)
	if o.Stage != want || want == license.StageCancelled && len(o.Warnings(w.clock().Add(30*day))) != 0 {
		w.t.Errorf("%s: order %s is %s, want %s", when, id, o.Stage, want)
	}
	return o
}

// A release through licence 1.0 takes the order off the ledger of what is open,
// with who said so, and the same again writes nothing.
func TestReleaseV1CancelsTheOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handed()
	other := w.handed(func(s *authority.Sale) { s.Order, s.Business = "CS2", "business-2" })
	w.pass(time.Hour)
	if _, err := w.says("business-9", license.EventRelease, time.Hour, time.Time{}); license.ReasonOf(err) != license.UnknownLicense {
		t.Errorf("%v", err)
	}
	w.heard(h.Instance, license.EventFreeze, time.Hour, time.Time{})
	w.wantStage("frozen", "CS1", license.StageDelivered)
	w.heard(h.Instance, license.EventRelease, time.Hour, time.Time{})
	o := w.wantStage("released", "CS1", license.StageCancelled)
	last := o.History[len(o.History)-1]
	if !last.At.Equal(w.clock()) || last.By != (license.Actor{Kind: license.ActorMarketplace, Name: "koogallery"}) {
		t.Errorf("%+v", last)
	}
	events := w.events("")
	w.heard(h.Instance, license.EventRelease, time.Hour, time.Time{})   // the same call
	w.heard(h.Instance, license.EventRelease, 2*time.Hour, time.Time{}) // and another one
	if again := w.order("CS1"); again.Revision != o.Revision || w.events("") != events {
		t.Errorf("the same again has written %+v", again)
	}
	w.wantStage("of another licence", "CS2", license.StageDelivered)
	if w.state(other.License) != license.StateActive {
		t.Errorf("the other one is %s", w.state(other.License))
	}
}

// What was delivered by hand is found by its link; what the merchant releases
// itself was not unsubscribed.
func TestReleaseCancelsALinkedOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	w.linked("koogallery", "CS1", is.License.ID)
	h := w.handed()
	w.heard(h.Instance, license.EventRelease, time.Hour, time.Time{})
	w.wantStage("released", "CS1", license.StageCancelled)
	own := w.handed(func(s *authority.Sale) { s.Order, s.Business = "CS2", "business-2" })
	w.must(w.edit(own.License, license.EventRelease), "")
	w.wantStage("released by the merchant", "CS2", license.StageDelivered)
	// The marketplace says so afterwards, and now it is.
	w.heard(own.Instance, license.EventRelease, time.Hour, time.Time{})
	w.wantStage("released by both", "CS2", license.StageCancelled)
}

// A completed order is cancelled by an unsubscription, and not by the end of its time.
func TestReleaseAfterTheEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, c := range []struct {
		order string
		after time.Duration
		want  license.Stage
	}{{"CS1", day, license.StageCancelled}, {"CS2", 400 * day, license.StageCompleted}} {
		h := w.handed(func(s *authority.Sale) { s.Order, s.Business = c.order, c.order })
		w.moveOrder(c.order, license.StageCompleted, "")
		w.pass(c.after)
		w.heard(h.Instance, license.EventRelease, w.clock().Sub(begin), time.Time{})
		w.wantStage("released after "+c.after.String(), c.order, c.want)
	}
}

// The same for codes: whether they were activated here or not, and whoever tells
// of it.
func TestReleaseOfACodeCancelsItsOrder(t *testing.T) {
	t.Parallel()
	t.Run("activated", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.addOrder(authority.NewOrder{ID: "CS1", Product: "OFFI1", Stage: license.StageDelivered})
		c, _ := w.sell("PL001")
		w.must(w.install("m").activate(c), "")
		w.wantStage("activated", "CS1", license.StageActivated)
		if _, err := w.say(c, license.EventRelease, 1); err != nil {
			t.Fatal(err)
		}
		w.wantStage("released", "CS1", license.StageCancelled)
		if _, err := w.say(c, license.EventRelease, 1); license.ReasonOf(err) != license.Replayed {
			t.Errorf("%v", err)
		}
	})
	t.Run("never presented", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.addOrder(authority.NewOrder{ID: "CS1", Product: "OFFI1", Stage: license.StageDelivered})
		w.addOrder(authority.NewOrder{ID: "CS2", Line: "CS2-1", Product: "OFFI1", Stage: license.StageDelivered})
		w.addOrder(authority.NewOrder{ID: "CS2", Line: "CS2-2", Product: "OFFI1", Stage: license.StageDelivered})
		for n, order := range []string{"CS1", "CS2", "", "CS9"} {
			c := code(t, "PL10"+order)
			if _, err := w.say(c, license.EventRelease, byte(n), func(m *authority.Message) { m.Order = order }); err != nil {
				t.Fatal(err)
			}
		}
		w.wantStage("released", "CS1", license.StageCancelled)
		w.wantStage("one of two lines, nobody says which", "CS2-1", license.StageDelivered)
	})
	t.Run("found by a comparison", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.addOrder(authority.NewOrder{ID: "CS1", Product: "OFFI1", Stage: license.StageDelivered})
		c, _ := w.sell("PL001")
		w.must(w.install("m").activate(c), "")
		w.up.codes["PL001"].e.Released = true
		for range 2 {
			if r, err := w.a.Reconcile(t.Context(), "koogallery"); err != nil || r.Failed != 0 {
				t.Fatalf("%+v, %v", r, err)
			}
		}
		o := w.wantStage("compared", "CS1", license.StageCancelled)
		if by := o.History[len(o.History)-1].By; by.Kind != license.ActorSystem {
			t.Errorf("by %+v", by)
		}
	})
}

// The same for instances of the newer interface, before and after their order was
// read. The orders of renewals pass no stages.
func TestReleaseOfAnInstanceCancelsItsOrder(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		m.desk.sell("CS7 CS7-1", authority.OrderInfo{Type: "RENEW", Line: "CS7-1", Product: "OFFI1", Amount: 2, OrderedAt: m.a.Now(), ExpiresAt: m.a.Now().Add(700 * day)})
		at, key := m.sent()
		if _, err := m.a.Message(m.t.Context(), authority.Message{
			Channel: "koogallery", Instance: id, Event: license.EventSetExpiry, ExpiresAt: m.a.Now().Add(700 * day), Order: "CS7", Line: "CS7-1", SentAt: at, ReplayKey: key,
		}); err != nil {
			m.t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		m.wantStage("renewed", "CS7", license.StageCompleted)
		m.must(m.say(id, license.EventRelease, time.Time{}), "")
		m.wantStage("released", "CS1", license.StageCancelled)
		m.wantStage("released", "CS7", license.StageCompleted)

		m.desk.set(errUnreachable)
		m.desk.sell("CS2 CS2-1", m.desk.order("CS1 CS1-1"))
		id = m.buy("CS2")
		m.must(m.say(id, license.EventRelease, time.Time{}), "")
		m.wantStage("released before it was read", "CS2", license.StageCancelled)
		m.desk.set(nil)
		time.Sleep(2 * day)
		synctest.Wait()
		m.wantStage("and read", "CS2", license.StageCancelled)
		if l := m.instance(id); l.ReleasedAt.IsZero() {
			m.t.Errorf("%+v", l)
		}
	})
}

// A release when what was bought has run out is no unsubscription: the order is
// completed. That is judged by the end that the marketplace knows, not by what the
// merchant has given besides.
func TestReleaseWhenItHasRunOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stage license.Stage // before the release
		own   time.Duration // what the merchant adds
		over  bool          // released after the marketplace's end
		want  license.Stage
	}{
		"completed":                         {license.StageCompleted, 0, true, license.StageCompleted},
		"completed, a later end of ours":    {license.StageCompleted, 60 * day, true, license.StageCompleted},
		"completed, an earlier one":         {license.StageCompleted, -60 * day, false, license.StageCancelled},
		"activated":                         {license.StageActivated, 0, true, license.StageCompleted},
		"activated, a later end of ours":    {license.StageActivated, 60 * day, true, license.StageCompleted},
		"activated, an earlier one":         {license.StageActivated, -60 * day, false, license.StageCancelled},
		"unsubscribed, a later end of ours": {license.StageCompleted, 60 * day, false, license.StageCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.addOrder(authority.NewOrder{ID: "CS1", Product: "OFFI1", Stage: license.StageDelivered})
			code, end := w.sell("PL001")
			w.must(w.install("m").activate(code), "")
			if c.stage != license.StageActivated {
				w.moveOrder("CS1", c.stage, "")
			}
			if c.own != 0 {
				l, _ := w.license(code.Reveal())
				_, _, err := w.a.Edit(t.Context(), admin, l.ID, authority.Edit{Event: license.EventRenew, ExpiresAt: end.Add(c.own)})
				w.must(err, "")
				_, _, err = w.a.Edit(t.Context(), admin, l.ID, authority.Edit{Event: license.EventRenew, ExpiresAt: end.Add(c.own + day)})
				w.must(err, "")
			}
			after := 15 * day
			if !c.over {
				after = -15 * day
			}
			w.pass(end.Sub(w.clock()) + after)
			if _, err := w.a.Message(t.Context(), authority.Message{
				Channel: "koogallery", Event: license.EventRelease, Code: code, SentAt: w.clock(), ReplayKey: []byte("release"),
			}); err != nil {
				t.Fatal(err)
			}
			o := w.wantStage("released", "CS1", c.want)
			if last := o.History[len(o.History)-1]; c.want == license.StageCompleted && c.stage != c.want && last.Note == "" {
				t.Errorf("%+v", last)
			}
		})
	}
}

// An order that was delivered, and of which nobody has entered more, is not
// cancelled by its end, and an end that was moved by a renewal counts.
func TestReleaseOfWhatWasOnlyDelivered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		renewed, after time.Duration // since the purchase of a year
		want           license.Stage
	}{
		"within its time":  {0, 300 * day, license.StageCancelled},
		"after it":         {0, 380 * day, license.StageCompleted},
		"after a renewal":  {730 * day, 380 * day, license.StageCancelled},
		"after both":       {730 * day, 740 * day, license.StageCompleted},
		"after it was cut": {100 * day, 120 * day, license.StageCompleted},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h := w.handed()
			if c.renewed > 0 {
				w.heard(h.Instance, license.EventSetExpiry, time.Hour, begin.Add(c.renewed))
			}
			w.pass(c.after)
			w.heard(h.Instance, license.EventRelease, c.after, time.Time{})
			o := w.wantStage("released", "CS1", c.want)
			if len(o.Warnings(w.clock().Add(30*day))) != 0 {
				t.Errorf("warns of %v", o.Warnings(w.clock().Add(30*day)))
			}
		})
	}
}

// The end of the order counts where the licence's own is the merchant's, and does
// not where a message has moved that of the licence.
func TestReleaseByWhichEnd(t *testing.T) {
	t.Parallel()
	t.Run("a code that was renewed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		c, end := w.sell("PL001")
		w.addOrder(authority.NewOrder{ID: "CS1", Product: "OFFI1", Stage: license.StageDelivered, ExpiresAt: end})
		w.must(w.install("m").activate(c), "")
		if _, err := w.say(c, license.EventSetExpiry, 1, func(m *authority.Message) { m.ExpiresAt, m.Order = end.Add(365*day), "CS2" }); err != nil {
			t.Fatal(err)
		}
		w.pass(end.Sub(w.clock()) + 15*day)
		if _, err := w.say(c, license.EventRelease, 2); err != nil {
			t.Fatal(err)
		}
		w.wantStage("released", "CS1", license.StageCancelled)
	})
	t.Run("a licence of the merchant's", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		is := w.issue()
		end := is.License.ExpiresAt.Add(-100 * day)
		w.addOrder(authority.NewOrder{ID: "CS1", License: is.License.ID, Stage: license.StageDelivered, ExpiresAt: end})
		h := w.handed()
		w.pass(end.Sub(w.clock()) + 15*day)
		w.heard(h.Instance, license.EventRelease, w.clock().Sub(begin), time.Time{})
		w.wantStage("released", "CS1", license.StageCompleted)
	})
}

// A release that is sent once more does not cancel again what the staff has
// corrected; the first one of the marketplace does.
func TestReleaseAgainAfterACorrection(t *testing.T) {
	t.Parallel()
	t.Run("a licence", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		h := w.handed()
		w.moveOrder("CS1", license.StageCancelled, "")
		w.correctOrder("CS1", license.StageDelivered, "another one was meant")
		w.heard(h.Instance, license.EventRelease, time.Hour, time.Time{})
		w.wantStage("released", "CS1", license.StageCancelled)
		w.correctOrder("CS1", license.StageDelivered, "it was a mistake of the marketplace")
		w.heard(h.Instance, license.EventRelease, 2*time.Hour, time.Time{})
		w.wantStage("released once more", "CS1", license.StageDelivered)
		w.pass(400 * day)
		w.heard(h.Instance, license.EventRelease, 400*day, time.Time{})
		w.wantStage("and after its time", "CS1", license.StageDelivered)
	})
	t.Run("a code that is not known", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.addOrder(authority.NewOrder{ID: "CS1", Product: "OFFI1", Stage: license.StageDelivered})
		release := func(n byte) {
			t.Helper()
			if _, err := w.say(code(t, "PL10"), license.EventRelease, n, func(m *authority.Message) { m.Order = "CS1" }); err != nil {
				t.Fatal(err)
			}
		}
		release(1)
		w.wantStage("released", "CS1", license.StageCancelled)
		w.correctOrder("CS1", license.StageDelivered, "it was a mistake of the marketplace")
		w.pass(time.Hour)
		release(2)
		w.wantStage("released once more", "CS1", license.StageDelivered)
	})
}
