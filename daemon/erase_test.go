package daemon_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// An erasure reaches what is kept of moves that wait: where they were asked from,
// and what the staff wrote about them.
func TestErasureOfMovesThatWait(t *testing.T) {
	t.Parallel()
	m := start(t, strings.Replace(config, "machines: 2,", "machines: 1, transfers: {approval: always, per_year: 9, cool_down: 0s},", 1), nil)
	l := m.issue()
	m.ok(m.machine("x").activate(l.Code))
	wantReason(t, "a move", m.machine("y").start().Transfer(t.Context(), l.Code, ""), license.TransferLimit)
	m.post(adminwire.PathTransferDeny, l.ID, adminwire.DecideTransfer{Reason: "Jane called"})
	_, text := m.call(http.MethodGet, adminwire.PathTransfers)
	if !strings.Contains(text, "Jane") || !strings.Contains(text, "127.0.0.1") {
		t.Fatal(text)
	}
	m.post(adminwire.PathErase, "", adminwire.Erase{License: l.ID, Reason: "request 7"})
	_, text = m.call(http.MethodGet, adminwire.PathTransfers)
	if strings.Contains(text, "Jane") || strings.Contains(text, "127.0.0.1") || !strings.Contains(text, "denied") {
		t.Error(text)
	}
	var again adminwire.Erased
	m.ok(asError(m.admin(http.MethodPost, adminwire.PathErase, adminwire.Erase{License: l.ID, Reason: "request 7"}, &again)))
	if again.Changed {
		t.Errorf("a second erasure: %+v", again)
	}
}

// A restore erases again what was erased, and nothing more.
func TestRestoreErasesNoMoreThanWasErased(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	m.post(adminwire.PathRevoke, l.ID, adminwire.Revoke{Reason: "Jane asked for it"})
	copied := m.backup()
	m.post(adminwire.PathErase, "", adminwire.Erase{License: l.ID, Reason: "request 7"})
	m.goBack(copied)
	if who := m.shown(l.ID).Customer; who != "ACME" {
		t.Errorf("the customer, whom nobody had erased, is %q", who)
	}
	if _, text := m.call(http.MethodGet, at(adminwire.PathLicense, l.ID)); strings.Contains(text, "Jane") {
		t.Errorf("the reason is there again: %s", text)
	}
}
