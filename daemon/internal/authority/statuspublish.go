package authority

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// Bounds of the loop that publishes.
const (
	statusRetry = 5 * time.Second // after a failure
	statusLook  = time.Minute     // how long a clock that is set forward may go unnoticed
	// statusFollow is how often the loop looks what other daemons have changed, where
	// there may be any.
	statusFollow = time.Second
	// statusTries is how often a list is dated within one look where other daemons
	// date it at the same time.
	statusTries = 3
	// statusWhole: where more than one in so many of its entries were written a list
	// is read as a whole.
	statusWhole = 64
	// statusPause is between two rounds: changes that come without end are taken
	// together, and the rest of the time is left to others.
	statusPause = 50 * time.Millisecond
)

// run publishes until ctx ends.
func (s *statusLists) run(ctx context.Context, failed func(error)) {
	defer s.once.Do(func() { close(s.ended) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	reported := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-timer.C:
		}
		wait, err := s.publish(ctx)
		if what := sameFailure(err); what != reported && ctx.Err() == nil {
			if reported = what; err != nil {
				failed(err)
			}
		}
		timer.Reset(statusPause)
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if s.shared && err == nil { // else it is tried again after the pause of a failure
			wait = min(wait, statusFollow)
		}
		timer.Reset(wait - statusPause)
	}
}

// sameFailure tells failures apart: what lasts is reported once.
func sameFailure(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, license.Clock):
		return string(license.Clock) // its text tells the time
	}
	return err.Error()
}

// publish brings what is served of lists up to date, of all where none are named,
// and returns when to look again. What could be made is served also where it fails for others.
func (s *statusLists) publish(ctx context.Context, lists ...*statusList) (time.Duration, error) {
	return s.publishAhead(ctx, time.Second, lists...)
}

// publishNow is publish for what cannot wait for the next second.
func (s *statusLists) publishNow(ctx context.Context, lists ...*statusList) (time.Duration, error) {
	return s.publishAhead(ctx, time.Minute, lists...)
}

// publishAhead is publish, of lists dated no more than ahead after now.
func (s *statusLists) publishAhead(ctx context.Context, ahead time.Duration, lists ...*statusList) (time.Duration, error) {
	wait := statusRetry
	err := s.withBusy(ctx, func() error {
		for try := 1; ; try++ {
			r := statusRound{s: s, now: s.clock().UTC(), wait: statusLook, ahead: ahead}
			err := r.do(ctx, lists)
			if wait = r.wait; !r.overtaken || err != nil || try == statusTries {
				return err
			}
		}
	})
	return wait, err
}

