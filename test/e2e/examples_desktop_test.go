package e2e_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client/clienttest"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// The desktop program, worked by hand, from a typing error to the next machine.
func TestExampleDesktop(t *testing.T) {
	t.Parallel()
	p := exampleSite(t, "{id: demo, features: {export: true}, transfers: {cool_down: 0}}").start()
	l := p.issue("demo", 1)
	state := filepath.Join(t.TempDir(), "state")
	start := func(machine, state string) *app {
		return runApp(t, exampleCommand(t, machine, "desktop", "-server", "http://"+p.public, "-state", state))
	}

	a := start("first", state)
	a.expect("not licensed: there is no licence yet", "[blocked]")
	a.do("export plan", "error: export is not there: not licensed")
	a.do("activate "+l.Code[:len(l.Code)-1]+"?", "error: ")
	a.do("activate LIC-00000-00000-00000-00000-000000", "error: ")
	a.do("activate "+l.Code, "activated: licensed until 20", "[license] another licence: ", "[restored] restored: licensed until")
	a.do("export plan", "exported plan")
	a.do("print plan", `error: there is no command "print"`)

	// The code is used up: another machine is told so, and the first one goes on.
	other := start("second", state+"2")
	other.do("activate "+l.Code, "error: ")
	other.do("export plan", "error: export is not there")
	other.do("quit")
	other.end(1)

	// A suspension takes the feature away, and its end brings it back.
	p.edit(adminwire.PathSuspend, l.ID, nil)
	a.until("refresh", "[blocked] not licensed: the licence is suspended")
	a.do("export plan", "error: export is not there: not licensed: the licence is suspended")
	p.edit(adminwire.PathResume, l.ID, nil)
	a.until("refresh", "[restored] restored: licensed until")
	a.do("export plan", "exported plan")

	// Killed and started again, it needs nobody.
	a.kill()
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	a = start("first", state)
	a.expect("licensed until 20")
	a.do("export plan", "exported plan")
	a.do("refresh", "error: the licence server at "+p.public)
	a.do("export plan", "exported plan")
	a.do("deactivate", "error: the licence server")
	a.do("export plan", "exported plan")
	a.end(1)

	// Its folder on another machine is worth nothing, and it says why.
	a = start("another", state)
	a.expect("not licensed: ", "[blocked] ", string(license.KindCustom))
	a.do("export plan", "error: export is not there")
	a.do("explain", string(license.KindCustom))
	a.end(1)
}

// Given up on one machine, the licence is another one's.
func TestExampleDesktopDeactivates(t *testing.T) {
	t.Parallel()
	p := exampleSite(t, "{id: demo, features: {export: true}}").start()
	l := p.issue("demo", 1)
	pipe := func(machine, state, input string) (string, error) {
		cmd := exampleCommand(t, machine, "desktop", "-server", "http://"+p.public, "-state", state)
		cmd.Stdin = strings.NewReader(input)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	one, two := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")
	for _, step := range []struct{ machine, state, input, want string }{
		{"first", one, "activate " + l.Code + "\nexport plan\n", "exported plan\n"},
		{"first", one, "export plan\ndeactivate\nstatus\n", "given up: another machine can be activated now\n"},
		{"second", two, "activate " + l.Code + "\nexport plan\nquit\nexport none", "exported plan\n"},
	} {
		out, err := pipe(step.machine, step.state, step.input)
		if err != nil || !strings.Contains(out, step.want) {
			t.Fatalf("%q: %v\n%s", step.input, err, out)
		}
		if strings.Contains(out, "> ") {
			t.Errorf("a prompt without a terminal:\n%s", out)
		}
	}
	if got := p.show(l.ID); len(got.Installs) != 2 {
		t.Errorf("%d installs, want 2", len(got.Installs))
	}
	out, err := pipe("first", one, "export plan\n")
	if err == nil || !strings.Contains(out, "export is not there") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The server is gone for most of a lease, and for more than a lease. It is the
// server here whose clock was behind when the licence was made, so that the real
// program meets the dates under its own clock.
func TestExampleDesktopOutage(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, outage := range []struct {
		days          time.Duration
		phase, export string
	}{
		{days: 13 * day, phase: "[grace] licensed, but must reach the licence server; usable until", export: "exported plan"},
		{days: 15 * day, phase: "[blocked] not licensed", export: "error: export is not there: not licensed"},
	} {
		s := clienttest.NewServer(t, clienttest.ServerOptions{
			Clock:   clienttest.NewClock(time.Now().Add(-outage.days)),
			Product: license.Product{ID: "demo"},
		})
		state := filepath.Join(t.TempDir(), "state")
		start := func() *app {
			return runApp(t, exampleCommand(t, "first", "desktop", "-server", s.URL(), "-state", state))
		}
		a := start()
		// As long as it runs, it knows that its own clock is ahead of the server's.
		a.do("activate "+s.Issue(clienttest.LicenseSpec{}), "activated: licensed until 20", "[clock] ")
		a.do("export plan", "exported plan")
		a.end(0)

		s.Down()
		a = start()
		a.expect(outage.phase, "[trouble] the licence server")
		a.do("export plan", outage.export)

		s.Clock().Set(time.Now())
		s.Up()
		a.do("refresh", "up to date: licensed until 20", "[restored] restored: licensed until", "[reached] ")
		a.do("export plan", "exported plan")
		a.kill()
		a = start()
		a.do("export plan", "exported plan")
		a.end(0)
	}
}
