package sandbox

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/koogallery"
)

// Receive confirms for the buyer that the code was received. Receiving again
// is a success.
func (s *Sandbox) Receive(id koogallery.Code) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live("receive", id)
	if err != nil {
		return err
	}
	c.received = true
	return nil
}

// Renew lengthens a purchase by a period, counted from the later of now and its
// present end, and calls the merchant with RENEWAL (License1: refreshLicense).
// What is frozen stays frozen until Unfreeze, but for License1, which has no
// message for that. Before the activation of a code the call carries the end
// which an activation now would give.
func (s *Sandbox) Renew(id koogallery.Code, period time.Duration) (Order, error) {
	return s.RenewAs(id, "", period)
}

// RenewAs is Renew which also moves to another product, as a renewal from
// month to year does; an empty product keeps the present one.
func (s *Sandbox) RenewAs(id koogallery.Code, product string, period time.Duration) (Order, error) {
	return s.renew("renew", id, Change{Product: product, Period: period}, koogallery.SceneRenewal, koogallery.OrderRenew)
}

// Change is what a renewal with the scene RENEWAL_CHANGE buys.
type Change struct {
	Product string        // empty: the present one
	Amount  int64         // 0: the present one
	Period  time.Duration // as of Renew
}

// Change renews an online instance with the scene RENEWAL_CHANGE, which only the
// page of the sibling interface has, by an order of type CHANGE: for another
// product, another amount, or both. The new amount counts at once, for the
// uploads too; since when the real marketplace counts an order as "in force" is
// not documented. CancelRenewal takes all of it back.
func (s *Sandbox) Change(id koogallery.Code, to Change) (Order, error) {
	return s.renew("change", id, to, koogallery.SceneRenewalChange, koogallery.OrderChange)
}

// RenewChange is Change with the present amount.
func (s *Sandbox) RenewChange(id koogallery.Code, product string, period time.Duration) (Order, error) {
	return s.Change(id, Change{Product: product, Period: period})
}

// ConvertTrial makes an online instance that was bought on trial a formal one,
// for a period that begins where the trial ends (TRIAL_TO_FORMAL).
func (s *Sandbox) ConvertTrial(id koogallery.Code, period time.Duration) (Order, error) {
	return s.renew("convert", id, Change{Period: period}, koogallery.SceneTrialToFormal, koogallery.OrderTrialToFormal)
}

