package authority_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// phasesAre makes an edit that leaves a licence with these phases.
func phasesAre(p license.Phases) authority.Edit {
	return authority.Edit{Event: license.EventEdit, Phases: func(license.Phases) license.Phases { return p }}
}

// A licence follows its product but for the phases that it was issued with or
// given later; what is signed next follows, and each change is in the log.
func TestPhasesOfALicense(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := w.issue(func(o *authority.Order) {
		o.Phases = license.Phases{Warn: new(60 * day), Grace: new(time.Duration), Enforcement: license.EnforceDegrade}
	})
	plain := w.issue()
	i, j := w.install("own"), w.install("plain")
	w.must(i.activate(own.Code), "")
	w.must(j.activate(plain.Code), "")
	end := own.License.ExpiresAt
	check := func(i *install, warn, grace time.Duration, e license.Enforcement) {
		t.Helper()
		d := i.held.Dates
		exp := license.Forever
		if e == license.EnforceBlock {
			exp = end.Add(grace)
		}
		if !d.WarnAt.Equal(end.Add(-warn)) || !d.ExpiresAt.Equal(end) || !d.BlockAt.Equal(end.Add(grace)) || d.Enforcement != e || !d.Exp.Equal(exp) {
			t.Errorf("%+v", d)
		}
	}
	check(i, 60*day, 0, license.EnforceDegrade)
	check(j, 30*day, 15*day, license.EnforceBlock)

	edit := func(id string, p license.Phases) bool {
		t.Helper()
		_, changed, err := w.a.Edit(t.Context(), admin, id, phasesAre(p))
		w.must(err, "")
		return changed
	}
	if !edit(plain.License.ID, license.Phases{Grace: new(45 * day)}) || edit(plain.License.ID, license.Phases{Grace: new(45 * day)}) {
		t.Error("a change is one, and the same again is none")
	}
	check(j, 30*day, 15*day, license.EnforceBlock) // what is signed stays as it is
	w.must(j.refresh(), "")
	check(j, 30*day, 45*day, license.EnforceBlock)
	events, _, err := w.a.Events(t.Context(), store.EventFilter{Action: license.ActionEdit}, store.Page{})
	if err != nil || len(events) != 1 {
		t.Fatalf("%v: %+v", err, events)
	}
	if diff := cmp.Diff([]any{map[string]any{"phases": map[string]any{}}, map[string]any{"phases": map[string]any{"grace": "1080h0m0s"}}},
		[]any{events[0].Before, events[0].After}); diff != "" {
		t.Error(diff)
	}
	issued, _, err := w.a.Events(t.Context(), store.EventFilter{Action: license.ActionIssue, License: own.License.ID}, store.Page{})
	want := map[string]any{"warn": "1440h0m0s", "grace": "0s", "enforcement": "degrade"}
	if err != nil || cmp.Diff(want, issued[0].After["phases"]) != "" {
		t.Errorf("%v: %+v", err, issued[0].After)
	}

	// The grace of its own is the one for which an expired licence is refreshed.
	w.pass(365*day + 44*day)
	w.must(j.refresh(), "")
	w.pass(day)
	w.must(j.refresh(), license.Expired)
	w.must(i.refresh(), "") // degrade has no end
	check(i, 60*day, 0, license.EnforceDegrade)

	// What cannot be is refused, and changes nothing.
	for _, bad := range []license.Phases{{Warn: new(-day)}, {Grace: new(time.Millisecond)}, {Enforcement: "lock"}} {
		_, _, err := w.a.Edit(t.Context(), admin, plain.License.ID, phasesAre(bad))
		w.must(err, license.BadRequest)
		_, err = w.a.Issue(t.Context(), admin, authority.Order{Product: "cad", For: day, Phases: bad})
		w.must(err, license.BadRequest)
	}
	if l, _ := w.license(plain.License.ID); !l.Phases.Equal(license.Phases{Grace: new(45 * day)}) {
		t.Errorf("%+v", l.Phases)
	}
	if !edit(plain.License.ID, license.Phases{}) {
		t.Error("following the product again changed nothing")
	}
	w.must(w.edit(plain.License.ID, license.EventRevoke), "")
	_, _, err = w.a.Edit(t.Context(), admin, plain.License.ID, phasesAre(license.Phases{Warn: new(day)}))
	w.must(err, license.Revoked)
}
