package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The sandbox tells how to reach it, works as told, and ends when interrupted.
func TestSandbox(t *testing.T) {
	dir := t.TempDir()
	called := make(chan string, 10)
	merchant := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		called <- r.URL.Path
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"resultCode":"000000","resultMsg":"ok"}`)
	}))
	defer merchant.Close()
	key := filepath.Join(dir, "key")
	if err := os.WriteFile(key, []byte("callback-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	s := newScreen(t, "")
	r, w := io.Pipe()
	s.program.out = w
	done := make(chan int, 1)
	go func() {
		done <- s.run(ctx, []string{
			"licensectl", "sandbox", "--listen", "127.0.0.1:0", "--dir", filepath.Join(dir, "box"), "--product", "P1=One",
			"--callback", merchant.URL + "/marketplace/x", "--access-key-file", key, "-o", "json",
		})
		w.Close()
	}()
	var m market
	if err := json.NewDecoder(bufio.NewReader(r)).Decode(&m); err != nil {
		cancel()
		t.Fatalf("%v: exit %d: %s", err, <-done, &s.err)
	}
	if m.AccessKeyFile != key || m.Products[0] != "P1" {
		t.Errorf("got %+v", m)
	}
	code := buy(t, m, "P1")
	post(t, m, "freeze", map[string]string{"code": code})
	if got := <-called; got != "/marketplace/x" {
		t.Errorf("called %s", got)
	}
	cancel()
	if status := <-done; status != exitDone {
		t.Errorf("exit %d: %s", status, &s.err)
	}
	if kept, err := os.ReadFile(filepath.Join(dir, "box", "access-key")); err != nil || string(kept) != "callback-key\n" {
		t.Errorf("the folder tells another access key than the one in use (%v)", err)
	}
	for _, file := range []string{m.TokenFile, m.SecretKeyFile, filepath.Join(dir, "box", "ca-key.pem")} {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
		secret, err := os.ReadFile(file)
		if err != nil || bytes.Contains(s.err.Bytes(), bytes.TrimSpace(secret)) {
			t.Errorf("the log shows what is in %s (%v)", file, err)
		}
	}
}

func TestSandboxRefuses(t *testing.T) {
	dir := t.TempDir()
	for _, args := range []string{
		"--product =x", "--interval 0s", "--interval soon", "--callback http://example.com/x", "--callback-ca nowhere",
		"--access-key-file nowhere", "--callback http://127.0.0.1:1/ --callback-ca nowhere", "extra",
		"--product P1:web=One", "--fault rain=1", "--fault late", "--fault late=2", "--seed x", "--once", "--scenario nowhere", "--probe-interval -1s",
		"--day 0s", "--wait -1s", "--dialect tongue=x", "--dialect body_order=random", "--dialect body_order",
	} {
		s := newScreen(t, "")
		line := append([]string{"licensectl", "sandbox", "--listen", "127.0.0.1:0", "--dir", filepath.Join(dir, "box")}, strings.Fields(args)...)
		if status := s.run(t.Context(), line); status != exitUsage {
			t.Errorf("%s: exit %d: %s", args, status, &s.err)
		}
	}
}

// The plain form is what a person reads: it names the files and shows curl.
func TestSandboxScreen(t *testing.T) {
	s := newScreen(t, "")
	err := s.printMarket(market{
		URL: "https://127.0.0.1:9443", CAFile: "box/ca.pem", TokenFile: "box/control-token", Products: []string{"P1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"CA             box/ca.pem", "curl --cacert box/ca.pem", "base_urls: [https://127.0.0.1:9443]", "name the daemon with --callback"} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &s.out)
		}
	}
}

// Interrupted while it serves, it ends well and says what is lost.
func TestSandboxIsInterrupted(t *testing.T) {
	s := newScreen(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	s.program.out = w
	done := make(chan int, 1)
	go func() {
		done <- s.run(ctx, []string{"licensectl", "sandbox", "--listen", "127.0.0.1:0", "--dir", filepath.Join(t.TempDir(), "box")})
		w.Close()
	}()
	lines := bufio.NewScanner(r)
	told := false
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Ctrl-C") {
			told = true
			cancel()
		}
	}
	cancel()
	if status := <-done; status != exitDone || !told || !strings.Contains(s.err.String(), "the sandbox stops") {
		t.Errorf("exit %d, told %v: %s", status, told, &s.err)
	}
}

func buy(t *testing.T, m market, product string) string {
	t.Helper()
	var order struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal(post(t, m, "buy", map[string]string{"product": product, "period": "30d"}), &order); err != nil {
		t.Fatal(err)
	}
	return order.Code
}

func post(t *testing.T, m market, call string, in any) []byte {
	t.Helper()
	ca, err := os.ReadFile(m.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(m.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.URL+"/sandbox/v1/"+call, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	out, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", call, resp.StatusCode, out, err)
	}
	return out
}
