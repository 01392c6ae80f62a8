package license_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
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

// TestPhasesUnderEveryEnforcement: what a block means to the product does not
// move the boundaries; only exp, and with it the end of a lease that is longer
// than the licence, differs.
func TestPhasesUnderEveryEnforcement(t *testing.T) {
	const valid, warning, grace, blocked = license.PhaseValid, license.PhaseWarning, license.PhaseGrace, license.PhaseBlocked
	type step struct {
		from  time.Duration // from this second on, and not a second before it
		phase license.Phase
		why   license.Reason
	}
	before := step{-365 * day, blocked, license.NotYetValid}
	free := []step{
		before, {-10 * time.Minute, valid, ""}, {335 * day, warning, ""}, {365 * day, grace, ""}, {379 * day, blocked, license.Expired},
	}
	short := []step{
		before, {-10 * time.Minute, valid, ""}, {12 * day, grace, ""}, {16 * day, blocked, license.LeaseOver}, {379 * day, blocked, license.Expired},
	}
	// Longer than the licence: under block it is cut to exp and brings no grace of its own.
	long := []step{
		before, {-10 * time.Minute, valid, ""}, {300 * day, grace, ""}, {379 * day, blocked, license.Expired}, {400 * day, blocked, license.Expired},
	}
	exp := map[license.Enforcement]time.Time{
		license.EnforceBlock: now.Add(379 * day), license.EnforceDegrade: license.Forever, license.EnforceAdvisory: license.Forever,
	}
	for _, e := range []license.Enforcement{license.EnforceBlock, license.EnforceDegrade, license.EnforceAdvisory} {
		for _, c := range []struct {
			name  string
			lease time.Duration
			steps []step
		}{{"no lease", 0, free}, {"short lease", 16 * day, short}, {"long lease", 400 * day, map[bool][]step{true: free, false: long}[e == license.EnforceBlock]}} {
			s := license.Schedule{Warn: 30 * day, Grace: 14 * day, Enforcement: e, Lease: c.lease, Refresh: day}
			d := s.DatesFor(now, time.Time{}, now.Add(365*day))
			if !d.Exp.Equal(exp[e]) {
				t.Errorf("%s, %s: exp is %s", e, c.name, d.Exp)
			}
			for i, at := range c.steps {
				check := func(after time.Duration, want step) {
					if got, why := d.PhaseAt(now.Add(after)), d.BlockedBy(now.Add(after)); got != want.phase || why != want.why {
						t.Errorf("%s, %s, %s after the issue: %s %q, want %s %q", e, c.name, after, got, why, want.phase, want.why)
					}
				}
				check(at.from, at)
				if i > 0 {
					check(at.from-time.Second, c.steps[i-1])
				}
			}
		}
	}
}

// A licence has phases of its own where the merchant gave it some; the others
// follow the product.
func TestPhasesOfOneLicense(t *testing.T) {
	p := license.Product{Schedule: license.Schedule{Warn: 30 * day, Grace: 14 * day, Enforcement: license.EnforceBlock, Lease: 16 * day}}
	for _, c := range []struct {
		name   string
		phases license.Phases
		want   license.Schedule
	}{
		{"none", license.Phases{}, p.Schedule},
		{"warn", license.Phases{Warn: new(60 * day)}, license.Schedule{Warn: 60 * day, Grace: 14 * day, Enforcement: license.EnforceBlock, Lease: 16 * day}},
		{"no warning", license.Phases{Warn: new(time.Duration)}, license.Schedule{Grace: 14 * day, Enforcement: license.EnforceBlock, Lease: 16 * day}},
		{
			"all",
			license.Phases{Warn: new(day), Grace: new(2 * day), Enforcement: license.EnforceAdvisory},
			license.Schedule{Warn: day, Grace: 2 * day, Enforcement: license.EnforceAdvisory, Lease: 16 * day},
		},
	} {
		l := license.License{Mode: license.ModeNode, Phases: c.phases}
		if got := p.ScheduleFor(l); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if err := c.phases.Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if copied := l.Clone(); !copied.Phases.Equal(l.Phases) {
			t.Errorf("%s: a copy has %+v", c.name, copied.Phases)
		} else if copied.Phases.Warn != nil {
			*copied.Phases.Warn++
			if copied.Phases.Equal(l.Phases) {
				t.Errorf("%s: a copy shares its phases", c.name)
			}
		}
		data, err := json.Marshal(l)
		var back license.License
		if err != nil || json.Unmarshal(data, &back) != nil || !back.Phases.Equal(l.Phases) || strings.Contains(string(data), "phases") != (c.name != "none") {
			t.Errorf("%s: stored as %s (%v)", c.name, data, err)
		}
	}
	for field, bad := range map[string]license.Phases{
		"phases.warn":        {Warn: new(-time.Second)},
		"phases.grace":       {Grace: new(time.Millisecond)},
		"phases.enforcement": {Enforcement: "lock"},
	} {
		if e, ok := errors.AsType[*license.Error](bad.Check()); !ok || e.Reason != license.BadRequest || e.Field != field {
			t.Errorf("%s: %v", field, bad.Check())
		}
	}
	if err := (license.Phases{Grace: new(37000 * day)}).Check(); license.ReasonOf(err) != license.BadRequest {
		t.Errorf("a hundred years: %v", err)
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

// A move that was dated by a clock which was far ahead counts as one of the
// year from the next move on, and keeps nobody waiting until its date.
func TestTransferOfAClockAhead(t *testing.T) {
	p := license.TransferPolicy{PerYear: 3, CoolDown: day}
	l := license.License{Transfers: []time.Time{now.Add(-day), now.Add(300 * day)}}
	next, err := l.Transfer(p, now)
	if err != nil {
		t.Fatal(err)
	}
	if want := []time.Time{now.Add(-day), now, now}; !slices.EqualFunc(next.Transfers, want, time.Time.Equal) {
		t.Errorf("moves %v, want %v", next.Transfers, want)
	}
	if _, err := next.Transfer(p, now.Add(2*day)); license.ReasonOf(err) != license.TransferLimit {
		t.Errorf("a fourth within the year: %v", err)
	}
	l.Transfers[1] = now.Add(5 * time.Minute) // a time server set the clock back
	if _, err := l.Transfer(p, now); license.ReasonOf(err) != license.TransferLimit {
		t.Errorf("within the cool-down: %v", err)
	}
}

func TestScheduleForFloating(t *testing.T) {
	p := license.Product{FloatingLease: 15 * time.Minute, Schedule: license.Schedule{Lease: 14 * day, Refresh: day}}
	if s := p.ScheduleFor(license.License{Mode: license.ModeNode}); s != p.Schedule {
		t.Errorf("%+v", s)
	}
	if s := p.ScheduleFor(license.License{Mode: license.ModeFloating}); s.Lease != 15*time.Minute || s.Refresh != 5*time.Minute {
		t.Errorf("%+v", s)
	}
}
