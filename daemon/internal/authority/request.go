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
	c := &call{a: a, req: req, product: p, now: a.now(), knownOnly: caller.KnownOnly}
	c.key, c.keys = a.custody.Current()
	if err := c.canSign(c.now); err != nil {
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
}

// activate binds a new install to the licence of a code. What can be refused
// without the marketplace is refused before it is asked: activating a code
// there begins its term.
func (c *call) activate(ctx context.Context) (Answer, error) {
	if c.req.Code.IsZero() {
		return Answer{}, license.FieldErrorf("code", "a code is required to %s", c.req.Op)
	}
	index := c.a.codes.Index(c.req.Code)
	inst, err := c.bindByCode(ctx, index, false)
	if errors.Is(err, errAskMarketplace) {
		if _, err := license.Bind(c.product.Binding, c.req.Fingerprint); err != nil {
			return Answer{}, err
		}
		if err := c.a.adopt(ctx, c.req.Code, index, c.product, c.actor, c.req.ID); err != nil {
			return Answer{}, err
		}
		inst, err = c.bindByCode(ctx, index, true)
	}
	if err != nil {
		return Answer{}, err
	}
	return c.answer(inst)
}

// errAskMarketplace says that the marketplace has to be asked about a code
// before it can be activated.
var errAskMarketplace = errors.New("the marketplace has to be asked")

// bindByCode binds the install to the licence that the code names. A code that
// is not known, and one of a marketplace that was never in use, have to be
// asked about first; adopted says that this was done just now.
func (c *call) bindByCode(ctx context.Context, index []byte, adopted bool) (inst license.Install, err error) {
	err = c.a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		l, err := tx.LicenseByCode(ctx, index)
		if c.knownOnly {
			if known, err := c.known(ctx, tx, l, err); err != nil || !known {
				return errors.Join(err, errTooMany)
			}
		}
		if errors.Is(err, license.NotFound) {
			if adopted || c.req.Code.Own() {
				return license.Errorf(license.UnknownCode, "this code is not known")
			}
			return errAskMarketplace
		}
		if err != nil {
			return fmt.Errorf("look a code up: %w", err)
		}
		if l.Product != c.product.ID {
			return license.Errorf(license.WrongProduct, "this code is for another product")
		}
		unused := l.Channel != license.ChannelManual && l.ActivatedAt.IsZero()
		if unused && !adopted && l.ReleasedAt.IsZero() && l.RevokedAt.IsZero() {
			return errAskMarketplace
		}
		inst, err = c.bind(ctx, tx, l)
		return err
	})
	return inst, err
}

// errTooMany is all that an address learns that was refused too often.
var errTooMany = license.Errorf(license.RateLimited, "too many requests from this address were refused; please wait")

// known reports whether the install has been bound to l before.
func (c *call) known(ctx context.Context, tx store.Tx, l license.License, lookup error) (bool, error) {
	if lookup != nil {
		return false, nil
	}
	_, err := tx.Install(ctx, l.ID, c.req.InstallID)
	if errors.Is(err, license.NotFound) {
		return false, nil
	}
	return err == nil, err
}

