package market_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// sights are what is compared in the end, each in some game at least.
var sights = []string{
	"a copy that calls", "a licence for a device", "a device that is refused", "a delivery that was given up",
	"released license2", "released online", "released license1", "frozen license2", "frozen online", "frozen license1",
	"expired license2", "expired online", "expired license1", "renewed license2", "renewed online", "renewed license1",
	"another quantity",
	"an order", "an order that was refunded", "a report of use",
	"a comparison of several pages", "a copy",
}

// compare compares everything that the merchant knows with what is true.
func (m *modelled) compare() {
	a := m.awake().authority
	m.outbox(a)
	given := m.given(a)
	for _, p := range m.bought {
		if before := m.t.Failed(); !m.agrees(a, p, given) && !before {
			m.t.Log(m.about(p))
		}
	}
	m.ledger(a, m.audit(a, given))
	// Whoever asks about all codes once more finds nothing to repair.
	got, err := a.Reconcile(m.t.Context(), channel)
	m.must(err)
	if got.Checked > 100 {
		m.seen["a comparison of several pages"]++
	}
	if got.Repaired+got.Own+got.Failed > 0 {
		m.errorf("a comparison with the marketplace finds %+v", got)
	}
}

// licence is what the merchant knows of a purchase.
func (m *modelled) licence(a *authority.Authority, p *purchase, state sandbox.CodeState) (l license.License, installs []license.Install, known bool) {
	if state.Interface == sandbox.License2 {
		l, installs, err := a.License(m.t.Context(), state.Code.Reveal())
		if err != nil && !errors.Is(err, license.UnknownLicense) {
			m.errorf("%s: %v", p, err)
		}
		return l, installs, err == nil
	}
	if state.InstanceID == "" {
		return l, nil, false
	}
	all, _, err := a.Licenses(m.t.Context(), authority.Filter{Instance: state.InstanceID}, authority.Page{})
	m.must(err)
	if len(all) > 1 {
		m.errorf("%s: %d licences of one instance", p, len(all))
	}
	if len(all) == 0 {
		return l, nil, false
	}
	return all[0].License, all[0].Installs, true
}

// agrees compares what the merchant knows of a purchase with what is true.
func (m *modelled) agrees(a *authority.Authority, p *purchase, given map[string]string) bool {
	failures := 0
	fail := func(format string, args ...any) {
		failures++
		m.errorf("%s: "+format, append([]any{p}, args...)...)
	}
	state := m.state(p)
	released := state.Status == sandbox.Released
	if state.Pending > 0 && !released { // an application that was made too late is told so for two hours
		fail("%d messages about it still wait", state.Pending)
	}
	if state.Status == sandbox.Cancelled { // whatever the merchant made of it, nobody has
		m.seen["an order that was refunded"]++
		return failures == 0
	}
	l, installs, known := m.licence(a, p, state)
	if !known {
		fail("the marketplace has it as %s, and the merchant not at all", state.Status)
		return false
	}
	m.sight(p, state)
	if state.Amount != p.Amount {
		m.seen["another quantity"]++
	}
	if l.Channel != channel || l.Order != p.ID || l.Customer != p.customer && state.Interface != sandbox.License2 {
		fail("it is of %s, order %s, sold to %q", l.Channel, l.Order, l.Customer)
	}
	if l.Machines != int(state.Amount) {
		fail("for %d machines, want %d", l.Machines, state.Amount)
	}
	if got := !l.ReleasedAt.IsZero(); got != released {
		fail("released %v, want %v", got, released)
	}
	if !released {
		if got := l.Holds == license.HoldMarketplace; got != state.Frozen || l.Holds&^license.HoldMarketplace != 0 {
			fail("frozen %v, want %v", l.Holds.Names(), state.Frozen)
		}
		if !m.endAgrees(p, state, l) {
			fail("it ends %s, want %s: %+v", l.ExpiresAt, state.ExpiresAt, l.Terms)
		}
		if l.ActivatedAt.IsZero() && inUse(state) {
			fail("it is in use at the marketplace, and not here")
		}
	}
	if !l.ActivatedAt.IsZero() && state.ActivatedAt.IsZero() {
		fail("it is in use here, and not at the marketplace")
	}
	if state.Interface != sandbox.Online && p.Product != v1Free {
		m.copiesAgree(p, l, installs)
	}
	m.soldAs(p, state, l)
	m.recorded(p, state, l, installs)
	m.used(p, state, installs)
	for n := range state.Applications {
		if !m.applied(p, state, n, l, given) {
			failures++
		}
	}
	return failures == 0
}

