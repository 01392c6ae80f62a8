package daemon_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// The admin API shows what a licence has of its own and what counts, takes back
// what it shows, and refuses what cannot be meant without changing anything.
func TestPhasesOverTheAdminAPI(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	edit := strings.Replace(adminwire.PathEdit, "{id}", l.ID, 1)
	product := adminwire.Phases{Warn: "30d", Grace: "15d", Enforcement: license.EnforceBlock, Lease: "14d", Refresh: "1d"}
	if l.Phases != (adminwire.Phases{}) || l.PhasesInForce == nil || *l.PhasesInForce != product {
		t.Errorf("%+v, %+v", l.Phases, l.PhasesInForce)
	}
	for body, field := range map[string]string{
		`{}`:                                         "",
		`{"phases":{}}`:                              "phases",
		`{"phases":{"warn":"soon"}}`:                 "phases.warn",
		`{"phases":{"warn":"-1d"}}`:                  "phases.warn",
		`{"phases":{"grace":"1500ms"}}`:              "phases.grace",
		`{"phases":{"grace":"40000d"}}`:              "phases.grace",
		`{"phases":{"enforcement":"lock"}}`:          "phases.enforcement",
		`{"phases":{"warn":"1d","leases":"1d"}}`:     "",
		`{"phases":{"lease":"1s"}}`:                  "phases.lease",
		`{"overage":"some"}`:                         "overage",
		`{"overage":"-1"}`:                           "overage",
		`{"phases":{"warn":86400}}`:                  "",
		`{"phases":{"warn":"1d"},"machines":"many"}`: "",
	} {
		err := m.admin(http.MethodPost, edit, json.RawMessage(body), nil)
		if err == nil || err.Reason != license.BadRequest || field != "" && err.Field != field {
			t.Errorf("%s: %+v", body, err)
		}
	}
	var done adminwire.Edited
	own := adminwire.Phases{Warn: "60d", Enforcement: license.EnforceAdvisory}
	if err := m.admin(http.MethodPost, edit, adminwire.Edit{Phases: own}, &done); err != nil || !done.Changed || done.License.Revision != 2 {
		t.Fatalf("%+v: %v", done, err)
	}
	if done.License.Phases != own || *done.License.PhasesInForce != (adminwire.Phases{Warn: "60d", Grace: "15d", Enforcement: license.EnforceAdvisory, Lease: "14d", Refresh: "1d"}) {
		t.Errorf("%+v, %+v", done.License.Phases, done.License.PhasesInForce)
	}
	if err := m.admin(http.MethodPost, edit, adminwire.Edit{Phases: done.License.Phases}, &done); err != nil || done.Changed {
		t.Errorf("what it shows is a change: %+v, %v", done, err)
	}
	var out adminwire.LicenseList
	order := adminwire.Issue{Product: "cad", For: "365d", Phases: *done.License.PhasesInForce}
	if err := m.admin(http.MethodPost, adminwire.PathLicenses, order, &out); err != nil || out.Licenses[0].Phases != order.Phases {
		t.Errorf("%+v: %v", out, err)
	}
}

// The admin API takes instants with their zone only: a date without a time is
// for whoever asks a person to settle.
func TestAdminAPITakesNoDates(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	for _, at := range []string{"2099-01-31", "2099-01-31T12:00:00", "2099-01-31 12:00:00Z", "31.1.2099", ""} {
		body, err := json.Marshal(map[string]any{"product": "cad", "expires_at": at})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.admin(http.MethodPost, adminwire.PathLicenses, json.RawMessage(body), nil); err == nil || err.Reason != license.BadRequest {
			t.Errorf("%q: %v", at, err)
		}
	}
	var list adminwire.LicenseList
	if err := m.admin(http.MethodGet, adminwire.PathLicenses, nil, &list); err != nil || len(list.Licenses) != 0 {
		t.Errorf("%v: %+v", err, list)
	}
}
