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

// leaseFor is how long nothing is heard of a daemon until another one goes on with
// what that did.
const leaseFor = 30 * time.Second

// lease is the right to do something that one daemon at a time does, of those on a
// store: first come, first served, and given up by who stops, or is not heard of
// for as long as it lasts.
//
// No instants are compared, so it does not matter how the clocks of the daemons
// differ: who holds it counts on in the record from time to time, and another one
// takes it over when it has itself seen the record stand still for so long, by the
// clock that nobody sets. Who is stopped and wakes up may believe for a moment that
// it holds it still, so that does not count: what it writes does (under).
//
// Where no other daemon can be on the store it is always held, and nothing is written.
type lease struct {
	store  store.Store
	shared bool
	owner  string
	uptime func() time.Duration
	name   string // of the value that keeps it
	lasts  time.Duration

	mu     sync.Mutex
	held   bool
	is     leaseRecord   // as it was seen last
	seenAt time.Duration // since when it stands still, or when it was last renewed where it is held
}

// leaseRecord is a lease as it is stored.
type leaseRecord struct {
	Owner string `json:"owner,omitzero"` // of one that was given up absent
	Fence int64  `json:"fence"`          // counts who held it
	Beat  int64  `json:"beat,omitzero"`  // counts the signs of life of this one
}

// lease returns the lease of the given name, which is not held yet. There is one for
// each loop that needs it.
func (a *Authority) lease(name string, lasts time.Duration) *lease {
	return &lease{store: a.lists.store, shared: a.sharedStore, owner: a.owner, uptime: a.guard.uptime, name: "lease/" + name, lasts: lasts}
}

// hold takes the lease, or shows that who has it is alive, and reports whether this
// daemon has it: for a third of the time that it lasts at least from now on. It is
// called again within that time for as long as it is needed.
func (l *lease) hold(ctx context.Context) (held bool, err error) {
	if !l.shared {
		return true, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held && l.uptime()-l.seenAt < l.lasts/3 {
		return true, nil
	}
	if held, err = l.take(ctx); held && err == nil && l.left() < l.lasts/3 { // by an answer that was long in coming
		held, err = l.take(ctx)
	}
	return held && l.left() > 0, err
}

// left is for how long the lease is held still.
func (l *lease) left() time.Duration { return l.lasts - (l.uptime() - l.seenAt) }

// take takes the lease, or renews it, under l.mu. What is written counts from before
// the writing began, and what is read of another's from after it was read.
func (l *lease) take(ctx context.Context) (held bool, err error) {
	now := l.uptime()
	var is leaseRecord
	if !l.held { // mostly another one has it, and reading costs little
		err := l.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
			is, err = readValue[leaseRecord](ctx, tx, l.name)
			return err
		})
		if err != nil {
			return false, err
		}
		if !l.free(is, now) {
			return false, nil
		}
	}
	wrote := false
	err = l.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		wrote = false
		is, err = readValue[leaseRecord](ctx, tx, l.name)
		switch {
		case err != nil:
			return err
		case l.held && is.Owner == l.owner && is.Fence == l.is.Fence:
			is.Beat++
		case is == l.is && !l.held || is.Owner == "" || is.Owner == l.owner:
			is = leaseRecord{Owner: l.owner, Fence: is.Fence + 1}
		default:
			return nil
		}
		wrote = true
		return writeValue(ctx, tx, l.name, is)
	})
	if err != nil {
		l.held = l.held && l.left() > 0
		return l.held, fmt.Errorf("hold %s: %w", l.name, err)
	}
	l.held, l.is, l.seenAt = wrote, is, now
	return wrote, nil
}

// free reports whether what is stored leaves the lease to this daemon, by when it
// began to read, and notes since when it stands still.
func (l *lease) free(is leaseRecord, now time.Duration) bool {
	if is.Owner == "" || is.Owner == l.owner {
		l.is = is
		return true
	}
	if is != l.is {
		l.is, l.seenAt = is, l.uptime()
		return false
	}
	return now-l.seenAt >= l.lasts
}

// release gives the lease up, where it is held.
func (l *lease) release(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held {
		return nil
	}
	l.held = false
	return l.store.Update(context.WithoutCancel(ctx), func(ctx context.Context, tx store.Tx) error {
		is, err := readValue[leaseRecord](ctx, tx, l.name)
		if err != nil || is.Owner != l.owner || is.Fence != l.is.Fence {
			return err
		}
		return writeValue(ctx, tx, l.name, leaseRecord{Fence: is.Fence})
	})
}

// during does work where the lease can be had, and reports whether that was so. It
// is held while work goes on, and kept when that is done. The ctx of work ends with
// errLeaseLost where another daemon has taken it over, and no change under that ctx
// is made any more.
func (l *lease) during(ctx context.Context, work func(ctx context.Context) error) (ran bool, err error) {
	if !l.shared {
		return true, work(ctx)
	}
	if ok, err := l.hold(ctx); err != nil || !ok {
		return false, err
	}
	working, lost := context.WithCancelCause(l.under(ctx))
	var beating sync.WaitGroup
	beating.Go(func() {
		tick := time.NewTicker(l.lasts / 6)
		defer tick.Stop()
		for {
			select {
			case <-working.Done():
				return
			case <-tick.C:
				if ok, _ := l.hold(ctx); !ok {
					lost(errLeaseLost)
				}
			}
		}
	})
	err = work(working)
	if err != nil && errors.Is(context.Cause(working), errLeaseLost) {
		err = errLeaseLost // whatever it was that broke off
	}
	lost(nil)
	beating.Wait()
	return true, err
}

// errLeaseLost is why nothing is changed under a lease that another daemon has.
var errLeaseLost = license.Errorf(license.Conflict, "another daemon has taken this over")

type leaseKey struct{}

// fence is a lease as it was held when something was begun.
type fence struct {
	name, owner string
	number      int64
}

// under returns a ctx under which nothing is changed in the store where another
// daemon has taken the lease over.
func (l *lease) under(ctx context.Context) context.Context {
	if !l.shared {
		return ctx
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return context.WithValue(ctx, leaseKey{}, fence{l.name, l.owner, l.is.Fence})
}

// checkLease fails with errLeaseLost where ctx is under a lease that is not held any
// more.
func checkLease(ctx, txctx context.Context, tx store.Tx) error {
	f, ok := ctx.Value(leaseKey{}).(fence)
	if !ok {
		return nil
	}
	is, err := readValue[leaseRecord](txctx, tx, f.name)
	if err == nil && (is.Owner != f.owner || is.Fence != f.number) {
		err = errLeaseLost
	}
	return err
}
