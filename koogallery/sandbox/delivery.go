package sandbox

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// maxHistory bounds the finished deliveries and the events that are remembered.
const maxHistory = 10_000

// DeliveryState is where a message to the merchant stands.
type DeliveryState string

// The delivery states.
const (
	Pending   DeliveryState = "pending"   // waits for its turn or its next attempt
	Delivered DeliveryState = "delivered" // answered with success
	Failed    DeliveryState = "failed"    // given up; Retry restarts it
	Unsent    DeliveryState = "unsent"    // there was no address to call; Retry sends it
)

// Delivery is the history of one message.
type Delivery struct {
	ID        int64
	Product   string          // empty for a debug call
	Code      koogallery.Code // the Ref of the purchase, or what a debug call named
	Activity  koogallery.Activity
	What      string // the scene, the status, or of an order notification the type of the order; empty for others
	Test      bool
	CreatedAt time.Time
	State     DeliveryState
	Attempts  []Attempt
	Last      Exchange // of the latest attempt
}

// Name is the activity and what sets it apart: "updateLicenseCodeStatus FREEZE".
func (d Delivery) Name() string { return strings.TrimSpace(string(d.Activity) + " " + d.What) }

// Exchange is what went over the wire in an attempt, for whoever looks for a
// wrong signature. It holds codes and licences, never the access key.
type Exchange struct {
	At time.Time
	// Request is the request line with the whole address, the headers that
	// matter, and the body. Zero where none was made.
	Request Raw
	// Signed is what was signed, step by step, with "accessKey" for the key.
	Signed Raw
	// Answer is the status line, the headers that matter, and the first 4 KiB of
	// the body, as it came. Zero where none came.
	Answer Raw
}

// Raw is a text of the wire. It prints as "[redacted]" like any secret.
type Raw struct{ koogallery.SecretKey }

func newRaw(s string) Raw { return Raw{koogallery.NewSecretKey(s)} }

// Attempt is one call of the merchant.
type Attempt struct {
	At         time.Time
	HTTPStatus int                   // 0 without an answer
	ResultCode koogallery.ResultCode // empty without a readable answer
	ResultMsg  string
	Error      string // what went wrong beside or before an answer
}

// ok is how the sandbox reads the platform's rule: HTTP 200 and 000000, or the
// documented 000004 for an application. What else the real one counts as success
// is not documented.
func (a Attempt) ok(activity koogallery.Activity) bool {
	accepted := a.ResultCode == koogallery.ResultOK ||
		a.ResultCode == koogallery.ResultInProgress && activity == koogallery.ActivityGetLicenseAsync
	return a.Error == "" && a.HTTPStatus == http.StatusOK && accepted
}

// text is the outcome without what the merchant wrote, for events.
func (a Attempt) text() string {
	switch {
	case a.HTTPStatus == 0:
		return a.Error
	case a.ResultCode == "":
		return fmt.Sprintf("HTTP %d, %s", a.HTTPStatus, a.Error)
	}
	text := fmt.Sprintf("HTTP %d, resultCode %s (%s)", a.HTTPStatus, shorten(string(a.ResultCode), 16), a.Meaning())
	if a.Error != "" {
		text += ", " + a.Error
	}
	return text
}

// Meaning is that of the result code in the tables; empty without one.
func (a Attempt) Meaning() string {
	if a.ResultCode == "" {
		return ""
	}
	return cmp.Or(map[koogallery.ResultCode]string{
		koogallery.ResultOK: "success", "000001": "authentication failed", "000002": "invalid parameter",
		"000003": "code or instance does not exist", koogallery.ResultInProgress: "in progress", "000005": "other internal error",
		"000100":                        "no free resource",
		koogallery.ResultQuotaUsed:      "the order's quota is used up",
		koogallery.ResultOutsidePeriod:  "outside the order's period",
		koogallery.ResultExpiryRequired: "a period licence needs an expiry",
		koogallery.ResultDeviceRequired: "device fingerprint or hardware code missing",
	}[a.ResultCode], "in no table")
}

func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}

// target is a production address.
type target struct {
	url    *url.URL
	client *http.Client
	given  Callback // its key is zero where the common one signs
}

// delivery is guarded by Sandbox.mu; what is not in Delivery never changes once
// it was pushed, but for tries and wait.
type delivery struct {
	Delivery

	queue    string // deliveries of one queue go out in order
	subject  string // what its faults are drawn from
	position int    // among the messages about the purchase
	sale     *sale
	app      *application
	fields   map[string]string
	personal map[string]koogallery.PersonalData
	plan     schedule
	tries    int           // in this run
	wait     time.Duration // before the next attempt
	copied   bool          // by FaultRepeated
	probed   []string      // products whose probe this is
	owner    string        // of a debug call: the product whose address it goes to; empty: the common one
	success  func(callAnswer) error
	failed   func()
}

