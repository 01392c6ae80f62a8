package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
	"github.com/seed-357fa782/licensed/test/internal/program"
)

// bin is the folder of the built programs.
var bin string

func TestMain(m *testing.M) { program.Main(m.Run, &bin) }

const accessKey = "access-key-Zq81-of-the-callbacks"

// site is one merchant's folder: configuration, secrets, data.
type site struct {
	t      *testing.T
	dir    string
	config string
	extra  []string // variables of the daemon's environment
}

func newSite(t *testing.T, yaml string) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "ls") //nolint:usetesting // a socket's path is short, a test's folder is not
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &site{t: t, dir: dir, config: filepath.Join(dir, "licensed.yaml")}
	s.write("access-key", accessKey+"\n")
	s.write("licensed.yaml", yaml)
	return s
}

const standard = `
issuer: http://licence.test
public: {listen: "127.0.0.1:0"}
ops: {listen: "127.0.0.1:0"}
limits: {requests_per_minute: 0}
marketplaces:
  - name: koogallery
    access_key_files: [access-key]
products:
  - {id: cad, name: CAD, marketplace_products: [OFFI1], features: {export: true, projects: 10}}
`

func (s *site) write(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// process is a running daemon.
type process struct {
	site   *site
	cmd    *exec.Cmd
	log    *logBuffer
	public string
	ops    string
	exited chan error
}

// logBuffer keeps what a daemon logs and tells when a line is there.
type logBuffer struct {
	mu   sync.Mutex
	data bytes.Buffer
	grew chan struct{}
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.data.Write(p)
	select {
	case b.grew <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

// command is a daemon that has not been started.
func (s *site) command(args ...string) (*exec.Cmd, *logBuffer) {
	log := &logBuffer{grew: make(chan struct{}, 1)}
	cmd := exec.Command(filepath.Join(bin, "licensed"), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir}, s.extra...)
	return cmd, log
}

// start runs the daemon and waits until it serves.
func (s *site) start() *process {
	s.t.Helper()
	cmd, log := s.command("serve", "--config", s.config, "--log-level", "debug", "--log-format", "json")
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	p := &process{site: s, cmd: cmd, log: log, exited: make(chan error, 1)}
	go func() { p.exited <- cmd.Wait() }()
	s.t.Cleanup(p.kill)
	deadline := time.After(60 * time.Second)
	for {
		if p.findAddresses() {
			return p
		}
		select {
		case <-log.grew:
		case err := <-p.exited:
			p.exited <- err
			s.t.Fatalf("the daemon exited: %v\n%s", err, log)
		case <-deadline:
			s.t.Fatalf("the daemon does not serve:\n%s", log)
		}
	}
}

func (p *process) findAddresses() bool {
	for line := range strings.SplitSeq(p.log.String(), "\n") {
		if public, ops, ok := program.Serving(line); ok {
			p.public, p.ops = public, ops
			return true
		}
	}
	return false
}

// kill ends the daemon as a power cut would.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	p.exited <- <-p.exited
}

// stop ends the daemon as its administrator would, and returns how it exited.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := <-p.exited
	p.exited <- err
	return err
}

// admin calls the admin API over the socket.
func (p *process) admin(method, path string, in, out any) error {
	socket := filepath.Join(p.site.dir, "licensed-data/admin.sock")
	return program.Call(context.Background(), program.Admin(socket), method, "http://admin"+path, "", in, out)
}

// issue makes a licence and returns its id and code.
func (p *process) issue(product string, machines int) adminwire.License {
	p.site.t.Helper()
	var out adminwire.LicenseList
	err := p.admin(http.MethodPost, adminwire.PathLicenses, adminwire.Issue{Product: product, For: "365d", Machines: machines}, &out)
	if err != nil {
		p.site.t.Fatal(err)
	}
	return out.Licenses[0]
}

func (p *process) show(id string) adminwire.License {
	p.site.t.Helper()
	var out adminwire.License
	if err := p.admin(http.MethodGet, strings.Replace(adminwire.PathLicense, "{id}", id, 1), nil, &out); err != nil {
		p.site.t.Fatal(err)
	}
	return out
}

// send sends a signed request to the public listener.
func (p *process) send(c *http.Client, raw, code string) (wire.Answer, error) {
	var out wire.Answer
	err := program.Call(context.Background(), c, http.MethodPost, "http://"+p.public+wire.PathRequests, "", wire.Request{Request: raw, Code: code}, &out)
	return out, err
}

// callback sends a message as the marketplace does and returns the result code.
func (p *process) callback(c *http.Client, key, body string) (string, error) {
	q := koogallery.SignedQuery(koogallery.NewAccessKey(key), rand.Text(), time.Now(), []byte(body))
	rq, err := http.NewRequestWithContext(context.Background(), http.MethodPost,
		"http://"+p.public+"/marketplace/koogallery?"+q.Encode(), strings.NewReader(body))
	if err != nil {
		return "", err
	}
	rq.Header.Set("Content-Type", wire.TypeJSON)
	rs, err := c.Do(rq)
	if err != nil {
		return "", err
	}
	defer rs.Body.Close()
	var out struct {
		ResultCode string `json:"resultCode"`
	}
	if err := json.NewDecoder(rs.Body).Decode(&out); err != nil {
		return "", err
	}
	return out.ResultCode, nil
}

// reasonOf is the reason of err, also of one that has none.
func reasonOf(err error) license.Reason {
	if e, ok := errors.AsType[*license.Error](err); ok {
		return e.Reason
	}
	return license.ReasonOf(err)
}
