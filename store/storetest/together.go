package storetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// Functions that wait at the same time may share what a backend does for them, and
// must not notice it.

// everywhere is where a number stands that each function raises by one: in a record of
// each kind that can be changed.
type everywhere struct {
	license license.License
	install license.Install
	job     license.Job
	order   license.Order
	list    license.StatusList
	value   int
}

func readEverywhere(ctx context.Context, tx store.Tx) (e everywhere, err error) {
	var errs [6]error
	e.license, errs[0] = tx.License(ctx, "lic_1")
	e.install, errs[1] = tx.Install(ctx, "lic_1", "ins")
	e.job, errs[2] = tx.Job(ctx, "job_1")
	e.order, errs[3] = tx.Order(ctx, "k", "CS1", "1")
	e.list, errs[4] = tx.LastStatusList(ctx)
	e.value, errs[5] = readNumber(ctx, tx, "count")
	return e, errors.Join(errs[:]...)
}

// same fails unless all numbers are the same.
func (e everywhere) same() error {
	for what, n := range map[string]int{
		"licence": e.license.Machines, "install": e.install.Reactivation, "job": e.job.Attempts, "order": e.order.Amount, "status list": e.list.Next,
		"licence's revision": int(e.license.Revision) - 1, "install's revision": int(e.install.Revision) - 1,
		"job's revision": int(e.job.Revision) - 1, "order's revision": int(e.order.Revision) - 1,
	} {
		if n != e.value {
			return fmt.Errorf("the number of the %s is %d, that of the value %d", what, n, e.value)
		}
	}
	return nil
}

func (e everywhere) raise(ctx context.Context, tx store.Tx) error {
	e.license.Machines++
	e.install.Reactivation++
	e.job.Attempts++
	e.order.Amount++
	e.list.Next++
	return errors.Join(
		tx.UpdateLicense(ctx, e.license), tx.UpdateInstall(ctx, e.install), tx.UpdateJob(ctx, e.job),
		tx.UpdateOrder(ctx, e.order), tx.PutStatusList(ctx, e.list), addTo(ctx, tx, "count", 1),
	)
}

// wantAllListed checks that what is listed is what is read one by one.
func wantAllListed(ctx context.Context, tx store.Tx, e everywhere) error {
	licenses, _, err1 := tx.Licenses(ctx, store.Filter{}, store.Page{Limit: store.MaxPage})
	live, err2 := tx.LiveInstalls(ctx, "lic_1")
	jobs, _, err3 := tx.Jobs(ctx, store.JobFilter{}, store.Page{Limit: store.MaxPage})
	due, _, err4 := tx.DueJobs(ctx, base, store.MaxPage)
	orders, _, err5 := tx.Orders(ctx, store.OrderFilter{}, store.Page{Limit: store.MaxPage})
	lists, err6 := tx.StatusLists(ctx)
	values, _, err7 := tx.Values(ctx, "cou", store.Page{})
	events, _, err8 := tx.Events(ctx, store.EventFilter{}, store.Page{Limit: store.MaxPage})
	head, err9 := tx.AuditHead(ctx)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7, err8, err9); err != nil {
		return err
	}
	counts := [...]int{len(licenses), len(live), len(jobs), len(due), len(orders), len(lists), len(values)}
	if want := [...]int{1 + e.value, 1 + e.value, 1 + e.value, 1, 1, 1, 1}; counts != want {
		return fmt.Errorf("listed are %v, want %v", counts, want)
	}
	listed := everywhere{licenses[0], live[0], due[0], orders[0], lists[0], e.value}
	if jobs[0].Revision != e.job.Revision || string(values[0].Data) != fmt.Sprint(e.value) {
		return fmt.Errorf("the first job has revision %d and the value is %q", jobs[0].Revision, values[0].Data)
	}
	if int64(len(events)) != head.Seq || head.Seq != int64(e.value) {
		return fmt.Errorf("there are %d events, the head is at %d, and %d were added", len(events), head.Seq, e.value)
	}
	return listed.same()
}

