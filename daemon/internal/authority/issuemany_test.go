package authority_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// One licence a row, each with its terms and its audit event, in one commit.
func TestIssueMany(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.commits()
	made, err := w.a.IssueMany(t.Context(), license.Actor{Kind: license.ActorAdmin}, []authority.Order{
		{Product: "cad", Customer: "山田商店", For: 24 * time.Hour},
		{Product: "cad", Order: "A-2", Perpetual: true, Machines: 7},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(made) != 2 || made[0].Code.Reveal() == made[1].Code.Reveal() || w.commits() != before+1 {
		t.Fatalf("%d licences in %d commits", len(made), w.commits()-before)
	}
	first, _, err := w.a.License(t.Context(), made[0].Code.Reveal())
	if err != nil || first.Customer != "山田商店" || !first.ExpiresAt.Equal(begin.Add(24*time.Hour)) {
		t.Errorf("%v: %+v", err, first)
	}
	second, _, err := w.a.License(t.Context(), made[1].License.ID)
	if err != nil || second.Order != "A-2" || second.Machines != 7 || !second.ExpiresAt.IsZero() {
		t.Errorf("%v: %+v", err, second)
	}
	if n := w.events(license.ActionIssue); n != 2 {
		t.Errorf("%d events", n)
	}
}

// One wrong row and nothing is made; every wrong row is named.
func TestIssueManyWrong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := authority.Order{Product: "cad", Perpetual: true}
	_, err := w.a.IssueMany(t.Context(), license.Actor{}, []authority.Order{
		good,
		{Product: "none", Perpetual: true},
		good,
		{Product: "cad"},
		{Product: "cad", Perpetual: true, Customer: "a\x00"},
		{Product: "cad", Perpetual: true, Count: 2},
		good,
	})
	rows, ok := errors.AsType[authority.RowErrors](err)
	if !ok || !errors.Is(err, license.BadRequest) {
		t.Fatal(err)
	}
	got := map[int]string{}
	for _, r := range rows {
		got[r.Row] = r.Err.Field
	}
	want := map[int]string{1: "product", 3: "expires_at", 4: "customer", 5: "count"}
	for row, field := range want {
		if got[row] != field {
			t.Errorf("row %d: %q, want %q", row, got[row], field)
		}
	}
	for _, n := range []int{0, authority.MaxIssue + 1} {
		if _, err := w.a.IssueMany(t.Context(), license.Actor{}, slices.Repeat([]authority.Order{good}, n)); !errors.Is(err, license.BadRequest) {
			t.Errorf("%d rows: %v", n, err)
		}
	}
	ls, _, err := w.a.Licenses(t.Context(), authority.Filter{}, authority.Page{})
	if err != nil || len(got) != len(want) || len(ls) != 0 || w.events(license.ActionIssue) != 0 {
		t.Errorf("%v, rows %v: %d licences, %d events", err, got, len(ls), w.events(license.ActionIssue))
	}
}
