package daemon_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
	"github.com/seed-357fa782/licensed/store"
)

// staff sends a call to the admin socket and returns the answer as it is.
func (m *merchant) staff(method, path, body string, header ...string) (*http.Response, string) {
	m.t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", m.d.AdminSocket())
	}}}
	rq, err := http.NewRequestWithContext(m.t.Context(), method, "http://admin"+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	if body != "" {
		rq.Header.Set("Content-Type", wire.TypeJSON)
	}
	for i := 0; i+1 < len(header); i += 2 {
		rq.Header.Set(header[i], header[i+1])
	}
	return m.send(c, rq)
}

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

func (m *merchant) licenses() []adminwire.License {
	m.t.Helper()
	var out adminwire.LicenseList
	if err := m.admin(http.MethodGet, adminwire.PathLicenses, nil, &out); err != nil {
		m.t.Fatal(err)
	}
	return out.Licenses
}

func (m *merchant) events() []adminwire.Event {
	m.t.Helper()
	var out adminwire.EventList
	if err := m.admin(http.MethodGet, adminwire.PathEvents+"?limit=1000", nil, &out); err != nil {
		m.t.Fatal(err)
	}
	return ofOthers(out.Events)
}

func at(path, id string) string { return strings.Replace(path, "{id}", id, 1) }

// One key is one change, whatever happens to its answers: the same call gets the
// same bytes again, codes included, also from a daemon that was started anew.
func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	const order = `{"product":"cad","for":"365d","count":3}`
	key := []string{adminwire.HeaderKey, "order 4711/1"}
	rs, first := m.staff(http.MethodPost, adminwire.PathLicenses, order, key...)
	if rs.StatusCode != http.StatusOK || rs.Header.Get(adminwire.HeaderReplayed) != "" {
		t.Fatalf("HTTP %d: %s", rs.StatusCode, first)
	}
	made := decode[adminwire.LicenseList](t, first)
	if len(made.Licenses) != 3 || made.Licenses[0].Code == "" {
		t.Fatalf("%s", first)
	}
	m.down()
	m.up()
	rs, again := m.staff(http.MethodPost, adminwire.PathLicenses, order, key...)
	if again != first || rs.StatusCode != http.StatusOK || rs.Header.Get(adminwire.HeaderReplayed) != "true" || rs.Header.Get("Content-Type") != wire.TypeJSON {
		t.Errorf("HTTP %d, %v: another answer", rs.StatusCode, rs.Header)
	}
	rs, other := m.staff(http.MethodPost, adminwire.PathLicenses, `{"product":"cad","for":"365d","count":4}`, key...)
	if p := problem(t, rs, other); p.Reason != license.Conflict || !strings.Contains(p.Detail, adminwire.HeaderKey) {
		t.Errorf("another call with the key: %s", other)
	}
	// A relative renewal is the change that a repetition would make twice.
	id := made.Licenses[0].ID
	rs, renewed := m.staff(http.MethodPost, at(adminwire.PathRenew, id), `{"for":"30d"}`, adminwire.HeaderKey, "r")
	if rs.StatusCode != http.StatusOK {
		t.Fatal(renewed)
	}
	if _, again := m.staff(http.MethodPost, at(adminwire.PathRenew, id), `{"for":"30d"}`, adminwire.HeaderKey, "r"); again != renewed {
		t.Errorf("%s, then %s", renewed, again)
	}
	if l := m.licenses(); len(l) != 3 || l[0].Revision != 2 {
		t.Errorf("%d licences, the first with revision %d", len(l), l[0].Revision)
	}
	for name, bad := range map[string]string{"empty": "", "long": strings.Repeat("k", 129), "tab": "a\tb", "wide": "schlüssel"} {
		rs, text := m.staff(http.MethodPost, adminwire.PathLicenses, order, adminwire.HeaderKey, bad)
		if p := problem(t, rs, text); p.Reason != license.BadRequest || p.Field != adminwire.HeaderKey {
			t.Errorf("%s key: %s", name, text)
		}
	}
	if len(m.licenses()) != 3 {
		t.Error("a bad key made licences")
	}
}

