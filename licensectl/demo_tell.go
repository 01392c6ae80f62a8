package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// narrator tells the demonstration: numbered steps, what happens, what came of
// it. The first error of writing is kept. It keeps a report beside.
type narrator struct {
	w      io.Writer
	color  bool
	err    error
	report demoReport
}

// demoReport is the json form of a demonstration.
type demoReport struct {
	OK      bool         `json:"ok"`
	Seconds float64      `json:"seconds"`
	Steps   []demoResult `json:"steps"`
}

type demoResult struct {
	Title    string   `json:"title"`
	OK       bool     `json:"ok"`
	Outcomes []string `json:"outcomes"` // what was checked
}

// margin stands before what is told.
const margin = "       "

// Colours of a terminal.
const (
	plain  = ""
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (n *narrator) paint(color, text string) string {
	if !n.color || color == plain {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

func (n *narrator) line(text string) {
	if _, err := io.WriteString(n.w, text+"\n"); n.err == nil {
		n.err = err
	}
}

// wrapped writes text in as many lines as a narrow terminal needs, after a
// prefix that is no wider than the margin before the other lines. Where more is to
// say that a line goes on, as in a shell, lines end before an option.
func (n *narrator) wrapped(prefix, margin, color, text, more string) {
	const columns = 80
	for width(margin)+width(text) > columns {
		room, at := columns-width(margin)-width(more), 0
		for i := range text {
			if fits := width(text[:i]) <= room; strings.HasPrefix(text[i:], " ") && (at == 0 || fits) && (more == "" || strings.HasPrefix(text[i:], " -")) {
				at = i
			}
		}
		if at == 0 {
			break
		}
		n.line(prefix + n.paint(color, text[:at]+more))
		prefix, text = margin, strings.TrimLeft(text[at:], " ")
	}
	n.line(prefix + n.paint(color, text))
}

func (n *narrator) opening(dir string) {
	n.line(n.paint(bold, "licensed: the life of some licences, and what can happen to them in the field"))
	n.wrapped("", "", plain, "Everything happens in "+dir+", on the loopback; nothing is installed.", "")
}

func (n *narrator) heading(i, of int, title string) {
	n.report.Steps = append(n.report.Steps, demoResult{Title: title, Outcomes: []string{}})
	n.line("\n" + n.paint(bold, fmt.Sprintf("%2d/%d  %s", i, of, title)))
}

// say tells what happens.
func (n *narrator) say(format string, args ...any) {
	n.wrapped(margin, margin, plain, printable(fmt.Sprintf(format, args...)), "")
}

// ok tells an outcome that was checked.
func (n *narrator) ok(format string, args ...any) {
	text := printable(fmt.Sprintf(format, args...))
	step := &n.report.Steps[len(n.report.Steps)-1]
	step.Outcomes = append(step.Outcomes, text)
	n.wrapped("     "+n.paint(green, "✓")+" ", margin, plain, text, "")
}

// command shows the command line that does the same.
func (n *narrator) command(format string, args ...any) {
	n.wrapped(margin, margin+"  ", yellow, "$ "+fmt.Sprintf(format, args...), ` \`)
}

// listing shows a file.
func (n *narrator) listing(text string) {
	for line := range strings.Lines(text) {
		n.line("         " + n.paint(dim, strings.TrimRight(line, "\n")))
	}
}

// passed notes that the step has done what it should.
func (n *narrator) passed() { n.report.Steps[len(n.report.Steps)-1].OK = true }

func (n *narrator) fail() {
	n.line("     " + n.paint(red, "✗") + " failed")
}

func (n *narrator) closing(steps int, took time.Duration) {
	n.report.OK, n.report.Seconds = true, took.Seconds()
	n.line("\n" + n.paint(bold, fmt.Sprintf("All %d steps did what they should, in %s.", steps, took.Round(time.Millisecond))))
	n.wrapped("", "", plain, "Next: licensed serve starts a daemon on embedded defaults, licensectl issue --product demo --for 365d makes a code.", "")
}
