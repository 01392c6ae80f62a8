package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// screen is a program whose surroundings are the test's.
type screen struct {
	*program
	in       *strings.Reader
	out, err bytes.Buffer
}

func newScreen(t *testing.T, input string) *screen {
	t.Helper()
	s := &screen{in: strings.NewReader(input)}
	s.program = &program{
		in: s.in, out: &s.out, err: &s.err,
		getenv: func(string) string { return "" },
		now:    func() time.Time { return time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC) },
		demo:   func(context.Context, *program, demoOptions) error { return nil },
	}
	return s
}

// fakeDaemon answers calls by method and path, and counts them.
func fakeDaemon(t *testing.T, routes map[string]func(body []byte) any) (server string, calls map[string]int) {
	t.Helper()
	calls = map[string]int{}
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := r.Method + " " + strings.TrimPrefix(r.URL.Path, adminwire.Prefix)
		calls[key]++
		var body bytes.Buffer
		if _, err := body.ReadFrom(r.Body); err != nil {
			t.Error(err)
		}
		route, ok := routes[key]
		if !ok {
			t.Errorf("unexpected call %s", key)
			w.WriteHeader(http.StatusTeapot)
			return
		}
		out := route(body.Bytes())
		w.Header().Set("Content-Type", wire.TypeJSON)
		if err, is := out.(*license.Error); is {
			w.Header().Set("Content-Type", wire.TypeProblem)
			out = wire.NewProblem(err, "r1")
		}
		if err := json.NewEncoder(w).Encode(out); err != nil {
			t.Error(err)
		}
	})}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return "unix:" + path, calls
}

const year = 365 * 24 * time.Hour

const someID = "lic_01k2m3n4p5q6r7s8t9v0w1x2y3"

func someLicense() adminwire.License {
	return adminwire.License{ID: someID, Product: "demo", State: license.StateActive, Machines: 1}
}

// What destroys asks, and does nothing unless told to.
func TestConfirm(t *testing.T) {
	for _, tt := range []struct {
		answer string
		want   int
		calls  int
	}{
		{"y\n", exitDone, 1},
		{"YES\n", exitDone, 1},
		{" y", exitDone, 1},
		{"n\n", exitFailed, 0},
		{"\n", exitFailed, 0},
		{"", exitFailed, 0},
		{"yep\n", exitFailed, 0},
	} {
		t.Run(fmt.Sprintf("%q", tt.answer), func(t *testing.T) {
			server, calls := fakeDaemon(t, map[string]func([]byte) any{
				"POST /lookup":                          func([]byte) any { return someLicense() },
				"POST /licenses/" + someID + "/release": func([]byte) any { return adminwire.Edited{License: someLicense(), Changed: true} },
			})
			s := newScreen(t, tt.answer)
			s.interactive = true
			got := s.run(t.Context(), []string{"licensectl", "--server", server, "release", someID})
			if got != tt.want || calls["POST /licenses/"+someID+"/release"] != tt.calls {
				t.Errorf("exit %d after %v:\n%s", got, calls, &s.err)
			}
			if want := "Release " + someID + " (demo, active, 0 machines in use) for good? [y/N] "; !strings.Contains(s.err.String(), want) {
				t.Errorf("it asks %q, want %q", &s.err, want)
			}
			if tt.want == exitFailed && !strings.Contains(s.err.String(), "licensectl: nothing was changed") {
				t.Errorf("it does not say that nothing was changed: %s", &s.err)
			}
		})
	}
}

// More than one batch: progress on a terminal, and what was made is printed
// even where the rest fails.
func TestIssueBatches(t *testing.T) {
	made := 0
	limit := 1 << 30
	server, calls := fakeDaemon(t, map[string]func([]byte) any{
		"POST /licenses": func(body []byte) any {
			var o adminwire.Issue
			if err := json.Unmarshal(body, &o); err != nil {
				t.Error(err)
			}
			if made >= limit {
				return license.Errorf(license.ReadOnly, "the disk is full")
			}
			list := adminwire.LicenseList{}
			for range o.Count {
				made++
				list.Licenses = append(list.Licenses, adminwire.License{ID: fmt.Sprintf("lic_%d", made), Code: fmt.Sprintf("LIC-%d", made), Product: o.Product})
			}
			return list
		},
	})
	s := newScreen(t, "")
	s.talkative = true
	args := []string{"licensectl", "--server", server, "issue", "--product", "demo", "--perpetual", "-n", "2500", "-o", "csv"}
	if got := s.run(t.Context(), args); got != exitDone {
		t.Fatalf("exit %d: %s", got, &s.err)
	}
	if calls["POST /licenses"] != 3 || strings.Count(s.out.String(), "\n") != 2501 {
		t.Errorf("%d calls, %d lines", calls["POST /licenses"], strings.Count(s.out.String(), "\n"))
	}
	if !strings.Contains(s.err.String(), "issued 2000 of 2500") {
		t.Errorf("no progress: %q", &s.err)
	}

	made, limit = 0, 1000
	s = newScreen(t, "")
	if got := s.run(t.Context(), args); got != exitFailed {
		t.Errorf("exit %d, want %d", got, exitFailed)
	}
	if lines := strings.Count(s.out.String(), "\n"); lines != 1001 {
		t.Errorf("%d lines of what was made before the failure", lines)
	}
	if want := "licensectl: 1000 of 2500 licences were issued, then: the disk is full (read_only)\n"; s.err.String() != want {
		t.Errorf("got %q, want %q", &s.err, want)
	}
}

