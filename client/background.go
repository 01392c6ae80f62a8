package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// How often the background does what nothing makes it do.
const (
	// lookEvery: clocks are set, machines sleep and others write the memory, and no
	// timer tells.
	lookEvery = time.Minute
	// countEvery is how often the time for which the product has run is remembered.
	countEvery = time.Hour
	// machineEvery is how often the machine is looked at where nothing is called, and
	// machineAgain where it looked like another one, or could not be looked at: a
	// disk is put back, and what failed once need not fail again.
	machineEvery = 24 * time.Hour
	machineAgain = 5 * time.Minute
	// renewedEvery is how often the server is asked where the licence has ended: who
	// has just renewed it waits for that.
	renewedEvery = time.Hour
)

// When a call that failed is made again.
const (
	retryFirst   = 30 * time.Second
	retryLongest = time.Hour
	// retryBlocked is the longest where the product waits for nothing but an answer.
	retryBlocked = 5 * time.Minute
	// retrySeat is the longest where all floating seats are taken: one may be free
	// any moment.
	retrySeat = time.Minute
	// retryShortest: however little is left of a lease, the server is not flooded.
	retryShortest = 10 * time.Second
	// retryAsked is the longest that a server may ask for.
	retryAsked = 24 * time.Hour
	// callLatest is from when on how far off the next call is makes no difference.
	callLatest = 10 * 365 * 24 * time.Hour
)

// background is what a Guard does by itself: it sees what changes, tells it, and
// calls home. It is one goroutine, which sleeps but for a look a minute.
type background struct {
	g    *Guard
	told told

	believes bool // Open has believed whose the key is

	memory  error // why what others may have stored could not be read
	damaged error // why the memory was set aside, as it was told

	counted, looked, seen, paused time.Duration // when it had run for so long
	shown                         time.Time     // by the clock, when it was seen last

	spreadOf string  // the licence that spread was drawn for
	spread   float64 // of 1
}

// calls is how calling home goes. The background reads it, and whoever called
// writes it.
type calls struct {
	failed  error
	at      time.Duration // when it was called last
	tries   int           // in vain, since one that was not
	retryAt time.Duration // when the guard has run for so long; until then nothing is called by itself
}

// run is the goroutine. It ends with ctx.
func (b *background) run(ctx context.Context) {
	g := b.g
	defer close(g.ended)
	defer close(g.events)
	v := g.view.Load()
	b.told.license, b.damaged = v.license, v.damaged
	b.looked, b.seen, b.shown = g.ran(), g.ran(), g.opts.Now()
	if b.believes && !b.keyed(ctx) {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-g.changed:
		}
		b.see(ctx)
		b.tell()
		if at, ok := b.due(); ok && at <= 0 {
			b.call(ctx)
			b.tell()
		}
		b.paused = g.ran()
		timer.Reset(b.pause())
	}
}

// keyed looks whether the live key is that of the install, which Open believed,
// and reports whether there was time for it.
func (b *background) keyed(ctx context.Context) bool {
	g := b.g
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	defer func() { <-g.turn }()
	m := g.memory
	if m.keyed(); m.Install != g.memory.Install {
		g.adopt(m, g.stored)
	}
	return true
}

// tell tells what has changed.
func (b *background) tell() {
	trouble := b.memory
	if _, ok := b.due(); ok && trouble == nil { // else nothing is called that could fail
		trouble = b.g.calling().failed
	}
	if v := b.g.view.Load(); trouble == nil && v.license == nil {
		trouble = v.damaged
	}
	b.g.tell(&b.told, trouble)
}

// see takes in what others stored, and from time to time does what nobody asks
// for. Where somebody is at it, that one sees to it.
func (b *background) see(ctx context.Context) {
	g, ran := b.g, b.g.ran()
	b.wakes()
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	default:
		return
	}
	b.memory = nil
	if _, ok := g.opts.Cache.(interface{ lock() (func(), error) }); ok {
		b.memory = g.load(false)
	}
	if ran-b.counted >= countEvery {
		b.counted = ran
		g.keepCount()
	}
	if v := g.view.Load(); !errors.Is(v.damaged, b.damaged) {
		if b.damaged = v.damaged; b.memory == nil {
			b.memory = v.damaged // it was set aside since the last look
		}
	}
	every := machineEvery
	if v := g.view.Load(); v.looked != nil || v.license != nil && v.refusal == license.MachineMismatch {
		every = machineAgain
	}
	if ran-b.looked >= every {
		b.looked = ran
		_ = g.look(ctx) // fails only with ctx
	}
	g.joinSeat()
}

