// Package market connects a marketplace entry to the authority: its callbacks
// become messages, its open API becomes the authority's upstream. It
// translates and decides nothing.
package market

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
)

// Options describe one marketplace entry.
type Options struct {
	Name      string // of the entry, and the channel of its licences
	Authority *authority.Authority
	Location  *time.Location // of expireTime; nil is UTC
	Log       *slog.Logger
	Now       func() time.Time // nil is time.Now

	// Desk says that the open API can be reached: instances need it.
	Desk bool

	// V1 says that the GET calls of licence 1.0 are answered too (CallbacksV1),
	// within V1Window of now.
	V1       bool
	V1Window time.Duration

	// SelfTest is the mark by which this process knows the calls of its own
	// self-test, which are not counted; "" for none. It is a secret.
	SelfTest string

	// AccessKeys may have signed a callback; several while one is being
	// exchanged. They are secrets.
	AccessKeys []string
}

// Callbacks is the handler of an entry's production address. It answers with
// HTTP 200 and a result code, always after the change is on disk.
func Callbacks(o Options) http.Handler {
	e, keys := newEntry(o)
	return marked(o.SelfTest, &koogallery.Handler{
		Verifier: &koogallery.Verifier{Keys: keys, Now: o.Now},
		Location: o.Location, Activities: activities(o.Desk), Answer: e.answer, Observe: e.observe,
	})
}

type entry struct {
	name      string
	authority *authority.Authority
	log       *slog.Logger
	now       func() time.Time
	strangers tally
	refusals  tallies
}

func newEntry(o Options) (*entry, []koogallery.AccessKey) {
	e := &entry{name: o.Name, authority: o.Authority, log: o.Log.With("marketplace", o.Name), now: o.Now}
	if e.now == nil {
		e.now = time.Now //nolint:forbidigo // the one default of Now
	}
	keys := make([]koogallery.AccessKey, 0, len(o.AccessKeys))
	for _, k := range o.AccessKeys {
		keys = append(keys, koogallery.NewAccessKey(k))
	}
	return e, keys
}

// activities are those that an entry understands.
func activities(desk bool) []koogallery.Activity {
	out := koogallery.LicenseCodeActivities()
	if desk {
		out = append(append(out, koogallery.InstanceActivities()...), koogallery.ActivityOrderNotify)
	}
	return out
}

func (e *entry) answer(ctx context.Context, cb koogallery.Callback, msg koogallery.Message) (koogallery.Result, error) {
	result, err := e.obey(ctx, cb, msg)
	if err != nil {
		return koogallery.Result{}, refused(msg, err)
	}
	return result, nil
}

// refused is an error as the one that answers it.
func refused(msg koogallery.Message, err error) error {
	if _, ok := errors.AsType[*koogallery.ResultError](err); ok {
		return err
	}
	if code, field := refusal(err); code != "" {
		return &koogallery.ResultError{Code: code, Field: field, Err: err}
	}
	return fmt.Errorf("apply %s: %w", msg.Activity(), err)
}

// obey does what a message says.
func (e *entry) obey(ctx context.Context, cb koogallery.Callback, msg koogallery.Message) (koogallery.Result, error) {
	done := koogallery.Result{Code: koogallery.ResultOK}
	key := cb.Replay.Signature[:]
	switch msg := msg.(type) {
	case koogallery.NewInstance:
		id, err := e.authority.NewInstance(ctx, authority.Purchase{
			Channel: e.name, Order: msg.OrderID, Line: msg.OrderLineID, Business: msg.BusinessID, SentAt: cb.Time, ReplayKey: key,
		})
		done.InstanceID = id
		return done, err
	case koogallery.OrderNotify:
		return done, e.authority.Notice(ctx, authority.Notice{
			Channel: e.name, Order: msg.OrderID, Line: msg.OrderLineID, SentAt: cb.Time, ReplayKey: key,
		})
	case koogallery.GetLicenseAsync:
		return e.apply(ctx, cb, msg)
	}
	m := authority.Message{Channel: e.name, SentAt: cb.Time, ReplayKey: key}
	if err := meaning(msg, &m); err != nil {
		return done, err
	}
	out, err := e.authority.Message(ctx, m)
	if err == nil {
		e.tell(ctx, msg, m, out)
	}
	return done, err
}

// apply takes an application for a device's licence. It is delivered afterwards,
// so the answer is that it is in progress.
func (e *entry) apply(ctx context.Context, cb koogallery.Callback, msg koogallery.GetLicenseAsync) (koogallery.Result, error) {
	app := authority.Application{
		Channel: e.name, Instance: msg.InstanceID, Event: msg.EventID, From: msg.EffectiveTime, Until: msg.ExpireTime,
		SentAt: cb.Time, ReplayKey: cb.Replay.Signature[:],
	}
	// The string of a device of which nothing could be read has its bars only.
	if text := msg.DeviceFingerprint.Reveal(); strings.Trim(text, "| ,") != "" {
		var err error
		if app.Device, err = license.ParseDevice(text); err != nil {
			return koogallery.Result{}, &koogallery.ResultError{Code: koogallery.ResultInvalidParam, Field: "deviceFingerprint", Err: err}
		}
	}
	return koogallery.Result{Code: koogallery.ResultInProgress}, e.authority.Apply(ctx, app)
}

