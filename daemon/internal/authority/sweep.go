package authority

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Bounds of what one step of a sweep does: a few records in one transaction, so
// that who waits for the store waits no longer than for a few callers.
const (
	sweepBatch = 10             // records that are written
	sweepPage  = 100            // records that are looked at
	sweepIdle  = time.Hour      // how far behind a window may lie in which nothing is
	sweepRound = 24 * time.Hour // between two walks through everything
	// sweepSoon is how near an instant is that windows may have passed already, by
	// the clock of another daemon.
	sweepSoon = 5 * time.Minute
)

// The names of the values that hold how far the sweep has come, by part.
const (
	sweepEnds    = "sweep/ends"
	sweepWarns   = "sweep/warns/" // by product
	sweepDue     = "sweep/due/"   // by instant and licence: what no window finds
	sweepSilent  = "sweep/silent"
	sweepForget  = "sweep/forget/" // by what is forgotten
	sweepDueForm = "%s%011d/%s"
)

// Swept is what one call of Sweep did.
type Swept struct {
	Expired   int // ends that were recorded as reached
	Expiring  int // ends that were recorded as near
	Released  int // installs that were not seen for long, and ended
	Forgotten int // requests and marks whose time is over
}

// Add returns the sum of both.
func (s Swept) Add(o Swept) Swept {
	return Swept{
		Expired: s.Expired + o.Expired, Expiring: s.Expiring + o.Expiring, Released: s.Released + o.Released, Forgotten: s.Forgotten + o.Forgotten,
	}
}

// Sweep records what has come to pass by the clock alone until now, and frees and
// forgets what its time is over for: a few records of each kind. It reports
// whether there is more to do. How far it has come lies in the store, so that it
// goes on after a restart; of several daemons on a store each does a part, and
// nothing is recorded twice. States and seats never depend on it.
func (a *Authority) Sweep(ctx context.Context, now time.Time) (s Swept, more bool, err error) {
	trusted, err := a.dated(ctx)
	if err != nil {
		return s, false, err
	}
	if now = now.UTC().Truncate(time.Second); now.After(trusted) {
		now = trusted
	}
	w := &sweep{a: a, now: now}
	steps := []func(context.Context) (bool, error){w.due, w.ends}
	for id := range a.products {
		steps = append(steps, func(ctx context.Context) (bool, error) { return w.warns(ctx, id) })
	}
	steps = append(steps, w.silent, w.transfers, w.trials)
	var errs []error
	for _, step := range steps {
		m, err := step(ctx)
		more = more || m && err == nil
		errs = append(errs, err)
	}
	return w.did, more, errors.Join(errs...)
}

// sweep is one call of Sweep.
type sweep struct {
	a   *Authority
	now time.Time
	did Swept
}

var sweeper = license.Actor{Kind: license.ActorSystem, Name: "sweep"}

// sweepState is how far a part of the sweep has come.
type sweepState struct {
	From    time.Time `json:"from,omitzero"` // a window: what lies after it was not looked at
	To      time.Time `json:"to,omitzero"`   // and up to where it goes, while one is under way
	BegunAt time.Time `json:"begun_at,omitzero"`
	Done    bool      `json:"done,omitzero"` // a walk
	Cursor  string    `json:"cursor,omitzero"`

	raw []byte // as it is stored
}

func readSweep(ctx context.Context, tx store.Tx, name string) (s sweepState, err error) {
	data, err := tx.Value(ctx, name)
	if errors.Is(err, license.NotFound) {
		return s, nil
	}
	if err == nil {
		s, err = parseValue[sweepState](store.Value{Name: name, Data: data})
	}
	s.raw = data
	return s, err
}

// errOvertaken ends a step that another daemon has done meanwhile.
var errOvertaken = errors.New("another daemon has done it")

// step does do and records is as how far the part has come, where nobody else has
// got on since was was read.
func (w *sweep) step(ctx context.Context, name string, was, is sweepState, do func(context.Context, store.Tx) (Swept, error)) error {
	var did Swept
	err := w.a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		now, err := tx.Value(ctx, name)
		if err != nil && !errors.Is(err, license.NotFound) {
			return err
		}
		if !bytes.Equal(now, was.raw) {
			return errOvertaken
		}
		if did, err = do(ctx, tx); err != nil {
			return err
		}
		return writeValue(ctx, tx, name, is)
	})
	switch {
	case errors.Is(err, errOvertaken):
		return nil
	case err != nil:
		return fmt.Errorf("sweep %s: %w", name, err)
	}
	w.did = w.did.Add(did)
	return nil
}

// ends records the licences whose end has come since it looked last.
func (w *sweep) ends(ctx context.Context) (more bool, err error) {
	return w.window(ctx, sweepEnds, w.now, store.Filter{})
}

// warns records the licences of a product whose warning has begun. What has a
// warning of its own is among what is due.
func (w *sweep) warns(ctx context.Context, product string) (more bool, err error) {
	return w.window(ctx, sweepWarns+product, w.now.Add(w.a.products[product].Schedule.Warn), store.Filter{Product: product})
}

