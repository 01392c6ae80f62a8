package webhook_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/webhook"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// An endpoint for some products learns nothing of the others: not of what belongs
// to no licence, not by a licence that became one of theirs, and not by events that
// waited when its configuration was another.
func TestProductsAreKeptApart(t *testing.T) {
	scoped := func(events ...string) webhook.Endpoint {
		return endpoint(func(e *webhook.Endpoint) { e.Products, e.Events = []string{"other"}, events })
	}
	foreign := func(t *testing.T, w *world) {
		t.Helper()
		for _, ev := range []license.AuditEvent{
			{Action: license.ActionOrderAdd, After: map[string]any{"order": "CS-of-cad"}},
			{Action: license.ActionUnknownCode, After: map[string]any{"code_last4": "WXYZ"}},
			{Action: license.ActionJobPark, After: map[string]any{"job": "j1"}},
			{Action: license.ActionKeysRotate, After: map[string]any{"kid": "k"}},
		} {
			ev.At, ev.Actor = w.now(), license.Actor{Kind: license.ActorSystem}
			w.append(ev)
		}
	}
	t.Run("about no licence", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.start(scoped())
			foreign(t, w)
			w.issue(func(o *authority.Order) { o.Product = "other" })
			synctest.Wait()
			if diff := cmp.Diff([]string{"license.issued"}, w.receiver.took()); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("asked for", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.start(scoped("keys.*", "order.*", "marketplace.*", "job.*"))
			foreign(t, w)
			synctest.Wait()
			if diff := cmp.Diff([]string{"keys.rotated"}, w.receiver.took()); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("left", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.start(scoped())
			l := w.issue(func(o *authority.Order) { o.Product = "other" })
			synctest.Wait()
			w.receiver.forget()
			if _, _, err := w.a.Edit(t.Context(), admin, l.ID, authority.Edit{Event: license.EventUpgrade, Upgrade: authority.UpgradeTo{Product: "cad"}}); err != nil {
				t.Fatal(err)
			}
			w.change(l, license.EventSuspend)
			synctest.Wait()
			_, taken := w.receiver.all()
			if len(taken) != 1 || taken[0].Type != "license.upgraded" || taken[0].Data.License != nil || taken[0].Data.After["product"] != "cad" {
				t.Errorf("taken are %+v", taken)
			}
		})
	})
	t.Run("waited", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			all := w.start(endpoint())
			w.receiver.status(http.StatusInternalServerError)
			w.issue()
			w.issue(func(o *authority.Order) { o.Product = "other" })
			time.Sleep(time.Second)
			all.stop()
			w.receiver.forget()
			w.receiver.status(http.StatusNoContent)
			w.start(scoped())
			time.Sleep(time.Hour)
			synctest.Wait()
			_, taken := w.receiver.all()
			if len(taken) != 1 || taken[0].Data.License["product"] != "other" {
				t.Errorf("taken are %+v", taken)
			}
		})
	})
}

// What is private stays so in whatever it is packed.
func TestPrivateInLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(endpoint())
		w.append(license.AuditEvent{At: w.now(), Actor: admin, Action: license.ActionRestoreFinish, After: map[string]any{
			"left": []any{map[string]any{"license": "lic_1", "customer": "Müller", "facts": []any{[]any{map[string]any{"note": "Frau Müller"}}}}},
		}})
		synctest.Wait()
		_, taken := w.receiver.all()
		slices.SortFunc(taken, func(a, b delivery) int { return int(a.Data.Seq - b.Data.Seq) })
		if len(taken) == 0 || taken[0].Type != "store.restore_finished" || bytes.Contains(taken[0].Body, []byte("Müller")) || !bytes.Contains(taken[0].Body, []byte("lic_1")) {
			t.Errorf("taken are %+v", taken)
		}
	})
}

// What a receiver answered, which may repeat what it was told, goes with an erasure,
// from what is kept of the endpoint and from the audit log; and what is told again
// after it holds nothing of the person.
func TestErased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(endpoint(func(e *webhook.Endpoint) { e.Include = webhook.Includes() }))
		l, other := w.issue(), w.issue()
		synctest.Wait()
		w.receiver.answers(func(rw http.ResponseWriter, _ *http.Request, d delivery) int {
			if d.license() != l.ID {
				return http.StatusOK
			}
			rw.WriteHeader(http.StatusUnprocessableEntity)
			_, _ = fmt.Fprintf(rw, "no customer %s", d.Data.License["customer"]) // the receiver's matter
			return 0
		})
		w.change(l, license.EventSuspend)
		w.change(l, license.EventRevoke)
		for range 80 { // the first is given up, the second waits
			w.change(other, license.EventRenew)
			time.Sleep(time.Hour)
		}
		kept := func() string {
			t.Helper()
			s, err := w.a.Webhook(t.Context(), "crm")
			if err != nil {
				t.Fatal(err)
			}
			events, _, err := w.a.Events(t.Context(), authority.EventFilter{License: l.ID}, authority.Page{})
			if err != nil {
				t.Fatal(err)
			}
			now, _, err := w.a.License(t.Context(), l.ID)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%+v %+v %+v", s, events, now)
		}
		if s := kept(); strings.Count(s, "no customer Müller") < 3 || !strings.Contains(s, "asked by Jane") {
			t.Fatalf("there is nothing to be erased: %s", s)
		}
		got, err := w.a.EraseEvents(t.Context(), admin, l.ID, authority.Erasure{Reason: "request 17", Customer: true})
		if err != nil || !got.Customer || !got.Reason {
			t.Fatal(got, err)
		}
		if s := kept(); strings.Contains(s, "Müller") || strings.Contains(s, "asked by Jane") {
			t.Errorf("kept is %s", s)
		}
		w.receiver.status(http.StatusOK)
		w.receiver.forget()
		from := int64(0)
		if _, err := r.ReplayWebhook(t.Context(), admin, "crm", adminwire.WebhookSelection{After: &from, License: l.ID}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Hour)
		_, taken := w.receiver.all()
		if len(taken) < 3 {
			t.Errorf("%d are told again", len(taken))
		}
		for _, d := range taken {
			if d.license() == l.ID && (bytes.Contains(d.Body, []byte("Müller")) || bytes.Contains(d.Body, []byte("asked by Jane"))) {
				t.Errorf("told again is %s", d.Body)
			}
		}
		if again, err := w.a.EraseEvents(t.Context(), admin, l.ID, authority.Erasure{Reason: "request 17", Customer: true}); err != nil || again.Changed {
			t.Errorf("%+v, %v", again, err)
		}
	})
}
