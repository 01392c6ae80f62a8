package faultstore_test

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
	"github.com/seed-357fa782/licensed/store/faultstore"
	"github.com/seed-357fa782/licensed/store/storetest"
)

// A wrapper that does nothing is held to the contract like any store.
func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Opener {
		t.Helper()
		path := filepath.Join(t.TempDir(), "licensed.db")
		return func() (store.Store, error) {
			s, err := boltstore.Open(path, boltstore.Options{})
			if err != nil {
				return nil, err
			}
			return faultstore.Wrap(s), nil
		}
	})
}

func open(t *testing.T) *faultstore.Store {
	t.Helper()
	s, err := boltstore.Open(filepath.Join(t.TempDir(), "licensed.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return faultstore.Wrap(s)
}

func set(s store.Store, name string) error {
	return s.Update(context.Background(), func(ctx context.Context, tx store.Tx) error {
		return tx.SetValue(ctx, name, []byte("x"))
	})
}

func has(t *testing.T, s store.Store, name string) bool {
	t.Helper()
	err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Value(ctx, name)
		return err
	})
	if err != nil && !errors.Is(err, license.NotFound) {
		t.Fatal(err)
	}
	return err == nil
}

func TestFaults(t *testing.T) {
	for fault, want := range map[faultstore.Fault]struct {
		err  error
		done bool
		runs int
	}{
		faultstore.None:         {nil, true, 1},
		faultstore.NotDone:      {faultstore.ErrInjected, false, 1},
		faultstore.DoneButFails: {faultstore.ErrInjected, true, 1},
		faultstore.Again:        {nil, true, 2},
	} {
		s := open(t)
		s.FailUpdate(faultstore.Nth(2, fault))
		if err := set(s, "first"); err != nil {
			t.Errorf("fault %d: the first failed: %v", fault, err)
		}
		runs := 0
		err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			runs++
			// What was undone does not show when it is run again.
			if _, err := tx.Value(ctx, "second"); !errors.Is(err, license.NotFound) {
				t.Errorf("fault %d: value is there, %v", fault, err)
			}
			return tx.SetValue(ctx, "second", []byte("x"))
		})
		if !errors.Is(err, want.err) || has(t, s, "second") != want.done || runs != want.runs || !has(t, s, "first") {
			t.Errorf("fault %d: error is %v, ran %d times, done %v", fault, err, runs, has(t, s, "second"))
		}
		if want.err != nil && !errors.Is(err, license.ReadOnly) {
			t.Errorf("fault %d: the error has reason %s", fault, license.ReasonOf(err))
		}
		if err := set(s, "third"); err != nil {
			t.Errorf("fault %d: the third failed: %v", fault, err)
		}
		if got, injected := s.Updates(), s.Injected(); got != 3 || (injected == 1) != (fault != faultstore.None) {
			t.Errorf("fault %d: %d updates, %d faults", fault, got, injected)
		}
	}
}

func TestFailByCalls(t *testing.T) {
	s := open(t)
	var seen []string
	s.FailUpdate(func(u faultstore.Update) faultstore.Fault {
		seen = u.Calls
		if u.Called("Append") {
			return faultstore.NotDone
		}
		return faultstore.None
	})
	if err := set(s, "v"); err != nil {
		t.Error(err)
	}
	err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		if err := tx.DeletePending(ctx, "k", []byte("x")); err != nil {
			return err
		}
		_, err := tx.Append(ctx, license.AuditEvent{})
		return err
	})
	if !errors.Is(err, faultstore.ErrInjected) {
		t.Errorf("error is %v", err)
	}
	if want := []string{"DeletePending", "Append"}; !slices.Equal(seen, want) {
		t.Errorf("calls are %v, want %v", seen, want)
	}
}

func TestOwnErrorComesFirst(t *testing.T) {
	own := errors.New("refused")
	s := open(t)
	s.FailUpdate(faultstore.Nth(1, faultstore.DoneButFails))
	err := s.Update(t.Context(), func(context.Context, store.Tx) error { return own })
	if !errors.Is(err, own) || s.Injected() != 0 {
		t.Errorf("error is %v, %d faults", err, s.Injected())
	}
}

