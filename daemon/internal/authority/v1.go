package authority

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// Sale is a purchase for which a marketplace wants the licence at once
// (getLicense of licence 1.0, access guide …649153). Order names it: the same
// order again is the same purchase.
type Sale struct {
	Channel   string // the entry that authenticated it
	Order     string
	Business  string // proposed as the id of the instance
	Product   string // the marketplace's product id
	Customer  string
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
// is moved. After a release it is refused.
//
// The licence in the text is bound to no machine, since none is known. Where the
// product binds to none either, it is the whole licence. Otherwise it is good for
// one lease, within which each machine is activated with the code beside it
// (decision 16).
func (a *Authority) Sell(ctx context.Context, s Sale) (Handover, error) {
	if err := errors.Join(plain("orderId", s.Order, 64), plain("businessId", s.Business, 64)); err != nil {
		return Handover{}, err
	}
	var p purchase
	err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		p, err = a.purchase(ctx, tx, s)
		return err
	})
	if err != nil {
		return Handover{}, err
	}
	var fresh bool
	if !a.current(p) {
		now, err := a.dated(ctx)
		if err != nil {
			return Handover{}, err
		}
		err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
			if p, err = a.purchase(ctx, tx, s); err != nil {
				return err
			}
			if fresh = !a.current(p); fresh {
				err = a.handOver(ctx, tx, s, &p, now)
			}
			return err
		})
		if err != nil {
			return Handover{}, err
		}
	}
	text, err := a.saleText(p.license, p.install)
	if err != nil {
		return Handover{}, err
	}
	return Handover{License: p.license.ID, Instance: p.license.Instance, Text: text, New: fresh}, nil
}

// purchase is what is known of a purchase. Each is zero where there is none yet.
type purchase struct {
	order   license.Order
	license license.License
	install license.Install // that stands for the text
}

