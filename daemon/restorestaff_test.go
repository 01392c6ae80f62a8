package daemon_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// A restore gives nobody back what was taken from him: a token that was revoked
// after the backup stays so, and a key that is being revoked is that still.
func TestRestoreRevivesNoToken(t *testing.T) {
	t.Parallel()
	m := start(t, withTCP, nil)
	leaver, stays := m.token("leaver", "admin"), m.token("stays", "viewer")
	var list adminwire.KeyList
	m.ok(asError(m.admin(http.MethodGet, adminwire.PathKeys, nil, &list)))
	stolen := ""
	for _, k := range list.Keys {
		if k.Role == "next" {
			stolen = k.ID
		}
	}
	copied := m.backup()
	m.must(http.MethodPost, strings.Replace(adminwire.PathRevokeToken, "{token}", leaver.ID, 1), nil)
	m.must(http.MethodPost, adminwire.PathKeyRevocations, adminwire.RevokeKeys{Reason: "stolen", Keys: []string{stolen}})
	m.issue()
	m.goBack(copied)
	m.refuse(license.Unauthorized, leaver.Token, http.MethodGet, adminwire.PathLicenses, "")
	m.allow(stays.Token, http.MethodGet, adminwire.PathLicenses, "")
	if err := m.admin(http.MethodPost, adminwire.PathRotate, nil, nil); license.ReasonOf(err) != license.Conflict {
		t.Errorf("a rotation to the stolen key: %v", err)
	}
	var revoked adminwire.KeyRevocations
	m.ok(asError(m.admin(http.MethodGet, adminwire.PathKeyRevocations, nil, &revoked)))
	if len(revoked.Revocations) != 1 || revoked.Revocations[0].KID != stolen {
		t.Errorf("%+v", revoked)
	}
	// What was given back by hand is not taken again at a restart.
	again := m.token("leaver", "viewer")
	m.down()
	m.up()
	m.allow(again.Token, http.MethodGet, adminwire.PathLicenses, "")

	// Where nobody knows what was revoked, every token is ended.
	m.down()
	for _, name := range []string{"marks.json", "marks.jsonl"} {
		m.ok(os.Remove(filepath.Join(m.dir, "licensed-data", name)))
	}
	m.up()
	m.goBack(copied)
	for _, k := range []adminwire.Token{leaver, stays} {
		m.refuse(license.Unauthorized, k.Token, http.MethodGet, adminwire.PathLicenses, "")
	}
	revokes := 0
	var log adminwire.EventList
	m.ok(asError(m.admin(http.MethodGet, adminwire.PathEvents+"?limit=1000&action="+string(license.ActionTokenRevoke), nil, &log)))
	for _, e := range log.Events {
		if e.Actor.Name == "restore" {
			revokes++
		}
	}
	if revokes != 2 {
		t.Errorf("%d tokens are written down as ended by the restore", revokes)
	}
}

// A machine that the staff has moved a licence off does not have it again, and an
// upgrade that the backup lacks is there to be decided about.
func TestRestoreOfMovesAndUpgrades(t *testing.T) {
	t.Parallel()
	m := start(t, strings.Replace(config, "machines: 2", "machines: 1", 1), nil)
	l, up := m.issue(), m.issue()
	x := m.machine("x")
	m.ok(x.activate(l.Code))
	copied := m.backup()
	m.post(adminwire.PathTransfer, l.ID, adminwire.MoveOff{})
	m.post(adminwire.PathUpgrade, up.ID, adminwire.Upgrade{Machines: 5})
	was := m.shown(l.ID).Installs[0].State
	m.goBack(copied)
	if i := m.shown(l.ID).Installs[0]; i.State != was || was == license.InstallLive {
		t.Errorf("the install that was moved off is %s, and was %s", i.State, was)
	}
	if err := x.refresh(); err == nil {
		t.Error("the machine that was left goes on")
	}
	if _, items := m.restore(); items[up.ID+"/-"].Kind != "lost_edit" {
		t.Errorf("%+v", items)
	}
	m.ok(m.machine("y").activate(l.Code))
}
