package pgstore

import (
	"context"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// A rehearsal is how the functions of a group read at the same time though they run
// one after the other. Before the first one runs, all of them run at once, each in
// its caller's goroutine, on what the database holds at the beginning of the
// group. A function that reads what is not known yet waits until all others wait,
// too, or have ended; then what they wait for is read in one round trip. What they write and
// return is thrown away. When they run in earnest, in their turn, they find what
// they read in the session, or what an earlier one has made of it, and need no
// round trip.

const (
	// rehearseFrom is how many functions a group has to have for a rehearsal: it
	// costs running them twice, and saves all but one of their round trips.
	rehearseFrom = 2
	// rehearseRounds is how often a rehearsal reads at most.
	rehearseRounds = 32
	// rehearsePatience is how long a rehearsal waits for functions that neither read nor
	// end before it reads for the others.
	rehearsePatience = 5 * time.Millisecond
)

// errRehearsed ends a rehearsal: what a function would do next has to wait until it
// runs in earnest.
var errRehearsed = license.Errorf(license.Internal, "the rehearsal is over")

type rehearsal struct {
	d *session // of which nothing is touched but under mu, and until it is over

	mu      sync.Mutex
	running int           // functions that neither wait nor have ended
	waiting []*rehearsing // those that wait
	idle    chan struct{} // has a token when none runs
	over    bool

	// lists are the status lists that functions have written. The others see them, so
	// that each draws a place of its own, as they will in their turn: then what
	// stands at those places is known.
	lists cells
}

type rehearsing struct {
	places []place
	ready  chan error
}

// rehearse has the functions of a group rehearse.
func (d *session) rehearse(ctx context.Context, members []*request) {
	p := &rehearsal{d: d, idle: make(chan struct{}, 1), lists: make(cells)}
	for _, r := range members {
		if r.hasLeft() || !r.begin() {
			continue
		}
		p.mu.Lock()
		p.running++
		p.mu.Unlock()
		t := newTxn(d, true)
		t.practice = p
		r.practice <- t
	}
	patience := time.NewTimer(rehearsePatience)
	defer patience.Stop()
	defer p.end()
	for range rehearseRounds {
		patience.Reset(rehearsePatience)
		late := false
		select {
		case <-p.idle:
		case <-patience.C:
			late = true
		}
		p.mu.Lock()
		waiting := p.waiting
		p.waiting = nil
		if len(waiting) == 0 {
			done := p.running == 0 || late // those that still run wait for something else
			p.mu.Unlock()
			if done {
				return
			}
			continue
		}
		p.running += len(waiting)
		p.mu.Unlock()
		asked := make([]place, 0, len(waiting))
		for _, w := range waiting {
			asked = append(asked, w.places...)
		}
		err := p.learn(ctx, asked)
		for _, w := range waiting {
			w.ready <- err
		}
		if err != nil {
			return
		}
	}
}

// learn reads what functions wait for.
func (p *rehearsal) learn(ctx context.Context, asked []place) error {
	g, err := p.d.gather(ctx, asked)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.d.learned(g)
	return nil
}

// end ends the rehearsal for those that have not.
func (p *rehearsal) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	for _, w := range p.waiting {
		w.ready <- errRehearsed
	}
	p.waiting = nil
}

// fetch waits until some places are known.
func (p *rehearsal) fetch(places []place) error {
	w := &rehearsing{places, make(chan error, 1)}
	p.mu.Lock()
	if p.over {
		p.mu.Unlock()
		return errRehearsed
	}
	p.waiting = append(p.waiting, w)
	p.stop()
	p.mu.Unlock()
	return <-w.ready
}

// known returns what is known of a place.
func (p *rehearsal) known(at place) *cell {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch c := p.lists[at]; {
	case p.over: // others have the session by now
		return nil
	case c != nil:
		return c
	}
	return p.d.cells[at]
}

// putList has the others see a status list that a function has written.
func (p *rehearsal) putList(at place, c *cell) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return errRehearsed
	}
	p.lists[at] = c
	return nil
}

func (p *rehearsal) ended() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.over
}

// leave is called when a function has ended.
func (p *rehearsal) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stop()
}

func (p *rehearsal) stop() {
	p.running--
	if p.running == 0 {
		select {
		case p.idle <- struct{}{}:
		default:
		}
	}
}
