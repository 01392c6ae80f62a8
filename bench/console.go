package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/daemon"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// What a page of the console may take: the p99 of its time in milliseconds, and its
// size in bytes.
const (
	pageLimit = 30
	pageSize  = 60 << 10
)

// countedWithin is how long a count of all licences may take here.
const countedWithin = 20 * time.Minute

// consolePage is a page that is asked for again and again.
type consolePage struct {
	name string
	path func(l *listed, r *rand.Rand) string
}

func consolePages() []consolePage {
	list := func(name string, value func(l *listed, r *rand.Rand) string) func(*listed, *rand.Rand) string {
		return func(l *listed, r *rand.Rand) string {
			return "/console/licenses?" + url.Values{name: {value(l, r)}}.Encode()
		}
	}
	one := func(of func(l *listed) []string) func(*listed, *rand.Rand) string {
		return func(l *listed, r *rand.Rand) string { values := of(l); return values[r.IntN(len(values))] }
	}
	always := func(value string) func(*listed, *rand.Rand) string {
		return func(*listed, *rand.Rand) string { return value }
	}
	pages := []consolePage{
		{"the overview", always("/console/")},
		{"all licences", always("/console/licenses")},
		{"licences that end within 30 days", list("within", always("30d"))},
		{"licences of a product", list("product", always(product))},
		{"licences of a customer", list("customer", one(func(l *listed) []string { return l.customers }))},
		{"licences of an order", list("order", one(func(l *listed) []string { return l.orders }))},
		{"one licence", func(l *listed, r *rand.Rand) string { return "/console/licenses/" + l.ids[r.IntN(len(l.ids))] }},
	}
	for _, state := range license.States() {
		pages = append(pages, consolePage{"licences that are " + string(state), list("state", always(string(state)))})
	}
	return pages
}

// measureConsole asks for pages of the console as a browser does, on one connection.
func measureConsole(ctx context.Context, s *site) (lines []line, err error) {
	l, err := s.fill(ctx, "console", s.sizes.list)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(l.path)) }()
	more := map[string]string{"admin.listen": "127.0.0.1:0"}
	err = s.serveWith(ctx, "licensed.yaml", l.path, "console", more, func(d *daemon.Daemon) error {
		begin := time.Now()
		c, err := s.staff(ctx, d.AdminAddr())
		if err != nil {
			return err
		}
		defer c.CloseIdleConnections()
		took, err := s.counted(ctx, l.count, begin)
		if err != nil {
			return err
		}
		lines = append(lines, line{path: fmt.Sprintf("counting %d licences in the background", l.count), product: duration(took), note: "at a twentieth of a core"})
		for _, p := range consolePages() {
			part, err := s.pageLines(ctx, c, d.AdminAddr(), p, l)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			lines = append(lines, part)
		}
		return nil
	})
	return lines, err
}

// staff is a browser in which a viewer has signed in.
func (s *site) staff(ctx context.Context, addr string) (*http.Client, error) {
	body, err := json.Marshal(adminwire.CreateToken{Name: "bench", Role: "viewer"})
	if err != nil {
		return nil, err
	}
	var made adminwire.Token
	if err := s.overSocket(ctx, http.MethodPost, adminwire.PathTokens, body, &made); err != nil {
		return nil, err
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	c := &http.Client{Jar: jar}
	form := url.Values{"token": {made.Token}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+addr+"/console/sign-in", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("sign in: status %d", resp.StatusCode)
	}
	return c, nil
}

// overSocket calls the admin API of the daemon called console.
func (s *site) overSocket(ctx context.Context, method, path string, body []byte, out any) error {
	c := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", s.path("console.sock"))
	}}}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, "http://daemon"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: status %d: %.300s", path, resp.StatusCode, data)
	}
	if err != nil {
		return err
	}
	return json.Unmarshal(data, out)
}

// counted waits until the overview knows all licences, and returns how long that was.
func (s *site) counted(ctx context.Context, n int, begin time.Time) (time.Duration, error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for time.Since(begin) < countedWithin {
		var o adminwire.Overview
		if err := s.overSocket(ctx, http.MethodGet, adminwire.PathOverview, nil, &o); err != nil {
			return 0, err
		}
		if o.Census != nil && o.Census.Total.Licenses >= n {
			return time.Since(begin), nil
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-tick.C:
		}
	}
	return 0, fmt.Errorf("%d licences are not counted after %s", n, countedWithin)
}

func (s *site) pageLines(ctx context.Context, c *http.Client, addr string, p consolePage, l *listed) (line, error) {
	r := rand.New(rand.NewPCG(1, 7)) //nolint:gosec // the same pages each time
	var each []time.Duration
	size, warm, n := 0, s.sizes.pages/10, s.sizes.pages*s.sizes.rounds
	for i := range n + warm {
		begin := time.Now()
		body, err := getBody(ctx, c, "http://"+addr+p.path(l, r))
		if err != nil {
			return line{}, err
		}
		if i >= warm {
			each = append(each, time.Since(begin))
		}
		size = max(size, len(body))
	}
	if size > pageSize {
		return line{}, fmt.Errorf("a page has %d bytes", size)
	}
	p99 := quantile(each, 0.99)
	return line{
		path: fmt.Sprintf("the console at %d licences: %s, p99", l.count, p.name), product: duration(p99), bare: duration(quantile(each, 0.5)),
		ratio: float64(p99) / float64(time.Millisecond), limit: pageLimit, most: true,
		note: fmt.Sprintf("the ratio is milliseconds; bare: p50; %d pages of at most %d KB", len(each), (size+1023)>>10),
	}, nil
}
