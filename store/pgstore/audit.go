package pgstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"math"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// AuditHead returns the head of the audit log.
func (t *txn) AuditHead(ctx context.Context) (license.AuditHead, error) {
	if err := t.readable(); err != nil {
		return license.AuditHead{}, err
	}
	switch {
	case t.practice != nil:
		return license.AuditHead{}, errRehearsed
	case t.appended > 0:
		return t.head, t.d.failure
	}
	err := t.d.loadHead(ctx) // a writer has it, locked
	return t.d.head, err
}

// Append adds an event to the audit log. Nothing of it waits for the database where
// the head is known: nobody else can move it on.
func (t *txn) Append(ctx context.Context, e license.AuditEvent) (int64, error) {
	if err := t.mayWrite(); err != nil {
		return 0, err
	}
	if t.practice != nil {
		t.appended++
		return int64(t.appended), nil // which nobody will see
	}
	head, err := t.AuditHead(ctx)
	if err != nil {
		return 0, err
	}
	var salt [license.AuditSaltLen]byte
	_, _ = rand.Read(salt[:]) // never fails
	line, next, err := head.Seal(e, salt[:])
	if err != nil {
		return 0, err
	}
	return next.Seq, t.putLine(next, e.License, line)
}

// putLine stores the line by which the head of the log becomes next.
func (t *txn) putLine(next license.AuditHead, licenseID string, line []byte) error {
	t.wrotes = true
	t.lines, t.bytes = append(t.lines, auditLine{next.Seq, found(licenseID), line}), t.bytes+len(line)
	t.head = next
	t.appended++
	return t.unburden()
}

// putEvent appends an entry as it is kept: its line follows the head of the log,
// or is refused.
func (t *txn) putEvent(ctx context.Context, raw []byte) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	head, err := t.AuditHead(ctx)
	if err != nil {
		return err
	}
	line, err := license.ParseAuditLine(bytes.Clone(raw))
	if err != nil {
		return license.FieldErrorf("data", "the record cannot be read").WithCause(err)
	}
	next, fault := head.Follow(line)
	if fault != nil {
		return license.FieldErrorf("data", "it does not follow position %d of the audit log: %v", head.Seq, fault)
	}
	return t.putLine(next, line.License, line.Raw())
}

func scanLine(rows pgx.Rows) (r row, err error) {
	var seq int64
	err = rows.Scan(&seq, &r.raw)
	r.key = numbered(seq, "")
	return r, err
}

// parseLine reads the line of an entry, which keeps its bytes.
func parseLine(r row) (license.AuditLine, error) {
	line, err := license.ParseAuditLine(r.raw)
	if err == nil && numbered(line.Seq, "") != r.key {
		err = license.Errorf(license.Damaged, "it is that of position %d", line.Seq)
	}
	if err != nil {
		seq, _, _ := numberOf(r.key, 0)
		return line, unreadable("audit", strconv.FormatInt(seq, 10)).WithCause(err)
	}
	return line, nil
}

// groupAt returns which group wrote the entry at a position, and whether there is one.
func (d *session) groupAt(ctx context.Context, seq int64) (group int64, ok bool, err error) {
	err = d.ask(ctx, func(rows pgx.Rows) error {
		ok = true
		return rows.Scan(&group)
	}, "select grp from audit where seq = $1", seq)
	return group, ok, err
}

