package client_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func (l *bubble) wantTold(want ...string) {
	l.t.Helper()
	got := l.told()
	for i, line := range got {
		got[i] = line[strings.IndexByte(line, ' ')+10:] // without the time
	}
	if diff := cmp.Diff(want, got); diff != "" {
		l.t.Error(diff)
	}
	l.forget()
}

// lease makes the licences of another kind.
func (l *bubble) lease(mode license.Mode, lease, refresh time.Duration) {
	l.vendor.grant = func(_ token.Request, c *token.License) {
		c.Mode = mode
		c.Dates = license.Schedule{Enforcement: license.EnforceBlock, Lease: lease, Refresh: refresh}.
			DatesFor(c.Dates.IssuedAt, time.Time{}, epoch.Add(365*24*time.Hour))
	}
}

func ops(requests []token.Request) (names []string) {
	for _, r := range requests {
		names = append(names, string(r.Op))
	}
	return names
}

// Where nobody can be reached calls become rare, and come often enough again
// when little is left of the lease.
func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.activate()
		l.change(func() { l.down, l.calls = true, nil })
		l.until(2, 12, 0)
		l.stop()
		// The first after six hours and a tenth of that, half of it by chance.
		want := []time.Duration{6*time.Hour + 18*time.Minute}
		for _, d := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
			want = append(want, want[len(want)-1]+d)
		}
		if diff := cmp.Diff(want, l.calls[:len(want)]); diff != "" {
			t.Error(diff)
		}
		last := 0 * time.Second
		for i, at := range l.calls[1:] {
			pause := at - l.calls[i]
			if at < 48*time.Hour && pause > time.Hour || at > 49*time.Hour && pause > 5*time.Minute {
				t.Errorf("at %v after %v", at, pause)
			}
			if at < 48*time.Hour && at > 47*time.Hour+50*time.Minute {
				last = max(last, pause)
			}
		}
		if last == 0 || last > 4*time.Minute || len(l.calls) > 250 {
			t.Errorf("%d calls; %v between two at the end of the lease", len(l.calls), last)
		}
	})
}

// A server that says when to come again is heeded, within reason.
func TestRetryAfter(t *testing.T) {
	for after, want := range map[time.Duration]time.Duration{
		0: 30 * time.Second, 20 * time.Minute: 20 * time.Minute, 9000 * time.Hour: 24 * time.Hour,
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newBubble(t)
			l.activate()
			l.change(func() {
				l.calls = nil
				l.vendor.refuse = func(token.Request) error {
					return license.Errorf(license.RateLimited, "too many").WithRetryAfter(after)
				}
			})
			l.until(1, 12, 0)
			l.stop()
			if len(l.calls) < 2 || l.calls[1]-l.calls[0] != want {
				t.Errorf("asked for %v: %v", after, l.calls[:min(len(l.calls), 3)])
			}
		})
	}
}

// An answer that makes the next call due at once does not make a guard call
// without end.
func TestAlwaysDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.lease(license.ModeNode, 24*time.Hour, 0)
		l.activate()
		l.until(1, 0, 0)
		l.stop()
		if n := len(l.calls); n < 20 || n > 40 {
			t.Errorf("%d calls in a day", n)
		}
	})
}

