package authority

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// MaxIssue is how many licences one call issues at most.
const MaxIssue = 1000

// Order is what the merchant issues by hand. Zero fields follow the product.
type Order struct {
	Product   string
	Customer  string
	Order     string
	ExpiresAt time.Time     // either this
	For       time.Duration // or this, from now
	Perpetual bool          // or this; exactly one is required
	Machines  int
	Features  license.Features // in addition to, or instead of, those of the product
	Phases    license.Phases   // instead of those of the product
	Count     int              // how many; zero means one
	Overage   *int             // instead of the product's
	Trial     bool             // to try the product out: it lasts as long as the product says where no end is given
}

// Issued is a new licence with its code, which is shown this once.
type Issued struct {
	License license.License
	Code    license.Code
}

// Issue makes licences: all of them, or none.
func (a *Authority) Issue(ctx context.Context, actor license.Actor, o Order) ([]Issued, error) {
	now, err := a.dated(ctx)
	if err != nil {
		return nil, err
	}
	l, err := a.draft(o, now)
	if err != nil {
		return nil, err
	}
	return a.create(ctx, actor, now, slices.Repeat([]license.License{l}, max(o.Count, 1)))
}

// draft checks an order and makes the licence that it asks for, but for id and code.
func (a *Authority) draft(o Order, now time.Time) (license.License, error) {
	p, ok := a.products[o.Product]
	if !ok {
		return license.License{}, license.FieldErrorf("product", "there is no product %q", printable(o.Product))
	}
	if o.Trial && o.ExpiresAt.IsZero() && o.For == 0 && !o.Perpetual {
		o.For = p.Trial.For
	}
	if err := oneEnd(o.ExpiresAt, o.For, o.Perpetual); err != nil {
		return license.License{}, err
	}
	switch {
	case o.Trial && o.Perpetual:
		return license.License{}, license.FieldErrorf("perpetual", "a trial has an end")
	case o.Count < 0 || o.Count > MaxIssue:
		return license.License{}, license.FieldErrorf("count", "the count must be between 1 and %d", MaxIssue)
	case o.Machines < 0 || o.Machines > 1_000_000:
		return license.License{}, license.FieldErrorf("machines", "the number of machines must be between 1 and 1000000")
	}
	if err := errors.Join(plain("customer", o.Customer, 256), plain("order", o.Order, 128), o.Phases.Check(), license.CheckOverage(o.Overage)); err != nil {
		return license.License{}, err
	}
	for name := range o.Features {
		if err := plain("features", name, 128); err != nil {
			return license.License{}, err
		}
	}
	l := license.License{
		Product: p.ID, Channel: license.ChannelManual, Customer: o.Customer, Order: o.Order,
		Machines: p.Machines, Mode: p.Mode, Features: merge(p.Features, o.Features), Phases: o.Phases,
		IssuedAt: now, Overage: o.Overage, Trial: o.Trial,
	}
	if o.Machines > 0 {
		l.Machines = o.Machines
	}
	var err error
	if l.ExpiresAt, err = end(o.ExpiresAt, o.For, now, now); err != nil {
		return license.License{}, err
	}
	return l, fits(l)
}

func (a *Authority) issueOne(draft license.License, now time.Time) (Issued, error) {
	l := draft.Clone()
	code, err := license.NewCode(a.random)
	if err != nil {
		return Issued{}, err
	}
	if l.ID, err = a.ids.New(license.LicensePrefix, now); err != nil {
		return Issued{}, err
	}
	l.Code = license.StoredCode{Last4: code.Last4(), Index: a.codes.Index(code)}
	if l.Code.Sealed, err = a.codes.Seal(code, l.ID); err != nil {
		return Issued{}, fmt.Errorf("seal a code: %w", err)
	}
	l.Revision = 1
	return Issued{License: l, Code: code}, nil
}

// merge lays features over those of a product; one without a value takes away.
func merge(base, over license.Features) license.Features {
	out := make(license.Features, len(base)+len(over))
	maps.Copy(out, base)
	for name, f := range over {
		if f.On() {
			out[name] = f
		} else {
			delete(out, name)
		}
	}
	return out
}

// oneEnd refuses none and several of the ways to give an end.
func oneEnd(at time.Time, in time.Duration, perpetual bool) error {
	given := 0
	for _, is := range []bool{!at.IsZero(), in != 0, perpetual} {
		if is {
			given++
		}
	}
	if given != 1 {
		return license.FieldErrorf("expires_at", "exactly one of an end, a duration and perpetual is required")
	}
	return nil
}

