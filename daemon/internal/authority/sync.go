package authority

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Bounds of a comparison by hand.
const (
	maxDifferences = 100              // that are kept of a comparison
	syncPage       = 50               // codes in one step
	syncTimeout    = 45 * time.Second // of one step: whoever asked for it waits
)

// Difference is a licence of which a marketplace says something else than we do.
type Difference struct {
	License string            `json:"license"`
	Outcome DifferenceOutcome `json:"outcome"`
	Before  map[string]any    `json:"before,omitzero"`  // what differed, as it was here
	After   map[string]any    `json:"after,omitzero"`   // the same, as the marketplace says
	Failure string            `json:"failure,omitzero"` // with OutcomeFailed: why
}

// DifferenceOutcome is what became of a difference.
type DifferenceOutcome string

// The outcomes.
const (
	OutcomeRepaired DifferenceOutcome = "repaired" // it is as the marketplace says now
	OutcomeOwn      DifferenceOutcome = "own"      // the merchant had set it so: it was left
	OutcomeFailed   DifferenceOutcome = "failed"   // nothing that could be believed was said
)

// differs keeps a difference, where there is room.
func (r *Reconciled) differs(d Difference) {
	if len(r.Differences) < maxDifferences {
		r.Differences = append(r.Differences, d)
	}
}

// difference is what compare has found.
func (c *check) difference(answer Queried, repaired bool, err error) Difference {
	switch {
	case err != nil:
		return Difference{License: c.license, Outcome: OutcomeFailed, Failure: failureText(err)}
	case repaired:
		return Difference{License: c.license, Outcome: OutcomeRepaired, Before: c.was, After: c.is}
	}
	return Difference{
		License: c.license, Outcome: OutcomeOwn, Before: map[string]any{"expires_at": instant(c.end)},
		After: map[string]any{"expires_at": instant(answer.Entitlement.ExpiresAt)},
	}
}

// syncRuns are the comparisons by hand that are under way, one for an entry.
type syncRuns struct {
	mu      sync.Mutex
	running map[string]*syncRun
}

// syncRun is one of them. It lives in memory: after a restart it is begun anew.
type syncRun struct {
	mu sync.Mutex // held over a step
	id string
	r  reconciliation
}

func syncKey(channel string) string { return "sync/" + channel }

// Sync is how far a comparison by hand has come.
type Sync struct {
	Run   string // to go on with
	Done  bool
	Total Reconciled   // since it began
	Step  []Difference // that this step has found, all of them
}

// SyncNext does the next step of a comparison by hand of all codes of a
// marketplace with what it says, as RunReconcile does; run is that of the step
// before, "" for a new comparison. A run that another one has replaced, or that
// a restart has ended, is a Conflict. A step that fails can be done again.
func (a *Authority) SyncNext(ctx context.Context, channel, run string) (Sync, error) {
	ch, ok := a.channel(channel)
	if !ok || ch.Upstream == nil {
		return Sync{}, license.Errorf(license.NotFound, "there is no marketplace %q with an open API", printable(channel))
	}
	s, err := a.syncRun(channel, run)
	if err != nil {
		return Sync{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.r.Now.EndedAt.IsZero() { // the answer that said so was lost, or it could not be kept
		return Sync{Run: s.id, Done: true, Total: s.r.Now}, a.recordSync(ctx, s.r.Now)
	}
	total := s.r.Now
	s.r.Now.Differences = nil // those of this step
	calling, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	err = a.syncOne(calling, ch, &s.r)
	step := s.r.Now.Differences
	s.r.Now.Differences = total.Differences
	if err != nil {
		s.r.Now = total
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = license.Errorf(license.MarketplaceUnavailable, "the marketplace answers too slowly; please try again later").WithCause(err)
		}
		return Sync{Run: s.id, Total: s.r.Now}, err
	}
	for _, d := range step {
		s.r.Now.differs(d)
	}
	if s.r.Cursor != "" {
		return Sync{Run: s.id, Total: s.r.Now, Step: step}, nil
	}
	s.r.Now.EndedAt = a.now()
	if err := a.recordSync(ctx, s.r.Now); err != nil {
		return Sync{}, err
	}
	return Sync{Run: s.id, Done: true, Total: s.r.Now, Step: step}, nil
}

// syncOne compares the next codes. Where the marketplace answers about others and
// not about these they are passed over, as they are by RunReconcile.
func (a *Authority) syncOne(ctx context.Context, ch Channel, r *reconciliation) error {
	for try := 1; ; try++ {
		err := a.reconcilePage(ctx, ch, r, syncPage)
		switch {
		case !errors.Is(err, license.MarketplaceUnavailable) || ctx.Err() != nil || !a.answers(ctx, ch, r.next):
			return err
		case try == reconcileTries:
			r.Now.Failed, r.Now.Failure, r.Cursor = r.Now.Failed+r.size, failureText(err), r.next
			return nil
		}
	}
}

// syncRun returns the run with an id, or a new one.
func (a *Authority) syncRun(channel, id string) (*syncRun, error) {
	a.syncs.mu.Lock()
	defer a.syncs.mu.Unlock()
	if id != "" {
		if s := a.syncs.running[channel]; s != nil && s.id == id {
			return s, nil
		}
		return nil, license.Errorf(license.Conflict, "this comparison is not under way any more: another one was begun, or the daemon was started anew")
	}
	id, err := a.ids.New("sync_", a.now())
	if err != nil {
		return nil, err
	}
	s := &syncRun{id: id, r: reconciliation{Now: Reconciled{Channel: channel, BegunAt: a.now()}}}
	a.syncs.running[channel] = s
	return s, nil
}

// recordSync keeps what a comparison by hand has come to.
func (a *Authority) recordSync(ctx context.Context, r Reconciled) error {
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error { return writeValue(ctx, tx, syncKey(r.Channel), r) })
	if err != nil {
		return fmt.Errorf("record what the comparison with %s came to: %w", r.Channel, err)
	}
	return nil
}
