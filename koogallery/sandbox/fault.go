package sandbox

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"
)

// Fault is one way in which a marketplace, or the network before it, misbehaves.
type Fault string

// Faults of the calls which the merchant gets.
const (
	// FaultLate sends a message up to MaxDelay after it arose. What concerns the
	// same purchase waits with it.
	FaultLate Fault = "late"
	// FaultReordered lets later messages about the same purchase overtake a
	// renewal, an application or an order notification. Other messages keep
	// their order: nothing that a merchant can ask would tell which of two
	// freezes and unfreezes came last.
	FaultReordered Fault = "reordered"
	// FaultRepeated sends a message again, freshly signed, after its success.
	FaultRepeated Fault = "repeated"
	// FaultLostAnswer drops the merchant's answer after it was given, so that the
	// call counts as failed.
	FaultLostAnswer Fault = "lost-answer"
	// FaultHalfRequest cuts the body in half. Licence 1.0 has none.
	FaultHalfRequest Fault = "half-request"
	// FaultSlowRequest pauses for SlowFor before the second half of the body.
	// Licence 1.0 has none.
	FaultSlowRequest Fault = "slow-request"
	// FaultWrongClock signs with a time that is Skew ahead or behind.
	FaultWrongClock Fault = "wrong-clock"
)

// Faults of the open API.
const (
	// FaultAPISlow answers after SlowFor.
	FaultAPISlow Fault = "api-slow"
	// FaultAPIError answers 500, 502, 503 or 504 and does nothing.
	FaultAPIError Fault = "api-5xx"
	// FaultAPIHTML answers 200 with somebody else's page and does nothing.
	FaultAPIHTML Fault = "api-html"
	// FaultAPIUnknownCode answers with an error code of no table and does nothing.
	FaultAPIUnknownCode Fault = "api-unknown-code"
	// FaultAPIWrongClock refuses the signature's date and does nothing.
	FaultAPIWrongClock Fault = "api-wrong-clock"
	// FaultAPIHalfAnswer does what was asked and sends half the answer.
	FaultAPIHalfAnswer Fault = "api-half-answer"
	// FaultAPILostAnswer does what was asked and cuts the connection.
	FaultAPILostAnswer Fault = "api-lost-answer"
	// FaultAPIOtherCertificate shows a certificate of an authority that nobody
	// was told to trust, once for each connection it hits.
	FaultAPIOtherCertificate Fault = "api-other-certificate"
)

// Faults lists all faults.
func Faults() []Fault {
	return []Fault{
		FaultLate, FaultReordered, FaultRepeated, FaultLostAnswer, FaultHalfRequest, FaultSlowRequest, FaultWrongClock,
		FaultAPISlow, FaultAPIError, FaultAPIHTML, FaultAPIUnknownCode, FaultAPIWrongClock,
		FaultAPIHalfAnswer, FaultAPILostAnswer, FaultAPIOtherCertificate,
	}
}

// Defaults of Misbehaviour.
const (
	DefaultMaxDelay = 10 * time.Minute
	DefaultSlowFor  = 5 * time.Second
	DefaultSkew     = 5 * time.Minute
)

// Misbehaviour says how often what goes wrong. Whether a fault hits is drawn
// from Options.Seed and from what it would hit: of messages the purchase, the
// place in what that purchase was told, and the attempt; of the open API which
// call of its kind. So with the same seed and the same steps the same goes wrong
// with messages, whatever time a merchant takes for which of them. Where calls of
// the open API come in another order, or a Limit is reached earlier by another
// purchase, only a Manual sandbox tells the same run again.
type Misbehaviour struct {
	// Faults are probabilities from 0 to 1. Debug calls and probes have no
	// faults, lest the sandbox freeze a product for its own mistakes.
	Faults map[Fault]float64
	// Limit is how many faults happen in all; 0 means no limit.
	Limit int
	// MaxDelay bounds FaultLate and FaultReordered; 0 means DefaultMaxDelay.
	MaxDelay time.Duration
	// SlowFor is the pause of the slow faults; 0 means DefaultSlowFor.
	SlowFor time.Duration
	// Skew is how wrong the clock of FaultWrongClock is; 0 means DefaultSkew.
	Skew time.Duration
}

func (m Misbehaviour) complete() (Misbehaviour, error) {
	for f, p := range m.Faults {
		if !slices.Contains(Faults(), f) {
			return m, fmt.Errorf("misbehaviour: fault %q does not exist: %w", f, ErrInvalid)
		}
		if !(p >= 0 && p <= 1) {
			return m, fmt.Errorf("misbehaviour: probability of %q is not 0 to 1: %w", f, ErrInvalid)
		}
	}
	if m.Limit < 0 || m.MaxDelay < 0 || m.SlowFor < 0 || m.Skew < 0 {
		return m, fmt.Errorf("misbehaviour: a limit or duration is negative: %w", ErrInvalid)
	}
	faults := make(map[Fault]float64, len(m.Faults))
	maps.Copy(faults, m.Faults)
	m.Faults = faults
	if m.MaxDelay == 0 {
		m.MaxDelay = DefaultMaxDelay
	}
	if m.SlowFor == 0 {
		m.SlowFor = DefaultSlowFor
	}
	if m.Skew == 0 {
		m.Skew = DefaultSkew
	}
	return m, nil
}

// SetMisbehaviour changes what goes wrong from now on, and counts its Limit
// anew. The zero Misbehaviour is a sandbox that behaves.
func (s *Sandbox) SetMisbehaviour(m Misbehaviour) error {
	m, err := m.complete()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.misbehaviour, s.misbehaved = m, 0
	return nil
}

// Seed is the seed that misbehaviour is drawn from.
func (s *Sandbox) Seed() uint64 { return s.opts.Seed }

// draws is a stream of random numbers for one subject, the same for the same
// seed.
func (s *Sandbox) draws(subject string, n int) *rand.Rand {
	h := fnv.New64a()
	var seed [8]byte
	binary.BigEndian.PutUint64(seed[:], s.opts.Seed)
	_, _ = h.Write(seed[:]) // a hash takes everything
	_, _ = h.Write([]byte(subject + "\n" + strconv.Itoa(n)))
	return rand.New(rand.NewPCG(s.opts.Seed, h.Sum64())) //nolint:gosec // reproducible by purpose; no secret is made of it
}

// hits draws whether a fault happens to the nth subject of its kind, and counts
// and notes it. The stream is for the fault's details. The caller holds s.mu.
func (s *Sandbox) hits(f Fault, e Event, subject string, n int) (*rand.Rand, bool) {
	p := s.misbehaviour.Faults[f]
	if p == 0 || s.misbehaviour.Limit > 0 && s.misbehaved >= s.misbehaviour.Limit {
		return nil, false
	}
	r := s.draws(string(f)+"\n"+subject, n)
	if r.Float64() >= p {
		return nil, false
	}
	s.misbehaved++
	e.Kind, e.Text = EventFault, string(f)+": "+e.Text
	s.note(e)
	return r, true
}

// delay draws one second to most.
func delay(r *rand.Rand, most time.Duration) time.Duration {
	return time.Second + time.Duration(r.Int64N(int64(max(most, 1))))
}

// sleep pauses as Options.Sleep does.
func (s *Sandbox) sleep(ctx context.Context, d time.Duration) error {
	if s.opts.Sleep != nil {
		return s.opts.Sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
