package authority

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Desk is the part of a marketplace that sells instances: it knows orders and
// takes the licences that are made for devices (access guide …649350, …649351).
// Its errors have the reason MarketplaceUnavailable where trying again may help.
type Desk interface {
	// Order returns a line of an order; where none is named, its only one, or all of
	// them as Lines.
	Order(ctx context.Context, order, line string) (OrderInfo, error)
	// Deliver hands over the licence file that was made for an application. It
	// fails with ErrNoApplication where there is none that waits for a licence.
	Deliver(ctx context.Context, event string, file []byte) error
}

// ErrNoApplication is the cause of an error of a Desk that was handed a licence
// which no application waits for: there was none, or it has its licence.
var ErrNoApplication = errors.New("no application waits for this licence")

// OrderInfo is what a marketplace says about a line of an order. Absent fields
// are zero.
type OrderInfo struct {
	Line      string // as the marketplace calls it
	Type      string // NEW, RENEW, …
	Product   string // the marketplace's product id
	Amount    int
	Customer  string
	OrderedAt time.Time
	ExpiresAt time.Time
	Estimated bool // ExpiresAt was computed from the period that was bought
	Perpetual bool // sold without an end; else one that is absent is not known
	ByUse     bool // paid by what is used, and so for no period
	// Lines are all lines of the order, where it has several and none was named;
	// the other fields are zero then.
	Lines []OrderInfo
}

// Purchase is a purchase for which a marketplace wants an instance
// (newInstance, access guide …649251).
type Purchase struct {
	Channel   string // the entry that authenticated it
	Order     string
	Line      string
	Business  string // proposed as the id of the instance
	SentAt    time.Time
	ReplayKey []byte
}

// NewInstance returns the id of the instance for a purchase: the same one for
// each line of an order. What was bought is read from the order afterwards, by
// a job, and the licence made of it. An instance that licence 1.0 has made for the
// order is no answer: that is another purchase.
func (a *Authority) NewInstance(ctx context.Context, p Purchase) (instance string, err error) {
	if err := errors.Join(plain("orderId", p.Order, 64), plain("orderLineId", p.Line, 64), plain("businessId", p.Business, 64)); err != nil {
		return "", err
	}
	now := a.now()
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		if err := markSeen(ctx, tx, p.ReplayKey, p.SentAt.Add(store.MarkKept), now); err != nil {
			return err
		}
		o, known, err := a.instanceLine(ctx, tx, p, now)
		if err != nil {
			return err
		}
		if known && o.Instance != "" {
			instance = o.Instance
			return nil
		}
		if instance, err = a.instanceID(ctx, tx, p, now); err != nil {
			return err
		}
		o.Instance = instance
		if err := a.saveOrder(ctx, tx, known, o); err != nil {
			return err
		}
		index, last4, err := a.instanceIndex(p.Channel, instance)
		if err != nil {
			return err
		}
		if err := tx.PutPending(ctx, license.Pending{
			Channel: p.Channel, CodeIndex: index, Last4: last4, FirstAt: now, LastAt: now,
			Order: p.Order, Line: p.Line, Instance: instance,
		}); err != nil {
			return fmt.Errorf("record an instance: %w", err)
		}
		if _, err := tx.Append(ctx, license.AuditEvent{
			At: now, Actor: license.Actor{Kind: license.ActorMarketplace, Name: p.Channel}, Action: license.ActionInstance,
			After: map[string]any{"instance": instance, "order": p.Order, "line": p.Line},
		}); err != nil {
			return fmt.Errorf("audit an instance: %w", err)
		}
		return a.enqueue(ctx, tx, license.Job{Kind: license.JobOrder, Key: instanceKey(p.Channel, instance), Channel: p.Channel},
			orderJob{Order: p.Order, Line: p.Line})
	})
	if err != nil {
		return "", err
	}
	return instance, nil
}

// instanceID is the id that the marketplace proposes, unless another instance
// has it.
func (a *Authority) instanceID(ctx context.Context, tx store.Tx, p Purchase, now time.Time) (string, error) {
	taken, err := a.instanceTaken(ctx, tx, p.Channel, p.Business)
	switch {
	case err != nil:
		return "", err
	case !taken:
		return p.Business, nil
	}
	return a.ids.New(license.InstancePrefix, now)
}

