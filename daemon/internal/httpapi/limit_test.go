package httpapi_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/httpapi"
)

// wait asks how long an address would have to wait, without being counted.
func wait(l *httpapi.Limiter, addr string) time.Duration {
	w, good := httpapi.Begin(l, addr)
	good()
	return w
}

// refused counts a request that turned out to be refused.
func refused(l *httpapi.Limiter, addr string) { httpapi.Begin(l, addr) }

func TestLimiter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := httpapi.NewLimiter(2, func() time.Time { return now })
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
	_, first := httpapi.Begin(l, "192.0.2.3")
	_, second := httpapi.Begin(l, "192.0.2.3")
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
	l := httpapi.NewLimiter(1, func() time.Time { return now })
	for i := range httpapi.MaxAddrs + 10 {
		refused(l, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	if wait(l, "10.0.0.1") == 0 {
		t.Error("an address that was refused is not")
	}
	if wait(l, "192.0.2.1") == 0 {
		t.Error("addresses beyond the bound are not limited")
	}
	if l := httpapi.NewLimiter(0, nil); wait(l, "192.0.2.1") != 0 {
		t.Error("there is a limit where none is set")
	}
}
