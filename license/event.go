package license

import (
	"maps"
	"time"
)

// Event is a cause that can change the facts of a licence.
type Event string

// The events. Renew, Edit, Upgrade, Suspend, Resume and Revoke are the merchant's own;
// SetExpiry, Freeze and Unfreeze are what a marketplace says (access guide
// …649167, …649168); Release comes from either (…649169).
const (
	EventActivate   Event = "activate"
	EventRenew      Event = "renew"
	EventEdit       Event = "edit"
	EventSetExpiry  Event = "set_expiry"
	EventSuspend    Event = "suspend"
	EventResume     Event = "resume"
	EventFreeze     Event = "freeze"
	EventUnfreeze   Event = "unfreeze"
	EventRelease    Event = "release"
	EventRevoke     Event = "revoke"
	EventUndoRevoke Event = "undo_revoke"
	EventUpgrade    Event = "upgrade"
)

// Verdict is what happens to an event in a state.
type Verdict string

// The verdicts.
const (
	// Apply: the event sets its facts; when they stand so already it is a
	// success that changes nothing.
	Apply Verdict = "apply"
	// Ignore: the event is accepted and has no effect, because what it is about
	// is over. Marketplace messages that arrive late end here.
	Ignore Verdict = "ignore"
	// Refuse: the event is refused with the state's reason.
	Refuse Verdict = "refuse"
)

// Rule is one row of the table of events.
type Rule struct {
	Event  Event
	In     map[State]Verdict // every state has a verdict
	Effect string            // what it sets, in words, for the documentation
	set    func(*License, Change)
}

// Change is an event with what it carries.
type Change struct {
	Event     Event
	At        time.Time     // now
	ExpiresAt time.Time     // Renew, SetExpiry: the new end, zero for none
	Phases    Phases        // Edit: what the licence says of its own from now on
	Overage   *int          // Edit: as Phases
	Upgrade   Upgrade       // Upgrade: what it is from now on; its end is ExpiresAt
	Reason    string        // Revoke: why
	Undo      time.Duration // UndoRevoke: how long after a revocation it can be undone
}

func verdicts(issued, active, expired, suspended, released, revoked Verdict) map[State]Verdict {
	return map[State]Verdict{
		StateIssued: issued, StateActive: active, StateExpired: expired,
		StateSuspended: suspended, StateReleased: released, StateRevoked: revoked,
	}
}

// Rules is the table of events: which is allowed in which state and which
// facts it changes. docs/state-machine.md shows it; a test compares the two.
//
// A marketplace's facts are recorded under a revocation too, so that undoing
// it brings back the licence as the marketplace knows it by then.
func Rules() []Rule {
	return []Rule{
		{EventActivate, verdicts(Apply, Apply, Refuse, Refuse, Refuse, Refuse), "activated_at, the first time", func(l *License, c Change) {
			if l.ActivatedAt.IsZero() {
				l.ActivatedAt = c.At
			}
		}},
		{EventRenew, verdicts(Apply, Apply, Apply, Apply, Refuse, Refuse), "expires_at", func(l *License, c Change) {
			l.ExpiresAt, l.OwnEnd = c.ExpiresAt, l.Sold()
		}},
		{EventEdit, verdicts(Apply, Apply, Apply, Apply, Refuse, Refuse), "phases, overage", func(l *License, c Change) { l.Phases, l.Overage = c.Phases.clone(), c.Overage }},
		{EventUpgrade, verdicts(Apply, Apply, Apply, Apply, Refuse, Refuse), "product, features, machines, expires_at; clears trial", func(l *License, c Change) {
			l.upgrade(c)
		}},
		{EventSetExpiry, verdicts(Apply, Apply, Apply, Apply, Ignore, Apply), "expires_at", func(l *License, c Change) {
			l.ExpiresAt, l.OwnEnd = c.ExpiresAt, false
		}},
		{EventSuspend, verdicts(Apply, Apply, Apply, Apply, Refuse, Refuse), "adds the merchant's hold", func(l *License, _ Change) { l.Holds |= HoldMerchant }},
		{EventResume, verdicts(Apply, Apply, Apply, Apply, Refuse, Refuse), "lifts the merchant's hold", func(l *License, _ Change) { l.Holds &^= HoldMerchant }},
		{EventFreeze, verdicts(Apply, Apply, Apply, Apply, Ignore, Apply), "adds the marketplace's hold", func(l *License, _ Change) { l.Holds |= HoldMarketplace }},
		{EventUnfreeze, verdicts(Apply, Apply, Apply, Apply, Ignore, Apply), "lifts the marketplace's hold", func(l *License, _ Change) { l.Holds &^= HoldMarketplace }},
		{EventRelease, verdicts(Apply, Apply, Apply, Apply, Apply, Apply), "released_at, the first time", func(l *License, c Change) {
			if l.ReleasedAt.IsZero() {
				l.ReleasedAt = c.At
			}
		}},
		{EventRevoke, verdicts(Apply, Apply, Apply, Apply, Refuse, Apply), "revoked_at and the reason, the first time", func(l *License, c Change) {
			if l.RevokedAt.IsZero() {
				l.RevokedAt, l.RevokeReason = c.At, c.Reason
			}
		}},
		{EventUndoRevoke, verdicts(Ignore, Ignore, Ignore, Ignore, Refuse, Apply), "clears revoked_at, within the undo window", func(l *License, _ Change) {
			l.RevokedAt, l.RevokeReason = time.Time{}, ""
		}},
	}
}

