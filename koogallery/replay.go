package koogallery

import (
	"crypto/sha256"
	"sync"
	"time"
)

// MinReplayKeep is the shortest time for which a call is remembered. It spans
// the documented window on both sides: a call stamped 60 s ahead stays
// acceptable for 120 s.
const MinReplayKeep = 120 * time.Second

// ReplayID identifies one signed call, whatever else comes with it. It holds
// nothing secret, does not depend on the order or number of a Verifier's keys,
// and stays the same over restarts and releases, so it can be stored in the
// transaction which a call causes.
//
// Two calls are copies of each other when either digest is equal. Signature
// alone defeats somebody who repeats or rearranges a captured request; Nonce
// also catches a sender which uses a nonce twice.
type ReplayID struct {
	Time      time.Time // the call's own timestamp, in UTC, to the millisecond
	Signature [16]byte  // digest of access key and signature, blind to hex case
	Nonce     [16]byte  // digest of access key and nonce
}

func (m *callbackMAC) replayID(at time.Time, signature *[sha256.Size]byte, nonce string) ReplayID {
	return ReplayID{
		Time:      at,
		Signature: m.digest('s', string(signature[:])),
		Nonce:     m.digest('n', nonce),
	}
}

func (m *callbackMAC) digest(kind byte, s string) (d [16]byte) {
	var stack [sha256.Size + 1 + MaxNonce]byte
	buf := append(append(append(stack[:0], m.id[:]...), kind), s...)
	sum := sha256.Sum256(buf)
	copy(d[:], sum[:])
	return d
}

// ReplayCache remembers authentic calls. It must be safe for concurrent use:
// of several copies at once exactly one is new.
type ReplayCache interface {
	// Add records id until the given instant and reports whether it was new.
	// If either digest of id was there and not past its own end, Add reports
	// false and records nothing. Verifier calls it only after the signature
	// fitted, so strangers cannot fill it.
	Add(id ReplayID, now, until time.Time) bool
}

// NoReplayCache accepts every call as new, for callers which keep
// Callback.Replay in their own store.
type NoReplayCache struct{}

// Add reports true.
func (NoReplayCache) Add(ReplayID, time.Time, time.Time) bool { return true }

// DefaultReplayEntries is the bound of a MemoryReplayCache unless set
// otherwise: about 550 calls a second for two minutes, in about 10 MB.
const DefaultReplayEntries = 1 << 16

// MemoryReplayCache remembers calls of one process. The zero value is ready; it
// must not be copied after first use.
//
// Memory is bounded and a genuine call is never refused for want of room:
// entries past their end go first, and at the bound the oldest one is dropped
// early, although a copy of that call would then pass until its timestamp
// leaves the window. Only the holder of an access key can bring that about, and
// callbacks are idempotent by contract. Evicted counts it.
type MemoryReplayCache struct {
	// MaxEntries bounds the number of calls; 0 means DefaultReplayEntries.
	// Each takes up to 150 bytes.
	MaxEntries int

	mu      sync.Mutex
	seen    map[[16]byte]struct{} // both digests of every entry; kinds cannot collide
	ring    []replayEntry         // oldest at head, in order of arrival
	head, n int
	evicted uint64
}

type replayEntry struct {
	signature, nonce [16]byte
	until            int64 // Unix milliseconds
}

// Add implements ReplayCache.
func (c *MemoryReplayCache) Add(id ReplayID, now, until time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire(now.UnixMilli())
	if c.has(id.Signature) || c.has(id.Nonce) {
		return false
	}
	if c.n == c.limit() {
		c.drop()
		c.evicted++
	}
	c.push(replayEntry{signature: id.Signature, nonce: id.Nonce, until: until.UnixMilli()})
	return true
}

// Len is the number of calls remembered, those past their end included until
// the next Add.
func (c *MemoryReplayCache) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// Evicted is the number of calls forgotten before their end for want of room.
func (c *MemoryReplayCache) Evicted() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.evicted
}

func (c *MemoryReplayCache) limit() int {
	if c.MaxEntries > 0 {
		return c.MaxEntries
	}
	return DefaultReplayEntries
}

func (c *MemoryReplayCache) has(d [16]byte) bool {
	_, ok := c.seen[d]
	return ok
}

// expire drops what is past its end. Ends grow with arrival unless the clock
// was set back; then entries behind a later end wait for it, which errs on the
// safe side.
func (c *MemoryReplayCache) expire(now int64) {
	for c.n > 0 && c.ring[c.head].until <= now {
		c.drop()
	}
	const roomy = 1024
	if c.n == 0 && len(c.ring) > roomy {
		c.ring, c.seen, c.head = nil, nil, 0 // a map never shrinks by itself
	}
}

func (c *MemoryReplayCache) drop() {
	e := c.ring[c.head]
	delete(c.seen, e.signature)
	delete(c.seen, e.nonce)
	c.head = (c.head + 1) % len(c.ring)
	c.n--
}

func (c *MemoryReplayCache) push(e replayEntry) {
	if c.seen == nil {
		c.seen = make(map[[16]byte]struct{})
	}
	if c.n == len(c.ring) {
		grown := make([]replayEntry, min(max(2*c.n, 16), c.limit()))
		k := copy(grown, c.ring[c.head:])
		copy(grown[k:], c.ring[:c.head])
		c.ring, c.head = grown, 0
	}
	c.ring[(c.head+c.n)%len(c.ring)] = e
	c.n++
	c.seen[e.signature] = struct{}{}
	c.seen[e.nonce] = struct{}{}
}
