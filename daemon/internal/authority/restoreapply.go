package authority

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// applyMarks makes the changes of one licence again, and lists what cannot be.
func (a *Authority) applyMarks(ctx context.Context, tx store.Tx, id string, ms []Mark) (changed bool, err error) {
	was, err := tx.License(ctx, id)
	if errors.Is(err, license.NotFound) {
		return false, a.lostLicense(ctx, tx, id, ms)
	}
	if err != nil {
		return false, err
	}
	is, edits := was, []Mark{}
	for _, m := range ms {
		if !m.applyTo(&is) {
			edits = append(edits, m)
		}
	}
	before, after := difference(was, is)
	if n := len(is.Transfers); n != len(was.Transfers) {
		before["transfers"], after["transfers"] = len(was.Transfers), n
	}
	if !is.Noted.Expired.Equal(was.Noted.Expired) || !is.Noted.Expiring.Equal(was.Noted.Expiring) {
		after["recorded"] = map[string]any{"expired": instant(is.Noted.Expired), "expiring": instant(is.Noted.Expiring)}
	}
	if len(after) > 0 {
		if err := tx.UpdateLicense(ctx, is); err != nil {
			return false, err
		}
	}
	ended, err := a.applyInstalls(ctx, tx, is, ms)
	if err != nil {
		return false, err
	}
	if err := forgetTransfers(ctx, tx, id, ms); err != nil {
		return false, err
	}
	if len(ended) > 0 {
		after["ended"] = ended
	}
	if len(edits) > 0 {
		if err := putItem(ctx, tx, newItem(ItemEdit, id, "", edits)); err != nil {
			return false, err
		}
	}
	if len(after) == 0 {
		return false, nil
	}
	_, err = tx.Append(ctx, license.AuditEvent{
		At: a.now(), Actor: restorer, Action: license.ActionRestoreApply,
		License: id, Product: was.Product, Before: before, After: after,
	})
	return true, err
}

// applyTo changes l as the mark says, and reports false where what it says is
// not enough.
func (m Mark) applyTo(l *license.License) bool {
	switch m.Action { //nolint:exhaustive // see default
	case license.ActionRevoke:
		if l.RevokedAt.IsZero() {
			l.RevokedAt, l.RevokeReason = m.At, restoredReason
		}
	case license.ActionUndoRevoke:
		l.RevokedAt, l.RevokeReason = time.Time{}, ""
	case license.ActionRelease:
		if l.ReleasedAt.IsZero() {
			l.ReleasedAt = m.At
		}
	case license.ActionSuspend:
		l.Holds |= license.HoldMerchant
	case license.ActionResume:
		l.Holds &^= license.HoldMerchant
	case license.ActionFreeze:
		l.Holds |= license.HoldMarketplace
	case license.ActionUnfreeze:
		l.Holds &^= license.HoldMarketplace
	case license.ActionActivate:
		if l.ActivatedAt.IsZero() {
			l.ActivatedAt = m.At
		}
	case license.ActionRenew, license.ActionSetExpiry, license.ActionConfirm:
		at, named, ok := m.end()
		if !named || !ok {
			return !named && m.Action == license.ActionConfirm
		}
		m.setEnd(l, at)
	case license.ActionExpire:
		if at, _, ok := m.end(); ok {
			l.Noted.Expired = at
		}
	case license.ActionExpiring:
		if at, _, ok := m.end(); ok {
			l.Noted.Expiring = at
		}
	case license.ActionTransfer:
		// Several installs can leave in one move.
		if l.Mode != license.ModeFloating && !slices.ContainsFunc(l.Transfers, m.At.Equal) {
			*l = l.Moved(m.At)
		}
	case license.ActionIssue, license.ActionProof:
		// They say, and change no fact.
	default: // of which it is known that it changed the licence, and not how
		return !strings.HasPrefix(string(m.Action), "license.")
	}
	return true
}

