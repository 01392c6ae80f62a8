package deploy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/certtest"
)

// standIn is what the balancer sees of a daemon.
type standIn struct {
	name   string
	public *http.Server

	ready, alive atomic.Bool
	asked        atomic.Int64
}

func (d *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.asked.Add(1)
	if r.URL.Path == "/broken" { // it was killed at work
		panic(http.ErrAbortHandler)
	}
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s from %s", d.name, r.URL, body, strings.Join(r.Header.Values("X-Forwarded-For"), "+"))
}

func (d *standIn) ops(w http.ResponseWriter, r *http.Request) {
	ok := r.URL.Path == "/readyz" && d.ready.Load() || r.URL.Path == "/healthz" && d.alive.Load()
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// serve runs a handler until the test ends.
func serve(t *testing.T, l net.Listener, h http.Handler) *http.Server {
	t.Helper()
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-ended })
	return s
}

// listenBoth listens on one port of two addresses.
func listenBoth(t *testing.T) (a, b net.Listener, port string) {
	t.Helper()
	for range 100 {
		a, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(a.Addr().String())
		if b, err = net.Listen("tcp", "127.0.0.2:"+port); err == nil {
			return a, b, port
		}
		_ = a.Close()
	}
	t.Fatal("there is no port that is free on both addresses")
	return nil, nil, ""
}

// balanced starts the balancer, as it is configured, before two stand-ins. The ctx ends
// when it has.
func balanced(t *testing.T) (ctx context.Context, a, b *standIn, client, plain *http.Client) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	if runtime.GOOS != "linux" {
		t.Skip("the stand-ins need two addresses of loopback, which only Linux has unasked")
	}
	haproxy := program(t, "haproxy")
	opsA, opsB, port := listenBoth(t)
	a, b = &standIn{name: "a"}, &standIn{name: "b"}
	dir, err := os.MkdirTemp("", "balancer") //nolint:usetesting // the path of a socket is limited
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	env := append(os.Environ(), "LICENSED_OPS_PORT="+port, "LICENSED_BIND=unix@"+dir+"/tls", "LICENSED_BIND_PLAIN=unix@"+dir+"/plain", "LICENSED_CERT="+dir+"/cert.pem")
	for d, ops := range map[*standIn]net.Listener{a: opsA, b: opsB} {
		d.ready.Store(true)
		d.alive.Store(true)
		host, _, _ := net.SplitHostPort(ops.Addr().String())
		public, err := net.Listen("tcp", host+":0")
		if err != nil {
			t.Fatal(err)
		}
		d.public = serve(t, public, d)
		serve(t, ops, http.HandlerFunc(d.ops))
		env = append(env, "LICENSED_"+strings.ToUpper(d.name)+"="+public.Addr().String())
	}
	cert, key, err := certtest.SelfSigned(&x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"licence.example.com"}, NotAfter: time.Now().Add(24 * time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/cert.pem", append(cert, key...), 0o600); err != nil {
		t.Fatal(err)
	}
	config := folder + "haproxy/haproxy.cfg"
	check := exec.CommandContext(t.Context(), haproxy, "-c", "-f", config)
	check.Env = env
	if out, err := check.CombinedOutput(); err != nil || bytes.Contains(out, []byte("WARNING")) {
		t.Fatalf("haproxy -c: %v\n%s", err, out)
	}
	var log bytes.Buffer
	cmd := exec.Command(haproxy, "-db", "-f", config)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait(); cancel() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("the balancer said\n%s", log.String())
		}
		if strings.Contains(log.String(), "name-of-a-customer") {
			t.Errorf("the log holds a query:\n%s", log.String())
		}
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	over := func(socket string) *http.Client {
		path := filepath.Join(dir, socket)
		tr := &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "unix", path)
			},
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			// Of all but the first request of a connection that fails the balancer says nothing, so that the caller repeats it.
			DisableKeepAlives: true,
		}
		return &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	return ctx, a, b, over("tls"), over("plain")
}

const base = "https://licence.example.com"

// get asks for a path until the answer is as it should be.
func get(ctx context.Context, t *testing.T, c *http.Client, path string, want func(status int, body string) bool) {
	t.Helper()
	for {
		status, body, err := once(ctx, t, c, path)
		if err == nil && want(status, body) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %d %s %v", path, status, body, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func once(ctx context.Context, t *testing.T, c *http.Client, path string) (status int, body string, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, base+path, strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Forwarded-For", "203.0.113.7") // a lie
	answer, err := c.Do(r)
	if err != nil {
		return 0, "", err
	}
	data, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(data), errors.Join(err, answer.Body.Close())
}

func by(name string) func(int, string) bool {
	return func(status int, body string) bool {
		return status == http.StatusOK && strings.HasPrefix(body, name+" ")
	}
}

func TestBalancer(t *testing.T) {
	ctx, a, b, client, plain := balanced(t)
	get(ctx, t, client, "/v1/requests", by("a"))
	get(ctx, t, client, "/v1/requests", by("b"))

	// A caller cannot say that it is another one.
	_, body, err := once(ctx, t, client, "/marketplace/koogallery?customerName=name-of-a-customer")
	if err != nil || strings.Contains(body, "203.0.113.7") || !strings.Contains(body, "body") || !strings.Contains(body, "?customerName=") {
		t.Errorf("%s, %v", body, err)
	}

	// What a daemon was killed over is not sent to the other one: the caller repeats it.
	before := a.asked.Load() + b.asked.Load()
	if status, _, err := once(ctx, t, client, "/broken"); err != nil || status != http.StatusBadGateway {
		t.Errorf("status %d, %v", status, err)
	}
	if n := a.asked.Load() + b.asked.Load() - before; n != 1 {
		t.Errorf("it was sent %d times", n)
	}

	// One that is not ready gets nothing.
	a.ready.Store(false)
	get(ctx, t, client, "/v1/requests", by("b"))
	before = a.asked.Load()
	for range 20 { // the balancer may not have asked yet
		get(ctx, t, client, "/v1/requests", func(status int, _ string) bool { return status == http.StatusOK })
	}
	settled := func(n int64) bool { return a.asked.Load() == n }
	for !settled(before) {
		before = a.asked.Load()
		for range 20 {
			get(ctx, t, client, "/v1/requests", by("b"))
		}
	}

	// Where none is ready those that live say what is wrong.
	b.ready.Store(false)
	get(ctx, t, client, "/v1/requests", by("a"))

	// Where none lives, the balancer says so, and when to come again.
	a.alive.Store(false)
	b.alive.Store(false)
	get(ctx, t, client, "/v1/requests", func(status int, body string) bool {
		return status == http.StatusServiceUnavailable && strings.Contains(body, "no licence server")
	})

	// One that comes back is used at once.
	a.alive.Store(true)
	a.ready.Store(true)
	get(ctx, t, client, "/v1/requests", by("a"))

	// Plain text leads to TLS.
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://licence.example.com/activate", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := plain.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if to := answer.Header.Get("Location"); answer.StatusCode != http.StatusPermanentRedirect || to != base+"/activate" {
		t.Errorf("status %d, to %s", answer.StatusCode, to)
	}
}
