package pgstore

// Again is how often something was run again.
func (s *Store) Again() int64 { return s.again.Load() }
