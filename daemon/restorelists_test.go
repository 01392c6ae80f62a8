package daemon_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// shows waits until the list at a path says something of an install.
func (m *merchant) shows(what, path string, held token.License, want license.ListStatus) {
	m.t.Helper()
	for end := time.Now().Add(10 * time.Second); m.listed(path, held) != want; {
		if time.Now().After(end) {
			m.t.Errorf("%s: it is listed as %d, want %d", what, m.listed(path, held), want)
			return
		}
	}
}

// What status lists said of installs that the backup does not know they say again:
// a list that is signed anew would otherwise revive what had ended.
func TestRestoreOfStatusLists(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	removed, suspended, dropped, ended := m.issue(), m.issue(), m.issue(), m.issue()
	copied := m.backup()
	lost := m.issue() // of which the backup does not know either
	place := func(l adminwire.License) (token.License, string) { return m.bound(l) }
	heldRemoved, path := place(removed)
	heldSuspended, _ := place(suspended)
	heldDropped, _ := place(dropped)
	heldEnded, _ := place(ended)
	heldLost, _ := place(lost)
	m.must(http.MethodPost, strings.Replace(at(adminwire.PathRemove, removed.ID), "{install}", heldRemoved.InstallID, 1), adminwire.Remove{})
	m.post(adminwire.PathSuspend, suspended.ID, nil)
	m.post(adminwire.PathRelease, lost.ID, nil)

	m.goBack(copied)
	m.shows("removed", path, heldRemoved, license.StatusRevoked)
	m.shows("suspended", path, heldSuspended, license.StatusSuspended)
	m.shows("of a licence that was lost and released", path, heldLost, license.StatusRevoked)
	m.shows("live", path, heldDropped, license.StatusValid)

	// In reconcile mode it goes on: nobody has called yet.
	m.post(adminwire.PathResume, suspended.ID, nil)
	m.shows("resumed", path, heldSuspended, license.StatusValid)
	m.post(adminwire.PathRestoreDecide, "", adminwire.RestoreDecide{ID: dropped.ID + "/" + heldDropped.InstallID, Decision: "drop"})
	m.shows("dropped", path, heldDropped, license.StatusRevoked)
	m.post(adminwire.PathRevoke, ended.ID, adminwire.Revoke{Reason: "refund"})
	m.shows("revoked, which can be undone", path, heldEnded, license.StatusSuspended)
}
