package authority_test

import (
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/license"
)

// The merchant removes one of two machines: its seat is free, the status list
// and its next call say so, and the other goes on.
func TestRemoveInstall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(p *license.Product) { p.Machines, p.Transfers = 2, license.TransferPolicy{PerYear: 1} })
	is := w.issue()
	a, b, c := w.install("a"), w.install("b"), w.install("c")
	w.must(a.activate(is.Code), "")
	w.must(b.activate(is.Code), "")
	w.must(c.activate(is.Code), license.MachineLimit)
	remove := func(ref, id, reason string) (bool, error) {
		i, changed, err := w.a.RemoveInstall(t.Context(), admin, ref, id, reason)
		if err == nil && (i.ID != id || i.State != license.InstallRemoved || i.EndedAt.IsZero()) {
			t.Errorf("removed: %+v", i)
		}
		return changed, err
	}
	for _, wrong := range []struct {
		ref, id, reason string
		want            license.Reason
	}{
		{is.License.ID, "nobody", "", license.NotFound},
		{"lic_nobody", a.held.InstallID, "", license.UnknownLicense},
		{w.issue().License.ID, a.held.InstallID, "", license.NotFound},
		{is.License.ID, a.held.InstallID, "a\nb", license.BadRequest},
		{is.License.ID, a.held.InstallID, strings.Repeat("x", 513), license.BadRequest},
	} {
		_, err := remove(wrong.ref, wrong.id, wrong.reason)
		w.must(err, wrong.want)
	}
	w.wantListed("refused removals", valid, a, b)

	for _, first := range []bool{true, false} {
		changed, err := remove(is.License.ID, a.held.InstallID, "the laptop was stolen")
		w.must(err, "")
		if changed != first {
			t.Errorf("changed %v, want %v", changed, first)
		}
	}
	if n := w.events(license.ActionRemove); n != 1 {
		t.Errorf("%d audit events", n)
	}
	w.wantListed("removed", revoked, a)
	w.wantListed("the other", valid, b)
	w.must(a.refresh(), license.Unauthorized)
	w.must(b.refresh(), "")
	w.must(c.activate(is.Code), "") // the seat is free
}
