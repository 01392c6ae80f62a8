package authority_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

func unbound(p *license.Product) { p.Binding = license.PolicyNone }

func aSale(edit ...func(*authority.Sale)) authority.Sale {
	s := authority.Sale{
		Channel: "koogallery", Order: "CS1", Business: "business-1", Product: "OFFI1", Customer: "ACME", Amount: 3,
		ExpiresAt: begin.Add(365 * day),
	}
	for _, f := range edit {
		f(&s)
	}
	return s
}

// sell makes a purchase through licence 1.0.
func (w *world) handed(edit ...func(*authority.Sale)) authority.Handover {
	w.t.Helper()
	h, err := w.a.Sell(w.t.Context(), aSale(edit...))
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// offline verifies a text as the product does that the buyer pastes it into.
func (w *world) offline(text []byte) *client.License {
	w.t.Helper()
	v := client.Verifier{Anchors: w.ring.Anchors(), Product: "cad", Issuer: issuer}
	l, err := v.Verify(text)
	if err != nil {
		w.t.Fatalf("%v\n%s", err, text)
	}
	return l
}

// codeIn is the code in a text, as a person would copy it.
func (w *world) codeIn(text []byte) license.Code {
	w.t.Helper()
	first, _, _ := strings.Cut(string(text), "\n")
	s, found := strings.CutPrefix(first, "Authorization code: ")
	code, err := license.ParseCode(s)
	if !found || err != nil || !code.Own() {
		w.t.Fatalf("no code in %q (%v)", first, err)
	}
	return code
}

// says sends a message of licence 1.0 about an instance, dated so long after begin.
func (w *world) says(instance string, event license.Event, sent time.Duration, until time.Time) (authority.Outcome, error) {
	return w.a.MessageV1(w.t.Context(), authority.Message{
		Channel: "koogallery", Event: event, Instance: instance, ExpiresAt: until, SentAt: begin.Add(sent),
		ReplayKey: fmt.Appendf(nil, "%s %s %s", instance, event, sent),
	})
}

func (w *world) heard(instance string, event license.Event, sent time.Duration, until time.Time) authority.Outcome {
	w.t.Helper()
	out, err := w.says(instance, event, sent, until)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// ordersOf returns the lines of an order.
func (w *world) ordersOf(id string) (orders []license.Order) {
	w.t.Helper()
	err := w.store.View(w.t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		orders, _, err = tx.Orders(ctx, store.OrderFilter{Channel: "koogallery", ID: id}, store.Page{})
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return orders
}

// Where nothing is bound to machines the text is the whole licence: it follows
// the end, and is the same text as long as that stays.
func TestSaleOfAnUnboundProduct(t *testing.T) {
	t.Parallel()
	w := newWorld(t, unbound, func(p *license.Product) { p.MachinesFromAmount = true })
	h := w.handed()
	l, installs := w.license(h.License)
	if h.Instance != "business-1" || !h.New || l.Instance != h.Instance || l.Machines != 3 || l.Customer != "ACME" || l.Order != "CS1" ||
		l.Channel != "koogallery" || l.StateAt(w.clock()) != license.StateActive || len(installs) != 1 {
		t.Errorf("%+v, %+v, %+v", h, l, installs)
	}
	lic := w.offline(h.Text)
	c, d := lic.Claims(), lic.Dates()
	if c.LicenseID != l.ID || c.Binding.Policy != license.PolicyNone || c.InstallKey != nil || !d.ExpiresAt.Equal(l.ExpiresAt) || !d.LeaseUntil.Equal(d.Exp) ||
		c.Machines != 3 || c.StatusMaxAge != 0 {
		t.Errorf("signed as %+v", c)
	}
	if st := lic.Check(begin.Add(300 * day)); !st.Usable || st.Phase != license.PhaseValid {
		t.Errorf("after ten months: %+v", st)
	}

	events := w.events("")
	for range 3 {
		w.pass(time.Hour)
		again := w.handed(func(s *authority.Sale) {
			s.Business, s.Customer, s.Amount, s.ExpiresAt = "business-2", "Other", 9, begin.Add(day)
		})
		if again.New || again.Instance != h.Instance || !bytes.Equal(again.Text, h.Text) {
			t.Fatalf("the same order again: %+v", again)
		}
		w.again()
	}
	if is, _ := w.license(h.License); is.Revision != l.Revision || w.events("") != events {
		t.Errorf("a repeated call changed something: %+v", is)
	}

	end := begin.Add(730 * day)
	w.heard(h.Instance, license.EventSetExpiry, 4*time.Hour, end)
	renewed := w.handed()
	if lic := w.offline(renewed.Text); !renewed.New || !lic.Dates().ExpiresAt.Equal(end) || !lic.Dates().IssuedAt.After(d.IssuedAt) {
		t.Errorf("after the renewal: %+v", lic.Dates())
	}
	if more := w.handed(); more.New || !bytes.Equal(more.Text, renewed.Text) {
		t.Error("the renewed text is another one each time")
	}
	w.heard(h.Instance, license.EventFreeze, 5*time.Hour, time.Time{})
	if frozen := w.handed(); !bytes.Equal(frozen.Text, renewed.Text) {
		t.Error("a frozen licence has another text")
	}
	w.heard(h.Instance, license.EventRelease, 6*time.Hour, time.Time{})
	_, err := w.a.Sell(t.Context(), aSale())
	w.must(err, license.Released)
}

// Where machines are bound the text bridges one lease, takes no seat, and brings
// the code by which machines are activated.
func TestSaleOfABoundProduct(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit func(*license.Product)
		want time.Duration
	}{
		"lease":    {func(*license.Product) {}, 14 * day},
		"no lease": {func(p *license.Product) { p.Schedule.Lease = 0 }, 14 * day},
		"short":    {func(p *license.Product) { p.Schedule.Lease = day }, 14 * day}, // the buyer may come on Monday
		"long":     {func(p *license.Product) { p.Schedule.Lease = 40 * day }, 40 * day},
		"floating": {func(p *license.Product) { p.Mode, p.Binding = license.ModeFloating, license.PolicyNone }, 14 * day},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.edit)
			h := w.handed()
			lic := w.offline(h.Text)
			if d := lic.Dates(); !d.LeaseUntil.Equal(begin.Add(c.want)) || !d.RefreshAfter.Equal(d.LeaseUntil) || !d.ExpiresAt.Equal(begin.Add(365*day)) {
				t.Errorf("%+v", d)
			}
			if st := lic.Check(begin.Add(c.want)); st.Usable || st.Reason != license.LeaseOver {
				t.Errorf("after the lease: %+v", st)
			}
			i, second := w.install("m"), w.install("m2")
			w.must(i.activate(w.codeIn(h.Text)), "") // the only seat is free
			w.must(second.activate(w.codeIn(h.Text)), license.MachineLimit)
			if i.held.Binding.Policy == license.PolicyNone && name != "floating" || i.held.InstallKey == nil || i.held.LicenseID != h.License {
				t.Errorf("activated as %+v", i.held)
			}
			if len(w.up.calls) != 0 {
				t.Errorf("the marketplace was asked about a code of ours: %v", w.up.calls)
			}
			// A renewal reaches the install. The text stays as it was: were it newer than
			// what the install holds, it would take its place.
			w.pass(time.Minute)
			w.heard(h.Instance, license.EventSetExpiry, time.Minute, begin.Add(730*day))
			w.must(i.refresh(), "")
			if again := w.handed(); !bytes.Equal(again.Text, h.Text) || !i.held.Dates.ExpiresAt.Equal(begin.Add(730*day)) {
				t.Errorf("after the renewal: %+v", i.held.Dates)
			}
		})
	}
}

