package authority_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// linked records an order at an entry that the merchant delivered by hand, with
// the licence that it was linked to.
func (w *world) linked(channel, id, licenseID string) {
	w.t.Helper()
	o := license.Order{
		Channel: channel, ID: id, Line: "-", License: licenseID, SeenAt: begin, Stage: license.StageDelivered, StageAt: begin,
		History: []license.StageChange{{At: begin, Stage: license.StageDelivered, By: admin}},
	}
	if err := w.store.Update(w.t.Context(), func(ctx context.Context, tx store.Tx) error { return tx.CreateOrder(ctx, o) }); err != nil {
		w.t.Fatal(err)
	}
}

// A licence that was suspended before it was ever handed over is not handed over.
func TestSuspendedIsNotHandedOver(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*license.Product){"whole": unbound, "provisional": func(*license.Product) {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, edit)
			is := w.issue()
			w.linked("koogallery", "CS1", is.License.ID)
			w.must(w.edit(is.License.ID, license.EventSuspend), "")
			events := w.events("")
			_, err := w.a.Sell(t.Context(), aSale())
			w.must(err, license.Suspended)
			if l, installs := w.license(is.License.ID); l.Instance != "" || len(installs) != 0 || w.events("") != events || w.order("CS1").Instance != "" {
				t.Errorf("the refused call left %+v, %+v", l, installs)
			}
			w.must(w.edit(is.License.ID, license.EventResume), "")
			if h := w.handed(); !h.New || !w.offline(h.Text).Check(w.clock()).Usable {
				t.Errorf("resumed: %+v", h)
			}
		})
	}
}

// What a suspended licence was handed over with is signed again with the dates
// that it had, also under a key that was born since.
func TestSuspendedKeepsItsDates(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*license.Product){"whole": unbound, "provisional": func(*license.Product) {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, edit)
			w.ownKeys()
			h := w.handed()
			was := w.offline(h.Text).Dates()
			w.heard(h.Instance, license.EventFreeze, time.Minute, time.Time{})
			w.pass(20 * day) // the lease is over, where there is one
			w.newKeys()
			again := w.handed()
			got := w.offline(again.Text)
			if is := got.Dates(); !is.IssuedAt.Equal(w.clock()) || !is.LeaseUntil.Equal(was.LeaseUntil) || !is.ExpiresAt.Equal(was.ExpiresAt) ||
				!is.Exp.Equal(was.Exp) || !is.WarnAt.Equal(was.WarnAt) || !is.BlockAt.Equal(was.BlockAt) || !is.RefreshAfter.Equal(was.RefreshAfter) || is.Enforcement != was.Enforcement {
				t.Errorf("frozen with %+v, signed again with %+v", was, is)
			}
			if more := w.handed(); !again.New || more.New || !bytes.Equal(more.Text, again.Text) {
				t.Error("it is signed anew each time")
			}
			w.heard(h.Instance, license.EventSetExpiry, time.Hour, begin.Add(700*day)) // which lifts the freeze
			w.pass(day)
			w.newKeys()
			if st := w.offline(w.handed().Text).Check(w.clock()); !st.Usable {
				t.Errorf("renewed: %+v", st)
			}
		})
	}
}

// Each purchase has an instance of its own: a licence that has one is handed over
// for no other order.
func TestSaleOfALicenceOfAnotherOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.again(func(o *authority.Options) { o.Channels = append(o.Channels, authority.Channel{Name: "second"}) })
	is := w.issue()
	for _, o := range []struct{ channel, id string }{{"koogallery", "CS1"}, {"second", "CS1"}, {"koogallery", "CS2"}} {
		w.linked(o.channel, o.id, is.License.ID)
	}
	h := w.handed()
	events := w.events("")
	for name, edit := range map[string]func(*authority.Sale){
		"of another entry": func(s *authority.Sale) { s.Channel, s.Business = "second", "business-2" },
		"of the same one":  func(s *authority.Sale) { s.Order, s.Business = "CS2", "business-2" },
	} {
		if _, err := w.a.Sell(t.Context(), aSale(edit)); license.ReasonOf(err) != license.Conflict || !strings.Contains(err.Error(), is.License.ID) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again := w.handed(); again.Instance != h.Instance || !bytes.Equal(again.Text, h.Text) || w.events("") != events {
		t.Errorf("%+v", again)
	}
}

