package authority_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// beside is another daemon on the store of w, with the same keys and a clock that
// differs by off.
func (w *world) beside(off time.Duration, edit ...func(*authority.Options)) *world {
	w.t.Helper()
	if !w.options.Shared {
		w.again(func(o *authority.Options) { o.Shared = true })
	}
	b := &world{
		t: w.t, now: w.clock().Add(off), ran: w.uptime(), store: w.store, up: w.up, ring: w.ring,
		lists: map[string]verifiedList{}, options: w.options,
	}
	b.again(append([]func(*authority.Options){func(o *authority.Options) { o.Now, o.Uptime = b.clock, b.uptime }}, edit...)...)
	if err := b.a.LoadStatusLists(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return b
}

// twoDaemons are two on a store, whose clocks differ by off, and a licence with its install: the
// first one has begun the list that it is in.
func twoDaemons(t *testing.T, off time.Duration) (a, b *world, is authority.Issued, i *install) {
	t.Helper()
	a = newWorld(t)
	b = a.beside(off)
	is = a.issue()
	i = a.install("machine-1")
	a.must(i.activate(is.Code), "")
	return a, b, is, i
}

// by has an install call another daemon from now on.
func (i *install) by(w *world) *install {
	i.w = w
	return i
}

// same checks that two daemons serve the same list.
func same(t *testing.T, id string, a, b *world) {
	t.Helper()
	if x, y := a.list(id), b.list(id); x.Raw != y.Raw {
		t.Errorf("two daemons serve two lists: of %s and of %s", x.IssuedAt, y.IssuedAt)
	}
}

// What one daemon changes the others serve at their next look, also in a list that
// they have not heard of, and byte for byte as the one that has dated it.
func TestStatusOfAnotherDaemon(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		a, b, is, i := twoDaemons(t, off)
		id := i.listID()
		if _, err := b.a.StatusList(t.Context(), id); license.ReasonOf(err) != license.ReadOnly {
			t.Errorf("of a list that was begun just now: %v", err)
		}
		b.publish()
		same(t, id, a, b)
		for _, step := range []struct {
			by    *world
			event license.Event
			want  license.ListStatus
		}{
			{a, license.EventSuspend, suspended},
			{b, license.EventResume, valid},
			{b, license.EventSuspend, suspended},
			{a, license.EventResume, valid},
			{a, license.EventRevoke, suspended},
		} {
			a.pass(time.Minute)
			b.pass(time.Minute)
			before := a.list(id).IssuedAt
			a.must(step.by.edit(is.License.ID, step.event), "")
			first, second := a, b
			if step.by == a {
				first, second = b, a // who did not do it dates it
			}
			first.publish()
			second.publish()
			same(t, id, a, b)
			if got := i.by(b).listed(); got != step.want {
				t.Errorf("clocks %s apart: after %s it is listed as %d, want %d", off, step.event, got, step.want)
			}
			if at := b.list(id).IssuedAt; !at.After(before) {
				t.Errorf("the date goes from %s to %s", before, at)
			}
		}
		a.pass(day)
		b.pass(day)
		b.publish()
		a.publish()
		b.publish()
		same(t, id, a, b)
		if got := i.by(a).listed(); got != revoked {
			t.Errorf("clocks %s apart: when it is final it is listed as %d", off, got)
		}
	}
}

// stoppable is a store on which something happens before the next Update begins.
type stoppable struct {
	store.Store
	before func()
}

func (s *stoppable) Update(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	if do := s.before; do != nil {
		s.before = nil
		do()
	}
	return s.Store.Update(ctx, fn)
}

