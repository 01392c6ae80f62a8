package pgstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

const (
	// maxFaults is how many faults Check names; a damaged database can have millions.
	maxFaults = 20
	// checkPage is how many rows Check reads at once.
	checkPage = 1000
)

// Check reads the whole database and returns nil if it is sound, and what it found
// otherwise, with reason license.Damaged: every record readable and under its own
// key, the columns beside it as it says, every install with its licence and its
// place in a status list that there is, as every entry, every job in its turn and no
// other, the audit log without gaps and as its hashes and its head say.
//
// It reads page by page, each in a transaction of its own, so that the database
// need not keep a state of hours ago. Daemons may change it meanwhile.
func (s *Store) Check(ctx context.Context) error {
	c := checker{s: s, lengths: make(map[string]int)}
	for _, t := range c.tables() {
		if err := c.table(ctx, t); err != nil {
			return err
		}
	}
	if err := c.audit(ctx); err != nil {
		return err
	}
	if c.count == 0 {
		return nil
	}
	return license.Errorf(license.Damaged, "the check of the database found %d faults", c.count).WithCause(errors.Join(c.faults...))
}

type checker struct {
	s       *Store
	lengths map[string]int // of the status lists
	faults  []error
	count   int
}

func (c *checker) found(err error) {
	if c.count++; c.count <= maxFaults {
		c.faults = append(c.faults, err)
	}
}

// checked is how the rows of a table are checked. sql takes the place of the row
// before, which is first at the beginning, and how many rows are read.
type checked struct {
	name, sql string
	first     []any
	scan      func(rows pgx.Rows) (checkedRow, error)
}

// checkedRow is a row with its place, and what is wrong with it.
type checkedRow struct {
	at    []any
	fault error
	list  string // of whose status list it has a place
	index int
}

// table checks a table.
func (c *checker) table(ctx context.Context, t checked) error {
	for at := t.first; ; {
		var page []checkedRow
		err := c.s.View(ctx, func(ctx context.Context, tx store.Tx) error {
			page = nil
			return tx.(*txn).d.ask(ctx, func(rows pgx.Rows) error {
				r, err := t.scan(rows)
				page = append(page, r)
				return err
			}, t.sql, append(append([]any{}, at...), checkPage)...)
		})
		if err != nil {
			return fmt.Errorf("check %s: %w", t.name, err)
		}
		for _, r := range page {
			if r.fault == nil && r.list != "" {
				if r.fault, err = c.place(ctx, r.list, r.index); err != nil {
					return fmt.Errorf("check %s: %w", t.name, err)
				}
			}
			if r.fault != nil {
				c.found(fmt.Errorf("%s %q: %w", t.name, r.at, r.fault))
			}
			at = r.at
		}
		if len(page) < checkPage {
			return nil
		}
	}
}

// place says what is wrong with a place in a status list.
func (c *checker) place(ctx context.Context, list string, index int) (fault, err error) {
	if _, ok := c.lengths[list]; !ok { // made since, or there is none
		err := c.s.View(ctx, func(ctx context.Context, tx store.Tx) error {
			l, err := tx.StatusList(ctx, list)
			if err == nil {
				c.lengths[list] = l.Length
			}
			return err
		})
		switch {
		case errors.Is(err, license.NotFound):
			return fmt.Errorf("it has a place in %q, and there is no such status list", list), nil
		case err != nil:
			return nil, err
		}
	}
	if index < 0 || index >= c.lengths[list] {
		return fmt.Errorf("it has place %d, beyond the end of its status list", index), nil
	}
	return nil, nil
}

