package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// writeEverything uses every method that writes, on records that exist and on
// new ones.
func writeEverything(ctx context.Context, tx store.Tx) error {
	l, err := tx.License(ctx, "lic_1")
	if err != nil {
		return err
	}
	i, err := tx.Install(ctx, "lic_1", "ins")
	if err != nil {
		return err
	}
	parking, err1 := tx.Job(ctx, "job_1")
	waiting, err2 := tx.Job(ctx, "job_2")
	done, err3 := tx.Job(ctx, "job_3")
	o, err4 := tx.Order(ctx, "k", "CS1", "1")
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	l.Customer, i.Seat = "changed", "changed"
	parking.ParkedAt, waiting.ParkedAt, o.Stage = base, time.Time{}, license.StageCompleted
	pending := license.Pending{Channel: "k", CodeIndex: []byte("p2"), FirstAt: base, LastAt: base}
	err = errors.Join(
		tx.UpdateLicense(ctx, l), tx.CreateLicense(ctx, newLicense("lic_2")),
		tx.UpdateInstall(ctx, i), tx.CreateInstall(ctx, newInstall("lic_2", "new")),
		tx.PutPending(ctx, pending), tx.DeletePending(ctx, "k", []byte("p1")),
		tx.SetValue(ctx, "v1", nil), tx.SetValue(ctx, "v2", []byte("x")), tx.SetValue(ctx, "v2", []byte("y")),
		tx.MarkSeen(ctx, []byte("m2"), base.Add(2*time.Minute), base.Add(time.Minute)),
		tx.PutStatusList(ctx, license.StatusList{ID: "sl_1", Next: 9}), tx.PutStatusList(ctx, newList("sl_2")),
		tx.PutStatusEntry(ctx, "sl_1", license.StatusEntry{Index: 1}),
		tx.PutStatusEntry(ctx, "sl_1", license.StatusEntry{Index: 2, Status: license.StatusRevoked}),
		tx.PutStatusEntry(ctx, "sl_2", license.StatusEntry{Index: 1, Status: license.StatusRevoked}),
		tx.UpdateJob(ctx, parking), tx.UpdateJob(ctx, waiting), tx.DeleteJob(ctx, done), tx.CreateJob(ctx, newJob("job_4", "k")),
		tx.UpdateOrder(ctx, o), tx.CreateOrder(ctx, newOrder("k", "CS1", "2")),
	)
	_, appendErr := tx.Append(ctx, newEvent(license.ActionRenew, "lic_1"))
	return errors.Join(err, appendErr)
}

// prepare makes the records that writeEverything changes.
func prepare(t *testing.T, st store.Store) {
	t.Helper()
	put(t, st, "lic_1")
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		_, err := tx.Append(ctx, newEvent(license.ActionIssue, "lic_1"))
		return errors.Join(err,
			tx.CreateInstall(ctx, newInstall("lic_1", "ins")),
			tx.PutPending(ctx, license.Pending{Channel: "k", CodeIndex: []byte("p1"), FirstAt: base, LastAt: base}),
			tx.SetValue(ctx, "v1", []byte("x")),
			tx.MarkSeen(ctx, []byte("m1"), base, base),
			tx.PutStatusList(ctx, newList("sl_1")),
			tx.PutStatusEntry(ctx, "sl_1", license.StatusEntry{Index: 1, Status: license.StatusSuspended}),
			tx.CreateJob(ctx, newJob("job_1", "k")),
			tx.CreateJob(ctx, parkedJob("job_2", "k")),
			tx.CreateJob(ctx, newJob("job_3", "m")),
			tx.CreateOrder(ctx, newOrder("k", "CS1", "1")),
		)
	})
}

