package authority

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// deviceGrant is what a licence for a device is made of, whoever asked for it.
type deviceGrant struct {
	fingerprint license.Fingerprint
	device      license.Digest // of what names the device, as an identification code; "" for none
	from, until time.Time      // zero: from now on, and to the end of the licence
	request     string         // the flow number, where a marketplace asked
	actor       license.Actor
}

// deviceCall is a call that stands for a device, which signs nothing itself. A
// device has one install of a licence, whoever asks for it and how often; what it
// is granted is made under that install, so that ending it ends all of them.
type deviceCall struct {
	*call
	license license.License
	deviceGrant
}

// forDevice begins a call for a device, in a transaction before which lookFirst was
// called.
func (a *Authority) forDevice(l license.License, g deviceGrant, now time.Time) (deviceCall, error) {
	product, err := a.product(l.Product)
	if err != nil {
		return deviceCall{}, err
	}
	c := &call{a: a, product: product, now: now, actor: g.actor}
	c.req.ID, c.req.Fingerprint = g.request, g.fingerprint
	c.signing = a.signingInside()
	return deviceCall{call: c, license: l, deviceGrant: g}, nil
}

// forApplication begins a call for what a marketplace was asked for.
func (a *Authority) forApplication(l license.License, app Application, now time.Time) (deviceCall, error) {
	return a.forDevice(l, deviceGrant{
		fingerprint: deviceFingerprint(l, app.Device), device: deviceDigest(l, app.Device),
		from: app.From, until: app.Until, request: app.Event,
		actor: license.Actor{Kind: license.ActorMarketplace, Name: app.Channel},
	}, now)
}

// deviceFingerprint is what a device shows for a licence; nothing where there is
// no device.
func deviceFingerprint(l license.License, d license.Device) license.Fingerprint {
	if d.IsZero() {
		return license.Fingerprint{}
	}
	return d.Fingerprint(license.ProductSalt(l.Product))
}

// deviceDigest stands for what names a device, whether or not it can be bound to.
func deviceDigest(l license.License, d license.Device) license.Digest {
	digest, _ := license.DigestCode(license.ProductSalt(l.Product), d.Reveal())
	return digest
}

// installID is the id of the n-th install that stands for the device, or, where
// there is none, for the application. It has no key, so it is the thumbprint of
// none.
func (c deviceCall) installID(n int) string {
	name := "device\n" + string(c.device)
	if c.device == "" {
		name = "application\n" + c.request
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "licensed device v2\n%s\n%s\n%d", c.license.ID, name, n))
	return license.DevicePrefix + base64.RawURLEncoding.EncodeToString(sum[:24])
}

// find returns the live install of the device, or, as one that is not live, the
// id of the next: an install lives once, and a device that was removed can come
// back. What was granted to one that was ended is not granted again.
func (c deviceCall) find(ctx context.Context, tx store.Tx) (license.Install, bool, error) {
	for n := 0; ; n++ {
		inst, err := tx.Install(ctx, c.license.ID, c.installID(n))
		if errors.Is(err, license.NotFound) {
			dead, err := tx.Value(ctx, restoreDead+c.license.ID+"/"+c.installID(n))
			if err == nil && len(dead) > 0 {
				continue // it was ended after a backup that the store was restored from
			}
			if err != nil && !errors.Is(err, license.NotFound) {
				return inst, false, fmt.Errorf("look a device up: %w", err)
			}
			return license.Install{ID: c.installID(n)}, false, nil
		}
		if err != nil {
			return inst, false, fmt.Errorf("look a device up: %w", err)
		}
		if inst.State == license.InstallLive {
			return inst, true, nil
		}
		if _, known := inst.Granted(c.request); known {
			return inst, false, license.Errorf(license.Unauthorized, "the licence of this device was ended (%s)", inst.State)
		}
	}
}

