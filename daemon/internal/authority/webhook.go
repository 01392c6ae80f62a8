package authority

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// WebhookState is what is kept of an endpoint that is told what the audit log
// records: how far it has been told, and what is in the way.
type WebhookState struct {
	// Revision counts the changes of the state: who has read it may replace it
	// only while it is the same.
	Revision int64 `json:"revision"`
	// After is the position in the audit log up to which all is dealt with, but for
	// what Held says.
	After int64         `json:"after"`
	Held  []WebhookHeld `json:"held,omitzero"`
	// Down is set while nothing at all reaches the endpoint.
	Down *WebhookDown `json:"down,omitzero"`
	// Disabled is set where nothing is sent until somebody enables the endpoint.
	Disabled *WebhookDisabled `json:"disabled,omitzero"`
	Lease    WebhookLease     `json:"lease,omitzero"`

	DeliveredAt time.Time        `json:"delivered_at,omitzero"` // the last time
	FailedAt    time.Time        `json:"failed_at,omitzero"`    // the last time
	Failure     string           `json:"failure,omitzero"`      // what it was, without what was answered
	GivenUp     int              `json:"given_up,omitzero"`     // events that could not be delivered
	LastGivenUp []WebhookGivenUp `json:"last_given_up,omitzero"`
}

// WebhookHeld are the events of one subject that wait because the first of them
// failed, or because they are to be told again.
type WebhookHeld struct {
	Subject  string    `json:"subject"`           // the licence, or what else the events have in common
	Events   []int64   `json:"events,omitzero"`   // positions in the audit log, in order
	From     int64     `json:"from,omitzero"`     // all up to here is dealt with
	More     bool      `json:"more,omitzero"`     // the log has further ones behind the last of Events, or From
	Attempts int       `json:"attempts,omitzero"` // that failed in a row
	Since    time.Time `json:"since,omitzero"`    // the first of them
	DueAt    time.Time `json:"due_at,omitzero"`
	Failure  string    `json:"failure,omitzero"` // of the last
}

// WebhookDown says since when nothing reaches an endpoint.
type WebhookDown struct {
	Since    time.Time `json:"since"`
	Attempts int       `json:"attempts"`
	Until    time.Time `json:"until"` // the next attempt
}

