package pgstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// queue holds what waits for the writer.
type queue struct {
	mu      sync.Mutex
	waiting []*request
	closed  bool
	wake    chan struct{} // has a token when there may be something to do
}

func (q *queue) push(r *request) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.waiting = append(q.waiting, r)
	q.signal()
	return true
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// enter counts a View that begins, unless the store is closed.
func (q *queue) enter(views *sync.WaitGroup) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.closed {
		views.Add(1)
	}
	return !q.closed
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

// take adds to a group those that wait, and reports whether there can be more.
func (q *queue) take(members []*request) (all []*request, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), groupMost-len(members))
	members = append(members, q.waiting[:n]...)
	q.waiting = q.waiting[n:]
	if len(q.waiting) > 0 {
		q.signal()
	}
	return members, !q.closed || len(q.waiting) > 0
}

const (
	// groupMost is how many functions share a transaction at most, so that whoever
	// came first does not wait for an endless stream of others.
	groupMost = 256
	// yields is how often the writer lets other goroutines run before it closes a
	// group: those that the last group woke come back just then.
	yields = 2
)

// write commits group after group until the store is closed.
func (s *Store) write() {
	defer close(s.stopped)
	for range s.queue.wake {
		for range yields {
			runtime.Gosched()
		}
		members, more := s.queue.take(nil)
		if len(members) > 0 {
			s.commit(members)
		}
		if !more {
			return
		}
	}
}

const (
	// mostAttempts is how often what failed by a conflict is tried again.
	mostAttempts = 12
	// mostTurns is how often a daemon that finds another one's change under the lock
	// takes its turn anew before it gives up: it has run no function yet, and to
	// lose so often in a row others must be at it without a break.
	mostTurns = 400
	// pauseStep is the first pause before it is, which doubles up to pauseMost.
	pauseStep = 500 * time.Microsecond
	pauseMost = 100 * time.Millisecond
)

// pause waits before a further attempt, for a random part of a time that doubles.
func pause(attempt int) {
	most := min(pauseStep<<min(attempt, 20), pauseMost)
	time.Sleep(rand.N(most)) //nolint:gosec // jitter, not a secret
}

// commit runs the functions of a group in one transaction, again after a
// conflict, and tells each how it ended.
func (s *Store) commit(members []*request) {
	var failure error
	s.stuck.begin()
	for attempt, turns := 0, 0; ; {
		failure = s.attempt(members, attempt > 0)
		if lost, is := errors.AsType[*lostError](failure); is {
			failure = s.settle(lost)
		}
		if failure == nil || !canRepeat(failure, attempt) {
			break
		}
		s.again.Add(1)
		if _, is := errors.AsType[*behindError](failure); is {
			if turns++; turns == mostTurns {
				break
			}
			if turns > 2 { // at first the other is likely to gather its next group
				pause(min(turns, 4))
			}
			members, _ = s.queue.take(members) // those that came while another had the turn
			continue
		}
		if attempt++; attempt == mostAttempts {
			break
		}
		pause(attempt)
	}
	if failure != nil {
		s.failed.Add(1)
	}
	if s.stuck.end(failure) {
		go s.probe()
	}
	for _, r := range members {
		switch {
		case r.state.Load() == givenUp:
			continue
		case failure != nil:
			r.err = asError(failure)
		case r.err != nil || r.hasLeft():
			s.undone.Add(1)
		case r.wrote:
			s.updates.Add(1)
		}
		close(r.done)
	}
}

// attempt runs those of a group that are still there, once.
func (s *Store) attempt(members []*request, careful bool) (failure error) {
	ctx := context.Background()
	conn, err := s.writes.Acquire(ctx)
	if err != nil {
		return &connectError{err}
	}
	defer conn.Release() // which ends a transaction that is open by closing the connection
	d := s.turn(conn.Conn())
	d.careful = careful
	defer func() {
		s.rounds.Add(d.rounds)
		switch state := stateOf(failure); {
		case failure == nil || conn.Conn().IsClosed():
		case state == stateReadOnly || state == stateUnsupported:
			_ = conn.Conn().Close(ctx) // it may lead to a server that was replaced
		default:
			undo := &session{conn: conn.Conn(), limit: s.limit}
			_ = undo.ask(ctx, nil, "rollback") // else the connection is closed
		}
	}()
	if len(members) >= rehearseFrom {
		d.rehearse(ctx, members)
	}
	wrote, succeeded := false, false
	for _, r := range members {
		if d.failure != nil {
			return d.behind()
		}
		if r.hasLeft() || !r.begin() {
			continue
		}
		t := newTxn(d, true)
		select {
		case r.turn <- t:
			<-r.back
		case <-r.gone:
			continue
		}
		t.end()
		if !r.left {
			t.prove()
		}
		r.wrote = t.wrotes
		if r.left || r.err != nil {
			t.undo()
		} else {
			t.keep()
			wrote, succeeded = wrote || r.wrote, true
		}
	}
	if d.failure != nil {
		return d.behind()
	}
	return s.finish(ctx, d, wrote, succeeded)
}

