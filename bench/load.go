package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// shot is a request as it goes over the wire, and the status that it must get.
type shot struct {
	bytes  []byte
	status int
}

// to is the same request at another path.
func (s shot) to(from, to string) shot {
	s.bytes = bytes.Replace(s.bytes, []byte(" "+from), []byte(" "+to), 1)
	return s
}

// load is what a series of shots took, in all and each.
type load struct {
	elapsed time.Duration
	each    []time.Duration
}

func (l load) rate() float64 { return float64(len(l.each)) / l.elapsed.Seconds() }

func (l *load) add(more load) {
	l.elapsed += more.elapsed
	l.each = append(l.each, more.each...)
}

// check judges the body of the answer to a shot.
type check func(i int, body []byte) error

// clients are kept connections to one server.
type clients struct {
	conns   []net.Conn
	readers []*bufio.Reader
}

// patience bounds everything that is asked of one connection.
const patience = 10 * time.Minute

func dial(ctx context.Context, addr string, n int) (*clients, error) {
	c := &clients{}
	for range n {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.conns, c.readers = append(c.conns, conn), append(c.readers, bufio.NewReaderSize(conn, 16<<10))
		if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func (c *clients) close() error {
	var errs []error
	for _, conn := range c.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// fire sends the shots, each connection one at a time, and checks the answers.
func (c *clients) fire(ctx context.Context, shots []shot, ok check) (load, error) {
	return c.paced(ctx, len(shots), 0, func(i int) (shot, error) { return shots[i], nil }, ok)
}

// errEnough ends a series early.
var errEnough = errors.New("no more is to be sent")

// paced sends at most n shots with a fixed pause from one to the next, whatever
// becomes of those before. Each is made just before it is due, and counts from
// when it was due; without a pause that is when it is sent. What is wrong with
// making one ends the series, and errEnough does so without an error.
func (c *clients) paced(ctx context.Context, n int, pause time.Duration, next func(i int) (shot, error), ok check) (load, error) {
	l := load{each: make([]time.Duration, n)}
	errs := make([]error, len(c.conns))
	var count atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for k := range c.conns {
		wg.Go(func() {
			var body bytes.Buffer
			for errs[k] == nil && ctx.Err() == nil {
				i := int(count.Add(1)) - 1
				if i >= n {
					return
				}
				sh, err := next(i)
				if err != nil {
					errs[k] = err
					return
				}
				var late time.Duration
				if pause > 0 {
					due := begin.Add(time.Duration(i) * pause)
					time.Sleep(time.Until(due))
					late = time.Since(due)
				}
				l.each[i], errs[k] = c.one(k, sh, &body)
				l.each[i] += late
				if errs[k] == nil && ok != nil {
					errs[k] = ok(i, body.Bytes())
				}
			}
		})
	}
	wg.Wait()
	l.elapsed = time.Since(begin)
	for k, err := range errs {
		if errors.Is(err, errEnough) {
			errs[k] = nil
		}
	}
	l.each = slices.DeleteFunc(l.each, func(took time.Duration) bool { return took == 0 }) // was not sent
	return l, errors.Join(append(errs, ctx.Err())...)
}

func (c *clients) one(k int, s shot, body *bytes.Buffer) (time.Duration, error) {
	begin := time.Now()
	if _, err := c.conns[k].Write(s.bytes); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(c.readers[k], nil)
	if err != nil {
		return 0, err
	}
	body.Reset()
	_, err = io.Copy(body, answer.Body)
	took := time.Since(begin)
	_ = answer.Body.Close() // it was read
	if err == nil && answer.StatusCode != s.status {
		err = fmt.Errorf("an answer of status %d and not %d: %.300s", answer.StatusCode, s.status, body.Bytes())
	}
	return took, err
}

// post is a request with a JSON body.
func post(path string, body []byte) []byte {
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", path, len(body))
	return append([]byte(head), body...)
}

// get is a request with the given lines of a header.
func get(path string, header ...string) []byte {
	out := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: bench\r\n", path)
	for _, line := range header {
		out = append(append(out, line...), "\r\n"...)
	}
	return append(out, "\r\n"...)
}

// crowd has so many goroutines do n things, and says how long it took.
func crowd(writers, n int, do func(i int) error) (time.Duration, error) {
	errs := make([]error, writers)
	var next atomic.Int64
	var wg sync.WaitGroup
	begin := time.Now()
	for k := range writers {
		wg.Go(func() {
			for errs[k] == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				errs[k] = do(i)
			}
		})
	}
	wg.Wait()
	return time.Since(begin), errors.Join(errs...)
}
