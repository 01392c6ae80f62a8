package license

import (
	"maps"
	"slices"
	"time"
)

// Upgrade is what a licence is from an EventUpgrade on, all of it.
type Upgrade struct {
	Product  string
	Features Features
	Machines int
	// NewEnd has the end be Change.ExpiresAt; without it the end stays.
	NewEnd bool
}

// upgrade sets what an upgrade sets. An upgraded licence is a full one.
func (l *License) upgrade(c Change) {
	l.Product, l.Machines, l.Trial = c.Upgrade.Product, c.Upgrade.Machines, false
	if l.Features = maps.Clone(c.Upgrade.Features); len(l.Features) == 0 {
		l.Features = nil
	}
	if c.Upgrade.NewEnd {
		l.ExpiresAt, l.OwnEnd = c.ExpiresAt, l.Sold()
	}
}

// Takes reports whether a program of the product with the given id may use a
// licence of p.
func (p Product) Takes(id string) bool { return id == p.ID || slices.Contains(p.Accepts, id) }

// Renewable says whether the merchant's staff may still renew a licence of the
// product that has ended, and refuses it with Expired where that is too long ago.
// A marketplace's renewal is always applied: it has been paid for there.
func (p Product) Renewable(l License, now time.Time) error {
	if p.RenewWithin <= 0 || l.ExpiresAt.IsZero() || now.Before(l.ExpiresAt) {
		return nil
	}
	if ago := now.Sub(l.ExpiresAt); ago >= p.RenewWithin {
		return Errorf(Expired, "the licence ended %s ago, and can be renewed for %s after its end; force it to renew it all the same",
			ago.Truncate(time.Second), p.RenewWithin)
	}
	return nil
}

// Noted is which ends of a licence were recorded by the sweeper. An end that is
// moved is another one, of which nothing was recorded.
type Noted struct {
	Expired  time.Time `json:"expired,omitzero"`  // the end that was recorded as reached
	Expiring time.Time `json:"expiring,omitzero"` // the end that was recorded as near
}

// Ends reports whether l has come to an end of which that was not recorded: its
// end is reached, and nobody had ended it before.
func (l License) Ends(now time.Time) bool {
	return l.ReleasedAt.IsZero() && l.RevokedAt.IsZero() && !l.ExpiresAt.IsZero() && !now.Before(l.ExpiresAt) && !l.Noted.Expired.Equal(l.ExpiresAt)
}

// Nears reports whether the end of l is near, by the schedule that counts for it,
// and that was not recorded.
func (l License) Nears(s Schedule, now time.Time) bool {
	return l.ReleasedAt.IsZero() && l.RevokedAt.IsZero() && !l.ExpiresAt.IsZero() && now.Before(l.ExpiresAt) &&
		!now.Before(l.ExpiresAt.Add(-s.Warn)) && !l.Noted.Expiring.Equal(l.ExpiresAt)
}
