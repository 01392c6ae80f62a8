package client_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Trouble that is over is told, whoever ended it.
func TestReachedByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.activate()
		one := l.g
		l.opts = client.Steady(l.opts, 0.9)
		l.start()
		l.change(func() { l.down = true })
		l.until(0, 8, 0)
		l.forget()
		l.change(func() { l.down = false })
		check(t, one.Refresh(t.Context()))
		l.until(0, 8, 2)
		l.wantTold("reached valid", "reached valid")
		l.change(func() { l.down = true })
		l.until(0, 16, 0)
		l.wantTold("trouble valid unreachable", "trouble valid unreachable")
		l.change(func() { l.down = false })
		check(t, one.Deactivate(t.Context()))
		l.until(0, 16, 2)
		told := l.told()
		if n := len(told); n != 4 || !strings.Contains(told[1], "reached") && !strings.Contains(told[0], "reached") {
			t.Errorf("told %q", told)
		}
		check(t, one.Close())
		l.stop()
	})
}

// That somebody did not wait for his turn is no trouble with the server.
func TestImpatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.opts.HTTPClient.Transport = held{l, 20 * time.Second}
		l.activate()
		l.forget()
		time.Sleep(50 * time.Second) // so that a look is taken before the answer comes
		var wg sync.WaitGroup
		wg.Go(func() { check(t, l.g.Refresh(t.Context())) })
		synctest.Wait()
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.g.Refresh(short); err == nil {
			t.Error("it did not wait")
		}
		wg.Wait()
		l.wantTold()
		l.stop()
	})
}

// A memory that is damaged while the product runs is set aside, told, and
// written anew: nothing of it is lost, in no copy.
func TestDamagedWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.activate()
		one := l.g
		l.start()
		l.until(0, 1, 0)
		l.forget()
		path := filepath.Join(l.opts.StateDir, "install.json")
		check(t, os.WriteFile(path, []byte("noise"), 0o600))
		l.until(0, 1, 3)
		told := l.told()
		for i, line := range told {
			told[i] = line[strings.IndexByte(line, ' ')+10:]
		}
		slices.Sort(told)
		told = slices.Compact(told)
		if !slices.Equal(told, []string{"reached valid", "trouble valid damaged"}) {
			t.Errorf("told %q", told)
		}
		if now, err := os.ReadFile(path); err != nil || !strings.Contains(string(now), "license") {
			t.Errorf("the memory is %q, %v", now, err)
		}
		if _, err := os.Stat(path + ".damaged"); err != nil {
			t.Error(err)
		}
		l.change(func() { l.down = true })
		check(t, one.Close())
		l.stop()
		l.start()
		wantLicensed(t, l.g)
		l.stop()
	})
}

// A product that is short of its server when the licence ends hears of both.
func TestEndWithinLeaseGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.ends = epoch.Add(40 * time.Hour)
		l.activate()
		l.change(func() { l.down = true })
		l.until(1, 17, 0)
		l.wantTold("blocked blocked no_license", "license valid", "restored valid", "trouble valid unreachable",
			"expiring warning", "grace grace", "grace grace")
		l.stop()
	})
}

// A clock that wanders about the tolerance is told once.
func TestClockAtTheTolerance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.lease(license.ModeNode, 0, 0)
		l.activate()
		l.until(0, 1, 0)
		l.forget()
		for i := range 20 {
			l.change(func() { l.skew = -client.ClockTolerance + time.Duration(i%2*4-2)*time.Second })
			time.Sleep(2 * time.Minute)
		}
		l.wantTold("clock valid clock")
		l.change(func() { l.skew = 0 })
		time.Sleep(2 * time.Minute)
		l.wantTold("clock valid")
		l.stop()
	})
}

// The code of a floating licence is forgotten where another one takes its place.
func TestCodeOfAnotherLicence(t *testing.T) {
	s := newSite(t)
	ends := "CDEF"
	s.vendor.grant = func(_ token.Request, c *token.License) { c.Mode, c.CodeLast4 = license.ModeFloating, ends }
	g := s.activated()
	if readState(t, s).Code != code {
		t.Fatalf("code %q", readState(t, s).Code)
	}
	ends = "3210" // of the code that was given beside the file
	request, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{})
	check(t, err)
	check(t, g.Import(s.carry(request)))
	if readState(t, s).Code != "" {
		t.Error("the code of the licence before is kept")
	}
}
