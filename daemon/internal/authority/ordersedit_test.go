package authority_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// Blanks that were pasted with an id are no part of it, and what no address can
// name is no id.
func TestPastedOrder(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.addOrder(authority.NewOrder{ID: " CS1 ", Line: "\tCS1-1\n", Customer: "ACME "})
		m.buy("CS1")
		synctest.Wait()
		all := m.ledger()
		if len(all) != 1 || all[0].ID != "CS1" || all[0].Line != "CS1-1" || all[0].Customer != "ACME" {
			t.Errorf("the ledger holds %+v", all)
		}
		if o, err := m.a.Order(m.t.Context(), authority.OrderRef{ID: " CS1\n"}); err != nil || o.ID != "CS1" {
			t.Errorf("%+v, %v", o, err)
		}
		for _, n := range []authority.NewOrder{{ID: "."}, {ID: ".."}, {ID: " .. "}, {ID: "CS2", Line: ".."}, {ID: " "}} {
			_, _, err := m.a.AddOrder(m.t.Context(), admin, n)
			m.must(err, license.BadRequest)
		}
	})
}

// Running orders are entered with their true ages.
func TestOrderAddWithItsAge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	since := w.a.Now().Add(-6 * day)
	o := w.addOrder(authority.NewOrder{ID: "CS1", Stage: license.StageDelivered, StageAt: since, Rejections: 3, OrderedAt: since.Add(-day)})
	if !o.StageAt.Equal(since) || o.Rejections != 3 || !o.History[0].At.Equal(since) || !o.History[0].EnteredAt.Equal(w.a.Now()) {
		t.Errorf("%+v", o)
	}
	if warnings := o.Warnings(w.a.Now()); len(warnings) != 2 {
		t.Errorf("warns of %v", warnings)
	}
	if o := w.addOrder(authority.NewOrder{ID: "CS2", Stage: license.StageRejected}); o.Rejections != 1 {
		t.Errorf("rejected %d times", o.Rejections)
	}
	for name, n := range map[string]authority.NewOrder{
		"in the future":    {StageAt: w.a.Now().Add(time.Second)},
		"before the order": {StageAt: since.Add(-2 * day), OrderedAt: since.Add(-day)},
		"less than never":  {Rejections: -1},
		"too many":         {Rejections: 1001},
	} {
		n.ID = "CS3"
		if _, _, err := w.a.AddOrder(t.Context(), admin, n); license.ReasonOf(err) != license.BadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The same order again is no conflict after it was moved on; what differs is named.
func TestOrderAddAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := authority.NewOrder{ID: "CS1", Stage: license.StageAwaitingCode, Customer: "ACME", Amount: 2}
	w.addOrder(n)
	w.moveOrder("CS1", license.StageDelivered, "")
	if o, added, err := w.a.AddOrder(t.Context(), admin, n); err != nil || added || o.Stage != license.StageDelivered {
		t.Errorf("%v, %v, %s", added, err, o.Stage)
	}
	n.Customer, n.Amount = "Example Ltd", 3
	if _, _, err := w.a.AddOrder(t.Context(), admin, n); license.ReasonOf(err) != license.Conflict || !strings.Contains(err.Error(), "amount, customer") {
		t.Errorf("%v", err)
	}
}

