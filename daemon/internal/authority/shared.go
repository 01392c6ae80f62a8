package authority

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// apart reports whether two bindings are to what looks like two machines.
func apart(a, b license.Binding) bool {
	return a.Apart(license.Fingerprint{Salt: b.Salt, Components: b.Components})
}

// contest marks inst, whose binding is new, and the live installs on its seat
// that are bound to what looks like another machine. That shows nothing yet: a
// machine that was set up anew on new parts looks so too. Where both go on
// calling there are two (sharesSeat).
func (c *call) contest(ctx context.Context, tx store.Tx, beside []license.Install, inst *license.Install) error {
	for _, i := range beside {
		if i.ID == inst.ID || i.Seat != inst.Seat || i.State != license.InstallLive || !apart(i.Binding, inst.Binding) {
			continue
		}
		inst.Contested = true
		if i.Contested {
			continue
		}
		i.Contested = true
		if err := tx.UpdateInstall(ctx, i); err != nil {
			return fmt.Errorf("mark an install of %s as contested: %w", i.LicenseID, err)
		}
	}
	return nil
}

// sharesSeat reports whether inst, which calls, shares its seat with another
// machine, which the licence has no seat for: since this machine called last,
// one has that looks like another. installs are those of the licence before this
// call. What was reported is reported again only after a further activation.
//
// It is reported and no more, whatever the product does about other forks: who
// supplied one id for several machines mostly did not know better, and an honest
// repair cannot always be told from it.
func (c *call) sharesSeat(l license.License, installs []license.Install, inst license.Install) bool {
	if !inst.Contested {
		return false
	}
	var mine, theirs, bound, told time.Time // the last time of each
	seats := map[string]bool{inst.Seat: true}
	for _, i := range installs {
		live := i.State == license.InstallLive
		if live && i.OnMachine() {
			seats[i.Seat] = true
		}
		switch {
		case i.Seat != inst.Seat:
			continue
		case !apart(i.Binding, inst.Binding):
			mine = later(mine, i.SeenAt)
		case live:
			theirs = later(theirs, i.SeenAt)
		}
		if live {
			bound = later(bound, i.BoundAt)
		}
		told = later(told, i.Forks[license.ForkShared].At)
	}
	if inst.BoundAt.After(bound) {
		bound = inst.BoundAt
	}
	return !mine.IsZero() && theirs.After(mine) && len(seats) >= c.limit(l) && (told.IsZero() || bound.After(told))
}

// atCheckIn looks, where it may matter, at the other installs on the seat of
// inst, which calls; drifted says that its binding is new.
func (c *call) atCheckIn(ctx context.Context, tx store.Tx, l license.License, inst *license.Install, drifted bool) (shared bool, err error) {
	if !drifted && !inst.Contested {
		return false, nil
	}
	installs, err := tx.Installs(ctx, l.ID)
	if err != nil {
		return false, fmt.Errorf("list installs of %s: %w", l.ID, err)
	}
	if err := c.contest(ctx, tx, installs, inst); err != nil {
		return false, err
	}
	if shared = c.sharesSeat(l, installs, *inst); shared {
		inst.Forks = inst.Forks.With(license.ForkShared, c.req.ID, c.now)
	}
	alone := !slices.ContainsFunc(installs, func(i license.Install) bool {
		return i.ID != inst.ID && i.Seat == inst.Seat && i.State == license.InstallLive
	})
	inst.Contested = inst.Contested && !alone
	return shared, nil
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