func (c *checker) tables() []checked {
	return []checked{
		{"status_lists", "select id, record from status_lists where id > $1 order by id limit $2", []any{""}, c.list},
		{"statuses", "select list, idx, status from statuses where (list, idx) > ($1, $2) order by list, idx limit $3", []any{"", -1}, checkEntry},
		{
			"licenses", `select id, code, revision, standing, ends, customer, instance, last4, ordered, record
				from licenses where id > $1 order by id limit $2`, []any{""}, checkLicense,
		},
		{
			"installs", `select i.license, i.id, i.revision, i.live, i.record, exists (select from licenses l where l.id = i.license)
				from installs i where (i.license, i.id) > ($1, $2) order by i.license, i.id limit $3`, []any{"", ""}, checkInstall,
		},
		{
			"orders", `select channel, id, line, revision, license, record
				from orders where (channel, id, line) > ($1, $2, $3) order by channel, id, line limit $4`, []any{"", "", ""}, checkOrder,
		},
		{
			"pending", "select channel, code, record from pending where (channel, code) > ($1, $2) order by channel, code limit $3",
			[]any{"", []byte{}},
			checkPending,
		},
		{
			"jobs", `select j.id, j.revision, j.key, j.parked, j.turn, j.due, j.record,
					(select o.id from jobs o where o.key = j.key and not o.parked order by o.id limit 1)
				from jobs j where j.id > $1 order by j.id limit $2`, []any{""}, checkJob,
		},
	}
}

var errColumns = errors.New("the columns by which it is found are not as its record says")

func ofAnother(key string) error { return fmt.Errorf("the record is that of %q", key) }

func same[T comparable](a, b *T) bool { return a == b || a != nil && b != nil && *a == *b }

func (c *checker) list(rows pgx.Rows) (r checkedRow, err error) {
	var id string
	var raw []byte
	err = rows.Scan(&id, &raw)
	r.at = []any{id}
	l, fault := decode[license.StatusList]("status_lists", id, raw)
	switch {
	case fault != nil:
		r.fault = fault
	case l.ID != id:
		r.fault = ofAnother(l.ID)
	case len(l.Seed) != license.StatusSeedLen, l.Length < 1, l.Next < 0, l.Next > l.Length:
		r.fault = errors.New("indexes cannot be drawn from it")
	default:
		c.lengths[id] = l.Length
	}
	return r, err
}

func checkEntry(rows pgx.Rows) (r checkedRow, err error) {
	var status int16
	err = rows.Scan(&r.list, &r.index, &status)
	r.at = []any{r.list, r.index}
	if s := license.ListStatus(status); s == license.StatusValid || s > license.StatusSuspended || int16(s) != status {
		r.fault = fmt.Errorf("the status is %d", status)
	}
	return r, err
}

func checkLicense(rows pgx.Rows) (r checkedRow, err error) {
	var id string
	var code, raw []byte
	var revision, ends int64
	var standing class
	var customer, instance, last4, ordered *string
	err = rows.Scan(&id, &code, &revision, &standing, &ends, &customer, &instance, &last4, &ordered, &raw)
	r.at = []any{id}
	l, fault := decode[license.License]("licenses", id, raw)
	switch {
	case fault != nil:
		r.fault = fault
	case l.ID != id:
		r.fault = ofAnother(l.ID)
	case l.Revision < 1:
		r.fault = fmt.Errorf("its revision is %d", l.Revision)
	case revision != l.Revision, !bytes.Equal(code, l.Code.Index), standing != classOf(l), ends != endOf(l),
		!same(customer, found(l.Customer)), !same(instance, found(l.Instance)), !same(last4, found(l.Code.Last4)), !same(ordered, found(l.Order)):
		r.fault = errColumns
	}
	return r, err
}

func checkInstall(rows pgx.Rows) (r checkedRow, err error) {
	var owner, id string
	var revision int64
	var live, owned bool
	var raw []byte
	err = rows.Scan(&owner, &id, &revision, &live, &raw, &owned)
	r.at = []any{owner, id}
	i, fault := decode[license.Install]("installs", id, raw)
	r.list, r.index = i.Status.List, i.Status.Index
	switch {
	case fault != nil:
		r.fault = fault
	case i.LicenseID != owner, i.ID != id:
		r.fault = ofAnother(i.LicenseID + " " + i.ID)
	case !owned:
		r.fault = fmt.Errorf("there is no licence %q", owner)
	case i.Revision < 1:
		r.fault = fmt.Errorf("its revision is %d", i.Revision)
	case revision != i.Revision, live != (i.State == license.InstallLive):
		r.fault = errColumns
	case r.list == "" && r.index != 0:
		r.fault = fmt.Errorf("it has place %d of no status list", r.index)
	}
	return r, err
}

