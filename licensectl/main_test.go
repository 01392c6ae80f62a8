package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/license/wire"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"licensectl": main})
}

func TestScripts(t *testing.T) {
	var running daemons
	var hooks receivers
	bin := started(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			// Containers have no identity of their own.
			env.Setenv("LICENSED_MACHINE_ID", "script-machine")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each command ends a second late under the race detector
			env.Setenv("TZ", "Asia/Shanghai")         // everything is said in UTC all the same
			if bin != "" {
				env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"daemon-start": running.start,
			"daemon-stop":  running.stop,
			"status":       wantStatus,
			"capture":      capture,
			"fetch":        fetch,
			"callback":     callback,
			"orders-file":  ordersFile,
			"certificate":  certificate,
			"rewrite":      rewrite,
			"pick":         pick,
			"receiver":     hooks.command,
			"wait-for":     waitFor,
			"same-answer":  sameAnswer,
			"scan":         between(scan),
			"mail":         between(mail),
			"photo":        between(photo),
			"blur":         between(blur),
			"half":         between(half),
		},
	})
}

// daemons are the running ones, by their script's folder.
type daemons struct{ byFolder sync.Map }

const scriptConfig = `data_dir: licensed-data
issuer: https://licence.example.com
public: {listen: "127.0.0.1:0"}
ops: {listen: ""}
products:
  - {id: demo, features: {export: true, projects: 10}}
  - {id: cad-pro, machines: 2, features: {render: true}}
`

// start runs a daemon in the script's folder, as licensed serve does. A script
// may bring a configuration of its own.
func (r *daemons) start(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: daemon-start")
	}
	path := filepath.Join(ts.Getenv("WORK"), "licensed.yaml")
	if _, err := os.Stat(path); err != nil {
		ts.Check(os.WriteFile(path, []byte(scriptConfig), 0o600))
	}
	d, err := daemon.New(context.Background(), daemon.Options{ConfigFile: path})
	ts.Check(err)
	ts.Check(d.Start())
	stop := func() error { return d.Stop(context.Background()) }
	ts.Setenv("PUBLIC", "http://"+d.Addr())
	ts.Setenv("ADMIN", "https://"+d.AdminAddr())
	r.byFolder.Store(ts.Getenv("WORK"), stop)
	ts.Defer(func() { _ = stop() })
}

func (r *daemons) stop(ts *testscript.TestScript, neg bool, args []string) {
	stop, ok := r.byFolder.Load(ts.Getenv("WORK"))
	if neg || len(args) != 0 || !ok {
		ts.Fatalf("usage: daemon-stop, after daemon-start")
	}
	ts.Check(stop.(func() error)())
}

// wantStatus runs a command and demands one exit status.
func wantStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command [args]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("%s exits %d, want %d", strings.Join(args[1:], " "), got, want)
	}
	if lines := strings.Count(ts.ReadFile("stderr"), "licensectl: "); want != 0 && lines != 1 {
		ts.Fatalf("%d error lines, want 1", lines)
	}
}

// fetch writes a public document in its form as a file. A file that is there
// already is what was fetched before: then it waits for the next one.
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fetch PATH FILE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	path := ts.MkAbs(args[1])
	old, _ := os.ReadFile(path) // there may be none
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		rq, err := http.NewRequestWithContext(ctx, http.MethodGet, ts.Getenv("PUBLIC")+args[0], nil)
		ts.Check(err)
		rq.Header.Set("Accept", wire.TypePEM)
		rs, err := http.DefaultClient.Do(rq)
		ts.Check(err)
		body, err := io.ReadAll(rs.Body)
		ts.Check(errors.Join(err, rs.Body.Close()))
		if rs.StatusCode != http.StatusOK {
			ts.Fatalf("%s: HTTP %d %s", args[0], rs.StatusCode, body)
		}
		if !bytes.Equal(body, old) {
			ts.Check(os.WriteFile(path, body, 0o600))
			return
		}
		<-tick.C
	}
}

// capture keeps what the first group of an expression finds in the last
// standard output as a variable.
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME regexp")
	}
	found := regexp.MustCompile(args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) < 2 {
		ts.Fatalf("%s is not found in the output", args[1])
	}
	ts.Setenv(args[0], found[1])
}
