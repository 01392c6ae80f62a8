package authority

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// settled is the store as the use cases see it: whatever changes a licence or
// an install settles, in the same transaction, what the status lists have to
// say of it. The use cases have no other way to the store, so none can forget.
type settled struct {
	store.Store
	undo  time.Duration
	lists *statusLists
	// queued has the outbox look for what is due.
	queued func()
	// dueAt says when the sweep has to look at a licence that was changed.
	dueAt func(was, is license.License) (time.Time, bool)
	// audited is told how many entries were added to the audit log.
	audited func(entries int64)
}

// Update runs fn on a Tx that settles, and has what it settled published.
func (s settled) Update(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	var t *settlingTx
	outer := ctx
	err := s.Store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		t = &settlingTx{Tx: tx, undo: s.undo, dueAt: s.dueAt}
		if err := checkLease(outer, ctx, tx); err != nil {
			return err
		}
		if err := fn(ctx, t); err != nil {
			return err
		}
		return writeFeed(ctx, tx, t.places)
	})
	if errors.Is(err, errTried) {
		return err // nothing was changed, and nobody is to look for it
	}
	if t != nil && len(t.places) > 0 {
		s.lists.touch(t.places) // after an error too: the change may have been made all the same
	}
	if t != nil && t.queued {
		s.queued()
	}
	if t != nil && t.audited > 0 {
		s.audited(t.audited) // after an error too
	}
	return err
}

// settlingTx keeps the entries of the status lists true to the licences and
// installs that it writes.
type settlingTx struct {
	store.Tx
	undo   time.Duration
	places []license.StatusRef // whose entries were written
	queued bool                // a job was written
	dueAt  func(was, is license.License) (time.Time, bool)

	audited int64 // entries that were added to the audit log

	// What was read or written last, since a record is mostly read just before
	// it is replaced. The zero ids are of none.
	license license.License
	install license.Install
}

// Append adds to the audit log, and counts.
func (t *settlingTx) Append(ctx context.Context, e license.AuditEvent) (int64, error) {
	seq, err := t.Tx.Append(ctx, e)
	if err == nil {
		t.audited++
	}
	return seq, err
}

// License reads, and remembers.
func (t *settlingTx) License(ctx context.Context, id string) (license.License, error) {
	l, err := t.Tx.License(ctx, id)
	return t.sawLicense(l, err)
}

// LicenseByCode reads, and remembers.
func (t *settlingTx) LicenseByCode(ctx context.Context, index []byte) (license.License, error) {
	l, err := t.Tx.LicenseByCode(ctx, index)
	return t.sawLicense(l, err)
}

func (t *settlingTx) sawLicense(l license.License, err error) (license.License, error) {
	if err == nil {
		t.license = l // its slices are the caller's, and only its times and holds are looked at
	}
	return l, err
}

// Install reads, and remembers.
func (t *settlingTx) Install(ctx context.Context, licenseID, installID string) (license.Install, error) {
	i, err := t.Tx.Install(ctx, licenseID, installID)
	if err == nil {
		t.install = i
	}
	return i, err
}

// UpdateLicense writes, and settles the installs of l where its standing has
// changed.
func (t *settlingTx) UpdateLicense(ctx context.Context, l license.License) error {
	was := t.license
	if err := t.Tx.UpdateLicense(ctx, l); err != nil {
		return err
	}
	t.license = l
	if err := t.look(ctx, was, l); err != nil {
		return err
	}
	if was.ID == l.ID && sameStanding(was, l) {
		return nil
	}
	if l.Instance != "" && l.Holds == 0 && l.ReleasedAt.IsZero() && l.RevokedAt.IsZero() {
		if err := t.deliverAgain(ctx, l); err != nil {
			return err
		}
	}
	// What has ended stays so, whatever becomes of its licence.
	installs, err := t.LiveInstalls(ctx, l.ID)
	if err != nil {
		return fmt.Errorf("list installs of %s: %w", l.ID, err)
	}
	lost, err := lostPlaces(ctx, t, l.ID)
	if err != nil {
		return err
	}
	for _, i := range append(installs, lost...) {
		if err := t.settle(ctx, l, i); err != nil {
			return err
		}
	}
	return nil
}

