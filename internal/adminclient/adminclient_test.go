package adminclient_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// daemon serves h on a unix socket and returns the server's name.
func daemon(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Second}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return "unix:" + path
}

func connect(t *testing.T, server string, o adminclient.Options) *adminclient.Client {
	t.Helper()
	c, err := adminclient.New(server, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func answer(status int, media, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", media)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

// Every call uses the method, path and body of the admin API.
func TestCalls(t *testing.T) {
	type seen struct{ Method, Path, Query, Body string }
	var got seen
	server := daemon(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = seen{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, string(body)}
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		fmt.Fprint(w, "{}")
	})
	c := connect(t, server, adminclient.Options{})
	ctx := t.Context()
	end := time.Date(2027, 1, 31, 23, 59, 59, 0, time.UTC)
	for _, tt := range []struct {
		name string
		call func() error
		want seen
	}{
		{"status", func() error { _, err := c.Status(ctx); return err }, seen{"GET", "/admin/v1/status", "", ""}},
		{
			"issue", func() error {
				_, err := c.Issue(ctx, adminwire.Issue{Product: "p", ExpiresAt: &end, Count: 2})
				return err
			},
			seen{"POST", "/admin/v1/licenses", "", `{"product":"p","expires_at":"2027-01-31T23:59:59Z","count":2}`},
		},
		{"list", func() error { _, err := c.Licenses(ctx, adminclient.ListOptions{}); return err }, seen{"GET", "/admin/v1/licenses", "", ""}},
		{
			"list with all", func() error {
				_, err := c.Licenses(ctx, adminclient.ListOptions{
					State: license.StateActive, Product: "a b", Customer: "c", Order: "o", Channel: "manual", Last4: "ABCD",
					ExpiringWithin: "30d", Forked: true, Limit: 5, Cursor: "x=",
				})
				return err
			},
			seen{
				"GET", "/admin/v1/licenses",
				"channel=manual&cursor=x%3D&customer=c&expiring_within=30d&forked=true&last4=ABCD&limit=5&order=o&product=a+b&state=active", "",
			},
		},
		{"lookup", func() error { _, err := c.Lookup(ctx, "PL1"); return err }, seen{"POST", "/admin/v1/lookup", "", `{"ref":"PL1"}`}},
		{"show", func() error { _, err := c.License(ctx, "lic_1/../2"); return err }, seen{"GET", "/admin/v1/licenses/lic_1%2F..%2F2", "", ""}},
		{
			"renew", func() error { _, err := c.Renew(ctx, "lic_1", adminwire.Renew{For: "30d"}); return err },
			seen{"POST", "/admin/v1/licenses/lic_1/renew", "", `{"for":"30d"}`},
		},
		{
			"edit", func() error {
				_, err := c.Edit(ctx, "lic_1", adminwire.Edit{Phases: adminwire.Phases{Warn: "60d", Enforcement: license.EnforceDegrade}})
				return err
			},
			seen{"POST", "/admin/v1/licenses/lic_1/edit", "", `{"phases":{"warn":"60d","enforcement":"degrade"}}`},
		},
		{
			"accept the clock", func() error {
				_, err := c.AcceptClock(ctx, time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC))
				return err
			},
			seen{"POST", "/admin/v1/clock/accept", "", `{"shown":"2026-06-15T12:00:00Z"}`},
		},
		{"suspend", func() error { _, err := c.Suspend(ctx, "lic_1"); return err }, seen{"POST", "/admin/v1/licenses/lic_1/suspend", "", ""}},
		{"resume", func() error { _, err := c.Resume(ctx, "lic_1"); return err }, seen{"POST", "/admin/v1/licenses/lic_1/resume", "", ""}},
		{
			"revoke", func() error { _, err := c.Revoke(ctx, "lic_1", "why"); return err },
			seen{"POST", "/admin/v1/licenses/lic_1/revoke", "", `{"reason":"why"}`},
		},
		{
			"remove", func() error { _, err := c.RemoveInstall(ctx, "lic_1", "in/1", ""); return err },
			seen{"POST", "/admin/v1/licenses/lic_1/installs/in%2F1/remove", "", `{}`},
		},
		{"undo", func() error { _, err := c.UndoRevoke(ctx, "lic_1"); return err }, seen{"POST", "/admin/v1/licenses/lic_1/undo-revoke", "", ""}},
		{"release", func() error { _, err := c.Release(ctx, "lic_1"); return err }, seen{"POST", "/admin/v1/licenses/lic_1/release", "", ""}},
		{
			"answer", func() error { _, err := c.Answer(ctx, wire.Request{Request: "a.b.c", Code: "PL1"}); return err },
			seen{"POST", "/admin/v1/requests", "", `{"request":"a.b.c","code":"PL1"}`},
		},
		{
			"events", func() error {
				_, err := c.Events(ctx, adminclient.EventOptions{License: "lic_1", Action: license.ActionIssue, Limit: 1, Cursor: "c"})
				return err
			},
			seen{"GET", "/admin/v1/events", "action=license.issue&cursor=c&license=lic_1&limit=1", ""},
		},
		{"orders", func() error { _, err := c.Orders(ctx, adminclient.OrderOptions{}); return err }, seen{"GET", "/admin/v1/orders", "", ""}},
		{
			"orders with all", func() error {
				_, err := c.Orders(ctx, adminclient.OrderOptions{
					Open: true, Warned: true, Stage: license.StageDelivered, Channel: "k", Product: "p", Instance: "i", License: "lic_1", Limit: 5, Cursor: "x=",
				})
				return err
			},
			seen{
				"GET", "/admin/v1/orders",
				"channel=k&cursor=x%3D&instance=i&license=lic_1&limit=5&open=true&product=p&stage=delivered&warned=true", "",
			},
		},
		{
			"order", func() error {
				_, err := c.Order(ctx, "CS/1", adminwire.OrderLine{Channel: "k", Line: "a b"})
				return err
			},
			seen{"GET", "/admin/v1/orders/CS%2F1", "channel=k&line=a+b", ""},
		},
		{
			"add an order", func() error { _, err := c.AddOrder(ctx, adminwire.AddOrder{Order: "CS1", OrderedAt: &end}); return err },
			seen{"POST", "/admin/v1/orders", "", `{"order":"CS1","ordered_at":"2027-01-31T23:59:59Z"}`},
		},
		{
			"stage", func() error {
				_, err := c.SetStage(ctx, "CS1", adminwire.SetStage{OrderLine: adminwire.OrderLine{Line: "1"}, Stage: license.StageRejected, Note: "why"})
				return err
			},
			seen{"POST", "/admin/v1/orders/CS1/stage", "", `{"line":"1","stage":"rejected","note":"why"}`},
		},
		{
			"link", func() error { _, err := c.LinkOrder(ctx, "CS1", adminwire.LinkOrder{License: "lic_1"}); return err },
			seen{"POST", "/admin/v1/orders/CS1/link", "", `{"license":"lic_1"}`},
		},
		{
			"identify", func() error { _, err := c.Identify(ctx, adminwire.Identify{Ref: "PL1", Device: "HW"}); return err },
			seen{"POST", "/admin/v1/identify", "", `{"ref":"PL1","device":"HW"}`},
		},
		{
			"prove", func() error { _, err := c.Prove(ctx, adminwire.Prove{Ref: "PL1"}); return err },
			seen{"POST", "/admin/v1/proofs", "", `{"ref":"PL1"}`},
		},
		{"keys", func() error { _, err := c.Keys(ctx); return err }, seen{"GET", "/admin/v1/keys", "", ""}},
		{"anchors", func() error { _, err := c.Anchors(ctx); return err }, seen{"GET", "/admin/v1/keys/anchors", "", ""}},
		{"rotate", func() error { _, err := c.Rotate(ctx); return err }, seen{"POST", "/admin/v1/keys/rotate", "", ""}},
		{
			"propose without a key", func() error { _, err := c.Proposal(ctx, "k1", "k2"); return err },
			seen{"POST", "/admin/v1/keys/proposal", "revoke=k1&revoke=k2", ""},
		},
		{"propose", func() error { _, err := c.Proposal(ctx); return err }, seen{"POST", "/admin/v1/keys/proposal", "", ""}},
		{
			"install", func() error { _, err := c.InstallKeySet(ctx, "a.b.c"); return err },
			seen{"POST", "/admin/v1/keys/set", "", `{"token":"a.b.c"}`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got = seen{}
			if err := tt.call(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A refusal keeps its reason, detail, field and time to retry, whatever the status says.
func TestRefusal(t *testing.T) {
	for _, reason := range license.Reasons() {
		t.Run(string(reason), func(t *testing.T) {
			body, err := json.Marshal(wire.Problem{
				Status: 418, Reason: reason, Detail: "why", Field: "f", RetryAfter: 7, RequestID: "r1",
			})
			if err != nil {
				t.Fatal(err)
			}
			c := connect(t, daemon(t, answer(http.StatusTeapot, wire.TypeProblem+"; charset=utf-8", string(body))), adminclient.Options{})
			_, err = c.Status(t.Context())
			e, ok := errors.AsType[*license.Error](err)
			if !ok || e.Reason != reason || !strings.HasPrefix(e.Detail, "why") || e.Field != "f" || e.RetryAfter != 7*time.Second {
				t.Errorf("got %v", err)
			}
		})
	}
	// A failure of the server names the request under which its log has the cause.
	body := `{"status":500,"reason":"internal","detail":"failed","request_id":"r1"}`
	c := connect(t, daemon(t, answer(http.StatusInternalServerError, wire.TypeProblem, body)), adminclient.Options{})
	if _, err := c.Status(t.Context()); !errors.Is(err, license.Internal) || !strings.Contains(err.Error(), "request id r1") {
		t.Errorf("got %v", err)
	}
}

// What no daemon of ours answers is no answer, and the error says so.
func TestStrangers(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"page":           answer(200, "text/html", "<html>log in</html>"),
		"not found":      answer(404, "text/plain", "404"),
		"plain error":    answer(500, "application/json", "{}"),
		"no type":        answer(200, "", "{}"),
		"broken json":    answer(200, wire.TypeJSON, `{"version":`),
		"wrong json":     answer(200, wire.TypeJSON, `["a"]`),
		"empty problem":  answer(400, wire.TypeProblem, `{}`),
		"broken problem": answer(400, wire.TypeProblem, `<`),
		"broken off":     func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"half an answer": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "9")
			fmt.Fprint(w, "{")
		},
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://example.com/", http.StatusFound)
		},
		"file for status": answer(200, wire.TypePEM, "-----BEGIN LICENSE-----"),
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, daemon(t, h), adminclient.Options{})
			if _, err := c.Status(t.Context()); !errors.Is(err, license.Unreachable) {
				t.Errorf("got %v, want unreachable", err)
			}
		})
	}
	c := connect(t, daemon(t, answer(200, wire.TypeJSON, "{}")), adminclient.Options{})
	if _, err := c.Answer(t.Context(), wire.Request{}); !errors.Is(err, license.Unreachable) {
		t.Errorf("an answer that is no file: got %v", err)
	}
}

