package daemon_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// skewed is a merchant whose clock can be set.
type skewed struct {
	*merchant
	off atomic.Int64
	log logLines
}

// logLines keeps what is logged.
type logLines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// count is how many lines hold all the words.
func (l *logLines) count(words ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		has := true
		for _, w := range words {
			has = has && strings.Contains(line, w)
		}
		if has {
			n++
		}
	}
	return n
}

func startSkewed(t *testing.T) *skewed {
	t.Helper()
	yaml := config + "time_zone: Asia/Shanghai\nmarketplaces: [{name: koogallery, access_key_files: [access-key]}]\n"
	s := &skewed{merchant: start(t, yaml, map[string]string{"access-key": accessKey})}
	s.restart()
	return s
}

const accessKey = "the key of the callbacks"

func (s *skewed) now() time.Time { return time.Now().Add(time.Duration(s.off.Load())) }

func (s *skewed) set(off time.Duration) { s.off.Store(int64(off)) }

// restart starts the daemon anew on the clock that can be set.
func (s *skewed) restart() {
	s.t.Helper()
	s.down()
	o := s.options()
	o.Now, o.Logger = s.now, slog.New(slog.NewTextHandler(&s.log, nil))
	d, err := daemon.New(s.t.Context(), o)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.d = d
}

func (s *skewed) status() (out adminwire.Status) {
	s.t.Helper()
	if err := s.admin(http.MethodGet, adminwire.PathStatus, nil, &out); err != nil {
		s.t.Fatal(err)
	}
	return out
}

// ready is what /readyz answers.
func (s *skewed) ready() (int, string) {
	s.t.Helper()
	rq, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, "http://"+s.d.OpsAddr()+"/readyz", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	rs, body := s.send(s.c, rq)
	return rs.StatusCode, strings.TrimSpace(body)
}

// freeze sends a message of the marketplace about a code, dated by the clock
// that the daemon has.
func (s *skewed) freeze(code string) string {
	s.t.Helper()
	body := `{"activity":"updateLicenseCodeStatus","license":"` + code + `","status":"FREEZE"}`
	query := koogallery.SignedQuery(koogallery.NewAccessKey(accessKey), rand.Text(), s.now(), []byte(body))
	rs, text := s.do(http.MethodPost, "/marketplace/koogallery?"+query.Encode(), wire.TypeJSON, body)
	if rs.StatusCode != http.StatusOK {
		s.t.Fatalf("HTTP %d: %s", rs.StatusCode, text)
	}
	return text
}

func (s *skewed) ask(raw string) (*http.Response, string) {
	s.t.Helper()
	return s.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, `{"request":"`+raw+`"}`)
}

