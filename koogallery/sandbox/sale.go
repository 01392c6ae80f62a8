package sandbox

import (
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// Status is where a purchase stands. Frozen is no status: see CodeState.Frozen.
type Status string

// The statuses, computed from the clock.
const (
	Issued    Status = "ISSUED" // bought; not activated, or without an instance yet
	Alive     Status = "ALIVE"
	Expired   Status = "EXPIRED"
	Released  Status = "RELEASED"
	Cancelled Status = "CANCELLED" // refunded, since the merchant made no instance
)

// CodeState is what the sandbox, the authority in these matters, knows of a
// purchase. Times are UTC.
type CodeState struct {
	Code        koogallery.Code // the Ref: authorization code, or the purchase's order id
	Interface   Interface
	Status      Status
	Product     string
	Amount      int64         // of the order in force, see Sandbox.Change
	Period      time.Duration // in all, renewals included; 0: for ever
	Renewals    int           // that can be cancelled
	OrderID     string        // of the purchase
	InstanceID  string        // Online and License1: what the merchant answered
	Trial       bool
	Received    bool
	Frozen      bool
	BoughtAt    time.Time
	ActivatedAt time.Time // zero before activation; the real_effect_time if one was given
	ExpiresAt   time.Time // zero for ever, and for License2 before activation

	// License is what a merchant of License1 answered.
	License koogallery.LicenseText
	// Applications are those for devices, in their order.
	Applications []Application
	// Usage are the days of which the merchant reported, in order.
	Usage []UsageDay
	// Sent is the sum of all messages about it, and Told of those which the
	// merchant confirmed; see NotTold.
	Sent, Told Told
	// Pending is how many messages wait for their turn or a next attempt.
	Pending int
}

// Told is a sum of messages about a purchase. As CodeState.Told it is of those
// which the merchant answered with success and whose answer arrived: a message
// that failed for good or whose answer was lost is not in it, though the
// merchant may have obeyed.
type Told struct {
	At        time.Time // of the latest; zero if there is none
	ExpiresAt time.Time // by the newest purchase, renewal or cancelled renewal; of License2 zero before the first renewal
	Frozen    bool
	Released  bool
}

// NotTold says in words what the merchant has not confirmed, though it was or is
// to be told; empty where there is nothing. After a release nothing else counts.
// A message that still waits counts as not confirmed.
func (c CodeState) NotTold() []string {
	switch {
	case c.Sent.Released && c.Told.Released:
		return nil
	case c.Sent.Released:
		return []string{"the release"}
	case c.Interface != License2 && c.InstanceID == "":
		return []string{"the purchase"}
	}
	var out []string
	if !c.Told.ExpiresAt.Equal(c.Sent.ExpiresAt) {
		out = append(out, "the end "+c.Sent.ExpiresAt.Format(time.DateTime))
	}
	switch {
	case c.Sent.Frozen && !c.Told.Frozen:
		out = append(out, "the freeze")
	case !c.Sent.Frozen && c.Told.Frozen:
		out = append(out, "the unfreeze")
	}
	return out
}

// confirmed reports that the merchant confirmed everything there was to tell.
func (c CodeState) confirmed() bool { return c.Pending == 0 && len(c.NotTold()) == 0 }

// ApplicationState is where an application for a device's licence stands.
type ApplicationState string

// The states of applications.
const (
	Applied   ApplicationState = "applied"   // the merchant has not answered
	Accepted  ApplicationState = "accepted"  // answered; the upload is to come
	Refused   ApplicationState = "refused"   // by the merchant, see Application.Result
	Denied    ApplicationState = "denied"    // by the marketplace, see Deny
	Fulfilled ApplicationState = "fulfilled" // the licence was uploaded
)

// Application is a buyer's application for a licence for one device. Times are
// UTC.
type Application struct {
	EventID     string
	Device      koogallery.DeviceFingerprint
	EffectiveAt time.Time
	ExpiresAt   time.Time // zero where none was given
	State       ApplicationState
	Result      koogallery.ResultCode // of the latest answer

	License    koogallery.LicenseText // as uploaded, byte for byte
	Type       koogallery.UploadType
	FileName   string
	UploadedAt time.Time
	Uploads    int // accepted ones, the same licence again included
}

// UsageDay is what a merchant reported of a code's use.
type UsageDay struct {
	Day       string // YYYY-MM-DD in UTC
	Clients   int    // different ids
	ActiveNum int    // the latest number
}

// sale is a purchase; everything is guarded by Sandbox.mu.
type sale struct {
	text        string // see Order.Ref
	iface       Interface
	purchase    Order
	number      int           // of the purchase, from 1
	messages    int           // that were made about it
	product     string        // changed by a renewal to another product
	amount      int64         // of the order in force
	period      time.Duration // in all, renewals included; 0: for ever
	renewals    []renewal
	trial       bool
	received    bool
	frozen      bool
	lapsed      bool // frozen by Lapse
	boughtAt    time.Time
	activatedAt time.Time
	expiresAt   time.Time
	releasedAt  time.Time
	cancelledAt time.Time
	buyer       Buyer
	instance    string
	license     koogallery.LicenseText
	apps        []*application
	usage       []*usage
	sent, told  Told
	toldEnd     int // the message which told.ExpiresAt is from
	pending     int
}

// renewal is one that can be cancelled, with what it changed.
type renewal struct {
	order   Order
	period  time.Duration // as bought
	shift   time.Duration // of the end: the gap since an expiry is in it
	product string        // before
	amount  int64         // before
}

// tellEnd takes the merchant's confirmation of an end. A message that was
// overtaken does not take the place of a newer one.
func (c *sale) tellEnd(d *delivery, end time.Time) {
	if d.position >= c.toldEnd {
		c.toldEnd, c.told.ExpiresAt = d.position, end
	}
}

type application struct {
	Application
	sale *sale
}

type usage struct {
	UsageDay
	ids map[string]bool
}

func (c *sale) ref() koogallery.Code { return koogallery.NewCode(c.text) }

func (c *sale) status(now time.Time) Status {
	switch {
	case !c.cancelledAt.IsZero():
		return Cancelled
	case !c.releasedAt.IsZero():
		return Released
	case c.activatedAt.IsZero():
		return Issued
	case !c.expiresAt.IsZero() && !now.Before(c.expiresAt):
		return Expired
	}
	return Alive
}

func (c *sale) state(now time.Time) CodeState {
	out := CodeState{
		Code:        c.ref(),
		Interface:   c.iface,
		Status:      c.status(now),
		Product:     c.product,
		Amount:      c.amount,
		Period:      c.period,
		Renewals:    len(c.renewals),
		OrderID:     c.purchase.ID,
		InstanceID:  c.instance,
		Trial:       c.trial,
		Received:    c.received,
		Frozen:      c.frozen,
		BoughtAt:    c.boughtAt,
		ActivatedAt: c.activatedAt,
		ExpiresAt:   c.expiresAt,
		License:     c.license,
		Sent:        c.sent,
		Told:        c.told,
		Pending:     c.pending,
	}
	for _, a := range c.apps {
		out.Applications = append(out.Applications, a.Application)
	}
	for _, u := range c.usage {
		out.Usage = append(out.Usage, u.UsageDay)
	}
	return out
}

// used adds a report to a day.
func (c *sale) used(day string, ids []string, active int) {
	i := slices.IndexFunc(c.usage, func(u *usage) bool { return u.Day == day })
	if i < 0 {
		i = len(c.usage)
		c.usage = append(c.usage, &usage{UsageDay: UsageDay{Day: day}, ids: make(map[string]bool)})
	}
	u := c.usage[i]
	const maxIDs = 10_000 // of a day; the sandbox keeps everything in memory
	for _, id := range ids {
		if len(u.ids) < maxIDs {
			u.ids[id] = true
		}
	}
	u.Clients = len(u.ids)
	if active > 0 {
		u.ActiveNum = active
	}
}

// Codes lists all purchases in their order, of every interface.
func (s *Sandbox) Codes() []CodeState {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	list := make([]CodeState, 0, len(s.order))
	for _, c := range s.order {
		list = append(list, c.state(now))
	}
	return list
}

// State is what the sandbox knows of one purchase. id is an authorization code,
// an instance id or the id of a purchase's order.
func (s *Sandbox) State(id koogallery.Code) (CodeState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.find("state", id)
	if err != nil {
		return CodeState{}, err
	}
	return c.state(s.now()), nil
}
