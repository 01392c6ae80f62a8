package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// pace is how many callbacks a marketplace sends in a second that keeps a
// merchant busy.
const pace = 500

// firstCheck is how long after a renewal the daemon asks the marketplace about
// its code.
const firstCheck = time.Minute

// measurePaced sends renewals at a fixed pace while the marketplace's open API
// cannot be reached, though each of them has it asked a minute later. So in the
// second half more and more is due that fails and is tried again. A callback
// that is sent late, because the ones before it were answered late, counts from
// when it was due.
func measurePaced(ctx context.Context, s *site) ([]line, error) {
	path := s.path("paced.db")
	if err := copyFile(path, s.fresh); err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(path) }()
	begin := time.Now().UTC()
	var at [3]spent // at the beginning, in the middle and at the end; all zero where the system does not tell
	at[0], _ = readSpent()
	next := func(i int) (shot, error) {
		if i == s.sizes.paced/2 {
			at[1], _ = readSpent()
		}
		n := len(s.market)
		sh, _, err := renewal(s.market[i%n].code, begin.AddDate(2, 0, i/n)) // another end each time
		return sh, err
	}
	var got load
	err := s.serveAs(ctx, "unreachable.yaml", path, "paced", func(addr string) error {
		c, err := dial(ctx, addr, 16)
		if err != nil {
			return err
		}
		got, err = c.paced(ctx, s.sizes.paced, time.Second/pace, next, accepted)
		return errors.Join(err, c.close())
	})
	if err != nil {
		return nil, err
	}
	at[2], _ = readSpent()
	waiting, tries, err := checks(ctx, path)
	half := len(got.each) / 2
	switch due := time.Duration(half)*time.Second/pace >= firstCheck; {
	case err != nil:
		return nil, err
	case waiting != len(got.each):
		return nil, fmt.Errorf("%d renewals have left %d checks", len(got.each), waiting)
	case due && tries == 0:
		return nil, errors.New("no check was due in the second half")
	}
	of := func(title string, part []time.Duration, others float64, note string) line {
		late := quantile(part, 0.99)
		return line{
			path: title, product: duration(late), bare: duration(quantile(part, 0.5)),
			ratio: float64(late) / float64(time.Millisecond), limit: 50, most: true,
			note: fmt.Sprintf("the ratio is milliseconds; bare: its own p50; other programs took %.0f %% of the processors%s", 100*others, note),
		}
	}
	return []line{
		of("renewal callback, 500 a second, its marketplace down: p99", got.each[:half], at[1].share(at[0]), ""),
		of("  the second half, in which checks are due and fail: p99", got.each[half:], at[2].share(at[1]),
			fmt.Sprintf("; %d checks wait, and the first was tried %d times", waiting, tries)),
	}, nil
}

// checks says how many checks of renewals wait in a store, and how often the
// first of them was tried in vain: all others wait behind it.
func checks(ctx context.Context, path string) (waiting, tries int, err error) {
	st, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	err = st.View(ctx, func(ctx context.Context, tx store.Tx) error {
		n, err := tx.CountJobs(ctx)
		if err != nil {
			return err
		}
		first, _, err := tx.Jobs(ctx, store.JobFilter{Kind: license.JobCheck}, store.Page{Limit: 1})
		waiting, tries = n.Waiting, 0
		if len(first) > 0 && !first[0].FailedAt.IsZero() {
			tries = first[0].Attempts
		}
		return err
	})
	return waiting, tries, err
}
