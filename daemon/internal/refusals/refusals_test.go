package refusals_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/refusals"
	"github.com/seed-357fa782/licensed/license"
)

// wait asks how long an address would have to wait, without being counted.
func wait(l *refusals.Limiter, addr string) time.Duration {
	w, good := refusals.Begin(l, addr)
	good()
	return w
}

// refused counts a request that turned out to be refused.
func refused(l *refusals.Limiter, addr string) { refusals.Begin(l, addr) }

func TestLimiter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := refusals.New(2, func() time.Time { return now })
	for range 2 {
		if w := wait(l, "192.0.2.1"); w != 0 {
			t.Fatalf("waits %v before the limit", w)
		}
		refused(l, "192.0.2.1")
		now = now.Add(10 * time.Second)
	}
	if w := wait(l, "192.0.2.1"); w != 40*time.Second {
		t.Errorf("waits %v, want the rest of the minute", w)
	}
	if w := wait(l, "192.0.2.2"); w != 0 {
		t.Errorf("a neighbour waits %v", w)
	}
	now = now.Add(40 * time.Second)
	if w := wait(l, "192.0.2.1"); w != 0 {
		t.Errorf("waits %v in the next minute", w)
	}
	// One customer has a whole IPv6 network.
	for i := range 2 {
		refused(l, fmt.Sprintf("2001:db8:0:1::%d", i))
	}
	if wait(l, "2001:db8:0:1::9") == 0 || wait(l, "2001:db8:0:2::9") != 0 {
		t.Error("IPv6 addresses are not counted by network")
	}
	// What is under way counts until it turns out to be good.
	_, first := refusals.Begin(l, "192.0.2.3")
	_, second := refusals.Begin(l, "192.0.2.3")
	if wait(l, "192.0.2.3") == 0 {
		t.Error("requests under way do not count")
	}
	first()
	second()
	if wait(l, "192.0.2.3") != 0 {
		t.Error("good requests count")
	}
	// A clock that goes back does not lock anybody out for long.
	now = now.Add(-24 * time.Hour)
	if w := wait(l, "2001:db8:0:1::9"); w != 0 {
		t.Errorf("waits %v after the clock went back", w)
	}
}

// Many addresses share one count in the end, so memory is bounded and the ones
// that were counted before are still counted apart.
func TestLimiterIsBounded(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := refusals.New(1, func() time.Time { return now })
	for i := range refusals.MaxAddrs + 10 {
		refused(l, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	if wait(l, "10.0.0.1") == 0 {
		t.Error("an address that was refused is not")
	}
	if wait(l, "192.0.2.1") == 0 {
		t.Error("addresses beyond the bound are not limited")
	}
	if l := refusals.New(0, nil); wait(l, "192.0.2.1") != 0 {
		t.Error("there is a limit where none is set")
	}
}

// What counts is a guess: neither a request that is answered nor our own failure, but
// the marketplace's, which guesses can bring about.
func TestDo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := refusals.New(1, func() time.Time { return now })
	const addr = "192.0.2.1"
	for _, err := range []error{nil, license.Errorf(license.Internal, "x"), license.Errorf(license.ReadOnly, "x")} {
		if got := l.Do(addr, func(bool) error { return err }); !errors.Is(got, err) || wait(l, addr) != 0 {
			t.Errorf("%v counts, or came back as %v", err, got)
		}
	}
	if err := l.Do(addr, func(known bool) error {
		if known {
			t.Error("limited at the first")
		}
		return license.Errorf(license.MarketplaceUnavailable, "x")
	}); !errors.Is(err, license.MarketplaceUnavailable) {
		t.Error(err)
	}
	now = now.Add(20 * time.Second)
	limited := license.Errorf(license.RateLimited, "x")
	err := l.Do(addr, func(known bool) error {
		if !known {
			t.Error("not limited")
		}
		return limited
	})
	if e, ok := errors.AsType[*license.Error](err); !ok || e.RetryAfter != 40*time.Second || limited.RetryAfter != 0 {
		t.Errorf("%v", err)
	}
}