// end is the instant that a licence ends at: the given one, or so long after
// from. Neither is no end. It must lie ahead and within the calendar.
func end(at time.Time, in time.Duration, from, now time.Time) (time.Time, error) {
	if in != 0 {
		at = from.Add(in)
	}
	switch {
	case at.IsZero():
		return time.Time{}, nil
	case in < 0 || !at.After(now):
		return time.Time{}, license.FieldErrorf("expires_at", "the end, %s, is not in the future", at.UTC().Format(time.RFC3339))
	case !at.Before(license.Forever):
		return time.Time{}, license.FieldErrorf("expires_at", "the end is past the year 9999; use perpetual")
	}
	return at.UTC().Truncate(time.Second), nil
}

// Edit is one change of a licence by the merchant: EventRenew, EventEdit,
// EventUpgrade, EventSuspend, EventResume, EventRelease, EventRevoke or EventUndoRevoke.
type Edit struct {
	Event     license.Event
	ExpiresAt time.Time     // EventRenew, EventUpgrade: either this
	For       time.Duration // or this, from the later of now and the present end
	Perpetual bool          // or this
	Phases    PhaseEdit     // EventEdit; nil leaves them
	Overage   OverageEdit   // EventEdit; nil leaves it
	Upgrade   UpgradeTo     // EventUpgrade
	// Force does it where a policy is against it: EventRenew, and EventUpgrade with an
	// end, longer after the end than the product lets it, EventUpgrade to a product that live installs cannot use.
	Force  bool
	Reason string // EventRevoke: required
}

// PhaseEdit makes what a licence says of its own about its phases of what it
// said before. It must do the same each time.
type PhaseEdit func(license.Phases) license.Phases

// OverageEdit does the same with the overage of its own, nil for none.
type OverageEdit func(*int) *int

// Edit changes the licence that ref names, by id or by code, and reports
// whether anything changed.
func (a *Authority) Edit(ctx context.Context, actor license.Actor, ref string, e Edit) (l license.License, changed bool, err error) {
	now, err := a.dated(ctx)
	if err != nil {
		return license.License{}, false, err
	}
	if e.Event == license.EventRevoke && e.Reason == "" {
		return license.License{}, false, license.FieldErrorf("reason", "a revocation needs a reason")
	}
	if err := plain("reason", e.Reason, 512); err != nil {
		return license.License{}, false, err
	}
	err = a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		forced := false
		was, err := a.find(ctx, tx, ref)
		if err != nil {
			return err
		}
		change := license.Change{Event: e.Event, At: now, Reason: e.Reason, Undo: a.undo}
		if e.Event == license.EventRenew {
			if change.ExpiresAt, err = renewed(was, e, now); err != nil {
				return err
			}
		}
		if e.Event == license.EventEdit {
			if err := e.own(was, &change); err != nil {
				return err
			}
		}
		if e.Event == license.EventUpgrade {
			if change.Upgrade, change.ExpiresAt, err = a.upgraded(was, e, now); err != nil {
				return err
			}
		}
		if e.Event == license.EventRenew || e.Event == license.EventUpgrade {
			if forced, err = a.mayRenew(was, e, now); err != nil {
				return err
			}
		}
		if l, changed, err = was.Apply(change); err != nil || !changed {
			return err
		}
		if e.Event == license.EventUpgrade {
			ended, err := a.fitsInstalls(ctx, tx, was, l, e, actor, now)
			if err != nil {
				return err
			}
			forced = forced || ended
		}
		if l.OwnEnd && !was.OwnEnd {
			l.SoldUntil = was.ExpiresAt
		}
		if err := tx.UpdateLicense(ctx, l); err != nil {
			return fmt.Errorf("update %s: %w", l.ID, err)
		}
		l.Revision++
		before, after := difference(was, l)
		if forced {
			after["forced"] = true
		}
		_, err = tx.Append(ctx, license.AuditEvent{
			At: now, Actor: actor, Action: license.ActionOf(e.Event), License: l.ID, Product: l.Product,
			Before: before, After: after, Note: e.Reason,
		})
		return err
	})
	if err != nil {
		return license.License{}, false, err
	}
	return l, changed, nil
}

// renewed is the end that a renewal asks for.
func renewed(l license.License, e Edit, now time.Time) (time.Time, error) {
	if err := oneEnd(e.ExpiresAt, e.For, e.Perpetual); err != nil {
		return time.Time{}, err
	}
	if e.For > 0 && l.ExpiresAt.IsZero() {
		return time.Time{}, license.FieldErrorf("for", "the licence has no end that could be moved; give an end instead")
	}
	from := now
	if l.ExpiresAt.After(now) {
		from = l.ExpiresAt
	}
	return end(e.ExpiresAt, e.For, from, now)
}