// What the staff entered by mistake is put right, until the marketplace has told.
func TestOrderEdit(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.addOrder(authority.NewOrder{ID: "CS1", Customer: "AMCE", Amount: 3, OrderedAt: begin})
		ref := authority.OrderRef{ID: "CS1"}
		edit := func(e authority.OrderEdit) (license.Order, bool, error) {
			return m.a.EditOrder(m.t.Context(), admin, ref, e)
		}
		end := m.a.Now().Add(365 * day)
		o, changed, err := edit(authority.OrderEdit{Customer: new("ACME"), Amount: new(0), Product: new("OFFI1"), ExpiresAt: &end, Note: "misread"})
		if err != nil || !changed || o.Customer != "ACME" || o.Amount != 0 || o.Product != "OFFI1" || !o.ExpiresAt.Equal(end) || !o.OrderedAt.Equal(begin) {
			t.Errorf("%+v, %v, %v", o, changed, err)
		}
		if _, changed, err := edit(authority.OrderEdit{Customer: new("ACME")}); err != nil || changed || m.events(license.ActionOrderEdit) != 1 {
			t.Errorf("the same again: %v, %v", changed, err)
		}
		for name, e := range map[string]authority.OrderEdit{
			"negative":           {Amount: new(-1)},
			"from the future":    {OrderedAt: new(m.a.Now().Add(2 * day))},
			"from another age":   {OrderedAt: new(time.Date(1926, 3, 1, 0, 0, 0, 0, time.UTC))},
			"ends too late":      {ExpiresAt: new(license.Forever.Add(time.Second))},
			"ends before it was": {ExpiresAt: new(begin.Add(-day))},
			"not printable":      {Customer: new("a\x00b")},
			"note too long":      {Note: strings.Repeat("x", 513)},
		} {
			if _, _, err := edit(e); license.ReasonOf(err) != license.BadRequest {
				t.Errorf("%s: %v", name, err)
			}
		}
		if now := m.order("CS1"); now.Revision != o.Revision {
			t.Errorf("a refused edit left %+v", now)
		}
		m.notify("CS1", "CS1-1")
		_, _, err = edit(authority.OrderEdit{Customer: new("another")})
		m.must(err, license.Conflict)
	})
}

// Many orders are recorded at once, all or none of them, and a dry run records none.
func TestOrderImport(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	good := []authority.NewOrder{
		{ID: "CS1", Customer: "ACME"},
		{ID: "CS2", Line: "CS2-1", License: is.License.ID, Stage: license.StageDelivered, StageAt: w.a.Now().Add(-3 * day)},
	}
	bad := append(good[:2:2], authority.NewOrder{ID: "CS3", License: is.License.ID}, authority.NewOrder{ID: "CS4", Amount: -1})
	for name, c := range map[string]struct {
		orders []authority.NewOrder
		dry    bool
	}{"with errors": {bad, false}, "dry": {good, true}} {
		rows, err := w.a.ImportOrders(t.Context(), admin, c.orders, c.dry)
		if err != nil || len(rows) != len(c.orders) || !rows[0].Added || rows[0].Err != nil {
			t.Errorf("%s: %+v, %v", name, rows, err)
		}
		if name == "with errors" && (license.ReasonOf(rows[2].Err) != license.Conflict || license.ReasonOf(rows[3].Err) != license.BadRequest) {
			t.Errorf("%v, %v", rows[2].Err, rows[3].Err)
		}
		if l, _ := w.license(is.License.ID); len(w.ledger()) != 0 || w.events(license.ActionOrderAdd) != 0 || l.Order != "" {
			t.Errorf("%s: something was recorded", name)
		}
	}
	for n, added := range []bool{true, false} {
		rows, err := w.a.ImportOrders(t.Context(), admin, good, false)
		if err != nil || rows[0].Added != added || rows[1].Added != added || len(w.ledger()) != 2 {
			t.Errorf("time %d: %+v, %v", n, rows, err)
		}
	}
	if o := w.order("CS2"); !o.StageAt.Equal(w.a.Now().Add(-3*day)) || o.License != is.License.ID {
		t.Errorf("%+v", o)
	}
	var many []authority.NewOrder
	for i := range authority.MaxImport + 1 {
		many = append(many, authority.NewOrder{ID: fmt.Sprint(i)})
	}
	for _, orders := range [][]authority.NewOrder{nil, many} {
		_, err := w.a.ImportOrders(t.Context(), admin, orders, false)
		w.must(err, license.BadRequest)
	}
}
