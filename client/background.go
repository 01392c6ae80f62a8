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
	// machineEvery is how often the machine is looked at where nothing is called.
	machineEvery = 24 * time.Hour
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
)

// background is what a Guard does by itself: it sees what changes, tells it, and
// calls home. It is one goroutine, which sleeps but for a look a minute.
type background struct {
	g    *Guard
	told told

	memory error // why what others may have stored could not be read

	counted, looked, seen time.Duration // when it had run for so long
	shown                 time.Time     // by the clock, when it was seen last

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
	b.told.license = v.license
	b.looked, b.seen, b.shown = g.ran(), g.ran(), g.opts.Now()
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
		timer.Reset(b.pause())
	}
}

// tell tells what has changed.
func (b *background) tell() {
	trouble := b.memory
	if trouble == nil {
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
	g, ran, clock := b.g, b.g.ran(), b.g.opts.Now()
	if passed := clock.Sub(b.shown); passed > ran-b.seen+lookEvery {
		// The machine slept, or its clock was set: the network may be another one.
		g.mu.Lock()
		g.calls.retryAt = min(g.calls.retryAt, ran)
		g.mu.Unlock()
	}
	b.seen, b.shown = ran, clock
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	default:
		return
	}
	if _, ok := g.opts.Cache.(interface{ lock() (func(), error) }); ok {
		b.memory = g.load(false)
	}
	if ran-b.counted >= countEvery {
		b.counted = ran
		g.keepCount()
	}
	if ran-b.looked >= machineEvery {
		b.looked = ran
		_ = g.look(ctx) // fails only with ctx
	}
	g.joinSeat()
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
		in = s.RefreshAfter.Sub(s.At) + b.jitter(v.license, s)
	}
	calls, ran := g.calling(), g.ran()
	if s.State == license.StateExpired {
		in = min(in, calls.at+renewedEvery-ran)
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
		if at, ok := b.due(); !ok || at > 0 {
			return nil
		}
		called = true
		return g.refresh(ctx)
	})
	if ctx.Err() == nil && (called || err != nil) {
		g.note(err)
	}
	b.looked = g.ran()
	g.server.closeIdle()
}

func (g *Guard) calling() calls {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls
}

// note remembers how a call went. One after which another is due at once counts
// as in vain, so that no server is asked without end.
func (g *Guard) note(err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	if errors.Is(err, license.NoLicense) {
		err = nil // it was given up, as was wished for
	}
	s, v := g.Status(), g.view.Load()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calls.failed, g.calls.at = err, g.ran()
	if err == nil && !s.RefreshDue() && !v.waiting {
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
	longest := retryLongest
	reason := license.ReasonOf(err)
	switch left := s.LeaseUntil.Sub(s.At); {
	case reason == license.MachineLimit && g.view.Load().floats:
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
	d = d*3/4 + time.Duration(g.opts.random()*float64(d/2))
	if e, ok := errors.AsType[*license.Error](err); ok {
		d = max(d, min(e.RetryAfter, retryAsked))
	}
	return d
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