// No transfer frees a seat that a text never had.
func TestTextHasNoSeat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handed()
	_, installs := w.license(h.License)
	if len(installs) != 1 || installs[0].Kind != license.InstallText || installs[0].Seat != "" || installs[0].Status.List == "" || len(installs[0].Handed.SHA256) == 0 {
		t.Fatalf("%+v", installs)
	}
	i, j := w.install("m"), w.install("m2")
	w.must(i.activate(w.codeIn(h.Text)), "")
	_, err := j.send(j.request(token.OpTransfer, withCode(w.codeIn(h.Text))))
	w.must(err, "")
	if w.state(h.License) != license.StateActive {
		t.Errorf("%s", w.state(h.License))
	}
	if _, _, err := w.a.RemoveInstall(t.Context(), admin, h.License, installs[0].ID, "leaked"); err != nil {
		t.Fatal(err)
	}
	_, err = w.a.Sell(t.Context(), aSale())
	w.must(err, license.Released)
	w.must(j.refresh(), "")
}

// What a marketplace ends or freezes shows in the status list of the text.
func TestTextIsListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, unbound)
	h := w.handed()
	place := w.offline(h.Text).Claims().Status
	check := func(when string, want license.ListStatus) {
		t.Helper()
		var got license.StatusEntry
		_, installs := w.license(h.License)
		err := w.store.View(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
			got, err = tx.StatusEntry(ctx, installs[0].Status.List, installs[0].Status.Index)
			return err
		})
		if err != nil || got.Status != want || place.Index != installs[0].Status.Index || !strings.HasSuffix(place.URI, installs[0].Status.List) {
			t.Errorf("%s: %v, %+v", when, err, got)
		}
	}
	check("sold", license.StatusValid)
	w.heard(h.Instance, license.EventFreeze, time.Minute, time.Time{})
	check("frozen", license.StatusSuspended)
	w.heard(h.Instance, license.EventSetExpiry, 2*time.Minute, begin.Add(700*day))
	check("renewed", license.StatusValid)
	w.heard(h.Instance, license.EventRelease, 3*time.Minute, time.Time{})
	check("released", license.StatusRevoked)
}

