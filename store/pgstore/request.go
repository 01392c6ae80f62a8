package pgstore

import (
	"context"
	"sync/atomic"

	"github.com/seed-357fa782/licensed/store"
)

// request is a function that waits for its turn.
type request struct {
	practice chan *txn     // the writer's: rehearse on this
	turn     chan *txn     // the writer's: run now, on this
	back     chan struct{} // the turn is over
	gone     chan struct{} // closed when the function has ended its goroutine in a rehearsal
	done     chan struct{} // closed when the group has ended
	err      error

	state atomic.Int32
	left  bool // it panicked or ended its goroutine in its turn
	wrote bool
}

// States of a request.
const (
	waiting int32 = iota
	begun
	givenUp
)

func newRequest() *request {
	return &request{
		practice: make(chan *txn, 1), turn: make(chan *txn), back: make(chan struct{}),
		gone: make(chan struct{}), done: make(chan struct{}),
	}
}

// begin reports whether the function is run: not if its caller has given up.
func (r *request) begin() bool {
	return r.state.Load() == begun || r.state.CompareAndSwap(waiting, begun)
}

// hasLeft reports whether it will not run again.
func (r *request) hasLeft() bool {
	select {
	case <-r.gone:
		return true
	default:
		return r.left
	}
}

// wait does what the writer asks for until the group has ended. inner is the ctx of fn.
func (r *request) wait(ctx, inner context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	ended := ctx.Done()
	for {
		select {
		case t := <-r.practice:
			r.rehearse(inner, t, fn)
			ended = nil
		case t := <-r.turn:
			// A rehearsal that was slept through is over. Were it taken up after the turn
			// fn would set its results once more, to those of a run that fails.
			select {
			case <-r.practice:
			default:
			}
			r.run(inner, t, fn)
			ended = nil
		case <-r.done:
			return r.err
		case <-ended:
			if r.state.CompareAndSwap(waiting, givenUp) {
				return context.Cause(ctx)
			}
			ended = nil
		}
	}
}

// run runs fn and gives the turn back, also where fn panics or ends the goroutine.
func (r *request) run(ctx context.Context, t *txn, fn func(ctx context.Context, tx store.Tx) error) {
	r.left = true
	defer func() { r.back <- struct{}{} }()
	r.err = fn(ctx, t)
	r.left = false
}

// rehearse runs fn for what it reads. A panic is for when it runs in earnest; who
// ends the goroutine has been undone.
func (r *request) rehearse(ctx context.Context, t *txn, fn func(ctx context.Context, tx store.Tx) error) {
	returned := false
	defer func() {
		if !returned && recover() == nil {
			close(r.gone)
		}
		t.end()
		t.practice.leave()
	}()
	_ = fn(ctx, t) // it is run again
	returned = true
}