// An answer without end is cut off.
func TestAnswerLimit(t *testing.T) {
	c := connect(t, daemon(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", wire.TypeJSON)
		blank := []byte(strings.Repeat(" ", 1<<20))
		for {
			if _, err := w.Write(blank); err != nil {
				return
			}
		}
	}), adminclient.Options{})
	if _, err := c.Status(t.Context()); !errors.Is(err, license.Unreachable) || !strings.Contains(err.Error(), "64 MiB") {
		t.Errorf("got %v", err)
	}
}

// Numbers of features come through as they stand.
func TestNumbers(t *testing.T) {
	c := connect(t, daemon(t, answer(200, wire.TypeJSON, `{"features":{"a":12345678901234567890,"b":1e3,"c":true}}`)), adminclient.Options{})
	l, err := c.License(t.Context(), "lic_1")
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(l.Features); got != "map[a:12345678901234567890 b:1e3 c:true]" {
		t.Error(got)
	}
}

// Nobody there, nothing allowed, no answer: each is said in words that help.
func TestUnreachable(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tlsServer := httptest.NewTLSServer(answer(200, wire.TypeJSON, "{}"))
	defer tlsServer.Close()
	httpServer := httptest.NewServer(answer(200, wire.TypeJSON, "{}"))
	defer httpServer.Close()

	for name, tt := range map[string]struct{ server, want string }{
		"no socket":       {"unix:" + filepath.Join(dir, "none.sock"), `there is no socket`},
		"stale socket":    {"unix:" + stale, `it has stopped; start it with "licensed serve"`},
		"no socket at it": {"unix:" + plain, ""},
		"nobody listens":  {"https://127.0.0.1:1", "nothing listens"},
		"not trusted":     {tlsServer.URL, "signed by nobody that this machine trusts"},
		"no TLS":          {strings.Replace(httpServer.URL, "http:", "https:", 1), "cannot be reached: server gave HTTP response"},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, tt.server, adminclient.Options{})
			_, err := c.Status(t.Context())
			e, ok := errors.AsType[*license.Error](err)
			if !ok || e.Reason != license.Unreachable || !strings.Contains(e.Detail, tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestTimeout(t *testing.T) {
	c := connect(t, daemon(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
		adminclient.Options{Timeout: 20 * time.Millisecond})
	if _, err := c.Status(t.Context()); !errors.Is(err, license.Unreachable) || !strings.Contains(err.Error(), "within 20ms") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, license.Unreachable) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, server := range []string{
		"", "unix:", "x", "https://", "ftp://host", "http://192.0.2.1", "http://example.com:80", "https://u:p@host",
		"https://host?a=b", "https://host#f", "https:opaque", "://", "unix:/" + strings.Repeat("x", 200),
	} {
		if _, err := adminclient.New(server, adminclient.Options{}); !errors.Is(err, license.BadRequest) {
			t.Errorf("%q: got %v, want bad_request", server, err)
		}
	}
	for _, server := range []string{"unix:a.sock", "unix:///run/a.sock", "http://localhost:1", "http://[::1]:1/", "https://host/path/"} {
		if _, err := adminclient.New(server, adminclient.Options{}); err != nil {
			t.Errorf("%q: %v", server, err)
		}
	}
}

// The token travels as a bearer token and shows nowhere else.
func TestToken(t *testing.T) {
	var got string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		answer(401, wire.TypeProblem, `{"reason":"unauthorized","status":401}`)(w, r)
	}))
	defer s.Close()
	path := filepath.Join(t.TempDir(), "token")
	write := func(text string, perm os.FileMode) {
		t.Helper()
		if err := errors.Join(os.WriteFile(path, []byte(text), perm), os.Chmod(path, perm)); err != nil {
			t.Fatal(err)
		}
	}
	write("s3cret\n", 0o600)
	c := connect(t, s.URL, adminclient.Options{TokenFile: path})
	_, err := c.Status(t.Context())
	if !errors.Is(err, license.Unauthorized) || got != "Bearer s3cret" {
		t.Errorf("got %v with %q", err, got)
	}
	if all := fmt.Sprintf("%v %+v %#v %v", c, c, c, err); strings.Contains(all, "s3cret") {
		t.Error("the token is printed")
	}
	for _, bad := range []struct {
		text string
		perm os.FileMode
	}{{"", 0o600}, {"\n", 0o600}, {"two words", 0o600}, {"ü", 0o600}, {strings.Repeat("x", 5000), 0o600}, {"s3cret", 0o644}} {
		write(bad.text, bad.perm)
		if _, err := adminclient.New(s.URL, adminclient.Options{TokenFile: path}); !errors.Is(err, license.BadRequest) {
			t.Errorf("%.10q %o: got %v", bad.text, bad.perm, err)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error shows the token: %v", err)
		}
	}
	for _, path := range []string{filepath.Join(t.TempDir(), "none"), t.TempDir()} {
		if _, err := adminclient.New(s.URL, adminclient.Options{TokenFile: path}); !errors.Is(err, license.BadRequest) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// The answer to a request file is a licence file, as it stands.
func TestPEM(t *testing.T) {
	want := pem.EncodeToMemory(&pem.Block{Type: "LICENSE", Bytes: []byte("x")})
	c := connect(t, daemon(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != wire.TypePEM {
			t.Errorf("accept %q", r.Header.Get("Accept"))
		}
		answer(200, wire.TypePEM, string(want))(w, r)
	}), adminclient.Options{})
	got, err := c.Answer(t.Context(), wire.Request{Request: "r"})
	if err != nil || string(got) != string(want) {
		t.Errorf("got %q, %v", got, err)
	}
}
