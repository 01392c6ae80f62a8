package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/durable"
)

// backupRatio is how much later a callback may be answered while a backup is made.
const backupRatio = 2

// measureBackup sends renewals at a fixed pace to a store of many licences, by
// turns alone and while one backup after the other is read and written to a file.
func measureBackup(ctx context.Context, s *site) (lines []line, err error) {
	many, err := s.fill(ctx, "backed", s.sizes.list)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(many.path)) }()
	begin := time.Now().UTC()
	var sent atomic.Int64
	next := func(int) (shot, error) {
		i, n := int(sent.Add(1)), len(s.market)
		sh, _, err := renewal(s.market[i%n].code, begin.AddDate(2, 0, i/n)) // another end each time
		return sh, err
	}
	var quiet, busy []time.Duration
	var copies copied
	err = s.serve(ctx, many.path, "backed", func(addr string) error {
		for range 2 * s.sizes.rounds {
			got, err := s.pace(ctx, addr, next)
			if err != nil {
				return err
			}
			quiet = append(quiet, got...)
			stop := s.keepCopying(ctx, s.path("backed.sock"), &copies)
			got, err = s.pace(ctx, addr, next)
			if err = errors.Join(err, stop()); err != nil {
				return err
			}
			busy = append(busy, got...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	a, b := quantile(busy, 0.99), quantile(quiet, 0.99)
	return []line{{
		path:    fmt.Sprintf("renewal callback, %d a second, while a store of %d licences is backed up: p99", pace, many.count),
		product: duration(a), bare: duration(b), ratio: float64(a) / float64(b), limit: backupRatio, most: true,
		note: fmt.Sprintf("bare: without a backup; %d backups, %d MB in all, %s each", copies.count, copies.bytes>>20, duration(copies.took/time.Duration(max(copies.count, 1)))),
	}}, nil
}

// pace sends callbacks for a part of what is paced.
func (s *site) pace(ctx context.Context, addr string, next func(int) (shot, error)) ([]time.Duration, error) {
	c, err := dial(ctx, addr, 16)
	if err != nil {
		return nil, err
	}
	got, err := c.paced(ctx, s.sizes.paced/12, time.Second/pace, next, accepted)
	return got.each, errors.Join(err, c.close())
}

// copied are the backups that were made.
type copied struct {
	count int
	bytes int64
	took  time.Duration
}

// keepCopying makes backups until the returned function is called, which waits
// for the one under way and adds them up.
func (s *site) keepCopying(ctx context.Context, socket string, to *copied) (stop func() error) {
	stopped, done := make(chan struct{}), make(chan error, 1)
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	go func() {
		defer client.CloseIdleConnections()
		for {
			if err := s.copyOnce(ctx, client, to); err != nil {
				done <- err
				return
			}
			select {
			case <-stopped:
				done <- nil
				return
			default:
			}
		}
	}()
	return func() error {
		close(stopped)
		return <-done
	}
}

func (s *site) copyOnce(ctx context.Context, client *http.Client, to *copied) (err error) {
	begin := time.Now()
	rq, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://daemon"+adminwire.PathBackup, strings.NewReader("{}"))
	if err != nil {
		return err
	}
	rq.Header.Set("Content-Type", "application/json")
	rs, err := client.Do(rq)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rs.Body.Close()) }()
	if rs.StatusCode != http.StatusOK {
		return fmt.Errorf("a backup is answered with %s", rs.Status)
	}
	f, err := durable.Create(s.path("copy"), 0o600) // as licensectl writes it
	if err != nil {
		return err
	}
	defer f.Abort()
	n, err := io.Copy(f, rs.Body)
	to.count, to.bytes, to.took = to.count+1, to.bytes+n, to.took+time.Since(begin)
	return err
}
