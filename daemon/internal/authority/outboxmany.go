package authority

import (
	"context"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// JobFilter selects jobs.
type JobFilter = store.JobFilter

// retryMost is how many jobs are put back in one transaction.
const retryMost = 200

// RetryParked has the oldest of the jobs that were given up tried again, with
// all their tries: those of a channel, or of all where it is "". It returns how
// many, and whether there are more.
func (a *Authority) RetryParked(ctx context.Context, actor license.Actor, channel string) (n int, more bool, err error) {
	if _, ok := a.channel(channel); channel != "" && !ok {
		return 0, false, license.Errorf(license.NotFound, "there is no marketplace %q", printable(channel))
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		f := store.JobFilter{State: license.JobParked, Channel: channel}
		list, next, err := tx.Jobs(ctx, f, store.Page{Limit: retryMost})
		if err != nil {
			return err
		}
		n, more = len(list), next != ""
		for _, j := range list {
			j.DueAt, j.Attempts, j.ParkedAt = a.now(), 0, time.Time{}
			if err := tx.UpdateJob(ctx, j); err != nil {
				return err
			}
			if err := a.auditJob(ctx, tx, actor, license.ActionJobRetry, j); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && n > 0 {
		a.wakeOutbox()
	}
	return n, more, err
}