// wantUntouched checks that nothing of writeEverything is there. It looks from
// inside an Update that it undoes, because the marks only show when one is set.
func wantUntouched(t *testing.T, st store.Store) {
	t.Helper()
	err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		l, err := tx.License(ctx, "lic_1")
		if err != nil || l.Revision != 1 || l.Customer == "changed" {
			return fmt.Errorf("licence is %+v, %w", l, err)
		}
		i, err := tx.Install(ctx, "lic_1", "ins")
		if err != nil || i.Revision != 1 || i.Seat == "changed" {
			return fmt.Errorf("install is %+v, %w", i, err)
		}
		_, noLicense := tx.License(ctx, "lic_2")
		_, noCode := tx.LicenseByCode(ctx, newLicense("lic_2").Code.Index)
		_, noInstall := tx.Install(ctx, "lic_2", "new")
		_, noPending := tx.Pending(ctx, "k", []byte("p2"))
		_, noValue := tx.Value(ctx, "v2")
		for what, err := range map[string]error{
			"licence": noLicense, "code": noCode, "install": noInstall, "pending": noPending, "value": noValue,
		} {
			if err := expect(what, err, license.NotFound); err != nil {
				return err
			}
		}
		if _, err := tx.Pending(ctx, "k", []byte("p1")); err != nil {
			return err
		}
		list, err := tx.LastStatusList(ctx)
		if err != nil || list.ID != "sl_1" || list.Next != 1 {
			return fmt.Errorf("the last status list is %+v, %w", list, err)
		}
		entries, err := tx.StatusEntries(ctx, "sl_1")
		if err != nil || len(entries) != 1 || entries[0].Index != 1 {
			return fmt.Errorf("statuses are %+v, %w", entries, err)
		}
		jobs, _, err := tx.Jobs(ctx, store.JobFilter{}, store.Page{})
		prepared := []license.Job{asStored(newJob("job_1", "k"), 1), asStored(parkedJob("job_2", "k"), 1), asStored(newJob("job_3", "m"), 1)}
		if diff := cmp.Diff(prepared, plain(jobs...)); err != nil || diff != "" {
			return fmt.Errorf("jobs (-want +got):\n%s, %w", diff, err)
		}
		due, _, err := tx.DueJobs(ctx, base, 0)
		if err != nil || !slices.Equal(jobIDs(due), []string{"job_1", "job_3"}) {
			return fmt.Errorf("due are %v, %w", jobIDs(due), err)
		}
		orders, _, err := tx.Orders(ctx, store.OrderFilter{}, store.Page{})
		if err != nil || len(orders) != 1 || orders[0].Revision != 1 || orders[0].Stage == license.StageCompleted {
			return fmt.Errorf("orders are %+v, %w", orders, err)
		}
		if v, err := tx.Value(ctx, "v1"); err != nil || string(v) != "x" {
			return fmt.Errorf("value is %q, %w", v, err)
		}
		if err := expect("mark", tx.MarkSeen(ctx, []byte("m1"), base, base), store.Exists); err != nil {
			return err
		}
		if err := tx.MarkSeen(ctx, []byte("m2"), base.Add(2*time.Minute), base.Add(time.Minute)); err != nil {
			return err
		}
		return errRefused
	})
	if !errors.Is(err, errRefused) {
		t.Error(err)
	}
	wantGapless(t, st, 1)
}

func (s suite) undo(t *testing.T) {
	st := s.open(t)
	prepare(t, st)
	for range 2 {
		err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			if err := writeEverything(ctx, tx); err != nil {
				return err
			}
			return errRefused
		})
		if !errors.Is(err, errRefused) {
			t.Fatal(err)
		}
		wantUntouched(t, st)
	}
	update(t, st, writeEverything)
}

// undoKeepsOthers lets functions that fail and such that do not run at once:
// each is undone alone.
func (s suite) undoKeepsOthers(t *testing.T) {
	st := s.open(t)
	const n = 60
	errs := make([]error, n)
	parallel(n, func(i int) {
		errs[i] = st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			if err := tx.CreateLicense(ctx, newLicense(fmt.Sprintf("lic_%02d", i))); err != nil {
				return err
			}
			if err := addTo(ctx, tx, "count", 1); err != nil {
				return err
			}
			if _, err := tx.Append(ctx, newEvent(license.ActionIssue, fmt.Sprint(i))); err != nil {
				return err
			}
			if i%3 == 0 {
				return errRefused
			}
			return nil
		})
	})
	for i, err := range errs {
		var want error
		if i%3 == 0 {
			want = errRefused
		}
		if !errors.Is(err, want) {
			t.Errorf("function %d: error is %v, want %v", i, err, want)
		}
		err := st.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
			_, err := tx.License(ctx, fmt.Sprintf("lic_%02d", i))
			return err
		})
		if (err == nil) != (i%3 != 0) {
			t.Errorf("licence %d: %v", i, err)
		}
	}
	wantGapless(t, st, n*2/3)
	if got := number(t, st, "count"); got != n*2/3 {
		t.Errorf("count is %d, want %d", got, n*2/3)
	}
}

