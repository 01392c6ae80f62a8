package webhook_test

import (
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

// What happens to a licence is told at once, in its order, under ids of its own;
// what happened before the endpoint was there is not.
func TestLifeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.issue()
		w.start(endpoint())
		l := w.issue()
		for _, e := range []license.Event{license.EventRenew, license.EventSuspend, license.EventResume, license.EventRevoke, license.EventUndoRevoke, license.EventRelease} {
			w.change(l, e)
		}
		synctest.Wait()
		want := []string{
			"license.issued", "license.renewed", "license.suspended", "license.resumed", "license.revoked", "license.revocation_undone", "license.released",
		}
		if diff := cmp.Diff(want, w.receiver.took()); diff != "" {
			t.Fatal(diff)
		}
		ids := map[string]bool{}
		_, taken := w.receiver.all()
		for i, d := range taken {
			if ids[d.ID] || !strings.HasPrefix(d.ID, "evt_") || strings.Contains(d.ID, ".") {
				t.Errorf("id %q", d.ID)
			}
			ids[d.ID] = true
			if d.license() != l.ID || d.Data.Seq != int64(i+2) || d.Header.Get("Content-Type") != "application/json" || d.Header.Get("User-Agent") != "licensed/1.0" {
				t.Errorf("%d: %s %v", i, d.Body, d.Header)
			}
		}
		renewed := taken[1]
		if renewed.Data.Before["expires_at"] == renewed.Data.After["expires_at"] || renewed.Data.Action != "license.renew" || renewed.Data.Actor["kind"] != "admin" {
			t.Errorf("renewed: %s", renewed.Body)
		}
	})
}

// Nothing personal leaves unless it is included, and a code never does.
func TestPrivacy(t *testing.T) {
	for name, include := range map[string][]string{"nothing": nil, "all": webhook.Includes()} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start(endpoint(func(e *webhook.Endpoint) { e.Include = include }))
				issued, err := w.a.Issue(t.Context(), admin, authority.Order{Product: "cad", Customer: "Müller", Perpetual: true})
				if err != nil {
					t.Fatal(err)
				}
				w.change(issued[0].License, license.EventRevoke)
				synctest.Wait()
				_, taken := w.receiver.all()
				var all strings.Builder
				for _, d := range taken {
					all.Write(d.Body)
				}
				for _, private := range []string{"Müller", "jane", "192.0.2.7", "asked by Jane"} {
					if strings.Contains(all.String(), private) != (include != nil) {
						t.Errorf("%q: %s", private, all.String())
					}
				}
				code := issued[0].Code.Reveal()
				if len(taken) != 2 || strings.Contains(all.String(), code) || strings.Contains(w.log.String(), code) || strings.Contains(w.log.String(), secret) {
					t.Errorf("%d taken, or the code is told: %s", len(taken), all.String())
				}
			})
		})
	}
}

// An endpoint is told of what it asks for.
func TestSelection(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*webhook.Endpoint)
		want []string
	}{
		"all":       {func(*webhook.Endpoint) {}, []string{"license.issued", "license.suspended", "license.issued", "license.suspended"}},
		"one type":  {func(e *webhook.Endpoint) { e.Events = []string{"license.suspended"} }, []string{"license.suspended", "license.suspended"}},
		"a group":   {func(e *webhook.Endpoint) { e.Events = []string{"keys.*", "license.*"} }, []string{"license.issued", "license.suspended", "license.issued", "license.suspended"}},
		"no":        {func(e *webhook.Endpoint) { e.Events = []string{"keys.*"} }, nil},
		"a product": {func(e *webhook.Endpoint) { e.Products = []string{"other"} }, []string{"license.issued", "license.suspended"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start(endpoint(c.edit))
				for _, p := range []string{"cad", "other"} {
					w.change(w.issue(func(o *authority.Order) { o.Product = p }), license.EventSuspend)
				}
				synctest.Wait()
				got := w.receiver.took()
				slices.Sort(got)
				slices.Sort(c.want)
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// A failure holds up the later events of its licence, and no others; it is tried
// again after longer and longer pauses, with its id and another timestamp.
func TestOrderAndRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(endpoint())
		bad, good := w.issue(), w.issue()
		synctest.Wait()
		w.receiver.forget()
		begin := time.Now()
		w.receiver.answers(func(_ http.ResponseWriter, _ *http.Request, d delivery) int {
			if d.license() == bad.ID && time.Since(begin) < 2*time.Hour {
				return http.StatusInternalServerError
			}
			return http.StatusOK
		})
		w.change(bad, license.EventSuspend)
		for range 5 {
			w.change(bad, license.EventResume)
			w.change(good, license.EventSuspend)
			w.change(bad, license.EventSuspend)
			w.change(good, license.EventResume)
			synctest.Wait()
		}
		if got := w.receiver.took(); len(got) != 10 {
			t.Fatalf("the other licence is told %v", got)
		}
		time.Sleep(2 * time.Minute)
		if s := w.state("crm"); s.State != adminwire.WebhookHolding || len(s.Held) != 1 || s.Held[0].Subject != bad.ID || s.Held[0].Attempts < 3 || s.Waiting != 11 {
			t.Errorf("state %+v", s)
		}
		time.Sleep(5 * time.Hour) // the last failure may come at two hours, and the pause after it be of two and a half
		tried, taken := w.receiver.all()
		var last int64
		n := 0
		for _, d := range taken {
			if d.license() != bad.ID {
				continue
			}
			if d.Data.Seq <= last {
				t.Errorf("%d after %d", d.Data.Seq, last)
			}
			last = d.Data.Seq
			n++
		}
		if n != 11 {
			t.Errorf("%d events of the licence that failed were delivered", n)
		}
		var pauses []time.Duration
		var at time.Time
		failed := tried[slices.IndexFunc(tried, func(d delivery) bool { return d.license() == bad.ID })].ID
		for _, d := range tried {
			if d.ID == failed {
				if !at.IsZero() {
					pauses = append(pauses, d.At.Sub(at))
				}
				at = d.At
			}
		}
		if len(pauses) < 5 || len(pauses) > 8 || !slices.IsSorted(pauses[:5]) || pauses[0] > 10*time.Second {
			t.Errorf("pauses %v", pauses)
		}
		if s := w.state("crm"); s.State != adminwire.WebhookOK || len(s.Held) != 0 || s.Waiting != 0 {
			t.Errorf("state %+v", s)
		}
	})
}

