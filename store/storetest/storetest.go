// Package storetest is the conformance suite of store.Store: what the comments
// there promise, every backend is held to here. It is for _test files only.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Opener opens one database, and again after the store was closed; where several
// processes can share one, also while it is open.
type Opener func() (store.Store, error)

// Run holds a backend to the contract. create makes an empty database and
// clears it away when t ends; it is called once or more for each test.
func Run(t *testing.T, create func(t *testing.T) Opener) {
	t.Helper()
	suite{create: create}.run(t)
}

// RunShared is Run for a backend whose database several processes share.
func RunShared(t *testing.T, create func(t *testing.T) Opener) {
	t.Helper()
	suite{create, true}.run(t)
}

func (s suite) run(t *testing.T) {
	t.Helper()
	shared := map[string]func(t *testing.T){
		"Counter": s.sharedCounter, "Seats": s.sharedSeats, "LostUpdate": s.sharedLostUpdate, "Audit": s.sharedAudit,
		"Skew": s.sharedSkew, "Draws": s.sharedDraws, "Marks": s.sharedMarks, "Jobs": s.sharedJobs, "Sees": s.sharedSees, "Codes": s.sharedCodes,
	}
	if s.shared {
		shared["Closed"] = s.sharedClosed
	}
	for _, group := range []struct {
		name  string
		tests map[string]func(t *testing.T)
	}{
		{"CRUD", map[string]func(t *testing.T){
			"Licenses": s.licenses, "LicenseRefused": s.licenseRefused, "Installs": s.installs,
			"InstallRefused": s.installRefused, "Pending": s.pending, "Values": s.values, "ValueList": s.valueList, "Copies": s.copies,
			"AnswerBytes": s.answerBytes, "Records": s.records, "RecordRefused": s.recordRefused,
		}},
		{"Audit", map[string]func(t *testing.T){
			"Append": s.audit, "NoGap": s.auditNoGap, "Chain": s.auditChain, "Erase": s.auditErase, "Filter": s.auditFilter,
		}},
		{"Transactions", map[string]func(t *testing.T){
			"Undo": s.undo, "UndoKeepsOthers": s.undoKeepsOthers, "SeesOwnWrites": s.seesOwnWrites,
			"ViewCannotWrite": s.viewCannotWrite, "Nested": s.nested, "EndedTx": s.endedTx,
			"Panic": s.panics, "Together": s.together, "TogetherPages": s.togetherPages, "TogetherPanics": s.togetherPanics, "ViewIsStable": s.viewIsStable, "Reason": s.reasonComesBack,
		}},
		{"Contention", map[string]func(t *testing.T){
			"Counter": s.counter, "LostUpdate": s.lostUpdate, "WriteSkew": s.writeSkew, "Transfers": s.transfers,
			"AuditGapless": s.auditContended,
		}},
		{"Shared", shared},
		{"Order", map[string]func(t *testing.T){
			"Licenses": s.collation, "Installs": s.installOrder, "LiveInstalls": s.liveInstalls, "CaseCounts": s.caseCounts,
		}},
		{"Paging", map[string]func(t *testing.T){
			"Pages": s.pages, "Limits": s.pageLimits, "WhileAdding": s.pagesWhileAdding,
			"ForeignCursor": s.foreignCursor, "EventsNewestFirst": s.eventsNewestFirst, "CursorsApart": s.cursorsApart, "Filtered": s.pagesFiltered, "FiltersCombined": s.filtersCombined, "EndsWhileAdding": s.endsWhileAdding, "CursorOfOrder": s.cursorOfOrder,
		}},
		{"Time", map[string]func(t *testing.T){
			"Exact": s.timesExact, "Zero": s.timesZero,
		}},
		{"Marks", map[string]func(t *testing.T){
			"Once": s.marksOnce, "Kept": s.marksKept, "Dropped": s.marksDropped, "Undone": s.marksUndone,
		}},
		{"Statuses", map[string]func(t *testing.T){
			"Lists": s.statusLists, "Entries": s.statusEntries, "Refused": s.statusRefused, "Draws": s.statusDraws,
		}},
		{"Jobs", map[string]func(t *testing.T){
			"CRUD": s.jobs, "Refused": s.jobRefused, "Due": s.jobsDue, "Limits": s.jobLimits, "Lease": s.jobLease,
			"Key": s.jobsOfKey, "ManyOfKey": s.manyOfKey, "Undo": s.jobsUndone, "Contended": s.jobsContended,
			"List": s.jobList, "WhileChanging": s.jobsWhileChanging, "Counts": s.jobCounts,
		}},
		{"Orders", map[string]func(t *testing.T){
			"CRUD": s.orders, "Refused": s.orderRefused, "Rename": s.orderRename, "Links": s.orderLinks, "List": s.orderList,
		}},
		{"Life", map[string]func(t *testing.T){
			"Cancelled": s.cancelled, "CarriedThrough": s.carriedThrough, "Reopen": s.reopen, "Closed": s.closed,
			"CloseWhileWriting": s.closeWhileWriting, "Stats": s.stats,
		}},
		{"Model", map[string]func(t *testing.T){"Random": s.model}},
	} {
		t.Run(group.name, func(t *testing.T) {
			for name, test := range group.tests {
				t.Run(name, test)
			}
		})
	}
}

type suite struct {
	create func(t *testing.T) Opener
	shared bool // several can have a database open
}

// open gives an empty store that is closed when t ends.
func (s suite) open(t *testing.T) store.Store {
	t.Helper()
	return openWith(t, s.create(t))
}

func openWith(t *testing.T, open Opener) store.Store {
	t.Helper()
	st, err := open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return st
}

type txFunc = func(ctx context.Context, tx store.Tx) error

