// Package faultstore wraps a store so that it fails on demand: before a change,
// after it, or at one call in the middle. It is for _test files only.
//
// A test runs what it is about once without faults, asks how many steps that
// took, and then again for each step and each kind of fault:
//
//	faults := faultstore.Wrap(s)
//	for n := 1; ; n++ {
//		faults.FailUpdate(faultstore.Nth(n, faultstore.DoneButFails))
//		err := useCase(faults)
//		if faults.Injected() == 0 {
//			break // it has fewer steps than n
//		}
//		faults.Reset()
//		// do it again, and check that the end state is as if nothing had happened
//	}
package faultstore

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// ErrInjected is the error of an Update or call that was made to fail. Its
// reason is that of a disk that cannot be written.
var ErrInjected = license.Errorf(license.ReadOnly, "a fault was injected")

// Fault is what happens to one Update.
type Fault int

// The faults.
const (
	// None: it goes on as usual.
	None Fault = iota
	// NotDone: it fails and has not happened. The function was run and undone.
	NotDone
	// DoneButFails: it has happened, but its caller is told that it failed.
	DoneButFails
	// Again: it succeeds, but the function was run, undone and run once more,
	// as after a conflict in a database.
	Again
)

// Update describes an Update whose function has been run with success and is
// about to be committed.
type Update struct {
	N     int      // counts from 1 since Wrap or Reset, those that failed by themselves included
	Calls []string // names of the methods of Tx that it called, in order
}

// Called reports whether the function called the method of Tx with that name.
func (u Update) Called(method string) bool { return slices.Contains(u.Calls, method) }

// Call describes one call on a Tx that is about to be made.
type Call struct {
	N        int    // counts from 1 since Wrap or Reset
	Method   string // name of the method of Tx
	Writable bool   // in an Update, not in a View
}

// Store is a store that fails on demand.
type Store struct {
	inner store.Store

	mu       sync.Mutex
	onUpdate func(Update) Fault
	onCall   func(Call) error
	updates  int
	calls    int
	injected int
}

var _ store.Store = (*Store)(nil)

// Wrap returns a store that passes everything on to s until told otherwise.
func Wrap(s store.Store) *Store { return &Store{inner: s} }

// FailUpdate has decide say what happens to each Update whose function
// succeeds; nil ends that. It may be asked by several goroutines, one at a time.
func (s *Store) FailUpdate(decide func(Update) Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onUpdate = decide
}

// FailCall has decide give an error for each call on a Tx, in Update and View,
// or nil to let it through; nil instead of decide ends that. A call that fails
// is not made.
func (s *Store) FailCall(decide func(Call) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onCall = decide
}

// Reset ends all faults and counts from 1 again.
func (s *Store) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onUpdate, s.onCall = nil, nil
	s.updates, s.calls, s.injected = 0, 0, 0
}

// Updates returns how many Updates there were since Wrap or Reset.
func (s *Store) Updates() int { return s.read(&s.updates) }

// Calls returns how many calls on a Tx there were since Wrap or Reset.
func (s *Store) Calls() int { return s.read(&s.calls) }

// Injected returns how many faults there were since Wrap or Reset.
func (s *Store) Injected() int { return s.read(&s.injected) }

func (s *Store) read(n *int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *n
}

// Nth gives the nth Update the fault f.
func Nth(n int, f Fault) func(Update) Fault {
	return func(u Update) Fault {
		if u.N == n {
			return f
		}
		return None
	}
}

// NthCall fails the nth call on a Tx with ErrInjected.
func NthCall(n int) func(Call) error {
	return func(c Call) error {
		if c.N == n {
			return ErrInjected
		}
		return nil
	}
}

// Method fails every call of the named method of Tx with ErrInjected.
func Method(name string) func(Call) error {
	return func(c Call) error {
		if c.Method == name {
			return ErrInjected
		}
		return nil
	}
}

// View passes on, with the faults of FailCall.
func (s *Store) View(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	return s.inner.View(ctx, func(ctx context.Context, tx store.Tx) error {
		return fn(ctx, &faultTx{store: s, inner: tx})
	})
}

// errAgain undoes a function that is to be run once more.
var errAgain = errors.New("run it again")

// Update passes on, with the faults of FailUpdate and FailCall.
func (s *Store) Update(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	n := s.begin()
	var fault Fault
	once := func(ctx context.Context, tx store.Tx) error {
		fault = None
		t := &faultTx{store: s, inner: tx, writable: true}
		if err := fn(ctx, t); err != nil {
			return err
		}
		switch fault = s.decide(Update{N: n, Calls: t.called}); fault {
		case NotDone:
			return ErrInjected
		case Again:
			return errAgain
		case None, DoneButFails:
		}
		return nil
	}
	err := s.inner.Update(ctx, once)
	if fault == Again && errors.Is(err, errAgain) {
		return s.inner.Update(ctx, func(ctx context.Context, tx store.Tx) error {
			return fn(ctx, &faultTx{store: s, inner: tx, writable: true})
		})
	}
	if err == nil && fault == DoneButFails {
		return ErrInjected
	}
	return err
}

func (s *Store) begin() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updates++
	return s.updates
}

func (s *Store) decide(u Update) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.onUpdate == nil {
		return None
	}
	f := s.onUpdate(u)
	if f != None {
		s.injected++
	}
	return f
}

// call is asked before each call on a Tx.
func (s *Store) call(method string, writable bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.onCall == nil {
		return nil
	}
	err := s.onCall(Call{N: s.calls, Method: method, Writable: writable})
	if err != nil {
		s.injected++
	}
	return err
}

// Stats passes on.
func (s *Store) Stats() store.Stats { return s.inner.Stats() }

// Close closes the wrapped store.
func (s *Store) Close() error { return s.inner.Close() }