// While nothing is reached one event at a time is tried; nothing is lost when the
// endpoint is back, and it is not flooded with attempts before.
func TestEndpointDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(endpoint())
		w.receiver.status(http.StatusBadGateway)
		for range 300 {
			w.issue()
		}
		time.Sleep(12 * time.Hour)
		tried, _ := w.receiver.all()
		if len(tried) > 120 {
			t.Errorf("%d attempts in half a day", len(tried))
		}
		s := w.state("crm")
		if s.State != adminwire.WebhookDown || s.Waiting != 300 || len(s.Held) > 64 {
			t.Errorf("state %s, %d wait, %d held", s.State, s.Waiting, len(s.Held))
		}
		lines, err := r.Lines(t.Context())
		if err != nil || lines[0].Level != adminwire.LevelWarn || !strings.Contains(lines[0].Problems[0], "HTTP 502") {
			t.Errorf("%+v %v", lines, err)
		}
		w.receiver.status(http.StatusOK)
		time.Sleep(20 * time.Minute)
		got := map[int64]int{}
		_, taken := w.receiver.all()
		for _, d := range taken {
			got[d.Data.Seq]++
		}
		if len(got) != 300 || len(taken) != 300 {
			t.Errorf("%d of 300 were delivered in %d requests", len(got), len(taken))
		}
		if s := w.state("crm"); s.State != adminwire.WebhookOK || s.Waiting != 0 {
			t.Errorf("state %+v", s)
		}
	})
}

// After three days without a delivery the endpoint is disabled; enabled, it goes
// on from where it stopped.
func TestDownForDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.start(endpoint())
		w.receiver.status(http.StatusServiceUnavailable)
		for range 3 {
			w.issue()
		}
		time.Sleep(80 * time.Hour)
		w.receiver.forget()
		w.issue()
		time.Sleep(time.Hour)
		if tried, _ := w.receiver.all(); len(tried) != 0 {
			t.Errorf("%d attempts while disabled", len(tried))
		}
		s := w.state("crm")
		lines, err := r.Lines(t.Context())
		if err != nil || s.State != adminwire.WebhookDisabled || !strings.Contains(s.DisabledReason, "nothing could be delivered since") || lines[0].Level != adminwire.LevelFail {
			t.Fatalf("state %+v, %+v, %v", s, lines, err)
		}
		if !strings.Contains(w.log.String(), "a webhook is disabled") {
			t.Error("the log does not tell")
		}
		w.receiver.status(http.StatusOK)
		edited, err := r.EnableWebhook(t.Context(), admin, "crm")
		if err != nil || !edited.Changed {
			t.Fatal(edited, err)
		}
		synctest.Wait()
		if got := w.receiver.took(); len(got) != 4 {
			t.Errorf("delivered %v", got)
		}
		if w.audited(license.ActionWebhookDisable) != 1 || w.audited(license.ActionWebhookEnable) != 1 {
			t.Error("it is not in the audit log")
		}
	})
}

func (w *world) audited(action license.Action) int {
	w.t.Helper()
	events, _, err := w.a.Events(w.t.Context(), authority.EventFilter{Action: action}, authority.Page{})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(events)
}

// 410 Gone disables the endpoint at once.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(endpoint())
		w.receiver.status(http.StatusGone)
		w.issue()
		synctest.Wait()
		w.issue()
		time.Sleep(time.Hour)
		if tried, _ := w.receiver.all(); len(tried) != 1 {
			t.Errorf("%d attempts", len(tried))
		}
		if s := w.state("crm"); s.State != adminwire.WebhookDisabled || !strings.Contains(s.DisabledReason, "410") || s.Waiting != 2 {
			t.Errorf("state %+v", s)
		}
	})
}

