package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// A scenario that is played once is a test of a merchant: it ends by itself,
// and its status says how it went.
func TestSandboxScenario(t *testing.T) {
	var calls atomic.Int32
	merchant := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); !strings.Contains(string(body), `"testFlag":"1"`) { // by which it waits
			calls.Add(1)
		}
		_, _ = io.WriteString(w, `{"resultCode":"000000"}`)
	}))
	defer merchant.Close()
	const steps = `{
  "products": [{"id": "P1"}], "seed": 3, "retry_interval": "1ms", "faults": {"lost-answer": 1}, "limit": 2,
  "steps": [
    {"do": "buy", "product": "P1", "period": "30d", "as": "a"},
    {"do": "freeze", "of": "a"},
    {"do": "settle"},
    {"do": "expect", "of": "a", "frozen": true, "told": true, "pending": 0},
    {"do": "expect", "failed": FAILED}
  ]
}`
	run := func(failed string, more ...string) (int, *screen) {
		t.Helper()
		dir := t.TempDir()
		file := filepath.Join(dir, "week.json")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(steps, "FAILED", failed)), 0o600); err != nil {
			t.Fatal(err)
		}
		s := newScreen(t, "")
		line := append([]string{
			"licensectl", "sandbox", "--listen", "127.0.0.1:0", "--dir", filepath.Join(dir, "box"), "-o", "json",
			"--callback", merchant.URL + "/x", "--scenario", file, "--once",
		}, more...)
		return s.run(t.Context(), line), s
	}
	status, s := run("0")
	if status != exitDone || calls.Load() != 3 || !strings.Contains(s.err.String(), "all 5 steps were done") {
		t.Errorf("exit %d after %d calls: %s", status, calls.Load(), &s.err)
	}
	var m market
	if err := json.Unmarshal(s.out.Bytes(), &m); err != nil || m.Seed != 3 || m.Page != m.URL+"/sandbox/" || m.Products[0] != "P1" {
		t.Errorf("%v: %+v", err, m)
	}
	status, s = run("1")
	if status != exitFailed || !strings.Contains(s.err.String(), "week.json:8: expect: failed is 0, expected 1") {
		t.Errorf("exit %d: %s", status, &s.err)
	}
	status, s = run("x")
	if status != exitUsage || !strings.Contains(s.err.String(), "week.json:8") {
		t.Errorf("exit %d: %s", status, &s.err)
	}
	// Flags go before the file.
	calls.Store(0)
	status, s = run("0", "--fault", "late=0", "--seed", "9")
	if err := json.Unmarshal(s.out.Bytes(), &m); err != nil || status != exitDone || m.Seed != 9 || calls.Load() != 1 {
		t.Errorf("exit %d after %d calls, %v: %s", status, calls.Load(), err, &s.err)
	}
}

// A scenario begins when the merchant answers, and not later than it was told
// to wait.
func TestSandboxWaitsForTheMerchant(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "s.json")
	const steps = `{"max_attempts": 1, "steps": [
		{"do": "buy", "product": "OFFI0001", "as": "a"}, {"do": "freeze", "of": "a"}, {"do": "settle"}, {"do": "expect", "of": "a", "told": true}]}`
	if err := os.WriteFile(file, []byte(steps), 0o600); err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int32
	late := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) < 3 { // a proxy whose merchant has not started
			w.WriteHeader(http.StatusBadGateway)
		}
		_, _ = io.WriteString(w, `{"resultCode":"000000"}`)
	}))
	defer late.Close()
	_, status, log := runToEnd(t, "--dir", filepath.Join(dir, "box"), "--scenario", file, "--once", "--callback", late.URL)
	if status != exitDone || calls.Load() != 4 {
		t.Errorf("exit %d after %d calls: %s", status, calls.Load(), log)
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	_, status, log = runToEnd(t, "--dir", filepath.Join(dir, "box"), "--scenario", file, "--once", "--callback", gone.URL, "--wait", "1ms")
	if status != exitFailed || !strings.Contains(log, "did not answer within 1ms") || strings.Contains(log, "done") {
		t.Errorf("exit %d: %s", status, log)
	}
}

// runToEnd runs a command that ends by itself.
func runToEnd(t *testing.T, args ...string) (out string, status int, log string) {
	t.Helper()
	s := newScreen(t, "")
	status = s.run(t.Context(), append([]string{"licensectl", "sandbox", "--listen", "127.0.0.1:0"}, args...))
	return s.out.String(), status, s.err.String()
}

func TestBeyondLoopback(t *testing.T) {
	for address, want := range map[string]bool{
		"127.0.0.1:9443": false, "localhost:1": false, "[::1]:1": false, "0.0.0.0:1": true, ":1": true, "192.0.2.1:1": true, "box.example:1": true,
	} {
		if got := beyondLoopback(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}
