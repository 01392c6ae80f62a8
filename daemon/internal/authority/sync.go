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

// syncRuns have the steps of the comparisons by hand of an entry come one after the
// other here; what another daemon does is seen where a step is kept.
type syncRuns struct {
	mu    sync.Mutex
	turns map[string]*sync.Mutex
}

func (s *syncRuns) turn(channel string) *sync.Mutex {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.turns[channel] == nil {
		s.turns[channel] = new(sync.Mutex)
	}
	return s.turns[channel]
}

// syncRun is a comparison by hand, the newest one of an entry. It is kept in the
// store, so that any daemon can do its next step.
type syncRun struct {
	ID    string         `json:"id"`
	Steps int            `json:"steps"` // that were done
	R     reconciliation `json:"r"`
}

func syncKey(channel string) string { return "sync/" + channel }

func syncRunKey(channel string) string { return "sync.run/" + channel }

// Sync is how far a comparison by hand has come.
type Sync struct {
	Run   string // to go on with
	Done  bool
	Total Reconciled   // since it began
	Step  []Difference // that this step has found, all of them
}

// SyncNext does the next step of a comparison by hand of all codes of a
// marketplace with what it says, as RunReconcile does; run is that of the step
// before, "" for a new comparison. A run that another one has replaced is a
// Conflict, and so is a step that another daemon does at the same time. A step that
// fails can be done again.
func (a *Authority) SyncNext(ctx context.Context, channel, run string) (Sync, error) {
	ch, ok := a.channel(channel)
	if !ok || ch.Upstream == nil {
		return Sync{}, license.Errorf(license.NotFound, "there is no marketplace %q with an open API", printable(channel))
	}
	turn := a.syncs.turn(channel)
	turn.Lock()
	defer turn.Unlock()
	s, err := a.syncRun(ctx, channel, run)
	if err != nil {
		return Sync{}, err
	}
	if !s.R.Now.EndedAt.IsZero() { // the answer that said so was lost
		return Sync{Run: s.ID, Done: true, Total: s.R.Now}, nil
	}
	total := s.R.Now
	s.R.Now.Differences = nil // those of this step
	calling, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	err = a.syncOne(calling, ch, &s.R)
	step := s.R.Now.Differences
	s.R.Now.Differences = total.Differences
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			err = license.Errorf(license.MarketplaceUnavailable, "the marketplace answers too slowly; please try again later").WithCause(err)
		}
		return Sync{Run: s.ID, Total: total}, err
	}
	for _, d := range step {
		s.R.Now.differs(d)
	}
	if s.R.Cursor == "" {
		s.R.Now.EndedAt = a.now()
	}
	if err := a.keepSync(ctx, channel, s); err != nil {
		return Sync{Run: s.ID, Total: total}, err
	}
	return Sync{Run: s.ID, Done: s.R.Cursor == "", Total: s.R.Now, Step: step}, nil
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

// errNoSync refuses a step of a comparison that is not the newest any more.
var errNoSync = license.Errorf(license.Conflict, "this comparison is not under way any more: another one was begun")

// syncRun returns the run with an id, or a new one that replaces the one that there is.
func (a *Authority) syncRun(ctx context.Context, channel, id string) (s syncRun, err error) {
	if id != "" {
		err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
			s, err = readValue[syncRun](ctx, tx, syncRunKey(channel))
			return err
		})
		if err == nil && s.ID != id {
			err = errNoSync
		}
		return s, err
	}
	if s.ID, err = a.ids.New("sync_", a.now()); err != nil {
		return s, err
	}
	s.R.Now = Reconciled{Channel: channel, BegunAt: a.now()}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error { return writeValue(ctx, tx, syncRunKey(channel), s) })
	return s, err
}

// keepSync keeps a step of a comparison by hand, and at the end what it has come to.
func (a *Authority) keepSync(ctx context.Context, channel string, s syncRun) error {
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		is, err := readValue[syncRun](ctx, tx, syncRunKey(channel))
		switch {
		case err != nil:
			return err
		case is.ID != s.ID:
			return errNoSync
		case is.Steps != s.Steps:
			return license.Errorf(license.Conflict, "another daemon does this step of the comparison; go on with it in a moment")
		}
		s := s
		s.Steps++
		if err := writeValue(ctx, tx, syncRunKey(channel), s); err != nil || s.R.Now.EndedAt.IsZero() {
			return err
		}
		return writeValue(ctx, tx, syncKey(channel), s.R.Now)
	})
	if err != nil && license.ReasonOf(err) != license.Conflict {
		return fmt.Errorf("record what the comparison with %s came to: %w", channel, err)
	}
	return err
}
