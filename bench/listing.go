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
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// Licences in the stores that are listed: where nothing else is measured the
// larger one holds allListed.
const (
	fewListed = 10_000
	manyOfAll = 50_000
	allListed = 1_000_000
)

// listingLimit is what the p99 of a page may be, in milliseconds, and
// listingRatio how much longer one may take in the larger store.
const (
	listingLimit = 10
	listingRatio = 1.5
)

// listed is a store whose licences are listed.
type listed struct {
	count     int
	path      string
	customers []string
	orders    []string
	last4     []string
	ids       []string

	built time.Duration
	open  time.Duration // median
}

// listing is a way to ask for licences.
type listing struct {
	name string
	// ask returns the path and query of a page, whose cursor is added, or of a lookup.
	ask func(l *listed, r *rand.Rand) string
	// pages is how many pages of each list are asked for, one after the other.
	pages int
	limit float64 // of p99 at the larger store, 0: none
}

func listings() []listing {
	query := func(name string, of func(l *listed) []string) func(*listed, *rand.Rand) string {
		return func(l *listed, r *rand.Rand) string {
			values := of(l)
			return adminwire.PathLicenses + "?" + url.Values{name: {values[r.IntN(len(values))]}}.Encode()
		}
	}
	fixed := func(values ...string) func(*listed, *rand.Rand) string {
		return func(_ *listed, r *rand.Rand) string {
			return adminwire.PathLicenses + "?" + values[r.IntN(len(values))]
		}
	}
	states := make([]string, 0, len(license.States()))
	for _, s := range license.States() {
		states = append(states, "state="+string(s))
	}
	return []listing{
		{"a page by state", fixed(states...), 10, listingLimit},
		{"a page by end", fixed("expiring_within=30d", "expiring_within=365d", "expiring_within=700d&state=active"), 10, listingLimit},
		{"a page by customer", query("customer", func(l *listed) []string { return l.customers }), 1, listingLimit},
		{"a page by order", query("order", func(l *listed) []string { return l.orders }), 1, listingLimit},
		{"a page by last four", query("last4", func(l *listed) []string { return l.last4 }), 1, listingLimit},
		{"a page of all", fixed(""), 10, 0},
		{"a lookup", func(l *listed, r *rand.Rand) string {
			return adminwire.PathLicenses + "/" + l.ids[r.IntN(len(l.ids))]
		}, 1, 0},
	}
}

// measureListing asks for pages over the admin socket of two daemons by turns.
func measureListing(ctx context.Context, s *site) (lines []line, err error) {
	few, err := s.fill(ctx, "few", min(fewListed, s.sizes.list))
	if err != nil {
		return nil, err
	}
	many, err := s.fill(ctx, "many", s.sizes.list)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.Remove(many.path)) }()
	lines = []line{{
		path:    fmt.Sprintf("opening a store of %d licences", many.count),
		product: duration(many.open), bare: duration(few.open), ratio: float64(many.open) / float64(time.Millisecond), limit: 20, most: true,
		note: fmt.Sprintf("the ratio is milliseconds; bare: of %d; it was filled at %s", few.count, perSecond(float64(many.count)/many.built.Seconds())),
	}}
	err = s.serve(ctx, few.path, "few", func(string) error {
		return s.serve(ctx, many.path, "many", func(string) error {
			for _, l := range listings() {
				part, err := s.listingLines(ctx, l, few, many)
				if err != nil {
					return fmt.Errorf("%s: %w", l.name, err)
				}
				lines = append(lines, part...)
			}
			return nil
		})
	})
	return lines, err
}

func (s *site) listingLines(ctx context.Context, l listing, few, many *listed) ([]line, error) {
	of := map[*listed]*[]time.Duration{few: new([]time.Duration), many: new([]time.Duration)}
	for round := range s.sizes.rounds * turns {
		for _, side := range []struct {
			l    *listed
			name string
		}{{few, "few"}, {many, "many"}} {
			each, err := s.askPages(ctx, s.path(side.name+".sock"), l, side.l, uint64(round))
			if err != nil {
				return nil, err
			}
			*of[side.l] = append(*of[side.l], each...)
		}
	}
	a, b := *of[many], *of[few]
	lines := []line{{
		path:    fmt.Sprintf("%s at %d licences, p50", l.name, many.count),
		product: duration(quantile(a, 0.5)), bare: duration(quantile(b, 0.5)), ratio: float64(quantile(a, 0.5)) / float64(quantile(b, 0.5)),
		limit: listingRatio, most: true, note: fmt.Sprintf("bare: at %d; %d requests over the admin socket", few.count, len(a)),
	}}
	p99 := line{path: "  its p99", product: duration(quantile(a, 0.99)), bare: duration(quantile(b, 0.99)), ratio: float64(quantile(a, 0.99)) / float64(time.Millisecond), note: "the ratio is milliseconds"}
	if l.limit > 0 {
		p99.limit, p99.most = l.limit, true
	}
	return append(lines, p99), nil
}