// A list has all that was committed before its date was: what another daemon
// revokes between the look of the first and the date of its list is in that list,
// and where the other has dated the list itself there are not two of one date.
// However long the first is stopped there, it serves nothing that undoes anything.
func TestStatusDatedMeanwhile(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		publishes bool
		stopped   time.Duration
	}{
		"changed": {}, "changed and dated": {publishes: true}, "stopped for an hour": {true, time.Hour}, "stopped, and nobody dated": {false, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newWorld(t)
			stopping := &stoppable{Store: a.store}
			a.again(func(o *authority.Options) { o.Store = stopping })
			b := a.beside(0, func(o *authority.Options) { o.Store = a.store })
			mine, theirs, third := a.issue(), a.issue(), a.issue()
			i, j, k := a.install("machine-1"), a.install("machine-2"), a.install("machine-3")
			a.must(i.activate(mine.Code), "")
			a.must(j.activate(theirs.Code), "")
			a.must(k.activate(third.Code), "")
			id := i.listID()
			b.publish()
			a.pass(time.Minute)
			b.pass(time.Minute)
			a.must(a.edit(mine.License.ID, license.EventSuspend), "")
			stopping.before = func() {
				b.must(b.edit(theirs.License.ID, license.EventSuspend), "")
				if test.publishes {
					b.publish()
				}
				a.pass(test.stopped)
				b.pass(test.stopped)
				if test.publishes && test.stopped > 0 {
					b.must(b.edit(third.License.ID, license.EventSuspend), "")
					b.publish()
				}
			}
			a.publish()
			if got := j.by(a).listed(); got != suspended {
				t.Errorf("the list that was dated last does not have what was committed before: %d", got)
			}
			b.publish()
			a.publish()
			same(t, id, a, b)
			want := valid
			if test.publishes && test.stopped > 0 {
				want = suspended
			}
			for _, w := range []*world{a, b} {
				if is := []license.ListStatus{i.by(w).listed(), j.by(w).listed(), k.by(w).listed()}; is[0] != suspended || is[1] != suspended || is[2] != want {
					t.Errorf("listed as %v", is)
				}
				if err := w.agree(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Whoever was in bad standing, and has seen that in the list of one daemon, gets a
// list that clears it from another, which has not heard of either.
func TestStatusOfWhoCallsAnotherDaemon(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		a, b, is, i := twoDaemons(t, off)
		id := i.listID()
		b.publish()
		a.pass(time.Minute)
		b.pass(time.Minute)
		a.must(a.edit(is.License.ID, license.EventSuspend), "")
		a.publish()
		bad := a.list(id)
		a.pass(2 * time.Second)
		b.pass(2 * time.Second)
		a.must(a.edit(is.License.ID, license.EventResume), "")
		b.must(i.by(b).refresh(), "")
		if good := b.list(id); !good.IssuedAt.After(bad.IssuedAt) || i.listed() != valid {
			t.Errorf("clocks %s apart: with its licence it gets the list of %s, after one of %s", off, good.IssuedAt, bad.IssuedAt)
		}
		a.publish()
		same(t, id, a, b)
	}
}

// A daemon that has fallen behind by more than the feed holds, or whose store came
// back without its last transactions, reads the lists from the beginning.
func TestStatusFeedIsLost(t *testing.T) {
	t.Parallel()
	a, b, is, i := twoDaemons(t, 0)
	id := i.listID()
	value := func(to []byte) (was []byte) {
		err := a.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
			if was, err = tx.Value(ctx, "status.feed"); err != nil && !errors.Is(err, license.NotFound) {
				return err
			}
			return tx.SetValue(ctx, "status.feed", to)
		})
		if err != nil {
			t.Fatal(err)
		}
		return was
	}
	b.publish()
	for n, damage := range []func(){
		func() {}, func() { value(nil) }, func() { value([]byte("{")) },
		func() { // the newest transaction is replaced by another one
			value([]byte(strings.Replace(string(value(nil)), `"seal":"`, `"seal":"0`, 1)))
		},
	} {
		a.pass(time.Minute)
		b.pass(time.Minute)
		event, want := license.EventSuspend, suspended
		if n%2 == 1 {
			event, want = license.EventResume, valid
		}
		a.must(a.edit(is.License.ID, event), "")
		damage()
		b.publish()
		a.publish()
		same(t, id, a, b)
		if got := i.by(b).listed(); got != want {
			t.Errorf("%d: listed as %d, want %d", n, got, want)
		}
	}
}

// The feed goes back over thousands of entries and no further, block by block, and
// keeps nothing that is older.
func TestStatusFeedIsBounded(t *testing.T) {
	t.Parallel()
	a, b, _, i := twoDaemons(t, 0)
	for n := range 90 {
		if n == 10 {
			b.publish()
		}
		err := a.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			for k := range 100 {
				ref := license.StatusRef{List: i.listID(), Index: n%10*100 + k}
				e := license.StatusEntry{Index: ref.Index, Status: license.StatusSuspended}
				if err := errors.Join(tx.PutStatusEntry(ctx, ref.List, e), authority.WriteStatusFeed(ctx, tx, ref)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if n == 20 {
			b.pass(time.Minute)
			b.publish()
			if l := b.list(i.listID()); marked(l) != 1000 {
				t.Errorf("%d entries of 1000 are there", marked(l))
			}
		}
	}
	a.pass(time.Hour)
	b.pass(time.Hour)
	a.publish()
	b.publish()
	same(t, i.listID(), a, b)
	var kept []store.Value
	err := a.store.View(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		kept, _, err = tx.Values(ctx, "status.feed", store.Page{Limit: store.MaxPage})
		return err
	})
	if err != nil || len(kept) != 129 {
		t.Errorf("%d blocks are kept: %v", len(kept), err)
	}
	for _, v := range kept {
		if len(v.Data) > 16<<10 {
			t.Errorf("%s has %d bytes", v.Name, len(v.Data))
		}
	}
}

func marked(l token.StatusList) (n int) {
	for index := range l.Len() {
		if status, _ := l.At(index); status != valid {
			n++
		}
	}
	return n
}

// Many daemons draw, change and publish at the same time: no place is given twice,
// dates only grow wherever somebody looks, and in the end all serve the same, which
// agrees with the facts.
func TestStatusOfManyDaemons(t *testing.T) {
	t.Parallel()
	first := newWorld(t)
	manyDaemons(t, first, first.beside(0), first.beside(5*time.Minute))
}

func manyDaemons(t *testing.T, daemons ...*world) {
	t.Helper()
	for _, w := range daemons {
		w.a.SetStatusListLength(8)
	}
	var working, publishing sync.WaitGroup
	ended := make(chan struct{})
	hasty, cancel := context.WithCancel(t.Context()) // waits for no list
	cancel()
	for n, w := range daemons {
		publishing.Go(func() {
			dates := map[string]time.Time{}
			for round := 0; ; round++ {
				select {
				case <-ended:
					return
				default:
				}
				w.pass(time.Second)
				if _, err := w.a.Publish(t.Context()); err != nil {
					t.Errorf("publish: %v", err)
				}
				for _, id := range w.listIDs() {
					l, err := w.a.StatusList(hasty, id)
					if err != nil {
						continue // begun by another just now
					}
					if l.IssuedAt.Before(dates[id]) {
						t.Errorf("%s goes from %s back to %s", id, dates[id], l.IssuedAt)
					}
					dates[id] = l.IssuedAt
				}
			}
		})
		working.Go(func() {
			for k := range 12 {
				is, err := w.a.Issue(t.Context(), admin, authority.Order{Product: "cad", Customer: "ACME", For: 365 * day})
				if err != nil {
					t.Errorf("issue: %v", err)
					return
				}
				i := w.install(fmt.Sprintf("machine-%d-%d", n, k))
				if err := i.activate(is[0].Code); err != nil {
					t.Errorf("activate: %v", err)
				}
				events := []license.Event{license.EventSuspend, license.EventResume, license.EventRevoke}
				for _, e := range events[:k%4] {
					if err := daemons[(n+k)%len(daemons)].edit(is[0].License.ID, e); err != nil {
						t.Errorf("%s: %v", e, err)
					}
				}
			}
		})
	}
	working.Wait()
	close(ended)
	publishing.Wait()
	for _, pass := range []time.Duration{time.Minute, time.Minute, time.Minute, 0, 0} { // at the end all have heard of all
		for _, w := range daemons {
			w.pass(pass)
			if _, err := w.a.Publish(t.Context()); err != nil {
				t.Error(err)
			}
		}
	}
	for _, w := range daemons {
		if err := w.agree(); err != nil {
			t.Error(err)
		}
		for _, id := range w.listIDs() {
			x, err := daemons[0].a.StatusList(t.Context(), id)
			y, err2 := w.a.StatusList(t.Context(), id)
			if err := errors.Join(err, err2); err != nil || x.Token != y.Token {
				t.Errorf("%s is served in two forms: %v", id, err)
			}
		}
	}
}

// listIDs are the lists that the store has.
func (w *world) listIDs() (ids []string) {
	err := w.store.View(w.t.Context(), func(ctx context.Context, tx store.Tx) error {
		all, err := tx.StatusLists(ctx)
		ids = nil
		for _, l := range all {
			ids = append(ids, l.ID)
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
	return ids
}
