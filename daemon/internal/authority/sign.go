package authority

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// signing is the key that signs and the set that vouches for it, both of the
// same moment.
type signing struct {
	key    token.SigningKey
	keys   token.KeySet
	behind error // why it must not sign, by what the store says
}

// canSign says what keeps something that is signed with the date at from being
// verified.
func (s signing) canSign(at time.Time) error {
	k, ok := s.keys.Key(s.key.ID)
	switch {
	case s.behind != nil:
		return s.behind
	case !ok || !at.Before(k.NotAfter):
		return license.Errorf(license.Internal, "the signing key is past its end: install a new key set")
	case at.Before(k.NotBefore):
		return license.Errorf(license.Clock, "the server's clock is before the time at which its signing key was made")
	}
	return nil
}

// grant decides what inst is given: it writes the claims of its next licence
// into inst.Answer and moves its chain on. Nothing is signed yet.
func (c *call) grant(ctx context.Context, tx store.Tx, inst *license.Install, l license.License) error {
	jti, err := c.a.ids.New("", c.now)
	if err != nil {
		return err
	}
	d, err := c.dates(l, inst.Dated())
	if err != nil {
		return err
	}
	c.back = !l.BackAt.IsZero() && c.now.Sub(l.BackAt).Abs() <= clockStep
	claims := token.License{
		Issuer: c.keys.Issuer, ID: jti, LicenseID: l.ID, Product: l.Product, Dates: d,
		Customer: l.Customer, Order: l.Order, Channel: l.Channel, CodeLast4: l.Code.Last4,
		Features: l.Features, Machines: l.Machines, Mode: l.Mode, Binding: inst.Binding,
		InstallKey: c.req.InstallKey, StatusMaxAge: c.product.StatusMaxAge, Trial: l.Trial,
	}
	if c.req.Product != l.Product {
		claims.Also = []string{c.req.Product}
	}
	if claims.Status, err = c.listed(ctx, tx, inst); err != nil {
		return err
	}
	if inst.Answer, err = claims.Payload(); err != nil {
		return fmt.Errorf("make the claims of %s: %w", l.ID, err)
	}
	inst.Chain = inst.Chain.Next(jti, c.req.Prev, c.req.ID, c.req.Digest, c.req.IssuedAt)
	inst.SeenAt, inst.DatedAt, inst.LeaseUntil = c.now, time.Time{}, d.LeaseUntil
	inst.SignedBy, inst.ByHand = c.key.ID, c.actor.Kind == license.ActorAdmin
	if d.IssuedAt.After(c.now) {
		inst.DatedAt = d.IssuedAt
	}
	return nil
}

// dates are those of what is granted after a licence of the date last. Of two
// licences of one install the later iat counts, so it never goes back: where the
// clock was set back since, it stays at last, and all else counts from now. The
// time that is signed beside the licence is what lowers the install's floor.
func (c *call) dates(l license.License, last time.Time) (license.Dates, error) {
	d := c.product.ScheduleFor(l).DatesFor(c.now, time.Time{}, l.ExpiresAt)
	if !c.now.Before(last) {
		return d, nil
	}
	d.IssuedAt = last
	if c.canSign(last) != nil {
		return d, license.Errorf(license.Clock, "this install was given a licence when the server's clock was far ahead, dated %s, "+
			"and no later one can be signed yet; set the install up anew", last.Format(time.RFC3339))
	}
	return d, nil
}

// answer signs what was granted. It depends on nothing but the stored install
// and the key of the day, so that it can be made again.
func (c *call) answer(ctx context.Context, inst license.Install) (Answer, error) {
	if DryRun(ctx) { // nothing that is signed leaves, since nothing knows of it
		return Answer{LicenseID: inst.LicenseID, InstallID: inst.ID}, nil
	}
	ans := Answer{LicenseID: inst.LicenseID, Keys: c.keys.Raw}
	var err error
	if inst.Answer != nil {
		ans.InstallID = inst.ID
		if ans.License, err = token.SignLicense(inst.Answer, c.key); err != nil {
			return Answer{}, fmt.Errorf("sign a licence of %s: %w", inst.LicenseID, err)
		}
		if inst.Status.List != "" {
			ans.Status = c.a.lists.current(ctx, inst.Status, c.back)
		}
	}
	ans.Time, err = token.SignTime(token.Time{
		Issuer: c.keys.Issuer, IssuedAt: inst.SeenAt, InstallID: inst.ID, Nonce: c.req.ID,
	}, c.key)
	if err != nil {
		return Answer{}, fmt.Errorf("sign the time for %s: %w", inst.LicenseID, err)
	}
	return ans, nil
}
