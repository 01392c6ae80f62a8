package authority_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/teststore"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// narrow is a store that notes which lists of orders an Update asks for that go
// beyond one order or one licence: they take as long as there are orders, and hold
// up all writing.
type narrow struct {
	store.Store
	mu   sync.Mutex
	wide []store.OrderFilter
}

type narrowTx struct {
	store.Tx
	s *narrow
}

func (s *narrow) Update(ctx context.Context, fn func(context.Context, store.Tx) error) error {
	return s.Store.Update(ctx, func(ctx context.Context, tx store.Tx) error { return fn(ctx, narrowTx{tx, s}) })
}

func (t narrowTx) Orders(ctx context.Context, f store.OrderFilter, p store.Page) ([]license.Order, string, error) {
	if f.License == "" && (f.Channel == "" || f.ID == "") {
		t.s.mu.Lock()
		t.s.wide = append(t.s.wide, f)
		t.s.mu.Unlock()
	}
	return t.Tx.Orders(ctx, f, p)
}

// Whatever the staff looks for or a marketplace says, nobody who writes waits for it.
func TestLookingForOrdersHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	s := &narrow{Store: teststore.New(t)}
	w := newWorldOn(t, s)
	is, other := w.issue(), w.issue()
	sold, _ := w.sell("PL001")
	w.must(w.install("m").activate(sold), "")
	handed := w.handed(func(s *authority.Sale) { s.Order = "CS90" })
	s.wide = nil
	for i := range 5 {
		w.addOrder(authority.NewOrder{ID: fmt.Sprintf("CS%d", i), Line: fmt.Sprintf("CS%d-1", i)})
	}
	ref := func(id string) authority.OrderRef { return authority.OrderRef{ID: id} }
	// In this order: what was cancelled by one is linked by none.
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"identify by id", func() error { _, err := w.identify(is.License.ID, "HW-1"); return err }},
		{"identify by code", func() error { _, err := w.identify(is.Code.Reveal(), "HW-1"); return err }},
		{"prove by id", func() error {
			w.identified(is.License.ID, "HW-1")
			_, err := w.a.Prove(t.Context(), admin, ref(is.License.ID))
			return err
		}},
		{"link by line", func() error {
			_, _, err := w.a.LinkOrder(t.Context(), admin, ref("CS1-1"), is.License.ID)
			return err
		}},
		{"identify by order", func() error {
			_, _, err := w.a.LinkOrder(t.Context(), admin, ref("CS2"), other.License.ID)
			w.must(err, "")
			_, err = w.identify("CS2", "HW-1")
			return err
		}},
		{"move by line", func() error {
			_, _, err := w.a.MoveOrder(t.Context(), admin, ref("CS3-1"), license.Move{To: license.StageCancelled})
			return err
		}},
		{"move nothing", func() error {
			if _, _, err := w.a.MoveOrder(t.Context(), admin, ref("CS99-1"), license.Move{To: license.StageCancelled}); license.ReasonOf(err) != license.NotFound {
				return err
			}
			return nil
		}},
		{"release of a code", func() error { _, err := w.say(sold, license.EventRelease, 1); return err }},
		{"release of an unknown code", func() error {
			_, err := w.say(code(t, "PL777"), license.EventRelease, 2, func(m *authority.Message) { m.Order = "CS4" })
			return err
		}},
		{"release by licence 1.0", func() error {
			_, err := w.says(handed.Instance, license.EventRelease, time.Hour, time.Time{})
			return err
		}},
		{"comparison", func() error { _, err := w.a.Reconcile(t.Context(), "koogallery"); return err }},
	} {
		if err := step.do(); err != nil {
			t.Errorf("%s: %v", step.name, err)
		}
		if len(s.wide) != 0 {
			t.Errorf("%s: an Update went through %+v", step.name, s.wide)
		}
		s.wide = nil
	}
}

