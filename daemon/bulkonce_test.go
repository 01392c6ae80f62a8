package daemon_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/wire"
)

// A thousand codes are sold once under one key, whoever asks at the same time, and
// all of them are there again after a lost answer, also one that was never kept.
func TestBulkOnce(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	rows := make([]adminwire.BulkRow, 1000)
	for i := range rows {
		rows[i] = adminwire.BulkRow{Product: "cad", For: "365d", Customer: fmt.Sprintf("customer %d", i)}
	}
	body, err := json.Marshal(adminwire.BulkIssue{Rows: rows})
	m.ok(err)
	wrong := strings.Replace(string(body), `"product":"cad"`, `"product":"none"`, 1)
	send := func(body string) (*http.Response, string) {
		return m.staff(http.MethodPost, adminwire.PathBulk, body, adminwire.HeaderKey, "batch 1")
	}
	// Rows that are wrong use the key up for nobody.
	if _, text := send(wrong); len(decode[adminwire.BulkIssued](t, text).Errors) != 1 {
		t.Fatalf("%.200s", text)
	}
	if _, dry := m.staff(http.MethodPost, adminwire.PathBulk+"?dry_run=true", string(body), adminwire.HeaderKey, "batch 1"); strings.Contains(dry, "LIC-") {
		t.Error("a dry run shows codes")
	}
	var done sync.WaitGroup
	answers := make([]string, 6)
	for i := range answers {
		done.Go(func() { _, answers[i] = send(string(body)) })
	}
	done.Wait()
	first := ""
	for _, text := range answers {
		if p := decode[wire.Problem](t, text); p.Reason == license.Conflict && p.RetryAfter > 0 {
			continue
		}
		if first == "" {
			first = text
		}
		if text != first {
			t.Errorf("two answers: %.200s and %.200s", first, text)
		}
	}
	made := decode[adminwire.BulkIssued](t, first)
	codes := map[string]bool{}
	for _, l := range made.Licenses {
		codes[l.Code] = true
	}
	if len(made.Licenses) != 1000 || len(codes) != 1000 {
		t.Fatalf("%d licences with %d codes", len(made.Licenses), len(codes))
	}
	m.loseAnswers()
	rs, again := send(string(body))
	if again != first || rs.Header.Get(adminwire.HeaderReplayed) != "true" {
		t.Errorf("HTTP %d: the codes that were lost are not there again", rs.StatusCode)
	}
	if n := len(m.events()); n < 1000 {
		t.Errorf("%d events", n)
	}
	issued := 0
	for cursor := ""; ; {
		var page adminwire.LicenseList
		m.ok(asError(m.admin(http.MethodGet, adminwire.PathLicenses+"?limit=1000&cursor="+cursor, nil, &page)))
		issued += len(page.Licenses)
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if issued != 1000 {
		t.Errorf("%d licences were made", issued)
	}
}