// A product that binds to machines no more has nothing but the text: where that was
// good for one lease, the next call gets the whole licence, and the other way
// round nothing is taken back.
func TestSaleOfAProductThatChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.handed()
	w.pass(20 * day)
	w.again(func(o *authority.Options) { o.Products[0].Binding = license.PolicyNone })
	whole := w.handed()
	if st := w.offline(whole.Text).Check(begin.Add(360 * day)); !whole.New || !st.Usable || whole.License != first.License {
		t.Errorf("the only text there is, is dead: %+v", st)
	}
	if again := w.handed(); again.New || !bytes.Equal(again.Text, whole.Text) {
		t.Error("another text each time")
	}
	w.again(func(o *authority.Options) { o.Products[0].Binding = license.PolicyFuzzy })
	if bound := w.handed(); bound.New || !bytes.Equal(bound.Text, whole.Text) {
		t.Error("what was handed over was taken back")
	}
}

// An order that the buyer rejected, or that is to be delivered again, is delivered
// by the next answer, once.
func TestRejectedOrderIsDeliveredAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handed()
	w.pass(day)
	w.moveOrder("CS1", license.StageRejected, "it does not start")
	w.pass(time.Hour)
	again := w.handed()
	o := w.order("CS1")
	if again.New || !bytes.Equal(again.Text, h.Text) || o.Stage != license.StageDelivered || !o.StageAt.Equal(w.clock()) || o.Rejections != 1 ||
		o.History[len(o.History)-1].By != (license.Actor{Kind: license.ActorMarketplace, Name: "koogallery"}) {
		t.Errorf("%+v, %+v", again, o)
	}
	events := w.events("")
	for range 3 {
		w.pass(time.Hour)
		w.handed()
	}
	if now := w.order("CS1"); now.Revision != o.Revision || w.events("") != events {
		t.Errorf("further calls have written %+v", now)
	}
	w.moveOrder("CS1", license.StageRejected, "still not")
	w.moveOrder("CS1", license.StageToDeliver, "")
	w.handed()
	if o := w.order("CS1"); o.Stage != license.StageDelivered || o.Rejections != 2 {
		t.Errorf("%+v", o)
	}
	w.moveOrder("CS1", license.StageAccepted, "")
	w.handed()
	if o := w.order("CS1"); o.Stage != license.StageAccepted {
		t.Errorf("what was accepted is %s", o.Stage)
	}
}

// The customer is called by the name or, where there is none, by the id, and what is wrong with
// either is said of that.
func TestSaleNamesItsCustomer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct{ name, id, field string }{
		"a name in lines":          {"A\nB", "c-1", "customerName"},
		"a long name":              {strings.Repeat("n", 257), "c-1", "customerName"},
		"no name, an id in lines":  {"", "c\n1", "customerId"},
		"no name, an id too long":  {"", strings.Repeat("c", 257), "customerId"},
		"an id that is not needed": {"ACME", "c\n1", ""},
	} {
		_, err := w.a.Sell(t.Context(), aSale(func(s *authority.Sale) { s.Order, s.Business, s.Customer, s.CustomerID = name, name, c.name, c.id }))
		if e, ok := errors.AsType[*license.Error](err); ok != (c.field != "") || ok && e.Field != c.field {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := w.handed(func(s *authority.Sale) { s.Customer, s.CustomerID = "", "c-4711" })
	if l, _ := w.license(h.License); l.Customer != "c-4711" || w.order("CS1").Customer != "c-4711" {
		t.Errorf("sold to %q", l.Customer)
	}
}

// A proof of delivery names the text as what it is. It counts no machine.
func TestProofNamesTheText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handed()
	_, installs := w.license(h.License)
	if len(installs) != 1 || installs[0].Kind != license.InstallText || installs[0].OnMachine() {
		t.Fatalf("%+v", installs)
	}
	proof := func() token.Delivery {
		t.Helper()
		f, err := w.a.Prove(t.Context(), admin, authority.OrderRef{ID: "CS1"})
		if err != nil {
			t.Fatal(err)
		}
		d, err := token.PeekDelivery(f.Delivery)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(h.Text); !bytes.Equal(d.Text, sum[:]) || !d.TextAt.Equal(begin) {
			t.Errorf("the text is named as %x of %s, want %x", d.Text, d.TextAt, sum)
		}
		return d
	}
	if d := proof(); d.MachineCount != 0 || len(d.Machines) != 0 {
		t.Errorf("a licence that is on no machine is said to be on %d: %+v", d.MachineCount, d.Machines)
	}
	w.pass(time.Hour)
	i := w.install("m")
	w.must(i.activate(w.codeIn(h.Text)), "")
	if d := proof(); d.MachineCount != 1 || len(d.Machines) != 1 || d.Machines[0].Install != i.key.ID {
		t.Errorf("a licence that is on one machine is said to be on %d: %+v", d.MachineCount, d.Machines)
	}
}

