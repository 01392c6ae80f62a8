package client

import (
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Status is where a licence stands at an instant, and what that means.
type Status struct {
	// Usable says whether the product may run. A blocked licence is usable all
	// the same where its enforcement only degrades or advises.
	Usable bool
	// State is that of the licence itself as far as this machine knows: active or
	// expired (now ≥ ExpiresAt), "" where there is none.
	State license.State
	// Phase is where the instant stands against the dates.
	Phase license.Phase
	// Reason says why the phase is blocked, and is empty where it is not:
	// NotYetValid, Expired, LeaseOver; of a Guard also NoLicense, MachineMismatch
	// and what was wrong with a licence that could not be verified.
	Reason license.Reason
	// Enforcement says what a blocked phase means.
	Enforcement license.Enforcement

	// At is the instant that was judged by. ClockBehind: the machine's clock shows
	// less than something signed proves, so that was taken instead.
	At          time.Time
	ClockBehind bool

	// The dates of the licence, license.Forever where there is no end.
	NotBefore, WarnAt, ExpiresAt, BlockAt time.Time
	// RefreshAfter is when to call home next, LeaseUntil until when this install
	// may go on without having done so.
	RefreshAfter, LeaseUntil time.Time

	// Features are those that hold now: none where a blocked licence is enforced.
	// The map is the licence's own; it must not be changed.
	Features license.Features
}

// Feature reports whether a feature is there now, whatever its value.
func (s Status) Feature(name string) bool { return s.Features[name].On() }

// Value returns the value of a feature that is there now, or the zero Feature.
func (s Status) Value(name string) license.Feature { return s.Features[name] }

// RefreshDue reports whether it is time to call home.
func (s Status) RefreshDue() bool {
	return s.State != "" && !s.At.Before(s.RefreshAfter)
}

// String says it in a sentence for people.
func (s Status) String() string {
	switch s.Phase {
	case license.PhaseValid:
		return "licensed" + until(s.ExpiresAt)
	case license.PhaseWarning:
		return "licensed, ends soon:" + until(s.ExpiresAt)
	case license.PhaseGrace:
		if s.State == license.StateExpired {
			return "expired; usable" + until(earliest(s.BlockAt, s.LeaseUntil))
		}
		return "licensed, but must reach the licence server; usable" + until(s.LeaseUntil)
	case license.PhaseBlocked:
	}
	text := "not licensed"
	if s.Usable {
		text = "licence blocked, still usable"
	}
	if s.Reason != "" {
		text += ": " + explainReason(s.Reason)
	}
	return text
}

func until(t time.Time) string {
	if !t.Before(license.Forever) {
		return " without end"
	}
	return " until " + t.UTC().Format("2006-01-02 15:04 MST")
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// explainReason says in words why a licence is blocked here.
func explainReason(r license.Reason) string {
	switch r { //nolint:exhaustive // the others are not given for a licence that is held
	case license.NoLicense:
		return "there is no licence yet"
	case license.NotYetValid:
		return "the licence begins later"
	case license.Expired:
		return "the licence has expired"
	case license.LeaseOver:
		return "the licence server has not been reached for too long"
	case license.MachineMismatch:
		return "the licence was made for another machine"
	case license.Forged:
		return "the licence is not authentic"
	case license.Damaged:
		return "the licence is damaged"
	}
	return string(r)
}

// block makes a status unusable for a reason that no enforcement softens.
func (s Status) block(r license.Reason) Status {
	s.Usable, s.Phase, s.Reason, s.Features = false, license.PhaseBlocked, r, nil
	return s
}