// TestEveryMethodFails fails each method of Tx in turn: it is not carried out.
func TestEveryMethodFails(t *testing.T) {
	l := license.License{ID: "lic_1", Code: license.StoredCode{Index: []byte("1")}}
	i := license.Install{ID: "ins", LicenseID: "lic_1"}
	j := license.Job{ID: "job_1", Kind: license.JobCheck, DueAt: time.Unix(0, 0)}
	o := license.Order{Channel: "k", ID: "CS1", Line: "1"}
	methods := map[string]func(ctx context.Context, tx store.Tx) error{
		"License":       func(ctx context.Context, tx store.Tx) error { _, err := tx.License(ctx, "x"); return err },
		"LicenseByCode": func(ctx context.Context, tx store.Tx) error { _, err := tx.LicenseByCode(ctx, nil); return err },
		"CreateLicense": func(ctx context.Context, tx store.Tx) error { return tx.CreateLicense(ctx, l) },
		"UpdateLicense": func(ctx context.Context, tx store.Tx) error { return tx.UpdateLicense(ctx, l) },
		"Licenses": func(ctx context.Context, tx store.Tx) error {
			_, _, err := tx.Licenses(ctx, store.Filter{}, store.Page{})
			return err
		},
		"Install":       func(ctx context.Context, tx store.Tx) error { _, err := tx.Install(ctx, "x", "x"); return err },
		"CreateInstall": func(ctx context.Context, tx store.Tx) error { return tx.CreateInstall(ctx, i) },
		"UpdateInstall": func(ctx context.Context, tx store.Tx) error { return tx.UpdateInstall(ctx, i) },
		"Installs":      func(ctx context.Context, tx store.Tx) error { _, err := tx.Installs(ctx, "x"); return err },
		"LiveInstalls":  func(ctx context.Context, tx store.Tx) error { _, err := tx.LiveInstalls(ctx, "x"); return err },
		"Append": func(ctx context.Context, tx store.Tx) error {
			_, err := tx.Append(ctx, license.AuditEvent{})
			return err
		},
		"Events": func(ctx context.Context, tx store.Tx) error {
			_, _, err := tx.Events(ctx, store.EventFilter{}, store.Page{})
			return err
		},
		"AuditHead": func(ctx context.Context, tx store.Tx) error { _, err := tx.AuditHead(ctx); return err },
		"EventLines": func(ctx context.Context, tx store.Tx) error {
			_, _, err := tx.EventLines(ctx, store.EventFilter{}, store.Page{})
			return err
		},
		"EraseEvents":    func(ctx context.Context, tx store.Tx) error { _, err := tx.EraseEvents(ctx, 1); return err },
		"Pending":        func(ctx context.Context, tx store.Tx) error { _, err := tx.Pending(ctx, "k", nil); return err },
		"PutPending":     func(ctx context.Context, tx store.Tx) error { return tx.PutPending(ctx, license.Pending{}) },
		"DeletePending":  func(ctx context.Context, tx store.Tx) error { return tx.DeletePending(ctx, "k", nil) },
		"LastStatusList": func(ctx context.Context, tx store.Tx) error { _, err := tx.LastStatusList(ctx); return err },
		"StatusList":     func(ctx context.Context, tx store.Tx) error { _, err := tx.StatusList(ctx, "x"); return err },
		"StatusLists":    func(ctx context.Context, tx store.Tx) error { _, err := tx.StatusLists(ctx); return err },
		"PutStatusList": func(ctx context.Context, tx store.Tx) error {
			return tx.PutStatusList(ctx, license.StatusList{ID: "sl_1"})
		},
		"StatusEntry":   func(ctx context.Context, tx store.Tx) error { _, err := tx.StatusEntry(ctx, "x", 0); return err },
		"StatusEntries": func(ctx context.Context, tx store.Tx) error { _, err := tx.StatusEntries(ctx, "x"); return err },
		"PutStatusEntry": func(ctx context.Context, tx store.Tx) error {
			return tx.PutStatusEntry(ctx, "x", license.StatusEntry{})
		},
		"Job":       func(ctx context.Context, tx store.Tx) error { _, err := tx.Job(ctx, "x"); return err },
		"CreateJob": func(ctx context.Context, tx store.Tx) error { return tx.CreateJob(ctx, j) },
		"UpdateJob": func(ctx context.Context, tx store.Tx) error { return tx.UpdateJob(ctx, j) },
		"DeleteJob": func(ctx context.Context, tx store.Tx) error { return tx.DeleteJob(ctx, j) },
		"DueJobs": func(ctx context.Context, tx store.Tx) error {
			_, _, err := tx.DueJobs(ctx, time.Unix(0, 0), 1)
			return err
		},
		"Jobs": func(ctx context.Context, tx store.Tx) error {
			_, _, err := tx.Jobs(ctx, store.JobFilter{}, store.Page{})
			return err
		},
		"CountJobs":   func(ctx context.Context, tx store.Tx) error { _, err := tx.CountJobs(ctx); return err },
		"Order":       func(ctx context.Context, tx store.Tx) error { _, err := tx.Order(ctx, "k", "x", "1"); return err },
		"CreateOrder": func(ctx context.Context, tx store.Tx) error { return tx.CreateOrder(ctx, o) },
		"UpdateOrder": func(ctx context.Context, tx store.Tx) error { return tx.UpdateOrder(ctx, o) },
		"RenameOrder": func(ctx context.Context, tx store.Tx) error { return tx.RenameOrder(ctx, o, "2") },
		"Orders": func(ctx context.Context, tx store.Tx) error {
			_, _, err := tx.Orders(ctx, store.OrderFilter{}, store.Page{})
			return err
		},
		"MarkSeen": func(ctx context.Context, tx store.Tx) error {
			return tx.MarkSeen(ctx, []byte("x"), time.Unix(0, 0), time.Unix(0, 0))
		},
		"Value": func(ctx context.Context, tx store.Tx) error { _, err := tx.Value(ctx, "v"); return err },
		"Records": func(ctx context.Context, tx store.Tx) error {
			_, _, err := tx.Records(ctx, store.RecordLicense, store.Page{})
			return err
		},
		"PutRecord": func(ctx context.Context, tx store.Tx) error {
			return tx.PutRecord(ctx, store.Record{Kind: store.RecordValue, Data: []byte(`{"name":"y","data":"AA"}`)})
		},
		"Values": func(ctx context.Context, tx store.Tx) error {
			_, _, err := tx.Values(ctx, "v", store.Page{})
			return err
		},
		"SetValue": func(ctx context.Context, tx store.Tx) error { return tx.SetValue(ctx, "v", []byte("x")) },
	}
	if all := reflect.TypeFor[store.Tx]().NumMethod(); len(methods) != all {
		t.Errorf("there are %d methods of %d", len(methods), all)
	}
	s := open(t)
	for name, method := range methods {
		s.Reset()
		s.FailCall(faultstore.Method(name))
		if err := s.Update(t.Context(), method); !errors.Is(err, faultstore.ErrInjected) {
			t.Errorf("%s: error is %v", name, err)
		}
		if s.Calls() != 1 || s.Injected() != 1 {
			t.Errorf("%s: %d calls, %d faults", name, s.Calls(), s.Injected())
		}
	}
	s.Reset()
	s.FailCall(faultstore.NthCall(2))
	err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, first := tx.Installs(ctx, "x")
		_, second := tx.Installs(ctx, "x")
		_, third := tx.Installs(ctx, "x")
		if first != nil || third != nil {
			t.Errorf("errors are %v, %v", first, third)
		}
		return second
	})
	if !errors.Is(err, faultstore.ErrInjected) {
		t.Errorf("error is %v", err)
	}
	if st := s.Stats(); st.Commits != 0 {
		t.Errorf("%d commits, want none", st.Commits)
	}
}
