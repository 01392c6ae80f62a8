// Package sweep has the authority record what comes to pass by the clock alone:
// licences whose end is near or reached, installs that were not seen for so long
// that their seat is freed, and what may be forgotten. Nothing depends on when it
// runs: states and seats are computed where they are asked for.
package sweep

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// Authority is the part of the authority that sweeps: a little at each call.
type Authority interface {
	Sweep(ctx context.Context, now time.Time) (did authority.Swept, more bool, err error)
}

// The defaults of a Sweeper.
const (
	DefaultEvery = 30 * time.Second
	DefaultPause = 10 * time.Millisecond
)

// yield is how many times as long as a step took is left to others after it: a
// store that is busy makes steps slow, and then there are fewer of them.
const yield = 4

// Sweeper sweeps from time to time. Authority is required.
type Sweeper struct {
	Authority Authority
	Log       *slog.Logger     // nil discards
	Now       func() time.Time // nil means time.Now
	Every     time.Duration    // between two rounds; 0 is DefaultEvery
	Pause     time.Duration    // at least, between two steps of a round, which leaves the store to others; 0 is DefaultPause
}

// Run sweeps at once and then from time to time, until ctx ends. A failure is
// logged once until it is another one, and what was not done is done later.
func (s *Sweeper) Run(ctx context.Context) {
	log, now := s.Log, s.Now
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if now == nil {
		now = time.Now //nolint:forbidigo // the one default of Now
	}
	failure := ""
	for {
		did, err := s.RunOnce(ctx, now())
		if ctx.Err() != nil {
			return
		}
		if did != (authority.Swept{}) {
			log.Info("swept", "expired", did.Expired, "expiring", did.Expiring, "released", did.Released, "forgotten", did.Forgotten)
		}
		text := ""
		if err != nil && !errors.Is(err, license.Clock) { // which is reported by who guards the clock
			text = err.Error()
		}
		if text != "" && text != failure {
			log.Error("what the clock brings cannot be recorded; it is tried again", "error", text)
		}
		failure = text
		if !wait(ctx, orElse(s.Every, DefaultEvery)) {
			return
		}
	}
}

// RunOnce does all that there is to do at now, in small steps, and returns what
// that was. It ends early where ctx ends or a step fails; what is left is done by
// the next one.
func (s *Sweeper) RunOnce(ctx context.Context, now time.Time) (authority.Swept, error) {
	var all authority.Swept
	for {
		begun := time.Now() //nolint:forbidigo // how long a step takes, not when it is
		did, more, err := s.Authority.Sweep(ctx, now)
		took := time.Since(begun) //nolint:forbidigo // likewise
		all = all.Add(did)
		switch {
		case err != nil:
			return all, err
		case !more:
			return all, nil
		case !wait(ctx, max(orElse(s.Pause, DefaultPause), yield*took)):
			return all, context.Cause(ctx)
		}
	}
}

// wait reports whether ctx goes on for so long.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func orElse(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}