// end is the end that a mark names, zero for none, and whether it names one that
// can be read.
func (m Mark) end() (at time.Time, named, ok bool) {
	end, named := m.Facts["expires_at"]
	text, is := end.(string)
	if !is {
		return at, named, named
	}
	at, err := time.Parse(time.RFC3339, text)
	return at.UTC(), true, err == nil
}

// setEnd sets the end of l. One that the merchant has set of what a marketplace sold
// stays the merchant's own, and is not repaired.
func (m Mark) setEnd(l *license.License, at time.Time) {
	switch m.Action { //nolint:exhaustive // the others leave open whose it is
	case license.ActionRenew:
		if l.Sold() && !l.OwnEnd {
			l.OwnEnd, l.SoldUntil = true, l.ExpiresAt
		}
	case license.ActionSetExpiry:
		l.OwnEnd = false
	}
	l.ExpiresAt = at
}

// applyInstalls ends the installs that had ended, and keeps seats for those that
// the store does not know. It returns the ids of those that it ended.
func (a *Authority) applyInstalls(ctx context.Context, tx store.Tx, l license.License, ms []Mark) (ended []string, err error) {
	for id, of := range byInstall(ms) {
		last := of[len(of)-1]
		inst, err := tx.Install(ctx, l.ID, id)
		switch {
		case errors.Is(err, license.NotFound):
			if err := a.lostInstall(ctx, tx, l, id, of); err != nil {
				return nil, err
			}
			continue
		case err != nil:
			return nil, err
		case !last.ends() || inst.State != license.InstallLive:
			continue
		}
		inst.State, inst.EndedAt, inst.Answer = last.endState(), last.At, nil
		inst.MovedOff = last.Action == license.ActionTransfer // by the staff: else the next install says that it took the place
		if err := tx.UpdateInstall(ctx, inst); err != nil {
			return nil, err
		}
		ended = append(ended, id)
	}
	slices.Sort(ended)
	return ended, nil
}

// byInstall sorts the marks of installs that began or ended one.
func byInstall(ms []Mark) map[string][]Mark {
	out := make(map[string][]Mark)
	for _, m := range ms {
		if m.Install != "" && (m.ends() || m.binds()) {
			out[m.Install] = append(out[m.Install], m)
		}
	}
	return out
}

func (m Mark) binds() bool {
	switch m.Action { //nolint:exhaustive // no other binds one
	case license.ActionActivate, license.ActionBind, license.ActionTransfer, license.ActionRestoreAdopt:
		return true
	}
	return false
}

// ends reports whether a mark is of the end of an install. Some actions are of a
// beginning or of an end, as the state says that the install has from then on.
func (m Mark) ends() bool {
	switch m.Action { //nolint:exhaustive // no other ends one
	case license.ActionDeactivate, license.ActionRemove, license.ActionReplace, license.ActionEnd, license.ActionInstallRelease:
		return true
	case license.ActionTransfer, license.ActionRestoreDecide:
		_, ended := m.ended()
		return ended
	}
	return false
}

// ended is the state of an install that has ended, where the mark has one.
func (m Mark) ended() (license.InstallState, bool) {
	text, _ := m.Facts["state"].(string)
	if s, ok := m.Facts["state"].(license.InstallState); ok { // a mark that was not on disk yet
		text = string(s)
	}
	s := license.InstallState(text)
	return s, s != license.InstallLive && slices.Contains(license.InstallStates(), s)
}

// endState is what became of an install that a mark ends.
func (m Mark) endState() license.InstallState {
	if s, ok := m.ended(); ok {
		return s
	}
	return license.InstallRemoved
}

// lostInstall keeps in mind an install that the store does not know: one that has
// ended is dead for good, one that lives has its seat kept.
func (a *Authority) lostInstall(ctx context.Context, tx store.Tx, l license.License, id string, of []Mark) error {
	inst := a.lostOf(l, id, of)
	if err := a.settleLost(ctx, tx, l, inst); err != nil {
		return err
	}
	if inst.State != license.InstallLive {
		return tx.SetValue(ctx, restoreDead+l.ID+"/"+id, []byte(inst.State))
	}
	last, item := of[len(of)-1], newItem(ItemInstall, l.ID, id, of)
	item.Place = inst.Status
	if seat, ok := last.Facts["seat"].(string); ok {
		item.Seat = seat
	}
	if item.Seat == "" {
		return nil // a text, or one of before seats: it takes none
	}
	return errors.Join(putItem(ctx, tx, item), tx.SetValue(ctx, restoreLost+l.ID+"/"+id, []byte(item.Seat)))
}

