package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// allRecords reads every record of a store, by pages of a few.
func allRecords(t *testing.T, st store.Store) (out []store.Record) {
	t.Helper()
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		out = nil
		for _, kind := range store.RecordKinds() {
			for cursor := ""; ; {
				page, next, err := tx.Records(ctx, kind, store.Page{Limit: 2, Cursor: cursor})
				if err != nil {
					return fmt.Errorf("%s: %w", kind, err)
				}
				out = append(out, page...)
				if cursor = next; next == "" {
					break
				}
			}
		}
		return nil
	})
	return out
}

// FillAll makes records of every kind, and changes them, so that their
// revisions are not those of new ones.
func FillAll(ctx context.Context, tx store.Tx) error {
	l := newLicense("lic_1")
	second := newLicense("lic_2")
	second.Code.Index = []byte("another-code")
	i := newInstall("lic_1", "i1")
	i.Answer = json.RawMessage("{ \"a\":  \"<&>\u2028\" }")
	i.Status = license.StatusRef{List: "sl_1", Index: 3}
	j, parked := newJob("job_1", "key"), parkedJob("job_2", "key")
	o := newOrder("koogallery", "CS1", "1")
	for _, step := range []error{
		tx.PutStatusList(ctx, license.StatusList{ID: "sl_1", Length: 8, Seed: make([]byte, license.StatusSeedLen), Next: 4, SignedAt: base}),
		tx.PutStatusEntry(ctx, "sl_1", license.StatusEntry{Index: 3, Status: license.StatusRevoked, FinalAt: base}),
		tx.PutStatusEntry(ctx, "sl_1", license.StatusEntry{Index: 5, Status: license.StatusSuspended}),
		tx.CreateLicense(ctx, l), tx.CreateLicense(ctx, second), tx.CreateInstall(ctx, i),
		tx.CreateJob(ctx, j), tx.CreateJob(ctx, parked), tx.CreateOrder(ctx, o),
		tx.PutPending(ctx, license.Pending{Channel: "koogallery", CodeIndex: []byte{0, 1, 255}, FirstAt: base, LastAt: base}),
		tx.MarkSeen(ctx, []byte{0, 10, 255}, base, base), tx.SetValue(ctx, "empty", []byte{}), tx.SetValue(ctx, "some", []byte{0, 255}),
	} {
		if step != nil {
			return step
		}
	}
	l.Revision, i.Revision, j.Revision, o.Revision = 1, 1, 1, 1
	l.Customer = "Other"
	for _, step := range []error{
		tx.UpdateLicense(ctx, l), tx.UpdateInstall(ctx, i), tx.UpdateJob(ctx, j), tx.UpdateOrder(ctx, o),
	} {
		if step != nil {
			return step
		}
	}
	for n := range 3 {
		if _, err := tx.Append(ctx, license.AuditEvent{At: base, Action: license.ActionIssue, License: "lic_1", After: map[string]any{"n": n}}); err != nil {
			return err
		}
	}
	return nil
}

// What Records lists, PutRecord makes again, exactly.
func (s suite) records(t *testing.T) {
	from, to := s.open(t), s.open(t)
	update(t, from, FillAll)
	want := allRecords(t, from)
	kinds := make(map[store.RecordKind]int)
	for _, r := range want {
		kinds[r.Kind]++
	}
	for _, kind := range store.RecordKinds() {
		if kinds[kind] == 0 {
			t.Errorf("there is no record of the kind %s", kind)
		}
	}
	update(t, to, func(ctx context.Context, tx store.Tx) error {
		for _, r := range want {
			if err := tx.PutRecord(ctx, r); err != nil {
				return fmt.Errorf("%s %s: %w", r.Kind, r.Data, err)
			}
		}
		return nil
	})
	got := allRecords(t, to)
	if len(got) != len(want) {
		t.Fatalf("%d records of %d", len(got), len(want))
	}
	for n := range want {
		if want[n].Kind != got[n].Kind || string(want[n].Data) != string(got[n].Data) {
			t.Errorf("record %d is\n%s %s, want\n%s %s", n, got[n].Kind, got[n].Data, want[n].Kind, want[n].Data)
		}
	}
	// It is as if they had been made there: indexes lead to them, and revisions count on.
	update(t, to, func(ctx context.Context, tx store.Tx) error {
		l, err := tx.LicenseByCode(ctx, newLicense("lic_1").Code.Index)
		if err != nil || l.Revision != 2 || l.Customer != "Other" {
			t.Errorf("the code leads to %+v, %v", l, err)
		}
		i, err := tx.Install(ctx, "lic_1", "i1")
		if err != nil || i.Revision != 2 || string(i.Answer) != "{ \"a\":  \"<&>\u2028\" }" {
			t.Errorf("the install is %+v, %v", i, err)
		}
		due, _, err := tx.DueJobs(ctx, base, 0)
		if err != nil || len(due) != 1 || due[0].ID != "job_1" || due[0].Revision != 2 {
			t.Errorf("due is %+v, %v", due, err)
		}
		if err := expect("the mark again", tx.MarkSeen(ctx, []byte{0, 10, 255}, base, base), store.Exists); err != nil {
			t.Error(err)
		}
		seq, err := tx.Append(ctx, license.AuditEvent{At: base, Action: license.ActionIssue})
		if err != nil || seq != 4 {
			t.Errorf("the next event has position %d, %v", seq, err)
		}
		return tx.UpdateLicense(ctx, l)
	})
}

// A record that is there already, or cannot be read, changes nothing.
func (s suite) recordRefused(t *testing.T) {
	st := s.open(t)
	update(t, st, FillAll)
	before := allRecords(t, st)
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		for _, r := range before {
			switch r.Kind {
			case store.RecordLicense, store.RecordInstall, store.RecordJob, store.RecordOrder, store.RecordStatusList:
				if err := expect(string(r.Kind)+" again", tx.PutRecord(ctx, r), store.Exists); err != nil {
					return err
				}
			case store.RecordEvent:
				if err := expect("an event again", tx.PutRecord(ctx, r), license.BadRequest); err != nil {
					return err
				}
			case store.RecordStatusEntry, store.RecordPending, store.RecordMark, store.RecordValue: // the same again is no change
			}
		}
		for _, r := range []store.Record{
			{Kind: "nothing", Data: json.RawMessage("{}")},
			{Kind: store.RecordLicense, Data: json.RawMessage("{")},
			{Kind: store.RecordLicense, Data: json.RawMessage(`{"id":"lic_9","surprise":1}`)},
			{Kind: store.RecordLicense, Data: json.RawMessage(`{"id":""}`)},
			{Kind: store.RecordEvent, Data: json.RawMessage(`{"seq":9}`)},
			{Kind: store.RecordMark, Data: json.RawMessage(`{"key":"","until":1}`)},
			{Kind: store.RecordMark, Data: json.RawMessage(`{"key":"AA==","until":-1}`)},
		} {
			if err := expect(string(r.Kind)+" "+string(r.Data), tx.PutRecord(ctx, r), license.BadRequest); err != nil {
				return err
			}
		}
		_, _, err := tx.Records(ctx, "nothing", store.Page{})
		return expect("records of no kind", err, license.BadRequest)
	})
	if after := allRecords(t, st); len(after) != len(before) {
		t.Errorf("%d records became %d", len(before), len(after))
	}
}
