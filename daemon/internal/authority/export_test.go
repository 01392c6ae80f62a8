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

// WriteStatusFeed tells the feed of an entry that tx has written.
func WriteStatusFeed(ctx context.Context, tx store.Tx, place license.StatusRef) error {
	return writeFeed(ctx, tx, []license.StatusRef{place})
}
