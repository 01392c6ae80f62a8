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
	file, err := a.deviceFile(inst)
	if err != nil {
		return nil, err
	}
	if err := ch.Desk.Deliver(ctx, p.Event, file); err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx store.Tx) error {
		outbox := license.Actor{Kind: license.ActorSystem, Name: "outbox"}
		if _, err := a.handed(ctx, tx, l, inst.ID, file); err != nil {
			return err
		}
		_, err := tx.Append(ctx, license.AuditEvent{
			At: a.now(), Actor: outbox, Action: license.ActionDeliver,
			License: l, Install: inst.ID, Request: p.Event, Note: "to " + j.Channel,
		})
		if err != nil {
			return fmt.Errorf("audit a delivery: %w", err)
		}
		return a.instanceDelivered(ctx, tx, outbox, l, p.Instance)
	}, nil
}

// applied returns the install that an application was granted, and grants it
// where that was put off.
func (a *Authority) applied(ctx context.Context, j license.Job, p deliverJob) (licenseID string, inst license.Install, err error) {
	if p.Install != "" {
		inst, err = a.granted(ctx, j, p)
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
			return errNotBought
		}
		if err != nil {
			return fmt.Errorf("look an instance up: %w", err)
		}
		if err := mayDeliver(l, now); err != nil {
			return err
		}
		licenseID = l.ID
		inst, err = a.grantDevice(ctx, tx, l, app, now)
		return err
	})
	return licenseID, inst, err
}

// granted returns the install that an application was granted when it came in.
func (a *Authority) granted(ctx context.Context, j license.Job, p deliverJob) (inst license.Install, err error) {
	now, err := a.dated(ctx)
	if err != nil {
		return inst, err
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		if inst, err = tx.Install(ctx, j.License, p.Install); err != nil {
			return err
		}
		if inst.State != license.InstallLive {
			return license.Errorf(license.Unauthorized, "the licence of the device was ended before it was delivered")
		}
		l, err := tx.License(ctx, j.License)
		if err != nil {
			return fmt.Errorf("read %s: %w", j.License, err)
		}
		if err := mayDeliver(l, now); err != nil {
			return err
		}
		app := Application{Channel: j.Channel, Instance: p.Instance, Event: p.Event, From: p.From, Until: p.Until}
		inst, err = a.stillSigned(ctx, tx, inst, l, app, now)
		return err
	})
	return inst, err
}

// mayDeliver refuses to hand over what ended since it was applied for. What is
// suspended is parked until that is lifted (deliverAgain).
func mayDeliver(l license.License, now time.Time) error {
	switch state := l.StateAt(now); state {
	case license.StateReleased, license.StateRevoked, license.StateSuspended:
		return license.Refused(state)
	case license.StateActive, license.StateIssued, license.StateExpired:
	}
	return nil
}

// deliverAgain has the deliveries tried again that were parked while l was
// suspended.
func (t *settlingTx) deliverAgain(ctx context.Context, l license.License) error {
	jobs, _, err := t.Jobs(ctx, store.JobFilter{State: license.JobParked, Kind: license.JobDeliver, Channel: l.Channel}, store.Page{Limit: store.MaxPage})
	if err != nil {
		return fmt.Errorf("list what was not delivered: %w", err)
	}
	for _, j := range jobs {
		if j.Key != instanceKey(l.Channel, l.Instance) || !strings.HasPrefix(j.Failure, string(license.Suspended)) {
			continue
		}
		j.ParkedAt, j.DueAt, j.Attempts = time.Time{}, j.ParkedAt, 0
		if err := t.UpdateJob(ctx, j); err != nil {
			return fmt.Errorf("deliver again: %w", err)
		}
		t.queued = true
	}
	return nil
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
	fp := deviceFingerprint(l, app.Device)
	id := deviceInstall(l.ID, app, fp)
	old, err := tx.Install(ctx, l.ID, id)
	switch {
	case err == nil && old.State == license.InstallLive:
		return a.stillSigned(ctx, tx, old, l, app, now)
	case err == nil:
		return inst, license.Errorf(license.Unauthorized, "the licence of this device was ended (%s)", old.State)
	case !errors.Is(err, license.NotFound):
		return inst, fmt.Errorf("look a device up: %w", err)
	}
	if err := mayApply(l, product, app, now); err != nil {
		return inst, err
	}
	return a.bindDevice(ctx, tx, l, deviceGrant{
		id: id, fingerprint: fp, device: deviceDigest(l, app.Device), from: app.From, until: app.Until, request: app.Event,
		actor: license.Actor{Kind: license.ActorMarketplace, Name: app.Channel},
	}, now)
}

