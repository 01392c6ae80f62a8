package pgtest_test

import (
	"bufio"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/internal/pgtest"
)

// dirOf is where the cluster of a URL lies.
func dirOf(t *testing.T, at string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("host")
}

// TestURL checks that two tests do not see each other's tables.
func TestURL(t *testing.T) {
	for range 2 {
		conn, err := pgx.Connect(t.Context(), pgtest.URL(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Exec(t.Context(), "create table a (b int)"); err != nil {
			t.Error(err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

const envChild = "PGTEST_CHILD"

// TestChild is the process that TestKilled kills: it starts a cluster, says where,
// and waits.
func TestChild(t *testing.T) {
	if os.Getenv(envChild) == "" {
		return // it is only a part of TestKilled
	}
	c := pgtest.New(t)
	if _, err := os.Stdout.WriteString("cluster " + dirOf(t, c.URL()) + "\n"); err != nil {
		t.Fatal(err)
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// TestKilled checks that a test process that is killed leaves neither a server nor
// its files.
func TestKilled(t *testing.T) {
	pgtest.New(t) // skips where there is none
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$")
	cmd.Env = append(os.Environ(), envChild+"=1")
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	dir := ""
	for lines := bufio.NewScanner(out); dir == "" && lines.Scan(); {
		dir, _ = strings.CutPrefix(lines.Text(), "cluster ")
	}
	if _, err := os.Stat(dir); dir == "" || err != nil {
		t.Fatalf("the child has no cluster at %q: %v", dir, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for {
		_, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) { // which the guard does last
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatal(err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