type queue struct {
	name  string
	items []*delivery
	wake  chan struct{} // ends the wait for the next attempt
	due   time.Time     // of the next attempt, for Advance
}

// deliveryState is the part of Sandbox that concerns messages, under its mu.
type deliveryState struct {
	deliveries []*delivery
	lastID     int64
	queues     map[string]*queue // with a worker each, unless Manual; gone when empty
	changed    chan struct{}     // closed and replaced when a delivery ends
	cases      []debugCase
	debugging  int // debug calls and probes that are Pending
}

// of makes d the next message about a purchase. What may go wrong with it is
// drawn from that, and so does not depend on what other merchants' answers take.
func (d *delivery) of(c *sale) {
	c.messages++
	d.position = c.messages
	d.subject = fmt.Sprintf("purchase %d, message %d", c.number, c.messages)
}

func newDeliveryState() deliveryState {
	return deliveryState{queues: make(map[string]*queue), changed: make(chan struct{})}
}

// push queues a message. The caller holds s.mu.
func (s *Sandbox) push(d *delivery) int64 {
	s.lastID++
	d.ID, d.CreatedAt = s.lastID, s.now()
	if d.Test { // the console's debug calls and probes are not repeated
		d.plan.attempts = 1
	} else {
		s.delay(d)
	}
	s.forgetOldest()
	s.deliveries = append(s.deliveries, d)
	s.enqueue(d)
	return d.ID
}

// delay lets a message be late or lose its place.
func (s *Sandbox) delay(d *delivery) {
	e := d.event(EventFault, "before its first attempt")
	if overtakable(d) {
		if r, hit := s.hits(FaultReordered, e, d.subject, 0); hit {
			d.queue += "\n" + d.subject
			d.wait = delay(r, s.misbehaviour.MaxDelay)
			return
		}
	}
	if r, hit := s.hits(FaultLate, e, d.subject, 0); hit {
		d.wait = delay(r, s.misbehaviour.MaxDelay)
	}
}

// event is one about a message.
func (d *delivery) event(kind EventKind, text string) Event {
	if d.What != "" {
		text = d.What + ", " + text
	}
	return Event{Kind: kind, Product: d.Product, Code: d.Code, Activity: d.Activity, Delivery: d.ID, Text: text}
}

func overtakable(d *delivery) bool {
	switch d.Activity { //nolint:exhaustive // see FaultReordered
	case koogallery.ActivityRefreshLicenseCode, koogallery.ActivityOrderNotify:
		return true
	case koogallery.ActivityRefreshInstance, koogallery.ActivityGetLicenseAsync:
		return d.sale.instance != ""
	}
	return false
}

func (s *Sandbox) forgetOldest() {
	if len(s.deliveries) < maxHistory {
		return
	}
	if i := slices.IndexFunc(s.deliveries, func(d *delivery) bool { return d.State != Pending }); i >= 0 {
		s.deliveries = slices.Delete(s.deliveries, i, i+1)
	}
}

func (s *Sandbox) enqueue(d *delivery) {
	if s.closed {
		d.State = Failed
		return
	}
	d.State, d.tries = Pending, 0
	if d.Test {
		s.debugging++
	}
	if d.sale != nil {
		d.sale.pending++
	}
	if q, ok := s.queues[d.queue]; ok {
		q.items = append(q.items, d)
		return
	}
	q := &queue{name: d.queue, items: []*delivery{d}, wake: make(chan struct{}, 1)}
	s.queues[d.queue] = q
	if s.opts.Manual {
		q.due = s.opts.Now().Add(d.wait)
		return
	}
	s.spawn(func(ctx context.Context) { s.work(ctx, q) })
}

// work delivers what is in a queue, one after the other, until it is empty.
func (s *Sandbox) work(ctx context.Context, q *queue) {
	for {
		s.mu.Lock()
		d := q.items[0]
		wait := d.wait
		s.mu.Unlock()
		if wait > 0 && !s.pause(ctx, q, wait) {
			s.mu.Lock()
			s.finish(q, d, Failed)
			left := len(q.items)
			s.mu.Unlock()
			if left == 0 {
				return
			}
			continue
		}
		if s.step(ctx, q, d) == 0 {
			return
		}
	}
}