func checkOrder(rows pgx.Rows) (r checkedRow, err error) {
	var channel, id, line string
	var revision int64
	var link *string
	var raw []byte
	err = rows.Scan(&channel, &id, &line, &revision, &link, &raw)
	r.at = []any{channel, id, line}
	o, fault := decode[license.Order]("orders", id, raw)
	switch {
	case fault != nil:
		r.fault = fault
	case o.Channel != channel, o.ID != id, o.Line != line:
		r.fault = ofAnother(o.Channel + " " + o.ID + " " + o.Line)
	case o.Revision < 1:
		r.fault = fmt.Errorf("its revision is %d", o.Revision)
	case revision != o.Revision, !same(link, orNull(o.License)):
		r.fault = errColumns
	}
	return r, err
}

func checkPending(rows pgx.Rows) (r checkedRow, err error) {
	var channel string
	var code, raw []byte
	err = rows.Scan(&channel, &code, &raw)
	r.at = []any{channel, code}
	p, fault := decode[license.Pending]("pending", channel, raw)
	switch {
	case fault != nil:
		r.fault = fault
	case p.Channel != channel, !bytes.Equal(p.CodeIndex, code):
		r.fault = errors.New("the record is that of another code")
	}
	return r, err
}

func checkJob(rows pgx.Rows) (r checkedRow, err error) {
	var id string
	var revision, due int64
	var key, first *string
	var parked, turn bool
	var raw []byte
	err = rows.Scan(&id, &revision, &key, &parked, &turn, &due, &raw, &first)
	r.at = []any{id}
	j, fault := decode[license.Job]("jobs", id, raw)
	switch {
	case fault != nil:
		r.fault = fault
	case j.ID != id:
		r.fault = ofAnother(j.ID)
	case j.Revision < 1:
		r.fault = fmt.Errorf("its revision is %d", j.Revision)
	case revision != j.Revision, !same(key, orNull(j.Key)), parked == j.ParkedAt.IsZero(), due != j.DueAt.Unix():
		r.fault = errColumns
	case turn != (!parked && (key == nil || first != nil && *first == id)):
		r.fault = errors.New("it has a turn that is not its own, or never comes to its turn")
	}
	return r, err
}

// audit checks the log up to its head, as it is at the beginning.
func (c *checker) audit(ctx context.Context) error {
	var want, is license.AuditHead
	var last int64
	if err := c.s.View(ctx, func(ctx context.Context, tx store.Tx) (err error) {
		if want, err = tx.AuditHead(ctx); err != nil {
			return err
		}
		return tx.(*txn).d.ask(ctx, func(rows pgx.Rows) error { return rows.Scan(&last) }, "select coalesce(max(seq), 0) from audit")
	}); err != nil {
		return fmt.Errorf("check the audit log: %w", err)
	}
	if last > want.Seq {
		c.found(fmt.Errorf("audit: it has an entry %d behind its head, which is %d", last, want.Seq))
	}
	for is.Seq < want.Seq {
		var page []auditLine
		if err := c.s.View(ctx, func(ctx context.Context, tx store.Tx) error {
			page = nil
			return tx.(*txn).d.ask(ctx, func(rows pgx.Rows) error {
				var l auditLine
				err := rows.Scan(&l.seq, &l.license, &l.raw)
				page = append(page, l)
				return err
			}, "select seq, license, line from audit where seq > $1 and seq <= $2 order by seq limit $3", is.Seq, want.Seq, checkPage)
		}); err != nil {
			return fmt.Errorf("check the audit log: %w", err)
		}
		for _, l := range page {
			next, fault := follow(is, l)
			if is = next; fault != nil {
				c.found(fmt.Errorf("audit %d: %w", l.seq, fault))
			}
		}
		if len(page) < checkPage {
			break
		}
	}
	if is != want {
		c.found(fmt.Errorf("audit: the log ends with %s, and its head says %s", is, want))
	}
	return nil
}

// follow returns the head after an entry, and what is wrong with that.
func follow(h license.AuditHead, l auditLine) (license.AuditHead, error) {
	line, err := parseLine(row{key: numbered(l.seq, ""), raw: l.raw})
	if err != nil {
		h.Seq = l.seq
		return h, err
	}
	// The next one is judged by this one, whatever is wrong with it.
	if _, fault := h.Follow(line); fault != nil {
		return line.Head(), fault
	}
	if !same(l.license, found(line.License)) {
		return line.Head(), errColumns
	}
	_, err = line.Event()
	return line.Head(), err
}
