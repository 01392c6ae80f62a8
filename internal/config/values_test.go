package config_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/config"
)

func TestDuration(t *testing.T) {
	day := 24 * time.Hour
	tests := []struct {
		text, again string
		want        time.Duration
	}{
		{"0", "0s", 0},
		{"0d", "0s", 0},
		{"90s", "1m30s", 90 * time.Second},
		{"15m", "15m", 15 * time.Minute},
		{"336h", "14d", 14 * day},
		{"14d", "14d", 14 * day},
		{"1d12h", "1d12h", 36 * time.Hour},
		{"1.5d", "1d12h", 36 * time.Hour},
		{"1d0h1s", "1d1s", day + time.Second},
		{"-2d", "-2d", -2 * day},
		{"-1d12h", "-1d12h", -36 * time.Hour},
		{"1h30m", "1h30m", 90 * time.Minute},
		{"10s", "10s", 10 * time.Second},
		{"10m", "10m", 10 * time.Minute},
		{"10h", "10h", 10 * time.Hour},
	}
	for _, test := range tests {
		d, err := config.ParseDuration(test.text)
		if err != nil || time.Duration(d) != test.want {
			t.Errorf("ParseDuration(%q) = %v, %v", test.text, time.Duration(d), err)
		}
		if d.String() != test.again {
			t.Errorf("%q is written %q, want %q", test.text, d, test.again)
		}
		if back, err := config.ParseDuration(d.String()); err != nil || back != d {
			t.Errorf("%q is read back as %v, %v", d, back, err)
		}
	}
	for _, text := range []string{"", "d", "1", "1w", "12h1d", "1h2d", "1d2d", "1d-2h", "1d+2h", "1dd", " 1d", "1 d", "200000000d", "106751d9999999h", "-d"} {
		if d, err := config.ParseDuration(text); err == nil {
			t.Errorf("ParseDuration(%q) = %v", text, time.Duration(d))
		}
	}
}

func TestMachinesString(t *testing.T) {
	if got := fmt.Sprint(config.Machines{Count: 3}, config.Machines{Amount: true}); got != "3 amount" {
		t.Errorf("got %q", got)
	}
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	tests := []struct{ name, content, want string }{
		{"plain", "hush", "hush"},
		{"newline", "hush\n", "hush"},
		{"newline of Windows", "hush\r\n", "hush"},
		{"only the last newline", "a\nb\n\n", "a\nb\n"},
		{"blanks are kept", " hush ", " hush "},
		{"largest", strings.Repeat("a", 64<<10), strings.Repeat("a", 64<<10)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(dir, "secret")
			write(t, path, test.content, 0o600)
			got, err := config.ReadSecret(path)
			if err != nil || got.Reveal() != test.want {
				t.Errorf("got %d bytes, %v", len(got.Reveal()), err)
			}
		})
	}
}

func TestReadSecretRefusals(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		write(t, path, content, 0o600)
		return path
	}
	tests := []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none"), "none"},
		{"folder", dir, "is no regular file"},
		{"empty", file("empty", ""), "is empty"},
		{"only a newline", file("newline", "\n"), "is empty"},
		{"sealed", file("sealed", "age-encryption.org/v1\n-> X25519 hush\n"), "is sealed by age, and sealed secret files are not supported yet; put the clear text into a file with mode 0600"},
		{"sealed as text", file("armored", "\n-----BEGIN AGE ENCRYPTED FILE-----\nhush\n-----END AGE ENCRYPTED FILE-----\n"), "is sealed by age"},
		{"too large", file("large", strings.Repeat("a", 64<<10+1)), "is larger than 64 KiB"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := config.ReadSecret(test.path)
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), test.path) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestReadSecretPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	path := filepath.Join(t.TempDir(), "secret")
	write(t, path, "hush", 0o600)
	for mode, ok := range map[os.FileMode]bool{0o600: true, 0o400: true, 0o640: false, 0o604: false, 0o620: false, 0o644: false} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := config.ReadSecret(path)
		if (err == nil) != ok {
			t.Errorf("mode %04o: %v", mode, err)
		}
		if err != nil && (!strings.Contains(err.Error(), fmt.Sprintf("mode %04o", mode)) || !strings.Contains(err.Error(), "chmod 600 "+path) || strings.Contains(err.Error(), "hush")) {
			t.Errorf("mode %04o: the error does not help: %v", mode, err)
		}
	}
}

// systemd hands secrets over in a folder of the service's own, by an access
// control list: then the mode of the file has its mask where that of the group
// stands.
func TestReadSecretCredential(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no systemd on Windows")
	}
	for name, test := range map[string]struct {
		folder, file fs.FileMode
		env          string // relative to the folder
		ok           bool
	}{
		"credential":            {0o550, 0o440, ".", true},
		"owned":                 {0o500, 0o400, ".", true},
		"others read":           {0o550, 0o444, ".", false},
		"the group writes":      {0o550, 0o460, ".", false},
		"an open folder":        {0o755, 0o440, ".", false},
		"the group's folder":    {0o570, 0o440, ".", false},
		"another folder":        {0o550, 0o440, "..", false},
		"no folder of systemd":  {0o550, 0o440, "", false},
		"a folder that is gone": {0o550, 0o440, "gone", false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "credentials")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "access-key")
			if err := os.WriteFile(path, []byte("secret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Chmod(path, test.file), os.Chmod(dir, test.folder)); err != nil { // whatever the umask
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
			t.Setenv("CREDENTIALS_DIRECTORY", "")
			if test.env != "" {
				t.Setenv("CREDENTIALS_DIRECTORY", filepath.Join(dir, test.env))
			}
			got, err := config.ReadSecret(path)
			if (err == nil) != test.ok || test.ok && got.Reveal() != "secret" {
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	s := config.NewSecret("hush")
	type holder struct {
		Name   string
		secret config.Secret
		Public config.Secret
	}
	h := holder{"n", s, s}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", s, h, &h)
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "s", s, "h", h)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "s", s, "h", h)
	if err := json.NewEncoder(&out).Encode(h); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Contains(text, "hush") || strings.Contains(text, "68757368") {
		t.Errorf("printed: %s", text)
	}
	if s.Reveal() != "hush" || (config.Secret{}).Reveal() != "" {
		t.Error("the text is lost")
	}
}

func TestContactIsMail(t *testing.T) {
	for contact, want := range map[string]bool{
		"help@example.com": true, "https://example.com": false, "": false, "Help <help@example.com>": false, "a@b, c@d": false,
	} {
		if got := (config.Activate{Contact: contact}).ContactIsMail(); got != want {
			t.Errorf("%q: %v", contact, got)
		}
	}
}
