package authority

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// The guard of the clock. What is signed under a wrong clock raises the floor
// of every install that sees it, so nothing is issued, signed or changed by the
// merchant while the clock lies before the last record or too far past it, or
// ahead of all other daemons on the store (clockapart.go).
//
// The last record is the newest instant at which a change was committed under a
// clock that was trusted. It is kept in memory, and in the store once a minute
// while there are changes, once an hour while there are none: a crash loses a
// minute of it at most, which is less than the step back that is tolerated.
//
// A process knows how much time has passed while it ran by a clock that nobody
// sets, so an idle daemon is never too far from its record. That clock stands
// still while a machine is suspended: waking up from 40 days of it is a jump.
const (
	// clockStep is how far a clock may be set back without anybody noticing.
	clockStep = 10 * time.Minute
	// maxAway is how far past its last record a clock is believed.
	maxAway = 30 * 24 * time.Hour
	// recordBusy and recordIdle are how old the record in the store gets while
	// there are changes, and while there are none.
	recordBusy = time.Minute
	recordIdle = time.Hour
)

// clockRecord is the name of the value that keeps the record in the store. A
// store that is restored from a backup brings an older record with it; a mark
// outside the store would be taken into account where the record is read.
const clockRecord = "clock.record"

// ClockState says how the clock stands to the last record.
type ClockState string

// The states of the clock.
const (
	ClockTrusted ClockState = "trusted"
	ClockBehind  ClockState = "behind" // before the last record, or before the signing key was made
	ClockAhead   ClockState = "ahead"  // more than 30 days past it
	ClockApart   ClockState = "apart"  // more than ten minutes ahead of every other daemon on the store
)

// Clock is what the server knows of its clock.
type Clock struct {
	State   ClockState
	Now     time.Time // what it shows
	Record  time.Time // the last record; zero where there is none
	KeyMade time.Time // from when on the signing key is valid
	// OthersNow is what the other daemons on the store show by now, and Others where
	// they run. Only what is ClockApart has them.
	OthersNow time.Time
	Others    string
	unheard   bool // none of them has shown that it is alive yet
	// Set is how far it was set forward, or back, since RecordClock looked at it
	// last; only RecordClock says so.
	Set time.Duration
}

// Trusted reports whether anything may be signed.
func (c Clock) Trusted() bool { return c.State == ClockTrusted }

// Err is nil for a clock that is trusted, and has the reason license.Clock
// otherwise, in words for the merchant's staff.
func (c Clock) Err() error {
	const mend = "; set it right, or confirm it with licensectl doctor --accept-clock"
	shows := "the server's clock shows " + c.Now.Format(time.RFC3339)
	switch {
	case c.Trusted():
		return nil
	case c.beforeKey():
		return license.Errorf(license.Clock, "%s, before %s, when its signing key was made; set it right", shows, c.KeyMade.Format(time.RFC3339))
	case c.State == ClockApart:
		return c.errApart(shows)
	case c.Record.IsZero():
		return license.Errorf(license.Clock, "%s, and its last record cannot be read%s", shows, mend)
	case c.State == ClockAhead:
		return license.Errorf(license.Clock, "%s, more than 30 days past its last record, %s%s", shows, c.Record.Format(time.RFC3339), mend)
	}
	return license.Errorf(license.Clock, "%s, before its last record, %s%s", shows, c.Record.Format(time.RFC3339), mend)
}

func (c Clock) beforeKey() bool { return c.Now.Before(c.KeyMade) }

// errClock is what an install is told: it can do nothing but wait.
var errClock = license.Errorf(license.Clock, "the licence server does not trust its clock at present; please try again later").
	WithRetryAfter(clockStep)

// untrustedClock is errClock, with the time after which err says to ask again where it
// says one.
func untrustedClock(err error) error {
	told := errClock
	if e, ok := errors.AsType[*license.Error](err); ok && e.RetryAfter > 0 {
		told = told.WithRetryAfter(e.RetryAfter)
	}
	return told.WithCause(err)
}

// guard watches the clock.
type guard struct {
	store   store.Store
	now     func() time.Time
	uptime  func() time.Duration
	keyMade func() time.Time
	changed func(Clock)
	meet    func(context.Context) error // takes in what other daemons show; nil where there are none

	begun time.Duration           // uptime at which the guard was made
	last  atomic.Pointer[reading] // nil until it has been read from the store
	told  atomic.Value            // ClockState that changed was called with last
	used  atomic.Bool             // there was a change since the record was written
	// others is what the other daemons show, nil where none counts. confirmed is the
	// clock of this one as an administrator has confirmed it, nil where nobody has.
	others    atomic.Pointer[othersShow]
	confirmed atomic.Pointer[reading]

	mu   sync.Mutex // held while the record is read or written
	seen reading    // what RecordClock saw last
}

