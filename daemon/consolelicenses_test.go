package daemon_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// fill gives a form's fields values: names and values in turn.
func fill(form url.Values, pairs ...string) url.Values {
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

// preview opens the page of a deed, fills it in and sends it; it returns the form that
// the preview carries, to be sent in for the deed.
func (b *browser) preview(path string, pairs ...string) (form url.Values, page string) {
	b.t.Helper()
	status, page := b.get(path)
	wantSays(b.t, path, status, page, http.StatusOK, "<h1>")
	status, page = b.post(path, fill(carried(b.t, page), pairs...))
	wantSays(b.t, path+", preview", status, page, http.StatusOK, "Confirm:")
	return fill(carried(b.t, page), "step", "do"), page
}

// deed does something from its form to its end, twice, as a double click does.
func (b *browser) deed(path, says string, pairs ...string) string {
	b.t.Helper()
	form, _ := b.preview(path, pairs...)
	var pages [2]string
	for i := range pages {
		status, page := b.post(path, form)
		wantSays(b.t, path+", deed", status, page, http.StatusOK, says)
		pages[i] = page
	}
	return pages[1]
}

// A licence's terms, product and machines are changed from its page.
func TestConsoleLicenseDeeds(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	l := m.issue()
	m.ok(m.machine("x").activate(l.Code))
	b := m.browser()
	b.signIn(m.token("anna", "issuer").Token)
	path := "/console/licenses/" + l.ID

	_, page := b.preview(path+"/edit", "phases.warn", "60d", "overage", "1")
	for _, text := range []string{"Warning before the end", "60d", "Machines beyond the limit"} {
		if !strings.Contains(page, text) {
			t.Errorf("the preview does not say %q: %s", text, page)
		}
	}
	b.deed(path+"/edit", "The terms were changed.", "phases.warn", "60d", "overage", "1")
	if got := m.show(l.ID); got.Phases.Warn != "60d" || got.Overage == nil || *got.Overage != 1 {
		t.Errorf("%+v", got.Phases)
	}
	b.deed(path+"/edit", "The terms were changed.", "phases.warn", "") // back to the product's
	if got := m.show(l.ID); got.Phases.Warn != "" || got.Overage != nil {
		t.Errorf("%+v", got.Phases)
	}
	if n := m.count(license.ActionEdit); n != 2 {
		t.Errorf("%d edits", n)
	}

	status, page := b.get(path + "/upgrade")
	wantSays(t, "upgrade", status, page, http.StatusOK, `<option value="cam"`)
	status, page = b.post(path+"/upgrade", fill(carried(t, page), "features", "seats"+"=\n"))
	wantSays(t, "a feature without a value", status, page, http.StatusBadRequest, "name=value", "seats=")
	b.deed(path+"/upgrade", "The licence was upgraded.", "machines", "3", "features", "seats=5\nexport=false")
	if got := m.show(l.ID); got.Machines != 3 || got.Features["seats"] == nil || got.Features["export"] != nil {
		t.Errorf("%+v", got)
	}

	_, page = b.get(path)
	install := m.show(l.ID).Installs[0].ID
	if !strings.Contains(page, path+"/remove?install="+install) {
		t.Errorf("the install cannot be removed: %s", page)
	}
	b.deed(path+"/remove?install="+install, "The install was removed.", "install", install, "reason", "lost")
	if got := m.show(l.ID); got.InUse != 0 || got.Installs[0].State != license.InstallRemoved {
		t.Errorf("%+v", got.Installs)
	}

	m.ok(m.machine("y").activate(l.Code))
	for _, i := range m.show(l.ID).Installs {
		if i.State == license.InstallLive {
			install = i.ID
		}
	}
	form, page := b.preview(path+"/transfer", "install", install)
	if !strings.Contains(page, install) {
		t.Errorf("the preview does not say which install ends: %s", page)
	}
	status, page = b.post(path+"/transfer", form)
	wantSays(t, "a move", status, page, http.StatusOK, "The machine was freed.")
	if got := m.show(l.ID); got.InUse != 0 {
		t.Errorf("%+v", got.Installs)
	}
}

// Codes are shown once they are made, and never in a preview; a form that is sent in
// twice makes them once, and their file is of the same ones.
func TestConsoleIssue(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	b := m.browser()
	b.signIn(m.token("anna", "issuer").Token)
	for name, c := range map[string]struct {
		says   string
		fields []string
	}{
		"no product":    {"Please fill this in.", []string{"for", "30d"}},
		"too many":      {"At most 100 at once.", []string{"product", "cad", "for", "30d", "count", "101"}},
		"no number":     {"whole number", []string{"product", "cad", "for", "30d", "machines", "many"}},
		"two ends":      {`role="alert"`, []string{"product", "cad", "for", "30d", "perpetual", "true"}},
		"no such day":   {`role="alert"`, []string{"product", "cad", "expires_at", "2099-02-30"}},
		"no such thing": {`role="alert"`, []string{"product", "nothing", "for", "30d"}},
	} {
		_, page := b.get("/console/issue")
		status, page := b.post("/console/issue", fill(carried(t, page), c.fields...))
		wantSays(t, name, status, page, http.StatusBadRequest, c.says)
	}
	pairs := []string{"product", "cad", "customer", "=1+1", "order", "CS1", "for", "30d", "machines", "4", "features", "seats=7", "count", "2"}
	form, page := b.preview("/console/issue", pairs...)
	if strings.Contains(page, "CAD1") || m.count(license.ActionIssue) != 0 {
		t.Fatalf("a preview makes codes: %s", page)
	}
	var secret [2]string
	for i := range secret {
		status, page := b.post("/console/issue", form)
		wantSays(t, "issue", status, page, http.StatusOK, "shown once", "=1&#43;1")
		_, rest, _ := strings.Cut(page, `tabindex="0">`)
		secret[i], _, _ = strings.Cut(rest, "</pre>")
	}
	codes := strings.Split(secret[0], "\n")
	if secret[0] != secret[1] || len(codes) != 2 || len(codes[0]) < 16 {
		t.Fatalf("codes %q", secret)
	}
	if n := m.count(license.ActionIssue); n != 2 {
		t.Errorf("sent in twice it made %d", n)
	}
	status, file := b.post("/console/issue", fill(form, "file", "codes.csv"))
	wantSays(t, "the file", status, file, http.StatusOK, "\ufeffcode,id,", codes[0]+",", codes[1]+",", ",'=1+1,CS1,")
	if n := m.count(license.ActionIssue); n != 2 {
		t.Errorf("the file made %d", n)
	}
	status, page = b.get("/console/licenses?order=CS1")
	wantSays(t, "the list", status, page, http.StatusOK, codes[0][len(codes[0])-4:])
	if strings.Contains(page, codes[0]) {
		t.Error("the list shows a code")
	}
}

// The staff decides about moves that wait.
func TestConsoleTransfers(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(withTCP, "machines: 2,", "machines: 1, transfers: {approval: always, per_year: 9, cool_down: 0s},", 1)
	m := start(t, yaml, nil)
	l := m.issue()
	m.ok(m.machine("x").activate(l.Code))
	wantReason(t, "a move", m.machine("y").start().Transfer(t.Context(), l.Code, ""), license.TransferLimit)
	b := m.browser()
	b.signIn(m.token("anna", "issuer").Token)
	_, page := b.get("/console/licenses/" + l.ID)
	if !strings.Contains(page, "waits for a decision") {
		t.Error("the licence does not say so")
	}
	status, page := b.get("/console/transfers")
	wantSays(t, "the list", status, page, http.StatusOK, "waits", "127.0.0.1", l.CodeLast4)
	var list adminwire.TransferList
	m.get(adminwire.PathTransfers, &list)
	path := "/console/licenses/" + l.ID + "/approve?request=" + list.Transfers[0].ID
	if !strings.Contains(page, path) {
		t.Fatalf("no link to approve it: %s", page)
	}
	b.deed(path, "The move is approved.", "reason", "she called")
	m.ok(m.machine("y").start().Transfer(t.Context(), l.Code, ""))

	wantReason(t, "another move", m.machine("z").start().Transfer(t.Context(), l.Code, ""), license.TransferLimit)
	b.deed("/console/licenses/"+l.ID+"/deny", "The move is denied.", "reason", "no")
	viewer := m.browser()
	viewer.signIn(m.token("vera", "viewer").Token)
	status, page = viewer.get("/console/transfers")
	wantSays(t, "a viewer", status, page, http.StatusOK, "denied")
	if strings.Contains(page, "/deny") {
		t.Error("a viewer is offered to decide")
	}
}
