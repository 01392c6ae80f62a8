package sandbox

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/koogallery"
)

// Order is a purchase, renewal, cancelled renewal or unsubscription. Each has
// an id of its own.
type Order struct {
	ID      string
	LineID  string
	Code    koogallery.Code
	Product string
	Amount  int64
	Period  time.Duration // 0: for ever
}

// Status is where a code stands. Frozen is no status: see CodeState.Frozen.
type Status string

// The statuses, computed from the clock.
const (
	Issued   Status = "ISSUED" // bought, not activated
	Alive    Status = "ALIVE"
	Expired  Status = "EXPIRED"
	Released Status = "RELEASED"
)

// CodeState is what the sandbox knows of a code. Times are UTC.
type CodeState struct {
	Code        koogallery.Code
	Status      Status
	Product     string
	Amount      int64
	OrderID     string // of the purchase
	Received    bool
	Frozen      bool
	BoughtAt    time.Time
	ActivatedAt time.Time // zero before activation; the real_effect_time if one was given
	ExpiresAt   time.Time // zero before activation and for ever
}

// code is a sold code; everything is guarded by Sandbox.mu.
type code struct {
	text        string
	purchase    Order
	product     string        // changed by a renewal to another product
	period      time.Duration // in all, renewals included; 0: for ever
	renewals    []time.Duration
	received    bool
	frozen      bool
	boughtAt    time.Time
	activatedAt time.Time
	expiresAt   time.Time
	releasedAt  time.Time
}

func (c *code) status(now time.Time) Status {
	switch {
	case !c.releasedAt.IsZero():
		return Released
	case c.activatedAt.IsZero():
		return Issued
	case !c.expiresAt.IsZero() && !now.Before(c.expiresAt):
		return Expired
	}
	return Alive
}

