package sandbox

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// maxHistory bounds the finished deliveries that are remembered.
const maxHistory = 10_000

// DeliveryState is where a callback stands.
type DeliveryState string

// The delivery states.
const (
	Pending   DeliveryState = "pending"   // waits for its turn or its next attempt
	Delivered DeliveryState = "delivered" // answered 000000
	Failed    DeliveryState = "failed"    // given up; Retry restarts it
	Unsent    DeliveryState = "unsent"    // there was no address to call; Retry sends it
)

// Delivery is the history of one callback.
type Delivery struct {
	ID        int64
	Code      koogallery.Code
	Activity  koogallery.Activity
	Test      bool
	CreatedAt time.Time
	State     DeliveryState
	Attempts  []Attempt
}

// Attempt is one call of the merchant.
type Attempt struct {
	At         time.Time
	HTTPStatus int                   // 0 without an answer
	ResultCode koogallery.ResultCode // empty without a readable answer
	ResultMsg  string
	Error      string // what went wrong beside or before an answer
}

// ok is how the sandbox reads the platform's rule: HTTP 200 and 000000. What
// else the real one counts as success is not documented.
func (a Attempt) ok() bool {
	return a.Error == "" && a.HTTPStatus == http.StatusOK && a.ResultCode == koogallery.ResultOK
}

// target is a production address.
type target struct {
	url    *url.URL
	client *http.Client
}

type delivery struct {
	Delivery
	queue  string // deliveries of one queue go out in order
	body   []byte
	budget int // attempts in one run
}

type queue struct {
	name  string
	items []*delivery
	wake  chan struct{} // ends the wait for the next attempt
}

// deliveryState is the part of Sandbox that concerns callbacks, under its mu.
type deliveryState struct {
	deliveries []*delivery
	lastID     int64
	queues     map[string]*queue // with a worker each; gone when empty
	changed    chan struct{}     // closed and replaced when a delivery ends
	cases      []debugCase
}

func newDeliveryState() deliveryState {
	return deliveryState{queues: make(map[string]*queue), changed: make(chan struct{})}
}

// SetCallback changes the production address; the next attempt of whatever is
// pending goes there. A zero AccessKey keeps the present key. Deliveries which
// are Unsent stay so until Retry.
func (s *Sandbox) SetCallback(cb Callback) error {
	var t *target
	if cb.URL != "" {
		u, err := url.Parse(cb.URL)
		if err != nil {
			return fmt.Errorf("callback address: %w: %w", ErrInvalid, err)
		}
		if u.Host == "" || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
			return fmt.Errorf("callback address: want https, or http on the loopback: %w", ErrInvalid)
		}
		t = &target{url: u, client: s.callbackClient(cb)}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.target = t
	if !cb.AccessKey.IsZero() {
		s.accessKey = cb.AccessKey
	}
	return nil
}

