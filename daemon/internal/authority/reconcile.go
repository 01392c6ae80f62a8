package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Bounds of the daily comparison with a marketplace.
const (
	reconcilePage  = 100              // codes at a time
	reconcileSpan  = 20 * time.Hour   // over which a day's comparison is spread
	reconcileLeast = time.Second      // between two pages
	reconcileMost  = time.Minute      // between two pages
	reconcileFirst = 20 * time.Second // between two pages of the first comparison, of which nobody knows how many there are
	reconcileRetry = 5 * time.Minute  // after a failure of a whole page
	reconcileTries = 3                // until a page that alone is not answered is passed over
	reconcileLease = 3 * time.Minute  // that nothing is heard of who compares until another daemon goes on
	reconcileLook  = time.Minute      // how long a clock that is set forward may go unnoticed
	checkAfter     = time.Minute      // how long after a change of the end the marketplace is asked about it
)

// BatchUpstream is an Upstream that can be asked about many codes at once.
type BatchUpstream interface {
	Upstream
	// QueryMany is Query for each of the codes, in their order.
	QueryMany(ctx context.Context, codes []license.Code) []Queried
}

// Queried is the answer about one of several codes.
type Queried struct {
	Entitlement Entitlement
	Err         error
}

// Reconciled is what a comparison with a marketplace has come to.
type Reconciled struct {
	Channel  string    `json:"channel"`
	BegunAt  time.Time `json:"begun_at"`
	EndedAt  time.Time `json:"ended_at,omitzero"` // zero while it goes on
	Checked  int       `json:"checked"`           // codes that were asked about
	Repaired int       `json:"repaired"`          // licences that were brought to what the marketplace says
	Own      int       `json:"own"`               // whose end the merchant has set: it was left as it is
	Failed   int       `json:"failed"`            // of which the marketplace said nothing that could be believed
	Failure  string    `json:"failure,omitzero"`  // why, the last time
	// Differences are the first maxDifferences of what was repaired, left, or could
	// not be believed.
	Differences []Difference `json:"differences,omitzero"`
}

// reconciliation is how far the comparison with a marketplace has come. It is
// kept in the store, so that a restart goes on where it was.
type reconciliation struct {
	Now    Reconciled `json:"now"`
	Last   Reconciled `json:"last,omitzero"` // the one before, which has ended
	Cursor string     `json:"cursor,omitzero"`
	Pages  int        `json:"pages"`
	Before int        `json:"before"`          // pages of the last one
	Silent int        `json:"silent,omitzero"` // how often in a row the next page was not answered

	next string // the cursor after the page that was read last
	size int    // of that
}

func reconcileKey(channel string) string { return "reconcile/" + channel }

// Reconciliation returns how far the comparison with a marketplace has come, and
// what the one before has come to. Both are zero where there was none.
func (a *Authority) Reconciliation(ctx context.Context, channel string) (now, last Reconciled, err error) {
	r, err := a.reconciliation(ctx, channel)
	return r.Now, r.Last, err
}

func (a *Authority) reconciliation(ctx context.Context, channel string) (r reconciliation, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		r, err = readValue[reconciliation](ctx, tx, reconcileKey(channel))
		return err
	})
	if err != nil {
		return reconciliation{}, fmt.Errorf("read how far the comparison with %s has come: %w", channel, err)
	}
	return r, nil
}

// RunReconcile compares all codes of a marketplace with what it says of them,
// once a day, until ctx ends; of several daemons on a store one does it at a time,
// and goes on where another was. Differences are repaired and audited, but for what
// the merchant has set by hand. Each end of a comparison is given to report, and
// so are failures that concern more than one code.
func (a *Authority) RunReconcile(ctx context.Context, channel string, report func(Reconciled, error)) {
	ch, ok := a.channel(channel)
	if !ok || ch.Upstream == nil {
		return
	}
	one := a.lease(reconcileKey(channel), reconcileLease)
	defer func() { _ = one.release(ctx) }() // else it is taken over a little later
	repeat(ctx, nil, func() time.Duration {
		done, wait, err := a.reconcileOnce(ctx, one, ch)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			report(Reconciled{Channel: channel}, err)
		case done != nil:
			report(*done, nil)
		}
		return wait
	})
}

// Reconcile compares all codes of a marketplace at once, as fast as it answers.
func (a *Authority) Reconcile(ctx context.Context, channel string) (Reconciled, error) {
	s, err := a.SyncNext(ctx, channel, "")
	for err == nil && !s.Done {
		s, err = a.SyncNext(ctx, channel, s.Run)
	}
	return s.Total, err
}

