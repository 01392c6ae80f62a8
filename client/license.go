package client

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// License is a licence that was verified. It does not change and is safe for
// concurrent use. A nil License is no licence: it can be asked all the same.
type License struct {
	claims token.License
	list   *token.StatusList // the newest of the address that it names, nil where none is known
}

// ID returns the id of this very issue of the licence, which differs with each refresh.
func (l *License) ID() string { return l.get().ID }

// LicenseID returns the id under which the merchant knows the licence.
func (l *License) LicenseID() string { return l.get().LicenseID }

// Product returns the product that it is for.
func (l *License) Product() string { return l.get().Product }

// Customer returns who it was issued to, "" where that is not said.
func (l *License) Customer() string { return l.get().Customer }

// InstallID returns the install that it was made for, "" where it was made for
// a machine without an install key.
func (l *License) InstallID() string { return l.get().InstallID }

// Dates returns the instants that its phase follows from.
func (l *License) Dates() license.Dates { return l.get().Dates }

// Value returns what the licence grants under a name, whatever the clock says;
// Status.Feature and Guard.Value say what holds now.
func (l *License) Value(name string) license.Feature { return l.get().Features[name] }

// Claims returns a copy of everything that the licence says.
func (l *License) Claims() token.License {
	c := *l.get()
	c.Features = maps.Clone(c.Features)
	c.InstallKey = slices.Clone(c.InstallKey)
	c.Binding.Salt = slices.Clone(c.Binding.Salt)
	c.Binding.Components = maps.Clone(c.Binding.Components)
	for kind, digests := range c.Binding.Components {
		c.Binding.Components[kind] = slices.Clone(digests)
	}
	return c
}

// Match compares a machine with the one that the licence was bound to. A
// machine that does not match is always a reason to refuse.
func (l *License) Match(machine fingerprint.Set) license.MatchReport {
	b := l.get().Binding
	return license.Match(b, machine.DigestsWith(b.Salt))
}

// Check says where the licence stands at an instant: one place decides. What
// the status list beside it says counts; where several are known, the newest.
// It allocates nothing.
func (l *License) Check(now time.Time) Status {
	if l == nil || l.claims.ID == "" {
		return Status{At: now, Phase: license.PhaseBlocked, Reason: license.NoLicense}
	}
	d := &l.claims.Dates
	s := Status{
		At: now, State: license.StateActive, Phase: d.PhaseAt(now), Enforcement: d.Enforcement, Usable: true,
		NotBefore: d.NotBefore, WarnAt: d.WarnAt, ExpiresAt: d.ExpiresAt, BlockAt: d.BlockAt,
		RefreshAfter: d.RefreshAfter, LeaseUntil: d.LeaseUntil, Features: l.claims.Features,
	}
	if !now.Before(d.ExpiresAt) || !now.Before(d.Exp) {
		s.State = license.StateExpired
	}
	s.Reason = d.BlockedBy(now)
	s = l.heed(s)
	switch reason := l.listed(); {
	case reason == license.Suspended:
		s.State = license.StateSuspended
		return s.block(reason)
	case reason != "":
		s.State = license.StateRevoked
		return s.block(reason)
	case s.Phase != license.PhaseBlocked:
		return s
	}
	switch d.Enforcement {
	case license.EnforceAdvisory:
	case license.EnforceDegrade:
		s.Features = nil
	case license.EnforceBlock:
		fallthrough
	default:
		s.Usable, s.Features = false, nil
	}
	return s
}

// String names the licence without its token.
func (l *License) String() string { return "licence " + l.get().LicenseID }

// GoString hides the token from %#v.
func (l *License) GoString() string { return "client.License(" + l.get().LicenseID + ")" }

// LogValue hides the token from slog.
func (l *License) LogValue() slog.Value { return slog.StringValue(l.String()) }

func (l *License) get() *token.License {
	if l == nil {
		return &token.License{}
	}
	return &l.claims
}