// bind gives the install a seat of l, or answers again the install that has one.
func (c *call) bind(ctx context.Context, tx store.Tx, l license.License) (license.Install, error) {
	old, err := tx.Install(ctx, l.ID, c.req.InstallID)
	switch {
	case err == nil:
		inst, err := c.again(ctx, tx, l, old)
		return inst, ofKnown(err)
	case !errors.Is(err, license.NotFound):
		return license.Install{}, fmt.Errorf("look an install up: %w", err)
	}
	next, changed, err := l.Apply(license.Change{Event: license.EventActivate, At: c.now})
	if err != nil {
		return license.Install{}, err
	}
	binding, err := license.Bind(c.product.Binding, c.req.Fingerprint)
	if err != nil {
		return license.Install{}, err
	}
	installs, err := tx.Installs(ctx, l.ID)
	if err != nil {
		return license.Install{}, fmt.Errorf("list installs of %s: %w", l.ID, err)
	}
	if err := c.tooOften(l, installs); err != nil {
		return license.Install{}, err
	}
	place, err := c.place(l, installs)
	if err != nil {
		return license.Install{}, err
	}
	if place.moved {
		if next, err = next.Transfer(c.product.Transfers, c.now); err != nil {
			return license.Install{}, err
		}
	}
	if changed || place.moved {
		if err := tx.UpdateLicense(ctx, next); err != nil {
			return license.Install{}, fmt.Errorf("update %s: %w", l.ID, err)
		}
	}
	if err := c.retire(ctx, tx, place.replaced, license.InstallReplaced); err != nil {
		return license.Install{}, err
	}
	if err := c.retire(ctx, tx, place.transferred, license.InstallTransferred); err != nil {
		return license.Install{}, err
	}
	inst := license.Install{
		ID: c.req.InstallID, LicenseID: l.ID, Seat: place.seat, State: license.InstallLive,
		Environment: c.req.Fingerprint.Environment, Binding: binding, BoundAt: c.now,
	}
	if err := c.grant(&inst, next); err != nil {
		return license.Install{}, err
	}
	if err := tx.CreateInstall(ctx, inst); err != nil {
		return license.Install{}, fmt.Errorf("bind an install to %s: %w", l.ID, err)
	}
	action := license.ActionBind
	switch {
	case changed:
		action = license.ActionActivate
	case place.moved:
		action = license.ActionTransfer
	}
	return inst, c.audit(ctx, tx, action, inst, map[string]any{"seat": inst.Seat})
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
	var inst license.Install
	err = c.a.store.Update(ctx, func(ctx context.Context, tx store.Tx) error {
		old, err := tx.Install(ctx, held.LicenseID, c.req.InstallID)
		if errors.Is(err, license.NotFound) {
			if c.knownOnly {
				return errTooMany
			}
			return errStranger
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
	return c.answer(inst)
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
	if l.Product != c.product.ID {
		return license.Install{}, license.Errorf(license.WrongProduct, "this licence is for another product")
	}
	return c.again(ctx, tx, l, old)
}

// again answers an install that is known already: the same answer to the same
// request, a new licence to a new one.
func (c *call) again(ctx context.Context, tx store.Tx, l license.License, old license.Install) (license.Install, error) {
	if err := c.standing(l, old); err != nil {
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
	if m := license.Match(old.Binding, c.req.Fingerprint); !m.OK {
		return license.Install{}, mismatch(m)
	}
	if err := c.regain(ctx, tx, l, old); err != nil {
		return license.Install{}, err
	}
	inst := old
	forked := old.Chain.Forked(c.req.Prev)
	if err := c.grant(&inst, l); err != nil {
		return license.Install{}, err
	}
	if err := tx.UpdateInstall(ctx, inst); err != nil {
		return license.Install{}, fmt.Errorf("refresh an install of %s: %w", l.ID, err)
	}
	if forked {
		return inst, c.audit(ctx, tx, license.ActionFork, inst, map[string]any{"forks": inst.Chain.Forks})
	}
	return inst, c.audit(ctx, tx, license.ActionRefresh, inst, nil)
}

// repeats reports whether the request is the last one of the install again, and
// refuses what is neither that nor new.
func (c *call) repeats(old license.Install) (same bool, err error) {
	switch old.Chain.Repeats(c.req.ID, c.req.Digest) {
	case license.RequestConflict:
		return false, license.Errorf(license.Conflict, "a request with this id was made before, with other content")
	case license.RequestOlder:
		return false, license.Errorf(license.Replayed, "this request was answered before, and newer ones since")
	case license.RequestSame:
		return true, nil
	case license.RequestNew:
	}
	return false, nil
}

// same answers a request that was answered before. What was granted is signed
// again; but a key that was born after the grant cannot sign it, since a
// signature is judged at its iat, so then the same is granted anew. The licence
// of the lost answer may still be presented, once.
func (c *call) same(ctx context.Context, tx store.Tx, l license.License, old license.Install) (license.Install, error) {
	if c.canSign(old.SeenAt) == nil {
		return old, nil
	}
	if err := c.regain(ctx, tx, l, old); err != nil {
		return license.Install{}, err
	}
	inst := old
	if err := c.grant(&inst, l); err != nil {
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

// standing says whether install old of l may be answered with a licence. An
// expired licence is still answered while its grace lasts, so that the phases
// that its holder sees do not depend on when it last called home.
func (c *call) standing(l license.License, old license.Install) error {
	switch old.State {
	case license.InstallLive:
	case license.InstallReplaced, license.InstallTransferred:
		return license.Errorf(license.Replaced, "another install took this one's place; activate again to get a new one")
	case license.InstallDeactivated, license.InstallRemoved:
		return license.Errorf(license.Unauthorized, "this install has been given up; activate again to get a new one")
	default:
		return license.Errorf(license.Internal, "install in state %q", old.State)
	}
	state := l.StateAt(c.now)
	if state == license.StateExpired {
		d := c.product.ScheduleFor(l.Mode).DatesFor(c.now, time.Time{}, l.ExpiresAt)
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
		return license.Install{}, license.Errorf(license.Unauthorized, "this install has been given up before")
	}
	inst := old
	if inst.State == license.InstallLive {
		inst.State, inst.EndedAt = license.InstallDeactivated, c.now
	} // else it asks again in other words, having lost the first answer
	inst.SeenAt, inst.Answer = c.now, nil
	inst.Chain = old.Chain.Next(old.Chain.Last, c.req.Prev, c.req.ID, c.req.Digest, c.req.IssuedAt, c.now)
	if err := tx.UpdateInstall(ctx, inst); err != nil {
		return license.Install{}, fmt.Errorf("deactivate an install of %s: %w", old.LicenseID, err)
	}
	if old.Chain.Forked(c.req.Prev) {
		if err := c.audit(ctx, tx, license.ActionFork, inst, map[string]any{"forks": inst.Chain.Forks}); err != nil {
			return license.Install{}, err
		}
	}
	return inst, c.audit(ctx, tx, license.ActionDeactivate, inst, map[string]any{"state": inst.State})
}

// retire ends the installs whose place another one takes.
func (c *call) retire(ctx context.Context, tx store.Tx, installs []license.Install, as license.InstallState) error {
	for _, old := range installs {
		old.State, old.EndedAt, old.Answer = as, c.now, nil
		if err := tx.UpdateInstall(ctx, old); err != nil {
			return fmt.Errorf("retire an install of %s: %w", old.LicenseID, err)
		}
		if err := c.audit(ctx, tx, license.ActionReplace, old, map[string]any{"state": old.State}); err != nil {
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