// Under a clock that is not trusted the daemon signs nothing and says so, goes
// on with what needs no date, and is itself again once an administrator has
// confirmed the clock.
func TestClockIsNotTrusted(t *testing.T) {
	t.Parallel()
	s := startSkewed(t)
	if st := s.status(); !st.Ready || st.Clock.State != adminwire.Trusted || st.Clock.LastRecord == nil || st.TimeZone != "Asia/Shanghai" ||
		st.Disk == nil || st.Disk.Free == 0 || !strings.HasSuffix(st.DataDir, "licensed-data") || st.Keys.Standbys != 1 || !st.Keys.CurrentUntil.After(st.Now) {
		t.Errorf("%+v", st)
	}
	l := s.issue()
	raw := activation(t, l.Code, "m")
	if rs, body := s.ask(raw); rs.StatusCode != http.StatusOK {
		t.Fatal(body)
	}
	_, keys := s.do(http.MethodGet, wire.PathKeys, "", "")

	const off = 40 * 24 * time.Hour
	s.set(off)
	for range 2 {
		rs, body := s.ask(raw)
		if p := problem(t, rs, body); p.Reason != license.Clock || rs.StatusCode != http.StatusServiceUnavailable || rs.Header.Get("Retry-After") != "600" ||
			strings.Contains(body, "doctor") {
			t.Errorf("HTTP %d, Retry-After %q: %s", rs.StatusCode, rs.Header.Get("Retry-After"), body)
		}
		if status, text := s.ready(); status != http.StatusServiceUnavailable || text != "the clock is not trusted" {
			t.Errorf("ready: HTTP %d %s", status, text)
		}
	}
	err := s.admin(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: "cad", For: "365d"}, nil)
	if err == nil || err.Reason != license.Clock || !strings.Contains(err.Detail, "past its last record") || !strings.Contains(err.Detail, "doctor --accept-clock") {
		t.Errorf("issue: %v", err)
	}
	for _, path := range []string{adminwire.PathRotate, adminwire.PathProposal, strings.Replace(adminwire.PathSuspend, "{id}", l.ID, 1)} {
		if err := s.admin(http.MethodPost, path, nil, nil); err == nil || err.Reason != license.Clock {
			t.Errorf("%s: %v", path, err)
		}
	}
	if rs, body := s.do(http.MethodGet, wire.PathKeys, "", ""); rs.StatusCode != http.StatusOK || body != keys {
		t.Errorf("the key set: HTTP %d", rs.StatusCode)
	}
	if text := s.freeze("PL0001"); !strings.Contains(text, string(koogallery.ResultOK)) {
		t.Errorf("a message: %s", text)
	}
	var shown adminwire.License
	if err := s.admin(http.MethodPost, adminwire.PathLookup, adminwire.Lookup{Ref: l.ID}, &shown); err != nil || len(shown.Installs) != 1 {
		t.Errorf("%v: %+v", err, shown)
	}
	st := s.status()
	if st.Ready || st.Clock.State != "ahead" || !strings.Contains(st.NotReady, "past its last record") || st.Clock.Now.Sub(*st.Clock.LastRecord) < off-time.Hour {
		t.Errorf("%+v", st)
	}
	if n := s.log.count("THE CLOCK IS NOT TRUSTED"); n != 1 {
		t.Errorf("the log says so %d times", n)
	}

	accept := func(at time.Time) (out adminwire.ClockAccepted, err *license.Error) {
		t.Helper()
		err = s.admin(http.MethodPost, adminwire.PathClock, adminwire.AcceptClock{Shown: at}, &out)
		return out, err
	}
	for _, at := range []time.Time{{}, st.Clock.Now.Add(-off)} {
		if _, err := accept(at); err == nil || err.Reason != license.Conflict {
			t.Errorf("another time was confirmed: %v", err)
		}
	}
	if err := s.admin(http.MethodPost, adminwire.PathClock, json.RawMessage(`{}`), nil); err == nil || err.Reason != license.BadRequest {
		t.Errorf("no time was confirmed: %v", err)
	}
	done, err := accept(st.Clock.Now)
	if err != nil || !done.Changed || done.Before.State != "ahead" || done.After.State != adminwire.Trusted || done.After.LastRecord.Before(st.Clock.Now) {
		t.Fatalf("%+v: %v", done, err)
	}
	if again, err := accept(s.now()); err != nil || again.Changed {
		t.Errorf("a second time: %+v, %v", again, err)
	}
	if rs, body := s.ask(raw); rs.StatusCode != http.StatusOK {
		t.Error(body)
	}
	if status, text := s.ready(); status != http.StatusOK {
		t.Errorf("ready: HTTP %d %s", status, text)
	}
	if n := s.log.count("the clock is trusted again"); n != 1 {
		t.Errorf("the log says so %d times", n)
	}
	var events adminwire.EventList
	if err := s.admin(http.MethodGet, adminwire.PathEvents+"?action=clock.accept", nil, &events); err != nil || len(events.Events) != 1 {
		t.Fatalf("%v: %+v", err, events)
	}
	e := events.Events[0]
	if e.Actor.Kind != license.ActorAdmin || e.Before["clock"] != "ahead" || e.After["clock"] != "trusted" ||
		e.Before["last_record"] != done.Before.LastRecord.Format(time.RFC3339) || e.After["last_record"] != done.After.LastRecord.Format(time.RFC3339) {
		t.Errorf("%+v", e)
	}
}

// The last record outlasts a stop: a daemon that starts with a clock before it
// says so at once, and recovers by itself when the clock is set right.
func TestClockAtTheStart(t *testing.T) {
	t.Parallel()
	s := startSkewed(t)
	s.set(24 * time.Hour)
	s.restart()
	l := s.issue()
	if n := s.log.count("THE CLOCK"); n != 0 {
		t.Fatalf("the log says %d times that the clock is not trusted", n)
	}
	s.down() // what stops looks at the clock too
	s.set(0)
	s.restart()
	if n := s.log.count("THE CLOCK IS NOT TRUSTED", "state=behind"); n != 1 {
		t.Errorf("the log says so %d times", n)
	}
	rs, body := s.ask(activation(t, l.Code, "m"))
	if p := problem(t, rs, body); p.Reason != license.Clock {
		t.Error(body)
	}
	s.set(24 * time.Hour)
	if rs, body := s.ask(activation(t, l.Code, "m")); rs.StatusCode != http.StatusOK {
		t.Error(body)
	}
}

// A daemon that is stopped before it has started leaves nothing running.
func TestStopWithoutStart(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	m.down()
	d, err := daemon.New(t.Context(), m.options())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
