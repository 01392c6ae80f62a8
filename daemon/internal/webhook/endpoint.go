package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// Bounds of what is done for an endpoint.
const (
	atOnce    = 8                // requests under way
	pageSize  = 200              // entries that are read from the audit log at a time
	maxQueued = 256              // events that were read and not tried yet, a page more at most
	maxHeld   = 64               // subjects that wait because of a failure; with more the endpoint waits as a whole
	maxEvents = 128              // of a held subject that are noted; further ones are found in the log again
	leaseFor  = 30 * time.Second // that nothing is heard of a daemon until another takes over
	saveEvery = time.Second      // between two writes of the position

	lastAnswers = 3 * time.Second  // that what is under way is waited for at the end
	lookAgain   = 15 * time.Second // for what another daemon has written
	lookClock   = time.Minute      // while the clock is not trusted
	storeBad    = time.Minute      // after a failure of the store, at most
	passMost    = 1000             // entries that are no events here, after which the position is written
	maxShownE   = 20               // given-up events that are remembered
)

// endpoint is an Endpoint and how far it has been told. One goroutine has it.
type endpoint struct {
	Endpoint
	sender  *Sender
	client  *http.Client
	wake    chan struct{}
	results chan result

	state   authority.WebhookState // as it is stored
	loaded  bool
	theirs  authority.WebhookLease // another daemon's, as it was seen last
	since   time.Duration          // since when it stands so, as sender.uptime
	read    int64                  // the audit log has been read up to here
	lanes   map[string]*lane
	queued  int // events in lanes that are not held
	running int
	pending []license.AuditEvent // to be written with the state
	dirty   bool
	savedAt time.Time
	// recent are the events that were done since the state was written: where the
	// merchant changes it meanwhile they are known still.
	recent map[int64]bool

	failures int             // in a row
	firstBad time.Time       // the first of them
	failedOf map[string]bool // their subjects
	pause    time.Time       // until when the receiver wants to be left alone
	probed   time.Time       // the last attempt

	bad    int    // failures of the store in a row
	broken string // the one that was logged
}

// now is the time in the whole seconds that records hold.
func (e *endpoint) now() time.Time { return e.sender.now().UTC().Truncate(time.Second) }

// until is how long to wait for an instant.
func (e *endpoint) until(at time.Time) time.Duration {
	return max(at.Sub(e.sender.now()), time.Millisecond)
}

func (e *endpoint) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.wake:
		case <-timer.C:
		}
		timer.Reset(e.round(ctx))
	}
}

// round does what there is to do, and returns when to look again.
func (e *endpoint) round(ctx context.Context) time.Duration {
	next, err := e.look(ctx)
	if err == nil {
		e.bad, e.broken = 0, ""
		return next
	}
	if errors.Is(err, license.Conflict) { // it was changed meanwhile
		e.loaded = false
		return time.Millisecond
	}
	if ctx.Err() == nil && err.Error() != e.broken {
		e.broken = err.Error()
		e.sender.o.Log.Error("how far a webhook has been told cannot be read or kept; it is tried again", "webhook", e.Name, "error", err.Error())
	}
	e.bad++
	return min(time.Second<<min(e.bad, 10), storeBad)
}

func (e *endpoint) look(ctx context.Context) (time.Duration, error) {
	clock, err := e.sender.o.Authority.Clock(ctx)
	if err != nil {
		return 0, err
	}
	if !clock.Trusted() { // receivers would refuse the timestamp
		return lookClock, nil
	}
	if err := e.load(ctx); err != nil {
		return 0, err
	}
	if e.state.Disabled != nil {
		return lookAgain, nil
	}
	if err := e.fill(ctx); err != nil {
		return 0, err
	}
	if e.choose(e.now()) == nil {
		passed := len(e.lanes) == 0 && e.read-e.state.After >= passMost && !e.leased()
		if passed || e.state.Lease.Owner == e.sender.o.Owner { // or the lease could not be given up when the work was done
			if err := e.release(ctx); err != nil {
				return 0, err
			}
		}
		return e.idle(), nil
	}
	if e.leased() {
		return lookAgain, nil
	}
	e.state.Lease = e.lease()
	if err := e.save(ctx); err != nil {
		return 0, err
	}
	return e.work(ctx)
}

