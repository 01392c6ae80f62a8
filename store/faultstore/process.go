package faultstore

import (
	"context"
	"sync"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// ErrKilled is the error of everything that a Process does once it was killed.
var ErrKilled = license.Errorf(license.ReadOnly, "the process was killed")

// Process is a store as one process sees it, which can be killed at any instant:
// everything that the process goes on to do fails, and nothing of it is done.
// Of a transaction under way at that instant the process never learns how it
// ended.
//
//	p := faultstore.NewProcess(s)
//	… // whatever runs on p
//	p.Kill()
//	p.Wait()
//	p = faultstore.NewProcess(s) // the next one finds what had been committed
type Process struct {
	inner store.Store

	mu       sync.Mutex
	killed   bool
	running  sync.WaitGroup // calls of the inner store
	onUpdate func(ctx context.Context, committed bool)
}

var _ store.Store = (*Process)(nil)

// NewProcess begins a process on s, which other processes may use at the same
// time.
func NewProcess(s store.Store) *Process { return &Process{inner: s} }

// OnUpdate has look called on both sides of each commit with the ctx of its
// Update: when the function has succeeded and nothing is committed, and when it
// was. Where look kills the process, the one is lost and the other is not. It may
// be called by several goroutines at once, must not wait for others, and is set
// before the process begins.
func (p *Process) OnUpdate(look func(ctx context.Context, committed bool)) { p.onUpdate = look }

// Kill ends the process. It does not wait, so that it can be called from within
// a transaction; what is being committed just then is committed.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.killed = true
}

// Wait waits until a process that was killed has nothing under way in the store.
// It must not be called by a function that View or Update runs.
func (p *Process) Wait() { p.running.Wait() }

func (p *Process) dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.killed
}

// enter counts a call of the inner store, unless the process was killed.
func (p *Process) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.killed {
		p.running.Add(1)
	}
	return !p.killed
}

// View passes on.
func (p *Process) View(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	if !p.enter() {
		return ErrKilled
	}
	defer p.running.Done()
	err := p.inner.View(ctx, fn)
	if p.dead() {
		return ErrKilled
	}
	return err
}

// Update passes on. A process that is killed before the commit has changed
// nothing.
func (p *Process) Update(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	if !p.enter() {
		return ErrKilled
	}
	defer p.running.Done()
	err := p.inner.Update(ctx, func(inner context.Context, tx store.Tx) error {
		if p.dead() {
			return ErrKilled
		}
		if err := fn(inner, tx); err != nil {
			return err
		}
		p.look(ctx, false)
		if p.dead() {
			return ErrKilled
		}
		return nil
	})
	if err == nil {
		p.look(ctx, true)
	}
	if p.dead() {
		return ErrKilled
	}
	return err
}

func (p *Process) look(ctx context.Context, committed bool) {
	if p.onUpdate != nil {
		p.onUpdate(ctx, committed)
	}
}

// Stats passes on.
func (p *Process) Stats() store.Stats { return p.inner.Stats() }

// Close closes the store, as other processes see it too.
func (p *Process) Close() error { return p.inner.Close() }
