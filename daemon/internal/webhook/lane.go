package webhook

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// When what failed is tried again.
const (
	giveUpAfter = 72 * time.Hour   // of failures
	giveUpTries = 10               // that there were at least
	downTries   = 3                // failures in a row after which nothing but one event at a time is tried
	downLongest = 15 * time.Minute // between two of those
	downFresh   = 30 * time.Second // between two of events that are new
	dueLatest   = 26 * time.Hour   // what lies further ahead was written under a wrong clock
)

// pauses are those after the first failure, the second and so on.
var pauses = []time.Duration{
	5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour,
}

// lane is the events of one subject, which are sent one after the other.
type lane struct {
	subject string
	events  []int64
	from    int64 // all up to here is dealt with
	more    bool  // the log has further ones
	held    bool  // it is kept apart from the position
	busy    bool

	attempts   int
	since, due time.Time
	tried      time.Time
	failure    string
}

// last is the position up to which the events of a lane are known.
func (l *lane) last() int64 {
	if len(l.events) == 0 {
		return l.from
	}
	return l.events[len(l.events)-1]
}

func (l *lane) first() int64 {
	if len(l.events) == 0 {
		return l.from + 1
	}
	return l.events[0]
}

func (l *lane) empty() bool { return len(l.events) == 0 && !l.more }

func (e *endpoint) heldLanes() (n int) {
	for _, l := range e.lanes {
		if l.held {
			n++
		}
	}
	return n
}

// enqueue adds an event to those of its subject.
func (e *endpoint) enqueue(ev license.AuditEvent) {
	key := subject(ev)
	l := e.lanes[key]
	if e.recent[ev.Seq] && (l == nil || !l.held) {
		return
	}
	if l == nil {
		l = &lane{subject: key}
		e.lanes[key] = l
	}
	switch {
	case !l.held:
		l.events = append(l.events, ev.Seq)
		e.queued++
	case ev.Seq <= l.last() || l.more:
		// It is known, or will be found.
	case len(l.events) >= maxEvents:
		l.more, e.dirty = true, true
	default:
		l.events = append(l.events, ev.Seq)
		e.dirty = true
	}
}

// refill finds the next events of a held lane in the log.
func (e *endpoint) refill(ctx context.Context, l *lane) error {
	f := authority.EventFilter{After: l.from}
	if license.IsLicenseID(l.subject) {
		f.License = l.subject
	}
	l.more, e.dirty = false, true
	for cursor := ""; ; {
		events, next, err := e.sender.o.Authority.Events(ctx, f, authority.Page{Limit: pageSize, Cursor: cursor})
		if err != nil {
			l.more = true
			return err
		}
		for _, ev := range events {
			if ev.Seq > e.read {
				next = "" // it is read in its turn
				break
			}
			tell, err := e.tells(ctx, ev)
			if err != nil {
				l.more = true
				return err
			}
			if !tell || subject(ev) != l.subject {
				continue
			}
			if len(l.events) == maxEvents {
				l.more = true
				return nil
			}
			l.events = append(l.events, ev.Seq)
		}
		if cursor = next; cursor == "" {
			break
		}
	}
	if len(l.events) == 0 {
		delete(e.lanes, l.subject)
	}
	return nil
}

// position is up to where all is dealt with but for what is held.
func (e *endpoint) position() int64 {
	low := e.read
	for _, l := range e.lanes {
		if !l.held && len(l.events) > 0 {
			low = min(low, l.events[0]-1)
		}
	}
	return low
}

func (e *endpoint) heldNow() (out []authority.WebhookHeld) {
	for _, key := range slices.Sorted(maps.Keys(e.lanes)) {
		if l := e.lanes[key]; l.held {
			out = append(out, authority.WebhookHeld{
				Subject: key, Events: slices.Clone(l.events), From: l.from, More: l.more,
				Attempts: l.attempts, Since: l.since, DueAt: l.due, Failure: l.failure,
			})
		}
	}
	return out
}

func passed(due, now time.Time) bool { return !now.Before(due) || due.Sub(now) > dueLatest }

