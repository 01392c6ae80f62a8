package authority

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Identification asks for a licence for the device that an identification code
// names: a hardware code that a buyer typed, a system code that the marketplace
// made, or the marketplace's device fingerprint.
type Identification struct {
	Ref    OrderRef // an order, or the id or the code of a licence as its ID
	Device license.Device
}

// Identified is the licence of a device.
type Identified struct {
	License license.License
	Install license.Install
	Order   license.Order // the zero Order where a licence was named
	File    []byte        // the licence file
	Made    bool          // just now: the code is new, or the terms have changed since
}

// Identify makes the licence of a device for the merchant's staff. The same code
// on the same licence gives the same file again, byte for byte, until the keys or
// the terms of the licence change: after a renewal it gives the renewed one. Each
// device takes a place of the licence, and keeps it. Where the code is bound to,
// the licence is verified without any network.
//
// Who had it made is in the audit log, each time. An order that waited for its
// code waits for its delivery from then on.
func (a *Authority) Identify(ctx context.Context, actor license.Actor, q Identification) (Identified, error) {
	if q.Device.IsZero() {
		return Identified{}, license.FieldErrorf("device", "the identification code is required")
	}
	now, err := a.dated(ctx)
	if err != nil {
		return Identified{}, err
	}
	var out Identified
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		out = Identified{}
		if out.License, out.Order, err = a.licenseOrOrder(ctx, tx, q.Ref); err != nil {
			return err
		}
		if state := out.License.StateAt(now); state != license.StateActive && state != license.StateIssued {
			return license.Refused(state)
		}
		if out.Install, out.Made, err = a.identify(ctx, tx, out.License, q.Device, actor, now); err != nil {
			return err
		}
		if out.License, err = tx.License(ctx, out.License.ID); err != nil {
			return fmt.Errorf("read %s: %w", out.Install.LicenseID, err)
		}
		if out.Order.Stage == license.StageAwaitingCode {
			out.Order, _, err = moveOrder(ctx, tx, out.Order, license.Move{To: license.StageToDeliver, At: now, By: actor})
		}
		return err
	})
	if err != nil {
		return Identified{}, err
	}
	if out.File, err = a.signDevice(out.Install); err != nil {
		return Identified{}, err
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		if out.Install, err = a.handed(ctx, tx, out.License.ID, out.Install.ID, out.File); err != nil {
			return err
		}
		after := map[string]any{"sha256": hex.EncodeToString(out.Install.Handed.SHA256), "made": out.Made}
		if out.Order.ID != "" {
			after["order"], after["line"] = out.Order.ID, out.Order.Line
		}
		_, err := tx.Append(ctx, license.AuditEvent{
			At: now, Actor: actor, Action: license.ActionIdentify, License: out.License.ID, Install: out.Install.ID,
			Product: out.License.Product, After: after,
		})
		if err != nil {
			return fmt.Errorf("audit %s: %w", license.ActionIdentify, err)
		}
		return nil
	})
	if err != nil {
		return Identified{}, err
	}
	return out, nil
}

// licenseOrOrder finds a licence that is named by itself, or by its order.
func (a *Authority) licenseOrOrder(ctx context.Context, tx store.Tx, ref OrderRef) (l license.License, o license.Order, err error) {
	if !license.IsLicenseID(ref.ID) {
		o, err = findOrder(ctx, tx, ref)
		switch {
		case err == nil && o.License == "":
			return l, o, license.Errorf(license.Conflict, "the order is linked to no licence yet; issue one and link it")
		case err == nil:
			ref = OrderRef{ID: o.License}
		case !errors.Is(err, license.NotFound) || ref.Channel != "" || ref.Line != "":
			return l, o, err
		}
	}
	if l, err = a.find(ctx, tx, ref.ID); errors.Is(err, license.UnknownLicense) {
		return l, o, license.Errorf(license.UnknownLicense, "there is no such licence and no such order")
	}
	return l, o, err
}

// identify returns the install that stands for a device which the staff named,
// and makes its licence where there is none, or where its terms have changed.
func (a *Authority) identify(ctx context.Context, tx store.Tx, l license.License, d license.Device, actor license.Actor, now time.Time) (license.Install, bool, error) {
	c, err := a.forDevice(l, deviceGrant{fingerprint: deviceFingerprint(l, d), device: deviceDigest(l, d), actor: actor}, now)
	if err != nil {
		return license.Install{}, false, err
	}
	old, live, err := c.find(ctx, tx)
	if err != nil {
		return old, false, err
	}
	if live && c.holds(old) {
		return old, false, nil
	}
	inst, err := c.bind(ctx, tx, old, live)
	switch {
	case errors.Is(err, ErrQuota):
		err = license.Errorf(license.MachineLimit,
			"the licence is in use on as many machines as it is for (%d); end the install of one of them first", l.Machines)
	case errors.Is(err, ErrNeedsDevice):
		err = license.FieldErrorf("device", "nothing can be bound to it: it shows no more than a processor and placeholders, which many machines share")
	}
	return inst, err == nil, err
}

// orderOf returns the order that a licence was made for, the zero Order where
// none is linked to it.
func orderOf(ctx context.Context, tx store.Tx, l license.License) (license.Order, error) {
	f := store.OrderFilter{License: l.ID}
	if l.Order != "" {
		near := f
		near.Channel, near.ID = l.Channel, l.Order
		if found, err := ordersOf(ctx, tx, near); err != nil || len(found) > 0 {
			return first(found), err
		}
	}
	found, err := ordersOf(ctx, tx, f)
	return first(found), err
}

// first returns the order that was heard of first.
func first(orders []license.Order) license.Order {
	if len(orders) == 0 {
		return license.Order{}
	}
	return oldest(orders, 1)[0]
}
