package authority_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Who follows the log is woken by what is committed, and by nothing else.
func TestAppended(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	woken := func() bool {
		select {
		case <-w.a.Appended():
			return true
		default:
			return false
		}
	}
	is := w.issue()
	if !woken() || woken() {
		t.Error("an issue does not wake, or more than once")
	}
	if _, changed, err := w.a.Edit(t.Context(), admin, is.License.ID, authority.Edit{Event: license.EventResume}); err != nil || changed || woken() {
		t.Error("what changes nothing wakes", changed, err)
	}
}

// What is kept of an endpoint is replaced only by who has read it last.
func TestPutWebhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	if _, err := w.a.Webhook(ctx, "crm"); !errors.Is(err, license.NotFound) {
		t.Fatal(err)
	}
	first, err := w.a.PutWebhook(ctx, "crm", authority.WebhookState{After: 7})
	if err != nil || first.Revision != 1 {
		t.Fatal(first, err)
	}
	next := first
	next.After = 9
	if next, err = w.a.PutWebhook(ctx, "crm", next, license.AuditEvent{At: begin, Action: license.ActionWebhookGiveUp}); err != nil || next.Revision != 2 {
		t.Fatal(next, err)
	}
	first.After = 8
	if _, err := w.a.PutWebhook(ctx, "crm", first, license.AuditEvent{At: begin, Action: license.ActionWebhookDisable}); !errors.Is(err, license.Conflict) {
		t.Error(err)
	}
	if _, err := w.a.PutWebhook(ctx, "crm", authority.WebhookState{}); !errors.Is(err, license.Conflict) {
		t.Error(err)
	}
	change := authority.WebhookEdit{Action: license.ActionWebhookSkip, Change: func(s *authority.WebhookState) (map[string]any, bool, error) {
		changed := s.After != 20
		s.After = 20
		return map[string]any{"after": 20}, changed, nil
	}}
	for i, want := range []bool{true, false} {
		if s, changed, err := w.a.EditWebhook(ctx, admin, "crm", change); err != nil || changed != want || s.Revision != 3 || s.After != 20 {
			t.Error(i, s, changed, err)
		}
	}
	if _, _, err := w.a.EditWebhook(ctx, admin, "books", change); !errors.Is(err, license.NotFound) {
		t.Error(err)
	}
	list, err := w.a.Webhooks(ctx)
	if err != nil || len(list) != 1 || list[0].Name != "crm" || list[0].State.After != 20 {
		t.Error(list, err)
	}
	if err := w.a.ForgetWebhook(ctx, admin, "crm"); err != nil {
		t.Fatal(err)
	}
	if err := w.a.ForgetWebhook(ctx, admin, "crm"); !errors.Is(err, license.NotFound) {
		t.Error(err)
	}
	w.wantActions(license.ActionWebhookGiveUp, license.ActionWebhookSkip, license.ActionWebhookForget)
}

// wantActions wants the audit log to hold just these.
func (w *world) wantActions(want ...license.Action) {
	w.t.Helper()
	events, _, err := w.a.Events(w.t.Context(), authority.EventFilter{}, authority.Page{})
	if err != nil {
		w.t.Fatal(err)
	}
	var got []license.Action
	for _, e := range events {
		got = append(got, e.Action)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("the audit log has %v, want %v", got, want)
	}
}

// What is damaged is said, and not taken for something else.
func TestDamagedWebhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return tx.SetValue(ctx, "webhook/crm", []byte("{"))
	}); err != nil {
		t.Fatal(err)
	}
	_, err := w.a.Webhook(t.Context(), "crm")
	_, all := w.a.Webhooks(t.Context())
	_, put := w.a.PutWebhook(t.Context(), "crm", authority.WebhookState{})
	if license.ReasonOf(err) != license.Internal || license.ReasonOf(all) != license.Internal || license.ReasonOf(put) != license.Internal {
		t.Error(err, all, put)
	}
}

// An entry of a marketplace that begins to fail is recorded once, and once when
// it does so no more.
func TestNoteHealth(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	health := func(levels ...authority.Level) authority.Health {
		h := authority.Health{Channel: "koogallery"}
		for _, l := range levels {
			h.Problems = append(h.Problems, authority.Problem{Code: authority.ProblemCode("p_" + l), Level: l})
		}
		return h
	}
	for _, h := range []authority.Health{
		health(), health(authority.LevelWarn), health(authority.LevelWarn, authority.LevelFail), health(authority.LevelFail),
		health(authority.LevelNote), health(), health(authority.LevelFail),
	} {
		if err := w.a.NoteHealth(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	w.wantActions(license.ActionMarketplaceHealth, license.ActionMarketplaceHealth, license.ActionMarketplaceHealth)
	events, _, err := w.a.Events(t.Context(), authority.EventFilter{}, authority.Page{})
	if err != nil || events[0].After["failing"] != true || events[1].After["failing"] != false || fmt.Sprint(events[0].After["problems"]) != "[p_fail]" {
		t.Errorf("%+v %v", events, err)
	}
}
