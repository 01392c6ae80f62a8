package license_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/license"
)

func TestPhaseBoundaries(t *testing.T) {
	// A year with a month of warning, two weeks of grace and a lease of 16 days.
	s := license.Schedule{Warn: 30 * day, Grace: 14 * day, Enforcement: license.EnforceBlock, Lease: 16 * day, Refresh: day}
	leased := s.DatesFor(now, time.Time{}, now.Add(365*day))
	s.Lease = 0
	free := s.DatesFor(now, time.Time{}, now.Add(365*day))
	s.Enforcement = license.EnforceAdvisory
	advisory := s.DatesFor(now, time.Time{}, now.Add(365*day))
	perpetual := s.DatesFor(now, time.Time{}, time.Time{})
	later := s.DatesFor(now, now.Add(day), now.Add(365*day))
	for _, c := range []struct {
		name  string
		dates license.Dates
		at    time.Duration
		phase license.Phase
		why   license.Reason
	}{
		{"before nbf", free, -10*time.Minute - time.Second, license.PhaseBlocked, license.NotYetValid},
		{"nbf", free, -10 * time.Minute, license.PhaseValid, ""},
		{"issue", free, 0, license.PhaseValid, ""},
		{"before warn", free, 335*day - time.Second, license.PhaseValid, ""},
		{"warn", free, 335 * day, license.PhaseWarning, ""},
		{"before the end", free, 365*day - time.Second, license.PhaseWarning, ""},
		{"end", free, 365 * day, license.PhaseGrace, ""},
		{"before the block", free, 379*day - time.Second, license.PhaseGrace, ""},
		{"block", free, 379 * day, license.PhaseBlocked, license.Expired},
		{"lease", leased, 12*day - time.Second, license.PhaseValid, ""},
		{"last quarter of the lease", leased, 12 * day, license.PhaseGrace, ""},
		{"end of the lease", leased, 16 * day, license.PhaseBlocked, license.LeaseOver},
		{"after both", leased, 400 * day, license.PhaseBlocked, license.Expired},
		{"advisory after the block", advisory, 400 * day, license.PhaseBlocked, license.Expired},
		{"perpetual", perpetual, 100000 * day, license.PhaseValid, ""},
		{"start given", later, day - time.Second, license.PhaseBlocked, license.NotYetValid},
		{"started", later, day, license.PhaseValid, ""},
	} {
		at := now.Add(c.at)
		if got, why := c.dates.PhaseAt(at), c.dates.BlockedBy(at); got != c.phase || why != c.why {
			t.Errorf("%s: %s %q, want %s %q", c.name, got, why, c.phase, c.why)
		}
	}
	if !advisory.Exp.Equal(license.Forever) || !perpetual.ExpiresAt.Equal(license.Forever) || !perpetual.LeaseUntil.Equal(license.Forever) {
		t.Error("no end is Forever")
	}
	if license.Forever.Unix() != 253402300799 || license.Forever.Format(time.RFC3339) != "9999-12-31T23:59:59Z" {
		t.Error(license.Forever)
	}
}

func genDates(t *rapid.T) (license.Dates, time.Time) {
	hours := func(name string, from, to int) time.Duration {
		return time.Duration(rapid.IntRange(from, to).Draw(t, name)) * time.Hour
	}
	s := license.Schedule{
		Warn: hours("warn", 0, 2000), Grace: hours("grace", 0, 2000), Lease: hours("lease", 0, 2000), Refresh: hours("refresh", 0, 2000),
		Enforcement: rapid.SampledFrom([]license.Enforcement{license.EnforceBlock, license.EnforceDegrade, license.EnforceAdvisory}).Draw(t, "enforcement"),
	}
	var starts, expires time.Time
	if rapid.Bool().Draw(t, "starts") {
		starts = now.Add(hours("start", -1000, 1000))
	}
	switch rapid.IntRange(0, 2).Draw(t, "end") {
	case 0:
		expires = now.Add(hours("expires", -1000, 20000))
	case 1:
		expires = license.Forever.Add(hours("expires", -1000, 1000))
	}
	return s.DatesFor(now, starts, expires), expires
}

// TestDatesAreInOrder: what a schedule makes is what a verifier accepts.
func TestDatesAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, expires := genDates(t)
		if d.WarnAt.After(d.ExpiresAt) || d.ExpiresAt.After(d.BlockAt) || d.BlockAt.After(d.Exp) || d.LeaseUntil.After(d.Exp) ||
			d.RefreshAfter.After(d.LeaseUntil) || d.Exp.After(license.Forever) {
			t.Fatalf("%+v", d)
		}
		if expires.IsZero() != d.ExpiresAt.Equal(license.Forever) && !expires.After(license.Forever.Add(-time.Second)) {
			t.Fatalf("%s became %s", expires, d.ExpiresAt)
		}
		if d.Enforcement != license.EnforceBlock && !d.Exp.Equal(license.Forever) {
			t.Fatalf("exp %s under %s", d.Exp, d.Enforcement)
		}
	})
}

// TestPhasesOnlyGetWorse, once the licence has begun; and each blocked instant
// has its reason.
func TestPhasesOnlyGetWorse(t *testing.T) {
	rank := map[license.Phase]int{license.PhaseValid: 0, license.PhaseWarning: 1, license.PhaseGrace: 2, license.PhaseBlocked: 3}
	rapid.Check(t, func(t *rapid.T) {
		d, _ := genDates(t)
		at := d.NotBefore
		last := 0
		for range 20 {
			phase := d.PhaseAt(at)
			if rank[phase] < last {
				t.Fatalf("%s at %s after something worse: %+v", phase, at, d)
			}
			last = rank[phase]
			if (phase == license.PhaseBlocked) != (d.BlockedBy(at) != "") {
				t.Fatalf("%s at %s by %q", phase, at, d.BlockedBy(at))
			}
			at = at.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "hours")) * time.Hour)
		}
		if d.PhaseAt(d.Exp) != license.PhaseBlocked || d.PhaseAt(d.LeaseUntil) != license.PhaseBlocked {
			t.Fatalf("exp or the lease do not block: %+v", d)
		}
	})
}

func TestTransfer(t *testing.T) {
	p := license.TransferPolicy{PerYear: 2, CoolDown: day}
	l, err := license.License{}.Transfer(p, now)
	if err != nil || len(l.Transfers) != 1 {
		t.Fatal(err)
	}
	if _, err := l.Transfer(p, now.Add(day-time.Second)); license.ReasonOf(err) != license.TransferLimit {
		t.Errorf("within the cool-down: %v", err)
	}
	l, err = l.Transfer(p, now.Add(day))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Transfer(p, now.Add(365*day-time.Second)); license.ReasonOf(err) != license.TransferLimit {
		t.Errorf("a third within the year: %v", err)
	}
	if l, err = l.Transfer(p, now.Add(365*day)); err != nil || len(l.Transfers) != 2 {
		t.Errorf("a year after the first: %v", err)
	}
	if _, err := (license.License{}).Transfer(license.TransferPolicy{}, now); license.ReasonOf(err) != license.TransferLimit {
		t.Errorf("none allowed: %v", err)
	}
}

func TestScheduleForFloating(t *testing.T) {
	p := license.Product{FloatingLease: 15 * time.Minute, Schedule: license.Schedule{Lease: 14 * day, Refresh: day}}
	if s := p.ScheduleFor(license.ModeNode); s != p.Schedule {
		t.Errorf("%+v", s)
	}
	if s := p.ScheduleFor(license.ModeFloating); s.Lease != 15*time.Minute || s.Refresh != 5*time.Minute {
		t.Errorf("%+v", s)
	}
}
