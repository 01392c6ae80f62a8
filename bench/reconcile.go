package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// How many codes a comparison has: the number that is to be shown, and one that
// takes half a minute.
const (
	allCodes = 100_000
	fewCodes = 5_000
)

// What else is about the comparison.
const (
	differs        = 100                    // of so many codes one has another end at the marketplace
	queryPause     = 200 * time.Millisecond // of the daemon, before each call but the first
	meanwhile      = 50                     // callbacks in a second
	mostMeanwhile  = 60 * meanwhile         // those of the first minute: then their checks are due, which take turns with the comparison
	reconcileLimit = 200                    // MB
)

// compared is what a comparison has come to.
type compared struct {
	total   adminwire.Compared
	took    time.Duration
	memory  memory
	renewed load
	others  float64 // what other programs took of the processors meanwhile
}

// measureReconcile is the comparison of all codes with what the marketplace says,
// as a merchant has it done: by licensectl, with a daemon of its own process. One
// code in a hundred has another end there, and at first callbacks come in
// besides. It is held against the same daemon on the same store while there is
// nothing to do.
func measureReconcile(ctx context.Context, s *site) ([]line, error) {
	daemon, err := s.build(ctx, "cmd/licensed", "licensed")
	if err != nil {
		return nil, err
	}
	control, err := s.build(ctx, "licensectl", "licensectl")
	if err != nil {
		return nil, err
	}
	path := s.path("reconcile.db")
	defer func() { _ = os.Remove(path) }()
	codes, err := s.stock(ctx, path, 0, s.sizes.codes, marketplace)
	if err != nil {
		return nil, err
	}
	ends := make(map[string]time.Time, len(codes))
	for i, l := range codes {
		if ends[l.code.Reveal()] = l.end; i%differs == 0 {
			ends[l.code.Reveal()] = l.end.AddDate(0, 1, 0)
		}
	}
	var lines []line
	err = withOpenAPI(ctx, ends, func(api *openAPI) error {
		conf := asking(fmt.Sprintf("base_urls: [%q], ca_file: ca.pem", api.url), "sync: {daily: false}") // so that each call is known
		if err := errors.Join(os.WriteFile(s.path("reconcile.yaml"), []byte(conf), 0o600), os.WriteFile(s.path("ca.pem"), api.ca, 0o600)); err != nil {
			return err
		}
		var quiet memory
		err := s.launch(ctx, daemon, "reconcile.yaml", path, "quiet", func(p *process) error {
			most := p.watch()
			select {
			case <-time.After(s.sizes.quiet):
			case <-ctx.Done():
			}
			quiet = most()
			return ctx.Err()
		})
		if err != nil {
			return err
		}
		var got compared
		err = s.launch(ctx, daemon, "reconcile.yaml", path, "compared", func(p *process) (err error) {
			got, err = p.compare(ctx, control, api)
			return err
		})
		if err != nil {
			return err
		}
		if err := errors.Join(got.check(len(codes), api), same(ctx, path, codes, api.end)); err != nil {
			return err
		}
		lines = got.lines(quiet, api)
		return nil
	})
	return lines, err
}

// compare has the daemon compare all its codes, and callbacks sent to it at
// first.
func (p *process) compare(ctx context.Context, control string, api *openAPI) (got compared, err error) {
	c, err := dial(ctx, p.public, 4)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	most := p.watch()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended, sent := make(chan struct{}), make(chan error, 1)
	go func() {
		var err error
		if got.renewed, got.others, err = p.renewals(ctx, c, api, ended); err != nil {
			cancel() // nothing counts any more
		}
		sent <- err
	}()
	begin := time.Now()
	cmd := exec.CommandContext(ctx, control, "--server", p.server, "marketplace", "sync", "-o", "json", marketplace) //nolint:gosec // built above
	out, err := cmd.Output()
	got.took = time.Since(begin)
	close(ended)
	err = errors.Join(err, <-sent)
	got.memory = most()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("licensectl: %w\n%s", err, exit.Stderr)
	}
	if err != nil {
		return got, err
	}
	var report struct {
		Syncs []adminwire.Synced `json:"syncs"`
	}
	if err := json.Unmarshal(out, &report); err != nil || len(report.Syncs) != 1 {
		return got, fmt.Errorf("licensectl says %.300q: %w", out, err)
	}
	got.total = report.Syncs[0].Total
	return got, nil
}

