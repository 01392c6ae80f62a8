package license

import (
	"math/rand/v2"
	"time"
)

// ListStatus is what a status list says of one install: two bits (IETF Token
// Status List, "Status Types").
type ListStatus uint8

// The values. Both StatusRevoked and 3, which the IETF leaves to applications,
// mean revoked (see Reason).
const (
	StatusValid     ListStatus = 0
	StatusRevoked   ListStatus = 1
	StatusSuspended ListStatus = 2
)

// Reason is why an install of this status is refused, "" where it is not.
func (s ListStatus) Reason() Reason {
	switch s {
	case StatusValid:
		return ""
	case StatusSuspended:
		return Suspended
	case StatusRevoked:
	}
	return Revoked
}

// StatusListLength is how many installs one status list holds. The worst of
// them, whatever is revoked, still fits into one token of 64 KiB (decision
// 0012).
const StatusListLength = 1 << 17

// StatusSeedLen is the length of StatusList.Seed, in bytes.
const StatusSeedLen = 32

// StatusRef is the place of one install in the status lists. The zero
// StatusRef is none: an install bound before there were lists.
type StatusRef struct {
	List  string `json:"list"`
	Index int    `json:"index"`
}

// StatusEntry is what the record of a list says about one index.
type StatusEntry struct {
	Index  int
	Status ListStatus
	// FinalAt is when a revocation can no longer be undone: until then the list
	// shows StatusSuspended. Zero where there is nothing to wait for.
	FinalAt time.Time
}

// At is what a list signed at now says.
func (e StatusEntry) At(now time.Time) ListStatus {
	if e.Status == StatusRevoked && now.Before(e.FinalAt) {
		return StatusSuspended
	}
	return e.Status
}

// StatusOf is what the list has to say of an install of l: that it was ended,
// by itself or with its licence, or is suspended. A revocation of the licence
// can be undone for the time undo. A licence that has expired is valid here:
// its own dates say the rest.
func StatusOf(l License, i Install, undo time.Duration) StatusEntry {
	e := StatusEntry{Index: i.Status.Index}
	switch {
	case i.State != InstallLive, !l.ReleasedAt.IsZero():
		e.Status = StatusRevoked
	case !l.RevokedAt.IsZero():
		e.Status, e.FinalAt = StatusRevoked, l.RevokedAt.Add(undo)
	case l.Holds != 0:
		e.Status = StatusSuspended
	}
	return e
}

// StatusList is the record of one list. Next only grows, and the order in
// which indexes are drawn is fixed by Seed, so no index is ever given twice
// and none tells when its install was bound.
type StatusList struct {
	ID     string `json:"id"`
	Length int    `json:"length"`
	Seed   []byte `json:"seed"` // 32 bytes; secret, since it undoes the order
	Next   int    `json:"next"` // how many indexes were drawn
	// SignedAt and Digest are of the list as it was signed last: its iat, which
	// only grows, and the SHA-256 of its statuses.
	SignedAt time.Time `json:"signed_at,omitzero"`
	Digest   []byte    `json:"digest,omitzero"`
}

// Full reports whether every index was drawn.
func (l StatusList) Full() bool { return l.Next >= l.Length }

// StatusOrder returns the order in which the indexes of a list are drawn: a
// uniform permutation of 0 to length-1 that follows from seed alone, by
// Fisher and Yates over ChaCha8.
func StatusOrder(seed [StatusSeedLen]byte, length int) []uint32 {
	src := rand.NewChaCha8(seed)
	order := make([]uint32, length)
	for i := range order {
		order[i] = uint32(i)
	}
	for i := uint64(len(order)); i > 1; i-- {
		j := below(src, i)
		order[i-1], order[j] = order[j], order[i-1]
	}
	return order
}

// below draws a number below n without bias.
func below(src *rand.ChaCha8, n uint64) uint64 {
	for {
		// What is left of 2^64 after whole stretches of n would favour low numbers.
		if v := src.Uint64(); v >= -n%n {
			return v % n
		}
	}
}
