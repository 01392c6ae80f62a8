package webhook_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/webhook"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// A change by the merchant, at a moment when deliveries are not written down yet,
// has none of them made again.
func TestChangedWhileSending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(endpoint())
		bad := w.issue()
		synctest.Wait()
		w.receiver.status(http.StatusInternalServerError)
		w.change(bad, license.EventSuspend)
		time.Sleep(2 * time.Second)
		w.receiver.status(http.StatusOK)
		time.Sleep(5 * time.Second) // the event that was held is delivered now
		for range 30 {
			w.issue()
		}
		synctest.Wait()
		for _, change := range []func() (adminwire.WebhookEdited, error){
			func() (adminwire.WebhookEdited, error) { return r.DisableWebhook(t.Context(), admin, "crm") },
			func() (adminwire.WebhookEdited, error) { return r.EnableWebhook(t.Context(), admin, "crm") },
		} {
			if _, err := change(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		w.issue()
		time.Sleep(time.Minute)
		got := map[string]int{}
		_, taken := w.receiver.all()
		for _, d := range taken {
			got[d.ID]++
		}
		if len(got) != 33 || len(taken) != 33 {
			t.Errorf("%d events were delivered by %d requests", len(got), len(taken))
		}
		if s := w.state("crm"); s.Waiting != 0 {
			t.Errorf("state %+v", s)
		}
	})
}

// What was delivered is delivered again under the same id, all or of one licence.
func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(endpoint())
		a, b := w.issue(), w.issue()
		time.Sleep(time.Hour)
		since := time.Now()
		w.change(a, license.EventSuspend)
		w.change(b, license.EventSuspend)
		w.change(a, license.EventResume)
		time.Sleep(time.Minute)
		ids := map[int64]string{}
		_, before := w.receiver.all()
		for _, d := range before {
			ids[d.Data.Seq] = d.ID
		}
		for name, c := range map[string]struct {
			sel  adminwire.WebhookSelection
			want []int64
		}{
			"after":          {adminwire.WebhookSelection{After: new(int64(1))}, []int64{2, 3, 4, 5}},
			"all":            {adminwire.WebhookSelection{After: new(int64(0))}, []int64{1, 2, 3, 4, 5}},
			"since":          {adminwire.WebhookSelection{Since: &since}, []int64{3, 4, 5}},
			"a licence":      {adminwire.WebhookSelection{After: new(int64(0)), License: a.ID}, []int64{1, 3, 5}},
			"a licence late": {adminwire.WebhookSelection{Since: &since, License: a.ID}, []int64{3, 5}},
			"nothing":        {adminwire.WebhookSelection{Since: new(since.Add(time.Hour))}, nil},
		} {
			w.receiver.forget()
			edited, err := r.ReplayWebhook(t.Context(), admin, "crm", c.sel)
			if err != nil || edited.Changed != (c.want != nil) {
				t.Fatal(name, edited, err)
			}
			time.Sleep(time.Minute)
			_, taken := w.receiver.all()
			var got []int64
			for _, d := range taken {
				got = append(got, d.Data.Seq)
				if d.ID != ids[d.Data.Seq] {
					t.Errorf("%s: %d has id %s now", name, d.Data.Seq, d.ID)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", name, got, c.want)
			}
		}
		if w.audited(license.ActionWebhookReplay) != 5 {
			t.Error("a replay is in the audit log")
		}
		for name, sel := range map[string]adminwire.WebhookSelection{
			"neither": {}, "both": {After: new(int64(0)), Since: &since}, "beyond": {After: new(int64(1000))}, "licence": {After: new(int64(0)), License: "lic_0"},
		} {
			if _, err := r.ReplayWebhook(t.Context(), admin, "crm", sel); err == nil {
				t.Errorf("%s: taken", name)
			}
		}
		if w.state("crm").Waiting != 0 {
			t.Error("a refused replay changed something")
		}
	})
}

// A replay while events of the licence are held keeps them in order.
func TestReplayWhileHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(endpoint())
		l := w.issue()
		synctest.Wait()
		w.receiver.status(http.StatusInternalServerError)
		w.change(l, license.EventSuspend)
		w.change(l, license.EventResume)
		time.Sleep(time.Second * 2)
		for _, sel := range []adminwire.WebhookSelection{{After: new(int64(0)), License: l.ID}, {After: new(int64(0))}} {
			if _, err := r.ReplayWebhook(t.Context(), admin, "crm", sel); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		w.receiver.forget()
		w.receiver.status(http.StatusOK)
		time.Sleep(time.Hour)
		if got := w.receiver.took(); !slices.Equal(got, []string{"license.issued", "license.suspended", "license.resumed"}) {
			t.Errorf("got %v", got)
		}
	})
}

