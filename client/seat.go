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
	code := g.opts.Code
	if m.Left && m.Code != "" {
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
}

// floats reports whether the install holds a floating seat that it can give back
// and take again.
func (g *Guard) floats() bool {
	l := g.view.Load().license
	return !g.opts.Manual && !g.opts.KeepSeat && g.server != nil && l != nil && l.InstallID() != "" &&
		l.claims.Mode == license.ModeFloating
}

// joinSeat says to others that share the memory that this copy uses the seat.
func (g *Guard) joinSeat() {
	c, ok := g.opts.Cache.(interface {
		join() (leave func() bool, err error)
	})
	if ok && g.unjoin == nil && g.floats() {
		g.unjoin, _ = c.join() // tried again at the next look
	}
}

// giveSeatBack gives a floating seat back, where this copy of the product is the
// last that uses it. The code is kept, to take a seat again.
func (g *Guard) giveSeatBack() {
	last := true
	if g.unjoin != nil {
		last = g.unjoin()
	}
	if !last || !g.floats() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveWithin)
	defer cancel()
	_ = g.online(ctx, func(ctx context.Context) error { // else it is free when the lease has ended
		if g.memory.Code == "" && g.opts.Code == "" {
			return nil
		}
		return g.ask(ctx, wish{op: OpDeactivate, leaves: true})
	})
}
