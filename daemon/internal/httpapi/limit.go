package httpapi

import (
	"net/netip"
	"sync"
	"time"
)

// maxAddrs bounds the memory of the limiter. Further addresses share one count,
// so an attacker with many addresses slows down guessers, not known installs.
const maxAddrs = 50_000

// limiter counts refusals per client address and minute.
type limiter struct {
	most int
	now  func() time.Time

	mu     sync.Mutex
	minute time.Time
	counts map[netip.Prefix]int // refused, or under way and perhaps to be refused
}

func newLimiter(most int, now func() time.Time) *limiter {
	return &limiter{most: most, now: now, counts: make(map[netip.Prefix]int)}
}

// begin counts a request of addr as refused until it is known to be good, since
// many may be under way at once. It returns how long addr has to wait before it
// may try again, zero if it need not, and what to call for a good one.
func (l *limiter) begin(addr string) (wait time.Duration, good func()) {
	if l.most <= 0 {
		return 0, func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	left := l.turn()
	b, minute := l.bucket(addr), l.minute
	l.counts[b]++
	if l.counts[b] > l.most {
		wait = left
	}
	return wait, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.minute.Equal(minute) && l.counts[b] > 0 {
			l.counts[b]--
		}
	}
}

// turn begins a new minute where one is due and returns what is left of it.
func (l *limiter) turn() time.Duration {
	now := l.now()
	if age := now.Sub(l.minute); age < 0 || age >= time.Minute {
		l.minute = now
		clear(l.counts)
	}
	return time.Minute - now.Sub(l.minute)
}

// bucket is what is counted together: an IPv4 address, or an IPv6 network of
// the size that one customer gets.
func (l *limiter) bucket(addr string) netip.Prefix {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}
	}
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.WithZone("").Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	if _, known := l.counts[p]; !known && len(l.counts) >= maxAddrs {
		return netip.Prefix{}
	}
	return p
}
