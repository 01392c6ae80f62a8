package authority

import (
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// A clock that runs ahead makes the last record, which all daemons on a store share,
// one that the others lie behind: then they refuse to work, and the one that is wrong
// goes on. So a daemon whose clock is ahead of that of every other one does not trust
// it. The others write the time with each sign of life (members.go), and what they
// have written counts on by the uptime of who reads it.
//
// A clock that its own daemon does not trust does not count, else one that is behind
// would stop those that are right. Where all are taken aback, as after a suspended
// machine woke up, each has said so with its next sign of life, and nobody counts.

// clockApartRetry is when to ask again: another daemon may answer, and a doubt about
// daemons that are gone ends in about this time.
const clockApartRetry = daemonDoubt

// othersShow is the newest time that other daemons show.
type othersShow struct {
	at      time.Time
	uptime  time.Duration // of this process, when it was that time
	hosts   string        // of all of which the time counts
	unheard bool          // all of them may be gone since long
}

// by is the time that they show by now.
func (o *othersShow) by(uptime time.Duration) time.Time {
	return o.at.Add(max(uptime-o.uptime, 0))
}

// judge says how a clock that shows now stands to r, and to the other daemons.
func (g *guard) judge(r *reading, now time.Time, uptime time.Duration, keyMade time.Time) ClockState {
	if state := r.judge(now, uptime, keyMade); state == ClockBehind || !g.apart(r, now, uptime) {
		return state
	}
	return ClockApart
}

// apart reports whether now is too far ahead of all other daemons. What an
// administrator has confirmed here counts as one more of them, until the clock of
// another daemon was confirmed after that.
func (g *guard) apart(r *reading, now time.Time, uptime time.Duration) bool {
	o := g.others.Load()
	if o == nil || !now.After(o.by(uptime).Add(clockStep)) {
		return false
	}
	c := g.confirmed.Load()
	return c == nil || c.accepted != r.accepted || now.After(c.at.Add(max(uptime-c.uptime, 0)+clockStep))
}

// compared says in c with whom it was compared.
func (g *guard) compared(c *Clock, uptime time.Duration) {
	if o := g.others.Load(); o != nil { // else they have gone in between
		c.OthersNow, c.Others, c.unheard = o.by(uptime).UTC(), o.hosts, o.unheard
	}
}

// ownState is the state of a clock that shows now, for the others to read: "" where
// it is trusted.
func (g *guard) ownState(now time.Time) ClockState {
	r := g.last.Load()
	if r == nil {
		return ClockBehind // nobody knows
	}
	if state := g.judge(r, now, g.uptime(), g.keyMade()); state != ClockTrusted {
		return state
	}
	return ""
}

func (c Clock) errApart(shows string) error {
	ends := ""
	if c.unheard {
		ends = "; where those do not run any more, this ends by itself within seconds"
	}
	return license.Errorf(license.Clock, "%s, more than 10 minutes ahead of the other daemons on the store (%s), which show %s; set right whichever is wrong%s",
		shows, c.Others, c.OthersNow.Format(time.RFC3339), ends).WithRetryAfter(clockApartRetry)
}