// window looks at the next licences that end in a window, which goes up to upTo.
func (w *sweep) window(ctx context.Context, name string, upTo time.Time, f store.Filter) (more bool, err error) {
	var was, is sweepState
	var page []license.License
	err = w.a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		page, more = nil, false
		if was, err = readSweep(ctx, tx, name); err != nil {
			return err
		}
		is = was
		ahead := is.From.Sub(upTo)
		if !is.From.IsZero() && ahead >= 0 && ahead < sweepSoon {
			return nil // up to there all is done, by a clock that differs a little
		}
		if is.From.IsZero() || ahead > 0 { // the first time, or it was done by a clock that was far ahead
			is = sweepState{From: w.now}
		}
		if is.To.IsZero() {
			is.To = upTo
		}
		f.Now, f.ExpiringBefore = is.From, is.To.Add(time.Second)
		var next string
		page, next, err = tx.Licenses(ctx, f, store.Page{Limit: sweepBatch, Cursor: is.Cursor})
		if errors.Is(err, license.BadRequest) && is.Cursor != "" { // of another version's list
			page, next, err = tx.Licenses(ctx, f, store.Page{Limit: sweepBatch})
		}
		if more, is.Cursor = next != "", next; !more {
			is.From, is.To = is.To, time.Time{}
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", name, err)
	}
	if len(page) == 0 && !more && was.raw != nil && was.To.IsZero() && is.From.Sub(was.From).Abs() < sweepIdle {
		return false, nil // nothing is there: the disk need not know
	}
	return more, w.step(ctx, name, was, is, func(ctx context.Context, tx store.Tx) (Swept, error) {
		var did Swept
		for _, l := range page {
			s, err := w.note(ctx, tx, l.ID)
			if err != nil {
				return did, err
			}
			did = did.Add(s)
		}
		return did, nil
	})
}

// note records of a licence that its end was reached or is near, unless that was
// done: once for each end.
func (w *sweep) note(ctx context.Context, tx store.Tx, id string) (did Swept, err error) {
	l, err := tx.License(ctx, id)
	if errors.Is(err, license.NotFound) {
		return did, nil
	}
	if err != nil {
		return did, fmt.Errorf("read %s: %w", id, err)
	}
	schedule, known := w.a.Schedule(l)
	next, action := l.Clone(), license.ActionExpire
	after := map[string]any{"expires_at": instant(l.ExpiresAt), "state": l.StateAt(w.now)}
	switch {
	case l.Ends(w.now):
		next.Noted.Expired, did.Expired = l.ExpiresAt, 1
	case known && l.Nears(schedule, w.now):
		next.Noted.Expiring, did.Expiring, action = l.ExpiresAt, 1, license.ActionExpiring
	default:
		return did, nil
	}
	if known {
		after["block_at"] = instant(schedule.DatesFor(w.now, time.Time{}, l.ExpiresAt).BlockAt)
	}
	if err := tx.UpdateLicense(ctx, next); err != nil {
		return did, fmt.Errorf("update %s: %w", l.ID, err)
	}
	_, err = tx.Append(ctx, license.AuditEvent{At: w.now, Actor: sweeper, Action: action, License: l.ID, Product: l.Product, After: after})
	if err != nil {
		return did, fmt.Errorf("audit %s: %w", action, err)
	}
	return did, nil
}

// dueAt says at which instant a licence that was changed has to be looked at by
// itself, since no window finds it then: its end or the begin of its warning has
// passed already or is very near, or its warning is its own.
func (a *Authority) dueAt(was, is license.License) (at time.Time, ok bool) {
	same := was.ID == is.ID && was.ExpiresAt.Equal(is.ExpiresAt) && was.Phases.Equal(is.Phases) && was.Product == is.Product &&
		was.RevokedAt.Equal(is.RevokedAt)
	if same || is.ExpiresAt.IsZero() || !is.ReleasedAt.IsZero() || !is.RevokedAt.IsZero() {
		return at, false
	}
	soon := a.now().Add(sweepSoon)
	if !soon.Before(is.ExpiresAt) && !is.Noted.Expired.Equal(is.ExpiresAt) {
		return is.ExpiresAt, true
	}
	schedule, known := a.Schedule(is)
	warn := is.ExpiresAt.Add(-schedule.Warn)
	if known && !is.Noted.Expiring.Equal(is.ExpiresAt) && (is.Phases.Warn != nil || !soon.Before(warn)) {
		return warn, true
	}
	return at, false
}

// lookAt has the sweep look at a licence at an instant.
func lookAt(ctx context.Context, tx store.Tx, at time.Time, id string) error {
	name := fmt.Sprintf(sweepDueForm, sweepDue, max(at.Unix(), 0), id)
	if err := tx.SetValue(ctx, name, []byte("{}")); err != nil {
		return fmt.Errorf("have %s looked at: %w", id, err)
	}
	return nil
}

// due looks at the licences that are due by themselves.
func (w *sweep) due(ctx context.Context) (more bool, err error) {
	var page []store.Value
	err = w.a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		page, _, err = tx.Values(ctx, sweepDue, store.Page{Limit: sweepBatch})
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look for %s: %w", sweepDue, err)
	}
	n := 0
	for n < len(page) && !w.now.Before(dueInstant(page[n].Name)) {
		n++
	}
	if n == 0 {
		return false, nil
	}
	var did Swept
	err = w.a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		did = Swept{}
		for _, v := range page[:n] {
			s, err := w.note(ctx, tx, v.Name[strings.LastIndexByte(v.Name, '/')+1:])
			if err != nil {
				return err
			}
			did = did.Add(s)
			if err := tx.SetValue(ctx, v.Name, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("sweep %s: %w", sweepDue, err)
	}
	w.did = w.did.Add(did)
	return n == len(page) && n == sweepBatch, nil
}

// dueInstant reads when something is due from its name, long ago where that
// cannot be read.
func dueInstant(name string) time.Time {
	text, _, _ := strings.Cut(strings.TrimPrefix(name, sweepDue), "/")
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
