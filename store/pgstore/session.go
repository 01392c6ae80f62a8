package pgstore

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
)

// beginRead and beginWrite begin the transactions of Views and of groups.
const (
	beginRead  = "begin isolation level serializable, read only"
	beginWrite = "begin isolation level serializable" // not read write, which a server that takes no changes is asked for in vain
)

// session is one database transaction: that of a View, or of a group of functions
// that run one after the other. What is known in it of the database is kept in
// cells, and what its functions have written is there, too, until it is sent.
type session struct {
	conn    *pgx.Conn
	limit   time.Duration
	queue   []statement // what is to be sent, in order
	begun   bool        // something was sent
	carried bool        // others share it: it does not end with the ctx of one
	group   int64       // by which it is known what was committed together
	failure error       // why nothing more can be done in the transaction
	careful bool        // nothing is taken for granted: it was, and was wrong
	rounds  int64       // how often the database was waited for

	head       license.AuditHead // of the audit log, with what the group has added
	headLoaded bool
	before     license.AuditHead // what it was when it was loaded

	cells cells
	changes
}

// statement is one that is to be sent. row, where there is one, is given each row that
// it returns, and then end is called.
type statement struct {
	sql  string
	args []any
	row  func(pgx.Rows) error
	end  func() error
}

func newSession(conn *pgx.Conn, limit time.Duration, begin string) *session {
	return &session{
		conn: conn, limit: limit, group: rand.Int64(), //nolint:gosec // a name, not a secret
		queue: []statement{{sql: begin}}, cells: make(cells),
	}
}

// later has a statement sent with the next one that is waited for.
func (d *session) later(sql string, args ...any) {
	d.queue = append(d.queue, statement{sql: sql, args: args})
}

// ask sends what is queued and one statement more, all in one round trip, and
// gives each row that this one returns to row.
func (d *session) ask(ctx context.Context, row func(pgx.Rows) error, sql string, args ...any) error {
	d.queue = append(d.queue, statement{sql: sql, args: args, row: row})
	return d.send(ctx)
}

// send sends what is queued in one round trip. What fails in the database fails the
// session; an error of a row is returned and no more.
func (d *session) send(ctx context.Context) error {
	if d.failure != nil || len(d.queue) == 0 {
		return d.failure
	}
	if d.carried {
		ctx = context.WithoutCancel(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, d.limit)
	defer cancel()
	d.begun = true
	d.rounds++
	queue := d.queue
	d.queue = nil
	var ours error
	if d.failure = d.exchange(ctx, queue, &ours); d.failure != nil {
		return d.failure
	}
	return ours
}

func (d *session) exchange(ctx context.Context, queue []statement, ours *error) error {
	if len(queue) == 1 {
		rows, err := d.conn.Query(ctx, queue[0].sql, queue[0].args...)
		if err != nil {
			return err
		}
		return queue[0].take(rows, ours)
	}
	b := &pgx.Batch{}
	for _, q := range queue {
		b.Queue(q.sql, q.args...)
	}
	results := d.conn.SendBatch(ctx, b)
	for _, q := range queue {
		rows, err := results.Query()
		if err == nil {
			err = q.take(rows, ours)
		}
		if err != nil {
			_ = results.Close() // which says the same
			return err
		}
	}
	return results.Close()
}

// take reads what a statement returns. ours is the first error of a row.
func (s statement) take(rows pgx.Rows, ours *error) error {
	for rows.Next() {
		if *ours == nil && s.row != nil {
			*ours = s.row(rows)
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return err
	}
	if s.end != nil {
		return s.end()
	}
	return nil
}

// askHead has the head of the audit log read with what is sent next.
func (d *session) askHead(sql string, known license.AuditHead) {
	found := false
	d.queue = append(d.queue, statement{sql: sql, row: func(rows pgx.Rows) error {
		var hash []byte
		err := rows.Scan(&d.head.Seq, &hash)
		found = err == nil && copy(d.head.Hash[:], hash) == len(d.head.Hash) && len(hash) == len(d.head.Hash)
		return err
	}, end: func() error {
		switch {
		case !found:
			return license.Errorf(license.Damaged, "the head of the audit log cannot be read")
		case d.head.Seq < known.Seq, d.head.Seq == known.Seq && d.head.Hash != known.Hash:
			return errSetBack(known, d.head)
		}
		d.headLoaded, d.before = true, d.head
		return nil
	}})
}

// askKnown has it checked, with what is sent next, that the audit log still holds an
// entry that it held.
func (d *session) askKnown(known license.AuditHead) {
	if known.Seq == 0 {
		return
	}
	same := false
	d.queue = append(d.queue, statement{sql: "select line from audit where seq = $1", args: []any{known.Seq}, row: func(rows pgx.Rows) error {
		var raw []byte
		if err := rows.Scan(&raw); err != nil {
			return err
		}
		line, err := license.ParseAuditLine(raw)
		same = err == nil && line.Head() == known
		return nil
	}, end: func() error {
		if !same {
			return errSetBack(known, d.head)
		}
		return nil
	}})
}

// loadHead waits for the head of the audit log, which a group has asked for with its
// beginning.
func (d *session) loadHead(ctx context.Context) error {
	if d.headLoaded {
		return nil
	}
	if !d.carried {
		d.askHead("select seq, hash from head", license.AuditHead{})
	}
	return d.send(ctx)
}
