package client

import (
	"context"
	"slices"

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
// A status list in the file is remembered if it is newer than the one seen last
// and is the one that the licence held names. A file may hold nothing else:
// carried on a stick, it tells a machine without a network what was revoked. One
// that is older than what was seen is Older then, one of another address Conflict.
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
	answered, left := g.takeTimes(m, f.Times, keys)
	if answered {
		floor := m.Floor
		defer func() { m.notAfter(floor) }()
	}
	m.raise(keys.IssuedAt)
	if len(f.Licenses) == 0 && (left || len(f.Statuses) > 0) {
		if err := g.takeLists(m, f.Statuses, keys); err != nil && !left {
			return err
		}
		return nil
	}
	// After the licence, whichever is held then.
	defer func() { _ = g.takeLists(m, f.Statuses, keys) }()
	found, err := verifyLicenses(f.Licenses, keys, g.want())
	if err != nil {
		return err
	}
	lic, err := g.choose(*m, found, answered)
	if err != nil {
		return err
	}
	m.hold(lic.claims)
	return nil
}

// takeTimes takes signed times: those that answer requests of this install,
// the newest first, and then all others, which prove that their instants have
// passed. left: one answers the request with which the licence was given up.
func (g *Guard) takeTimes(m *memory, raws []string, keys token.KeySet) (answered, left bool) {
	var times []token.Time
	for _, raw := range raws {
		if t, err := token.VerifyTimeFor(raw, keys, token.ExpectTime{Issuer: g.opts.Issuer}); err == nil {
			times = append(times, t)
		}
	}
	slices.SortStableFunc(times, func(a, b token.Time) int { return b.IssuedAt.Compare(a.IssuedAt) })
	for _, t := range times {
		answered = g.hear(m, t) || answered
	}
	for _, t := range times {
		m.raise(t.IssuedAt)
		left = m.leaves(t) || left
	}
	return answered, left
}

// leaves reports whether a time answers the request with which the licence was
// given up. One that was sent and still waits is ended by it.
func (m *memory) leaves(t token.Time) bool {
	if p := m.Sent.Deactivation; p != nil && p.ID == t.Nonce && p.Install == t.InstallID {
		m.giveUp(p.Request, p.Leaves)
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
func (g *Guard) choose(m memory, found []*License, answers bool) (*License, error) {
	var fault error
	for _, l := range found {
		err := g.fits(m, l, answers)
		if err == nil {
			return l, nil
		}
		if fault == nil || license.ReasonOf(err) == license.Older {
			fault = err
		}
	}
	return nil, fault
}
