package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
	"github.com/seed-357fa782/licensed/store/dump"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

// What is to be reached: of the rate of a daemon on a file, by a daemon on
// PostgreSQL; and of its rate, by two daemons on one database.
const (
	pgOfBolt = 0.7
	twoOfOne = 1.5
)

// measurePostgres is the daemon on PostgreSQL against the daemon on a file, and
// two daemons on one database against one. All of them are processes of their
// own, so that it can be told who uses the processors: what two daemons gain
// depends on what is left of them, for database and load are on the same machine.
func measurePostgres(ctx context.Context, s *site) (lines []line, err error) {
	cluster, err := pgtest.Start()
	switch {
	case errors.Is(err, pgtest.ErrNone):
		return []line{{path: "on PostgreSQL", note: "not measured: " + err.Error()}}, nil
	case err != nil:
		return nil, err
	}
	defer cluster.Close()
	pg := &postgres{url: cluster.URL()}
	if pg.program, err = s.build(ctx, "cmd/licensed", "licensed"); err != nil {
		return nil, err
	}
	if err := pg.find(ctx); err != nil {
		return nil, err
	}
	for _, path := range []struct {
		title string
		work  func(context.Context) (*work, error)
		check check
	}{
		{"activate", s.activations, nil},
		{"refresh", s.refreshes, nil},
		{"renewal callback", s.renewals, accepted},
	} {
		w, err := path.work(ctx)
		if err != nil {
			return nil, err
		}
		if err := pg.template(ctx, w.before); err != nil {
			return nil, fmt.Errorf("fill a database: %w", err)
		}
		for _, conns := range s.sizes.pgConns {
			got, err := s.pgLines(ctx, pg, w, path.title, conns, path.check)
			if err != nil {
				return nil, fmt.Errorf("%s, %d connections: %w", path.title, conns, err)
			}
			lines = append(lines, got...)
		}
	}
	return lines, nil
}

// pgRound is one measurement of a path: how fast each was, and who used the processors.
type pgRound struct {
	bolt, one, two       load // the daemon on a file, one on PostgreSQL, two on one database
	boltBy, oneBy, twoBy usage
	idle, commits        load // the prototype without storage, and the bare group commit: together they are H
}

func (s *site) pgLines(ctx context.Context, pg *postgres, w *work, title string, conns int, ok check) ([]line, error) {
	var rounds []pgRound
	for range s.sizes.rounds {
		r, err := s.pgRound(ctx, pg, w, conns, ok)
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, r)
	}
	of := func(f func(pgRound) float64) float64 {
		values := make([]float64, len(rounds))
		for i, r := range rounds {
			values[i] = f(r)
		}
		return median(values)
	}
	used := func(f func(pgRound) usage) string {
		var sum usage
		for _, r := range rounds {
			sum.add(f(r))
		}
		return sum.String()
	}
	var p50 [2][]time.Duration
	for _, r := range rounds {
		p50[0], p50[1] = append(p50[0], quantile(r.one.each, 0.5)), append(p50[1], quantile(r.bolt.each, 0.5))
	}
	one := perSecond(of(func(r pgRound) float64 { return r.one.rate() }))
	name := fmt.Sprintf("%s, PostgreSQL, %d connections", title, conns)
	if conns == 1 {
		name = title + ", PostgreSQL, 1 connection"
	}
	h := func(r pgRound) float64 { return 1 / (1/r.idle.rate() + 1/r.commits.rate()) }
	lines := []line{{
		path: name, product: one, bare: perSecond(of(func(r pgRound) float64 { return r.bolt.rate() })),
		ratio: of(func(r pgRound) float64 { return r.one.rate() / r.bolt.rate() }), limit: pgOfBolt,
		note: fmt.Sprintf("bare: the daemon on a file; p50 %s, there %s; %s; there %s", duration(median(p50[0])), duration(median(p50[1])),
			used(func(r pgRound) usage { return r.oneBy }), used(func(r pgRound) usage { return r.boltBy })),
	}, {
		path: "  beside H of the prototype on a file", product: one, bare: perSecond(of(h)),
		ratio: of(func(r pgRound) float64 { return r.one.rate() / h(r) }), note: "for information",
	}}
	if conns == 1 {
		return lines, nil
	}
	return append(lines, line{
		path: "  two daemons on one database", product: perSecond(of(func(r pgRound) float64 { return r.two.rate() })), bare: one,
		ratio: of(func(r pgRound) float64 { return r.two.rate() / r.one.rate() }), limit: twoOfOne,
		note: "bare: one daemon; " + used(func(r pgRound) usage { return r.twoBy }),
	}), nil
}

