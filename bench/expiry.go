package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// expirySpan is within how much time the licences end.
const expirySpan = 10 * time.Second

// withoutWarnings is a configuration in which no end is announced, so that the
// ends alone are what the sweeper finds.
var withoutWarnings = strings.Replace(configuration, "features: {", `phases: {warn: 0s}, features: {`, 1)

// measureExpiry sends renewals at a fixed pace to a daemon with nothing else to
// do, stops it, and sends them again to one that finds on its start that many
// licences have ended meanwhile: the sweeper is behind with all of them at once.
func measureExpiry(ctx context.Context, s *site) (lines []line, err error) {
	path := s.path("expiry.db")
	if err := copyFile(path, s.fresh); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(path)) }()
	quietFor := time.Duration(s.sizes.ends) * time.Second / pace
	span := min(expirySpan, time.Duration(s.sizes.expiring)*time.Millisecond)
	built := time.Duration(s.sizes.expiring) * 200 * time.Microsecond // generously
	from := time.Now().UTC().Add(built + quietFor + 5*time.Second).Truncate(time.Second)
	if err := s.stockEnding(ctx, path, from, span); err != nil {
		return nil, err
	}
	serve := func(year int) (got load, others float64, err error) {
		begin, _ := readSpent()
		err = s.serveAs(ctx, "expiry.yaml", path, "expiry", func(addr string) error {
			c, err := dial(ctx, addr, 16)
			if err != nil {
				return err
			}
			end := time.Now().UTC().AddDate(year, 0, 0)
			got, err = c.paced(ctx, s.sizes.ends, time.Second/pace, func(i int) (shot, error) {
				n := len(s.market)
				sh, _, err := renewal(s.market[i%n].code, end.AddDate(0, 0, i/n)) // another end each time
				return sh, err
			}, accepted)
			return errors.Join(err, c.close())
		})
		end, _ := readSpent()
		return got, end.share(begin), err
	}
	quiet, others, err := serve(2)
	if err != nil {
		return nil, err
	}
	if late := time.Since(from); late > 0 {
		return nil, fmt.Errorf("the first licences ended %s before the quiet part was over", late)
	}
	if before, err := ended(ctx, path); err != nil || before > 0 {
		return nil, errors.Join(err, fmt.Errorf("%d ends were recorded in the quiet part", before))
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(time.Until(from.Add(span + time.Second))):
	}
	busy, othersThen, err := serve(4)
	if err != nil {
		return nil, err
	}
	recorded, err := ended(ctx, path)
	if err != nil {
		return nil, err
	}
	if recorded == 0 {
		return nil, errors.New("the sweeper has recorded no end")
	}
	was, is := quantile(quiet.each, 0.99), quantile(busy.each, 0.99)
	return []line{{
		path: fmt.Sprintf("renewal callback, %d a second, %d licences having ended at once: p99", pace, s.sizes.expiring), product: duration(is), bare: duration(was),
		ratio: float64(is) / float64(was), limit: 2, most: true,
		note: fmt.Sprintf("bare: quiet; %d ends were recorded meanwhile, %.0f a second; p50 %s and quiet %s; other programs took %.0f %% and %.0f %% of the processors",
			recorded, float64(recorded)/busy.elapsed.Seconds(), duration(quantile(busy.each, 0.5)), duration(quantile(quiet.each, 0.5)), 100*othersThen, 100*others),
	}}, nil
}

// stockEnding adds licences in use that end within span from an instant on.
func (s *site) stockEnding(ctx context.Context, path string, from time.Time, span time.Duration) (err error) {
	st, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	now := time.Now().UTC().Truncate(time.Second)
	var ids license.IDs
	n := s.sizes.expiring
	part := make([]license.License, 0, 5000)
	for i := range n {
		l, _, err := s.licence(&ids, now, i, license.ChannelManual)
		if err != nil {
			return err
		}
		l.ActivatedAt, l.ExpiresAt = now, from.Add(span*time.Duration(i)/time.Duration(n)).Truncate(time.Second)
		if part = append(part, l); len(part) < cap(part) && i < n-1 {
			continue
		}
		if err := record(ctx, st, part, now); err != nil {
			return err
		}
		part = part[:0]
	}
	return nil
}

// ended counts the ends that were recorded in a store.
func ended(ctx context.Context, path string) (n int, err error) {
	st, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	err = st.View(ctx, func(ctx context.Context, tx store.Tx) error {
		n = 0
		for cursor := ""; ; {
			events, next, err := tx.Events(ctx, store.EventFilter{Action: license.ActionExpire}, store.Page{Limit: store.MaxPage, Cursor: cursor})
			if err != nil {
				return err
			}
			n += len(events)
			if cursor = next; next == "" {
				return nil
			}
		}
	})
	return n, err
}
