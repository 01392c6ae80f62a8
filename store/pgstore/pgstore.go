// Package pgstore keeps the records in PostgreSQL, or in a database that speaks
// its protocol, for several daemons at once.
//
// Every change extends the one audit chain, so changes are serial by nature,
// whichever daemon makes them. The package makes the best of that: the changes
// that wait in a daemon are made in one database transaction, function after
// function, which takes the turn (it locks the head of the chain) with its first
// statement and is committed once. A daemon that has to wait for another's turn
// has next to nothing to throw away yet. What functions write is held in memory
// and sent with the commit, by one statement for each table; before they run, functions that wait
// together rehearse, so that what they read is read for all of them at once. A function that fails is
// undone alone. Reading goes by connections of its own and waits for nobody.
//
// All of it runs at SERIALIZABLE, and is run again after a conflict. Neither
// LISTEN nor advisory locks, extensions or sequences are used.
//
// The package may change in any release.
package pgstore

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Options say how a database is used. The zero value is the normal way.
type Options struct {
	// PasswordFile holds the password, and is read again for each connection.
	PasswordFile string
	// Connections is how many connections are open at most, 16 when zero; one
	// of them is for changes.
	Connections int
	// StatementTimeout is how long a statement may take, 30 s when zero, and
	// LockTimeout how long it may wait for the turn, 10 s when zero. A transaction
	// whose daemon says nothing for IdleTimeout, 15 s when zero, is ended by
	// the database: others wait for its turn.
	StatementTimeout, LockTimeout, IdleTimeout time.Duration
	// ConnectTimeout is how long to wait for a connection, 5 s when zero.
	ConnectTimeout time.Duration
	// ApplicationName is by what the database's administrator knows the
	// connections, "licensed" when empty.
	ApplicationName string
	// ReadOnly opens a store that exists, for reading only. Update fails with
	// license.ReadOnly.
	ReadOnly bool
	// Upgrading, which may be nil, is told before a schema that is there already is
	// brought from one version to the next.
	Upgrading func(from, to int)
}

// Store is a store.Store in a PostgreSQL database.
type Store struct {
	reads, writes *pgxpool.Pool
	limit         time.Duration // for an answer of the database
	readOnly      bool

	queue   queue
	stopped chan struct{}  // closed when the writer has ended
	views   sync.WaitGroup // Views that have begun

	// known is the newest head of the audit log that the writer has seen committed,
	// and asked the connection over which it has.
	known license.AuditHead
	asked *pgx.Conn

	size  size
	stuck stuck

	commits, updates, undone, failed, again, rounds atomic.Int64

	closeOnce sync.Once
}

var _ store.Store = (*Store)(nil)

// Open connects to the database that url names, in the form of libpq's URLs, and
// brings its schema up to date, which several daemons may do at once.
//
// The url may not hold a password. A connection over a network is by TLS and
// verifies the server (sslmode=verify-full) unless url says verify-ca, require
// or disable; the modes that fall back to plain text are refused.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	s := &Store{readOnly: o.ReadOnly, stopped: make(chan struct{})}
	s.queue.wake = make(chan struct{}, 1)
	var err error
	if s.reads, s.writes, err = pools(ctx, url, &o); err != nil {
		return nil, err
	}
	s.limit = o.StatementTimeout + o.LockTimeout
	if err := s.prepare(ctx, o.Upgrading); err != nil {
		s.closePools()
		return nil, err
	}
	go s.write()
	return s, nil
}

func (s *Store) closePools() {
	s.reads.Close()
	s.writes.Close()
}

// nestKey marks the ctx that a function of s was given. It holds the store, so
// that a function may use another store, as copying from one to the other does.
type nestKey struct{ s *Store }

func (s *Store) nest(ctx context.Context) context.Context {
	return context.WithValue(ctx, nestKey{s}, true)
}

// admit refuses what would wait for itself or has been given up already.
func (s *Store) admit(ctx context.Context) error {
	if ctx.Value(nestKey{s}) != nil {
		return store.ErrNested
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// View runs fn on a consistent state. What is visible in the database is on disk,
// unless its administrator has turned synchronous_commit off.
func (s *Store) View(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	if err := s.admit(ctx); err != nil {
		return err
	}
	if !s.queue.enter(&s.views) {
		return store.ErrClosed
	}
	defer s.views.Done()
	for attempt := 0; ; attempt++ {
		err, failure := s.view(ctx, fn)
		switch {
		case failure == nil:
			return err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case attempt == mostAttempts || !canRepeat(failure, attempt):
			return asError(failure)
		case isLost(failure): // as the other connections are likely to be
			s.reads.Reset()
		}
		s.again.Add(1)
		pause(attempt)
	}
}

// view runs fn once. failure is what of the database went wrong, and err what fn
// returned.
func (s *Store) view(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) (err, failure error) {
	patience, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	conn, err := s.reads.Acquire(patience)
	if err != nil {
		return nil, &connectError{err}
	}
	defer conn.Release() // which ends a transaction that is open by closing the connection
	d := newSession(conn.Conn(), s.limit, beginRead)
	t := newTxn(d, false)
	defer t.end()
	err = fn(s.nest(ctx), t)
	if d.failure == nil && d.begun {
		_ = d.ask(ctx, nil, "commit") // which keeps its failure
	}
	if d.failure == nil && d.begun {
		s.size.look(patience, conn.Conn())
	}
	return err, d.failure
}

// Update queues fn for the writer and waits until its group is committed. fn runs
// in the caller's goroutine.
func (s *Store) Update(ctx context.Context, fn func(ctx context.Context, tx store.Tx) error) error {
	if err := s.admit(ctx); err != nil {
		return err
	}
	if s.readOnly {
		return license.Errorf(license.ReadOnly, "the store was opened for reading only")
	}
	r := newRequest()
	if !s.queue.push(r) {
		return store.ErrClosed
	}
	// Once the function has begun it is carried through, so it gets a ctx that
	// does not end.
	return r.wait(ctx, s.nest(context.WithoutCancel(ctx)), fn)
}

// Stats returns counters since the store was opened, and how large the database was
// when a View looked last: all of it, with what others keep in it.
func (s *Store) Stats() store.Stats {
	return store.Stats{
		Commits: s.commits.Load(),
		Updates: s.updates.Load(),
		Undone:  s.undone.Load(),
		Failed:  s.failed.Load(),

		SizeBytes: s.size.bytes.Load(), Stuck: s.stuck.lasts(),
	}
}

// Close commits what is queued, waits for what has begun and closes the
// connections. It must not be called by a function that View or Update runs.
func (s *Store) Close() error {
	s.closeOnce.Do(func() {
		s.queue.close()
		<-s.stopped
		s.views.Wait()
		s.closePools()
	})
	return nil
}

// prepare checks the database and has its schema fit.
func (s *Store) prepare(ctx context.Context, upgrading func(from, to int)) error {
	conn, err := s.writes.Acquire(ctx)
	if err != nil {
		return asConnectError(err)
	}
	defer conn.Release()
	var encoding string
	if err := conn.QueryRow(ctx, "show server_encoding").Scan(&encoding); err != nil {
		return asError(err)
	}
	if encoding != "UTF8" {
		return license.Errorf(license.Internal, "the database has the encoding %s; make one with the encoding UTF8", encoding)
	}
	return migrate(ctx, conn.Conn(), s.readOnly, upgrading)
}
