package daemon_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// The audit log is read by action, licence and day, and signed from its page.
func TestConsoleAudit(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	l := m.issueOne(adminwire.Issue{Product: "cad", For: "90d"})
	other := m.issueOne(adminwire.Issue{Product: "cam", For: "90d"})
	m.must(http.MethodPost, at(adminwire.PathRevoke, l.ID), adminwire.Revoke{Reason: `<script>refund</script>`})
	b := m.browser()
	b.signIn(m.token("root", "admin").Token)
	status, page := b.get("/console/audit")
	wantSays(t, "all", status, page, http.StatusOK, "Issued", "Revoked", "Signed in", "/console/licenses/"+l.ID, "Sign now", "Hash of the last")
	if strings.Contains(page, "<script>") {
		t.Error("a reason is taken for script")
	}
	status, page = b.get("/console/audit?action=license.revoke&license=" + l.ID)
	wantSays(t, "selected", status, page, http.StatusOK, `<option value="license.revoke" selected>`, "refund")
	if strings.Contains(page, other.ID) || strings.Count(page, "<li><div>") != 1 {
		t.Errorf("the filter does not count: %s", page)
	}
	status, page = b.get("/console/audit?since_day=2099-01-01")
	wantSays(t, "nothing", status, page, http.StatusOK, "Nothing fits the filter.")
	status, page = b.get("/console/audit?since_day=soon")
	wantSays(t, "no day", status, page, http.StatusOK, `role="alert"`, "2027-01-31")
	b.deed("/console/audit/checkpoint", "The audit log was signed.")
	if n := m.count(license.ActionCheckpoint); n < 1 {
		t.Errorf("%d checkpoints", n)
	}

	scoped := m.browser()
	scoped.signIn(m.token("cam", "viewer", "cam").Token)
	status, page = scoped.get("/console/audit")
	wantSays(t, "somebody for one product", status, page, http.StatusOK, other.ID)
	if strings.Contains(page, l.ID) || strings.Contains(page, "Hash of the last") {
		t.Error("it shows more than that product's")
	}
}

// A long list is read page by page, and every entry is on one of them.
func TestConsolePages(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	m.must(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: "cad", For: "400d", Count: 120})
	b := m.browser()
	b.signIn(m.token("vera", "viewer").Token)
	for _, path := range []string{"/console/audit?action=license.issue", "/console/licenses?product=cad"} {
		seen, pages := make(map[string]bool), 0
		for next := path; next != ""; pages++ {
			status, page := b.get(next)
			if status != http.StatusOK || len(page) > 60_000 {
				t.Fatalf("%s: HTTP %d, %d bytes", next, status, len(page))
			}
			for _, part := range strings.Split(page, `href="/console/licenses/`)[1:] {
				if id, _, _ := strings.Cut(part, `"`); strings.HasPrefix(id, license.LicensePrefix) {
					seen[id] = true
				}
			}
			_, link, more := strings.Cut(page, `" rel="next">`)
			next = ""
			if more {
				before := page[:len(page)-len(link)-len(`" rel="next">`)]
				next = strings.ReplaceAll(before[strings.LastIndex(before, `href="`)+len(`href="`):], "&amp;", "&")
			}
		}
		if len(seen) != 120 || pages != 3 {
			t.Errorf("%s: %d licences on %d pages", path, len(seen), pages)
		}
	}
}

// Keys are rotated after a preview, once.
func TestConsoleKeys(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	var before, after adminwire.KeyList
	m.get(adminwire.PathKeys, &before)
	b := m.browser()
	b.signIn(m.token("root", "admin").Token)
	status, page := b.get("/console/keys")
	wantSays(t, "the keys", status, page, http.StatusOK, before.Keys[0].ID, "signs now", "Rotate", "Present key signs since")
	form, page := b.preview("/console/keys/rotate")
	m.get(adminwire.PathKeys, &after)
	if before.Keys[0] != after.Keys[0] || !strings.Contains(page, "Retired") {
		t.Fatalf("a preview has rotated them: %s", page)
	}
	for range 2 {
		status, page = b.post("/console/keys/rotate", form)
		wantSays(t, "the deed", status, page, http.StatusOK, "The next key signs now.")
	}
	if n := m.count(license.ActionKeysRotate); n != 1 {
		t.Errorf("they were rotated %d times", n)
	}
	viewer := m.browser()
	viewer.signIn(m.token("vera", "viewer").Token)
	status, page = viewer.get("/console/keys/rotate")
	wantSays(t, "a viewer", status, page, http.StatusForbidden)
}