// A refused purchase leaves nothing behind.
func TestRefusedSales(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		edit  func(*authority.Sale)
		field string
	}{
		"unknown product":    {func(s *authority.Sale) { s.Product = "OFFI9" }, "productId"},
		"no product":         {func(s *authority.Sale) { s.Product = "" }, "productId"},
		"one of our own ids": {func(s *authority.Sale) { s.Product = "cad" }, "productId"},
		"too many":           {func(s *authority.Sale) { s.Amount = 1_000_001 }, "amount"},
		"long order":         {func(s *authority.Sale) { s.Order = strings.Repeat("o", 65) }, "orderId"},
		"order with a line":  {func(s *authority.Sale) { s.Order = "CS1\n" }, "orderId"},
		"business in two":    {func(s *authority.Sale) { s.Business = "b\x00" }, "businessId"},
		"no business":        {func(s *authority.Sale) { s.Business = "" }, "instanceId"},
		"a buyer in lines":   {func(s *authority.Sale) { s.Customer = "A\nB" }, "customerName"},
	} {
		_, err := w.a.Sell(t.Context(), aSale(c.edit))
		if e, ok := errors.AsType[*license.Error](err); !ok || e.Reason != license.BadRequest || e.Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	ls, _, err := w.a.Licenses(t.Context(), store.Filter{}, store.Page{})
	if err != nil || len(ls) != 0 || w.events("") != 0 {
		t.Errorf("%v, %d licences, %d events", err, len(ls), w.events(""))
	}
	w.handed()
}

// One order is sold once, however many ask at the same time.
func TestSaleAtTheSameTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var got [8]authority.Handover
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = w.a.Sell(t.Context(), aSale(func(s *authority.Sale) { s.Business = fmt.Sprint("business-", i) })); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	fresh := 0
	for _, h := range got {
		if h.New {
			fresh++
		}
		if h.License != got[0].License || h.Instance != got[0].Instance || !bytes.Equal(h.Text, got[0].Text) {
			t.Errorf("%+v and %+v", h, got[0])
		}
	}
	if ls, _, err := w.a.Licenses(t.Context(), store.Filter{}, store.Page{}); err != nil || len(ls) != 1 || fresh != 1 {
		t.Errorf("%v, %d licences, %d new", err, len(ls), fresh)
	}
}

// Under new keys the same licence is signed; where they were born after it, it
// is made anew.
func TestSaleAfterNewKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t, unbound)
	w.ownKeys()
	first := w.handed()
	jti := w.offline(first.Text).ID()
	for _, step := range []struct {
		name string
		do   func()
		same bool
	}{
		{"rotated to the next key", func() {
			if _, err := w.a.RotateKeys(t.Context(), admin); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"under a key that was born since", w.newKeys, false},
	} {
		w.pass(day)
		step.do()
		h := w.handed()
		if l := w.offline(h.Text); (l.ID() == jti) != step.same || h.Instance != first.Instance || h.License != first.License ||
			w.codeIn(h.Text).Reveal() != w.codeIn(first.Text).Reveal() || bytes.Equal(h.Text, first.Text) {
			t.Errorf("%s: %s after %s, %+v", step.name, l.ID(), jti, h)
		}
		if again := w.handed(); again.New || !bytes.Equal(again.Text, h.Text) {
			t.Errorf("%s: another text each time", step.name)
		}
	}
	if _, installs := w.license(first.License); len(installs) != 1 {
		t.Errorf("%d installs", len(installs))
	}
}