func (s *Sandbox) callbackClient(cb Callback) *http.Client {
	var transport http.RoundTripper = &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: cb.RootCAs, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, // nothing to close when the address changes
	}
	if s.opts.CallbackTransport != nil {
		transport = s.opts.CallbackTransport
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// push queues a callback; empty fields are left out. The caller holds s.mu.
func (s *Sandbox) push(code string, activity koogallery.Activity, fields map[string]string) int64 {
	test := fields["testFlag"] == "1"
	present := map[string]string{"activity": string(activity)}
	for name, value := range fields {
		if value != "" {
			present[name] = value
		}
	}
	plain, _ := json.Marshal(present) // strings
	// The canonical form is what both readings of the signature agree on.
	body, err := koogallery.CanonicalPayload(plain)
	if err != nil {
		body = plain
	}
	s.lastID++
	d := &delivery{
		Delivery: Delivery{
			ID:        s.lastID,
			Code:      koogallery.NewCode(code),
			Activity:  activity,
			Test:      test,
			CreatedAt: s.now(),
		},
		queue:  code,
		body:   body,
		budget: s.opts.MaxAttempts,
	}
	if test { // the console's debug calls and probes are not repeated
		d.budget, d.queue = 1, "debug\n"+code
	}
	s.forgetOldest()
	s.deliveries = append(s.deliveries, d)
	s.enqueue(d)
	return d.ID
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
	d.State = Pending
	if q, ok := s.queues[d.queue]; ok {
		q.items = append(q.items, d)
		return
	}
	q := &queue{name: d.queue, items: []*delivery{d}, wake: make(chan struct{}, 1)}
	s.queues[d.queue] = q
	s.spawn(func(ctx context.Context) { s.work(ctx, q) })
}

// work delivers what is in a queue, one after the other, until it is empty.
func (s *Sandbox) work(ctx context.Context, q *queue) {
	for {
		s.mu.Lock()
		d := q.items[0]
		s.mu.Unlock()
		state := s.deliver(ctx, q, d)
		s.mu.Lock()
		d.State = state
		q.items = q.items[1:]
		last := len(q.items) == 0
		if last {
			delete(s.queues, q.name)
		}
		close(s.changed)
		s.changed = make(chan struct{})
		s.mu.Unlock()
		if last {
			return
		}
	}
}

// deliver tries a callback until it is answered with success, given up, or the
// sandbox closes.
func (s *Sandbox) deliver(ctx context.Context, q *queue, d *delivery) DeliveryState {
	for n := 1; ; n++ {
		s.mu.Lock()
		t, key := s.target, s.accessKey
		s.mu.Unlock()
		if t == nil {
			return Unsent
		}
		a := s.attempt(ctx, t, key, d.body)
		s.mu.Lock()
		d.Attempts = append(d.Attempts, a)
		s.mu.Unlock()
		s.opts.Log.Info("callback", "delivery", d.ID, "activity", d.Activity, "attempt", n,
			"status", a.HTTPStatus, "result", a.ResultCode, "error", a.Error)
		if a.ok() {
			return Delivered
		}
		if n >= d.budget || !s.pause(ctx, q) {
			return Failed
		}
	}
}

// pause waits for the next attempt and reports false when there will be none.
func (s *Sandbox) pause(ctx context.Context, q *queue) bool {
	timer := time.NewTimer(s.opts.RetryInterval)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-q.wake:
	case <-ctx.Done():
		return false
	}
	return true
}

// attempt signs and sends a body. Timestamp and nonce are new each time: the
// platform repeats after two minutes, when the old ones are out of the window.
func (s *Sandbox) attempt(ctx context.Context, t *target, key koogallery.AccessKey, body []byte) Attempt {
	ctx, cancel := context.WithTimeout(ctx, s.opts.CallTimeout)
	defer cancel()
	now := s.opts.Now()
	a := Attempt{At: now.UTC()}
	req, err := newCallback(ctx, t.url, koogallery.SignedQuery(key, newNonce(), now, body), body)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	resp, err := t.client.Do(req)
	if err != nil {
		a.Error = withoutURL(err).Error()
		return a
	}
	defer func() { _ = resp.Body.Close() }() // read as far as wanted
	a.HTTPStatus = resp.StatusCode
	a.ResultCode, a.ResultMsg, err = readResult(resp.Body)
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

// Deliveries lists the callbacks in the order in which they arose. The newest
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

// Retry restarts a callback that failed or was not sent, with all its attempts
// anew, or makes the next attempt of a pending one now.
func (s *Sandbox) Retry(id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	i := slices.IndexFunc(s.deliveries, func(d *delivery) bool { return d.ID == id })
	if i < 0 {
		return fmt.Errorf("retry %d: %w", id, ErrUnknownDelivery)
	}
	switch d := s.deliveries[i]; d.State {
	case Failed, Unsent:
		s.enqueue(d)
	case Pending:
		s.queues[d.queue].nudge()
	case Delivered:
		return fmt.Errorf("retry %d, which was delivered: %w", id, ErrState)
	}
	return nil
}

// RetryNow ends every wait for a next attempt.
func (s *Sandbox) RetryNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queues {
		q.nudge()
	}
}

func (q *queue) nudge() {
	select {
	case q.wake <- struct{}{}:
	default: // nudged already
	}
}

// WaitIdle waits until nothing is pending: every callback was delivered, given
// up or unsent.
func (s *Sandbox) WaitIdle(ctx context.Context) error {
	for {
		s.mu.Lock()
		idle, changed := len(s.queues) == 0, s.changed
		s.mu.Unlock()
		if idle {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return ErrClosed
		}
	}
}
