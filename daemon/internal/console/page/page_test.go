package page_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/console/page"
)

// one is a Site with one page.
func one(t *testing.T, body string) *page.Site {
	t.Helper()
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	s, err := page.New(page.Options{Prefix: "/p/", Zone: zone, Files: fstest.MapFS{
		"one.html":        {Data: []byte(`{{define "title"}}One{{end}}{{define "site"}}Test{{end}}{{define "header"}}{{end}}{{define "footer"}}{{end}}{{define "main"}}` + body + `{{end}}`)},
		"text/en.json":    {Data: []byte(`{"apples.one": "{0} apple for {1}", "apples.other": "{0} apples for {1}"}`)},
		"text/zh-CN.json": {Data: []byte(`{"apples.one": "{1}有{0}个苹果", "apples.other": "{1}有{0}个苹果"}`)},
		"asset/own.js":    {Data: []byte(strings.Repeat("let x = 1;\n", 100))},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func write(t *testing.T, s *page.Site, lang, path string, data any) (main string, rs *httptest.ResponseRecorder) {
	t.Helper()
	rq := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	rq.Header.Set("Accept-Language", lang)
	rs = httptest.NewRecorder()
	if err := s.Write(rs, rq, http.StatusOK, "one", nil, data); err != nil {
		t.Fatal(err)
	}
	_, main, _ = strings.Cut(rs.Body.String(), `<main id="main" tabindex="-1">`)
	main, _, _ = strings.Cut(main, "</main>")
	return strings.TrimSpace(main), rs
}

// Dates, numbers and texts are written as each language does.
func TestLocalised(t *testing.T) {
	t.Parallel()
	at := time.Date(2027, 1, 31, 15, 59, 59, 0, time.UTC)
	var none *time.Time
	three := 3
	for _, c := range []struct {
		body string
		data any
		en   string
		zh   string
	}{
		{`{{date .Data}}`, at, "31 Jan 2027, 23:59 CST", "2027年1月31日 23:59 CST"},
		{`{{day .Data}}`, &at, "31 Jan 2027", "2027年1月31日"},
		{`{{date .Data}}`, none, "–", "–"},
		{`{{iso .Data}}`, at, "2027-01-31T15:59:59Z", "2027-01-31T15:59:59Z"},
		{`{{num .Data}}`, 1234567, "1,234,567", "1,234,567"},
		{`{{num .Data}}`, -1234, "−1,234", "−1,234"},
		{`{{num .Data}}`, &three, "3", "3"},
		{`{{bytes .Data}}`, int64(1536 << 20), "1.5 GiB", "1.5 GiB"},
		{`{{t "apples" .Data "Ann"}}`, 1, "1 apple for Ann", "Ann有1个苹果"},
		{`{{t "apples" .Data "{0}"}}`, 2000, "2,000 apples for {0}", "{0}有2,000个苹果"},
		{`{{t "nothing" .Data}}`, 1, "nothing", "nothing"},
		{`{{word "state" .Data}}`, "active", "Active", "使用中"},
		{`{{word "state" .Data}}`, "new", "new", "new"},
		{`{{span .Data}}`, 36 * time.Hour, "36 hours", "36 小时"},
		{`{{span .Data}}`, 61 * time.Second, "1 minute", "1 分钟"},
		{`{{span .Data}}`, 30 * 24 * time.Hour, "30 days", "30 天"},
		{`{{.Data}}`, `<script>"'&`, "&lt;script&gt;&#34;&#39;&amp;", "&lt;script&gt;&#34;&#39;&amp;"},
	} {
		s := one(t, c.body)
		for lang, want := range map[string]string{"en": c.en, "zh": c.zh} {
			if got, _ := write(t, s, lang, "/p/", c.data); got != want {
				t.Errorf("%s in %s: %q, want %q", c.body, lang, got, want)
			}
		}
	}
}

// A page that cannot be made is not sent by half.
func TestPageThatCannotBeMade(t *testing.T) {
	t.Parallel()
	s := one(t, `{{.Data.Missing.Field}}`)
	rs := httptest.NewRecorder()
	rq := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/p/", nil)
	if err := s.Write(rs, rq, http.StatusOK, "one", nil, 1); err == nil || rs.Code != http.StatusInternalServerError || strings.Contains(rs.Body.String(), "<html") {
		t.Errorf("%v, HTTP %d: %s", err, rs.Code, rs.Body)
	}
}

// The switch of the language leads back to the very page, on this server.
func TestSwitch(t *testing.T) {
	t.Parallel()
	s := one(t, `{{template "switch" .}}`)
	main, _ := write(t, s, "en", "/p/list?state=a%26b&lang=xx", nil)
	if !strings.Contains(main, `href="/p/list?lang=zh-CN&amp;state=a%26b"`) {
		t.Errorf("%s", main)
	}
	for path, want := range map[string]string{
		"/p/list?state=a%26b&lang=zh-CN": "/p/list?state=a%26b",
		"//evil.test/p/?lang=en":         "/",
		`/\evil.test/?lang=en`:           "/%5Cevil.test/",
		"/p/?lang=de":                    "",
	} {
		rq := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/p/", nil)
		p, q, _ := strings.Cut(path, "?")
		rq.URL = &url.URL{Scheme: "http", Host: "licence.test", Path: p, RawQuery: q}
		rs := httptest.NewRecorder()
		did := s.Switch(rs, rq, true)
		if did != (want != "") || rs.Header().Get("Location") != want {
			t.Errorf("%s: %v, to %q, want %q", path, did, rs.Header().Get("Location"), want)
		}
	}
}

// Files have addresses that change with them, and are served under no other.
func TestFiles(t *testing.T) {
	t.Parallel()
	s := one(t, `{{asset "own.js"}}`)
	path, _ := write(t, s, "en", "/p/", nil)
	mux := http.NewServeMux()
	s.Register(mux)
	for _, c := range []struct {
		path, accept, encoding string
		status                 int
	}{
		{path, "gzip, br", "gzip", http.StatusOK},
		{path, "gzip;q=0", "", http.StatusOK},
		{"/p/asset/own.js", "", "", http.StatusNotFound},
		{"/p/asset/", "", "", http.StatusNotFound},
	} {
		rq := httptest.NewRequestWithContext(t.Context(), http.MethodGet, c.path, nil)
		rq.Header.Set("Accept-Encoding", c.accept)
		rs := httptest.NewRecorder()
		mux.ServeHTTP(rs, rq)
		if rs.Code != c.status || rs.Header().Get("Content-Encoding") != c.encoding {
			t.Errorf("%s: HTTP %d, %q", c.path, rs.Code, rs.Header().Get("Content-Encoding"))
		}
		if c.status == http.StatusOK && (rs.Header().Get("Content-Type") != "text/javascript; charset=utf-8" || !strings.Contains(rs.Header().Get("Cache-Control"), "immutable")) {
			t.Errorf("%s: %v", c.path, rs.Header())
		}
	}
}