// askPages asks one after the other, a tenth of them for warming up.
func (s *site) askPages(ctx context.Context, socket string, l listing, in *listed, seed uint64) ([]time.Duration, error) {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}}
	defer client.CloseIdleConnections()
	r := rand.New(rand.NewPCG(seed, 7)) //nolint:gosec // the same pages each time
	var each []time.Duration
	warm := s.sizes.pages / 10
	for len(each) < s.sizes.pages+warm {
		path, cursor := l.ask(in, r), ""
		for range l.pages {
			begin := time.Now()
			body, err := getBody(ctx, client, path+cursor)
			if err != nil {
				return nil, err
			}
			each = append(each, time.Since(begin))
			var page struct {
				ID       string `json:"id"`
				Licenses []struct {
					ID string `json:"id"`
				} `json:"licenses"`
				Next string `json:"next"`
			}
			if err := json.Unmarshal(body, &page); err != nil {
				return nil, err
			}
			if len(page.Licenses) == 0 && page.ID == "" {
				return nil, fmt.Errorf("%s%s: nothing was found", path, cursor)
			}
			if page.Next == "" {
				break
			}
			cursor = "&cursor=" + url.QueryEscape(page.Next)
		}
	}
	return each[warm:], nil
}

// base makes a path one of the daemon behind a socket; an address stays as it is.
func base(path string) string {
	if strings.HasPrefix(path, "http://") {
		return path
	}
	return "http://daemon" + path
}

func getBody(ctx context.Context, client *http.Client, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base(path), nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := io.Copy(&body, resp.Body); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d: %.300s", path, resp.StatusCode, body.Bytes())
	}
	return body.Bytes(), nil
}

// fill makes a store of n licences in all states, with ends from a year ago to
// two years ahead, of customers who have fifty each and orders of ten.
func (s *site) fill(ctx context.Context, name string, n int) (*listed, error) {
	out := &listed{count: n, path: s.path("listed-" + name + ".db")}
	if err := copyFile(out.path, s.fresh); err != nil {
		return nil, err
	}
	begin := time.Now()
	if err := s.fillStore(ctx, out); err != nil {
		return nil, err
	}
	out.built = time.Since(begin)
	var opens []time.Duration
	for range 5 {
		begin := time.Now()
		st, err := boltstore.Open(out.path, boltstore.Options{})
		if err != nil {
			return nil, err
		}
		opens = append(opens, time.Since(begin))
		if err := st.Close(); err != nil {
			return nil, err
		}
	}
	out.open = median(opens)
	return out, nil
}

func (s *site) fillStore(ctx context.Context, out *listed) (err error) {
	st, err := boltstore.Open(out.path, boltstore.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	now := time.Now().UTC().Truncate(time.Second)
	var ids license.IDs
	r := rand.New(rand.NewPCG(uint64(out.count), 3)) //nolint:gosec // the same licences each time
	part := make([]license.License, 0, min(10_000, out.count))
	for i := range out.count {
		l, code, err := s.licence(&ids, now, i, license.ChannelManual)
		if err != nil {
			return err
		}
		l.Customer, l.Order = fmt.Sprintf("Example %06d GmbH", r.IntN(max(1, out.count/50))), fmt.Sprintf("CS26%010d", i/10)
		spread(&l, r, now)
		if i%97 == 0 {
			out.customers, out.orders = append(out.customers, l.Customer), append(out.orders, l.Order)
			out.last4, out.ids = append(out.last4, code.Last4()), append(out.ids, l.ID)
		}
		if part = append(part, l); len(part) < cap(part) && i < out.count-1 {
			continue
		}
		if err := record(ctx, st, part, now); err != nil {
			return err
		}
		part = part[:0]
	}
	return nil
}

// spread gives a licence a state and an end.
func spread(l *license.License, r *rand.Rand, now time.Time) {
	l.IssuedAt = now.AddDate(-1, 0, 0)
	l.ExpiresAt = now.Add(time.Duration(r.IntN(3*365*24)-365*24) * time.Hour)
	switch n := r.IntN(100); {
	case n < 70:
		l.ActivatedAt = now
	case n < 85:
	case n < 90:
		l.Holds = license.HoldMerchant
	case n < 95:
		l.ReleasedAt = now
	default:
		l.RevokedAt = now
	}
}
