package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// everyCommand calls do for each command and group, with the names that lead to it.
func everyCommand(app *cli.App, do func(path []string, c *cli.Command)) {
	var walk func(path []string, list []*cli.Command)
	walk = func(path []string, list []*cli.Command) {
		for _, c := range list {
			below := append(slices.Clone(path), c.Name)
			do(below, c)
			walk(below, c.Subcommands)
		}
	}
	walk(nil, app.Commands)
}

// required matches a usage whose first word after the command is an argument or an
// option that must be given.
var required = regexp.MustCompile(`^(\(|[A-Z]+[|…A-Z.a-z]*( |$)|--product )`)

// Whatever the command, a wrong option, a value that is missing, a form that it cannot
// print, an argument too many and one too few exit 2 and are named, before anything is
// called or changed.
func TestSweep(t *testing.T) {
	t.Chdir(t.TempDir())
	call := func(path []string, more ...string) (int, string) {
		s := newScreen(t, "")
		status := s.run(t.Context(), slices.Concat([]string{"licensectl", "--server", "unix:none.sock"}, path, more))
		return status, s.err.String()
	}
	everyCommand(newScreen(t, "").app(), func(path []string, c *cli.Command) {
		name := strings.Join(path, " ")
		if status, text := call(path, "--no-such-option"); status != exitUsage || !strings.Contains(text, "--no-such-option") {
			t.Errorf("%s --no-such-option: exit %d, %q", name, status, text)
		}
		for _, f := range c.Flags {
			option := dashed(f.Names()[0])
			if !takesValue(f) {
				continue
			}
			if status, text := call(path, option); status != exitUsage || !strings.Contains(text, option+" needs a value") {
				t.Errorf("%s %s: exit %d, %q", name, option, status, text)
			}
		}
		if len(c.Subcommands) > 0 && len(c.Flags) > 0 { // a group that does something itself, with any argument
			return
		}
		if len(c.Subcommands) > 0 {
			if status, text := call(path, "nonsense"); status != exitUsage && status != exitNotFound || !strings.Contains(text, "nonsense") {
				t.Errorf("%s nonsense: exit %d, %q", name, status, text)
			}
			return
		}
		for usage := range strings.SplitSeq(c.UsageText, "\n") {
			if first := strings.TrimSpace(strings.TrimPrefix(usage, "licensectl "+name)); required.MatchString(first) && !strings.Contains(c.UsageText, "licensectl "+name+"\n") {
				if status, text := call(path); status != exitUsage || !strings.Contains(text, path[len(path)-1]) {
					t.Errorf("%s without anything: exit %d, %q", name, status, text)
				}
			}
		}
		if strings.Contains(c.UsageText, "…") { // it takes any number of arguments
			return
		}
		if status, text := call(path, append(slices.Clone(wanted[name]), "one", "two", "three", "four", "five")...); status != exitUsage || !regexp.MustCompile(`one|two|three|four|five`).MatchString(text) {
			t.Errorf("%s with five arguments: exit %d, %q", name, status, text)
		}
	})
}

// wanted are options that a command wants before it looks at its arguments and its form.
var wanted = map[string][]string{
	"order edit":     {"--amount", "1"},
	"webhook replay": {"--after", "1"},
	"webhook skip":   {"--all"},
	"token create":   {"--name", "x", "--role", "viewer"},
}

// A form that a command cannot print is refused by name, with those that it can.
func TestSweepForms(t *testing.T) {
	t.Chdir(t.TempDir())
	everyCommand(newScreen(t, "").app(), func(path []string, c *cli.Command) {
		if len(c.Subcommands) > 0 {
			return
		}
		var forms []string
		for _, f := range c.Flags {
			if f.Names()[0] == "output" {
				forms = choices(f.(cli.DocGenerationFlag).GetUsage())
			}
		}
		if len(forms) == 0 || !slices.Contains(forms, formTable) {
			return
		}
		var status int
		var text string
		// As many arguments as it wants.
		for args := []string{}; len(args) < 4; args = append(args, "lic_01k2m3n4p5q6r7s8t9v0w1x2y3") {
			s := newScreen(t, "")
			status = s.run(t.Context(), slices.Concat([]string{"licensectl", "--server", "unix:none.sock"}, path, wanted[strings.Join(path, " ")], []string{"-o", "xml"}, args))
			if text = s.err.String(); status == exitUsage && strings.Contains(text, `"xml"`) {
				break
			}
		}
		if status != exitUsage || !strings.Contains(text, `"xml"`) {
			t.Errorf("%s -o xml: exit %d, %q", strings.Join(path, " "), status, text)
		}
	})
}

// unscripted are the commands without a script of their own, and what shows them
// instead.
var unscripted = map[string]string{
	"demo":    "demo_test.go; make demo runs it as it is shipped",
	"sandbox": "sandbox_test.go: it runs until it is interrupted",
}

// Every command is run by a script, against a daemon where it asks one.
func TestEveryCommandHasAScript(t *testing.T) {
	var all strings.Builder
	for _, pattern := range []string{"testdata/*.txtar", "../test/e2e/testdata/*.txtar"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(data)
		}
	}
	scripts := all.String()
	everyCommand(newScreen(t, "").app(), func(path []string, c *cli.Command) {
		if len(c.Subcommands) > 0 && len(c.Flags) == 0 {
			return
		}
		name := strings.Join(path, " ")
		// Global options may stand before the command.
		line := regexp.MustCompile(`(?m)^(\[.*\] )?(! )?(exec|status [0-9]) licensectl( --(server|token-file)[= ]\S+)* ` + regexp.QuoteMeta(name) + `( |$)`)
		_, excused := unscripted[name]
		if found := line.MatchString(scripts); found == excused {
			t.Errorf("%s: it is run by a script: %v, it is excused: %v", name, found, excused)
		}
	})
}