func (s *Sandbox) renew(what string, id koogallery.Code, to Change, scene koogallery.Scene, kind koogallery.OrderType) (Order, error) {
	if to.Period <= 0 || to.Period%time.Second != 0 || to.Amount < 0 {
		return Order{}, fmt.Errorf("%s %d for %v: %w", what, to.Amount, to.Period, ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live(what, id)
	if err != nil {
		return Order{}, err
	}
	if err := s.mayRenew(what, c, to, scene); err != nil {
		return Order{}, err
	}
	done := renewal{period: to.Period, shift: to.Period, product: c.product, amount: c.amount}
	c.product, c.amount = cmp.Or(to.Product, c.product), cmp.Or(to.Amount, c.amount)
	if now := s.now(); !c.expiresAt.IsZero() {
		// The gap since an expiry moves the end too, so that cancelling restores it.
		end := later(now, c.expiresAt).Add(to.Period)
		done.shift = end.Sub(c.expiresAt)
		c.expiresAt = end
	}
	c.period += to.Period
	if c.trial = c.trial && scene != koogallery.SceneTrialToFormal; c.iface == License1 {
		c.frozen, c.sent.Frozen = false, false
	}
	done.order = s.pushExpiry(c, scene, Order{Product: c.product, Amount: c.amount, Period: to.Period, Type: kind}, to.Product)
	c.renewals = append(c.renewals, done)
	return done.order, nil
}

func (s *Sandbox) mayRenew(what string, c *sale, to Change, scene koogallery.Scene) error {
	if to.Product != "" {
		p, err := s.tradable(what+" as", to.Product)
		if err != nil {
			return err
		}
		if p.Interface != c.iface {
			return fmt.Errorf("%s as %q, which has another interface: %w", what, to.Product, ErrInvalid)
		}
	}
	if err := checkPeriod(what, c.iface, to.Period); err != nil {
		return err
	}
	switch {
	case c.period == 0:
		return fmt.Errorf("%s what has no end: %w", what, ErrState)
	case scene != koogallery.SceneRenewal && c.iface != Online:
		return fmt.Errorf("%s what is no online instance: %w", what, ErrState)
	case c.trial != (scene == koogallery.SceneTrialToFormal):
		return fmt.Errorf("%s: a trial is converted, and nothing else is: %w", what, ErrState)
	}
	return nil
}

// CancelRenewal takes back the latest renewal and calls the merchant with
// UNSUBSCRIBE_RENEWAL_PERIOD and the earlier end. The call names the order of
// the cancellation, and to an online instance that of the renewal, as the
// tables say. License1 has no message for it.
func (s *Sandbox) CancelRenewal(id koogallery.Code) (Order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live("cancel renewal", id)
	if err != nil {
		return Order{}, err
	}
	last := len(c.renewals) - 1
	if last < 0 || c.iface == License1 {
		return Order{}, fmt.Errorf("cancel renewal where there is none, or of licence 1.0: %w", ErrState)
	}
	undone := c.renewals[last]
	c.period -= undone.period
	if !c.expiresAt.IsZero() {
		c.expiresAt = c.expiresAt.Add(-undone.shift)
	}
	c.trial = undone.order.Type == koogallery.OrderTrialToFormal
	c.product, c.amount = undone.product, undone.amount
	c.renewals = c.renewals[:last]
	order := undone.order
	order.Type = koogallery.OrderUnsubscribe
	return s.pushExpiry(c, koogallery.SceneUnsubscribeRenewalPeriod, order, undone.order.ID), nil
}

// pushExpiry makes the order of a renewal or of its cancellation and tells the
// merchant. detail is the product of a renewal to another one, or the order
// that is cancelled.
func (s *Sandbox) pushExpiry(c *sale, scene koogallery.Scene, order Order, detail string) Order {
	end := c.expiresAt
	if end.IsZero() { // a code before its activation
		end = s.now().Add(c.period)
	}
	order.Code = c.purchase.Code
	o := s.record(c, order, end, nil)
	s.noteSale(c, EventOrder, fmt.Sprintf("%s %d for %s, order %s", o.Type, o.Amount, periodText(o.Period), o.ID))
	s.notifyOrder(o)
	product, named := detail, o
	if scene == koogallery.SceneUnsubscribeRenewalPeriod {
		product = ""
		if r := s.orders[detail]; r != nil && c.iface == Online && s.dialect.CancelOrder != CancelOrderOwn {
			named = r.Order
		}
	}
	fields := map[string]string{
		"scene": string(scene), "orderId": named.ID, "orderLineId": named.LineID,
		"productId": product, "expireTime": s.expireText(end), "testFlag": "0",
	}
	d := s.saleMessage(c, refreshOf[c.iface], fields)
	d.What = string(scene)
	if c.iface == License1 {
		d.What, d.fields = "", v1Refresh(o, product, s.compact(end), o.Period)
	}
	c.sent.ExpiresAt = end
	d.success = func(callAnswer) error {
		c.tellEnd(d, end)
		if c.iface == License1 {
			c.told.Frozen = false
		}
		return nil
	}
	s.push(d)
	return o
}

// Freeze calls the merchant with FREEZE (License1: with its expiry). The real
// marketplace does it beyond the grace period; the sandbox whenever asked.
func (s *Sandbox) Freeze(id koogallery.Code) error { return s.setFrozen("freeze", id, true) }

// Unfreeze calls the merchant with UNFREEZE. License1 has no message for it: a
// renewal ends its freeze.
func (s *Sandbox) Unfreeze(id koogallery.Code) error { return s.setFrozen("unfreeze", id, false) }

func (s *Sandbox) setFrozen(what string, id koogallery.Code, frozen bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live(what, id)
	if err != nil {
		return err
	}
	if c.frozen == frozen || !frozen && c.iface == License1 {
		return fmt.Errorf("%s again, or of licence 1.0: %w", what, ErrState)
	}
	s.pushFrozen(c, frozen)
	return nil
}

func (s *Sandbox) pushFrozen(c *sale, frozen bool) {
	c.frozen, c.lapsed = frozen, false
	status := koogallery.StatusUnfreeze
	if frozen {
		status = koogallery.StatusFreeze
	}
	fields := map[string]string{"status": string(status), "testFlag": "0"}
	if c.iface == License1 {
		fields = map[string]string{"orderId": c.purchase.ID}
	}
	d := s.saleMessage(c, statusOf[c.iface], fields)
	d.What = fields["status"]
	if c.iface == License1 {
		d.Activity = s.products[c.product].ExpireActivity
	}
	c.sent.Frozen = frozen
	d.success = func(callAnswer) error { c.told.Frozen = frozen; return nil }
	s.push(d)
}

// Expire moves the end of an active purchase to now. Nobody is called: the
// merchant learns of it by its clock or by a query. Of License1 the merchant is
// told, which freezes the instance.
func (s *Sandbox) Expire(id koogallery.Code) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live("expire", id)
	if err != nil {
		return err
	}
	if c.expiresAt.IsZero() {
		return fmt.Errorf("expire before activation, or what has no end: %w", ErrState)
	}
	c.expiresAt = s.now()
	s.noteSale(c, EventOrder, "expired")
	if c.iface == License1 && !c.frozen {
		s.pushFrozen(c, true)
	}
	return nil
}

// Retention is how long what expired stays frozen before it is released (access
// guide …649172: up to 15 days, by the buyer's level).
const Retention = retentionDays * 24 * time.Hour

const retentionDays = 15

// Lapse does what passing time does to all purchases: it freezes what has been
// expired for the grace period, lifts that from what was renewed since, and
// releases what has been expired for grace and Retention, the latter in days of Options.Day. It returns how many it
// changed. Nothing lapses by itself.
func (s *Sandbox) Lapse(grace time.Duration) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, changed := s.now(), 0
	retention := time.Duration(retentionDays) * s.opts.Day
	for _, c := range s.order {
		status := c.status(now)
		beyond := status == Expired && !now.Before(c.expiresAt.Add(grace))
		switch {
		case beyond && !now.Before(c.expiresAt.Add(grace+retention)):
			s.release(c, Order{})
		case beyond && !c.frozen:
			s.pushFrozen(c, true)
			c.lapsed = true
		case status == Alive && c.frozen && c.lapsed:
			s.pushFrozen(c, false)
		default:
			continue
		}
		changed++
	}
	return changed
}

