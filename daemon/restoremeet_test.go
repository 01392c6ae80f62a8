package daemon_test

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// A call with an idempotency key that was answered after the backup is not made
// again: its caller has the answer, and looks at what became of it.
func TestRestoreForgetsNoIdempotencyKey(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	const order = `{"product":"cad","for":"365d"}`
	rs, before := m.staff(http.MethodPost, adminwire.PathLicenses, order, adminwire.HeaderKey, "before")
	if rs.StatusCode != http.StatusOK {
		t.Fatal(before)
	}
	copied := m.backup()
	for _, call := range [][2]string{{adminwire.PathLicenses, order}, {at(adminwire.PathRenew, l.ID), `{"for":"30d"}`}} {
		if rs, text := m.staff(http.MethodPost, call[0], call[1], adminwire.HeaderKey, "after "+call[0]); rs.StatusCode != http.StatusOK {
			t.Fatal(text)
		}
	}
	end := m.shown(l.ID).ExpiresAt
	m.goBack(copied)
	had := len(m.licenses())
	for _, call := range [][2]string{{adminwire.PathLicenses, order}, {at(adminwire.PathRenew, l.ID), `{"for":"30d"}`}} {
		rs, text := m.staff(http.MethodPost, call[0], call[1], adminwire.HeaderKey, "after "+call[0])
		if p := problem(t, rs, text); p.Reason != license.Conflict || !strings.Contains(p.Detail, "restored") {
			t.Errorf("%s again: %s", call[0], text)
		}
	}
	if is := m.shown(l.ID).ExpiresAt; !is.Equal(*end) {
		t.Errorf("the licence was renewed twice: until %s, not %s", is, end)
	}
	if is := len(m.licenses()); is != had {
		t.Errorf("%d licences were issued again", is-had)
	}
	if _, again := m.staff(http.MethodPost, adminwire.PathLicenses, order, adminwire.HeaderKey, "before"); again != before {
		t.Errorf("what was answered before the backup is %s, and was %s", again, before)
	}
	if rs, text := m.staff(http.MethodPost, adminwire.PathLicenses, order, adminwire.HeaderKey, "new"); rs.StatusCode != http.StatusOK {
		t.Errorf("a new key: %s", text)
	}
}

// Moves to other machines since the backup count towards those of the year.
func TestRestoreCountsMoves(t *testing.T) {
	t.Parallel()
	m, forward := startAhead(t, strings.Replace(config, "machines: 2,", "machines: 1, transfers: {per_year: 2, cool_down: 0s},", 1), nil)
	l := m.issue()
	m.ok(m.machine("x").activate(l.Code))
	copied := m.backup()
	forward(time.Hour)
	m.ok(m.machine("y").start().Transfer(t.Context(), l.Code, ""))
	forward(time.Hour)
	m.post(adminwire.PathTransfer, l.ID, adminwire.MoveOff{})
	m.ok(m.machine("z").activate(l.Code))
	forward(time.Hour)
	m.goBack(copied)
	m.goBack(copied) // twice: none counts double
	wantReason(t, "a third move of the year", m.machine("w").start().Transfer(t.Context(), l.Code, ""), license.TransferLimit)
}

// An endpoint that was disabled after the backup stays so, until it is enabled, and
// does not hear then of what was skipped.
func TestRestoreLeavesAWebhookDisabled(t *testing.T) {
	t.Parallel()
	told := make(chan string, 10)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { told <- r.Header.Get("webhook-id") }))
	t.Cleanup(receiver.Close)
	m := start(t, config+"\nwebhooks:\n  - {name: crm, url: "+receiver.URL+", secret_file: hook, events: [license.issued]}\n", map[string]string{"hook": hookSecret})
	hook := func(path string, in any) {
		t.Helper()
		m.must(http.MethodPost, strings.Replace(path, "{webhook}", "crm", 1), in)
	}
	state := func() adminwire.Webhook {
		t.Helper()
		var list adminwire.WebhookList
		m.get(adminwire.PathWebhooks, &list)
		return list.Webhooks[0]
	}
	hook(adminwire.PathDisableWebhook, nil)
	m.issue()
	hook(adminwire.PathEnableWebhook, nil)
	first := <-told
	for state().Waiting != 0 { // it is told again until it is known that it arrived
		runtime.Gosched()
	}
	hook(adminwire.PathDisableWebhook, nil)
	m.issue() // waits
	enabled := m.backup()
	hook(adminwire.PathSkipWebhook, adminwire.WebhookSkip{All: true})
	hook(adminwire.PathEnableWebhook, nil)
	m.goBack(enabled)
	if w := state(); w.State != adminwire.WebhookOK || w.Waiting != 0 {
		t.Errorf("the endpoint that was enabled again is %s, and %d events wait", w.State, w.Waiting)
	}
	copied := m.backup()
	hook(adminwire.PathDisableWebhook, nil)
	m.goBack(copied)
	if w := state(); w.State != adminwire.WebhookDisabled {
		t.Errorf("the endpoint that was disabled is %s", w.State)
	}
	m.issue()
	hook(adminwire.PathEnableWebhook, nil)
	if next := <-told; next == first || len(told) != 0 {
		t.Errorf("%s was told, and %d more", next, len(told))
	}
}
