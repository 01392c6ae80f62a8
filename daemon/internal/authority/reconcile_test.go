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
)

// bought is a code that was sold and activated, with its licence.
type bought struct {
	code license.Code
	end  time.Time
	on   *install
}

func (m *market) bought(s string) bought {
	m.t.Helper()
	c, end := m.sell(s)
	i := m.install("machine " + s)
	m.must(i.activate(c), "")
	return bought{c, end, i}
}

// boughtMany buys and activates PL000 and so many codes in all.
func (m *market) boughtMany(n int) (all []bought) {
	m.t.Helper()
	for k := range n {
		all = append(all, m.bought(fmt.Sprintf("PL%03d", k)))
	}
	return all
}

// upstreamSays changes what the marketplace knows of a code, without a message.
func (m *market) upstreamSays(s string, edit func(*authority.Entitlement)) {
	m.up.mu.Lock()
	defer m.up.mu.Unlock()
	edit(&m.up.codes[s].e)
}

func (m *market) upstreamFails(err error) {
	m.up.mu.Lock()
	defer m.up.mu.Unlock()
	m.up.failAlways = err
}

// reconcile runs the daily comparison until it is stopped, and collects what it
// reports.
func (m *market) reconcile() (results func() (done []authority.Reconciled, failures []error), stop func()) {
	ctx, cancel := context.WithCancel(m.t.Context())
	var mu sync.Mutex
	var done []authority.Reconciled
	var failures []error
	var running sync.WaitGroup
	a := m.a
	running.Go(func() {
		a.RunReconcile(ctx, "koogallery", func(r authority.Reconciled, err error) {
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failures = append(failures, err)
			} else {
				done = append(done, r)
			}
		})
	})
	results = func() ([]authority.Reconciled, []error) {
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return done, failures
	}
	return results, func() { cancel(); running.Wait() }
}

func (m *market) endOf(b bought) time.Time {
	m.t.Helper()
	l, _ := m.license(b.on.held.LicenseID)
	return l.ExpiresAt
}

// What a message did not tell is found within a day and repaired; what the
// merchant has set stays, until the marketplace says something new.
func TestReconcileDaily(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		lost, own, gone := m.bought("PL001"), m.bought("PL002"), m.bought("PL003")
		results, stop := m.reconcile()
		defer stop()
		if done, failures := results(); len(done) != 1 || done[0].Checked != 3 || done[0].Repaired != 0 || len(failures) != 0 {
			t.Fatalf("the first day: %+v, %v", done, failures)
		}
		renewed := lost.end.Add(365 * day)
		m.upstreamSays("PL001", func(e *authority.Entitlement) { e.ExpiresAt = renewed })
		m.upstreamSays("PL003", func(e *authority.Entitlement) { e.Released = true })
		if _, _, err := m.a.Edit(m.t.Context(), admin, own.on.held.LicenseID, authority.Edit{Event: license.EventRenew, For: 30 * day}); err != nil {
			t.Fatal(err)
		}
		hand := m.endOf(own)
		time.Sleep(day)
		done, failures := results()
		if len(done) != 2 || done[1].Checked != 3 || done[1].Repaired != 2 || done[1].Own != 1 || len(failures) != 0 {
			t.Fatalf("the second day: %+v, %v", done, failures)
		}
		if !m.endOf(lost).Equal(renewed) || !m.endOf(own).Equal(hand) || m.state(gone.on.held.LicenseID) != license.StateReleased ||
			m.events(license.ActionConfirm) != 2 {
			t.Errorf("ends %s and %s, %d repairs", m.endOf(lost), m.endOf(own), m.events(license.ActionConfirm))
		}
		said := hand.Add(-10 * day)
		m.upstreamSays("PL002", func(e *authority.Entitlement) { e.ExpiresAt = said })
		if _, err := m.world.say(own.code, license.EventSetExpiry, 1, func(msg *authority.Message) { msg.ExpiresAt = said; msg.SentAt = m.a.Now() }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(day)
		if done, _ := results(); done[2].Own != 0 || done[2].Checked != 2 || !m.endOf(own).Equal(said) {
			t.Errorf("the third day: %+v", done[2])
		}
		now, last, err := m.a.Reconciliation(m.t.Context(), "koogallery")
		if err != nil || now.Checked != 2 || last.Checked != 3 {
			t.Errorf("%+v, %+v, %v", now, last, err)
		}
	})
}

