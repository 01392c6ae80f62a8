package authority

import (
	"context"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// Bounds of what guessing codes can make us ask upstream.
const (
	maxAsking   = 8           // codes asked about at once
	maxWaiting  = 256         // callers that wait for that
	unknownFor  = time.Minute // how long a code that no marketplace knows is not asked about again
	maxUnknown  = 10_000      // such codes remembered
	askingRetry = 5 * time.Second
)

// gate stands before the marketplaces: of several callers with one code one
// goes through at a time, few do at once, a code that is not known is
// remembered for a while, and so many of those are asked about within a minute
// and no more.
type gate struct {
	slots   chan struct{}
	waiting chan struct{}
	budget  int // of unknown codes a minute, for all daemons; 0 for any number

	mu      sync.Mutex
	daemons int                      // that share the budget, and what is asked at once
	kept    int                      // slots that are left to the other daemons
	asking  map[string]chan struct{} // by code index; closed when done
	unknown map[string]time.Time     // by channel and code index; of no channel where none knows it
	spent   float64                  // of the budget, at spentAt
	spentAt time.Time                // by the clock
	told    map[string]license.Sold  // by entry and code index: what activations told that is not stored yet
}

func newGate(budget int) *gate {
	return &gate{
		budget: budget, daemons: 1,
		slots: make(chan struct{}, maxAsking), waiting: make(chan struct{}, maxWaiting), asking: make(map[string]chan struct{}),
		unknown: make(map[string]time.Time), told: make(map[string]license.Sold),
	}
}

var errBusy = license.Errorf(license.MarketplaceUnavailable, "the marketplace is busy; please try again shortly").WithRetryAfter(askingRetry)

// enter waits for its turn with a code, for as long as the caller does and not
// for long. The returned function ends it.
func (g *gate) enter(ctx context.Context, index []byte) (leave func(), err error) {
	select {
	case g.waiting <- struct{}{}:
		defer func() { <-g.waiting }()
	default:
		return nil, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, gateTimeout)
	defer cancel()
	if err := g.claim(ctx, string(index)); err != nil {
		return nil, err
	}
	select {
	case g.slots <- struct{}{}:
		return func() { <-g.slots; g.unclaim(string(index)) }, nil
	case <-ctx.Done():
		g.unclaim(string(index))
		return nil, errBusy
	}
}

// claim waits until nobody else asks about the code.
func (g *gate) claim(ctx context.Context, key string) error {
	for {
		g.mu.Lock()
		other, taken := g.asking[key]
		if !taken {
			g.asking[key] = make(chan struct{})
		}
		g.mu.Unlock()
		if !taken {
			return nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return errBusy
		}
	}
}

func (g *gate) unclaim(key string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.asking[key])
	delete(g.asking, key)
}

// isUnknown reports whether a code was asked about a moment ago and not known: to
// a channel, or to any where it is "".
func (g *gate) isUnknown(channel string, index []byte, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, ok := g.unknown[channel+"/"+string(index)]
	return ok && now.Sub(at).Abs() < unknownFor
}

// exhausted reports whether so many unknown codes were asked about that no
// further one is. Who has a code that is known waits with the guesser then; the
// marketplace's patience with us is worth more.
func (g *gate) exhausted(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.budget > 0 && g.left(now) < 1
}

// shareAmong says how many daemons share the budget, and the calls at once. What
// is under way is not broken off, so it is said again from time to time.
func (g *gate) shareAmong(daemons int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.daemons = max(daemons, 1)
	keep := maxAsking - max(maxAsking/g.daemons, 1)
	for ; g.kept > keep; g.kept-- {
		<-g.slots
	}
	for ; g.kept < keep; g.kept++ {
		select {
		case g.slots <- struct{}{}:
		default:
			return
		}
	}
}

// size is how many unknown codes may be asked about one after the other, and pace
// how many within a minute: a share of the budget, but for a code that is to be
// asked about at all.
func (g *gate) size() float64 { return max(g.pace(), 1) }

func (g *gate) pace() float64 { return float64(g.budget) / float64(g.daemons) }

// left is what is left of the budget, which comes back evenly.
func (g *gate) left(now time.Time) float64 {
	back := now.Sub(g.spentAt).Abs().Minutes() * g.pace()
	return g.size() - max(min(g.spent, g.size())-back, 0)
}

// spend notes that a marketplace was asked about a code that it did not know.
func (g *gate) spend(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.spent = g.size() - g.left(now) + 1
	g.spentAt = now
}

// setUnknown remembers a code that a channel does not know, or none where it is
// "".
func (g *gate) setUnknown(channel string, index []byte, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.unknown) >= maxUnknown {
		clear(g.unknown) // rare, and costs one more question each
	}
	g.unknown[channel+"/"+string(index)] = now
}

// remember keeps what the activation of a code told until it is stored: the
// marketplace tells it once, and the store may not be writable just then.
func (g *gate) remember(channel string, index []byte, told license.Sold) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.told[channel+"/"+string(index)] = told
}

func (g *gate) toldOf(channel string, index []byte) (told license.Sold, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	told, ok = g.told[channel+"/"+string(index)]
	return told, ok
}

func (g *gate) forget(channel string, index []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.told, channel+"/"+string(index))
}
