package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// listeners is a daemon that runs for as long as a fuzz target does.
func listeners(f *testing.F) (d *daemon.Daemon, public, admin *http.Client) {
	f.Helper()
	dir, err := os.MkdirTemp("", "ld") // a socket's path is short, a test's folder is not
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = os.RemoveAll(dir) })
	path := filepath.Join(dir, "licensed.yaml")
	if err := os.WriteFile(path, []byte(config+"data_dir: "+dir+"/data\n"), 0o600); err != nil {
		f.Fatal(err)
	}
	d, err = daemon.New(f.Context(), daemon.Options{ConfigFile: path})
	if err == nil {
		err = d.Start()
	}
	if err != nil {
		f.Fatal(err)
	}
	public = &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	admin = &http.Client{CheckRedirect: public.CheckRedirect, Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", d.AdminSocket())
	}}}
	f.Cleanup(func() {
		public.CloseIdleConnections()
		admin.CloseIdleConnections()
		if err := d.Stop(context.Background()); err != nil {
			f.Error(err)
		}
	})
	return d, public, admin
}

// FuzzAPI sends anything to the public and to the admin API. What comes back is
// an answer, or a problem that has a reason and is not the daemon's own failure.
func FuzzAPI(f *testing.F) {
	d, public, admin := listeners(f)
	for path, bodies := range map[string][]string{
		wire.PathRequests:      {`{"request":"a.b.c"}`, `{"request":"a.b.c","code":"LIC"}`, `{"request":1}`, `{"request":"","x":1}`, `[]`, `null`, "{\"request\":\"\\ud800\"}"},
		wire.PathKeys:          {""},
		"/v1/status/sl_1":      {""},
		"/v1/status/%00%2f..":  {""},
		adminwire.PathLicenses: {`{"product":"cad","perpetual":true}`, `{"product":"cad","for":"365d","count":2,"features":{"a":1e400,"b":false}}`, `{"product":"cad","expires_at":"9999-12-31T23:59:59Z"}`, `{"product":"cad","for":"99999999d"}`, `{"product":"cad","expires_at":"0000-01-01T00:00:00+23:59","phases":{"warn":"-1d"}}`},
		adminwire.PathLookup:   {`{"ref":"lic_1"}`, `{"ref":"\u0000"}`},
		strings.Replace(adminwire.PathRenew, "{id}", "lic_1", 1):  {`{"for":"1d"}`},
		strings.Replace(adminwire.PathRevoke, "{id}", "lic_1", 1): {`{"reason":"x"}`},
		strings.Replace(adminwire.PathEdit, "{id}", "lic_1", 1):   {`{"phases":{"warn":"30d","enforcement":"degrade"}}`},
		adminwire.PathRequests:                         {`{"request":"a.b.c","code":"PL1"}`},
		adminwire.PathKeySet:                           {`{"token":"a.b.c"}`},
		adminwire.PathClock:                            {`{"shown":"2026-01-01T00:00:00Z"}`},
		adminwire.PathEvents + "?limit=1&cursor=AAAA":  {""},
		adminwire.PathProposal + "?revoke=a&revoke=b":  {""},
		adminwire.PathLicenses + "?state=active&last4": {""},
	} {
		for _, body := range bodies {
			f.Add(strings.HasPrefix(path, adminwire.Prefix), body != "", path, wire.TypeJSON, []byte(body))
		}
	}
	f.Add(false, true, wire.PathRequests, wire.TypePEM, []byte("-----BEGIN LICENSE REQUEST-----\nYS5iLmM=\n-----END LICENSE REQUEST-----\n"))
	f.Add(true, true, adminwire.PathLicenses, "text/plain; charset=x", []byte(`{}`))
	f.Fuzz(func(t *testing.T, toAdmin, post bool, path, contentType string, body []byte) {
		c, base := public, "http://"+d.Addr()
		if toAdmin {
			c, base = admin, "http://admin"
		}
		notShown := func(r rune) bool { return r < '!' || r > '~' }
		if _, err := url.Parse(base + path); err != nil || !strings.HasPrefix(path, "/") || strings.ContainsFunc(path, notShown) {
			return // nobody can send it
		}
		method := http.MethodGet
		if post {
			method = http.MethodPost
		}
		rq, err := http.NewRequestWithContext(t.Context(), method, base+path, bytes.NewReader(body))
		if err != nil {
			return
		}
		if strings.ContainsFunc(contentType, func(r rune) bool { return r < ' ' || r > '~' }) {
			return
		}
		rq.Header.Set("Content-Type", contentType)
		rs, err := c.Do(rq)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(rs.Body)
		if err := fmt.Sprint(err, rs.Body.Close()); err != "<nil> <nil>" {
			t.Fatal(err)
		}
		if rs.StatusCode < 400 {
			return
		}
		var p wire.Problem
		if err := json.Unmarshal(data, &p); err != nil || p.Reason == "" || p.Reason == license.Internal || p.Status != rs.StatusCode {
			t.Errorf("HTTP %d: %q (%v)", rs.StatusCode, data, err)
		}
	})
}
