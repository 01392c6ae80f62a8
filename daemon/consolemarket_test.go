package daemon_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

const withMarket = withTCP + "marketplaces: [{name: koogallery, access_key_files: [access-key]}]\n"

// The staff enters where an order stands, links it, changes it, and has proofs and
// licence files made for it.
func TestConsoleOrders(t *testing.T) {
	t.Parallel()
	m := start(t, withMarket, map[string]string{"access-key": accessKey})
	l := m.issueOne(adminwire.Issue{Product: "cad", For: "90d", Order: "CS/1"})
	b := m.browser()
	b.signIn(m.token("anna", "issuer").Token)
	page := b.deed("/console/orders/add", "The order was added.",
		"new_order", "CS/1", "line", "L1", "channel", "koogallery", "customer", `"><script>x</script>`, "ordered_at", "2026-09-01", "offline", "true")
	if !strings.Contains(page, "Order CS/1") || strings.Contains(page, "<script>") {
		t.Errorf("the order's page: %s", page)
	}
	if n := m.count(license.ActionOrderAdd); n != 1 {
		t.Errorf("sent in twice it was added %d times", n)
	}
	status, page := b.get("/console/orders?open=true")
	wantSays(t, "the list", status, page, http.StatusOK, "CS/1", "to be delivered", "L1")
	query := "?" + url.Values{"order": {"CS/1"}, "channel": {"koogallery"}, "line": {"L1"}}.Encode()

	form, page := b.preview("/console/order/stage"+query, "stage", "delivered", "note", "by mail")
	if !strings.Contains(page, "to be delivered") || !strings.Contains(page, "delivered") {
		t.Errorf("the preview: %s", page)
	}
	for range 2 {
		status, page = b.post("/console/order/stage"+query, form)
		wantSays(t, "the stage", status, page, http.StatusOK, "The stage was set.", "by mail", "anna")
	}
	if n := m.count(license.ActionOrderStage); n != 1 {
		t.Errorf("it was moved %d times", n)
	}
	_, page = b.get("/console/order/stage" + query)
	status, page = b.post("/console/order/stage"+query, fill(carried(t, page), "stage", "awaiting_code"))
	wantSays(t, "a stage that cannot follow", status, page, http.StatusConflict, `role="alert"`)

	b.deed("/console/order/order-edit"+query, "The order was changed.", "customer", "上海", "amount", "3", "ordered_at", "2026-09-01T14:30")
	b.deed("/console/order/link"+query, "The licence was linked.", "linked", l.Code)
	status, page = b.get("/console/order" + query)
	wantSays(t, "the order", status, page, http.StatusOK, "上海", "1 Sep 2026", "14:30", "/console/licenses/"+l.ID)
	if strings.Contains(page, l.Code) {
		t.Error("the page holds the code")
	}

	b.deed("/console/order/identify"+query, "-----BEGIN", "device", "HW-1234-5678")
	_, page = b.get("/console/order" + query)
	if !strings.Contains(page, "SHA-256") {
		t.Errorf("the file is not listed: %s", page)
	}
	form, _ = b.preview("/console/order/prove" + query)
	status, page = b.post("/console/order/prove"+query, form)
	wantSays(t, "the proof", status, page, http.StatusOK, "The proof of delivery", "Download delivery.json")
	status, file := b.post("/console/order/prove"+query, fill(form, "file", "delivery.json"))
	wantSays(t, "its file", status, file, http.StatusOK, `"delivery": "ey`, `"keys": "ey`)
	if strings.HasPrefix(file, "<") {
		t.Errorf("the file is a page: %s", file)
	}
	status, page = b.get("/console/order?order=CS9&channel=koogallery")
	wantSays(t, "no such order", status, page, http.StatusNotFound)
	status, page = b.get("/console/orders?stage=nonsense")
	wantSays(t, "no such stage", status, page, http.StatusBadRequest, `role="alert"`)
}