// A floating seat is renewed while the product runs, given back at its end, and
// taken again at the next start, without anybody typing a code.
func TestFloatingSeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.lease(license.ModeFloating, 15*time.Minute, 5*time.Minute)
		l.activate()
		l.until(0, 1, 0)
		l.wantTold("blocked blocked no_license", "license valid", "restored valid")
		if n := len(l.vendor.seen()); n < 11 || n > 13 {
			t.Errorf("%d calls in an hour", n)
		}
		first := l.g.License().InstallID()
		l.stop()
		requests := l.vendor.seen()
		if last := requests[len(requests)-1]; last.Op != client.OpDeactivate || last.InstallID != first {
			t.Fatalf("the end is %v", ops(requests))
		}
		if st := l.g.Status(); st.Usable || st.Reason != license.NoLicense {
			t.Errorf("after the end: %s", st)
		}

		l.until(0, 2, 0)
		l.start()
		l.wantTold("blocked blocked no_license", "license valid", "restored valid")
		wantLicensed(t, l.g)
		if second := l.g.License().InstallID(); second == first {
			t.Error("a key that was given up lives on")
		}

		// The server is gone as the product ends: the lease ends by itself, and what
		// waits is settled at the next start.
		l.change(func() { l.hangs = true })
		before := time.Since(l.begin)
		l.stop()
		if took := time.Since(l.begin) - before; took != 5*time.Second {
			t.Errorf("Close took %v", took)
		}
		l.change(func() { l.hangs = false })
		l.until(0, 3, 0)
		l.forget()
		l.start()
		wantLicensed(t, l.g)

		// Given up on purpose, it stays so.
		check(t, l.g.Deactivate(t.Context()))
		l.until(0, 4, 0)
		if l.g.License() != nil {
			t.Error("a licence that was given up came back")
		}
		l.stop()
		l.start()
		l.until(0, 5, 0)
		if l.g.License() != nil {
			t.Error("a licence that was given up came back at the next start")
		}
		memory, err := os.ReadFile(filepath.Join(l.opts.StateDir, "install.json"))
		check(t, err)
		if strings.Contains(string(memory), code) {
			t.Error("the code of a licence that was given up is kept")
		}
		l.stop()
	})
}

// A product that crashed goes on with the seat that it had.
func TestFloatingCrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.lease(license.ModeFloating, 15*time.Minute, 5*time.Minute)
		l.activate()
		l.until(0, 0, 7)
		memory, err := os.ReadFile(filepath.Join(l.opts.StateDir, "install.json"))
		check(t, err)
		held, asked := l.g.License().InstallID(), len(l.vendor.seen())
		l.opts.StateDir = t.TempDir() // the memory as a crash leaves it
		check(t, os.WriteFile(filepath.Join(l.opts.StateDir, "install.json"), memory, 0o600))
		crashed := l.g
		l.start()
		l.until(0, 0, 8)
		wantLicensed(t, l.g)
		if l.g.License().InstallID() != held || len(l.vendor.seen()) != asked {
			t.Errorf("it called %v", ops(l.vendor.seen()[asked:]))
		}
		l.change(func() { l.down = true }) // the crashed one says nothing more
		check(t, crashed.Close())
		l.stop()
	})
}

// KeepSeat keeps the seat; copies in one folder give it back together.
func TestFloatingShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.lease(license.ModeFloating, 15*time.Minute, 5*time.Minute)
		l.opts.KeepSeat = true
		l.activate()
		l.stop()
		if got := ops(l.vendor.seen()); !slices.Equal(got, []string{"activate"}) {
			t.Errorf("calls %v", got)
		}
		l.opts.KeepSeat = false
		l.start()
		first := l.g
		l.start()
		l.until(0, 0, 2) // both have seen the seat
		check(t, first.Close())
		wantLicensed(t, l.g)
		l.until(0, 0, 20)
		wantLicensed(t, l.g)
		if got := ops(l.vendor.seen()); slices.Contains(got, "deactivate") {
			t.Errorf("calls %v", got)
		}
		l.stop()
		if got := ops(l.vendor.seen()); got[len(got)-1] != "deactivate" {
			t.Errorf("calls %v", got)
		}
	})
}

// Copies that share a folder call home once for all, and each hears of what
// another did.
func TestSharedFolderCallsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		var copies []*client.Guard
		for _, part := range []float64{0.5, 0.1, 0.9} {
			l.opts = client.Steady(l.opts, part)
			l.start()
			copies = append(copies, l.g)
		}
		one := copies[0]
		l.forget()
		check(t, l.g.Activate(t.Context(), code))
		l.until(0, 0, 2)
		wantLicensed(t, one)
		if told := l.told(); len(told) != 6 { // each of three that the licence came, and is in order
			t.Errorf("told %q", told)
		}
		l.until(3, 0, 0)
		// The one that draws the least calls for all.
		if n, alone := len(l.vendor.seen()), 3*24*60/(6*60+3)+1; n != alone {
			t.Errorf("%d calls, one alone makes %d", n, alone)
		}
		if one.License().ID() != l.g.License().ID() {
			t.Error("they hold different licences")
		}
		for _, g := range copies {
			check(t, g.Close())
		}
		l.reader.Wait()
	})
}

