package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// Every command that changes something says in the table how it can be told to, and
// the table names no other.
func TestEveryChangeHasARow(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	var walk func(path string, c *cli.Command)
	walk = func(path string, c *cli.Command) {
		path = strings.TrimSpace(path + " " + c.Name)
		for _, sub := range c.Subcommands {
			walk(path, sub)
		}
		has := func(name string) bool {
			return slices.ContainsFunc(c.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
		}
		_, row := changing[path]
		if seen[path] = row; row != has("yes") {
			t.Errorf("%s: accepts --yes: %v, has a row in the table of conditions.go: %v", path, has("yes"), row)
		}
		if can := changing[path]; can.dryRun && !has("dry-run") || can.revision != has("revision") || can.key != has("idempotency-key") {
			t.Errorf("%s: its options are not those of its row", path)
		}
	}
	for _, c := range newProgram().app().Commands {
		walk("", c)
	}
	for path := range changing {
		if !seen[path] {
			t.Errorf("there is no command %q", path)
		}
	}
}
