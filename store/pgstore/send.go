package pgstore

import "bytes"

// What was written is sent by one statement for each table, which takes the columns
// of all rows as arrays. A row that is there is replaced, whatever is known of it:
// the head is locked, so that nobody else can have made or changed it.

// rowsOf are the columns of the rows of a table that were written.
type rowsOf struct {
	places []place
	cells  []*cell
}

func (r rowsOf) texts(part func(place) string) []string { return column(r.places, part) }

func columnOf[T any](r rowsOf, part func(*cell) T) []T {
	out := make([]T, len(r.cells))
	for i, c := range r.cells {
		out[i] = part(c)
	}
	return out
}

func rawOf(c *cell) string     { return string(c.raw) }
func revisionOf(c *cell) int64 { return c.revision }

// sending is how the rows of a kind are written and deleted.
type sending struct {
	put        string
	columns    func(r rowsOf) []any
	remove     string
	removeKeys func(ps []place) []any
}

//nolint:gochecknoglobals // a table
var sendings = [kinds]sending{
	kindLicense: {
		put: `insert into licenses (id, code, revision, standing, ends, customer, instance, last4, ordered, record)
			select unnest($1::text[]), unnest($2::bytea[]), unnest($3::bigint[]), unnest($4::smallint[]), unnest($5::bigint[]),
				unnest($6::text[]), unnest($7::text[]), unnest($8::text[]), unnest($9::text[]), unnest($10::text[])
			on conflict (id) do update set revision = excluded.revision, standing = excluded.standing, ends = excluded.ends,
				customer = excluded.customer, instance = excluded.instance, last4 = excluded.last4, ordered = excluded.ordered, record = excluded.record`,
		columns: func(r rowsOf) []any {
			return []any{
				r.texts(partA),
				columnOf(r, func(c *cell) []byte { return c.row.code }), columnOf(r, revisionOf),
				columnOf(r, func(c *cell) int16 { return int16(c.row.standing) }), columnOf(r, func(c *cell) int64 { return c.row.ends }),
				columnOf(r, func(c *cell) *string { return c.row.customer }), columnOf(r, func(c *cell) *string { return c.row.instance }),
				columnOf(r, func(c *cell) *string { return c.row.last4 }), columnOf(r, func(c *cell) *string { return c.row.ordered }),
				columnOf(r, rawOf),
			}
		},
	},
	kindInstall: {
		put: `insert into installs (license, id, revision, live, record, answer)
			select unnest($1::text[]), unnest($2::text[]), unnest($3::bigint[]), unnest($4::boolean[]), unnest($5::text[]), unnest($6::bytea[])
			on conflict (license, id) do update set revision = excluded.revision, live = excluded.live, record = excluded.record, answer = excluded.answer`,
		columns: func(r rowsOf) []any {
			return []any{
				r.texts(partA), r.texts(partB), columnOf(r, revisionOf), columnOf(r, func(c *cell) bool { return c.live }),
				columnOf(r, rawOf), columnOf(r, func(c *cell) []byte { return c.add }),
			}
		},
	},
	kindList: {
		put: `insert into status_lists (id, record) select unnest($1::text[]), unnest($2::text[])
			on conflict (id) do update set record = excluded.record`,
		columns: func(r rowsOf) []any { return []any{r.texts(partA), columnOf(r, rawOf)} },
	},
	kindEntry: {
		put: `insert into statuses (list, idx, status, final_at)
			select unnest($1::text[]), unnest($2::integer[]), unnest($3::smallint[]), unnest($4::bigint[])
			on conflict (list, idx) do update set status = excluded.status, final_at = excluded.final_at`,
		columns: func(r rowsOf) []any {
			return []any{
				r.texts(partA), column(r.places, partN), columnOf(r, func(c *cell) int16 { return c.status }),
				columnOf(r, func(c *cell) *int64 { return c.final }),
			}
		},
		remove:     "delete from statuses where (list, idx) in (select unnest($1::text[]), unnest($2::integer[]))",
		removeKeys: func(ps []place) []any { return []any{column(ps, partA), column(ps, partN)} },
	},
	kindPending: {
		put: `insert into pending (channel, code, record) select unnest($1::text[]), unnest($2::bytea[]), unnest($3::text[])
			on conflict (channel, code) do update set record = excluded.record`,
		columns:    func(r rowsOf) []any { return []any{r.texts(partA), column(r.places, bytesB), columnOf(r, rawOf)} },
		remove:     "delete from pending where (channel, code) in (select unnest($1::text[]), unnest($2::bytea[]))",
		removeKeys: func(ps []place) []any { return []any{column(ps, partA), column(ps, bytesB)} },
	},
	kindJob: {
		put: `insert into jobs (id, revision, key, parked, turn, due, record)
			select unnest($1::text[]), unnest($2::bigint[]), unnest($3::text[]), unnest($4::boolean[]), unnest($5::boolean[]), unnest($6::bigint[]), unnest($7::text[])
			on conflict (id) do update set revision = excluded.revision, parked = excluded.parked, turn = excluded.turn, due = excluded.due, record = excluded.record`,
		columns: func(r rowsOf) []any {
			return []any{
				r.texts(partA), columnOf(r, revisionOf), columnOf(r, func(c *cell) *string { return orNull(c.key) }),
				columnOf(r, func(c *cell) bool { return c.parked }), columnOf(r, func(c *cell) bool { return c.turn }),
				columnOf(r, func(c *cell) int64 { return c.due }), columnOf(r, rawOf),
			}
		},
		remove:     "delete from jobs where id = any ($1)",
		removeKeys: arrayA,
	},
	kindOrder: {
		put: `insert into orders (channel, id, line, revision, license, record)
			select unnest($1::text[]), unnest($2::text[]), unnest($3::text[]), unnest($4::bigint[]), unnest($5::text[]), unnest($6::text[])
			on conflict (channel, id, line) do update set revision = excluded.revision, license = excluded.license, record = excluded.record`,
		columns: func(r rowsOf) []any {
			return []any{
				r.texts(partA), r.texts(partB), r.texts(partC), columnOf(r, revisionOf),
				columnOf(r, func(c *cell) *string { return c.link }), columnOf(r, rawOf),
			}
		},
		remove:     "delete from orders where (channel, id, line) in (select unnest($1::text[]), unnest($2::text[]), unnest($3::text[]))",
		removeKeys: func(ps []place) []any { return []any{column(ps, partA), column(ps, partB), column(ps, partC)} },
	},
	kindMark: {
		put:     "insert into marks (until, key) select unnest($1::bigint[]), unnest($2::bytea[]) on conflict (until, key) do nothing",
		columns: func(r rowsOf) []any { return []any{column(r.places, partN), column(r.places, bytesA)} },
	},
	kindValue: {
		put: `insert into vals (name, data) select unnest($1::text[]), unnest($2::bytea[])
			on conflict (name) do update set data = excluded.data`,
		columns: func(r rowsOf) []any {
			return []any{r.texts(partA), columnOf(r, func(c *cell) []byte { return bytes.Clone(c.raw) })}
		},
		remove:     "delete from vals where name = any ($1)",
		removeKeys: arrayA,
	},
}

