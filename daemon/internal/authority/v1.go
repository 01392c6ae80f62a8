package authority

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Sale is a purchase for which a marketplace wants the licence at once
// (getLicense of licence 1.0, access guide …649153). Order names it: the same
// order again is the same purchase.
type Sale struct {
	Channel  string // the entry that authenticated it
	Order    string
	Business string // proposed as the id of the instance
	Product  string // the marketplace's product id

	// Customer is the name of the buyer's account, and CustomerID its id, which
	// stands for the name where there is none.
	Customer   string
	CustomerID string

	Amount    int64     // 0 if it names none
	ExpiresAt time.Time // an estimate; zero for a purchase without end
}

// Handover is what a purchase through licence 1.0 is answered with.
type Handover struct {
	License  string // id of the licence
	Instance string // what the marketplace calls the purchase by from now on
	Text     []byte // what the buyer gets: the code, and a licence file. A secret.
	New      bool   // the text was made just now
}

// Sell makes the licence of a purchase, and returns it signed. The same order
// again gets the same instance and the same text, which costs no write, until
// the keys are rotated or, where the text is all that the buyer needs, the end
// is moved. An order that was to be delivered again is delivered by that.
//
// After a release it is refused with Released, after a revocation with Revoked. A
// suspended licence that was never handed over is refused with Suspended; the text
// of one that was is answered, and nothing is added to it. A licence that was handed
// over for another order is Conflict.
//
// The licence in the text is bound to no machine, since none is known. Where the
// product binds to none either, it is the whole licence. Otherwise it is good for
// one lease, and for two weeks at least, within which each machine is activated
// with the code beside it (decision 16).
func (a *Authority) Sell(ctx context.Context, s Sale) (Handover, error) {
	if err := errors.Join(plain("orderId", s.Order, 64), plain("businessId", s.Business, 64)); err != nil {
		return Handover{}, err
	}
	var p saleRecord
	err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		p, err = a.purchase(ctx, tx, s)
		return err
	})
	if err != nil {
		return Handover{}, err
	}
	a.lookFirst()
	var fresh bool
	if !a.current(p) || undelivered(p.order) {
		now, err := a.dated(ctx)
		if err != nil {
			return Handover{}, err
		}
		err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
			if p, err = a.purchase(ctx, tx, s); err != nil {
				return err
			}
			if fresh = !a.current(p); fresh {
				if err := a.handOver(ctx, tx, s, &p, now); err != nil {
					return err
				}
			}
			return a.redelivered(ctx, tx, &p, now)
		})
		if err != nil {
			return Handover{}, err
		}
	}
	a.lookFirst()
	text, err := a.saleText(p.license, p.install)
	if err != nil {
		return Handover{}, err
	}
	return Handover{License: p.license.ID, Instance: p.license.Instance, Text: text, New: fresh}, nil
}

// saleRecord is what is known of a purchase. Each is zero where there is none yet.
type saleRecord struct {
	order   license.Order
	license license.License
	install license.Install // that stands for the text
}

// purchase reads what is known of a sale, and refuses one that has ended.
func (a *Authority) purchase(ctx context.Context, tx store.Tx, s Sale) (p saleRecord, err error) {
	if p.order, err = saleLine(ctx, tx, s); err != nil {
		return p, err
	}
	if p.order.License == "" {
		if p.order.Instance != "" {
			return p, license.Errorf(license.Conflict, "the order has an instance that waits for its licence, by another interface")
		}
		return p, nil
	}
	if p.license, err = tx.License(ctx, p.order.License); err != nil {
		return p, fmt.Errorf("read the licence of an order: %w", err)
	}
	state := p.license.StateAt(a.now())
	switch {
	case p.license.Channel != s.Channel && p.license.Channel != license.ChannelManual, p.license.Channel == s.Channel && p.license.Instance == "":
		return p, license.Errorf(license.Conflict, "the order was delivered by another interface, with %s", p.license.ID)
	case p.license.Instance != "" && p.license.Instance != p.order.Instance:
		// Its marketplace could say nothing of this one: each purchase has an instance of its own.
		return p, license.Errorf(license.Conflict, "%s, to which the order is linked, was handed over for another order", p.license.ID)
	case state == license.StateReleased, state == license.StateRevoked:
		return p, license.Refused(state)
	}
	p.install, err = tx.Install(ctx, p.license.ID, textInstall(p.license.ID))
	switch {
	case errors.Is(err, license.NotFound):
		if state == license.StateSuspended {
			return p, license.Refused(state)
		}
		return p, nil
	case err == nil && p.install.State != license.InstallLive:
		err = license.Errorf(license.Released, "the text of %s was ended (%s)", p.license.ID, p.install.State)
	}
	return p, err
}

