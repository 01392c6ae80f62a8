package daemon_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// published is what a status list says of when it was signed, within a second of
// what was done before.
var published = regexp.MustCompile(`,?"(signed_at|digest)":"[^"]*"`)

// records is all that the store holds, but for who took a copy of it and what the
// daemon notes by itself as time goes by.
func (m *merchant) records() map[string]bool {
	m.t.Helper()
	_, text := m.staff(http.MethodPost, adminwire.PathDump, "")
	out := map[string]bool{}
	for line := range strings.Lines(text) {
		own := strings.Contains(line, `"action":"`+string(license.ActionDump)+`"`) || strings.Contains(line, `"name":"clock"`) || strings.Contains(line, `"name":"health`) || strings.Contains(line, `"name":"census"`)
		if kind, data, ok := strings.Cut(line, `"data":`); ok && !own {
			_, kind, _ = strings.Cut(kind, `"kind":`)
			kind, _, _ = strings.Cut(kind, ",") // not the checksum
			out[kind+","+published.ReplaceAllString(data, "")] = true
		}
	}
	return out
}

// Every call that can be tried leaves every record of a merchant's store as it was.
func TestTryingChangesNothing(t *testing.T) {
	t.Parallel()
	yaml := strings.Replace(config, "products:", "marketplaces: [{name: koogallery, access_key_files: [ak]}]\nproducts:", 1) +
		"  - {id: pro, name: Pro, machines: 3, features: {export: true}}\n" +
		"webhooks: [{name: hook, url: 'https://127.0.0.1:1/', secret_file: hook, events: [keys.rotated]}]\n"
	m := start(t, yaml, map[string]string{"hook": hookSecret, "ak": "0123456789abcdef"})
	live, held, gone := m.issue(), m.issue(), m.issue()
	x := m.machine("x")
	m.ok(x.activate(live.Code))
	m.must(http.MethodPost, at(adminwire.PathSuspend, held.ID), nil)
	m.must(http.MethodPost, at(adminwire.PathRevoke, gone.ID), adminwire.Revoke{Reason: "refund"})
	m.must(http.MethodPost, adminwire.PathOrders, adminwire.AddOrder{Channel: "koogallery", Order: "CS1", Customer: "ACME"})
	token := m.token("t", "viewer")
	next := ""
	for _, k := range decode[adminwire.KeyList](t, second(m.staff(http.MethodGet, adminwire.PathKeys, ""))).Keys {
		if k.Role == "next" {
			next = k.ID
		}
	}
	now := time.Now().UTC().Format(time.RFC3339)
	// refused: it cannot succeed here, and is refused in the same way.
	calls := map[string]struct {
		id, body string
		refused  license.Reason
	}{
		"accept-clock":     {body: `{"shown":"` + now + `"}`},
		"checkpoint":       {},
		"erase-events":     {body: `{"license":"` + live.ID + `","reason":"7","customer":true}`},
		"identify":         {body: `{"ref":"` + live.ID + `","device":"HW-1"}`},
		"retry-jobs":       {body: `{"all_parked":true}`},
		"drop-job":         {refused: license.NotFound},
		"revoke-keys":      {body: `{"reason":"stolen","keys":["` + next + `"]}`},
		"keep-key":         {},
		"rotate":           {},
		"install-keys":     {body: `{"token":"x"}`, refused: license.BadRequest},
		"issue":            {body: `{"product":"cad","for":"30d","count":2}`},
		"issue-many":       {body: `{"rows":[{"product":"cad","for":"30d"}]}`},
		"edit":             {body: `{"phases":{"warn":"1d"}}`},
		"remove-install":   {body: `{}`},
		"release":          {},
		"renew":            {body: `{"for":"30d"}`},
		"resume":           {id: held.ID},
		"revoke":           {body: `{"reason":"refund"}`},
		"suspend":          {},
		"transfer":         {body: `{}`},
		"approve-transfer": {body: `{}`, refused: license.NotFound},
		"deny-transfer":    {body: `{}`, refused: license.NotFound},
		"undo-revoke":      {id: gone.ID},
		"upgrade":          {body: `{"product":"pro","for":"1d","force":true}`},
		"add-order":        {body: `{"channel":"koogallery","order":"CS2"}`},
		"import-orders":    {body: `{"orders":[{"channel":"koogallery","order":"CS3"}]}`},
		"edit-order":       {body: `{"customer":"EMCA"}`},
		"order-link":       {body: `{"license":"` + live.ID + `"}`},
		"order-stage":      {body: `{"stage":"delivered"}`},
		"prove":            {body: `{"ref":"` + live.ID + `"}`},
		"sign":             {body: `{"request":"` + activation(t, live.Code, "y") + `"}`},
		"restore-decide":   {body: `{"id":"a/b","decision":"drop"}`, refused: license.NotFound},
		"restore-finish":   {body: `{}`, refused: license.Conflict},
		"create-token":     {body: `{"name":"n","role":"viewer"}`},
		"revoke-token":     {},
		"disable-webhook":  {},
		"enable-webhook":   {},
		"forget-webhook":   {refused: license.Conflict},
		"replay-webhook":   {body: `{"after":0}`},
		"skip-webhook":     {body: `{"all":true}`},
	}
	names := strings.NewReplacer("{install}", m.shown(live.ID).Installs[0].ID, "{kid}", next, "{order}", "CS1", "{token}", token.ID,
		"{webhook}", "hook", "{job}", "job_none")
	doc := decode[document](t, second(m.staff(http.MethodGet, adminwire.PathOpenAPI, "")))
	before, shown := m.records(), m.shown(held.ID)
	for path, item := range doc.part("paths") {
		op := document(item.(map[string]any)).part("post")
		id, _ := op["operationId"].(string)
		params, _ := op["parameters"].([]any)
		tried := false
		for _, p := range params {
			tried = tried || p.(map[string]any)["name"] == adminwire.QueryDryRun
		}
		if !tried {
			continue
		}
		c, ok := calls[id]
		if !ok {
			t.Errorf("%s can be tried, and this test does not try it", id)
			continue
		}
		if c.id == "" {
			c.id = live.ID
		}
		rs, text := m.staff(http.MethodPost, names.Replace(strings.Replace(path, "{id}", c.id, 1))+"?dry_run=true", c.body)
		switch {
		case c.refused != "":
			if p := problem(t, rs, text); p.Reason != c.refused {
				t.Errorf("%s: %s", id, text)
			}
		case rs.StatusCode != http.StatusOK || rs.Header.Get(adminwire.HeaderDryRun) != "true":
			t.Errorf("%s: HTTP %d: %s", id, rs.StatusCode, text)
		}
		if strings.Contains(text, "LIC-") || strings.Contains(text, "licadm_") || strings.Contains(text, "eyJ") || strings.Contains(text, "BEGIN LICENSE") {
			t.Errorf("a dry run of %s hands out what is secret or signed: %s", id, text)
		}
		if d := cmp.Diff(before, m.records()); d != "" {
			t.Fatalf("%s was made (-before +after):\n%s", id, d)
		}
	}
	if d := cmp.Diff(shown, m.shown(held.ID)); d != "" {
		t.Error(d)
	}
	if err := x.refresh(); err != nil {
		t.Errorf("the install after all that: %v", err)
	}
}

func second(_ *http.Response, text string) string { return text }
