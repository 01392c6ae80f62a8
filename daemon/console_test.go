package daemon_test

import (
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// browser is what a member of the staff looks at the console with. It has no script.
type browser struct {
	t    *testing.T
	base string
	c    *http.Client
}

func (m *merchant) browser() *browser {
	m.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return &browser{t: m.t, base: "http://" + m.d.AdminAddr(), c: &http.Client{Jar: jar}}
}

// do sends a request and follows redirects, as browsers do.
func (b *browser) do(rq *http.Request) (status int, page string) {
	b.t.Helper()
	rs, err := b.c.Do(rq)
	if err != nil {
		b.t.Fatal(err)
	}
	defer rs.Body.Close()
	data, err := io.ReadAll(rs.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if csp := rs.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		b.t.Errorf("%s: the policy is %q", rq.URL, csp)
	}
	return rs.StatusCode, string(data)
}

func (b *browser) get(path string) (status int, page string) {
	b.t.Helper()
	rq, err := http.NewRequestWithContext(b.t.Context(), http.MethodGet, b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return b.do(rq)
}

func (b *browser) post(path string, form url.Values, header ...string) (status int, page string) {
	b.t.Helper()
	rq, err := http.NewRequestWithContext(b.t.Context(), http.MethodPost, b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	rq.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(header); i += 2 {
		rq.Header.Set(header[i], header[i+1])
	}
	return b.do(rq)
}

// signIn must succeed.
func (b *browser) signIn(token string) {
	b.t.Helper()
	if status, page := b.post("/console/sign-in", url.Values{"token": {token}}); status != http.StatusOK || !strings.Contains(page, "Overview") {
		b.t.Fatalf("sign in: %d %s", status, page)
	}
}

var hiddenField = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// carried are the hidden fields of the last form of what a page is about.
func carried(t *testing.T, page string) url.Values {
	t.Helper()
	page, _, _ = strings.Cut(page, "</main>")
	i := strings.LastIndex(page, "<form")
	if i < 0 {
		t.Fatalf("no form in %s", page)
	}
	form := url.Values{}
	for _, m := range hiddenField.FindAllStringSubmatch(page[i:], -1) {
		form.Add(m[1], html.UnescapeString(m[2]))
	}
	return form
}

// wantSays checks a page.
func wantSays(t *testing.T, what string, status int, page string, want int, says ...string) {
	t.Helper()
	if status != want {
		t.Errorf("%s: HTTP %d, want %d: %s", what, status, want, page)
	}
	for _, text := range says {
		if !strings.Contains(page, text) {
			t.Errorf("%s: the page does not say %q: %s", what, text, page)
		}
	}
}

func (m *merchant) issueOne(o adminwire.Issue) adminwire.License {
	m.t.Helper()
	var out adminwire.LicenseList
	if err := m.admin(http.MethodPost, adminwire.PathLicenses, o, &out); err != nil {
		m.t.Fatal(err)
	}
	return out.Licenses[0]
}

func (m *merchant) show(id string) adminwire.License {
	m.t.Helper()
	var out adminwire.License
	if err := m.admin(http.MethodGet, strings.ReplaceAll(adminwire.PathLicense, "{id}", id), nil, &out); err != nil {
		m.t.Fatal(err)
	}
	return out
}

func (m *merchant) count(action license.Action) int {
	m.t.Helper()
	var out adminwire.EventList
	if err := m.admin(http.MethodGet, adminwire.PathEvents+"?limit=1000&action="+string(action), nil, &out); err != nil {
		m.t.Fatal(err)
	}
	return len(out.Events)
}

// Nobody sees anything without a session, and a session lasts as long as it is used, its
// token is good and its twelve hours are not over.
func TestConsoleSessions(t *testing.T) {
	t.Parallel()
	var clock movable
	m := start(t, withTCP, nil, clock.set)
	anna := m.token("anna", "issuer")
	b := m.browser()

	status, page := b.get("/console/licenses?state=active")
	wantSays(t, "without a session", status, page, http.StatusUnauthorized, `name="token"`, `value="/console/licenses?state=active"`)
	status, page = b.post("/console/sign-in", url.Values{"token": {"licadm_nonsense"}})
	wantSays(t, "a wrong token", status, page, http.StatusUnauthorized, "not known, has expired or was revoked")

	status, page = b.post("/console/sign-in", url.Values{"token": {" " + anna.Token + "\n"}, "to": {"/console/licenses?state=active"}})
	wantSays(t, "the right one", status, page, http.StatusOK, "anna", "Licences", `<option value="active" selected>`)
	if n := m.count(license.ActionSessionBegin); n != 1 {
		t.Errorf("%d sign-ins are in the audit log", n)
	}
	for _, elsewhere := range []string{"//evil.test/console/", "https://evil.test/console/", `/console/\evil`, "/admin/v1/status"} {
		other := m.browser()
		other.c.CheckRedirect = func(rq *http.Request, _ []*http.Request) error {
			if rq.URL.Path != "/console/" || "http://"+rq.URL.Host != other.base {
				t.Errorf("to %q leads to %s", elsewhere, rq.URL)
			}
			return http.ErrUseLastResponse
		}
		other.post("/console/sign-in", url.Values{"token": {anna.Token}, "to": {elsewhere}})
	}

	for range 3 { // used, it goes on
		clock.by.Add(int64(authority.SessionIdle - time.Minute))
		if status, _ := b.get("/console/"); status != http.StatusOK {
			t.Fatalf("a session in use ends: %d", status)
		}
	}
	clock.by.Add(int64(authority.SessionIdle + time.Second))
	status, page = b.get("/console/")
	wantSays(t, "idle", status, page, http.StatusUnauthorized, "session has ended")

	b.signIn(anna.Token)
	for range int(authority.SessionLife/authority.SessionIdle)*2 - 1 {
		clock.by.Add(int64(authority.SessionIdle / 2))
		b.get("/console/")
	}
	if status, _ := b.get("/console/"); status != http.StatusOK {
		t.Errorf("before its twelve hours are over: %d", status)
	}
	clock.by.Add(int64(authority.SessionIdle / 2))
	if status, _ := b.get("/console/"); status != http.StatusUnauthorized {
		t.Errorf("after its twelve hours: %d", status)
	}

	b.signIn(anna.Token)
	if err := m.admin(http.MethodPost, strings.ReplaceAll(adminwire.PathRevokeToken, "{token}", anna.ID), nil, nil); err != nil {
		t.Fatal(err)
	}
	if status, _ := b.get("/console/"); status != http.StatusUnauthorized {
		t.Errorf("after its token was revoked: %d", status)
	}
}

// Signing out ends the session at the server, in this browser or in all.
func TestConsoleSignOut(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	anna := m.token("anna", "issuer")
	one, two := m.browser(), m.browser()
	one.signIn(anna.Token)
	two.signIn(anna.Token)
	base, err := url.Parse(one.base)
	if err != nil {
		t.Fatal(err)
	}
	kept := one.c.Jar.Cookies(base)

	one.post("/console/sign-out", nil)
	one.c.Jar.SetCookies(base, kept) // somebody kept the cookie
	if status, _ := one.get("/console/"); status != http.StatusUnauthorized {
		t.Errorf("signed out: %d", status)
	}
	if status, _ := two.get("/console/"); status != http.StatusOK {
		t.Errorf("the other browser: %d", status)
	}
	one.signIn(anna.Token)
	one.post("/console/sign-out-everywhere", nil)
	if status, _ := two.get("/console/"); status != http.StatusUnauthorized {
		t.Errorf("signed out everywhere: %d", status)
	}
	if n := m.count(license.ActionSessionEndAll); n != 1 {
		t.Errorf("%d entries say so", n)
	}
}

// A deed is shown before it is done, done once however often it is sent in, and only for
// the licence as it was looked at.
func TestConsoleDeeds(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	l := m.issueOne(adminwire.Issue{Product: "cad", For: "90d"})
	b := m.browser()
	b.signIn(m.token("anna", "issuer").Token)
	path := "/console/licenses/" + l.ID + "/suspend"

	status, page := b.get(path)
	wantSays(t, "the form", status, page, http.StatusOK, "Preview")
	status, page = b.post(path, carried(t, page))
	wantSays(t, "the preview", status, page, http.StatusOK, "What will change", "Issued", "Suspended")
	if got := m.show(l.ID); got.Revision != l.Revision || got.State != license.StateIssued {
		t.Fatalf("a preview has changed it: %+v", got)
	}
	form := carried(t, page)
	form.Set("step", "do")

	status, page = b.post(path, form, "Sec-Fetch-Site", "cross-site")
	wantSays(t, "from another site", status, page, http.StatusForbidden, "another site")
	if m.show(l.ID).State != license.StateIssued {
		t.Fatal("another site has changed it")
	}
	for range 2 {
		status, page = b.post(path, form)
		wantSays(t, "the deed", status, page, http.StatusOK, "The licence is suspended.", "Resume")
	}
	if n := m.count(license.ActionSuspend); n != 1 {
		t.Errorf("sent in twice it was done %d times", n)
	}

	// Two look at it, and both change it.
	path = "/console/licenses/" + l.ID + "/renew"
	_, page = b.get(path)
	stale := carried(t, page)
	if err := m.admin(http.MethodPost, strings.ReplaceAll(adminwire.PathResume, "{id}", l.ID), nil, nil); err != nil {
		t.Fatal(err)
	}
	stale.Set("for", "10d")
	status, page = b.post(path, stale)
	wantSays(t, "a stale page", status, page, http.StatusConflict, "changed meanwhile", `value="10d"`)
	if got := m.show(l.ID); !got.ExpiresAt.Equal(*l.ExpiresAt) {
		t.Errorf("a stale page has moved its end to %s", got.ExpiresAt)
	}
	status, page = b.post(path, carried(t, page))
	wantSays(t, "nothing is filled in", status, page, http.StatusBadRequest, `role="alert"`)
}

// A form that is sent in after the session has ended is not carried out and not lost.
func TestConsoleKeepsAForm(t *testing.T) {
	t.Parallel()
	var clock movable
	m := start(t, withTCP, nil, clock.set)
	l := m.issueOne(adminwire.Issue{Product: "cad", For: "90d"})
	token := m.token("anna", "issuer").Token
	b := m.browser()
	b.signIn(token)
	path := "/console/licenses/" + l.ID + "/revoke"
	_, page := b.get(path)
	form := carried(t, page)
	form.Set("reason", `refund "A" <b>`)
	_, page = b.post(path, form)
	form = carried(t, page)
	form.Set("step", "do")
	clock.by.Add(int64(authority.SessionIdle + time.Second))

	status, page := b.post(path, form)
	wantSays(t, "after its end", status, page, http.StatusUnauthorized, "Nothing was changed", "kept")
	back := carried(t, page)
	back.Set("token", token)
	status, page = b.post("/console/sign-in", back)
	wantSays(t, "signed in again", status, page, http.StatusOK, "Look at it again")
	if m.show(l.ID).State != license.StateIssued {
		t.Fatal("signing in has carried it out")
	}
	status, page = b.post(path, carried(t, page))
	wantSays(t, "looked at again", status, page, http.StatusOK, "What will change")
	form = carried(t, page)
	if form.Get("reason") != `refund "A" <b>` {
		t.Errorf("the reason has become %q", form.Get("reason"))
	}
	form.Set("step", "do")
	status, page = b.post(path, form)
	wantSays(t, "confirmed", status, page, http.StatusOK, "The licence is revoked.")
	if got := m.show(l.ID); got.RevokeReason != `refund "A" <b>` {
		t.Errorf("%+v", got)
	}
}

// What a customer can fill in is shown as text, wherever it stands.
func TestConsoleShowsScriptAsText(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	const script = `"><script>alert(1)</script>`
	l := m.issueOne(adminwire.Issue{Product: "cad", For: "30d", Customer: script, Order: script})
	b := m.browser()
	b.signIn(m.token("anna", "admin").Token)
	for _, path := range []string{
		"/console/licenses", "/console/licenses?customer=" + url.QueryEscape(script), "/console/licenses/" + l.ID, "/console/licenses/" + l.ID + "/renew",
		"/console/licenses?cursor=" + url.QueryEscape(script), "/console/" + url.PathEscape(script), "/console/licenses/" + url.PathEscape(script),
	} {
		if _, page := b.get(path); strings.Contains(page, "<script>") {
			t.Errorf("%s: %s", path, page)
		}
	}
	if _, page := b.get("/console/licenses/" + l.ID); !strings.Contains(page, html.EscapeString(script)) {
		t.Error("the customer is not shown")
	}
}

// Roles and scopes are those of the API.
func TestConsoleRoles(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	l := m.issueOne(adminwire.Issue{Product: "cad", For: "90d"})
	viewer := m.browser()
	viewer.signIn(m.token("vera", "viewer").Token)
	path := "/console/licenses/" + l.ID
	status, page := viewer.get(path)
	wantSays(t, "a viewer", status, page, http.StatusOK, "cad")
	if strings.Contains(page, path+"/suspend") {
		t.Error("a viewer is offered to suspend it")
	}
	status, page = viewer.get(path + "/suspend")
	wantSays(t, "a viewer", status, page, http.StatusForbidden, "this needs the role issuer")
	status, page = viewer.post(path+"/suspend", url.Values{"step": {"do"}, "key": {"k"}})
	wantSays(t, "a viewer", status, page, http.StatusForbidden)
	if m.show(l.ID).State != license.StateIssued {
		t.Error("a viewer has suspended it")
	}

	scoped := m.browser()
	scoped.signIn(m.token("cam", "issuer", "cam").Token)
	status, page = scoped.get(path)
	wantSays(t, "another product's", status, page, http.StatusNotFound)
	if _, page := scoped.get("/console/licenses"); strings.Contains(page, l.ID) {
		t.Error("another product's licence is listed")
	}
}

// A page is in the language that the browser asks for, or that was chosen.
func TestConsoleLanguage(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	b := m.browser()
	for accept, want := range map[string]string{"": "Sign in", "zh-TW,en;q=0.5": "登录", "de,zh;q=0.8,en;q=0.9": "Sign in", "zh-CN": "登录", "fr": "Sign in", ";;;": "Sign in"} {
		rq, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.base+"/console/sign-in", nil)
		if err != nil {
			t.Fatal(err)
		}
		rq.Header.Set("Accept-Language", accept)
		if _, page := b.do(rq); !strings.Contains(page, "<h1>"+want+"</h1>") {
			t.Errorf("%q: %s", accept, page)
		}
	}
	status, page := b.get("/console/sign-in?lang=zh-CN")
	wantSays(t, "chosen", status, page, http.StatusOK, `lang="zh-CN"`, "登录")
	if status, page = b.get("/console/sign-in"); !strings.Contains(page, "登录") {
		t.Errorf("not kept: %d", status)
	}
}

// One session too many of a token ends the one that was used least lately, and a token
// that is not good begins none.
func TestConsoleManySessions(t *testing.T) {
	t.Parallel()
	var clock movable
	m := start(t, withTCP, nil, clock.set)
	anna := m.token("anna", "issuer")
	var all []*browser
	for range authority.MaxSessions {
		b := m.browser()
		b.signIn(anna.Token)
		clock.by.Add(int64(time.Second))
		all = append(all, b)
	}
	clock.by.Add(int64(2 * time.Minute))
	all[0].get("/console/") // the first is in use
	clock.by.Add(int64(time.Second))
	m.browser().signIn(anna.Token)
	for i, b := range all {
		want := http.StatusOK
		if i == 1 {
			want = http.StatusUnauthorized
		}
		if status, _ := b.get("/console/"); status != want {
			t.Errorf("browser %d: HTTP %d, want %d", i, status, want)
		}
	}
	if n := m.count(license.ActionSessionBegin); n != authority.MaxSessions+1 {
		t.Errorf("%d sign-ins", n)
	}
}

// What was entered stays about the licence as it was looked at, however often the form
// comes back, and keeps its key until that is used up.
func TestConsoleFormThatComesBack(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	l := m.issueOne(adminwire.Issue{Product: "cad", For: "90d"})
	b := m.browser()
	b.signIn(m.token("anna", "issuer").Token)
	path := "/console/licenses/" + l.ID + "/renew"
	_, page := b.get(path)
	first := carried(t, page)
	if err := m.admin(http.MethodPost, strings.ReplaceAll(adminwire.PathSuspend, "{id}", l.ID), nil, nil); err != nil {
		t.Fatal(err)
	}
	wrong := carried(t, page)
	wrong.Set("expires_at", "2027-02-31")
	status, page := b.post(path, wrong)
	wantSays(t, "no such day", status, page, http.StatusBadRequest, "2027-02-31")
	again := carried(t, page)
	if again.Get("revision") != first.Get("revision") || !strings.HasSuffix(again.Get("key"), first.Get("key")) {
		t.Errorf("the form has become one for revision %s under %s, and was for %s under %s", again.Get("revision"), again.Get("key"), first.Get("revision"), first.Get("key"))
	}
	again.Set("for", "10d")
	again.Set("step", "do")
	status, page = b.post(path, again)
	wantSays(t, "changed meanwhile", status, page, http.StatusConflict, "changed meanwhile")
	now := carried(t, page)
	if now.Get("key") == again.Get("key") || now.Get("revision") == again.Get("revision") {
		t.Error("a form that is out of date is shown for the same revision")
	}
	if got := m.show(l.ID); !got.ExpiresAt.Equal(*l.ExpiresAt) {
		t.Errorf("its end has become %s", got.ExpiresAt)
	}
}

// What somebody may not do is refused by the API, which writes it down.
func TestConsoleRefusalsAreAudited(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	l := m.issueOne(adminwire.Issue{Product: "cad", For: "90d"})
	b := m.browser()
	b.signIn(m.token("vera", "viewer").Token)
	status, page := b.post("/console/licenses/"+l.ID+"/suspend", url.Values{"step": {"do"}, "key": {"k"}})
	wantSays(t, "a viewer", status, page, http.StatusForbidden)
	if n := m.count(license.ActionRefused); n != 1 || m.show(l.ID).State != license.StateIssued {
		t.Errorf("%d refusals are written down", n)
	}
}
