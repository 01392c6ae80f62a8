package authority

import (
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// signing is the key that signs and the set that vouches for it, both of the
// same moment.
type signing struct {
	key  token.SigningKey
	keys token.KeySet
}

// canSign says what keeps something that is signed with the date at from being
// verified.
func (s signing) canSign(at time.Time) error {
	k, ok := s.keys.Key(s.key.ID)
	switch {
	case !ok || !at.Before(k.NotAfter):
		return license.Errorf(license.Internal, "the signing key is past its end: install a new key set")
	case at.Before(k.NotBefore):
		return license.Errorf(license.Clock, "the server's clock is before the time at which its signing key was made")
	}
	return nil
}

// grant decides what inst is given: it writes the claims of its next licence
// into inst.Answer and moves its chain on. Nothing is signed yet.
func (c *call) grant(inst *license.Install, l license.License) error {
	jti, err := c.a.ids.New("", c.now)
	if err != nil {
		return err
	}
	issued, err := c.date(inst.SeenAt)
	if err != nil {
		return err
	}
	d := c.product.ScheduleFor(l.Mode).DatesFor(issued, time.Time{}, l.ExpiresAt)
	claims := token.License{
		Issuer: c.keys.Issuer, ID: jti, LicenseID: l.ID, Product: l.Product, Dates: d,
		Customer: l.Customer, Order: l.Order, Channel: l.Channel, CodeLast4: l.Code.Last4,
		Features: l.Features, Machines: l.Machines, Mode: l.Mode, Binding: inst.Binding,
		InstallKey: c.req.InstallKey,
	}
	if inst.Answer, err = claims.Payload(); err != nil {
		return fmt.Errorf("make the claims of %s: %w", l.ID, err)
	}
	inst.Chain = inst.Chain.Next(jti, c.req.Prev, c.req.ID, c.req.Digest, c.req.IssuedAt, c.now)
	inst.SeenAt, inst.LeaseUntil = issued, d.LeaseUntil
	return nil
}

// clockStep is how far a clock may be set back without anybody noticing.
const clockStep = 10 * time.Minute

// date is the iat of what is granted after a licence of the given date: of two
// licences of one install the later counts, so it never goes back.
func (c *call) date(last time.Time) (time.Time, error) {
	switch {
	case !c.now.Before(last):
		return c.now, nil
	case last.Sub(c.now) <= clockStep:
		return last, nil
	}
	return time.Time{}, license.Errorf(license.Clock, "the server's clock is behind what it has signed before")
}

// answer signs what was granted. It depends on nothing but the stored install
// and the key of the day, so that it can be made again.
func (c *call) answer(inst license.Install) (Answer, error) {
	ans := Answer{LicenseID: inst.LicenseID, Keys: c.keys.Raw}
	var err error
	if inst.Answer != nil {
		ans.InstallID = inst.ID
		if ans.License, err = token.SignLicense(inst.Answer, c.key); err != nil {
			return Answer{}, fmt.Errorf("sign a licence of %s: %w", inst.LicenseID, err)
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
