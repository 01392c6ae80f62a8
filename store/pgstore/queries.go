package pgstore

import (
	"math"

	"github.com/jackc/pgx/v5"
)

const (
	// turnsMost is how many of the jobs that wait for a key are read, and prefixMost
	// how many values whose names begin alike. Where there are more the table is asked.
	turnsMost  = 8
	prefixMost = 50
	// othersMost is how many installs are read ahead.
	othersMost = 9
)

// queries is how each kind is read. A statement for many takes their keys as arrays.
//
//nolint:gochecknoglobals // a table
var queries = [kinds]query{
	kindLicense: {
		one:  "select id, revision, record from licenses where id = $1",
		many: "select id, revision, record from licenses where id = any ($1)",
		args: argA, arrays: arrayA,
		row: func(rows pgx.Rows, g gathered) error {
			p, c := place{kind: kindLicense}, &cell{}
			err := rows.Scan(&p.a, &c.revision, &c.raw)
			g.found(p, c)
			return err
		},
	},
	kindCode: {
		one:    "select code, id, revision, record from licenses where code = $1",
		many:   "select code, id, revision, record from licenses where code = any ($1)",
		args:   func(p place) []any { return []any{[]byte(p.a)} },
		arrays: func(ps []place) []any { return []any{column(ps, bytesA)} },
		row: func(rows pgx.Rows, g gathered) error {
			var index []byte
			p, c := place{kind: kindLicense}, &cell{}
			err := rows.Scan(&index, &p.a, &c.revision, &c.raw)
			g.found(p, c)
			g.member(keyOnly(kindCode, string(index)), p.a)
			return err
		},
		most: 2,
	},
	kindInstall: {
		one: "select license, id, revision, live, record, answer from installs where license = $1 and id = $2",
		many: `select i.license, i.id, i.revision, i.live, i.record, i.answer
			from (select unnest($1::text[]) as license, unnest($2::text[]) as id) k
			join installs i on i.license = k.license and i.id = k.id`,
		args:   func(p place) []any { return []any{p.a, p.b} },
		arrays: func(ps []place) []any { return []any{column(ps, partA), column(ps, partB)} },
		row: func(rows pgx.Rows, g gathered) error {
			p, c, err := scanInstallCell(rows)
			g.found(p, c)
			return err
		},
	},
	kindInstalls: {
		one:  "select license, id, revision, live, record, answer from installs where license = $1",
		many: "select license, id, revision, live, record, answer from installs where license = any ($1)",
		args: argA, arrays: arrayA,
		row: installsOf(kindInstalls), most: math.MaxInt,
	},
	kindOthers: {
		one: `select $2::text, license, id, revision, live, record, answer from installs
			where license = $1 and not exists (select 1 from installs where license = $1 and id = $2) order by id limit 9`,
		many: `select k.install, o.* from (select unnest($1::text[]) as license, unnest($2::text[]) as install) k
			cross join lateral (select license, id, revision, live, record, answer from installs i
				where i.license = k.license and not exists (select 1 from installs n where n.license = k.license and n.id = k.install)
				order by i.id limit 9) o`,
		args:   func(p place) []any { return []any{p.a, p.b} },
		arrays: func(ps []place) []any { return []any{column(ps, partA), column(ps, partB)} },
		row: func(rows pgx.Rows, g gathered) error {
			var asked string
			p, c := place{kind: kindInstall}, &cell{}
			err := rows.Scan(&asked, &p.a, &p.b, &c.revision, &c.live, &c.raw, &c.add)
			g.found(p, c)
			g.member(place{kind: kindOthers, a: p.a, b: asked}, p.b)
			return err
		},
		most: othersMost,
	},
	kindLive: {
		one:  "select license, id, revision, live, record, answer from installs where license = $1 and live",
		many: "select license, id, revision, live, record, answer from installs where license = any ($1) and live",
		args: argA, arrays: arrayA,
		row: installsOf(kindLive), most: math.MaxInt,
	},
	kindLastList: {
		one:  "select id, record from status_lists order by id desc limit 1",
		args: func(place) []any { return nil },
		row: func(rows pgx.Rows, g gathered) error {
			p, c := place{kind: kindList}, &cell{}
			err := rows.Scan(&p.a, &c.raw)
			g.found(p, c)
			g.member(place{kind: kindLastList}, p.a)
			return err
		},
		most: 2,
	},
	kindList: {
		one:  "select id, record from status_lists where id = $1",
		many: "select id, record from status_lists where id = any ($1)",
		args: argA, arrays: arrayA,
		row: func(rows pgx.Rows, g gathered) error {
			p, c := place{kind: kindList}, &cell{}
			err := rows.Scan(&p.a, &c.raw)
			g.found(p, c)
			return err
		},
	},
	kindEntry: {
		one: "select list, idx, status, final_at from statuses where list = $1 and idx = $2",
		many: `select e.list, e.idx, e.status, e.final_at
			from (select unnest($1::text[]) as list, unnest($2::integer[]) as idx) k
			join statuses e on e.list = k.list and e.idx = k.idx`,
		args:   func(p place) []any { return []any{p.a, p.n} },
		arrays: func(ps []place) []any { return []any{column(ps, partA), column(ps, partN)} },
		row: func(rows pgx.Rows, g gathered) error {
			p, c := place{kind: kindEntry}, &cell{}
			err := rows.Scan(&p.a, &p.n, &c.status, &c.final)
			g.found(p, c)
			return err
		},
	},
	kindPending: {
		one: "select channel, code, record from pending where channel = $1 and code = $2",
		many: `select p.channel, p.code, p.record
			from (select unnest($1::text[]) as channel, unnest($2::bytea[]) as code) k
			join pending p on p.channel = k.channel and p.code = k.code`,
		args:   func(p place) []any { return []any{p.a, []byte(p.b)} },
		arrays: func(ps []place) []any { return []any{column(ps, partA), column(ps, bytesB)} },
		row: func(rows pgx.Rows, g gathered) error {
			var index []byte
			p, c := place{kind: kindPending}, &cell{}
			err := rows.Scan(&p.a, &index, &c.raw)
			p.b = string(index)
			g.found(p, c)
			return err
		},
	},
	kindJob: {
		one:  "select id, revision, key, parked, turn, due, record from jobs where id = $1",
		many: "select id, revision, key, parked, turn, due, record from jobs where id = any ($1)",
		args: argA, arrays: arrayA,
		row: func(rows pgx.Rows, g gathered) error {
			p, c, err := scanJobCell(rows)
			g.found(p, c)
			return err
		},
	},
	kindTurns: {
		one: "select key, id from jobs where key = $1 and not parked order by id limit 8",
		many: `select k.key, j.id from (select unnest($1::text[]) as key) k
			cross join lateral (select id from jobs where key = k.key and not parked order by id limit 8) j order by j.id`,
		args: argA, arrays: arrayA,
		row: func(rows pgx.Rows, g gathered) error {
			var key, id string
			err := rows.Scan(&key, &id)
			g.member(keyOnly(kindTurns, key), id)
			return err
		},
		most: turnsMost,
	},
	kindOrder: {
		one: "select channel, id, line, revision, license, record from orders where channel = $1 and id = $2 and line = $3",
		many: `select o.channel, o.id, o.line, o.revision, o.license, o.record
			from (select unnest($1::text[]) as channel, unnest($2::text[]) as id, unnest($3::text[]) as line) k
			join orders o on o.channel = k.channel and o.id = k.id and o.line = k.line`,
		args:   func(p place) []any { return []any{p.a, p.b, p.c} },
		arrays: func(ps []place) []any { return []any{column(ps, partA), column(ps, partB), column(ps, partC)} },
		row: func(rows pgx.Rows, g gathered) error {
			p, c := place{kind: kindOrder}, &cell{}
			err := rows.Scan(&p.a, &p.b, &p.c, &c.revision, &c.link, &c.raw)
			g.found(p, c)
			return err
		},
	},
	kindMark: {
		one: "select until, key from marks where until = $1 and key = $2",
		many: `select m.until, m.key from (select unnest($1::bigint[]) as until, unnest($2::bytea[]) as key) k
			join marks m on m.until = k.until and m.key = k.key`,
		args:   func(p place) []any { return []any{p.n, []byte(p.a)} },
		arrays: func(ps []place) []any { return []any{column(ps, partN), column(ps, bytesA)} },
		row: func(rows pgx.Rows, g gathered) error {
			var key []byte
			p := place{kind: kindMark}
			err := rows.Scan(&p.n, &key)
			p.a = string(key)
			g.found(p, &cell{})
			return err
		},
	},
	kindValue: {
		one:  "select name, data from vals where name = $1",
		many: "select name, data from vals where name = any ($1)",
		args: argA, arrays: arrayA,
		row: func(rows pgx.Rows, g gathered) error {
			p, c := place{kind: kindValue}, &cell{}
			err := rows.Scan(&p.a, &c.raw)
			g.found(p, c)
			return err
		},
	},
	kindPrefix: {
		one: "select $1::text, name, data from vals where name >= $1::text and name < $2::text order by name limit 50",
		many: `select k.prefix, v.name, v.data from (select unnest($1::text[]) as prefix, unnest($2::text[]) as behind) k
			cross join lateral (select name, data from vals where name >= k.prefix and name < k.behind order by name limit 50) v`,
		args:   func(p place) []any { return []any{p.a, p.b} },
		arrays: func(ps []place) []any { return []any{column(ps, partA), column(ps, partB)} },
		row: func(rows pgx.Rows, g gathered) error {
			var prefix string
			p, c := place{kind: kindValue}, &cell{}
			err := rows.Scan(&prefix, &p.a, &c.raw)
			g.found(p, c)
			g.member(prefixPlace(prefix), p.a)
			return err
		},
		most: prefixMost,
	},
}

// installsOf reads installs as those of what names their licence.
func installsOf(k kind) func(rows pgx.Rows, g gathered) error {
	return func(rows pgx.Rows, g gathered) error {
		p, c, err := scanInstallCell(rows)
		g.found(p, c)
		g.member(keyOnly(k, p.a), p.b)
		return err
	}
}

func scanInstallCell(rows pgx.Rows) (place, *cell, error) {
	p, c := place{kind: kindInstall}, &cell{}
	err := rows.Scan(&p.a, &p.b, &c.revision, &c.live, &c.raw, &c.add)
	return p, c, err
}

func scanJobCell(rows pgx.Rows) (place, *cell, error) {
	p, c := place{kind: kindJob}, &cell{}
	var key *string
	err := rows.Scan(&p.a, &c.revision, &key, &c.parked, &c.turn, &c.due, &c.raw)
	if key != nil {
		c.key = *key
	}
	return p, c, err
}