// A token is shown once it is made, and whoever uses it is signed out when it is revoked.
func TestConsoleTokens(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	b := m.browser()
	b.signIn(m.token("root", "admin").Token)
	form, page := b.preview("/console/tokens/create", "token_name", "bob", "role", "issuer", "token_products", "cad, cam", "valid_for", "30d")
	if strings.Contains(page, "licadm_") {
		t.Fatal("a preview makes a token")
	}
	status, page := b.post("/console/tokens/create", form)
	wantSays(t, "the token", status, page, http.StatusOK, "licadm_", "shown once", "cad, cam")
	_, text, _ := strings.Cut(page, `tabindex="0">`)
	text, _, _ = strings.Cut(text, "</pre>")
	bob := m.browser()
	bob.signIn(text)
	status, page = b.get("/console/tokens")
	wantSays(t, "the list", status, page, http.StatusOK, "bob", "cad, cam", "/revoke-token")
	if strings.Contains(page, text) {
		t.Error("the list shows a token")
	}
	var list adminwire.TokenList
	m.get(adminwire.PathTokens, &list)
	for _, one := range list.Tokens {
		if one.Name == "bob" {
			b.deed("/console/tokens/"+one.ID+"/revoke-token", "The token is revoked.")
		}
	}
	if status, _ := bob.get("/console/"); status != http.StatusUnauthorized {
		t.Errorf("whoever used it is still in: %d", status)
	}
	_, page = b.get("/console/tokens/create")
	status, page = b.post("/console/tokens/create", fill(carried(t, page), "token_name", "eve", "role", "owner"))
	wantSays(t, "no such role", status, page, http.StatusBadRequest, `role="alert"`)

	issuer := m.browser()
	issuer.signIn(m.token("anna", "issuer").Token)
	status, page = issuer.get("/console/tokens")
	wantSays(t, "an issuer", status, page, http.StatusForbidden)
	if strings.Contains(page, `href="/console/tokens"`) {
		t.Error("the navigation leads an issuer there")
	}
}

// An endpoint shows what it was told and what waits, and is looked after from its page.
func TestConsoleWebhooks(t *testing.T) {
	t.Parallel()
	told := make(chan string, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told <- r.Header.Get("webhook-id") }))
	t.Cleanup(receiver.Close)
	m := start(t, withTCP+"webhooks: [{name: crm, url: "+receiver.URL+", secret_file: hook, events: [license.issued]}]\n", map[string]string{"hook": hookSecret})
	b := m.browser()
	b.signIn(m.token("root", "admin").Token)
	status, page := b.get("/console/webhooks")
	wantSays(t, "the list", status, page, http.StatusOK, "crm", receiver.URL)
	const path = "/console/webhooks/crm"
	status, page = b.get(path)
	wantSays(t, "the endpoint", status, page, http.StatusOK, "license.issued", path+"/disable")

	_, page = b.get(path + "/test")
	_, page = b.post(path+"/test", carried(t, page))
	status, page = b.post(path+"/test", fill(carried(t, page), "step", "do"))
	wantSays(t, "a test", status, page, http.StatusOK, "delivered", "200")
	if t.Failed() {
		t.FailNow()
	}
	<-told
	b.deed(path+"/disable", "Nothing is sent any more.")
	m.issue()
	status, page = b.get(path)
	wantSays(t, "disabled", status, page, http.StatusOK, "disabled", path+"/enable")
	b.deed(path+"/skip", "They were skipped.", "subject", "*")
	b.deed(path+"/enable", "Events are sent again.")
	_, page = b.get(path + "/replay")
	status, page = b.post(path+"/replay", carried(t, page))
	wantSays(t, "neither a day nor an entry", status, page, http.StatusBadRequest, `role="alert"`)
	b.deed(path+"/replay", "They are delivered again.", "after", "0")
	if t.Failed() {
		t.FailNow()
	}
	<-told // the licence that was skipped
	status, page = b.get("/console/webhooks/none")
	wantSays(t, "no such endpoint", status, page, http.StatusNotFound)
}

// The settings show how the daemon stands, and lead to what a restore has left to decide.
func TestConsoleSettings(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	root := m.token("root", "admin").Token
	b := m.browser()
	b.signIn(root)
	status, page := b.get("/console/settings")
	wantSays(t, "the settings", status, page, http.StatusOK, "http://licence.test", "trusted", "cad, cam", "licensed-data")
	status, page = b.get("/console/restore")
	wantSays(t, "no restore", status, page, http.StatusOK, "There is nothing to decide.")

	copied := m.backup()
	l := m.issue()
	m.ok(m.machine("x").activate(l.Code))
	m.goBack(copied)
	b = m.browser()
	b.signIn(root)
	status, page = b.get("/console/settings")
	wantSays(t, "after a restore", status, page, http.StatusOK, "restored from a backup", "/console/restore")
	status, page = b.get("/console/restore")
	wantSays(t, "what was lost", status, page, http.StatusOK, "licence lost", l.ID, "/console/restore/forgo?id=")
	_, rest, _ := strings.Cut(page, "/console/restore/forgo?id=")
	id, _, _ := strings.Cut(rest, `"`)
	b.deed("/console/restore/forgo?id="+id, "It was dropped.")
	for range 20 { // whatever else there is
		_, page = b.get("/console/restore")
		_, rest, more := strings.Cut(page, "/console/restore/forgo?id=")
		if !more {
			break
		}
		id, _, _ = strings.Cut(rest, `"`)
		b.deed("/console/restore/forgo?id="+id, "It was dropped.")
	}
	b.deed("/console/restore/finish", "Reconcile mode is closed.")

	scoped := m.browser()
	scoped.signIn(m.token("cam", "issuer", "cam").Token)
	for _, path := range []string{"settings", "restore", "keys", "webhooks", "tokens", "marketplaces"} {
		status, page := scoped.get("/console/" + path)
		wantSays(t, path+" for one product", status, page, http.StatusForbidden)
		if strings.Contains(page, `href="/console/`+path+`"`) {
			t.Errorf("the navigation leads to %s", path)
		}
	}
}
