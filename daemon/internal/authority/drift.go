package authority

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// budget measures by how much a machine may change and still be the same.
var budget = license.DriftBudget{}

// follow binds an install anew to its machine at a check-in, where parts of the
// machine changed; the fingerprint has to match.
//
// A machine that has changed by more than the budget allows has become another
// one. That is allowed, counted and refused like a transfer that was asked for:
// the install gets a new seat, and those beside it on the machine come with it,
// so that whatever of the old machine is left is not recognised any more. An
// install on a floating seat may move as it likes.
func (c *call) follow(ctx context.Context, tx store.Tx, l license.License, inst *license.Install) (license.License, license.Drift, error) {
	r := budget.Rebind(inst.Binding, inst.Unproven, c.req.Fingerprint, c.now)
	if !r.Moved {
		inst.Binding, inst.Unproven = r.Binding, r.Unproven
		if !r.Drift.IsZero() {
			inst.Drifted = inst.Drifted.With(r.Drift, c.now)
		}
		return l, r.Drift, nil
	}
	_, drift := inst.Binding.Rebind(c.req.Fingerprint)
	fresh, err := license.Bind(c.product.Binding, c.req.Fingerprint)
	if err != nil {
		return l, license.Drift{}, err
	}
	old := *inst
	inst.Binding, inst.Unproven = fresh, nil
	if !drift.IsZero() {
		inst.Drifted = inst.Drifted.With(drift, c.now)
	}
	if l.Mode == license.ModeFloating {
		return l, drift, nil
	}
	next, err := c.leave(ctx, tx, l, old, inst)
	return next, drift, err
}

// leave gives an install whose machine has become another one a seat of its own,
// in the stead of the one that it had. Whoever shares the seat on the machine as
// it was comes along. Where another machine shares it (contest), that keeps it, and
// this one needs a free seat.
func (c *call) leave(ctx context.Context, tx store.Tx, l license.License, old license.Install, inst *license.Install) (license.License, error) {
	installs, err := tx.Installs(ctx, l.ID)
	if err != nil {
		return l, fmt.Errorf("list installs of %s: %w", l.ID, err)
	}
	var along []license.Install
	stays := false
	for _, i := range installs {
		switch {
		case i.ID == old.ID || i.Seat != old.Seat || i.State != license.InstallLive:
		case apart(asActivated(i), asActivated(old)):
			stays = true
		default:
			along = append(along, i)
		}
	}
	c.approval = ""
	next, seats := l, c.survey(l, installs)
	switch {
	case stays && len(seats.live) >= c.limit(l):
		err = license.Errorf(license.MachineLimit, "the machine that it shared a seat with needs that, and no other one is free")
	case !stays || len(seats.tenures) >= c.limit(l):
		next, err = c.move(ctx, tx, l, placement{})
	}
	if err != nil {
		return l, tooMuchChanged(c.unproven(old), err)
	}
	if inst.Seat, err = c.a.ids.New(license.SeatPrefix, c.now); err != nil {
		return l, err
	}
	if err := c.carry(ctx, tx, along, *inst); err != nil {
		return l, err
	}
	after := map[string]any{"seat": inst.Seat, "from_seat": old.Seat}
	if c.approval != "" {
		after["approval"] = c.approval
	}
	return next, c.audit(ctx, tx, license.ActionTransfer, *inst, after)
}

// asActivated is what an install was bound to when it was activated, as far as
// it still is, and what was proven since: parts that drifted in do not make two
// machines of one.
func asActivated(i license.Install) license.Binding {
	b := i.Binding
	b.Components = make(license.Components, len(i.Binding.Components))
	for kind, digests := range i.Binding.Components {
		b.Components[kind] = slices.DeleteFunc(slices.Clone(digests), func(d license.Digest) bool { return i.Unproven[d].After(i.BoundAt) })
	}
	return b
}

