package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/license"
)

// callback sends a signed message as the marketplace does, and demands a result
// code.
func callback(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: callback ENTRY KEY-FILE BODY CODE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	key := koogallery.NewAccessKey(strings.TrimSpace(ts.ReadFile(args[1])))
	query := koogallery.SignedQuery(key, rand.Text(), time.Now(), []byte(args[2])).Encode()
	rq, err := http.NewRequestWithContext(ctx, http.MethodPost, ts.Getenv("PUBLIC")+"/marketplace/"+args[0]+"?"+query, strings.NewReader(args[2]))
	ts.Check(err)
	rs, err := http.DefaultClient.Do(rq)
	ts.Check(err)
	body, err := io.ReadAll(rs.Body)
	ts.Check(errors.Join(err, rs.Body.Close()))
	if !strings.Contains(string(body), `"`+args[3]+`"`) {
		ts.Fatalf("HTTP %d %s, want %s", rs.StatusCode, body, args[3])
	}
}

// A comparison goes on step by step, shows how far it is on a terminal, and
// tells every difference of every step.
func TestMarketplaceSync(t *testing.T) {
	const steps = 3
	asked := 0
	fail := 0 // which step fails
	server, calls := fakeDaemon(t, map[string]func([]byte) any{
		"GET /status": func([]byte) any { return adminwire.Status{Channels: []string{"koogallery", "manual-like"}} },
		"POST /marketplaces/manual-like/sync": func([]byte) any {
			return license.Errorf(license.NotFound, "there is no marketplace with an open API")
		},
		"POST /marketplaces/koogallery/sync": func(body []byte) any {
			var in adminwire.Sync
			if err := json.Unmarshal(body, &in); err != nil {
				t.Error(err)
			}
			if (asked == 0) != (in.Run == "") {
				t.Errorf("step %d goes on with run %q", asked, in.Run)
			}
			if asked++; asked == fail {
				return license.Errorf(license.MarketplaceUnavailable, "the marketplace does not answer")
			}
			id := fmt.Sprintf("lic_%d", asked)
			return adminwire.Synced{
				Channel: "koogallery", Run: "sync_1", Done: asked == steps,
				Total: adminwire.Compared{Checked: 50 * asked, Repaired: asked, Failed: asked / steps},
				Step: []adminwire.Difference{{
					License: id, Outcome: "repaired",
					Before: map[string]any{"expires_at": "2026-01-01T00:00:00Z", "released_at": nil}, After: map[string]any{"expires_at": "2027-01-01T00:00:00Z", "released_at": "x"},
				}},
			}
		},
	})
	s := newScreen(t, "")
	s.talkative = true
	if got := s.run(t.Context(), []string{"licensectl", "--server", server, "marketplace", "sync"}); got != exitFailed {
		t.Errorf("exit %d", got)
	}
	for _, want := range []string{"lic_1  repaired  expires_at 2026-01-01T00:00:00Z → 2027-01-01T00:00:00Z, released_at none → x\n", "lic_2", "lic_3", "koogallery: 150 codes compared, 3 repaired, 0 set by the merchant, 1 failed\n"} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("%q is missing in:\n%s", want, &s.out)
		}
	}
	if !strings.Contains(s.err.String(), "koogallery: 100 codes compared, 2 repaired") || !strings.Contains(s.err.String(), "nothing that can be believed of 1 code\n") {
		t.Errorf("on the screen: %q", &s.err)
	}

	// What was done before a failure is told.
	asked, fail = 0, 3
	s = newScreen(t, "")
	if got := s.run(t.Context(), []string{"licensectl", "--server", server, "marketplace", "sync", "koogallery", "-o", "json"}); got != exitFailed {
		t.Errorf("exit %d", got)
	}
	var report syncReport
	if err := json.Unmarshal(s.out.Bytes(), &report); err != nil || len(report.Syncs) != 1 || len(report.Syncs[0].Step) != 2 || report.Syncs[0].Done {
		t.Errorf("%v: %s", err, &s.out)
	}
	if !strings.Contains(s.err.String(), "compare the codes of koogallery, after 100: the marketplace does not answer (marketplace_unavailable)") {
		t.Errorf("on the screen: %q", &s.err)
	}
	s = newScreen(t, "")
	if got := s.run(t.Context(), []string{"licensectl", "--server", server, "marketplace", "sync", "manual-like"}); got != exitNotFound || calls["POST /marketplaces/manual-like/sync"] != 2 {
		t.Errorf("an entry without an open API: exit %d, %v", got, calls)
	}
}