// Unsubscribe releases a purchase at once and calls the merchant with the order
// of the unsubscription (License1: with that of the purchase).
func (s *Sandbox) Unsubscribe(id koogallery.Code) (Order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live("unsubscribe", id)
	if err != nil {
		return Order{}, err
	}
	order := Order{Code: c.purchase.Code, Product: c.product, Amount: c.amount, Period: c.purchase.Period, Type: koogallery.OrderUnsubscribe}
	o := s.record(c, order, c.expiresAt, nil)
	s.notifyOrder(o)
	s.release(c, o)
	return o, nil
}

// ReleaseAfterRetention releases a purchase as the end of the retention period
// does: without an order (License1: with that of the purchase).
func (s *Sandbox) ReleaseAfterRetention(id koogallery.Code) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live("release", id)
	if err != nil {
		return err
	}
	s.release(c, Order{})
	return nil
}

func (s *Sandbox) release(c *sale, o Order) {
	c.releasedAt = s.now()
	s.noteSale(c, EventOrder, "released")
	fields := map[string]string{"orderId": o.ID, "orderLineId": o.LineID, "testFlag": "0"}
	if c.iface == License1 {
		fields = map[string]string{"orderId": c.purchase.ID}
	}
	d := s.saleMessage(c, releaseOf[c.iface], fields)
	c.sent.Released = true
	d.success = func(callAnswer) error { c.told.Released = true; return nil }
	s.push(d)
}

// find looks a purchase up by code, order id or instance id. The caller holds
// s.mu.
func (s *Sandbox) find(what string, id koogallery.Code) (*sale, error) {
	c, ok := s.codes[id.Reveal()]
	if !ok {
		c, ok = s.instances[id.Reveal()]
	}
	if r, is := s.orders[id.Reveal()]; !ok && is {
		return r.sale, nil
	}
	if !ok {
		return nil, fmt.Errorf("%s: %w", what, ErrUnknownCode)
	}
	return c, nil
}

// live finds a purchase which was neither released nor cancelled. The caller
// holds s.mu.
func (s *Sandbox) live(what string, id koogallery.Code) (*sale, error) {
	c, err := s.find(what, id)
	if err != nil {
		return nil, err
	}
	if !c.releasedAt.IsZero() || !c.cancelledAt.IsZero() {
		return nil, fmt.Errorf("%s what was released or cancelled: %w", what, ErrState)
	}
	return c, nil
}

// compact is the marketplace's yyyyMMddHHmmss.
func (s *Sandbox) compact(t time.Time) string {
	return t.In(s.opts.Location).Format(compactLayout)
}

// expireText is the expireTime of a callback, by the dialect. The caller holds
// s.mu.
func (s *Sandbox) expireText(t time.Time) string {
	if s.dialect.ExpireTime == ExpireTime17 {
		return s.compact(t) + "000"
	}
	return s.compact(t)
}

const compactLayout = "20060102150405"

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func characters(s string) int { return utf8.RuneCountInString(s) }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