func (s suite) seesOwnWrites(t *testing.T) {
	st := s.open(t)
	prepare(t, st)
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		if err := writeEverything(ctx, tx); err != nil {
			return err
		}
		l, err := tx.License(ctx, "lic_1")
		if err != nil || l.Customer != "changed" || l.Revision != 2 {
			return fmt.Errorf("licence is %+v, %w", l, err)
		}
		if err := tx.UpdateLicense(ctx, l); err != nil {
			return err
		}
		list, _, err := tx.Licenses(ctx, store.Filter{}, store.Page{})
		if err != nil || len(list) != 2 || list[0].Revision != 3 {
			return fmt.Errorf("list is %+v, %w", list, err)
		}
		installs, err := tx.Installs(ctx, "lic_2")
		if err != nil || len(installs) != 1 {
			return fmt.Errorf("installs are %+v, %w", installs, err)
		}
		events, _, err := tx.Events(ctx, store.EventFilter{}, store.Page{})
		if err != nil || len(events) != 2 {
			return fmt.Errorf("events are %+v, %w", events, err)
		}
		due, _, err := tx.DueJobs(ctx, base, 0)
		if err != nil || !slices.Equal(jobIDs(due), []string{"job_2"}) || due[0].Revision != 2 {
			return fmt.Errorf("due are %+v, %w", due, err)
		}
		jobs, _, err := tx.Jobs(ctx, store.JobFilter{}, store.Page{})
		if err != nil || !slices.Equal(jobIDs(jobs), []string{"job_1", "job_2", "job_4"}) {
			return fmt.Errorf("jobs are %v, %w", jobIDs(jobs), err)
		}
		orders, _, err := tx.Orders(ctx, store.OrderFilter{Stage: license.StageCompleted}, store.Page{})
		if err != nil || len(orders) != 1 || orders[0].Revision != 2 {
			return fmt.Errorf("orders are %+v, %w", orders, err)
		}
		return expect("mark", tx.MarkSeen(ctx, []byte("m2"), base.Add(2*time.Minute), base.Add(time.Minute)), store.Exists)
	})
}

func (s suite) viewCannotWrite(t *testing.T) {
	st := s.open(t)
	prepare(t, st)
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		_, appendErr := tx.Append(ctx, newEvent(license.ActionIssue, ""))
		for what, err := range map[string]error{
			"CreateLicense":  tx.CreateLicense(ctx, newLicense("lic_3")),
			"UpdateLicense":  tx.UpdateLicense(ctx, stored(newLicense("lic_1"), 1)),
			"CreateInstall":  tx.CreateInstall(ctx, newInstall("lic_1", "x")),
			"UpdateInstall":  tx.UpdateInstall(ctx, newInstall("lic_1", "ins")),
			"PutPending":     tx.PutPending(ctx, license.Pending{Channel: "k", CodeIndex: []byte("x")}),
			"DeletePending":  tx.DeletePending(ctx, "k", []byte("p1")),
			"MarkSeen":       tx.MarkSeen(ctx, []byte("x"), base, base),
			"SetValue":       tx.SetValue(ctx, "v1", nil),
			"PutStatusList":  tx.PutStatusList(ctx, newList("sl_3")),
			"PutStatusEntry": tx.PutStatusEntry(ctx, "sl_1", license.StatusEntry{Index: 9, Status: license.StatusRevoked}),
			"CreateJob":      tx.CreateJob(ctx, newJob("job_9", "")),
			"UpdateJob":      tx.UpdateJob(ctx, asStored(newJob("job_1", "k"), 1)),
			"DeleteJob":      tx.DeleteJob(ctx, asStored(newJob("job_1", "k"), 1)),
			"CreateOrder":    tx.CreateOrder(ctx, newOrder("k", "CS9", "1")),
			"UpdateOrder":    tx.UpdateOrder(ctx, license.Order{Channel: "k", ID: "CS1", Line: "1", Revision: 1}),
			"RenameOrder":    tx.RenameOrder(ctx, license.Order{Channel: "k", ID: "CS1", Line: "1", Revision: 1}, "2"),
			"Append":         appendErr,
		} {
			if err == nil {
				t.Errorf("%s worked in a View", what)
			}
		}
		return nil
	})
	wantUntouched(t, st)
}

