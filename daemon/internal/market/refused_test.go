package market_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/market"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// The log says which field of a probe, and of a real call, was wrong that the
// marketplace has signed, while a stranger knocks once a minute; and no value.
func TestLogOfRefusedCalls(t *testing.T) {
	t.Parallel()
	w := watch(t)
	var log bytes.Buffer
	h := market.Callbacks(market.Options{
		Name: "koogallery", Authority: w.a, Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return w.now }, Desk: true, AccessKeys: []string{"k"},
	})
	send := func(query, body string) {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/marketplace/koogallery?"+query, strings.NewReader(body)))
	}
	signed := func(body string) {
		send(koogallery.SignedQuery(koogallery.NewAccessKey("k"), rand.Text(), w.now, []byte(body)).Encode(), body)
	}
	for range 10 {
		send("", "{}") // a stranger
		for range 5 {
			signed(`{"activity":"newInstance","orderId":"CS-SECRET","businessId":"b","testFlag":"1"}`)
			signed(`{"activity":"newInstance","orderId":"CS-SECRET","businessId":"b","testFlag":"0"}`)
			signed(`{"activity":"made up","orderId":"CS-SECRET"}`)
		}
		w.now = w.now.Add(time.Minute)
	}
	text := log.String()
	for what, want := range map[string]int{
		"level=WARN msg=\"callback refused\" marketplace=koogallery activity=newInstance result=000002": 20,
		"field=orderLineId test=true since_last=":                                                       10,
		"field=orderLineId since_last=":                                                                 10,
		"level=WARN msg=\"callback refused\" marketplace=koogallery activity=other result=000002":       10,
		"level=WARN msg=\"callbacks are refused\"":                                                      10,
		"since_last=5": 27,
		"CS-SECRET":    0,
		"made up":      0,
	} {
		if got := strings.Count(text, what); got != want {
			t.Errorf("%q %d times, want %d", what, got, want)
		}
	}
	health, err := w.a.Health(t.Context(), "koogallery", false)
	if err != nil {
		t.Fatal(err)
	}
	told := ""
	for _, p := range health.Problems {
		told += p.Detail + "\n"
	}
	if !strings.Contains(told, "newInstance with 000002: orderLineId") || len(health.Failing) != 2 || health.Failing[0].Name != "CS-SECRET" {
		t.Errorf("%s%+v", told, health.Failing)
	}
}

// A message that failed is counted as what it names, until it succeeds.
func TestMessagesAreFollowed(t *testing.T) {
	t.Parallel()
	w := watch(t)
	h := market.Callbacks(market.Options{
		Name: "koogallery", Authority: w.a, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return w.now }, Desk: true, AccessKeys: []string{"k"},
	})
	send := func(body string) {
		q := koogallery.SignedQuery(koogallery.NewAccessKey("k"), rand.Text(), w.now, []byte(body)).Encode()
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/marketplace/koogallery?"+q, strings.NewReader(body)))
	}
	failing := func() (out []string) {
		t.Helper()
		health, err := w.a.Health(t.Context(), "koogallery", false)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range health.Failing {
			out = append(out, f.Activity+" "+f.Kind+" "+f.Name)
		}
		return out
	}
	send(`{"activity":"updateLicenseCodeStatus","license":"PL0000000001","status":"MELT"}`)
	send(`{"activity":"updateInstanceStatus","instanceId":"i-1","status":"MELT"}`)
	if got := strings.Join(failing(), ", "); got != "updateLicenseCodeStatus code …0001, updateInstanceStatus instance i-1" {
		t.Errorf("failing: %s", got)
	}
	w.now = w.now.Add(time.Minute)
	send(`{"activity":"updateLicenseCodeStatus","license":"PL0000000001","status":"FREEZE"}`)
	if got := strings.Join(failing(), ", "); got != "updateInstanceStatus instance i-1" {
		t.Errorf("after a success: %s", got)
	}
}

// The log is told of orders that wait, once an hour like of anything else.
func TestWatchOrders(t *testing.T) {
	t.Parallel()
	w := watch(t)
	order := license.Order{Channel: "koogallery", ID: "CS1", Line: "CS1-1", Stage: license.StageToDeliver, StageAt: w.now, SeenAt: w.now}
	create := func() {
		t.Helper()
		err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return tx.CreateOrder(ctx, order) })
		if err != nil {
			t.Fatal(err)
		}
	}
	create()
	w.demand(w.look(0))
	w.demand(w.look(6*24*time.Hour), "WARN orders_to_deliver")
	w.demand(w.look(59 * time.Minute))
	order.ID, order.Rejections = "CS2", 3
	create()
	w.demand(w.look(time.Minute), "WARN orders_to_deliver", "WARN orders_rejected")
	order.ID, order.Stage = "CS3", license.StageDelivered
	order.StageAt = w.now.Add(-7 * 24 * time.Hour)
	create()
	for range 59 {
		w.demand(w.look(time.Minute)) // they are read once an hour
	}
	if got := w.look(time.Minute); len(got) != 3 || !strings.Contains(strings.Join(got, ""), "orders_no_answer") {
		t.Errorf("%v", got)
	}
}

// alike is a marketplace that answers everything alike.
type alike string

func (a alike) RoundTrip(rq *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(string(a))), Request: rq,
	}, nil
}

// Codes that failed the marketplace's check, listed in a form that cannot be read,
// do not pass as a success.
func TestUnreadRefusals(t *testing.T) {
	t.Parallel()
	const head = `{"error_code":"92020000","error_msg":"success","data":`
	for body, want := range map[string]authority.UseResult{
		head + `{"check_fail_list":["PL***"]}}`:                   {Unread: true},
		head + `{"check_fail_list":[{"licence_no":"PL000001"}]}}`: {Unread: true},
		head + `{"check_fail_count":1}}`:                          {Unread: true},
		head + `{"check_fail_list":[]}}`:                          {},
		head + `{}}`:                                              {},
	} {
		up, err := market.NewUpstream(market.UpstreamOptions{
			AccessKeyID: "ak", SecretAccessKey: "sk", BaseURLs: []string{"https://mkt.example.com"}, Transport: alike(body),
		})
		if err != nil {
			t.Fatal(err)
		}
		c, err := license.ParseCode("PL000001")
		if err != nil {
			t.Fatal(err)
		}
		got, err := up.ReportUse(t.Context(), []authority.Use{{Code: c, Active: 1}})
		if err != nil || got.Unread != want.Unread || len(got.Refused) != 0 {
			t.Errorf("%s: %+v, %v", body, got, err)
		}
	}
}
