package daemon_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// keySet is the key set of m, verified.
func (m *merchant) keySet() token.KeySet {
	m.t.Helper()
	data, err := os.ReadFile(filepath.Join(m.dir, "licensed-data/keys/anchors.json"))
	if err != nil {
		m.t.Fatal(err)
	}
	anchors, err := token.ParseAnchors(data)
	if err != nil {
		m.t.Fatal(err)
	}
	_, raw := m.do(http.MethodGet, wire.PathKeys, "", "")
	set, err := token.VerifyKeySet(raw, anchors)
	if err != nil {
		m.t.Fatal(err)
	}
	return set
}

// bound is an activated install: its licence, and where its status is listed.
func (m *merchant) bound(l adminwire.License) (held token.License, path string) {
	m.t.Helper()
	_, body := m.do(http.MethodPost, wire.PathRequests, wire.TypeJSON, `{"request":"`+activation(m.t, l.Code, "m")+`"}`)
	var ans wire.Answer
	if err := json.Unmarshal([]byte(body), &ans); err != nil {
		m.t.Fatal(err)
	}
	held, err := token.VerifyLicense(ans.License, m.keySet(), token.Expect{Product: "cad"})
	if err != nil {
		m.t.Fatalf("%v: %s", err, body)
	}
	path, ok := strings.CutPrefix(held.Status.URI, "http://licence.test/v1/status/")
	if !ok {
		m.t.Fatalf("the licence names the list %q", held.Status.URI)
	}
	if _, err := token.VerifyStatusList(ans.Status, m.keySet(), token.ExpectStatusList{URI: held.Status.URI}); err != nil {
		m.t.Errorf("the list of the answer: %v", err)
	}
	return held, "/v1/status/" + path
}

// listed is what the list at path says of an install.
func (m *merchant) listed(path string, held token.License) license.ListStatus {
	m.t.Helper()
	rs, body := m.do(http.MethodGet, path, "", "")
	list, err := token.VerifyStatusList(body, m.keySet(), token.ExpectStatusList{URI: held.Status.URI})
	if err != nil {
		m.t.Fatalf("HTTP %d: %v", rs.StatusCode, err)
	}
	status, _ := list.At(held.Status.Index)
	return status
}

func (m *merchant) change(path, id string, body any) {
	m.t.Helper()
	if err := m.admin(http.MethodPost, strings.Replace(path, "{id}", id, 1), body, nil); err != nil {
		m.t.Fatal(err)
	}
}

// What staff change shows in the list within a second or two of this machine's
// time, and is there after a restart.
func TestStatusListShowsChanges(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	held, path := m.bound(l)
	shows := func(want license.ListStatus) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); m.listed(path, held) != want; {
			if time.Now().After(end) {
				t.Fatalf("it is listed as %d, want %d", m.listed(path, held), want)
			}
		}
	}
	shows(license.StatusValid)
	m.change(adminwire.PathSuspend, l.ID, struct{}{})
	shows(license.StatusSuspended)
	m.change(adminwire.PathResume, l.ID, struct{}{})
	shows(license.StatusValid)
	_, before := m.do(http.MethodGet, path, "", "")
	m.down()
	m.up()
	if _, after := m.do(http.MethodGet, path, "", ""); after != before {
		t.Error("after a restart the list is another one")
	}
	m.change(adminwire.PathRelease, l.ID, struct{}{})
	shows(license.StatusRevoked)
	m.down()
	m.up()
	shows(license.StatusRevoked)
	var shown adminwire.License
	if err := m.admin(http.MethodPost, adminwire.PathLookup, adminwire.Lookup{Ref: l.ID}, &shown); err != nil {
		t.Fatal(err)
	}
	if s := shown.Installs[0].Status; s == nil || "/v1/status/"+s.List != path || s.Index != held.Status.Index {
		t.Errorf("shown is the place %+v", s)
	}
}

