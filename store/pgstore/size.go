package pgstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// sizeEvery is how often a View looks how large the database is, which takes the
// database some milliseconds.
const sizeEvery = 10 * time.Minute

// size is how large the database is, zero where it does not know.
type size struct {
	bytes atomic.Int64

	mu    sync.Mutex
	next  time.Time
	never bool // it does not know
}

// look asks how large the database is, where nobody has for a while.
func (s *size) look(ctx context.Context, conn *pgx.Conn) {
	if !s.due() {
		return
	}
	var n int64
	err := conn.QueryRow(ctx, "select pg_database_size(current_database())").Scan(&n)
	switch {
	case err == nil:
		s.bytes.Store(n)
	case stateOf(err) != "": // it knows no such function, or does not tell
		s.mu.Lock()
		defer s.mu.Unlock()
		s.never = stateClass(stateOf(err)) == "42"
	}
}

func (s *size) due() bool {
	now := time.Now() //nolint:forbidigo // how often, and nothing that is kept
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.never || now.Before(s.next) {
		return false
	}
	s.next = now.Add(sizeEvery)
	return true
}