// Retry-After is honoured, in either form.
func TestRetryAfter(t *testing.T) {
	for name, value := range map[string]func() string{
		"seconds": func() string { return "600" },
		"date":    func() string { return time.Now().Add(10 * time.Minute).UTC().Format(http.TimeFormat) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start(endpoint())
				first := true
				w.receiver.answers(func(rw http.ResponseWriter, _ *http.Request, _ delivery) int {
					if !first {
						return http.StatusOK
					}
					first = false
					rw.Header().Set("Retry-After", value())
					return http.StatusTooManyRequests
				})
				w.issue()
				synctest.Wait()
				w.issue() // of another licence: the receiver asked for fewer requests of any kind
				time.Sleep(9 * time.Minute)
				if tried, _ := w.receiver.all(); len(tried) != 1 {
					t.Errorf("%d attempts within the time", len(tried))
				}
				time.Sleep(2 * time.Minute)
				if got := w.receiver.took(); len(got) != 2 {
					t.Errorf("delivered %v", got)
				}
			})
		})
	}
}

// An event that a working endpoint refuses for days is given up, and told of; the
// licence's next one is delivered.
func TestGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start(endpoint())
		l, other := w.issue(), w.issue()
		synctest.Wait()
		w.receiver.forget()
		w.receiver.answers(func(_ http.ResponseWriter, _ *http.Request, d delivery) int {
			if d.Type == "license.suspended" && d.license() == l.ID {
				return http.StatusUnprocessableEntity
			}
			return http.StatusOK
		})
		w.change(l, license.EventSuspend)
		w.change(l, license.EventResume)
		for range 90 {
			w.change(other, license.EventRenew)
			time.Sleep(time.Hour)
		}
		_, taken := w.receiver.all()
		if i := slices.IndexFunc(taken, func(d delivery) bool { return d.Type == "license.resumed" }); i < 70 {
			t.Errorf("the next event was delivered as number %d", i)
		}
		s := w.state("crm")
		if s.GivenUp != 1 || len(s.LastGivenUp) != 1 || s.LastGivenUp[0].Subject != l.ID || !strings.Contains(s.LastGivenUp[0].Failure, "422") || len(s.Held) != 0 {
			t.Errorf("state %+v", s)
		}
		if w.audited(license.ActionWebhookGiveUp) != 1 || !strings.Contains(w.log.String(), "given up") {
			t.Error("nobody is told")
		}
	})
}

// Whatever the receiver does, the event is delivered once it takes it.
func TestFaultyReceiver(t *testing.T) {
	for name, c := range map[string]struct {
		fault func(w http.ResponseWriter, r *http.Request) int
		want  string
	}{
		"not found": {func(w http.ResponseWriter, _ *http.Request) int { return http.StatusNotFound }, "HTTP 404"},
		"html": {func(w http.ResponseWriter, _ *http.Request) int {
			w.WriteHeader(502)
			fmt.Fprint(w, "<html>\n<b>bad\x1b[31m gateway</b>")
			return 0
		}, "HTTP 502: <html> <b>bad [31m gateway</b>"},
		"redirect": {func(w http.ResponseWriter, _ *http.Request) int {
			w.Header().Set("Location", "http://elsewhere.example")
			return http.StatusFound
		}, "it redirects"},
		"hangs": {func(_ http.ResponseWriter, r *http.Request) int { <-r.Context().Done(); return 0 }, "no answer within 20s"},
		"slow": {func(w http.ResponseWriter, r *http.Request) int {
			time.Sleep(15 * time.Second)
			return http.StatusTeapot
		}, "HTTP 418"},
		"breaks off": {func(http.ResponseWriter, *http.Request) int { panic(http.ErrAbortHandler) }, "EOF"},
		"huge answer": {func(w http.ResponseWriter, _ *http.Request) int {
			w.WriteHeader(500)
			for range 10_000 {
				if _, err := fmt.Fprint(w, strings.Repeat("x", 1000)); err != nil {
					break
				}
			}
			return 0
		}, "HTTP 500: xxx"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start(endpoint())
				w.receiver.answers(func(rw http.ResponseWriter, rq *http.Request, _ delivery) int { return c.fault(rw, rq) })
				w.issue()
				time.Sleep(25 * time.Second)
				if s := w.state("crm"); len(s.Held) != 1 || !strings.Contains(s.Held[0].Failure, c.want) || len(s.Held[0].Failure) > 300 {
					t.Errorf("state %+v", s)
				}
				w.receiver.forget()
				w.receiver.status(http.StatusOK)
				time.Sleep(time.Minute)
				if got := w.receiver.took(); len(got) != 1 {
					t.Errorf("delivered %v", got)
				}
			})
		})
	}
}
