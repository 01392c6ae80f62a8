package daemon_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/teststore"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

func TestMain(m *testing.M) {
	teststore.Main()
	goleak.VerifyTestMain(m)
}

// What is wrong with a request is said in the documented form, and changes nothing.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	raw := activation(t, l.Code, "m")
	huge := `{"request":"` + strings.Repeat("a", wire.MaxBody) + `"}`
	for name, c := range map[string]struct {
		method, path, contentType, body string
		status                          int
		reason                          license.Reason
		field                           string
	}{
		"no document":       {"POST", wire.PathRequests, wire.TypeJSON, "", 400, license.BadRequest, ""},
		"not JSON":          {"POST", wire.PathRequests, wire.TypeJSON, "{", 400, license.BadRequest, "body"},
		"a list":            {"POST", wire.PathRequests, wire.TypeJSON, "[]", 400, license.BadRequest, "body"},
		"wrong type":        {"POST", wire.PathRequests, wire.TypeJSON, `{"request": 7}`, 400, license.BadRequest, "body"},
		"two documents":     {"POST", wire.PathRequests, wire.TypeJSON, `{"request":"x"} {}`, 400, license.BadRequest, "body"},
		"unknown member":    {"POST", wire.PathRequests, wire.TypeJSON, `{"request":"x","licence":"y"}`, 400, license.BadRequest, "body"},
		"empty":             {"POST", wire.PathRequests, wire.TypeJSON, `{}`, 400, license.BadRequest, "request"},
		"not a token":       {"POST", wire.PathRequests, wire.TypeJSON, `{"request":"x"}`, 400, license.BadRequest, "request"},
		"code with a typo":  {"POST", wire.PathRequests, wire.TypeJSON, `{"request":"` + raw + `","code":"` + l.Code[:len(l.Code)-1] + `U"}`, 400, license.BadRequest, "code"},
		"forged":            {"POST", wire.PathRequests, wire.TypeJSON, `{"request":"` + raw[:len(raw)-6] + `AAAAAA"}`, 401, license.Unauthorized, ""},
		"too large":         {"POST", wire.PathRequests, wire.TypeJSON, huge, 400, license.BadRequest, ""},
		"form":              {"POST", wire.PathRequests, "application/x-www-form-urlencoded", "request=x", 400, license.BadRequest, "body"},
		"not a file":        {"POST", wire.PathRequests, wire.TypePEM, "hello", 400, license.BadRequest, "body"},
		"nothing there":     {"GET", "/nothing", "", "", 404, license.NotFound, ""},
		"wrong method":      {"GET", wire.PathRequests, "", "", 405, license.BadRequest, ""},
		"admin from public": {"GET", adminwire.PathLicenses, "", "", 404, license.NotFound, ""},
		"unknown entry":     {"POST", "/marketplace/elsewhere", wire.TypeJSON, "{}", 404, license.NotFound, ""},
	} {
		rs, body := m.do(c.method, c.path, c.contentType, c.body)
		p := problem(t, rs, body)
		if p.Status != c.status || p.Reason != c.reason || c.field != "" && p.Field != c.field {
			t.Errorf("%s: HTTP %d: %s", name, rs.StatusCode, body)
		}
		if strings.Contains(body, l.Code) || strings.Contains(body, raw) {
			t.Errorf("%s: the answer repeats a secret: %s", name, body)
		}
	}
	var shown adminwire.License
	if err := m.admin(http.MethodPost, adminwire.PathLookup, adminwire.Lookup{Ref: l.Code}, &shown); err != nil {
		t.Fatal(err)
	}
	if shown.State != license.StateIssued || shown.Revision != 1 {
		t.Errorf("a bad request changed the licence: %+v", shown)
	}
}

