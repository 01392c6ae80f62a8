package e2e_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
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

	"github.com/seed-357fa782/licensed/internal/certtest"
)

// The stories of a merchant's staff, told with the built programs: a daemon that is
// a process of its own and can be killed, and licensectl.
func TestStories(t *testing.T) {
	teller := stories{t: t}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/stories",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("LICENSED_MACHINE_ID", "story-machine")
			env.Setenv("TZ", "Asia/Shanghai")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"daemon-start": teller.serve,
			"daemon-stop":  teller.stop,
			"daemon-kill":  teller.kill,
			"status":       wantStatus,
			"capture":      capture,
			"certificate":  certificate,
			"rewrite":      rewrite,
			"rows":         rows,
			"wait-lines":   waitLines,
			"same-lines":   sameLines,
		},
	})
}

// stories are the running daemons, by the folder of their script.
type stories struct {
	t       *testing.T
	running sync.Map
}

// serve starts the daemon of a script's folder, and sets ADMIN to its admin listener.
func (s *stories) serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: daemon-start")
	}
	work := ts.Getenv("WORK")
	here := &site{t: s.t, dir: work, config: filepath.Join(work, "licensed.yaml"), extra: []string{"LICENSED_MACHINE_ID=story-machine"}}
	cmd, log := here.command("serve", "--config", here.config, "--log-format", "json")
	ts.Check(cmd.Start())
	p := &process{site: here, cmd: cmd, log: log, exited: make(chan error, 1)}
	go func() { p.exited <- cmd.Wait() }()
	ts.Defer(p.kill)
	deadline := time.After(60 * time.Second)
	for !p.findAddresses() {
		select {
		case <-log.grew:
		case err := <-p.exited:
			p.exited <- err
			ts.Fatalf("the daemon exited: %v\n%s", err, log)
		case <-deadline:
			ts.Fatalf("the daemon does not serve:\n%s", log)
		}
	}
	if found := regexp.MustCompile(`"admin_tcp":"([^"]+)"`).FindStringSubmatch(log.String()); found != nil {
		ts.Setenv("ADMIN", "https://"+found[1])
	}
	s.running.Store(work, p)
}

func (s *stories) of(ts *testscript.TestScript) *process {
	p, ok := s.running.Load(ts.Getenv("WORK"))
	if !ok {
		ts.Fatalf("no daemon was started")
	}
	return p.(*process)
}

func (s *stories) stop(ts *testscript.TestScript, _ bool, _ []string) { ts.Check(s.of(ts).stop()) }

// kill ends the daemon as a power cut would.
func (s *stories) kill(ts *testscript.TestScript, _ bool, _ []string) { s.of(ts).kill() }

// wantStatus runs a command and demands one exit status.
func wantStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N command [args]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("%s exits %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// capture keeps what the first group of an expression finds in the last standard
// output as a variable.
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

// rewrite replaces the first match of an expression in a file.
func rewrite(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: rewrite IN OUT regexp replacement")
	}
	data := ts.ReadFile(args[0])
	at := regexp.MustCompile(args[2]).FindStringIndex(data)
	if at == nil {
		ts.Fatalf("%s is not in %s", args[2], args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(data[:at[0]]+args[3]+data[at[1]:]), 0o600))
}

// rows writes a file that asks for so many licences, each of an order of its own.
func rows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: rows FILE N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var b bytes.Buffer
	b.WriteString("customer,order,for\n")
	for i := range n {
		fmt.Fprintf(&b, "Customer %d,ORDER-%06d,365d\n", i, i)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o600))
}

// waitLines waits until a file has so many lines.
func waitLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: wait-lines FILE N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for {
		data, _ := os.ReadFile(ts.MkAbs(args[0])) // it may not be there yet
		if bytes.Count(data, []byte("\n")) >= n {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			ts.Fatalf("%s has %d lines, not %d", args[0], bytes.Count(data, []byte("\n")), n)
		}
	}
}

// sameLines wants the values of a column to be N different ones in one CSV file, and
// the same set in another.
func sameLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 5 {
		ts.Fatalf("usage: same-lines N FILE COLUMN FILE COLUMN")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	read := func(file, column string) map[string]int {
		seen := map[string]int{}
		lines := strings.Split(strings.TrimSpace(ts.ReadFile(file)), "\n")
		at := -1
		for i, name := range strings.Split(lines[0], ",") {
			if name == column {
				at = i
			}
		}
		for _, l := range lines[1:] {
			cells := strings.Split(l, ",")
			if at < 0 || at >= len(cells) {
				ts.Fatalf("%s has no %s in %q", file, column, l)
			}
			seen[cells[at]]++
		}
		if len(seen) != n || len(lines)-1 != n {
			ts.Fatalf("%s has %d lines with %d different %s, want %d", file, len(lines)-1, len(seen), column, n)
		}
		return seen
	}
	one, other := read(args[1], args[2]), read(args[3], args[4])
	for id := range one {
		if other[id] != 1 {
			ts.Fatalf("%s is in %s, and not in %s", id, args[1], args[3])
		}
	}
}

// certificate writes NAME.pem and NAME.key, for 127.0.0.1.
func certificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: certificate NAME")
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: args[0]},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	cert, key, err := certtest.SelfSigned(template)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pem"), cert, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), key, 0o600))
}
