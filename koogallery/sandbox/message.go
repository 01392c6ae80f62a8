package sandbox

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// The activity which each interface has for a change.
var (
	refreshOf = map[Interface]koogallery.Activity{
		License2: koogallery.ActivityRefreshLicenseCode,
		Online:   koogallery.ActivityRefreshInstance,
		License1: koogallery.ActivityV1RefreshLicense,
	}
	statusOf = map[Interface]koogallery.Activity{
		License2: koogallery.ActivityUpdateLicenseCodeStatus,
		Online:   koogallery.ActivityUpdateInstanceStatus,
		License1: koogallery.ActivityV1ExpireLicense,
	}
	releaseOf = map[Interface]koogallery.Activity{
		License2: koogallery.ActivityReleaseLicenseCode,
		Online:   koogallery.ActivityReleaseInstance,
		License1: koogallery.ActivityV1ReleaseLicense,
	}
)

// schedule is how often and how far apart a message is tried.
type schedule struct {
	interval time.Duration
	attempts int
}

// schedule is the published one, in proportion to Options: 60 attempts, one
// every 2 minutes, unless the page says otherwise. Not stated are those of
// getLicenseAsync, releaseInstance and orderNotify, and the interval of
// newInstance.
func (s *Sandbox) schedule(a koogallery.Activity) schedule {
	switch a {
	case koogallery.ActivityNewInstance: // 3 hours
		return schedule{s.opts.RetryInterval, s.opts.MaxAttempts + s.opts.MaxAttempts/2}
	case koogallery.ActivityV1GetLicense: // hourly for 3 hours
		return schedule{30 * s.opts.RetryInterval, 4}
	case koogallery.ActivityRefreshInstance, koogallery.ActivityV1RefreshLicense,
		koogallery.ActivityV1ExpireLicense, expireInstance, koogallery.ActivityV1ReleaseLicense:
		return schedule{s.opts.RetryInterval, 1}
	case koogallery.ActivityRefreshLicenseCode, koogallery.ActivityUpdateLicenseCodeStatus, koogallery.ActivityReleaseLicenseCode,
		koogallery.ActivityUpdateInstanceStatus, koogallery.ActivityReleaseInstance,
		koogallery.ActivityGetLicenseAsync, koogallery.ActivityOrderNotify:
	}
	return schedule{s.opts.RetryInterval, s.opts.MaxAttempts}
}

func isV1(a koogallery.Activity) bool {
	return slices.Contains([]koogallery.Activity{
		koogallery.ActivityV1GetLicense, koogallery.ActivityV1RefreshLicense, koogallery.ActivityV1ExpireLicense, expireInstance,
		koogallery.ActivityV1ReleaseLicense,
	}, a)
}

// message begins a delivery. The caller holds s.mu.
func (s *Sandbox) message(a koogallery.Activity, fields map[string]string) *delivery {
	return &delivery{Delivery: Delivery{Activity: a, Test: fields["testFlag"] == "1"}, fields: fields, plan: s.schedule(a)}
}

// saleMessage begins a delivery about a purchase, in the queue of which all
// keep their order. The caller holds s.mu.
func (s *Sandbox) saleMessage(c *sale, a koogallery.Activity, fields map[string]string) *delivery {
	d := s.message(a, fields)
	d.sale, d.Code, d.Product, d.queue = c, c.ref(), c.product, c.text
	d.of(c)
	c.sent.At = s.now()
	if c.iface == License2 {
		fields["license"] = c.text
	}
	return d
}

// pushNewInstance asks for an instance; businessId is another one in each
// attempt.
func (s *Sandbox) pushNewInstance(c *sale) {
	d := s.saleMessage(c, koogallery.ActivityNewInstance, map[string]string{
		"orderId": c.purchase.ID, "orderLineId": c.purchase.LineID, "testFlag": "0",
	})
	end := c.expiresAt
	d.success = func(a callAnswer) error { return s.created(c, d, a, end) }
	d.failed = func() {
		if c.instance == "" {
			c.cancelledAt = s.now()
			s.noteSale(c, EventOrder, "the order is cancelled and refunded: the merchant made no instance")
		}
	}
	s.push(d)
}

