package authority_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// meter is told how much codes are used.
type meter struct {
	mu      sync.Mutex
	reports [][]string
	refuse  []license.Code
	unread  bool
	fail    error
	dislike map[string]bool // codes for which a whole report is refused
	calls   int
}

func (m *meter) ReportUse(_ context.Context, uses []authority.Use) (authority.UseResult, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if m.fail != nil {
		return authority.UseResult{}, m.fail
	}
	var report []string
	for _, u := range uses {
		if m.dislike[u.Code.Reveal()] {
			return authority.UseResult{}, license.Errorf(license.Forbidden, "the marketplace refuses").WithCause(errors.New("92020020 Invalid license code exists"))
		}
		report = append(report, fmt.Sprintf("%s %d", u.Code.Reveal(), u.Active))
	}
	slices.Sort(report)
	m.reports = append(m.reports, report)
	return authority.UseResult{Refused: m.refuse, Unread: m.unread}, nil
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
		m.boughtMany(230)
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

// reported counts how often each code was reported.
func (m *meter) reported() map[string]int {
	out := make(map[string]int)
	for _, report := range m.take() {
		for _, line := range report {
			out[strings.Fields(line)[0]]++
		}
	}
	return out
}

// What could not be reported on its day is not told as another day's use, neither
// by itself nor when somebody has parked jobs tried again.
func TestUsageAfterAnOutage(t *testing.T) {
	t.Parallel()
	metered(t, func(m *market, meter *meter, start func() func()) {
		all := m.boughtMany(250)
		meter.set(errUnreachable)
		defer start()()
		for range 4 {
			time.Sleep(day)
			for _, b := range all {
				m.must(b.on.refresh(), "")
			}
		}
		if n := len(m.jobs()); n > 3 {
			t.Errorf("%d reports wait, of several days", n)
		}
		meter.set(nil)
		time.Sleep(3 * time.Hour) // of one day
		got := meter.reported()
		if len(got) != 250 {
			t.Errorf("%d codes were reported", len(got))
		}
		for code, n := range got {
			if n > 1 {
				t.Errorf("%s was reported %d times within three hours of one day", code, n)
			}
		}
	})
}

// A report that cannot be handed over on its day is not parked as something that
// somebody has to look after.
func TestUsageIsNotParked(t *testing.T) {
	t.Parallel()
	metered(t, func(m *market, meter *meter, start func() func()) {
		m.bought("PL001")
		meter.set(errUnreachable)
		stop := start()
		time.Sleep(time.Minute)
		stop()
		if len(m.jobs()) != 1 {
			t.Errorf("%d jobs", len(m.jobs()))
		}
		time.Sleep(20 * time.Hour)
		synctest.Wait()
		if h := m.health(); len(m.jobs()) != 0 || h.Parked != 0 || m.events(license.ActionJobPark) != 0 {
			t.Errorf("given up: %v", m.jobs())
		}
		// One that an earlier version has parked is told to nobody.
		m.must(m.store.Update(m.t.Context(), func(ctx context.Context, tx store.Tx) error {
			l, _ := m.license("PL001")
			return tx.CreateJob(ctx, license.Job{
				ID: "job_old", Kind: license.JobUsage, Channel: "koogallery", CreatedAt: m.clock(), DueAt: m.clock(), ParkedAt: m.clock(),
				Payload: fmt.Appendf(nil, `{"day":%q,"uses":[{"l":%q,"n":1}]}`, m.options.Now().UTC().Format(time.DateOnly), l.ID),
			})
		}), "")
		if h := m.health(); h.Parked != 0 {
			t.Errorf("it counts as parked: %+v", h.Problems)
		}
		meter.set(nil)
		m.away(9 * day)
		n, _, err := m.a.RetryParked(m.t.Context(), admin, "koogallery")
		m.must(err, "")
		time.Sleep(time.Minute)
		if got := meter.take(); n != 1 || len(got) != 0 || len(m.jobs()) != 0 {
			t.Errorf("%d retried; the use of nine days ago was told as today's: %v", n, got)
		}
	})
}

// One code for which the marketplace refuses a whole report costs the others
// nothing, within a bounded number of calls, and it is recorded which it was.
func TestUsageOfOneBadCode(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bad      []int
		calls    int // at most
		reported int
	}{
		"one":   {[]int{13}, 20, 99},
		"three": {[]int{0, 50, 99}, 45, 97},
		"many":  {[]int{1, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43}, 110, 86},
		"every": {slices.Collect(func(yield func(int) bool) {
			for n := range 100 {
				if !yield(n) {
					return
				}
			}
		}), 16, 0},
	} {
		metered(t, func(m *market, meter *meter, start func() func()) {
			meter.dislike = make(map[string]bool)
			for _, n := range c.bad {
				meter.dislike[fmt.Sprintf("PL%03d", n)] = true
			}
			m.boughtMany(100)
			stop := start()
			time.Sleep(3 * time.Hour)
			stop()
			got := meter.reported()
			if len(got) != c.reported || meter.calls > c.calls {
				t.Errorf("%s: %d codes were reported in %d calls", name, len(got), meter.calls)
			}
			for code, n := range got {
				if n != 1 {
					t.Errorf("%s: %s was reported %d times", name, code, n)
				}
			}
			h := m.health()
			if h.Usage == nil || h.Usage.Codes != c.reported || h.Usage.Refused != len(c.bad) || h.Usage.At.IsZero() || m.events(license.ActionUsageRefused) == 0 || len(m.jobs()) != 0 {
				t.Errorf("%s: %+v, %d events, %v", name, h.Usage, m.events(license.ActionUsageRefused), m.jobs())
			}
			if !slices.Contains(problems(h), "warn usage_refused") {
				t.Errorf("%s: %v", name, problems(h))
			}
		})
	}
}

