package clienttest

import (
	"sync"
	"time"
)

// Clock is a clock for client.Options.Now. The zero Clock stands still at
// Epoch. It is safe for any number of goroutines.
type Clock struct {
	mu    sync.Mutex
	runs  bool
	ahead time.Duration // of time.Now where it runs, else of Epoch
}

// NewClock returns a clock that stands still at an instant until it is moved.
func NewClock(at time.Time) *Clock {
	c := &Clock{}
	c.Set(at)
	return c
}

// NewRunningClock returns a clock that goes on as time.Now does, and shows the
// same until it is moved: in a testing/synctest bubble, the bubble's time.
func NewRunningClock() *Clock { return &Clock{runs: true} }

// Now is what the clock shows, in UTC.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base().Add(c.ahead)
}

// Advance moves the clock, back where d is negative.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// Set moves the clock to an instant, from where a running one goes on.
func (c *Clock) Set(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead = at.Sub(c.base())
}

func (c *Clock) base() time.Time {
	if !c.runs {
		return Epoch
	}
	// Without its monotonic part: Set must not be outdone by it.
	return time.Now().Round(0).UTC() //nolint:forbidigo // a running clock is time.Now, moved
}
