package daemon_test

import (
	"encoding/csv"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// The file of licences holds what the filter selects, page by page, no code, and no cell
// that a spreadsheet would take for a formula.
func TestConsoleCSV(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	for i, customer := range []string{"=cmd()", "+1", "-1", "@x", "上海", `a "b", c`, "plain"} {
		m.issueOne(adminwire.Issue{Product: "cad", For: "90d", Customer: customer, Order: fmt.Sprint("CS", i)})
	}
	one := m.issueOne(adminwire.Issue{Product: "cam", For: "90d", Customer: "cam"})
	b := m.browser()
	b.signIn(m.token("vera", "viewer").Token)
	status, file := b.get("/console/licenses.csv?product=cad")
	text, hasMark := strings.CutPrefix(file, "\ufeff")
	if status != http.StatusOK || !hasMark {
		t.Fatalf("%d %.200q", status, file)
	}
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var customers []string
	for _, row := range rows[1:] {
		customers = append(customers, row[4])
	}
	if got := strings.Join(customers, "|"); got != `'=cmd()|'+1|'-1|'@x|上海|a "b", c|plain` {
		t.Errorf("customers %s", got)
	}
	if strings.Contains(file, one.ID) {
		t.Error("it holds what the filter leaves out")
	}
	for i := range 3 { // more than are read at once
		m.must(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: "cam", For: "90d", Count: []int{1000, 999, 1}[i]})
	}
	_, file = b.get("/console/licenses.csv?product=cam")
	if rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(file, "\ufeff"))).ReadAll(); err != nil || len(rows) != 2002 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
	if strings.Contains(file, one.Code) {
		t.Error("it holds a code")
	}
	status, page := b.get("/console/licenses.csv?state=nonsense")
	wantSays(t, "a filter that is none", status, page, http.StatusBadRequest, `role="alert"`)
	scoped := m.browser()
	scoped.signIn(m.token("cam", "viewer", "cam").Token)
	if _, file := scoped.get("/console/licenses.csv?customer=plain"); strings.Contains(file, "plain") {
		t.Error("another product's licence is in the file")
	}
}

// Several licences are changed at once: each as it was looked at, and each once.
func TestConsoleBulk(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	var all []adminwire.License
	for i := range 4 {
		all = append(all, m.issueOne(adminwire.Issue{Product: "cad", For: "90d", Customer: fmt.Sprint("customer ", i)}))
	}
	m.must(http.MethodPost, at(adminwire.PathSuspend, all[1].ID), nil)
	b := m.browser()
	b.signIn(m.token("anna", "issuer").Token)
	_, page := b.get("/console/licenses?product=cad")
	form := carried(t, page)
	if !strings.Contains(page, `value="`+all[0].ID+" ") || !strings.Contains(page, `name="action"`) {
		t.Fatalf("nothing to choose: %s", page)
	}
	form["id"] = nil
	for _, l := range all {
		form.Add("id", l.ID+" "+fmt.Sprint(m.show(l.ID).Revision))
	}
	form.Add("id", "lic_00000000000000000000000000 1")
	m.must(http.MethodPost, at(adminwire.PathEdit, all[2].ID), adminwire.Edit{Overage: "1"}) // meanwhile

	const path = "/console/licenses/bulk"
	status, page := b.post(path, fill(form, "action", "suspend"))
	wantSays(t, "the preview", status, page, http.StatusOK, "Confirm:", "will change: 2", "nothing to do: 1", "refused: 2", "customer 0", "Suspended")
	if m.show(all[0].ID).State != license.StateIssued {
		t.Fatal("a preview has changed one")
	}
	do := fill(carried(t, page), "step", "do")
	if back := do.Get("back"); back != "/console/licenses?product=cad" {
		t.Errorf("it leads back to %q", back)
	}
	for range 2 {
		status, page = b.post(path, do)
		wantSays(t, "the deed", status, page, http.StatusOK, "This is what was done", "done: 2", "nothing to do: 1", "refused: 2")
	}
	if n := m.count(license.ActionSuspend); n != 3 {
		t.Errorf("%d were suspended", n)
	}
	if m.show(all[2].ID).State != license.StateIssued {
		t.Error("one that was changed meanwhile is suspended")
	}

	one := url.Values{"id": {all[3].ID}, "action": {"revoke"}}
	status, page = b.post(path, one)
	wantSays(t, "a reason is asked for", status, page, http.StatusOK, `name="reason"`, "Preview")
	status, page = b.post(path, fill(carried(t, page), "step", "do"))
	wantSays(t, "none is given", status, page, http.StatusOK, "Please fill this in.")
	status, page = b.post(path, fill(carried(t, page), "step", "try", "reason", "refund"))
	wantSays(t, "the preview", status, page, http.StatusOK, "will change: 1", "for good", "Revoked")
	status, page = b.post(path, fill(carried(t, page), "step", "do"))
	wantSays(t, "the deed", status, page, http.StatusOK, "done: 1")
	if got := m.show(all[3].ID); got.RevokeReason != "refund" {
		t.Errorf("%+v", got)
	}
	_, page = b.post(path, url.Values{"id": {all[0].ID}, "action": {"extend"}, "for": {"10d"}})
	b.post(path, fill(carried(t, page), "step", "do"))
	if got := m.show(all[0].ID); got.ExpiresAt.Sub(*all[0].ExpiresAt).Hours() != 240 {
		t.Errorf("it ends %s", got.ExpiresAt)
	}

	for name, form := range map[string]url.Values{
		"none chosen": {"action": {"suspend"}}, "no action": {"id": {all[0].ID}}, "another action": {"id": {all[0].ID}, "action": {"release"}},
		"too many": {"action": {"suspend"}, "id": many(51)},
	} {
		status, page := b.post(path, form)
		wantSays(t, name, status, page, http.StatusBadRequest, `role="alert"`)
	}
	viewer := m.browser()
	viewer.signIn(m.token("vera", "viewer").Token)
	status, page = viewer.post(path, do)
	wantSays(t, "a viewer", status, page, http.StatusForbidden)
	if _, page = viewer.get("/console/licenses"); strings.Contains(page, `name="id"`) {
		t.Error("a viewer is offered to change some")
	}
}

func many(n int) (ids []string) {
	for i := range n {
		ids = append(ids, fmt.Sprintf("lic_%d 1", i))
	}
	return ids
}

// A page of fifty licences stays below 60 KB.
func TestConsoleListIsSmall(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	m.must(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{
		Product: "cad", For: "400d", Count: 60, Customer: "上海某某信息技术有限公司第一分公司", Order: "CS2609011234567890",
	})
	b := m.browser()
	b.signIn(m.token("anna", "issuer").Token)
	_, page := b.get("/console/licenses?lang=zh-CN&state=issued&product=cad")
	if n := strings.Count(page, "<tr"); n != 51 || len(page) > 60_000 {
		t.Errorf("%d rows in %d bytes", n, len(page))
	}
}
