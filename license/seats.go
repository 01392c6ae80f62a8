package license

import (
	"strings"
	"time"
)

// MaxMachines is how many machines a licence can be for, its overage included.
const MaxMachines = 1_000_000

// OverageOf is how many machines, or floating installs, more than it is for a
// licence lets in: its own number, else the product's.
func (p Product) OverageOf(l License) int {
	if l.Overage != nil {
		return *l.Overage
	}
	return p.Overage
}

// Limit is how many machines, or floating installs, may use a licence at a time:
// those that it is for and its overage.
func (p Product) Limit(l License) int {
	return min(l.Machines+p.OverageOf(l), MaxMachines)
}

// CheckOverage refuses with BadRequest what cannot be an overage.
func CheckOverage(n *int) error {
	if n != nil && (*n < 0 || *n > MaxMachines) {
		return FieldErrorf("overage", "the number of machines beyond must be between 0 and %d", MaxMachines)
	}
	return nil
}

// Sits reports whether install i takes a seat of l at now: a floating seat is
// taken while its lease runs.
func (l License) Sits(i Install, now time.Time) bool {
	return i.OnMachine() && i.State == InstallLive && (l.Mode != ModeFloating || now.Before(i.LeaseUntil))
}

// SeatsTaken is how many seats of l are taken at now.
func (l License) SeatsTaken(installs []Install, now time.Time) int {
	seats := make(map[string]bool)
	for _, i := range installs {
		if l.Sits(i, now) {
			seats[i.Seat] = true
		}
	}
	return len(seats)
}

// Silent reports whether the seat of a live install of l may be freed for others
// under the product's policy: it was not seen for ReleaseAfter, and its lease is
// over, so that no copy goes on by it. What has no key of its own never calls
// home, so its silence says nothing; nor does it while l refuses who calls, or
// before installs could come back to it.
func (p Product) Silent(l License, i Install, now time.Time) bool {
	return p.ReleaseAfter > 0 && l.StateAt(now).Refusal() == "" && now.Sub(l.BackAt) >= p.ReleaseAfter && i.State == InstallLive && i.OnMachine() && !strings.HasPrefix(i.ID, DevicePrefix) &&
		now.Sub(i.SeenAt) >= p.ReleaseAfter && !now.Before(i.LeaseUntil)
}

// Missed reports whether a floating install has missed a check-in: it was to
// call home refresh after it was seen, and as long again has gone by.
func (s Schedule) Missed(i Install, now time.Time) bool {
	return now.Sub(i.SeenAt) >= 2*s.Refresh
}