const (
	putLines  = `insert into audit (seq, license, grp, line) select unnest($1::bigint[]), unnest($2::text[]), $3::bigint, unnest($4::bytea[])`
	dropMarks = "delete from marks where (until, key) in (select until, key from marks where until < $1 order by until, key limit $2)"
)

// queueChanges has what was written sent with the next statement that is waited for.
func (d *session) queueChanges(known cells, c *changes) {
	var puts [kinds]rowsOf
	var removed [kinds][]place
	for p := range c.dirty {
		if at := known[p]; at.there {
			puts[p.kind].places = append(puts[p.kind].places, p)
			puts[p.kind].cells = append(puts[p.kind].cells, at)
		} else {
			removed[p.kind] = append(removed[p.kind], p)
		}
	}
	for k := range sendings {
		if len(removed[k]) > 0 {
			d.later(sendings[k].remove, sendings[k].removeKeys(removed[k])...)
		}
		if len(puts[k].places) > 0 {
			d.later(sendings[k].put, sendings[k].columns(puts[k])...)
		}
	}
	if n := len(c.lines); n > 0 {
		seqs, licenses, raws := make([]int64, n), make([]*string, n), make([][]byte, n)
		for i, l := range c.lines {
			seqs[i], licenses[i], raws[i] = l.seq, l.license, l.raw
		}
		d.later(putLines, seqs, licenses, d.group, raws)
	}
	if c.drops > 0 {
		d.later(dropMarks, c.old, c.drops)
	}
	c.sent()
}

// orNull is a text as its column holds it.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