// More parked jobs than one call puts back are put back by several.
func TestOutboxRetryAll(t *testing.T) {
	left := 450
	server, calls := fakeDaemon(t, map[string]func([]byte) any{
		"POST /jobs/retry": func(body []byte) any {
			var r adminwire.RetryJobs
			if err := json.Unmarshal(body, &r); err != nil || r.AllParked == (len(r.Jobs) > 0) || len(r.Jobs) > 100 {
				t.Errorf("%v: %s", err, body)
			}
			n := len(r.Jobs)
			if r.AllParked {
				n = min(left, 200)
				left -= n
			}
			return adminwire.RetriedJobs{Retried: n, Jobs: []adminwire.Job{}, More: r.AllParked && left > 0}
		},
	})
	s := newScreen(t, "")
	if got := s.run(t.Context(), []string{"licensectl", "--server", server, "marketplace", "outbox", "retry", "--all-parked"}); got != exitDone ||
		s.out.String() != "450 jobs are tried again at once\n" || calls["POST /jobs/retry"] != 3 {
		t.Errorf("exit %d after %v: %s%s", got, calls, &s.out, &s.err)
	}
	args := []string{"licensectl", "--server", server, "marketplace", "outbox", "retry"}
	for n := range 250 {
		args = append(args, fmt.Sprintf("job_%d", n))
	}
	s = newScreen(t, "")
	if got := s.run(t.Context(), args); got != exitDone || s.out.String() != "250 jobs are tried again at once\n" || calls["POST /jobs/retry"] != 6 {
		t.Errorf("exit %d after %v: %s%s", got, calls, &s.out, &s.err)
	}
}

// What is dropped is asked about first.
func TestOutboxDropAsks(t *testing.T) {
	for answer, want := range map[string]int{"y\n": exitDone, "n\n": exitFailed} {
		server, calls := fakeDaemon(t, map[string]func([]byte) any{
			"POST /jobs/job_1/drop": func([]byte) any { return adminwire.Job{ID: "job_1", Kind: license.JobDeliver} },
		})
		s := newScreen(t, answer)
		s.interactive = true
		got := s.run(t.Context(), []string{"licensectl", "--server", server, "marketplace", "outbox", "drop", "job_1"})
		if got != want || (calls["POST /jobs/job_1/drop"] == 1) != (want == exitDone) || !strings.Contains(s.err.String(), "Drop job_1? What it was to do is not done. [y/N] ") {
			t.Errorf("%q: exit %d after %v: %s", answer, got, calls, &s.err)
		}
	}
}

// Where no entry has an open API a comparison of all fails, and says so.
func TestMarketplaceSyncOfNone(t *testing.T) {
	none := func([]byte) any { return license.Errorf(license.NotFound, "there is no marketplace with an open API") }
	server, _ := fakeDaemon(t, map[string]func([]byte) any{
		"GET /status":                 func([]byte) any { return adminwire.Status{Channels: []string{"one", "two"}} },
		"POST /marketplaces/one/sync": none, "POST /marketplaces/two/sync": none,
	})
	s := newScreen(t, "")
	if got := s.run(t.Context(), []string{"licensectl", "--server", server, "marketplace", "sync"}); got != exitNotFound ||
		!strings.Contains(s.err.String(), "none of the marketplace entries has an open API (one, two)") {
		t.Errorf("exit %d: %s%s", got, &s.out, &s.err)
	}
}
