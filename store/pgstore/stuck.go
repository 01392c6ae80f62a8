package pgstore

import (
	"context"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/store"
)

// probeEvery is how often a store that could not make a change tries whether it can.
// Whoever calls is sent elsewhere meanwhile, so that nobody else may try.
const probeEvery = 2 * time.Second

// stuck is since when no change could be made, though one was to be.
type stuck struct {
	mu      sync.Mutex
	began   time.Time // when the group began that is being made
	failed  time.Time // when the first one did that has failed since one was made
	probing bool
}

func (s *stuck) begin() {
	now := time.Now() //nolint:forbidigo // how long, and nothing that is kept
	s.mu.Lock()
	defer s.mu.Unlock()
	s.began = now
}

// made notes that the database has taken a change, or would have.
func (s *stuck) made() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = time.Time{}
}

// end ends a group, and reports whether somebody has to begin to probe.
func (s *stuck) end(failure error) (probe bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if failure != nil {
		if s.failed.IsZero() {
			s.failed = s.began
		}
		probe, s.probing = !s.probing, true
	}
	s.began = time.Time{}
	return probe
}

// over reports whether changes are made again.
func (s *stuck) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probing = !s.failed.IsZero()
	return !s.probing
}

// lasts is for how long no change could be made.
func (s *stuck) lasts() time.Duration {
	now := time.Now() //nolint:forbidigo // as above
	s.mu.Lock()
	defer s.mu.Unlock()
	since := s.failed
	if since.IsZero() {
		since = s.began
	}
	if since.IsZero() {
		return 0
	}
	return now.Sub(since)
}

// probe takes turns until it gets one.
func (s *Store) probe() {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for !s.stuck.over() {
		select {
		case <-s.stopped:
			return
		case <-tick.C:
		}
		// What became of it is noted as that of any group.
		_ = s.Update(context.Background(), func(ctx context.Context, tx store.Tx) error {
			_, err := tx.AuditHead(ctx)
			return err
		})
	}
}
