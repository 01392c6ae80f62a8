package authority

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/store"
)

// Answer is what a request is answered with. License is empty after a
// deactivation.
type Answer struct {
	LicenseID string
	InstallID string
	License   string // signed licence
	Keys      string // signed key set
	Status    string // signed status list of the install, empty after a deactivation
	Time      string // signed time
}

// Caller is where a request comes from.
type Caller struct {
	Addr string // for the audit log
	// KnownOnly refuses all but installs that are known with RateLimited, and
	// tells a guesser nothing about codes.
	KnownOnly bool
	// Staff is the member of the merchant's staff who hands the request in for a
	// machine without a network; nil where an install calls by itself.
	Staff *license.Actor
}

// Request handles a signed request of an install: activate, refresh, transfer
// or deactivate. The code may be given beside the request where it carries
// none; where both are given they must agree.
//
// The same bytes again get the same answer, while the licence is in good
// standing.
func (a *Authority) Request(ctx context.Context, raw string, beside license.Code, caller Caller) (Answer, error) {
	req, err := token.VerifyRequest(raw)
	if err != nil {
		return Answer{}, err
	}
	if !beside.IsZero() {
		if !req.Code.IsZero() && !req.Code.Equal(beside) {
			return Answer{}, license.FieldErrorf("code", "the code beside the request is not the one in it")
		}
		req.Code = beside
	}
	p, err := a.product(req.Product)
	if err != nil {
		return Answer{}, err
	}
	// Whoever asks would choose an identification code: it binds nothing unless
	// the merchant made the licence for it.
	req.Fingerprint.Code = ""
	now, err := a.dated(ctx)
	if err != nil {
		if caller.Staff == nil && errors.Is(err, license.Clock) {
			err = untrustedClock(err)
		}
		return Answer{}, err
	}
	c := &call{a: a, req: req, product: p, now: now, knownOnly: caller.KnownOnly, back: true}
	c.signing = a.signing()
	if err := c.canSign(c.now); err != nil {
		if caller.Staff == nil && errors.Is(err, ErrKeys) {
			err = errKeysBehind.WithCause(err)
		}
		return Answer{}, err
	}
	c.actor = license.Actor{Kind: license.ActorInstall, Name: req.InstallID, Addr: caller.Addr}
	if caller.Staff != nil {
		c.actor = *caller.Staff
	}
	switch req.Op {
	case token.OpActivate, token.OpTransfer:
		return c.activate(ctx)
	case token.OpRefresh:
		return c.held(ctx, c.refresh)
	case token.OpDeactivate:
		return c.held(ctx, c.deactivate)
	}
	return Answer{}, license.FieldErrorf("op", "there is no operation %q", printable(string(req.Op)))
}

// call is one request on its way through.
type call struct {
	a       *Authority
	req     token.Request
	product license.Product
	now     time.Time
	actor   license.Actor
	signing // the key of this request, whatever is rotated meanwhile

	knownOnly bool
	approval  string // the request for a move whose approval was used
	back      bool   // the licence was in bad standing not long ago, or nobody has looked
}

// held runs an operation of an install that presents the licence it holds.
// Who that licence belongs to is looked up under the key that signed the
// request, so it need not verify: after a compromise it would not.
func (c *call) held(ctx context.Context, op func(context.Context, store.Tx, license.Install) (license.Install, error)) (Answer, error) {
	if c.req.License == "" {
		return Answer{}, license.FieldErrorf("license", "the licence held is required to %s", c.req.Op)
	}
	held, err := token.PeekLicense(c.req.License)
	if err != nil {
		return Answer{}, license.FieldErrorf("license", "the licence held cannot be read").WithCause(err)
	}
	if err := c.askAgain(ctx, held.LicenseID, nil); err != nil {
		return Answer{}, err
	}
	var inst license.Install
	err = c.update(ctx, func(ctx context.Context, tx store.Tx) error {
		old, err := tx.Install(ctx, held.LicenseID, c.req.InstallID)
		if errors.Is(err, license.NotFound) {
			inst, err = c.stranger(ctx, tx, held.LicenseID, op)
			return err
		}
		if err != nil {
			return fmt.Errorf("look an install up: %w", err)
		}
		inst, err = op(ctx, tx, old)
		return ofKnown(err)
	})
	if err != nil {
		return Answer{}, err
	}
	return c.answer(ctx, inst)
}

// knownError is the refusal of an install that is known.
type knownError struct{ error }

func (e knownError) Unwrap() error { return e.error }

func ofKnown(err error) error {
	if err == nil {
		return nil
	}
	return knownError{err}
}

// OfKnown reports whether err refuses an install that is known: nobody has
// guessed anything.
func OfKnown(err error) bool {
	_, ok := errors.AsType[knownError](err)
	return ok
}

