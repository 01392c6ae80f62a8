package browser_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// pageRow is a page that is looked at in every shape.
type pageRow struct {
	path   string // {…} stand for what the shop knows
	public bool   // it is the buyer's, on the public listener
	steps  []step // that lead on from there
	role   string // who looks at it: admin where it is empty; nobody: "-"
	status int    // 200 where it is 0
	action string // selector of what the page is for; "" where it is for reading
}

// preview leads from the form of a deed to what would come of it.
var preview = []step{{Click: `main form button:not([name])`}}

// pageRows are all pages that there are. TestRoutes tells which are missing.
var pageRows = []pageRow{
	{path: "/console/sign-in", role: "-", action: `main button`},
	{path: "/console/sign-in", role: "-", steps: []step{{Fill: "#token", Value: "wrong"}, {Click: "main button"}}, status: http.StatusUnauthorized, action: `#token`},
	{path: "/console/licenses?state=active", role: "-", status: http.StatusUnauthorized, action: `#token`},
	{path: "/console/", action: `a[href="/console/licenses"]`},
	{path: "/console/nowhere", status: http.StatusNotFound, action: `main a`},
	{path: "/console/licenses", action: `.filters button`},
	{path: "/console/licenses?state=active&product=cad-pro", action: `.filters button`},
	{path: "/console/licenses?customer=nobody", action: `.filters button`},
	{path: "/console/licenses?cursor=x", action: `.filters button`},
	{path: "/console/licenses/{id}", action: `a[href$="/suspend"]`},
	{path: "/console/licenses/{id}", role: "viewer", action: `a[href="/console/licenses"]`},
	{path: "/console/licenses/{full}", action: `a[href="/console/transfers"]`},
	{path: "/console/licenses/{id}/renew", action: `main form button`},
	{path: "/console/licenses/{id}/renew", steps: preview, status: http.StatusBadRequest, action: `main form button`},
	{path: "/console/licenses/{id}/renew", steps: append([]step{{Fill: "#f-for", Value: "30d"}}, preview...), action: `button[value=do]`},
	{path: "/console/licenses/{id}/revoke", steps: append([]step{{Fill: "#f-reason", Value: "退款"}}, preview...), action: `button[value=do]`},
	{path: "/console/licenses/{id}/suspend", role: "viewer", status: http.StatusForbidden, action: `main a`},
	{path: "/console/licenses/{id}/edit", action: `main form button`},
	{path: "/console/licenses/{id}/upgrade", action: `main form button`},
	{path: "/console/licenses/{full}/approve", action: `main form button`},
	{path: "/console/licenses", steps: []step{{Check: `tbody tr:nth-child(2) input[name=id]`}, {Select: "#action", Value: "suspend"}, {Click: ".bulk button"}}, action: `button[value=do]`},
	{path: "/console/issue", action: `main form button`},
	{
		path: "/console/issue", action: `main .actions a, main p a.button`,
		steps: []step{{Select: "#f-product", Value: "cad-lite"}, {Fill: "#f-customer", Value: "上海"}, {Fill: "#f-for", Value: "365d"}, preview[0], {Click: "button[value=do]"}},
	},
	{path: "/console/transfers", action: `main a[href*="/approve"]`},
	{path: "/console/orders", action: `main a[href="/console/orders/add"]`},
	{path: "/console/orders/add", action: `main form button`},
	{path: "/console/order?order={order}&channel=koogallery&line=-", action: `main .actions a`},
	{path: "/console/order/stage?order={order}&channel=koogallery&line=-", action: `main form button`},
	{path: "/console/outbox"},
	{path: "/console/outbox/{job}/retry", action: `main form button`},
	{path: "/console/marketplaces"},
	{path: "/console/marketplaces/{channel}", action: `main .actions a`},
	{path: "/console/marketplaces/{channel}/self-test", action: `main form button`},
	{path: "/console/audit", action: `.filters button`},
	{path: "/console/audit/checkpoint", action: `main form button`},
	{path: "/console/keys", action: `main a[href="/console/keys/rotate"]`},
	{path: "/console/keys/rotate", steps: preview, action: `button[value=do]`},
	{path: "/console/tokens", action: `main a[href="/console/tokens/create"]`},
	{path: "/console/tokens/create", action: `main form button`},
	{path: "/console/tokens/{token}/revoke-token", action: `main form button`},
	{path: "/console/webhooks"},
	{path: "/console/webhooks/{webhook}", action: `main .actions a`},
	{path: "/console/webhooks/{webhook}/disable", action: `main form button`},
	{path: "/console/settings"},
	{path: "/activate", public: true, role: "-", action: `#continue`},
	{path: "/activate", public: true, role: "-", steps: []step{{Click: "#continue"}}, status: http.StatusBadRequest, action: `#continue`},
	{path: "/activate", public: true, role: "-", steps: handIn, action: `form[action="/activate/confirm"] button`},
	{path: "/activate", public: true, role: "-", steps: append(slices.Clip(handIn), step{Click: `form[action="/activate/confirm"] button`}), action: `main button`},
}

