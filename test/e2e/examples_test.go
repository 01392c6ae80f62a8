package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client/clienttest"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// examples are the programs of the folder examples, built as a merchant's
// developer would, with anchors in place of the empty anchors.json: those of a
// key folder that the sites of these tests share, and those of clienttest.
type examples struct {
	keys     string // the key folder
	programs string // where the built programs are
}

var builtExamples = sync.OnceValues(buildExamples)

func buildExamples() (examples, error) {
	e := examples{keys: filepath.Join(bin, "keys"), programs: filepath.Join(bin, "examples")}
	if out, err := exec.Command(filepath.Join(bin, "licensectl"), "keys", "init", "--dir", e.keys, "--issuer", "http://licence.test", "--yes").CombinedOutput(); err != nil {
		return e, fmt.Errorf("make keys: %w\n%s", err, out)
	}
	raw, err := exec.Command(filepath.Join(bin, "licensectl"), "keys", "anchors", "--dir", e.keys, "-o", "json").Output()
	if err != nil {
		return e, fmt.Errorf("get the anchors: %w", err)
	}
	type document struct {
		Anchors []json.RawMessage `json:"anchors"`
	}
	var ours, fakes document
	if err := json.Unmarshal(raw, &ours); err != nil {
		return e, err
	}
	if err := json.Unmarshal(clienttest.AnchorsJSON(), &fakes); err != nil {
		return e, err
	}
	ours.Anchors = append(ours.Anchors, fakes.Anchors...)
	if raw, err = json.Marshal(ours); err != nil {
		return e, err
	}
	anchors := filepath.Join(bin, "anchors.json")
	if err := os.WriteFile(anchors, raw, 0o600); err != nil {
		return e, err
	}
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for _, name := range []string{"desktop", "service", "airgap"} {
		empty, err := filepath.Abs(filepath.Join("..", "..", "examples", name, "anchors.json"))
		if err != nil {
			return e, err
		}
		overlay.Replace[empty] = anchors
	}
	if raw, err = json.Marshal(overlay); err != nil {
		return e, err
	}
	file := filepath.Join(bin, "overlay.json")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return e, err
	}
	if out, err := exec.Command("go", "build", "-overlay", file, "-o", e.programs+string(os.PathSeparator), "../../examples/...").CombinedOutput(); err != nil {
		return e, fmt.Errorf("build the examples: %w\n%s", err, out)
	}
	return e, nil
}

func needExamples(t *testing.T) examples {
	t.Helper()
	e, err := builtExamples()
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// exampleSite is a merchant whose anchors the examples trust.
func exampleSite(t *testing.T, product string) *site {
	t.Helper()
	s := newSite(t, `
issuer: http://licence.test
public: {listen: "127.0.0.1:0"}
ops: {listen: "127.0.0.1:0"}
limits: {requests_per_minute: 0}
products:
  - `+product+"\n")
	data := filepath.Join(s.dir, "licensed-data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(data, "keys"), os.DirFS(needExamples(t).keys)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error { // CopyFS lets others read
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// edit changes a licence as the merchant's staff does.
func (p *process) edit(path, id string, in any) {
	p.site.t.Helper()
	var out adminwire.Edited
	if err := p.admin("POST", strings.Replace(path, "{id}", id, 1), in, &out); err != nil {
		p.site.t.Fatal(err)
	}
	if !out.Changed {
		p.site.t.Fatalf("%s changed nothing", path)
	}
}

// app is an example that runs.
type app struct {
	t      *testing.T
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *logBuffer
	read   int // of what it wrote
	exited chan error
}

// exampleCommand is an example that was not started, on a machine of that name.
func exampleCommand(t *testing.T, machine, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(needExamples(t).programs, name), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TZ=UTC", "LICENSED_MACHINE_ID=" + machine}
	return cmd
}

// runApp starts an example and ends it with the test.
func runApp(t *testing.T, cmd *exec.Cmd) *app {
	t.Helper()
	a := &app{t: t, cmd: cmd, out: &logBuffer{grew: make(chan struct{}, 1)}, exited: make(chan error, 1)}
	cmd.Stdout, cmd.Stderr = a.out, a.out
	var err error
	if a.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { a.exited <- cmd.Wait() }()
	t.Cleanup(a.kill)
	return a
}

// do writes a line, and expects what comes of it.
func (a *app) do(line string, want ...string) {
	a.t.Helper()
	if _, err := io.WriteString(a.in, line+"\n"); err != nil {
		a.t.Fatalf("%v:\n%s", err, a.out)
	}
	a.expect(want...)
}

// expect waits until the program has written each of want, in any order, since
// what was expected before it.
func (a *app) expect(want ...string) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 60*time.Second)
	defer cancel()
	for {
		text, end, missing := a.out.String(), a.read, ""
		for _, w := range want {
			i := strings.Index(text[a.read:], w)
			if i < 0 {
				missing = w
				break
			}
			end = max(end, a.read+i+len(w))
		}
		if missing == "" {
			a.read = end
			return
		}
		select {
		case <-a.out.grew:
		case err := <-a.exited:
			a.exited <- err
			if text != a.out.String() {
				continue
			}
			a.t.Fatalf("the program exited (%v) and has not written %q:\n%s", err, missing, text)
		case <-ctx.Done():
			a.t.Fatalf("the program has not written %q after %q:\n%s", missing, text[:a.read], text[a.read:])
		}
	}
}

// until writes a line again and again, until want comes of it: the server's
// status list is renewed once a second.
func (a *app) until(line, want string) {
	a.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if strings.Contains(a.out.String()[a.read:], want) {
			a.expect(want)
			return
		}
		a.do(line)
	}
	a.t.Fatalf("%q does not come of %q:\n%s", want, line, a.out)
}

// end lets the program's input end, and wants a status.
func (a *app) end(status int) {
	a.t.Helper()
	_ = a.in.Close() // it may have ended
	a.wants(status)
}

func (a *app) wants(status int) {
	a.t.Helper()
	err := <-a.exited
	a.exited <- err
	if got := a.cmd.ProcessState.ExitCode(); got != status {
		a.t.Fatalf("exit %d, want %d (%v):\n%s", got, status, err, a.out)
	}
}

func (a *app) signal(s os.Signal) {
	a.t.Helper()
	if err := a.cmd.Process.Signal(s); err != nil {
		a.t.Fatalf("%v:\n%s", err, a.out)
	}
}

// kill ends it as a power cut would.
func (a *app) kill() {
	_ = a.cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	a.exited <- <-a.exited
}

// An example that is built as it is in the repository trusts nobody, and says so.
func TestExampleWithoutAnchors(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"desktop", "service", "airgap"} {
		program := filepath.Join(t.TempDir(), name)
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../../examples/"+name).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		out, err := exec.CommandContext(t.Context(), program).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "fill in anchors.json and build again") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
