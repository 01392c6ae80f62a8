package pgstore

// Again is how often something was run again.
func (s *Store) Again() int64 { return s.again.Load() }

// Waiting is how many functions wait for their turn.
func (s *Store) Waiting() int {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return len(s.queue.waiting)
}