// GetLicense asks for the licence of a licence 1.0 purchase again, as the buyer
// console may whenever the buyer opens the resource. The merchant owes the same
// licence and instance id. It fails with ErrState before the first was answered.
func (s *Sandbox) GetLicense(id koogallery.Code) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live("get licence", id)
	if err != nil {
		return err
	}
	if c.iface != License1 || c.license.IsZero() {
		return fmt.Errorf("get licence again, where there is none, or not of licence 1.0: %w", ErrState)
	}
	s.pushGetLicense(c, true)
	return nil
}

// pushGetLicense asks for the licence of a licence 1.0 purchase.
func (s *Sandbox) pushGetLicense(c *sale, again bool) {
	o := c.purchase
	fields := map[string]string{
		"customerId": c.buyer.CustomerID, "customerName": c.buyer.CustomerName.Reveal(),
		"orderId": o.ID, "skuCode": s.products[o.Product].SKU, "productId": o.Product, "amount": strconv.FormatInt(o.Amount, 10),
	}
	if o.Period > 0 {
		kind, n := periodOf(o.Period)
		fields["expireTime"] = s.compact(c.expiresAt)
		fields["periodType"], fields["periodNumber"] = string(kind), strconv.FormatInt(n, 10)
	}
	d := s.saleMessage(c, koogallery.ActivityV1GetLicense, fields)
	d.personal = map[string]koogallery.PersonalData{"mobilePhone": c.buyer.MobilePhone, "email": c.buyer.Email}
	end := c.expiresAt
	d.success = func(a callAnswer) error {
		if a.license.IsZero() {
			return s.violation(c, "success without a licence")
		}
		if !c.license.IsZero() && !c.license.Equal(a.license) {
			return s.violation(c, "another licence for the same order")
		}
		if err := s.created(c, d, a, end); err != nil {
			return err
		}
		c.license = a.license
		return nil
	}
	if !again {
		d.failed = func() { s.noteSale(c, EventNotice, "the order stays at \"merchant delivers licence\" until a restart") }
	}
	s.push(d)
}

// v1Refresh are the fields of refreshLicense.
func v1Refresh(o Order, product, end string, period time.Duration) map[string]string {
	kind, n := periodOf(period)
	return map[string]string{
		"orderId": o.ID, "productId": product, "expireTime": end,
		"periodType": string(kind), "periodNumber": strconv.FormatInt(n, 10),
	}
}

// created takes the instance id which the merchant answered to a purchase that
// ends then.
func (s *Sandbox) created(c *sale, d *delivery, a callAnswer, end time.Time) error {
	owner := s.instances[a.instanceID]
	switch {
	case strings.TrimSpace(a.instanceID) == "" || characters(a.instanceID) > koogallery.MaxInstanceID:
		return s.violation(c, "success without an instanceId of 1 to 64 characters")
	case c.instance != "" && c.instance != a.instanceID:
		return s.violation(c, "another instanceId for the same order line")
	case owner != nil && owner != c:
		return s.violation(c, "instanceId of another purchase")
	case !c.cancelledAt.IsZero():
		return errors.New("the order was cancelled meanwhile")
	}
	if c.instance == "" {
		c.instance, c.activatedAt = a.instanceID, s.now()
		s.instances[a.instanceID] = c
		c.tellEnd(d, end)
	}
	return nil
}

// violation notes that the merchant broke a rule, and is the error of the
// attempt. The caller holds s.mu.
func (s *Sandbox) violation(c *sale, text string) error {
	s.noteSale(c, EventViolation, text)
	return errors.New(text)
}

// LicenseRequest is an application for a device's licence. The zero value asks
// for one from now to the end of the instance.
type LicenseRequest struct {
	// EventID repeats an earlier application; its other members are then those
	// of the first time. Empty makes a new one.
	EventID     string
	Device      koogallery.DeviceFingerprint // up to 1024 characters by the table; the desktop client may have 5120 bytes
	EffectiveAt time.Time
	ExpiresAt   time.Time
	// NoExpiry leaves expireTime away even though the instance has an end.
	NoExpiry bool
}

