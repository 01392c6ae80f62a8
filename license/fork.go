package license

import (
	"maps"
	"slices"
	"time"
)

// ForkPolicy is what a product does about forks. A fork is what should not
// happen where every install key lives on one machine only: it shows that an
// install was copied, or that its memory was set back (see ForkKind). Which of
// the two it was, and who of two holders is the honest one, cannot be seen.
type ForkPolicy string

// The fork policies.
const (
	// ForkReport answers as if there were no fork. It is the default.
	ForkReport ForkPolicy = "report"
	// ForkRefuseNewest refuses the request that forks with CloneDetected. Whoever
	// holds the line that it forks from goes on.
	ForkRefuseNewest ForkPolicy = "refuse-newest"
	// ForkRefuseBoth refuses it and ends the installs concerned: every holder
	// has to activate again, which takes the code.
	ForkRefuseBoth ForkPolicy = "refuse-both"
)

// ForkPolicies returns all policies, the mildest first.
func ForkPolicies() []ForkPolicy {
	return []ForkPolicy{ForkReport, ForkRefuseNewest, ForkRefuseBoth}
}

// ForkKind says how a fork showed itself.
type ForkKind string

// The kinds of forks.
const (
	// ForkChain: an install names as the newest licence that it holds one that
	// its chain does not accept (Chain.Forked).
	ForkChain ForkKind = "chain"
	// ForkRetired: an install that another one took the place of, that gave
	// itself up, or that was ended because of a fork makes a new request.
	ForkRetired ForkKind = "retired"
	// ForkReactivated: a seat was activated again more often within one lease than
	// a machine needs (Product.Reactivations).
	ForkReactivated ForkKind = "reactivated"
	// ForkShared: installs on one seat call in turns that were bound to what looks
	// like two machines (Binding.Apart), as machines do that were given one id. No
	// install was copied, so it is reported and no more, whatever the policy is.
	ForkShared ForkKind = "shared"
)

// ForkKinds returns all kinds.
func ForkKinds() []ForkKind {
	return []ForkKind{ForkChain, ForkRetired, ForkReactivated, ForkShared}
}

// Forks are the forks recorded of one install, by kind.
type Forks map[ForkKind]ForkCount

// ForkCount is how often forks of one kind were recorded.
type ForkCount struct {
	Count   int       `json:"count"`
	At      time.Time `json:"at"`      // of the last one
	Request string    `json:"request"` // the jti of its request
}

// forkPause is how long after a fork that was refused a further one of the same
// kind is refused without being recorded: whoever repeats it must not fill the
// log.
const forkPause = time.Hour

// Total is how many forks were recorded.
func (f Forks) Total() int {
	n := 0
	for _, c := range f {
		n += c.Count
	}
	return n
}

// Has reports whether the last fork of any kind was that of this very request.
func (f Forks) Has(request string) bool {
	for _, c := range f {
		if c.Count > 0 && c.Request == request {
			return true
		}
	}
	return false
}

// Due reports whether a fork that is refused at now is to be recorded: one of
// its kind was not within the last hour, nor any for this very request.
func (f Forks) Due(k ForkKind, request string, now time.Time) bool {
	c := f[k]
	return !f.Has(request) && (c.Count == 0 || now.Sub(c.At).Abs() >= forkPause)
}

// With returns f and one more fork.
func (f Forks) With(k ForkKind, request string, now time.Time) Forks {
	next := maps.Clone(f)
	if next == nil {
		next = make(Forks)
	}
	next[k] = ForkCount{Count: f[k].Count + 1, At: now, Request: request}
	return next
}

// WithFork returns l with one more fork among its installs.
func (l License) WithFork(now time.Time) License {
	l.Forks++
	l.ForkedAt = now
	return l
}

const (
	// leastReactivations is how often any seat may be activated again within a lease.
	leastReactivations = 5
	// placesWithin is how many installs a machine may hold for that to do: each
	// further place may be filled once.
	placesWithin = 3
	// noLease is the window where a product's installs have no lease.
	noLease = 14 * 24 * time.Hour
)

// Reactivations is how often a seat of the product may be activated again
// within how long before it counts as a fork: five times within one lease, and
// once more for each install beyond three that a machine may hold. Where
// installs have no lease it is within 14 days.
func (p Product) Reactivations() (most int, within time.Duration) {
	within = p.Schedule.Lease
	if within <= 0 {
		within = noLease
	}
	return leastReactivations + max(p.InstallsPerMachine-placesWithin, 0), within
}

// Reactivations counts how often a seat has been activated again within the
// window before now, with an activation at now; it is 0 for the first
// activation of the seat. installs are all that the licence ever had. next is
// when the count goes down by itself, zero where there is nothing to wait for.
//
// Where the installs of the seat were ended because of a fork, counting begins
// anew: their holders were told to activate again.
func Reactivations(installs []Install, seat string, window time.Duration, now time.Time) (n int, next time.Time) {
	var ended time.Time
	for _, i := range installs {
		if i.Seat == seat && i.State == InstallForked && i.EndedAt.After(ended) {
			ended = i.EndedAt
		}
	}
	var within []time.Time
	before := false // the seat was activated before the window began, so each in it is once more
	for _, i := range installs {
		switch {
		case i.Seat != seat, !ended.IsZero() && (i.State == InstallForked || i.BoundAt.Before(ended)):
		case now.Sub(i.BoundAt).Abs() >= window: // before it, or by a clock that was far ahead
			before = true
		default:
			within = append(within, i.BoundAt)
		}
	}
	slices.SortFunc(within, time.Time.Compare)
	n, oldest := len(within), 1 // the first activation of the seat counts neither now nor when it has left the window
	if before {
		n, oldest = n+1, 0
	}
	if oldest < len(within) {
		next = within[oldest].Add(window)
	}
	return n, next
}
