package sandbox

import (
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// EventKind groups events as the seller console's pages do.
type EventKind string

// The kinds of events.
const (
	EventOrder     EventKind = "order"     // bought, renewed, unsubscribed, cancelled
	EventMessage   EventKind = "message"   // an attempt at a production-interface message
	EventProbe     EventKind = "probe"     // a debug call or probe ended
	EventNotice    EventKind = "notice"    // the merchant is mailed
	EventProduct   EventKind = "product"   // stopped, frozen, resumed
	EventCall      EventKind = "call"      // the merchant called the open API
	EventViolation EventKind = "violation" // the merchant broke a rule of the protocol
	EventWarning   EventKind = "warning"   // what the real marketplace would not take
	EventFault     EventKind = "fault"     // the sandbox misbehaved, see Misbehaviour
)

// Event is one line of what a merchant would see in the seller console, and
// where the sandbox knows more, of that.
type Event struct {
	ID       int64
	At       time.Time
	Kind     EventKind
	Product  string              // empty where it concerns none
	Code     koogallery.Code     // the Ref of what was bought, or zero
	Activity koogallery.Activity // of a message
	Delivery int64               // id of a message, or 0
	Text     string              // for people; holds no code, no key and no licence
}

// note adds an event and forgets the oldest. The caller holds s.mu.
func (s *Sandbox) note(e Event) {
	s.lastEvent++
	e.ID, e.At = s.lastEvent, s.now()
	if len(s.events) >= maxHistory {
		s.events = slices.Delete(s.events, 0, maxHistory/10)
	}
	s.events = append(s.events, e)
}

// noteSale is note about what was sold. The caller holds s.mu.
func (s *Sandbox) noteSale(c *sale, kind EventKind, text string) {
	s.note(Event{Kind: kind, Product: c.product, Code: c.ref(), Text: text})
}

// Events lists the events after that with the id, oldest first; 0 means all.
// The newest 9,000 at least are kept.
func (s *Sandbox) Events(after int64) []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, _ := slices.BinarySearchFunc(s.events, after+1, func(e Event, id int64) int { return int(e.ID - id) })
	return slices.Clone(s.events[i:])
}
