package authority_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// meter is told how much codes are used.
type meter struct {
	mu      sync.Mutex
	reports [][]string
	refuse  []license.Code
	fail    error
}

func (m *meter) ReportUse(_ context.Context, uses []authority.Use) ([]license.Code, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return nil, m.fail
	}
	var report []string
	for _, u := range uses {
		report = append(report, fmt.Sprintf("%s %d", u.Code.Reveal(), u.Active))
	}
	slices.Sort(report)
	m.reports = append(m.reports, report)
	return m.refuse, nil
}

func (m *meter) set(fail error, refuse ...license.Code) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail, m.refuse = fail, refuse
}

// take returns what was reported since the last time.
func (m *meter) take() [][]string {
	synctest.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.reports
	m.reports = nil
	return out
}

// metered runs fn in a world whose marketplace is told of use.
func metered(t *testing.T, fn func(m *market, meter *meter, start func() (stop func()))) {
	t.Helper()
	inMarket(t, func(m *market) {
		told := &meter{}
		m.stop()
		m.again(func(o *authority.Options) { o.Channels[0].Meter = told })
		m.run()
		fn(m, told, func() func() {
			ctx, cancel := context.WithCancel(m.t.Context())
			var running sync.WaitGroup
			a := m.a
			running.Go(func() { a.RunUsage(ctx, "koogallery", func(err error) { m.t.Error(err) }) })
			return func() { cancel(); running.Wait() }
		})
	})
}

// Once a day each code that was used is reported with the number of its
// installs that called, and no other.
func TestUsage(t *testing.T) {
	t.Parallel()
	metered(t, func(m *market, meter *meter, start func() func()) {
		one, two := m.bought("PL001"), m.bought("PL002")
		m.must(m.install("machine PL001").activate(one.code), "") // a second install on the machine
		manual := m.issue()
		m.must(m.install("manual").activate(manual.Code), "")
		time.Sleep(time.Hour)
		stop := start()
		if got := meter.take(); len(got) != 1 || !slices.Equal(got[0], []string{"PL001 2", "PL002 1"}) {
			t.Errorf("the first day: %v", got)
		}
		stop()
		stop = start() // a restart
		time.Sleep(time.Hour)
		if got := meter.take(); len(got) != 0 {
			t.Errorf("twice in a day: %v", got)
		}
		m.must(two.on.refresh(), "")
		time.Sleep(day)
		if got := meter.take(); len(got) != 1 || !slices.Equal(got[0], []string{"PL002 1"}) {
			t.Errorf("the second day: %v", got)
		}
		time.Sleep(3 * day)
		if got := meter.take(); len(got) != 0 {
			t.Errorf("days on which nobody called: %v", got)
		}
		stop()
	})
}

// A report that the marketplace cannot take is handed over later, and one that
// it refuses in part is recorded.
func TestUsageFails(t *testing.T) {
	t.Parallel()
	metered(t, func(m *market, meter *meter, start func() func()) {
		b := m.bought("PL001")
		meter.set(errUnreachable)
		defer start()()
		time.Sleep(time.Hour)
		if got := meter.take(); len(got) != 0 || len(m.jobs()) != 1 {
			t.Errorf("%v, %d jobs", got, len(m.jobs()))
		}
		meter.set(nil, b.code)
		time.Sleep(2 * time.Hour)
		if got := meter.take(); len(got) != 1 || len(m.jobs()) != 0 || m.events(license.ActionUsageRefused) != 1 {
			t.Errorf("%v, %d jobs, %d refusals", got, len(m.jobs()), m.events(license.ActionUsageRefused))
		}
	})
}

// Many codes are reported a hundred at a time.
func TestUsageInBatches(t *testing.T) {
	t.Parallel()
	metered(t, func(m *market, meter *meter, start func() func()) {
		for n := range 230 {
			m.bought(fmt.Sprintf("PL%03d", n))
		}
		defer start()()
		time.Sleep(time.Minute)
		total := 0
		got := meter.take()
		for _, report := range got {
			total += len(report)
		}
		if len(got) != 3 || total != 230 {
			t.Errorf("%d codes in %d reports", total, len(got))
		}
	})
}
