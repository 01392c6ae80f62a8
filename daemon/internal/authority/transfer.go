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

// transferPrefix begins the names of the values that hold the moves which wait
// for the merchant's staff, by licence.
const transferPrefix = "transfer/"

// transferRequestPrefix begins the ids of such moves.
const transferRequestPrefix = "trq_"

// move records that l moves to the machine that asks, or refuses it: beyond the
// limits, or because it has to be approved and was not.
func (c *call) move(ctx context.Context, tx store.Tx, l license.License, place placement) (license.License, error) {
	p := c.product.Transfers
	next, err := l.Transfer(p, c.now)
	switch {
	case p.Approves(err):
		next, err = c.approvedMove(ctx, tx, l)
		fallthrough
	case err != nil:
		return next, place.why(err)
	}
	return next, nil
}

// approvedMove uses the approval that the machine that asks was given for l, once.
// Where it has none yet, that is asked for: one request for each machine.
func (c *call) approvedMove(ctx context.Context, tx store.Tx, l license.License) (license.License, error) {
	rs, err := readTransfers(ctx, tx, l.ID)
	if err != nil {
		return l, err
	}
	rs = rs.Standing(c.now)
	if at := rs.Of(c.req.Fingerprint); at >= 0 {
		if rs[at].State != license.TransferApproved {
			return l, rs[at].Refused()
		}
		c.approval = rs[at].ID
		return l.Moved(c.now), saveTransfers(ctx, tx, l.ID, slices.Delete(rs, at, at+1))
	}
	r := license.TransferRequest{License: l.ID, Environment: c.req.Fingerprint.Environment, Addr: c.actor.Addr}
	if r.Binding, err = license.Bind(license.PolicyFuzzy, c.req.Fingerprint); err != nil {
		return l, err
	}
	if r.ID, err = c.a.ids.New(transferRequestPrefix, c.now); err != nil {
		return l, err
	}
	if rs, err = rs.Ask(r, c.now); err != nil {
		return l, err
	}
	if err := saveTransfers(ctx, tx, l.ID, rs); err != nil {
		return l, err
	}
	asked := rs[len(rs)-1]
	_, err = tx.Append(ctx, license.AuditEvent{
		At: c.now, Actor: c.actor, Action: license.ActionTransferRequest, License: l.ID, Install: c.req.InstallID, Product: l.Product,
		Request: c.req.ID, After: map[string]any{"transfer": asked.ID, "state": asked.State, "until": instant(asked.Until)},
	})
	if err != nil {
		return l, fmt.Errorf("audit %s: %w", license.ActionTransferRequest, err)
	}
	return l, recordedError{asked.Refused()}
}

// movedIn forgets the move to the machine that asks which l waits for, or may
// still be made, since that machine is in: an approval that was not needed is none
// for later.
func (c *call) movedIn(ctx context.Context, tx store.Tx, l license.License) error {
	if c.product.Transfers.Approval == license.ApproveNever || c.product.Transfers.Approval == "" {
		return nil
	}
	rs, err := readTransfers(ctx, tx, l.ID)
	if err != nil {
		return err
	}
	if at := rs.Of(c.req.Fingerprint); at >= 0 {
		return saveTransfers(ctx, tx, l.ID, slices.Delete(rs, at, at+1))
	}
	return nil
}

// takeOver ends the floating install that the one which asks was before it crashed.
func (c *call) takeOver(ctx context.Context, tx store.Tx, installs []license.Install, by license.Install) error {
	if err := c.retire(ctx, tx, installs, license.InstallReplaced); err != nil {
		return err
	}
	for _, old := range installs {
		if err := c.audit(ctx, tx, license.ActionFloatingTakeover, by, map[string]any{"from": old.ID, "seat": old.Seat}); err != nil {
			return err
		}
	}
	return nil
}

func readTransfers(ctx context.Context, tx store.Tx, licenseID string) (license.TransferRequests, error) {
	return readValue[license.TransferRequests](ctx, tx, transferPrefix+licenseID)
}

func saveTransfers(ctx context.Context, tx store.Tx, licenseID string, rs license.TransferRequests) error {
	if len(rs) > 0 {
		return writeValue(ctx, tx, transferPrefix+licenseID, rs)
	}
	if err := tx.SetValue(ctx, transferPrefix+licenseID, nil); err != nil {
		return fmt.Errorf("drop the moves of %s that wait: %w", licenseID, err)
	}
	return nil
}

