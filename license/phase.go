package license

import (
	"time"
)

// Phase is where "now" stands against the dates of a signed licence.
type Phase string

// The phases, in the order in which they come.
const (
	PhaseValid   Phase = "valid"
	PhaseWarning Phase = "warning"
	PhaseGrace   Phase = "grace"
	PhaseBlocked Phase = "blocked"
)

// Enforcement says what a blocked phase means to the product.
type Enforcement string

// The enforcements. Under Block a blocked licence is unusable; under Degrade
// it is usable without features; under Advisory it is only reported.
const (
	EnforceBlock    Enforcement = "block"
	EnforceDegrade  Enforcement = "degrade"
	EnforceAdvisory Enforcement = "advisory"
)

// Dates are the instants of one signed licence that its phase is computed
// from. All are set; "no end" is Forever.
type Dates struct {
	IssuedAt     time.Time // iat
	NotBefore    time.Time // nbf
	WarnAt       time.Time
	ExpiresAt    time.Time
	BlockAt      time.Time
	Exp          time.Time // exp: not usable at or after it
	RefreshAfter time.Time
	LeaseUntil   time.Time
	Enforcement  Enforcement
}

// Schedule is how a product turns the end of a licence into phases and leases.
type Schedule struct {
	Warn        time.Duration // how long before the end the warning phase begins
	Grace       time.Duration // how long after the end the block comes
	Enforcement Enforcement
	Lease       time.Duration // how long an install may go without calling home, zero for ever
	Refresh     time.Duration // when it should call home
}

// Phases are what one licence says of its own about the time around its end and
// about its leases. What is absent follows the product, as it is configured on
// the day.
type Phases struct {
	Warn        *time.Duration `json:"warn,omitempty"`        // before the end; nanoseconds, whole seconds
	Grace       *time.Duration `json:"grace,omitempty"`       // after the end; as Warn
	Enforcement Enforcement    `json:"enforcement,omitempty"` // "" follows the product
	Lease       *time.Duration `json:"lease,omitempty"`       // as Schedule.Lease: 0 for ever, else MinLease or more
	Refresh     *time.Duration `json:"refresh,omitempty"`     // as Schedule.Refresh: MinRefresh or more
}

// The shortest lease and the shortest refresh that a licence may have of its own.
const (
	MinLease   = time.Minute
	MinRefresh = 10 * time.Second
)

// maxPhase bounds a phase, so that sums of instants stay far from overflowing.
const maxPhase = 100 * 366 * 24 * time.Hour

// Check refuses with BadRequest what cannot be a phase: a negative duration or
// one over a hundred years, parts of a second, an enforcement that there is not.
func (p Phases) Check() error {
	switch p.Enforcement {
	case "", EnforceBlock, EnforceDegrade, EnforceAdvisory:
	default:
		return FieldErrorf("phases.enforcement", "%q is not one of block, degrade, advisory", string(p.Enforcement))
	}
	for _, d := range []struct {
		field string
		is    *time.Duration
	}{{"phases.warn", p.Warn}, {"phases.grace", p.Grace}, {"phases.lease", p.Lease}, {"phases.refresh", p.Refresh}} {
		if err := checkPhase(d.field, d.is); err != nil {
			return err
		}
	}
	switch {
	case p.Lease != nil && *p.Lease > 0 && *p.Lease < MinLease:
		return FieldErrorf("phases.lease", "%s is less than %s; 0 is for ever", *p.Lease, MinLease)
	case p.Refresh != nil && *p.Refresh < MinRefresh:
		return FieldErrorf("phases.refresh", "%s is less than %s", *p.Refresh, MinRefresh)
	case p.Lease != nil && p.Refresh != nil && *p.Lease > 0 && *p.Refresh >= *p.Lease:
		return FieldErrorf("phases.refresh", "%s is not before the end of the lease, %s", *p.Refresh, *p.Lease)
	}
	return nil
}

func checkPhase(field string, d *time.Duration) error {
	switch {
	case d == nil:
		return nil
	case *d < 0:
		return FieldErrorf(field, "%s is negative", *d)
	case *d > maxPhase:
		return FieldErrorf(field, "it is more than a hundred years")
	case *d%time.Second != 0:
		return FieldErrorf(field, "%s is not in whole seconds", *d)
	}
	return nil
}

// IsZero reports whether everything follows the product.
func (p Phases) IsZero() bool { return p == Phases{} }

// Equal reports whether p and o say the same.
func (p Phases) Equal(o Phases) bool {
	same := func(a, b *time.Duration) bool { return a == b || a != nil && b != nil && *a == *b }
	return same(p.Warn, o.Warn) && same(p.Grace, o.Grace) && p.Enforcement == o.Enforcement && same(p.Lease, o.Lease) && same(p.Refresh, o.Refresh)
}