// A request file is answered with a licence file or with JSON, as the caller
// accepts, and both are the same answer.
func TestFilesAndJSON(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	raw := activation(t, "", "m")
	body, err := json.Marshal(wire.Request{Request: raw, Code: strings.ToLower(strings.ReplaceAll(l.Code, "-", " "))})
	if err != nil {
		t.Fatal(err)
	}
	rs, text := m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, string(body), "Accept", "*/*")
	if rs.StatusCode != http.StatusOK || rs.Header.Get("Content-Type") != wire.TypeJSON {
		t.Fatalf("HTTP %d: %s", rs.StatusCode, text)
	}
	var ans wire.Answer
	if err := json.Unmarshal([]byte(text), &ans); err != nil {
		t.Fatal(err)
	}
	withCode := activation(t, l.Code, "m2")
	rs, text = m.do(http.MethodPost, wire.PathRequests, wire.TypePEM, string(token.MarshalRequestFile(withCode)), "Accept", wire.TypePEM)
	if rs.StatusCode != http.StatusOK || rs.Header.Get("Content-Type") != wire.TypePEM {
		t.Fatalf("HTTP %d: %s", rs.StatusCode, text)
	}
	f, err := token.ParseFile([]byte(text))
	if err != nil || len(f.Licenses) != 1 || len(f.KeySets) != 1 || len(f.Times) != 1 || f.KeySets[0] != ans.Keys {
		t.Fatalf("%v: %+v", err, f)
	}
	rs, again := m.do(http.MethodPost, wire.PathRequests, wire.TypePEM, string(token.MarshalRequestFile(withCode)), "Accept", wire.TypePEM)
	if rs.StatusCode != http.StatusOK || again != text {
		t.Error("the same request got another answer")
	}
	refusedRs, refused := m.do(http.MethodPost, wire.PathRequests, wire.TypePEM,
		string(token.MarshalRequestFile(activation(t, l.Code, "m3"))), "Accept", wire.TypePEM)
	if p := problem(t, refusedRs, refused); p.Reason != license.MachineLimit {
		t.Errorf("a third machine: %s", refused)
	}
}

func TestKeysAreCacheable(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	rs, set := m.do(http.MethodGet, wire.PathKeys, "", "")
	if rs.StatusCode != http.StatusOK || rs.Header.Get("Content-Type") != wire.TypeJWT || rs.Header.Get("Cache-Control") == "no-store" {
		t.Fatalf("HTTP %d: %v", rs.StatusCode, rs.Header)
	}
	anchors, err := os.ReadFile(filepath.Join(m.dir, "licensed-data/keys/anchors.json"))
	if err != nil {
		t.Fatal(err)
	}
	as, err := token.ParseAnchors(anchors)
	if err != nil {
		t.Fatal(err)
	}
	ks, err := token.VerifyKeySet(set, as)
	if err != nil || ks.Issuer != "http://licence.test" {
		t.Fatalf("%v: %+v", err, ks)
	}
	if rs, body := m.do(http.MethodGet, wire.PathKeys, "", "", "If-None-Match", rs.Header.Get("Etag")); rs.StatusCode != http.StatusNotModified || body != "" {
		t.Errorf("HTTP %d for a known set", rs.StatusCode)
	}
	rs, plain := m.do(http.MethodGet, wire.PathJWKS, "", "")
	var jwks struct {
		Keys []struct{ Kid, Kty, Crv string }
	}
	if err := json.Unmarshal([]byte(plain), &jwks); err != nil || rs.StatusCode != http.StatusOK || len(jwks.Keys) != len(ks.Keys) {
		t.Fatalf("HTTP %d: %s", rs.StatusCode, plain)
	}
	var rotated adminwire.Rotated
	if err := m.admin(http.MethodPost, adminwire.PathRotate, nil, &rotated); err != nil {
		t.Fatal(err)
	}
	if err := m.admin(http.MethodPost, adminwire.PathRotate, nil, nil); err == nil || err.Reason != license.Conflict {
		t.Errorf("rotated without a next key: %v", err)
	}
	_, body := m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, `{"request":"`+activation(t, m.issue().Code, "m")+`"}`)
	var ans wire.Answer
	if err := json.Unmarshal([]byte(body), &ans); err != nil {
		t.Fatal(err)
	}
	l, err := token.VerifyLicense(ans.License, ks, token.Expect{Product: "cad"})
	if err != nil || l.KeyID != rotated.Current {
		t.Errorf("after the rotation: %v, signed by %s, want %s", err, l.KeyID, rotated.Current)
	}
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	rs, body := m.do(http.MethodGet, wire.PathOpenAPI, "", "")
	var doc struct {
		OpenAPI string
		Paths   map[string]any
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil || rs.StatusCode != http.StatusOK {
		t.Fatalf("HTTP %d: %v", rs.StatusCode, err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %s", doc.OpenAPI)
	}
	for _, path := range []string{wire.PathRequests, wire.PathKeys, wire.PathJWKS, wire.PathStatus} {
		if doc.Paths[path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
	var admin struct{ Paths map[string]any }
	if err := m.admin(http.MethodGet, adminwire.PathOpenAPI, nil, &admin); err != nil || admin.Paths[adminwire.PathLicenses] == nil {
		t.Errorf("admin: %v, %d paths", err, len(admin.Paths))
	}
}

// An address that was refused too often waits; installs that are known do not.
func TestRefusalsAreLimited(t *testing.T) {
	t.Parallel()
	m := start(t, strings.Replace(config, "requests_per_minute: 0", "requests_per_minute: 3", 1), nil)
	l := m.issue()
	known := `{"request":"` + activation(t, l.Code, "m") + `"}`
	if rs, body := m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, known); rs.StatusCode != http.StatusOK {
		t.Fatal(body)
	}
	unknown, err := license.NewCode(nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		rs, body := m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, `{"request":"`+activation(t, unknown.Reveal(), "m")+`"}`)
		if p := problem(t, rs, body); p.Reason != license.UnknownCode {
			t.Fatal(body)
		}
	}
	for _, code := range []string{unknown.Reveal(), l.Code} {
		rs, body := m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, `{"request":"`+activation(t, code, "m")+`"}`)
		p := problem(t, rs, body)
		if p.Reason != license.RateLimited || p.RetryAfter < 1 || p.RetryAfter > 60 || rs.Header.Get("Retry-After") == "" {
			t.Errorf("HTTP %d: %s", rs.StatusCode, body)
		}
	}
	if rs, body := m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, known); rs.StatusCode != http.StatusOK {
		t.Errorf("a known install was refused: %s", body)
	}
}

