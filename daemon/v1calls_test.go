package daemon_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// Calls arrive late and out of order, and the same ones again for as long as their
// time is in the window, which is longer than the newer interfaces' one.
func TestV1Reordered(t *testing.T) {
	t.Parallel()
	r := startV1(t)
	id := r.call("000000", purchase()...).Instance
	other := r.call("000000", purchase("orderId", "CS3", "businessId", "business-3")...).Instance
	begin := r.clock.get()
	at := func(minutes int) string {
		return begin.Add(time.Duration(minutes)*time.Minute).Format("20060102150405") + "000"
	}
	refresh := func(minutes int, end string) []string {
		return []string{"activity", "refreshLicense", "orderId", "CS2", "instanceId", id, "expireTime", end, "timeStamp", at(minutes)}
	}
	expire := []string{"activity", "expireLicense", "orderId", "CS1", "instanceId", id, "timeStamp", at(3)}
	late := r.signed(r.key, refresh(2, "20270101000000")...).Encode()
	newest := r.signed(r.key, refresh(14, "20280101000000")...).Encode()
	for _, query := range []string{newest, r.signed(r.key, expire...).Encode(), late} { // the freeze was over by then
		if a := r.get("koogallery", query, r.key.Reveal()); a.Code != "000000" {
			t.Errorf("%+v", a)
		}
	}
	if l := r.show(id); l.State != license.StateActive || l.ExpiresAt.Format("2006") != "2028" {
		t.Errorf("%+v", l)
	}
	// The merchant has set another end since, which the copies leave as it is.
	mine := time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)
	var edited adminwire.Edited
	if err := r.admin(http.MethodPost, strings.Replace(adminwire.PathRenew, "{id}", r.show(id).ID, 1), adminwire.Renew{ExpiresAt: &mine}, &edited); err != nil {
		t.Fatal(err)
	}
	for range 5 { // a copy of the late call is welcome until minute 17, of the newest one until 29
		r.clock.pass(5 * time.Minute)
		for range 6 { // any other calls
			r.call("000000", "activity", "expireLicense", "orderId", "CS3", "instanceId", other)
		}
		r.down()
		r.up()
		events := len(r.audit())
		if a := r.get("koogallery", newest, r.key.Reveal()); a.Code != "000000" {
			t.Errorf("%+v", a)
		}
		if r.clock.get().Before(begin.Add(17 * time.Minute)) {
			r.get("koogallery", late, r.key.Reveal())
		}
		if l := r.show(id); !l.ExpiresAt.Equal(mine) || !l.OwnEnd || len(r.audit()) != events {
			t.Fatalf("at %s the same call again: it ends %s, and there are %d events after %d", r.clock.get(), l.ExpiresAt, len(r.audit()), events)
		}
	}
}

// The time stamp has milliseconds: two calls of one second have an order.
func TestV1ReorderedWithinOneSecond(t *testing.T) {
	t.Parallel()
	r := startV1(t)
	id := r.call("000000", purchase()...).Instance
	second := r.clock.get().Add(time.Second).Format("20060102150405")
	freeze := r.signed(r.key, "activity", "expireLicense", "orderId", "CS1", "instanceId", id, "timeStamp", second+"100").Encode()
	renew := r.signed(r.key, "activity", "refreshLicense", "orderId", "CS2", "instanceId", id, "expireTime", "20270101080000", "timeStamp", second+"900").Encode()
	r.get("koogallery", renew, r.key.Reveal()) // arrives first, was sent last
	r.get("koogallery", freeze, r.key.Reveal())
	if l := r.show(id); l.State != license.StateActive {
		t.Errorf("renewed at .900 and frozen at .100, it is %s", l.State)
	}
}

// One call sells once, however its parameters are cut.
func TestV1OneTokenSellsOnce(t *testing.T) {
	t.Parallel()
	r := startV1(t)
	for _, name := range []string{"orderLineId", "orderNote"} { // of the sibling interface, and of none
		q := r.signed(r.key, purchase(name, "CS1-1")...)
		if a := r.get("koogallery", q.Encode(), r.key.Reveal()); a.Code != "000000" {
			t.Fatalf("%+v", a)
		}
		q.Set("orderId", "CS1&"+name+"=CS1-1")
		q.Del(name)
		if a := r.get("koogallery", q.Encode(), "the key before"); a.Code != "000002" || a.License != "" {
			t.Errorf("%s: %+v", name, a)
		}
	}
	if ls := r.licences(); len(ls) != 1 {
		t.Errorf("%d licences", len(ls))
	}
}

// A licence that the merchant has suspended before it was handed over is not
// handed over.
func TestV1NothingToHandOver(t *testing.T) {
	t.Parallel()
	r := startV1(t)
	var issued adminwire.LicenseList
	if err := r.admin(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: "cad", Customer: "ACME", For: "365d"}, &issued); err != nil {
		t.Fatal(err)
	}
	id := issued.Licenses[0].ID
	var o adminwire.OrderEdited
	if err := r.admin(http.MethodPost, adminwire.PathOrders, adminwire.AddOrder{Channel: "koogallery", Order: "CS1", License: id}, &o); err != nil {
		t.Fatal(err)
	}
	change := func(path string) {
		t.Helper()
		var edited adminwire.Edited
		if err := r.admin(http.MethodPost, strings.Replace(path, "{id}", id, 1), nil, &edited); err != nil || !edited.Changed {
			t.Fatalf("%v, %+v", err, edited)
		}
	}
	change(adminwire.PathSuspend)
	if a := r.call("000003", purchase()...); a.License != "" || a.Instance != "" {
		t.Errorf("suspended: %+v", a)
	}
	change(adminwire.PathResume)
	if a := r.call("000000", purchase()...); a.License == "" {
		t.Errorf("resumed: %+v", a)
	}
}
