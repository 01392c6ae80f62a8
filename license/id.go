package license

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

const idAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

// IDs makes identifiers that sort in the order in which they were made: 48
// bits of milliseconds, a 16 bit counter within the millisecond and 64 random
// bits, as 26 characters of Crockford base32 in lower case. Stores keep
// records under them in time order, which is what keeps a large store fast.
//
// The zero value reads crypto/rand. It is safe for concurrent use.
type IDs struct {
	Random io.Reader

	mu   sync.Mutex
	last uint64 // milliseconds<<16 | counter
}

// New returns prefix followed by a new identifier. When the clock stands still
// or goes back, order is kept by counting on from the last one.
func (g *IDs) New(prefix string, now time.Time) (string, error) {
	random := g.Random
	if random == nil {
		random = rand.Reader
	}
	var b [16]byte
	if _, err := io.ReadFull(random, b[8:]); err != nil {
		return "", fmt.Errorf("make an id: %w", err)
	}
	g.mu.Lock()
	stamp := uint64(max(now.UnixMilli(), 0)) << 16
	if stamp <= g.last {
		stamp = g.last + 1
	}
	g.last = stamp
	g.mu.Unlock()
	binary.BigEndian.PutUint64(b[:8], stamp)
	return prefix + encodeID(b), nil
}

// encodeID writes 128 bits as 26 characters, the first of which holds 3 bits.
func encodeID(b [16]byte) string {
	hi, lo := binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
	var out [26]byte
	for i := 25; i >= 0; i-- {
		out[i] = idAlphabet[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out[:])
}

// Prefixes of identifiers.
const (
	LicensePrefix = "lic_"
	SeatPrefix    = "seat_"
	// InstancePrefix begins the id of an instance where the marketplace proposed one
	// that is taken, DevicePrefix that of an install which has no key.
	InstancePrefix = "inst_"
	DevicePrefix   = "dev_"
	// ProofPrefix begins the number of a proof of delivery.
	ProofPrefix = "prf_"
)

// IsLicenseID reports whether s has the form of a licence id. It says nothing
// about whether there is such a licence.
func IsLicenseID(s string) bool {
	body, ok := strings.CutPrefix(s, LicensePrefix)
	return ok && len(body) == 26 && strings.Trim(body, idAlphabet) == ""
}