// The list is cacheable: by whom it concerns, for its ttl, in gzip form where
// that is accepted, and without a body where it is known.
func TestStatusListIsCacheable(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	_, path := m.bound(m.issue())
	m.c = &http.Client{Transport: &http.Transport{DisableCompression: true}}
	rs, plain := m.do(http.MethodGet, path, "", "")
	h := rs.Header
	if rs.StatusCode != http.StatusOK || h.Get("Content-Type") != wire.TypeStatusList || h.Get("Cache-Control") != "public, max-age=900" ||
		h.Get("Vary") != "Accept, Accept-Encoding" || h.Get("Content-Encoding") != "" || h.Get("Access-Control-Allow-Origin") != "*" ||
		h.Get("Content-Length") != strconv.Itoa(len(plain)) || h.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("HTTP %d: %v", rs.StatusCode, h)
	}
	etag := h.Get("Etag")
	for accept, want := range map[string]string{
		"": "", "identity": "", "gzip": "gzip", "br, gzip;q=0.5, *;q=0": "gzip", "*": "gzip", "GZIP": "gzip", "x-gzip": "gzip",
		"gzip;q=0": "", "gzip; q=0.000": "", "*;q=0": "", "gzip;q=2": "", "gzip;q=x": "", "br": "", "*, gzip;q=0": "", "gzipped": "", "gzip;level=9": "gzip",
	} {
		rs, body := m.do(http.MethodGet, path, "", "", "Accept-Encoding", accept)
		if got := rs.Header.Get("Content-Encoding"); got != want {
			t.Errorf("Accept-Encoding %q: Content-Encoding %q, want %q", accept, got, want)
			continue
		}
		if (rs.Header.Get("Etag") == etag) != (want == "") || rs.Header.Get("Vary") != "Accept, Accept-Encoding" {
			t.Errorf("Accept-Encoding %q: ETag %s, Vary %s", accept, rs.Header.Get("Etag"), rs.Header.Get("Vary"))
		}
		if want == "gzip" {
			r, err := gzip.NewReader(strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			if _, err := io.Copy(&out, r); err != nil {
				t.Fatal(err)
			}
			body = out.String()
		}
		if body != plain {
			t.Errorf("Accept-Encoding %q: another body", accept)
		}
	}
	gzipped, _ := m.do(http.MethodGet, path, "", "", "Accept-Encoding", "gzip")
	for _, test := range []struct {
		known, accept string
		status        int
	}{
		{etag, "", http.StatusNotModified},
		{"W/" + etag, "", http.StatusNotModified},
		{`"other", ` + etag, "", http.StatusNotModified},
		{"*", "", http.StatusNotModified},
		{`"other"`, "", http.StatusOK},
		{gzipped.Header.Get("Etag"), "gzip", http.StatusNotModified},
		{gzipped.Header.Get("Etag"), "", http.StatusOK}, // other bytes
	} {
		rs, body := m.do(http.MethodGet, path, "", "", "If-None-Match", test.known, "Accept-Encoding", test.accept)
		if rs.StatusCode != test.status || (body == "") != (test.status == http.StatusNotModified) || rs.Header.Get("Cache-Control") == "" || rs.Header.Get("Etag") == "" {
			t.Errorf("If-None-Match %s: HTTP %d, %v", test.known, rs.StatusCode, rs.Header)
		}
	}
	if rs, body := m.do(http.MethodHead, path, "", ""); rs.StatusCode != http.StatusOK || body != "" || rs.Header.Get("Content-Length") != strconv.Itoa(len(plain)) || rs.Header.Get("Etag") != etag {
		t.Errorf("HEAD: HTTP %d, %v", rs.StatusCode, rs.Header)
	}
	rs, body := m.do(http.MethodGet, path+"0", "", "")
	if p := problem(t, rs, body); p.Reason != license.NotFound || rs.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("a list that there is not: %+v, %v", p, rs.Header)
	}
	rs, body = m.do(http.MethodPost, path, wire.TypeJSON, "{}")
	if p := problem(t, rs, body); p.Status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %+v", p)
	}
}

// The licence file of an answer carries the list.
func TestLicenseFileCarriesStatus(t *testing.T) {
	t.Parallel()
	m := start(t, strings.Replace(config, "machines: 2", "machines: 2, status_max_age: 2d", 1), nil)
	raw := token.MarshalRequestFile(activation(t, m.issue().Code, "m"))
	_, text := m.do(http.MethodPost, wire.PathRequests, wire.TypePEM, string(raw), "Accept", wire.TypePEM)
	f, err := token.ParseFile([]byte(text))
	if err != nil || len(f.Licenses) != 1 || len(f.Statuses) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	held, err := token.VerifyLicense(f.Licenses[0], m.keySet(), token.Expect{Product: "cad"})
	if err != nil || held.StatusMaxAge != 48*time.Hour {
		t.Fatalf("%v: a list of %s is taken", err, held.StatusMaxAge)
	}
	if _, err := token.VerifyStatusList(f.Statuses[0], m.keySet(), token.ExpectStatusList{URI: held.Status.URI}); err != nil {
		t.Error(err)
	}
}

// For a machine without a network the list comes as a file, with the key set
// that verifies it; whoever wants the token gets the token.
func TestStatusListAsFile(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	held, path := m.bound(m.issue())
	rs, text := m.do(http.MethodGet, path, "", "", "Accept", "text/html, "+wire.TypePEM+";q=0.9")
	f, err := token.ParseFile([]byte(text))
	if err != nil || len(f.KeySets) != 1 || len(f.Statuses) != 1 || len(f.Licenses) != 0 {
		t.Fatalf("%v: %s", err, text)
	}
	if h := rs.Header; h.Get("Content-Type") != wire.TypePEM || h.Get("Vary") != "Accept, Accept-Encoding" || h.Get("Etag") == "" {
		t.Errorf("%v", h)
	}
	if f.KeySets[0] != m.keySet().Raw {
		t.Error("another key set than the one in force")
	}
	if _, err := token.VerifyStatusList(f.Statuses[0], m.keySet(), token.ExpectStatusList{URI: held.Status.URI}); err != nil {
		t.Error(err)
	}
	for _, accept := range []string{"", "*/*", wire.TypeStatusList, wire.TypePEM + ";q=0", "application/x-pem"} {
		if rs, body := m.do(http.MethodGet, path, "", "", "Accept", accept); rs.Header.Get("Content-Type") != wire.TypeStatusList || body != f.Statuses[0] {
			t.Errorf("Accept %q: %s", accept, rs.Header.Get("Content-Type"))
		}
	}
	if rs, body := m.do(http.MethodGet, path+"0", "", "", "Accept", wire.TypePEM); problem(t, rs, body).Reason != license.NotFound {
		t.Error("a file of a list that there is not")
	}
}