// reading is the newest instant at which a trusted clock was used.
type reading struct {
	at       time.Time     // zero: never
	uptime   time.Duration // when that was, by the clock that nobody sets
	accepted int64         // how often an administrator has confirmed the clock
	damaged  bool          // the record cannot be read
}

// judge says how a clock that shows now stands to r.
func (r reading) judge(now time.Time, uptime time.Duration, keyMade time.Time) ClockState {
	switch {
	case r.damaged, now.Before(keyMade), !r.at.IsZero() && now.Before(r.at.Add(-clockStep)):
		return ClockBehind
	case !r.at.IsZero() && now.After(r.at.Add(max(uptime-r.uptime, 0)+maxAway)):
		return ClockAhead
	}
	return ClockTrusted
}

func newGuard(o Options, now func() time.Time, keyMade func() time.Time) *guard {
	g := &guard{store: o.Store, now: now, uptime: o.Uptime, keyMade: keyMade, changed: o.ClockChanged}
	if g.uptime == nil {
		begin := time.Now()                                          //nolint:forbidigo // the one default of Uptime
		g.uptime = func() time.Duration { return time.Since(begin) } //nolint:forbidigo // the same
	}
	g.begun = g.uptime()
	g.told.Store(ClockTrusted)
	return g
}

// look judges the clock and tells where that has changed.
func (g *guard) look(ctx context.Context) (Clock, error) {
	r := g.last.Load()
	if r == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if err := g.load(ctx); err != nil {
			return Clock{Now: g.now()}, err
		}
		r = g.last.Load()
	}
	c := Clock{Now: g.now(), Record: r.at, KeyMade: g.keyMade()}
	uptime := g.uptime()
	if c.State = g.judge(r, c.Now, uptime, c.KeyMade); c.State == ClockApart {
		g.compared(&c, uptime)
	}
	if was := g.told.Load(); was != c.State && g.told.CompareAndSwap(was, c.State) && g.changed != nil {
		g.changed(c)
	}
	return c, nil
}

// note takes in that a change was committed now.
func (g *guard) note() {
	r := g.last.Load()
	if r == nil {
		return // the next look reads what there is
	}
	now, uptime := g.now(), g.uptime()
	if g.judge(r, now, uptime, g.keyMade()) != ClockTrusted {
		return // a message of a marketplace
	}
	if !g.used.Load() {
		g.used.Store(true)
	}
	if now.After(r.at) {
		g.last.CompareAndSwap(r, &reading{at: now, uptime: uptime, accepted: r.accepted}) // else somebody else did
	}
}

// record is the form of the record in the store.
type record struct {
	At       int64 `json:"at"`                // seconds since the epoch
	Accepted int64 `json:"accepted,omitzero"` // counts confirmations, so that every daemon on the store notices
}

func readRecord(ctx context.Context, tx store.Tx) (rec record, found, damaged bool, err error) {
	raw, err := tx.Value(ctx, clockRecord)
	switch {
	case errors.Is(err, license.NotFound):
		return record{}, false, false, nil
	case err != nil:
		return record{}, false, false, fmt.Errorf("read the record of the clock: %w", err)
	}
	if err := json.Unmarshal(raw, &rec); err != nil {
		return record{}, true, true, nil
	}
	return rec, true, false, nil
}

func writeRecord(ctx context.Context, tx store.Tx, rec record) error {
	raw, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	return tx.SetValue(ctx, clockRecord, raw)
}

// load takes in what stands in the store, under g.mu: another daemon may have
// written it since, and an administrator may have confirmed another's clock. What
// the other daemons show counts from the first judgement on.
func (g *guard) load(ctx context.Context) error {
	if g.last.Load() == nil && g.meet != nil {
		if err := g.meet(ctx); err != nil {
			return fmt.Errorf("look at the clocks of the other daemons: %w", err)
		}
	}
	var rec record
	var found, damaged bool
	err := g.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		rec, found, damaged, err = readRecord(ctx, tx)
		return err
	})
	if err != nil {
		return err
	}
	stored := reading{uptime: g.uptime(), accepted: rec.Accepted, damaged: damaged}
	if g.last.Load() == nil {
		stored.uptime = g.begun
	}
	if found && !damaged {
		stored.at = time.Unix(rec.At, 0).UTC()
	}
	for {
		r := g.last.Load()
		if r != nil && !damaged && r.accepted == rec.Accepted && !stored.at.After(r.at) {
			return nil
		}
		if g.last.CompareAndSwap(r, &stored) {
			return nil
		}
	}
}

