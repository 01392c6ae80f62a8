package boltstore

import bolt "go.etcd.io/bbolt"

// DB is the database of s, for tests that make its file fail.
func DB(s *Store) *bolt.DB { return s.db }

// HoldGate holds the gate of s as Check does, until it is released.
func HoldGate(s *Store) (release func()) {
	s.gate.RLock()
	return s.gate.RUnlock
}

// Waiting is how many Updates are in the queue of s.
func Waiting(s *Store) int {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return len(s.queue.items)
}
