package webhook

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// maxCounted is how many entries of the audit log are looked at to say how many
// events wait.
const maxCounted = 5000

// errUnknown is what a name is answered with that no endpoint has.
func errUnknown(name string) error {
	return license.Errorf(license.NotFound, "there is no webhook %.64q", name)
}

// Webhooks says how far each endpoint has been told: those that are configured in
// their order, then those that were.
func (s *Sender) Webhooks(ctx context.Context) ([]adminwire.Webhook, error) {
	kept, err := s.o.Authority.Webhooks(ctx)
	if err != nil {
		return nil, err
	}
	states := make(map[string]authority.WebhookState, len(kept))
	for _, n := range kept {
		states[n.Name] = n.State
	}
	out := []adminwire.Webhook{}
	for _, e := range s.endpoints {
		state, ok := states[e.Name]
		w, err := e.shownState(ctx, state, ok)
		if err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	for _, n := range kept {
		if s.endpoint(n.Name) == nil {
			out = append(out, unconfigured(n.Name, n.State))
		}
	}
	return out, nil
}

func unconfigured(name string, state authority.WebhookState) adminwire.Webhook {
	w := newShown(Endpoint{Name: name}, state)
	w.State = adminwire.WebhookUnconfigured
	return w
}

func newShown(e Endpoint, s authority.WebhookState) adminwire.Webhook {
	w := adminwire.Webhook{
		Name: e.Name, URL: e.URL, State: adminwire.WebhookOK, Events: append([]string{}, e.Events...), Products: append([]string{}, e.Products...),
		Include: append([]string{}, e.Include...), Position: s.After, Held: []adminwire.WebhookHeld{}, DeliveredAt: instant(s.DeliveredAt),
		FailedAt: instant(s.FailedAt), Failure: s.Failure, GivenUp: s.GivenUp, LastGivenUp: []adminwire.WebhookGivenUp{},
	}
	for _, h := range s.Held {
		first := h.From
		if len(h.Events) > 0 {
			first = h.Events[0]
		}
		w.Held = append(w.Held, adminwire.WebhookHeld{
			Subject: h.Subject, Events: len(h.Events), More: h.More, First: first, Attempts: h.Attempts,
			Since: instant(h.Since), DueAt: instant(h.DueAt), Failure: h.Failure,
		})
		if h.Attempts > 0 {
			w.State = adminwire.WebhookHolding
		}
	}
	for _, g := range slices.Backward(s.LastGivenUp) {
		w.LastGivenUp = append(w.LastGivenUp, adminwire.WebhookGivenUp(g))
	}
	if s.Down != nil {
		w.State, w.DownSince, w.NextAttempt = adminwire.WebhookDown, instant(s.Down.Since), instant(s.Down.Until)
	}
	if s.Disabled != nil {
		w.State, w.DisabledAt, w.DisabledReason = adminwire.WebhookDisabled, instant(s.Disabled.At), s.Disabled.Reason
	}
	return w
}

// shownState is an endpoint with what waits for it; begun is false where nothing
// is kept of it yet.
func (e *endpoint) shownState(ctx context.Context, s authority.WebhookState, begun bool) (adminwire.Webhook, error) {
	w := newShown(e.Endpoint, s)
	if !begun {
		return w, nil
	}
	oldest := func(at time.Time) {
		if w.OldestWaiting == nil || at.Before(*w.OldestWaiting) {
			w.OldestWaiting = instant(at)
		}
	}
	for _, h := range s.Held {
		w.Waiting += len(h.Events)
		w.WaitingMore = w.WaitingMore || h.More
		if len(h.Events) == 0 {
			continue
		}
		switch told, err := e.sender.o.Authority.Told(ctx, h.Events[0]); {
		case err == nil:
			oldest(told.Event.At)
		case !errors.Is(err, license.NotFound):
			return w, err
		}
	}
	for after, looked := s.After, 0; ; looked += pageSize {
		events, _, err := e.sender.o.Authority.Events(ctx, authority.EventFilter{After: after}, authority.Page{Limit: pageSize})
		if err != nil {
			return w, err
		}
		for _, ev := range events {
			after = ev.Seq
			tell, err := e.tells(ctx, ev)
			if err != nil {
				return w, err
			}
			if tell && !slices.ContainsFunc(s.Held, func(h authority.WebhookHeld) bool { return slices.Contains(h.Events, ev.Seq) }) {
				w.Waiting++
				oldest(ev.At)
			}
		}
		if len(events) < pageSize {
			return w, nil
		}
		if looked+pageSize >= maxCounted {
			w.WaitingMore = true
			return w, nil
		}
	}
}

// Lines are all endpoints in one line each.
func (s *Sender) Lines(ctx context.Context) ([]adminwire.WebhookLine, error) {
	list, err := s.Webhooks(ctx)
	if err != nil {
		return nil, err
	}
	out := []adminwire.WebhookLine{}
	for _, w := range list {
		if w.State != adminwire.WebhookUnconfigured {
			out = append(out, line(w, s.now()))
		}
	}
	return out, nil
}

// late is how long an event may wait until that is worth a warning.
const late = 10 * time.Minute

func line(w adminwire.Webhook, now time.Time) adminwire.WebhookLine {
	out := adminwire.WebhookLine{Name: w.Name, Level: adminwire.LevelOK, Problems: []string{}}
	say := func(level, format string, args ...any) {
		out.Problems = append(out.Problems, fmt.Sprintf(format, args...))
		if out.Level != adminwire.LevelFail {
			out.Level = level
		}
	}
	stamp := func(t *time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case w.State == adminwire.WebhookDisabled:
		say(adminwire.LevelFail, "it is disabled since %s: %s", stamp(w.DisabledAt), w.DisabledReason)
	case w.State == adminwire.WebhookDown:
		say(adminwire.LevelWarn, "nothing can be delivered since %s: %s", stamp(w.DownSince), w.Failure)
	case w.State == adminwire.WebhookHolding:
		n, failure := 0, ""
		for _, h := range w.Held {
			if h.Attempts > 0 {
				n, failure = n+1, h.Failure
			}
		}
		say(adminwire.LevelWarn, "events of %d subjects cannot be delivered: %s", n, failure)
	case w.OldestWaiting != nil && now.Sub(*w.OldestWaiting) > late:
		say(adminwire.LevelWarn, "it lags behind: %d events wait, the oldest since %s", w.Waiting, stamp(w.OldestWaiting))
	}
	if w.GivenUp > 0 && len(w.LastGivenUp) > 0 && now.Sub(w.LastGivenUp[0].At) < 7*24*time.Hour {
		say(adminwire.LevelWarn, "%d events were given up, the last on %s", w.GivenUp, stamp(&w.LastGivenUp[0].At))
	}
	return out
}

// TestWebhook makes one test delivery, also to an endpoint that is disabled.
func (s *Sender) TestWebhook(ctx context.Context, name string) (adminwire.WebhookTest, error) {
	e := s.endpoint(name)
	if e == nil {
		return adminwire.WebhookTest{}, errUnknown(name)
	}
	body, err := json.Marshal(message{
		Type: TypeTest, Timestamp: e.now(), Data: map[string]string{"webhook": e.Name, "issuer": s.o.Issuer},
	})
	if err != nil {
		return adminwire.WebhookTest{}, err
	}
	id := "test_" + strings.ToLower(rand.Text())
	a := e.post(ctx, id, body)
	out := adminwire.WebhookTest{
		Webhook: e.Name, URL: e.URL, OK: a.ok(), ID: id, Signatures: len(e.Secrets()), HTTPStatus: a.status, Milliseconds: a.took.Milliseconds(),
		Answer: a.text, Sent: body,
	}
	if !a.ok() {
		out.Failure = a.failure()
	}
	return out, nil
}

// EnableWebhook has events sent again: those that waited first.
func (s *Sender) EnableWebhook(ctx context.Context, by license.Actor, name string) (adminwire.WebhookEdited, error) {
	return s.edit(ctx, by, name, authority.WebhookEdit{Action: license.ActionWebhookEnable, Change: func(w *authority.WebhookState) (map[string]any, bool, error) {
		changed := w.Disabled != nil || w.Down != nil
		w.Disabled, w.Down = nil, nil
		for i := range w.Held {
			h := &w.Held[i]
			changed = changed || h.Attempts > 0
			h.Attempts, h.Since, h.DueAt = 0, time.Time{}, time.Time{}
		}
		return nil, changed, nil
	}})
}

// DisableWebhook has events wait.
func (s *Sender) DisableWebhook(ctx context.Context, by license.Actor, name string) (adminwire.WebhookEdited, error) {
	now := s.o.Authority.Now()
	return s.edit(ctx, by, name, authority.WebhookEdit{Action: license.ActionWebhookDisable, Change: func(w *authority.WebhookState) (map[string]any, bool, error) {
		if w.Disabled != nil {
			return nil, false, nil
		}
		w.Disabled, w.Down = &authority.WebhookDisabled{At: now, Reason: "by the merchant"}, nil
		return nil, true, nil
	}})
}

// ReplayWebhook has events sent again under their ids, in their order, with what
// happens from now on behind them: all since a time or behind a position, or those
// of one licence.
func (s *Sender) ReplayWebhook(ctx context.Context, by license.Actor, name string, sel adminwire.WebhookSelection) (adminwire.WebhookEdited, error) {
	if (sel.Since == nil) == (sel.After == nil) {
		return adminwire.WebhookEdited{}, license.FieldErrorf("since", "exactly one of since and after is given")
	}
	if s.endpoint(name) == nil {
		return adminwire.WebhookEdited{}, errUnknown(name)
	}
	if sel.License != "" {
		l, _, err := s.o.Authority.License(ctx, sel.License)
		if err != nil {
			return adminwire.WebhookEdited{}, err
		}
		sel.License = l.ID
	}
	from, err := s.from(ctx, sel)
	if err != nil {
		return adminwire.WebhookEdited{}, err
	}
	out, err := s.edit(ctx, by, name, authority.WebhookEdit{Action: license.ActionWebhookReplay, License: sel.License, Change: func(w *authority.WebhookState) (map[string]any, bool, error) {
		after := map[string]any{"from": from}
		if sel.License != "" {
			return after, rewindOne(w, sel.License, from), nil
		}
		return after, rewind(w, from), nil
	}})
	out.From = from
	return out, err
}

// from is the position behind which a selection begins.
func (s *Sender) from(ctx context.Context, sel adminwire.WebhookSelection) (int64, error) {
	head, err := s.o.Authority.AuditHead(ctx)
	if err != nil {
		return 0, err
	}
	if sel.After != nil {
		if *sel.After > head.Seq {
			return 0, license.FieldErrorf("after", "the audit log ends at %d", head.Seq)
		}
		return *sel.After, nil
	}
	events, _, err := s.o.Authority.Events(ctx, authority.EventFilter{Since: *sel.Since}, authority.Page{Limit: 1})
	if err != nil || len(events) == 0 {
		return head.Seq, err
	}
	return events[0].Seq - 1, nil
}

// rewind sets an endpoint back to a position.
func rewind(w *authority.WebhookState, from int64) bool {
	if from >= w.After {
		return false // all of it is still to come
	}
	var kept []authority.WebhookHeld
	for _, h := range w.Held { // what lies behind is read again in its turn
		h.More = h.More && lastKnown(h) < from
		h.Events = slices.DeleteFunc(slices.Clone(h.Events), func(seq int64) bool { return seq > from })
		if h.More || len(h.Events) > 0 {
			kept = append(kept, h)
		}
	}
	w.After, w.Held = from, kept
	return true
}

// lastKnown is the position up to which the events of h are noted.
func lastKnown(h authority.WebhookHeld) int64 {
	if len(h.Events) == 0 {
		return h.From
	}
	return h.Events[len(h.Events)-1]
}

// rewindOne sets one licence back to a position.
func rewindOne(w *authority.WebhookState, subject string, from int64) bool {
	if from >= w.After {
		return false
	}
	for i, h := range w.Held {
		if h.Subject != subject {
			continue
		}
		first := h.From + 1
		if len(h.Events) > 0 {
			first = h.Events[0]
		}
		if first <= from+1 {
			return false // it waits already, from no further on
		}
		w.Held[i].Events, w.Held[i].From, w.Held[i].More = nil, from, true
		return true
	}
	w.Held = append(w.Held, authority.WebhookHeld{Subject: subject, From: from, More: true})
	return true
}

// SkipWebhook has events not delivered: what waits of one subject, or all that
// has happened up to now.
func (s *Sender) SkipWebhook(ctx context.Context, by license.Actor, name string, skip adminwire.WebhookSkip) (adminwire.WebhookEdited, error) {
	if skip.All == (skip.Subject != "") {
		return adminwire.WebhookEdited{}, license.FieldErrorf("subject", "either subject or all is given")
	}
	head, err := s.o.Authority.AuditHead(ctx)
	if err != nil {
		return adminwire.WebhookEdited{}, err
	}
	e := authority.WebhookEdit{Action: license.ActionWebhookSkip, Change: func(w *authority.WebhookState) (map[string]any, bool, error) {
		if skip.All {
			changed := len(w.Held) > 0 || w.After < head.Seq
			w.After, w.Held = max(w.After, head.Seq), nil
			return map[string]any{"after": w.After}, changed, nil
		}
		i := slices.IndexFunc(w.Held, func(h authority.WebhookHeld) bool { return h.Subject == skip.Subject })
		if i < 0 {
			return nil, false, license.Errorf(license.NotFound, "nothing waits of %.64q", skip.Subject)
		}
		events := len(w.Held[i].Events)
		w.Held = slices.Delete(slices.Clone(w.Held), i, i+1)
		return map[string]any{"subject": skip.Subject, "events": events}, true, nil
	}}
	if license.IsLicenseID(skip.Subject) {
		e.License = skip.Subject
	}
	return s.edit(ctx, by, name, e)
}

// ForgetWebhook removes what is kept of an endpoint that is not configured any
// more. Under its name another begins anew.
func (s *Sender) ForgetWebhook(ctx context.Context, by license.Actor, name string) (adminwire.WebhookEdited, error) {
	if s.endpoint(name) != nil {
		return adminwire.WebhookEdited{}, license.Errorf(license.Conflict, "the webhook %.64q is configured; take it out of the configuration first", name)
	}
	state, err := s.o.Authority.Webhook(ctx, name)
	if err == nil {
		err = s.o.Authority.ForgetWebhook(ctx, by, name)
	}
	if isNoName(err) {
		err = errUnknown(name)
	}
	return adminwire.WebhookEdited{Webhook: unconfigured(name, state), Changed: err == nil}, err
}

// isNoName reports whether a name is not known, or cannot be one.
func isNoName(err error) bool {
	return errors.Is(err, license.NotFound) || errors.Is(err, license.BadRequest)
}

func (s *Sender) edit(ctx context.Context, by license.Actor, name string, change authority.WebhookEdit) (adminwire.WebhookEdited, error) {
	e := s.endpoint(name)
	if e == nil {
		return adminwire.WebhookEdited{}, errUnknown(name)
	}
	state, changed, err := s.o.Authority.EditWebhook(ctx, by, name, change)
	if errors.Is(err, license.NotFound) && change.Action != license.ActionWebhookSkip {
		return adminwire.WebhookEdited{}, license.Errorf(license.Conflict, "the webhook %.64q has not begun yet; try again in a moment", name)
	}
	if err != nil {
		return adminwire.WebhookEdited{}, err
	}
	shown, err := e.shownState(ctx, state, true)
	return adminwire.WebhookEdited{Webhook: shown, Changed: changed}, err
}