// again returns an install as it was when it was granted what is asked for again.
// Where the key that signs was born after that, it is granted anew: nobody could
// verify it under that key.
func (c deviceCall) again(ctx context.Context, tx store.Tx, inst license.Install) (license.Install, error) {
	g, known := inst.Granted(c.request)
	if !known || c.canSign(g.At) != nil {
		return c.grantMore(ctx, tx, inst)
	}
	if g.ID != inst.Chain.Last {
		inst.Answer, inst.SeenAt = g.Answer, g.At
	}
	return inst, nil
}

// bind gives the device a place of the licence where it has none any more, and
// makes its licence.
func (c deviceCall) bind(ctx context.Context, tx store.Tx, inst license.Install, live bool) (_ license.Install, err error) {
	if !live {
		if err := forgetLost(ctx, tx, c.license.ID, inst.ID); err != nil { // it is made anew
			return inst, err
		}
	}
	installs, err := c.a.installsAndLost(ctx, tx, c.license)
	if err != nil {
		return inst, err
	}
	if !live {
		if err := c.tooOften(c.license, installs); err != nil {
			return inst, err
		}
		inst = license.Install{ID: inst.ID, LicenseID: c.license.ID, State: license.InstallLive, BoundAt: c.now, Device: c.device}
		if inst.Binding, err = license.BindDevice(c.product.Binding, c.fingerprint); err != nil {
			return inst, ErrNeedsDevice
		}
	}
	var beyond int
	if inst.Seat, beyond, err = c.seat(installs); err != nil {
		return inst, err
	}
	if err := c.beyond(ctx, tx, c.license, inst, beyond); err != nil {
		return inst, err
	}
	next, changed, err := c.license.Apply(license.Change{Event: license.EventActivate, At: c.now})
	if err != nil {
		return inst, err
	}
	if changed {
		if err := tx.UpdateLicense(ctx, next); err != nil {
			return inst, fmt.Errorf("update %s: %w", next.ID, err)
		}
	}
	if live {
		return c.grantMore(ctx, tx, inst)
	}
	if inst, err = c.grant(ctx, tx, inst); err != nil {
		return inst, err
	}
	if err := tx.CreateInstall(ctx, inst); err != nil {
		return inst, fmt.Errorf("bind a device to %s: %w", c.license.ID, err)
	}
	inst.Revision = 1
	return inst, c.audit(ctx, tx, license.ActionBind, inst, map[string]any{"seat": inst.Seat, "device": true})
}

// seat is the seat of the device: its own where it has one, else a free one.
// A seat is that of the device that took it: who is like one that came to it
// later has another, or devices could be chained. One whose licences have all run
// out is free again. beyond is as how many-th beyond what was sold it is taken now.
func (c deviceCall) seat(installs []license.Install) (seat string, beyond int, err error) {
	mine, first, taken := "", make(map[string]bool), make(map[string]bool)
	slices.SortStableFunc(installs, func(a, b license.Install) int { return a.BoundAt.Compare(b.BoundAt) })
	for _, i := range installs {
		if i.State != license.InstallLive || !i.OnMachine() {
			continue
		}
		founder := !first[i.Seat]
		first[i.Seat] = true
		// What has a key calls home, and may be renewed at any time.
		if !strings.HasPrefix(i.ID, license.DevicePrefix) || c.now.Before(i.LeaseUntil) {
			taken[i.Seat] = true
		}
		same := i.Device != "" && i.Device == c.device
		like := founder && i.Binding.Policy != license.PolicyNone && license.Match(i.Binding, c.fingerprint).OK
		if same || like && mine == "" {
			mine = i.Seat
		}
	}
	if mine != "" && taken[mine] {
		return mine, 0, nil
	}
	if len(taken) >= c.limit(c.license) {
		return "", 0, ErrQuota
	}
	if seat = mine; seat == "" {
		seat, err = c.a.ids.New(license.SeatPrefix, c.now)
	}
	return seat, len(taken) + 1 - c.license.Machines, err
}

