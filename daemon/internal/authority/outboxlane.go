package authority

import (
	"errors"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// lane is how it stands with one marketplace.
type lane struct {
	running int       // calls under way
	silent  int       // calls in a row that it did not answer
	until   time.Time // until when it is left alone
}

// may reports whether a further call may be made at now, and where not until
// when the job is put off: not at all where it need only wait for a call that is
// under way. crowded says that jobs for other marketplaces may lie behind.
func (o *outbox) may(channel string, now time.Time, crowded bool) (bool, time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.lanes[channel]
	switch {
	case l == nil:
		l = &lane{}
		o.lanes[channel] = l
	case now.Before(l.until) && l.until.Sub(now) <= jobLongest:
		return false, l.until
	case l.silent >= jobSilent && l.running > 0: // one call tries whether it is back
		return false, now.Add(jobLook)
	case l.running >= jobsAtOnce && crowded:
		return false, now.Add(jobCrowd)
	case l.running >= jobsAtOnce:
		return false, time.Time{}
	}
	l.running++
	return true, time.Time{}
}

// was notes how a call came out. A marketplace that cannot be believed about one
// order answers, and so may one that fails at the same again and again: that is
// no reason to leave it alone with all others.
func (o *outbox) was(j license.Job, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l := o.lanes[j.Channel]
	l.running--
	switch {
	case !errors.Is(err, license.MarketplaceUnavailable), errors.Is(err, ErrUnbelievable):
		l.silent, l.until = 0, time.Time{}
		return
	case errors.Is(err, ErrFailing) && j.Attempts > jobSilent:
		return
	}
	if l.silent++; l.silent >= jobSilent {
		l.until = o.a.now().Add(min(jobFirst<<min(l.silent-jobSilent, 10), jobLongest))
	}
}

// choose says which of the jobs that are due are begun, by id, and which are put
// off, until when. What is begun counts as under way with its marketplace.
func (o *outbox) choose(due []license.Job, now time.Time) (start map[string]bool, later map[string]time.Time) {
	start, later = make(map[string]bool), make(map[string]time.Time)
	for _, j := range due {
		ok, until := o.may(j.Channel, now, len(due) == jobsLooked)
		switch {
		case ok:
			start[j.ID] = true
		case !until.IsZero():
			later[j.ID] = until
		}
	}
	return start, later
}
