package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// Daemons on one database are listed; versions and clocks that differ are warnings, of
// which no check fails.
func TestDaemonsAreListed(t *testing.T) {
	now := time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)
	line := func(host, version string, ahead time.Duration) adminwire.DaemonLine {
		return adminwire.DaemonLine{
			ID: "ID-" + host, Host: host, Version: version, StartedAt: now.Add(-time.Hour), SeenAt: now.Add(-3 * time.Second),
			Self: host == "one", ClockAhead: ahead.Milliseconds(),
		}
	}
	for _, c := range []struct {
		name    string
		daemons []adminwire.DaemonLine
		shown   []string // of status
		warned  []string // of status, and of doctor
	}{
		{"a file", nil, nil, nil},
		{
			"two",
			[]adminwire.DaemonLine{line("one", "v1", 0), line("two", "v1", 5*time.Second), line("three", "v1", -5*time.Second)},
			[]string{"one, v1, since 2026-06-15 11:00:00 UTC, this one", "two, v1, since 2026-06-15 11:00:00 UTC, last seen 2026-06-15 11:59:57 UTC"},
			nil,
		},
		{
			"versions",
			[]adminwire.DaemonLine{line("one", "v1", 0), line("two\x1b[1m", "v2", 0)},
			[]string{"two�[1m, v2"},
			[]string{"different versions: one v1, two�[1m v2"},
		},
		{
			"clocks",
			[]adminwire.DaemonLine{line("one", "v1", 0), line("", "v1", 90*time.Second), line("three", "v1", -6*time.Second)},
			nil,
			[]string{"the clock of ID- is at least 1m30s ahead of that of one", "the clock of three is at least 6s behind that of one"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := healthy(now)
			s.Daemons = c.daemons
			server, _ := fakeDaemon(t, map[string]func([]byte) any{
				"GET /status": func([]byte) any { return s }, "GET /orders-due": func([]byte) any { return adminwire.OrdersDue{} },
			})
			table := newScreen(t, "")
			if status := table.run(t.Context(), []string{"licensectl", "--server", server, "status"}); status != exitDone {
				t.Errorf("status exits %d: %s", status, &table.err)
			}
			for _, want := range c.shown {
				if !strings.Contains(table.out.String(), want) {
					t.Errorf("%q is missing in:\n%s", want, &table.out)
				}
			}
			if got := strings.Contains(table.out.String(), "daemon "); got != (c.daemons != nil) {
				t.Errorf("daemons are listed: %v\n%s", got, &table.out)
			}
			if got := strings.Count(table.err.String(), "warning: the "); got != len(c.warned) {
				t.Errorf("%d warnings: %s", got, &table.err)
			}
			asked := newScreen(t, "")
			if status := asked.run(t.Context(), []string{"licensectl", "--server", server, "doctor", "-o", "json"}); status != exitDone {
				t.Errorf("doctor exits %d: %s", status, &asked.out)
			}
			var d diagnosis
			if err := json.Unmarshal(asked.out.Bytes(), &d); err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, k := range d.Checks {
				if strings.HasPrefix(k.Name, "daemon ") && k.Result == checkWarn && k.Mend != "" {
					found = append(found, k.Detail)
				}
			}
			for k, want := range c.warned {
				if !strings.Contains(table.err.String(), want) || len(found) != len(c.warned) || !strings.Contains(found[k], want) {
					t.Errorf("%q is missing in %s, or in %q", want, &table.err, found)
				}
			}
		})
	}
}
