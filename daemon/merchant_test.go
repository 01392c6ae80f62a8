package daemon_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/teststore"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/open"
)

// merchant is a running daemon with a folder of its own.
type merchant struct {
	t   *testing.T
	dir string
	d   *daemon.Daemon
	c   *http.Client

	edit func(*daemon.Options) // nil for none
	url  string                // of its database; "" where its store is a file
}

const config = `
issuer: http://licence.test
public: {listen: "127.0.0.1:0"}
ops: {listen: "127.0.0.1:0"}
limits: {requests_per_minute: 0}
products:
  - {id: cad, name: CAD, marketplace_products: [OFFI1], machines: 2, features: {export: true, projects: 10, edition: gold}}
`

func start(t *testing.T, yaml string, files map[string]string, edit ...func(*daemon.Options)) *merchant {
	t.Helper()
	dir, err := os.MkdirTemp("", "ld") //nolint:usetesting // a socket's path is short, a test's folder is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &merchant{t: t, dir: dir, c: &http.Client{}}
	for _, f := range edit {
		m.edit = f
	}
	if teststore.Postgres(t) && !strings.Contains(yaml, "\nstore:") && !strings.Contains(yaml, "\nbackup:") {
		m.url = teststore.URL(t)
	}
	files = withDefault(files, "licensed.yaml", yaml)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m.up()
	t.Cleanup(func() { m.down(); m.c.CloseIdleConnections() })
	return m
}

func withDefault(files map[string]string, name, content string) map[string]string {
	out := map[string]string{name: content}
	maps.Copy(out, files)
	return out
}

func (m *merchant) options() daemon.Options {
	o := daemon.Options{ConfigFile: filepath.Join(m.dir, "licensed.yaml"), Logger: slog.New(slog.DiscardHandler)}
	if m.edit != nil {
		m.edit(&o)
	}
	if m.url != "" {
		set := map[string]string{"store": m.url, "database.max_connections": "6"}
		maps.Copy(set, o.Set)
		o.Set = set
	}
	return o
}

// open opens the store of the daemon, which is stopped.
func (m *merchant) open() store.Store {
	m.t.Helper()
	url := m.url
	if url == "" {
		url = "bolt:" + filepath.Join(m.dir, "licensed-data", "licensed.db")
	}
	s, err := open.Open(m.t.Context(), url)
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

// stored is all that the store of the daemon, which is stopped, holds, as bytes.
func (m *merchant) stored() []byte {
	m.t.Helper()
	if m.url != "" {
		return teststore.Raw(m.t, m.url)
	}
	data, err := os.ReadFile(filepath.Join(m.dir, "licensed-data", "licensed.db"))
	if err != nil {
		m.t.Fatal(err)
	}
	return data
}

func (m *merchant) up() {
	m.t.Helper()
	d, err := daemon.New(m.t.Context(), m.options())
	if err != nil {
		m.t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.d = d
	if m.url != "" {
		m.meet()
	}
}

// meet waits until the daemon knows that those which a restored database speaks of are
// gone: while it does not, and its clock is ahead of theirs, it does not trust that.
func (m *merchant) meet() {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	for {
		var st adminwire.Status
		if err := m.admin(http.MethodGet, adminwire.PathStatus, nil, &st); err != nil || st.Clock.State != "apart" {
			return // what else is wrong the test finds out
		}
		select {
		case <-ctx.Done():
			m.t.Fatalf("its clock stays apart: %+v", st.Clock)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (m *merchant) down() {
	m.t.Helper()
	if err := m.d.Stop(context.Background()); err != nil {
		m.t.Error(err)
	}
}

// do sends a request to the public listener.
func (m *merchant) do(method, path, contentType, body string, header ...string) (*http.Response, string) {
	m.t.Helper()
	rq, err := http.NewRequestWithContext(m.t.Context(), method, "http://"+m.d.Addr()+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	if contentType != "" {
		rq.Header.Set("Content-Type", contentType)
	}
	for i := 0; i+1 < len(header); i += 2 {
		rq.Header.Set(header[i], header[i+1])
	}
	return m.send(m.c, rq)
}

func (m *merchant) send(c *http.Client, rq *http.Request) (*http.Response, string) {
	m.t.Helper()
	rs, err := c.Do(rq)
	if err != nil {
		m.t.Fatal(err)
	}
	defer rs.Body.Close()
	data, err := io.ReadAll(rs.Body)
	if err != nil {
		m.t.Fatal(err)
	}
	return rs, string(data)
}

// admin calls the admin API over its socket.
func (m *merchant) admin(method, path string, in, out any) *license.Error {
	m.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		m.t.Fatal(err)
	}
	if in == nil {
		body = nil
	}
	rs, text := m.call(method, path, body...)
	if rs.StatusCode >= 400 {
		var p wire.Problem
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			m.t.Fatalf("HTTP %d: %s", rs.StatusCode, text)
		}
		return p.Err()
	}
	if out != nil {
		if err := json.Unmarshal([]byte(text), out); err != nil {
			m.t.Fatalf("%s: %v", text, err)
		}
	}
	return nil
}

// call sends a request to the admin socket.
func (m *merchant) call(method, path string, body ...byte) (*http.Response, string) {
	m.t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", m.d.AdminSocket())
	}}}
	rq, err := http.NewRequestWithContext(m.t.Context(), method, "http://admin"+path, bytes.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	rq.Header.Set("Content-Type", wire.TypeJSON)
	return m.send(c, rq)
}

func (m *merchant) issue() adminwire.License {
	m.t.Helper()
	var out adminwire.LicenseList
	if err := m.admin(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: "cad", For: "365d", Customer: "ACME"}, &out); err != nil {
		m.t.Fatal(err)
	}
	return out.Licenses[0]
}

// activation is a signed request of a new install on the given machine.
func activation(t *testing.T, code, machine string) string {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := token.NewSigningKey(private)
	if err != nil {
		t.Fatal(err)
	}
	fp := license.Fingerprint{Salt: license.ProductSalt("cad"), Components: license.Components{}}
	for _, kind := range []license.Kind{license.KindDisk, license.KindOS} {
		d, _ := license.DigestValue(fp.Salt, kind, machine)
		fp.Components[kind] = []license.Digest{d}
	}
	r := token.Request{ID: rand.Text(), IssuedAt: time.Now(), Op: token.OpActivate, Product: "cad", Fingerprint: fp}
	if code != "" {
		if r.Code, err = license.ParseCode(code); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := token.SignRequest(r, key)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func problem(t *testing.T, rs *http.Response, body string) wire.Problem {
	t.Helper()
	var p wire.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil || rs.Header.Get("Content-Type") != wire.TypeProblem {
		t.Fatalf("HTTP %d, %s: %s", rs.StatusCode, rs.Header.Get("Content-Type"), body)
	}
	if p.RequestID == "" || p.Status != rs.StatusCode {
		t.Errorf("problem %+v with HTTP %d", p, rs.StatusCode)
	}
	return p
}
