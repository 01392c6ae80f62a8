package authority

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// Prove makes a proof of delivery for an order, or for a licence that is named by
// id or by code as the ID of ref: a document that the signing key vouches for, of
// what was made for the order and where it went. It is made anew, with a number
// of its own, each time.
func (a *Authority) Prove(ctx context.Context, actor license.Actor, ref OrderRef) (token.DeliveryFile, error) {
	now, err := a.dated(ctx)
	if err != nil {
		return token.DeliveryFile{}, err
	}
	id, err := a.ids.New(license.ProofPrefix, now)
	if err != nil {
		return token.DeliveryFile{}, err
	}
	s := signing{}
	s.key, s.keys = a.custody.Current()
	if err := s.canSign(now); err != nil {
		return token.DeliveryFile{}, err
	}
	var d token.Delivery
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		l, o, err := a.licenseOrOrder(ctx, tx, ref)
		if err != nil {
			return err
		}
		if o.ID == "" {
			if o, err = orderOf(ctx, tx, l); err != nil {
				return err
			}
		}
		installs, err := tx.Installs(ctx, l.ID)
		if err != nil {
			return fmt.Errorf("list installs of %s: %w", l.ID, err)
		}
		d = delivery(l, o, installs)
		d.Issuer, d.ID, d.IssuedAt = s.keys.Issuer, id, now
		if d.MachineCount == 0 && d.ActivatedAt.IsZero() && d.DeliveredAt.IsZero() {
			return license.Errorf(license.Conflict, "nothing was delivered yet: the licence is on no machine, and its order is not marked as delivered")
		}
		after := map[string]any{"proof": id}
		if d.Order != "" {
			after["order"] = d.Order
		}
		if _, err := tx.Append(ctx, license.AuditEvent{
			At: now, Actor: actor, Action: license.ActionProof, License: l.ID, Product: l.Product, After: after,
		}); err != nil {
			return fmt.Errorf("audit %s: %w", license.ActionProof, err)
		}
		return nil
	})
	if err != nil {
		return token.DeliveryFile{}, err
	}
	raw, err := token.SignDelivery(d, s.key)
	if err != nil {
		return token.DeliveryFile{}, fmt.Errorf("sign a proof of delivery: %w", err)
	}
	return token.DeliveryFile{Delivery: raw, Keys: s.keys.Raw}, nil
}

// delivery is what is known of a licence, of the order that it was made for, and
// of the machines that it went to, also of those that have given it up since.
func delivery(l license.License, o license.Order, installs []license.Install) token.Delivery {
	d := token.Delivery{
		LicenseID: l.ID, Product: l.Product, Customer: cmp.Or(l.Customer, o.Customer), Channel: cmp.Or(o.Channel, l.Channel),
		Order: cmp.Or(o.ID, l.Order), Instance: cmp.Or(l.Instance, o.Instance), OrderedAt: o.OrderedAt,
		CodeLast4: codeEnd(l), LicensedAt: l.IssuedAt, ActivatedAt: l.ActivatedAt, ExpiresAt: l.ExpiresAt, MachineCount: len(installs),
	}
	if o.Line != onlyLine {
		d.Line = o.Line
	}
	d.DeliveredAt = deliveredAt(o, installs)
	slices.SortStableFunc(installs, func(x, y license.Install) int { return x.BoundAt.Compare(y.BoundAt) })
	for _, i := range installs[max(0, len(installs)-token.MaxDelivered):] {
		d.Machines = append(d.Machines, token.DeliveredTo{
			Install: i.ID, At: i.BoundAt, Device: i.Device, File: i.Handed.SHA256, FileAt: i.Handed.At,
		})
	}
	return d
}

// codeEnd is the end of the code of a licence. The id of an instance, which stands
// where a code would, is none.
func codeEnd(l license.License) string {
	if l.Instance != "" && strings.HasSuffix(l.Instance, l.Code.Last4) {
		return ""
	}
	return l.Code.Last4
}

// deliveredAt is when an order was delivered last, as its history says, else when
// a licence file was handed out last.
func deliveredAt(o license.Order, installs []license.Install) (at time.Time) {
	for _, change := range slices.Backward(o.History) {
		if change.Stage == license.StageDelivered {
			return change.At
		}
	}
	for _, i := range installs {
		if i.Handed.At.After(at) {
			at = i.Handed.At
		}
	}
	return at
}