// CreateLicense writes.
func (t *settlingTx) CreateLicense(ctx context.Context, l license.License) error {
	if err := t.Tx.CreateLicense(ctx, l); err != nil {
		return err
	}
	return t.look(ctx, license.License{}, l)
}

// look has the sweep look at a licence that was changed in a way by which it would
// pass it by.
func (t *settlingTx) look(ctx context.Context, was, is license.License) error {
	at, ok := t.dueAt(was, is)
	if !ok {
		return nil
	}
	return lookAt(ctx, t.Tx, at, is.ID)
}

// sameStanding reports whether StatusOf says the same of every install.
func sameStanding(a, b license.License) bool {
	return a.ReleasedAt.Equal(b.ReleasedAt) && a.RevokedAt.Equal(b.RevokedAt) && (a.Holds == 0) == (b.Holds == 0)
}

// CreateInstall writes, and settles.
func (t *settlingTx) CreateInstall(ctx context.Context, i license.Install) error {
	if err := t.Tx.CreateInstall(ctx, i); err != nil {
		return err
	}
	t.install = i
	return t.settleOne(ctx, i)
}

// UpdateInstall writes, and settles unless it stands as before.
func (t *settlingTx) UpdateInstall(ctx context.Context, i license.Install) error {
	was := t.install
	if err := t.Tx.UpdateInstall(ctx, i); err != nil {
		return err
	}
	t.install = i
	if was.ID == i.ID && was.LicenseID == i.LicenseID && was.State == i.State && was.Status == i.Status {
		return nil
	}
	return t.settleOne(ctx, i)
}

// settleOne settles an install whose licence may have to be read.
func (t *settlingTx) settleOne(ctx context.Context, i license.Install) error {
	l := t.license
	if l.ID != i.LicenseID {
		var err error
		if l, err = t.License(ctx, i.LicenseID); err != nil {
			return fmt.Errorf("read %s: %w", i.LicenseID, err)
		}
	}
	return t.settle(ctx, l, i)
}

// settle writes what the list has to say of i, where it has a place and
// something else stands there.
func (t *settlingTx) settle(ctx context.Context, l license.License, i license.Install) error {
	if i.Status == (license.StatusRef{}) {
		return nil
	}
	is := license.StatusOf(l, i, t.undo)
	was, err := t.StatusEntry(ctx, i.Status.List, i.Status.Index)
	if err == nil && was.Status == is.Status && was.FinalAt.Unix() == is.FinalAt.Unix() {
		return nil
	}
	if err == nil {
		err = t.PutStatusEntry(ctx, i.Status.List, is)
	}
	if err != nil {
		return fmt.Errorf("settle the status of an install of %s: %w", l.ID, err)
	}
	return nil
}

// PutStatusEntry writes, and has the list published.
func (t *settlingTx) PutStatusEntry(ctx context.Context, list string, e license.StatusEntry) error {
	t.places = append(t.places, license.StatusRef{List: list, Index: e.Index})
	return t.Tx.PutStatusEntry(ctx, list, e)
}

// CreateJob writes, and has the outbox look.
func (t *settlingTx) CreateJob(ctx context.Context, j license.Job) error {
	t.queued = true
	return t.Tx.CreateJob(ctx, j)
}

// PutStatusList writes, and has a list published that never was.
func (t *settlingTx) PutStatusList(ctx context.Context, l license.StatusList) error {
	if err := t.Tx.PutStatusList(ctx, l); err != nil {
		return err
	}
	if l.Next <= 1 || len(l.Digest) == 0 {
		t.places = append(t.places, license.StatusRef{List: l.ID, Index: listNew})
	}
	return nil
}
