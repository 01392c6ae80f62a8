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
	// State is that of the licence itself as far as this machine knows: active,
	// expired (now ≥ ExpiresAt), revoked or suspended (as the status list says),
	// "" where there is none.
	State license.State
	// Phase is where the instant stands against the dates.
	Phase license.Phase
	// Reason says why the phase is blocked, and is empty where it is not:
	// NotYetValid, Expired, LeaseOver, Revoked, Suspended; of a Guard also
	// NoLicense, MachineMismatch and what was wrong with a licence that could not
	// be verified. Revoked, Suspended and what only a Guard gives block whatever
	// the enforcement is.
	Reason license.Reason
	// Enforcement says what a blocked phase means.
	Enforcement license.Enforcement

	// At is the instant that was judged by. Clock says how a Guard came by it: it
	// is what the machine's clock shows where that is ClockOK or ClockUnconfirmed,
	// and never before what is proven to have passed. License.Check is given the
	// instant, and leaves Clock empty.
	At    time.Time
	Clock ClockState

	// The dates of the licence, license.Forever where there is no end.
	NotBefore, WarnAt, ExpiresAt, BlockAt time.Time
	// RefreshAfter is when to call home next, LeaseUntil until when this install
	// may go on without having done so. Where the licence wants a status list of
	// at most some age, both come the sooner the older the list is.
	RefreshAfter, LeaseUntil time.Time
	// ListedAt is when the status list was signed that was judged by, zero where
	// none is known.
	ListedAt time.Time

	// Features are those that hold now: none where a blocked licence is enforced.
	// The map is the licence's own; it must not be changed.
	Features license.Features

	unheard bool // no answer has come since the guard was opened
}

// Feature reports whether a feature is there now, whatever its value.
func (s Status) Feature(name string) bool { return s.Features[name].On() }

// Value returns the value of a feature that is there now, or the zero Feature.
func (s Status) Value(name string) license.Feature { return s.Features[name] }

// RefreshDue reports whether it is time to call home: also, where the clock is
// behind and so cannot tell, until the server has answered once.
func (s Status) RefreshDue() bool {
	return s.State != "" && (!s.At.Before(s.RefreshAfter) || s.Clock == ClockBehind && s.unheard)
}

// String says it in a sentence for people.
func (s Status) String() string { return s.sentence() + s.clockAdvice() }

func (s Status) sentence() string {
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
	switch {
	case s.Reason == license.NotYetValid:
		text += ": the licence begins on " + stamp(s.NotBefore) + ", and it is " + stamp(s.At)
	case s.Reason != "":
		text += ": " + explainReason(s.Reason)
	}
	return text
}

// clockAdvice says to look at the clock where that may help.
func (s Status) clockAdvice() string {
	switch s.Clock {
	case ClockBehind:
		return "; the clock of this machine is behind and should be set right"
	case ClockAhead:
		return "; the clock of this machine is ahead and should be set right"
	case ClockUnconfirmed:
		if s.clockBlocks() {
			return ", if the clock of this machine is right, which nothing confirms"
		}
	case ClockOK:
	}
	return ""
}

// clockBlocks reports whether the licence would not be blocked if it were earlier.
func (s Status) clockBlocks() bool {
	return s.Reason == license.Expired || s.Reason == license.LeaseOver
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
		return "nothing has been heard from the licence server for too long"
	case license.Revoked:
		return "the licence was revoked, or this install was ended"
	case license.Suspended:
		return "the licence is suspended"
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
