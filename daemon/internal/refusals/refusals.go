// Package refusals counts what client addresses are refused, so that nobody can try
// codes at will. The public API and the buyer's page share one Limiter: what is
// refused at either counts at both.
package refusals

import (
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// maxAddrs bounds the memory of the limiter. Further addresses share one count,
// so an attacker with many addresses slows down guessers, not known installs.
const maxAddrs = 50_000

// Limiter counts refusals per client address and minute.
type Limiter struct {
	most int
	now  func() time.Time

	mu     sync.Mutex
	minute time.Time
	counts map[netip.Prefix]int // refused, or under way and perhaps to be refused
}

// New makes a Limiter that lets an address be refused so often within a minute; zero is
// no limit. A nil now is time.Now.
func New(most int, now func() time.Time) *Limiter {
	if now == nil {
		now = time.Now //nolint:forbidigo // the one default of Now
	}
	return &Limiter{most: most, now: now, counts: make(map[netip.Prefix]int)}
}

// Do has f handle a request of addr, and counts it if it is refused. Where addr was
// refused too often f is told to help only those who are known, and a refusal of f
// that says so says when to come back.
func (l *Limiter) Do(addr string, f func(knownOnly bool) error) error {
	wait, good := l.begin(addr)
	err := f(wait > 0)
	if err == nil {
		good()
		return nil
	}
	// What a known install is refused, and what is our own failure, is nobody's guess.
	if reason := license.ReasonOf(err); authority.OfKnown(err) ||
		wire.StatusOf(reason) >= http.StatusInternalServerError && reason != license.MarketplaceUnavailable {
		good()
	}
	if e, ok := errors.AsType[*license.Error](err); ok && wait > 0 && e.Reason == license.RateLimited {
		err = e.WithRetryAfter(wait)
	}
	return err
}

// Count counts something else that an address may do only as often as be refused.
func (l *Limiter) Count(addr string) { _, _ = l.begin(addr) }

// begin counts a request of addr as refused until it is known to be good, since
// many may be under way at once. It returns how long addr has to wait before it
// may try again, zero if it need not, and what to call for a good one.
func (l *Limiter) begin(addr string) (wait time.Duration, good func()) {
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
func (l *Limiter) turn() time.Duration {
	now := l.now()
	if age := now.Sub(l.minute); age < 0 || age >= time.Minute {
		l.minute = now
		clear(l.counts)
	}
	return time.Minute - now.Sub(l.minute)
}

// bucket is what is counted together: an IPv4 address, or an IPv6 network of
// the size that one customer gets.
func (l *Limiter) bucket(addr string) netip.Prefix {
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