// Buy sells amount of a product for a period, or for ever if period is 0, and
// returns the order with its code. As in reality the merchant is not called.
// The period starts with the activation.
func (s *Sandbox) Buy(ctx context.Context, product string, amount int64, period time.Duration) (Order, error) {
	if err := ctx.Err(); err != nil {
		return Order{}, err
	}
	if amount < 1 || period < 0 || period%time.Second != 0 {
		return Order{}, fmt.Errorf("buy: amount %d for %v: %w", amount, period, ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.products[product]; !ok {
		return Order{}, fmt.Errorf("buy %q: %w", product, ErrUnknownProduct)
	}
	now := s.now()
	text := "PL" + now.Format("20060102") + rand.Text()[:16]
	o := newOrder(now)
	o.Code, o.Product, o.Amount, o.Period = koogallery.NewCode(text), product, amount, period
	c := &code{text: text, purchase: o, product: product, period: period, boughtAt: now}
	s.codes[text] = c
	s.order = append(s.order, c)
	return o, nil
}

func newOrder(now time.Time) Order {
	id := "CS" + now.Format("060102") + rand.Text()[:10]
	return Order{ID: id, LineID: id + "-000001"}
}

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

// Renew lengthens a code by a period, counted from the later of now and its
// present end, and calls the merchant with RENEWAL. A frozen code stays frozen
// until Unfreeze. Before the activation the call carries the end which an
// activation now would give.
func (s *Sandbox) Renew(id koogallery.Code, period time.Duration) (Order, error) {
	return s.RenewAs(id, "", period)
}

// RenewAs is Renew which also moves to another product, as a renewal from
// month to year does; an empty product keeps the present one.
func (s *Sandbox) RenewAs(id koogallery.Code, product string, period time.Duration) (Order, error) {
	if period <= 0 || period%time.Second != 0 {
		return Order{}, fmt.Errorf("renew for %v: %w", period, ErrInvalid)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live("renew", id)
	if err != nil {
		return Order{}, err
	}
	if c.period == 0 {
		return Order{}, fmt.Errorf("renew what has no end: %w", ErrState)
	}
	if product != "" {
		if _, ok := s.products[product]; !ok {
			return Order{}, fmt.Errorf("renew as %q: %w", product, ErrUnknownProduct)
		}
		c.product = product
	}
	if now := s.now(); !c.activatedAt.IsZero() {
		// The gap since an expiry is bought too, so that cancelling restores it.
		end := later(now, c.expiresAt).Add(period)
		period = end.Sub(c.expiresAt)
		c.expiresAt = end
	}
	c.period += period
	c.renewals = append(c.renewals, period)
	return s.pushExpiry(c, koogallery.SceneRenewal, product), nil
}

// CancelRenewal takes back the latest renewal and calls the merchant with
// UNSUBSCRIBE_RENEWAL_PERIOD and the earlier end.
func (s *Sandbox) CancelRenewal(id koogallery.Code) (Order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live("cancel renewal", id)
	if err != nil {
		return Order{}, err
	}
	last := len(c.renewals) - 1
	if last < 0 {
		return Order{}, fmt.Errorf("cancel renewal where there is none: %w", ErrState)
	}
	c.period -= c.renewals[last]
	if !c.activatedAt.IsZero() {
		c.expiresAt = c.expiresAt.Add(-c.renewals[last])
	}
	c.renewals = c.renewals[:last]
	return s.pushExpiry(c, koogallery.SceneUnsubscribeRenewalPeriod, ""), nil
}

func (s *Sandbox) pushExpiry(c *code, scene koogallery.Scene, product string) Order {
	now := s.now()
	end := c.expiresAt
	if c.activatedAt.IsZero() {
		end = now.Add(c.period)
	}
	o := newOrder(now)
	o.Code, o.Product, o.Amount, o.Period = c.purchase.Code, c.product, c.purchase.Amount, c.period
	s.push(c.text, koogallery.ActivityRefreshLicenseCode, map[string]string{
		"scene":       string(scene),
		"orderId":     o.ID,
		"orderLineId": o.LineID,
		"license":     c.text,
		"productId":   product,
		"expireTime":  s.compact(end),
		"testFlag":    "0",
	})
	return o
}

// Freeze calls the merchant with FREEZE. The real marketplace does it beyond
// the grace period; the sandbox whenever asked.
func (s *Sandbox) Freeze(id koogallery.Code) error { return s.setFrozen("freeze", id, true) }

// Unfreeze calls the merchant with UNFREEZE.
func (s *Sandbox) Unfreeze(id koogallery.Code) error { return s.setFrozen("unfreeze", id, false) }

func (s *Sandbox) setFrozen(what string, id koogallery.Code, frozen bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live(what, id)
	if err != nil {
		return err
	}
	if c.frozen == frozen {
		return fmt.Errorf("%s again: %w", what, ErrState)
	}
	c.frozen = frozen
	status := koogallery.StatusUnfreeze
	if frozen {
		status = koogallery.StatusFreeze
	}
	s.push(c.text, koogallery.ActivityUpdateLicenseCodeStatus, map[string]string{
		"license": c.text, "status": string(status), "testFlag": "0",
	})
	return nil
}

// Expire moves the end of an active code to now. Nobody is called: the merchant
// learns of it by its clock or by a query.
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
	return nil
}

// Unsubscribe releases a code at once and calls the merchant with the order of
// the unsubscription.
func (s *Sandbox) Unsubscribe(id koogallery.Code) (Order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live("unsubscribe", id)
	if err != nil {
		return Order{}, err
	}
	o := newOrder(s.now())
	o.Code, o.Product, o.Amount = c.purchase.Code, c.product, c.purchase.Amount
	s.release(c, o)
	return o, nil
}

// ReleaseAfterRetention releases a code as the end of the retention period
// does: without an order.
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

func (s *Sandbox) release(c *code, o Order) {
	c.releasedAt = s.now()
	s.push(c.text, koogallery.ActivityReleaseLicenseCode, map[string]string{
		"license": c.text, "orderId": o.ID, "orderLineId": o.LineID, "testFlag": "0",
	})
}

// Codes lists all codes in the order of their purchase.
func (s *Sandbox) Codes() []CodeState {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	list := make([]CodeState, 0, len(s.order))
	for _, c := range s.order {
		list = append(list, CodeState{
			Code:        c.purchase.Code,
			Status:      c.status(now),
			Product:     c.product,
			Amount:      c.purchase.Amount,
			OrderID:     c.purchase.ID,
			Received:    c.received,
			Frozen:      c.frozen,
			BoughtAt:    c.boughtAt,
			ActivatedAt: c.activatedAt,
			ExpiresAt:   c.expiresAt,
		})
	}
	return list
}

// Products lists the catalogue.
func (s *Sandbox) Products() []Product { return append([]Product(nil), s.opts.Products...) }

// live finds a code which was not released. The caller holds s.mu.
func (s *Sandbox) live(what string, id koogallery.Code) (*code, error) {
	c, ok := s.codes[id.Reveal()]
	if !ok {
		return nil, fmt.Errorf("%s: %w", what, ErrUnknownCode)
	}
	if !c.releasedAt.IsZero() {
		return nil, fmt.Errorf("%s a released code: %w", what, ErrState)
	}
	return c, nil
}

// compact is the marketplace's yyyyMMddHHmmss.
func (s *Sandbox) compact(t time.Time) string {
	return t.In(s.opts.Location).Format(compactLayout)
}

const compactLayout = "20060102150405"

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func characters(s string) int { return utf8.RuneCountInString(s) }
