package client

import (
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// EventKind says what an Event is about.
type EventKind string

// The kinds of events. What each says is in the Event's Status and Err.
const (
	// EventExpiring: the licence ends soon; Status.ExpiresAt says when.
	EventExpiring EventKind = "expiring"
	// EventGrace: the licence has ended, or nothing was heard from the licence
	// server for most of the lease; until Status.BlockAt or Status.LeaseUntil the
	// product goes on. Where both come about, each is told.
	EventGrace EventKind = "grace"
	// EventBlocked: the licence is blocked from now on, or for another reason than
	// before. Status.Usable says whether that means anything under its enforcement.
	EventBlocked EventKind = "blocked"
	// EventRevoked is EventBlocked for good: the merchant has ended the licence or
	// this install, and signed it.
	EventRevoked EventKind = "revoked"
	// EventRestored: it stands better than what was told last. Status.Phase need not
	// be valid: what was blocked may be in its grace.
	EventRestored EventKind = "restored"
	// EventLicense: another licence is held than before, or the same one with other
	// features, limits or dates: it was renewed, upgraded, or activated.
	EventLicense EventKind = "license"
	// EventClock: the clock of the machine is wrong in a way that matters; or, where
	// Err is nil, it is right again.
	EventClock EventKind = "clock"
	// EventMachine: something that the licence was bound to is no longer the same
	// here; Explain says what. As long as it is no EventBlocked too, the machine is
	// still the one that the licence was made for.
	EventMachine EventKind = "machine"
	// EventTrouble: calling home fails, or the install's memory cannot be used; or it
	// fails for another reason than before. It changes nothing by itself.
	EventTrouble EventKind = "trouble"
	// EventReached: the trouble told last is over, whoever ended it, or nothing is
	// called any more that it could be with.
	EventReached EventKind = "reached"
)

// Event tells that something about the licence of an install has changed.
type Event struct {
	Kind EventKind
	// At is the instant that was judged by, Status where the install stands then.
	At     time.Time
	Status Status
	// Err is why, with a license.Reason and a Detail for the person in front of the
	// machine that says what to do: with EventBlocked, EventRevoked, EventTrouble and
	// EventClock (unless that is over). It is nil otherwise.
	Err error
	// Missed is how many events before this one were dropped, since nobody took
	// them; Status is that of this one all the same.
	Missed int
}

// String says it in a sentence for people.
func (e Event) String() string {
	text := e.Status.String()
	switch e.Kind {
	case EventLicense:
		text = "another licence: " + text
	case EventRestored:
		text = "restored: " + text
	case EventReached:
		text = "the trouble is over; " + text
	case EventMachine:
		text = "this machine has changed; " + text
	case EventClock:
		if e.Err == nil {
			text = "the clock of this machine is right again; " + text
		}
	case EventExpiring, EventGrace, EventBlocked, EventRevoked, EventTrouble:
	}
	if err, ok := errors.AsType[*license.Error](e.Err); ok {
		return err.Detail
	}
	return text
}

// clockSettled is by how much less than ClockTolerance a clock must be behind to
// be right again: one that wanders about the tolerance is no news each minute.
const clockSettled = time.Minute

// eventBuffer is how many events wait for somebody to take them.
const eventBuffer = 32

// Events returns the channel on which the guard tells what changes, one for all
// callers. It is buffered; where nobody reads, the oldest event makes room, so
// nothing waits for the reader and what comes out last is true last. Close
// closes it.
//
// The events begin with what is wrong as the install is opened: one that holds no
// licence begins with EventBlocked and the reason NoLicense, one in order with
// nothing. Changes are told within a minute, and as they happen where they
// follow from the licence's dates or a call. With Options.Manual there are none.
func (g *Guard) Events() <-chan Event { return g.events }

// told is what the events so far have said. It is the background's own.
type told struct {
	phase   license.Phase
	reason  license.Reason // why it is blocked
	expired bool           // it had ended already
	license *License
	clock   ClockState // what is wrong with the clock, "" if nothing
	machine string     // what of it is not the same
	trouble license.Reason
	missed  int
}

// tell sends an event for everything that is not as it was told last. trouble is
// what is wrong with calling home or the memory.
func (g *Guard) tell(t *told, trouble error) {
	v, now := g.view.Load(), g.opts.Now()
	s := g.status(v, now)
	tell := func(kind EventKind, err error) { t.send(g.events, Event{Kind: kind, At: s.At, Status: s, Err: err}) }

	if v.license != nil && !sameTerms(t.license, v.license) {
		tell(EventLicense, nil)
	}
	t.license = v.license

	if v.lost != t.machine {
		if t.machine = v.lost; v.lost != "" {
			tell(EventMachine, nil)
		}
	}

	wrong, clock := ClockState(""), g.clockTrouble(v)
	switch {
	case clock != nil:
		wrong = s.Clock
	case t.clock == ClockBehind && now.Before(v.line.proven(g.ran()).Add(clockSettled-ClockTolerance)):
		wrong = t.clock // it is about to be told again
	}
	if wrong != t.clock {
		t.clock = wrong
		tell(EventClock, clock)
	}

	if kind := t.news(s); kind != "" {
		var err error
		if s.Phase == license.PhaseBlocked {
			err = g.blockedBy(v, s)
		}
		tell(kind, err)
	}
	t.phase, t.reason, t.expired = s.Phase, s.Reason, s.State == license.StateExpired

	reason := license.ReasonOf(trouble)
	if reason == s.Reason {
		reason = "" // it was just told why the licence is blocked
	}
	if reason != t.trouble {
		if t.trouble = reason; reason == "" {
			tell(EventReached, nil)
		} else {
			tell(EventTrouble, trouble)
		}
	}
}

// news is the kind of event for a status, "" where it says nothing new.
func (t *told) news(s Status) EventKind {
	switch worse := rank(s.Phase) - rank(t.phase); {
	case s.Phase == license.PhaseBlocked && (worse > 0 || s.Reason != t.reason):
		if s.Reason == license.Revoked {
			return EventRevoked
		}
		return EventBlocked
	case worse < 0:
		return EventRestored
	case s.Phase == license.PhaseGrace && (worse > 0 || s.State == license.StateExpired && !t.expired):
		return EventGrace // the server was not reached, or the licence has ended: each is told
	case worse > 0:
		return EventExpiring
	}
	return ""
}

func rank(p license.Phase) int {
	switch p {
	case license.PhaseWarning:
		return 1
	case license.PhaseGrace:
		return 2
	case license.PhaseBlocked:
		return 3
	case license.PhaseValid:
	}
	return 0
}

// send sends an event, in place of the oldest that nobody took where there is no
// room. Nobody else sends.
func (t *told) send(to chan Event, e Event) {
	for {
		e.Missed = t.missed
		select {
		case to <- e:
			t.missed = 0
			return
		default:
		}
		select {
		case old := <-to:
			t.missed += 1 + old.Missed
		default: // somebody took one just now
		}
	}
}

// sameTerms reports whether two licences grant the same: a refresh that extends
// the lease alone is no news.
func sameTerms(a, b *License) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil {
		return false
	}
	x, y := &a.claims, &b.claims
	return x.LicenseID == y.LicenseID && x.Customer == y.Customer && x.Machines == y.Machines && x.Mode == y.Mode &&
		sameDates(x.Dates, y.Dates) && maps.Equal(x.Features, y.Features) && x.Order == y.Order && samePolicy(x, y)
}

