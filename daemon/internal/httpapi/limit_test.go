package httpapi_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/httpapi"
)

func TestLimiter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	l := httpapi.NewLimiter(2, func() time.Time { return now })
	for range 2 {
		if w := httpapi.Wait(l, "192.0.2.1"); w != 0 {
			t.Fatalf("waits %v before the limit", w)
		}
		httpapi.Refused(l, "192.0.2.1")
		now = now.Add(10 * time.Second)
	}
	if w := httpapi.Wait(l, "192.0.2.1"); w != 40*time.Second {
		t.Errorf("waits %v, want the rest of the minute", w)
	}
	if w := httpapi.Wait(l, "192.0.2.2"); w != 0 {
		t.Errorf("a neighbour waits %v", w)
	}
	now = now.Add(40 * time.Second)
	if w := httpapi.Wait(l, "192.0.2.1"); w != 0 {
		t.Errorf("waits %v in the next minute", w)
	}
	// One customer has a whole IPv6 network.
	for i := range 2 {
		httpapi.Refused(l, fmt.Sprintf("2001:db8:0:1::%d", i))
	}
	if httpapi.Wait(l, "2001:db8:0:1::9") == 0 || httpapi.Wait(l, "2001:db8:0:2::9") != 0 {
		t.Error("IPv6 addresses are not counted by network")
	}
	// A clock that goes back does not lock anybody out for long.
	now = now.Add(-24 * time.Hour)
	if w := httpapi.Wait(l, "2001:db8:0:1::9"); w != 0 {
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
		httpapi.Refused(l, fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255))
	}
	if httpapi.Wait(l, "10.0.0.1") == 0 {
		t.Error("an address that was refused is not")
	}
	if httpapi.Wait(l, "192.0.2.1") == 0 {
		t.Error("addresses beyond the bound are not limited")
	}
	if l := httpapi.NewLimiter(0, nil); httpapi.Wait(l, "192.0.2.1") != 0 {
		t.Error("there is a limit where none is set")
	}
}