// WebhookDisabled says why nothing is sent to an endpoint.
type WebhookDisabled struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// WebhookLease says which daemon sends to an endpoint, so that of several only
// one does.
type WebhookLease struct {
	Owner string    `json:"owner,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// WebhookGivenUp is an event that could not be delivered.
type WebhookGivenUp struct {
	Event   int64     `json:"event"` // its position in the audit log
	Subject string    `json:"subject"`
	At      time.Time `json:"at"`
	Failure string    `json:"failure"`
}

const webhookPrefix = "webhook/"

// NamedWebhook is the state of an endpoint.
type NamedWebhook struct {
	Name  string
	State WebhookState
}

func readWebhook(ctx context.Context, tx store.Tx, name string) (WebhookState, error) {
	return findValue[WebhookState](ctx, tx, webhookPrefix+name)
}

func writeWebhook(ctx context.Context, tx store.Tx, name string, s WebhookState) error {
	return writeValue(ctx, tx, webhookPrefix+name, s)
}

// Webhook returns what is kept of an endpoint, or license.NotFound.
func (a *Authority) Webhook(ctx context.Context, name string) (s WebhookState, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		s, err = readWebhook(ctx, tx, name)
		return err
	})
	return s, err
}

// Webhooks returns what is kept of all endpoints, by name, whether they are
// still configured or not.
func (a *Authority) Webhooks(ctx context.Context) (list []NamedWebhook, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		list = nil
		for cursor := ""; ; {
			values, next, err := tx.Values(ctx, webhookPrefix, store.Page{Limit: store.MaxPage, Cursor: cursor})
			if err != nil {
				return fmt.Errorf("list the webhooks: %w", err)
			}
			for _, v := range values {
				s, err := parseValue[WebhookState](v)
				if err != nil {
					return err
				}
				list = append(list, NamedWebhook{Name: strings.TrimPrefix(v.Name, webhookPrefix), State: s})
			}
			if cursor = next; cursor == "" {
				return nil
			}
		}
	})
	return list, err
}

// PutWebhook stores what is kept of an endpoint, with the audit events of what
// happened to it, and returns it with its next revision: license.Conflict where
// s.Revision is not the one that is stored, 0 for an endpoint that is new.
func (a *Authority) PutWebhook(ctx context.Context, name string, s WebhookState, events ...license.AuditEvent) (WebhookState, error) {
	was := s.Revision
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		stored, err := readWebhook(ctx, tx, name)
		if err != nil && !errors.Is(err, license.NotFound) {
			return err
		}
		if stored.Revision != was {
			return license.Errorf(license.Conflict, "the webhook %q was changed meanwhile", printable(name))
		}
		s.Revision = was + 1
		for _, e := range events {
			if _, err := tx.Append(ctx, e); err != nil {
				return fmt.Errorf("audit %s: %w", e.Action, err)
			}
		}
		return writeWebhook(ctx, tx, name, s)
	})
	return s, err
}

// WebhookEdit is a change of an endpoint by the merchant. Change does it, and
// reports whether there was anything to change; what it returns besides goes into
// the audit log. It may be called again.
type WebhookEdit struct {
	Action  license.Action
	License string // that it is about, where it is one
	Change  func(s *WebhookState) (after map[string]any, changed bool, err error)
}

// EditWebhook changes what is kept of an endpoint. Whoever sends to it at the
// time begins anew from what is stored.
func (a *Authority) EditWebhook(ctx context.Context, actor license.Actor, name string, e WebhookEdit) (s WebhookState, changed bool, err error) {
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		if s, err = readWebhook(ctx, tx, name); err != nil {
			return err
		}
		var after map[string]any
		if after, changed, err = e.Change(&s); err != nil || !changed {
			return err
		}
		s.Revision++
		if err := writeWebhook(ctx, tx, name, s); err != nil {
			return err
		}
		return auditWebhook(ctx, tx, a.now(), actor, name, e, after)
	})
	if err == nil && changed {
		a.wakeFollower()
	}
	return s, changed, err
}

// ForgetWebhook removes what is kept of an endpoint.
func (a *Authority) ForgetWebhook(ctx context.Context, actor license.Actor, name string) error {
	return a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		s, err := readWebhook(ctx, tx, name)
		if err != nil {
			return err
		}
		if err := tx.SetValue(ctx, webhookPrefix+name, nil); err != nil {
			return fmt.Errorf("forget the webhook %s: %w", name, err)
		}
		return auditWebhook(ctx, tx, a.now(), actor, name, WebhookEdit{Action: license.ActionWebhookForget}, map[string]any{"after": s.After})
	})
}

// answerErased stands where an answer was that an erasure took away.
const answerErased = "erased"

// eraseAnswers takes away what receivers answered to events about a licence, which
// may repeat what they were told, and reports whether there was any.
func eraseAnswers(ctx context.Context, tx store.Tx, id string) (found bool, err error) {
	for cursor := ""; ; {
		values, next, err := tx.Values(ctx, webhookPrefix, store.Page{Limit: store.MaxPage, Cursor: cursor})
		if err != nil {
			return false, fmt.Errorf("list the webhooks: %w", err)
		}
		for _, v := range values {
			s, err := parseValue[WebhookState](v)
			if err != nil || !s.eraseAnswers(id) { // one that is damaged is reported when it is used
				continue
			}
			found = true
			s.Revision++
			if err := writeWebhook(ctx, tx, strings.TrimPrefix(v.Name, webhookPrefix), s); err != nil {
				return false, err
			}
		}
		if cursor = next; cursor == "" {
			return found, nil
		}
	}
}

func (s *WebhookState) eraseAnswers(id string) (found bool) {
	erase := func(subject string, failure *string) {
		if subject == id && *failure != "" && *failure != answerErased {
			*failure, found = answerErased, true
		}
	}
	for i := range s.Held {
		erase(s.Held[i].Subject, &s.Held[i].Failure)
	}
	for i := range s.LastGivenUp {
		erase(s.LastGivenUp[i].Subject, &s.LastGivenUp[i].Failure)
	}
	return found
}

func auditWebhook(ctx context.Context, tx store.Tx, now time.Time, actor license.Actor, name string, e WebhookEdit, after map[string]any) error {
	if after == nil {
		after = map[string]any{}
	}
	after["webhook"] = name
	if _, err := tx.Append(ctx, license.AuditEvent{At: now, Actor: actor, Action: e.Action, License: e.License, After: after}); err != nil {
		return fmt.Errorf("audit %s: %w", e.Action, err)
	}
	return nil
}

// Appended holds a token after the audit log has grown, or an endpoint was
// changed, in this process. It is for one reader.
func (a *Authority) Appended() <-chan struct{} { return a.events }

// audited tells whoever signs the audit log, and whoever follows it, that there is more.
func (a *Authority) audited(entries int64) {
	a.checkpoints.wrote(entries)
	a.wakeFollower()
}

// wakeFollower tells who follows the audit log.
func (a *Authority) wakeFollower() {
	select {
	case a.events <- struct{}{}:
	default:
	}
}

// Told is an audit event with its licence as it stands now, where it is about
// one that there is.
type Told struct {
	Event   license.AuditEvent
	License *license.License
}

// Told returns the audit event at a position, or license.NotFound.
func (a *Authority) Told(ctx context.Context, seq int64) (t Told, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		t = Told{}
		events, _, err := tx.Events(ctx, store.EventFilter{After: seq - 1}, store.Page{Limit: 1})
		if err != nil {
			return fmt.Errorf("read the audit log: %w", err)
		}
		if len(events) == 0 || events[0].Seq != seq {
			return license.Errorf(license.NotFound, "the audit log has no entry %d", seq)
		}
		t.Event = events[0]
		if t.Event.License == "" {
			return nil
		}
		l, err := tx.License(ctx, t.Event.License)
		switch {
		case err == nil:
			t.License = &l
		case !errors.Is(err, license.NotFound):
			return fmt.Errorf("read %s: %w", t.Event.License, err)
		}
		return nil
	})
	return t, err
}
