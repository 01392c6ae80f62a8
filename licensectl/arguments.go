package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// reorder moves a command's options before its arguments, since the flag
// package stops at the first argument. The options before the command stay
// where they are, and what follows "--" is arguments only.
//
// An option that a command does not know is moved as one without a value: the
// flag package then complains about it by name.
func reorder(app *cli.App, args []string) []string {
	if len(args) == 0 {
		return args
	}
	out := []string{args[0]}
	rest := args[1:]
	flags, commands := app.Flags, app.Commands
	names := false // it takes ids of installs or keys
	acts := false  // a group that does something itself, which has options of its own then
	for {
		var options []string
		options, rest = leading(flags, rest)
		out = append(out, options...)
		if len(rest) == 0 || rest[0] == "--" {
			return append(out, rest...)
		}
		cmd := find(commands, rest[0])
		if cmd == nil && acts {
			return append(out, sorted(flags, rest, names)...)
		}
		if cmd == nil { // no command of this name
			return append(out, rest...)
		}
		out, rest = append(out, rest[0]), rest[1:]
		flags, commands = cmd.Flags, cmd.Subcommands
		acts = len(commands) > 0 && len(flags) > 0
		names = strings.Contains(cmd.UsageText, "INSTALL") || strings.Contains(cmd.UsageText, "KID")
		if len(commands) == 0 {
			return append(out, sorted(flags, rest, names)...)
		}
	}
}

// leading splits off the options at the front.
func leading(flags []cli.Flag, args []string) (options, rest []string) {
	for len(args) > 0 && isOption(args[0]) && args[0] != "--" {
		n := optionLength(flags, args)
		options, args = append(options, args[:n]...), args[n:]
	}
	return options, args
}

// sorted puts all options first, then "--" and the arguments, among which are the
// beginnings of ids where a command names any.
func sorted(flags []cli.Flag, args []string, names bool) []string {
	var options, plain []string
	for len(args) > 0 {
		switch {
		case args[0] == "--":
			plain, args = append(plain, args[1:]...), nil
		case isOption(args[0]) && (!names || !isBeginning(flags, args[0])):
			n := optionLength(flags, args)
			options, args = append(options, args[:n]...), args[n:]
		default:
			plain, args = append(plain, args[0]), args[1:]
		}
	}
	if len(plain) == 0 {
		return options
	}
	return append(append(options, "--"), plain...)
}

// isOption reports whether an argument is one to the flag package, to which
// "-" is none. The id of a key or an install can begin with a dash as well.
func isOption(arg string) bool { return len(arg) > 1 && arg[0] == '-' && !isThumbprint(arg) }

// isThumbprint reports whether an argument is an id that is the thumbprint of a
// key; no option is so long without a "=".
func isThumbprint(arg string) bool {
	const length = 43
	return len(arg) == length && strings.IndexFunc(arg, func(r rune) bool {
		return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0
}

// isBeginning reports whether an argument with one dash that is no option of a
// command can be the beginning of an id.
func isBeginning(flags []cli.Flag, arg string) bool {
	const least = 3 // with the dash; two are an option of one letter
	if len(arg) < least || strings.HasPrefix(arg, "--") || strings.Contains(arg, "=") || arg == "-help" {
		return false
	}
	for _, f := range flags {
		if slices.Contains(f.Names(), arg[1:]) {
			return false
		}
	}
	return true
}

// keyNames are the arguments of a command, each the id of a key, which a list in CSV
// shows with an apostrophe where it begins with a dash.
func keyNames(c *cli.Context) []string {
	var ids []string
	for _, id := range c.Args().Slice() {
		ids = append(ids, fromCell(id))
	}
	return ids
}

// optionLength is how many arguments the option at the front takes up.
func optionLength(flags []cli.Flag, args []string) int {
	name := strings.TrimPrefix(strings.TrimPrefix(args[0], "-"), "-")
	if strings.Contains(name, "=") || len(args) == 1 {
		return 1
	}
	for _, f := range flags {
		for _, n := range f.Names() {
			if n == name {
				if _, is := f.(*cli.BoolFlag); is {
					return 1
				}
				return 2
			}
		}
	}
	return 1
}

func find(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}
