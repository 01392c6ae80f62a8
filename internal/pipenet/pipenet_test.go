package pipenet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/internal/pipenet"
)

// serve runs handler on l until the test has ended.
func serve(t *testing.T, l *pipenet.Listener, handler http.HandlerFunc) *http.Client {
	t.Helper()
	srv := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	client := l.Client()
	t.Cleanup(func() {
		client.CloseIdleConnections()
		if err := srv.Shutdown(context.Background()); err != nil { //nolint:usetesting // the test's own context has ended by now
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("server ended with %v", err)
		}
	})
	return client
}

func get(t *testing.T, client *http.Client, url string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestHTTPInBubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := serve(t, pipenet.Listen(), func(w http.ResponseWriter, r *http.Request) {
			if _, err := netip.ParseAddrPort(r.RemoteAddr); err != nil {
				t.Errorf("remote address: %v", err)
			}
			time.Sleep(time.Hour) // virtual
			fmt.Fprint(w, r.Host, strings.Repeat(".", 100_000))
		})
		before := time.Now()
		for range 3 {
			body, err := get(t, client, "http://licence.example.com/")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(body, "licence.example.com.") || len(body) != 100_019 {
				t.Errorf("body of %d bytes: %.30q", len(body), body)
			}
		}
		if d := time.Since(before); d != 3*time.Hour {
			t.Errorf("took %v of virtual time", d)
		}
	})
}

// Deadlines work, so server and client timeouts can be tested.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := serve(t, pipenet.Listen(), func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		client.Timeout = time.Minute
		_, err := get(t, client, "http://h/")
		var timeout net.Error
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("error is %v", err)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipenet.Listen()
		waiting := make(chan error, 1)
		go func() {
			_, err := l.DialContext(t.Context(), "", "")
			waiting <- err
		}()
		synctest.Wait() // the dial waits for somebody to accept
		for range 2 {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}
		if err := <-waiting; !errors.Is(err, pipenet.ErrRefused) {
			t.Errorf("waiting dial: %v", err)
		}
		if _, err := l.DialContext(t.Context(), "", ""); !errors.Is(err, pipenet.ErrRefused) {
			t.Errorf("late dial: %v", err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept: %v", err)
		}
	})
}

// A connection outlives the listener that accepted it.
func TestConnOutlivesListener(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipenet.Listen()
		accepted := make(chan net.Conn, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
			}
			accepted <- c
		}()
		client, err := l.DialFrom(t.Context(), netip.MustParseAddr("192.0.2.7"))
		if err != nil {
			t.Fatal(err)
		}
		server := <-accepted
		if host, _, err := net.SplitHostPort(server.RemoteAddr().String()); err != nil || host != "192.0.2.7" {
			t.Errorf("remote address is %v, %v", server.RemoteAddr(), err)
		}
		if server.RemoteAddr().String() != client.LocalAddr().String() {
			t.Errorf("ends disagree: %v, %v", server.RemoteAddr(), client.LocalAddr())
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		go func() {
			_, err := io.WriteString(client, "still here")
			if err := errors.Join(err, client.Close()); err != nil {
				t.Error(err)
			}
		}()
		if got, err := io.ReadAll(server); err != nil || string(got) != "still here" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestDialCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := pipenet.Listen()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 2 { // while waiting, then with a context that is over
			if _, err := l.DialContext(ctx, "", ""); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error is %v", err)
			}
		}
	})
}
