package authority

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// provisional reports whether the text of a purchase only bridges the time until
// machines are activated: it is bound to none, and the product wants them bound
// or counted.
func provisional(p license.Product, l license.License) bool {
	return p.Binding != license.PolicyNone || l.Mode == license.ModeFloating
}

// provisionalLease is for how long a provisional text is good at least. The buyer
// may open it days after the sale, and gets the same one again.
const provisionalLease = 14 * 24 * time.Hour

// textSchedule is the schedule of the licence in a text. No install key is behind
// it, so nothing renews it by itself.
func textSchedule(p license.Product, l license.License) license.Schedule {
	s := l.Phases.Over(p.Schedule)
	s.Refresh = forAges
	switch {
	case !provisional(p, l):
		s.Lease = 0
	default:
		s.Lease = max(s.Lease, provisionalLease)
	}
	return s
}

// textDates are those of the licence in a text. One that is suspended is signed
// again with what it had: nothing is granted to it.
func (c *call) textDates(inst license.Install, l license.License) (license.Dates, error) {
	if l.StateAt(c.now) != license.StateSuspended {
		return textSchedule(c.product, l).DatesFor(c.now, time.Time{}, l.ExpiresAt), nil
	}
	d, err := signedDates(inst)
	d.IssuedAt = c.now
	return d, err
}

// signedDates are those of the licence that was signed for an install.
func signedDates(inst license.Install) (license.Dates, error) {
	var claims struct {
		NotBefore int64 `json:"nbf"`
		Exp       int64 `json:"exp"`
		Lic       struct {
			Phases struct {
				WarnAt      int64               `json:"warn_at"`
				ExpiresAt   int64               `json:"expires_at"`
				BlockAt     int64               `json:"block_at"`
				Enforcement license.Enforcement `json:"enforcement"`
			} `json:"phases"`
			RefreshAfter int64 `json:"refresh_after"`
			LeaseUntil   int64 `json:"lease_until"`
		} `json:"lic"`
	}
	if err := json.Unmarshal(inst.Answer, &claims); err != nil {
		return license.Dates{}, license.Errorf(license.Internal, "the claims of %s cannot be read", inst.LicenseID).WithCause(err)
	}
	at := func(n int64) time.Time { return time.Unix(n, 0).UTC() }
	lic := claims.Lic
	return license.Dates{
		IssuedAt: inst.Dated(), NotBefore: at(claims.NotBefore), Exp: at(claims.Exp), WarnAt: at(lic.Phases.WarnAt), ExpiresAt: at(lic.Phases.ExpiresAt),
		BlockAt: at(lic.Phases.BlockAt), Enforcement: lic.Phases.Enforcement, RefreshAfter: at(lic.RefreshAfter), LeaseUntil: at(lic.LeaseUntil),
	}, nil
}

// grantText writes the claims of the licence in a text.
func (c *call) grantText(ctx context.Context, tx store.Tx, inst *license.Install, l license.License) error {
	jti, err := c.a.ids.New("", c.now)
	if err != nil {
		return err
	}
	dates, err := c.textDates(*inst, l)
	if err != nil {
		return err
	}
	claims := token.License{
		Issuer: c.keys.Issuer, ID: jti, LicenseID: l.ID, Product: l.Product, Dates: dates,
		Customer: l.Customer, Order: l.Order, Channel: l.Channel, CodeLast4: l.Code.Last4,
		Features: l.Features, Machines: l.Machines, Mode: l.Mode, Binding: inst.Binding,
	}
	if claims.Status, err = c.listed(ctx, tx, inst); err != nil {
		return err
	}
	if inst.Answer, err = claims.Payload(); err != nil {
		return fmt.Errorf("make the claims of %s: %w", l.ID, err)
	}
	inst.Chain.RequestID = c.req.ID
	inst.SeenAt, inst.LeaseUntil = c.now, dates.LeaseUntil
	inst.SignedBy, inst.ByHand = c.key.ID, true
	return nil
}

// textInstall is the id of the install that stands for the text of a licence. It
// has no key and no seat.
func textInstall(licenseID string) string {
	sum := sha256.Sum256([]byte("licensed text v1\n" + licenseID))
	return license.DevicePrefix + base64.RawURLEncoding.EncodeToString(sum[:24])
}

// saleText is what the buyer gets, made of what is stored and the keys of the
// day: the code, which is text around the blocks to who reads licence files, and
// the licence with its key set. The status list stays away, since it would make
// another text of it every day.
func (a *Authority) saleText(l license.License, inst license.Install) ([]byte, error) {
	code, err := a.codes.Open(l.Code.Sealed, l.ID)
	if err != nil {
		return nil, err
	}
	s := a.signingInside()
	if s.behind != nil {
		return nil, s.behind
	}
	raw, err := token.SignLicense(inst.Answer, s.key)
	if err != nil {
		return nil, fmt.Errorf("sign a licence of %s: %w", l.ID, err)
	}
	var head string
	if code.Own() {
		head = "Authorization code: " + code.Reveal() + "\n"
	}
	return append([]byte(head), token.File{Licenses: []string{raw}, KeySets: []string{s.keys.Raw}}.Marshal()...), nil
}