func (a *Authority) lostLicense(ctx context.Context, tx store.Tx, id string, ms []Mark) error {
	l := license.License{ID: id}
	for _, m := range ms {
		m.applyTo(&l) // what it says of the standing is all that is wanted
	}
	for name, of := range byInstall(ms) {
		inst := a.lostOf(l, name, of)
		if err := a.settleLost(ctx, tx, l, inst); err != nil {
			return err
		}
		if inst.State != license.InstallLive {
			if err := tx.SetValue(ctx, restoreDead+id+"/"+name, []byte(inst.State)); err != nil {
				return err
			}
		}
	}
	return putItem(ctx, tx, newItem(ItemLicense, id, "", ms))
}

// forgetTransfers forgets the moves of a licence that wait or were approved, where
// one of them was decided or used since: an approval is used once, and a denial is
// none. Who waits asks again.
func forgetTransfers(ctx context.Context, tx store.Tx, licenseID string, ms []Mark) error {
	for _, m := range ms {
		_, used := m.Facts["approval"]
		if used || m.Action == license.ActionTransferApprove || m.Action == license.ActionTransferDeny {
			return saveTransfers(ctx, tx, licenseID, nil)
		}
	}
	return nil
}

// restoreKeys marks again the keys that others may hold.
func (a *Authority) restoreKeys(ctx context.Context, tx store.Tx, ms []Mark) error {
	for _, m := range ms {
		var err error
		switch m.Action { //nolint:exhaustive // the others are about no key
		case license.ActionKeysRevoke:
			err = a.endKey(ctx, tx, m)
		case license.ActionKeysKeep:
			kid, _ := m.Facts["kid"].(string)
			err = tx.SetValue(ctx, keysRevoked+kid, nil)
		}
		if err != nil {
			return fmt.Errorf("make %s again: %w", m.Action, err)
		}
	}
	return nil
}

func (a *Authority) endKey(ctx context.Context, tx store.Tx, m Mark) error {
	kid, _ := m.Facts["kid"].(string)
	if old, err := readValue[KeyRevocation](ctx, tx, keysRevoked+kid); err != nil || old.KID != "" {
		return err
	}
	r, err := a.markOf(kid)
	if errors.Is(err, license.NotFound) { // the set that ended it is installed: key sets are not in the store
		_, set := a.custody.Current()
		r = KeyRevocation{KID: kid, EndedAt: a.now(), Seq: set.Seq}
		r.Role, _ = m.Facts["role"].(string)
	} else if errors.Is(err, license.Conflict) { // it is the last anchor of an older key folder, and its end stays asked for
		r = KeyRevocation{KID: kid, Role: RoleAnchor}
	} else if err != nil {
		return err
	}
	r.Reason, r.AskedAt = restoredReason, m.At
	return writeValue(ctx, tx, keysRevoked+kid, r)
}

// eraseAgain takes out again the personal data that was erased since the backup.
func (a *Authority) eraseAgain(ctx context.Context, ms []Mark) error {
	for _, m := range ms {
		if m.Action != license.ActionErase {
			continue
		}
		_, err := a.eraseEvents(ctx, restorer, m.License, Erasure{Reason: restoredReason, Customer: m.cleared("customer")}, a.now())
		if err != nil && !errors.Is(err, license.UnknownLicense) { // one that was lost holds nothing
			return err
		}
	}
	return nil
}

// cleared reports whether an erasure has cleared a member of a licence.
func (m Mark) cleared(name string) bool {
	switch list := m.Facts["cleared"].(type) {
	case []string: // a mark that was not on disk yet
		return slices.Contains(list, name)
	case []any:
		return slices.Contains(list, any(name))
	}
	return false
}
