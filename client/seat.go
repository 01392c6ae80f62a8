package client

import (
	"context"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// leaveWithin is how long Close tries to give a floating seat back. One that is
// not given back is free when its lease has ended.
const leaveWithin = 5 * time.Second

// seatCode is the code with which the guard activates by itself, the zero Code
// where it does not: one that was configured, unless the licence was given up on
// purpose, and the one by which a floating seat was taken that was given back at
// the end.
func (g *Guard) seatCode(m memory) license.Code {
	if g.opts.Manual || m.License != "" || m.Receipt != "" && !m.Left {
		return license.Code{}
	}
	code := g.opts.Code // which may have been configured anew since
	if code == "" && m.Left {
		code = m.Code
	}
	if code == "" {
		return license.Code{}
	}
	c, err := license.ParseCode(code)
	if err != nil {
		return license.Code{} // it was parsed before
	}
	return c
}

// remember keeps the code of a floating licence, so that the seat which is given
// back at the end can be taken again at the start.
func (m *memory) remember(c token.License) {
	if c.Mode != license.ModeFloating {
		m.Code = ""
		return
	}
	for _, p := range []*pending{m.Sent.Activation, m.Carried.Activation} {
		if p == nil || p.Install != c.InstallID {
			continue
		}
		if w, err := p.wish(); err == nil && !w.code.IsZero() {
			m.Code = w.code.Reveal()
		}
	}
	if code, err := license.ParseCode(m.Code); err == nil && c.CodeLast4 != "" && code.Last4() != c.CodeLast4 {
		m.Code = "" // it is that of another licence
	}
}

// floats reports whether the install holds a floating seat.
func (g *Guard) floats() bool {
	l := g.view.Load().license
	return l != nil && l.InstallID() != "" && l.claims.Mode == license.ModeFloating
}

// shared is a cache whose users know of each other.
type shared interface {
	join() (leave func() (last bool), err error)
}

// joinSeat says to others that share the memory that this copy uses the seat,
// whatever it does with it at its end.
func (g *Guard) joinSeat() {
	if c, ok := g.opts.Cache.(shared); ok && g.unjoin == nil && g.floats() {
		g.unjoin, _ = c.join() // tried again at the next look
	}
}

// giveSeatBack gives a floating seat back, where this copy of the product is the
// last that uses it. The code is kept, to take a seat again. It is Close's turn,
// and nobody has another.
func (g *Guard) giveSeatBack() {
	_ = g.load(false) // what cannot be read is not given back below
	g.joinSeat()
	_, others := g.opts.Cache.(shared)
	last := !others
	if g.unjoin != nil {
		last = g.unjoin()
	}
	switch {
	case !last, !g.floats(), g.opts.Manual, g.opts.KeepSeat, g.server == nil, g.memory.Code == "" && g.opts.Code == "":
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	_ = g.ask(ctx, wish{op: OpDeactivate, leaves: true}) // else it is free when the lease has ended
}
