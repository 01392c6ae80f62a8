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

// What the staff knows of orders is recorded, put right and counted.
func TestOrderEntry(t *testing.T) {
	t.Parallel()
	p := startProvisioning(t)
	path := func(pattern, order string) string { return strings.Replace(pattern, "{order}", order, 1) }
	since := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	batch := adminwire.ImportOrders{Orders: []adminwire.AddOrder{
		{Order: "CS21", Stage: license.StageDelivered, StageAt: &since, Rejections: 3, Customer: "ACME"},
		{Order: "CS22", Channel: license.ChannelManual, Amount: 2},
		{Order: "CS23", License: "lic_01k2m3n4p5q6r7s8t9v0w1x2y3"},
	}}
	var imported adminwire.ImportedOrders
	if err := p.admin(http.MethodPost, adminwire.PathImport, batch, &imported); err != nil || imported.Recorded || len(imported.Orders) != 3 || imported.Orders[2].Error == "" {
		t.Errorf("%+v, %v", imported, err)
	}
	batch.Orders = batch.Orders[:2]
	imported = adminwire.ImportedOrders{}
	if err := p.admin(http.MethodPost, adminwire.PathImport, batch, &imported); err != nil || !imported.Recorded || !imported.Orders[1].Added {
		t.Errorf("%+v, %v", imported, err)
	}
	var due adminwire.OrdersDue
	if err := p.admin(http.MethodGet, adminwire.PathOrdersDue, nil, &due); err != nil || due.Open != 2 || due.Warned != 1 || due.Worst == nil || due.Worst.Order != "CS21" ||
		due.Warnings[license.WarnRejections] != 1 {
		t.Errorf("%+v, %v", due, err)
	}
	var edited adminwire.OrderEdited
	if err := p.admin(http.MethodPost, path(adminwire.PathOrderEdit, "CS22"), json.RawMessage(`{"customer":"Example Ltd","amount":0,"no_end":true}`), &edited); err != nil ||
		!edited.Changed || edited.Order.Customer != "Example Ltd" || edited.Order.Amount != 0 {
		t.Errorf("%+v, %v", edited, err)
	}
	for body, want := range map[string]license.Reason{
		`{"expires_at":"2027-01-01T00:00:00Z","no_end":true}`: license.BadRequest, `{"amount":-1}`: license.BadRequest, `{"line":"2","amount":1}`: license.NotFound,
	} {
		if err := p.admin(http.MethodPost, path(adminwire.PathOrderEdit, "CS22"), json.RawMessage(body), nil); err == nil || err.Reason != want {
			t.Errorf("%s: %v", body, err)
		}
	}
	if err := p.admin(http.MethodPost, path(adminwire.PathOrderStage, "CS22"), json.RawMessage(`{"stage":"delivered","at":"2400-01-01T00:00:00Z"}`), nil); err == nil || err.Reason != license.BadRequest {
		t.Errorf("delivered in the future: %v", err)
	}
}

func digestOf(file []byte) string {
	sum := sha256.Sum256(file)
	return string(sum[:])
}