// withBusy runs do while nobody else does.
func (s *statusLists) withBusy(ctx context.Context, do func() error) error {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
		return do()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// follow learns from the feed what was written of the lists, by whomever. What it
// could not tell is read again from the beginning.
func (s *statusLists) follow(ctx context.Context) error {
	var written map[string][]int
	var end feedPlace
	var known bool
	err := s.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		written, end, known, err = feedSince(ctx, tx, s.place)
		if known = known && s.placed; err != nil || known {
			return err
		}
		all, err := tx.StatusLists(ctx)
		written = make(map[string][]int)
		for _, l := range all {
			written[l.ID] = []int{listWhole}
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("read the status lists: %w", err)
	}
	for id, at := range written {
		l := s.add(id)
		for _, index := range at {
			switch {
			case index == listWhole:
				l.loaded = false
			case index < listWhole:
				l.unsure = l.unsure || index != listDated(l.signedAt)
			}
		}
		s.touchAgain(id, entriesOf(at))
	}
	s.place, s.placed = end, true
	return nil
}

// follow is that of the lists where there may be something new: where the store is
// this daemon's alone only what was written here is.
func (r *statusRound) follow(ctx context.Context) error {
	s := r.s
	if touched := s.touched.Swap(false); !touched && !s.shared && s.placed && r.ahead <= time.Second {
		return nil
	}
	err := s.follow(ctx)
	if err != nil {
		s.touched.Store(true)
	}
	return err
}

// do is one round.
func (r *statusRound) do(ctx context.Context, lists []*statusList) error {
	s := r.s
	if err := r.follow(ctx); err != nil {
		for _, l := range s.all() {
			l.wasTried()
		}
		r.wait = statusRetry
		return err
	}
	if len(lists) == 0 {
		lists = s.all()
	}
	r.signing = s.signing()
	_, r.untrusted = s.dated(ctx)
	var errs []error
	for _, l := range lists {
		if err := r.plan(ctx, l); err != nil {
			errs = append(errs, fmt.Errorf("status list %s: %w", l.id, err))
			l.wasTried()
		}
	}
	errs = append(errs, r.record(ctx), r.sign())
	err := errors.Join(errs...)
	if err != nil {
		r.wait = min(r.wait, statusRetry)
	}
	return err
}

// statusRound is one look at the lists.
type statusRound struct {
	s   *statusLists
	now time.Time // not cut to seconds
	signing
	untrusted error // why the clock is not trusted: nothing is dated by it
	wait      time.Duration
	ahead     time.Duration  // how far after now a list may be dated
	anew      []*plannedList // to be recorded, then signed
	again     []*plannedList // to be signed with the date that is recorded
	overtaken bool           // another daemon has dated a list: it has to be looked at again
}

type plannedList struct {
	*statusList
	at time.Time // iat

	// As found when the date is recorded.
	late      []license.StatusEntry // written since the list was read
	content   [sha256.Size]byte     // the digest of what is signed
	overtaken bool
}

// at has the next look at the instant t at the latest.
func (r *statusRound) at(t time.Time) {
	r.wait = min(r.wait, max(t.Sub(r.now), time.Millisecond))
}

// plan reads what has changed of a list and decides whether it is signed.
func (r *statusRound) plan(ctx context.Context, l *statusList) error {
	switch err := r.read(ctx, l); {
	case errors.Is(err, license.NotFound) && !l.loaded:
		r.s.forget(l) // the change that began it was undone
		return nil
	case err != nil:
		return err
	}
	l.ripen(r.asOf(l))
	if len(l.undoable) > 0 {
		r.at(l.finalAt)
	}
	anew, again := r.due(l)
	switch {
	case again:
		r.again = append(r.again, &plannedList{statusList: l, at: l.signedAt})
	case anew:
		at, err := r.date(l)
		if err != nil {
			return err
		}
		if at.IsZero() {
			return nil // not in this second
		}
		if err := r.canSign(at); err != nil {
			return err
		}
		r.anew = append(r.anew, &plannedList{statusList: l, at: at})
		return nil // when it is due next is known once it is recorded
	}
	r.at(l.signedAt.Add(StatusTTL))
	return nil
}

// due says whether a list is to be signed, with a new date or again with that
// of the last time: after a restart what has not changed is what it was.
func (r *statusRound) due(l *statusList) (anew, again bool) {
	old := r.untrusted == nil && r.now.Sub(l.signedAt) >= StatusTTL
	if old || !bytes.Equal(l.digest[:], l.signedDigest) {
		return true, false
	}
	p := l.published.Load()
	if p == nil || !p.IssuedAt.Equal(l.signedAt) {
		again = r.canSign(l.signedAt) == nil
		return !again, again
	}
	_, trusted := r.keys.Key(p.KeyID)
	return !trusted, false
}

// date is the iat of a list that is signed now, or zero where this second has
// had its lists. It always grows, since of two lists of one date a client keeps
// the first: the second list within a second is dated a second ahead, and the
// third waits, unless an answer waits for it. Where the clock was set back,
// dates go on from the last one, at the pace of one a second: a revocation that
// nobody heeds would be worse.
func (r *statusRound) date(l *statusList) (time.Time, error) {
	if r.untrusted != nil {
		return time.Time{}, r.untrusted
	}
	now := r.now.Truncate(time.Second)
	switch ahead := l.signedAt.Sub(now); {
	case ahead < 0:
		return now, nil
	case ahead < r.ahead:
	case ahead == time.Second:
		r.at(l.signedAt)
		return time.Time{}, nil
	case ahead > time.Second && l.aheadAt.Equal(now):
		r.at(now.Add(time.Second))
		return time.Time{}, nil
	case ahead > time.Second:
		l.aheadAt = now
	}
	return l.signedAt.Add(time.Second), nil
}

// read reads a list for the first time, or the entries that were written since.
func (r *statusRound) read(ctx context.Context, l *statusList) error {
	dirty := r.s.takeDirty(l.id)
	if l.loaded && !l.unsure && len(dirty) == 0 {
		return nil
	}
	whole := !l.loaded || len(dirty) > l.statuses.Len()/statusWhole
	var record license.StatusList
	var entries []license.StatusEntry
	err := r.s.store.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		if record, err = tx.StatusList(ctx, l.id); err != nil {
			return err
		}
		if whole {
			entries, err = tx.StatusEntries(ctx, l.id)
			return err
		}
		entries, err = entriesAt(ctx, tx, l.id, dirty)
		return err
	})
	if err == nil && (record.Length < 1 || record.Length > maxListLength) {
		err = license.Errorf(license.Internal, "its record has the length %d", record.Length)
	}
	if err == nil && slices.ContainsFunc(entries, func(e license.StatusEntry) bool { return e.Index < 0 || e.Index >= record.Length }) {
		err = license.Errorf(license.Internal, "it has an entry beyond its end")
	}
	if err != nil {
		r.s.touchAgain(l.id, dirty)
		return err
	}
	if whole {
		l.statuses, l.undoable, l.loaded = token.NewStatuses(record.Length), make(map[int]time.Time), true
		l.digest, l.finalAt = sha256.Sum256(l.statuses), time.Time{}
	}
	l.unsure, l.signedAt, l.signedDigest = false, record.SignedAt, record.Digest
	l.take(entries, r.asOf(l))
	return nil
}

