package boltstore

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
)

const (
	// maxGroup bounds a group, so that whoever came first does not wait for an
	// endless stream of others.
	maxGroup = 256
	// yields is how often the writer lets other goroutines run before it closes a
	// group. Those that the last group woke come back just then; when there are
	// none a yield costs next to nothing.
	yields = 2
)

// States of a request.
const (
	waiting int32 = iota // in the queue
	begun                // taken by the writer
	givenUp              // its caller has gone
)

// request is one Update on its way through the writer. After done is closed
// everything else belongs to the caller.
type request struct {
	run   func(t *txn) error
	state atomic.Int32
	done  chan struct{}

	err      error
	panicked any
	exited   bool // the function called runtime.Goexit, as t.Fatal does
	wrote    bool
	alone    bool // wrote nothing and nothing was written before it: its answer needs no commit
}

// queue holds the requests that wait for the writer. Whoever pushes waits for
// the answer, so it is bounded by the number of callers.
type queue struct {
	mu     sync.Mutex
	items  []*request
	closed bool
	wake   chan struct{} // holds one token
}

// push adds r, unless the queue is closed.
func (q *queue) push(r *request) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.items = append(q.items, r)
	q.mu.Unlock()
	q.signal()
	return true
}

// enter counts somebody in wg, unless the queue is closed.
func (q *queue) enter(wg *sync.WaitGroup) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	wg.Add(1)
	return true
}

// idle reports whether nobody waits and the queue is open.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.items) == 0 && !q.closed
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
}

// wait returns true when there is a request, false when there will be none.
func (q *queue) wait() bool {
	for {
		q.mu.Lock()
		n, closed := len(q.items), q.closed
		q.mu.Unlock()
		switch {
		case n > 0:
			return true
		case closed:
			return false
		}
		<-q.wake
	}
}

// take moves at most n requests whose callers still wait to the end of group.
func (q *queue) take(group []*request, n int) []*request {
	q.mu.Lock()
	defer q.mu.Unlock()
	used := 0
	for _, r := range q.items {
		if n == 0 {
			break
		}
		used++
		if r.state.CompareAndSwap(waiting, begun) {
			group = append(group, r)
			n--
		}
	}
	rest := copy(q.items, q.items[used:])
	clear(q.items[rest:])
	q.items = q.items[:rest]
	return group
}

// giveBack puts requests at the front of the queue, to be run again.
func (q *queue) giveBack(rs []*request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range rs {
		r.err, r.panicked, r.wrote, r.alone = nil, nil, false, false
		r.state.Store(waiting)
	}
	q.items = append(rs, q.items...)
}

// errNothing rolls a group back in which nothing was written.
var errNothing = errors.New("nothing was written")

// write is the writer's goroutine.
func (s *Store) write() {
	for s.queue.wait() {
		s.commitWaiting()
	}
	s.writing <- struct{}{} // after a lone caller has ended; none begins any more
	close(s.stopped)
}

// commitWaiting commits what waits in the queue as one group.
func (s *Store) commitWaiting() {
	s.writing <- struct{}{}
	defer func() { <-s.writing }()
	s.gate.Lock()
	s.commitGroup(yields+1, func(g []*request) []*request { return s.queue.take(g, maxGroup-len(g)) })
}

// commitAlone commits r on its caller's own goroutine, which saves a lone caller
// two changes of goroutines, and reports whether it did. It does not where
// others wait or the last group was one of several, since then a group of one
// before each group of many would halve the rate.
func (s *Store) commitAlone(r *request) bool {
	if s.lastGroup.Load() > 1 {
		return false
	}
	select {
	case s.writing <- struct{}{}:
	default:
		return false
	}
	defer func() { <-s.writing }()
	if !s.queue.idle() || !s.gate.TryLock() { // who holds the gate may hold it for long
		return false
	}
	r.state.Store(begun)
	s.commitGroup(1, func([]*request) []*request { return []*request{r} })
	return true
}

