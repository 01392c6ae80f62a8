package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license/wire"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// turn is how many requests or commits the sides of a comparison make before
// the other has its turn.
const turn = 25

// measureAlone is an activation on one connection against one bare commit: it
// must not wait for company.
func measureAlone(ctx context.Context, s *site) ([]line, error) {
	w, err := s.activations(ctx)
	if err != nil {
		return nil, err
	}
	n := s.sizes.warm + min(s.sizes.alone, s.sizes.requests)
	var product, bare []time.Duration
	var ratios []float64
	for range s.sizes.rounds {
		ours, theirs, err := s.alone(ctx, w, n)
		if err != nil {
			return nil, err
		}
		a, b := quantile(ours, 0.5), quantile(theirs, 0.5)
		product, bare, ratios = append(product, a), append(bare, b), append(ratios, float64(a)/float64(b))
	}
	return []line{{
		path: "activate, 1 connection: p50", product: duration(median(product)), bare: duration(median(bare)),
		ratio: median(ratios), limit: 2.2, most: true, note: "bare: one commit of the same keys and bytes",
	}}, nil
}

// alone has the server answer n requests on one connection and commits the same
// by itself, by turns. The first ones are for warming up.
func (s *site) alone(ctx context.Context, w *work, n int) (ours, theirs []time.Duration, err error) {
	path := s.path("bare.db")
	if err := copyFile(path, w.before); err != nil {
		return nil, nil, err
	}
	err = withBolt(path, func(db *bolt.DB) error {
		return s.serveCopy(ctx, w.before, "alone", func(addr string) (err error) {
			c, err := dial(ctx, addr, 1)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, c.close()) }()
			for from := 0; from < n; from += turn {
				to := min(from+turn, n)
				l, err := c.fire(ctx, w.shots[from:to], nil)
				if err != nil {
					return err
				}
				each, err := commitEach(db, w.items[from:to])
				if err != nil {
					return err
				}
				if from >= s.sizes.warm {
					ours, theirs = append(ours, l.each...), append(theirs, each...)
				}
			}
			return nil
		})
	})
	return ours, theirs, err
}

func withBolt(path string, do func(*bolt.DB) error) (err error) {
	db, err := openBolt(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return do(db)
}

// commitEach commits each item by itself.
func commitEach(db *bolt.DB, items []*item) ([]time.Duration, error) {
	each := make([]time.Duration, 0, len(items))
	for _, it := range items {
		begin := time.Now()
		err := db.Update(func(tx *bolt.Tx) error {
			p, err := openPage(tx)
			if err != nil {
				return err
			}
			return p.write(it.puts)
		})
		if err != nil {
			return nil, err
		}
		each = append(each, time.Since(begin))
	}
	return each, nil
}

// small is what the comparison of commits writes: a value under a key that
// comes after those before it.
func small(n int) (key string, value []byte) { return fmt.Sprintf("%016d", n), make([]byte, 100) }

// measureCommit is the store's group commit against the ways of bbolt itself.
func measureCommit(ctx context.Context, s *site) ([]line, error) {
	var alone, crowded [3][]float64 // store, bbolt, ratio
	for i := range s.sizes.rounds {
		st, err := boltstore.Open(s.path(fmt.Sprintf("commit-%d.db", i)), boltstore.Options{})
		if err != nil {
			return nil, err
		}
		err = withBolt(s.path(fmt.Sprintf("bare-%d.db", i)), func(db *bolt.DB) error {
			name := []byte("values")
			if err := db.Update(func(tx *bolt.Tx) error { _, err := tx.CreateBucket(name); return err }); err != nil {
				return err
			}
			bare := func(how func(func(*bolt.Tx) error) error, n int) error {
				key, value := small(n)
				return how(func(tx *bolt.Tx) error { return tx.Bucket(name).Put([]byte(key), value) })
			}
			ours := func(n int) error {
				key, value := small(n)
				return st.Update(ctx, func(ctx context.Context, tx store.Tx) error { return tx.SetValue(ctx, key, value) })
			}
			a, b, err := byTurns(s.sizes.commits, ours, func(n int) error { return bare(db.Update, n) })
			if err != nil {
				return err
			}
			note(&alone, a, b)
			// The store makes ten commits while bbolt makes one, so that both take long enough to be timed.
			const more = 10
			from := s.sizes.commits
			t, err := crowd(16, s.sizes.crowd*more, func(n int) error { return ours(from + n) })
			if err != nil {
				return err
			}
			u, err := crowd(16, s.sizes.crowd, func(n int) error { return bare(db.Batch, from+n) })
			if err != nil {
				return err
			}
			note(&crowded, float64(s.sizes.crowd*more)/t.Seconds(), float64(s.sizes.crowd)/u.Seconds())
			return nil
		})
		if err := errors.Join(err, st.Close()); err != nil {
			return nil, err
		}
	}
	row := func(path string, f [3][]float64, limit float64, what string) line {
		return line{
			path: path, product: perSecond(median(f[0])), bare: perSecond(median(f[1])), ratio: median(f[2]), limit: limit, note: "bare: " + what,
		}
	}
	return []line{
		row("group commit, 1 writer", alone, 0.95, "db.Update"),
		row("group commit, 16 writers", crowded, 8, "db.Batch with its defaults"),
	}, nil
}

func note(f *[3][]float64, ours, bare float64) {
	f[0], f[1], f[2] = append(f[0], ours), append(f[1], bare), append(f[2], ours/bare)
}

// byTurns has two sides do n things each, a few at a time, and returns their rates.
func byTurns(n int, ours, bare func(n int) error) (a, b float64, err error) {
	var spent [2]time.Duration
	for from := 0; from < n; from += turn {
		for k, do := range []func(int) error{ours, bare} {
			begin := time.Now()
			for i := from; i < min(from+turn, n); i++ {
				if err := do(i); err != nil {
					return 0, 0, err
				}
			}
			spent[k] += time.Since(begin)
		}
	}
	return float64(n) / spent[0].Seconds(), float64(n) / spent[1].Seconds(), nil
}

// measureKeys is the key set, which is made once and kept, against an answer of
// the same size.
func measureKeys(ctx context.Context, s *site) ([]line, error) {
	l, err := s.cachedLine(ctx, s.fresh, wire.PathKeys)
	l.path = "key set (cached), 64 connections"
	return []line{l}, err
}
