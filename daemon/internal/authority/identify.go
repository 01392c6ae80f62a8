package authority

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
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
	Order   license.Order // that it was made for, the zero Order where none is linked to the licence
	File    []byte        // the licence file
	Made    bool          // just now: the code is new, or the terms have changed since
}

// Identify makes the licence of a device for the merchant's staff. The same code
// on the same licence gives the same file again, byte for byte, until the keys or
// the terms of the licence change: after a renewal it gives the renewed one. Each
// device takes a place of the licence, and keeps it. Where the code is bound to,
// the licence is verified without any network.
//
// Who had it made is in the audit log, each time, and each file in the order's
// Made. An order that waited for its code waits for its delivery from then on; for
// one that was cancelled nothing is made.
func (a *Authority) Identify(ctx context.Context, actor license.Actor, q Identification) (Identified, error) {
	if q.Device.IsZero() {
		return Identified{}, license.FieldErrorf("device", "the identification code is required")
	}
	now, err := a.dated(ctx)
	if err != nil {
		return Identified{}, err
	}
	a.lookFirst()
	var out Identified
	err = a.onTarget(ctx, q.Ref, func(ctx context.Context, tx store.Tx, l license.License, o license.Order) error {
		out = Identified{License: l, Order: o}
		if o.Stage == license.StageCancelled {
			return license.Errorf(license.Conflict, "the order %s is cancelled; if that was a wrong entry, correct it", o.ID)
		}
		if state := l.StateAt(now); state != license.StateActive && state != license.StateIssued {
			return license.Refused(state)
		}
		if out.Install, out.Made, err = a.identify(ctx, tx, l, q.Device, actor, now); err != nil {
			return err
		}
		if out.License, err = tx.License(ctx, l.ID); err != nil {
			return fmt.Errorf("read %s: %w", l.ID, err)
		}
		if o.Stage == license.StageAwaitingCode {
			out.Order, _, err = moveOrder(ctx, tx, o, license.Move{To: license.StageToDeliver, At: now, By: actor})
		}
		return err
	})
	if err != nil || DryRun(ctx) {
		return out, err
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
			made := license.Made{
				At: now, By: actor, Install: out.Install.ID, Device: out.Install.Device, Form: q.Device.String(), File: out.Install.Handed.SHA256,
			}
			if out.Order, err = noteMade(ctx, tx, out.Order, made); err != nil {
				return err
			}
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

// noteMade notes a file that was made for an order, unless that was noted before.
// An order that was renamed since it was read keeps what it has: the audit log says
// the same.
func noteMade(ctx context.Context, tx store.Tx, was license.Order, m license.Made) (license.Order, error) {
	o, err := tx.Order(ctx, was.Channel, was.ID, was.Line)
	if errors.Is(err, license.NotFound) {
		return was, nil
	}
	if err != nil {
		return was, fmt.Errorf("read an order: %w", err)
	}
	if slices.ContainsFunc(o.Made, func(old license.Made) bool { return old.Install == m.Install && bytes.Equal(old.File, m.File) }) {
		return o, nil
	}
	o = o.WithMade(m)
	if err := tx.UpdateOrder(ctx, o); err != nil {
		return was, fmt.Errorf("record an order: %w", err)
	}
	o.Revision++
	return o, nil
}

// onTarget runs fn in an Update with the licence that ref names, by itself or by
// its order, and with the order that it was made for, the zero Order where there is
// none.
func (a *Authority) onTarget(ctx context.Context, ref OrderRef, fn func(context.Context, store.Tx, license.License, license.Order) error) error {
	return a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		l, o, err := a.licenseOrOrder(ctx, tx, ref)
		if err != nil {
			return err
		}
		if o.ID == "" {
			if o, err = orderOf(ctx, tx, l); err != nil {
				return err
			}
		}
		return fn(ctx, tx, l, o)
	})
}

// licenseOrOrder finds a licence that is named by itself, or by its order. It looks
// only where either must be.
func (a *Authority) licenseOrOrder(ctx context.Context, tx store.Tx, ref OrderRef) (l license.License, o license.Order, err error) {
	id := strings.TrimSpace(ref.ID)
	plainly := ref.Channel == "" && ref.Line == ""
	if code, bad := license.ParseCode(id); plainly && (license.IsLicenseID(id) || bad == nil && code.Own()) {
		if l, err = a.find(ctx, tx, id); !errors.Is(err, license.UnknownLicense) {
			return l, o, err
		}
	}
	o, err = a.findOrder(ctx, tx, ref)
	switch {
	case err == nil && o.License == "" && o.Instance != "":
		return l, o, errInstanceWaits
	case err == nil && o.License == "":
		return l, o, license.Errorf(license.Conflict, "the order is linked to no licence yet; issue one and link it")
	case err == nil:
		id = o.License
	case !errors.Is(err, license.NotFound) || !plainly:
		return l, o, err
	}
	if l, err = a.find(ctx, tx, id); errors.Is(err, license.UnknownLicense) {
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
			"the licence is in use on as many machines as it is for (%d); end the install of one of them first", c.limit(l))
	case errors.Is(err, ErrNeedsDevice):
		err = license.FieldErrorf("device", "nothing can be bound to it: it shows no more than a processor and placeholders, which many machines share")
	}
	return inst, err == nil, err
}

// orderOf returns the order that a licence was made for, the zero Order where
// none is linked to it: of several the first that was not cancelled, and, where a
// marketplace sold the licence, first of the order by which it did.
func orderOf(ctx context.Context, tx store.Tx, l license.License) (license.Order, error) {
	found, err := ordersOf(ctx, tx, store.OrderFilter{License: l.ID})
	if err != nil {
		return license.Order{}, err
	}
	if l.Sold() {
		byIt := slices.DeleteFunc(slices.Clone(found), func(o license.Order) bool {
			return o.ID != l.Order || o.Channel != l.Channel && o.Instance != l.Instance
		})
		if len(byIt) > 0 {
			found = byIt
		}
	}
	return first(found), nil
}

// first returns the order that was heard of first, of those that stand if any do.
func first(orders []license.Order) license.Order {
	stands := slices.DeleteFunc(slices.Clone(orders), func(o license.Order) bool { return o.Stage == license.StageCancelled })
	for _, list := range [][]license.Order{stands, orders} {
		if len(list) > 0 {
			return oldest(list, 1)[0]
		}
	}
	return license.Order{}
}
