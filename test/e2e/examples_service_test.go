package e2e_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client/clienttest"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// service is the example that runs, with its address.
type service struct {
	*app
	url string
}

var servingAt = regexp.MustCompile(`msg="the service is serving" address=(\S+)`)

// startService starts the example with more of an environment.
func startService(t *testing.T, machine string, env ...string) service {
	t.Helper()
	cmd := exampleCommand(t, machine, "service")
	cmd.Env = append(cmd.Env, append([]string{"LISTEN=127.0.0.1:0"}, env...)...)
	a := runApp(t, cmd)
	a.expect("the service is serving", "\n")
	return service{app: a, url: "http://" + servingAt.FindStringSubmatch(a.out.String())[1]}
}

// answer is what the service says to a request.
type answer struct {
	status         int
	kind, again    string
	Reason, Detail string
	Licensed       bool
	Phase, Trouble string
	ExpiresAt      *time.Time `json:"expires_at"`
	text           string
}

func (s service) get(path string) answer {
	s.t.Helper()
	rq, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	rs, err := http.DefaultClient.Do(rq)
	if err != nil {
		s.t.Fatalf("%v:\n%s", err, s.out)
	}
	defer rs.Body.Close()
	data, err := io.ReadAll(rs.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	a := answer{status: rs.StatusCode, kind: rs.Header.Get("Content-Type"), again: rs.Header.Get("Retry-After"), text: string(data)}
	if strings.Contains(a.kind, "json") {
		if err := json.Unmarshal(data, &a); err != nil {
			s.t.Fatalf("%v: %s", err, data)
		}
	}
	return a
}

// wants asks for a path until it is answered with a status and a reason.
func (s service) wants(path string, status int, reason license.Reason) answer {
	s.t.Helper()
	return s.asks(path, func(a answer) bool { return a.status == status && a.Reason == string(reason) })
}

// asks asks for a path until the answer will do: what the guard does by itself
// takes a moment.
func (s service) asks(path string, will func(answer) bool) answer {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 60*time.Second)
	defer cancel()
	for {
		a := s.get(path)
		if will(a) {
			return a
		}
		select {
		case <-ctx.Done():
			s.t.Fatalf("%s: HTTP %d %s:\n%s", path, a.status, a.text, s.out)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// terminate ends it as an orchestrator does.
func (s service) terminate() {
	s.t.Helper()
	s.signal(syscall.SIGTERM)
	s.app.wants(0)
}

// A container is configured with the code of a floating licence: it takes a seat
// by itself, keeps it over a kill -9, waits for one while all are taken, and
// gives it back at SIGTERM.
func TestExampleServiceSeats(t *testing.T) {
	t.Parallel()
	p := exampleSite(t, "{id: demo, features: {export: true}, mode: floating}").start()
	l := p.issue("demo", 1)
	dir := t.TempDir()
	env := func(name string) []string {
		return []string{"LICENSE_SERVER=http://" + p.public, "LICENSE_CODE=" + l.Code, "STATE_DIR=" + filepath.Join(dir, name)}
	}
	seats := func() int {
		installs := p.show(l.ID).Installs
		return len(installs) - len(slices.DeleteFunc(installs, func(i adminwire.Install) bool { return i.State == "live" }))
	}
	one := startService(t, "node", env("one")...)
	one.wants("/drawings", http.StatusOK, "")
	one.wants("/export", http.StatusOK, "")
	if h := one.get("/healthz"); h.status != http.StatusOK || !h.Licensed || h.Phase != string(license.PhaseValid) || h.ExpiresAt == nil {
		t.Errorf("health: %s", h.text)
	}
	if n := seats(); n != 1 {
		t.Fatalf("%d seats are taken, want 1", n)
	}

	two := startService(t, "node", env("two")...)
	refused := two.wants("/drawings", http.StatusServiceUnavailable, license.MachineLimit)
	if refused.kind != "application/problem+json" || refused.again == "" || refused.Detail == "" {
		t.Errorf("refused with %+v", refused)
	}
	if h := two.get("/healthz"); h.status != http.StatusOK || h.Licensed || h.Trouble != string(license.MachineLimit) {
		t.Errorf("health: %s", h.text)
	}

	one.kill()
	if n := seats(); n != 1 {
		t.Fatalf("%d seats are taken after kill -9, want 1", n)
	}
	one = startService(t, "node", env("one")...)
	if a := one.get("/export"); a.status != http.StatusOK {
		t.Errorf("after kill -9: HTTP %d %s", a.status, a.text)
	}

	one.terminate()
	if n := seats(); n != 0 {
		t.Fatalf("%d seats are taken after SIGTERM, want 0:\n%s", n, one.out)
	}
	two.signal(syscall.SIGHUP)
	two.wants("/export", http.StatusOK, "")
	two.terminate()
	if n := seats(); n != 0 {
		t.Errorf("%d seats are taken after all have ended, want 0", n)
	}
	if log := one.out.String() + two.out.String(); strings.Contains(log, l.Code) {
		t.Errorf("the log holds the code:\n%s", log)
	}
}

// Each feature has its gate, and the merchant's decisions are heeded while the
// service runs.
func TestExampleServiceGates(t *testing.T) {
	t.Parallel()
	s := clienttest.NewServer(t, clienttest.ServerOptions{
		Clock: clienttest.NewClock(time.Now()), Product: license.Product{ID: "demo"},
	})
	code := s.Issue(clienttest.LicenseSpec{Features: clienttest.Features("projects=10")})
	env := []string{"LICENSE_SERVER=" + s.URL(), "LICENSE_CODE=" + code, "STATE_DIR=" + filepath.Join(t.TempDir(), "state")}

	// The licence server starts later than the service.
	s.Down()
	a := startService(t, "node", env...)
	a.wants("/drawings", http.StatusServiceUnavailable, license.Unreachable)
	s.Up()
	a.signal(syscall.SIGHUP)
	a.wants("/drawings", http.StatusOK, "")
	a.wants("/export", http.StatusPaymentRequired, "not_included")

	for _, change := range []struct {
		make   func()
		path   string
		status int
		reason license.Reason
	}{
		{func() { s.SetFeatures(code, clienttest.Features("export")) }, "/export", http.StatusOK, ""},
		{func() { s.Suspend(code) }, "/export", http.StatusForbidden, license.Suspended},
		{func() { s.Resume(code) }, "/export", http.StatusOK, ""},
		{func() { s.Revoke(code) }, "/drawings", http.StatusForbidden, license.Revoked},
	} {
		change.make()
		a.signal(syscall.SIGHUP)
		a.wants(change.path, change.status, change.reason)
		if change.reason != "" {
			a.expect("the licence was not refreshed", "\n") // what counts at once is kept by then
		}
	}
	a.kill()

	// What was revoked stays so, without a server and in another process.
	s.Down()
	a = startService(t, "node", env...)
	if got := a.get("/drawings"); got.status != http.StatusForbidden || got.Reason != string(license.Revoked) {
		t.Errorf("after a restart: HTTP %d %s", got.status, got.text)
	}
	a.terminate()
}

// A server that is not there costs nothing until the lease has run out.
func TestExampleServiceOutage(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, outage := range []struct {
		lasts  time.Duration // the licence
		days   time.Duration // without a server
		status int
		reason license.Reason
		phase  license.Phase
	}{
		{365 * day, 2 * day, http.StatusOK, "", license.PhaseValid},
		{365 * day, 13 * day, http.StatusOK, "", license.PhaseGrace},
		{5 * day, 10 * day, http.StatusOK, "", license.PhaseGrace},
		{5 * day, 21 * day, http.StatusPaymentRequired, license.Expired, license.PhaseBlocked},
		{365 * day, 15 * day, http.StatusServiceUnavailable, license.LeaseOver, license.PhaseBlocked},
	} {
		s := clienttest.NewServer(t, clienttest.ServerOptions{
			Clock: clienttest.NewClock(time.Now().Add(-outage.days)), Product: license.Product{ID: "demo"},
		})
		code := s.Issue(clienttest.LicenseSpec{For: outage.lasts})
		env := []string{
			"LICENSE_SERVER=" + s.URL(), "LICENSE_CODE=" + code, "STATE_DIR=" + filepath.Join(t.TempDir(), "state"),
		}
		a := startService(t, "node", env...)
		a.wants("/export", http.StatusOK, "")
		a.terminate()

		s.Down()
		a = startService(t, "node", env...)
		got := a.get("/drawings")
		if got.status != outage.status || got.Reason != string(outage.reason) {
			t.Errorf("%s without a server: HTTP %d %s", outage.days, got.status, got.text)
		}
		h := a.asks("/healthz", func(h answer) bool { return h.Trouble == string(license.Unreachable) })
		if h.status != http.StatusOK || h.Phase != string(outage.phase) {
			t.Errorf("%s without a server: health: HTTP %d %s", outage.days, h.status, h.text)
		}
		s.Clock().Set(time.Now())
		s.Renew(code, time.Now().Add(365*day))
		s.Up()
		a.signal(syscall.SIGHUP)
		a.asks("/healthz", func(h answer) bool { return h.Trouble == "" && h.Phase == string(license.PhaseValid) })
		a.wants("/export", http.StatusOK, "")
		a.terminate()
	}
}

// What is wrong with the configuration ends the service at once, and says what.
func TestExampleServiceRefusesToStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for env, want := range map[string]string{
		"LISTEN=nowhere": "missing port",
		"LICENSE_SERVER=http://licence.example.com": "use https",
		"STATE_DIR=" + file:                         "memory cannot be read",
	} {
		cmd := exampleCommand(t, "node", "service")
		cmd.Env = append(cmd.Env, "LISTEN=127.0.0.1:0", "STATE_DIR="+filepath.Join(t.TempDir(), "state"), env)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%s: %v\n%s", env, err, out)
		}
	}
}
