package clienttest

import (
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// call is one request on its way through the book.
type call struct {
	*book
	req     token.Request
	product license.Product
	entry   *entry
	now     time.Time
}

// request answers a verified request, and writes down what it changes.
func (b *book) request(req token.Request, now time.Time) (wire.Answer, error) {
	p, err := b.productOf(req.Product)
	if err != nil {
		return wire.Answer{}, err
	}
	req.Fingerprint.Code = "" // whoever asks would choose it
	c := &call{book: b, req: req, product: p, now: now}
	var inst license.Install
	switch req.Op {
	case token.OpActivate, token.OpTransfer:
		inst, err = c.activate()
	case token.OpRefresh, token.OpDeactivate:
		inst, err = c.held()
	default:
		err = license.FieldErrorf("op", "there is no operation %q", string(req.Op))
	}
	if err != nil {
		return wire.Answer{}, err
	}
	return c.answer(inst)
}

// activate binds a new install to the licence of a code, or answers the one that
// is bound.
func (c *call) activate() (license.Install, error) {
	if c.req.Code.IsZero() {
		return license.Install{}, license.FieldErrorf("code", "a code is required to %s", c.req.Op)
	}
	e, ok := c.licenses[c.codes[c.req.Code.Reveal()]]
	switch {
	case !ok:
		return license.Install{}, license.Errorf(license.UnknownCode, "this code is not known")
	case e.license.Product != c.req.Product:
		return license.Install{}, license.Errorf(license.WrongProduct, "this code is for another product")
	}
	c.entry = e
	if old, bound := e.install(c.req.InstallID); bound {
		return c.again(old)
	}
	return c.bind()
}

// held answers an install that presents the licence that it holds.
func (c *call) held() (license.Install, error) {
	if c.req.License == "" {
		return license.Install{}, license.FieldErrorf("license", "the licence held is required to %s", c.req.Op)
	}
	held, err := token.PeekLicense(c.req.License)
	if err != nil {
		return license.Install{}, license.FieldErrorf("license", "the licence held cannot be read").WithCause(err)
	}
	stranger := license.Errorf(license.Unauthorized, "this key is not of an install of this licence")
	e, ok := c.licenses[held.LicenseID]
	if !ok {
		return license.Install{}, stranger
	}
	old, ok := e.install(c.req.InstallID)
	if !ok {
		return license.Install{}, stranger
	}
	c.entry = e
	if c.req.Op == token.OpDeactivate {
		return c.deactivate(old)
	}
	if e.license.Product != c.req.Product {
		return license.Install{}, license.Errorf(license.WrongProduct, "this licence is for another product")
	}
	return c.again(old)
}

// again answers an install that is known: the same answer to the same request, a
// new licence to a new one.
func (c *call) again(old license.Install) (license.Install, error) {
	if old.State != license.InstallLive {
		return license.Install{}, c.ended(old)
	}
	if err := c.standing(); err != nil {
		return license.Install{}, err
	}
	same, err := c.repeats(old)
	if same || err != nil {
		return old, err
	}
	if c.req.Op == token.OpTransfer {
		return license.Install{}, license.Errorf(license.Conflict, "this install has a place already; a transfer is asked for with a new key")
	}
	if m := license.Match(old.Binding, c.req.Fingerprint); !m.OK {
		return license.Install{}, mismatch(m)
	}
	forked := old.Chain.Forked(c.req.Prev)
	if forked && c.refusesForks() {
		return license.Install{}, c.refuse(old, license.ForkChain, []license.Install{old},
			"this install has a copy that called in the meantime, or was set back to an older state")
	}
	if err := c.regain(old); err != nil {
		return license.Install{}, err
	}
	inst := old.Clone()
	if err := c.follow(&inst); err != nil {
		return license.Install{}, err
	}
	if forked {
		c.fork(&inst, license.ForkChain)
	}
	return inst, c.grant(&inst)
}

// repeats reports whether the request is the last one of the install again, and
// refuses what is neither that nor new.
func (c *call) repeats(old license.Install) (same bool, err error) {
	r := old.Chain.Repeats(c.req.ID, c.req.Digest)
	return r == license.RequestSame, r.Err()
}

// standing says whether the licence may be answered with. One that has expired
// is while its grace lasts.
func (c *call) standing() error {
	l := c.entry.license
	state := l.StateAt(c.now)
	if state == license.StateExpired && c.now.Before(c.product.ScheduleFor(l).DatesFor(c.now, time.Time{}, l.ExpiresAt).Exp) {
		return nil
	}
	if state.Refusal() != "" {
		return license.Refused(state)
	}
	return nil
}

// follow binds an install anew where parts of its machine have changed. Where
// too many have, that is a move.
func (c *call) follow(inst *license.Install) error {
	r := license.DriftBudget{}.Rebind(inst.Binding, inst.Unproven, c.req.Fingerprint, c.now)
	if !r.Moved {
		inst.Binding, inst.Unproven = r.Binding, r.Unproven
		if !r.Drift.IsZero() {
			inst.Drifted = inst.Drifted.With(r.Drift, c.now)
		}
		return nil
	}
	if _, drift := inst.Binding.Rebind(c.req.Fingerprint); !drift.IsZero() {
		inst.Drifted = inst.Drifted.With(drift, c.now)
	}
	binding, err := license.Bind(c.product.Binding, c.req.Fingerprint)
	if err != nil {
		return err
	}
	seat := inst.Seat
	if c.entry.license.Mode != license.ModeFloating {
		if c.entry.license, err = c.entry.license.Transfer(c.product.Transfers, c.now); err != nil {
			return err
		}
		if seat, err = c.ids.New(license.SeatPrefix, c.now); err != nil {
			return err
		}
		for _, i := range c.entry.installs { // whoever shares the machine comes along
			if i.ID != inst.ID && i.Seat == inst.Seat && i.State == license.InstallLive {
				i.Seat, i.Binding, i.Unproven = seat, binding, nil
				c.entry.put(i)
			}
		}
	}
	inst.Seat, inst.Binding, inst.Unproven = seat, binding, nil
	return nil
}

// deactivate gives the seat of an install up, in every state of the licence.
func (c *call) deactivate(old license.Install) (license.Install, error) {
	same, err := c.repeats(old)
	switch {
	case same || err != nil:
		return old, err
	case old.State != license.InstallLive && old.State != license.InstallDeactivated:
		return license.Install{}, license.Errorf(license.Unauthorized, "this install has been given up before")
	}
	inst := old.Clone()
	if old.State == license.InstallLive {
		if old.Chain.Forked(c.req.Prev) {
			if c.product.Forks == license.ForkRefuseNewest {
				return license.Install{}, c.refuse(old, license.ForkChain, nil,
					"this install has a copy that called in the meantime, or was set back to an older state")
			}
			c.fork(&inst, license.ForkChain)
		}
		inst.State, inst.EndedAt = license.InstallDeactivated, c.now
	}
	inst.SeenAt, inst.Answer = c.now, nil
	inst.Chain = old.Chain.Next(old.Chain.Last, c.req.Prev, c.req.ID, c.req.Digest, c.req.IssuedAt)
	c.entry.put(inst)
	return inst, nil
}

// grant decides what an install is given, and stores it.
func (c *call) grant(inst *license.Install) error {
	l := c.entry.license
	id, err := c.ids.New("", c.now)
	if err != nil {
		return err
	}
	if err := c.place(inst); err != nil {
		return err
	}
	dates := c.product.ScheduleFor(l).DatesFor(c.now, time.Time{}, l.ExpiresAt)
	dates.IssuedAt = latest(c.now, inst.Dated()) // where the clock was set back
	claims := token.License{
		Issuer: Issuer, ID: id, LicenseID: l.ID, Product: l.Product, Dates: dates,
		Customer: l.Customer, Order: l.Order, Channel: l.Channel, CodeLast4: l.Code.Last4,
		Features: l.Features, Machines: l.Machines, Mode: l.Mode, Binding: inst.Binding,
		InstallKey: c.req.InstallKey, Status: c.statusPlace(*inst), StatusMaxAge: c.product.StatusMaxAge, Trial: l.Trial,
	}
	if inst.Answer, err = claims.Payload(); err != nil {
		return err
	}
	inst.Chain = inst.Chain.Next(id, c.req.Prev, c.req.ID, c.req.Digest, c.req.IssuedAt)
	inst.SeenAt, inst.DatedAt, inst.LeaseUntil = c.now, time.Time{}, dates.LeaseUntil
	if dates.IssuedAt.After(c.now) {
		inst.DatedAt = dates.IssuedAt
	}
	c.entry.put(*inst)
	return nil
}

// answer signs what was granted: the same, as long as no key is rotated.
func (c *call) answer(inst license.Install) (wire.Answer, error) {
	a := wire.Answer{LicenseID: inst.LicenseID, Keys: c.set.Raw}
	var err error
	if inst.Answer != nil {
		a.InstallID = inst.ID
		if a.License, err = token.SignLicense(inst.Answer, c.key); err != nil {
			return wire.Answer{}, err
		}
		if a.Status, err = c.list(inst.Status.List, c.now); err != nil {
			return wire.Answer{}, err
		}
	}
	a.Time, err = token.SignTime(token.Time{Issuer: Issuer, IssuedAt: inst.SeenAt, InstallID: inst.ID, Nonce: c.req.ID}, c.key)
	return a, err
}

// mismatch names the components that are not those of the machine that was bound.
func mismatch(m license.MatchReport) error {
	detail := []string{"this is not the machine that the licence was bound to"}
	for _, c := range m.Components {
		if c.Outcome == license.OutcomeChanged || c.Outcome == license.OutcomeAbsent {
			detail = append(detail, string(c.Kind)+" "+string(c.Outcome))
		}
	}
	return license.Errorf(license.MachineMismatch, "%s", strings.Join(detail, "; "))
}

const activateAgain = "activate again with the code to get a new one"

func (c *call) refusesForks() bool {
	return c.product.Forks == license.ForkRefuseNewest || c.product.Forks == license.ForkRefuseBoth
}

// fork records a fork.
func (c *call) fork(inst *license.Install, kind license.ForkKind) {
	inst.Forks = inst.Forks.With(kind, c.req.ID, c.now)
	c.entry.license = c.entry.license.WithFork(c.now)
}

// refuse refuses a fork, and under ForkRefuseBoth ends the installs concerned.
func (c *call) refuse(inst license.Install, kind license.ForkKind, concerned []license.Install, why string) *license.Error {
	due := inst.Forks.Due(kind, c.req.ID, c.now)
	ends := c.product.Forks == license.ForkRefuseBoth && len(concerned) > 0
	if due || ends {
		inst = inst.Clone()
		c.fork(&inst, kind)
		c.entry.put(inst)
	}
	if ends {
		for _, i := range concerned {
			now, _ := c.entry.install(i.ID)
			c.entry.end([]license.Install{now}, license.InstallForked, c.now)
		}
	}
	return license.Errorf(license.CloneDetected, "%s; %s", why, activateAgain)
}

// ended refuses an install that has ended and calls all the same.
func (c *call) ended(old license.Install) error {
	var refusal *license.Error
	switch old.State { //nolint:exhaustive // the rest is given below
	case license.InstallReplaced, license.InstallTransferred:
		refusal = license.Errorf(license.Replaced, "another install took this one's place; "+activateAgain)
	case license.InstallForked:
		refusal = license.Errorf(license.CloneDetected, "this install was ended because more than one machine seems to hold it; "+activateAgain)
	default:
		refusal = license.Errorf(license.Unauthorized, "this install has been given up; "+activateAgain)
	}
	if old.State == license.InstallRemoved || old.Chain.Repeats(c.req.ID, c.req.Digest) != license.RequestNew {
		return refusal
	}
	told := old.Forks[license.ForkRetired].Count > 0 && !old.Forks.Has(c.req.ID)
	if told && c.refusesForks() {
		refusal = license.Errorf(license.CloneDetected, "this install has ended (%s), was told so, and calls again, as a copy of it would; %s", old.State, activateAgain)
	}
	if old.Forks.Due(license.ForkRetired, c.req.ID, c.now) {
		inst := old.Clone()
		c.fork(&inst, license.ForkRetired)
		c.entry.put(inst)
	}
	return refusal
}

// concernedBy are the installs of a seat that are live.
func (c *call) concernedBy(seat string) []license.Install {
	return slices.DeleteFunc(slices.Clone(c.entry.installs), func(i license.Install) bool {
		return i.Seat != seat || i.State != license.InstallLive
	})
}