func (a *Authority) instanceTaken(ctx context.Context, tx store.Tx, channel, instance string) (bool, error) {
	index, _, err := a.instanceIndex(channel, instance)
	if err != nil {
		return false, err
	}
	if _, err := tx.LicenseByCode(ctx, index); !errors.Is(err, license.NotFound) {
		return err == nil, err
	}
	_, err = tx.Pending(ctx, channel, index)
	if errors.Is(err, license.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// instanceIndex is where the licence of an instance is found. It is that of no
// code: whoever knows the id of an instance cannot activate it as one.
func (a *Authority) instanceIndex(channel, instance string) (index []byte, last4 string, err error) {
	code, err := license.ParseCode(instance)
	if err != nil {
		return nil, "", license.FieldErrorf("instanceId", "it is not the id of an instance")
	}
	sum := sha256.Sum256(append([]byte("licensed instance v1\n"+channel+"\n"), a.codes.Index(code)...))
	return sum[:16], code.Last4(), nil
}

// instanceKey keeps what is done for one instance in its order.
func instanceKey(channel, instance string) string { return channel + " " + instance }

func (a *Authority) saveOrder(ctx context.Context, tx store.Tx, known bool, o license.Order) error {
	var err error
	if known {
		err = tx.UpdateOrder(ctx, o)
	} else {
		err = tx.CreateOrder(ctx, o)
	}
	if err != nil {
		return fmt.Errorf("record an order: %w", err)
	}
	return nil
}

// markSeen takes a message, or refuses it as one that was taken before. until is
// when no copy of it is welcome any more: it follows from what the message says of
// itself.
func markSeen(ctx context.Context, tx store.Tx, key []byte, until, now time.Time) error {
	err := tx.MarkSeen(ctx, key, until, now)
	if errors.Is(err, store.Exists) {
		return license.Errorf(license.Replayed, "this message was taken before")
	}
	if err != nil {
		return fmt.Errorf("mark a message: %w", err)
	}
	return nil
}

// delivered reports whether an order of a type passes through supervision: a
// renewal, a change and an unsubscription do not again.
func delivered(orderType string) bool {
	return orderType == "" || orderType == "NEW" || orderType == "TRIAL"
}

// errNotBought puts off what needs the licence of an instance whose purchase was
// not read yet: the job that reads it may have been given up, and be tried again.
var errNotBought = license.Errorf(license.Conflict, "the purchase of the instance was not read yet, so it has no licence")

// termOf is what an order says about the end and the quantity of an instance.
func termOf(order string, info OrderInfo) license.Term {
	return license.Term{
		Order: order, OrderedAt: info.OrderedAt, ExpiresAt: info.ExpiresAt, Estimated: info.Estimated, Amount: info.Amount,
		Undoes: info.Type == orderUnsubscribe,
	}
}

// orderUnsubscribe is the type of an order that takes another one back.
const orderUnsubscribe = "UNSUBSCRIBE"

// instanceTerm brings the end and the quantity of an instance to what its orders
// say.
func (a *Authority) instanceTerm(ctx context.Context, tx store.Tx, channel string, p orderJob, info OrderInfo, now time.Time) (licenseID string, err error) {
	index, _, err := a.instanceIndex(channel, p.Instance)
	if err != nil {
		return "", err
	}
	l, err := a.byInstance(ctx, tx, channel, index)
	if errors.Is(err, license.NotFound) {
		return "", errNotBought
	}
	if err != nil {
		return "", fmt.Errorf("look an instance up: %w", err)
	}
	next := l.Clone()
	next.Terms = l.Terms.With(termOf(p.Order, info))
	if end, ok := next.Terms.End(); ok && !l.OwnEnd && l.ReleasedAt.IsZero() {
		next.ExpiresAt = end
	}
	if n := next.Terms.Amount(); n > 0 && a.products[l.Product].MachinesFromAmount {
		next.Machines = n
	}
	next = next.CameBack(l, now)
	if err := tx.UpdateLicense(ctx, next); err != nil {
		return "", fmt.Errorf("update %s: %w", l.ID, err)
	}
	before, after := difference(l, next)
	if len(after) == 0 {
		return l.ID, nil
	}
	_, err = tx.Append(ctx, license.AuditEvent{
		At: now, Actor: license.Actor{Kind: license.ActorSystem, Name: "outbox"}, Action: license.ActionConfirm, License: l.ID, Product: l.Product,
		Before: before, After: after, Note: "as " + channel + " says, " + orderNote(p.Order),
	})
	if err != nil {
		return "", fmt.Errorf("audit the end of %s: %w", l.ID, err)
	}
	return l.ID, nil
}

// onlyLine stands for the line of an order of which nobody says what it is called.
const onlyLine = "-"

func readPayload(j license.Job, into any) error {
	if err := json.Unmarshal(j.Payload, into); err != nil {
		return license.Errorf(license.BadRequest, "the job %s cannot be read", j.ID).WithCause(err)
	}
	return nil
}

func (a *Authority) channel(name string) (Channel, bool) {
	for _, ch := range a.channels {
		if ch.Name == name {
			return ch, true
		}
	}
	return Channel{}, false
}

// errByUse refuses what nobody knows the end of, and will not.
var errByUse = license.Errorf(license.Forbidden,
	"the order is paid by use and has no end: where such products are to get licences without one, set perpetual_without_expiry")

// instanceSold makes the licence of an instance, as its order says, and applies
// what was said about it meanwhile.
func (a *Authority) instanceSold(ctx context.Context, tx store.Tx, ch Channel, o license.Order, info OrderInfo, now time.Time) (string, error) {
	code, err := license.ParseCode(o.Instance)
	if err != nil {
		return "", err
	}
	index, _, err := a.instanceIndex(ch.Name, o.Instance)
	if err != nil {
		return "", err
	}
	ad := adoption{a: a, ch: ch, code: code, index: index, actor: license.Actor{Kind: license.ActorMarketplace, Name: ch.Name}}
	was, known, pending, err := ad.read(ctx, tx)
	if err != nil {
		return "", err
	}
	e := Entitlement{Product: o.Product, Order: o.ID, Amount: o.Amount, ExpiresAt: o.ExpiresAt}
	linked, fits, err := a.linkedLicence(ctx, tx, o, now)
	switch {
	case err != nil:
		return "", err
	case known:
	case fits: // it is found by its own code, and by the instance (byInstance)
		was, known = linked, true
	default:
		if was, err = ad.issue(e, now); err != nil {
			return "", err
		}
		was.Instance = o.Instance
	}
	if info.ByUse && info.ExpiresAt.IsZero() && !ch.PerpetualWithoutExpiry {
		return "", errByUse
	}
	is := was.Clone()
	is.Instance, is.Customer = o.Instance, cmp.Or(o.Customer, was.Customer)
	is.Terms = pending.Terms.With(termOf(o.ID, info))
	ad.sold = license.Sold{Told: info.Perpetual, ExpiresAt: o.ExpiresAt}
	ad.heard = 0
	if err := ad.apply(&is, e, pending, now); err != nil {
		return "", err
	}
	if fits {
		if err := a.sellLinked(ctx, tx, ch, was, is, index, now); err != nil {
			return "", err
		}
		return is.ID, nil
	}
	if err := ad.save(ctx, tx, known, was, is, now); err != nil {
		return "", err
	}
	if err := tx.DeletePending(ctx, ch.Name, index); err != nil {
		return "", fmt.Errorf("forget what was pending for an instance: %w", err)
	}
	return is.ID, nil
}

// sellLinked makes a licence that the merchant issued by hand the one of an
// instance.
func (a *Authority) sellLinked(ctx context.Context, tx store.Tx, ch Channel, was, is license.License, index []byte, now time.Time) error {
	if err := tx.UpdateLicense(ctx, is); err != nil {
		return fmt.Errorf("update %s: %w", is.ID, err)
	}
	if err := tx.PutPending(ctx, license.Pending{
		Channel: ch.Name, CodeIndex: index, Last4: is.Code.Last4, FirstAt: now, LastAt: now, License: is.ID, Instance: is.Instance,
	}); err != nil {
		return fmt.Errorf("record an instance: %w", err)
	}
	before, after := difference(was, is)
	after["instance"] = is.Instance
	if _, err := tx.Append(ctx, license.AuditEvent{
		At: now, Actor: license.Actor{Kind: license.ActorMarketplace, Name: ch.Name}, Action: license.ActionInstance, License: is.ID, Product: is.Product,
		Before: before, After: after, Note: "it was linked to the order",
	}); err != nil {
		return fmt.Errorf("audit an instance: %w", err)
	}
	return nil
}

// provisioned returns the licence of an instance that was made for a purchase of
// online provisioning, or NotFound: devices apply for those of no other.
func (a *Authority) provisioned(ctx context.Context, tx store.Tx, channel string, index []byte) (license.License, error) {
	l, err := tx.LicenseByCode(ctx, index)
	if !errors.Is(err, license.NotFound) {
		return l, err
	}
	p, err := tx.Pending(ctx, channel, index)
	if err == nil && (p.License == "" || p.Instance == "") {
		err = license.Errorf(license.NotFound, "the instance has no licence yet")
	}
	if err != nil {
		return l, err
	}
	return tx.License(ctx, p.License)
}