// pgRound has all of them up at once, each with a copy of one store, and gives
// them turns.
func (s *site) pgRound(ctx context.Context, pg *postgres, w *work, conns int, ok check) (r pgRound, err error) {
	shots, bareShots, err := w.round()
	if err != nil {
		return r, err
	}
	n := min(s.sizes.pg, len(shots)-s.sizes.warm)
	if conns == 1 {
		n = max(n/10, 1)
	}
	var sides []side
	run := func() error { return takeTurns(sides, n) }
	join := func(inner func() error, addrs []string, pids []int, shots []shot, sum *load, by *usage) (err error) {
		c := &clients{}
		for i, addr := range addrs {
			more, err := dial(ctx, addr, (conns+i)/len(addrs))
			if err != nil {
				return errors.Join(err, c.close())
			}
			c.conns, c.readers = append(c.conns, more.conns...), append(c.readers, more.readers...)
		}
		defer func() { err = errors.Join(err, c.close()) }()
		warm, rest := shots[:s.sizes.warm], shots[s.sizes.warm:]
		sides = append(sides, side{
			warm: func() error { _, err := c.fire(ctx, warm, ok); return err },
			do: func(from, to int) (l load, err error) {
				before := pg.usage(pids)
				l, err = c.fire(ctx, rest[from:to], ok)
				by.add(pg.usage(pids).since(before))
				return l, err
			},
			sum: sum,
		})
		return inner()
	}
	daemons := func(storeURL string, name string, count int, sum *load, by *usage) func(func() error) error {
		return func(inner func() error) error {
			var addrs []string
			var pids []int
			begin := func() error { return join(inner, addrs, pids, shots, sum, by) }
			for i := range count {
				next, name := begin, fmt.Sprintf("%s%d", name, i)
				begin = func() error {
					return s.launchOn(ctx, pg.program, storeURL, name, func(p *process) error {
						addrs, pids = append(addrs, p.public), append(pids, p.cmd.Process.Pid)
						return next()
					})
				}
			}
			return begin()
		}
	}
	path := s.path("pgbolt.db")
	if err := copyFile(path, w.before); err != nil {
		return r, err
	}
	chain := []func(func() error) error{
		daemons("bolt:"+path, "pgbolt", 1, &r.bolt, &r.boltBy),
		func(inner func() error) error {
			return pg.withCopy(ctx, "one", func(u string) error { return daemons(u, "pgone", 1, &r.one, &r.oneBy)(inner) })
		},
		func(inner func() error) error {
			return s.servePrototype(ctx, w, false, func(addr string) error {
				return join(inner, []string{addr}, nil, bareShots, &r.idle, &usage{})
			})
		},
		func(inner func() error) error {
			return s.withCommitter(w, "pgcommits", func(c *committer) error {
				z := s.sizes
				z.conns = conns
				sides = append(sides, commitSide(c, w, z, &r.commits))
				return inner()
			})
		},
	}
	if conns > 1 {
		chain = append(chain, func(inner func() error) error {
			return pg.withCopy(ctx, "two", func(u string) error { return daemons(u, "pgtwo", 2, &r.two, &r.twoBy)(inner) })
		})
	}
	for _, link := range chain {
		inner := run
		run = func() error { return link(inner) }
	}
	return r, run()
}

// postgres is a private cluster.
type postgres struct {
	url        string // of its database postgres
	program    string // the daemon
	postmaster int    // id of the process that all of its others are children of; 0 where the system does not tell
}

func (pg *postgres) database(name string) string {
	return strings.Replace(pg.url, ":///postgres?", ":///"+name+"?", 1)
}

func (pg *postgres) exec(ctx context.Context, statements ...string) error {
	conn, err := pgx.Connect(ctx, pg.url)
	if err != nil {
		return err
	}
	for _, sql := range statements {
		if _, err = conn.Exec(ctx, sql); err != nil {
			break
		}
	}
	return errors.Join(err, conn.Close(ctx))
}

// templateName is the database that others are copies of.
const templateName = "bench_template"