// Over returns the schedule s with what p says in its place. Where the refresh
// and the lease come from two places and do not go together, an install calls
// home three times within a lease.
func (p Phases) Over(s Schedule) Schedule {
	if p.Warn != nil {
		s.Warn = *p.Warn
	}
	if p.Grace != nil {
		s.Grace = *p.Grace
	}
	if p.Enforcement != "" {
		s.Enforcement = p.Enforcement
	}
	if p.Lease != nil {
		s.Lease = *p.Lease
	}
	if p.Refresh != nil {
		s.Refresh = *p.Refresh
	}
	if (p.Lease != nil || p.Refresh != nil) && s.Lease > 0 && s.Refresh >= s.Lease {
		s.Refresh = (s.Lease / 3).Truncate(time.Second)
	}
	return s
}

func (p Phases) clone() Phases {
	copied := func(d *time.Duration) *time.Duration {
		if d == nil {
			return nil
		}
		return new(*d)
	}
	return Phases{
		Warn: copied(p.Warn), Grace: copied(p.Grace), Enforcement: p.Enforcement, Lease: copied(p.Lease), Refresh: copied(p.Refresh),
	}
}

// DatesFor computes the dates of a licence signed at issued that ends at
// expires (zero: never) and begins at starts (zero: ten minutes ago, which
// forgives the clock of the machine that receives it).
func (s Schedule) DatesFor(issued, starts, expires time.Time) Dates {
	d := Dates{
		IssuedAt: issued, NotBefore: starts, WarnAt: Forever, ExpiresAt: Forever, BlockAt: Forever,
		Exp: Forever, Enforcement: s.Enforcement,
	}
	if starts.IsZero() {
		d.NotBefore = issued.Add(-10 * time.Minute)
	}
	if !expires.IsZero() {
		d.ExpiresAt = capped(expires)
		d.WarnAt = d.ExpiresAt.Add(-s.Warn)
		d.BlockAt = capped(expires.Add(s.Grace))
		if s.Enforcement == EnforceBlock {
			d.Exp = d.BlockAt
		}
	}
	d.LeaseUntil = d.Exp
	if s.Lease > 0 {
		d.LeaseUntil = earlier(issued.Add(s.Lease), d.Exp)
	}
	d.RefreshAfter = earlier(issued.Add(s.Refresh), d.LeaseUntil)
	return d
}

// PhaseAt computes the phase at now; the first that fits counts: blocked from
// the block, the end of the lease or exp on and before nbf, grace from the end
// on or in the last quarter of the lease, warning, valid.
//
// A lease that runs until exp itself is no lease of its own: it ends when the
// licence does, calling home would not extend it, so it brings no grace.
func (d Dates) PhaseAt(now time.Time) Phase {
	switch {
	case now.Before(d.NotBefore), !now.Before(d.BlockAt), !now.Before(d.LeaseUntil), !now.Before(d.Exp):
		return PhaseBlocked
	case !now.Before(d.ExpiresAt), d.LeaseUntil.Before(d.Exp) && !now.Before(d.LeaseGrace()):
		return PhaseGrace
	case !now.Before(d.WarnAt):
		return PhaseWarning
	}
	return PhaseValid
}

// BlockedBy says why the phase at now is blocked, and is empty where it is not.
func (d Dates) BlockedBy(now time.Time) Reason {
	switch {
	case now.Before(d.NotBefore):
		return NotYetValid
	case !now.Before(d.BlockAt), !now.Before(d.Exp):
		return Expired
	case !now.Before(d.LeaseUntil):
		return LeaseOver
	}
	return ""
}

// NextAfter returns the first instant after now at which the phase, or why it is
// blocked, may be another one; Forever where none comes.
func (d Dates) NextAfter(now time.Time) time.Time {
	next := Forever
	for _, t := range [...]time.Time{d.NotBefore, d.WarnAt, d.ExpiresAt, d.BlockAt, d.LeaseGrace(), d.LeaseUntil, d.Exp} {
		if t.After(now) {
			next = earlier(next, t)
		}
	}
	return next
}

// LeaseGrace returns when the last quarter of the lease begins. A lease may be
// longer than a time.Duration.
func (d Dates) LeaseGrace() time.Time {
	seconds := d.LeaseUntil.Unix() - d.IssuedAt.Unix()
	return time.Unix(d.LeaseUntil.Unix()-seconds/4, 0).UTC().Add(-time.Duration(seconds%4) * time.Second / 4)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func capped(t time.Time) time.Time { return earlier(t, Forever) }