// entriesOf are the indexes among those that the feed names.
func entriesOf(at []int) []int {
	return slices.DeleteFunc(at, func(index int) bool { return index < 0 })
}

// entriesAt reads entries of a list.
func entriesAt(ctx context.Context, tx store.Tx, list string, indexes []int) (entries []license.StatusEntry, err error) {
	entries = make([]license.StatusEntry, len(indexes))
	for k, index := range indexes {
		if entries[k], err = tx.StatusEntry(ctx, list, index); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// asOf is the instant as of which a list speaks. Under a clock that is not
// trusted, or that was set back a little, that is when it was signed last:
// nothing becomes final by a wrong clock, nor stops being so.
func (r *statusRound) asOf(l *statusList) time.Time {
	ahead := l.signedAt.Sub(r.now)
	if r.untrusted != nil || ahead > 0 && ahead <= clockStep {
		return l.signedAt
	}
	return r.now
}

// touchAgain puts indexes back that could not be read.
func (s *statusLists) touchAgain(list string, indexes []int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range indexes {
		if s.dirty[list] == nil {
			s.dirty[list] = make(map[int]bool)
		}
		s.dirty[list][i] = true
	}
}

// take sets what entries say at now.
func (l *statusList) take(entries []license.StatusEntry, now time.Time) {
	changed := false
	for _, e := range entries {
		is := e.At(now)
		if was, _ := l.statuses.At(e.Index); was != is {
			l.statuses.Set(e.Index, is)
			changed = true
		}
		delete(l.undoable, e.Index)
		if is != e.Status {
			l.undoable[e.Index] = e.FinalAt
		}
	}
	if changed {
		l.digest = sha256.Sum256(l.statuses)
	}
	if len(entries) > 0 {
		l.finalAt = earliest(maps.Values(l.undoable))
	}
}

// ripen makes revocations final that can no longer be undone.
func (l *statusList) ripen(now time.Time) {
	if len(l.undoable) == 0 || now.Before(l.finalAt) {
		return
	}
	for index, at := range l.undoable {
		if !now.Before(at) {
			l.statuses.Set(index, license.StatusRevoked)
			delete(l.undoable, index)
		}
	}
	l.finalAt = earliest(maps.Values(l.undoable))
	l.digest = sha256.Sum256(l.statuses)
}

func earliest(times iter.Seq[time.Time]) (first time.Time) {
	for t := range times {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	return first
}

// record stores the dates of the lists that are signed anew, all at once,
// before any of them is served: what was dated is never dated earlier, whatever
// happens. What was written of a list since it was read is read in the same
// transaction, so that a list has all that was committed before its date was: an
// install that has seen the one before finds in this one whatever that had. A
// list that another daemon has dated meanwhile is looked at again.
func (r *statusRound) record(ctx context.Context) error {
	if len(r.anew) == 0 {
		return nil
	}
	err := r.s.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		written, _, known, err := feedSince(ctx, tx, r.s.place)
		if err != nil {
			return err
		}
		var dated []license.StatusRef
		for _, p := range r.anew {
			if p.overtaken = !known; p.overtaken {
				continue
			}
			if err := r.recordOne(ctx, tx, p, written[p.id]); err != nil {
				return err
			}
			if !p.overtaken && r.s.shared {
				dated = append(dated, license.StatusRef{List: p.id, Index: listDated(p.at)})
			}
		}
		return writeFeed(ctx, tx, dated)
	})
	if err != nil {
		for _, p := range r.anew {
			p.unsure = true
			p.wasTried()
		}
		r.anew = nil
		return fmt.Errorf("record that status lists are signed: %w", err)
	}
	r.anew = slices.DeleteFunc(r.anew, func(p *plannedList) bool {
		p.unsure = p.unsure || p.overtaken
		r.overtaken = r.overtaken || p.overtaken
		return p.overtaken
	})
	if r.overtaken {
		r.at(r.now)
	}
	for _, p := range r.anew {
		p.take(p.late, r.asOf(p.statusList))
		p.signedAt, p.signedDigest = p.at, bytes.Clone(p.digest[:])
		r.at(p.at.Add(StatusTTL))
	}
	return nil
}

// recordOne stores the date of one list, of which the entries at written were
// written since it was read.
func (r *statusRound) recordOne(ctx context.Context, tx store.Tx, p *plannedList, written []int) error {
	record, err := tx.StatusList(ctx, p.id)
	if err != nil {
		return err
	}
	p.overtaken = !record.SignedAt.Equal(p.signedAt) || !bytes.Equal(record.Digest, p.signedDigest) || slices.Contains(written, listWhole)
	written = entriesOf(written)
	p.overtaken = p.overtaken || len(written) > record.Length/statusWhole ||
		slices.ContainsFunc(written, func(index int) bool { return index >= record.Length })
	if p.overtaken {
		return nil
	}
	if p.late, err = entriesAt(ctx, tx, p.id, written); err != nil {
		return err
	}
	p.content = p.digest
	if len(p.late) > 0 {
		statuses := slices.Clone(p.statuses)
		for _, e := range p.late {
			statuses.Set(e.Index, e.At(r.asOf(p.statusList)))
		}
		p.content = sha256.Sum256(statuses)
	}
	record.SignedAt, record.Digest = p.at, p.content[:]
	return tx.PutStatusList(ctx, record)
}

// sign signs and serves what was planned, on all processors.
func (r *statusRound) sign() error {
	planned := append(r.again, r.anew...)
	errs := make([]error, len(planned))
	var wg sync.WaitGroup
	slots := make(chan struct{}, runtime.GOMAXPROCS(0))
	for k, p := range planned {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[k] = r.signOne(p)
			p.wasTried()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *statusRound) signOne(p *plannedList) error {
	if p.lst == "" || p.lstOf != p.digest {
		p.lst, p.lstOf = p.statuses.Compress(), p.digest
	}
	raw, err := token.SignStatusList(token.StatusList{
		Issuer: r.keys.Issuer, URI: statusURI(r.keys.Issuer, p.id),
		IssuedAt: p.at, ExpiresAt: p.at.Add(r.s.life), TTL: StatusTTL, List: p.lst,
	}, r.key)
	if err != nil {
		return fmt.Errorf("sign the status list %s: %w", p.id, err)
	}
	p.published.Store(&StatusList{ID: p.id, Token: raw, IssuedAt: p.at, KeyID: r.key.ID, statuses: bytes.Clone(p.statuses)})
	return nil
}
