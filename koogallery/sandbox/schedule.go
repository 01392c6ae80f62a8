package sandbox

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Retry restarts a message that failed or was not sent, with all its attempts
// anew, or makes the next attempt of a pending one now (when Manual: at the next
// Advance). A newInstance whose order was refunded cannot be restarted.
func (s *Sandbox) Retry(id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	i := slices.IndexFunc(s.deliveries, func(d *delivery) bool { return d.ID == id })
	if i < 0 {
		return fmt.Errorf("retry %d: %w", id, ErrUnknownDelivery)
	}
	switch d := s.deliveries[i]; d.State {
	case Failed, Unsent:
		if d.sale != nil && !d.sale.cancelledAt.IsZero() {
			return fmt.Errorf("retry %d, of which the order was refunded: %w", id, ErrState)
		}
		s.enqueue(d)
	case Pending:
		s.nudge(s.queues[d.queue])
	case Delivered:
		return fmt.Errorf("retry %d, which was delivered: %w", id, ErrState)
	}
	return nil
}

// RetryNow ends every wait for a next attempt.
func (s *Sandbox) RetryNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range s.queues {
		s.nudge(q)
	}
}

func (s *Sandbox) nudge(q *queue) {
	q.due = s.opts.Now()
	if s.opts.Manual {
		return
	}
	select {
	case q.wake <- struct{}{}:
	default: // nudged already
	}
}

// WaitIdle waits until nothing is pending: every message was delivered, given
// up or unsent. When Manual it makes the attempts that are due, and fails with
// ErrState where later ones remain.
func (s *Sandbox) WaitIdle(ctx context.Context) error {
	if s.opts.Manual {
		if err := s.Advance(ctx, 0); err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if n := len(s.queues); n > 0 {
			return fmt.Errorf("wait: %d messages are due later; advance the clock: %w", n, ErrState)
		}
		return nil
	}
	for {
		s.mu.Lock()
		idle, changed := len(s.queues) == 0, s.changed
		s.mu.Unlock()
		if idle {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.done:
			return ErrClosed
		}
	}
}

// Now is the sandbox's clock: Options.Now, and when Manual what Advance added.
// Give it to a merchant in the same process.
func (s *Sandbox) Now() time.Time { return s.opts.Now() }

// Advance moves the clock of a Manual sandbox and makes what falls due on the
// way, in the order of time and, at the same time, of age: attempts and probes.
// It returns when all was answered, or with the error of ctx. Advance(ctx, 0)
// makes what is due now.
func (s *Sandbox) Advance(ctx context.Context, d time.Duration) error {
	if !s.opts.Manual || d < 0 {
		return fmt.Errorf("advance %v: only forwards, and only a manual sandbox: %w", d, ErrState)
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	end := s.opts.Now().Add(d)
	for ctx.Err() == nil {
		q, item, closed := s.nextDue(end)
		switch {
		case closed:
			return ErrClosed
		case q != nil:
			s.step(ctx, q, item)
		default:
			s.moveTo(end)
			return nil
		}
	}
	return ctx.Err()
}

// nextDue moves the clock to what is due next until end, and returns the queue
// whose first message it is. Probes are queued on the way.
func (s *Sandbox) nextDue(end time.Time) (*queue, *delivery, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.closed {
			return nil, nil, true
		}
		var first *queue
		for _, q := range s.queues {
			if first == nil || q.due.Before(first.due) || q.due.Equal(first.due) && q.items[0].ID < first.items[0].ID {
				first = q
			}
		}
		probe := s.nextProbe
		if !probe.IsZero() && !probe.After(end) && (first == nil || !first.due.Before(probe)) {
			s.moveTo(probe)
			s.nextProbe = probe.Add(s.opts.ProbeInterval)
			s.probe()
			continue
		}
		if first == nil || first.due.After(end) {
			return nil, nil, false
		}
		s.moveTo(first.due)
		return first, first.items[0], false
	}
}

// moveTo sets the clock of a manual sandbox forward.
func (s *Sandbox) moveTo(t time.Time) {
	if d := t.Sub(s.opts.Now()); d > 0 {
		s.offset.Add(int64(d))
	}
}
