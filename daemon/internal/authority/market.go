package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Message is what a marketplace says about a code or an instance: one of
// EventSetExpiry, EventFreeze, EventUnfreeze and EventRelease.
type Message struct {
	Channel   string // the entry that authenticated it
	Event     license.Event
	Code      license.Code // either this
	Instance  string       // or this
	ExpiresAt time.Time    // with EventSetExpiry
	Order     string
	Line      string    // of the order
	Product   string    // with EventSetExpiry: the marketplace's product, where it is another one from then on
	Undone    bool      // with EventSetExpiry: the order was cancelled, or is the cancellation
	SentAt    time.Time // its own timestamp
	ReplayKey []byte    // names this very message; the same again is a replay

	// byOrder: its order is one that the end follows from (license.Terms). That of
	// License 1.0 is not.
	byOrder bool
}

// term is what a message says about an order, where it is about one. One of
// License 1.0 counts as an order of no name that was made when it was sent: so the
// other interfaces' orders before it do not undo it, and those after it do.
func (m Message) term() (license.Term, bool) {
	switch {
	case m.Event != license.EventSetExpiry:
		return license.Term{}, false
	case !m.byOrder:
		return license.Term{OrderedAt: m.SentAt, ExpiresAt: m.ExpiresAt}, m.Instance != ""
	}
	return license.Term{Order: m.Order, Told: m.ExpiresAt, Undone: m.Undone}, m.Order != ""
}

// Outcome says what became of a Message.
type Outcome struct {
	License string // id of the licence, "" where the code is not known here
	Changed bool   // false where everything stood so already
	Late    bool   // the licence had ended, or a newer message was heard; nothing was changed
	// Elsewhere is the marketplace's product where the message names one that the
	// licence is not of. The licence stays what it is.
	Elsewhere string
}

// Message applies what a marketplace says. A message touches only licences of
// the channel that authenticated it; about any other code it is recorded and
// applied when that code is activated; an instance that was not made here is
// ErrNoInstance. A message that was taken before is Replayed.
func (a *Authority) Message(ctx context.Context, m Message) (Outcome, error) {
	now := a.now()
	m.byOrder = true
	index, last4, err := a.aboutWhat(m)
	if err != nil {
		return Outcome{}, err
	}
	var out Outcome
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		out = Outcome{}
		if err := markSeen(ctx, tx, m.ReplayKey, m.SentAt.Add(store.MarkKept), now); err != nil {
			return err
		}
		var l license.License
		var err error
		if m.Instance != "" {
			l, err = a.byInstance(ctx, tx, m.Channel, index)
		} else if l, err = tx.LicenseByCode(ctx, index); err == nil && l.Channel != m.Channel {
			err = license.NotFound
		}
		if errors.Is(err, license.NotFound) {
			out.Changed = true
			return a.remember(ctx, tx, m, index, last4, now)
		}
		if err != nil {
			return fmt.Errorf("look a code up: %w", err)
		}
		out, err = a.hear(ctx, tx, l, m, now)
		return err
	})
	if err != nil {
		return Outcome{}, err
	}
	return out, nil
}

// aboutWhat is where the licence of a message is found.
func (a *Authority) aboutWhat(m Message) (index []byte, last4 string, err error) {
	if m.Instance != "" {
		return a.instanceIndex(m.Channel, m.Instance)
	}
	return a.codes.Index(m.Code), m.Code.Last4(), nil
}

// hear applies a message to the licence that it is about.
func (a *Authority) hear(ctx context.Context, tx store.Tx, l license.License, m Message, now time.Time) (Outcome, error) {
	out := Outcome{License: l.ID}
	repeated, err := a.repeated(ctx, tx, m, l.Terms)
	if repeated || err != nil {
		return out, err
	}
	next, changed, err := l.Apply(license.Change{Event: m.Event, At: now, ExpiresAt: m.ExpiresAt})
	if err != nil {
		return Outcome{}, err
	}
	if m.Event == license.EventRelease {
		if err := a.unsubscribed(ctx, tx, l, m.Channel, m.Order, marketActor(m.Channel), now); err != nil {
			return Outcome{}, err
		}
	}
	termed, err := a.withTerm(ctx, tx, m, l.Terms)
	if err != nil {
		return Outcome{}, err
	}
	next.Terms = termed
	late := !l.ReleasedAt.IsZero() && m.Event != license.EventRelease
	if !next.Heard.Note(m.Event, m.SentAt) {
		late, changed = true, false
	}
	event := license.AuditEvent{
		At: now, Actor: license.Actor{Kind: license.ActorMarketplace, Name: m.Channel},
		Action: license.ActionOf(m.Event), License: l.ID, Product: l.Product, Note: orderNote(m.Order),
	}
	if m.Product != "" && a.byMarket[m.Product] != l.Product {
		out.Elsewhere = m.Product
		event.Note = strings.TrimSpace(fmt.Sprintf("%s as product %.64q", event.Note, m.Product))
	}
	switch {
	case changed:
		out.Changed = true
		if err := tx.UpdateLicense(ctx, next); err != nil {
			return Outcome{}, fmt.Errorf("update %s: %w", l.ID, err)
		}
		event.Before, event.After = difference(l, next)
	case late:
		if !slices.Equal(termed, l.Terms) { // late or not, the order counts (Terms)
			l.Terms = termed
			if err := tx.UpdateLicense(ctx, l); err != nil {
				return Outcome{}, fmt.Errorf("update %s: %w", l.ID, err)
			}
		}
		out.Late = true
		event.Action = license.ActionLateMessage
		event.Note = string(m.Event) + " " + event.Note
	case next.Heard != l.Heard, !slices.Equal(termed, l.Terms):
		// It stood so already; what is older than this message no longer counts.
		return out, tx.UpdateLicense(ctx, next)
	default:
		return out, nil
	}
	if _, err := tx.Append(ctx, event); err != nil {
		return Outcome{}, fmt.Errorf("audit %s: %w", event.Action, err)
	}
	if changed && m.Event == license.EventSetExpiry {
		return out, a.checkLater(ctx, tx, next)
	}
	return out, nil
}

