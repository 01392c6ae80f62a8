package browser_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license/token"
)

// today is when the pages are looked at. What happened in the shop lies before it.
var today = time.Date(2026, 6, 15, 2, 30, 0, 0, time.UTC)

const shopConfig = `
issuer: https://licence.example.com
time_zone: Asia/Shanghai
public: {listen: "127.0.0.1:0"}
ops: {listen: ""}
admin: {listen: "127.0.0.1:0"}
limits: {requests_per_minute: 0}
marketplaces:
  - name: koogallery
    access_key_files: [access-key]
    open_api: {base_urls: ["%s"], ca_file: ca.pem, access_key_id_file: ak, secret_access_key_file: sk}
products:
  - {id: cad-pro, name: CAD Pro, marketplace_products: [OFFI1], machines: 3, features: {export: true, projects: 50, edition: professional}}
  - {id: cad-lite, name: CAD Lite, marketplace_products: [OFFI2], machines: 1}
  - {id: flow-sim, name: Flow Simulation, machines: 5, mode: floating}
  - {id: archive, name: Archive, machines: 1, transfers: {approval: always}}
webhooks:
  - {name: crm, url: "%s/crm", secret_file: hook}
  - {name: bookkeeping, url: "%s/books", secret_file: hook, events: [license.issued, license.renewed]}
`

// shop is a merchant whose store was filled by what customers, staff and the
// marketplace did in twelve weeks.
type shop struct {
	t       *testing.T
	dir     string
	d       *daemon.Daemon
	admin   *adminclient.Client
	market  *sandbox.Sandbox
	hooks   *httptest.Server
	anchors token.Anchors

	mu  sync.Mutex
	now time.Time

	tokens map[string]string // of the staff, by role
	known  map[string]string // what the paths of pages name, by {what}
}

func newShop(t *testing.T) *shop {
	t.Helper()
	dir, err := os.MkdirTemp("", "lw") //nolint:usetesting // a socket's path is short, a test's folder is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &shop{t: t, dir: dir, now: today.AddDate(0, 0, -84), known: make(map[string]string), tokens: make(map[string]string)}
	s.hooks = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/books" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(s.hooks.Close)
	s.market, err = sandbox.New(sandbox.Options{
		Products: []sandbox.Product{{ID: "OFFI1"}, {ID: "OFFI2"}}, RetryInterval: time.Hour, Now: s.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.market.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.market.Close(); err != nil {
			t.Error(err)
		}
	})
	for name, content := range map[string]string{
		"licensed.yaml": fmt.Sprintf(shopConfig, s.market.URL(), s.hooks.URL, s.hooks.URL), "access-key": s.market.AccessKey().Reveal() + "\n",
		"ca.pem": string(s.market.CAPEM()), "ak": s.market.AccessKeyID(), "sk": s.market.SecretAccessKey().Reveal(), "hook": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.up()
	t.Cleanup(s.down)
	s.fill()
	return s
}

func (s *shop) up() {
	s.t.Helper()
	d, err := daemon.New(s.t.Context(), daemon.Options{ConfigFile: filepath.Join(s.dir, "licensed.yaml"), Logger: slog.New(slog.DiscardHandler), Now: s.clock})
	if err == nil {
		err = d.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.d = d
	if s.admin, err = adminclient.New("unix:"+d.AdminSocket(), adminclient.Options{}); err != nil {
		s.t.Fatal(err)
	}
	if err := s.market.SetCallback(sandbox.Callback{URL: "http://" + d.Addr() + "/marketplace/koogallery"}); err != nil {
		s.t.Fatal(err)
	}
}

func (s *shop) down() {
	s.t.Helper()
	s.admin.Close()
	if err := s.d.Stop(context.Background()); err != nil {
		s.t.Error(err)
	}
}

func (s *shop) restart() {
	s.t.Helper()
	s.down()
	s.up()
}

func (s *shop) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// on goes on to a day, counted from today.
func (s *shop) on(days int, hours ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := today.AddDate(0, 0, days)
	for _, h := range hours {
		to = to.Add(time.Duration(h) * time.Hour)
	}
	if to.Before(s.now) {
		s.t.Fatalf("the story goes back from %s to %s", s.now, to)
	}
	s.now = to
}

// did must have succeeded.
func (s *shop) did(_ any, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// signIn is the cookie of a session of somebody with that role.
func (s *shop) signIn(role string) cookie {
	s.t.Helper()
	made, err := s.admin.CreateToken(s.t.Context(), adminwire.CreateToken{Name: map[string]string{"admin": "anna", "issuer": "ben", "viewer": "vera"}[role], Role: role, For: "90d"})
	s.did(made, err)
	s.tokens[role] = made.Token
	rq, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.console()+"/console/sign-in", strings.NewReader(url.Values{"token": {made.Token}}.Encode()))
	s.did(rq, err)
	rq.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rs, err := http.DefaultTransport.RoundTrip(rq) // it is answered by a redirect
	s.did(rs, err)
	defer rs.Body.Close()
	if len(rs.Cookies()) != 1 {
		s.t.Fatalf("sign in: HTTP %d with %d cookies", rs.StatusCode, len(rs.Cookies()))
	}
	return cookie{Name: rs.Cookies()[0].Name, Value: rs.Cookies()[0].Value, URL: s.console()}
}

func (s *shop) console() string { return "http://" + s.d.AdminAddr() }
func (s *shop) public() string  { return "http://" + s.d.Addr() }
