package authority

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// Application asks for a licence for a device (getLicenseAsync, access guide
// …649255). Instance, Event and Device name it: the same again is the same
// application, and gets the same licence.
type Application struct {
	Channel   string
	Instance  string
	Event     string         // the marketplace's flow number; the licence is delivered under it
	Device    license.Device // may be absent where the product binds to no machine
	From      time.Time
	Until     time.Time // zero for none
	SentAt    time.Time
	ReplayKey []byte
}

// Why an application is refused; each has a result code of its own (…649288).
var (
	ErrNoInstance  = license.Errorf(license.UnknownLicense, "there is no such instance")
	ErrQuota       = license.Errorf(license.MachineLimit, "the instance has a licence for as many devices as were bought")
	ErrOutside     = license.Errorf(license.Expired, "the licence would lie outside the validity of the order")
	ErrNeedsEnd    = license.FieldErrorf("expireTime", "a licence of a period product needs an end")
	ErrNeedsDevice = license.FieldErrorf("deviceFingerprint", "a device fingerprint or a hardware code is required")
)

// Apply takes an application: it makes the licence where the order is known
// already, and has it delivered. Where the order is still being read, that is
// done afterwards.
func (a *Authority) Apply(ctx context.Context, app Application) error {
	if err := errors.Join(plain("instanceId", app.Instance, 64), plain("eventId", app.Event, 64)); err != nil {
		return err
	}
	index, _, err := a.instanceIndex(app.Channel, app.Instance)
	if err != nil {
		return err
	}
	now, err := a.dated(ctx)
	if err != nil {
		return err
	}
	return a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		if err := markSeen(ctx, tx, app.SentAt, app.ReplayKey); err != nil {
			return err
		}
		job := deliverJob{Event: app.Event, Instance: app.Instance, From: app.From, Until: app.Until}
		out := license.Job{Kind: license.JobDeliver, Key: instanceKey(app.Channel, app.Instance), Channel: app.Channel}
		l, err := tx.LicenseByCode(ctx, index)
		switch {
		case errors.Is(err, license.NotFound):
			p, err := tx.Pending(ctx, app.Channel, index)
			if errors.Is(err, license.NotFound) || err == nil && p.Instance == "" {
				return ErrNoInstance
			}
			if err != nil {
				return fmt.Errorf("read what is pending for an instance: %w", err)
			}
			// Of what product it is, and with it the salt of its digests, is not known yet.
			if job.Sealed, err = a.codes.SealText(app.Device.Reveal(), "device "+app.Event); err != nil {
				return err
			}
			return a.enqueue(ctx, tx, out, job)
		case err != nil:
			return fmt.Errorf("look an instance up: %w", err)
		}
		inst, err := a.grantDevice(ctx, tx, l, app, now)
		if err != nil {
			return err
		}
		job.Install, out.License = inst.ID, l.ID
		return a.enqueue(ctx, tx, out, job)
	})
}

