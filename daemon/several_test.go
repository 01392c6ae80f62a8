package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// identity makes the file that opens the keys of several daemons.
func identity(t *testing.T) map[string]string {
	t.Helper()
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"identity": id.String() + "\n"}
}

// beside makes a daemon on the store of another one, which is not started, with a
// folder of its own.
func beside(t *testing.T, yaml string, files map[string]string) *merchant {
	t.Helper()
	dir, err := os.MkdirTemp("", "ld") //nolint:usetesting // a socket's path is short, a test's folder is not
	if err != nil {
		t.Fatal(err)
	}
	m := &merchant{t: t, dir: dir, c: &http.Client{}}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for name, content := range withDefault(files, "licensed.yaml", yaml) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *merchant) begin() {
	m.t.Helper()
	m.up()
	m.t.Cleanup(func() { m.down(); m.c.CloseIdleConnections() })
}

// Two daemons have their first start on an empty store at the same time. One makes
// keys. The other takes them, where the store keeps them, or is refused.
func TestFirstStartOfTwo(t *testing.T) {
	t.Parallel()
	for _, share := range []string{"folder", "store"} {
		t.Run(share, func(t *testing.T) {
			t.Parallel()
			yaml := onPostgres(config, pgtest.URL(t)) + "keys: {share: " + share + ", identity_file: identity}\n"
			files := identity(t)
			both := []*merchant{beside(t, yaml, files), beside(t, yaml, files)}
			ds, errs := make([]*daemon.Daemon, 2), make([]error, 2)
			var done sync.WaitGroup
			for n, m := range both {
				done.Go(func() { ds[n], errs[n] = daemon.New(t.Context(), m.options()) })
			}
			done.Wait()
			for n, d := range ds {
				if errs[n] == nil {
					if err := d.Stop(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
			if share == "store" {
				if errs[0] != nil || errs[1] != nil {
					t.Fatalf("%v; %v", errs[0], errs[1])
				}
				both[0].begin()
				both[1].begin()
				if both[0].keySet().Raw != both[1].keySet().Raw {
					t.Error("they have different keys")
				}
				l := both[0].issue()
				if rs, body := both[1].do(http.MethodPost, wire.PathRequests, wire.TypeJSON, `{"request":"`+activation(t, l.Code, "m")+`"}`); rs.StatusCode != http.StatusOK {
					t.Errorf("HTTP %d: %s", rs.StatusCode, body)
				}
				return
			}
			refused := 0
			for n, err := range errs {
				if err == nil {
					both[n].begin()
					continue
				}
				refused++
				if text := err.Error(); !strings.Contains(text, "keys folder") || strings.Contains(text, "postgres") {
					t.Error(text)
				}
				if _, err := os.Stat(filepath.Join(both[n].dir, "licensed-data/keys")); !os.IsNotExist(err) {
					t.Errorf("keys that were never in use are left: %v", err)
				}
			}
			if refused != 1 {
				t.Errorf("%d of two were refused", refused)
			}
		})
	}
}

// Keys that only lie beside another identity are not opened, and the daemon says which
// file it lacks.
func TestKeysOfTheStoreNeedTheIdentity(t *testing.T) {
	t.Parallel()
	yaml := onPostgres(config, pgtest.URL(t)) + "keys: {share: store}\n"
	m := beside(t, yaml, nil)
	m.begin()
	other := beside(t, yaml, nil)
	if _, err := daemon.New(t.Context(), other.options()); err == nil || !strings.Contains(err.Error(), "identity") {
		t.Fatalf("without an identity: %v", err)
	}
	identity, err := os.ReadFile(filepath.Join(m.dir, "licensed-data/keys/identity"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(other.dir, "licensed-data/keys/identity"), identity, 0o600); err != nil {
		t.Fatal(err)
	}
	other.begin()
	if other.keySet().Raw != m.keySet().Raw {
		t.Error("they have different keys")
	}
	// A rotation by the one is followed by the other, which is the only one to be asked.
	var rotated adminwire.Rotated
	m.ok(asError(m.admin(http.MethodPost, adminwire.PathRotate, nil, &rotated)))
	other.down()
	other.up()
	var st adminwire.Status
	other.get(adminwire.PathStatus, &st)
	if st.Keys.Current != rotated.Current || !st.Ready {
		t.Errorf("it signs with %s, not %s; ready: %t %s", st.Keys.Current, rotated.Current, st.Ready, st.NotReady)
	}
}

// rewind keeps all rows of a schema, and returns what puts them back while daemons run
// on it, as when a standby takes over that lacked the last changes.
func rewind(t *testing.T, url string) (back func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	do := func(each string) {
		t.Helper()
		sql := `DO $$ DECLARE n text; BEGIN FOR n IN SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename NOT LIKE 'kept\_%' LOOP ` +
			each + ` END LOOP; END $$`
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	do(`EXECUTE format('CREATE TABLE %I AS TABLE %I', 'kept_' || n, n);`)
	return func() {
		t.Helper()
		do(`EXECUTE format('DELETE FROM %I', n); EXECUTE format('INSERT INTO %I SELECT * FROM %I', n, 'kept_' || n);`)
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A store loses its last changes under two daemons. The one that saw them finds it out
// and ends, and at its next start opens reconcile mode; the other one, which did not,
// hears of it there.
func TestStoreLosesChangesInUse(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	yaml := onPostgres(config, url) + "keys: {share: store, identity_file: identity}\n"
	files := identity(t)
	m, other := beside(t, yaml, files), beside(t, yaml, files)
	m.begin()
	l := m.issue()
	m.d.SaveMarks(t.Context())
	back := rewind(t, url)
	m.post(adminwire.PathRevoke, l.ID, adminwire.Revoke{Reason: "refund"})
	m.d.SaveMarks(t.Context())
	back()
	other.begin() // knows of nothing that is missing
	var st adminwire.Status
	other.get(adminwire.PathStatus, &st)
	if st.Restore != nil {
		t.Fatal("a daemon that knows nothing is in reconcile mode")
	}
	m.d.SaveMarks(t.Context())
	select {
	case err := <-m.d.Failed():
		if !strings.Contains(err.Error(), "lacks changes") {
			t.Error(err)
		}
	default:
		t.Fatal("it goes on as if nothing was")
	}
	m.down()
	var log bytes.Buffer
	m.edit = func(o *daemon.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	m.up()
	other.d.SaveMarks(t.Context())
	for _, d := range []*merchant{m, other} {
		var st adminwire.Status
		d.get(adminwire.PathStatus, &st)
		if st.Restore == nil {
			t.Error("it is not in reconcile mode")
		}
	}
	if got := other.shown(l.ID).State; got != license.StateRevoked {
		t.Errorf("the licence is %s", got)
	}
}

// A daemon that was off for a while finds that others went on, and nothing else; what
// they did meanwhile it knows from then on.
func TestOffForAWeek(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	yaml := onPostgres(config, url) + "keys: {share: store, identity_file: identity}\n"
	files := identity(t)
	m, other := beside(t, yaml, files), beside(t, yaml, files)
	m.begin()
	other.begin()
	m.issue()
	m.down()
	l := other.issue()
	m.up()
	var st adminwire.Status
	m.get(adminwire.PathStatus, &st)
	if st.Restore != nil {
		t.Error("it thinks that the store was put back")
	}
	late := other.issue()
	m.d.SaveMarks(t.Context())
	lines, err := os.ReadFile(filepath.Join(m.dir, "licensed-data/marks.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{l.ID, late.ID} {
		if n := strings.Count(string(lines), `"license.issue","license":"`+id); n != 1 {
			t.Errorf("%d marks of what the other one has issued:\n%s", n, lines)
		}
	}
}

// A daemon that is started with a clock an hour ahead of the other one's says so in its
// log, to who watches it and to the staff, serves nothing that is dated, and goes on
// by itself when its clock is set right; the other one notices nothing.
func TestClockAheadOfTheOther(t *testing.T) {
	t.Parallel()
	yaml := onPostgres(config, pgtest.URL(t)) + "keys: {share: store, identity_file: identity}\n"
	files := identity(t)
	m, other := beside(t, yaml, files), beside(t, yaml, files)
	m.begin()
	other.begin()
	other.daemons(2) // so the first one is known there
	other.down()
	s := &skewed{merchant: other}
	s.set(time.Hour)
	other.edit = func(o *daemon.Options) { o.Now, o.Logger = s.now, slog.New(slog.NewTextHandler(&s.log, nil)) }
	other.up()
	if n := s.log.count("THE CLOCK IS NOT TRUSTED", "state=apart", "ahead of the other daemons on the store"); n != 1 {
		t.Errorf("the log says so %d times", n)
	}
	st := s.status()
	if c := st.Clock; st.Ready || c.State != adminwire.Apart || c.Others == "" || c.OthersNow == nil || c.Now.Sub(*c.OthersNow) < 59*time.Minute ||
		!strings.Contains(st.NotReady, "ahead of the other daemons on the store ("+c.Others+")") {
		t.Errorf("%+v: %s", st.Clock, st.NotReady)
	}
	if code, text := s.ready(); code != http.StatusServiceUnavailable || text != "the clock is not trusted" {
		t.Errorf("ready: HTTP %d %s", code, text)
	}
	raw := activation(t, m.issue().Code, "m")
	rs, body := s.ask(raw)
	if p := problem(t, rs, body); p.Reason != license.Clock || rs.Header.Get("Retry-After") != "15" {
		t.Errorf("Retry-After %s: %s", rs.Header.Get("Retry-After"), body)
	}
	s.set(0)
	if rs, body := s.ask(raw); rs.StatusCode != http.StatusOK {
		t.Error(body)
	}
	if code, text := s.ready(); code != http.StatusOK {
		t.Errorf("ready: HTTP %d %s", code, text)
	}
	m.issue()
}

// A first start is killed when its keys are made and the store does not know of them.
// Where it is the only one, the next start goes on with them. Where another daemon has
// had its first start meanwhile they were never in use, and are no obstacle.
func TestFirstStartIsKilled(t *testing.T) {
	t.Parallel()
	for _, share := range []string{"folder", "store"} {
		t.Run(share, func(t *testing.T) {
			t.Parallel()
			yaml := onPostgres(config, pgtest.URL(t)) + "keys: {share: " + share + ", identity_file: identity}\n"
			files := identity(t)
			m, other := beside(t, yaml, files), beside(t, yaml, files)
			own := filepath.Join(m.dir, "licensed-data/keys")
			m.killFirstStart()
			made, err := os.ReadFile(filepath.Join(own, "keyset.jwt"))
			m.ok(err)
			other.begin()
			if share == "store" {
				m.begin()
				if m.keySet().Raw != other.keySet().Raw || m.keySet().Raw == strings.TrimSpace(string(made)) {
					t.Error("they have different keys")
				}
				return
			}
			for _, want := range []string{"never in use", "put back the keys folder that belongs to it"} {
				if _, err := daemon.New(t.Context(), m.options()); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %s", err, want)
				}
				if _, err := os.Stat(own); !os.IsNotExist(err) {
					t.Errorf("keys that were never in use are left: %v", err)
				}
			}
			m.ok(os.CopyFS(own, os.DirFS(filepath.Join(other.dir, "licensed-data/keys"))))
			m.ok(filepath.WalkDir(own, func(path string, f os.DirEntry, err error) error {
				if err != nil || f.IsDir() {
					return errors.Join(err, os.Chmod(path, 0o700))
				}
				return os.Chmod(path, 0o600)
			}))
			m.begin()
			if m.keySet().Raw != other.keySet().Raw {
				t.Error("they have different keys")
			}
		})
	}
	t.Run("alone", func(t *testing.T) {
		t.Parallel()
		m := beside(t, config, nil)
		m.killFirstStart()
		own := filepath.Join(m.dir, "licensed-data")
		made, err := os.ReadFile(filepath.Join(own, "keys/keyset.jwt"))
		m.ok(err)
		m.begin()
		if m.keySet().Raw != strings.TrimSpace(string(made)) {
			t.Error("it has made others")
		}
		if _, err := os.Stat(filepath.Join(own, "keys.first")); !os.IsNotExist(err) {
			t.Errorf("they still count as never used: %v", err)
		}
	})
}

// Keys that were in use are never removed, whichever store they are shown, and neither
// are others that took the place of those of a start that was killed.
func TestKeysInUseAreKept(t *testing.T) {
	t.Parallel()
	for _, mark := range []string{"", "2020-01-01T00:00:00Z\n"} {
		url := pgtest.URL(t)
		files := identity(t)
		used, other := beside(t, config, files), beside(t, onPostgres(config, url), files)
		used.begin()
		used.issue()
		used.down()
		other.begin()
		m := beside(t, onPostgres(config, url), files)
		data := filepath.Join(m.dir, "licensed-data")
		m.ok(os.Rename(filepath.Join(used.dir, "licensed-data"), data))
		if mark != "" {
			m.ok(os.WriteFile(filepath.Join(data, "keys.first"), []byte(mark), 0o600))
		}
		before, err := os.ReadFile(filepath.Join(data, "keys/keyset.jwt"))
		m.ok(err)
		if _, err := daemon.New(t.Context(), m.options()); err == nil || !strings.Contains(err.Error(), "the data key in") {
			t.Errorf("%v", err)
		}
		after, err := os.ReadFile(filepath.Join(data, "keys/keyset.jwt"))
		if err != nil || !bytes.Equal(before, after) {
			t.Errorf("the keys are not what they were: %v", err)
		}
	}
}

// killFirstStart has a first start end when it has made its keys.
func (m *merchant) killFirstStart() {
	m.t.Helper()
	ctx, kill := context.WithCancel(m.t.Context())
	defer kill()
	o := m.options()
	o.Logger = slog.New(onMessage{"this is the first start: keys were made. Move the anchors' private halves to a medium that is kept offline, " +
		"together with a copy of the identity that opens them", kill})
	if _, err := daemon.New(ctx, o); !errors.Is(err, context.Canceled) {
		m.t.Fatalf("it was not killed: %v", err)
	}
}

// What a daemon remembers of its own changes until it meets them in the store does not
// grow, however late it comes to note one.
func TestOwnMarksAreForgotten(t *testing.T) {
	t.Parallel()
	m := start(t, onPostgres(config, pgtest.URL(t)), nil)
	m.issue()
	m.d.SaveMarks(t.Context())
	e := m.events()[0]
	m.d.NoteMark(authority.Mark{Seq: e.Seq, At: e.At, Action: e.Action})
	m.d.SaveMarks(t.Context())
	if n := m.d.OwnMarks(); n > 0 {
		t.Errorf("%d are remembered", n)
	}
}
