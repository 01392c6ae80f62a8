package main

import "fmt"

// progress is one line on a terminal that is written over and over. Elsewhere
// it is silent.
type progress struct {
	p      *program
	format string
	shown  bool
}

func (p *program) progress(format string) *progress { return &progress{p: p, format: format} }

func (g *progress) show(args ...any) {
	if !g.p.talkative {
		return
	}
	_, _ = fmt.Fprintf(g.p.err, "\r\x1b[K"+g.format, args...) // nobody is left to tell
	g.shown = true
}

// done takes the line away.
func (g *progress) done() {
	if g.shown {
		_, _ = fmt.Fprint(g.p.err, "\r\x1b[K") // nobody is left to tell
		g.shown = false
	}
}