// A copy that is configured with a code activates by itself, patiently.
func TestConfiguredCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.opts.Code = code
		l.down = true
		l.start()
		l.wantTold("blocked blocked no_license", "trouble blocked unreachable")
		l.until(0, 6, 0)
		if n := len(l.calls); n < 70 || n > 90 {
			t.Errorf("%d calls in six hours", n)
		}
		l.change(func() { l.down = false })
		l.until(0, 6, 5)
		l.wantTold("license valid", "restored valid", "reached valid")
		// The request had waited, so another follows that brings it up to date.
		if got := l.vendor.seen(); !slices.Equal(ops(got), []string{"activate", "refresh"}) || got[0].Code.Reveal() != code {
			t.Errorf("requests %v", ops(got))
		}
		check(t, l.g.Deactivate(t.Context()))
		l.until(0, 12, 0)
		l.wantTold("blocked blocked no_license")
		l.stop()
	})
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.opts.Code = code
		l.vendor.refuse = func(token.Request) error { return license.Errorf(license.UnknownCode, "there is no such code") }
		l.start()
		l.until(2, 0, 0)
		l.wantTold("blocked blocked no_license", "trouble blocked unknown_code")
		if n := len(l.calls); n > 60 {
			t.Errorf("%d calls in two days", n)
		}
		l.stop()
	})
	s := newSite(t)
	s.opts.Code = "LIC-AAAAA-AAAAA-AAAAA-AAAAA-AAAAAA"
	_, err := client.Open(t.Context(), s.opts)
	wantReason(t, err, license.BadRequest)
}

// What comes out last is true last, however long nobody read.
func TestEventsWithoutReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.lease(license.ModeNode, 0, 0)
		g, err := client.Open(t.Context(), l.opts)
		check(t, err)
		check(t, g.Activate(t.Context(), code))
		for i := range 60 {
			l.change(func() { l.skew = time.Duration(i%2) * -24 * time.Hour })
			time.Sleep(2 * time.Minute)
		}
		check(t, g.Close())
		var events []client.Event
		missed := 0
		for e := range g.Events() {
			events = append(events, e)
			missed += e.Missed
		}
		if n := len(events); n == 0 || n > 64 || n+missed != 62 && n+missed != 63 {
			t.Errorf("%d events and %d missed", n, missed)
		}
		if last := events[len(events)-1]; last.Kind != client.EventClock || last.Err == nil {
			t.Errorf("the last is %+v", last)
		}
	})
}

// What is wrong with the memory is told, and nothing else is lost by it.
func TestMemoryTroubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.activate()
		l.forget()
		path := filepath.Join(l.opts.StateDir, "install.json")
		whole, err := os.ReadFile(path)
		check(t, err)
		newer := strings.Replace(string(whole), `"format":1`, `"format":2`, 1)
		newer = strings.Replace(newer, `"check":"`, `"check":"AAAA`, 1)
		check(t, os.WriteFile(path, []byte(newer), 0o600))
		l.until(0, 1, 0)
		l.wantTold("trouble valid conflict")
		wantLicensed(t, l.g)
		if now, err := os.ReadFile(path); err != nil || string(now) != newer {
			t.Error("a memory that a newer version wrote was touched")
		}
		check(t, os.WriteFile(path, whole, 0o600))
		l.until(0, 2, 0)
		l.wantTold("reached valid")

		// A folder that cannot be written: the lease cannot be renewed, which is told,
		// and ends the licence only when it is over.
		check(t, os.Rename(l.opts.StateDir, l.opts.StateDir+".away"))
		check(t, os.WriteFile(l.opts.StateDir, nil, 0o600))
		l.until(1, 0, 0)
		l.wantTold("trouble valid read_only")
		wantLicensed(t, l.g)
		check(t, os.Remove(l.opts.StateDir))
		check(t, os.Rename(l.opts.StateDir+".away", l.opts.StateDir))
		l.until(1, 2, 0)
		l.wantTold("reached valid")
		wantLicensed(t, l.g)
		l.stop()
	})
}

