package license

import (
	"time"
)

// Product is what is sold, as the merchant configured it.
type Product struct {
	ID                  string
	Name                string
	MarketplaceProducts []string // productId values of the marketplace
	Features            Features
	Machines            int  // seats of a licence; at least 1
	MachinesFromAmount  bool // take the order's quantity instead
	Mode                Mode
	InstallsPerMachine  int
	// FloatingLease is for how long a floating seat is taken without a check-in. An
	// install that names the instance that it is (Install.Instance) takes the seat
	// of the same instance on its machine over at once.
	FloatingLease time.Duration
	Binding       Policy
	Schedule      Schedule
	Transfers     TransferPolicy
	Forks         ForkPolicy // "" is ForkReport
	// Overage is how many machines, or floating installs, more than Machines a
	// licence lets in, which is recorded; a licence may have one of its own.
	Overage int
	// ReleaseAfter is how long an install must not have been seen until its seat is
	// freed for others (License.Silent); zero: never.
	ReleaseAfter time.Duration
	// RenewWithin is for how long after its end a licence can be renewed by the
	// merchant's staff; zero: for ever.
	RenewWithin time.Duration
	Trial       TrialPolicy
	// Accepts are the ids of other products whose programs may use a licence of
	// this one: what they are given names both as its audience.
	Accepts []string
	// StatusMaxAge is how old a status list may be until it counts as a lease that
	// has run out; zero for as old as may be.
	StatusMaxAge time.Duration
}

// TransferPolicy limits moves to another machine.
type TransferPolicy struct {
	PerYear  int           // zero: none are allowed
	CoolDown time.Duration // between two moves
	// Approval says which moves wait for the merchant's staff; "" is ApproveNever.
	Approval ApprovalPolicy
	// ApprovalFor is for how long an approval can be used; zero is a week.
	ApprovalFor time.Duration
}

// ScheduleFor is the schedule of a licence of the product: phases and lease are
// the product's but for those that the licence has of its own, and a floating
// seat is leased for a short while only.
func (p Product) ScheduleFor(l License) Schedule {
	base := p.Schedule
	if l.Mode == ModeFloating && p.FloatingLease > 0 {
		base.Lease = p.FloatingLease
	}
	s := l.Phases.Over(base)
	if l.Mode == ModeFloating && p.FloatingLease > 0 && s.Lease > 0 {
		s.Refresh = min(s.Refresh, s.Lease/3)
	}
	return s
}

// Transfer records a move to another machine at now, or refuses it with
// TransferLimit. Moves older than a year are forgotten. One that is dated after
// now, by a clock that was ahead, counts as made now.
func (l License) Transfer(p TransferPolicy, now time.Time) (License, error) {
	next := l.Clone()
	next.Transfers = nil
	var last time.Time
	for _, t := range l.Transfers {
		if now.Sub(t) >= 365*24*time.Hour {
			continue
		}
		if last = t; t.After(now) {
			t = now
		}
		next.Transfers = append(next.Transfers, t)
	}
	n := len(next.Transfers)
	if n >= p.PerYear {
		return l, Errorf(TransferLimit, "this licence has been moved to another machine %d times within a year, and %d are allowed", n, p.PerYear)
	}
	if n > 0 {
		if wait := p.CoolDown - now.Sub(last).Abs(); wait > 0 {
			return l, Errorf(TransferLimit, "this licence was moved to another machine a short while ago").WithRetryAfter(wait)
		}
	}
	next.Transfers = append(next.Transfers, now)
	return next, nil
}