// wakes takes in that the machine slept, or that its clock was set: that time has
// passed for what waits as well, and where nobody was reached, the network may be
// another one now. Whether a running time counts while the machine sleeps is up to
// the system.
func (b *background) wakes() {
	g, ran, clock := b.g, b.g.ran(), b.g.opts.Now()
	uncounted := clock.Sub(b.shown) - (ran - b.seen)
	b.seen, b.shown = ran, clock
	if uncounted <= lookEvery && ran-b.paused <= 2*lookEvery {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	uncounted = max(0, uncounted)
	g.calls.at, g.calls.retryAt = g.calls.at-uncounted, g.calls.retryAt-uncounted
	if errors.Is(g.calls.failed, license.Unreachable) {
		g.calls.retryAt = min(g.calls.retryAt, ran)
	}
}

// due returns in how long a call is to be made, and whether any is.
func (b *background) due() (in time.Duration, ok bool) {
	g := b.g
	if g.server == nil || validateTrust(g.opts.Anchors, g.opts.Product) != nil {
		return 0, false
	}
	v, s := g.view.Load(), g.Status()
	switch {
	case v.waiting, v.unsound:
	case v.license == nil && !v.seat.IsZero():
	case v.license == nil, v.license.InstallID() == "":
		return 0, false
	case s.Clock == ClockBehind && s.unheard:
	default:
		in = min(s.RefreshAfter.Sub(s.At), callLatest) + b.jitter(v.license, s)
	}
	calls, ran := g.calling(), g.ran()
	if s.State == license.StateExpired {
		// Many may end at the same instant.
		spread := time.Duration(b.spread * float64(renewedEvery))
		in = min(in, max(calls.at+renewedEvery-ran, s.ExpiresAt.Sub(s.At)+spread))
	}
	return max(in, calls.retryAt-ran), true
}

// jitter is how much later than it could an install calls home, so that those
// that were activated together do not: up to a tenth of the time between two
// calls, and never so late that the grace of the lease begins.
func (b *background) jitter(l *License, s Status) time.Duration {
	if b.spreadOf != l.ID() {
		b.spreadOf, b.spread = l.ID(), b.g.opts.random()
	}
	d := l.Dates()
	most := s.RefreshAfter.Sub(d.IssuedAt) / 10
	if grace := d.LeaseGrace(); grace.After(s.RefreshAfter) {
		most = min(most, grace.Sub(s.RefreshAfter)/2)
	} else {
		most = 0
	}
	return time.Duration(b.spread * float64(max(most, 0)))
}

// pause is until when there is nothing to do.
func (b *background) pause() time.Duration {
	d := lookEvery
	if in, ok := b.due(); ok {
		d = min(d, in)
	}
	if v := b.g.view.Load(); v.license != nil {
		at := b.g.now()
		d = min(d, v.license.nextAfter(at).Sub(at))
	}
	return max(d, 50*time.Millisecond)
}

// call calls home, unless somebody else has done so while this waited its turn.
func (b *background) call(ctx context.Context) {
	g := b.g
	called := false
	err := g.online(ctx, func(ctx context.Context) error {
		b.looked = g.ran() // online has looked
		if at, ok := b.due(); !ok || at > 0 {
			return nil
		}
		called = true
		return g.noted(ctx, g.refresh(ctx))
	})
	if err != nil && !called && ctx.Err() == nil {
		g.note(err)
	}
	g.server.closeIdle()
}

func (g *Guard) calling() calls {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls
}

// reached forgets calls that failed: somebody who shares the memory brought a
// licence.
func (g *Guard) reached() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls.failed, g.calls.tries, g.calls.retryAt = nil, 0, 0
}

// noted notes how a call went, before the next one has its turn. That somebody
// did not wait for the answer says nothing.
func (g *Guard) noted(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil {
		g.note(err)
	}
	return err
}

// notedWish is noted for what the product asked for. What was refused for good is
// its own business; what waits is repeated by the background.
func (g *Guard) notedWish(ctx context.Context, err error) error {
	if err == nil || g.view.Load().waiting {
		return g.noted(ctx, err)
	}
	return err
}

// note remembers how a call went. One after which another is due at once counts
// as in vain, so that no server is asked without end.
func (g *Guard) note(err error) {
	if errors.Is(err, license.NoLicense) {
		err = nil // it was given up, as was wished for
	}
	s, v := g.Status(), g.view.Load()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls.failed, g.calls.at = err, g.ran()
	again := s.RefreshDue() || v.waiting || v.unsound || v.license == nil && !v.seat.IsZero()
	if err == nil && !again {
		g.calls.tries, g.calls.retryAt = 0, 0
		return
	}
	g.calls.tries++
	g.calls.retryAt = g.ran() + g.retryIn(g.calls.tries, err, s)
}

// retryIn is how long to wait after so many tries: twice as long after each, as
// long as that leaves some for what remains of the lease, and a quarter more or
// less.
func (g *Guard) retryIn(tries int, err error, s Status) time.Duration {
	longest, asked := retryLongest, time.Duration(0)
	if e, ok := errors.AsType[*license.Error](err); ok {
		asked = min(e.RetryAfter, retryAsked)
	}
	reason := license.ReasonOf(err)
	switch left := s.LeaseUntil.Sub(s.At); {
	case reason == license.MachineLimit && (asked > 0 || g.view.Load().floats):
		longest = retrySeat
	case s.Reason == license.NoLicense, s.Reason == license.LeaseOver:
		if err == nil || !settled(err) {
			longest = retryBlocked
		}
	case left > 0 && !slices.Contains([]license.Reason{license.Revoked, license.Suspended}, s.Reason):
		longest = min(longest, max(left/4, retryShortest))
	}
	d := longest
	if tries < 20 {
		d = min(longest, retryFirst<<(tries-1))
	}
	return max(d*3/4+time.Duration(g.opts.random()*float64(d/2)), asked)
}

// wake lets the background look at once.
func (g *Guard) wake() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// nextAfter is the first instant after at from which Check may say something else.
func (l *License) nextAfter(at time.Time) time.Time {
	next := l.claims.Dates.NextAfter(at)
	if l.claims.StatusMaxAge > 0 {
		from, until, _ := l.proven()
		for _, t := range [...]time.Time{until.Add(-until.Sub(from) / 4), until} {
			if t.After(at) {
				next = earliest(next, t)
			}
		}
	}
	return next
}

func random() float64 { return rand.Float64() } //nolint:gosec // it spreads calls, and keeps no secret