// What a marketplace says that cannot be believed changes nothing and is counted.
func TestReconcileBelievesNothingOdd(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		b := m.bought("PL001")
		for _, edit := range []func(*sold){
			func(s *sold) { s.active = false },
			func(s *sold) { s.e.ExpiresAt = time.Time{} },
		} {
			m.up.mu.Lock()
			was := *m.up.codes["PL001"]
			edit(m.up.codes["PL001"])
			m.up.mu.Unlock()
			if _, err := m.a.Reconcile(m.t.Context(), "koogallery"); err != nil {
				t.Fatal(err)
			}
			if !m.endOf(b).Equal(b.end) || m.events(license.ActionConfirm) != 0 {
				t.Errorf("the end is %s, want %s", m.endOf(b), b.end)
			}
			m.up.mu.Lock()
			*m.up.codes["PL001"] = was
			m.up.mu.Unlock()
		}
		_, err := m.a.Reconcile(m.t.Context(), "nobody")
		m.must(err, license.NotFound)
	})
}

// The comparison is spread over the day, goes on where it was after a restart,
// and waits for a marketplace that is down.
func TestReconcileInPages(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		for n := range 250 {
			m.sell(fmt.Sprintf("PL%03d", n))
			m.must(m.install(fmt.Sprint(n)).activate(code(t, fmt.Sprintf("PL%03d", n))), "")
		}
		asked := m.up.count("query")
		_, stop := m.reconcile()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		first := m.up.count("query") - asked
		stop()
		m.restart()
		m.upstreamFails(errUnreachable)
		var results func() ([]authority.Reconciled, []error)
		results, stop = m.reconcile()
		time.Sleep(time.Hour)
		if done, failures := results(); len(done) != 0 || len(failures) < 5 || len(failures) > 20 {
			t.Errorf("%d ends, %d failures while it is down", len(done), len(failures))
		}
		m.upstreamFails(nil)
		asked = m.up.count("query")
		time.Sleep(22 * time.Hour)
		done, _ := results()
		if first != 100 || len(done) != 1 || done[0].Checked != 250 || m.up.count("query")-asked != 150 {
			t.Errorf("first %d, then %d: %+v", first, m.up.count("query")-asked, done)
		}
		stop()
	})
}

// After a message about an end the marketplace is asked, soon.
func TestCheckAfterMessage(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		b := m.bought("PL001")
		right := b.end.Add(200 * day)
		m.upstreamSays("PL001", func(e *authority.Entitlement) { e.ExpiresAt = right })
		if _, err := m.world.say(b.code, license.EventSetExpiry, 1, func(msg *authority.Message) { msg.ExpiresAt = right.Add(-8 * time.Hour) }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !m.endOf(b).Equal(right.Add(-8 * time.Hour)) {
			t.Errorf("the end is %s", m.endOf(b))
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if !m.endOf(b).Equal(right) || len(m.jobs()) != 0 {
			t.Errorf("the end is %s, want %s; left over: %v", m.endOf(b), right, m.jobs())
		}
	})
}

// An end that the merchant set after a backup is the merchant's own in the store that
// is restored, too, and is not repaired to what the marketplace says.
func TestReconcileAfterARestore(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		own := m.bought("PL001")
		hand := own.end.Add(30 * day)
		lost := authority.Mark{
			Seq: 1000, At: m.a.Now(), Action: license.ActionRenew, License: own.on.held.LicenseID,
			Facts: map[string]any{"expires_at": hand.Format(time.RFC3339)},
		}
		m.must(m.a.BeginRestore(m.t.Context(), authority.Lost{Marks: []authority.Mark{lost}, Complete: true}), "")
		if !m.endOf(own).Equal(hand) {
			t.Fatalf("the restored licence ends %s, want %s", m.endOf(own), hand)
		}
		results, stop := m.reconcile()
		defer stop()
		if done, failures := results(); len(done) != 1 || done[0].Own != 1 || done[0].Repaired != 0 || len(failures) != 0 || !m.endOf(own).Equal(hand) {
			t.Errorf("compared %+v, %v; it ends %s, want %s", done, failures, m.endOf(own), hand)
		}
	})
}