// renewals sends renewals of codes with which the comparison is done, until it
// has ended.
func (p *process) renewals(ctx context.Context, c *clients, api *openAPI, ended <-chan struct{}) (l load, others float64, err error) {
	select {
	case <-api.begun:
	case <-ended:
		return l, 0, nil
	case <-ctx.Done():
		return l, 0, ctx.Err()
	}
	before, _ := readSpent(p.cmd.Process.Pid) // all zero where the system does not tell
	l, err = c.paced(ctx, mostMeanwhile, time.Second/meanwhile, func(i int) (shot, error) {
		select {
		case <-ended:
			return shot{}, errEnough
		default:
		}
		text, end := api.renew(i)
		code, err := license.ParseCode(text)
		if err != nil {
			return shot{}, err
		}
		sh, _, err := renewal(code, end)
		return sh, err
	}, accepted)
	after, _ := readSpent(p.cmd.Process.Pid)
	return l, after.share(before), err
}

// check finds what went otherwise than it had to.
func (c compared) check(codes int, api *openAPI) error {
	api.mu.Lock()
	defer api.mu.Unlock()
	repairs := (codes + differs - 1) / differs
	asked := 0
	for _, n := range api.first {
		asked += n
	}
	switch t := c.total; {
	case t.Checked != codes || asked != codes || len(api.asked) != codes:
		return fmt.Errorf("of %d codes %d were compared; %d were asked about, %d of them for the first time", codes, t.Checked, asked, len(api.asked))
	case t.Repaired != repairs || t.Own != 0 || t.Failed != 0:
		return fmt.Errorf("%d were repaired and not %d, %d left, %d failed: %s", t.Repaired, repairs, t.Own, t.Failed, t.Failure)
	case api.others != 0:
		return fmt.Errorf("%d calls were no queries that can be answered", api.others)
	}
	return nil
}

// same finds licences whose end is not that of their code at the marketplace.
func same(ctx context.Context, path string, codes []sold, end func(code string) time.Time) (err error) {
	st, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	byID := make(map[string]license.Code, len(codes))
	for _, l := range codes {
		byID[l.id] = l.code
	}
	other, found := 0, 0
	err = st.View(ctx, func(ctx context.Context, tx store.Tx) error {
		other, found = 0, 0
		for cursor := ""; ; {
			page, next, err := tx.Licenses(ctx, store.Filter{}, store.Page{Limit: store.MaxPage, Cursor: cursor})
			if err != nil {
				return err
			}
			for _, l := range page {
				if found++; !l.ExpiresAt.Equal(end(byID[l.ID].Reveal())) {
					other++
				}
			}
			if cursor = next; cursor == "" {
				return nil
			}
		}
	})
	if err == nil && (other > 0 || found != len(codes)) {
		err = fmt.Errorf("%d of %d licences have another end than at the marketplace", other, found)
	}
	return err
}

// lines say what it took.
func (c compared) lines(quiet memory, api *openAPI) []line {
	api.mu.Lock()
	defer api.mu.Unlock()
	title := fmt.Sprintf("reconcile of %d codes", c.total.Checked)
	bytes := func(what string, ours, bare int64, limit float64, note string) line {
		if ours == 0 {
			limit, note = 0, "this system does not tell"
		}
		return line{path: what, product: megabytes(ours), bare: megabytes(bare), ratio: float64(ours) / 1e6, limit: limit, most: true, note: note}
	}
	calls := len(api.first)
	least := time.Duration(calls-1) * queryPause
	late := quantile(c.renewed.each, 0.99)
	return []line{
		bytes(title+": most memory of the daemon, mapped files included", c.memory.peak, quiet.peak, reconcileLimit,
			"the ratio is MB (VmHWM); bare: the same daemon quiet"),
		bytes("  its own memory", c.memory.own, quiet.own, 0, "the ratio is MB (RssAnon); bare: quiet"),
		bytes("  mapped files: the store and the program", c.memory.mapped, quiet.mapped, 0, "the ratio is MB (RssFile), which the system can drop; bare: quiet"),
		{
			path: "  codes in a call", product: fmt.Sprintf("%d calls", calls), bare: fmt.Sprintf("%d codes", c.total.Checked),
			ratio: float64(c.total.Checked) / float64(calls), note: fmt.Sprintf("and %d calls that checked the renewals; %d repaired", len(api.again), c.total.Repaired),
		},
		{
			path: "  time", product: fmt.Sprintf("%.1f s", c.took.Seconds()), bare: fmt.Sprintf("%.1f s", least.Seconds()),
			ratio: c.took.Seconds() / max(least, queryPause).Seconds(), note: "bare: the pauses of 200 ms between the calls",
		},
		{
			path: "  renewal callback meanwhile, 50 a second: p99", product: duration(late), bare: duration(quantile(c.renewed.each, 0.5)),
			ratio: float64(late) / float64(time.Millisecond), limit: 50, most: true,
			note: fmt.Sprintf("the ratio is milliseconds; bare: its own p50; %d callbacks; other programs took %.0f %% of the processors", len(c.renewed.each), 100*c.others),
		},
	}
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