// TransferRequests lists the moves that were asked for, of the licence that ref
// names, or of all in the order of their licences where it is "".
func (a *Authority) TransferRequests(ctx context.Context, ref string, p Page) (out []license.TransferRequest, next string, err error) {
	now := a.now()
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		out = nil
		if ref != "" {
			l, err := a.find(ctx, tx, ref)
			if err != nil {
				return err
			}
			rs, err := readTransfers(ctx, tx, l.ID)
			out = rs.Standing(now)
			return err
		}
		var values []store.Value
		if values, next, err = tx.Values(ctx, transferPrefix, p); err != nil {
			return err
		}
		for _, v := range values {
			id := strings.TrimPrefix(v.Name, transferPrefix)
			if _, err := tx.License(ctx, id); errors.Is(err, license.NotFound) {
				continue // not of those that the caller may see
			} else if err != nil {
				return err
			}
			rs, err := parseValue[license.TransferRequests](v)
			if err != nil {
				return err
			}
			out = append(out, rs.Standing(now)...)
		}
		return nil
	})
	return out, next, err
}

// TransfersWaiting counts the moves that wait for the staff, of the first
// store.MaxPage licences of which one was asked for.
func (a *Authority) TransfersWaiting(ctx context.Context) (n int, err error) {
	rs, _, err := a.TransferRequests(ctx, "", Page{Limit: store.MaxPage})
	for _, r := range rs {
		if r.State == license.TransferWaiting {
			n++
		}
	}
	return n, err
}

// DecideTransfer approves or denies a move of the licence that ref names to
// another machine. request is its id, or "" for the only one that waits. An
// approval is used by the next try of that machine, once, while it lasts.
func (a *Authority) DecideTransfer(ctx context.Context, actor license.Actor, ref, request string, approve bool, note string) (r license.TransferRequest, changed bool, err error) {
	now, err := a.dated(ctx)
	if err != nil {
		return r, false, err
	}
	if err := plain("reason", note, 512); err != nil {
		return r, false, err
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		l, err := a.find(ctx, tx, ref)
		if err != nil {
			return err
		}
		rs, err := readTransfers(ctx, tx, l.ID)
		if err != nil {
			return err
		}
		rs = rs.Standing(now)
		at, err := chosen(rs, request)
		if err != nil {
			return err
		}
		r, changed = rs[at], false
		was, action := r.State, license.ActionTransferDeny
		if approve {
			action = license.ActionTransferApprove
		}
		decided := rs.Decide(at, approve, a.products[l.Product].Transfers, note, now)
		if decided[at].State == was {
			return nil // what was decided stands as it is
		}
		rs, r, changed = decided, decided[at], true
		if err := saveTransfers(ctx, tx, l.ID, rs); err != nil {
			return err
		}
		_, err = tx.Append(ctx, license.AuditEvent{
			At: now, Actor: actor, Action: action, License: l.ID, Product: l.Product,
			Before: map[string]any{"state": was},
			After:  map[string]any{"transfer": r.ID, "state": r.State, "until": instant(r.Until)}, Note: note,
		})
		return err
	})
	if err != nil {
		return license.TransferRequest{}, false, err
	}
	return r, changed, nil
}

// chosen is the place of the request that is meant: by its id, or the only one
// that waits.
func chosen(rs license.TransferRequests, id string) (int, error) {
	if id != "" {
		at := slices.IndexFunc(rs, func(r license.TransferRequest) bool { return r.ID == id })
		if at < 0 {
			return 0, license.Errorf(license.NotFound, "the licence has no such request to be moved")
		}
		return at, nil
	}
	found := -1
	for at, r := range rs {
		switch {
		case r.State != license.TransferWaiting:
		case found >= 0:
			return 0, license.FieldErrorf("request", "several moves of the licence wait; name one by its id")
		default:
			found = at
		}
	}
	if found < 0 {
		return 0, license.Errorf(license.NotFound, "no move of the licence waits")
	}
	return found, nil
}

// dropTransfers forgets, in a value that holds moves, those that are over.
func dropTransfers(ctx context.Context, tx store.Tx, licenseID string, now time.Time) (dropped int, err error) {
	rs, err := readTransfers(ctx, tx, licenseID)
	if err != nil {
		return 0, err
	}
	kept := rs.Standing(now)
	if len(kept) == len(rs) {
		return 0, nil
	}
	return len(rs) - len(kept), saveTransfers(ctx, tx, licenseID, kept)
}

// eraseMoves takes away from where the moves of a licence that wait, or were
// decided, were asked for, and what the staff wrote about them, and reports whether
// there was any of it.
func eraseMoves(ctx context.Context, tx store.Tx, licenseID string) (found bool, err error) {
	rs, err := readTransfers(ctx, tx, licenseID)
	if err != nil {
		return false, err
	}
	for n, r := range rs {
		found = found || r.Addr != "" || r.Note != ""
		rs[n].Addr, rs[n].Note = "", ""
	}
	if !found {
		return false, nil
	}
	return true, saveTransfers(ctx, tx, licenseID, rs)
}