// An install of before there were kinds is known as a text by having no seat.
func TestTextOfBeforeThereWereKinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.handed()
	if err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		installs, err := tx.Installs(ctx, h.License)
		if err != nil {
			return err
		}
		installs[0].Kind = license.InstallMachine
		return tx.UpdateInstall(ctx, installs[0])
	}); err != nil {
		t.Fatal(err)
	}
	i, second := w.install("m"), w.install("m2")
	w.must(i.activate(w.codeIn(h.Text)), "")
	w.must(second.activate(w.codeIn(h.Text)), license.MachineLimit)
	if again := w.handed(); again.New || !bytes.Equal(again.Text, h.Text) {
		t.Error("another text")
	}
	_, installs := w.license(h.License)
	if n := len(slices.DeleteFunc(installs, func(i license.Install) bool { return !i.OnMachine() })); n != 1 {
		t.Errorf("on %d machines", n)
	}
}

// notified tells of lines of an order.
func (w *world) notified(order string, lines ...string) {
	w.t.Helper()
	for _, line := range lines {
		w.must(w.a.Notice(w.t.Context(), authority.Notice{
			Channel: "koogallery", Order: order, Line: line, SentAt: w.clock(), ReplayKey: []byte("notice of " + line),
		}), "")
	}
}

// A sale names no line: whatever lines its order is found to have, the same order
// again is the same purchase.
func TestSaleOfAnOrderWhoseLinesGetNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.handed()
	w.notified("CS1", "CS1-2", "CS1-1")
	w.pass(time.Hour)
	again := w.handed()
	if again.License != first.License || again.Instance != first.Instance || again.New || !bytes.Equal(again.Text, first.Text) {
		t.Errorf("sold as %s (%s) and as %s (%s)", first.License, first.Instance, again.License, again.Instance)
	}
	if n := len(w.ordersOf("CS1")); n != 2 {
		t.Errorf("%d lines", n)
	}
}

// Of lines that were heard of before the sale, it is that of the product.
func TestSaleOfALineThatIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for line, product := range map[string]string{"CS1-1": "OFFI2", "CS1-2": "OFFI1", "CS1-3": "OFFI2"} {
		w.addOrder(authority.NewOrder{ID: "CS1", Line: line, Product: product})
	}
	h := w.handed()
	for _, o := range w.ordersOf("CS1") {
		if sold := o.License == h.License && o.Stage == license.StageDelivered; sold != (o.Line == "CS1-2") {
			t.Errorf("%+v", o)
		}
	}
	if again := w.handed(); again.New || again.License != h.License || len(w.ordersOf("CS1")) != 3 {
		t.Errorf("%+v", again)
	}
}

// What online provisioning sells is another purchase than what licence 1.0 has
// sold, whatever the line of the sale was taken for.
func TestInstanceOfAnotherLineThanTheSale(t *testing.T) {
	t.Parallel()
	for name, heard := range map[string][]string{"no line is known": nil, "the sale was taken for it": {"CS1-2"}, "the sale is another": {"CS1-1", "CS1-2"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inMarket(t, func(m *market) {
				m.desk.sell("CS1 CS1-2", m.desk.order("CS1 CS1-1"))
				h := m.handed(func(s *authority.Sale) { s.Business = "business-sale" })
				m.notified("CS1", heard...)
				synctest.Wait()
				buy := func() string {
					t.Helper()
					at, key := m.sent()
					id, err := m.a.NewInstance(m.t.Context(), authority.Purchase{
						Channel: "koogallery", Order: "CS1", Line: "CS1-2", Business: "business-2", SentAt: at, ReplayKey: key,
					})
					m.must(err, "")
					synctest.Wait()
					return id
				}
				id := buy()
				if again := buy(); id != "business-2" || again != id {
					t.Errorf("the instances are %q and %q", id, again)
				}
				if l := m.instance(id); l.ID == h.License {
					t.Error("the instance has the licence of the sale")
				}
				m.served(id)
				if again := m.handed(); again.Instance != h.Instance || again.License != h.License || again.Instance == id {
					t.Errorf("the sale is answered with %s (%s), was %s (%s)", again.License, again.Instance, h.License, h.Instance)
				}
				if n := len(m.ordersOf("CS1")); n != 2 {
					t.Errorf("%d lines", n)
				}
			})
		})
	}
}

// Where two records could be that of the sale, an instance for the one is refused
// and nothing is changed.
func TestInstanceOfALineThatCannotBeTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.handed()
	w.notified("CS1", "CS1-2", "CS1-1")
	w.addOrder(authority.NewOrder{ID: "CS1", Line: "-"})
	events := w.events("")
	_, err := w.a.NewInstance(t.Context(), authority.Purchase{
		Channel: "koogallery", Order: "CS1", Line: "CS1-2", Business: "business-2", SentAt: w.clock(), ReplayKey: []byte("purchase"),
	})
	w.must(err, license.Conflict)
	if n := len(w.ordersOf("CS1")); n != 3 || w.events("") != events {
		t.Errorf("%d lines, %d events more", n, w.events("")-events)
	}
}
