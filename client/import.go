package client

import (
	"context"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Import takes a licence file: the answer to a request file, or one that the
// merchant made for this machine. Of several licences the newest that this
// install may hold counts; one older than what was seen is Older, one for
// another install or machine is MachineMismatch. When it returns nil the
// licence is stored for good; when it does not, the licence held is held still.
//
// A newer key set, and what an authentic time proves, are remembered whatever
// the licence beside them is worth.
//
// The answer to a deactivation holds no licence: Import returns nil where this
// install asked for it, and has none then. Any other file without a licence is
// Damaged.
func (g *Guard) Import(file []byte) error {
	if err := validateTrust(g.opts.Anchors, g.opts.Product); err != nil {
		return err
	}
	parsed, err := token.ParseFile(file)
	if err != nil {
		return err
	}
	ctx, done, err := g.begin(context.Background())
	if err != nil {
		return err
	}
	defer done()
	if err := g.look(ctx); err != nil {
		return err
	}
	return g.update(func(m *memory) error { return g.takeFile(m, parsed) })
}

// takeFile judges what a file holds and remembers what it brings.
func (g *Guard) takeFile(m *memory, f token.File) error {
	keys, err := g.newest(m.Keys, f.KeySets)
	if err != nil {
		return err
	}
	m.Keys = keys.Raw
	m.raise(keys.IssuedAt)
	left := false
	for _, raw := range f.Times {
		// Any authentic time proves that its instant has passed.
		t, err := token.VerifyTimeFor(raw, keys, token.ExpectTime{Issuer: g.opts.Issuer})
		if err == nil {
			m.raise(t.IssuedAt)
			left = m.leaves(t) || left
		}
	}
	if left && len(f.Licenses) == 0 {
		return nil
	}
	found, err := verifyLicenses(f.Licenses, keys, g.want())
	if err != nil {
		return err
	}
	lic, err := g.choose(*m, found)
	if err != nil {
		return err
	}
	m.hold(lic.claims)
	return nil
}

// leaves reports whether a time answers the request with which the licence was
// given up. One that was sent and still waits is ended by it.
func (m *memory) leaves(t token.Time) bool {
	if p := m.Sent.Deactivation; p != nil && p.ID == t.Nonce && p.Install == t.InstallID {
		m.giveUp(p.Request)
		return true
	}
	if m.Receipt == "" {
		return false
	}
	r, err := token.VerifyRequest(m.Receipt)
	return err == nil && r.ID == t.Nonce && r.InstallID == t.InstallID
}

// choose returns the first licence that this install may hold, or why the one
// that comes nearest may not be.
func (g *Guard) choose(m memory, found []*License) (*License, error) {
	var fault error
	for _, l := range found {
		err := g.fits(m, l)
		if err == nil {
			return l, nil
		}
		if fault == nil || license.ReasonOf(err) == license.Older {
			fault = err
		}
	}
	return nil, fault
}
