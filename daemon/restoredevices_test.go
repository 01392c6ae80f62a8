package daemon_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// Devices that the backup does not know keep their seats as well, and one that had
// been ended does not live again under its old licence.
func TestRestoreOfDevices(t *testing.T) {
	t.Parallel()
	m := start(t, strings.Replace(config, "machines: 2", "machines: 1", 1), nil)
	kept, ended := m.issue(), m.issue()
	identify := func(l adminwire.License, device string) *license.Error {
		return m.admin(http.MethodPost, adminwire.PathIdentify, adminwire.Identify{Ref: l.ID, Device: device}, nil)
	}
	copied := m.backup()
	m.ok(asError(identify(kept, "HW-1")))
	m.ok(asError(identify(ended, "HW-1")))
	first := m.shown(ended.ID).Installs[0].ID
	m.must(http.MethodPost, strings.Replace(at(adminwire.PathRemove, ended.ID), "{install}", first, 1), adminwire.Remove{})

	m.goBack(copied)
	if err := asError(identify(kept, "HW-2")); license.ReasonOf(err) != license.MachineLimit {
		t.Errorf("another device: %v", err)
	}
	wantReason(t, "a machine", m.machine("x").activate(kept.Code), license.MachineLimit)
	m.ok(asError(identify(kept, "HW-1")))
	if l := m.shown(kept.ID); len(l.Installs) != 1 {
		t.Errorf("the licence has %d installs", len(l.Installs))
	}
	if _, items := m.restore(); len(items) != 0 {
		t.Errorf("what was made anew is to be decided: %+v", items)
	}
	m.ok(asError(identify(ended, "HW-1")))
	if l := m.shown(ended.ID); len(l.Installs) != 1 || l.Installs[0].ID == first {
		t.Errorf("the device that was ended has %+v", l.Installs)
	}
}
