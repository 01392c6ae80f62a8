package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// turns is how many turns the sides of a round take, so that whatever else the
// machine does meets all of them alike.
const turns = 10

// round is one measurement of a path under load: of the server, and of what it
// is held against.
type round struct {
	product load
	idle    load // the prototype without storage
	commits load // the bare group commit of the same keys and bytes; each is not filled
	whole   load // the prototype with storage
	refused load // the server, every second request being refused
}

func (r round) ceiling() float64 { return 1 / (1/r.idle.rate() + 1/r.commits.rate()) }

func measureActivate(ctx context.Context, s *site) ([]line, error) {
	w, err := s.activations(ctx)
	if err != nil {
		return nil, err
	}
	mixed, err := s.halfRefused(w)
	if err != nil {
		return nil, err
	}
	rounds, err := s.rounds(ctx, w, mixed, nil)
	if err != nil {
		return nil, err
	}
	var p50, p99 []time.Duration
	var last, accepted, shares []float64
	for _, r := range rounds {
		middle, late := quantile(r.product.each, 0.5), quantile(r.product.each, 0.99)
		p50, p99, last = append(p50, middle), append(p99, late), append(last, float64(late)/float64(middle))
		accepted, shares = append(accepted, r.refused.rate()/2), append(shares, r.refused.rate()/2/r.product.rate())
	}
	lines := pathLines("activate, 64 connections", rounds)
	return append(lines, line{
		path: "activate, 64 connections: p99", product: duration(median(p99)), bare: duration(median(p50)),
		ratio: median(last), limit: 6, most: true, note: "bare: its own p50",
	}, line{
		path: "activate, half of the requests refused", product: perSecond(median(accepted)),
		bare: perSecond(median(rates(rounds, round.ofProduct))), ratio: median(shares), limit: 0.5, note: "accepted; bare: without refusals",
	}), s.profiled(ctx, "activate", w, mixed, nil)
}

func measureRefresh(ctx context.Context, s *site) ([]line, error) {
	w, err := s.refreshes(ctx)
	if err != nil {
		return nil, err
	}
	rounds, err := s.rounds(ctx, w, nil, nil)
	if err != nil {
		return nil, err
	}
	return pathLines("refresh, 64 connections", rounds), s.profiled(ctx, "refresh", w, nil, nil)
}

func measureCallback(ctx context.Context, s *site) ([]line, error) {
	w, err := s.renewals(ctx)
	if err != nil {
		return nil, err
	}
	rounds, err := s.rounds(ctx, w, nil, accepted)
	if err != nil {
		return nil, err
	}
	return pathLines("renewal callback, 64 connections", rounds), s.profiled(ctx, "callback", w, nil, accepted)
}

func (r round) ofProduct() float64 { return r.product.rate() }

func rates(rounds []round, of func(round) float64) []float64 {
	out := make([]float64, len(rounds))
	for i, r := range rounds {
		out[i] = of(r)
	}
	return out
}

// pathLines is the line of a path and, for information, one that compares with
// the prototype itself.
func pathLines(title string, rounds []round) []line {
	of := func(f func(round) float64) float64 { return median(rates(rounds, f)) }
	ours := perSecond(of(round.ofProduct))
	return []line{{
		path: title, product: ours, bare: perSecond(of(round.ceiling)),
		ratio: of(func(r round) float64 { return r.product.rate() / r.ceiling() }), limit: 0.75,
		note: fmt.Sprintf("bare: ceiling of %s without storage, %s commits",
			perSecond(of(func(r round) float64 { return r.idle.rate() })), perSecond(of(func(r round) float64 { return r.commits.rate() }))),
	}, {
		path: "  the prototype itself", product: ours, bare: perSecond(of(func(r round) float64 { return r.whole.rate() })),
		ratio: of(func(r round) float64 { return r.product.rate() / r.whole.rate() }), note: "for information",
	}}
}

// side is one of those that take turns.
type side struct {
	warm func() error
	do   func(from, to int) (load, error)
	sum  *load
}

func (s *site) rounds(ctx context.Context, w *work, mixed []shot, ok check) ([]round, error) {
	var out []round
	for range s.sizes.rounds {
		r, err := s.round(ctx, w, mixed, ok)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// round has the server and the prototypes up at once, each with a store of its
// own that begins as w does, and gives them turns.
func (s *site) round(ctx context.Context, w *work, mixed []shot, ok check) (r round, err error) {
	shots, bareShots, err := w.round()
	if err != nil {
		return r, err
	}
	var sides []side
	run := func() error { return takeTurns(sides, s.sizes.requests) }
	// Each with… wraps run into one more side.
	add := func(serve func(func(addr string) error) error, shots []shot, sum *load) func(func() error) error {
		return func(inner func() error) error {
			return serve(func(addr string) (err error) {
				c, err := dial(ctx, addr, s.sizes.conns)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, c.close()) }()
				warm, rest := shots[:s.sizes.warm], shots[s.sizes.warm:]
				sides = append(sides, side{
					warm: func() error { _, err := c.fire(ctx, warm, ok); return err },
					do:   func(from, to int) (load, error) { return c.fire(ctx, rest[from:min(to, len(rest))], ok) },
					sum:  sum,
				})
				return inner()
			})
		}
	}
	server := func(name string) func(func(string) error) error {
		return func(do func(string) error) error { return s.serveCopy(ctx, w.before, name, do) }
	}
	prototype := func(stored bool) func(func(string) error) error {
		return func(do func(string) error) error { return s.servePrototype(ctx, w, stored, do) }
	}
	chain := []func(func() error) error{
		add(server("product"), shots, &r.product),
		add(prototype(false), bareShots, &r.idle),
		func(inner func() error) error {
			return s.withCommitter(w, "commits", func(c *committer) error {
				sides = append(sides, commitSide(c, w, s.sizes, &r.commits))
				return inner()
			})
		},
		add(prototype(true), bareShots, &r.whole),
	}
	if mixed != nil {
		chain = append(chain, add(server("refused"), append(shots[:s.sizes.warm:s.sizes.warm], mixed...), &r.refused))
	}
	for _, link := range chain {
		inner := run
		run = func() error { return link(inner) }
	}
	return r, run()
}