// loseAnswers leaves the store as a daemon does that is killed after a change was
// committed and before its answer was kept.
func (m *merchant) loseAnswers() {
	m.t.Helper()
	m.down()
	s := m.open()
	err := s.Update(m.t.Context(), func(ctx context.Context, tx store.Tx) error {
		values, _, err := tx.Values(ctx, "idempotency/", store.Page{})
		if err != nil {
			return err
		}
		for _, v := range values {
			rec := decode[map[string]any](m.t, string(v.Data))
			if rec["answer"] == nil {
				m.t.Errorf("%s holds no answer", v.Name)
			}
			delete(rec, "answer")
			data, err := json.Marshal(rec)
			if err != nil {
				return err
			}
			if err := tx.SetValue(ctx, v.Name, data); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, s.Close()); err != nil {
		m.t.Fatal(err)
	}
	m.up()
}

// A daemon that is killed between the change and the answer makes the answer again
// from what it has recorded, and the change not.
func TestAnswerIsMadeAgain(t *testing.T) {
	waited := regexp.MustCompile(`"waits":\d+,`) // seconds that an order waits by now
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	calls := []struct{ path, body string }{
		{adminwire.PathLicenses, `{"product":"cad","for":"365d","count":3}`},
		{at(adminwire.PathRenew, l.ID), `{"for":"30d"}`},
		{at(adminwire.PathSuspend, l.ID), ""},
		{adminwire.PathOrders, `{"channel":"koogallery","order":"CS1"}`},
	}
	yaml := strings.Replace(config, "products:", "marketplaces: [{name: koogallery, access_key_files: [ak]}]\nproducts:", 1)
	for name, text := range map[string]string{"licensed.yaml": yaml, "ak": "0123456789abcdef"} {
		if err := os.WriteFile(filepath.Join(m.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m.down()
	m.up()
	first := make([]string, len(calls))
	for i, c := range calls {
		var rs *http.Response
		if rs, first[i] = m.staff(http.MethodPost, c.path, c.body, adminwire.HeaderKey, c.path); rs.StatusCode != http.StatusOK {
			t.Fatal(first[i])
		}
	}
	m.must(http.MethodPost, at(adminwire.PathResume, l.ID), nil)
	m.must(http.MethodPost, at(adminwire.PathSuspend, l.ID), nil)
	events, licenses := m.events(), m.licenses()
	// Licences of one second come in any order.
	now := licenses[slices.IndexFunc(licenses, func(is adminwire.License) bool { return is.ID == l.ID })]
	m.loseAnswers()
	for i, c := range calls {
		rs, again := m.staff(http.MethodPost, c.path, c.body, adminwire.HeaderKey, c.path)
		if rs.StatusCode != http.StatusOK || rs.Header.Get(adminwire.HeaderReplayed) != "true" {
			t.Errorf("%s: HTTP %d: %s", c.path, rs.StatusCode, again)
		}
		if i == 0 || i == 3 { // the others show the licence as it is by now
			if waited.ReplaceAllString(again, "") != waited.ReplaceAllString(first[i], "") {
				t.Errorf("%s\nwas %s\nis  %s", c.path, first[i], again)
			}
			continue
		}
		if e := decode[adminwire.Edited](t, again); !e.Changed || e.License.ID != l.ID || !e.License.ExpiresAt.Equal(*now.ExpiresAt) {
			t.Errorf("%s: %s", c.path, again)
		}
	}
	if d := cmp.Diff(licenses, m.licenses()); d != "" {
		t.Errorf("a change was made again (-before +after):\n%s", d)
	}
	if d := cmp.Diff(events, m.events()); d != "" {
		t.Errorf("a change was made again (-before +after):\n%s", d)
	}
}

// A call that had nothing to change and whose answer was lost is answered when it is
// repeated. What was changed since by others stays.
func TestLostAnswerOfNoChange(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	rs, text := m.staff(http.MethodPost, at(adminwire.PathResume, l.ID), "", adminwire.HeaderKey, "resume")
	if rs.StatusCode != http.StatusOK || decode[adminwire.Edited](t, text).Changed {
		t.Fatalf("HTTP %d: %s", rs.StatusCode, text)
	}
	m.loseAnswers()
	events := m.events()
	rs, text = m.staff(http.MethodPost, at(adminwire.PathResume, l.ID), "", adminwire.HeaderKey, "resume")
	if rs.StatusCode != http.StatusOK {
		t.Fatalf("HTTP %d: %s", rs.StatusCode, text)
	}
	if e := decode[adminwire.Edited](t, text); e.Changed || e.License.ID != l.ID {
		t.Errorf("it is answered with %s", text)
	}
	if d := cmp.Diff(events, m.events()); d != "" {
		t.Errorf("something was changed (-before +after):\n%s", d)
	}
	m.must(http.MethodPost, at(adminwire.PathSuspend, l.ID), nil)
	rs, text = m.staff(http.MethodPost, at(adminwire.PathResume, l.ID), "", adminwire.HeaderKey, "resume")
	if e := decode[adminwire.Edited](t, text); rs.Header.Get(adminwire.HeaderReplayed) != "true" || e.Changed {
		t.Errorf("a third time it is answered with %s", text)
	}
}

// What is kept of a call holds neither its key nor a code in clear.
func TestKeptAnswersAreSealed(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	_, text := m.staff(http.MethodPost, adminwire.PathLicenses, `{"product":"cad","for":"365d"}`, adminwire.HeaderKey, "a key of mine")
	code := decode[adminwire.LicenseList](t, text).Licenses[0].Code
	m.down()
	data := m.stored()
	m.up()
	for _, secret := range []string{code, strings.ReplaceAll(code, "-", ""), "a key of mine"} {
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("the store holds %q in clear", secret)
		}
	}
}

// A refusal uses no key up: once its cause is gone the same call goes through.
func TestRefusalKeepsTheKeyFree(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	m.must(http.MethodPost, at(adminwire.PathRevoke, l.ID), adminwire.Revoke{Reason: "refund"})
	rs, text := m.staff(http.MethodPost, at(adminwire.PathSuspend, l.ID), "", adminwire.HeaderKey, "s")
	if p := problem(t, rs, text); p.Status != http.StatusForbidden {
		t.Fatalf("%s", text)
	}
	m.must(http.MethodPost, at(adminwire.PathUndoRevoke, l.ID), nil)
	rs, text = m.staff(http.MethodPost, at(adminwire.PathSuspend, l.ID), "", adminwire.HeaderKey, "s")
	if rs.StatusCode != http.StatusOK || decode[adminwire.Edited](t, text).License.State != license.StateSuspended {
		t.Errorf("HTTP %d: %s", rs.StatusCode, text)
	}
}

func (m *merchant) must(method, path string, in any) {
	m.t.Helper()
	if err := m.admin(method, path, in, nil); err != nil {
		m.t.Fatal(err)
	}
}

// Calls with one key at the same time make one change.
func TestOneKeyAtOnce(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	var done sync.WaitGroup
	answers := make([]string, 16)
	for i := range answers {
		done.Go(func() {
			_, answers[i] = m.staff(http.MethodPost, adminwire.PathLicenses, `{"product":"cad","for":"1d"}`, adminwire.HeaderKey, "k")
		})
	}
	done.Wait()
	codes := map[string]bool{}
	for _, text := range answers {
		if p := decode[wire.Problem](t, text); p.Reason != "" {
			if p.Reason != license.Conflict || p.RetryAfter == 0 {
				t.Errorf("%s", text)
			}
			continue
		}
		codes[decode[adminwire.LicenseList](t, text).Licenses[0].Code] = true
	}
	if len(codes) != 1 || len(m.licenses()) != 1 {
		t.Errorf("%d codes, %d licences", len(codes), len(m.licenses()))
	}
}

// A dry run checks and decides as the call itself does, and changes nothing: no
// licence, no event, no revision.
func TestDryRun(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	before, events := m.licenses(), m.events()
	dry := func(path, body string) string {
		t.Helper()
		rs, text := m.staff(http.MethodPost, path+"?dry_run=true", body)
		if rs.StatusCode == http.StatusOK && rs.Header.Get(adminwire.HeaderDryRun) != "true" {
			t.Errorf("%s: the answer does not say that it was a dry run", path)
		}
		return text
	}
	tried := decode[adminwire.LicenseList](t, dry(adminwire.PathLicenses, `{"product":"cad","for":"30d","count":2}`))
	if len(tried.Licenses) != 2 || tried.Licenses[0].Code != "" || tried.Licenses[0].CodeLast4 != "" || tried.Licenses[0].Machines != 2 {
		t.Errorf("%+v", tried)
	}
	if p := decode[wire.Problem](t, dry(adminwire.PathLicenses, `{"product":"none","for":"30d"}`)); p.Field != "product" {
		t.Errorf("%+v", p)
	}
	e := decode[adminwire.Edited](t, dry(at(adminwire.PathSuspend, l.ID), ""))
	if !e.Changed || e.License.State != license.StateSuspended {
		t.Errorf("%+v", e)
	}
	if e := decode[adminwire.Edited](t, dry(at(adminwire.PathResume, l.ID), "")); e.Changed {
		t.Error("a dry run was made")
	}
	if r := decode[adminwire.TokenList](t, dry(adminwire.PathTokens, `{"name":"n","role":"viewer"}`)); r.Tokens != nil {
		t.Errorf("%+v", r)
	}
	for path, reason := range map[string]license.Reason{
		at(adminwire.PathSuspend, "lic_none"): license.UnknownLicense, at(adminwire.PathRevoke, l.ID): license.BadRequest,
	} {
		if p := decode[wire.Problem](t, dry(path, "")); p.Reason != reason {
			t.Errorf("%s: %+v", path, p)
		}
	}
	// What is signed for a machine does not leave, and the seat is not taken.
	request, err := json.Marshal(wire.Request{Request: activation(t, l.Code, "m")})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // the licence is for two machines
		ans := decode[wire.Answer](t, dry(adminwire.PathRequests, string(request)))
		if ans.LicenseID != l.ID || ans.InstallID == "" || ans.License != "" || ans.Keys != "" || ans.Time != "" {
			t.Errorf("%+v", ans)
		}
		request = []byte(`{"request":"` + activation(t, l.Code, rand.Text()) + `"}`)
	}
	id := decode[adminwire.Identified](t, dry(adminwire.PathIdentify, `{"ref":"`+l.ID+`","device":"HW-1"}`))
	if id.License.ID != l.ID || id.File != "" {
		t.Errorf("%+v", id)
	}
	keys := func() string { _, text := m.staff(http.MethodGet, adminwire.PathKeys, ""); return text }
	held := keys()
	if r := decode[adminwire.Rotated](t, dry(adminwire.PathRotate, "")); r.Current == "" || r.Current == r.Retired || keys() != held {
		t.Errorf("%+v", r)
	}
	for _, path := range []string{adminwire.PathProposal, adminwire.PathBackup, adminwire.PathDump} {
		if p := decode[wire.Problem](t, dry(path, "{}")); p.Reason != license.BadRequest || p.Field != adminwire.QueryDryRun {
			t.Errorf("%s: %+v", path, p)
		}
	}
	for query, field := range map[string]string{
		"dry_run=maybe": adminwire.QueryDryRun, "dry_run=true&dry_run=true": adminwire.QueryDryRun, "dry_run": adminwire.QueryDryRun,
		"dry_run=true;": "query", "dry_run=true&%zz": "query", "dry_run=tru%": "query",
	} {
		rs, text := m.staff(http.MethodPost, adminwire.PathLicenses+"?"+query, `{"product":"cad","for":"30d"}`)
		if p := problem(t, rs, text); p.Reason != license.BadRequest || p.Field != field {
			t.Errorf("%s: %s", query, text)
		}
	}
	if d := cmp.Diff(before, m.licenses()); d != "" {
		t.Errorf("licences changed (-before +after):\n%s", d)
	}
	if d := cmp.Diff(events, m.events()); d != "" {
		t.Errorf("the audit log changed (-before +after):\n%s", d)
	}
}

// Two administrators change one licence: the later one gets conflict, with both
// versions.
func TestIfMatch(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	rs, _ := m.staff(http.MethodGet, at(adminwire.PathLicense, l.ID), "")
	tag := rs.Header.Get("ETag")
	if tag != `"1"` {
		t.Fatalf("ETag %s", tag)
	}
	if rs, text := m.staff(http.MethodPost, at(adminwire.PathRenew, l.ID), `{"for":"30d"}`, "If-Match", tag); rs.StatusCode != http.StatusOK {
		t.Fatal(text)
	}
	for path, body := range map[string]string{adminwire.PathRenew: `{"for":"60d"}`, adminwire.PathResume: ""} {
		rs, text := m.staff(http.MethodPost, at(path, l.ID), body, "If-Match", tag)
		p := problem(t, rs, text)
		both := decode[struct {
			Given   int64
			Current adminwire.License
		}](t, text)
		if p.Reason != license.Conflict || both.Given != 1 || both.Current.ID != l.ID || both.Current.Revision != 2 || both.Current.CodeLast4 != l.CodeLast4 {
			t.Errorf("%s: %s", path, text)
		}
	}
	if now := m.licenses()[0]; now.Revision != 2 {
		t.Errorf("revision %d", now.Revision)
	}
	for _, bad := range []string{"1", `"x"`, `"0"`, `W/"1"`, "*"} {
		rs, text := m.staff(http.MethodPost, at(adminwire.PathSuspend, l.ID), "", "If-Match", bad)
		if p := problem(t, rs, text); p.Reason != license.BadRequest || p.Field != "If-Match" {
			t.Errorf("If-Match %s: %s", bad, text)
		}
	}
	rs, text := m.staff(http.MethodPost, adminwire.PathLicenses, `{"product":"cad","for":"1d"}`, "If-Match", `"1"`)
	if p := problem(t, rs, text); p.Field != "If-Match" || len(m.licenses()) != 1 {
		t.Errorf("%s", text)
	}
}
