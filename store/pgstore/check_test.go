package pgstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

// someOfEach puts records of each kind into a store, two of a few.
func someOfEach(ctx context.Context, tx store.Tx) error {
	listed := benchInstall(1)
	listed.Status = license.StatusRef{List: "sl_1", Index: 7}
	var errs []error
	add := func(err error) { errs = append(errs, err) }
	add(tx.PutStatusList(ctx, license.StatusList{ID: "sl_1", Length: 1 << 17, Seed: make([]byte, license.StatusSeedLen)}))
	add(tx.PutStatusEntry(ctx, "sl_1", license.StatusEntry{Index: 7, Status: license.StatusSuspended}))
	for n := range int64(2) {
		add(tx.CreateLicense(ctx, benchLicense(n)))
		_, err := tx.Append(ctx, license.AuditEvent{At: benchTime, Action: license.ActionIssue, License: benchLicense(n).ID})
		add(err)
	}
	add(tx.CreateInstall(ctx, listed))
	add(tx.CreateOrder(ctx, license.Order{Channel: "m", ID: "CS1", Line: "1", License: listed.LicenseID}))
	add(tx.PutPending(ctx, license.Pending{Channel: "m", CodeIndex: codeIndex(9)}))
	for _, id := range []string{"job_1", "job_2"} {
		add(tx.CreateJob(ctx, license.Job{ID: id, Kind: license.JobCheck, Key: "k", CreatedAt: benchTime, DueAt: benchTime.Add(time.Minute)}))
	}
	add(tx.SetValue(ctx, "v", []byte("x")))
	return errors.Join(errs...)
}

// TestCheckDatabase changes a database by hand, in each way that the daemon would not
// notice: a record that is not found any more, or in the wrong place.
func TestCheckDatabase(t *testing.T) {
	url := pgtest.URL(t)
	s := open(t, url, pgstore.Options{})
	if err := s.Update(t.Context(), someOfEach); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Fatalf("a sound one: %v", err)
	}
	conn := connect(t, url)
	keep, restore := "", ""
	for _, table := range []string{"licenses", "installs", "statuses", "status_lists", "orders", "pending", "jobs", "audit", "head"} {
		keep += "create table kept_" + table + " as table " + table + ";"
		restore += "delete from " + table + "; insert into " + table + " table kept_" + table + ";"
	}
	if _, err := conn.Exec(t.Context(), keep); err != nil {
		t.Fatal(err)
	}
	for sql, want := range map[string]string{
		"update licenses set customer = 'Other' where last4 = '0001'":             "licenses",
		"update licenses set standing = 1 where last4 = '0001'":                   "licenses",
		"update licenses set ends = 0 where last4 = '0001'":                       "licenses",
		"update licenses set revision = 9 where last4 = '0001'":                   "licenses",
		"update licenses set code = '\\x00' where last4 = '0001'":                 "licenses",
		"update licenses set record = '{}' where last4 = '0001'":                  "licenses",
		"update licenses set record = 'x' where last4 = '0001'":                   "licenses",
		"update installs set live = false":                                        "installs",
		"update installs set revision = 9":                                        "installs",
		"delete from licenses where last4 = '0001'":                               "there is no licence",
		"delete from status_lists":                                                "there is no such status list",
		"update statuses set idx = 131072":                                        "beyond the end",
		"update statuses set status = 0":                                          "statuses",
		"update status_lists set record = '{}'":                                   "status_lists",
		"update orders set license = null":                                        "orders",
		"update orders set line = '2'":                                            "orders",
		"update pending set code = '\\x01'":                                       "pending",
		"update jobs set turn = not turn where id = 'job_1'":                      "turn",
		"update jobs set turn = not turn where id = 'job_2'":                      "turn",
		"update jobs set due = 0 where id = 'job_1'":                              "jobs",
		"update audit set license = null where seq = 2":                           "audit 2",
		"delete from audit where seq = 1":                                         "audit 2",
		"delete from audit where seq = 2":                                         "ends with",
		"update audit set line = (select line from audit where seq = 2)":          "audit 1",
		"update head set seq = 1":                                                 "behind its head",
		"insert into audit (seq, grp, line) select 9, 0, line from audit limit 1": "behind its head",
	} {
		tag, err := conn.Exec(t.Context(), sql)
		if err != nil || tag.RowsAffected() == 0 {
			t.Fatalf("%s: %v, %s", sql, err, tag)
		}
		err = s.Check(t.Context())
		if !errors.Is(err, license.Damaged) {
			t.Errorf("%s: %v", sql, err)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", sql, err)
		}
		if _, err := conn.Exec(t.Context(), restore); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Check(t.Context()); err != nil {
		t.Errorf("when all is as it was: %v", err)
	}
}