// remember adds a message to what is known about a code that nobody has
// presented yet.
func (a *Authority) remember(ctx context.Context, tx store.Tx, m Message, index []byte, last4 string, now time.Time) error {
	p, err := tx.Pending(ctx, m.Channel, index)
	if errors.Is(err, license.NotFound) {
		if m.Instance != "" {
			return ErrNoInstance
		}
		p = license.Pending{Channel: m.Channel, CodeIndex: index, Last4: last4, FirstAt: now}
	} else if err != nil {
		return fmt.Errorf("read what is pending for a code: %w", err)
	}
	if repeated, err := a.repeated(ctx, tx, m, p.Terms); repeated || err != nil {
		return err
	}
	if p.Terms, err = a.withTerm(ctx, tx, m, p.Terms); err != nil {
		return err
	}
	if !p.Heard.Note(m.Event, m.SentAt) { // an older one than what was heard
		return tx.PutPending(ctx, p)
	}
	switch m.Event { //nolint:exhaustive // the other events are the merchant's own
	case license.EventSetExpiry:
		p.ExpiresAt = m.ExpiresAt
	case license.EventFreeze:
		p.Frozen = true
	case license.EventUnfreeze:
		p.Frozen = false
	case license.EventRelease:
		if p.ReleasedAt.IsZero() {
			p.ReleasedAt = now
		}
		if err := a.pendingUnsubscribed(ctx, tx, p, m.Order, now); err != nil {
			return err
		}
	default:
		return license.Errorf(license.Internal, "a marketplace does not send %q", m.Event)
	}
	p.LastAt, p.Messages = now, p.Messages+1
	if err := tx.PutPending(ctx, p); err != nil {
		return fmt.Errorf("record a message about an unknown code: %w", err)
	}
	_, err = tx.Append(ctx, license.AuditEvent{
		At: now, Actor: license.Actor{Kind: license.ActorMarketplace, Name: m.Channel},
		Action: license.ActionUnknownCode, After: map[string]any{"code_last4": p.Last4, "event": m.Event},
		Note: orderNote(m.Order),
	})
	if err != nil {
		return fmt.Errorf("audit a message about an unknown code: %w", err)
	}
	return nil
}

// repeated reports whether a message says nothing that was not heard before. The
// order is read again where that has not come to anything.
func (a *Authority) repeated(ctx context.Context, tx store.Tx, m Message, terms license.Terms) (bool, error) {
	t, ok := m.term()
	if !ok || !terms.Repeats(t) {
		return false, nil
	}
	if terms.Read(t.Order) {
		return true, nil
	}
	return true, a.readTerm(ctx, tx, m)
}

// withTerm adds the order that a message names to those about its licence, and
// has it read: what it says about the end counts more than the message.
func (a *Authority) withTerm(ctx context.Context, tx store.Tx, m Message, terms license.Terms) (license.Terms, error) {
	t, ok := m.term()
	if !ok {
		return terms, nil
	}
	return terms.With(t), a.readTerm(ctx, tx, m)
}

// readTerm has the order read that a message about an instance names. Nothing
// waits for that: what was applied for is delivered meanwhile.
func (a *Authority) readTerm(ctx context.Context, tx store.Tx, m Message) error {
	ch, ok := a.channel(m.Channel)
	if m.Instance == "" || !m.byOrder || !ok || ch.Desk == nil {
		return nil
	}
	return a.enqueue(ctx, tx, license.Job{Kind: license.JobOrder, Key: instanceKey(m.Channel, m.Instance) + " terms", Channel: m.Channel},
		orderJob{Order: m.Order, Line: m.Line, Instance: m.Instance})
}

func marketActor(channel string) license.Actor {
	return license.Actor{Kind: license.ActorMarketplace, Name: channel}
}

func orderNote(order string) string {
	if order == "" {
		return ""
	}
	return "order " + order
}
