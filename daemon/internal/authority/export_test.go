package authority

import (
	"context"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Publish does what RunStatusLists does in one turn, and returns after what
// time it would look again.
func (a *Authority) Publish(ctx context.Context) (time.Duration, error) {
	return a.lists.publish(ctx)
}

// SetStatusListLength sets the length of lists that are made from now on.
func (a *Authority) SetStatusListLength(n int) { a.lists.draws.length = n }

// LookAtKeys does what RunKeys does in its first turn.
func (a *Authority) LookAtKeys(ctx context.Context, report func(KeyNews)) error {
	k := keyRun{a: a, report: report}
	return k.look(ctx)
}

// KeyLook returns what RunKeys does in each turn.
func (a *Authority) KeyLook(report func(KeyNews)) func(ctx context.Context) error {
	k := keyRun{a: a, report: report}
	return k.look
}

// WriteStatusFeed tells the feed of an entry that tx has written.
func WriteStatusFeed(ctx context.Context, tx store.Tx, place license.StatusRef) error {
	return writeFeed(ctx, tx, []license.StatusRef{place})
}

// Lease is a lease of an authority.
type Lease struct{ l *lease }

// Lease returns the lease of a name.
func (a *Authority) Lease(name string, lasts time.Duration) *Lease {
	return &Lease{a.lease(name, lasts)}
}

// Hold takes it, or shows that its holder is alive.
func (l *Lease) Hold(ctx context.Context) (bool, error) { return l.l.hold(ctx) }

// Release gives it up.
func (l *Lease) Release(ctx context.Context) error { return l.l.release(ctx) }

// Under returns a ctx under which changes are made only while it is held.
func (l *Lease) Under(ctx context.Context) context.Context { return l.l.under(ctx) }

// During does work under it.
func (l *Lease) During(ctx context.Context, work func(context.Context) error) (bool, error) {
	return l.l.during(ctx, work)
}

// MeetDaemons does what RunDaemons does in one turn.
func (a *Authority) MeetDaemons(ctx context.Context) error { return a.members.turn(ctx) }

// LeaveDaemons does what RunDaemons does in the end.
func (a *Authority) LeaveDaemons(ctx context.Context) error { return a.members.leave(ctx) }

// OutboxPause is how long the outbox waits when the store has failed so often.
func (a *Authority) OutboxPause(ctx context.Context, times int, failure error) (pause time.Duration) {
	o := outbox{a: a, report: func(JobOutcome) {}}
	for range times {
		pause = o.failing(ctx, failure)
	}
	return pause
}

// CensusTaker counts all licences.
type CensusTaker struct{ c *censusTaker }

// CensusTaker returns one that has counted nothing yet.
func (a *Authority) CensusTaker() *CensusTaker { return &CensusTaker{a.newCensusTaker()} }

// Round does one step, as RunCensus does, and says when the next is due.
func (c *CensusTaker) Round(ctx context.Context) (time.Duration, error) { return c.c.round(ctx) }

// FirstSince finds the first entry of the audit log that is not older than an instant.
func (a *Authority) FirstSince(ctx context.Context, since time.Time) (int64, error) {
	head, err := a.AuditHead(ctx)
	if err != nil {
		return 0, err
	}
	return a.newCensusTaker().firstSince(ctx, head.Seq, since)
}
