package license_test

import (
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// The last quarter of a lease is a quarter, however long it is.
func TestLeaseGrace(t *testing.T) {
	for _, c := range []struct{ seconds, grace int64 }{{10, 7}, {4, 3}, {86400, 64800}, {400 * 365 * 86400, 300 * 365 * 86400}, {8000 * 365 * 86400, 6000 * 365 * 86400}} {
		d := license.Dates{
			NotBefore: time.Unix(0, 0), IssuedAt: time.Unix(0, 0), LeaseUntil: time.Unix(c.seconds, 0),
			WarnAt: license.Forever, ExpiresAt: license.Forever, BlockAt: license.Forever, Exp: license.Forever,
		}
		if p := d.PhaseAt(time.Unix(c.grace, 0)); p != license.PhaseValid && c.seconds%4 != 0 || p != license.PhaseGrace && c.seconds%4 == 0 {
			t.Errorf("a lease of %d s after %d: %s", c.seconds, c.grace, p)
		}
		if p := d.PhaseAt(time.Unix(c.grace-1, 0)); p != license.PhaseValid {
			t.Errorf("a lease of %d s after %d: %s", c.seconds, c.grace-1, p)
		}
		if p := d.PhaseAt(time.Unix(c.grace+1, 0)); c.grace+1 < c.seconds && p != license.PhaseGrace {
			t.Errorf("a lease of %d s after %d: %s", c.seconds, c.grace+1, p)
		}
	}
}

// Whoever looks at each NextAfter, and at no other instant, sees every phase begin.
func TestNextAfter(t *testing.T) {
	s := license.Schedule{Warn: 30 * day, Grace: 14 * day, Enforcement: license.EnforceBlock, Lease: 350 * day, Refresh: day}
	for name, d := range map[string]license.Dates{
		"a year":         s.DatesFor(now, time.Time{}, now.Add(365*day)),
		"from tomorrow":  s.DatesFor(now, now.Add(day), now.Add(365*day)),
		"without an end": s.DatesFor(now, time.Time{}, time.Time{}),
	} {
		phase, why := d.PhaseAt(now), d.BlockedBy(now)
		next := d.NextAfter(now)
		for at := now; at.Before(now.Add(500 * day)); at = at.Add(6 * time.Hour) {
			for !at.Before(next) {
				phase, why, next = d.PhaseAt(next), d.BlockedBy(next), d.NextAfter(next)
			}
			if p, w := d.PhaseAt(at), d.BlockedBy(at); p != phase || w != why {
				t.Fatalf("%s: after %v it is %s %s, known is %s %s", name, at.Sub(now), p, w, phase, why)
			}
		}
	}
}