// purchase reads what is known of a sale, and refuses one that has ended.
func (a *Authority) purchase(ctx context.Context, tx store.Tx, s Sale) (p purchase, err error) {
	lines, _, err := tx.Orders(ctx, store.OrderFilter{Channel: s.Channel, ID: s.Order}, store.Page{Limit: 2})
	if err != nil {
		return p, fmt.Errorf("look an order up: %w", err)
	}
	if len(lines) == 1 { // whatever its line is called, which a sale does not say
		p.order = lines[0]
	}
	for _, o := range lines {
		if o.Line == onlyLine {
			p.order = o
		}
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
	switch state := p.license.StateAt(a.now()); {
	case p.license.Channel != s.Channel && p.license.Channel != license.ChannelManual, p.license.Channel == s.Channel && p.license.Instance == "":
		return p, license.Errorf(license.Conflict, "the order was delivered by another interface, with %s", p.license.ID)
	case state == license.StateReleased, state == license.StateRevoked:
		return p, license.Refused(state)
	}
	p.install, err = tx.Install(ctx, p.license.ID, textInstall(p.license.ID))
	switch {
	case errors.Is(err, license.NotFound):
		return p, nil
	case err == nil && p.install.State != license.InstallLive:
		err = license.Errorf(license.Released, "the text of %s was ended (%s)", p.license.ID, p.install.State)
	}
	return p, err
}

// current reports whether the text of a purchase is there and can go out as it is.
func (a *Authority) current(p purchase) bool {
	if p.license.Instance == "" || p.install.Answer == nil {
		return false
	}
	key, keys := a.custody.Current()
	if (signing{key, keys}).canSign(p.install.Dated()) != nil {
		return false // the key of the day was born after it (decision 6)
	}
	product, known := a.products[p.license.Product]
	if !known || provisional(product, p.license) || p.license.StateAt(a.now()) != license.StateActive {
		return true // what was handed out before grants nothing new
	}
	return signedEnd(p.install) == textSchedule(product, p.license).DatesFor(a.now(), time.Time{}, p.license.ExpiresAt).ExpiresAt.Unix()
}

// signedEnd is the end of a licence as it was signed for an install.
func signedEnd(inst license.Install) int64 {
	var claims struct {
		Lic struct {
			Phases struct {
				ExpiresAt int64 `json:"expires_at"`
			} `json:"phases"`
		} `json:"lic"`
	}
	if json.Unmarshal(inst.Answer, &claims) != nil {
		return 0
	}
	return claims.Lic.Phases.ExpiresAt
}

// handOver makes what is missing of a purchase: its licence, and the claims of
// its text.
func (a *Authority) handOver(ctx context.Context, tx store.Tx, s Sale, p *purchase, now time.Time) error {
	actor := license.Actor{Kind: license.ActorMarketplace, Name: s.Channel}
	if err := a.ownSale(ctx, tx, s, p, actor, now); err != nil {
		return err
	}
	product, err := a.product(p.license.Product)
	if err != nil {
		return err
	}
	c := &call{a: a, product: product, now: now, actor: actor}
	c.req.ID = s.Order
	c.key, c.keys = a.custody.Current()
	if err := c.canSign(now); err != nil {
		return err
	}
	known := p.install.ID != ""
	if !known {
		p.install = license.Install{
			ID: textInstall(p.license.ID), LicenseID: p.license.ID, State: license.InstallLive, BoundAt: now,
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
	p.install.Handed = license.Handed{At: now, SHA256: sum[:]}
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
func (a *Authority) ownSale(ctx context.Context, tx store.Tx, s Sale, p *purchase, actor license.Actor, now time.Time) error {
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
	l := license.License{
		Product: product.ID, Channel: s.Channel, Customer: s.Customer, Order: s.Order,
		Machines: product.Machines, Mode: product.Mode, Features: product.Features, IssuedAt: now, ExpiresAt: s.ExpiresAt,
	}
	if s.Amount < 0 || s.Amount > maxAmount {
		return l, license.FieldErrorf("amount", "the quantity is more than %d", maxAmount)
	}
	if s.Amount > 0 && product.MachinesFromAmount {
		l.Machines = int(s.Amount)
	}
	if err := errors.Join(plain("customerName", s.Customer, 256), fits(l)); err != nil {
		return l, err
	}
	is, err := a.issueOne(l, now)
	return is.License, err
}

// maxAmount bounds the quantity of an order.
const maxAmount = 1_000_000

// pointTo records which licence is meant by an instance: the licence itself is
// found by its code.
func (a *Authority) pointTo(ctx context.Context, tx store.Tx, s Sale, p *purchase, now time.Time) error {
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
func (a *Authority) saleOrder(ctx context.Context, tx store.Tx, s Sale, p *purchase, actor license.Actor, now time.Time) error {
	o := p.order
	known := o.ID != ""
	if !known {
		o = heardOf(s.Channel, s.Order, onlyLine, now)
		o.Type, o.Product, o.Amount, o.Customer, o.ExpiresAt = "NEW", s.Product, int(s.Amount), s.Customer, s.ExpiresAt
	}
	o.License, o.Instance = p.license.ID, p.license.Instance
	if o.Stage == license.StageToDeliver || o.Stage == license.StageAwaitingCode {
		var err error
		if o, _, err = o.Move(license.Move{To: license.StageDelivered, At: now, By: actor}); err != nil {
			return err
		}
	}
	p.order = o
	return a.saveOrder(ctx, tx, known, o)
}

// provisional reports whether the text of a purchase only bridges the time until
// machines are activated: it is bound to none, and the product wants them bound
// or counted.
func provisional(p license.Product, l license.License) bool {
	return p.Binding != license.PolicyNone || l.Mode == license.ModeFloating
}

// provisionalLease is for how long a provisional text is good where the product
// has no lease.
const provisionalLease = 14 * 24 * time.Hour

// textSchedule is the schedule of the licence in a text. No install key is behind
// it, so nothing renews it by itself.
func textSchedule(p license.Product, l license.License) license.Schedule {
	s := l.Phases.Over(p.Schedule)
	s.Refresh = forAges
	switch {
	case !provisional(p, l):
		s.Lease = 0
	case s.Lease == 0:
		s.Lease = provisionalLease
	}
	return s
}

// grantText writes the claims of the licence in a text.
func (c *call) grantText(ctx context.Context, tx store.Tx, inst *license.Install, l license.License) error {
	jti, err := c.a.ids.New("", c.now)
	if err != nil {
		return err
	}
	claims := token.License{
		Issuer: c.keys.Issuer, ID: jti, LicenseID: l.ID, Product: l.Product,
		Dates:    textSchedule(c.product, l).DatesFor(c.now, time.Time{}, l.ExpiresAt),
		Customer: l.Customer, Order: l.Order, Channel: l.Channel, CodeLast4: l.Code.Last4,
		Features: l.Features, Machines: l.Machines, Mode: l.Mode, Binding: inst.Binding,
	}
	if claims.Status, err = c.listed(ctx, tx, inst); err != nil {
		return err
	}
	if inst.Answer, err = claims.Payload(); err != nil {
		return fmt.Errorf("make the claims of %s: %w", l.ID, err)
	}
	inst.Chain.RequestID = c.req.ID
	inst.SeenAt, inst.LeaseUntil = c.now, claims.Dates.LeaseUntil
	return nil
}

// textInstall is the id of the install that stands for the text of a licence. It
// has no key and no seat.
func textInstall(licenseID string) string {
	sum := sha256.Sum256([]byte("licensed text v1\n" + licenseID))
	return license.DevicePrefix + base64.RawURLEncoding.EncodeToString(sum[:24])
}

// seatless reports whether an install counts for no machine, since it stands for
// the text of a purchase, which is bound to none.
func seatless(i license.Install) bool { return i.Seat == "" }

// saleText is what the buyer gets, made of what is stored and the keys of the
// day: the code, which is text around the blocks to who reads licence files, and
// the licence with its key set. The status list stays away, since it would make
// another text of it every day.
func (a *Authority) saleText(l license.License, inst license.Install) ([]byte, error) {
	code, err := a.codes.Open(l.Code.Sealed, l.ID)
	if err != nil {
		return nil, err
	}
	key, keys := a.custody.Current()
	raw, err := token.SignLicense(inst.Answer, key)
	if err != nil {
		return nil, fmt.Errorf("sign a licence of %s: %w", l.ID, err)
	}
	var head string
	if code.Own() {
		head = "Authorization code: " + code.Reveal() + "\n"
	}
	return append([]byte(head), token.File{Licenses: []string{raw}, KeySets: []string{keys.Raw}}.Marshal()...), nil
}

// MessageV1 applies what a marketplace says of an instance through licence 1.0:
// EventSetExpiry, which lifts the marketplace's hold too, as nothing else there
// does; EventFreeze; EventRelease. The interface knows no nonce, and calls may be
// repeated as they are: one that was taken before is a success without effect.
// An instance that was not made here is ErrNoInstance.
func (a *Authority) MessageV1(ctx context.Context, m Message) (Outcome, error) {
	now := a.now()
	index, _, err := a.instanceIndex(m.Channel, m.Instance)
	if err != nil {
		return Outcome{}, err
	}
	var out Outcome
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		out = Outcome{}
		l, err := a.byInstance(ctx, tx, m.Channel, index)
		if errors.Is(err, license.NotFound) {
			return ErrNoInstance
		}
		if err != nil {
			return fmt.Errorf("look an instance up: %w", err)
		}
		switch err := markSeen(ctx, tx, m.SentAt, m.ReplayKey); {
		case errors.Is(err, license.Replayed):
			out.License = l.ID
			return nil
		case err != nil:
			return err
		}
		if out, err = a.hear(ctx, tx, l, m, now); err != nil || m.Event != license.EventSetExpiry || !l.ReleasedAt.IsZero() {
			return err
		}
		if l, err = tx.License(ctx, l.ID); err != nil {
			return err
		}
		lift := m
		lift.Event = license.EventUnfreeze
		lifted, err := a.hear(ctx, tx, l, lift, now)
		out.Changed = out.Changed || lifted.Changed
		return err
	})
	return out, err
}

// byInstance returns the licence that a marketplace means by an instance, or NotFound.
func (a *Authority) byInstance(ctx context.Context, tx store.Tx, channel string, index []byte) (license.License, error) {
	l, err := tx.LicenseByCode(ctx, index)
	if !errors.Is(err, license.NotFound) {
		return l, err
	}
	p, err := tx.Pending(ctx, channel, index)
	if err == nil && p.License == "" {
		err = license.Errorf(license.NotFound, "the instance has no licence yet")
	}
	if err != nil {
		return l, err
	}
	return tx.License(ctx, p.License)
}
