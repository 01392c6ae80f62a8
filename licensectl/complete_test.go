package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// suggested are the suggestions for the words of a command line, and ":files".
func suggested(t *testing.T, shell string, words ...string) []string {
	t.Helper()
	s := newScreen(t, "")
	if got := s.run(t.Context(), slices.Concat([]string{"licensectl", completeCommand, shell}, words)); got != exitDone {
		t.Fatalf("exit %d: %s", got, &s.err)
	}
	var list []string
	for line := range strings.Lines(s.out.String()) {
		value, _, _ := strings.Cut(strings.TrimRight(line, "\n"), "\t")
		list = append(list, value)
	}
	return list
}

// Commands, options, fixed values and files.
func TestSuggestions(t *testing.T) {
	for _, c := range []struct {
		words string // the last is completed; "_" is none
		want  string // all of them, with blanks between
	}{
		{"iss", "issue"},
		{"keys ro", "rotate"},
		{"--server unix:x keys ro", "rotate"},
		{"--server=unix:x keys ro", "rotate"},
		{"keys rotate ro", ""},
		{"--tok", "--token-file"},
		{"--token-file _", ":files"},
		{"issue --per", "--perpetual"},
		{"issue --from _", ":files"},
		{"issue --customer _", ""},
		{"issue --customer --per", ""},
		{"issue -- --per", ""},
		{"list -o _", "table json csv"},
		{"list --output=j", "--output=json"},
		{"list --state su", "suspended"},
		{"request --op re", "refresh"},
		{"edit lic_x --enforcement d", "degrade"},
		{"order stage X del", "delivered"},
		{"order stage del", ""},
		{"verify _", ":files"},
		{"sign _", ":files"},
		{"sign a.req _", ""},
		{"sign --code X _", ":files"},
		{"completion _", "bash zsh fish"},
		{"man _", ":files"},
		{"show _", ""},
		{"nothing _", ""},
	} {
		before, none := strings.CutSuffix(c.words, "_")
		words := strings.Fields(before)
		if none {
			words = append(words, "")
		}
		if got := strings.Join(suggested(t, "fish", words...), " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.words, got, c.want)
		}
	}
	// bash makes words of the = of an option.
	for _, words := range [][]string{{"list", "--output", "=", "j"}, {"list", "--output", "j"}} {
		if got := suggested(t, "bash", words...); !slices.Equal(got, []string{"json"}) {
			t.Errorf("%q: %q", words, got)
		}
	}
	if got := suggested(t, "bash", "list", "--output", "="); !slices.Equal(got, []string{"table", "json", "csv"}) {
		t.Errorf("after =: %q", got)
	}
}

// Every command and option of the tree is suggested where it may stand.
func TestSuggestionsCover(t *testing.T) {
	var walk func(path []string, list []*cli.Command)
	walk = func(path []string, list []*cli.Command) {
		names := suggested(t, "zsh", append(slices.Clone(path), "")...)
		for _, c := range list {
			if !slices.Contains(names, c.Name) {
				t.Errorf("%q: %s is not suggested", path, c.Name)
			}
			below := append(slices.Clone(path), c.Name)
			options := suggested(t, "zsh", append(slices.Clone(below), "-")...)
			for _, f := range c.Flags {
				if !slices.Contains(options, dashed(f.Names()[0])) {
					t.Errorf("%q: %s is not suggested", below, dashed(f.Names()[0]))
				}
			}
			if len(c.Subcommands) > 0 {
				walk(below, c.Subcommands)
			}
		}
	}
	walk(nil, newScreen(t, "").app().Commands)
}

// inShell runs a script in a shell, with licensectl as a command there.
func inShell(t *testing.T, shell string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(shell)
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal(err)
	case err != nil:
		t.Skipf("there is no %s here: %v", shell, err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(self, filepath.Join(dir, "licensectl")); err != nil {
		if runtime.GOOS != "windows" {
			t.Fatal(err)
		}
		t.Skipf("only some users of Windows make links: %v", err)
	}
	for _, name := range []string{"a file.csv", "other.csv"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	script := filepath.Join(dir, "script")
	if err := os.WriteFile(script, []byte(shellScripts[shell]), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+dir+string(os.PathListSeparator)+os.Getenv("PATH"), "HOME="+dir, "LC_ALL=C.UTF-8", "GORACE=atexit_sleep_ms=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", shell, err, out)
	}
	return string(out)
}

func TestCompletionBash(t *testing.T) {
	got := inShell(t, "bash", "--norc", "-c", `
source ./script
complete -p licensectl
ask() { COMP_WORDS=(licensectl "$@"); COMP_CWORD=$#; _licensectl; printf '[%s]' "${COMPREPLY[@]}"; echo; }
ask iss
ask list --output = j
ask list --state s
ask issue --from a
ask show ""
`)
	want := "complete -F _licensectl licensectl\n[issue]\n[json]\n[suspended]\n[a file.csv]\n[]\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCompletionZsh(t *testing.T) {
	got := inShell(t, "zsh", "-f", "-c", `
compdef() { print "compdef $*"; }
_files() { print files; }
_describe() { print -r -- "${(@P)3%%:*}"; }
source ./script
ask() { words=(licensectl "$@"); CURRENT=${#words}; _licensectl; }
ask iss
ask list --state= ""
ask list --state=s
ask issue --from ""
`)
	want := "compdef _licensectl licensectl\nissue\n--state=suspended\nfiles\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCompletionFish(t *testing.T) {
	got := inShell(t, "fish", "--no-config", "-c", `
source ./script
complete -C "licensectl iss"
complete -C "licensectl list --state=s"
complete -C "licensectl list -o "
complete -C "licensectl issue --from o"
`)
	want := "issue\tmake licences and print their codes\n--state=suspended\ncsv\njson\ntable\nother.csv\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
