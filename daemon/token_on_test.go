//go:build pkcs11

package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	p11 "github.com/miekg/pkcs11"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license/wire"
)

// softHSM is where Debian has it.
const softHSM = "/usr/lib/softhsm/libsofthsm2.so"

// A daemon whose signing keys are on a token: made there at the first start, used
// after the next one, rotated, and destroyed; no private half of one is a file.
func TestTokenDaemon(t *testing.T) {
	if _, err := os.Stat(softHSM); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("SoftHSM is not installed (the package softhsm2 of Debian)")
	}
	dir := t.TempDir()
	t.Setenv("SOFTHSM2_CONF", filepath.Join(dir, "softhsm2.conf"))
	text := "public: {listen: \"127.0.0.1:0\"}\nops: {listen: \"\"}\nadmin: {socket: a.sock}\nissuer: https://licence.example.com\nproducts: [{id: cad}]\n" +
		"keys: {rotate_every: 90d, pkcs11: {module: " + softHSM + ", token_label: prod, pin_file: pin}}\n"
	for name, content := range map[string]string{
		"softhsm2.conf": "directories.tokendir = " + dir + "\nobjectstore.backend = file\n", "pin": "1234\n", "licensed.yaml": text,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "softhsm2-util", "--init-token", "--free", "--label", "prod", "--pin", "1234", "--so-pin", "5678").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(do func(*adminclient.Client) error) {
		t.Helper()
		d, err := daemon.New(t.Context(), daemon.Options{ConfigFile: filepath.Join(dir, "licensed.yaml")})
		if err != nil {
			t.Fatal(err)
		}
		err = d.Start()
		if err == nil {
			var admin *adminclient.Client
			admin, err = adminclient.New("unix:"+d.AdminSocket(), adminclient.Options{})
			if err == nil {
				err = do(admin)
			}
		}
		if err := errors.Join(err, d.Stop(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	var first string
	run(func(admin *adminclient.Client) error {
		s, err := admin.Status(t.Context())
		first = s.Keys.Current
		if err == nil && (!s.Ready || s.Keys.Ahead != 5) {
			err = fmt.Errorf("status %+v", s.Keys)
		}
		return err
	})
	run(func(admin *adminclient.Client) error {
		r, err := admin.Rotate(t.Context())
		if err == nil && r.Retired != first {
			err = fmt.Errorf("after a restart %s signs, before it %s", r.Retired, first)
		}
		return err
	})
	run(func(admin *adminclient.Client) error { return pulledOut(t, dir, admin) })
	if files, err := filepath.Glob(filepath.Join(dir, "licensed-data", "keys", "signing", "*")); err != nil || len(files) > 0 {
		t.Errorf("private halves are files: %v, %v", files, err)
	}
}

// pulledOut takes the token away from a running daemon, and puts it back.
func pulledOut(t *testing.T, dir string, admin *adminclient.Client) error {
	t.Helper()
	tokens, err := filepath.Glob(filepath.Join(dir, "*-*-*-*-*"))
	if err != nil || len(tokens) != 1 {
		return fmt.Errorf("tokens %v, %w", tokens, err)
	}
	is, err := admin.Issue(t.Context(), adminwire.Issue{Product: "cad", Perpetual: true})
	if err != nil {
		return err
	}
	away := filepath.Join(t.TempDir(), "token")
	if err := os.Rename(tokens[0], away); err != nil {
		return err
	}
	// SoftHSM looks for tokens when it starts: shutting it down has it notice.
	module := p11.New(softHSM)
	defer module.Destroy()
	if err := module.Finalize(); err != nil {
		return err
	}
	file := activation(t, is.Licenses[0].Code, "machine")
	if _, err := admin.Answer(t.Context(), wire.Request{Request: file}); err == nil {
		return errors.New("it signs without its token")
	}
	s, err := admin.Status(t.Context())
	if err != nil || s.Ready || s.Keys.Fault == "" {
		return fmt.Errorf("without its token: ready %t, fault %q, %w", s.Ready, s.Keys.Fault, err)
	}
	if err := os.Rename(away, tokens[0]); err != nil {
		return err
	}
	if _, err := admin.Answer(t.Context(), wire.Request{Request: file}); err != nil {
		return fmt.Errorf("the same request, with the token back: %w", err)
	}
	if s, err = admin.Status(t.Context()); err != nil || !s.Ready {
		return fmt.Errorf("with its token back: %s, %w", s.NotReady, err)
	}
	return nil
}