// Every reason has an exit status and one line that names it.
func TestExplain(t *testing.T) {
	for _, r := range append(license.Reasons(), license.Forged, license.Unreachable, license.NoLicense) {
		want := exitFailed
		switch r { //nolint:exhaustive // the others fail
		case license.BadRequest, license.WrongProduct:
			want = exitUsage
		case license.UnknownCode, license.UnknownLicense, license.NotFound:
			want = exitNotFound
		}
		err := fmt.Errorf("renew x: %w", license.Errorf(r, "why it is\nso"))
		text, got := explain(t.Context(), err)
		if got != want || !strings.HasPrefix(text, "renew x: why it is so") || strings.Contains(text, "\n") {
			t.Errorf("%s: exit %d, want %d: %q", r, got, want, text)
		}
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{license.Errorf(license.Revoked, "it is over"), "it is over (revoked)"},
		{license.Revoked, "revoked"},
		{license.FieldErrorf("code", "it is wrong"), "it is wrong (code)"},
		{license.FieldErrorf("code", "the code is wrong"), "the code is wrong"},
		{license.Errorf(license.RateLimited, "slowly").WithRetryAfter(time.Minute), "slowly (rate_limited; try again in 1m0s)"},
		{license.Errorf(license.Damaged, "the file").WithCause(errors.New("at byte 3")), "the file (damaged): at byte 3"},
		{errors.New("a\x1b[31mb"), "a�[31mb"},
	} {
		if got, _ := explain(t.Context(), tt.err); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if text, status := explain(ctx, fmt.Errorf("call: %w", ctx.Err())); text != "interrupted" || status != exitFailed {
		t.Errorf("interrupted: %q, %d", text, status)
	}
}

// A date without a time is taken to its end in the zone that the command line
// names, else the environment, else the daemon, and that is said.
func TestWholeDay(t *testing.T) {
	for _, c := range []struct {
		name, daemon, env string
		args              []string
		want              string // "" is a wrong command line
		said              string
	}{
		{"nobody names a zone", "", "", nil, "2028-02-29T23:59:59Z", "2028-02-29 is taken to its end in UTC: 2028-02-29 23:59:59 UTC\n"},
		{"the daemon", "Asia/Shanghai", "", nil, "2028-02-29T15:59:59Z", "2028-02-29 is taken to its end in Asia/Shanghai: 2028-02-29 23:59:59 +08:00, which is 2028-02-29 15:59:59 UTC\n"},
		{"the environment", "Asia/Shanghai", "America/New_York", nil, "2028-03-01T04:59:59Z", "in America/New_York: 2028-02-29 23:59:59 -05:00, which is 2028-03-01 04:59:59 UTC\n"},
		{"the command line", "Asia/Shanghai", "America/New_York", []string{"--zone", "UTC"}, "2028-02-29T23:59:59Z", "in UTC: "},
		{"a zone that there is not", "", "", []string{"--zone", "Mars/Base"}, "", "--zone: there is no time zone \"Mars/Base\""},
		{"no zone", "", "", []string{"--zone", ""}, "", "--zone: a time zone must be named"},
		{"one of the machine", "", "", []string{"--zone", "Local"}, "", "depends on the machine"},
		{"one of the environment that there is not", "", "Mars/Base", nil, "", "LICENSECTL_ZONE: there is no time zone"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got adminwire.Renew
			server, calls := fakeDaemon(t, map[string]func([]byte) any{
				"GET /status":  func([]byte) any { return adminwire.Status{TimeZone: c.daemon} },
				"POST /lookup": func([]byte) any { return someLicense() },
				"POST /licenses/" + someID + "/renew": func(body []byte) any {
					if err := json.Unmarshal(body, &got); err != nil {
						t.Error(err)
					}
					return adminwire.Edited{License: someLicense(), Changed: true}
				},
			})
			s := newScreen(t, "")
			s.getenv = func(name string) string { return map[string]string{"LICENSECTL_ZONE": c.env}[name] }
			args := append([]string{"licensectl", "--server", server, "renew", someID, "--expires", "2028-02-29"}, c.args...)
			status := s.run(t.Context(), args)
			if !strings.Contains(s.err.String(), c.said) {
				t.Errorf("it says %q", &s.err)
			}
			if c.want == "" {
				if status != exitUsage || len(calls) != 0 {
					t.Errorf("exit %d after %v", status, calls)
				}
				return
			}
			if status != exitDone || got.ExpiresAt == nil || got.ExpiresAt.Format(time.RFC3339) != c.want {
				t.Errorf("exit %d: %v, want %s", status, got.ExpiresAt, c.want)
			}
			if asked := calls["GET /status"] > 0; asked != (c.env == "" && c.args == nil) {
				t.Errorf("the daemon was asked: %v", calls)
			}
		})
	}
	for _, args := range [][]string{
		{"--expires", "2028-02-29T00:00:00Z", "--zone", "UTC"},
		{"--for", "1d", "--zone", "UTC"},
		{"--perpetual", "--zone", "UTC"},
	} {
		s := newScreen(t, "")
		if status := s.run(t.Context(), append([]string{"licensectl", "renew", someID}, args...)); status != exitUsage || !strings.Contains(s.err.String(), "--zone goes with") {
			t.Errorf("%v: exit %d, %s", args, status, &s.err)
		}
	}
}