// What waits can be left out, of one licence or all.
func TestSkip(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(endpoint())
		a, b := w.issue(), w.issue()
		synctest.Wait()
		w.receiver.forget()
		w.receiver.status(http.StatusNotFound)
		w.change(a, license.EventSuspend)
		w.change(b, license.EventSuspend)
		time.Sleep(2 * time.Second)
		if _, err := r.SkipWebhook(t.Context(), admin, "crm", adminwire.WebhookSkip{Subject: "lic_nobody"}); license.ReasonOf(err) != license.NotFound {
			t.Error(err)
		}
		if edited, err := r.SkipWebhook(t.Context(), admin, "crm", adminwire.WebhookSkip{Subject: a.ID}); err != nil || !edited.Changed || edited.Webhook.Waiting != 1 {
			t.Errorf("%+v %v", edited, err)
		}
		w.receiver.status(http.StatusOK)
		time.Sleep(time.Hour)
		if _, taken := w.receiver.all(); len(taken) != 1 || taken[0].license() != b.ID {
			t.Errorf("taken %+v", taken)
		}
		if _, err := r.DisableWebhook(t.Context(), admin, "crm"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		w.change(a, license.EventResume)
		if _, err := r.SkipWebhook(t.Context(), admin, "crm", adminwire.WebhookSkip{All: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := r.EnableWebhook(t.Context(), admin, "crm"); err != nil {
			t.Fatal(err)
		}
		w.change(b, license.EventResume)
		time.Sleep(time.Minute)
		if got := w.receiver.took(); !slices.Equal(got, []string{"license.suspended", "license.resumed"}) {
			t.Errorf("got %v", got)
		}
	})
}

// An endpoint that is taken out of the configuration keeps its position until it
// is forgotten; a name that is not known is an error.
func TestRemovedFromConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(endpoint())
		w.issue()
		time.Sleep(time.Minute)
		if _, err := r.ForgetWebhook(t.Context(), admin, "crm"); license.ReasonOf(err) != license.Conflict {
			t.Error(err)
		}
		r.stop()
		w.a = w.authority()
		other := w.start(endpoint(func(e *webhook.Endpoint) { e.Name = "books" }))
		w.issue()
		time.Sleep(time.Minute)
		list, err := other.Webhooks(t.Context())
		if err != nil || len(list) != 2 || list[1].Name != "crm" || list[1].State != adminwire.WebhookUnconfigured || list[1].Position != 1 {
			t.Errorf("%+v %v", list, err)
		}
		other.stop()
		w.a = w.authority()
		w.receiver.forget()
		again := w.start(endpoint()) // back: it goes on from where it stopped
		time.Sleep(time.Minute)
		if got := w.receiver.took(); len(got) != 1 {
			t.Errorf("got %v", got)
		}
		if edited, err := again.ForgetWebhook(t.Context(), admin, "books"); err != nil || !edited.Changed {
			t.Error(edited, err)
		}
		for _, name := range []string{"books", "nobody", "", "a\x00b"} {
			if _, err := again.ForgetWebhook(t.Context(), admin, name); license.ReasonOf(err) != license.NotFound {
				t.Errorf("%q: %v", name, err)
			}
			if _, err := again.EnableWebhook(t.Context(), admin, name); license.ReasonOf(err) != license.NotFound {
				t.Errorf("%q: %v", name, err)
			}
			if _, err := again.TestWebhook(t.Context(), name); license.ReasonOf(err) != license.NotFound {
				t.Errorf("%q: %v", name, err)
			}
		}
	})
}

// A test delivery shows what was sent and answered, and counts for nothing.
func TestTestDelivery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(endpoint())
		w.receiver.answers(func(rw http.ResponseWriter, _ *http.Request, _ delivery) int {
			rw.WriteHeader(http.StatusForbidden)
			_, _ = rw.Write([]byte("not you\n"))
			return 0
		})
		got, err := r.TestWebhook(t.Context(), "crm")
		if err != nil || got.OK || got.HTTPStatus != 403 || got.Answer != "not you" || got.Failure != "HTTP 403: not you" || !strings.Contains(string(got.Sent), `"type":"webhook.test"`) {
			t.Errorf("%+v %v", got, err)
		}
		w.receiver.status(http.StatusOK)
		if got, err := r.TestWebhook(t.Context(), "crm"); err != nil || !got.OK || got.Signatures != 1 {
			t.Errorf("%+v %v", got, err)
		}
		if s := w.state("crm"); s.FailedAt != nil || s.DeliveredAt != nil {
			t.Errorf("state %+v", s)
		}
	})
}
