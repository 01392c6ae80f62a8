package boltstore

import bolt "go.etcd.io/bbolt"

// DB is the database of s, for tests that make its file fail.
func DB(s *Store) *bolt.DB { return s.db }
