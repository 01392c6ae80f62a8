package boltstore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// FuzzRecord puts any bytes into a store in the place of a record, as a failing
// disk or an editor may. Whatever is asked of it then gets an answer or an
// error with a reason, and what is written leaves the audit log as it was.
func FuzzRecord(f *testing.F) {
	path := filled(f)
	s := open(f, path)
	records := 0
	err := boltstore.DB(s).View(func(tx *bolt.Tx) error {
		for bucket, name := range boltstore.Buckets() {
			_ = tx.Bucket([]byte(name)).ForEach(func(key, raw []byte) error {
				f.Add(uint8(bucket), key, raw)
				f.Add(uint8(bucket), key, raw[:len(raw)/2])
				records++
				return nil
			})
		}
		return nil
	})
	if err != nil || records < 10 {
		f.Fatalf("%d records, %v", records, err)
	}
	id := []byte(benchLicense(1).ID)
	for _, r := range []struct {
		bucket uint8
		key    string
		raw    string
	}{
		{0, string(id), `{"id":"` + string(id) + `","revision":9223372036854775807,"issued_at":"9999-12-31T23:59:59Z"}`},
		{0, "lic_x", `{"ID":"lic_y","transfers":["2026-01-01T00:00:00+25:00"]}`},
		{2, string(id) + "/ins", "{\"unproven\":{\"x\":null},\"forks\":{\"\":{}}}\nnot JSON"},
		{3, "\x7f\xff\xff\xff\xff\xff\xff\xff", `{"seq":9223372036854775807}`},
		{3, "\xff", `{"seq":-1}`},
		{7, "sl_9", `{"id":"sl_9","length":-1,"next":1e3,"seed":null}`},
		{8, "sl_1\x00\xff\xff\xff\xff", "\x01\xff\xff\xff\xff\xff\xff\xff\xff"},
		{8, "\x00\x00\x00\x00\x00", "\x03"},
		{5, "\xff\xff\xff\xff\xff\xff\xff\xff\xff", ""},
		{9, "job_1", `{"id":"job_2","key":"k\u0000job_1","revision":9223372036854775807,"due_at":"0001-01-01T00:00:00Z"}`},
		{9, "job_3", `{"id":"job_3","revision":1,"payload":7,"due_at":"2026-03-01T12:00:00.5Z","parked_at":"2026-03-01T12:00:00Z"}`},
		{9, "job_4", `{"id":"job_4","revision":1,"due_at":"2026-03-01T12:00:00Z"}`},
		{10, "job_1", `{"id":"job_1","revision":1,"due_at":"2026-03-01T12:00:00Z"}`},
		{11, "\x00\x00\x00\x00\x00\x00\x00\x00job_3", ""},
		{11, "\xff\xff\xff\xff\xff\xff\xff\xffjob_9", "x"},
		{12, "k\x00", "\x80\x00\x00\x00\x00\x00\x00\x00"},
		{12, "k\x00job_0", "\x80\x00\x00\x00\x00\x00\x00\x00"},
		{13, "k\x00CS1\x001", `{"channel":"\u0000","amount":-1,"stage":"x"}`},
		{13, "k", `{"ordered_at":"0000-01-01T00:00:00Z"}`},
		{0, string(id), `{"id":"` + string(id) + `","revision":1,"customer":"\u0000","order":"\ufffd","expires_at":"9999-12-31T23:59:59Z","holds":3}`},
		{15, "", "\x00"},
		{15, "\x04", ""},
		{15, "\x04\xff\xff\xff\xff\xff\xff\xff\xff", ""},
		{15, "\x04\x80\x00\x00\x00\x00\x00\x00\x00" + string(id), "i"},
		{15, "\x04\xff\x00\x00\x00\x00\x00\x00\x00" + string(id), "\x00"},
		{15, "\xff\x00\x00\x00\x00\x00\x00\x00\x00lic_9", "x"},
		{16, "c", ""},
		{16, "cExample GmbH\x00", ""},
		{16, "cExample GmbH\x00a\x00" + string(id), ""},
		{16, "z\x00\x00", "x"},
	} {
		f.Add(r.bucket, []byte(r.key), []byte(r.raw))
	}
	f.Fuzz(func(t *testing.T, bucket uint8, key, raw []byte) {
		names := boltstore.Buckets()
		name := names[int(bucket)%len(names)]
		if len(key) == 0 || len(key) > 600 || len(raw) > 1<<16 {
			return
		}
		ctx := t.Context()
		err := boltstore.InSpoiled(ctx, s, name, key, raw, func(tx store.Tx, soundness func() error) {
			if err := soundness(); err != nil && !errors.Is(err, license.Damaged) {
				t.Errorf("the check says %v", err)
			}
			readAll(t, tx, key)
			writeSome(t, tx, key)
			readAll(t, tx, key)
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// known fails where an error has no reason.
func known(t *testing.T, err error) {
	t.Helper()
	if err != nil && license.ReasonOf(err) == "" {
		t.Errorf("no reason: %v", err)
	}
}

// readAll asks for everything there is, and for what the key may name.
func readAll(t *testing.T, tx store.Tx, key []byte) {
	t.Helper()
	ctx, id := t.Context(), string(key)
	first, second, _ := strings.Cut(id, "/")
	channel, index, _ := bytes.Cut(key, []byte{0})
	for _, name := range []string{id, first, benchLicense(1).ID, "sl_1", ""} {
		if strings.Contains(name, "\x00") {
			continue // no name of anything, and a part of keys
		}
		l, err := tx.License(ctx, name)
		if known(t, err); err == nil {
			if _, err := json.Marshal(l); err != nil {
				t.Errorf("what was read is not written: %v", err)
			}
		}
		_, err = tx.Install(ctx, name, second)
		known(t, err)
		_, err = tx.Installs(ctx, name)
		known(t, err)
		_, err = tx.StatusList(ctx, name)
		known(t, err)
		entries, err := tx.StatusEntries(ctx, name)
		known(t, err)
		for _, e := range entries {
			_ = e.At(benchTime)
			if again, err := tx.StatusEntry(ctx, name, e.Index); e.Index < 1<<31 && (err != nil || again != e) {
				t.Errorf("the entry %+v is %+v by itself: %v", e, again, err)
			}
		}
	}
	_, err := tx.LicenseByCode(ctx, key)
	known(t, err)
	_, err = tx.Pending(ctx, string(channel), index)
	known(t, err)
	_, err = tx.Value(ctx, id)
	known(t, err)
	_, err = tx.LastStatusList(ctx)
	known(t, err)
	_, err = tx.StatusLists(ctx)
	known(t, err)
	for cursor, n := "", 0; n < 10; n++ {
		_, next, err := tx.Licenses(ctx, store.Filter{State: license.StateActive, Now: benchTime, ExpiringBefore: benchTime}, store.Page{Limit: 1, Cursor: cursor})
		if known(t, err); next == "" {
			break
		}
		cursor = next
	}
	for _, filter := range []store.Filter{
		{Forked: true},
		{Customer: "Example GmbH"},
		{Order: id},
		{Last4: "7K2M", Instance: id},
		{State: license.StateExpired, Now: benchTime},
		{ExpiringBefore: benchTime.AddDate(9, 0, 0), Now: benchTime},
	} {
		for _, cursor := range []string{"", id} {
			_, _, err = tx.Licenses(ctx, filter, store.Page{Cursor: cursor})
			known(t, err)
		}
	}
	_, _, err = tx.Events(ctx, store.EventFilter{License: id}, store.Page{})
	known(t, err)
	readJobs(t, tx, id)
}

// readJobs asks for jobs and orders in every way.
func readJobs(t *testing.T, tx store.Tx, id string) {
	t.Helper()
	ctx := t.Context()
	for _, id := range []string{id, "job_1", ""} {
		_, err := tx.Job(ctx, id)
		known(t, err)
	}
	for _, limit := range []int{1, 0} {
		due, _, err := tx.DueJobs(ctx, benchTime, limit)
		if known(t, err); err == nil && len(due) > 8 {
			t.Errorf("%d jobs are due", len(due))
		}
	}
	for _, f := range []store.JobFilter{{}, {State: license.JobWaiting}, {State: license.JobParked, Channel: id}} {
		for p, n := (store.Page{Limit: 1}), 0; n < 10; n++ {
			_, next, err := tx.Jobs(ctx, f, p)
			if known(t, err); next == "" {
				break
			}
			p.Cursor = next
		}
	}
	_, err := tx.CountJobs(ctx)
	known(t, err)
	first, second, _ := strings.Cut(id, "\x00")
	second, third, _ := strings.Cut(second, "\x00")
	_, err = tx.Order(ctx, first, second, third)
	known(t, err)
	for _, f := range []store.OrderFilter{{}, {Channel: first}, {Channel: "k", ID: second, Open: true}} {
		_, _, err := tx.Orders(ctx, f, store.Page{})
		known(t, err)
	}
}

// writeJobs changes, parks and deletes the jobs that there may be, and orders.
func writeJobs(t *testing.T, tx store.Tx, key string) {
	t.Helper()
	ctx := t.Context()
	known(t, tx.CreateJob(ctx, newJob("job_0", "k", benchTime)))
	known(t, tx.CreateJob(ctx, newJob("job_5", key, benchTime)))
	for _, id := range []string{key, "job_1", "job_2", "job_3", "job_4"} {
		for _, change := range []func(*license.Job){
			func(j *license.Job) { j.DueAt = benchTime.Add(time.Hour) },
			func(j *license.Job) { j.ParkedAt = benchTime },
			func(j *license.Job) { j.ParkedAt = time.Time{} },
		} {
			if j, err := tx.Job(ctx, id); err == nil {
				change(&j)
				known(t, tx.UpdateJob(ctx, j))
			}
		}
		if j, err := tx.Job(ctx, id); err == nil && id != "job_2" {
			known(t, tx.DeleteJob(ctx, j))
		}
	}
	known(t, tx.CreateOrder(ctx, license.Order{Channel: "k", ID: "CS1", Line: "2"}))
	if o, err := tx.Order(ctx, "k", "CS1", "1"); err == nil {
		known(t, tx.UpdateOrder(ctx, o))
	}
}

// writeSome changes what can be read, and adds to the audit log.
func writeSome(t *testing.T, tx store.Tx, key []byte) {
	t.Helper()
	ctx := t.Context()
	first, second, _ := strings.Cut(string(key), "/")
	for _, name := range []string{first, benchLicense(1).ID} {
		if l, err := tx.License(ctx, name); err == nil {
			known(t, tx.UpdateLicense(ctx, l))
		}
		if i, err := tx.Install(ctx, name, second); err == nil {
			known(t, tx.UpdateInstall(ctx, i))
		}
	}
	known(t, tx.CreateInstall(ctx, license.Install{ID: "new", LicenseID: benchLicense(2).ID}))
	known(t, tx.PutStatusEntry(ctx, "sl_1", license.StatusEntry{Index: 7, Status: license.StatusSuspended}))
	known(t, tx.MarkSeen(ctx, key[:min(len(key), 500)], benchTime, benchTime))
	writeJobs(t, tx, string(key))
	before, _, err := tx.Events(ctx, store.EventFilter{}, store.Page{})
	if known(t, err); err != nil {
		return
	}
	seq, err := tx.Append(ctx, license.AuditEvent{Action: license.ActionRenew, At: benchTime})
	if known(t, err); err != nil {
		return
	}
	after, _, err := tx.Events(ctx, store.EventFilter{}, store.Page{})
	if err != nil || len(after) != len(before)+1 || seq < 1 || after[len(before)].Seq != seq {
		t.Errorf("%d events became %d, the new one at %d: %v", len(before), len(after), seq, err)
	}
}