func update(t *testing.T, s store.Store, fn txFunc) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, s store.Store, fn txFunc) {
	t.Helper()
	if err := s.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func wantReason(t *testing.T, err error, want license.Reason) {
	t.Helper()
	if !errors.Is(err, want) || license.ReasonOf(err) != want {
		t.Errorf("error is %v, want reason %s", err, want)
	}
}

// expect is wantReason for use inside a transaction.
func expect(what string, err error, want license.Reason) error {
	if !errors.Is(err, want) || license.ReasonOf(err) != want {
		return fmt.Errorf("%s: want reason %s, got %w", what, string(want), err)
	}
	return nil
}

func wantSame(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(license.Feature{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// base is the instant around which all records of the suite lie.
var base = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func newLicense(id string) license.License {
	return license.License{
		ID:        id,
		Revision:  77, // does not count for a new one
		Product:   "cad-pro",
		Channel:   "koogallery",
		Customer:  "Müller & Söhne <info>",
		Order:     "CS-" + id,
		Instance:  "inst-" + id,
		Code:      license.StoredCode{Last4: "7K2M", Index: []byte("index of " + id), Sealed: []byte{0, 255, 10, 13}},
		Machines:  2,
		Mode:      license.ModeNode,
		Features:  license.Features{"export": license.FeatureOn(), "edition": license.FeatureText("a\"b\n<c>")},
		Phases:    license.Phases{Warn: new(time.Hour), Grace: new(time.Duration), Enforcement: license.EnforceDegrade},
		IssuedAt:  base,
		ExpiresAt: base.AddDate(1, 0, 0),
		Heard:     license.Heard{Expiry: base.UnixMilli() + 7, Hold: base.UnixMilli() - 7},
		Transfers: []time.Time{base.Add(time.Hour), base.Add(2 * time.Hour)},
	}
}

func newInstall(licenseID, id string) license.Install {
	return license.Install{
		ID:          id,
		LicenseID:   licenseID,
		Revision:    77,
		Seat:        "seat_1",
		State:       license.InstallLive,
		Environment: "metal",
		Binding: license.Binding{
			Salt:       []byte{1, 2, 3},
			Components: license.Components{license.KindMAC: {"a", "b"}, license.KindCPU: {"c"}},
		},
		BoundAt:    base,
		SeenAt:     base.Add(time.Minute),
		DatedAt:    base.Add(time.Hour),
		LeaseUntil: base.AddDate(0, 0, 14),
		Chain: license.Chain{
			Last: "jti-1", RequestID: "req-1", RequestAt: base, Digest: []byte{9, 8, 7}, Older: []byte{6, 5, 4, 3},
		},
		Unproven: license.Unproven{"a": base, "c": base.Add(time.Hour)},
		Drifted:  license.Drifted{Count: 2, At: base, Kinds: []license.Kind{license.KindMAC}},
		Forks: license.Forks{
			license.ForkChain:   {Count: 2, At: base, Request: "req-0"},
			license.ForkRetired: {Count: 1, At: base.Add(time.Minute), Request: "req-1"},
		},
		Reactivation: 3,
		Device:       "d",
		Grants:       []license.Grant{{Request: "event-1", ID: "jti-1", At: base, From: base.Add(time.Hour), Until: base.AddDate(0, 1, 0)}, {Request: "event-0", ID: "jti-0", At: base, Answer: []byte(`{"iss": "<x>"}`)}},
		Handed:       license.Handed{At: base.Add(2 * time.Hour), SHA256: []byte{5, 4, 3}},
		Answer:       []byte(`{"iss":"x"}`),
	}
}

func newEvent(action license.Action, licenseID string) license.AuditEvent {
	return license.AuditEvent{
		At:      base,
		Actor:   license.Actor{Kind: license.ActorAdmin, Name: "anna", Addr: "127.0.0.1"},
		Action:  action,
		License: licenseID,
		Before:  map[string]any{"customer": "a"},
		After:   map[string]any{"customer": "b", "holds": []any{"merchant"}},
		Note:    "by hand",
	}
}

// put creates licences with the given ids.
func put(t *testing.T, s store.Store, ids ...string) {
	t.Helper()
	update(t, s, func(ctx context.Context, tx store.Tx) error {
		for _, id := range ids {
			if err := tx.CreateLicense(ctx, newLicense(id)); err != nil {
				return err
			}
		}
		return nil
	})
}

// stored is the licence as a store must give it back.
func stored(l license.License, revision int64) license.License {
	l = l.Clone()
	l.Revision = revision
	return l
}

func getLicense(t *testing.T, s store.Store, id string) license.License {
	t.Helper()
	var l license.License
	view(t, s, func(ctx context.Context, tx store.Tx) (err error) {
		l, err = tx.License(ctx, id)
		return err
	})
	return l
}

func allEvents(t *testing.T, s store.Store) []license.AuditEvent {
	t.Helper()
	var all []license.AuditEvent
	view(t, s, func(ctx context.Context, tx store.Tx) error {
		all = nil
		var cursor string
		for {
			part, next, err := tx.Events(ctx, store.EventFilter{}, store.Page{Limit: store.MaxPage, Cursor: cursor})
			if err != nil {
				return err
			}
			all = append(all, part...)
			if next == "" {
				return nil
			}
			cursor = next
		}
	})
	return all
}

// wantGapless checks that the audit log holds the positions 1 to n, as a chain.
func wantGapless(t *testing.T, s store.Store, n int) {
	t.Helper()
	events := allEvents(t, s)
	if len(events) != n {
		t.Errorf("the audit log has %d events, want %d", len(events), n)
	}
	for i, e := range events {
		if e.Seq != int64(i+1) {
			t.Fatalf("event %d has position %d", i+1, e.Seq)
		}
	}
	wantChain(t, s)
}