// together runs many functions at once that change the same records. One in
// three fails after it has written, and some read lists in the middle, before or
// after they write: each sees what those before it have made, and nothing of those
// that failed.
func (s suite) together(t *testing.T) {
	st := s.open(t)
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		l, i, j, o, list := newLicense("lic_1"), newInstall("lic_1", "ins"), newJob("job_1", "k"), newOrder("k", "CS1", "1"), newList("sl_1")
		l.Machines, i.Reactivation, j.Attempts, o.Amount, list.Next = 0, 0, 0, 0, 0
		return errors.Join(tx.CreateLicense(ctx, l), tx.CreateInstall(ctx, i), tx.CreateJob(ctx, j), tx.CreateOrder(ctx, o),
			tx.PutStatusList(ctx, list), tx.SetValue(ctx, "count", []byte("0")))
	})
	const n = 48
	errs := make([]error, n)
	parallel(n, func(k int) {
		errs[k] = st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			e, err := readEverywhere(ctx, tx)
			if err != nil {
				return err
			}
			if err := e.same(); err != nil {
				return err
			}
			if k%4 == 1 {
				if err := wantAllListed(ctx, tx, e); err != nil {
					return fmt.Errorf("before: %w", err)
				}
			}
			if err := e.raise(ctx, tx); err != nil {
				return err
			}
			stale := expect("a stale licence", tx.UpdateLicense(ctx, e.license), license.Conflict)
			name := fmt.Sprintf("new_%02d", k)
			_, err = tx.Append(ctx, newEvent(license.ActionIssue, name))
			if err := errors.Join(err, stale, tx.CreateLicense(ctx, newLicense(name)), tx.CreateInstall(ctx, newInstall("lic_1", name)),
				tx.CreateJob(ctx, newJob(name, "k"))); err != nil {
				return err
			}
			if k%4 == 2 || k%3 == 0 {
				e, err := readEverywhere(ctx, tx)
				if err == nil {
					err = wantAllListed(ctx, tx, e)
				}
				if err != nil {
					return fmt.Errorf("after: %w", err)
				}
			}
			if k%3 == 0 || k%3 == 1 && k%5 == 0 {
				return errRefused
			}
			return nil
		})
	})
	kept := 0
	for k, err := range errs {
		switch {
		case err == nil:
			kept++
		case !errors.Is(err, errRefused):
			t.Errorf("function %d: %v", k, err)
		}
	}
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		e, err := readEverywhere(ctx, tx)
		if err != nil {
			return err
		}
		if e.value != kept {
			t.Errorf("%d functions were kept and %d counted", kept, e.value)
		}
		return errors.Join(e.same(), wantAllListed(ctx, tx, e))
	})
	wantGapless(t, st, kept)
}

// togetherPages has functions page through a list while they and others add to it: a
// page is a part of what the function sees, and a cursor goes on behind it.
func (s suite) togetherPages(t *testing.T) {
	st := s.open(t)
	put(t, st, "lic_000")
	const n, added = 12, 7
	parallel(n, func(k int) {
		if err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			var before []license.License
			p := store.Page{Limit: 3}
			for {
				page, next, err := tx.Licenses(ctx, store.Filter{}, p)
				if err != nil {
					return err
				}
				before = append(before, page...)
				if next == "" {
					break
				}
				p.Cursor = next
			}
			for i := range added {
				if err := tx.CreateLicense(ctx, newLicense(fmt.Sprintf("lic_%03d", 1+i*n+k))); err != nil {
					return err
				}
			}
			after, _, err := tx.Licenses(ctx, store.Filter{}, store.Page{Limit: store.MaxPage})
			if len(before)%added != 1 || len(after) != len(before)+added {
				return fmt.Errorf("there are %d licences, then %d, %w", len(before), len(after), err)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	})
}

// togetherPanics has functions panic or end their goroutine among others.
func (s suite) togetherPanics(t *testing.T) {
	st := s.open(t)
	const n = 30
	parallel(n, func(k int) {
		ended := make(chan any)
		go func() {
			defer func() { ended <- recover() }()
			err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
				if err := addTo(ctx, tx, "count", 1); err != nil {
					return err
				}
				switch k % 5 {
				case 0:
					panic(k)
				case 1:
					runtime.Goexit()
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}()
		if got := <-ended; k%5 == 0 && got != k || k%5 != 0 && got != nil {
			t.Errorf("function %d panicked with %v", k, got)
		}
	})
	if got := number(t, st, "count"); got != n*3/5 {
		t.Errorf("counted %d, want %d", got, n*3/5)
	}
}
