package adminapi

import (
	"net/netip"
	"sync"
	"time"
)

// Bounds of the lock-out.
const (
	failuresFree = 10 // within a minute
	firstLock    = time.Minute
	longestLock  = time.Hour
	lockMemory   = 24 * time.Hour // after which an address is as good as new
	mostLocked   = 10_000         // addresses that are remembered
)

// lockOut refuses addresses that have presented many wrong tokens. Each lock-out of
// the same address is twice as long as the one before, up to an hour.
type lockOut struct {
	now func() time.Time

	mu    sync.Mutex
	addrs map[netip.Prefix]*failures
}

type failures struct {
	minute time.Time // when the count began
	count  int
	until  time.Time     // locked out
	next   time.Duration // how long the next lock-out is
	last   time.Time
}

func newLockOut(now func() time.Time) *lockOut {
	return &lockOut{now: now, addrs: make(map[netip.Prefix]*failures)}
}

// wait is how long an address is locked out yet.
func (l *lockOut) wait(addr string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.addrs[network(addr)]; f != nil {
		return max(0, f.until.Sub(l.now()))
	}
	return 0
}

// failed counts a wrong token. Where that is one too many it returns how many there
// were and until when the address is locked out.
func (l *lockOut) failed(addr string) (count int, until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, n := l.now(), network(addr)
	f := l.addrs[n]
	if f == nil || now.Sub(f.last).Abs() > lockMemory {
		if f == nil && len(l.addrs) >= mostLocked {
			l.forget(now)
		}
		f = &failures{next: firstLock, minute: now}
		l.addrs[n] = f
	}
	if age := now.Sub(f.minute); age < 0 || age >= time.Minute {
		f.minute, f.count = now, 0
	}
	f.last = now
	if f.count++; f.count < failuresFree || f.until.After(now) {
		return 0, time.Time{}
	}
	count, f.until = f.count, now.Add(f.next)
	f.count, f.next = 0, min(2*f.next, longestLock)
	return count, f.until
}

// forget makes room: of those that are not locked out, else of all, the one that
// failed longest ago goes, with every one whose count is over.
func (l *lockOut) forget(now time.Time) {
	var oldest, oldestFree netip.Prefix
	var at, atFree time.Time
	for n, f := range l.addrs {
		locked := f.until.After(now)
		if !locked && now.Sub(f.last) >= time.Minute && f.next == firstLock {
			delete(l.addrs, n)
			continue
		}
		if at.IsZero() || f.last.Before(at) {
			oldest, at = n, f.last
		}
		if !locked && (atFree.IsZero() || f.last.Before(atFree)) {
			oldestFree, atFree = n, f.last
		}
	}
	switch {
	case len(l.addrs) < mostLocked:
	case !atFree.IsZero():
		delete(l.addrs, oldestFree)
	default:
		delete(l.addrs, oldest)
	}
}

// network is what is counted together: an IPv4 address, or an IPv6 network of the
// size that one customer gets. What is no address counts as one.
func network(addr string) netip.Prefix {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