// handIn leads from the buyer's page to what will be bound.
var handIn = []step{{File: "#file", Name: "machine.req", Value: "{request}"}, {Click: "#continue"}}

// Every page is sound in both languages, light and dark, on a desktop and on a phone.
// A page is loaded for each language and width. axe-core, which takes the longest, looks
// at one load in each language, in both colour schemes and widths.
func TestPages(t *testing.T) {
	t.Parallel()
	tl := newTools(t)
	s := newShop(t)
	sessions := map[string][]cookie{"-": nil, "": {s.signIn("admin")}, "viewer": {s.signIn("viewer")}}
	var visits []visit
	var rows []pageRow
	for _, p := range pageRows {
		for _, v := range []visit{
			{Lang: english, Width: desktop, Schemes: []string{light, dark}, Keyboard: true, Axe: []int{desktop, phone}},
			{Lang: english, Width: phone, Schemes: []string{dark, light}},
			{Lang: chinese, Width: desktop, Schemes: []string{dark, light}, Axe: []int{desktop, phone}},
			{Lang: chinese, Width: phone, Schemes: []string{light, dark}, Keyboard: true},
		} {
			v.Origin, v.Path, v.Steps, v.Cookies, v.Action, v.Measure = s.console(), s.path(p.path), s.steps(p.steps), sessions[p.role], p.action, true
			if p.public {
				v.Origin = s.public()
			}
			visits, rows = append(visits, v), append(rows, p)
		}
	}
	links := make(map[string]string)
	for i, got := range tl.look(t, visits) {
		v, p := visits[i], rows[i]
		status := p.status
		if status == 0 {
			status = http.StatusOK
		}
		if faults := v.faults(got, status); len(faults) > 0 {
			on := ""
			if len(p.steps) > 0 {
				on = ", led on to " + got.URL
			}
			t.Errorf("%s%s:\n\t%s", v, on, strings.Join(faults, "\n\t"))
		}
		if p.role == "" && status == http.StatusOK {
			for _, l := range got.Links {
				links[l] = v.String()
			}
		}
	}
	s.follow(sessions[""][0], links)
}

// path puts in what the shop knows.
func (s *shop) path(pattern string) string {
	s.t.Helper()
	for name, value := range s.known {
		pattern = strings.ReplaceAll(pattern, name, value)
	}
	if strings.Contains(pattern, "{") {
		s.t.Fatalf("nobody knows what stands in %s", pattern)
	}
	return pattern
}

// steps puts it into what is filled in.
func (s *shop) steps(of []step) []step {
	out := slices.Clone(of)
	for i := range out {
		for name, value := range s.known {
			out[i].Value = strings.ReplaceAll(out[i].Value, name, value)
		}
	}
	return out
}

// follow goes to each address, by the page that it is linked from: none may lead nowhere.
func (s *shop) follow(c cookie, links map[string]string) {
	s.t.Helper()
	if len(links) == 0 {
		s.t.Error("there is no link on any page")
	}
	for link, from := range links {
		rq, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, link, nil)
		s.did(rq, err)
		rq.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		rs, err := http.DefaultTransport.RoundTrip(rq)
		if err != nil {
			s.t.Errorf("a link on %s: %v", from, err)
			continue
		}
		rs.Body.Close()
		if rs.StatusCode >= http.StatusBadRequest {
			s.t.Errorf("a link on %s leads to %s, which is answered with HTTP %d", from, link, rs.StatusCode)
		}
	}
}
