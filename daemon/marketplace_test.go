package daemon_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// entry is a merchant with a marketplace entry and a clock that can be set.
type entry struct{ *skewed }

func startEntry(t *testing.T, settings string) entry {
	t.Helper()
	yaml := config + "marketplaces: [{name: koogallery, access_key_files: [access-key, next-key], probe_time_zone: UTC" + settings + "}]\n"
	s := &skewed{merchant: start(t, yaml, map[string]string{
		"access-key": accessKey, "next-key": "another key", "ak": "an id", "sk": "a secret",
	})}
	// The middle of a morning, so that an hour more or less is the same half of a day.
	now := time.Now().UTC()
	s.set(time.Date(now.Year(), now.Month(), now.Day()+1, 6, 0, 0, 0, time.UTC).Sub(now))
	s.restart()
	return entry{s}
}

// pass lets time go by.
func (e entry) pass(d time.Duration) { e.off.Add(int64(d)) }

// send signs a message and returns the result code of its answer.
func (e entry) send(key, body string) string {
	e.t.Helper()
	q := koogallery.SignedQuery(koogallery.NewAccessKey(key), rand.Text(), e.now(), []byte(body))
	return e.post(q, body)
}

func (e entry) post(q url.Values, body string) string {
	e.t.Helper()
	_, text := e.do(http.MethodPost, "/marketplace/koogallery?"+q.Encode(), wire.TypeJSON, body)
	var answer struct {
		Code string `json:"resultCode"`
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		e.t.Fatalf("%v: %s", err, text)
	}
	return answer.Code
}

func (e entry) probe() {
	e.t.Helper()
	if code := e.send(accessKey, `{"activity":"releaseLicenseCode","license":"test","testFlag":"1"}`); code != "000000" {
		e.t.Fatalf("a probe is answered %s", code)
	}
}

func (e entry) health() (out adminwire.Marketplace) {
	e.t.Helper()
	if err := e.admin(http.MethodGet, strings.Replace(adminwire.PathMarketplace, "{channel}", "koogallery", 1), nil, &out); err != nil {
		e.t.Fatal(err)
	}
	return out
}

func codes(m adminwire.Marketplace) []string {
	out := []string{}
	for _, p := range m.Problems {
		out = append(out, p.Level+" "+p.Code)
	}
	return out
}

// Every call is counted by what it was about and how it was answered, also one
// that could not be read, and counts are kept when the daemon stops.
func TestCallbacksAreCounted(t *testing.T) {
	t.Parallel()
	e := startEntry(t, "")
	const freeze = `{"activity":"updateLicenseCodeStatus","license":"PL0001","status":"FREEZE"%s}`
	e.probe()
	e.send(accessKey, fmt.Sprintf(freeze, ""))
	e.send("another key", fmt.Sprintf(freeze, `,"testFlag":0`))
	e.send(accessKey, `{"activity":"updateLicenseCodeStatus","license":"PL0001","status":"MELT","testFlag":"1"}`)
	e.send(accessKey, `{"activity":"melt","testFlag":1}`)
	e.send("a stranger's key", fmt.Sprintf(freeze, ""))
	e.post(koogallery.SignedQuery(koogallery.NewAccessKey(accessKey), "n", e.now().Add(-2*time.Minute), nil), "")
	e.post(url.Values{}, "")
	body := fmt.Sprintf(freeze, "")
	twice := koogallery.SignedQuery(koogallery.NewAccessKey(accessKey), rand.Text(), e.now(), []byte(body))
	e.post(twice, body)
	e.post(twice, body)
	want := adminwire.Day{
		Day: e.now().UTC().Format("2006-01-02"), Probes: "refused",
		Morning: adminwire.Probes{OK: 1, Refused: 2, Result: "000002", Field: "activity"}, Messages: 3,
		Callbacks: []adminwire.Callbacks{
			{Activity: "releaseLicenseCode", Result: "000000", Test: true, Count: 1},
			{Activity: "updateLicenseCodeStatus", Result: "000000", Count: 3},
			{Activity: "updateLicenseCodeStatus", Result: "000002", Test: true, Count: 1},
			{Activity: "other", Result: "000002", Test: true, Count: 1},
		},
		Doubted: map[string]int{"signature": 1, "time": 1, "form": 1, "copy": 1},
	}
	check := func(when string) {
		t.Helper()
		h := e.health()
		if len(h.Days) != 1 {
			t.Fatalf("%s: %d days", when, len(h.Days))
		}
		if diff := cmp.Diff(want, h.Days[0]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", when, diff)
		}
	}
	check("at once")
	e.restart()
	check("after a restart")
	// A copy is one after a restart too, when only the store remembers the first.
	e.post(twice, body)
	want.Doubted["copy"] = 2
	check("a copy that the store remembers")
}

