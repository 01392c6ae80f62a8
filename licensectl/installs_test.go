package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// copiedLicense is one with all that can come to light about its installs.
func copiedLicense() adminwire.License {
	at := func(hour int) *time.Time {
		t := time.Date(2026, 6, 1, hour, 0, 0, 0, time.UTC)
		return &t
	}
	install := func(name, seat string, state license.InstallState, hour int) adminwire.Install {
		return adminwire.Install{
			ID: name + strings.Repeat("x", 43-len(name)), Seat: seat, State: state, Environment: "metal",
			BoundAt: at(hour), SeenAt: at(hour + 1), LeaseUntil: at(hour + 2), ForkKinds: []adminwire.Fork{},
		}
	}
	l := someLicense()
	l.Mode, l.Forks, l.ForkedAt = license.ModeNode, 4, at(20)
	a, b, c := install("aa", "seat_2", license.InstallLive, 3), install("bb", "seat_1", license.InstallReplaced, 1), install("cc", "seat_1", license.InstallLive, 2)
	a.Drift = &adminwire.Drift{Count: 2, At: *at(9), Kinds: []license.Kind{license.KindDisk, license.KindMAC}, Unproven: 3}
	b.Forks, b.ForkKinds = 1, []adminwire.Fork{{Kind: license.ForkRetired, Count: 1, At: *at(20)}}
	c.Forks, c.ForkKinds = 3, []adminwire.Fork{{Kind: license.ForkChain, Count: 2, At: *at(7)}, {Kind: license.ForkReactivated, Count: 1, At: *at(8)}}
	c.Reactivation = 6
	l.Installs = []adminwire.Install{a, b, c}
	return l
}

func TestInstallScreens(t *testing.T) {
	server, _ := fakeDaemon(t, map[string]func([]byte) any{"POST /lookup": func([]byte) any { return copiedLicense() }})
	for _, tt := range []struct {
		args []string
		want []string
	}{
		{[]string{"install", "list", someID}, []string{
			"INSTALL            STATE     MACHINE  SEEN (UTC)        AGAIN  FORKS                   CHANGES",
			"aaxxxxxxxxxxxxxx…  live      2 metal  2026-06-01 04:00                                 2 (disk, mac)",
			"ccxxxxxxxxxxxxxx…  live      1 metal  2026-06-01 03:00  6      2 chain, 1 reactivated",
			"bbxxxxxxxxxxxxxx…  replaced  1 metal  2026-06-01 02:00         1 retired",
		}},
		{[]string{"install", "list", "--live", "-o", "csv", someID}, []string{
			"id,state,seat,machine,environment,bound,bound_at,seen_at,ended_at,lease_until,reactivation,forks,fork_kinds,drifts,drift_at,drift_kinds",
			"aa" + strings.Repeat("x", 41) + ",live,seat_2,2,metal,,2026-06-01T03:00:00Z,2026-06-01T04:00:00Z,,2026-06-01T05:00:00Z,0,0,,2,2026-06-01T09:00:00Z,disk mac",
			"cc" + strings.Repeat("x", 41) + `,live,seat_1,1,metal,,2026-06-01T02:00:00Z,2026-06-01T03:00:00Z,,2026-06-01T04:00:00Z,6,3,"2 chain, 1 reactivated",0,,`,
		}},
		{[]string{"show", someID}, []string{
			"forks            2 chain, 1 retired, 1 reactivated, the last 2026-06-01 20:00:00 UTC; see licensectl install list",
			"activated again  up to 6 on one machine within one lease",
			"machine changes  2, the last 2026-06-01 09:00:00 UTC (disk, mac); 3 parts are still too new to prove the machine",
		}},
	} {
		s := newScreen(t, "")
		if got := s.run(t.Context(), append([]string{"licensectl", "--server", server}, tt.args...)); got != exitDone {
			t.Fatalf("%v: exit %d: %s", tt.args, got, &s.err)
		}
		lines := strings.Split(strings.TrimSpace(s.out.String()), "\n")
		if tt.args[0] == "show" {
			lines = slices.DeleteFunc(lines, func(l string) bool { return !slices.Contains(tt.want, l) })
		}
		if diff := cmp.Diff(tt.want, lines); diff != "" {
			t.Errorf("%v (-want +got):\n%s\n%s", tt.args, diff, &s.out)
		}
	}
}

// The text of a purchase through licence 1.0 is shown as what it is. It is no
// machine, and counts for none.
func TestTextScreens(t *testing.T) {
	at := time.Date(2026, 6, 1, 3, 0, 0, 0, time.UTC)
	l := someLicense()
	l.Mode, l.Machines, l.InUse = license.ModeNode, 1, 1
	l.Installs = []adminwire.Install{
		{ID: "dev_" + strings.Repeat("t", 39), Kind: license.InstallText, State: license.InstallLive, BoundAt: &at, SeenAt: &at, ForkKinds: []adminwire.Fork{}},
		{ID: strings.Repeat("m", 43), Seat: "seat_1", State: license.InstallLive, Environment: "metal", BoundAt: &at, SeenAt: &at, ForkKinds: []adminwire.Fork{}},
	}
	server, _ := fakeDaemon(t, map[string]func([]byte) any{
		"POST /lookup":  func([]byte) any { return l },
		"GET /licenses": func([]byte) any { return adminwire.LicenseList{Licenses: []adminwire.License{l}} },
	})
	for _, tt := range []struct{ args, want []string }{
		{[]string{"install", "list", someID}, []string{"tttttttt  live   text     2026-06-01 03:00", "mmmmmmmm  live   1 metal  2026-06-01 03:00"}},
		{[]string{"install", "list", "-o", "csv", someID}, []string{",live,,text,,", ",live,seat_1,1,metal,"}},
		{[]string{"show", someID}, []string{"1 of 1 used (node)", "tttttttt  text live  "}},
		{[]string{"list"}, []string{"  1/1"}},
		{[]string{"list", "-o", "csv"}, []string{",1,node,,1,0,"}},
	} {
		s := newScreen(t, "")
		if got := s.run(t.Context(), append([]string{"licensectl", "--server", server}, tt.args...)); got != exitDone {
			t.Fatalf("%v: exit %d: %s", tt.args, got, &s.err)
		}
		for _, want := range tt.want {
			if !strings.Contains(s.out.String(), want) {
				t.Errorf("%v does not show %q:\n%s", tt.args, want, &s.out)
			}
		}
	}
	if got := describe(l); !strings.Contains(got, "1 machine in use") {
		t.Error(got)
	}
}