// A code that is set up again and again has to wait for long, and says so.
func TestActivatedTooOften(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	for range 60 + 20*l.Machines {
		if rs, body := m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, `{"request":"`+activation(t, l.Code, "m")+`"}`); rs.StatusCode != http.StatusOK {
			t.Fatal(body)
		}
	}
	rs, body := m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, `{"request":"`+activation(t, l.Code, "m")+`"}`)
	if p := problem(t, rs, body); p.Reason != license.RateLimited || p.RetryAfter != 3600 || rs.Header.Get("Retry-After") != "3600" {
		t.Errorf("HTTP %d, Retry-After %q: %s", rs.StatusCode, rs.Header.Get("Retry-After"), body)
	}
}

func TestHealth(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	for _, path := range []string{"/healthz", "/readyz"} {
		rq, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+m.d.OpsAddr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if rs, body := m.send(m.c, rq); rs.StatusCode != http.StatusOK {
			t.Errorf("%s: HTTP %d %s", path, rs.StatusCode, body)
		}
	}
	if info, err := os.Stat(m.d.AdminSocket()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the admin socket: %v, %v", info.Mode(), err)
	}
}

// A daemon that cannot start leaves nothing open; one that stops can be
// stopped again, and started again on what it left.
func TestStartAndStop(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	if _, err := daemon.New(t.Context(), m.options()); err == nil {
		t.Fatal("two daemons share a folder")
	}
	for range 5 {
		m.down()
		m.down()
		m.up()
		var shown adminwire.License
		if err := m.admin(http.MethodPost, adminwire.PathLookup, adminwire.Lookup{Ref: l.ID}, &shown); err != nil || shown.ID != l.ID {
			t.Fatalf("after a restart: %v, %+v", err, shown)
		}
	}
	m.down()
	ctx, cancel := context.WithCancel(t.Context())
	o := m.options()
	o.Logger = slog.New(onMessage{"licensed is serving", cancel})
	if err := daemon.Run(ctx, o); err != nil {
		t.Errorf("run until the context ends: %v", err)
	}
	m.up()
}

// onMessage is a log that acts on one message.
type onMessage struct {
	message string
	act     func()
}

