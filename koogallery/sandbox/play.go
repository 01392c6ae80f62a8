package sandbox

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// Play does the steps of a scenario, one after the other, and fails at the first
// that cannot be done or expects something else; the error names file and line.
// report, if not nil, learns of each step as it is done, without codes.
//
// The step "wait" advances the clock when Manual and otherwise pauses; "settle"
// is WaitIdle, and in a Manual sandbox the advance that brings everything
// pending to an end.
func (s *Sandbox) Play(ctx context.Context, sc *Scenario, report func(string)) error {
	p := player{s: s, codes: map[string]Order{}, events: map[string]Application{}}
	for _, st := range sc.steps {
		err := ctx.Err()
		if err == nil {
			err = p.do(ctx, st)
		}
		if err != nil {
			return fmt.Errorf("%s:%d: %s: %w", sc.name, st.line, st.do, err)
		}
		if report != nil {
			report(fmt.Sprintf("%s:%d: %s", sc.name, st.line, st.do))
		}
	}
	return nil
}

type player struct {
	s      *Sandbox
	codes  map[string]Order
	events map[string]Application
}

func (p *player) do(ctx context.Context, st step) (err error) {
	s, id := p.s, p.codes[st.of].Ref()
	switch st.do {
	case "buy":
		var o Order
		o, err = s.Purchase(ctx, Purchase{
			Product: st.product, Amount: max(st.amount, 1), Period: st.period, Trial: st.trial, Buyer: st.buyer.buyer(), Extend: st.extend,
		})
		p.codes[st.as] = o
	case "renew":
		p.codes[st.as], err = s.RenewAs(id, st.product, st.period)
	case "change":
		p.codes[st.as], err = s.Change(id, Change{st.product, st.amount, st.period})
	case "convert-trial":
		p.codes[st.as], err = s.ConvertTrial(id, st.period)
	case "cancel-renewal":
		p.codes[st.as], err = s.CancelRenewal(id)
	case "unsubscribe":
		p.codes[st.as], err = s.Unsubscribe(id)
	case "get-license":
		err = s.GetLicense(id)
	case "fail-order":
		err = s.FailOrder(p.codes[st.of].ID, st.fault)
	case "receive":
		err = s.Receive(id)
	case "freeze":
		err = s.Freeze(id)
	case "unfreeze":
		err = s.Unfreeze(id)
	case "expire":
		err = s.Expire(id)
	case "release":
		err = s.ReleaseAfterRetention(id)
	case "apply":
		var a Application
		a, err = s.Apply(id, st.application(s.now()))
		p.events[st.as] = a
	case "apply-again":
		err = s.applyAgain(p.events[st.of].EventID)
	case "deny":
		err = s.Deny(p.events[st.of].EventID)
	case "notify":
		err = s.NotifyOrder(p.codes[st.of].ID)
	default:
		err = p.market(ctx, st)
	}
	return err
}

// market does the steps that concern no purchase.
func (p *player) market(ctx context.Context, st step) (err error) {
	s := p.s
	switch st.do {
	case "stop":
		err = s.Stop(st.product)
	case "resume":
		err = s.Resume(st.product)
	case "debug":
		_, err = s.DebugProduct(st.product, st.activity, koogallery.NewCode(st.code))
	case "dialect":
		err = s.SetDialect(st.dialect)
	case "lapse":
		s.Lapse(st.period)
	case "probe":
		s.Probe()
	case "retry":
		s.retryAll()
	case "outage":
		err = s.SetOutage(st.mode)
	case "misbehave":
		err = s.SetMisbehaviour(st.faults)
	case "wait":
		if s.opts.Manual {
			return s.Advance(ctx, st.wait)
		}
		return s.sleep(ctx, st.wait)
	case "settle":
		return s.settleAll(ctx)
	case "expect":
		return p.expect(st)
	default:
		err = fmt.Errorf("no such step: %w", ErrInvalid)
	}
	return err
}

// application is what an "apply" step asks for.
func (st step) application(now time.Time) LicenseRequest {
	r := LicenseRequest{Device: koogallery.NewDeviceFingerprint(st.device), NoExpiry: st.endless}
	if st.after > 0 {
		r.EffectiveAt = now.Add(st.after)
	}
	if st.until > 0 {
		r.ExpiresAt = now.Add(st.until)
	}
	return r
}

func (s *Sandbox) applyAgain(event string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.applications[event]
	if a == nil {
		return fmt.Errorf("apply again: no such event: %w", ErrUnknownCode)
	}
	s.pushApplication(a)
	return nil
}

// retryAll restarts what failed and makes what is pending due.
func (s *Sandbox) retryAll() {
	for _, d := range s.Deliveries() {
		if !d.Test && (d.State == Failed || d.State == Unsent) {
			_ = s.Retry(d.ID) // one of a refunded order stays
		}
	}
	s.RetryNow()
}

// settleAll waits until nothing is pending.
func (s *Sandbox) settleAll(ctx context.Context) error {
	if !s.opts.Manual {
		return s.WaitIdle(ctx)
	}
	for {
		if err := s.Advance(ctx, 0); err != nil {
			return err
		}
		s.mu.Lock()
		var first time.Time
		for _, q := range s.queues {
			if first.IsZero() || q.due.Before(first) {
				first = q.due
			}
		}
		s.mu.Unlock()
		if first.IsZero() {
			return nil
		}
		if err := s.Advance(ctx, max(first.Sub(s.Now()), 0)); err != nil {
			return err
		}
	}
}

func (p *player) expect(st step) error {
	e := st.expect
	differs := func(what string, got, want any) error {
		return fmt.Errorf("%s is %v, expected %v: %w", what, got, want, ErrExpectation)
	}
	pending, failed := p.s.counts()
	if e.failed != nil && failed != *e.failed {
		return differs("failed", failed, *e.failed)
	}
	if st.of == "" {
		if e.pending != nil && pending != *e.pending {
			return differs("pending", pending, *e.pending)
		}
		return nil
	}
	c, err := p.s.State(p.codes[st.of].Ref())
	if err != nil {
		return err
	}
	delivered := uint64(0)
	for _, a := range c.Applications {
		if a.State == Fulfilled {
			delivered++
		}
	}
	switch {
	case e.status != "" && string(c.Status) != e.status:
		return differs("status", c.Status, e.status)
	case e.frozen != nil && c.Frozen != *e.frozen:
		return differs("frozen", c.Frozen, *e.frozen)
	case e.told != nil && c.confirmed() != *e.told:
		return differs("told", c.confirmed(), *e.told)
	case e.pending != nil && uint64(c.Pending) != *e.pending:
		return differs("pending", c.Pending, *e.pending)
	case e.delivered != nil && delivered != *e.delivered:
		return differs("delivered", delivered, *e.delivered)
	case e.amount != nil && uint64(c.Amount) != *e.amount:
		return differs("amount", c.Amount, *e.amount)
	}
	return nil
}

// counts are the messages that wait and those that were given up; of debug calls
// and probes, which are never repeated, only those that wait.
func (s *Sandbox) counts() (pending, failed uint64) {
	for _, d := range s.Deliveries() {
		switch d.State {
		case Pending:
			pending++
		case Failed:
			if !d.Test {
				failed++
			}
		case Delivered, Unsent:
		}
	}
	return pending, failed
}