// meaning reads what a message says about a code or an instance.
func meaning(msg koogallery.Message, m *authority.Message) error {
	var code koogallery.Code
	var end time.Time
	switch msg := msg.(type) {
	case koogallery.RefreshLicenseCode:
		m.Event, end, m.Order, code = license.EventSetExpiry, msg.ExpireTime, msg.OrderID, msg.License
		m.Product, m.Undone = msg.ProductID, msg.Scene == koogallery.SceneUnsubscribeRenewalPeriod
	case koogallery.RefreshInstance:
		m.Event, end, m.Order, m.Instance = license.EventSetExpiry, msg.ExpireTime, msg.OrderID, msg.InstanceID
		m.Line, m.Product, m.Undone = msg.OrderLineID, msg.ProductID, msg.Scene == koogallery.SceneUnsubscribeRenewalPeriod
	case koogallery.UpdateLicenseCodeStatus:
		m.Event, code = hold(msg.Status), msg.License
	case koogallery.UpdateInstanceStatus:
		m.Event, m.Instance = hold(msg.Status), msg.InstanceID
	case koogallery.ReleaseLicenseCode:
		m.Event, m.Order, code = license.EventRelease, msg.OrderID, msg.License
	case koogallery.ReleaseInstance:
		m.Event, m.Order, m.Instance = license.EventRelease, msg.OrderID, msg.InstanceID
	default:
		return &koogallery.ResultError{Code: koogallery.ResultInvalidParam, Field: "activity"}
	}
	if m.Event == license.EventSetExpiry {
		var err error
		if m.ExpiresAt, err = endOf(end); err != nil {
			return err
		}
	}
	if m.Instance != "" {
		return nil
	}
	var err error
	if m.Code, err = license.ParseCode(code.Reveal()); err != nil {
		return &koogallery.ResultError{Code: koogallery.ResultInvalidParam, Field: "license", Err: err}
	}
	return nil
}

// endOf is an end that a message names.
func endOf(end time.Time) (time.Time, error) {
	kept, err := believable(end)
	if err != nil || end.IsZero() {
		return end, &koogallery.ResultError{Code: koogallery.ResultInvalidParam, Field: "expireTime"}
	}
	return kept, nil
}

func hold(s koogallery.Status) license.Event {
	if s == koogallery.StatusUnfreeze {
		return license.EventUnfreeze
	}
	return license.EventFreeze
}

// refusal is the result code of what the authority refuses, "" where it failed.
func refusal(err error) (code koogallery.ResultCode, field string) {
	for _, r := range []struct {
		err  error
		code koogallery.ResultCode
	}{
		{license.Replayed, koogallery.ResultAuthFailed},
		{authority.ErrNoInstance, koogallery.ResultUnknownCode},
		{authority.ErrQuota, koogallery.ResultQuotaUsed},
		{license.RateLimited, koogallery.ResultQuotaUsed},  // no code says that a device asks too often
		{license.Unauthorized, koogallery.ResultQuotaUsed}, // or that the merchant has ended its licence
		{authority.ErrOutside, koogallery.ResultOutsidePeriod},
		{authority.ErrNeedsEnd, koogallery.ResultExpiryRequired},
		{authority.ErrNeedsDevice, koogallery.ResultDeviceRequired},
		{license.Released, koogallery.ResultUnknownCode},
		{license.Revoked, koogallery.ResultUnknownCode},
		{license.Suspended, koogallery.ResultUnknownCode}, // licence 1.0: there is none that could be handed over
	} {
		if errors.Is(err, r.err) {
			return r.code, ""
		}
	}
	if e, ok := errors.AsType[*license.Error](err); ok && e.Reason == license.BadRequest {
		return koogallery.ResultInvalidParam, e.Field
	}
	return "", ""
}

// firstYear is before there was a marketplace: an earlier end is a mistake, and
// the first instant of the calendar would read as no end at all.
const firstYear = 2000

// tell reports what somebody may have to look at.
func (e *entry) tell(ctx context.Context, msg koogallery.Message, m authority.Message, out authority.Outcome) {
	attrs := []slog.Attr{
		slog.String("activity", string(msg.Activity())), slog.String("event", string(m.Event)),
		slog.String("license", out.License),
	}
	if m.Instance != "" {
		attrs = append(attrs, slog.String("instance", m.Instance))
	} else {
		attrs = append(attrs, slog.String("code", m.Code.String()))
	}
	if out.Elsewhere != "" {
		e.log.LogAttrs(ctx, slog.LevelWarn, "the marketplace names another product than the licence is of, which stays what it is",
			append(slices.Clone(attrs), slog.String("product", cut(out.Elsewhere)))...)
	}
	switch {
	case out.License == "":
		e.log.LogAttrs(ctx, slog.LevelWarn, "a message about a code that is not known here was recorded", attrs...)
	case out.Late:
		e.log.LogAttrs(ctx, slog.LevelWarn, "a message was ignored: a newer one was heard, or the licence has ended", attrs...)
	default:
		e.log.LogAttrs(ctx, slog.LevelInfo, "marketplace message", append(attrs, slog.Bool("changed", out.Changed))...)
	}
}
