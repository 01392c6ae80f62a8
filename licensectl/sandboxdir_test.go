package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// runSandbox starts the command, reads what it tells, and ends it.
func runSandbox(t *testing.T, args ...string) (m market, status int, log string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := newScreen(t, "")
	r, w := io.Pipe()
	s.program.out = w
	done := make(chan int, 1)
	go func() {
		done <- s.run(ctx, append([]string{"licensectl", "sandbox", "--listen", "127.0.0.1:0", "-o", "json"}, args...))
		w.Close()
	}()
	err := json.NewDecoder(bufio.NewReader(r)).Decode(&m)
	cancel()
	status = <-done
	if err != nil && status == exitDone {
		t.Error(err)
	}
	return m, status, s.err.String()
}

func readAll(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := make(map[string]string)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(text)
	}
	return out
}

// A merchant's server is configured once: the next start over the same folder
// has the same keys, and only makes what is missing.
func TestSandboxKeepsItsKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "box")
	start := func() map[string]string {
		t.Helper()
		if _, status, log := runSandbox(t, "--dir", dir); status != exitDone {
			t.Fatalf("exit %d: %s", status, log)
		}
		return readAll(t, dir)
	}
	first := start()
	if len(first) != 6 {
		t.Errorf("%d files", len(first))
	}
	for name, text := range start() {
		if first[name] != text {
			t.Errorf("%s is another one after a restart", name)
		}
	}
	if err := os.Remove(filepath.Join(dir, "sk")); err != nil {
		t.Fatal(err)
	}
	for name, text := range start() {
		if (first[name] == text) == (name == "sk") {
			t.Errorf("after sk was missing, %s is kept: %v", name, first[name] == text)
		}
	}
}

// What is broken, or somebody else's, is told and left as it is.
func TestSandboxRefusesAFolder(t *testing.T) {
	dir := t.TempDir()
	whole, other := filepath.Join(dir, "whole"), filepath.Join(dir, "other")
	for _, box := range []string{whole, other} {
		if _, status, log := runSandbox(t, "--dir", box); status != exitDone {
			t.Fatalf("exit %d: %s", status, log)
		}
	}
	files, others := readAll(t, whole), readAll(t, other)
	for name, tt := range map[string]struct {
		file, text string
		perm       os.FileMode
		want       string
	}{
		"empty key":        {"sk", "\n", 0o600, "sk is empty"},
		"two lines":        {"ak", "a\nb\n", 0o600, "ak has more than one line"},
		"for all to read":  {"control-token", "x\n", 0o644, "chmod 600"},
		"broken CA":        {"ca.pem", "x", 0o644, "want one certificate in PEM"},
		"broken CA key":    {"ca-key.pem", "x", 0o600, "want one private key"},
		"another's CA key": {"ca-key.pem", others["ca-key.pem"], 0o600, "is not that of the certificate"},
		"no CA key":        {"ca-key.pem", "", 0, "only one is there"},
		"empty CA":         {"ca.pem", "", 0o644, "ca.pem is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.perm == 0o644 && tt.file == "control-token" && runtime.GOOS == "windows" {
				t.Skip("Windows has no such permissions")
			}
			box := filepath.Join(t.TempDir(), "box")
			if err := os.Mkdir(box, 0o700); err != nil {
				t.Fatal(err)
			}
			want := make(map[string]string)
			for file, text := range files {
				perm := os.FileMode(0o600)
				if file == tt.file {
					text, perm = tt.text, tt.perm
				}
				if perm == 0 {
					continue
				}
				want[file] = text
				if err := os.WriteFile(filepath.Join(box, file), []byte(text), perm); err != nil {
					t.Fatal(err)
				}
			}
			_, status, log := runSandbox(t, "--dir", box)
			if status != exitUsage || !strings.Contains(log, tt.want) || !strings.Contains(log, tt.file) {
				t.Errorf("exit %d: %s", status, log)
			}
			for file, text := range readAll(t, box) {
				if want[file] != text {
					t.Errorf("%s was changed", file)
				}
			}
		})
	}
}

// Under every address of the machine it is told and certified by names.
func TestSandboxHosts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "box")
	for _, tt := range []struct{ listen, host, want string }{
		{"0.0.0.0:0", "", "https://localhost:"},
		{":0", "", "https://localhost:"},
		{":0", "market.test", "https://market.test:"},
		{"127.0.0.1:0", "market.test", "https://127.0.0.1:"},
	} {
		args := []string{"--dir", dir, "--listen", tt.listen}
		if tt.host != "" {
			args = append(args, "--host", tt.host)
		}
		m, status, log := runSandbox(t, args...)
		if status != exitDone || !strings.HasPrefix(m.URL, tt.want) {
			t.Errorf("%s %s: exit %d, %s: %s", tt.listen, tt.host, status, m.URL, log)
		}
	}
}
