package daemon_test

import (
	"net/http"
	"os/user"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

const withTCP = config + `
  - {id: cam, name: CAM, marketplace_products: [OFFI2]}
admin: {listen: "127.0.0.1:0"}
`

// token makes a token over the socket.
func (m *merchant) token(name, role string, products ...string) adminwire.Token {
	m.t.Helper()
	var out adminwire.Token
	if err := m.admin(http.MethodPost, adminwire.PathTokens, adminwire.CreateToken{Name: name, Role: role, Products: products}, &out); err != nil {
		m.t.Fatal(err)
	}
	return out
}

// as sends a call to the admin listener with a token.
func (m *merchant) as(token, method, path, body string, header ...string) (*http.Response, string) {
	m.t.Helper()
	rq, err := http.NewRequestWithContext(m.t.Context(), method, "http://"+m.d.AdminAddr()+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	if body != "" {
		rq.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		rq.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		rq.Header.Set(header[i], header[i+1])
	}
	return m.send(m.c, rq)
}

// refuse makes a call that must be refused for a reason.
func (m *merchant) refuse(reason license.Reason, token, method, path, body string, header ...string) string {
	m.t.Helper()
	rs, text := m.as(token, method, path, body, header...)
	p := problem(m.t, rs, text)
	if p.Reason != reason {
		m.t.Errorf("%s %s: %s, want %s", method, path, text, reason)
	}
	return p.Detail
}

// allow makes a call that must succeed.
func (m *merchant) allow(token, method, path, body string) string {
	m.t.Helper()
	rs, text := m.as(token, method, path, body)
	if rs.StatusCode != http.StatusOK {
		m.t.Errorf("%s %s: HTTP %d: %s", method, path, rs.StatusCode, text)
	}
	return text
}

// movable is a clock that a test moves.
type movable struct{ by atomic.Int64 }

func (c *movable) set(o *daemon.Options) {
	o.Now = func() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }
}

// A token stops to be good at once when it is revoked, and at its end; whatever is
// wrong with one, the answer is the same.
func TestTokenLife(t *testing.T) {
	t.Parallel()
	var c movable
	m := start(t, withTCP, nil, c.set)
	short, other := m.token("short", "viewer"), m.token("other", "viewer")
	if !strings.HasPrefix(short.Token, "licadm_") || len(short.Token) < 43 || short.ExpiresAt.Sub(short.CreatedAt) != 90*24*time.Hour {
		t.Errorf("%+v", short)
	}
	m.allow(short.Token, http.MethodGet, adminwire.PathLicenses, "")
	m.allow(other.Token, http.MethodGet, adminwire.PathLicenses, "")
	m.must(http.MethodPost, strings.Replace(adminwire.PathRevokeToken, "{token}", short.ID, 1), nil)
	details := map[string]bool{}
	refuse := func(token string) {
		t.Helper()
		details[m.refuse(license.Unauthorized, token, http.MethodGet, adminwire.PathLicenses, "")] = true
	}
	refuse(short.Token)
	refuse("licadm_" + strings.Repeat("A", 43))
	refuse("x")
	c.by.Store(int64(90*24*time.Hour + time.Minute))
	m.must(http.MethodPost, adminwire.PathClock, adminwire.AcceptClock{Shown: time.Now().Add(time.Duration(c.by.Load()))})
	refuse(other.Token)
	if len(details) != 1 {
		t.Errorf("the answers tell what is wrong: %v", details)
	}
	var list adminwire.TokenList
	if err := m.admin(http.MethodGet, adminwire.PathTokens, nil, &list); err != nil {
		t.Fatal(err)
	}
	states := map[string]string{}
	for _, k := range list.Tokens { // those of one second in any order
		if states[k.Name] = k.State; k.LastUsed == nil || k.LastUsed.Minute() != 0 {
			t.Errorf("%+v", k)
		}
		if k.Token != "" {
			t.Error("a token is shown again")
		}
	}
	if len(list.Tokens) != 2 || states["short"] != "revoked" || states["other"] != "expired" {
		t.Errorf("%+v", list.Tokens)
	}
}

// Ten wrong tokens lock an address out, good tokens from it included; it is
// written down once, and ends by itself.
func TestLockedOut(t *testing.T) {
	t.Parallel()
	var c movable
	m := start(t, withTCP, nil, c.set)
	good := m.token("good", "admin").Token
	for range 10 {
		m.refuse(license.Unauthorized, "licadm_wrong", http.MethodGet, adminwire.PathLicenses, "")
	}
	for range 5 {
		m.refuse(license.RateLimited, "licadm_wrong", http.MethodGet, adminwire.PathLicenses, "")
	}
	rs, text := m.as(good, http.MethodGet, adminwire.PathLicenses, "")
	if p := problem(t, rs, text); p.Reason != license.RateLimited || p.RetryAfter < 1 || p.RetryAfter > 60 {
		t.Errorf("%s", text)
	}
	locked := 0
	var log adminwire.EventList
	m.ok(asError(m.admin(http.MethodGet, adminwire.PathEvents+"?action="+string(license.ActionLockedOut), nil, &log)))
	for _, e := range log.Events {
		locked++
		if e.Actor.Addr != "127.0.0.1" {
			t.Errorf("%+v", e.Actor)
		}
	}
	if locked != 1 {
		t.Errorf("%d lock-outs are written down", locked)
	}
	c.by.Add(int64(61 * time.Second))
	m.allow(good, http.MethodGet, adminwire.PathLicenses, "")
}

// What each role may do, seen from outside.
func TestRoles(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	l := m.issue()
	calls := []struct{ least, method, path, body string }{
		{"viewer", http.MethodGet, adminwire.PathLicenses, ""},
		{"viewer", http.MethodGet, at(adminwire.PathLicense, l.ID), ""},
		{"viewer", http.MethodPost, adminwire.PathLookup, `{"ref":"` + l.ID + `"}`},
		{"viewer", http.MethodGet, adminwire.PathEvents, ""},
		{"viewer", http.MethodGet, adminwire.PathStatus, ""},
		{"issuer", http.MethodPost, adminwire.PathLicenses, `{"product":"cad","for":"1d"}`},
		{"issuer", http.MethodPost, at(adminwire.PathSuspend, l.ID), ""},
		{"issuer", http.MethodPost, at(adminwire.PathRevoke, l.ID), `{"reason":"refund"}`},
		{"issuer", http.MethodPost, at(adminwire.PathUndoRevoke, l.ID), ""},
		{"admin", http.MethodGet, adminwire.PathTokens, ""},
		{"admin", http.MethodPost, adminwire.PathTokens, `{"name":"more","role":"admin"}`},
		{"admin", http.MethodPost, adminwire.PathProposal, ""},
		{"admin", http.MethodPost, adminwire.PathRetryJobs, `{"all_parked":true}`},
		{"admin", http.MethodPost, adminwire.PathRotate, ""},
	}
	roles := []string{"viewer", "issuer", "admin"}
	for i, role := range roles {
		token := m.token(role, role).Token
		for _, c := range calls {
			if slices.Index(roles, c.least) > i {
				m.refuse(license.Forbidden, token, c.method, c.path, c.body)
			} else {
				m.allow(token, c.method, c.path, c.body)
			}
		}
	}
	m.refuse(license.Unauthorized, "", http.MethodGet, adminwire.PathLicenses, "")
	// A page in a browser of a member of the staff cannot make a call.
	m.refuse(license.Forbidden, m.token("b", "admin").Token, http.MethodPost, adminwire.PathLicenses, `{"product":"cad","for":"1d"}`, "Sec-Fetch-Site", "cross-site")
}

// A token for one product neither sees nor changes another, and what is hidden is
// as if there were none.
func TestProductScope(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	mine := m.issue()
	var issued adminwire.LicenseList
	if err := m.admin(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: "cam", For: "365d"}, &issued); err != nil {
		t.Fatal(err)
	}
	theirs := issued.Licenses[0]
	token := m.token("cad only", "admin", "cad").Token
	list := decode[adminwire.LicenseList](t, m.allow(token, http.MethodGet, adminwire.PathLicenses, ""))
	if len(list.Licenses) != 1 || list.Licenses[0].ID != mine.ID {
		t.Errorf("%+v", list)
	}
	for path, body := range map[string]string{
		at(adminwire.PathSuspend, theirs.ID): "", at(adminwire.PathRenew, theirs.ID): `{"for":"1d"}`, at(adminwire.PathRevoke, theirs.ID): `{"reason":"x"}`,
		adminwire.PathLookup: `{"ref":"` + theirs.Code + `"}`, strings.Replace(at(adminwire.PathRemove, theirs.ID), "{install}", "i", 1): "{}",
	} {
		detail := m.refuse(license.UnknownLicense, token, http.MethodPost, path, body)
		none := m.refuse(license.UnknownLicense, token, http.MethodPost, strings.Replace(path, theirs.ID, "lic_none", 1),
			strings.Replace(body, theirs.Code, "LIC-AAAAA-AAAAA-AAAAA-AAAAA-AAAA53", 1))
		if detail != none {
			t.Errorf("%s: %q, and of one that there is not: %q", path, detail, none)
		}
	}
	m.refuse(license.UnknownLicense, token, http.MethodGet, at(adminwire.PathLicense, theirs.ID), "")
	m.refuse(license.Forbidden, token, http.MethodPost, adminwire.PathLicenses, `{"product":"cam","for":"1d"}`)
	m.allow(token, http.MethodPost, adminwire.PathLicenses, `{"product":"cad","for":"1d"}`)
	m.allow(token, http.MethodPost, at(adminwire.PathSuspend, mine.ID), "")
	for _, path := range []string{adminwire.PathRotate, adminwire.PathTokens} {
		m.refuse(license.Forbidden, token, http.MethodPost, path, `{"name":"n","role":"viewer"}`)
	}
	m.refuse(license.Forbidden, token, http.MethodGet, adminwire.PathMarketplaces, "")
	events := m.allow(token, http.MethodGet, adminwire.PathEvents, "")
	if strings.Contains(events, theirs.ID) || !strings.Contains(events, mine.ID) || strings.Contains(events, "token.create") {
		t.Errorf("%s", events)
	}
	if s := decode[adminwire.Status](t, m.allow(token, http.MethodGet, adminwire.PathStatus, "")); !slices.Equal(s.Products, []string{"cad"}) || s.Store != "" {
		t.Errorf("%+v", s)
	}
	var now adminwire.License
	if err := m.admin(http.MethodGet, at(adminwire.PathLicense, theirs.ID), nil, &now); err != nil || now.Revision != 1 {
		t.Errorf("%v: revision %d", err, now.Revision)
	}
}

