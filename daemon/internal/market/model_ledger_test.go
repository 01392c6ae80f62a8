package market_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// soldAs compares what the marketplace has of a purchase through licence 1.0 with
// what was answered.
func (m *modelled) soldAs(p *purchase, state sandbox.CodeState, l license.License) {
	if !p.v1() {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.saleOf(p.ID)
	got, err := m.verify([]byte(state.License.Reveal()))
	switch {
	case err != nil:
		m.errorf("%s: the licence that the buyer has: %v", p, err)
	case s.instance != state.InstanceID || s.license != l.ID || got.LicenseID != l.ID || l.Instance != s.instance:
		m.errorf("%s: the marketplace has the instance %s, the merchant %s and %s", p, state.InstanceID, s.instance, l.Instance)
	case got.Product != l.Product || got.Machines != int(p.Amount) || got.Order != p.ID || got.Customer != p.customer:
		m.errorf("%s: its licence is for %d of %s, sold to %s as %s", p, got.Machines, got.Product, got.Customer, got.Order)
	case !slices.ContainsFunc(p.ends, got.Dates.ExpiresAt.Equal):
		m.errorf("%s: its licence ends %s, which the order never did: %v", p, got.Dates.ExpiresAt, p.ends)
	case got.Binding.Policy != license.PolicyNone || (p.Product == v1Bound) != got.Dates.LeaseUntil.Before(got.Dates.Exp):
		m.errorf("%s: its licence is bound by %s, with a lease until %s", p, got.Binding.Policy, got.Dates.LeaseUntil)
	}
}

// ledger compares the orders that the marketplace has notified of with those that
// the merchant has on record: each once, and no others.
func (m *modelled) ledger(a *authority.Authority, delivered map[string]bool) {
	lines := make(map[string][]license.Order)
	for page := (authority.Page{}); ; {
		orders, next, err := a.Orders(m.t.Context(), authority.OrderFilter{Channel: channel}, page)
		m.must(err)
		for _, o := range orders {
			lines[o.ID] = append(lines[o.ID], o)
		}
		if page.Cursor = next; next == "" {
			break
		}
	}
	for _, sold := range m.orders {
		m.seen["an order"]++
		is, err := m.asked.Order(m.t.Context(), sold.ID, "")
		m.must(err)
		if why := m.orderAgrees(a, sold, is, lines[sold.ID], delivered); why != "" {
			m.errorf("order %s, %s of %s: %s", sold.ID, sold.Type, sold.Product, why)
			if p := m.purchaseOf(sold); p != nil {
				m.t.Log(m.about(p))
			}
		}
		delete(lines, sold.ID)
	}
	for id := range lines {
		m.errorf("the order %s is on record, and nobody has placed it", id)
	}
}

func (m *modelled) orderAgrees(a *authority.Authority, sold sandbox.Order, is koogallery.Order, on []license.Order, delivered map[string]bool) string {
	if len(on) != 1 {
		var stages []string
		for _, o := range on {
			stages = append(stages, fmt.Sprintf("line %s %s with %q", o.Line, o.Stage, o.License))
		}
		return fmt.Sprintf("it is on record %d times: %v", len(on), stages)
	}
	o, line := on[0], is.Lines[0]
	product := line.Products[0]
	switch {
	case o.Type != string(is.Type) || o.Product != product.ProductID || o.Amount != int(product.Amount) || o.Customer != is.Buyer.CustomerName.Reveal():
		return fmt.Sprintf("on record as %s of %d of %s by %s", o.Type, o.Amount, o.Product, o.Customer)
	case !o.OrderedAt.Equal(is.CreateTime) || !o.ExpiresAt.Equal(line.ExpireTime):
		return fmt.Sprintf("on record as of %s until %s, want %s until %s", o.OrderedAt, o.ExpiresAt, is.CreateTime, line.ExpireTime)
	case o.Line != sold.LineID && !slices.Contains([]string{v1Bound, v1Free}, sold.Product): // 1.0 names no line
		return "on record as line " + o.Line
	}
	if sold.Type != koogallery.OrderNew {
		// A release names the order of its own, before that is read.
		if o.Stage != license.StageCompleted && (sold.Type != koogallery.OrderUnsubscribe || o.Stage != license.StageCancelled) {
			return fmt.Sprintf("it is %s, and there is nothing to be delivered", o.Stage)
		}
		return ""
	}
	p := m.purchaseOf(sold)
	state := m.state(p)
	l, _, known := m.licence(a, p, state)
	if state.Status == sandbox.Cancelled || !known {
		return "" // the marketplace has told nobody
	}
	want := license.StageDelivered
	switch state.Interface {
	case sandbox.License2:
		want = license.StageActivated
	case sandbox.Online:
		if !slices.ContainsFunc(state.Applications, func(app sandbox.Application) bool {
			return delivered[app.EventID]
		}) {
			want = license.StageToDeliver
		}
	case sandbox.License1:
	}
	link := l.ID
	if state.Status == sandbox.Released {
		want = license.StageCancelled
		if o.Stage == license.StageCompleted && slices.ContainsFunc(p.ends, func(end time.Time) bool { return !end.After(m.options.Now()) }) {
			want = o.Stage // its time had run out
		}
		if state.Interface == sandbox.License2 {
			link = o.License // nobody may have known what it is when it was released
		}
	}
	if o.License != link || o.Stage != want || o.Instance != state.InstanceID {
		return fmt.Sprintf("it is %s with %s and the instance %q, want %s with %s and %q", o.Stage, o.License, o.Instance, want, link, state.InstanceID)
	}
	return ""
}

// purchaseOf is what an order bought, nil where it is none of a purchase.
func (m *modelled) purchaseOf(o sandbox.Order) *purchase {
	for _, p := range m.bought {
		if p.ID == o.ID {
			return p
		}
	}
	return nil
}

// facts are what the audit log says of a licence, by the names that it uses.
type facts map[string]string

func written(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func instant(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Format(time.RFC3339)
}

func factsOf(l license.License) facts {
	return facts{
		"customer": written(l.Customer), "order": written(l.Order), "machines": written(l.Machines), "expires_at": written(instant(l.ExpiresAt)),
		"released_at": written(instant(l.ReleasedAt)), "holds": written(l.Holds.Names()),
	}
}

// audit reads the audit log from its beginning: it has no gap, each entry goes on
// from where the one before has left a licence, none says what stood so already,
// and what they add up to is what the licence is. Every delivery is in it but those
// that were given up because nobody knew that they had arrived. It returns the
// applications to which a licence was delivered.
func (m *modelled) audit(a *authority.Authority, given map[string]string) (delivered map[string]bool) {
	delivered = make(map[string]bool)
	known := make(map[string]facts)
	var last int64
	for page := (store.Page{Limit: store.MaxPage}); ; {
		events, next, err := a.Events(m.t.Context(), authority.EventFilter{}, page)
		m.must(err)
		for _, e := range events {
			if e.Seq != last+1 {
				m.errorf("the audit log goes on with %d after %d", e.Seq, last)
			}
			last = e.Seq
			if strings.HasPrefix(string(e.Action), "license.") || e.Action == license.ActionInstance && e.License != "" {
				m.audited(known, e)
			}
			if e.Action == license.ActionDeliver {
				delivered[e.Request] = true
			}
		}
		if page.Cursor = next; next == "" {
			break
		}
	}
	for _, p := range m.bought {
		for _, app := range m.state(p).Applications {
			if _, parked := given[app.EventID]; app.State == sandbox.Fulfilled && !parked && !delivered[app.EventID] {
				m.errorf("%s: the audit log knows of no delivery for %s", p, app.EventID)
			}
		}
	}
	for page := (authority.Page{Limit: store.MaxPage}); ; {
		all, next, err := a.Licenses(m.t.Context(), authority.Filter{}, page)
		m.must(err)
		for _, l := range all {
			for name, is := range factsOf(l.License) {
				if was := known[l.License.ID][name]; was != is {
					m.errorf("the audit log says of %s that %s is %s, and it is %s", l.License.ID, name, was, is)
				}
			}
		}
		if page.Cursor = next; next == "" {
			return delivered
		}
	}
}

func (m *modelled) audited(known map[string]facts, e license.AuditEvent) {
	was := known[e.License]
	if was == nil {
		was = factsOf(license.License{})
		known[e.License] = was
	}
	for name, is := range e.After {
		before, fact := was[name]
		if !fact {
			continue
		}
		if said, ok := e.Before[name]; ok && written(said) != before {
			m.errorf("the audit log, %d: %s of %s changes %s from %s, and it was %s", e.Seq, e.Action, e.License, name, written(said), before)
		}
		if is := written(is); is == before {
			m.errorf("the audit log, %d: %s of %s sets %s to %s, which it was", e.Seq, e.Action, e.License, name, is)
		}
		was[name] = written(is)
	}
}
