package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/durable"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/dump"
	"github.com/seed-357fa782/licensed/store/open"
)

// How long a start waits for a database that cannot be reached, and how long
// before it is tried again. Machines that are started together do not come up in
// order, and a service manager gives up on a program that ends at once a few
// times.
const (
	databaseWait  = time.Minute
	databaseAgain = time.Second
)

func (d *Daemon) openStore(ctx context.Context) error {
	if err := durable.MkdirAll(d.config.DataDir); err != nil {
		return fmt.Errorf("make the data folder: %w", err)
	}
	s, err := d.reachStore(ctx)
	if err != nil {
		return fmt.Errorf("open the store: %w", err)
	}
	d.store = s
	d.closers = append(d.closers, s.Close)
	if unfinished, err := dump.Unfinished(ctx, s); err != nil {
		return err
	} else if unfinished {
		return dump.ErrUnfinished
	}
	return nil
}

// reachStore opens the store, and waits for a database that cannot be reached.
func (d *Daemon) reachStore(ctx context.Context) (store.Store, error) {
	c := d.config.Database
	using := open.Using(open.Database{
		PasswordFile: c.PasswordFile, MaxConnections: c.MaxConnections,
		StatementTimeout: time.Duration(c.StatementTimeout), LockTimeout: time.Duration(c.LockTimeout),
		IdleTimeout: time.Duration(c.IdleTimeout), ConnectTimeout: time.Duration(c.ConnectTimeout),
	})
	given := time.NewTimer(databaseWait)
	defer given.Stop()
	for {
		s, err := open.Open(ctx, d.config.Store, open.Upgrading(d.upgrading), using)
		if refusal, is := errors.AsType[*license.Error](err); err == nil || !is || refusal.RetryAfter == 0 {
			return s, err
		}
		d.log.Warn("the database cannot be used yet; it is tried again, for a minute after the start", "error", err.Error(), "cause", fmt.Sprint(errors.Unwrap(err)))
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-given.C:
			return nil, err
		case <-time.After(databaseAgain):
		}
	}
}

// storeFindings are what the database says of itself, for the admin API; none where
// the store is a file.
func (d *Daemon) storeFindings(ctx context.Context) []adminwire.StoreFinding {
	examined, is := d.store.(store.Examined)
	if !is {
		return nil
	}
	found, err := examined.Examine(ctx, d.now)
	if err != nil {
		return []adminwire.StoreFinding{{Level: store.FindingFail, Detail: "the database does not answer: " + err.Error(), Mend: "see that it runs and can be reached from here; the daemon goes on by itself"}}
	}
	out := []adminwire.StoreFinding{}
	for _, f := range found {
		out = append(out, adminwire.StoreFinding(f))
	}
	return out
}
