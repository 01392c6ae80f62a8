package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// bubble is an install that runs in a bubble, by a clock of its own that can be
// set, with a server that can be lost and knows the true time.
type bubble struct {
	*site
	t     *testing.T
	begin time.Time
	g     *client.Guard

	mu     sync.Mutex
	skew   time.Duration
	down   bool
	hangs  bool
	status license.ListStatus
	ends   time.Time
	calls  []time.Duration // when the server was called, since the beginning
	lines  []string        // what the events said
	reader sync.WaitGroup
}

func newBubble(t *testing.T) *bubble {
	t.Helper()
	l := &bubble{site: newSite(t), t: t, begin: time.Now(), ends: epoch.Add(365 * 24 * time.Hour)}
	l.vendor.now = l.true
	l.vendor.grant = func(_ token.Request, c *token.License) { *c = l.granted(*c) }
	l.vendor.refuse = func(token.Request) error {
		switch l.status {
		case license.StatusSuspended:
			return license.Errorf(license.Suspended, "not paid")
		case license.StatusRevoked:
			return license.Errorf(license.Revoked, "ended by the merchant")
		case license.StatusValid:
		}
		return nil
	}
	l.vendor.spoil = func(_ token.Request, a *wire.Answer) { a.Status = statusList(t, l.true(), l.status) }
	l.opts.Now = func() time.Time {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.true().Add(l.skew)
	}
	l.opts.HTTPClient = &http.Client{Transport: l}
	l.opts.Manual = false
	l.opts = client.Steady(l.opts, 0.5)
	return l
}

// true is the true time.
func (l *bubble) true() time.Time { return epoch.Add(time.Since(l.begin)) }

// granted is a licence with a lease of two days that is renewed each six hours.
func (l *bubble) granted(c token.License) token.License {
	c = listed(c)
	c.Dates = license.Schedule{
		Warn: 12 * time.Hour, Grace: 24 * time.Hour, Enforcement: license.EnforceBlock, Lease: 48 * time.Hour, Refresh: 6 * time.Hour,
	}.DatesFor(c.Dates.IssuedAt, time.Time{}, l.ends)
	return c
}

func (l *bubble) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	l.calls = append(l.calls, time.Since(l.begin))
	down, hangs := l.down, l.hangs
	l.mu.Unlock()
	switch {
	case down:
		return nil, errors.New("the cable is out")
	case hangs:
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	list := statusList(l.t, l.true(), l.status)
	return published{l.site, &list}.RoundTrip(r)
}

// change changes the world.
func (l *bubble) change(do func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	do()
}

// start starts the product, and writes down what it is told.
func (l *bubble) start() {
	l.t.Helper()
	g, err := client.Open(l.t.Context(), l.opts)
	check(l.t, err)
	l.g = g
	l.reader.Go(func() {
		for e := range g.Events() {
			line := fmt.Sprintf("%s %s %s", stamp(time.Since(l.begin)), e.Kind, e.Status.Phase)
			if r := license.ReasonOf(e.Err); r != "" {
				line += " " + string(r)
			}
			if e.Missed != 0 {
				line += fmt.Sprintf(" missed %d", e.Missed)
			}
			if s := e.String(); s == "" || strings.Contains(s, code) {
				l.t.Errorf("an event says %q", s)
			}
			l.change(func() { l.lines = append(l.lines, line) })
		}
	})
	synctest.Wait()
}

// activate starts the product for the first time.
func (l *bubble) activate() {
	l.t.Helper()
	l.start()
	check(l.t, l.g.Activate(l.t.Context(), code))
}

func (l *bubble) stop() {
	l.t.Helper()
	check(l.t, l.g.Close())
	l.reader.Wait()
}

func (l *bubble) told() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}

// forget forgets what was told and called.
func (l *bubble) forget() {
	synctest.Wait()
	l.change(func() { l.lines, l.calls = nil, nil })
}