// errStranger is all that a caller learns whose key is not of an install of the
// licence that it names, be that licence there or not.
var errStranger = license.Errorf(license.Unauthorized, "this key is not of an install of this licence")

// refresh gives a live install a new licence.
func (c *call) refresh(ctx context.Context, tx store.Tx, old license.Install) (license.Install, error) {
	l, err := tx.License(ctx, old.LicenseID)
	if err != nil {
		return license.Install{}, fmt.Errorf("read %s: %w", old.LicenseID, err)
	}
	if !c.forProduct(l) {
		return license.Install{}, license.Errorf(license.WrongProduct, "this licence is for another product")
	}
	return c.again(ctx, tx, l, old)
}

// again answers an install that is known already: the same answer to the same
// request, a new licence to a new one.
func (c *call) again(ctx context.Context, tx store.Tx, l license.License, old license.Install) (license.Install, error) {
	if old.State != license.InstallLive {
		return license.Install{}, c.ended(ctx, tx, l, old)
	}
	if err := c.standing(l); err != nil {
		return license.Install{}, err
	}
	same, err := c.repeats(old)
	if err != nil {
		return license.Install{}, err
	}
	if same {
		return c.same(ctx, tx, l, old)
	}
	if c.req.Op == token.OpTransfer {
		return license.Install{}, license.Errorf(license.Conflict, "this install has a place already; a transfer is asked for with a new key")
	}
	inst := old
	inst.Binding, inst.Unproven = old.Binding.Under(c.product.Binding, old.Unproven, c.req.Fingerprint)
	if m := license.Match(inst.Binding, c.req.Fingerprint); !m.OK {
		return license.Install{}, mismatch(m)
	}
	forked := old.Chain.Forked(c.req.Prev)
	if forked {
		var goesOn bool
		if old, goesOn = c.goesOn(old); goesOn {
			forked, inst.Chain, inst.DatedAt = false, old.Chain, old.DatedAt
		}
	}
	if forked && c.refusesForks() {
		return license.Install{}, c.refuseChain(ctx, tx, l, old)
	}
	if err := c.regain(ctx, tx, l, old); err != nil {
		return license.Install{}, err
	}
	next, drift, err := c.follow(ctx, tx, l, &inst)
	if err != nil {
		return license.Install{}, err
	}
	var forks []license.ForkKind
	if forked {
		next, inst.Forks = next.WithFork(c.now), old.Forks.With(license.ForkChain, c.req.ID, c.now)
		forks = append(forks, license.ForkChain)
	}
	shared, err := c.atCheckIn(ctx, tx, l, &inst, !drift.IsZero() || old.Binding.Policy != inst.Binding.Policy || old.Seat != inst.Seat)
	if err != nil {
		return license.Install{}, err
	}
	if shared {
		next, forks = next.WithFork(c.now), append(forks, license.ForkShared)
	}
	if len(forks) > 0 || inst.Seat != old.Seat {
		if err := tx.UpdateLicense(ctx, next); err != nil {
			return license.Install{}, fmt.Errorf("update %s: %w", l.ID, err)
		}
	}
	if err := c.grant(ctx, tx, &inst, l); err != nil {
		return license.Install{}, err
	}
	if err := tx.UpdateInstall(ctx, inst); err != nil {
		return license.Install{}, fmt.Errorf("refresh an install of %s: %w", l.ID, err)
	}
	if err := c.audit(ctx, tx, license.ActionRefresh, inst, nil); err != nil {
		return license.Install{}, err
	}
	return inst, c.tell(ctx, tx, inst, drift, forks...)
}

// repeats reports whether the request is the last one of the install again, and
// refuses what is neither that nor new.
func (c *call) repeats(old license.Install) (same bool, err error) {
	r := old.Chain.Repeats(c.req.ID, c.req.Digest)
	return r == license.RequestSame, r.Err()
}

// same answers a request that was answered before. What was granted is signed
// again; but a key that was born after the grant cannot sign it, since a
// signature is judged at its iat, so then the same is granted anew. The licence
// of the lost answer may still be presented, once.
func (c *call) same(ctx context.Context, tx store.Tx, l license.License, old license.Install) (license.Install, error) {
	if errors.Join(c.canSign(old.SeenAt), c.canSign(old.Dated())) == nil {
		if old.SignedBy == c.key.ID {
			return old, nil
		}
		inst := old
		inst.SignedBy = c.key.ID
		return inst, tx.UpdateInstall(ctx, inst)
	}
	if err := c.regain(ctx, tx, l, old); err != nil {
		return license.Install{}, err
	}
	inst := old
	if err := c.grant(ctx, tx, &inst, l); err != nil {
		return license.Install{}, err
	}
	chain := old.Chain
	chain.Before, chain.Last, chain.Spent = old.Chain.Last, inst.Chain.Last, false
	inst.Chain = chain
	if err := tx.UpdateInstall(ctx, inst); err != nil {
		return license.Install{}, fmt.Errorf("grant again to an install of %s: %w", l.ID, err)
	}
	return inst, c.audit(ctx, tx, license.ActionRefresh, inst, nil)
}