// grantMore makes another licence for a device that has one.
func (c deviceCall) grantMore(ctx context.Context, tx store.Tx, old license.Install) (license.Install, error) {
	if !c.now.After(old.SeenAt) {
		later := *c.call
		later.now = old.SeenAt.Add(time.Second) // of two licences of one device the later counts
		c.call = &later
	}
	inst, err := c.grant(ctx, tx, old.Clone())
	if err != nil {
		return old, err
	}
	if err := tx.UpdateInstall(ctx, inst); err != nil {
		return old, fmt.Errorf("update an install of %s: %w", c.license.ID, err)
	}
	inst.Revision++
	return inst, c.audit(ctx, tx, license.ActionRefresh, inst, map[string]any{"device": true})
}

// grant writes the licence into the install of a device. Nothing calls home for
// it, so it has no lease, and no install key that a renewal could be asked by.
func (c deviceCall) grant(ctx context.Context, tx store.Tx, inst license.Install) (license.Install, error) {
	if err := c.canSign(c.now); err != nil {
		return inst, err
	}
	jti, err := c.a.ids.New("", c.now)
	if err != nil {
		return inst, err
	}
	if _, err := c.listed(ctx, tx, &inst); err != nil {
		return inst, err
	}
	claims := c.claims(inst, jti, c.now)
	inst = inst.Superseded()
	if inst.Answer, err = claims.Payload(); err != nil {
		return inst, fmt.Errorf("make the claims of %s: %w", c.license.ID, err)
	}
	inst.SeenAt = c.now
	inst.SignedBy, inst.ByHand = c.key.ID, true
	if inst.LeaseUntil.Before(claims.Dates.LeaseUntil) { // else the licence that it had is still good
		inst.LeaseUntil = claims.Dates.LeaseUntil
	}
	inst.Chain.Last, inst.Chain.RequestID = jti, c.request
	if c.request != "" {
		inst = inst.WithGrant(license.Grant{Request: c.request, ID: jti, At: c.now, From: c.from, Until: c.until})
	}
	return inst, nil
}

// holds reports whether the licence that an install was granted last is what it
// would be granted now, and can be signed.
func (c deviceCall) holds(inst license.Install) bool {
	payload, err := c.claims(inst, inst.Chain.Last, inst.SeenAt).Payload()
	return err == nil && bytes.Equal(payload, inst.Answer) && c.canSign(inst.SeenAt) == nil
}

// claims are those of the licence for a device that has its place in a status
// list, issued at an instant under an id.
func (c deviceCall) claims(inst license.Install, jti string, at time.Time) token.License {
	l := c.license
	s := c.product.ScheduleFor(l)
	s.Lease, s.Refresh = 0, forAges
	until := c.until
	if until.IsZero() {
		until = l.ExpiresAt
	}
	return token.License{
		Issuer: c.keys.Issuer, ID: jti, LicenseID: l.ID, Product: l.Product, Dates: s.DatesFor(at, c.from, until),
		Customer: l.Customer, Order: l.Order, Channel: l.Channel, CodeLast4: codeEnd(l), Features: l.Features, Machines: l.Machines, Mode: l.Mode,
		Binding: inst.Binding, Status: token.StatusPlace{URI: statusURI(c.keys.Issuer, inst.Status.List), Index: inst.Status.Index},
		Trial: l.Trial,
	}
}

// forAges is when a licence for a device wants to be refreshed: never.
const forAges = 100 * 366 * 24 * time.Hour

// signDevice signs what a device was granted. The same grant gives the same file
// as long as the keys stay the same. It holds no status list: that would make
// another file of it each quarter of an hour. Whoever needs the list fetches it.
func (a *Authority) signDevice(inst license.Install) ([]byte, error) {
	s := a.signing()
	if err := s.canSign(inst.SeenAt); err != nil {
		return nil, err
	}
	raw, err := token.SignLicense(inst.Answer, s.key)
	if err != nil {
		return nil, fmt.Errorf("sign a licence of %s: %w", inst.LicenseID, err)
	}
	return token.File{Licenses: []string{raw}, KeySets: []string{s.keys.Raw}}.Marshal(), nil
}