// An order is linked to a licence of what was ordered, and of no other order.
func TestLinkRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cad, other := w.issue(), w.issue(func(o *authority.Order) { o.Product = "other"; o.Machines = 1 })
	w.addOrder(authority.NewOrder{ID: "CS1", Product: "OFFI2"})
	link := func(order, line, ref string) error {
		_, _, err := w.a.LinkOrder(t.Context(), admin, authority.OrderRef{ID: order, Line: line}, ref)
		return err
	}
	w.must(link("CS1", "", cad.License.ID), license.Conflict)
	_, _, err := w.a.AddOrder(t.Context(), admin, authority.NewOrder{ID: "CS2", Product: "OFFI2", License: cad.License.ID})
	w.must(err, license.Conflict)
	if len(w.ledger()) != 1 {
		t.Error("a refused order was added")
	}
	w.must(link("CS1", "", other.License.ID), "")
	l, _ := w.license(other.License.ID)
	if l.Order != "CS1" || w.events(license.ActionEdit) != 1 {
		t.Errorf("the licence names the order %q", l.Order)
	}
	w.addOrder(authority.NewOrder{ID: "CS3", Line: "CS3-1"})
	w.addOrder(authority.NewOrder{ID: "CS3", Line: "CS3-2"})
	w.must(link("CS3", "CS3-1", other.License.ID), license.Conflict)
	w.must(link("CS3", "CS3-1", cad.License.ID), "")
	w.must(link("CS3", "CS3-2", cad.License.ID), "")
	// What was taken back is free for another, and no longer names the order.
	w.must(link("CS1", "", ""), "")
	if l, _ = w.license(other.License.ID); l.Order != "" {
		t.Errorf("the licence names the order %q", l.Order)
	}
	w.addOrder(authority.NewOrder{ID: "CS4", License: other.License.ID})
	if l, _ = w.license(other.License.ID); l.Order != "CS4" {
		t.Errorf("the licence names the order %q", l.Order)
	}
	_, _, err = w.a.EditOrder(t.Context(), admin, authority.OrderRef{ID: "CS4"}, authority.OrderEdit{Product: new("OFFI1")})
	w.must(err, license.Conflict)
}

// interposed is a store that does something between the first View and what
// follows it.
type interposed struct {
	store.Store
	then func()
}

func (s *interposed) View(ctx context.Context, fn func(context.Context, store.Tx) error) error {
	err := s.Store.View(ctx, fn)
	s.once()
	return err
}

func (s *interposed) Update(ctx context.Context, fn func(context.Context, store.Tx) error) error {
	s.once()
	return s.Store.Update(ctx, fn)
}

func (s *interposed) once() {
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
}

// Of two people who link one licence at the same time one is told of the other,
// whether the licence names an order or not.
func TestTwoLinksAtOnce(t *testing.T) {
	t.Parallel()
	for name, edit := range map[string]func(*authority.Order){
		"names none":    func(*authority.Order) {},
		"names another": func(o *authority.Order) { o.Order = "PO-1" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			is := w.issue(edit)
			w.addOrder(authority.NewOrder{ID: "CS1"})
			w.addOrder(authority.NewOrder{ID: "CS2"})
			s := &interposed{Store: w.options.Store}
			first := w.a
			w.again(func(o *authority.Options) { o.Store = s })
			s.then = func() {
				_, _, err := first.LinkOrder(t.Context(), admin, authority.OrderRef{ID: "CS2"}, is.License.ID)
				w.must(err, "")
			}
			_, _, err := w.a.LinkOrder(t.Context(), admin, authority.OrderRef{ID: "CS1"}, is.License.ID)
			w.must(err, license.Conflict)
			if o := w.order("CS1"); o.License != "" {
				t.Errorf("it is linked to %s", o.License)
			}
			s.then = func() {
				_, _, err := first.LinkOrder(t.Context(), admin, authority.OrderRef{ID: "CS2"}, "")
				w.must(err, "")
			}
			_, _, err = w.a.AddOrder(t.Context(), admin, authority.NewOrder{ID: "CS3", License: is.License.ID})
			w.must(err, "")
		})
	}
}

