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
	"github.com/seed-357fa782/licensed/store/faultstore"
)

// other is a further daemon on the store of a market, which can be killed.
type other struct {
	a      *authority.Authority
	faults *faultstore.Store
	begin  func(do func(ctx context.Context)) // until it is cancelled
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// share starts the market's own daemon anew as one of several.
func (m *market) share() {
	m.t.Helper()
	m.stop()
	m.again(func(o *authority.Options) { o.Shared = true })
	m.run()
}

// other is another daemon beside that of the market, whose clock differs by off.
func (m *market) other(off time.Duration) *other {
	m.t.Helper()
	options := m.options
	now := options.Now
	faults := faultstore.Wrap(m.store)
	options.Store, options.Now = faults, func() time.Time { return now().Add(off) }
	a, err := authority.New(options)
	if err != nil {
		m.t.Fatal(err)
	}
	d := &other{a: a, faults: faults}
	ctx, cancel := context.WithCancel(m.t.Context())
	d.cancel = cancel
	d.begin = func(do func(ctx context.Context)) { d.done.Go(func() { do(ctx) }) }
	return d
}

// kill ends a daemon that can write nothing any more.
func (d *other) kill() {
	d.faults.FailCall(func(faultstore.Call) error { return faultstore.ErrInjected })
	d.cancel()
	d.done.Wait()
}

// Of several daemons one compares with the marketplace, at the pace of one. Where it
// is killed in the middle another goes on where it was, and nothing is asked twice
// but for what was under way.
func TestReconcileOfSeveralDaemons(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{0, 5 * time.Minute, -5 * time.Minute} {
		inMarket(t, func(m *market) {
			m.share()
			for n := range 250 {
				m.sell(fmt.Sprintf("PL%03d", n))
				m.must(m.install(fmt.Sprint(n)).activate(code(t, fmt.Sprintf("PL%03d", n))), "")
			}
			m.stop() // a day of its lists and jobs is not what this is about
			asked := m.up.count("query")
			first := m.other(off)
			first.begin(func(ctx context.Context) {
				first.a.RunReconcile(ctx, "koogallery", func(authority.Reconciled, error) {})
			})
			synctest.Wait()
			results, stop := m.reconcile()
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if n := m.up.count("query") - asked; n != 100 {
				t.Errorf("%d codes are asked about in the time of one page", n)
			}
			first.kill()
			time.Sleep(time.Minute)
			if n := m.up.count("query") - asked; n != 100 {
				t.Errorf("%d codes are asked about while the first may still be there", n)
			}
			time.Sleep(23 * time.Hour)
			done, failures := results()
			if n := m.up.count("query") - asked; n != 250 || len(done) != 1 || done[0].Checked != 250 || len(failures) != 0 {
				t.Errorf("clocks %s apart: %d codes were asked about; %+v, %v", off, n, done, failures)
			}
			stop()
			m.run()
		})
	}
}

// A comparison that one daemon has ended is not begun again by another whose clock
// stands a little before its begin.
func TestReconcileIsNotBegunAgain(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.share()
		m.bought("PL001")
		m.stop()
		asked := m.up.count("query")
		ahead := m.other(5 * time.Minute)
		ahead.begin(func(ctx context.Context) {
			ahead.a.RunReconcile(ctx, "koogallery", func(authority.Reconciled, error) {})
		})
		synctest.Wait()
		results, stop := m.reconcile()
		time.Sleep(20 * time.Hour)
		if done, _ := results(); len(done) != 0 || m.up.count("query")-asked != 1 {
			t.Errorf("asked %d times; %+v", m.up.count("query")-asked, done)
		}
		ahead.cancel()
		ahead.done.Wait()
		stop()
		m.run()
	})
}

