//go:build !pkcs11

package daemon_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/daemon"
)

// A build that cannot use a token says so, and does not make keys in files instead.
func TestTokenNeedsBuild(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "licensed.yaml")
	pin := filepath.Join(dir, "pin")
	text := "data_dir: data\npublic: {listen: \"127.0.0.1:0\"}\nops: {listen: \"\"}\n" +
		"keys: {pkcs11: {module: /usr/lib/softhsm/libsofthsm2.so, token_label: t, pin_file: " + pin + "}}\n"
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), os.WriteFile(pin, []byte("1234\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	d, err := daemon.New(t.Context(), daemon.Options{ConfigFile: path})
	if err == nil {
		_ = d.Stop(t.Context())
	}
	if _, ok := errors.AsType[*daemon.ConfigError](err); !ok || !strings.Contains(err.Error(), "licensed.yaml:4: keys.pkcs11") ||
		!strings.Contains(err.Error(), "-tags pkcs11") {
		t.Errorf("%v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "data", "keys*")); err != nil || len(left) > 0 {
		t.Errorf("keys were made: %v, %v", left, err)
	}
	if err := daemon.CheckConfig(daemon.Options{ConfigFile: path}); err == nil {
		t.Error("check-config takes it")
	}
}
