package authority_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// sync runs a comparison by hand to its end and returns its steps.
func (m *market) sync() (steps []authority.Sync) {
	m.t.Helper()
	run := ""
	for {
		s, err := m.a.SyncNext(m.t.Context(), "koogallery", run)
		if err != nil {
			m.t.Fatal(err)
		}
		if steps = append(steps, s); s.Done {
			return steps
		}
		run = s.Run
	}
}

// A comparison by hand names what it has repaired, what it left, and of what
// nothing that could be believed was said.
func TestSync(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		lost, own, odd := m.bought("PL001"), m.bought("PL002"), m.bought("PL003")
		for n := range 60 {
			m.bought(fmt.Sprintf("PL1%02d", n))
		}
		renewed := lost.end.Add(365 * day)
		m.upstreamSays("PL001", func(e *authority.Entitlement) { e.ExpiresAt = renewed })
		if _, _, err := m.a.Edit(m.t.Context(), admin, own.on.held.LicenseID, authority.Edit{Event: license.EventRenew, For: 30 * day}); err != nil {
			t.Fatal(err)
		}
		hand := m.endOf(own)
		m.up.mu.Lock()
		m.up.codes["PL003"].active = false
		m.up.mu.Unlock()

		steps := m.sync()
		want := []authority.Difference{
			{
				License: lost.on.held.LicenseID, Outcome: authority.OutcomeRepaired,
				Before: map[string]any{"expires_at": lost.end.UTC().Format(time.RFC3339)}, After: map[string]any{"expires_at": renewed.UTC().Format(time.RFC3339)},
			},
			{
				License: own.on.held.LicenseID, Outcome: authority.OutcomeOwn,
				Before: map[string]any{"expires_at": hand.UTC().Format(time.RFC3339)}, After: map[string]any{"expires_at": own.end.UTC().Format(time.RFC3339)},
			},
			{License: odd.on.held.LicenseID, Outcome: authority.OutcomeFailed, Failure: "unknown_code: the marketplace says that the code was never activated"},
		}
		if diff := cmp.Diff(want, steps[0].Step); diff != "" {
			t.Errorf("the first step (-want +got):\n%s", diff)
		}
		last := steps[len(steps)-1]
		if len(steps) != 2 || len(last.Step) != 0 || last.Total.Checked != 63 || last.Total.Repaired != 1 || last.Total.Own != 1 || last.Total.Failed != 1 ||
			len(last.Total.Differences) != 3 || last.Total.EndedAt.IsZero() || !m.endOf(lost).Equal(renewed) || !m.endOf(own).Equal(hand) {
			t.Errorf("%d steps, the last %+v", len(steps), last)
		}
		h := m.health()
		if h.Compared == nil || h.Compared.Checked != 63 || !slices.Contains(problems(h), "warn comparison_failed") {
			t.Errorf("%+v, %v", h.Compared, problems(h))
		}
		// Again nothing is repaired.
		if again := m.sync(); again[1].Total.Repaired != 0 || again[1].Total.Own != 1 {
			t.Errorf("again: %+v", again[1].Total)
		}
	})
}

// A run goes on where it was, a step that failed is done again, and what was
// replaced is a conflict.
func TestSyncRuns(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		for n := range 60 {
			m.bought(fmt.Sprintf("PL1%02d", n))
		}
		next := func(run string) (authority.Sync, error) { return m.a.SyncNext(m.t.Context(), "koogallery", run) }
		first, err := next("")
		if err != nil || first.Done || first.Total.Checked != 50 {
			t.Fatalf("%+v, %v", first, err)
		}
		m.upstreamFails(errUnreachable)
		_, err = next(first.Run)
		m.must(err, license.MarketplaceUnavailable)
		m.upstreamFails(nil)
		for range 2 { // the first answer is lost
			if end, err := next(first.Run); err != nil || !end.Done || end.Total.Checked != 60 {
				t.Fatalf("%+v, %v", end, err)
			}
		}
		other, err := next("")
		m.must(err, "")
		_, err = next(first.Run)
		m.must(err, license.Conflict)
		m.restart()
		if end, err := next(other.Run); err != nil || !end.Done || end.Total.Checked != 60 {
			t.Fatalf("after a restart: %+v, %v", end, err)
		}
		_, err = m.a.SyncNext(m.t.Context(), "nobody", "")
		m.must(err, license.NotFound)
	})
}

// The list of differences that is kept is bounded; a step tells all of its own.
func TestSyncKeepsSomeDifferences(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		for n := range 120 {
			name := fmt.Sprintf("PL%03d", n)
			m.bought(name)
			m.upstreamSays(name, func(e *authority.Entitlement) { e.ExpiresAt = e.ExpiresAt.Add(day) })
		}
		told := 0
		steps := m.sync()
		for _, s := range steps {
			told += len(s.Step)
		}
		if total := steps[len(steps)-1].Total; told != 120 || total.Repaired != 120 || len(total.Differences) != 100 {
			t.Errorf("%d told, %d repaired, %d kept", told, total.Repaired, len(total.Differences))
		}
	})
}

// A daily comparison that does not come to its end is told, until one by hand has.
func TestComparisonStalls(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.boughtMany(120)
		results, stop := m.reconcile()
		defer stop()
		results() // the first page
		m.upstreamFails(errUnreachable)
		time.Sleep(37 * time.Hour)
		results()
		if got := problems(m.health()); !slices.Contains(got, "warn comparison_stalled") {
			t.Errorf("%v", got)
		}
		m.upstreamFails(nil)
		m.sync()
		if got := problems(m.health()); slices.Contains(got, "warn comparison_stalled") {
			t.Errorf("after one by hand: %v", got)
		}
	})
}

// A comparison by hand passes over the codes about which alone the marketplace
// does not answer, as the daily one does.
func TestSyncBesideOddCodes(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.boughtMany(101)
		m.stop()
		m.again(func(o *authority.Options) { o.Channels[0].Upstream = &odd{m.up, "PL100"} }) // alone on its page
		m.run()
		renewed := m.a.Now().Add(900 * day)
		m.upstreamSays("PL000", func(e *authority.Entitlement) { e.ExpiresAt = renewed })
		done, err := m.a.Reconcile(m.t.Context(), "koogallery")
		if l, _ := m.license("PL000"); err != nil || done.Failed != 1 || done.Checked != 100 || !l.ExpiresAt.Equal(renewed) {
			t.Errorf("%+v (%v), the lost renewal says %s", done, err, l.ExpiresAt)
		}
	})
}

// What could not be compared is named by its licence and the end of its code.
func TestComparisonNamesWhatFailed(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.bought("PL0000000001")
		m.bought("PL0000000002")
		l, _ := m.license("PL0000000002")
		m.stop()
		m.again(func(o *authority.Options) { o.Channels[0].Upstream = &odd{m.up, "PL0000000002"} })
		m.run()
		if _, err := m.a.Reconcile(m.t.Context(), "koogallery"); err != nil {
			t.Fatal(err)
		}
		got := detail(m.health(), authority.ProblemComparisonFailed)
		if !strings.Contains(got, "believed of 1 of 2 codes, as "+l.ID+" (…0002): ") || strings.Contains(got, "PL0000000002") {
			t.Errorf("%q", got)
		}
	})
}
