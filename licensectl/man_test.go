package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// macros are those that the pages are made of.
var macros = regexp.MustCompile(`^\.(TH ".+" 1 "" ".+"|SH [A-Z ]+|SS .+|PP|TP|nf|fi)$`)

// There is a page for each command, made of nothing but known macros and escapes, and
// with each of its options.
func TestManPages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "man1")
	s := newScreen(t, "")
	if got := s.run(t.Context(), []string{"licensectl", "man", dir}); got != exitDone {
		t.Fatalf("exit %d: %s", got, &s.err)
	}
	page := func(name string) string {
		data, err := os.ReadFile(filepath.Join(dir, name+".1"))
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		for line := range strings.Lines(text) {
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, ".") && !macros.MatchString(line) || strings.HasPrefix(line, "'") || strings.ContainsFunc(line, func(r rune) bool { return r > '~' }) {
				t.Errorf("%s: %q is not what troff reads", name, line)
			}
		}
		return text
	}
	main := page("licensectl")
	pages := 1
	var walk func(above string, list []*cli.Command)
	walk = func(above string, list []*cli.Command) {
		for _, c := range list {
			name := above + "-" + c.Name
			text := page(name)
			pages++
			for _, f := range c.Flags {
				if !strings.Contains(text, troff(optionNames(f))) {
					t.Errorf("%s does not have %s", name, optionNames(f))
				}
			}
			if above == "licensectl" && !strings.Contains(main, troff(name)+`\fR(1)`) {
				t.Errorf("licensectl(1) does not name %s", name)
			}
			if len(c.Subcommands) == 0 && !strings.Contains(text, ".SH EXAMPLES") {
				t.Errorf("%s has no example", name)
			}
			walk(name, c.Subcommands)
		}
	}
	walk("licensectl", s.app().Commands)
	if all, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(all) != pages {
		t.Errorf("%v: %d files for %d pages", err, len(all), pages)
	}
	if path, err := exec.LookPath("mandoc"); err == nil {
		files, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), path, slices.Concat([]string{"-T", "lint", "-W", "error"}, files)...).CombinedOutput(); err != nil {
			t.Errorf("mandoc: %v\n%s", err, out)
		}
	}
}

// Without a folder the page of the program is printed; a file is no folder.
func TestManPrints(t *testing.T) {
	s := newScreen(t, "")
	if got := s.run(t.Context(), []string{"licensectl", "man"}); got != exitDone || !strings.HasPrefix(s.out.String(), `.TH "LICENSECTL" 1`) {
		t.Errorf("exit %d: %s", got, &s.out)
	}
	s = newScreen(t, "")
	if got := s.run(t.Context(), []string{"licensectl", "man", file(t, "x", "")}); got != exitUsage || !strings.Contains(s.err.String(), "is not a folder") {
		t.Errorf("exit %d: %s", got, &s.err)
	}
}