// Events lists the audit log in the order of the filter.
func (t *txn) Events(ctx context.Context, f store.EventFilter, p store.Page) ([]license.AuditEvent, string, error) {
	var out []license.AuditEvent
	next, err := t.walkLines(ctx, f, p, func(r row) (bool, error) {
		e, ok, err := selectedEvent(f, r)
		if ok {
			out = append(out, e)
		}
		return ok, err
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}

// EventLines lists the audit log as it is kept.
func (t *txn) EventLines(ctx context.Context, f store.EventFilter, p store.Page) ([][]byte, string, error) {
	var out [][]byte
	// Where all are wanted none need be read to be judged: whoever verifies the log
	// reads them anyway.
	all := f == store.EventFilter{After: f.After}
	next, err := t.walkLines(ctx, f, p, func(r row) (bool, error) {
		if !all {
			if _, ok, err := selectedEvent(f, r); !ok {
				return false, err
			}
		}
		out = append(out, r.raw)
		return true, nil
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}

// walkLines walks the lines of the audit log among which those of a filter are.
func (t *txn) walkLines(ctx context.Context, f store.EventFilter, p store.Page, take func(row) (bool, error)) (string, error) {
	if err := t.ranging(); err != nil {
		return "", err
	}
	if f.Newest {
		return t.walkBack(ctx, f, p, take)
	}
	sql, more := "select seq, line from audit where seq > $1 order by seq limit $2", []any(nil)
	if f.License != "" {
		sql, more = "select seq, line from audit where license = $3 and seq > $1 order by seq limit $2", []any{*found(f.License)}
	}
	return walk(ctx, "audit", p, t.bySeq(max(f.After, 0), sql, more...), take)
}

// walkBack is walkLines, newest first.
func (t *txn) walkBack(ctx context.Context, f store.EventFilter, p store.Page, take func(row) (bool, error)) (string, error) {
	read := func(ctx context.Context, after string, n int) ([]row, error) {
		before, rest, err := numberOf(after, math.MaxInt64)
		if err != nil || rest != "" {
			return nil, errCursor()
		}
		if f.License != "" {
			return t.rows(ctx, scanLine, "select seq, line from audit where license = $4 and seq < $1 and seq > $3 order by seq desc limit $2",
				before, n, max(f.After, 0), *found(f.License))
		}
		return t.rows(ctx, scanLine, "select seq, line from audit where seq < $1 and seq > $3 order by seq desc limit $2", before, n, max(f.After, 0))
	}
	return walk(ctx, "audit, newest first", p, read, take)
}

// bySeq reads lines behind a position: $1 is the last one, $2 how many.
func (t *txn) bySeq(behind int64, sql string, more ...any) readFunc {
	return func(ctx context.Context, after string, n int) ([]row, error) {
		seq, rest, err := numberOf(after, math.MinInt64)
		if err != nil || rest != "" {
			return nil, errCursor()
		}
		return t.rows(ctx, scanLine, sql, append([]any{max(seq, behind), n}, more...)...)
	}
}

// selectedEvent reads an entry, and reports whether a filter selects it.
func selectedEvent(f store.EventFilter, r row) (e license.AuditEvent, ok bool, err error) {
	line, err := parseLine(r)
	if err != nil {
		return e, false, err
	}
	if f.License != "" && line.License != f.License || f.Action != "" && line.Action != f.Action {
		return e, false, nil
	}
	if e, err = line.Event(); err != nil {
		return e, false, unreadable("audit", strconv.FormatInt(line.Seq, 10)).WithCause(err)
	}
	return e, f.Match(e), nil
}

// EraseEvents takes personal data out of the audit log.
func (t *txn) EraseEvents(ctx context.Context, positions ...int64) (erased int, err error) {
	if err := t.mayWrite(); err != nil || len(positions) == 0 {
		return 0, err
	}
	if err := t.ranging(); err != nil {
		return 0, err
	}
	lines := make(map[int64]license.AuditLine, len(positions))
	if err := t.d.ask(ctx, func(rows pgx.Rows) error {
		r, err := scanLine(rows)
		if err != nil {
			return err
		}
		line, err := parseLine(r)
		lines[line.Seq] = line
		return err
	}, "select seq, line from audit where seq = any ($1)", positions); err != nil {
		return 0, err
	}
	for _, seq := range positions {
		if _, ok := lines[seq]; !ok {
			return 0, license.Errorf(license.NotFound, "the audit log has no entry %d", seq)
		}
	}
	for seq, line := range lines {
		if !line.Personal {
			continue
		}
		t.wrotes = true
		t.save()
		t.d.later("update audit set line = $2 where seq = $1", seq, line.Erased())
		erased++
	}
	return erased, t.d.failure
}