// Apply applies for a licence of an online instance, as the buyer does
// (getLicenseAsync). The merchant answers, and uploads the licence under the
// EventID; see CodeState.Applications.
func (s *Sandbox) Apply(id koogallery.Code, req LicenseRequest) (Application, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.live("apply", id)
	if err != nil {
		return Application{}, err
	}
	if c.iface != Online {
		return Application{}, fmt.Errorf("apply for what is no online instance: %w", ErrState)
	}
	if len(req.Device.Reveal()) > koogallery.MaxDeviceFingerprint {
		return Application{}, fmt.Errorf("apply: device is longer than %d bytes: %w", koogallery.MaxDeviceFingerprint, ErrInvalid)
	}
	if req.EventID != "" {
		a := s.applications[req.EventID]
		if a == nil || a.sale != c {
			return Application{}, fmt.Errorf("apply again: no such event: %w", ErrUnknownCode)
		}
		s.pushApplication(a)
		return a.Application, nil
	}
	a := &application{sale: c, Application: Application{
		EventID: "ev" + s.text(24), Device: req.Device, State: Applied, EffectiveAt: req.EffectiveAt.UTC(), ExpiresAt: req.ExpiresAt.UTC(),
	}}
	if req.EffectiveAt.IsZero() {
		a.EffectiveAt = s.now()
	}
	switch {
	case req.NoExpiry:
		a.ExpiresAt = time.Time{}
	case req.ExpiresAt.IsZero():
		a.ExpiresAt = c.expiresAt
	}
	c.apps = append(c.apps, a)
	s.applications[a.EventID] = a
	s.noteSale(c, EventOrder, "the buyer applied for a licence, event "+a.EventID)
	s.pushApplication(a)
	return a.Application, nil
}

// instant is a time of getLicenseAsync, by the dialect. The caller holds s.mu.
func (s *Sandbox) instant(t time.Time) string {
	layout := map[string]string{
		LicenseTimeUpper: "2006-01-02 15:04:05 Z", LicenseTimeJoined: "2006-01-02 15:04:05z", LicenseTimeCompact: compactLayout,
	}[s.dialect.LicenseTime]
	return t.UTC().Format(cmp.Or(layout, "2006-01-02 15:04:05 z"))
}

func (s *Sandbox) pushApplication(a *application) {
	fields := map[string]string{
		"eventId": a.EventID, "effectiveTime": s.instant(a.EffectiveAt),
		"deviceFingerprint": a.Device.Reveal(), "testFlag": "0",
	}
	if !a.ExpiresAt.IsZero() {
		fields["expireTime"] = s.instant(a.ExpiresAt)
	}
	d := s.saleMessage(a.sale, koogallery.ActivityGetLicenseAsync, fields)
	d.app = a
	d.success = func(callAnswer) error {
		if a.State == Applied || a.State == Refused {
			a.State = Accepted
		}
		return nil
	}
	s.push(d)
}

// Deny turns an application down from the marketplace's side: an upload for it
// is answered 91381038.
func (s *Sandbox) Deny(eventID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.applications[eventID]
	if a == nil {
		return fmt.Errorf("deny: no such event: %w", ErrUnknownCode)
	}
	if a.State == Fulfilled {
		return fmt.Errorf("deny what was delivered: %w", ErrState)
	}
	a.State = Denied
	return nil
}

// refused takes an answer which ends an application, and reports whether it
// does. The caller holds s.mu.
func (a *application) refused(code koogallery.ResultCode) bool {
	a.Result = code
	switch code { //nolint:exhaustive // the four refusals of this interface
	case koogallery.ResultQuotaUsed, koogallery.ResultOutsidePeriod, koogallery.ResultExpiryRequired, koogallery.ResultDeviceRequired:
		if a.State == Applied || a.State == Accepted {
			a.State = Refused
		}
		return true
	}
	return false
}

// v1Query are the parameters of a call of licence 1.0, with its token.
func v1Query(key koogallery.AccessKey, fields map[string]string, at time.Time) url.Values {
	q := make(url.Values, len(fields)+2)
	for name, value := range fields {
		q.Set(name, value)
	}
	q.Set("timeStamp", at.UTC().Format("20060102150405")+fmt.Sprintf("%03d", at.Nanosecond()/int(time.Millisecond)))
	q.Set("authToken", koogallery.V1AuthToken(key, q))
	return q
}
