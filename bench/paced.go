package main

import (
	"context"
	"errors"
	"os"
	"time"
)

// pace is how many callbacks a marketplace sends in a second that keeps a
// merchant busy.
const pace = 500

// measurePaced sends renewals at a fixed pace while the marketplace's open API
// cannot be reached, though each of them has it asked. A callback that is sent
// late, because the ones before it were answered late, counts from when it was
// due.
func measurePaced(ctx context.Context, s *site) ([]line, error) {
	w, err := s.renewals(ctx)
	if err != nil {
		return nil, err
	}
	shots, _, err := w.renew()
	if err != nil {
		return nil, err
	}
	path := s.path("paced.db")
	if err := copyFile(path, w.before); err != nil {
		return nil, err
	}
	defer func() { _ = os.Remove(path) }()
	var got load
	err = s.serveAs(ctx, "unreachable.yaml", path, "paced", func(addr string) error {
		c, err := dial(ctx, addr, 16)
		if err != nil {
			return err
		}
		got, err = c.paced(ctx, shots, time.Second/pace, accepted)
		return errors.Join(err, c.close())
	})
	if err != nil {
		return nil, err
	}
	late := quantile(got.each, 0.99)
	return []line{{
		path: "renewal callback, 500 a second, its marketplace down: p99", product: duration(late), bare: duration(quantile(got.each, 0.5)),
		ratio: float64(late) / float64(time.Millisecond), limit: 50, most: true, note: "the ratio is milliseconds; bare: its own p50",
	}}, nil
}
