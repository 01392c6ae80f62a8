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
	unknownFor  = time.Minute // how long a code that no marketplace knows is not asked about again
	maxUnknown  = 10_000      // such codes remembered
	askingRetry = 5 * time.Second
)

// gate stands before the marketplaces: of several callers with one code one
// goes through at a time, few do at once, and a code that is not known is
// remembered for a while.
type gate struct {
	slots chan struct{}

	mu      sync.Mutex
	asking  map[string]chan struct{} // by code index; closed when done
	unknown map[string]time.Time
	told    map[string]Entitlement // what activations told that is not recorded yet
}

func newGate() *gate {
	return &gate{
		slots: make(chan struct{}, maxAsking), asking: make(map[string]chan struct{}),
		unknown: make(map[string]time.Time), told: make(map[string]Entitlement),
	}
}

// enter waits for its turn with a code. The returned function ends it.
func (g *gate) enter(ctx context.Context, index []byte) (func(), error) {
	key := string(index)
	busy := license.Errorf(license.MarketplaceUnavailable, "the marketplace is busy; please try again shortly").WithRetryAfter(askingRetry)
	for {
		g.mu.Lock()
		other, taken := g.asking[key]
		if !taken {
			g.asking[key] = make(chan struct{})
		}
		g.mu.Unlock()
		if !taken {
			break
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, busy
		}
	}
	leave := func() {
		g.mu.Lock()
		close(g.asking[key])
		delete(g.asking, key)
		g.mu.Unlock()
	}
	select {
	case g.slots <- struct{}{}:
		return func() { <-g.slots; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, busy
	}
}

func (g *gate) isUnknown(index []byte, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, ok := g.unknown[string(index)]
	return ok && now.Sub(at).Abs() < unknownFor
}

func (g *gate) setUnknown(index []byte, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.unknown) >= maxUnknown {
		clear(g.unknown) // rare, and costs one more question each
	}
	g.unknown[string(index)] = now
}

// remember keeps what the activation of a code told until it is recorded: the
// marketplace tells it once, and the store may not be writable just then.
func (g *gate) remember(index []byte, e Entitlement) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.told[string(index)] = e
}

func (g *gate) toldOf(index []byte) (e Entitlement, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e, ok = g.told[string(index)]
	return e, ok
}

func (g *gate) forget(index []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.told, string(index))
}