func stamp(d time.Duration) string {
	return fmt.Sprintf("%d %02d:%02d:%02d", d/(24*time.Hour), d/time.Hour%24, d/time.Minute%60, d/time.Second%60)
}

// until waits for an instant, in days, hours and minutes since the beginning.
func (l *bubble) until(day, hour, minute int) {
	l.t.Helper()
	d := time.Duration(day*24+hour)*time.Hour + time.Duration(minute)*time.Minute - time.Since(l.begin)
	if d < 0 {
		l.t.Fatalf("day %d %d:%d is over", day, hour, minute)
	}
	time.Sleep(d)
	synctest.Wait()
}

// A week of an install: outages, restarts, wrong clocks, another disk, a
// suspension, the end of the licence, its renewal and its revocation. The
// lease is two days, the product calls home each six hours and eighteen minutes.
func TestWeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newBubble(t)
		l.ends = epoch.Add(6 * 24 * time.Hour)
		l.activate()

		l.until(0, 10, 0)
		l.stop()
		l.until(0, 11, 0)
		l.start() // nothing is wrong, and nothing is told

		l.until(1, 0, 0)
		l.change(func() { l.hangs = true })
		l.until(1, 9, 0)
		l.change(func() { l.hangs = false })

		l.until(1, 12, 0)
		l.change(func() { l.skew = -20 * time.Hour })
		l.until(1, 13, 0)
		l.change(func() { l.skew = 0 })
		l.until(1, 14, 0)
		l.change(func() { l.skew = 40 * 24 * time.Hour }) // the lease seems over: the server is asked, and knows
		l.until(1, 15, 0)
		l.change(func() { l.skew = 0 })

		l.until(2, 0, 0)
		l.change(func() { l.down = true })
		l.until(4, 4, 0)
		l.stop() // such as a machine that is switched off
		l.machine.Values[license.KindDisk] = []string{"another disk"}
		l.until(4, 5, 0)
		l.start()
		l.until(4, 6, 10)
		l.change(func() { l.down = false })

		l.until(5, 7, 0)
		l.change(func() { l.status = license.StatusSuspended })
		l.until(5, 10, 0)
		l.change(func() { l.status = license.StatusValid })

		l.until(6, 8, 0)
		l.change(func() { l.ends = epoch.Add(60 * 24 * time.Hour) })
		l.until(6, 20, 0)
		l.change(func() { l.status = license.StatusRevoked })
		l.until(7, 4, 0)
		l.stop()

		want := strings.Split(strings.TrimSpace(week), "\n")
		if diff := cmp.Diff(want, l.told()); diff != "" {
			t.Error(diff)
		}
		if l.vendor.forks != 0 {
			t.Errorf("%d times it looked like a copy", l.vendor.forks)
		}
	})
}

// The week as it must be told. A look is taken each minute, half past it in this
// week, since a call hung for 30 seconds.
const week = `
0 00:00:00 blocked blocked no_license
0 00:00:00 license valid
0 00:00:00 restored valid
1 01:12:30 trouble valid unreachable
1 09:22:30 reached valid
1 12:00:30 clock valid clock
1 13:00:30 clock valid
1 14:00:30 clock blocked clock
1 14:00:30 blocked blocked expired
1 14:00:30 clock valid clock
1 14:00:30 restored valid
1 15:00:30 clock valid
2 02:36:30 trouble valid unreachable
3 08:18:30 grace grace
3 20:18:30 blocked blocked lease_over
4 05:00:00 machine blocked
4 05:00:00 blocked blocked lease_over
4 05:00:00 trouble blocked unreachable
4 06:12:30 restored valid
4 06:12:30 reached valid
5 07:24:30 blocked blocked suspended
5 10:28:00 restored valid
5 12:00:00 expiring warning
6 00:00:00 grace grace
6 08:30:00 license valid
6 08:30:00 restored valid
6 21:06:00 revoked blocked revoked
`