// The ledger has the order as delivered, by whatever line it was heard of first.
func TestSaleInTheLedger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handed()
	orders := w.ordersOf("CS1")
	if len(orders) != 1 {
		t.Fatalf("%+v", orders)
	}
	o := orders[0]
	if o.ID != "CS1" || o.License != h.License || o.Instance != h.Instance || o.Stage != license.StageDelivered || o.Amount != 3 ||
		o.Product != "OFFI1" || o.Customer != "ACME" || !o.ExpiresAt.Equal(begin.Add(365*day)) {
		t.Errorf("%+v", o)
	}
	if err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return tx.CreateOrder(ctx, license.Order{Channel: "koogallery", ID: "CS2", Line: "CS2-1", SeenAt: begin, Stage: license.StageToDeliver, StageAt: begin})
	}); err != nil {
		t.Fatal(err)
	}
	second := w.handed(func(s *authority.Sale) { s.Order, s.Business = "CS2", "business-2" })
	if again := w.handed(func(s *authority.Sale) { s.Order = "CS2" }); again.License != second.License || again.New {
		t.Errorf("%+v, %+v", again, second)
	}
	orders = w.ordersOf("CS2")
	if len(orders) != 1 || orders[0].Line != "CS2-1" || orders[0].Stage != license.StageDelivered {
		t.Errorf("%+v", orders)
	}
}

// What the merchant delivered by hand, and linked to the order, is what a call
// that comes after all is answered with.
func TestSaleDeliveredByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	link := func(o license.Order) {
		t.Helper()
		o.Channel, o.Line, o.SeenAt, o.Stage, o.StageAt = "koogallery", "-", begin, license.StageDelivered, begin
		if err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return tx.CreateOrder(ctx, o) }); err != nil {
			t.Fatal(err)
		}
	}
	link(license.Order{ID: "CS1", License: is.License.ID})
	h := w.handed()
	if h.License != is.License.ID || h.Instance != "business-1" || w.codeIn(h.Text).Reveal() != is.Code.Reveal() {
		t.Errorf("%+v", h)
	}
	w.offline(h.Text)
	if again := w.handed(); !bytes.Equal(again.Text, h.Text) {
		t.Error("another text")
	}
	if out := w.heard(h.Instance, license.EventFreeze, time.Minute, time.Time{}); !out.Changed || w.state(is.License.ID) != license.StateSuspended {
		t.Errorf("%+v, %s", out, w.state(is.License.ID))
	}
	// A code that the marketplace itself knows is not given out a second time.
	w.up.codes["PL1"] = &sold{received: true, e: authority.Entitlement{Product: "OFFI1", ExpiresAt: begin.Add(day)}}
	code, err := license.ParseCode("PL1")
	if err != nil {
		t.Fatal(err)
	}
	i := w.install("m")
	w.must(i.activate(code), "")
	link(license.Order{ID: "CS2", License: i.held.LicenseID})
	_, err = w.a.Sell(t.Context(), aSale(func(s *authority.Sale) { s.Order = "CS2" }))
	w.must(err, license.Conflict)
	if l, _ := w.license(i.held.LicenseID); l.Instance != "" {
		t.Errorf("%+v", l)
	}
}

// The marketplace is not asked about codes of our own, nor told how they are used.
func TestReconcileLeavesSalesAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handed()
	before, _ := w.license(h.License)
	r, err := w.a.Reconcile(t.Context(), "koogallery")
	after, _ := w.license(h.License)
	if err != nil || r.Checked != 0 || after.Revision != before.Revision {
		t.Errorf("%v, %+v, %+v", err, r, after)
	}
}

// An end that has passed by the time of the call is as the marketplace says.
func TestSaleThatHasEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, unbound)
	h := w.handed(func(s *authority.Sale) { s.ExpiresAt = begin.Add(-30 * day) })
	if st := w.offline(h.Text).Check(begin); st.Usable || st.Reason != license.Expired {
		t.Errorf("%+v", st)
	}
	perpetual := w.handed(func(s *authority.Sale) { s.Order, s.Business, s.ExpiresAt = "CS2", "business-2", time.Time{} })
	if st := w.offline(perpetual.Text).Check(begin.Add(3000 * day)); !st.Usable {
		t.Errorf("%+v", st)
	}
}