// step makes one attempt at the first message of a queue, settles what follows
// from it, and returns how many are left.
func (s *Sandbox) step(ctx context.Context, q *queue, d *delivery) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.target(cmp.Or(d.owner, d.Product))
	if t == nil {
		s.finish(q, d, Unsent)
		return len(q.items)
	}
	c, err := s.prepare(t, d)
	a := Attempt{At: s.opts.Now().UTC()}
	var answer callAnswer
	var wire Exchange
	if err != nil {
		a.Error = err.Error()
	} else {
		s.mu.Unlock()
		a, answer, wire = s.send(ctx, c, s.opts.Now())
		s.mu.Lock()
	}
	d.Last = wire
	final := err != nil
	if d.app != nil && a.Error == "" {
		final = d.app.refused(a.ResultCode)
	}
	s.settle(q, d, a, answer, final || ctx.Err() != nil)
	return len(q.items)
}

// settle takes the outcome of an attempt. The caller holds s.mu.
func (s *Sandbox) settle(q *queue, d *delivery, a Attempt, answer callAnswer, final bool) {
	ok := a.ok(d.Activity)
	for _, text := range answer.violations {
		s.note(d.event(EventViolation, text))
	}
	if ok && d.success != nil {
		if err := d.success(answer); err != nil {
			ok, a.Error = false, err.Error()
		}
	}
	if ok && d.sale != nil && !d.Test {
		d.sale.told.At = a.At
	}
	d.Attempts = append(d.Attempts, a)
	d.tries++
	s.opts.Log.Info("callback", "delivery", d.ID, "activity", d.Activity, "attempt", d.tries,
		"status", a.HTTPStatus, "result", a.ResultCode, "error", a.Error)
	kind := EventMessage
	if d.Test {
		kind = EventProbe
	}
	s.note(d.event(kind, fmt.Sprintf("attempt %d: %s", d.tries, a.text())))
	switch {
	case ok:
		s.finish(q, d, Delivered)
	case final || d.tries >= d.plan.attempts:
		s.finish(q, d, Failed)
	default:
		if d.tries == 1 {
			s.note(d.event(EventNotice, "mail to the service address: a production-interface message failed and will be repeated"))
		}
		d.wait = d.plan.interval
		q.due = s.opts.Now().Add(d.wait)
	}
}

// finish ends the first message of a queue. The caller holds s.mu.
func (s *Sandbox) finish(q *queue, d *delivery, state DeliveryState) {
	d.State, d.wait = state, 0
	if d.Test {
		s.debugging--
	}
	if d.sale != nil {
		d.sale.pending--
	}
	if state != Unsent { // without an address there is nothing to fail
		for _, id := range d.probed {
			s.probed(s.products[id], state == Delivered)
		}
	}
	if state == Failed && !d.Test {
		s.note(d.event(EventNotice,
			"mail to the service address: a production-interface message failed for good and can be restarted in the seller console"))
		if d.failed != nil {
			d.failed()
		}
	}
	q.items = q.items[1:]
	if state == Delivered && !d.Test {
		s.repeat(q, d)
	}
	if len(q.items) == 0 {
		delete(s.queues, q.name)
	} else {
		q.due = s.opts.Now().Add(q.items[0].wait)
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// repeat puts a copy of a delivered message where it stood.
func (s *Sandbox) repeat(q *queue, d *delivery) {
	if d.copied || s.closed {
		return
	}
	if _, hit := s.hits(FaultRepeated, d.event(EventFault, "sent again after its success"), d.subject, 0); !hit {
		return
	}
	again := *d
	s.lastID++
	again.ID, again.CreatedAt, again.Attempts, again.State = s.lastID, s.now(), nil, Pending
	again.copied, again.tries, again.wait, again.failed = true, 0, 0, nil
	again.subject += ", again"
	again.Last = Exchange{}
	if again.sale != nil {
		again.sale.pending++
	}
	s.deliveries = append(s.deliveries, &again)
	q.items = slices.Insert(q.items, 0, &again)
}

// pause waits for the next attempt and reports false when there will be none.
func (s *Sandbox) pause(ctx context.Context, q *queue, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.wake:
	case <-ctx.Done():
		return false
	}
	return true
}

// Delivery is one message by its id; it fails with ErrUnknownDelivery.
func (s *Sandbox) Delivery(id int64) (Delivery, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.deliveries, func(d *delivery) bool { return d.ID == id })
	if i < 0 {
		return Delivery{}, fmt.Errorf("delivery %d: %w", id, ErrUnknownDelivery)
	}
	out := s.deliveries[i].Delivery
	out.Attempts = slices.Clone(out.Attempts)
	return out, nil
}

// Deliveries lists the messages in the order in which they arose. The newest
// 10,000 finished ones are kept.
func (s *Sandbox) Deliveries() []Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Delivery, len(s.deliveries))
	for i, d := range s.deliveries {
		list[i] = d.Delivery
		list[i].Attempts = slices.Clone(d.Attempts)
	}
	return list
}
