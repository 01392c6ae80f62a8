package pgstore

// Again is how often something was run again.
func (s *Store) Again() int64 { return s.again.Load() }

// Waiting is how many functions wait for their turn.
func (s *Store) Waiting() int {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return len(s.queue.waiting)
}

// Rounds is how often changes have waited for the database.
func (s *Store) Rounds() int64 { return s.rounds.Load() }