// reconcileOnce is reconcileNext where something is due and no other daemon is at it.
func (a *Authority) reconcileOnce(ctx context.Context, one *lease, ch Channel) (done *Reconciled, wait time.Duration, err error) {
	r, err := a.reconciliation(ctx, ch.Name)
	if err != nil {
		return nil, reconcileRetry, err
	}
	if wait, due := r.due(a.now()); !due {
		return nil, wait, nil
	}
	ran, err := one.during(ctx, func(ctx context.Context) error {
		done, wait, err = a.reconcileNext(ctx, ch)
		return err
	})
	switch {
	case errors.Is(err, errLeaseLost), err == nil && !ran:
		return nil, reconcileLook, nil
	case !ran:
		return nil, reconcileRetry, err
	case done != nil:
		return done, wait, one.release(ctx)
	}
	return done, wait, err
}

// due reports whether there is something to compare, and if not when to look again.
// A comparison that has begun a little later than now was by a clock that differs.
func (r reconciliation) due(now time.Time) (wait time.Duration, due bool) {
	if r.Now.EndedAt.IsZero() {
		return 0, true
	}
	next := r.Now.BegunAt.Add(24 * time.Hour)
	if now.Before(next) && r.Now.BegunAt.Sub(now) <= clockStep {
		return min(next.Sub(now), reconcileLook), false
	}
	return 0, true
}

// reconcileNext does the next page of the day, where there is one. done is what
// the comparison has come to where it was the last one.
func (a *Authority) reconcileNext(ctx context.Context, ch Channel) (done *Reconciled, wait time.Duration, err error) {
	r, err := a.reconciliation(ctx, ch.Name)
	if err != nil {
		return nil, reconcileRetry, err
	}
	now := a.now()
	if wait, due := r.due(now); !due {
		return nil, wait, nil
	}
	if !r.Now.EndedAt.IsZero() || r.Now.BegunAt.IsZero() {
		r = reconciliation{Now: Reconciled{Channel: ch.Name, BegunAt: now}, Last: r.Now, Before: r.Pages}
	}
	if err := a.reconcilePage(ctx, ch, &r, reconcilePage); err != nil {
		r.Silent++
		if !errors.Is(err, license.MarketplaceUnavailable) || r.Silent < reconcileTries || !a.answers(ctx, ch, r.next) {
			return nil, reconcileRetry, errors.Join(err, a.saveReconciliation(ctx, ch, r))
		}
		// It is about these codes, whatever it is: the others are compared.
		r.Now.Failed, r.Now.Failure, r.Cursor = r.Now.Failed+r.size, failureText(err), r.next
	}
	r.Silent = 0
	r.Pages++
	if r.Cursor == "" {
		r.Now.EndedAt = a.now()
		done = &r.Now
	}
	if err := a.saveReconciliation(ctx, ch, r); err != nil {
		return nil, reconcileRetry, err
	}
	if r.Before == 0 {
		return done, reconcileFirst, nil
	}
	// Twice as fast as need be: there may be more codes by now.
	return done, min(max(reconcileSpan/time.Duration(2*r.Before), reconcileLeast), reconcileMost), nil
}

// answers reports whether a marketplace answers about any of a few other codes:
// those behind a cursor, or the first.
func (a *Authority) answers(ctx context.Context, ch Channel, cursor string) bool {
	var page []license.License
	var err error
	for more := true; more; more = err == nil && len(page) == 0 && cursor != "" {
		err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
			page, cursor, err = tx.Licenses(ctx, store.Filter{Channel: ch.Name}, store.Page{Limit: 3, Cursor: cursor})
			return err
		})
	}
	var got Reconciled
	return err == nil && a.comparePage(ctx, ch, page, &got) == nil && got.Checked > 0
}

func (a *Authority) saveReconciliation(ctx context.Context, ch Channel, r reconciliation) error {
	err := a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error { return writeValue(ctx, tx, reconcileKey(ch.Name), r) })
	if err != nil {
		return fmt.Errorf("record how far the comparison with %s has come: %w", ch.Name, err)
	}
	return nil
}

// reconcilePage compares the next codes and moves the cursor on, unless the
// marketplace answers about none of them.
func (a *Authority) reconcilePage(ctx context.Context, ch Channel, r *reconciliation, most int) error {
	var page []license.License
	var next string
	err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		page, next, err = tx.Licenses(ctx, store.Filter{Channel: ch.Name}, store.Page{Limit: most, Cursor: r.Cursor})
		return err
	})
	if err != nil {
		return fmt.Errorf("list the licences of %s: %w", ch.Name, err)
	}
	r.next, r.size = next, len(page)
	if err := a.comparePage(ctx, ch, page, &r.Now); err != nil {
		return err
	}
	r.Cursor = next
	return nil
}