// find returns the licence that a person names by id or by code.
func (a *Authority) find(ctx context.Context, tx store.Tx, ref string) (license.License, error) {
	unknown := license.Errorf(license.UnknownLicense, "there is no such licence")
	var l license.License
	var err error
	if license.IsLicenseID(ref) {
		l, err = tx.License(ctx, ref)
	} else {
		code, bad := license.ParseCode(ref)
		if bad != nil {
			return license.License{}, unknown.WithCause(bad)
		}
		l, err = tx.LicenseByCode(ctx, a.codes.Index(code))
	}
	if errors.Is(err, license.NotFound) {
		return license.License{}, unknown
	}
	return l, err
}

// License returns the licence that ref names, by id or by code, and its installs.
func (a *Authority) License(ctx context.Context, ref string) (l license.License, installs []license.Install, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		if l, err = a.find(ctx, tx, ref); err != nil {
			return err
		}
		installs, err = tx.Installs(ctx, l.ID)
		return err
	})
	return l, installs, err
}

// What selects and pages lists is the store's, so that both mean the same.
type (
	// Filter selects licences.
	Filter = store.Filter
	// EventFilter selects audit events.
	EventFilter = store.EventFilter
	// Page asks for a part of a list.
	Page = store.Page
)

// Listed is a licence with its installs.
type Listed struct {
	License  license.License
	Installs []license.Install
}

// Licenses lists licences, oldest first. The filter's Now is set here.
func (a *Authority) Licenses(ctx context.Context, f Filter, p Page) (out []Listed, next string, err error) {
	f.Now = a.now()
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		out = nil
		var ls []license.License
		if ls, next, err = tx.Licenses(ctx, f, p); err != nil {
			return err
		}
		for _, l := range ls {
			installs, err := tx.Installs(ctx, l.ID)
			if err != nil {
				return err
			}
			out = append(out, Listed{License: l, Installs: installs})
		}
		return nil
	})
	return out, next, err
}

// Events lists the audit log, oldest first.
func (a *Authority) Events(ctx context.Context, f EventFilter, p Page) (events []license.AuditEvent, next string, err error) {
	err = a.store.View(ctx, func(ctx context.Context, tx store.Tx) error {
		events, next, err = tx.Events(ctx, f, p)
		return err
	})
	return events, next, err
}

// Now is the server's time: what states in answers are computed for.
func (a *Authority) Now() time.Time { return a.now() }

// difference is what changed between two records, by the names of the admin
// API, without secrets.
func difference(was, is license.License) (before, after map[string]any) {
	before, after = map[string]any{}, map[string]any{}
	put := func(name string, differs bool, b, a any) {
		if differs {
			before[name], after[name] = b, a
		}
	}
	put("customer", was.Customer != is.Customer, was.Customer, is.Customer)
	put("order", was.Order != is.Order, was.Order, is.Order)
	put("machines", was.Machines != is.Machines, was.Machines, is.Machines)
	put("activated_at", !was.ActivatedAt.Equal(is.ActivatedAt), instant(was.ActivatedAt), instant(is.ActivatedAt))
	put("expires_at", !was.ExpiresAt.Equal(is.ExpiresAt), instant(was.ExpiresAt), instant(is.ExpiresAt))
	put("released_at", !was.ReleasedAt.Equal(is.ReleasedAt), instant(was.ReleasedAt), instant(is.ReleasedAt))
	put("revoked_at", !was.RevokedAt.Equal(is.RevokedAt), instant(was.RevokedAt), instant(is.RevokedAt))
	put("phases", !was.Phases.Equal(is.Phases), phases(was.Phases), phases(is.Phases))
	put("product", was.Product != "" && was.Product != is.Product, was.Product, is.Product)
	put("features", was.ID != "" && !maps.Equal(was.Features, is.Features), was.Features, is.Features)
	put("trial", was.Trial != is.Trial, was.Trial, is.Trial)
	put("overage", !sameNumber(was.Overage, is.Overage), was.Overage, is.Overage)
	put("holds", was.Holds != is.Holds, was.Holds.Names(), is.Holds.Names())
	return before, after
}

// phases is what a licence says of its own about its phases, as the audit log
// writes it.
func phases(p license.Phases) map[string]any {
	out := map[string]any{}
	if p.Warn != nil {
		out["warn"] = p.Warn.String()
	}
	if p.Grace != nil {
		out["grace"] = p.Grace.String()
	}
	if p.Enforcement != "" {
		out["enforcement"] = p.Enforcement
	}
	if p.Lease != nil {
		out["lease"] = p.Lease.String()
	}
	if p.Refresh != nil {
		out["refresh"] = p.Refresh.String()
	}
	return out
}

func sameNumber(a, b *int) bool { return a == b || a != nil && b != nil && *a == *b }

// instant is a time as the audit log writes it, nil where absent.
func instant(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format(time.RFC3339)
}