// endAgrees compares an end that the merchant can know. That of a code is asked
// for every day.
func (m *modelled) endAgrees(p *purchase, state sandbox.CodeState, l license.License) bool {
	return p.cut && state.Interface != sandbox.License2 || l.ExpiresAt.Equal(state.ExpiresAt)
}

// endsAgree compares the ends of the codes about which there was a message: those
// are asked for a minute later, and not only by the daily comparison.
func (m *modelled) endsAgree() {
	a := m.awake().authority
	for _, p := range m.bought {
		state := m.state(p)
		l, _, known := m.licence(a, p, state)
		if state.Interface == sandbox.License2 && known && !p.cut && l.ReleasedAt.IsZero() && !l.ExpiresAt.Equal(state.ExpiresAt) {
			m.errorf("%s: it ends %s, want %s, and that was not asked for", p, l.ExpiresAt, state.ExpiresAt)
		}
	}
}

// recorded checks what goes with a licence in the store: nothing is left of what
// was said before there was one, and the status list says of each install what
// follows from it.
func (m *modelled) recorded(p *purchase, state sandbox.CodeState, l license.License, installs []license.Install) {
	err := m.awake().process.View(m.t.Context(), func(ctx context.Context, tx store.Tx) error {
		if state.Interface == sandbox.License2 {
			if _, err := tx.Pending(ctx, channel, l.Code.Index); !errors.Is(err, license.NotFound) {
				m.errorf("%s: something is pending for a code that is known: %v", p, err)
			}
		}
		for _, inst := range installs {
			is, err := tx.StatusEntry(ctx, inst.Status.List, inst.Status.Index)
			if want := license.StatusOf(l, inst, day); err != nil || is.Status != want.Status {
				m.errorf("%s: the status list says %d of an install (%v), want %d", p, is.Status, err, want.Status)
			}
		}
		return nil
	})
	m.must(err)
}

// inUse reports whether somebody has surely begun to use a purchase: a code is
// activated for a copy, and an instance when its first device has its licence.
func inUse(state sandbox.CodeState) bool {
	switch state.Interface {
	case sandbox.License1:
		return state.InstanceID != ""
	case sandbox.Online:
		return slices.ContainsFunc(state.Applications, func(a sandbox.Application) bool { return a.State == sandbox.Fulfilled })
	case sandbox.License2:
	}
	return false
}

// sight counts what is compared.
func (m *modelled) sight(p *purchase, state sandbox.CodeState) {
	for what, is := range map[string]bool{
		"released": state.Status == sandbox.Released, "frozen": state.Frozen, "expired": state.Status == sandbox.Expired,
		"renewed": len(p.ends) > 2 && state.Status == sandbox.Alive,
	} {
		if is {
			m.seen[fmt.Sprintf("%s %s", what, state.Interface)]++
		}
	}
}

// used checks the reports of use: one number a day, of copies that there are.
func (m *modelled) used(p *purchase, state sandbox.CodeState, installs []license.Install) {
	for _, u := range state.Usage {
		m.seen["a report of use"]++
		if u.ActiveNum < 1 || u.ActiveNum > len(installs) || u.Clients != 0 {
			m.errorf("%s: %d copies and %d names were reported for %s, and there are %d", p, u.ActiveNum, u.Clients, u.Day, len(installs))
		}
	}
}

// jobs are all that the outbox holds.
func (m *modelled) jobs(a *authority.Authority) []license.Job {
	jobs, more, err := a.Jobs(m.t.Context(), store.JobFilter{}, store.Page{Limit: store.MaxPage})
	m.must(err)
	if more != "" {
		m.errorf("there are more than %d jobs", len(jobs))
	}
	return jobs
}

// given are the deliveries that were given up, by application, with the reason.
func (m *modelled) given(a *authority.Authority) map[string]string {
	given := make(map[string]string)
	for _, j := range m.jobs(a) {
		if j.State() == license.JobParked && j.Kind == license.JobDeliver {
			var p struct{ Event string }
			m.must(json.Unmarshal(j.Payload, &p))
			given[p.Event] = j.Failure
		}
	}
	return given
}

// outbox checks that nothing is left to be done but what has to be asked for yet.
func (m *modelled) outbox(a *authority.Authority) {
	for _, j := range m.jobs(a) {
		parked := j.State() == license.JobParked
		if parked && j.Kind == license.JobDeliver || !parked && j.Kind == license.JobCheck && m.options.Now().Before(j.DueAt.Add(time.Minute)) {
			continue // of the ones see applied
		}
		m.errorf("left in the outbox: %s of %s, %s since %s after %d tries: %s", j.Kind, j.Key, j.State(), j.CreatedAt, j.Attempts, j.Failure)
	}
}
