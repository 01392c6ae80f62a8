// Package pgtest gives tests a PostgreSQL of their own: a private cluster on a
// unix socket, which the first test that asks for it starts and which ends with
// the test process, however that ends; or the server that EnvURL names.
//
// Where neither is to be had a test is skipped, with the reason, and fails where
// the environment says CI=true.
package pgtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// EnvURL names the environment variable with the URL of a server to use instead
// of a private cluster. Its user must be allowed to make schemas.
const EnvURL = "LICENSED_TEST_POSTGRES"

// URL returns the URL of a new, empty schema, which is dropped when tb ends. The
// private cluster behind it does not sync its files: it loses what a crash of
// the machine would take, and nothing when one of its processes is killed.
func URL(tb testing.TB) string {
	tb.Helper()
	if at := os.Getenv(EnvURL); at != "" {
		return schemaAt(tb, at)
	}
	c, err := shared()
	usable(tb, err)
	return schemaAt(tb, c.URL())
}

// Warm starts the private cluster before the first test asks for it: a test in a
// bubble of testing/synctest, whose clock runs ahead, cannot wait for a server.
func Warm() {
	if os.Getenv(EnvURL) == "" {
		_, _ = shared() // whoever needs it is told
	}
}

// Schema returns the URL of a new, empty schema. Where it stays until the test
// process ends, as it does in the private cluster, several tests can use it one after the
// other.
func Schema(tb testing.TB) (url string, stays bool) {
	tb.Helper()
	if os.Getenv(EnvURL) != "" {
		return URL(tb), false
	}
	c, err := shared()
	usable(tb, err)
	url, _ = newSchema(tb, c.URL())
	return url, true
}

// shared is the one cluster of a test process.
var shared = sync.OnceValues(func() (*Cluster, error) {
	return start("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=400")
}) //nolint:gochecknoglobals // one for a process

// New starts a cluster of its own for a test that shows durability or stops the
// server: its files are synced. It ends with tb.
func New(tb testing.TB, args ...string) *Cluster {
	tb.Helper()
	c, err := start(args...)
	usable(tb, err)
	tb.Cleanup(c.end)
	return c
}

func usable(tb testing.TB, err error) {
	tb.Helper()
	switch {
	case err == nil:
	case errors.Is(err, errNone) && os.Getenv("CI") != "true":
		tb.Skipf("%v; install PostgreSQL, or set %s", err, EnvURL)
	default:
		tb.Fatal(err)
	}
}

var errNone = errors.New("there is no PostgreSQL on this machine")

// Cluster is a running private cluster.
type Cluster struct {
	dir   string
	name  string // of a standby
	port  string // where it is not the usual one
	args  []string
	alive *os.File // its guard stops the server when this is closed
	guard *exec.Cmd
}

// URL is that of the database postgres, for its superuser.
func (c *Cluster) URL() string {
	return "postgres:///postgres?" + url.Values{"host": {c.dir}, "port": {cmp.Or(c.port, "5432")}, "user": {"postgres"}}.Encode()
}

// Schema returns the URL of a new schema of the cluster, which lasts as long as that.
func (c *Cluster) Schema(tb testing.TB) string {
	tb.Helper()
	name := newName()
	if err := c.Do("create schema " + name); err != nil {
		tb.Fatalf("make a schema for the test: %v", err)
	}
	return within(tb, c.URL(), name)
}

// start makes a cluster and waits until it answers.
func start(args ...string) (*Cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgtest") // short: the path of a socket is limited
	if err != nil {
		return nil, err
	}
	c := &Cluster{dir: dir, args: append([]string{
		filepath.Join(bin, "postgres"), "-D", filepath.Join(dir, "data"), "-k", dir, "-c", "listen_addresses=",
		"-c", "max_connections=100", "-c", "shared_buffers=64MB", "-c", "log_min_messages=warning",
	}, args...)}
	if err := c.make(bin); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return c, c.Start()
}