// What endangers the entry is said by every command that looks, and readiness
// depends on it only where that is configured.
func TestProbesStop(t *testing.T) {
	t.Parallel()
	for settings, wantReady := range map[string]int{"": http.StatusOK, ", ready_requires_probes: true": http.StatusServiceUnavailable} {
		e := startEntry(t, settings)
		if code, text := e.ready(); code != http.StatusOK {
			t.Errorf("never probed: HTTP %d %s", code, text)
		}
		if diff := cmp.Diff([]string{"note no_probes"}, codes(e.health())); diff != "" {
			t.Error(diff)
		}
		e.probe()
		e.pass(23 * time.Hour)
		if code, text := e.ready(); code != http.StatusOK || e.health().Level != adminwire.LevelOK {
			t.Errorf("23 h after a probe: HTTP %d %s, %v", code, text, codes(e.health()))
		}
		e.pass(3 * 24 * time.Hour)
		if diff := cmp.Diff([]string{"fail bad_days", "warn probes_missing"}, codes(e.health())); diff != "" {
			t.Errorf("days later (-want +got):\n%s", diff)
		}
		if code, text := e.ready(); code != wantReady || code != http.StatusOK && !strings.Contains(text, "koogallery") {
			t.Errorf("days later%s: HTTP %d %s", settings, code, text)
		}
		st := e.status()
		if len(st.Marketplaces) != 1 || st.Marketplaces[0].Level != adminwire.LevelFail || len(st.Marketplaces[0].Problems) != 2 ||
			st.Ready != (wantReady == http.StatusOK) || (st.NotReady == "") != st.Ready {
			t.Errorf("status: %+v, ready %v %s", st.Marketplaces, st.Ready, st.NotReady)
		}
		e.probe()
		if code, _ := e.ready(); code != http.StatusOK {
			t.Errorf("mended: HTTP %d", code)
		}
	}
}

// told is a log that passes on what it is told of one problem.
type told struct {
	slog.Handler
	word string
	got  chan string
}

func (h *told) Enabled(context.Context, slog.Level) bool { return true }

func (h *told) Handle(_ context.Context, r slog.Record) error {
	attrs := map[string]string{}
	r.Attrs(func(a slog.Attr) bool { attrs[a.Key] = a.Value.String(); return true })
	if attrs["problem"] == h.word {
		h.got <- r.Level.String() + " " + attrs["detail"]
	}
	return nil
}

// A daemon that starts tells its log at once what endangers an entry.
func TestAlertInTheLog(t *testing.T) {
	t.Parallel()
	e := startEntry(t, "")
	e.probe()
	e.pass(25 * time.Hour)
	e.down()
	o := e.options()
	log := &told{Handler: slog.DiscardHandler, word: "probes_missing", got: make(chan string, 10)}
	o.Now, o.Logger = e.now, slog.New(log)
	d, err := daemon.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	e.d = d
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case line := <-log.got:
		if !strings.HasPrefix(line, "WARN no probe has come since ") {
			t.Error(line)
		}
	case <-t.Context().Done():
	}
}

func (m *merchant) selfTest() (out adminwire.SelfTest) {
	m.t.Helper()
	if err := m.admin(http.MethodPost, strings.Replace(adminwire.PathSelfTest, "{channel}", "koogallery", 1), nil, &out); err != nil {
		m.t.Fatal(err)
	}
	return out
}