// comparePage compares licences with what their marketplace says, and adds what
// came of it to r. It fails where the marketplace answers about none of them.
func (a *Authority) comparePage(ctx context.Context, ch Channel, page []license.License, total *Reconciled) error {
	r := *total // which stays as it is where this fails
	r.Differences = slices.Clip(r.Differences)
	checks := a.checks(ch, page, &r)
	answers := queryMany(ctx, ch.Upstream, checks)
	if err := ctx.Err(); err != nil {
		return err
	}
	silent := 0
	for _, answer := range answers {
		if errors.Is(answer.Err, license.MarketplaceUnavailable) && !errors.Is(answer.Err, ErrUnbelievable) {
			silent++
		}
	}
	if silent > 0 && silent == len(answers) {
		return answers[0].Err
	}
	for k := range checks {
		r.Checked++
		repaired, own, err := checks[k].compare(ctx, answers[k])
		switch {
		case err != nil:
			r.Failed++
			r.Failure = checks[k].license + ": " + failureText(err)
		case repaired:
			r.Repaired++
		case own:
			r.Own++
		default:
			continue
		}
		r.differs(checks[k].difference(answers[k], repaired, err))
	}
	*total = r
	return nil
}

// check is one licence that is compared with what its marketplace says.
type check struct {
	adoption
	license string
	end     time.Time // as it is here
}

// checks are the licences of a page that have a code which the marketplace
// knows and which has not ended for good. One whose code cannot be read is
// counted in r.
func (a *Authority) checks(ch Channel, page []license.License, r *Reconciled) []*check {
	var out []*check
	for _, l := range page {
		if l.Instance != "" || !l.ReleasedAt.IsZero() {
			continue
		}
		code, err := a.codes.Open(l.Code.Sealed, l.ID)
		if err != nil {
			r.Checked, r.Failed, r.Failure = r.Checked+1, r.Failed+1, failureText(err)
			r.differs(Difference{License: l.ID, Outcome: OutcomeFailed, Failure: failureText(err)})
			continue
		}
		ad := adoption{a: a, ch: ch, code: code, index: l.Code.Index, actor: license.Actor{Kind: license.ActorSystem, Name: "reconcile"}}
		ad.heard = l.Heard.Expiry
		out = append(out, &check{adoption: ad, license: l.ID, end: l.ExpiresAt})
	}
	return out
}

func queryMany(ctx context.Context, up Upstream, checks []*check) []Queried {
	if len(checks) == 0 {
		return nil
	}
	if batch, ok := up.(BatchUpstream); ok {
		codes := make([]license.Code, len(checks))
		for k, c := range checks {
			codes[k] = c.code
		}
		return batch.QueryMany(ctx, codes)
	}
	out := make([]Queried, len(checks))
	for k, c := range checks {
		out[k].Entitlement, out[k].Err = c.query(ctx)
	}
	return out
}

// compare brings a licence to what the marketplace says of its code.
func (c *check) compare(ctx context.Context, answer Queried) (repaired, own bool, err error) {
	switch {
	case errors.Is(answer.Err, ErrNotActivated):
		return false, false, license.Errorf(license.UnknownCode, "the marketplace says that the code was never activated")
	case answer.Err != nil:
		return false, false, answer.Err
	}
	if err := c.record(ctx, answer.Entitlement); err != nil {
		return false, false, err
	}
	return c.changed, c.own, nil
}

// checkLater has the marketplace asked about a code whose end it has just
// changed: a message may be late, or its zone be misread.
func (a *Authority) checkLater(ctx context.Context, tx store.Tx, l license.License) error {
	ch, ok := a.channel(l.Channel)
	if !ok || ch.Upstream == nil || l.Instance != "" {
		return nil
	}
	return a.enqueue(ctx, tx, license.Job{
		Kind: license.JobCheck, Key: "check " + l.Channel, Channel: l.Channel, License: l.ID, DueAt: a.now().Add(checkAfter),
	}, nil)
}

// checkSome carries out a JobCheck, and with it those behind it that are due: the
// marketplace is asked about many codes at once, at the pace of a comparison.
func (a *Authority) checkSome(ctx context.Context, j license.Job) (effect, error) {
	ch, ok := a.channel(j.Channel)
	if !ok || ch.Upstream == nil {
		return nil, errNoWay
	}
	now := a.now()
	var behind []license.Job
	var page []license.License
	err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		jobs, _, err := tx.Jobs(ctx, store.JobFilter{State: license.JobWaiting, Kind: license.JobCheck, Channel: j.Channel}, store.Page{Limit: reconcilePage})
		if err != nil {
			return err
		}
		behind, page = nil, nil
		seen := make(map[string]bool)
		for _, other := range append([]license.Job{j}, jobs...) {
			if other.ID != j.ID {
				if other.DueAt.After(now) {
					continue
				}
				behind = append(behind, other)
			}
			if seen[other.License] {
				continue
			}
			seen[other.License] = true
			l, err := tx.License(ctx, other.License)
			if err != nil {
				return err
			}
			page = append(page, l)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what is to be compared with %s: %w", ch.Name, err)
	}
	if err := a.comparePage(ctx, ch, page, &Reconciled{}); err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx store.Tx) error {
		for _, other := range behind {
			if err := tx.DeleteJob(ctx, other); err != nil && !errors.Is(err, license.Conflict) && !errors.Is(err, license.NotFound) {
				return err
			}
		}
		return nil
	}, nil
}
