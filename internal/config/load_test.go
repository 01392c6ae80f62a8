package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/internal/config"
)

func TestOrder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "licensed.yaml")
	write(t, file, "public: {listen: '127.0.0.1:1'}\nops: {listen: '127.0.0.1:2'}\nlimits: {requests_per_minute: 3}\n", 0o644)
	env := []string{
		"PATH=/bin", "LICENSED_OPS_LISTEN=127.0.0.1:22", "LICENSED_LIMITS_REQUESTS_PER_MINUTE=33", "LICENSED_PUBLIC_TLS_CERT_FILE=c.pem",
		"LICENSED_PUBLIC_TLS_KEY_FILE=k.pem", "LICENSED_KEYS_ALLOW_ANCHOR_KEYS=true",
		"LICENSED_MACHINE_ID=m", "LICENSED_CONFIG=elsewhere.yaml", "LICENSED_TEST_POSTGRES=x",
	}
	c, err := config.Load(file, env, map[string]string{"limits.requests_per_minute": "333"})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{c.Public.Listen, c.Ops.Listen, c.Limits.RequestsPerMinute, c.Public.TLS.CertFile, c.Keys.AllowAnchorKeys}
	want := []any{"127.0.0.1:1", "127.0.0.1:22", 333, filepath.Join(filepath.Dir(file), "c.pem"), true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}

	c, err = config.Load("", []string{"LICENSED_CONFIG=" + file}, nil)
	if err != nil || c.Public.Listen != "127.0.0.1:1" {
		t.Errorf("by LICENSED_CONFIG: %q, %v", c.Public.Listen, err)
	}
}

func TestOverrideRefusals(t *testing.T) {
	tests := []struct {
		name  string
		env   []string
		flags map[string]string
		want  string
	}{
		{"unknown variable", []string{"LICENSED_LISTEN=x"}, nil, "LICENSED_LISTEN: no such variable"},
		{"section", []string{"LICENSED_PUBLIC=x"}, nil, "LICENSED_PUBLIC: no such variable"},
		{"list", []string{"LICENSED_PUBLIC_TRUSTED_PROXIES=10.0.0.0/8"}, nil, "LICENSED_PUBLIC_TRUSTED_PROXIES: public.trusted_proxies: a list can only be set in the file"},
		{"entry of a list", []string{"LICENSED_PRODUCTS_0_ID=x"}, nil, "LICENSED_PRODUCTS_0_ID: products: a list can only be set in the file"},
		{"type", []string{"LICENSED_LIMITS_REQUESTS_PER_MINUTE=x"}, nil, `LICENSED_LIMITS_REQUESTS_PER_MINUTE: limits.requests_per_minute: "x" is no whole number`},
		{"value", []string{"LICENSED_ISSUER=x"}, nil, "LICENSED_ISSUER: issuer: must be an absolute URL"},
		{"unknown flag", nil, map[string]string{"listen": "x"}, "command line: listen: unknown key"},
		{"flag of a list", nil, map[string]string{"products": "x"}, "command line: products: a list can only"},
		{"flag's type", nil, map[string]string{"keys.allow_anchor_keys": "yes"}, `command line: keys.allow_anchor_keys: "yes" is neither true nor false`},
		{"flag's value", []string{"LICENSED_ISSUER=https://h"}, map[string]string{"issuer": "https://h/"}, "command line: issuer: must not end in /"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.Load("", test.env, test.flags)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
}

func TestLoadRefusesFile(t *testing.T) {
	dir := t.TempDir()
	for name, path := range map[string]string{"missing": filepath.Join(dir, "none.yaml"), "folder": dir} {
		t.Run(name, func(t *testing.T) {
			_, err := config.Load(path, nil, nil)
			if err == nil || !strings.Contains(err.Error(), path) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestKeyError(t *testing.T) {
	c, err := config.Parse("licensed.yaml", "/dir", []byte("ops:\n  listen: 127.0.0.1:1\n"))
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("address in use")
	for key, want := range map[string]string{
		"ops.listen":    "licensed.yaml:2: ops.listen: address in use",
		"public.listen": "licensed.yaml: public.listen: address in use",
	} {
		err := c.KeyError(key, cause)
		if err.Error() != want || !errors.Is(err, cause) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "licensed.yaml")
	write(t, file, "marketplaces:\n- name: m\n  access_key_files: [good, missing]\n  open_api:\n    ca_file: none.pem\n", 0o644)
	write(t, filepath.Join(dir, "good"), "k\n", 0o600)
	c, err := config.Load(file, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = c.CheckFiles()
	if err == nil {
		t.Fatal("no error")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], ":3: marketplaces[0].access_key_files[1]: ") || !strings.Contains(lines[1], ":5: marketplaces[0].open_api.ca_file: ") {
		t.Errorf("errors: %v", err)
	}
	write(t, filepath.Join(dir, "missing"), "k\n", 0o600)
	write(t, filepath.Join(dir, "none.pem"), "x", 0o644)
	if err := c.CheckFiles(); err != nil {
		t.Error(err)
	}
}

func write(t *testing.T, path, content string, perm os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), perm); err != nil {
		t.Fatal(err)
	}
}
