package e2e_test

import (
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/test/internal/program"
)

// fails starts a daemon that must not come up, and returns its exit status and
// what it said.
func (s *site) fails(args ...string) (int, string) {
	s.t.Helper()
	cmd, log := s.command(args...)
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		s.t.Fatalf("the daemon ended with %v:\n%s", err, log)
	}
	return exit.ExitCode(), log.String()
}

// Whatever keeps a daemon from starting is named, with the exit status that
// tells the administrator's mistakes from the machine's.
func TestCannotStart(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for name, c := range map[string]struct {
		prepare func(*site)
		yaml    string
		status  int
		says    []string
	}{
		"no configuration": {
			prepare: func(s *site) { _ = os.Remove(s.config) }, status: 2, says: []string{"licensed.yaml"},
		},
		"unknown key": {yaml: standard + "\nspeed: high\n", status: 2, says: []string{"speed", "licensed.yaml:"}},
		"tokens in plain text": {
			yaml: strings.Replace(standard, "ops:", "admin: {listen: \"0.0.0.0:0\"}\nops:", 1), status: 2, says: []string{"admin.listen"},
		},
		"secret that others can read": {
			prepare: func(s *site) { _ = os.Chmod(filepath.Join(s.dir, "access-key"), 0o644) }, status: 2, says: []string{"access-key", "0644"},
		},
		"occupied port": {
			yaml: strings.Replace(standard, `listen: "127.0.0.1:0"`, `listen: "`+taken.Addr().String()+`"`, 1), status: 1,
			says: []string{"public.listen", taken.Addr().String()},
		},
		"no folder": {
			yaml: standard + "\ndata_dir: access-key/data\n", status: 1, says: []string{"access-key"},
		},
		"plain text beyond loopback": {
			yaml: strings.Replace(standard, `listen: "127.0.0.1:0"`, `listen: "0.0.0.0:0"`, 1), status: 2, says: []string{"public.listen"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			yaml := c.yaml
			if yaml == "" {
				yaml = standard
			}
			s := newSite(t, yaml)
			if c.prepare != nil {
				c.prepare(s)
			}
			status, said := s.fails("serve", "--config", s.config)
			if status != c.status {
				t.Errorf("exit status %d, want %d", status, c.status)
			}
			for _, word := range c.says {
				if !strings.Contains(said, word) {
					t.Errorf("it does not name %q:\n%s", word, said)
				}
			}
			if strings.Contains(said, accessKey) {
				t.Error("the access key is in an error")
			}
		})
	}
}

// A second daemon on the same folder does not start, and does not disturb the
// first; a damaged file is named and left as it is.
func TestLockedAndDamaged(t *testing.T) {
	t.Parallel()
	s := newSite(t, standard)
	p := s.start()
	l := p.issue("cad", 1)
	status, said := s.fails("serve", "--config", s.config)
	if status != 1 || !strings.Contains(said, "licensed.db") {
		t.Errorf("a second daemon exits with %d:\n%s", status, said)
	}
	if got := p.show(l.ID); got.ID != l.ID {
		t.Error("the first daemon was disturbed")
	}
	if err := p.stop(); err != nil {
		t.Fatalf("stopped with %v\n%s", err, p.log)
	}
	for _, name := range []string{"licensed.db", "keys/keyset.jwt"} {
		path := filepath.Join(s.dir, "licensed-data", name)
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := append([]byte("this is not it"), good[min(len(good), 9000):]...)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		status, said := s.fails("serve", "--config", s.config)
		if status != 1 || !strings.Contains(said, filepath.Base(name)) {
			t.Errorf("with a damaged %s it exits with %d:\n%s", name, status, said)
		}
		if left, err := os.ReadFile(path); err != nil || string(left) != string(bad) {
			t.Errorf("%s was changed", name)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p = s.start()
	if got := p.show(l.ID); got.State != license.StateIssued {
		t.Errorf("after the repair the licence is %s", got.State)
	}
}

// Nothing secret is in the log of a busy day at the most talkative level, nor
// in what callers are told.
func TestNoSecretIsLogged(t *testing.T) {
	t.Parallel()
	s := newSite(t, standard)
	p := s.start()
	l := p.issue("cad", 1)
	c := &http.Client{}
	t.Cleanup(c.CloseIdleConnections)
	i, err := program.NewInstall("cad", "machine")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := i.Activation(l.Code)
	if err != nil {
		t.Fatal(err)
	}
	ans, err := p.send(c, raw, "")
	if err != nil {
		t.Fatal(err)
	}
	other, err := program.NewInstall("cad", "other machine")
	if err != nil {
		t.Fatal(err)
	}
	refused, err := other.Activation(l.Code)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.send(c, refused, ""); reasonOf(err) != license.MachineLimit {
		t.Errorf("a second machine: %v", err)
	}
	typo := l.Code[:len(l.Code)-1] + "?"
	if _, err := p.send(c, raw, typo); reasonOf(err) != license.BadRequest {
		t.Errorf("a code with a typing error: %v", err)
	}
	if _, err := p.send(c, raw[:len(raw)-8], ""); err == nil {
		t.Error("a cut request was answered")
	}
	const bought = "PLSECRET0001"
	for _, body := range []string{
		`{"activity":"updateLicenseCodeStatus","license":"` + bought + `","status":"FREEZE"}`,
		`{"activity":"updateLicenseCodeStatus","license":"` + bought + `","status":"MELT"}`,
		`{"activity":"nothing","license":"` + bought + `"}`,
		`{"activity":"releaseLicenseCode","license":{"nested":"` + bought + `"}}`,
		`{"license":"` + bought,
	} {
		if _, err := p.callback(c, accessKey, body); err != nil {
			t.Error(err)
		}
		if _, err := p.callback(c, "another key", body); err != nil {
			t.Error(err)
		}
	}
	var out adminwire.License
	if err := p.admin(http.MethodPost, adminwire.PathLookup, adminwire.Lookup{Ref: l.Code}, &out); err != nil {
		t.Error(err)
	}
	if err := p.admin(http.MethodPost, adminwire.PathLookup, adminwire.Lookup{Ref: bought}, &out); reasonOf(err) != license.UnknownLicense {
		t.Errorf("lookup of an unknown code: %v", err)
	}
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	log := p.log.String()
	for name, secret := range map[string]string{
		"code": l.Code, "code without dashes": strings.ReplaceAll(l.Code, "-", ""), "mistyped code": typo, "bought code": bought,
		"access key": accessKey, "request": raw, "its signature": raw[strings.LastIndex(raw, ".")+1:], "licence": ans.License,
		"private key": "PRIVATE KEY", "identity": "AGE-SECRET-KEY",
	} {
		if strings.Contains(log, secret) {
			t.Errorf("the %s is in the log", name)
		}
	}
	if !strings.Contains(log, "callback refused") || !strings.Contains(log, "request refused") {
		t.Errorf("the log does not tell what was refused:\n%s", log)
	}
}