// Not every daemon is ready, and a clock that differs is said.
func TestStatusWarnings(t *testing.T) {
	now := time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)
	server, _ := fakeDaemon(t, map[string]func([]byte) any{
		"GET /orders-due": func([]byte) any { return adminwire.OrdersDue{} },
		"GET /status": func([]byte) any {
			return adminwire.Status{
				Version: "v1", Now: now.Add(2 * time.Hour), StartedAt: now.Add(-50 * time.Hour), Store: "bolt:x", StoreBytes: 5 << 20,
				Keys:  adminwire.KeyHealth{Seq: 3, ExpiresAt: now.Add(30 * 24 * time.Hour), CurrentUntil: now.Add(year)},
				Clock: adminwire.Clock{State: "ahead", Now: now.Add(2 * time.Hour), LastRecord: new(now.Add(-40 * 24 * time.Hour))},
			}
		},
	})
	s := newScreen(t, "")
	if status := s.run(t.Context(), []string{"licensectl", "--server", server, "status"}); status != exitFailed {
		t.Errorf("exit %d of a daemon that is not ready", status)
	}
	for _, want := range []string{"v1, not ready", "2d4h, since", ", 2h from the clock here, NOT TRUSTED: 40d past its last record, 2026-05-06 12:00:00 UTC", "bolt:x, 5.0 MiB"} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &s.out)
		}
	}
	for _, want := range []string{"runs out in 29d", "no next signing key", "the daemon is not ready"} {
		if !strings.Contains(s.err.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &s.err)
		}
	}
}

// Every command explains itself, with an example, within the width of a screen.
func TestHelp(t *testing.T) {
	app := newScreen(t, "").app()
	check := func(name, text string) {
		for line := range strings.Lines(text) {
			if w := width(strings.TrimRight(line, "\n")); w > 110 {
				t.Errorf("%s: %d columns: %s", name, w, line)
			}
		}
	}
	check("licensectl", app.CustomAppHelpTemplate)
	var walk func(prefix string, list []*cli.Command)
	walk = func(prefix string, list []*cli.Command) {
		for _, c := range list {
			name := prefix + " " + c.Name
			check(name, c.CustomHelpTemplate)
			if len(c.Subcommands) > 0 {
				walk(name, c.Subcommands)
				continue
			}
			if !strings.Contains(c.Description, "Example") || !strings.Contains(c.Description, name) {
				t.Errorf("%s has no example", name)
			}
			if !strings.Contains(c.UsageText, name) {
				t.Errorf("%s: its usage is %q", name, c.UsageText)
			}
			if prefix == "licensectl" && !strings.Contains(app.CustomAppHelpTemplate, "\n  "+c.Name+" ") {
				t.Errorf("%s is missing in the help of licensectl", name)
			}
			s := newScreen(t, "")
			if status := s.run(t.Context(), append(strings.Fields(name), "--help")); status != exitDone || s.out.String() != c.CustomHelpTemplate {
				t.Errorf("%s --help exits %d and prints:\n%s", name, status, &s.out)
			}
		}
	}
	walk("licensectl", app.Commands)
}