// Of the orders of a licence that a marketplace sold, the one that it was sold by
// comes first, also where the merchant had issued it by hand.
func TestOrderOfALicenceThatWasSold(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		is := m.issue()
		m.addOrder(authority.NewOrder{ID: "CS0", Line: "CS0-1", Offline: true})
		_, _, err := m.a.LinkOrder(m.t.Context(), admin, authority.OrderRef{ID: "CS0"}, is.License.ID)
		m.must(err, "")
		m.desk.sell("CS0 CS0-1", authority.OrderInfo{Type: "RENEW", Line: "CS0-1", Product: "OFFI1"}) // as it turns out
		m.notify("CS0", "CS0-1")
		_, _, err = m.a.LinkOrder(m.t.Context(), admin, authority.OrderRef{ID: "CS0"}, "")
		m.must(err, "")
		m.addOrder(authority.NewOrder{ID: "CS1", License: is.License.ID, Offline: true})
		_, _, err = m.a.LinkOrder(m.t.Context(), admin, authority.OrderRef{ID: "CS0"}, is.License.ID)
		m.must(err, "")
		m.buy("CS1")
		synctest.Wait()
		made := m.identified(is.License.ID, "HW-1")
		if made.Order.ID != "CS1" {
			m.t.Errorf("made for the order %q", made.Order.ID)
		}
	})
}

// The licence of an instance stays with its order; one that is not can be taken back.
func TestUnlinkOfAnInstance(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.buy("CS1")
		synctest.Wait()
		_, _, err := m.a.LinkOrder(m.t.Context(), admin, authority.OrderRef{ID: "CS1"}, m.issue().License.ID)
		m.must(err, license.Conflict)
		_, _, err = m.a.LinkOrder(m.t.Context(), admin, authority.OrderRef{ID: "CS1"}, "")
		m.must(err, license.Conflict)
	})
}

// An order that was cancelled gets no further licence, however it is named.
func TestIdentifyForACancelledOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	w.addOrder(authority.NewOrder{ID: "CS1", License: is.License.ID})
	w.moveOrder("CS1", license.StageCancelled, "unsubscribed")
	for _, ref := range []string{"CS1", is.License.ID, is.Code.Reveal()} {
		_, err := w.identify(ref, "HW-1")
		w.must(err, license.Conflict)
	}
	if _, installs := w.license(is.License.ID); len(installs) != 0 {
		t.Errorf("%d installs", len(installs))
	}
}

// An order notes which files were made for it, by whom, when, and for what: each
// once, and never the code.
func TestOrderNotesWhatWasMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue(func(o *authority.Order) { o.Machines = 2 })
	w.addOrder(authority.NewOrder{ID: "CS1", License: is.License.ID})
	one := w.identified("CS1", "HW-1")
	w.pass(day)
	w.identified("CS1", "HW-1")
	two := w.identified(is.License.ID, pc)
	made := w.order("CS1").Made
	if len(made) != 2 {
		t.Fatalf("%+v", made)
	}
	a, b := made[0], made[1]
	if a.Install != one.Install.ID || a.By != admin || !a.At.Equal(w.a.Now().Add(-day)) || a.Device == "" || a.Form != "a hardware code" ||
		b.Install != two.Install.ID || b.Form != "a device fingerprint" || len(b.File) != 32 {
		t.Errorf("%+v", made)
	}
}

// What is to be done is counted, over all entries, with the worst of it.
func TestOrdersDue(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	due := func() authority.OrdersDue {
		t.Helper()
		d, err := w.a.OrdersDue(t.Context())
		w.must(err, "")
		return d
	}
	w.addOrder(authority.NewOrder{ID: "CS1"})
	w.addOrder(authority.NewOrder{ID: "CS2", Channel: license.ChannelManual, Stage: license.StageDelivered})
	w.addOrder(authority.NewOrder{ID: "CS3", Stage: license.StageCompleted})
	if d := due(); d.Open != 2 || d.Warned != 0 || d.Worst.ID != "" {
		t.Errorf("%+v", d)
	}
	w.pass(2 * day)
	if d := due(); d.Warned != 1 || d.Worst.ID != "CS1" {
		t.Errorf("%+v", d)
	}
	w.pass(4 * day)
	if d := due(); d.Warned != 2 || d.Worst.ID != "CS2" || d.Warnings[license.WarnBuyer] != 1 {
		t.Errorf("%+v", d)
	}
	w.addOrder(authority.NewOrder{ID: "CS4", Stage: license.StageRejected, Rejections: 3})
	if d := due(); d.Warned != 3 || d.Worst.ID != "CS4" {
		t.Errorf("%+v", d)
	}
}
