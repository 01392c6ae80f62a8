package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// healthy is the status of a daemon to which nothing is wrong.
func healthy(now time.Time) adminwire.Status {
	return adminwire.Status{
		Version: "v1", Now: now, Ready: true, StoreBytes: 5 << 20,
		Clock: adminwire.Clock{State: "trusted", Now: now, LastRecord: new(now.Add(-time.Minute)), KeyFrom: new(now.Add(-year))},
		Keys: adminwire.KeyHealth{
			Seq: 3, ExpiresAt: now.Add(year), CurrentUntil: now.Add(year), HasNext: true, Standbys: 1,
		},
		Disk:    &adminwire.Disk{Free: 50 << 30, Total: 100 << 30},
		Backups: &adminwire.Backups{Dir: "/copies", Every: "24h", Last: new(now.Add(-time.Hour)), Kept: 3},
	}
}

// Each thing that can be wrong is found, by the check of its name and no other,
// with how to mend it.
func TestDoctor(t *testing.T) {
	now := time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name    string
		edit    func(*adminwire.Status)
		check   string
		result  string
		mention string
		mend    string
		also    []string // checks that fail, too
	}{
		{"nothing", func(*adminwire.Status) {}, "", "", "", "", nil},
		{
			"not ready", func(s *adminwire.Status) { s.Ready, s.NotReady = false, "the store does not answer" },
			"daemon", "fail", "the store does not answer", "log", nil,
		},
		{"clock ahead", func(s *adminwire.Status) {
			s.Ready, s.NotReady, s.Clock.State, s.Clock.LastRecord = false, "the clock", "ahead", new(now.Add(-41*24*time.Hour))
		}, "clock", "fail", "41d past its last record, 2026-05-05 12:00:00 UTC; nothing is signed", "doctor --accept-clock", []string{"daemon"}},
		{"clock behind", func(s *adminwire.Status) {
			s.Ready, s.Clock.State, s.Clock.LastRecord = false, "behind", new(now.Add(time.Hour))
		}, "clock", "fail", "1h before its last record", "doctor --accept-clock", []string{"daemon"}},
		{"record that cannot be read", func(s *adminwire.Status) {
			s.Ready, s.Clock.State, s.Clock.LastRecord = false, "behind", nil
		}, "clock", "fail", "its last record cannot be read", "doctor --accept-clock", []string{"daemon"}},
		{"clock apart", func(s *adminwire.Status) {
			s.Ready, s.Clock.State, s.Clock.OthersNow, s.Clock.Others = false, "apart", new(now.Add(-90*time.Minute)), "one, two"
		}, "clock", "fail", "1h30m ahead of the other daemons on the store (one, two), which show 2026-06-15 10:30:00 UTC; nothing is signed", "doctor --accept-clock", []string{"daemon"}},
		{"clock before the key", func(s *adminwire.Status) {
			s.Ready, s.Clock.State, s.Clock.KeyFrom = false, "behind", new(now.Add(time.Hour))
		}, "clock", "fail", "before the signing key was made", "set it right", []string{"daemon"}},
		{"clock unlike here", func(s *adminwire.Status) { s.Now = now.Add(-3 * time.Minute) }, "clock", "warn", "3m from the clock here", "time server", nil},
		{"a key that another daemon has", func(s *adminwire.Status) {
			s.Keys.HasNext, s.Keys.Warnings = false, []adminwire.KeyWarning{{Kind: "next_key", Text: "the private half of K is not here"}}
		}, "next key", "warn", "the private half of K is not here", "copy keys/signing", nil},
		{"a damaged key", func(s *adminwire.Status) {
			s.Keys.Warnings = []adminwire.KeyWarning{{Kind: "sealed_key", Text: "K is damaged"}}
		}, "sealed keys", "warn", "K is damaged", "copy keys/signing", nil},
		{"old key set", func(s *adminwire.Status) { s.Keys.ExpiresAt = now.Add(89 * 24 * time.Hour) }, "key set", "warn", "runs out in 89d", "keyset --request", nil},
		{"key set at its end", func(s *adminwire.Status) { s.Keys.ExpiresAt = now }, "key set", "fail", "has run out", "keyset --request", nil},
		{"key at its end", func(s *adminwire.Status) { s.Keys.CurrentUntil = now }, "signing key", "fail", "has run out", "keyset --request", nil},
		{"no next key", func(s *adminwire.Status) { s.Keys.HasNext = false }, "next key", "warn", "cannot be rotated", "keyset --request", nil},
		{"no standby", func(s *adminwire.Status) { s.Keys.Standbys = 0 }, "standby anchor", "warn", "nothing ends it", "anchors_file", nil},
		{"anchors here", func(s *adminwire.Status) { s.Keys.AnchorsPresent = []string{"a.age"} }, "anchors offline", "warn", "a.age", "offline", nil},
		{"leftover", func(s *adminwire.Status) { s.Keys.Leftover = []string{"k.age"} }, "retired keys", "warn", "k.age", "by hand", nil},
		{"disk nearly full", func(s *adminwire.Status) { s.Disk.Free = 99 << 20 }, "disk", "fail", "99.0 MiB free", "make room", nil},
		{"disk filling", func(s *adminwire.Status) { s.Disk.Free = 900 << 20 }, "disk", "warn", "900.0 MiB free", "make room", nil},
		{"no room for a copy", func(s *adminwire.Status) { s.Disk.Free, s.StoreBytes = 3<<30, 4<<30 }, "disk", "warn", "3.0 GiB free", "make room", nil},
		{"no backups", func(s *adminwire.Status) { s.Backups = nil }, "backups", "warn", "none are made by schedule", "backup.dir", nil},
		{"a backup that failed", func(s *adminwire.Status) { s.Backups.Failure = "the disk is full" }, "backups", "fail", "the disk is full; the last good one is of 2026-06-15 11:00:00 UTC", "/copies", nil},
		{"a late backup", func(s *adminwire.Status) { s.Backups.Late = true }, "backups", "fail", "due every 24h", "/copies", nil},
		{"the first backup is to come", func(s *adminwire.Status) { s.Backups.Last, s.Backups.Kept = nil, 0 }, "backups", "ok", "none yet", "", nil},
		{"reconcile mode", func(s *adminwire.Status) { s.Restore = &adminwire.RestoreLine{MadeAt: now.Add(-time.Hour), Open: 2} }, "reconcile mode", "warn", "as of 2026-06-15 11:00:00 UTC; 2 to be decided", "reconcile list", nil},
		{"marks", func(s *adminwire.Status) { s.MarksFailing = "no space left" }, "marks", "fail", "no space left", "make room", nil},
		{"disk not known", func(s *adminwire.Status) { s.Disk = nil }, "", "", "", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			status := healthy(now)
			c.edit(&status)
			server, _ := fakeDaemon(t, map[string]func([]byte) any{
				"GET /status": func([]byte) any { return status }, "GET /orders-due": func([]byte) any { return adminwire.OrdersDue{Open: 3} },
			})
			s := newScreen(t, "")
			exit := s.run(t.Context(), []string{"licensectl", "--server", server, "doctor", "-o", "json"})
			var d diagnosis
			if err := json.Unmarshal(s.out.Bytes(), &d); err != nil {
				t.Fatalf("%v: %s", err, &s.out)
			}
			if want := map[bool]int{true: exitFailed, false: exitDone}[c.result == "fail"]; exit != want || (d.Failed > 0) != (exit == exitFailed) {
				t.Errorf("exit %d, %d failed", exit, d.Failed)
			}
			for _, check := range d.Checks {
				switch {
				case check.Name == c.check:
					if check.Result != c.result || !strings.Contains(check.Detail, c.mention) || !strings.Contains(check.Mend, c.mend) {
						t.Errorf("%+v", check)
					}
				case (check.Result != "ok") != slices.Contains(c.also, check.Name):
					t.Errorf("%+v", check)
				case check.Result == "ok" && check.Mend != "":
					t.Errorf("nothing is wrong and to be mended: %+v", check)
				}
			}
			if c.check != "" && !slices.ContainsFunc(d.Checks, func(k check) bool { return k.Name == c.check }) {
				t.Errorf("there is no check %q", c.check)
			}
		})
	}
}