// takeTurns warms every side up and then has each do a part of n things in its
// turn. Who begins changes.
func takeTurns(sides []side, n int) error {
	for _, sd := range sides {
		if err := sd.warm(); err != nil {
			return err
		}
	}
	step := max(n/turns, 1)
	for t := 0; t*step < n; t++ {
		for k := range sides {
			sd := sides[(k+t)%len(sides)]
			l, err := sd.do(t*step, min((t+1)*step, n))
			if err != nil {
				return err
			}
			sd.sum.add(l)
		}
	}
	return nil
}

// commitSide is the bare group commit with as many writers as there are connections.
func commitSide(c *committer, w *work, z sizes, sum *load) side {
	do := func(items []*item) (load, error) {
		took, err := crowd(z.conns, len(items), func(i int) error {
			return c.update(func(b *page) error { return b.write(items[i].puts) })
		})
		return load{elapsed: took, each: make([]time.Duration, len(items))}, err
	}
	return side{
		warm: func() error { _, err := do(w.items[:z.warm]); return err },
		do:   func(from, to int) (load, error) { return do(w.items[z.warm:][from:to]) },
		sum:  sum,
	}
}

// serveCopy runs the daemon on a copy of a store.
func (s *site) serveCopy(ctx context.Context, path, name string, do func(addr string) error) error {
	copied := s.path(name + ".db")
	if err := copyFile(copied, path); err != nil {
		return err
	}
	return s.serve(ctx, copied, name, do)
}

// servePrototype runs the prototype, with a copy of a store or without any.
func (s *site) servePrototype(ctx context.Context, w *work, stored bool, do func(addr string) error) error {
	p, err := newPrototype(w, s.ring.KeySet().Raw)
	if err != nil {
		return err
	}
	if !stored {
		return p.serve(ctx, do)
	}
	return s.withCommitter(w, "prototype", func(c *committer) error {
		p.committer = c
		return p.serve(ctx, do)
	})
}

func (s *site) withCommitter(w *work, name string, do func(*committer) error) (err error) {
	path := s.path(name + ".db")
	if err := copyFile(path, w.before); err != nil {
		return err
	}
	c, err := openCommitter(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	return do(c)
}

// profiled writes CPU profiles of the server under load, where that is wanted.
func (s *site) profiled(ctx context.Context, name string, w *work, mixed []shot, ok check) (err error) {
	if s.profile == "" {
		return nil
	}
	shots := w.shots
	if w.renew != nil {
		if shots, _, err = w.renew(); err != nil {
			return err
		}
	}
	warm, rest := shots[:s.sizes.warm], shots[s.sizes.warm:]
	if err := s.profileOne(ctx, name, w, warm, rest, ok); err != nil || mixed == nil {
		return err
	}
	return s.profileOne(ctx, name+"-half-refused", w, warm, mixed, ok)
}

func (s *site) profileOne(ctx context.Context, name string, w *work, warm, rest []shot, ok check) error {
	if err := os.MkdirAll(s.profile, 0o750); err != nil {
		return err
	}
	return s.serveCopy(ctx, w.before, "profiled", func(addr string) (err error) {
		c, err := dial(ctx, addr, s.sizes.conns)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.close()) }()
		if _, err := c.fire(ctx, warm, ok); err != nil {
			return err
		}
		f, err := os.Create(filepath.Join(s.profile, name+".pprof"))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
		_, err = c.fire(ctx, rest, ok)
		return err
	})
}

// halfRefused is half of the requests of w and, between them, as many that are
// well signed and refused by the store: by turns an unknown code, and a licence
// whose only machine is another one.
func (s *site) halfRefused(w *work) ([]shot, error) {
	rest := w.shots[s.sizes.warm:]
	out := make([]shot, 0, len(rest)+1)
	for i := range (len(rest) + 1) / 2 {
		in, err := newInstall(1<<24 + i)
		if err != nil {
			return nil, err
		}
		code, status := s.manual[i%s.sizes.warm].code, 403
		if i%2 == 0 {
			status = 404
			if code, err = license.NewCode(nil); err != nil {
				return nil, err
			}
		}
		refused, err := in.request(token.Request{Op: token.OpActivate, Code: code}, status)
		if err != nil {
			return nil, err
		}
		out = append(out, rest[i], refused)
	}
	return out[:len(rest)], nil
}