func sameDates(a, b license.Dates) bool {
	return a.WarnAt.Equal(b.WarnAt) && a.ExpiresAt.Equal(b.ExpiresAt) && a.BlockAt.Equal(b.BlockAt) && a.Enforcement == b.Enforcement
}

func samePolicy(a, b *token.License) bool { return a.Binding.Policy == b.Binding.Policy }

// lostOf names what of the machine is not as the licence was bound to it.
func lostOf(r license.MatchReport) string {
	var lost []string
	for _, c := range r.Components {
		if c.Outcome == license.OutcomeChanged || c.Outcome == license.OutcomeAbsent {
			lost = append(lost, string(c.Kind))
		}
	}
	return strings.Join(lost, " ")
}

// blockedBy says why the licence is blocked, and what to do.
func (g *Guard) blockedBy(v *view, s Status) error {
	switch {
	case v.held != nil:
		return v.held
	case v.looked != nil && s.Reason == license.MachineMismatch:
		return v.looked
	}
	text := s.String()
	if advice := g.advice(v, s.Reason); advice != "" {
		text += "; " + advice
	}
	return license.Errorf(s.Reason, "%s", text)
}

// advice says to a person what to do about a licence that is blocked.
func (g *Guard) advice(v *view, r license.Reason) string {
	switch r { //nolint:exhaustive // the others block nothing, or say it themselves
	case license.NoLicense:
		return "activate one with an authorization code"
	case license.MachineMismatch:
		return v.license.Explain(v.machine).Advice
	case license.Expired:
		if g.server == nil {
			return "renew it, and import the licence file that the merchant sends"
		}
		return "renew it: the product takes the renewal up by itself as soon as it reaches the licence server"
	case license.LeaseOver:
		if g.server == nil {
			return "make a request file to refresh the licence, and import the answer"
		}
		return "connect this machine to the licence server at " + g.server.base.Host + ", or carry a request file there"
	case license.Suspended:
		return "ask the merchant; the product goes on by itself when the suspension is lifted and it reaches the licence server"
	case license.Revoked:
		return "ask the merchant for another one"
	}
	return ""
}