// saleLine returns the line that a sale is of, the zero Order where there is none
// yet. A sale names no line, and the record of one may be called any: it is found by
// what the sale left behind. Before the sale it is the only line, else the only one
// that is known to be of that product and has no instance, else the one that nobody
// knows the name of.
func saleLine(ctx context.Context, tx store.Tx, s Sale) (license.Order, error) {
	lines, err := ordersOf(ctx, tx, store.OrderFilter{Channel: s.Channel, ID: s.Order})
	if err != nil {
		return license.Order{}, err
	}
	var sold, fit, unnamed []license.Order
	for _, o := range lines {
		is, err := saleOf(ctx, tx, o)
		switch {
		case err != nil:
			return o, err
		case is:
			sold = append(sold, o)
		case o.Line == onlyLine:
			unnamed = append(unnamed, o)
		case o.Instance == "" && delivered(o.Type) && o.Product != "" && o.Product == s.Product:
			fit = append(fit, o)
		}
	}
	for _, found := range [][]license.Order{sold, lines, fit, unnamed} {
		if len(found) == 1 {
			return found[0], nil
		}
	}
	if len(sold) > 0 {
		return sold[0], nil
	}
	return license.Order{}, nil
}

// saleOf reports whether an order was sold through licence 1.0: the licence of its
// instance has a text.
func saleOf(ctx context.Context, tx store.Tx, o license.Order) (bool, error) {
	if o.License == "" || o.Instance == "" {
		return false, nil
	}
	_, err := tx.Install(ctx, o.License, textInstall(o.License))
	if errors.Is(err, license.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// current reports whether the text of a purchase is there and can go out as it is.
func (a *Authority) current(p saleRecord) bool {
	if p.license.Instance == "" || p.install.Answer == nil {
		return false
	}
	s := a.signingInside()
	if s.canSign(p.install.Dated()) != nil {
		return false // the key of the day was born after it (decision 6)
	}
	if _, listed := s.keys.Key(p.install.SignedBy); p.install.SignedBy != "" && !listed {
		return false // what the buyer has is refused: its key was revoked
	}
	product, known := a.products[p.license.Product]
	if !known || provisional(product, p.license) || p.license.StateAt(a.now()) != license.StateActive {
		return true // what was handed out before grants nothing new
	}
	is, err := signedDates(p.install)
	want := textSchedule(product, p.license).DatesFor(a.now(), time.Time{}, p.license.ExpiresAt)
	return err == nil && is.ExpiresAt.Equal(want.ExpiresAt) && is.LeaseUntil.Equal(want.LeaseUntil)
}

// handOver makes what is missing of a purchase: its licence, and the claims of
// its text.
func (a *Authority) handOver(ctx context.Context, tx store.Tx, s Sale, p *saleRecord, now time.Time) error {
	actor := marketActor(s.Channel)
	if err := a.ownSale(ctx, tx, s, p, actor, now); err != nil {
		return err
	}
	product, err := a.product(p.license.Product)
	if err != nil {
		return err
	}
	c := &call{a: a, product: product, now: now, actor: actor}
	c.req.ID = s.Order
	c.signing = a.signingInside()
	if err := c.canSign(now); err != nil {
		return err
	}
	known := p.install.ID != ""
	if !known {
		p.install = license.Install{
			ID: textInstall(p.license.ID), LicenseID: p.license.ID, Kind: license.InstallText, State: license.InstallLive, BoundAt: now,
			Binding: license.Binding{Policy: license.PolicyNone},
		}
	}
	if err := c.grantText(ctx, tx, &p.install, p.license); err != nil {
		return err
	}
	text, err := a.saleText(p.license, p.install)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	p.install, _ = p.install.WithHanded(license.Handed{At: now, SHA256: sum[:]})
	if known {
		err = tx.UpdateInstall(ctx, p.install)
	} else {
		err = tx.CreateInstall(ctx, p.install)
	}
	if err != nil {
		return fmt.Errorf("record the text of %s: %w", p.license.ID, err)
	}
	return c.audit(ctx, tx, license.ActionDeliver, p.install, map[string]any{"order": s.Order, "instance": p.license.Instance})
}

// ownSale makes the licence of a purchase that has none. One that the merchant
// issued by hand and linked to the order is taken as it is.
func (a *Authority) ownSale(ctx context.Context, tx store.Tx, s Sale, p *saleRecord, actor license.Actor, now time.Time) error {
	was := p.license
	if was.Instance != "" {
		return nil
	}
	event := license.AuditEvent{At: now, Actor: actor, Action: license.ActionInstance, Request: s.Order, Note: "licence 1.0"}
	save := tx.UpdateLicense
	var err error
	if was.ID == "" {
		if p.license, err = a.soldAs(s, now); err != nil {
			return err
		}
		event.Action, save = license.ActionIssue, tx.CreateLicense
	}
	if p.license.Instance, err = a.instanceID(ctx, tx, Purchase{Channel: s.Channel, Business: s.Business}, now); err != nil {
		return err
	}
	if p.license.ActivatedAt.IsZero() {
		p.license.ActivatedAt = now // what it is sold with works at once, and no code has to be asked about
	}
	if err := save(ctx, p.license); err != nil {
		return fmt.Errorf("record a licence of %s: %w", s.Channel, err)
	}
	p.license.Revision = was.Revision + 1
	if err := a.pointTo(ctx, tx, s, p, now); err != nil {
		return err
	}
	if err := a.saleOrder(ctx, tx, s, p, actor, now); err != nil {
		return err
	}
	event.License, event.Product = p.license.ID, p.license.Product
	event.Before, event.After = difference(was, p.license)
	event.After["instance"] = p.license.Instance
	if was.ID == "" {
		event.Before = nil
	}
	if _, err := tx.Append(ctx, event); err != nil {
		return fmt.Errorf("audit a sale: %w", err)
	}
	return nil
}

// soldAs is the licence that a sale asks for, with a code of our own.
func (a *Authority) soldAs(s Sale, now time.Time) (license.License, error) {
	product, ok := a.products[a.byMarket[s.Product]]
	if !ok {
		return license.License{}, license.FieldErrorf("productId", "marketplace product %q is configured for no product", printable(s.Product))
	}
	customer, field := s.Customer, "customerName"
	if customer == "" {
		customer, field = s.CustomerID, "customerId"
	}
	l := license.License{
		Product: product.ID, Channel: s.Channel, Customer: customer, Order: s.Order,
		Machines: product.Machines, Mode: product.Mode, Features: product.Features, IssuedAt: now, ExpiresAt: s.ExpiresAt,
	}
	if s.Amount < 0 || s.Amount > maxAmount {
		return l, license.FieldErrorf("amount", "the quantity is more than %d", maxAmount)
	}
	if s.Amount > 0 && product.MachinesFromAmount {
		l.Machines = int(s.Amount)
	}
	if err := errors.Join(plain(field, customer, 256), fits(l)); err != nil {
		return l, err
	}
	is, err := a.issueOne(l, now)
	return is.License, err
}

// maxAmount bounds the quantity of an order.
const maxAmount = 1_000_000

// pointTo records which licence is meant by an instance: the licence itself is
// found by its code.
func (a *Authority) pointTo(ctx context.Context, tx store.Tx, s Sale, p *saleRecord, now time.Time) error {
	index, last4, err := a.instanceIndex(s.Channel, p.license.Instance)
	if err != nil {
		return err
	}
	if err := tx.PutPending(ctx, license.Pending{
		Channel: s.Channel, CodeIndex: index, Last4: last4, FirstAt: now, LastAt: now, License: p.license.ID,
	}); err != nil {
		return fmt.Errorf("record an instance: %w", err)
	}
	return nil
}

// saleOrder writes the order of a sale into the ledger: it is delivered by the
// answer.
func (a *Authority) saleOrder(ctx context.Context, tx store.Tx, s Sale, p *saleRecord, actor license.Actor, now time.Time) error {
	o := p.order
	known := o.ID != ""
	if !known {
		o = heardOf(s.Channel, s.Order, onlyLine, now)
		o.Type, o.Product, o.Amount, o.Customer, o.ExpiresAt = "NEW", s.Product, int(s.Amount), p.license.Customer, s.ExpiresAt
	}
	o.License, o.Instance = p.license.ID, p.license.Instance
	if undelivered(o) {
		var err error
		if o, _, err = o.Move(license.Move{To: license.StageDelivered, At: now, By: actor}); err != nil {
			return err
		}
	}
	p.order = o
	return a.saveOrder(ctx, tx, known, o)
}

// undelivered reports whether an order waits for a delivery: the first, or another
// one after the buyer's rejection. Whatever delivers goes by it, getLicense and an
// upload for a device alike.
func undelivered(o license.Order) bool {
	return o.Stage == license.StageToDeliver || o.Stage == license.StageAwaitingCode || o.Stage == license.StageRejected
}

// redelivered moves an order on that was to be delivered again: the answer does.
func (a *Authority) redelivered(ctx context.Context, tx store.Tx, p *saleRecord, now time.Time) error {
	if !undelivered(p.order) {
		return nil
	}
	var err error
	p.order, _, err = moveOrder(ctx, tx, p.order, license.Move{To: license.StageDelivered, At: now, By: marketActor(p.order.Channel)})
	return err
}
