package market_test

import (
	"bytes"
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/custody"
	"github.com/seed-357fa782/licensed/daemon/internal/market"
	"github.com/seed-357fa782/licensed/internal/teststore"
	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// watched is an entry whose log a test reads, on a clock of its own.
type watched struct {
	t     *testing.T
	a     *authority.Authority
	store store.Store
	now   time.Time
	log   bytes.Buffer
	w     *market.Watch
}

func watch(t *testing.T) *watched {
	t.Helper()
	w := &watched{t: t, now: time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return w.now }
	dir := filepath.Join(t.TempDir(), "keys")
	o := keys.Options{Issuer: "https://licence.example.com", Now: clock}
	if _, err := keys.Init(dir, o); err != nil {
		t.Fatal(err)
	}
	ring, err := keys.Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	w.store = teststore.New(t)
	w.a, err = authority.New(authority.Options{
		Store: w.store, Custody: custody.Ring{Ring: ring}, Codes: ring.CodeKey(), Now: clock, Products: []license.Product{{ID: "cad"}},
		Channels: []authority.Channel{{Name: "koogallery"}, {Name: "quiet"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.w = &market.Watch{Authority: w.a, Log: slog.New(slog.NewTextHandler(&w.log, nil)), Now: clock}
	return w
}

func (w *watched) probe(result string) {
	w.a.Count(authority.Heard{Channel: "koogallery", Activity: "releaseLicenseCode", Result: result, Test: true})
}

// look lets time go by, and returns the lines of the log since.
func (w *watched) look(after time.Duration) []string {
	w.t.Helper()
	w.now = w.now.Add(after)
	w.log.Reset()
	w.w.Look(w.t.Context())
	var lines []string
	for line := range strings.Lines(w.log.String()) {
		lines = append(lines, line)
	}
	return lines
}

// demand checks that there is one line for each of the problems, at its level.
func (w *watched) demand(lines []string, want ...string) {
	w.t.Helper()
	if len(lines) != len(want) {
		w.t.Errorf("%d lines, want %d:\n%s", len(lines), len(want), strings.Join(lines, ""))
		return
	}
	for i, problem := range want {
		level, code, _ := strings.Cut(problem, " ")
		if !strings.Contains(lines[i], "level="+level+" ") || !strings.Contains(lines[i], "problem="+code+" ") ||
			!strings.Contains(lines[i], "marketplace=koogallery ") || !strings.Contains(lines[i], "detail=") || !strings.Contains(lines[i], "mend=") {
			w.t.Errorf("line %d is %q, want %s", i, lines[i], problem)
		}
	}
}

// The log is told of what endangers an entry, once an hour while it lasts.
func TestWatch(t *testing.T) {
	t.Parallel()
	w := watch(t)
	w.demand(w.look(0))
	w.probe("000000")
	w.demand(w.look(23 * time.Hour))
	w.demand(w.look(2*time.Hour), "WARN probes_missing")
	for range 59 {
		w.demand(w.look(time.Minute))
	}
	w.demand(w.look(time.Minute), "WARN probes_missing")
	w.probe("000002")
	w.demand(w.look(time.Minute), "ERROR probes_refused", "WARN bad_days")
	w.demand(w.look(48*time.Hour), "ERROR probes_refused", "WARN probes_missing", "ERROR bad_days") // a day has gone by without one
}

// What is parked and what waits for an hour is told.
func TestWatchOutbox(t *testing.T) {
	t.Parallel()
	w := watch(t)
	err := w.store.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		for id, parked := range map[string]time.Time{"job_1": {}, "job_2": w.now} {
			j := license.Job{ID: id, Kind: license.JobCheck, Channel: "koogallery", CreatedAt: w.now, DueAt: w.now, ParkedAt: parked}
			if err := tx.CreateJob(ctx, j); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.demand(w.look(0), "WARN outbox_parked")
	w.demand(w.look(61*time.Minute), "WARN outbox_parked", "WARN outbox_late")
	w.demand(w.look(time.Minute))
}
