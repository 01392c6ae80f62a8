package authority_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// hanging is a marketplace that takes a call and never answers.
type hanging struct{ authority.Upstream }

func (hanging) Query(ctx context.Context, _ license.Code) (authority.Entitlement, error) {
	<-ctx.Done()
	return authority.Entitlement{}, errUnreachable.WithCause(ctx.Err())
}

func (m *market) renewed(n int) {
	m.t.Helper()
	for k := range n {
		_, err := m.world.say(code(m.t, fmt.Sprintf("PL%04d", k)), license.EventSetExpiry, 0, func(msg *authority.Message) {
			msg.ReplayKey, msg.SentAt, msg.ExpiresAt = fmt.Appendf(nil, "renewed %d", k), m.a.Now(), m.a.Now().Add(400*day)
		})
		m.must(err, "")
	}
}

// Hundreds of codes to be asked about at a marketplace that hangs hold up
// nothing of another one.
func TestMarketplacesDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		const n = 600
		for k := range n {
			m.bought(fmt.Sprintf("PL%04d", k))
		}
		m.stop()
		m.again(func(o *authority.Options) {
			o.Channels[0].Upstream = hanging{m.up}
			o.Channels = append(o.Channels, authority.Channel{Name: "second", Desk: m.desk})
		})
		m.run()
		m.renewed(n)
		time.Sleep(90 * time.Second)
		at, key := m.sent()
		_, err := m.a.NewInstance(m.t.Context(), authority.Purchase{
			Channel: "second", Order: "CS1", Line: "CS1-1", Business: "business", SentAt: at, ReplayKey: key,
		})
		m.must(err, "")
		time.Sleep(time.Second)
		synctest.Wait()
		if m.desk.times() != 1 {
			t.Errorf("asked %d times", m.desk.times())
		}
	})
}

// counting is a marketplace that is asked about many codes at once.
type counting struct {
	authority.Upstream
	mu    sync.Mutex
	calls []int // how many codes each
}

func (c *counting) QueryMany(ctx context.Context, codes []license.Code) []authority.Queried {
	c.mu.Lock()
	c.calls = append(c.calls, len(codes))
	c.mu.Unlock()
	out := make([]authority.Queried, len(codes))
	for k, code := range codes {
		out[k].Entitlement, out[k].Err = c.Query(ctx, code)
	}
	return out
}

// After many renewals the marketplace is asked about a hundred codes at a time,
// one call after the other, and about each once.
func TestChecksGoTogether(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		const n = 250
		for k := range n {
			m.bought(fmt.Sprintf("PL%04d", k))
		}
		up := &counting{Upstream: m.up}
		m.stop()
		m.again(func(o *authority.Options) { o.Channels[0].Upstream = up })
		m.run()
		m.renewed(n)
		before := m.up.count("query")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		up.mu.Lock()
		defer up.mu.Unlock()
		if asked := m.up.count("query") - before; asked != n || len(up.calls) > 4 || len(m.jobs()) != 0 {
			t.Errorf("asked about %d codes in calls of %v; %d jobs left", asked, up.calls, len(m.jobs()))
		}
	})
}

// Checks that cannot be made for a day are dropped, not parked one by one: the
// daily comparison covers them.
func TestChecksAreNotParked(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.bought("PL0000")
		m.upstreamFails(errUnreachable)
		m.renewed(1)
		time.Sleep(2 * day)
		synctest.Wait()
		if len(m.jobs()) != 0 || m.events(license.ActionJobPark) != 0 {
			t.Errorf("left over: %v", m.jobs())
		}
	})
}

// A clock that is far ahead for a while puts nothing off for long.
func TestOutboxAfterAWrongClock(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.desk.set(errUnreachable)
		id := m.buy("CS1")
		synctest.Wait()
		m.set(20 * day) // within what is believed
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		m.set(-20 * day)
		m.desk.set(nil)
		if _, _, err := m.a.AcceptClock(m.t.Context(), admin, m.a.Now()); err != nil {
			t.Log(err) // where it was not doubted there is nothing to accept
		}
		time.Sleep(4 * time.Hour)
		synctest.Wait()
		if len(m.jobs()) != 0 || m.instance(id).Machines != 2 {
			t.Errorf("still waiting: %v", m.jobs())
		}
	})
}

// A store that cannot be written is told of once, and not hammered.
func TestOutboxOnAFullDisk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, f := loopWorld(t)
		m := &market{world: w, desk: &desk{orders: map[string]authority.OrderInfo{}, delivered: map[string][][]byte{}}}
		m.desk.sell("CS1 CS1-1", authority.OrderInfo{Type: "NEW", Product: "OFFI1", Amount: 2, ExpiresAt: m.a.Now().Add(365 * day)})
		w.again(func(o *authority.Options) { o.Channels[0].Desk = m.desk })
		m.desk.set(errUnreachable)
		m.run()
		id := m.buy("CS1")
		synctest.Wait()
		before := len(m.reported())
		f.FailUpdate(func(faultstore.Update) faultstore.Fault { return faultstore.NotDone })
		time.Sleep(6 * time.Hour)
		synctest.Wait()
		if n := len(m.reported()) - before; n < 1 || n > 3 {
			t.Errorf("%d reports in six hours of a full disk", n)
		}
		f.Reset()
		m.desk.set(nil)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if len(m.jobs()) != 0 || m.instance(id).Order != "CS1" {
			t.Errorf("still waiting: %v", m.jobs())
		}
		m.stop()
	})
}

// One code of which nothing is said that can be believed, alone on its page, and
// one that cannot be read here, do not keep the others from being compared.
func TestReconcileBesideOddCodes(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.boughtMany(101)
		l, _ := m.license("PL050")
		m.must(m.store.Update(m.t.Context(), func(ctx context.Context, tx store.Tx) error {
			l.Code.Sealed = []byte{1, 2, 3}
			return tx.UpdateLicense(ctx, l)
		}), "")
		m.stop()
		m.again(func(o *authority.Options) { o.Channels[0].Upstream = &odd{m.up, "PL100"} })
		m.run()
		results, stop := m.reconcile()
		defer stop()
		renewed := m.a.Now().Add(900 * day)
		m.upstreamSays("PL000", func(e *authority.Entitlement) { e.ExpiresAt = renewed })
		time.Sleep(2*day + time.Hour)
		done, _ := results()
		if l, _ := m.license("PL000"); len(done) < 2 || !l.ExpiresAt.Equal(renewed) || done[0].Failed != 2 {
			t.Errorf("%d ends, %+v, the lost renewal says %s", len(done), done, l.ExpiresAt)
		}
	})
}

// odd is a marketplace with an error of its own for one code.
type odd struct {
	authority.Upstream
	code string
}

func (u *odd) Query(ctx context.Context, c license.Code) (authority.Entitlement, error) {
	if c.Reveal() == u.code {
		return authority.Entitlement{}, errUnreachable
	}
	return u.Upstream.Query(ctx, c)
}
