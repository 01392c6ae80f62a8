package daemon_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// An order that the marketplace provisioned online is in the ledger by itself, and
// what was delivered is proven with the digest of the very file.
func TestOrderLedger(t *testing.T) {
	t.Parallel()
	p := startProvisioning(t)
	id := p.want(`{"activity":"newInstance","businessId":"business-1","orderId":"CS1","orderLineId":"CS1-000001"}`, "000000")["instanceId"]
	l := p.licence(id)
	p.want(`{"activity":"getLicenseAsync","eventId":"event-1","instanceId":"`+id+`","effectiveTime":"2026-01-02 00:00:00 z",`+
		`"expireTime":"2098-01-01 00:00:00 z","deviceFingerprint":"`+devicePC+`"}`, "000004")
	up := <-p.gate.uploads
	path := func(pattern, order string) string { return strings.Replace(pattern, "{order}", order, 1) }
	var o adminwire.Order
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for tick := time.Tick(5 * time.Millisecond); ctx.Err() == nil; <-tick { // the outbox records what it has done after the marketplace has it
		if err := p.admin(http.MethodGet, path(adminwire.PathOrder, "CS1-000001"), nil, &o); err != nil {
			t.Fatal(err)
		}
		if o.Stage == license.StageDelivered {
			break
		}
	}
	if o.Stage != license.StageDelivered || o.License != l.ID || o.Product != "cad" || o.Turn != license.TurnBuyer || len(o.History) != 2 {
		t.Errorf("%+v", o)
	}
	var made adminwire.Identified
	if err := p.admin(http.MethodPost, adminwire.PathIdentify, adminwire.Identify{Ref: "CS1", Device: "HW-1"}, &made); err != nil || !made.Made || made.Order == nil {
		t.Errorf("%+v, %v", made, err)
	}
	var proof adminwire.Proof
	if err := p.admin(http.MethodPost, adminwire.PathProofs, adminwire.Prove{Ref: "CS1"}, &proof); err != nil {
		t.Fatal(err)
	}
	d, err := token.PeekDelivery(proof.Delivery)
	if err != nil || len(d.Machines) != 2 || d.Instance != id || d.CodeLast4 != "" {
		t.Fatalf("%+v, %v", d, err)
	}
	if sum := digestOf(up.file); string(d.Machines[0].File) != sum && string(d.Machines[1].File) != sum {
		t.Error("the proof does not name the file that was uploaded")
	}
	for body, want := range map[string]license.Reason{
		`{"stage":"happy"}`: license.BadRequest, `{"stage":"rejected"}`: license.BadRequest, `{"stage":"awaiting_code"}`: license.Conflict,
		`{"stage":"accepted","more":1}`: license.BadRequest, `{"line":"CS1-000002","stage":"accepted"}`: license.NotFound,
	} {
		if err := p.admin(http.MethodPost, path(adminwire.PathOrderStage, "CS1"), json.RawMessage(body), nil); err == nil || err.Reason != want {
			t.Errorf("%s: %v", body, err)
		}
	}
	var list adminwire.OrderList
	if err := p.admin(http.MethodGet, adminwire.PathOrders+"?open=true&product=cad&limit=1", nil, &list); err != nil || len(list.Orders) != 1 || list.Next != "" ||
		list.Orders[0].Stage != license.StageDelivered {
		t.Errorf("%+v, %v", list, err)
	}
	var doc struct {
		Components struct{ Schemas map[string]any }
	}
	if err := p.admin(http.MethodGet, adminwire.PathOpenAPI, nil, &doc); err != nil {
		t.Fatal(err)
	}
	for schema, property := range map[string]string{"SetStage": "line", "Identify": "device", "Order": "history"} {
		if data, err := json.Marshal(doc.Components.Schemas[schema]); err != nil || !strings.Contains(string(data), `"`+property+`"`) {
			t.Errorf("the API's document does not describe %s of %s: %s, %v", property, schema, data, err)
		}
	}
}

func digestOf(file []byte) string {
	sum := sha256.Sum256(file)
	return string(sum[:])
}