// What is to be told to marketplaces is tried again or dropped from its list.
func TestConsoleOutbox(t *testing.T) {
	t.Parallel()
	// Nobody answers there, so what is to be done waits.
	yaml := withTCP + `marketplaces: [{name: koogallery, access_key_files: [access-key], open_api: {base_urls: ["https://127.0.0.1:1"], access_key_id_file: ak, secret_access_key_file: sk}}]
`
	m := start(t, yaml, map[string]string{"access-key": accessKey, "ak": "an id", "sk": "a secret"})
	m.must(http.MethodPost, adminwire.PathOrders, adminwire.AddOrder{Channel: "koogallery", Order: "CS1"})
	jobs := func() (out adminwire.JobList) {
		m.get(adminwire.PathJobs, &out)
		return out
	}
	id := jobs().Jobs[0].ID
	viewer := m.browser()
	viewer.signIn(m.token("vera", "viewer").Token)
	status, page := viewer.get("/console/outbox")
	wantSays(t, "a viewer", status, page, http.StatusOK, "read an order", "koogallery", id)
	if strings.Contains(page, "/drop") {
		t.Error("a viewer is offered to drop it")
	}
	b := m.browser()
	b.signIn(m.token("root", "admin").Token)
	status, page = b.get("/console/outbox?state=parked")
	wantSays(t, "a filter", status, page, http.StatusOK, "Nothing fits the filter.")
	status, page = b.get("/console/outbox?state=late")
	wantSays(t, "no state", status, page, http.StatusBadRequest, `role="alert"`)
	path := "/console/outbox/" + id
	b.deed(path+"/retry", "It is tried again.")
	form, page := b.preview(path + "/drop")
	if len(jobs().Jobs) != 1 || !strings.Contains(page, "not done, ever") {
		t.Errorf("a preview has dropped it: %s", page)
	}
	for range 2 {
		status, page = b.post(path+"/drop", form)
		wantSays(t, "the deed", status, page, http.StatusOK, "It was dropped.")
	}
	if n := len(jobs().Jobs); n != 0 {
		t.Errorf("%d jobs are left", n)
	}
	b.preview("/console/outbox/all/retry-all")
	status, page = b.get("/console/outbox/job_x/drop")
	if status == http.StatusOK {
		status, page = b.post("/console/outbox/job_x/drop", carried(t, page))
	}
	wantSays(t, "no such job", status, page, http.StatusNotFound, "may be done by now")
}

// A marketplace entry shows how it is doing, and is tested from its page.
func TestConsoleMarketplaces(t *testing.T) {
	t.Parallel()
	m := start(t, withMarket, map[string]string{"access-key": accessKey})
	b := m.browser()
	b.signIn(m.token("root", "admin").Token)
	status, page := b.get("/console/marketplaces")
	wantSays(t, "the list", status, page, http.StatusOK, "koogallery", "/console/marketplaces/koogallery")
	const path = "/console/marketplaces/koogallery"
	status, page = b.get(path)
	wantSays(t, "the entry", status, page, http.StatusOK, "The last days", "Self-test")
	_, page = b.get(path + "/self-test")
	status, page = b.post(path+"/self-test", carried(t, page))
	wantSays(t, "asked once more", status, page, http.StatusOK, "What will be done")
	status, page = b.post(path+"/self-test", fill(carried(t, page), "step", "do"))
	wantSays(t, "the test", status, page, http.StatusOK, "as the marketplace expects", "000000")
	status, page = b.get("/console/marketplaces/elsewhere")
	wantSays(t, "no such entry", status, page, http.StatusNotFound)

	viewer := m.browser()
	viewer.signIn(m.token("vera", "viewer").Token)
	status, page = viewer.get(path)
	wantSays(t, "a viewer", status, page, http.StatusOK, "The last days")
	if strings.Contains(page, path+"/self-test") {
		t.Error("a viewer is offered to test it")
	}
	scoped := m.browser()
	scoped.signIn(m.token("cam", "issuer", "cam").Token)
	status, page = scoped.get(path)
	wantSays(t, "somebody for one product", status, page, http.StatusForbidden)
	if strings.Contains(page, `href="/console/marketplaces"`) {
		t.Error("the navigation leads there")
	}
}