// group is what one commit carries.
type group struct {
	members []*request
	written int // keys written by the functions that succeeded
	txid    int
}

// commitGroup runs and commits one group, which more adds to in so many rounds.
// The caller holds s.writing and s.gate; the gate is released here.
func (s *Store) commitGroup(rounds int, more func([]*request) []*request) {
	var g group
	ended := false
	if err := s.mend(); err != nil {
		s.gate.Unlock()
		g.members = more(nil)
		s.answer(&g, err)
		return
	}
	defer func() {
		if !ended {
			// A function has ended this goroutine, which nothing can hold up.
			s.gate.Unlock()
			s.abandon(g.members, rounds > 1)
		}
	}()
	err := s.writeGroup(&g, rounds, more)
	ended = true
	switch {
	case err == nil:
		s.durable.Store(int64(g.txid))
	case !errors.Is(err, errNothing):
		s.settle()
	}
	s.gate.Unlock()
	s.lastGroup.Store(int32(len(g.members)))
	s.answer(&g, err)
}

// writeGroup runs and commits one group. What panics in here beside the
// functions themselves is bbolt on a damaged file: the group has failed, and
// the writer goes on.
func (s *Store) writeGroup(g *group, rounds int, more func([]*request) []*request) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if p := recover(); p != nil {
			err = license.Errorf(license.Internal, "the store is damaged").WithCause(fmt.Errorf("panic: %v", p))
		}
	}()
	err = s.db.Update(func(btx *bolt.Tx) error {
		g.txid = btx.ID()
		b := openBuckets(btx)
		for round := range rounds {
			if round > 0 {
				runtime.Gosched()
			}
			from := len(g.members)
			g.members = more(g.members)
			for _, r := range g.members[from:] {
				if err := g.run(r, b); err != nil {
					return err
				}
			}
		}
		if g.written == 0 {
			return errNothing
		}
		return nil
	})
	returned = true
	return err
}

// run runs one function and undoes it if it fails. An error is one of the
// group: nothing of it can be kept.
func (g *group) run(r *request, b *buckets) error {
	t := newTxn(b, true)
	defer t.end()
	r.call(t)
	if r.err != nil || r.panicked != nil {
		if err := t.undo(); err != nil {
			return fmt.Errorf("undo: %w", err)
		}
	} else {
		r.wrote = len(t.journal) > 0
		g.written += len(t.journal)
	}
	r.alone = g.written == 0
	return nil
}

func (r *request) call(t *txn) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if r.panicked = recover(); r.panicked == nil {
			r.exited = true
		}
	}()
	r.err = r.run(t)
	returned = true
}

// answer tells every member of a group how it ended.
func (s *Store) answer(g *group, err error) {
	var failure error
	var ours *license.Error
	switch {
	case err == nil:
		s.commits.Add(1)
	case errors.Is(err, errNothing):
	case errors.As(err, &ours):
		failure = err
	default:
		failure = license.Errorf(license.ReadOnly, "the store cannot be written at present").
			WithCause(fmt.Errorf("commit to %s: %w", s.path, err))
	}
	if failure != nil {
		s.failed.Add(1)
	}
	for _, r := range g.members {
		switch {
		case r.err != nil || r.panicked != nil:
			s.undone.Add(1)
		case failure == nil && r.wrote:
			s.updates.Add(1)
		}
		if failure != nil && !r.alone {
			r.err = failure
		}
		close(r.done)
	}
}

// abandon is called while a goroutine that commits ends because a function
// called runtime.Goexit. bbolt has rolled the group back by now. The caller of
// that function ends in the same way; the others are run again, by a new writer
// where it was the writer that ended.
func (s *Store) abandon(members []*request, wasWriter bool) {
	again := make([]*request, 0, len(members))
	for _, r := range members {
		if r.exited {
			s.undone.Add(1)
			close(r.done)
		} else {
			again = append(again, r)
		}
	}
	s.queue.giveBack(again)
	if wasWriter {
		go s.write()
	}
}