// A call that one daemon is about to make is not made by another, although that
// one's clock says that nothing was heard of it for minutes; nor is it lost with the
// daemon.
func TestOutboxOfSeveralDaemons(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{5 * time.Minute, -5 * time.Minute, 0} {
		inMarket(t, func(m *market) {
			m.share()
			id := m.buy("CS1")
			synctest.Wait()
			m.stop() // what follows is done by others
			before := m.desk.times()
			first, second := m.other(0), m.other(off)
			run := func(d *other) {
				d.begin(func(ctx context.Context) { d.a.RunOutbox(ctx, func(authority.JobOutcome) {}) })
				synctest.Wait()
			}
			m.desk.hang(true)
			m.must(m.apply(id, "event-1", pc), "")
			run(first)
			run(second)
			time.Sleep(40 * time.Second)
			synctest.Wait()
			if n := m.desk.times() - before; n != 1 {
				t.Errorf("clocks %s apart: %d calls", off, n)
			}
			first.kill() // it was not answered
			m.desk.hang(false)
			time.Sleep(10 * time.Minute)
			synctest.Wait()
			if n := m.desk.times() - before; n != 2 || len(m.desk.files("event-1")) != 1 || len(m.jobs()) != 0 {
				t.Errorf("clocks %s apart: %d calls, %d deliveries, %d jobs left", off, n, len(m.desk.files("event-1")), len(m.jobs()))
			}
			second.cancel()
			second.done.Wait()
			m.run()
		})
	}
}

// What one daemon queues another carries out soon, while that has the turn and when
// nobody has.
func TestOutboxOfAnotherDaemonsJobs(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.share()
		second := m.other(0)
		second.begin(func(ctx context.Context) { second.a.RunOutbox(ctx, func(authority.JobOutcome) {}) })
		id := m.buy("CS1")
		synctest.Wait()
		m.desk.hang(true)
		m.must(m.apply(id, "event-1", pc), "")
		synctest.Wait()
		m.stop() // with the call under way; what it queued is the other's now
		m.desk.hang(false)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if len(m.desk.files("event-1")) != 1 || len(m.jobs()) != 0 {
			t.Errorf("%d deliveries, %d jobs left", len(m.desk.files("event-1")), len(m.jobs()))
		}
		second.cancel()
		second.done.Wait()
		m.run()
	})
}

// A comparison by hand is gone on with at any daemon; a step that two do at the same
// time counts once.
func TestSyncAcrossDaemons(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.boughtMany(120)
		second := m.other(0)
		first, err := m.a.SyncNext(m.t.Context(), "koogallery", "")
		m.must(err, "")
		next, err := second.a.SyncNext(m.t.Context(), "koogallery", first.Run)
		m.must(err, "")
		last, err := m.a.SyncNext(m.t.Context(), "koogallery", next.Run)
		if err != nil || first.Total.Checked != 50 || next.Total.Checked != 100 || last.Total.Checked != 120 || !last.Done {
			t.Errorf("%d, %d, %d: %v", first.Total.Checked, next.Total.Checked, last.Total.Checked, err)
		}
		again, err := second.a.SyncNext(m.t.Context(), "koogallery", last.Run)
		if err != nil || !again.Done || again.Total.Checked != 120 {
			t.Errorf("%+v, %v", again, err)
		}
		begun, err := m.a.SyncNext(m.t.Context(), "koogallery", "")
		m.must(err, "")
		var reasons [2]license.Reason
		var both sync.WaitGroup
		for k, a := range []*authority.Authority{m.a, second.a} {
			both.Go(func() {
				_, err := a.SyncNext(m.t.Context(), "koogallery", begun.Run)
				reasons[k] = license.ReasonOf(err)
			})
		}
		both.Wait()
		end, err := m.a.SyncNext(m.t.Context(), "koogallery", begun.Run)
		if err != nil || !end.Done || end.Total.Checked != 120 {
			t.Errorf("%+v, %v; the two: %q", end, err, reasons)
		}
		if _, err := m.a.SyncNext(m.t.Context(), "koogallery", first.Run); license.ReasonOf(err) != license.Conflict {
			t.Errorf("a run that was replaced: %v", err)
		}
	})
}
