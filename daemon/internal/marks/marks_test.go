package marks_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/marks"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

var noon = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, dir string, failed func(error)) *marks.Marks {
	t.Helper()
	m, err := marks.Open(dir, failed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func mark(seq int64) authority.Mark {
	return authority.Mark{Seq: seq, At: noon, Action: license.ActionRevoke, License: "lic_1", Facts: map[string]any{"state": "x"}}
}

// wantLines demands the positions of the lines, and behind which none is missing.
func wantLines(t *testing.T, m *marks.Marks, from int64, seqs ...int64) {
	t.Helper()
	lines, got, err := m.Lines()
	if err != nil {
		t.Fatal(err)
	}
	var have []int64
	for _, l := range lines {
		have = append(have, l.Seq)
	}
	if got != from || len(have) != len(seqs) {
		t.Fatalf("the lines are %v from %d, want %v from %d", have, got, seqs, from)
	}
	for n := range seqs {
		if have[n] != seqs[n] {
			t.Errorf("the lines are %v, want %v", have, seqs)
		}
	}
}

func TestLinesOutlastAProcess(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, nil)
	wantLines(t, m, -1)
	if _, err := m.Begin(7); err != nil {
		t.Fatal(err)
	}
	m.Note([]authority.Mark{mark(9)}, true)
	m.Note([]authority.Mark{mark(8), mark(10)}, false) // of one moment, noted in another order
	// No Close: the process is gone.
	again := open(t, dir, nil)
	wantLines(t, again, 7, 8, 9, 10)
	if _, err := again.Begin(99); err != nil {
		t.Fatal(err)
	}
	again.Note([]authority.Mark{mark(10), mark(11)}, true) // a process that was killed notes it twice
	wantLines(t, again, 7, 8, 9, 10, 11)
	if again.Newest() != 11 {
		t.Errorf("the newest is %d", again.Newest())
	}
	lines, _, err := again.Lines()
	if err != nil || lines[0].Digest() != mark(8).Digest() || lines[0].Facts["state"] != "x" {
		t.Errorf("%+v, %v", lines[0], err)
	}
}

// Half a line at the end is what a crash leaves; anything else is damage, and said so.
func TestDamagedMarks(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, nil)
	if _, err := m.Begin(0); err != nil {
		t.Fatal(err)
	}
	m.Note([]authority.Mark{mark(1), mark(2)}, true)
	if err := errors.Join(m.Save(marks.State{Head: store.Head{Seq: 2}}), m.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "marks.jsonl")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, string(whole)+`{"seq":3,"at"`)
	m = open(t, dir, nil)
	wantLines(t, m, 0, 1, 2)
	if _, err := m.Begin(0); err != nil {
		t.Fatal(err)
	}
	m.Note([]authority.Mark{mark(3)}, true)
	wantLines(t, m, 0, 1, 2, 3)

	for text, says := range map[string]string{
		"":        "",
		"{}\n":    "line 1 of",
		"hello\n": "line 1 of",
		strings.Replace(string(whole), `"seq":2`, `"seq":"2`, 1): "line 3 of",
		strings.Replace(string(whole), `"seq":1`, `"seq":-1`, 1): "line 2 of",
		string(whole) + strings.Repeat("x", 100<<10) + "\n":      "line 4 of",
	} {
		write(path, text)
		_, _, err := open(t, dir, nil).Lines()
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
	for text, says := range map[string]string{"{": "damaged", `{"form":0}`: "damaged", `{"form":9}`: "newer version"} {
		write(filepath.Join(dir, "marks.json"), text)
		if _, err := marks.Open(dir, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, nil)
	if _, err := m.Begin(0); err != nil {
		t.Fatal(err)
	}
	s := marks.State{Head: store.Head{Seq: 5, At: noon, Digest: "d"}, Clock: noon, Lists: []marks.List{{ID: "sl_1", SignedAt: noon}}}
	if err := m.Save(s); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(filepath.Join(dir, "marks.json"))
	if err != nil {
		t.Fatal(err)
	}
	if before.Mode().Perm()&0o077 != 0 {
		t.Errorf("others can read it: %v", before.Mode())
	}
	got := open(t, dir, nil).State()
	if got.Head.Seq != 5 || got.Head.Digest != "d" || !got.Clock.Equal(noon) || len(got.Lists) != 1 || got.Lists[0].ID != "sl_1" {
		t.Errorf("%+v", got)
	}
	// What has not changed is not written again: the file is the same one.
	if err := m.Save(s); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(filepath.Join(dir, "marks.json")); err != nil || !os.SameFile(before, after) {
		t.Errorf("it was written again: %v", err)
	}
}

// A history that is another one from a position on has no lines of the one before.
func TestReset(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, nil)
	if _, err := m.Begin(0); err != nil {
		t.Fatal(err)
	}
	m.Note([]authority.Mark{mark(1), mark(2), mark(3)}, true)
	if err := errors.Join(m.Save(marks.State{Head: store.Head{Seq: 3}, Clock: noon}), m.Close()); err != nil {
		t.Fatal(err)
	}
	m = open(t, dir, nil)
	m.Note([]authority.Mark{mark(2)}, true) // before Begin: of the restore itself, and noted again afterwards
	if err := m.Reset(0, []authority.Mark{mark(1)}, store.Head{Seq: 4}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Begin(4); err != nil {
		t.Fatal(err)
	}
	wantLines(t, m, 0, 1)
	if s := open(t, dir, nil).State(); s.Head.Seq != 4 || !s.Clock.Equal(noon) {
		t.Errorf("%+v", s)
	}
}

// A folder that cannot be written is told of once, and again when it can be.
func TestMarksThatCannotBeWritten(t *testing.T) {
	var told []error
	m := open(t, t.TempDir(), func(err error) { told = append(told, err) })
	if _, err := m.Begin(0); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m.Note([]authority.Mark{mark(1)}, true)
	m.Note([]authority.Mark{mark(2)}, true)
	if len(told) != 1 || told[0] == nil {
		t.Fatalf("told %v", told)
	}
	if _, err := m.Begin(0); err != nil {
		t.Fatal(err)
	}
	m.Note([]authority.Mark{mark(3)}, true)
	if len(told) != 2 || told[1] != nil {
		t.Errorf("told %v", told)
	}
}

// The lines never take up more than two files, and say from where on they are whole.
func TestMarksRoll(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, nil)
	m.SetMax(1 << 10)
	if _, err := m.Begin(0); err != nil {
		t.Fatal(err)
	}
	for seq := range int64(300) {
		m.Note([]authority.Mark{mark(seq + 1)}, false)
		if err := m.Save(marks.State{}); err != nil {
			t.Fatal(err)
		}
	}
	lines, from, err := m.Lines()
	if err != nil || from < 200 || len(lines) != int(300-from) || lines[0].Seq != from+1 {
		t.Errorf("%d lines from %d, %v", len(lines), from, err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
}

// A start reads the end of the lines, of both files where one of them is short.
func TestRecentMarks(t *testing.T) {
	dir := t.TempDir()
	m := open(t, dir, nil)
	m.SetMax(100 << 10)
	if _, err := m.Begin(0); err != nil {
		t.Fatal(err)
	}
	for seq := range int64(1000) {
		m.Note([]authority.Mark{mark(seq + 1)}, false)
	}
	if err := m.Save(marks.State{}); err != nil { // and the file becomes the older one
		t.Fatal(err)
	}
	m.Note([]authority.Mark{mark(1001), mark(1003), mark(1002)}, true)
	for _, test := range []struct {
		end         int64
		older       bool
		least, most int
	}{{1 << 20, false, 1003, 1003}, {10 << 10, true, 10, 200}, {50, true, 0, 1}} {
		m.SetEnd(test.end)
		lines, older, err := m.Recent()
		if err != nil || older != test.older || len(lines) < test.least || len(lines) > test.most {
			t.Errorf("within %d bytes: %d lines, older ones %t, %v", test.end, len(lines), older, err)
		}
		for n, l := range lines {
			if want := int64(1003 - len(lines) + 1 + n); l.Seq != want {
				t.Fatalf("within %d bytes: line %d is of %d, want %d", test.end, n, l.Seq, want)
			}
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m = open(t, dir, nil)
	m.SetEnd(200)
	if from, err := m.Begin(7); err != nil || from != 0 || m.Newest() < 1002 {
		t.Errorf("begun from %d, newest %d, %v", from, m.Newest(), err)
	}
	m.Note([]authority.Mark{mark(1004)}, true)
	if lines, from, err := m.Lines(); err != nil || from != 0 || len(lines) != 1004 {
		t.Errorf("%d lines from %d, %v", len(lines), from, err)
	}
}
