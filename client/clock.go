package client

import (
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// ClockState says what a Guard makes of the machine's clock. docs/time.md has
// the table of what every skew does.
type ClockState string

// The states of a clock.
const (
	// ClockOK: nothing speaks against the clock.
	ClockOK ClockState = "ok"
	// ClockBehind: the clock shows a time that is more than ten minutes before one
	// that is proven to have passed. What time it is is unknown; it is judged by
	// what is proven.
	ClockBehind ClockState = "behind"
	// ClockAhead: an answer of the licence server proved, since the guard was
	// opened, that the clock shows more than ten minutes too much. It is judged by
	// the clock less what it shows too much.
	ClockAhead ClockState = "ahead"
	// ClockUnconfirmed: the clock shows a time more than 30 days after all that is
	// proven. It may be right, on a machine that was off or without a network for
	// long, so it is judged by the clock. Nothing of that is remembered: where the
	// clock was wrong, setting it right undoes everything.
	ClockUnconfirmed ClockState = "unconfirmed"
)

// What is made of a clock that is off.
const (
	// ClockTolerance is how far a clock may be off without anybody minding.
	ClockTolerance = 10 * time.Minute
	// clockConfirmed is how far past what is proven a clock confirms itself.
	clockConfirmed = 30 * 24 * time.Hour

	toleratedSeconds = int64(ClockTolerance / time.Second)

	// countedSeconds is how much of a running time is worth a write. Processes that
	// share a memory count the same time, so it is written that often at most,
	// however many of them begin and end.
	countedSeconds = 10
)

// lastInstant is the last one that is not license.Forever, which never comes.
var lastInstant = license.Forever.Add(-time.Second)

// provenTime is what an install remembers of time, in seconds since the epoch.
// What the machine's clock shows is never in it: a clock can be wrong, and what
// it left behind would outlive its being set right.
type provenTime struct {
	// Floor: it cannot be earlier than this. Something signed by then, or the
	// product was built by then, or the product has run since long enough.
	Floor int64 `json:"floor,omitempty"`
	// Doubt, where it is not 0, is later than Floor: what is dated after Floor and
	// not after Doubt was signed, as far as can be told, by a clock that was wrong.
	// It proves nothing until an answer to a request of this install says so too.
	Doubt int64 `json:"doubt,omitempty"`
}

func (p provenTime) whole() bool {
	return 0 <= p.Floor && p.Floor <= license.Forever.Unix() && 0 <= p.Doubt && p.Doubt <= license.Forever.Unix()
}

// raise takes the date of something authentic: its instant has passed.
func (p *provenTime) raise(t time.Time) {
	if n := t.Unix(); n > p.Doubt {
		p.lift(n)
	}
}

// lift raises the floor by what cannot be doubted.
func (p *provenTime) lift(n int64) {
	p.Floor = max(p.Floor, n)
	if p.Floor >= p.Doubt {
		p.Doubt = 0
	}
}

// answer takes the time of an answer to a request of this install. believed is
// what counted as proven when the request was made, 0 where its answer may not
// lower anything. An answer is given after its request was made. So one that is
// dated before what counted as proven then shows that that was wrong, and only
// then is the floor lowered: an answer that was kept back, or that took its
// time, contradicts nothing.
func (p *provenTime) answer(t time.Time, believed int64) {
	n := t.Unix()
	switch {
	case believed == 0:
		p.raise(t)
	case n < believed-toleratedSeconds:
		p.Doubt, p.Floor = max(p.Doubt, p.Floor, believed), n
	default:
		p.lift(n)
	}
}

// notAfter ends what came with an answer, floor being what its time proves:
// nothing in an answer was signed after it, so what is dated later was signed
// by a clock that is wrong.
func (p *provenTime) notAfter(floor int64) {
	if p.Floor > floor+toleratedSeconds {
		p.Doubt, p.Floor = max(p.Doubt, p.Floor), floor
	}
}

// doubts reports whether something authentic of this date proves nothing.
func (p *provenTime) doubts(t time.Time) bool {
	n := t.Unix()
	return n > p.Floor && n <= p.Doubt
}

// repairs reports whether an answer has lowered the floor since before.
func (p *provenTime) repairs(before provenTime) bool {
	return p.Floor < before.Floor && p.Doubt >= before.Floor
}

// timeline is by what one process judges the clock. Running times are of a
// clock that nobody can set, from whatever beginning.
//
// The time for which the product runs is proven as well as what is signed: it
// can only fall short of what really passed, while the machine sleeps. So no
// clock that is set back makes the product run longer than its licence lasts.
type timeline struct {
	floor time.Time     // it could not be earlier,
	since time.Duration // when it had run for so long
	lead  int64         // seconds that the clock was proved to be ahead, 0 if it was not
	heard bool          // an answer came since the guard was opened
}

// adopt takes over what is remembered now. What this process counted itself
// stays, unless an answer proved it wrong.
func (l timeline) adopt(now, before provenTime, ran time.Duration) timeline {
	floor := time.Unix(now.Floor, 0).UTC()
	if now.repairs(before) || l.proven(ran).Before(floor) {
		l.floor, l.since = floor, ran
	}
	return l
}

// proven returns the earliest instant that it can be.
func (l timeline) proven(ran time.Duration) time.Time {
	return l.floor.Add(max(0, ran-l.since).Truncate(time.Second))
}

// made is a request that was made in this process: when it had run for so
// long, and when the clock showed this.
type made struct {
	id    string
	at    time.Duration
	shown time.Time
}

// compare takes the date of an answer to a request that was made in this
// process. When it was made it was earlier than the answer is dated, so what the
// clock showed more then is too much. And it is later now by what has passed
// since, which says whether the clock was set in between. It returns the
// timeline with the lead of the clock.
func (l timeline) compare(clock, answer time.Time, m made, ran time.Duration) timeline {
	then := m.shown.Unix() - answer.Unix()
	now := clock.Unix() - answer.Unix() - int64((ran-m.at)/time.Second)
	if l.lead = min(then, now); l.lead <= toleratedSeconds {
		l.lead = 0
	}
	return l
}

// judge returns the instant to judge by: never one before what is proven.
func (l timeline) judge(clock time.Time, ran time.Duration) (time.Time, ClockState) {
	least, state := l.proven(ran), ClockOK
	clock = earlier(clock, 0)
	// A clock that was set back since the answer has its lead no more, and without
	// it would show less than what is proven.
	without := earlier(clock, l.lead)
	switch {
	case l.lead > 0 && !without.Before(least.Add(-ClockTolerance)):
		clock, state = without, ClockAhead
	case clock.Before(least.Add(-ClockTolerance)):
		state = ClockBehind
	case clock.After(least.Add(clockConfirmed)):
		state = ClockUnconfirmed
	}
	return earliest(latest(clock, least), lastInstant), state
}

// earlier is t less some seconds, in UTC and without the reading of the
// monotonic clock. A time.Duration would end at 292 years.
func earlier(t time.Time, seconds int64) time.Time {
	return time.Unix(t.Unix()-seconds, int64(t.Nanosecond())).UTC()
}

// now is the instant to judge by.
func (g *Guard) now() time.Time {
	at, _ := g.view.Load().line.judge(g.opts.Now(), g.ran())
	return at
}

// alsoWithin returns an instant that it may be as well, where the one that the
// install judges by is outside a span: one that begins later shows that it is
// later, one that ended after all that is proven may last, and what is proven
// may be wrong where the clock is within. Nothing is granted by that: it is for
// the certificate of a server, whose answers are signed besides, and which would
// set everything right. A certificate that has ended by the clock is believed
// only where a licence is held: the first activation sends the code, which is a
// secret, and little is proven then.
func (g *Guard) alsoWithin(from, until time.Time) (time.Time, bool) {
	v := g.view.Load()
	line, clock, ran := v.line, g.opts.Now(), g.ran()
	least := line.proven(ran)
	at, _ := line.judge(clock, ran)
	switch {
	case at.Before(from):
		return from, true
	case v.license != nil && !until.Before(least):
		return until, true
	case clock.Before(least) && !clock.Before(from) && !clock.After(until):
		return clock, true
	}
	return time.Time{}, false
}

// hear takes a signed time where it answers a request of this install that
// waits, and reports whether it does and its date is not doubted.
func (g *Guard) hear(m *memory, t token.Time) bool {
	p := m.waiting(t)
	if p == nil {
		return false
	}
	m.answered(p, t)
	v := *g.view.Load()
	v.line.heard = true
	if p.ID == g.made.id {
		v.line = v.line.compare(g.opts.Now(), t.IssuedAt, g.made, g.ran())
	}
	g.view.Store(&v)
	return !m.doubts(t.IssuedAt)
}

// disowned reports whether something that is authentic was dated by a clock
// that has been proved wrong since, and lies still ahead.
func (g *Guard) disowned(m memory, date time.Time) bool {
	if !m.doubts(date) {
		return false
	}
	ran := g.ran()
	at, _ := g.view.Load().line.adopt(m.provenTime, g.memory.provenTime, ran).judge(g.opts.Now(), ran)
	return date.After(at.Add(ClockTolerance))
}

func errDisowned() error {
	return license.Errorf(license.NotYetValid, "it was dated in the future by a clock that was wrong, and set right since; ask the merchant for a new one")
}

// clockTrouble says to a support desk what is wrong with the clock, nil where
// nothing is, or where it does no harm.
func (g *Guard) clockTrouble(v *view) error {
	clock, ran := g.opts.Now(), g.ran()
	least := v.line.proven(ran)
	switch s := g.status(v, clock); {
	case s.Clock == ClockBehind:
		return license.Errorf(license.Clock, "the clock of this machine shows %s, but %s is proven to have passed; set the clock right. "+
			"Until then the licence is judged by what is proven", stamp(clock), stamp(least))
	case s.Clock == ClockAhead:
		return license.Errorf(license.Clock, "the clock of this machine shows %s, but the licence server has proved it to be %s; set the clock right. "+
			"Until then, or until the product is closed, what it shows too much is taken off", stamp(clock), stamp(s.At))
	case s.Clock == ClockUnconfirmed && s.clockBlocks():
		return license.Errorf(license.Clock, "%s by the clock of this machine, which shows %s, while nothing later than %s is proven. "+
			"If the clock is wrong, set it right, and the licence is as it was before; if it is right, the licence server or a newer licence file confirms it",
			explainReason(s.Reason), stamp(clock), stamp(least))
	}
	return nil
}

// stamp writes an instant for people.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
