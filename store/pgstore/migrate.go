package pgstore

import (
	"context"
	"embed"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
)

// Schemas are numbered. A step leads from each to the next, and there is no way
// back. A step says which programs can go on working on what it makes: those
// that know the schema `serves` at least. A program that is older than the
// schema works as long as it is among them, so that old and new daemons run side
// by side while one release replaces another: a step only adds, and what it
// makes superfluous goes in a later release.
//
// A step runs in one transaction, whose first statement enters its number into the
// table of the schemas. Its primary key has any other daemon that comes to the same
// step wait there until the first is done or gone; it then finds the number taken,
// looks again, and goes on behind it.

// step leads to the schema that has its place in steps, counted from one.
type step struct {
	file   string
	serves int
}

//go:embed migrations/*.sql
var migrations embed.FS

func steps() []step {
	return []step{
		{"migrations/0001.sql", 1},
	}
}

// migrateAttempts is how often the schema is looked at, each time that another
// daemon was faster.
const migrateAttempts = 50

// migrate brings the schema up to date, or says why it cannot be used.
func migrate(ctx context.Context, conn *pgx.Conn, readOnly bool, upgrading func(from, to int)) error {
	return migrateTo(ctx, conn, steps(), readOnly, upgrading)
}

func migrateTo(ctx context.Context, conn *pgx.Conn, steps []step, readOnly bool, upgrading func(from, to int)) error {
	var last error
	for range migrateAttempts {
		at, serves, err := schemaOf(ctx, conn)
		switch {
		case err != nil:
			return asError(err)
		case at > len(steps) && serves > len(steps):
			return license.Errorf(license.Internal,
				"the database has the schema %d, which needs a program that knows %d, and this one knows %d; please use a newer version", at, serves, len(steps))
		case at >= len(steps):
			return nil
		case readOnly:
			return license.Errorf(license.ReadOnly, "the database has the schema %d and this program needs %d; open it for writing once, which brings it up to date", at, len(steps))
		}
		if at > 0 && upgrading != nil {
			upgrading(at, at+1)
		}
		if last = take(ctx, conn, at+1, steps[at]); last != nil && !overtaken(last) {
			return license.Errorf(license.Internal, "the schema of the database cannot be brought to version %d", at+1).WithCause(last)
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return license.Errorf(license.Internal, "the schema of the database cannot be brought up to date: something of it is there already, or others keep changing it").WithCause(last)
}

// overtaken reports whether a step failed because another daemon was at it too.
func overtaken(err error) bool {
	switch stateOf(err) {
	case stateUnique, stateSerialization, stateDeadlock, stateLockTimeout, "42P07", "42710", "XX000": // a table or its type that is there; two that make one at once
		return true
	}
	return false
}

// schemaOf returns which schema a database has, zero where it has none, and which
// programs it serves.
func schemaOf(ctx context.Context, conn *pgx.Conn) (at, serves int, err error) {
	var there bool
	if err := conn.QueryRow(ctx, "select to_regclass('schemas') is not null").Scan(&there); err != nil || !there {
		return 0, 0, err
	}
	err = conn.QueryRow(ctx, "select version, serves from schemas order by version desc limit 1").Scan(&at, &serves)
	if errors.Is(err, pgx.ErrNoRows) {
		return 0, 0, nil
	}
	return at, serves, err
}

// take takes one step.
func take(ctx context.Context, conn *pgx.Conn, to int, s step) error {
	sql, err := migrations.ReadFile(s.file)
	if err != nil {
		return err
	}
	if to == 1 {
		if _, err := conn.Exec(ctx, `create table if not exists schemas (
			version integer primary key, serves integer not null, made_at timestamptz not null default now())`); err != nil {
			return fmt.Errorf("make the table of the schemas: %w", err)
		}
	}
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "insert into schemas (version, serves) values ($1, $2)", to, s.serves); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "set local statement_timeout = 0"); err != nil { // a step may take long
			return err
		}
		_, err := tx.Conn().PgConn().Exec(ctx, string(sql)).ReadAll() // several statements
		return err
	})
}