// make runs initdb. The default collation is one that sorts as people do, so
// that a statement shows which relies on a bytewise one without saying so.
func (c *Cluster) make(bin string) error {
	initdb := []string{
		filepath.Join(bin, "initdb"), "-D", filepath.Join(c.dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
		"--locale=C.UTF-8",
	}
	human := append(slices.Clone(initdb), "--locale-provider=icu", "--icu-locale=en")
	if err := own(c.dir); err != nil {
		return err
	}
	if _, err := c.run(human); err == nil {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(c.dir, "data")); err != nil {
		return err
	}
	out, err := c.run(initdb) // one without ICU
	if err != nil {
		return fmt.Errorf("make a private cluster: %w\n%s", err, out)
	}
	return nil
}

func (c *Cluster) run(args []string) ([]byte, error) {
	cmd := exec.CommandContext(context.Background(), args[0], args[1:]...) //nolint:gosec // programs of PostgreSQL
	cmd.Dir = c.dir
	if err := asUser(cmd); err != nil {
		return nil, err
	}
	return cmd.CombinedOutput()
}

// guarding starts the server, waits for the end of its input, which comes when the
// test process is gone or wants it, and stops the server. Where it is told so it
// removes what the cluster has left, too.
const guarding = `"$@" </dev/null & pid=$!; read -r left; kill -s "${left:-QUIT}" $pid; wait $pid; [ -n "$left" ] || rm -rf "$PGTEST_DIR"`

// Start starts the server, after Stop or Kill too, and waits until it answers.
func (c *Cluster) Start() error {
	in, alive, err := os.Pipe()
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // the guard has its own
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()                                                                                                     //nolint:errcheck // the guard has its own
	cmd := exec.CommandContext(context.Background(), "/bin/sh", append([]string{"-c", guarding, "pgtest"}, c.args...)...) //nolint:gosec // programs of PostgreSQL
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = c.dir, in, log, log
	cmd.Env = append(os.Environ(), "PGTEST_DIR="+c.dir)
	if err := errors.Join(asUser(cmd)); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	c.alive, c.guard = alive, cmd
	return c.wait()
}

// wait waits until the server answers.
func (c *Cluster) wait() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, c.URL())
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-ctx.Done():
			said, _ := os.ReadFile(filepath.Join(c.dir, "log"))
			c.end()
			return fmt.Errorf("the private cluster does not answer: %w\n%s", err, bytes.TrimSpace(said))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop stops the server as an administrator does who is in a hurry: it breaks
// off what is running. Kill has it die at once.
func (c *Cluster) Stop() error { return c.halt("INT") }

// Kill ends the server without a chance to do anything, and all that it has started.
func (c *Cluster) Kill() error { return c.halt("QUIT") }

func (c *Cluster) halt(signal string) error {
	_, err := c.alive.WriteString(signal + "\n")
	return errors.Join(err, c.guard.Wait(), c.alive.Close())
}

// end stops the server and removes the cluster.
func (c *Cluster) end() {
	if c.guard.ProcessState != nil { // it was stopped
		_ = os.RemoveAll(c.dir)
		return
	}
	_ = c.alive.Close()
	_ = c.guard.Wait()
}

// binaries finds the folder of PostgreSQL's programs.
func binaries() (string, error) {
	if runtime.GOOS == "windows" {
		return "", fmt.Errorf("%w that a test can start", errNone)
	}
	if at, err := exec.LookPath("postgres"); err == nil {
		if at, err = filepath.EvalSymlinks(at); err != nil { // beside the link need not be what is beside the program
			return "", err
		}
		return filepath.Dir(at), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return "", errNone
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return len(a) - len(b) + 2*bytes.Compare([]byte(a), []byte(b)) })), nil
}

// schemaAt makes a schema on a server, which is dropped when tb ends, and returns
// the URL that leads to it.
func schemaAt(tb testing.TB, at string) string {
	tb.Helper()
	url, drop := newSchema(tb, at)
	tb.Cleanup(func() {
		if err := drop(); err != nil {
			tb.Logf("drop the schema of the test: %v", err)
		}
	})
	return url
}

func newSchema(tb testing.TB, at string) (to string, drop func() error) {
	tb.Helper()
	name := newName()
	do := func(sql string) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), time.Minute) // also when the test has ended
		defer cancel()
		conn, err := pgx.Connect(ctx, at)
		if err != nil {
			return err
		}
		_, err = conn.Exec(ctx, sql)
		return errors.Join(err, conn.Close(ctx))
	}
	if err := do("create schema " + name); err != nil {
		tb.Fatalf("make a schema for the test: %v", err)
	}
	return within(tb, at, name), func() error { return do("drop schema " + name + " cascade") }
}

func newName() string {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	return "test_" + hex.EncodeToString(random[:])
}

// within returns the URL of a schema of a server.
func within(tb testing.TB, at, name string) string {
	tb.Helper()
	u, err := url.Parse(at)
	if err != nil {
		tb.Fatalf("%s is no URL", EnvURL)
	}
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return u.String()
}
