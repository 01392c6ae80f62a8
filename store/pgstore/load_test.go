package pgstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

func record(t *testing.T, kind store.RecordKind, v any) store.Record {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return store.Record{Kind: kind, Data: data}
}

func licenseRecord(t *testing.T, n int64) store.Record {
	t.Helper()
	return record(t, store.RecordLicense, benchLicense(n))
}

func installRecord(t *testing.T, n int64) store.Record {
	t.Helper()
	i := benchInstall(n)
	i.Answer = nil
	return record(t, store.RecordInstall, store.DumpedInstall{Install: i})
}

func putAll(records ...store.Record) txFunc {
	return func(ctx context.Context, tx store.Tx) error {
		for _, r := range records {
			if err := tx.PutRecord(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}
}

// kept lists the revisions of all licences and installs.
func kept(t *testing.T, s store.Store) string {
	t.Helper()
	out := ""
	if err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		out = ""
		all, _, err := tx.Licenses(ctx, store.Filter{}, store.Page{Limit: store.MaxPage})
		for _, l := range all {
			installs, err := tx.Installs(ctx, l.ID)
			if err != nil {
				return err
			}
			out += fmt.Sprintf("%s %d %d;", l.Customer, l.Revision, len(installs))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestLoadRounds loads records of a kind in a few round trips, however many they are.
func TestLoadRounds(t *testing.T) {
	s := open(t, pgtest.URL(t), pgstore.Options{})
	var all []store.Record
	for n := range int64(300) {
		all = append(all, licenseRecord(t, n))
	}
	for n := range int64(300) {
		all = append(all, installRecord(t, n))
	}
	for n, part := range [][]store.Record{all[:200], all[200:]} {
		before := s.Rounds()
		if err := s.Update(t.Context(), putAll(part...)); err != nil {
			t.Fatal(err)
		}
		if rounds := s.Rounds() - before; rounds > 2 {
			t.Errorf("part %d took %d round trips", n, rounds)
		}
	}
}

// TestLoadRefused has records loaded that cannot be: each is refused with its reason, by
// the call that brings it, and nothing that is there is changed.
func TestLoadRefused(t *testing.T) {
	s := open(t, pgtest.URL(t), pgstore.Options{})
	job := license.Job{ID: "job_1", Kind: "note", CreatedAt: benchTime, DueAt: benchTime, Payload: []byte("{}")}
	order := license.Order{Channel: "shop", ID: "CS1", Line: "1", OrderedAt: benchTime, SeenAt: benchTime}
	if err := s.Update(t.Context(), putAll(licenseRecord(t, 0), licenseRecord(t, 1), installRecord(t, 0),
		record(t, store.RecordJob, job), record(t, store.RecordOrder, order))); err != nil {
		t.Fatal(err)
	}
	before := kept(t, s)
	code := benchLicense(7)
	code.Code.Index = codeIndex(0)
	late := []store.Record{installRecord(t, 8), licenseRecord(t, 8)}
	for name, test := range map[string]struct {
		records []store.Record
		at      int
		want    error
	}{
		"a licence":                    {[]store.Record{licenseRecord(t, 5), licenseRecord(t, 0)}, 1, store.Exists},
		"a code":                       {[]store.Record{record(t, store.RecordLicense, code), licenseRecord(t, 6)}, 0, store.Exists},
		"an install":                   {[]store.Record{installRecord(t, 1), installRecord(t, 0)}, 1, store.Exists},
		"an install without a licence": {[]store.Record{installRecord(t, 4), licenseRecord(t, 5)}, 0, license.NotFound},
		"an install before its":        {late, 0, license.NotFound},
		"a job":                        {[]store.Record{licenseRecord(t, 5), record(t, store.RecordJob, job)}, 1, store.Exists},
		"an order":                     {[]store.Record{licenseRecord(t, 5), record(t, store.RecordOrder, order)}, 1, store.Exists},
		"one twice":                    {[]store.Record{licenseRecord(t, 5), licenseRecord(t, 5)}, 1, store.Exists},
	} {
		for _, group := range []bool{false, true} {
			var errs []error
			stopped := license.Errorf(license.MachineLimit, "stopped")
			fn := func(ctx context.Context, tx store.Tx) error {
				errs = nil
				for _, r := range test.records {
					errs = append(errs, tx.PutRecord(ctx, r))
				}
				return stopped // what a function saw counts, though nothing of it stays
			}
			fns := []txFunc{fn}
			if group {
				fns = []txFunc{count, fn, count}
			}
			for k, err := range inOneGroup(t, s, fns...) {
				if err != nil && !errors.Is(err, license.MachineLimit) {
					t.Errorf("%s: function %d: %v", name, k, err)
				}
			}
			for k, err := range errs {
				if k == test.at && !errors.Is(err, test.want) || k != test.at && err != nil {
					t.Errorf("%s: record %d: %v", name, k, err)
				}
			}
			err := s.Update(t.Context(), putAll(test.records...))
			if !errors.Is(err, test.want) {
				t.Errorf("%s: error is %v", name, err)
			}
			if after := kept(t, s); after != before {
				t.Errorf("%s: there is %s, was %s", name, after, before)
			}
		}
	}
}

// TestRoundTrips counts how often a lone change waits for the database.
func TestRoundTrips(t *testing.T) {
	s := open(t, pgtest.URL(t), pgstore.Options{})
	if err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return errors.Join(tx.CreateLicense(ctx, benchLicense(1)), tx.CreateInstall(ctx, benchInstall(1)),
			tx.PutStatusList(ctx, license.StatusList{ID: "sl_1", Length: 1 << 17, Seed: make([]byte, license.StatusSeedLen)}))
	}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		work string
		want int64
	}{
		{"activate", 4}, // the code; the install, the others and the list; what stands at the place; the commit
		{"renew", 3},    // the mark; the code; the commit
		{"refresh", 2},  // the install and its licence; the commit
	} {
		before := s.Rounds()
		if err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error { return works[test.work].store(ctx, tx, 1) }); err != nil {
			t.Fatal(err)
		}
		if got := s.Rounds() - before; got != test.want {
			t.Errorf("%s: %d round trips, want %d", test.work, got, test.want)
		}
	}
}

// TestRoundTripsOfAGroup has activations that wait together share their round trips.
func TestRoundTripsOfAGroup(t *testing.T) {
	const n = 60
	s := open(t, pgtest.URL(t), pgstore.Options{})
	if err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		err := tx.PutStatusList(ctx, license.StatusList{ID: "sl_1", Length: 1 << 17, Seed: make([]byte, license.StatusSeedLen)})
		for k := range int64(n) {
			err = errors.Join(err, tx.CreateLicense(ctx, benchLicense(k)), tx.CreateInstall(ctx, benchInstall(k)))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	fns := make([]txFunc, n)
	for k := range fns {
		fns[k] = func(ctx context.Context, tx store.Tx) error { return activate(ctx, tx, int64(k)) }
	}
	before := s.Rounds()
	if err := errors.Join(inOneGroup(t, s, fns...)...); err != nil {
		t.Fatal(err)
	}
	// Four, where none of them is held up for longer than the others have patience.
	if got := s.Rounds() - before; got > n/2 {
		t.Errorf("%d activations took %d round trips", n, got)
	} else {
		t.Logf("%d activations took %d round trips", n, got)
	}
}

// TestManyInstalls looks installs up of a licence that has so many, each in a
// change of its own, and in a group.
func TestManyInstalls(t *testing.T) {
	for _, n := range []int{0, 1, 8, 9, 10, 30} {
		s := open(t, pgtest.URL(t), pgstore.Options{})
		install := func(k int) license.Install {
			i := benchInstall(1)
			i.ID = fmt.Sprintf("i%02d", k)
			return i
		}
		if err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			err := tx.CreateLicense(ctx, benchLicense(1))
			for k := range n {
				err = errors.Join(err, tx.CreateInstall(ctx, install(k)))
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		look := func(id int, there bool, want int) txFunc {
			return func(ctx context.Context, tx store.Tx) error {
				if _, err := tx.LicenseByCode(ctx, codeIndex(1)); err != nil {
					return err
				}
				_, err := tx.Install(ctx, benchLicense(1).ID, install(id).ID)
				if errors.Is(err, license.NotFound) == there {
					return fmt.Errorf("install %d: %w", id, err)
				}
				all, err := tx.Installs(ctx, benchLicense(1).ID)
				if err == nil && len(all) != want {
					err = fmt.Errorf("%d installs, want %d", len(all), want)
				}
				return err
			}
		}
		create := func(id int) txFunc {
			return func(ctx context.Context, tx store.Tx) error { return tx.CreateInstall(ctx, install(id)) }
		}
		if err := s.Update(t.Context(), look(50, false, n)); err != nil {
			t.Errorf("%d installs: %v", n, err)
		}
		if n > 0 {
			if err := s.Update(t.Context(), look(n-1, true, n)); err != nil {
				t.Errorf("%d installs: %v", n, err)
			}
		}
		if err := errors.Join(inOneGroup(t, s, look(60, false, n), create(60), look(60, true, n+1), look(61, false, n+1), create(61), look(61, true, n+2))...); err != nil {
			t.Errorf("%d installs, in a group: %v", n, err)
		}
	}
}
