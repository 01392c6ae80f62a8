package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/buildinfo"
	"github.com/seed-357fa782/licensed/internal/durable"
)

func (p *program) manCommand() *cli.Command {
	return &cli.Command{
		Name: "man", Category: "Service", Usage: "write the manual pages",
		UsageText: "licensectl man [DIR]",
		Description: "Writes a page for each command to DIR, which is made where it is missing: licensectl.1, licensectl-issue.1 and so on. " +
			"Without DIR the page of licensectl itself is printed.\n\n" +
			"Examples:\n  licensectl man | man -l -\n  licensectl man /usr/local/share/man/man1",
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				_, err := arguments(c, "a DIR")
				return err
			}
			pages := manPages(p.app())
			if !c.Args().Present() {
				_, err := fmt.Fprint(p.out, pages[0].text)
				return err
			}
			dir := c.Args().First()
			if dir == "" {
				return usagef("man needs the name of a DIR, or none")
			}
			if info, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
				if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // manual pages are for everybody
					return err
				}
			} else if err == nil && !info.IsDir() {
				return usagef("man: %s is not a folder", dir)
			}
			for _, page := range pages {
				if err := durable.WriteFile(filepath.Join(dir, page.name+".1"), []byte(page.text), 0o644); err != nil {
					return err
				}
			}
			return p.say("wrote %s to %s", count(len(pages), "page", "pages"), shown(dir))
		},
	}
}

// manPage is a page of the manual, in the language of troff's man macros.
type manPage struct{ name, text string }

// manPages makes the page of the program, the first, and one for each command.
func manPages(app *cli.App) []manPage {
	pages := []manPage{{app.Name, appPage(app)}}
	var walk func(above string, list []*cli.Command)
	walk = func(above string, list []*cli.Command) {
		for _, c := range list {
			if c.Hidden {
				continue
			}
			name := above + "-" + c.Name
			pages = append(pages, manPage{name, commandPage(above, name, c)})
			walk(name, c.Subcommands)
		}
	}
	walk(app.Name, app.Commands)
	return pages
}

// roff builds a page.
type roff struct{ strings.Builder }

func newRoff(name, usage string) *roff {
	r := &roff{}
	build := buildinfo.Read()
	r.line(`.TH "%s" 1 "" "licensectl %s"`, troff(strings.ToUpper(name)), troff(build.Version))
	r.section("NAME")
	r.line("%s \\- %s", troff(name), troff(usage))
	return r
}

func (r *roff) line(format string, args ...any) { fmt.Fprintf(r, format+"\n", args...) }

func (r *roff) section(name string) { r.line(".SH %s", name) }

// text writes paragraphs.
func (r *roff) text(s string) {
	for line := range strings.SplitSeq(s, "\n") {
		if strings.TrimSpace(line) == "" {
			r.line(".PP")
			continue
		}
		r.line("%s", troff(strings.TrimSpace(line)))
	}
}

// asIs writes lines as they stand.
func (r *roff) asIs(s string) {
	r.line(".nf")
	for line := range strings.SplitSeq(s, "\n") {
		r.line("%s", troff(line))
	}
	r.line(".fi")
}

func (r *roff) options(title string, flags []cli.Flag) {
	if len(flags) == 0 {
		return
	}
	r.section(title)
	for _, f := range flags {
		d, ok := f.(cli.DocGenerationFlag)
		if !ok {
			continue
		}
		value, usage := placeholder(d.GetUsage())
		r.line(".TP")
		if d.TakesValue() {
			r.line("\\fB%s\\fR \\fI%s\\fR", troff(optionNames(f)), troff(value))
		} else {
			r.line("\\fB%s\\fR", troff(optionNames(f)))
		}
		r.line("%s", troff(usage+defaultText(d)))
	}
}

func (r *roff) commands(above string, list []*cli.Command) {
	for _, c := range list {
		r.line(".TP\n\\fB%s\\fR(1)\n%s", troff(above+"-"+c.Name), troff(c.Usage))
	}
}

// description writes the paragraphs, and returns the examples that follow them.
func (r *roff) description(text string) (examples string) {
	about, rest, _ := strings.Cut(text, "Example")
	if about = strings.TrimSpace(about); about != "" {
		r.section("DESCRIPTION")
		r.text(about)
	}
	_, examples, _ = strings.Cut(rest, "\n")
	return strings.TrimRight(examples, "\n")
}

func (r *roff) examples(text string) {
	if text != "" {
		r.section("EXAMPLES")
		r.asIs(text)
	}
}

func appPage(app *cli.App) string {
	r := newRoff(app.Name, app.Usage)
	r.section("SYNOPSIS")
	r.asIs(app.UsageText)
	examples := r.description(app.Description)
	r.section("COMMANDS")
	for _, category := range categories {
		r.line(".SS %s", troff(category))
		for _, c := range app.Commands {
			if c.Category == category {
				r.commands(app.Name, []*cli.Command{c})
			}
		}
	}
	r.options("OPTIONS BEFORE THE COMMAND", app.Flags)
	r.section("ENVIRONMENT")
	r.line(".TP\n\\fBLICENSECTL_SERVER\\fR\n%s", troff("--server where it is not given."))
	r.line(".TP\n\\fB%s\\fR\n%s", zoneVariable, troff("the time zone in which a date without a time is meant, where --zone is not given."))
	r.line(".TP\n\\fBNO_COLOR\\fR\n%s", troff("where it is set and not empty, nothing is coloured."))
	r.examples(examples)
	return r.String()
}

func commandPage(above, name string, c *cli.Command) string {
	r := newRoff(name, c.Usage)
	r.section("SYNOPSIS")
	r.asIs(c.UsageText)
	examples := r.description(c.Description)
	if len(c.Subcommands) > 0 {
		r.section("COMMANDS")
		r.commands(name, c.Subcommands)
	}
	r.options("OPTIONS", c.Flags)
	r.examples(examples)
	r.section("SEE ALSO")
	r.line("\\fB%s\\fR(1)", troff(above))
	return r.String()
}

// troff writes a text so that it is shown as it stands.
func troff(s string) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == '\\':
			b.WriteString(`\e`)
		case r == '-':
			b.WriteString(`\-`)
		case r == '\'':
			b.WriteString(`\(aq`)
		case r == '`':
			b.WriteString("\\`")
		case r == '"':
			b.WriteString(`\(dq`)
		case r == '^':
			b.WriteString(`\(ha`)
		case r == '~':
			b.WriteString(`\(ti`)
		case r == '.' && i == 0:
			b.WriteString(`\&.`)
		case r > '~':
			fmt.Fprintf(&b, `\[u%04X]`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