// deliverJob is the payload of a JobDeliver.
type deliverJob struct {
	Event    string    `json:"event"`
	Instance string    `json:"instance"`
	Install  string    `json:"install,omitzero"` // made already
	From     time.Time `json:"from,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Sealed   []byte    `json:"sealed,omitzero"` // the device, encrypted, where it is not made yet
}

// deliver hands a licence for a device to the marketplace; it makes it first
// where the order was not known when it was applied for.
func (a *Authority) deliver(ctx context.Context, j license.Job) (effect, error) {
	var p deliverJob
	if err := readPayload(j, &p); err != nil {
		return nil, err
	}
	ch, ok := a.channel(j.Channel)
	if !ok || ch.Desk == nil {
		return nil, errNoWay
	}
	l, inst, err := a.applied(ctx, j, p)
	if err != nil {
		return nil, err
	}
	file, err := a.deviceFile(ctx, inst)
	if err != nil {
		return nil, err
	}
	if err := ch.Desk.Deliver(ctx, p.Event, file); err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Append(ctx, license.AuditEvent{
			At: a.now(), Actor: license.Actor{Kind: license.ActorSystem, Name: "outbox"}, Action: license.ActionDeliver,
			License: l, Install: inst.ID, Request: p.Event, Note: "to " + j.Channel,
		})
		if err != nil {
			return fmt.Errorf("audit a delivery: %w", err)
		}
		return nil
	}, nil
}

// applied returns the install that an application was granted, and grants it
// where that was put off.
func (a *Authority) applied(ctx context.Context, j license.Job, p deliverJob) (licenseID string, inst license.Install, err error) {
	if p.Install != "" {
		err := a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
			inst, err = tx.Install(ctx, j.License, p.Install)
			return err
		})
		if err == nil && inst.State != license.InstallLive {
			err = license.Errorf(license.Unauthorized, "the licence of the device was ended before it was delivered")
		}
		return j.License, inst, err
	}
	index, _, err := a.instanceIndex(j.Channel, p.Instance)
	if err != nil {
		return "", inst, err
	}
	app := Application{Channel: j.Channel, Instance: p.Instance, Event: p.Event, From: p.From, Until: p.Until}
	device, err := a.codes.OpenText(p.Sealed, "device "+p.Event)
	if err == nil && device != "" {
		app.Device, err = license.ParseDevice(device)
	}
	if err != nil {
		return "", inst, license.Errorf(license.BadRequest, "the device of the application cannot be read").WithCause(err)
	}
	now, err := a.dated(ctx)
	if err != nil {
		return "", inst, err
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		l, err := tx.LicenseByCode(ctx, index)
		if errors.Is(err, license.NotFound) {
			return license.Errorf(license.UnknownLicense, "the order of the instance could not be read, so there is no licence to deliver")
		}
		if err != nil {
			return fmt.Errorf("look an instance up: %w", err)
		}
		licenseID = l.ID
		inst, err = a.grantDevice(ctx, tx, l, app, now)
		return err
	})
	return licenseID, inst, err
}

// outsideBy is by how much a licence for a device may outlast its order: the
// zone of an order's end is not documented.
const outsideBy = 24 * time.Hour

// grantDevice makes the licence for a device, or returns the one that the same
// application was granted before. A device that has one by another application
// keeps its place.
func (a *Authority) grantDevice(ctx context.Context, tx store.Tx, l license.License, app Application, now time.Time) (inst license.Install, err error) {
	product, err := a.product(l.Product)
	if err != nil {
		return inst, err
	}
	salt := license.ProductSalt(l.Product)
	var fp license.Fingerprint
	if !app.Device.IsZero() {
		fp = app.Device.Fingerprint(salt)
	}
	id := deviceInstall(l.ID, app, fp)
	old, err := tx.Install(ctx, l.ID, id)
	switch {
	case err == nil && old.State == license.InstallLive:
		return old, nil
	case err == nil:
		return inst, license.Errorf(license.Unauthorized, "the licence of this device was ended (%s)", old.State)
	case !errors.Is(err, license.NotFound):
		return inst, fmt.Errorf("look a device up: %w", err)
	}
	if err := mayApply(l, product, app, now); err != nil {
		return inst, err
	}
	c := &call{a: a, product: product, now: now, actor: license.Actor{Kind: license.ActorMarketplace, Name: app.Channel}}
	c.req.ID = app.Event
	c.req.Fingerprint = fp
	c.key, c.keys = a.custody.Current()
	if err := c.canSign(now); err != nil {
		return inst, err
	}
	inst = license.Install{ID: id, LicenseID: l.ID, State: license.InstallLive, BoundAt: now}
	if inst.Binding, err = license.BindDevice(product.Binding, fp); err != nil {
		return inst, ErrNeedsDevice
	}
	if inst.Seat, err = c.deviceSeat(ctx, tx, l); err != nil {
		return inst, err
	}
	if err := c.grantFor(ctx, tx, &inst, l, app); err != nil {
		return inst, err
	}
	next, changed, err := l.Apply(license.Change{Event: license.EventActivate, At: now})
	if err != nil {
		return inst, err
	}
	if changed {
		if err := tx.UpdateLicense(ctx, next); err != nil {
			return inst, fmt.Errorf("update %s: %w", l.ID, err)
		}
	}
	if err := tx.CreateInstall(ctx, inst); err != nil {
		return inst, fmt.Errorf("bind a device to %s: %w", l.ID, err)
	}
	inst.Revision = 1
	return inst, c.audit(ctx, tx, license.ActionBind, inst, map[string]any{"seat": inst.Seat, "device": true})
}

// mayApply refuses an application that the order does not allow.
func mayApply(l license.License, p license.Product, app Application, now time.Time) error {
	switch state := l.StateAt(now); state {
	case license.StateActive, license.StateIssued:
	case license.StateExpired, license.StateSuspended:
		return ErrOutside
	case license.StateReleased, license.StateRevoked:
		return license.Refused(state)
	}
	switch {
	case app.Device.IsZero() && p.Binding != license.PolicyNone:
		return ErrNeedsDevice
	case l.ExpiresAt.IsZero():
	case app.Until.IsZero():
		return ErrNeedsEnd
	case app.Until.After(l.ExpiresAt.Add(outsideBy)), app.From.After(l.ExpiresAt):
		return ErrOutside
	}
	if !app.Until.IsZero() && !app.Until.After(app.From) {
		return license.FieldErrorf("expireTime", "it is not after effectiveTime")
	}
	return nil
}

// deviceInstall is the id of the install that stands for an application. It has
// no key, so it is the thumbprint of none.
func deviceInstall(licenseID string, app Application, fp license.Fingerprint) string {
	sum := sha256.Sum256([]byte("licensed device v1\n" + licenseID + "\n" + app.Event + "\n" + string(fp.Code)))
	return license.DevicePrefix + base64.RawURLEncoding.EncodeToString(sum[:24])
}

// deviceSeat is the seat of a device: its own where it has one, else a free one.
func (c *call) deviceSeat(ctx context.Context, tx store.Tx, l license.License) (string, error) {
	installs, err := tx.Installs(ctx, l.ID)
	if err != nil {
		return "", fmt.Errorf("list installs of %s: %w", l.ID, err)
	}
	if err := c.tooOften(l, installs); err != nil {
		return "", err
	}
	seats := make(map[string]bool)
	for _, i := range installs {
		if i.State != license.InstallLive {
			continue
		}
		if i.Binding.Policy != license.PolicyNone && license.Match(i.Binding, c.req.Fingerprint).OK {
			return i.Seat, nil
		}
		seats[i.Seat] = true
	}
	if len(seats) >= l.Machines {
		return "", ErrQuota
	}
	return c.a.ids.New(license.SeatPrefix, c.now)
}

// grantFor writes the claims of the licence for a device. Nothing calls home for
// it, so it has no lease, and no install key that a renewal could be asked by.
func (c *call) grantFor(ctx context.Context, tx store.Tx, inst *license.Install, l license.License, app Application) error {
	jti, err := c.a.ids.New("", c.now)
	if err != nil {
		return err
	}
	s := c.product.ScheduleFor(l)
	s.Lease, s.Refresh = 0, forAges
	until := app.Until
	if until.IsZero() {
		until = l.ExpiresAt
	}
	claims := token.License{
		Issuer: c.keys.Issuer, ID: jti, LicenseID: l.ID, Product: l.Product, Dates: s.DatesFor(c.now, app.From, until),
		Customer: l.Customer, Order: l.Order, Channel: l.Channel, Features: l.Features, Machines: l.Machines, Mode: l.Mode,
		Binding: inst.Binding,
	}
	if claims.Status, err = c.listed(ctx, tx, inst); err != nil {
		return err
	}
	if inst.Answer, err = claims.Payload(); err != nil {
		return fmt.Errorf("make the claims of %s: %w", l.ID, err)
	}
	inst.Chain.RequestID = app.Event
	inst.SeenAt, inst.LeaseUntil = c.now, claims.Dates.LeaseUntil
	return nil
}

// forAges is when a licence for a device wants to be refreshed: never.
const forAges = 100 * 366 * 24 * time.Hour

// deviceFile is the licence file of a device, signed from what was granted.
func (a *Authority) deviceFile(ctx context.Context, inst license.Install) ([]byte, error) {
	s := signing{}
	s.key, s.keys = a.custody.Current()
	if err := s.canSign(inst.SeenAt); err != nil {
		return nil, err
	}
	raw, err := token.SignLicense(inst.Answer, s.key)
	if err != nil {
		return nil, fmt.Errorf("sign a licence of %s: %w", inst.LicenseID, err)
	}
	f := token.File{Licenses: []string{raw}, KeySets: []string{s.keys.Raw}}
	if inst.Status.List != "" {
		if list := a.lists.current(ctx, inst.Status); list != "" {
			f.Statuses = []string{list}
		}
	}
	return f.Marshal(), nil
}
