package operation_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// The client's address is the peer's, unless a trusted proxy says otherwise;
// what the client itself writes into the header counts for nothing.
func TestClientAddr(t *testing.T) {
	t.Parallel()
	trusted := operation.Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct{ peer, forwarded, want string }{
		{"203.0.113.7:1234", "", "203.0.113.7"},
		{"203.0.113.7:1234", "198.51.100.1", "203.0.113.7"},
		{"10.0.0.1:1234", "198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1234", "1.2.3.4, 198.51.100.1", "198.51.100.1"},
		{"10.0.0.1:1234", "198.51.100.1, 10.0.0.2", "198.51.100.1"},
		{"10.0.0.1:1234", "garbage", "10.0.0.1"},
		{"10.0.0.1:1234", "198.51.100.1:5678", "198.51.100.1"},
		{"10.0.0.1:1234", "[2001:db8::5]:5678", "2001:db8::5"},
		{"10.0.0.1:1234", "", "10.0.0.1"},
		{"[fd00::1]:1234", "2001:db8::5", "2001:db8::5"},
		{"[::ffff:203.0.113.7]:1234", "", "203.0.113.7"},
		{"@", "198.51.100.1", "local"},
	} {
		mux := http.NewServeMux()
		got := ""
		mux.HandleFunc("GET /", func(_ http.ResponseWriter, r *http.Request) { got = operation.ClientAddr(r.Context()) })
		rq := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		rq.RemoteAddr = c.peer
		if c.forwarded != "" {
			rq.Header.Set("X-Forwarded-For", c.forwarded)
		}
		operation.Wrap(mux, slog.New(slog.DiscardHandler), trusted).ServeHTTP(httptest.NewRecorder(), rq)
		if got != c.want {
			t.Errorf("peer %s, forwarded for %q: %s, want %s", c.peer, c.forwarded, got, c.want)
		}
	}
}

// A handler that panics is a 500 with a fixed text, and its cause is logged by
// kind only.
func TestPanic(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(http.ResponseWriter, *http.Request) { panic("LIC-SECRET") })
	mux.HandleFunc("GET /error", func(w http.ResponseWriter, r *http.Request) {
		operation.WriteProblem(w, r, errors.New("dial tcp 10.0.0.1:5432: refused"))
	})
	var log strings.Builder
	h := operation.Wrap(mux, slog.New(slog.NewTextHandler(&log, nil)), nil)
	for _, path := range []string{"/", "/error"} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		var p wire.Problem
		if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
			t.Fatal(err)
		}
		if rec.Code != http.StatusInternalServerError || p.Reason != license.Internal || strings.Contains(rec.Body.String(), "10.0.0.1") {
			t.Errorf("HTTP %d: %s", rec.Code, rec.Body)
		}
		if p.RequestID == "" || !strings.Contains(log.String(), p.RequestID) {
			t.Error("the log does not name the request")
		}
	}
	if strings.Contains(log.String(), "LIC-SECRET") {
		t.Error("what a panic carried is in the log")
	}
	if !strings.Contains(log.String(), "10.0.0.1") {
		t.Error("the cause is not in the log")
	}
}