// template makes the database that others are copied from of the bolt store at path.
func (pg *postgres) template(ctx context.Context, path string) error {
	if err := pg.exec(ctx, "drop database if exists "+templateName, "create database "+templateName); err != nil {
		return err
	}
	from, err := boltstore.Open(path, boltstore.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer from.Close() //nolint:errcheck // it was only read
	to, err := pgstore.Open(ctx, pg.database(templateName), pgstore.Options{})
	if err != nil {
		return err
	}
	return errors.Join(move(ctx, from, to), to.Close())
}

// move fills a store with the records of another.
func move(ctx context.Context, from, to store.Store) error {
	r, w := io.Pipe()
	go func() {
		_, err := dump.Write(ctx, from, w, dump.Options{Now: time.Now()})
		w.CloseWithError(err)
	}()
	_, err := dump.Load(ctx, to, r, dump.LoadOptions{})
	return errors.Join(err, r.Close())
}

// withCopy makes a copy of the template while do runs.
func (pg *postgres) withCopy(ctx context.Context, name string, do func(url string) error) error {
	name = "bench_" + name
	drop := "drop database if exists " + name + " with (force)"
	if err := pg.exec(ctx, drop, "create database "+name+" template "+templateName, "checkpoint"); err != nil {
		return err
	}
	err := do(pg.database(name))
	return errors.Join(err, pg.exec(context.WithoutCancel(ctx), drop))
}

// find finds the process that the cluster's others are children of, where the
// system tells.
func (pg *postgres) find(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, pg.url)
	if err != nil {
		return err
	}
	var pid int
	err = conn.QueryRow(ctx, "select pg_backend_pid()").Scan(&pid)
	if stat, readErr := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && readErr == nil {
		pg.postmaster = parentOf(string(stat))
	}
	return errors.Join(err, conn.Close(ctx))
}

// parentOf reads the id of the parent from a /proc/PID/stat, or 0.
func parentOf(stat string) int {
	n, err := ticks(stat[strings.LastIndexByte(stat, ')')+1:], 4-3, 4-2)
	if err != nil {
		return 0
	}
	return int(n[0])
}

// usage is time of the processors, in ticks.
type usage struct {
	all                     int64
	load, daemons, database int64
	others                  int64
}

func (u *usage) add(v usage) {
	u.all += v.all
	u.load += v.load
	u.daemons += v.daemons
	u.database += v.database
	u.others += v.others
}

func (u usage) since(v usage) usage {
	return usage{u.all - v.all, u.load - v.load, u.daemons - v.daemons, u.database - v.database, u.others - v.others}
}

func (u usage) String() string {
	if u.all <= 0 {
		return "shares of the processors not known"
	}
	of := func(v int64) float64 { return 100 * float64(max(v, 0)) / float64(u.all) }
	return fmt.Sprintf("of %d processors daemons %.0f %%, database %.0f %%, load %.0f %%, others %.0f %%",
		runtime.NumCPU(), of(u.daemons), of(u.database), of(u.load), of(u.others))
}

// usage says what was used since the machine was started; it is zero where the
// system does not tell.
func (pg *postgres) usage(daemons []int) (u usage) {
	all, err := os.ReadFile("/proc/stat")
	if err != nil {
		return usage{}
	}
	s, err := parseSpent(string(all))
	if err != nil {
		return usage{}
	}
	u.all = s.all
	u.load = used(os.Getpid(), false)
	for _, pid := range daemons {
		u.daemons += used(pid, false)
	}
	if pg.postmaster != 0 {
		u.database = used(pg.postmaster, true)
		for _, pid := range childrenOf(pg.postmaster) {
			u.database += used(pid, false)
		}
	}
	u.others = s.other - u.load - u.daemons - u.database
	return u
}

// used is what a process has used and, where they are wanted, those of its
// children that have ended. It is 0 of one that is gone.
func used(pid int, children bool) (sum int64) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	to := 15 // utime and stime are the 14th and 15th field, cutime and cstime the next ones
	if children {
		to = 17
	}
	n, _ := ticks(string(stat[strings.LastIndexByte(string(stat), ')')+1:]), 14-3, to-2)
	for _, v := range n {
		sum += v
	}
	return sum
}

func childrenOf(parent int) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		stat, err := os.ReadFile(path)
		if err == nil && parentOf(string(stat)) == parent {
			var pid int
			if _, err := fmt.Sscanf(path, "/proc/%d/stat", &pid); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