// The time for which a product ran without a network is not lost when it is
// killed.
func TestRunningTimeSurvivesKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.activate()
		l.change(func() { l.down = true })
		l.until(1, 12, 0)
		memory, err := os.ReadFile(filepath.Join(l.opts.StateDir, "install.json"))
		check(t, err)
		l.stop()
		l.opts.StateDir = t.TempDir() // as a kill leaves it
		check(t, os.WriteFile(filepath.Join(l.opts.StateDir, "install.json"), memory, 0o600))
		l.change(func() { l.skew = -time.Since(l.begin) })
		l.start()
		if at := l.g.Status().At; at.Before(epoch.Add(34*time.Hour)) || at.After(epoch.Add(37*time.Hour)) {
			t.Errorf("it is taken to be %v", at)
		}
		l.stop()
	})
}

// A guard at rest is one goroutine, and Feature allocates nothing beside it.
func TestAtRest(t *testing.T) {
	s := newSite(t)
	s.opts.Manual = false
	s.opts.Now = func() time.Time { return epoch }
	before := runtime.NumGoroutine()
	g := s.activated()
	for runtime.NumGoroutine() > before+1 {
		runtime.Gosched()
	}
	if n := testing.AllocsPerRun(100, func() {
		if !g.Feature("export") {
			t.Error("not licensed")
		}
	}); n != 0 {
		t.Errorf("Feature allocates %v times", n)
	}
	check(t, g.Close())
	for runtime.NumGoroutine() > before {
		runtime.Gosched()
	}
	for range g.Events() { // until it is closed
	}
}

// Who waits for a floating seat gets one soon after it is free; who waits for a
// machine of a licence that has none left does not ask each minute.
func TestWaitingForASeat(t *testing.T) {
	for _, mode := range []license.Mode{license.ModeFloating, license.ModeNode} {
		synctest.Test(t, func(t *testing.T) {
			l := newBubble(t)
			l.opts.Code = code
			l.lease(mode, 15*time.Minute, 5*time.Minute)
			l.start()
			l.until(0, 0, 10)
			wantLicensed(t, l.g)
			l.change(func() { l.down = true })
			l.until(0, 1, 0) // the lease is over, and the seat somebody else's
			l.change(func() {
				l.down, l.calls = false, nil
				l.vendor.refuse = func(token.Request) error { return license.Errorf(license.MachineLimit, "all seats are in use") }
			})
			l.until(0, 6, 0)
			l.change(func() {
				if n := len(l.calls); mode == license.ModeFloating && (n < 280 || n > 310) || mode == license.ModeNode && n > 20 {
					t.Errorf("%s: %d calls in five hours", mode, n)
				}
				l.vendor.refuse = nil
			})
			l.until(0, 7, 30)
			wantLicensed(t, l.g)
			l.stop()
		})
	}
}

// A memory that says whose its key is, and says it wrong, is found out: at once
// where nothing is done in the background, and there before anything else.
func TestKeyOfAnotherInstall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.activate()
		l.stop()
		l.forget()
		path := filepath.Join(l.opts.StateDir, "install.json")
		data, err := os.ReadFile(path)
		check(t, err)
		m, err := client.Decode(data)
		check(t, err)
		if m.Install == "" || m.Install != l.g.License().InstallID() {
			t.Fatalf("the memory is of %q", m.Install)
		}
		m.Key = key("a thief's").Seed()
		data, err = client.Encode(m)
		check(t, err)
		check(t, os.WriteFile(path, data, 0o600))
		l.change(func() { l.down = true })
		l.start()
		l.wantTold("blocked blocked machine_mismatch", "trouble blocked unreachable")
		if st := l.g.Status(); st.Usable || l.g.Feature("export") {
			t.Errorf("with another's key: %s", st)
		}
		l.until(0, 1, 0) // other looks at the same file change nothing
		if l.g.Status().Usable {
			t.Error("it is believed later")
		}
		l.stop()
		l.opts.Manual = true
		g := l.open()
		if st := g.Status(); st.Usable || st.Reason != license.MachineMismatch {
			t.Errorf("with another's key: %s", st)
		}
	})
}
