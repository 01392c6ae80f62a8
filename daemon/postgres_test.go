package daemon_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/pgtest"
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