// turn begins the transaction of a group, which asks for the turn with its first
// statement.
func (s *Store) turn(conn *pgx.Conn) *session {
	d := newSession(conn, s.limit, beginWrite)
	d.carried = true
	d.askHead("select seq, hash from head for update", s.known)
	if s.asked != conn { // which may lead to a server that took the place of another
		d.askKnown(s.known)
	}
	return d
}

// behind is why the session has failed: where it is a conflict before the head was
// locked another daemon was at its turn.
func (d *session) behind() error {
	if !d.headLoaded && stateOf(d.failure) == stateSerialization {
		return &behindError{d.failure}
	}
	return d.failure
}

// finish commits. Where every function failed only the lock on the head is in the
// log, which need not be on disk: a refusal does not make the disk sync. One that
// succeeded without writing may tell of what a standby does not have yet.
func (s *Store) finish(ctx context.Context, d *session, wrote, succeeded bool) error {
	if !d.begun && !wrote {
		return nil // nothing was asked for
	}
	if err := d.loadHead(ctx); err != nil {
		return d.behind()
	}
	s.known, s.asked = d.before, d.conn
	switch {
	case wrote:
		d.queueChanges(d.cells, &d.changes)
	case !succeeded:
		d.later("set local synchronous_commit = off")
	}
	if d.head != d.before {
		d.later("update head set seq = $1, hash = $2", d.head.Seq, d.head.Hash[:])
	}
	warning := d.commit(ctx)
	switch {
	case warning != nil && wrote: // the next commit waits for what this one did not
		return &lostError{warning, d.before, d.head, d.group}
	case d.failure != nil && wrote && isLost(d.failure):
		return &lostError{d.failure, d.before, d.head, d.group}
	case d.failure == nil && wrote:
		s.known = d.head
		s.commits.Add(1)
	}
	if d.failure == nil {
		s.stuck.made()
	}
	return d.failure
}

// commit commits. It returns the warning of a server that has done so and did not wait
// for its standby, because somebody has cancelled that; what fails is kept as ever.
func (d *session) commit(ctx context.Context) (warning error) {
	of := d.conn.PgConn().CustomData()
	delete(of, warned)
	_ = d.ask(ctx, nil, "commit") // which keeps its failure
	if text, is := of[warned]; is && d.failure == nil {
		return fmt.Errorf("the database has warned: %v", text)
	}
	return nil
}

// settle finds out what became of a commit that was not answered. The lock on
// the head says when nothing of it can come any more, and the log whether it has:
// by the number of its group, since what two daemons write at one position
// can be the same to the last byte.
func (s *Store) settle(lost *lostError) error {
	unsure := &unsureError{lost.err}
	if lost.after == lost.before {
		return unsure // it has left nothing to be known by
	}
	ctx := context.Background()
	conn, err := s.writes.Acquire(ctx)
	if err != nil {
		return unsure
	}
	defer conn.Release()
	d := s.turn(conn.Conn())
	group, ok, err := d.groupAt(ctx, lost.after.Seq)
	// Committed, because that waits for a synchronous standby, as the lost one would
	// have: a server that was started again has what its standby may not have.
	var warning error
	if d.failure == nil {
		warning = d.commit(ctx)
	}
	if err != nil || d.failure != nil || warning != nil {
		return unsure
	}
	switch {
	case ok && group == lost.group:
		s.known = lost.after
		s.commits.Add(1)
		s.stuck.made()
		return nil
	case d.head.Seq >= lost.before.Seq:
		return &undoneError{lost.err}
	}
	return unsure
}
