package cluster_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/test/internal/program"
)

// bin is the folder of the built programs.
var bin string

func TestMain(m *testing.M) { program.Main(m.Run, &bin) }

const accessKey = "access-key-Zq81-of-the-callbacks"

const standard = `
issuer: http://licence.test
public: {listen: "127.0.0.1:0"}
ops: {listen: "127.0.0.1:0"}
limits: {requests_per_minute: 0}
marketplaces:
  - name: koogallery
    access_key_files: [access-key]
    open_api: {base_urls: [%q], ca_file: ca.pem, access_key_id_file: ak, secret_access_key_file: sk}
products:
  - {id: cad, name: CAD, marketplace_products: [OFFI1], features: {export: true, projects: 10}}
`

// merchant is daemons on one store, behind a load balancer, and the marketplace
// where it sells.
type merchant struct {
	t       *testing.T
	market  *sandbox.Sandbox
	daemons []*daemon
	balance *httptest.Server
	turn    atomic.Int64
	client  *http.Client
}

// newMerchant starts so many daemons on a store; an empty one is the file of a
// single daemon.
func newMerchant(t *testing.T, n int, store string) *merchant {
	t.Helper()
	m := &merchant{t: t, client: &http.Client{Timeout: 30 * time.Second}}
	m.balance = httptest.NewServer(http.HandlerFunc(m.pass))
	t.Cleanup(m.balance.Close)
	t.Cleanup(m.client.CloseIdleConnections)
	var err error
	m.market, err = sandbox.New(sandbox.Options{
		Products:      []sandbox.Product{{ID: "OFFI1"}},
		Callback:      sandbox.Callback{URL: m.balance.URL + "/marketplace/koogallery", AccessKey: sandboxKey()},
		RetryInterval: 50 * time.Millisecond, MaxAttempts: 10_000,
		Misbehaviour: sandbox.Misbehaviour{Faults: map[sandbox.Fault]float64{
			sandbox.FaultRepeated: 0.1, sandbox.FaultLostAnswer: 0.1, sandbox.FaultAPILostAnswer: 0.1, sandbox.FaultAPIError: 0.1,
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.market.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		d := m.newDaemon(store)
		if i > 0 { // all sign with the keys that the first has made
			from := filepath.Join(m.daemons[0].dir, "licensed-data", "keys")
			if err := os.CopyFS(filepath.Join(d.dir, "licensed-data", "keys"), os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
			d.private()
		}
		m.daemons = append(m.daemons, d)
		d.supervise()
		d.await()
	}
	t.Cleanup(func() {
		if err := m.market.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// pass is the load balancer: it passes a call on to the daemons in turn, and to
// the next where one does not listen. One that dies over a call is answered for
// with 502, and where none listens with 503.
func (m *merchant) pass(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		return
	}
	first := int(m.turn.Add(1))
	for i := range m.daemons {
		addr := m.daemons[(first+i)%len(m.daemons)].public()
		if addr == "" {
			continue
		}
		rq, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+addr+r.URL.RequestURI(), bytes.NewReader(body))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		rq.Header = r.Header.Clone()
		rs, err := m.client.Do(rq)
		if op, is := errors.AsType[*net.OpError](err); is && op.Op == "dial" {
			continue
		}
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		answer, err := io.ReadAll(rs.Body)
		_ = rs.Body.Close()
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", rs.Header.Get("Content-Type"))
		w.WriteHeader(rs.StatusCode)
		_, _ = w.Write(answer)
		return
	}
	w.WriteHeader(http.StatusServiceUnavailable)
}

// daemon is one of them, which is started again whenever it has ended.
type daemon struct {
	m   *merchant
	dir string

	mu      sync.Mutex
	process *os.Process
	address string // empty while it does not serve
	starts  int
	last    *logBuffer
	stopped bool
	changed chan struct{} // closed and replaced when something of this changes
	behind  sync.WaitGroup
}

func (m *merchant) newDaemon(store string) *daemon {
	m.t.Helper()
	dir, err := os.MkdirTemp("", "lc") // a socket's path is short, a test's folder is not
	if err != nil {
		m.t.Fatal(err)
	}
	d := &daemon{m: m, dir: dir, changed: make(chan struct{})}
	m.t.Cleanup(func() {
		d.stop()
		_ = os.RemoveAll(dir)
	})
	yaml := fmt.Sprintf(standard, m.market.URL())
	if store != "" {
		yaml += fmt.Sprintf("store: %q\n", store)
	}
	for name, content := range map[string]string{
		"licensed.yaml": yaml, "access-key": accessKey + "\n", "ca.pem": string(m.market.CAPEM()),
		"ak": m.market.AccessKeyID(), "sk": m.market.SecretAccessKey().Reveal(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			m.t.Fatal(err)
		}
	}
	return d
}

// private takes from others what a copy has given them.
func (d *daemon) private() {
	err := filepath.WalkDir(filepath.Join(d.dir, "licensed-data"), func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.Chmod(path, 0o700)
		}
		return os.Chmod(path, 0o600)
	})
	if err != nil {
		d.m.t.Fatal(err)
	}
}

// set changes something of d and tells those who wait for it.
func (d *daemon) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *daemon) public() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.address
}

func (d *daemon) socket() string { return filepath.Join(d.dir, "licensed-data", "admin.sock") }

// supervise starts the daemon, and again when it ends, until stop.
func (d *daemon) supervise() {
	d.behind.Go(func() {
		for d.run() {
			select { // as a supervisor does, not at once
			case <-time.After(50 * time.Millisecond):
			case <-d.m.t.Context().Done():
			}
		}
	})
}

// run runs the daemon once, and reports whether it is to run again.
func (d *daemon) run() (again bool) {
	log := &logBuffer{}
	cmd := exec.Command(filepath.Join(bin, "licensed"), "serve", "--config", filepath.Join(d.dir, "licensed.yaml"), "--log-format", "json")
	cmd.Dir, cmd.Stdout, cmd.Stderr = d.dir, log, log
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + d.dir}
	log.serving = func(public string) { d.set(func() { d.address = public }) }
	var err error
	d.set(func() {
		if d.stopped {
			err = os.ErrClosed
			return
		}
		if err = cmd.Start(); err == nil {
			d.process, d.last, d.starts = cmd.Process, log, d.starts+1
		}
	})
	if err != nil {
		return false
	}
	_ = cmd.Wait() // it is killed all the time
	d.set(func() { d.address, again = "", !d.stopped })
	return again
}

