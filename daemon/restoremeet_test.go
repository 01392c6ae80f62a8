package daemon_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// A call with an idempotency key that was answered after the backup is not made
// again: its caller has the answer, and looks at what became of it.
func TestRestoreForgetsNoIdempotencyKey(t *testing.T) {
	t.Parallel()
	m := start(t, config, nil)
	l := m.issue()
	const order = `{"product":"cad","for":"365d"}`
	rs, before := m.staff(http.MethodPost, adminwire.PathLicenses, order, adminwire.HeaderKey, "before")
	if rs.StatusCode != http.StatusOK {
		t.Fatal(before)
	}
	copied := m.backup()
	for _, call := range [][2]string{{adminwire.PathLicenses, order}, {at(adminwire.PathRenew, l.ID), `{"for":"30d"}`}} {
		if rs, text := m.staff(http.MethodPost, call[0], call[1], adminwire.HeaderKey, "after "+call[0]); rs.StatusCode != http.StatusOK {
			t.Fatal(text)
		}
	}
	end := m.shown(l.ID).ExpiresAt
	m.goBack(copied)
	had := len(m.licenses())
	for _, call := range [][2]string{{adminwire.PathLicenses, order}, {at(adminwire.PathRenew, l.ID), `{"for":"30d"}`}} {
		rs, text := m.staff(http.MethodPost, call[0], call[1], adminwire.HeaderKey, "after "+call[0])
		if p := problem(t, rs, text); p.Reason != license.Conflict || !strings.Contains(p.Detail, "restored") {
			t.Errorf("%s again: %s", call[0], text)
		}
	}
	if is := m.shown(l.ID).ExpiresAt; !is.Equal(*end) {
		t.Errorf("the licence was renewed twice: until %s, not %s", is, end)
	}
	if is := len(m.licenses()); is != had {
		t.Errorf("%d licences were issued again", is-had)
	}
	if _, again := m.staff(http.MethodPost, adminwire.PathLicenses, order, adminwire.HeaderKey, "before"); again != before {
		t.Errorf("what was answered before the backup is %s, and was %s", again, before)
	}
	if rs, text := m.staff(http.MethodPost, adminwire.PathLicenses, order, adminwire.HeaderKey, "new"); rs.StatusCode != http.StatusOK {
		t.Errorf("a new key: %s", text)
	}
}

// Moves to other machines since the backup count towards those of the year.
func TestRestoreCountsMoves(t *testing.T) {
	t.Parallel()
	m, forward := startAhead(t, strings.Replace(config, "machines: 2,", "machines: 1, transfers: {per_year: 2, cool_down: 0s},", 1), nil)
	l := m.issue()
	m.ok(m.machine("x").activate(l.Code))
	copied := m.backup()
	forward(time.Hour)
	m.ok(m.machine("y").start().Transfer(t.Context(), l.Code, ""))
	forward(time.Hour)
	m.post(adminwire.PathTransfer, l.ID, adminwire.MoveOff{})
	m.ok(m.machine("z").activate(l.Code))
	forward(time.Hour)
	m.goBack(copied)
	m.goBack(copied) // twice: none counts double
	wantReason(t, "a third move of the year", m.machine("w").start().Transfer(t.Context(), l.Code, ""), license.TransferLimit)
}
