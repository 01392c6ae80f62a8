package pgstore

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/store"
)

// warnClock is by how much the clock of the database may differ from ours.
const warnClock = 5 * time.Second

// seen is what a database says of itself. What it does not know is nil.
type seen struct {
	Version, Encoding, Fsync, FullPages, Commit *string
	Standby, ReadOnly                           *bool
	Clock                                       time.Time
}

// Examine says how the database is: its version, what it promises to keep, its
// clock and its connections.
func (s *Store) Examine(ctx context.Context, now func() time.Time) ([]store.Finding, error) {
	if !s.queue.enter(&s.views) {
		return nil, store.ErrClosed
	}
	defer s.views.Done()
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	conn, err := s.reads.Acquire(ctx)
	if err != nil {
		return nil, asError(&connectError{err})
	}
	defer conn.Release()
	var db seen
	before := now()
	err = conn.QueryRow(ctx, `select current_setting('server_version', true), current_setting('server_encoding', true), current_setting('fsync', true),
		current_setting('full_page_writes', true), current_setting('synchronous_commit', true), pg_is_in_recovery(),
		current_setting('default_transaction_read_only', true) = 'on', clock_timestamp()`).
		Scan(&db.Version, &db.Encoding, &db.Fsync, &db.FullPages, &db.Commit, &db.Standby, &db.ReadOnly, &db.Clock)
	if err != nil {
		return nil, asError(err)
	}
	after := now()
	at, serves, err := schemaOf(ctx, conn.Conn())
	if err != nil {
		return nil, asError(err)
	}
	list := []store.Finding{
		{Level: store.FindingOK, Detail: fmt.Sprintf("PostgreSQL %s, tables of version %d", known(db.Version), at)}, db.clock(before, after),
	}
	if at > len(steps()) {
		list = append(list, store.Finding{
			Level: store.FindingWarn, Detail: fmt.Sprintf("the tables are of version %d, which serves programs that know %d, and this one knows %d", at, serves, len(steps())),
			Mend: "bring this daemon to the version of the others",
		})
	}
	list = append(list, db.durability()...)
	return append(list, s.connections(ctx, conn.Conn())...), nil
}

func known(s *string) string {
	if s == nil {
		return "of a version that it does not say"
	}
	return *s
}

func off(setting *string) bool { return setting != nil && *setting == "off" }

func yes(b *bool) bool { return b != nil && *b }

// clock compares the database's clock with ours, which was read before and after.
func (db seen) clock(before, after time.Time) store.Finding {
	var by time.Duration
	switch {
	case db.Clock.Before(before):
		by = before.Sub(db.Clock)
	case db.Clock.After(after):
		by = db.Clock.Sub(after)
	}
	if by > warnClock {
		return store.Finding{
			Level: store.FindingWarn, Detail: fmt.Sprintf("the clock of the database differs from the one here by %s", by.Round(time.Second)),
			Mend: "let a time server set both",
		}
	}
	return store.Finding{Level: store.FindingOK, Detail: "the clock of the database is as the one here"}
}

// durability says what the database may lose of what it has confirmed.
func (db seen) durability() (list []store.Finding) {
	warn := func(detail, mend string) {
		list = append(list, store.Finding{Level: store.FindingWarn, Detail: detail, Mend: mend})
	}
	switch {
	case yes(db.Standby):
		list = append(list, store.Finding{
			Level: store.FindingFail, Detail: "the database is a standby, and takes no changes",
			Mend: "name the primary in store, or all servers: postgres://user@one,two/database leads to the one that takes changes",
		})
	case yes(db.ReadOnly):
		list = append(list, store.Finding{
			Level: store.FindingFail, Detail: "the database takes no changes: default_transaction_read_only is on", Mend: "turn it off for this role and database",
		})
	}
	if db.Encoding != nil && *db.Encoding != "UTF8" {
		list = append(list, store.Finding{Level: store.FindingFail, Detail: "the database has the encoding " + *db.Encoding, Mend: "dump it, and load it into one with the encoding UTF8"})
	}
	if off(db.Fsync) {
		warn("fsync is off: a crash of the database's machine can destroy it", "set fsync = on")
	}
	if off(db.FullPages) {
		warn("full_page_writes is off: a crash of the database's machine can destroy it", "set full_page_writes = on, unless its file system writes pages whole")
	}
	if off(db.Commit) {
		warn("synchronous_commit is off: a crash of the database loses what was answered", "set synchronous_commit = on for this role")
	}
	return list
}

// connections says whether there are enough for this daemon. A database that does not count
// them says nothing.
func (s *Store) connections(ctx context.Context, conn *pgx.Conn) []store.Finding {
	var used, most int
	err := conn.QueryRow(ctx, `select (select count(*) from pg_stat_activity where backend_type = 'client backend'),
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int`).Scan(&used, &most)
	if err != nil {
		return nil
	}
	ours := int(s.reads.Stat().TotalConns() + s.writes.Stat().TotalConns())
	want := int(s.reads.Config().MaxConns+s.writes.Config().MaxConns) - ours
	f := store.Finding{Level: store.FindingOK, Detail: fmt.Sprintf("%d of %d connections are in use, %d of them by this program", used, most, ours)}
	if most-used < want {
		f.Level, f.Mend = store.FindingWarn, fmt.Sprintf("raise max_connections of the database, or lower database.max_connections: this program may open %d more", want)
	}
	return []store.Finding{f}
}
