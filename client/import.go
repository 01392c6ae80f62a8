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
// licence is stored for good; when it does not, nothing changed.
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
	m := g.memory
	keys, err := g.newest(m.Keys, parsed.KeySets)
	if err != nil {
		return err
	}
	m.Keys = keys.Raw
	m.raise(keys.IssuedAt)
	for _, raw := range parsed.Times {
		// Any authentic time proves that its instant has passed.
		if t, err := token.VerifyTime(raw, keys, "", ""); err == nil {
			m.raise(t.IssuedAt)
		}
	}
	found, err := verifyLicenses(parsed.Licenses, keys, g.want())
	if err != nil {
		return err
	}
	lic, err := g.choose(m, found)
	if err != nil {
		return err
	}
	return g.store(m.hold(lic.claims))
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
