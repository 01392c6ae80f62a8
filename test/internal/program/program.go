// Package program builds the programs and calls the daemon, for the tests that
// drive both as their users do.
package program

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license/wire"
)

// Main is for a TestMain, with its M.Run: it builds the programs into a folder as they
// are released, static, writes the folder to bin, runs the tests, and exits.
func Main(tests func() int, bin *string) {
	status, err := run(tests, bin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the programs:", err)
		status = 1
	}
	os.Exit(status)
}

func run(tests func() int, bin *string) (status int, err error) {
	dir, err := os.MkdirTemp("", "licensed-test-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	module := "github.com/seed-357fa782/licensed/"
	build := exec.CommandContext(context.Background(), "go", "build", "-o", dir, module+"cmd/licensed", module+"licensectl") //nolint:gosec // into a folder of its own
	build.Env, build.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := build.Run(); err != nil {
		return 0, err
	}
	*bin = dir
	return tests(), nil
}

// Serving reads where a daemon serves from a line of its log in JSON, which says so once.
func Serving(line string) (public, ops string, ok bool) {
	var e struct{ Msg, Public, Ops string }
	ok = json.Unmarshal([]byte(line), &e) == nil && e.Msg == "licensed is serving"
	return e.Public, e.Ops, ok
}

// Admin returns a client of the admin API at a socket.
func Admin(socket string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}
}

// Call sends JSON, nothing for a nil in, under an idempotency key unless that is
// empty, and returns the reason of a problem as an error.
func Call(ctx context.Context, c *http.Client, method, url, key string, in, out any) error {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return err
		}
	}
	rq, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	rq.Header.Set("Content-Type", wire.TypeJSON)
	if key != "" {
		rq.Header.Set(adminwire.HeaderKey, key)
	}
	rs, err := c.Do(rq)
	if err != nil {
		return err
	}
	defer rs.Body.Close()
	data, err := io.ReadAll(rs.Body)
	if err != nil {
		return err
	}
	if rs.StatusCode >= http.StatusBadRequest {
		var pr wire.Problem
		if err := json.Unmarshal(data, &pr); err != nil {
			return fmt.Errorf("HTTP %d: %s", rs.StatusCode, data)
		}
		return pr.Err()
	}
	return json.Unmarshal(data, out)
}
