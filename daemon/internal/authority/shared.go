package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// maxRivals bounds how many rivals an install remembers: those bound last.
const maxRivals = 8

// contest notes with the installs on the seat that inst took which of them
// belong to what looks like another machine. That shows nothing yet: a machine
// that was set up anew on new parts looks so too. Where the old one calls again
// there are two (shared).
func (c *call) contest(ctx context.Context, tx store.Tx, here []license.Install, inst license.Install) error {
	for _, i := range here {
		if !i.Binding.Apart(c.req.Fingerprint) {
			continue
		}
		i.Rivals = append(slices.Clone(i.Rivals), inst.ID)
		i.Rivals = i.Rivals[max(len(i.Rivals)-maxRivals, 0):]
		if err := tx.UpdateInstall(ctx, i); err != nil {
			return fmt.Errorf("note a rival of an install of %s: %w", i.LicenseID, err)
		}
	}
	return nil
}

// rivals returns those of the noted rivals of inst that are in use on its seat,
// still look like another machine than the one that calls, and so share the
// seat with it.
func (c *call) rivals(ctx context.Context, tx store.Tx, inst license.Install) ([]license.Install, error) {
	var out []license.Install
	for _, id := range inst.Rivals {
		other, err := tx.Install(ctx, inst.LicenseID, id)
		switch {
		case errors.Is(err, license.NotFound):
		case err != nil:
			return nil, fmt.Errorf("read a rival of an install of %s: %w", inst.LicenseID, err)
		case other.State == license.InstallLive && other.Seat == inst.Seat && other.Binding.Apart(c.req.Fingerprint):
			out = append(out, other)
		}
	}
	return out, nil
}

// shared judges whether inst, which calls, shares its seat with other machines,
// and records it in inst where it is answered all the same. Which of them is the
// newest is known here, so under ForkRefuseNewest the newer ones end and the one
// that had the seat first goes on.
//
// What ends leaves the seat: activated again, it is a machine of its own (see
// survey).
func (c *call) shared(ctx context.Context, tx store.Tx, l license.License, inst *license.Install) (bool, error) {
	rivals, err := c.rivals(ctx, tx, *inst)
	inst.Rivals = nil
	if err != nil || len(rivals) == 0 {
		return false, err
	}
	if c.product.Forks == license.ForkRefuseBoth {
		if rivals, err = c.apart(rivals); err != nil {
			return false, err
		}
		return false, c.endForked(ctx, tx, l, *inst, append(rivals, *inst), license.ForkShared, license.Errorf(license.CloneDetected,
			"another machine has the machine id of this one and uses its seat, so both were ended; give each an id of its own and "+activateAgain))
	}
	if c.product.Forks == license.ForkRefuseNewest {
		if rivals, err = c.apart(rivals); err != nil {
			return false, err
		}
		if err := c.retire(ctx, tx, rivals, license.InstallForked); err != nil {
			return false, err
		}
	}
	inst.Forks = inst.Forks.With(license.ForkShared, c.req.ID, c.now)
	return true, nil
}

// apart gives installs that are to end a seat of their own.
func (c *call) apart(installs []license.Install) ([]license.Install, error) {
	out := slices.Clone(installs)
	for k := range out {
		seat, err := c.a.ids.New(license.SeatPrefix, c.now)
		if err != nil {
			return nil, err
		}
		out[k].Seat = seat
	}
	return out, nil
}