// leased reports whether another daemon sends to the endpoint: whether its lease was
// renewed within the last leaseFor, by the clock that nobody sets. How the clocks of
// the two differ does not count.
func (e *endpoint) leased() bool {
	l, now := e.state.Lease, e.sender.uptime()
	if l.Owner == "" || l.Owner == e.sender.o.Owner {
		e.theirs = authority.WebhookLease{}
		return false
	}
	if l.Owner != e.theirs.Owner || !l.Until.Equal(e.theirs.Until) {
		e.theirs, e.since = l, now
	}
	return now-e.since < leaseFor
}

func (e *endpoint) lease() authority.WebhookLease {
	return authority.WebhookLease{Owner: e.sender.o.Owner, Until: e.now().Add(leaseFor)}
}

// stored is what is stored. An endpoint that is new is told what happens from now on.
func (e *endpoint) stored(ctx context.Context) (authority.WebhookState, error) {
	a := e.sender.o.Authority
	stored, err := a.Webhook(ctx, e.Name)
	if !errors.Is(err, license.NotFound) {
		return stored, err
	}
	head, err := a.AuditHead(ctx)
	if err != nil {
		return stored, err
	}
	return a.PutWebhook(ctx, e.Name, authority.WebhookState{After: head.Seq})
}

// load takes in what is stored, where that is not what was stored here.
func (e *endpoint) load(ctx context.Context) error {
	stored, err := e.stored(ctx)
	if err != nil {
		return err
	}
	if e.loaded && stored.Revision == e.state.Revision {
		return nil
	}
	if e.recent == nil || stored.After < e.state.After { // set back: they are told again
		e.recent = make(map[int64]bool)
	}
	e.state, e.loaded, e.dirty, e.pending = stored, true, len(e.recent) > 0, nil
	e.read, e.queued, e.lanes = stored.After, 0, make(map[string]*lane)
	e.failures, e.failedOf, e.pause = 0, make(map[string]bool), time.Time{}
	for _, h := range stored.Held {
		events := slices.DeleteFunc(slices.Clone(h.Events), func(seq int64) bool { return e.recent[seq] })
		if len(h.Events) > 0 && len(events) == 0 && !h.More {
			continue
		}
		e.lanes[h.Subject] = &lane{
			subject: h.Subject, events: events, from: h.From, more: h.More, held: true,
			attempts: h.Attempts, since: h.Since, due: h.DueAt, failure: h.Failure,
		}
	}
	return nil
}

// fill reads on in the audit log.
func (e *endpoint) fill(ctx context.Context) error {
	for e.queued < maxQueued && e.heldLanes() < maxHeld {
		events, _, err := e.sender.o.Authority.Events(ctx, authority.EventFilter{After: e.read}, authority.Page{Limit: pageSize})
		if err != nil {
			return err
		}
		for _, ev := range events {
			tell, err := e.tells(ctx, ev)
			if err != nil {
				return err
			}
			if tell {
				e.enqueue(ev)
			}
			e.read = ev.Seq
		}
		if len(events) < pageSize {
			return nil
		}
	}
	return nil
}

// tells reports whether the endpoint is told of an entry of the audit log.
func (e *endpoint) tells(ctx context.Context, ev license.AuditEvent) (bool, error) {
	if !e.wants(TypeOf(ev)) {
		return false, nil
	}
	if len(e.Products) == 0 || ev.License == "" || ev.Product != "" {
		return e.about(ev, nil), nil
	}
	told, err := e.sender.o.Authority.Told(ctx, ev.Seq)
	if err != nil {
		return false, err
	}
	return e.about(told.Event, told.License), nil
}

// work sends what there is, under the lease, and returns when to look again.
func (e *endpoint) work(ctx context.Context) (next time.Duration, err error) {
	calling, cancel := context.WithCancel(context.WithoutCancel(ctx)) // what is under way at the end is waited for
	defer cancel()
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		if err := e.begin(ctx, calling); err != nil {
			e.drain(cancel)
			return 0, err
		}
		if e.state.Disabled != nil || e.running == 0 && e.sender.now().Sub(e.savedAt) >= saveEvery {
			e.drain(cancel)
			return e.idle(), e.release(ctx)
		}
		select {
		case <-ctx.Done():
			e.drain(cancel)
			return 0, e.release(context.WithoutCancel(ctx))
		case r := <-e.results:
			e.took(r)
		case <-e.wake:
		case <-tick.C:
		}
		if err := e.keep(ctx); err != nil {
			e.drain(cancel)
			return 0, err
		}
	}
}