// A marketplace that falls silent while the bad code is sought is told the rest
// later, and nothing twice.
func TestUsageSilentMeanwhile(t *testing.T) {
	t.Parallel()
	metered(t, func(m *market, told *meter, start func() func()) {
		told.dislike = map[string]bool{"PL013": true}
		m.stop()
		m.again(func(o *authority.Options) { o.Channels[0].Meter = &fading{meter: told, after: 4} })
		m.run()
		m.boughtMany(20)
		stop := start()
		time.Sleep(3 * time.Hour)
		stop()
		got := told.reported()
		for code, n := range got {
			if n != 1 {
				t.Errorf("%s was reported %d times", code, n)
			}
		}
		if len(got) != 19 || len(m.jobs()) != 0 {
			t.Errorf("%d of 19 good codes were reported, %v", len(got), m.jobs())
		}
	})
}

// fading is a meter that every few calls is not reached once.
type fading struct {
	*meter
	after int
}

func (f *fading) ReportUse(ctx context.Context, uses []authority.Use) (authority.UseResult, error) {
	f.mu.Lock()
	f.calls++
	silent := f.calls%f.after == 0
	f.mu.Unlock()
	if silent {
		return authority.UseResult{}, errUnreachable
	}
	return f.meter.ReportUse(ctx, uses)
}

// A licence whose code cannot be read does not keep the others back, and refusals
// that cannot be read are recorded.
func TestUsageUnreadable(t *testing.T) {
	t.Parallel()
	metered(t, func(m *market, meter *meter, start func() func()) {
		m.bought("PL001")
		m.bought("PL002")
		l, _ := m.license("PL001")
		m.must(m.store.Update(m.t.Context(), func(ctx context.Context, tx store.Tx) error {
			l.Code.Sealed = []byte{1, 2, 3}
			return tx.UpdateLicense(ctx, l)
		}), "")
		meter.unread = true
		defer start()()
		time.Sleep(time.Minute)
		got := meter.reported()
		h := m.health()
		if len(got) != 1 || got["PL002"] != 1 || h.Usage == nil || h.Usage.Unreadable != 1 || !h.Usage.Unread || h.Usage.Codes != 1 || m.events(license.ActionUsageRefused) != 1 {
			t.Errorf("%v, %+v, %d events", got, h.Usage, m.events(license.ActionUsageRefused))
		}
	})
}

// Installs without a network are not counted: one for an identification code
// never calls.
func TestUsageOfOffline(t *testing.T) {
	t.Parallel()
	metered(t, func(m *market, meter *meter, start func() func()) {
		b := m.bought("PL001")
		m.away(3 * day) // nobody calls
		m.identified(b.on.held.LicenseID, "8F6034E2-60E1")
		defer start()()
		time.Sleep(time.Minute)
		if got := meter.take(); len(got) != 0 {
			t.Errorf("nobody has called, and reported is %v", got)
		}
	})
}

// Two daemons on one store report once.
func TestUsageOfReplicas(t *testing.T) {
	t.Parallel()
	metered(t, func(m *market, meter *meter, start func() func()) {
		m.boughtMany(250)
		defer start()()
		defer start()()
		time.Sleep(time.Hour)
		for code, n := range meter.reported() {
			if n > 1 {
				t.Errorf("%s was reported %d times", code, n)
			}
		}
		if h := m.health(); h.Usage == nil || h.Usage.Codes != 250 {
			t.Errorf("%+v", h.Usage)
		}
	})
}

// A daemon whose clock is so far behind that it is not trusted does not take the next
// day's report back, nor write one of the day before.
func TestUsageOfADaemonBehind(t *testing.T) {
	t.Parallel()
	metered(t, func(m *market, meter *meter, start func() func()) {
		m.share()
		all := m.boughtMany(10)
		behind := m.other(-30 * time.Minute)
		record := func() {
			for _, a := range []*authority.Authority{m.a, behind.a} {
				if _, err := a.RecordClock(m.t.Context()); err != nil {
					t.Error(err)
				}
			}
		}
		record()
		behind.begin(func(ctx context.Context) { behind.a.RunUsage(ctx, "koogallery", func(err error) { t.Error(err) }) })
		defer func() { behind.cancel(); behind.done.Wait() }()
		defer start()()
		for today := m.options.Now().UTC().Format(time.DateOnly); m.options.Now().UTC().Format(time.DateOnly) == today; record() {
			time.Sleep(time.Minute)
		}
		meter.take() // of the day that is over
		for range 60 {
			time.Sleep(time.Minute)
			record()
			for _, b := range all {
				m.must(b.on.refresh(), "")
			}
		}
		for code, n := range meter.reported() {
			if n > 1 {
				t.Errorf("%s was reported %d times on one day", code, n)
			}
		}
	})
}