// standing says whether an install of l may be answered with a licence. An
// expired licence is still answered while its grace lasts, so that the phases
// that its holder sees do not depend on when it last called home.
func (c *call) standing(l license.License) error {
	state := l.StateAt(c.now)
	if state == license.StateExpired {
		d := c.product.ScheduleFor(l).DatesFor(c.now, time.Time{}, l.ExpiresAt)
		if c.now.Before(d.Exp) {
			return nil
		}
	}
	if state.Refusal() != "" {
		return license.Refused(state)
	}
	return nil
}

// deactivate gives the seat of an install up. It is allowed in every state of
// the licence, and again: it takes nothing.
func (c *call) deactivate(ctx context.Context, tx store.Tx, old license.Install) (license.Install, error) {
	same, err := c.repeats(old)
	switch {
	case err != nil:
		return license.Install{}, err
	case same && c.canSign(old.SeenAt) == nil:
		return old, nil
	case same:
		old.SeenAt = c.now // the key of then is gone; see same
		return old, tx.UpdateInstall(ctx, old)
	case old.State != license.InstallLive && old.State != license.InstallDeactivated:
		return license.Install{}, license.Errorf(license.Unauthorized,
			"this install has ended already (%s): it holds no seat any more, and the receipt frees nothing", old.State)
	}
	old, _ = c.goesOn(old)
	forked := old.State == license.InstallLive && old.Chain.Forked(c.req.Prev)
	if forked {
		if err := c.forkedEnd(ctx, tx, old); err != nil {
			return license.Install{}, err
		}
	}
	inst := old
	if inst.State == license.InstallLive {
		inst.State, inst.EndedAt = license.InstallDeactivated, c.now
	} // else it asks again in other words, having lost the first answer
	inst.SeenAt, inst.Answer = c.now, nil
	if forked {
		inst.Forks = old.Forks.With(license.ForkChain, c.req.ID, c.now)
	}
	inst.Chain = old.Chain.Next(old.Chain.Last, c.req.Prev, c.req.ID, c.req.Digest, c.req.IssuedAt)
	if err := tx.UpdateInstall(ctx, inst); err != nil {
		return license.Install{}, fmt.Errorf("deactivate an install of %s: %w", old.LicenseID, err)
	}
	if err := c.audit(ctx, tx, license.ActionDeactivate, inst, map[string]any{"state": inst.State}); err != nil {
		return license.Install{}, err
	}
	if forked {
		return inst, c.tell(ctx, tx, inst, license.Drift{}, license.ForkChain)
	}
	return inst, nil
}

// retire ends the installs whose place another one takes, or of which a fork
// came to light.
func (c *call) retire(ctx context.Context, tx store.Tx, installs []license.Install, as license.InstallState) error {
	action := license.ActionReplace
	switch as { //nolint:exhaustive // all others have another one take their place
	case license.InstallForked:
		action = license.ActionEnd
	case license.InstallReleased:
		action = license.ActionInstallRelease
	}
	for _, old := range installs {
		if old.Revision == 0 { // one that was lost, whose seat was kept
			if err := c.a.giveUpLost(ctx, tx, old, as); err != nil {
				return err
			}
			if err := c.audit(ctx, tx, action, old, map[string]any{"state": as}); err != nil {
				return err
			}
			continue
		}
		old.State, old.EndedAt, old.Answer = as, c.now, nil
		if err := tx.UpdateInstall(ctx, old); err != nil {
			return fmt.Errorf("retire an install of %s: %w", old.LicenseID, err)
		}
		if err := c.audit(ctx, tx, action, old, map[string]any{"state": old.State}); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) audit(ctx context.Context, tx store.Tx, action license.Action, inst license.Install, after map[string]any) error {
	_, err := tx.Append(ctx, license.AuditEvent{
		At: c.now, Actor: c.actor, Action: action, License: inst.LicenseID, Install: inst.ID,
		Product: c.product.ID, Request: c.req.ID, After: after,
	})
	if err != nil {
		return fmt.Errorf("audit %s: %w", action, err)
	}
	return nil
}

// mismatch explains to the holder which components are not those of the
// machine that the licence was bound to.
func mismatch(m license.MatchReport) error {
	detail := []string{"this is not the machine that the licence was bound to"}
	for _, c := range m.Components {
		if c.Outcome == license.OutcomeChanged || c.Outcome == license.OutcomeAbsent {
			detail = append(detail, string(c.Kind)+" "+string(c.Outcome))
		}
	}
	return license.Errorf(license.MachineMismatch, "%s", strings.Join(detail, "; "))
}