// The self-test goes through the public listener, and is not counted as probes.
func TestSelfTest(t *testing.T) {
	t.Parallel()
	e := startEntry(t, ", license_v1: true")
	got := e.selfTest()
	if !got.OK || len(got.Calls) != 8 || got.TLS != nil || got.Listener != e.d.Addr() || got.URL != "http://"+e.d.Addr()+"/marketplace/koogallery" {
		t.Errorf("%+v", got)
	}
	for _, c := range got.Calls {
		if c.Failure != "" || c.Result != "000000" || c.HTTPStatus != http.StatusOK {
			t.Errorf("%+v", c)
		}
	}
	if h := e.health(); h.LastProbe != nil || len(h.Days) != 0 {
		t.Errorf("it was counted: %+v", h)
	}
	// Nobody else can have calls left uncounted.
	body := `{"activity":"releaseLicenseCode","license":"test","testFlag":"1"}`
	q := koogallery.SignedQuery(koogallery.NewAccessKey(accessKey), rand.Text(), e.now(), []byte(body))
	e.do(http.MethodPost, "/marketplace/koogallery?"+q.Encode(), wire.TypeJSON, body, "Licensed-Self-Test", "guessed")
	if h := e.health(); h.LastProbe == nil {
		t.Error("a call with a mark of its own was not counted")
	}
	var events adminwire.EventList
	if err := e.admin(http.MethodGet, adminwire.PathEvents, nil, &events); err != nil || len(events.Events) != 0 {
		t.Errorf("it left %+v (%v)", events.Events, err)
	}
	if err := e.admin(http.MethodPost, strings.Replace(adminwire.PathSelfTest, "{channel}", "nobody", 1), nil, nil); err == nil || err.Reason != license.NotFound {
		t.Errorf("an entry that there is not: %v", err)
	}
}

// A certificate that the marketplace would refuse is found.
func TestSelfTestOverTLS(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, 1)
	yaml := strings.Replace(config, `public: {listen: "127.0.0.1:0"}`,
		`public: {listen: "127.0.0.1:0", tls: {cert_file: cert.pem, key_file: key.pem}}`, 1)
	yaml += "marketplaces: [{name: koogallery, access_key_files: [access-key]}]\n"
	m := start(t, yaml, map[string]string{"cert.pem": cert, "key.pem": key, "access-key": accessKey})
	got := m.selfTest()
	if got.OK || len(got.Calls) != 1 || got.URL != "https://licence.test/marketplace/koogallery" || !strings.Contains(got.Calls[0].Failure, "the certificate is not for licence.test") {
		t.Errorf("%+v", got)
	}
}

// Behind the open API every activity of online provisioning is tested too.
func TestSelfTestOfProvisioning(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	if got := m.selfTest(); !got.OK || len(got.Calls) != 10 {
		t.Errorf("%+v", got)
	}
}

func (m *market) sync(run string) (out adminwire.Synced, err *license.Error) {
	m.t.Helper()
	err = m.admin(http.MethodPost, strings.Replace(adminwire.PathSync, "{channel}", "koogallery", 1), adminwire.Sync{Run: run}, &out)
	return out, err
}

