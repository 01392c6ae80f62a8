package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// What is wrong with the clock of a machine is said where its licence is looked
// at, taken, or asked for.
func TestClockOfAMachine(t *testing.T) {
	file, anchors := signedFor(t, license.Binding{Policy: license.PolicyNone})
	state := filepath.Join(t.TempDir(), "state")
	issued := newScreen(t, "").now()
	run := func(now time.Time, args ...string) (status int, out, err string) {
		s := newScreen(t, "")
		s.now = func() time.Time { return now }
		status = s.run(t.Context(), append([]string{"licensectl"}, args...))
		return status, s.out.String(), s.err.String()
	}
	behind := issued.Add(-365 * 24 * time.Hour)

	for _, c := range []struct {
		now    time.Time
		status int
		warns  bool
	}{
		{issued, exitDone, false}, {issued.Add(-10 * time.Minute), exitRefused, false}, {behind, exitRefused, true},
	} {
		status, _, err := run(c.now, "verify", file, "--anchors", anchors)
		if warned := strings.Contains(err, "set the clock right"); status != c.status || warned != c.warns {
			t.Errorf("verify on %v: exit %d: %s", c.now, status, err)
		}
	}
	if status, _, err := run(issued, "verify", file, "--anchors", anchors, "--at", "2020-01-01"); status != exitRefused || strings.Contains(err, "clock") {
		t.Errorf("verify --at: exit %d: %s", status, err)
	}

	status, out, err := run(behind, "import", file, "--anchors", anchors, "--state", state)
	if status != exitDone || !strings.Contains(out, "the clock of this machine is behind and should be set right") {
		t.Errorf("import: exit %d: %s%s", status, out, err)
	}
	status, out, err = run(behind, "import", file, "--anchors", anchors, "--state", state, "-o", "json")
	if status != exitDone || !strings.Contains(out, `"clock": "behind"`) || !strings.Contains(err, "2026-06-15 12:00 UTC is proven to have passed") {
		t.Errorf("import again: exit %d: %s%s", status, out, err)
	}
	if status, _, err = run(behind, "request", "--product", "demo", "--state", state, "--anchors", anchors); status != exitDone || !strings.Contains(err, "set the clock right") {
		t.Errorf("request: exit %d: %s", status, err)
	}
	if status, _, err = run(issued, "request", "--product", "demo", "--state", state, "--anchors", anchors); status != exitDone || strings.Contains(err, "clock") {
		t.Errorf("request: exit %d: %s", status, err)
	}
}