// choose returns the lane whose first event is sent next, nil for none at now.
// While the endpoint is down one event at a time is tried, and one that was not
// tried before if possible: a single event that the receiver cannot take is not
// what tells whether it is back. For the same reason one that is new need not wait
// as long as the pauses have grown.
func (e *endpoint) choose(now time.Time) (best *lane) {
	down := e.state.Down
	if e.running >= atOnce || !passed(e.pause, now) || down != nil && e.running > 0 {
		return nil
	}
	early := down != nil && !passed(down.Until, now)
	if early && now.Sub(e.probed) < downFresh {
		return nil
	}
	full := e.heldLanes() >= maxHeld
	for _, l := range e.lanes {
		switch {
		case l.busy || l.empty() || !l.held && full, early && l.held,
			down == nil && !passed(l.due, now):
		case best == nil, down == nil && l.first() < best.first(), down != nil && rather(l, best):
			best = l
		}
	}
	return best
}

// rather reports whether a is the better one to find out whether an endpoint is
// back.
func rather(a, b *lane) bool {
	if (a.attempts == 0) != (b.attempts == 0) {
		return a.attempts == 0
	}
	if !a.tried.Equal(b.tried) {
		return a.tried.Before(b.tried)
	}
	return a.first() < b.first()
}

// idle is how long there is nothing to do.
func (e *endpoint) idle() time.Duration {
	now := e.now()
	at := e.sender.now().Add(lookAgain)
	earlier := func(t time.Time) {
		if t.Before(at) && t.After(now) {
			at = t
		}
	}
	if !passed(e.pause, now) {
		earlier(e.pause)
		return e.until(at)
	}
	if e.state.Down != nil {
		earlier(e.state.Down.Until)
		earlier(e.probed.Add(downFresh))
		return e.until(at)
	}
	for _, l := range e.lanes {
		if !l.empty() {
			earlier(l.due)
		}
	}
	return e.until(at)
}

// took takes in what came of an attempt.
func (e *endpoint) took(r result) {
	e.running--
	l, now := r.lane, e.now()
	l.busy = false
	switch {
	case r.err != nil:
		l.due = now.Add(lookAgain)
		e.sender.o.Log.Error("an event cannot be read from the store; it is tried again", "webhook", e.Name, "event", r.seq, "error", r.err.Error())
	case r.nothing:
		e.done(l, r.seq)
	case r.answer.ok():
		e.reached(now)
		e.done(l, r.seq)
	case r.answer.gone():
		e.disable(now, "the receiver answered 410 Gone")
	default:
		e.failed(r, now)
	}
}

// done takes the first event off a lane.
func (e *endpoint) done(l *lane, seq int64) {
	e.dirty, e.recent[seq] = true, true
	l.events, l.from = l.events[1:], seq
	l.attempts, l.since, l.due, l.failure = 0, time.Time{}, time.Time{}, ""
	if !l.held {
		e.queued--
	}
	if l.empty() {
		delete(e.lanes, l.subject)
	}
}

// reached notes that the endpoint has taken something: what waits because it did
// not is tried at once.
func (e *endpoint) reached(now time.Time) {
	e.state.DeliveredAt = now
	e.failures, e.firstBad = 0, time.Time{}
	clear(e.failedOf)
	if e.state.Down == nil {
		return
	}
	e.sender.o.Log.Info("a webhook is reached again", "webhook", e.Name, "down_since", e.state.Down.Since)
	e.state.Down = nil
	for _, l := range e.lanes {
		l.due = time.Time{}
	}
}