// await waits until the daemon serves.
func (d *daemon) await() {
	d.m.t.Helper()
	for {
		d.mu.Lock()
		serves, changed, log := d.address != "", d.changed, d.last
		d.mu.Unlock()
		if serves {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Minute):
			d.m.t.Fatalf("a daemon does not serve: %s", log)
		}
	}
}

// kill ends the process as a power cut would.
func (d *daemon) kill() {
	d.set(func() {
		d.address = ""
		_ = d.process.Kill() // it may have ended
	})
}

// stop ends the daemon for good.
func (d *daemon) stop() {
	d.set(func() {
		d.stopped = true
		if d.process != nil {
			_ = d.process.Signal(os.Interrupt)
		}
	})
	ended := make(chan struct{})
	go func() {
		d.behind.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		d.m.t.Errorf("a daemon does not end: %s", d.last)
		d.kill()
		<-ended
	}
}

// logBuffer keeps what a daemon logs and tells where it serves.
type logBuffer struct {
	mu      sync.Mutex
	data    bytes.Buffer
	seen    int
	serving func(public string)
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data.Write(p)
	for {
		line, _, found := strings.Cut(b.data.String()[b.seen:], "\n")
		if !found {
			return len(p), nil
		}
		b.seen += len(line) + 1
		if public, _, ok := program.Serving(line); ok {
			b.serving(public)
		}
	}
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

// admin returns a client of the admin API of the daemon whose turn it is.
func (m *merchant) admin() *http.Client {
	d := m.daemons[int(m.turn.Add(1))%len(m.daemons)]
	c := program.Admin(d.socket())
	c.Timeout = 30 * time.Second
	return c
}
