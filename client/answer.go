package client

import (
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// unverifiedError is what is wrong with an answer that came with an authentic
// key set, so from the licence server, and does not verify under it.
type unverifiedError struct{ err error }

func (e *unverifiedError) Error() string { return e.err.Error() }

func (e *unverifiedError) Unwrap() error { return e.err }

// accept judges the answer to a request and remembers what it brings, of one
// that is refused what is authentic in it.
func (g *Guard) accept(m *memory, p *pending, a wire.Answer) error {
	before := m.provenTime
	keys, err := g.takeKeys(m, a.Keys)
	if err != nil {
		return g.stranger(err)
	}
	t, err := token.VerifyTimeFor(a.Time, keys, token.ExpectTime{Issuer: g.opts.Issuer, InstallID: p.Install, Nonce: p.ID})
	if err != nil {
		return &unverifiedError{err}
	}
	m.provenTime = before // the time says more of the time than the key set that comes with it
	answers := g.hear(m, t)
	m.raise(t.IssuedAt) // where another process has taken this answer
	floor := m.Floor
	defer func() { m.notAfter(floor) }()
	m.raise(keys.IssuedAt)
	if p.Op == OpDeactivate {
		if p.Install == installID(m.Key) {
			m.giveUp(p.Request, p.Leaves)
		}
		return nil
	}
	claims, err := token.VerifyLicense(a.License, keys, g.want())
	if a.Status != "" {
		// It is about the licence that comes with it, or else about the one held; what
		// is wrong with it is no reason to do without the licence.
		defer func() { _ = g.takeLists(m, []string{a.Status}, keys) }()
	}
	switch {
	case license.ReasonOf(err) == license.WrongProduct:
		return err
	case err != nil:
		return &unverifiedError{err}
	case claims.InstallID != p.Install:
		return errOtherInstall()
	}
	return g.take(m, p, claims, answers)
}

// stranger is the error of an answer whose key set is not to be trusted.
func (g *Guard) stranger(err error) error {
	if license.ReasonOf(err) != license.Forged {
		return err
	}
	return license.Errorf(license.Forged, "what answered at %s is not the licence server of this product: its keys are not vouched for by the merchant's. "+
		"Another merchant's server answered, or the address is wrong", g.server.base.Host).WithCause(err)
}

// errSuperseded says that an answer came too late: what it would replace is
// newer.
var errSuperseded = license.Errorf(license.Conflict, "another copy of this product changed the licence of this install at the same time")

// take takes the licence that answers a request. While the server was asked,
// another process may have got a newer one, or another install.
func (g *Guard) take(m *memory, p *pending, claims token.License, answers bool) error {
	waits, mine := m.Sent.waits(p), p.Install == installID(m.Key)
	switch {
	case !waits && !mine:
		if held, err := token.PeekLicense(m.License); err == nil && held.LicenseID == claims.LicenseID {
			return nil // the same licence, by a newer key
		}
		return errSuperseded
	case mine && m.refreshable() && (claims.ID == m.Prev || !waits && claims.Dates.IssuedAt.Unix() <= m.IssuedAt):
		return nil // it is held already, or a newer one
	}
	if err := g.fits(*m, &License{claims: claims}, answers); err != nil {
		return err
	}
	m.hold(claims)
	return nil
}

// takeKeys verifies the key set of an answer and remembers the newest of it and
// of what was seen. One that is older is not worth an error: a server may lag
// behind.
func (g *Guard) takeKeys(m *memory, raw string) (token.KeySet, error) {
	if _, err := g.verifySet(raw); err != nil {
		return token.KeySet{}, err
	}
	keys, err := g.newest(m.Keys, []string{raw})
	if err != nil {
		return token.KeySet{}, err
	}
	m.Keys = keys.Raw
	m.raise(keys.IssuedAt)
	return keys, nil
}

// fits reports whether a licence that is authentic is one that this install
// may hold: made for it, for this machine, and not older than the last. answers:
// it came with the answer to a request of this install.
func (g *Guard) fits(m memory, l *License, answers bool) error {
	install := l.InstallID()
	mine := install == "" || install == installID(m.Key)
	fresh := false // it answers a request that was signed with a key made for it
	for _, p := range []*pending{m.Sent.Activation, m.Carried.Activation} {
		fresh = fresh || p != nil && install != "" && install == p.Install
	}
	if !mine && !fresh {
		return errOtherInstall()
	}
	if mine && l.Dates().IssuedAt.Unix() < m.IssuedAt {
		return errOlder()
	}
	// After its clock was set back a server dates what it grants as it did before,
	// so only an answer says what such a date is worth.
	if !answers && l.ID() != m.Prev && g.disowned(m, l.Dates().IssuedAt) {
		return errDisowned()
	}
	// Another one of the same second is newer only if it answers a request that
	// still waits.
	if mine && install != "" && m.License != "" && !answers && l.ID() != m.Prev && l.Dates().IssuedAt.Unix() == m.IssuedAt {
		return errOlder()
	}
	if machine := g.view.Load().machine; !l.Match(machine).OK {
		return license.Errorf(license.MachineMismatch, "the licence was not made for this machine: %s", l.Explain(machine).Advice)
	}
	return nil
}