// keep brings the store up to date, under g.mu. What stands there was taken in
// just now.
func (g *guard) keep(ctx context.Context, c Clock) error {
	used := g.used.Swap(false)
	r := *g.last.Load()
	if c.Now.After(r.at) {
		r.at, r.uptime = c.Now, g.uptime()
	}
	wrote := false
	err := g.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		wrote = false
		rec, found, damaged, err := readRecord(ctx, tx)
		if err != nil || damaged || rec.Accepted != r.accepted {
			return err // a confirmation came in between; it is taken in the next time
		}
		age := r.at.Sub(time.Unix(rec.At, 0))
		if found && age < recordIdle && (!used || age < recordBusy) {
			return nil
		}
		wrote = true
		return writeRecord(ctx, tx, record{At: r.at.Unix(), Accepted: r.accepted})
	})
	if err != nil || !wrote && used {
		g.used.Store(true)
	}
	if err != nil {
		return fmt.Errorf("record the clock: %w", err)
	}
	if old := g.last.Load(); wrote && r.at.After(old.at) && old.accepted == r.accepted {
		g.last.CompareAndSwap(old, &r)
	}
	return nil
}

// Clock says how the server's clock stands to its last record.
func (a *Authority) Clock(ctx context.Context) (Clock, error) { return a.guard.look(ctx) }

// RecordClock keeps the record of the clock up to date. Whoever runs an
// Authority calls it when it begins to serve and about once a minute.
func (a *Authority) RecordClock(ctx context.Context) (Clock, error) {
	g := a.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.load(ctx); err != nil {
		return Clock{Now: g.now()}, err
	}
	c, err := g.look(ctx)
	if err != nil {
		return c, err
	}
	seen := reading{at: c.Now, uptime: g.uptime()}
	if !g.seen.at.IsZero() {
		c.Set = seen.at.Sub(g.seen.at) - (seen.uptime - g.seen.uptime)
	}
	g.seen = seen
	if !c.Trusted() {
		return c, nil
	}
	return c, g.keep(ctx, c)
}

// AcceptClock confirms a clock that is not trusted: what it shows becomes the
// last record, also where that is earlier. shown is what the administrator was
// shown; where the clock has been set since, that is a Conflict. A clock that
// is trusted is left as it is.
func (a *Authority) AcceptClock(ctx context.Context, actor license.Actor, shown time.Time) (before, after Clock, err error) {
	g := a.guard
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.load(ctx); err != nil {
		return Clock{}, Clock{}, err
	}
	if before, err = g.look(ctx); err != nil || before.Trusted() {
		return before, before, err
	}
	switch off := before.Now.Sub(shown); {
	case off.Abs() > clockStep:
		return before, before, license.Errorf(license.Conflict, "the server's clock shows %s now, and another time was confirmed, %s; look at it again",
			before.Now.Format(time.RFC3339), shown.UTC().Format(time.RFC3339))
	case before.beforeKey():
		return before, before, before.Err() // what is signed would not verify
	}
	if DryRun(ctx) {
		after = before
		after.State, after.Record = ClockTrusted, before.Now
		after.OthersNow, after.Others, after.unheard = time.Time{}, "", false
		return before, after, nil
	}
	next := reading{at: before.Now, uptime: g.uptime()}
	err = g.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		rec, _, _, err := readRecord(ctx, tx)
		if err != nil {
			return err
		}
		next.accepted = max(rec.Accepted, g.last.Load().accepted) + 1
		if err := writeRecord(ctx, tx, record{At: next.at.Unix(), Accepted: next.accepted}); err != nil {
			return fmt.Errorf("record the clock: %w", err)
		}
		_, err = tx.Append(ctx, license.AuditEvent{
			At: before.Now, Actor: actor, Action: license.ActionClockAccept,
			Before: map[string]any{"clock": before.State, "last_record": instant(before.Record)},
			After:  map[string]any{"clock": ClockTrusted, "last_record": instant(next.at)},
		})
		return err
	})
	if err != nil {
		return before, before, fmt.Errorf("accept the clock: %w", err)
	}
	g.confirmed.Store(&next)
	g.last.Store(&next)
	after, err = g.look(ctx)
	return before, after, err
}

// dated is the instant of a change that is made now, or the reason why none is
// made. The instant is right in either case as far as the clock is.
func (a *Authority) dated(ctx context.Context) (time.Time, error) {
	c, err := a.guard.look(ctx)
	if err != nil {
		return c.Now, err
	}
	return c.Now, c.Err()
}

// recorded is a store that notes each change for the guard of the clock.
type recorded struct {
	store.Store
	guard *guard
}

func (s recorded) Update(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	err := s.Store.Update(ctx, fn)
	if err == nil {
		s.guard.note()
	}
	return err
}