// Orders that need somebody are a warning, which names the one to begin with; where
// they cannot be counted the rest is said all the same.
func TestDoctorOrders(t *testing.T) {
	worst := adminwire.Order{Order: "CS1", Line: "-", Warnings: []adminwire.OrderWarning{
		{Kind: license.WarnBuyer, Text: "no answer"}, {Kind: license.WarnRejections, Text: "rejected three times"},
	}}
	for _, c := range []struct {
		due    any
		result string
		detail string
	}{
		{adminwire.OrdersDue{Open: 3}, checkOK, "3 open, nothing to do"},
		{adminwire.OrdersDue{Open: 3, Warned: 2, Worst: &worst}, checkWarn, "2 orders need somebody, first of all CS1: rejected three times"},
		{license.Errorf(license.Internal, "the store does not answer"), "", ""},
	} {
		server, _ := fakeDaemon(t, map[string]func([]byte) any{
			"GET /status": func([]byte) any { return adminwire.Status{} }, "GET /orders-due": func([]byte) any { return c.due },
		})
		s := newScreen(t, "")
		s.run(t.Context(), []string{"licensectl", "--server", server, "doctor", "-o", "json"})
		var d diagnosis
		if err := json.Unmarshal(s.out.Bytes(), &d); err != nil {
			t.Fatalf("%v: %s", err, &s.out)
		}
		i := slices.IndexFunc(d.Checks, func(k check) bool { return k.Name == "orders" })
		switch {
		case c.result == "":
			if i >= 0 || !strings.Contains(s.err.String(), "cannot be counted") {
				t.Errorf("%+v, %s", d.Checks, &s.err)
			}
		case i < 0 || d.Checks[i].Result != c.result || d.Checks[i].Detail != c.detail || (d.Checks[i].Mend != "") != (c.result == checkWarn):
			t.Errorf("%+v", d.Checks)
		}
	}
}