// A comparison by hand repairs what lost messages have left, and says what.
func TestSyncByHand(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	order, err := m.s.Buy(t.Context(), "OFFI1", 1, 365*24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, reason := m.activate(order.Code, "m"); reason != "" {
		t.Fatal(reason)
	}
	if err := m.s.SetCallback(sandbox.Callback{URL: "http://127.0.0.1:1/"}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.s.Renew(order.Code, 365*24*time.Hour); err != nil {
		t.Fatal(err)
	}
	before := m.show(order.Code)
	got, refused := m.sync("")
	if refused != nil || !got.Done || got.Total.Checked != 1 || got.Total.Repaired != 1 || got.Total.EndedAt == nil || len(got.Step) != 1 {
		t.Fatalf("%+v, %v", got, refused)
	}
	end := m.s.Codes()[0].ExpiresAt.UTC().Format(time.RFC3339)
	d := got.Step[0]
	if d.License != before.ID || d.Outcome != "repaired" || d.Before["expires_at"] != before.ExpiresAt.Format(time.RFC3339) || d.After["expires_at"] != end {
		t.Errorf("%+v, want %s", d, end)
	}
	if l := m.show(order.Code); l.ExpiresAt.Format(time.RFC3339) != end {
		t.Errorf("%+v", l)
	}
	if again, refused := m.sync(got.Run); refused != nil || !again.Done || again.Total.Repaired != 1 || len(again.Step) != 0 {
		t.Errorf("the same again: %+v, %v", again, refused)
	}
	var h adminwire.Marketplace
	if err := m.admin(http.MethodGet, adminwire.PathMarketplaces+"/koogallery", nil, &h); err != nil || h.Compared == nil || h.Compared.Checked != 1 {
		t.Errorf("%v: %+v", err, h.Compared)
	}
	if _, refused := m.sync("sync_nothing"); refused == nil || refused.Reason != license.Conflict {
		t.Errorf("a run that there is not: %v", refused)
	}
	if err := m.s.SetOutage(sandbox.OutageHTML); err != nil {
		t.Fatal(err)
	}
	if _, refused := m.sync(""); refused == nil || refused.Reason != license.MarketplaceUnavailable {
		t.Errorf("during an outage: %v", refused)
	}
}

// The outbox is listed, put back and dropped by call; what is wrong with a call
// is said and changes nothing.
func TestOutboxCalls(t *testing.T) {
	t.Parallel()
	// Nobody answers there, so what is to be done waits.
	api := `, open_api: {base_urls: ["https://127.0.0.1:1"], access_key_id_file: ak, secret_access_key_file: sk}`
	m := startEntry(t, api)
	if code := m.send(accessKey, `{"activity":"orderNotify","orderId":"CS1","orderLineId":"CS1-1"}`); code != "000000" {
		t.Fatal(code)
	}
	list := func(query string) (out adminwire.JobList) {
		t.Helper()
		if err := m.admin(http.MethodGet, adminwire.PathJobs+query, nil, &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	all := list("")
	if len(all.Jobs) != 1 || all.Jobs[0].Kind != license.JobOrder || all.Jobs[0].State != license.JobWaiting || all.Jobs[0].Channel != "koogallery" ||
		all.Jobs[0].DueAt == nil {
		t.Fatalf("%+v", all)
	}
	if n := len(list("?state=parked").Jobs) + len(list("?kind=deliver").Jobs) + len(list("?channel=x").Jobs) + len(list("?license=x").Jobs); n != 0 {
		t.Errorf("%d jobs are selected by what they are not", n)
	}
	id := all.Jobs[0].ID
	var done adminwire.RetriedJobs
	if err := m.admin(http.MethodPost, adminwire.PathRetryJobs, adminwire.RetryJobs{Jobs: []string{id}}, &done); err != nil || done.Retried != 1 || done.Jobs[0].ID != id {
		t.Errorf("%v, %+v", err, done)
	}
	if err := m.admin(http.MethodPost, adminwire.PathRetryJobs, adminwire.RetryJobs{AllParked: true}, &done); err != nil || done.Retried != 0 {
		t.Errorf("nothing was parked: %v, %+v", err, done)
	}
	for name, c := range map[string]struct {
		method, path string
		in           any
		want         license.Reason
	}{
		"neither":         {"POST", adminwire.PathRetryJobs, adminwire.RetryJobs{}, license.BadRequest},
		"both":            {"POST", adminwire.PathRetryJobs, adminwire.RetryJobs{Jobs: []string{id}, AllParked: true}, license.BadRequest},
		"channel of one":  {"POST", adminwire.PathRetryJobs, adminwire.RetryJobs{Jobs: []string{id}, Channel: "koogallery"}, license.BadRequest},
		"no such channel": {"POST", adminwire.PathRetryJobs, adminwire.RetryJobs{AllParked: true, Channel: "x"}, license.NotFound},
		"too many":        {"POST", adminwire.PathRetryJobs, adminwire.RetryJobs{Jobs: make([]string, 101)}, license.BadRequest},
		"no such job":     {"POST", adminwire.PathRetryJobs, adminwire.RetryJobs{Jobs: []string{"job_x"}}, license.NotFound},
		"drop nothing":    {"POST", adminwire.PathJobs + "/job_x/drop", nil, license.NotFound},
		"no job's id":     {"POST", adminwire.PathJobs + "/%01/drop", nil, license.NotFound},
		"state":           {"GET", adminwire.PathJobs + "?state=late", nil, license.BadRequest},
		"kind":            {"GET", adminwire.PathJobs + "?kind=late", nil, license.BadRequest},
		"cursor":          {"GET", adminwire.PathJobs + "?cursor=late", nil, license.BadRequest},
		"entry":           {"GET", adminwire.PathMarketplaces + "/nobody", nil, license.NotFound},
	} {
		if err := m.admin(c.method, c.path, c.in, nil); err == nil || err.Reason != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	var dropped adminwire.Job
	if err := m.admin(http.MethodPost, strings.Replace(adminwire.PathDropJob, "{job}", id, 1), nil, &dropped); err != nil || dropped.ID != id {
		t.Errorf("%v, %+v", err, dropped)
	}
	if left := list(""); len(left.Jobs) != 0 {
		t.Errorf("left: %+v", left)
	}
	for action, want := range map[license.Action]int{license.ActionJobRetry: 1, license.ActionJobDrop: 1} {
		var events adminwire.EventList
		if err := m.admin(http.MethodGet, adminwire.PathEvents+"?action="+string(action), nil, &events); err != nil || len(events.Events) != want {
			t.Errorf("%s: %d events (%v)", action, len(events.Events), err)
		}
	}
}