// failed notes a failure: of its lane, and where there were others, of the endpoint.
func (e *endpoint) failed(r result, now time.Time) {
	l := r.lane
	e.dirty = true
	e.state.FailedAt, e.state.Failure = now, r.answer.kind()
	if !l.held {
		l.held = true
		e.queued -= len(l.events)
	}
	if l.attempts++; l.since.IsZero() {
		l.since = now
	}
	l.failure = r.answer.failure()
	l.due = now.Add(max(e.backoff(l.subject, l.attempts, pauses[len(pauses)-1]), r.answer.retryAfter))
	if r.answer.crowded() {
		e.pause = now.Add(r.answer.retryAfter)
	}
	if e.failures++; e.firstBad.IsZero() {
		e.firstBad = now
	}
	e.failedOf[l.subject] = true
	if l.attempts == 1 && e.state.Down == nil {
		e.sender.o.Log.Warn("an event could not be delivered; it is tried again", "webhook", e.Name, "event", r.seq, "type", r.kind, "subject", l.subject, "error", l.failure)
	}
	switch down := e.state.Down; {
	case down == nil && e.failures >= downTries && (len(e.failedOf) > 1 || r.answer.status == 0):
		e.state.Down = &authority.WebhookDown{Since: e.firstBad, Attempts: 1, Until: now.Add(e.backoff("", 1, downLongest))}
		e.sender.o.Log.Warn("a webhook cannot be reached; one event at a time is tried", "webhook", e.Name, "error", l.failure)
	case down == nil:
		e.giveUp(r, now)
	case passed(down.Until, now):
		next := *down
		next.Attempts++
		next.Until = now.Add(e.backoff("", next.Attempts, downLongest))
		e.state.Down = &next
		if now.Sub(next.Since) >= giveUpAfter && next.Attempts >= giveUpTries {
			e.disable(now, "nothing could be delivered since "+next.Since.Format(time.RFC3339)+": "+e.state.Failure)
		}
	}
}

// giveUp gives up the first event of a lane that has failed for days while others
// were delivered.
func (e *endpoint) giveUp(r result, now time.Time) {
	l := r.lane
	since := l.since
	if r.at.After(since) {
		since = r.at
	}
	if l.attempts < giveUpTries || now.Sub(since) < giveUpAfter {
		return
	}
	e.sender.o.Log.Error("an event is given up: it could not be delivered for days; see licensectl webhook list", "webhook", e.Name,
		"event", r.seq, "type", r.kind, "subject", l.subject, "error", l.failure)
	e.state.GivenUp++
	e.state.LastGivenUp = append(slices.Clone(e.state.LastGivenUp), authority.WebhookGivenUp{Event: r.seq, Subject: l.subject, At: now, Failure: l.failure})
	if n := len(e.state.LastGivenUp); n > maxShownE {
		e.state.LastGivenUp = e.state.LastGivenUp[n-maxShownE:]
	}
	lic := ""
	if license.IsLicenseID(l.subject) {
		lic = l.subject
	}
	e.pending = append(e.pending, license.AuditEvent{
		At: now, Actor: system(), Action: license.ActionWebhookGiveUp, License: lic,
		After: map[string]any{"webhook": e.Name, "event": r.seq, "type": r.kind}, Note: l.failure,
	})
	attempts, failing := l.attempts, l.since
	e.done(l, r.seq)
	l.attempts, l.since = attempts, failing // what follows is tried now, and is as bad as this for all that is known
}

// disable has nothing sent until somebody enables the endpoint.
func (e *endpoint) disable(now time.Time, reason string) {
	if e.state.Disabled != nil {
		return
	}
	e.dirty = true
	e.state.Disabled, e.state.Down = &authority.WebhookDisabled{At: now, Reason: reason}, nil
	e.pending = append(e.pending, license.AuditEvent{
		At: now, Actor: system(), Action: license.ActionWebhookDisable, After: map[string]any{"webhook": e.Name}, Note: reason,
	})
	e.sender.o.Log.Error("a webhook is disabled; its events wait until licensectl webhook enable", "webhook", e.Name, "reason", reason)
}

// backoff is how long to wait after a failure, spread by a quarter so that what
// failed together does not come back together. The spread follows from what
// failed, so that it can be told.
func (e *endpoint) backoff(subject string, attempts int, longest time.Duration) time.Duration {
	d := min(pauses[min(max(attempts-1, 0), len(pauses)-1)], longest)
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s %s %d", e.Name, subject, attempts) // a hash does not fail
	return max((d*3/4 + d*time.Duration(h.Sum32()%1000)/2000).Truncate(time.Second), time.Second)
}