// inherit gives a new install on a machine that the licence knows what it knows
// of it: had it a binding of its own, setting up anew would prove any change.
// Where the machine has changed by more than the budget allows, place becomes
// that of a move to another machine (see follow).
func (c *call) inherit(inst *license.Install, place *placement) (license.Drift, error) {
	if place.moved || len(place.known) == 0 || c.product.Binding == license.PolicyNone {
		return license.Drift{}, nil
	}
	for _, base := range slices.Backward(place.known) {
		b := c.today(base.Binding)
		if b.Apart(c.req.Fingerprint) { // what it does not show may never have been its own
			b.Components = maps.Clone(b.Components)
			maps.DeleteFunc(b.Components, func(k license.Kind, _ []license.Digest) bool { return len(c.req.Fingerprint.Components[k]) == 0 })
		}
		r := budget.Rebind(b, base.Unproven, c.req.Fingerprint, c.now)
		if r.Moved {
			continue
		}
		inst.Binding, inst.Unproven = r.Binding, r.Unproven
		if !r.Drift.IsZero() {
			inst.Drifted = inst.Drifted.With(r.Drift, c.now)
		}
		return r.Drift, nil
	}
	base := place.known[len(place.known)-1]
	_, drift := c.today(base.Binding).Rebind(c.req.Fingerprint)
	if !drift.IsZero() {
		inst.Drifted = inst.Drifted.With(drift, c.now)
	}
	seat, err := c.a.ids.New(license.SeatPrefix, c.now)
	if err != nil {
		return license.Drift{}, err
	}
	place.seat, place.moved, place.drifted = seat, true, c.unproven(base)
	for _, i := range place.here {
		if !slices.ContainsFunc(place.replaced, func(r license.Install) bool { return r.ID == i.ID }) {
			place.carried = append(place.carried, i)
		}
	}
	return drift, nil
}

// today is b under the policy that the product has by now: a new install is
// judged by no other. Where that binds to no machine, by the one that b was made
// under, so that a machine that was bound before keeps its seat.
func (c *call) today(b license.Binding) license.Binding {
	if b.Policy != license.PolicyNone && b.Code == "" && c.product.Binding != license.PolicyNone {
		b.Policy = c.product.Binding
	}
	return b
}

// carry takes the installs that share the machine of to along when its seat
// moves.
func (c *call) carry(ctx context.Context, tx store.Tx, installs []license.Install, to license.Install) error {
	for _, i := range installs {
		i.Seat, i.Binding, i.Unproven = to.Seat, to.Binding, nil
		if err := tx.UpdateInstall(ctx, i); err != nil {
			return fmt.Errorf("move an install of %s: %w", i.LicenseID, err)
		}
		if err := c.audit(ctx, tx, license.ActionTransfer, i, map[string]any{"seat": i.Seat, "with": to.ID}); err != nil {
			return err
		}
	}
	return nil
}

// unproven returns the kinds of which the machine shows nothing that inst was
// bound to and that is proven.
func (c *call) unproven(inst license.Install) []license.Kind {
	var out []license.Kind
	for _, kind := range license.Kinds() {
		seen := c.req.Fingerprint.Components[kind]
		same := slices.ContainsFunc(seen, func(d license.Digest) bool {
			_, fresh := inst.Unproven[d]
			return !fresh && slices.Contains(inst.Binding.Components[kind], d)
		})
		if len(seen) > 0 && len(inst.Binding.Components[kind]) > 0 && !same {
			out = append(out, kind)
		}
	}
	return out
}

// tooMuchChanged explains why a machine that changed by more than the budget
// allows is not bound anew. What it holds goes on until its lease ends.
func tooMuchChanged(kinds []license.Kind, err error) error {
	e, ok := errors.AsType[*license.Error](err)
	if !ok {
		return err
	}
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	out := license.Errorf(e.Reason, "so much of this machine has changed that it counts as another one (%s); %s",
		strings.Join(names, ", "), e.Detail)
	out = out.WithRetryAfter(e.RetryAfter)
	if _, recorded := errors.AsType[recordedError](err); recorded {
		return recordedError{out}
	}
	return out
}

// auditDrift records which kinds changed, and nothing of what they are.
func (c *call) auditDrift(ctx context.Context, tx store.Tx, inst license.Install, drift license.Drift) error {
	after := map[string]any{"drifts": inst.Drifted.Count}
	if len(drift.Changed) > 0 {
		after["changed"] = drift.Changed
	}
	if len(drift.Added) > 0 {
		after["added"] = drift.Added
	}
	return c.audit(ctx, tx, license.ActionDrift, inst, after)
}
