package authority_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func (w *world) proof(ref string) token.Delivery {
	w.t.Helper()
	f, err := w.a.Prove(w.t.Context(), admin, authority.OrderRef{ID: ref})
	w.must(err, "")
	d, err := token.PeekDelivery(f.Delivery)
	w.must(err, "")
	return d
}

func (w *world) correctOrder(id string, to license.Stage, note string) {
	w.t.Helper()
	_, changed, err := w.a.MoveOrder(w.t.Context(), admin, authority.OrderRef{ID: id}, license.Move{To: to, Note: note, Correct: true})
	if err != nil || !changed {
		w.t.Fatalf("corrected to %s: %v, %v", to, changed, err)
	}
}

// A delivery that the staff has taken back is not proven.
func TestProofOfADeliveryTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	w.addOrder(authority.NewOrder{ID: "CS1", License: is.License.ID})
	w.moveOrder("CS1", license.StageDelivered, "")
	w.correctOrder("CS1", license.StageToDeliver, "meant another order")
	_, err := w.a.Prove(t.Context(), admin, authority.OrderRef{ID: "CS1"})
	w.must(err, license.Conflict)
	if w.events(license.ActionProof) != 0 {
		t.Error("a proof is in the audit log that was not made")
	}
	// Delivered for once, then accepted by mistake: the delivery stands.
	w.moveOrder("CS1", license.StageDelivered, "")
	at := w.a.Now()
	w.pass(day)
	w.moveOrder("CS1", license.StageAccepted, "")
	w.correctOrder("CS1", license.StageDelivered, "meant another order")
	if d := w.proof("CS1"); !d.DeliveredAt.Equal(at) || len(d.History) != 1 {
		t.Errorf("delivered %v, history %+v", d.DeliveredAt, d.History)
	}
}

// What waits to be delivered was not delivered, whatever file was made for it.
func TestProofBeforeTheDelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	w.addOrder(authority.NewOrder{ID: "CS1", Stage: license.StageAwaitingCode, License: is.License.ID})
	w.identified("CS1", "HW-1")
	d := w.proof("CS1")
	if !d.DeliveredAt.IsZero() || len(d.Machines) != 1 || d.Machines[0].FileAt.IsZero() {
		t.Errorf("the order is %s; the proof says %+v", w.order("CS1").Stage, d)
	}
	if d := w.proof(w.issueOn("HW-2")); !d.DeliveredAt.IsZero() {
		t.Errorf("a licence without an order was delivered %v", d.DeliveredAt)
	}
}

// issueOn makes a licence for a device, and returns its id.
func (w *world) issueOn(device string) string {
	w.t.Helper()
	id := w.issue().License.ID
	w.identified(id, device)
	return id
}

// What was uploaded for an instance was delivered.
func TestProofOfAnUpload(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		id := m.buy("CS1")
		synctest.Wait()
		m.must(m.apply(id, "event-1", pc), "")
		synctest.Wait()
		if d := m.proof("CS1"); !d.DeliveredAt.Equal(m.order("CS1").StageAt) || d.DeliveredAt.IsZero() || d.Line != "CS1-1" {
			t.Errorf("%+v", d)
		}
	})
}

// The proof lists the deliveries and rejections of its order, as an appeal needs
// them, with when they happened and when that was entered.
func TestProofListsRejections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	w.addOrder(authority.NewOrder{ID: "CS1", License: is.License.ID})
	w.pass(3 * day)
	ref := authority.OrderRef{ID: "CS1"}
	delivered := w.a.Now().Add(-day)
	_, _, err := w.a.MoveOrder(t.Context(), admin, ref, license.Move{To: license.StageDelivered, Since: delivered})
	w.must(err, "")
	w.moveOrder("CS1", license.StageRejected, "it does not start")
	w.moveOrder("CS1", license.StageDelivered, strings.Repeat("长", 170))
	d := w.proof("CS1")
	if len(d.History) != 3 || d.Rejections != 1 {
		t.Fatalf("%+v", d.History)
	}
	first, second := d.History[0], d.History[1]
	if !first.At.Equal(delivered) || !first.EnteredAt.Equal(w.a.Now()) || second.Note != "it does not start" || second.Stage != license.StageRejected || !d.DeliveredAt.Equal(w.a.Now()) {
		t.Errorf("%+v", d.History)
	}
	for i := range license.MaxHistory {
		w.moveOrder("CS1", license.StageRejected, fmt.Sprint(i))
		w.moveOrder("CS1", license.StageDelivered, "")
	}
	if d := w.proof("CS1"); len(d.History) != token.MaxSupervised || d.Rejections != license.MaxHistory+1 || d.History[token.MaxSupervised-2].Note != fmt.Sprint(license.MaxHistory-1) {
		t.Errorf("%d of %d: %+v", len(d.History), d.Rejections, d.History)
	}
}

// The file that the buyer was given is proven, also after the keys were rotated
// and somebody fetched the file once more.
func TestProofNamesTheFileThatWasDelivered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	is := w.issue()
	w.addOrder(authority.NewOrder{ID: "CS1", License: is.License.ID})
	given := sha256.Sum256(w.identified("CS1", "HW-1").File)
	w.moveOrder("CS1", license.StageDelivered, "")
	w.pass(100 * day)
	if _, err := w.a.RotateKeys(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	again := w.identified("CS1", "HW-1").File
	sum := sha256.Sum256(again)
	m := w.proof("CS1").Machines[0]
	if !bytes.Equal(m.File, sum[:]) || !m.Has(given[:]) || given == sum {
		t.Errorf("the proof names %+v", m)
	}
}

// A time that no proof could hold is not taken from the staff.
func TestOrderTimesCanBeSigned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	for name, n := range map[string]authority.NewOrder{
		"ordered":  {OrderedAt: time.Date(1926, 3, 1, 0, 0, 0, 0, time.UTC)},
		"ends":     {ExpiresAt: license.Forever.Add(time.Second)},
		"ended":    {ExpiresAt: time.Date(1999, 3, 1, 0, 0, 0, 0, time.UTC)},
		"in stage": {StageAt: time.Date(1999, 3, 1, 0, 0, 0, 0, time.UTC)},
	} {
		n.ID, n.License, n.Stage = "CS1", is.License.ID, license.StageDelivered
		if _, _, err := w.a.AddOrder(t.Context(), admin, n); license.ReasonOf(err) != license.BadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	if w.events(license.ActionOrderAdd) != 0 {
		t.Error("something was added")
	}
	w.addOrder(authority.NewOrder{ID: "CS1", License: is.License.ID, Stage: license.StageDelivered, OrderedAt: time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)})
	w.proof("CS1")
}

// What the marketplace says of when an order was placed is kept where it can be.
func TestOrderTimesOfTheMarketplace(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.desk.sell("CS7 CS7-1", authority.OrderInfo{Type: "NEW", Product: "OFFI1", OrderedAt: time.Date(1926, 3, 1, 0, 0, 0, 0, time.UTC)})
		m.notify("CS7", "CS7-1")
		if o := m.order("CS7"); !o.OrderedAt.IsZero() || o.ReadAt.IsZero() {
			t.Errorf("%+v", o)
		}
	})
}