// Permissions are looked at where the daemon's files are.
func TestDoctorPermissions(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	store := filepath.Join(dir, "x.db")
	for _, err := range []error{
		os.Mkdir(data, 0o700), os.Mkdir(filepath.Join(data, "keys"), 0o700), os.WriteFile(store, nil, 0o600), os.WriteFile(filepath.Join(dir, "sock"), nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	look := func(folder string) []check {
		return permissions(adminwire.Status{DataDir: folder, Store: "bolt:" + store}, filepath.Join(dir, "sock"))
	}
	result := func() string {
		t.Helper()
		list := look(data)
		if len(list) != 1 {
			t.Fatalf("%+v", list)
		}
		return list[0].Result
	}
	if got := look(filepath.Join(dir, "elsewhere")); got != nil {
		t.Errorf("a daemon elsewhere: %+v", got)
	}
	if got := result(); got != checkOK {
		t.Errorf("%s", got)
	}
	for _, path := range []string{data, filepath.Join(data, "keys"), store, filepath.Join(dir, "sock")} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, info.Mode().Perm()|0o040); err != nil {
			t.Fatal(err)
		}
		if list := look(data); list[0].Result != checkFail || !strings.Contains(list[0].Detail, path+" (0") {
			t.Errorf("%s is open: %+v", path, list)
		}
		if err := os.Chmod(path, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(store); err != nil {
		t.Fatal(err)
	}
	if got := result(); got != checkWarn {
		t.Errorf("a store that cannot be seen: %s", got)
	}
}

// The clock is confirmed as it was shown, after a question.
func TestAcceptClock(t *testing.T) {
	now := time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)
	status := healthy(now)
	status.Clock.State, status.Clock.LastRecord = "ahead", new(now.Add(-41*24*time.Hour))
	var got adminwire.AcceptClock
	answer := any(adminwire.ClockAccepted{
		Before: status.Clock, After: adminwire.Clock{State: "trusted", Now: now, LastRecord: new(now)}, Changed: true,
	})
	for _, c := range []struct {
		answer string
		args   []string
		want   int
		calls  int
		out    string
	}{
		{"y\n", nil, exitDone, 1, "the clock is accepted: its last record is 2026-06-15 12:00:00 UTC now (before: 2026-05-05 12:00:00 UTC), and the daemon signs again\n"},
		{"n\n", nil, exitFailed, 0, ""},
		{"", nil, exitFailed, 0, ""},
		{"", []string{"--yes"}, exitDone, 1, "the clock is accepted: "},
	} {
		server, calls := fakeDaemon(t, map[string]func([]byte) any{
			"GET /status": func([]byte) any { return status },
			"POST /clock/accept": func(body []byte) any {
				if err := json.Unmarshal(body, &got); err != nil {
					t.Error(err)
				}
				return answer
			},
		})
		s := newScreen(t, c.answer)
		s.interactive = true
		exit := s.run(t.Context(), append([]string{"licensectl", "--server", server, "doctor", "--accept-clock"}, c.args...))
		if exit != c.want || calls["POST /clock/accept"] != c.calls || !strings.HasPrefix(s.out.String(), c.out) {
			t.Errorf("%q %v: exit %d after %v: %s", c.answer, c.args, exit, calls, &s.out)
		}
		if c.calls > 0 && !got.Shown.Equal(now) {
			t.Errorf("confirmed %s", got.Shown)
		}
		for _, want := range []string{
			"the daemon's clock  2026-06-15 12:00:00 UTC\n", "its last record     2026-05-05 12:00:00 UTC\n",
			"difference          41d past its last record, 2026-05-05 12:00:00 UTC\n", "the clock here      2026-06-15 12:00:00 UTC\n",
		} {
			if !strings.Contains(s.err.String(), want) {
				t.Errorf("%q is missing in:\n%s", want, &s.err)
			}
		}
		if asked := strings.Contains(s.err.String(), "Is 2026-06-15 12:00:00 UTC the right time?"); asked != (c.args == nil) {
			t.Errorf("asked: %v", asked)
		}
	}

	// A refusal is told as it is.
	answer = license.Errorf(license.Conflict, "the clock was set")
	server, _ := fakeDaemon(t, map[string]func([]byte) any{
		"GET /status": func([]byte) any { return status }, "POST /clock/accept": func([]byte) any { return answer },
	})
	s := newScreen(t, "")
	if exit := s.run(t.Context(), []string{"licensectl", "--server", server, "doctor", "--accept-clock", "--yes"}); exit != exitFailed ||
		!strings.Contains(s.err.String(), "licensectl: accept the clock: the clock was set (conflict)\n") {
		t.Errorf("exit %d: %s", exit, &s.err)
	}
	if diff := cmp.Diff("", s.out.String()); diff != "" {
		t.Error(diff)
	}
}