func (o onMessage) Enabled(context.Context, slog.Level) bool { return true }
func (o onMessage) WithAttrs([]slog.Attr) slog.Handler       { return o }
func (o onMessage) WithGroup(string) slog.Handler            { return o }
func (o onMessage) Handle(_ context.Context, r slog.Record) error {
	if r.Message == o.message {
		o.act()
	}
	return nil
}

// A store is opened with its own keys only: lost ones are not replaced by new
// ones, and another's are noticed before anything is served.
func TestForeignKeys(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	other := start(t, config, nil)
	m.down()
	other.down()
	folder := filepath.Join(m.dir, "licensed-data/keys")
	own := folder + ".own"
	if err := os.Rename(folder, own); err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.New(t.Context(), m.options()); err == nil || !strings.Contains(err.Error(), "put back the keys") {
		t.Errorf("started without keys: %v", err)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Error("new keys stand where the old ones belong")
	}
	if err := os.Rename(filepath.Join(other.dir, "licensed-data/keys"), folder); err != nil {
		t.Fatal(err)
	}
	_, err := daemon.New(t.Context(), m.options())
	if err == nil || !strings.Contains(err.Error(), "data key") {
		t.Errorf("started with another's keys: %v", err)
	}
	if _, ok := errors.AsType[*daemon.ConfigError](err); ok {
		t.Error("it is not the configuration's fault")
	}
	if err := errors.Join(os.Rename(folder, filepath.Join(other.dir, "licensed-data/keys")), os.Rename(own, folder)); err != nil {
		t.Fatal(err)
	}
	m.up()
}

// What keeps a configuration from working is found by checking it, and
// checking touches nothing.
func TestCheckConfig(t *testing.T) {
	t.Parallel()
	cert, key := certificate(t, 1)
	for name, c := range map[string]struct {
		yaml string
		want string
	}{
		"good":       {config, ""},
		"database":   {config + "\nstore: postgres://user@host/db\n", ""},
		"plain text": {config + "\nstore: postgres://user@host/db?sslmode=prefer\n", "store"},
		"password":   {config + "\nstore: postgres://user@host/db\ndatabase: {password_file: none}\n", "database.password_file"},
		"webhook":    {config + "\nwebhooks: [{url: \"https://x.example\", secret_file: hook, events: [license.*]}]\n", ""},
		"its secret": {config + "\nwebhooks: [{url: \"https://x.example\", secret_file: key.pem}]\n", "webhooks[0].secret_file"},
		"its second": {config + "\nwebhooks: [{url: \"https://x.example\", secret_file: hook, secret_files: [ak]}]\n", "webhooks[0].secret_files[0]"},
		"its events": {config + "\nwebhooks: [{url: \"https://x.example\", secret_file: hook, events: [licence.issued]}]\n", "webhooks[0].events"},
		"its roots":  {config + "\nwebhooks: [{url: \"https://x.example\", secret_file: hook, ca_file: ca.pem}]\n", "webhooks[0].ca_file"},
		"tls":        {strings.Replace(config, "public: {", "public: {tls: {cert_file: key.pem, key_file: key.pem}, ", 1), "public.tls"},
		"anchors":    {config + "\nkeys: {anchors_file: cert.pem}\n", "keys.anchors_file"},
		"ca":         {strings.Replace(fmt.Sprintf(marketConfig, "https://x.example"), "old-key, access-key", "key.pem", 1), "open_api"},
		"own name":   {config + "\nmarketplaces: [{name: manual, access_key_files: [key.pem]}]\n", "manual"},
		"no product": {config + "\nproducts: []\n", "products"},
	} {
		dir := t.TempDir()
		for file, content := range map[string]string{
			"licensed.yaml": c.yaml, "cert.pem": cert, "key.pem": key, "ca.pem": "not a certificate", "ak": "ak", "sk": "sk",
			"hook": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n",
		} {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		err := daemon.CheckConfig(daemon.Options{ConfigFile: filepath.Join(dir, "licensed.yaml")})
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if _, ok := errors.AsType[*daemon.ConfigError](err); !ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "licensed-data")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: checking made a data folder", name)
		}
	}
}
