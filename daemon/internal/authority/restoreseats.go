package authority

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// asRestored returns install i of l as its seat has to be judged. In a restored
// store nobody knows whether an install called home after the backup, so one that
// was not seen since counts as seen when the store was restored, and its lease
// runs for as long as one can that it may have got until then. Of floating
// installs only those whose lease ran when the backup was made: one that came back
// later shows the licence that it got.
//
// It is for judging and never to be stored.
func (a *Authority) asRestored(l license.License, i license.Install) license.Install {
	r := a.restoring.Load()
	if r == nil || r.begunAt.IsZero() || i.State != license.InstallLive || !i.SeenAt.Before(r.begunAt) {
		return i
	}
	if l.Mode == license.ModeFloating && !i.LeaseUntil.After(r.headAt) {
		return i
	}
	schedule, _ := a.Schedule(l)
	i.SeenAt = r.begunAt
	i.LeaseUntil = later(i.LeaseUntil, schedule.DatesFor(r.begunAt, r.begunAt, l.ExpiresAt).LeaseUntil)
	return i
}

// installsAndLost returns the installs of a licence, and with them those whose
// seats are kept: each as an install of which no more is known, whose revision is
// zero. A floating one keeps its seat for as long as its lease may run.
func (a *Authority) installsAndLost(ctx context.Context, tx store.Tx, l license.License) ([]license.Install, error) {
	installs, err := tx.Installs(ctx, l.ID)
	if err != nil {
		return nil, fmt.Errorf("list installs of %s: %w", l.ID, err)
	}
	lost, err := a.lostInstalls(ctx, tx, l)
	return append(installs, lost...), err
}

func (a *Authority) lostInstalls(ctx context.Context, tx store.Tx, l license.License) (out []license.Install, err error) {
	r := a.restoring.Load()
	if r == nil || !r.open {
		return nil, nil
	}
	prefix := restoreLost + l.ID + "/"
	lost, _, err := tx.Values(ctx, prefix, store.Page{Limit: store.MaxPage})
	if err != nil {
		return nil, fmt.Errorf("list the lost installs of %s: %w", l.ID, err)
	}
	until := license.Forever
	if l.Mode == license.ModeFloating {
		schedule, _ := a.Schedule(l)
		until = schedule.DatesFor(r.begunAt, r.begunAt, l.ExpiresAt).LeaseUntil
	}
	for _, v := range lost {
		out = append(out, license.Install{
			ID: strings.TrimPrefix(v.Name, prefix), LicenseID: l.ID, Seat: string(v.Data), State: license.InstallLive,
			BoundAt: r.headAt, SeenAt: r.headAt, LeaseUntil: until,
		})
	}
	return out, nil
}

// leaseRuns reports whether the install that calls shows a lease that was granted
// after the backup and still runs.
func (c *call) leaseRuns(licenseID string) bool {
	held, ok := c.evidence()
	return ok && held.LicenseID == licenseID && c.now.Before(held.Dates.LeaseUntil)
}

// regain checks that a floating install whose lease ran out finds a free seat
// again: others may have taken its own. One beyond what was sold is recorded.
func (c *call) regain(ctx context.Context, tx store.Tx, l license.License, old license.Install) error {
	if l.Mode != license.ModeFloating || c.now.Before(c.a.asRestored(l, old).LeaseUntil) || c.leaseRuns(l.ID) {
		return nil
	}
	installs, err := tx.LiveInstalls(ctx, l.ID)
	if err != nil {
		return fmt.Errorf("list installs of %s: %w", l.ID, err)
	}
	lost, err := c.a.lostInstalls(ctx, tx, l)
	if err != nil {
		return err
	}
	seats := make(map[string]bool)
	for _, i := range append(installs, lost...) {
		if l.Sits(c.a.asRestored(l, i), c.now) {
			seats[i.Seat] = true
		}
	}
	if len(seats) >= c.limit(l) {
		return floatingFull(c.limit(l))
	}
	return c.beyond(ctx, tx, l, old, len(seats)+1-l.Machines)
}

// lostOf is what the marks of an install say of it.
func (a *Authority) lostOf(l license.License, id string, of []Mark) license.Install {
	i := license.Install{ID: id, LicenseID: l.ID, State: license.InstallLive}
	for _, m := range of {
		if m.Place != (license.StatusRef{}) {
			i.Status = m.Place
		}
	}
	if last := of[len(of)-1]; last.ends() {
		i.State, i.EndedAt = last.endState(), last.At
	}
	return i
}

// settleLost has the status lists say of an install that the store does not have
// what they said before, or what has become of it since.
func (a *Authority) settleLost(ctx context.Context, tx store.Tx, l license.License, i license.Install) error {
	is := license.StatusOf(l, i, a.undo)
	if i.Status == (license.StatusRef{}) || is.Status == license.StatusValid {
		return nil
	}
	if _, err := tx.StatusList(ctx, i.Status.List); errors.Is(err, license.NotFound) {
		return nil // nobody is answered about it
	} else if err != nil {
		return err
	}
	if err := tx.PutStatusEntry(ctx, i.Status.List, is); err != nil {
		return fmt.Errorf("settle the status of a lost install of %s: %w", l.ID, err)
	}
	return nil
}

// lostPlaces are the installs of a licence that have not called since a restore and
// whose places in the status lists are known.
func lostPlaces(ctx context.Context, tx store.Tx, licenseID string) (out []license.Install, err error) {
	values, _, err := tx.Values(ctx, restoreItems+licenseID+"/", store.Page{Limit: store.MaxPage})
	if err != nil {
		return nil, fmt.Errorf("list the lost installs of %s: %w", licenseID, err)
	}
	for _, v := range values {
		item, err := parseValue[Item](v)
		if err != nil {
			return nil, err
		}
		if item.Kind == ItemInstall {
			out = append(out, license.Install{ID: item.Install, LicenseID: licenseID, State: license.InstallLive, Status: item.Place})
		}
	}
	return out, nil
}
