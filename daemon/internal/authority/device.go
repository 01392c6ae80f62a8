package authority

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
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
	a.lookFirst()
	return a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		if err := markSeen(ctx, tx, app.ReplayKey, app.SentAt.Add(store.MarkKept), now); err != nil {
			return err
		}
		job := deliverJob{Event: app.Event, Instance: app.Instance, From: app.From, Until: app.Until}
		out := license.Job{Kind: license.JobDeliver, Key: instanceKey(app.Channel, app.Instance), Channel: app.Channel}
		l, err := a.provisioned(ctx, tx, app.Channel, index)
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
	file, err := a.signDevice(inst)
	if err != nil {
		return nil, err
	}
	note := "to " + j.Channel
	err = ch.Desk.Deliver(ctx, p.Event, file)
	if j.Unsure && errors.Is(err, ErrNoApplication) {
		// What was not answered has arrived, or the application is gone: nothing is
		// left to be done in either case.
		note, err = note+", as it seems: an attempt was not answered, and now no application waits for it any more", nil
	}
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx store.Tx) error {
		outbox := license.Actor{Kind: license.ActorSystem, Name: "outbox"}
		if _, err := a.handed(ctx, tx, l, inst.ID, file); err != nil {
			return err
		}
		_, err := tx.Append(ctx, license.AuditEvent{
			At: a.now(), Actor: outbox, Action: license.ActionDeliver,
			License: l, Install: inst.ID, Request: p.Event, Note: note,
		})
		if err != nil {
			return fmt.Errorf("audit a delivery: %w", err)
		}
		return a.instanceDelivered(ctx, tx, outbox, j.Channel, l, p.Instance)
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
	a.lookFirst()
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		l, err := a.provisioned(ctx, tx, j.Channel, index)
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
	a.lookFirst()
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
		c, err := a.forApplication(l, app, now)
		if err != nil {
			return err
		}
		inst, err = c.again(ctx, tx, inst)
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
	jobs, _, err := t.Jobs(ctx, store.JobFilter{State: license.JobParked, Kind: license.JobDeliver}, store.Page{Limit: store.MaxPage})
	if err != nil {
		return fmt.Errorf("list what was not delivered: %w", err)
	}
	for _, j := range jobs {
		if j.Key != instanceKey(j.Channel, l.Instance) || !strings.HasPrefix(j.Failure, string(license.Suspended)) {
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
func (a *Authority) grantDevice(ctx context.Context, tx store.Tx, l license.License, app Application, now time.Time) (license.Install, error) {
	c, err := a.forApplication(l, app, now)
	if err != nil {
		return license.Install{}, err
	}
	inst, live, err := c.find(ctx, tx)
	if err != nil {
		return inst, err
	}
	if _, known := inst.Granted(app.Event); known {
		return c.again(ctx, tx, inst)
	}
	if err := mayApply(l, c.product, app, now); err != nil {
		return inst, err
	}
	return c.bind(ctx, tx, inst, live)
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

// firstYear is before there was a marketplace.
const firstYear = 2000

// handed records the file in which the licence of a device was handed out.
func (a *Authority) handed(ctx context.Context, tx store.Tx, licenseID, installID string, file []byte) (license.Install, error) {
	inst, err := tx.Install(ctx, licenseID, installID)
	if err != nil {
		return inst, fmt.Errorf("look a device up: %w", err)
	}
	sum := sha256.Sum256(file)
	inst, other := inst.WithHanded(license.Handed{At: a.now(), SHA256: sum[:]})
	if !other {
		return inst, nil
	}
	inst.SignedBy = signerOf(file)
	if err := tx.UpdateInstall(ctx, inst); err != nil {
		return inst, fmt.Errorf("record a file that was handed out: %w", err)
	}
	inst.Revision++
	return inst, nil
}
