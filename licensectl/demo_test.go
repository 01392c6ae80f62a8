package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
)

// The demonstration runs to its end, tells every step and leaves nothing.
func TestDemo(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := newScreen(t, "")
	s.now, s.demo, s.getenv = time.Now, runDemo, os.Getenv
	if status := s.run(t.Context(), []string{"licensectl", "demo"}); status != exitDone {
		t.Fatalf("exit %d:\n%s%s", status, &s.out, &s.err)
	}
	told := strings.Join(strings.Fields(s.out.String()), " ") // however it is broken into lines
	for _, want := range []string{
		" marketplaces: ", " 1/23 ", "23/23 ", "LIC-", "refused (forged)", "reason suspended", "reason released", "reason revoked",
		"✓ activated: licensed until", "✓ the request fits a QR code", "the same request has the same answer", "reason machine_mismatch", "✓ refreshed: licensed until",
		"✓ moved to a second machine", "✓ given up", "it frees the seat",
		"✓ blocked: not licensed: there is no licence yet", "✓ license: another licence: licensed until", "✓ day 5, trouble: the licence server",
		"✓ day 11, grace: licensed, but must reach the licence server", "✓ day 11, trouble: unreachable", "✓ day 15, blocked: not licensed: nothing has been heard",
		"✓ day 15, trouble: unreachable", "✓ restored: licensed until", "✓ reached: the trouble is over", "All 23 steps did what they should",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("the demonstration does not tell %q", want)
		}
	}
	if strings.Contains(s.out.String(), "\x1b") {
		t.Error("colours without a terminal")
	}
	for line := range strings.Lines(s.out.String()) {
		if w := width(strings.TrimRight(line, "\n")); w > 80 {
			t.Errorf("%d columns: %s", w, line)
		}
	}
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// What it kept can be used: the licence that it wrote verifies, and no log
// holds a secret.
func TestDemoKeep(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	s := newScreen(t, "")
	s.now, s.demo, s.getenv, s.colorful = time.Now, runDemo, os.Getenv, true
	if status := s.run(t.Context(), []string{"licensectl", "demo", "--keep"}); status != exitDone {
		t.Fatalf("exit %d:\n%s%s", status, &s.out, &s.err)
	}
	if !strings.Contains(s.out.String(), "\x1b[32m✓\x1b[0m") {
		t.Error("no colours on a terminal")
	}
	kept, err := filepath.Glob(filepath.Join(tmp, "licensed-demo-*"))
	if err != nil || len(kept) != 1 || !strings.Contains(s.err.String(), kept[0]) {
		t.Fatalf("kept: %v, %v: %s", kept, err, &s.err)
	}
	v := newScreen(t, "")
	v.now = time.Now
	v.run(t.Context(), []string{
		"licensectl", "verify", filepath.Join(kept[0], "bought.lic"), "--anchors", filepath.Join(kept[0], "data", "keys", "anchors.json"),
	})
	if !strings.Contains(v.out.String(), "authentic    yes") {
		t.Errorf("the licence that was kept: %s%s", &v.out, &v.err)
	}
	log, err := os.ReadFile(filepath.Join(kept[0], "daemon.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"access-key", "ak", "sk"} {
		secret, err := os.ReadFile(filepath.Join(kept[0], "secrets", name))
		if err != nil || strings.Contains(string(log), string(secret)) {
			t.Errorf("the log holds %s, or: %v", name, err)
		}
	}
	for word := range strings.FieldsSeq(s.out.String()) {
		if (strings.HasPrefix(word, "LIC-") || strings.HasPrefix(word, "PL2")) && strings.Contains(string(log), word) {
			t.Error("the log holds a code")
		}
	}
}

// As a document it holds what was checked in each step.
func TestDemoDocument(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	s := newScreen(t, "")
	s.now, s.demo, s.getenv = time.Now, runDemo, os.Getenv
	if status := s.run(t.Context(), []string{"licensectl", "demo", "-o", "json"}); status != exitDone {
		t.Fatalf("exit %d: %s", status, &s.err)
	}
	var r demoReport
	if err := json.Unmarshal(s.out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if !r.OK || len(r.Steps) != 23 {
		t.Errorf("got %+v", r)
	}
	for _, step := range r.Steps[1:] {
		if !step.OK || len(step.Outcomes) == 0 {
			t.Errorf("step %q: %+v", step.Title, step)
		}
	}
}

// What is told fits a terminal of 80 columns, and a command that takes more lines
// is still one that a shell takes.
func TestNarratorWraps(t *testing.T) {
	var out strings.Builder
	n := narrator{w: &out, color: true}
	n.heading(1, 1, "title")
	n.say("%s", strings.Repeat("word ", 15)+"end")
	n.ok("%s", strings.Repeat("许可证 ", 11)+"end")
	n.command("licensectl keys revoke %s --reason 'in strange hands, by a mail of today' -o next.json", strings.Repeat("x", 43))
	n.say("%s end", strings.Repeat("y", 90))
	want := "\n\x1b[1m 1/1  title\x1b[0m\n" +
		"       word word word word word word word word word word word word word word\n       word end\n" +
		"     \x1b[32m✓\x1b[0m 许可证 许可证 许可证 许可证 许可证 许可证 许可证 许可证 许可证 许可证\n       许可证 end\n" +
		"       \x1b[33m$ licensectl keys revoke " + strings.Repeat("x", 43) + " \\\x1b[0m\n" +
		"         \x1b[33m--reason 'in strange hands, by a mail of today' -o next.json\x1b[0m\n" +
		"       " + strings.Repeat("y", 90) + "\n       end\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

// A failure names the step and exits 1, whatever reason it had.
func TestDemoFails(t *testing.T) {
	s := newScreen(t, "")
	s.demo = func(_ context.Context, _ *program, o demoOptions) error {
		if !o.keep {
			t.Error("--keep is lost")
		}
		return errors.Join(license.Errorf(license.NotFound, "gone"))
	}
	if status := s.run(t.Context(), []string{"licensectl", "demo", "--keep"}); status != exitFailed {
		t.Errorf("exit %d, want %d", status, exitFailed)
	}

	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "none"))
	s = newScreen(t, "")
	s.demo = runDemo
	if status := s.run(t.Context(), []string{"licensectl", "demo"}); status != exitFailed {
		t.Errorf("exit %d without a temporary folder", status)
	}
}

// An interrupted demonstration ends, names its step and tidies up.
func TestDemoInterrupted(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithCancel(t.Context())
	s := newScreen(t, "")
	calls := 0
	s.now = func() time.Time {
		if calls++; calls == 5 {
			cancel()
		}
		return time.Now()
	}
	err := runDemo(ctx, s.program, demoOptions{})
	if err == nil || !strings.HasPrefix(err.Error(), "demo step ") {
		t.Errorf("got %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(tmp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
