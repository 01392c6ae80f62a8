package adminapi

import (
	"fmt"
	"testing"
	"time"
)

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

// strike has an address fail until it is locked out, and returns for how long.
func strike(t *testing.T, l *lockOut, addr string) time.Duration {
	t.Helper()
	for range failuresFree {
		if n, until := l.failed(addr); !until.IsZero() {
			if n != failuresFree {
				t.Errorf("%s is locked out after %d failures", addr, n)
			}
			return l.wait(addr)
		}
	}
	t.Fatalf("%s is not locked out", addr)
	return 0
}

// Each lock-out is twice as long as the one before, up to an hour; a day without a
// failure and the address is as good as new.
func TestLockOutGrows(t *testing.T) {
	t.Parallel()
	c := &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	l := newLockOut(c.Now)
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 32 * time.Minute, time.Hour, time.Hour} {
		if got := strike(t, l, "192.0.2.1"); got != want {
			t.Errorf("locked out for %s, want %s", got, want)
		}
		c.pass(want)
		if w := l.wait("192.0.2.1"); w != 0 {
			t.Errorf("locked out for another %s", w)
		}
	}
	c.pass(25 * time.Hour)
	if got := strike(t, l, "192.0.2.1"); got != time.Minute {
		t.Errorf("after a day: %s", got)
	}
}

// Nine failures a minute are a person who mistypes; an address counts for itself,
// of IPv6 the network that one customer gets.
func TestLockOutCounts(t *testing.T) {
	t.Parallel()
	c := &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	l := newLockOut(c.Now)
	for range 5 {
		for range failuresFree - 1 {
			l.failed("192.0.2.1")
		}
		c.pass(time.Minute)
	}
	if w := l.wait("192.0.2.1"); w != 0 {
		t.Errorf("locked out for %s", w)
	}
	strike(t, l, "2001:db8::1")
	for addr, locked := range map[string]bool{
		"2001:db8::2": true, "2001:db8:0:0:ffff::1": true, "2001:db8:0:1::1": false, "192.0.2.1": false, "192.0.2.2": false,
	} {
		if got := l.wait(addr) > 0; got != locked {
			t.Errorf("%s: locked out is %v", addr, got)
		}
	}
	strike(t, l, "::ffff:192.0.2.9")
	if l.wait("192.0.2.9") == 0 {
		t.Error("an IPv4 address in its IPv6 form is another")
	}
}

// Memory is bounded, and an address that is locked out stays so while others come.
func TestLockOutForgets(t *testing.T) {
	t.Parallel()
	c := &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	l := newLockOut(c.Now)
	for range 4 {
		c.pass(strike(t, l, "192.0.2.1"))
	}
	strike(t, l, "192.0.2.1")
	for i := range mostLocked + 100 {
		l.failed(fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff))
	}
	if len(l.addrs) > mostLocked {
		t.Errorf("%d addresses are remembered", len(l.addrs))
	}
	if l.wait("192.0.2.1") == 0 {
		t.Error("others have let a locked out address in")
	}
	c.pass(2 * time.Minute)
	l.failed("198.51.100.1")
	if len(l.addrs) > 3 {
		t.Errorf("%d addresses are remembered after their minute", len(l.addrs))
	}
}
