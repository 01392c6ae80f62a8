package daemon_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// No call there is shows a token for one product anything of another, or changes it:
// what is scoped hides it, and what is not is refused.
func TestNoCallLeavesTheScope(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(config, "products:", "marketplaces: [{name: koogallery, access_key_files: [ak]}]\nproducts:", 1) +
		"  - {id: cam, name: CAM, marketplace_products: [OFFI2], transfers: {per_year: 1, cool_down: 24h}}\nadmin: {listen: \"127.0.0.1:0\"}\n"
	m := start(t, yaml, map[string]string{"ak": "0123456789abcdef"})
	m.issue()
	var issued adminwire.LicenseList
	m.ok(asError(m.admin(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: "cam", For: "365d", Customer: "Hidden Ltd", Order: "HID1"}, &issued)))
	theirs := issued.Licenses[0]
	m.must(http.MethodPost, at(adminwire.PathSuspend, theirs.ID), nil)
	m.must(http.MethodPost, at(adminwire.PathResume, theirs.ID), nil)
	m.must(http.MethodPost, adminwire.PathIdentify, adminwire.Identify{Ref: theirs.ID, Device: "HW-1"})
	m.must(http.MethodPost, adminwire.PathOrders, adminwire.AddOrder{Channel: "koogallery", Order: "HID2", Offer: "OFFI2", Customer: "Hidden Ltd"})
	install := m.shown(theirs.ID).Installs[0].ID
	token := m.token("cad only", "admin", "cad").Token
	secrets := []string{theirs.ID, "Hidden Ltd", "HID1", "HID2", install}
	bodies := map[string]string{
		"lookup": `{"ref":"` + theirs.Code + `"}`, "renew": `{"for":"30d"}`, "edit": `{"phases":{"warn":"1d"}}`, "revoke": `{"reason":"r"}`,
		"remove-install": `{}`, "transfer": `{}`, "approve-transfer": `{}`, "deny-transfer": `{}`, "upgrade": `{"product":"cad","force":true}`,
		"issue": `{"product":"cam","for":"1d"}`, "issue-many": `{"rows":[{"product":"cam","for":"1d"}]}`,
		"sign": `{"request":"` + activation(t, theirs.Code, "y") + `"}`, "identify": `{"ref":"` + theirs.ID + `","device":"HW-2"}`,
		"prove": `{"ref":"HID1"}`, "add-order": `{"channel":"koogallery","order":"X1","marketplace_product":"OFFI2"}`,
		"import-orders": `{"orders":[{"channel":"koogallery","order":"X2","marketplace_product":"OFFI2"}]}`,
		"edit-order":    `{"customer":"me"}`, "order-link": `{"license":"` + theirs.ID + `"}`, "order-stage": `{"stage":"delivered"}`,
	}
	names := strings.NewReplacer("{id}", theirs.ID, "{install}", install, "{order}", "HID2")
	doc := decode[document](t, second(m.staff(http.MethodGet, adminwire.PathOpenAPI, "")))
	before := m.records()
	for path, item := range doc.part("paths") {
		for method := range item.(map[string]any) {
			op := doc.part("paths", path, method)
			id := op["operationId"].(string)
			rs, text := m.as(token, strings.ToUpper(method), names.Replace(path), bodies[id])
			if scoped, _ := op["x-product-scope"].(bool); !scoped {
				if p := problem(t, rs, text); p.Reason != license.Forbidden {
					t.Errorf("%s is about all products: %s", id, text)
				}
				continue
			}
			if method == "post" && rs.StatusCode == http.StatusOK && id != "issue-many" && id != "import-orders" {
				t.Errorf("%s: %s", id, text)
			}
			if p := decode[map[string]any](t, text); p["reason"] == "bad_request" || p["reason"] == "internal" {
				t.Errorf("%s was not asked in the right way: %s", id, text)
			}
			if i := slices.IndexFunc(secrets, func(s string) bool {
				return strings.Contains(text, s) && !strings.Contains(names.Replace(path)+bodies[id], s)
			}); i >= 0 {
				t.Errorf("%s shows %q: %s", id, secrets[i], text)
			}
		}
	}
	// What daemons on one database tell each other they write by themselves.
	for rec := range m.records() {
		if !before[rec] && !strings.Contains(rec, string(license.ActionRefused)) && !strings.Contains(rec, `"name":"token/`) && !strings.Contains(rec, `"name":"status.feed"`) && !strings.Contains(rec, `"name":"daemons/`) {
			t.Errorf("a call beyond the scope has written %s", rec)
		}
	}
}
