package daemon_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// onPostgres is a configuration whose store is the database at url.
func onPostgres(yaml, url string) string {
	return yaml + "\nstore: \"" + url + "\"\ndatabase: {max_connections: 8}\n"
}

// One line of the configuration has a daemon run on PostgreSQL, where all of it is still
// there after a restart.
func TestOnPostgres(t *testing.T) {
	t.Parallel()
	m := start(t, onPostgres(config, pgtest.URL(t)), nil)
	l := m.issue()
	raw := activation(t, l.Code, "m")
	rs, first := m.do(http.MethodPost, wire.PathRequests, wire.TypePEM, string(token.MarshalRequestFile(raw)), "Accept", wire.TypePEM)
	if rs.StatusCode != http.StatusOK {
		t.Fatalf("HTTP %d: %s", rs.StatusCode, first)
	}
	m.down()
	m.up()
	if rs, again := m.do(http.MethodPost, wire.PathRequests, wire.TypePEM, string(token.MarshalRequestFile(raw)), "Accept", wire.TypePEM); rs.StatusCode != http.StatusOK || again != first {
		t.Errorf("after a restart: HTTP %d: %s", rs.StatusCode, again)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "licensed-data", "licensed.db")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a store was made in the data folder: %v", err)
	}
}

// A daemon that is started before its database waits for it. What another try
// does not mend it says at once.
func TestStartBeforeDatabase(t *testing.T) {
	t.Parallel()
	c := pgtest.New(t)
	url := c.Schema(t)
	m := start(t, onPostgres(config, url), nil)
	l := m.issue()
	m.down()
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	given, giveUp := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	giveUp(enough)
	if _, err := daemon.New(given, m.options()); !errors.Is(err, enough) {
		t.Errorf("one that is told to end: %v", err)
	}
	waits := make(chan struct{})
	var once sync.Once
	o := m.options()
	o.Logger = slog.New(onMessage{"the database cannot be used yet; it is tried again, for a minute after the start", func() { once.Do(func() { close(waits) }) }})
	var d *daemon.Daemon
	came := make(chan error, 1)
	go func() {
		var err error
		d, err = daemon.New(t.Context(), o)
		came <- err
	}()
	select {
	case err := <-came:
		t.Fatalf("it did not wait: %v", err)
	case <-waits:
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-came; err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	m.d = d
	if rs, text := m.do(http.MethodPost, wire.PathRequests, wire.TypePEM, string(token.MarshalRequestFile(activation(t, l.Code, "m")))); rs.StatusCode != http.StatusOK {
		t.Errorf("HTTP %d: %s", rs.StatusCode, text)
	}

	o = m.options()
	o.Set = map[string]string{"store": strings.Replace(url, "/postgres?", "/nothing?", 1)}
	var config *daemon.ConfigError
	if _, err := daemon.New(t.Context(), o); err == nil || !strings.Contains(err.Error(), "refuses the connection") || errors.As(err, &config) {
		t.Errorf("a database that there is not: %v", err)
	}
}

// While its database is gone the daemon says so to everybody in a way that is
// tried again, and goes on by itself when it is back.
func TestDatabaseGone(t *testing.T) {
	t.Parallel()
	c := pgtest.New(t)
	m := start(t, onPostgres(config+"marketplaces: [{name: koogallery, access_key_files: [access-key]}]\n", c.Schema(t)), map[string]string{"access-key": accessKey})
	l := m.issue()
	ready := func() int {
		rq, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.d.OpsAddr()+"/readyz", nil)
		m.ok(err)
		rs, _ := m.send(m.c, rq)
		return rs.StatusCode
	}
	body := `{"activity":"updateLicenseCodeStatus","license":"PL0001","status":"FREEZE","testFlag":"0"}`
	callback := func() string {
		q := koogallery.SignedQuery(koogallery.NewAccessKey(strings.TrimSpace(accessKey)), rand.Text(), time.Now(), []byte(body))
		_, text := m.do(http.MethodPost, "/marketplace/koogallery?"+q.Encode(), "application/json", body)
		return decode[map[string]string](t, text)["resultCode"]
	}
	if code := ready(); code != http.StatusOK {
		t.Errorf("before: readyz is %d", code)
	}
	m.ok(c.Stop())
	raw := string(token.MarshalRequestFile(activation(t, l.Code, "m")))
	rs, text := m.do(http.MethodPost, wire.PathRequests, wire.TypePEM, raw)
	if p := problem(t, rs, text); p.Status != http.StatusServiceUnavailable || p.Reason != license.ReadOnly || rs.Header.Get("Retry-After") == "" {
		t.Errorf("an activation: %v %s", rs.Header, text)
	}
	if code := callback(); code != "000005" {
		t.Errorf("a callback: %s", code)
	}
	rs, text = m.call(http.MethodPost, adminwire.PathLicenses, []byte(`{"product":"cad","for":"365d"}`)...)
	if p := problem(t, rs, text); p.Reason != license.ReadOnly || rs.Header.Get("Retry-After") == "" {
		t.Errorf("staff: %v %s", rs.Header, text)
	}
	var s adminwire.Status
	if err := m.admin(http.MethodGet, adminwire.PathStatus, nil, &s); err != nil || s.Ready || len(s.StoreFindings) != 1 || s.StoreFindings[0].Level != "fail" {
		t.Errorf("status: %v, ready %v, %+v", err, s.Ready, s.StoreFindings)
	}
	if code := ready(); code != http.StatusServiceUnavailable {
		t.Errorf("readyz is %d", code)
	}
	m.ok(c.Start())
	if rs, text := m.do(http.MethodPost, wire.PathRequests, wire.TypePEM, raw); rs.StatusCode != http.StatusOK {
		t.Errorf("the same request, when it is back: HTTP %d: %s", rs.StatusCode, text)
	}
	if code := ready(); code != http.StatusOK {
		t.Errorf("readyz is %d when it is back", code)
	}
}