func (s suite) nested(t *testing.T) {
	st, other := s.open(t), s.open(t)
	nothing := func(context.Context, store.Tx) error { return nil }
	inner := func(ctx context.Context, _ store.Tx) error {
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		for what, err := range map[string]error{"View": st.View(child, nothing), "Update": st.Update(child, nothing)} {
			if !errors.Is(err, store.ErrNested) {
				t.Errorf("%s inside: error is %v", what, err)
			}
		}
		// Another store is another matter, as when one is copied.
		return errors.Join(other.View(ctx, nothing), other.Update(ctx, nothing))
	}
	view(t, st, inner)
	update(t, st, inner)
}

func (s suite) endedTx(t *testing.T) {
	st := s.open(t)
	put(t, st, "lic_1")
	var kept []store.Tx
	keep := func(_ context.Context, tx store.Tx) error {
		kept = append(kept, tx)
		return nil
	}
	view(t, st, keep)
	update(t, st, keep)
	for _, tx := range kept {
		if _, err := tx.License(t.Context(), "lic_1"); err == nil {
			t.Error("a transaction was read after its end")
		}
		for what, err := range map[string]error{
			"SetValue": tx.SetValue(t.Context(), "v", []byte("x")), "CreateJob": tx.CreateJob(t.Context(), newJob("job_1", "")),
			"CreateOrder": tx.CreateOrder(t.Context(), newOrder("k", "CS1", "1")),
		} {
			if err == nil {
				t.Errorf("%s worked after the end of the transaction", what)
			}
		}
		if _, _, err := tx.DueJobs(t.Context(), base, 0); err == nil {
			t.Error("jobs were read after the end of the transaction")
		}
	}
}

func (s suite) panics(t *testing.T) {
	st := s.open(t)
	prepare(t, st)
	type mark struct{ n int }
	for _, run := range []func(context.Context, txFunc) error{st.Update, st.View} {
		func() {
			defer func() {
				if got := recover(); got != (mark{7}) {
					t.Errorf("recovered %v", got)
				}
			}()
			_ = run(t.Context(), func(ctx context.Context, tx store.Tx) error {
				_ = writeEverything(ctx, tx)
				panic(mark{7})
			})
			t.Error("the panic did not go on")
		}()
		wantUntouched(t, st)
	}
	update(t, st, writeEverything)
}

func (s suite) viewIsStable(t *testing.T) {
	st := s.open(t)
	put(t, st, "lic_1")
	inside, changed := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		<-inside
		done <- st.Update(context.WithoutCancel(t.Context()), func(ctx context.Context, tx store.Tx) error {
			l, err := tx.License(ctx, "lic_1")
			if err != nil {
				return err
			}
			return errors.Join(tx.UpdateLicense(ctx, l), tx.CreateLicense(ctx, newLicense("lic_2")))
		})
		close(changed)
	}()
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		before, err := tx.License(ctx, "lic_1")
		if err != nil {
			return err
		}
		close(inside)
		<-changed
		after, err := tx.License(ctx, "lic_1")
		wantSame(t, "licence", after, before)
		list, _, listErr := tx.Licenses(ctx, store.Filter{}, store.Page{})
		if len(list) != 1 {
			t.Errorf("the View sees %d licences", len(list))
		}
		return errors.Join(err, listErr)
	})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if l := getLicense(t, st, "lic_1"); l.Revision != 2 {
		t.Errorf("revision is %d", l.Revision)
	}
}

// reasonComesBack checks that the error of a function comes back as it is.
func (s suite) reasonComesBack(t *testing.T) {
	st := s.open(t)
	refusal := license.Errorf(license.MachineLimit, "all seats are taken")
	for _, run := range []func(context.Context, txFunc) error{st.Update, st.View} {
		err := run(t.Context(), func(context.Context, store.Tx) error { return refusal })
		if !errors.Is(err, error(refusal)) {
			t.Errorf("error is %v", err)
		}
	}
}