// stillSigned returns the licence that an application was granted, made anew where
// the key that signs was born after it: nobody could verify it under that key.
func (a *Authority) stillSigned(ctx context.Context, tx store.Tx, old license.Install, l license.License, app Application, now time.Time) (license.Install, error) {
	s := signing{}
	if s.key, s.keys = a.custody.Current(); s.canSign(old.SeenAt) == nil {
		return old, nil
	}
	product, err := a.product(l.Product)
	if err != nil {
		return old, err
	}
	g := deviceGrant{from: app.From, until: app.Until, request: app.Event, actor: license.Actor{Kind: license.ActorMarketplace, Name: app.Channel}}
	c, err := a.deviceCall(product, g, now)
	if err != nil {
		return old, err
	}
	return c.grantAgain(ctx, tx, old, l, g)
}

// deviceGrant is what a licence for a device is made of, whoever asked for it.
type deviceGrant struct {
	id          string // of the install that stands for it
	fingerprint license.Fingerprint
	device      license.Digest // of the device's name as an identification code
	from, until time.Time      // zero: from now on, and to the end of the licence
	request     string         // the flow number, where a marketplace asked
	actor       license.Actor
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

// deviceCall is a call that stands for a device, which signs nothing itself.
func (a *Authority) deviceCall(product license.Product, g deviceGrant, now time.Time) (*call, error) {
	c := &call{a: a, product: product, now: now, actor: g.actor}
	c.req.ID, c.req.Fingerprint = g.request, g.fingerprint
	c.key, c.keys = a.custody.Current()
	return c, c.canSign(now)
}

// bindDevice gives a device a place of the licence, and makes its licence.
func (a *Authority) bindDevice(ctx context.Context, tx store.Tx, l license.License, g deviceGrant, now time.Time) (inst license.Install, err error) {
	product, err := a.product(l.Product)
	if err != nil {
		return inst, err
	}
	c, err := a.deviceCall(product, g, now)
	if err != nil {
		return inst, err
	}
	inst = license.Install{ID: g.id, LicenseID: l.ID, State: license.InstallLive, BoundAt: now, Device: g.device}
	if inst.Binding, err = license.BindDevice(product.Binding, g.fingerprint); err != nil {
		return inst, ErrNeedsDevice
	}
	if inst.Seat, err = c.deviceSeat(ctx, tx, l); err != nil {
		return inst, err
	}
	if err := c.grantFor(ctx, tx, &inst, l, g); err != nil {
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
	switch {
	case app.Until.IsZero():
	case !app.Until.After(app.From):
		return license.FieldErrorf("expireTime", "it is not after effectiveTime")
	case !app.Until.After(now):
		return ErrOutside
	}
	if app.From.Year() < firstYear || app.From.After(license.Forever) {
		return license.FieldErrorf("effectiveTime", "it is no time at which a licence begins")
	}
	return nil
}

// deviceInstall is the id of the install that stands for an application. It has
// no key, so it is the thumbprint of none.
func deviceInstall(licenseID string, app Application, fp license.Fingerprint) string {
	sum := sha256.Sum256([]byte("licensed device v1\n" + licenseID + "\n" + app.Event + "\n" + string(fp.Code)))
	return license.DevicePrefix + base64.RawURLEncoding.EncodeToString(sum[:24])
}

// firstYear is before there was a marketplace.
const firstYear = 2000

// deviceSeat is the seat of a device: its own where it has one, else a free one.
// A seat is that of the device that took it: who is like one that came to it
// later has another, or devices could be chained. One whose licences have all run
// out is free again.
func (c *call) deviceSeat(ctx context.Context, tx store.Tx, l license.License) (string, error) {
	installs, err := tx.Installs(ctx, l.ID)
	if err != nil {
		return "", fmt.Errorf("list installs of %s: %w", l.ID, err)
	}
	if err := c.tooOften(l, installs); err != nil {
		return "", err
	}
	mine, first, taken := "", make(map[string]bool), make(map[string]bool)
	slices.SortStableFunc(installs, func(a, b license.Install) int { return a.BoundAt.Compare(b.BoundAt) })
	for _, i := range installs {
		if i.State != license.InstallLive || seatless(i) {
			continue
		}
		founder := !first[i.Seat]
		first[i.Seat] = true
		if i.Device == "" || c.now.Before(i.LeaseUntil) {
			taken[i.Seat] = true
		}
		same := i.Device != "" && i.Device == c.req.Fingerprint.Code
		like := founder && i.Binding.Policy != license.PolicyNone && license.Match(i.Binding, c.req.Fingerprint).OK
		if same || like && mine == "" {
			mine = i.Seat
		}
	}
	switch {
	case mine != "" && (taken[mine] || len(taken) < l.Machines):
		return mine, nil
	case len(taken) >= l.Machines:
		return "", ErrQuota
	}
	return c.a.ids.New(license.SeatPrefix, c.now)
}

// grantFor writes the claims of the licence for a device. Nothing calls home for
// it, so it has no lease, and no install key that a renewal could be asked by.
func (c *call) grantFor(ctx context.Context, tx store.Tx, inst *license.Install, l license.License, g deviceGrant) error {
	jti, err := c.a.ids.New("", c.now)
	if err != nil {
		return err
	}
	if _, err := c.listed(ctx, tx, inst); err != nil {
		return err
	}
	claims := c.deviceClaims(*inst, l, g, jti, c.now)
	if inst.Answer, err = claims.Payload(); err != nil {
		return fmt.Errorf("make the claims of %s: %w", l.ID, err)
	}
	inst.Chain.Last, inst.Chain.RequestID = jti, g.request
	inst.SeenAt, inst.LeaseUntil = c.now, claims.Dates.LeaseUntil
	return nil
}

// grantAgain makes another licence for a device that has one.
func (c *call) grantAgain(ctx context.Context, tx store.Tx, old license.Install, l license.License, g deviceGrant) (license.Install, error) {
	inst := old.Clone()
	if !c.now.After(old.SeenAt) {
		c.now = old.SeenAt.Add(time.Second) // of two licences of one device the later counts
	}
	if err := c.grantFor(ctx, tx, &inst, l, g); err != nil {
		return old, err
	}
	if err := tx.UpdateInstall(ctx, inst); err != nil {
		return old, fmt.Errorf("update an install of %s: %w", l.ID, err)
	}
	inst.Revision++
	return inst, c.audit(ctx, tx, license.ActionRefresh, inst, map[string]any{"device": true})
}

// deviceClaims are the claims of the licence for a device that has its place in
// a status list, issued at an instant under an id.
func (c *call) deviceClaims(inst license.Install, l license.License, g deviceGrant, jti string, at time.Time) token.License {
	s := c.product.ScheduleFor(l)
	s.Lease, s.Refresh = 0, forAges
	until := g.until
	if until.IsZero() {
		until = l.ExpiresAt
	}
	return token.License{
		Issuer: c.keys.Issuer, ID: jti, LicenseID: l.ID, Product: l.Product, Dates: s.DatesFor(at, g.from, until),
		Customer: l.Customer, Order: l.Order, Channel: l.Channel, CodeLast4: codeEnd(l), Features: l.Features, Machines: l.Machines, Mode: l.Mode,
		Binding: inst.Binding, Status: token.StatusPlace{URI: statusURI(c.keys.Issuer, inst.Status.List), Index: inst.Status.Index},
	}
}

// forAges is when a licence for a device wants to be refreshed: never.
const forAges = 100 * 366 * 24 * time.Hour

// deviceFile is the licence file of a device, signed from what was granted. It
// holds no status list: that would make another file of it each quarter of an
// hour, and the same application gets the same.
func (a *Authority) deviceFile(inst license.Install) ([]byte, error) {
	f, err := a.signDevice(inst)
	if err != nil {
		return nil, err
	}
	return f.Marshal(), nil
}

// signDevice signs what a device was granted. The same grant gives the same file
// as long as the keys stay the same.
func (a *Authority) signDevice(inst license.Install) (token.File, error) {
	s := signing{}
	s.key, s.keys = a.custody.Current()
	if err := s.canSign(inst.SeenAt); err != nil {
		return token.File{}, err
	}
	raw, err := token.SignLicense(inst.Answer, s.key)
	if err != nil {
		return token.File{}, fmt.Errorf("sign a licence of %s: %w", inst.LicenseID, err)
	}
	return token.File{Licenses: []string{raw}, KeySets: []string{s.keys.Raw}}, nil
}

// handed records the file in which the licence of a device was handed out.
func (a *Authority) handed(ctx context.Context, tx store.Tx, licenseID, installID string, file []byte) (license.Install, error) {
	inst, err := tx.Install(ctx, licenseID, installID)
	if err != nil {
		return inst, fmt.Errorf("look a device up: %w", err)
	}
	sum := sha256.Sum256(file)
	if bytes.Equal(inst.Handed.SHA256, sum[:]) {
		return inst, nil
	}
	inst.Handed = license.Handed{At: a.now(), SHA256: sum[:]}
	if err := tx.UpdateInstall(ctx, inst); err != nil {
		return inst, fmt.Errorf("record a file that was handed out: %w", err)
	}
	inst.Revision++
	return inst, nil
}
