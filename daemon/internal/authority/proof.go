package authority

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

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
	s := a.signing()
	if err := s.canSign(now); err != nil {
		return token.DeliveryFile{}, err
	}
	var raw string
	err = a.onTarget(ctx, ref, func(ctx context.Context, tx store.Tx, l license.License, o license.Order) error {
		installs, err := tx.Installs(ctx, l.ID)
		if err != nil {
			return fmt.Errorf("list installs of %s: %w", l.ID, err)
		}
		d := delivery(l, o, installs)
		d.Issuer, d.ID, d.IssuedAt = s.keys.Issuer, id, now
		if d.MachineCount == 0 && d.ActivatedAt.IsZero() && d.DeliveredAt.IsZero() {
			return license.Errorf(license.Conflict, "nothing was delivered yet: the licence is on no machine, and its order is not marked as delivered")
		}
		if raw, err = token.SignDelivery(d, s.key); err != nil { // before anything says that there is a proof
			return fmt.Errorf("sign a proof of delivery: %w", err)
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
	if err != nil || DryRun(ctx) {
		return token.DeliveryFile{}, err
	}
	return token.DeliveryFile{Delivery: raw, Keys: s.keys.Raw}, nil
}

// delivery is what is known of a licence, of the order that it was made for, and
// of the machines that it went to, also of those that have given it up since.
func delivery(l license.License, o license.Order, installs []license.Install) token.Delivery {
	d := token.Delivery{
		LicenseID: l.ID, Product: l.Product, Customer: cmp.Or(l.Customer, o.Customer), Channel: cmp.Or(o.Channel, l.Channel),
		Order: cmp.Or(o.ID, l.Order), Instance: cmp.Or(l.Instance, o.Instance), OrderedAt: o.OrderedAt,
		CodeLast4: codeEnd(l), LicensedAt: l.IssuedAt, ActivatedAt: l.ActivatedAt, ExpiresAt: l.ExpiresAt,
	}
	if o.Line != onlyLine {
		d.Line = o.Line
	}
	d.DeliveredAt, d.Rejections, d.History = o.DeliveredAt(), o.Rejections, supervised(o)
	left := token.MaxEarlier
	var machines []license.Install
	for _, i := range installs {
		if i.OnMachine() {
			machines = append(machines, i)
		} else {
			d.Text, d.TextAt, d.TextBefore = i.Handed.SHA256, i.Handed.At, earlier(i, &left)
		}
	}
	d.MachineCount = len(machines)
	slices.SortStableFunc(machines, func(x, y license.Install) int { return x.BoundAt.Compare(y.BoundAt) })
	for _, i := range machines[max(0, len(machines)-token.MaxDelivered):] {
		d.Machines = append(d.Machines, token.DeliveredTo{
			Install: i.ID, At: i.BoundAt, Device: i.Device, File: i.Handed.SHA256, FileAt: i.Handed.At,
			Earlier: earlier(i, &left),
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

// supervised are the deliveries and rejections of an order that were not taken
// back, the last token.MaxSupervised of them, oldest first.
func supervised(o license.Order) (out []token.Supervised) {
	for _, c := range o.History {
		if !c.Happened() || c.Stage != license.StageDelivered && c.Stage != license.StageRejected {
			continue
		}
		out = append(out, token.Supervised{At: c.At, EnteredAt: c.EnteredAt, Stage: c.Stage, Note: token.CutNote(c.Note)})
	}
	return out[max(0, len(out)-token.MaxSupervised):]
}

// earlier are the files that were handed out before the last one: of all installs
// together no more than token.MaxEarlier, since a proof has its limit.
func earlier(i license.Install, left *int) (out []token.HandedOut) {
	for _, h := range i.HandedBefore[:min(len(i.HandedBefore), *left)] {
		out = append(out, token.HandedOut{File: h.SHA256, At: h.At})
	}
	*left -= len(out)
	return out
}