// Refused calls of somebody who is known are written down: who, what, of which
// licence, why; and not without end.
func TestRefusalsAreWrittenDown(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	l := m.issue()
	token := m.token("auditor", "viewer").Token
	for range 25 {
		m.refuse(license.Forbidden, token, http.MethodPost, at(adminwire.PathSuspend, l.ID), "")
	}
	m.must(http.MethodPost, at(adminwire.PathRelease, l.ID), nil)
	if err := m.admin(http.MethodPost, at(adminwire.PathSuspend, l.ID), nil, nil); license.ReasonOf(err) != license.Released {
		t.Fatal(err)
	}
	// What is only wrong, and what nobody known has asked for, is not.
	m.refuse(license.Unauthorized, "x", http.MethodGet, adminwire.PathLicenses, "")
	rs, text := m.staff(http.MethodPost, adminwire.PathLicenses, `{"product":"none","for":"1d"}`)
	if p := problem(t, rs, text); p.Reason != license.BadRequest {
		t.Error(text)
	}
	var refused []adminwire.Event
	for _, e := range m.events() {
		if e.Action == license.ActionRefused {
			refused = append(refused, e)
		}
	}
	if len(refused) != 11 {
		t.Fatalf("%d refusals are written down", len(refused))
	}
	first, last := refused[0], refused[10]
	if first.Actor.Name != "auditor" || first.Actor.Addr != "127.0.0.1" || first.License != l.ID || first.After["operation"] != "suspend" ||
		first.After["reason"] != "forbidden" || first.After["role"] != "viewer" {
		t.Errorf("%+v", first)
	}
	if last.After["reason"] != string(license.Released) || last.License != l.ID {
		t.Errorf("%+v", last)
	}
}

// On the socket the audit log knows who it was from the system.
func TestSocketPeer(t *testing.T) {
	t.Parallel()
	want := "socket"
	if u, err := user.Current(); err == nil && runtime.GOOS == "linux" {
		want = u.Username
	}
	m := start(t, config, nil)
	m.issue()
	if e := m.events()[0]; e.Actor != (adminwire.Actor{Kind: license.ActorAdmin, Name: want, Addr: "local"}) {
		t.Errorf("%+v", e.Actor)
	}
}
