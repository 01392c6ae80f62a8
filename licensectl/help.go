package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// categories are the groups of commands, in the order in which help shows them.
var categories = []string{"Licences", "Orders", "Machines without a network", "Signing keys", "Service"}

// appHelp is what licensectl prints alone.
func appHelp(app *cli.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n\nUsage:\n  %s\n", app.Name, app.Usage, app.UsageText)
	for _, category := range categories {
		fmt.Fprintf(&b, "\n%s:\n", category)
		writeCommands(&b, slices.DeleteFunc(slices.Clone(app.Commands), func(c *cli.Command) bool { return c.Category != category }))
	}
	writeOptions(&b, "Options before the command", app.Flags)
	about, examples := splitExamples(app.Description)
	fmt.Fprintf(&b, "  -h, --help              this; after a command, that command's help\n"+
		"  -v, --version           which build this is\n\n%s\n\n%s\n", about, examples)
	return b.String()
}

// commandHelp is what a command's --help prints.
func commandHelp(c *cli.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\nUsage:\n  %s\n", upperFirst(c.Usage), usageLines(c.UsageText))
	about, examples := splitExamples(c.Description)
	if about != "" {
		fmt.Fprintf(&b, "\n%s\n", about)
	}
	if len(c.Subcommands) > 0 {
		b.WriteString("\nCommands:\n")
		writeCommands(&b, c.Subcommands)
	}
	if len(c.Flags) > 0 {
		writeOptions(&b, "Options", c.Flags)
	}
	if examples != "" {
		fmt.Fprintf(&b, "\n%s\n", examples)
	}
	return b.String()
}

// usageLines breaks forms that are wider than a screen between their parts: what
// stands in brackets or belongs to an option stays together.
func usageLines(forms string) string {
	var out []string
	for form := range strings.Lines(forms) {
		var parts []string
		for word := range strings.FieldsSeq(form) {
			if n := len(parts) - 1; n >= 0 && strings.Count(parts[n], "[")+strings.Count(parts[n], "(") > strings.Count(parts[n], "]")+strings.Count(parts[n], ")") {
				parts[n] += " " + word
			} else {
				parts = append(parts, word)
			}
		}
		line := ""
		for _, part := range parts {
			if line != "" && width(line)+1+width(part) > maxWidth-2 {
				out, line = append(out, line), "   "
			}
			line += " " + part
		}
		out = append(out, line)
	}
	return strings.TrimSpace(strings.Join(out, "\n "))
}

func splitExamples(description string) (about, examples string) {
	if i := strings.Index(description, "Example"); i >= 0 {
		about, examples = description[:i], description[i:]
	} else {
		about = description
	}
	return strings.Join(wrap(about, maxWidth), "\n"), strings.TrimSpace(examples)
}

func writeCommands(b *strings.Builder, commands []*cli.Command) {
	widest := 0
	for _, c := range commands {
		widest = max(widest, width(c.Name))
	}
	for _, c := range commands {
		fmt.Fprintf(b, "  %s  %s\n", pad(c.Name, widest), c.Usage)
	}
}

func writeOptions(b *strings.Builder, title string, flags []cli.Flag) {
	fmt.Fprintf(b, "\n%s:\n", title)
	const column = 26
	for _, f := range flags {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		value, usage := placeholder(d.GetUsage())
		left := "  " + optionNames(f)
		if d.TakesValue() {
			left += " " + value
		}
		usage += defaultText(d)
		lines := wrap(usage, maxWidth-column)
		if width(left) > column-2 {
			b.WriteString(left + "\n")
			left = ""
		}
		for _, line := range lines {
			b.WriteString(pad(left, column) + line + "\n")
			left = ""
		}
	}
}

// optionNames are an option's names, the short one first.
func optionNames(f cli.Flag) string {
	names := slices.Clone(f.Names())
	slices.SortStableFunc(names, func(a, b string) int { return len(a) - len(b) })
	for i, name := range names {
		names[i] = dashed(name)
	}
	return strings.Join(names, ", ")
}

// placeholder takes the quoted word out of a usage, which stands for the value.
func placeholder(usage string) (value, plain string) {
	before, rest, ok := strings.Cut(usage, "`")
	value, after, closed := strings.Cut(rest, "`")
	if !ok || !closed {
		return "VALUE", usage
	}
	return value, before + value + after
}

func defaultText(d cli.DocGenerationFlag) string {
	text := strings.Trim(d.GetDefaultText(), `"`)
	if !d.TakesValue() || text == "" || text == "0" {
		text = ""
	} else {
		text = " (default: " + text + ")"
	}
	if vars := d.GetEnvVars(); len(vars) > 0 {
		text += " [$" + strings.Join(vars, ", $") + "]"
	}
	return text
}

// wrap breaks a text into lines.
func wrap(text string, to int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && width(line)+1+width(word) > to {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}