// rules is the table by event, made once since every change looks it up.
var rules = func() map[Event]Rule {
	m := make(map[Event]Rule)
	for _, r := range Rules() {
		m[r.Event] = r
	}
	return m
}()

// Apply returns the licence as c leaves it and whether any fact changed.
// It fails with the state's reason where the table refuses the event; l itself
// is never touched.
func (l License) Apply(c Change) (License, bool, error) {
	rule, ok := rules[c.Event]
	if !ok {
		return l, false, Errorf(Internal, "there is no event %q", c.Event)
	}
	state := l.StateAt(c.At)
	switch rule.In[state] {
	case Ignore:
		return l, false, nil
	case Apply:
	case Refuse:
		return l, false, Refused(state)
	default:
		return l, false, Errorf(Internal, "event %q has no verdict in state %q", c.Event, state)
	}
	if c.Event == EventUndoRevoke && !c.At.Before(l.RevokedAt.Add(c.Undo)) {
		return l, false, Errorf(Revoked, "the revocation is final: it was made more than %s ago", c.Undo)
	}
	next := l.Clone()
	rule.set(&next, c)
	if next.sameFacts(l) {
		return l, false, nil
	}
	return next.CameBack(l, c.At), true, nil
}

// CameBack returns l, which has become what it is from was at now, with that noted
// where it is in good standing again.
func (l License) CameBack(was License, now time.Time) License {
	if was.StateAt(now).Refusal() != "" && l.StateAt(now).Refusal() == "" {
		l.BackAt = now
	}
	return l
}

// sameFacts reports whether no event that leads from l to o would change anything.
func (l License) sameFacts(o License) bool {
	return l.ActivatedAt.Equal(o.ActivatedAt) && l.ExpiresAt.Equal(o.ExpiresAt) &&
		l.ReleasedAt.Equal(o.ReleasedAt) && l.RevokedAt.Equal(o.RevokedAt) && l.Holds == o.Holds && l.OwnEnd == o.OwnEnd && l.Phases.Equal(o.Phases) &&
		l.Product == o.Product && l.Machines == o.Machines && maps.Equal(l.Features, o.Features) && l.Trial == o.Trial && sameNumber(l.Overage, o.Overage)
}

func sameNumber(a, b *int) bool { return a == b || a != nil && b != nil && *a == *b }

// Refused is the error for a request about a licence in state s, in words for
// the end user.
func Refused(s State) *Error {
	switch s {
	case StateRevoked:
		return Errorf(Revoked, "this licence has been revoked; please contact the vendor")
	case StateReleased:
		return Errorf(Released, "this licence has ended for good")
	case StateSuspended:
		return Errorf(Suspended, "this licence is suspended; please contact the vendor or renew it")
	case StateExpired:
		return Errorf(Expired, "this licence has expired; please renew it")
	case StateActive, StateIssued:
	}
	return Errorf(Internal, "state %q refuses nothing", s)
}