// keep writes the position from time to time. Where that fails, what is sent goes
// on for as long as the lease lasts that is written.
func (e *endpoint) keep(ctx context.Context) error {
	now := e.sender.now()
	renew := e.state.Lease.Until.Sub(now) < leaseFor*2/3
	if e.running == 0 || !renew && !e.dirty || now.Sub(e.savedAt) < saveEvery {
		return nil // with nothing under way, release writes it
	}
	err := e.saveLeased(ctx)
	if err == nil || errors.Is(err, license.Conflict) || !now.Before(e.state.Lease.Until) {
		return err
	}
	e.savedAt = now // not again at once
	if err.Error() != e.broken {
		e.broken = err.Error()
		e.sender.o.Log.Error("how far a webhook has been told cannot be kept; it is tried again", "webhook", e.Name, "error", err.Error())
	}
	return nil
}

func (e *endpoint) saveLeased(ctx context.Context) error {
	was := e.state.Lease
	e.state.Lease = e.lease()
	err := e.save(ctx)
	if err != nil {
		e.state.Lease = was
	}
	return err
}

// release writes the position and gives up the lease.
func (e *endpoint) release(ctx context.Context) error {
	was := e.state.Lease
	e.state.Lease = authority.WebhookLease{}
	err := e.save(ctx)
	if err != nil {
		e.state.Lease = was
	}
	return err
}

// save writes the state as it is now.
func (e *endpoint) save(ctx context.Context) error {
	s := e.state
	s.After, s.Held = e.position(), e.heldNow()
	stored, err := e.sender.o.Authority.PutWebhook(ctx, e.Name, s, e.pending...)
	if err != nil {
		return fmt.Errorf("keep how far the webhook %s has been told: %w", e.Name, err)
	}
	e.state, e.pending, e.dirty, e.savedAt = stored, nil, false, e.sender.now()
	clear(e.recent)
	return nil
}

// drain waits for what is under way, for a moment, and breaks off the rest: what a
// receiver has taken without our knowing is sent it again.
func (e *endpoint) drain(cancel context.CancelFunc) {
	if e.running == 0 {
		return
	}
	moment := time.NewTimer(min(lastAnswers, e.state.Lease.Until.Sub(e.sender.now())))
	defer moment.Stop()
	for e.running > 0 {
		select {
		case <-moment.C:
			cancel()
		case r := <-e.results:
			if r.answer.ok() {
				e.took(r)
				continue
			}
			e.running--
			r.lane.busy = false
		}
	}
}

// begin starts what can be sent now.
func (e *endpoint) begin(ctx, calling context.Context) error {
	if e.state.Disabled != nil || !e.now().Before(e.state.Lease.Until) {
		return nil
	}
	if err := e.fill(ctx); err != nil {
		return err
	}
	for {
		now := e.now()
		l := e.choose(now)
		if l == nil {
			return nil
		}
		if len(l.events) == 0 {
			if err := e.refill(ctx, l); err != nil {
				return err
			}
			continue
		}
		l.busy, l.tried, e.probed = true, now, now
		e.running++
		seq := l.events[0]
		go func() { e.results <- e.attempt(calling, l, seq) }() // work waits for it
	}
}

// result is what came of one attempt.
type result struct {
	lane    *lane
	seq     int64
	kind    string // the type of the event
	at      time.Time
	answer  answer
	nothing bool  // there was nothing to send
	err     error // of the store
}

func (e *endpoint) attempt(ctx context.Context, l *lane, seq int64) result {
	r := result{lane: l, seq: seq}
	told, err := e.sender.o.Authority.Told(ctx, seq)
	if errors.Is(err, license.NotFound) {
		r.nothing = true // the log was cut
		return r
	}
	if err != nil {
		r.err = err
		return r
	}
	r.kind, r.at = TypeOf(told.Event), told.Event.At
	if !e.wants(r.kind) || !e.about(told.Event, told.License) { // it was noted under another configuration
		r.nothing = true
		return r
	}
	body, err := e.body(r.kind, told, e.now())
	if err != nil {
		r.err = err
		return r
	}
	r.answer = e.post(ctx, EventID(e.sender.o.Issuer, told.Event), body)
	return r
}
