package boltstore_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

func TestCheck(t *testing.T) {
	id := benchLicense(1).ID
	code := string(benchLicense(1).Code.Index)
	seed := base64.StdEncoding.EncodeToString(make([]byte, license.StatusSeedLen))
	second := string(binary.BigEndian.AppendUint64(nil, 2))
	due := string(binary.BigEndian.AppendUint64(nil, uint64(benchTime.Unix())+1<<63))
	job := func(id, key, parkedAt string, revision int) []byte {
		if parkedAt != "" {
			parkedAt = `,"parked_at":"` + parkedAt + `"`
		}
		return fmt.Appendf(nil, `{"id":%q,"key":%q,"revision":%d,"due_at":"2026-05-01T00:00:00Z"%s}`, id, key, revision, parkedAt)
	}
	renewed := benchLicense(1)
	renewed.ExpiresAt = renewed.ExpiresAt.AddDate(0, 0, 1)
	renamed := benchLicense(1)
	renamed.Customer = "Example AG"
	end := string(binary.BigEndian.AppendUint64(nil, uint64(renewed.ExpiresAt.AddDate(0, 0, -1).Unix())+1<<63))
	tests := map[string]struct {
		bucket, key string
		value       []byte // nil removes it
		says        string
	}{
		"sound":                 {"values", "other", []byte("x"), ""},
		"licence unreadable":    {"licenses", id, []byte("{"), `record \"` + id + `\" in licenses`},
		"licence of another":    {"licenses", "lic_x", []byte(`{"id":"lic_y","revision":1}`), "is that of"},
		"licence gone":          {"licenses", id, nil, "there is no licence"},
		"code gone":             {"codes", code, nil, "does not lead to it"},
		"code of another":       {"codes", code, []byte(benchLicense(2).ID), "has another code"},
		"code of none":          {"codes", "x", []byte("lic_x"), "there is no licence"},
		"end not listed":        {"licenses", id, record(t, renewed), "not listed by its state and end"},
		"name not listed":       {"licenses", id, record(t, renamed), "not listed by its customer"},
		"standing gone":         {"standing", "\x04" + end + id, nil, "not listed by its state and end"},
		"standing otherwise":    {"standing", "\x04" + end + id, []byte("a"), "not listed by its state and end"},
		"standing twice":        {"standing", "\x03" + end + id, []byte{}, "another state or end"},
		"standing of none":      {"standing", "\x04" + end + "lic_x", []byte{}, "no licence"},
		"standing too short":    {"standing", "\x04" + end, []byte{}, "too short"},
		"standing of no class":  {"standing", "\x09" + end + id, []byte{}, "another state or end"},
		"lookup gone":           {"lookups", "l7K2M\x00" + id, nil, "not listed by its last four"},
		"lookup of another":     {"lookups", "oCS1\x00" + id, []byte{}, "another order"},
		"lookup of none":        {"lookups", "cX\x00lic_x", []byte{}, "no licence"},
		"lookup of no kind":     {"lookups", "xX\x00" + id, []byte{}, "value of kind 120"},
		"lookup of no id":       {"lookups", "cExample GmbH\x00", []byte{}, "cannot be read"},
		"lookup of no value":    {"lookups", "c\x00" + id, []byte{}, "cannot be read"},
		"install of none":       {"installs", "lic_x/ins", []byte(`{"id":"ins","license_id":"lic_x"}`), "there is no licence"},
		"install under another": {"installs", id + "/x", []byte(`{"id":"ins","license_id":"` + id + `"}`), "is that of"},
		"install unreadable":    {"installs", id + "/ins", []byte("x"), "cannot be read"},
		"audit gap":             {"audit", second, nil, "entry 2 before it is missing"},
		"audit moved":           {"audit", second, []byte(`{"seq":7}`), "not an entry"},
		"pending":               {"pending", "x", []byte(`{"channel":"k"}`), "another code"},
		"list unreadable":       {"statuslists", "sl_1", []byte("{"), "cannot be read"},
		"list of another":       {"statuslists", "sl_2", []byte(`{"id":"sl_1","length":8,"seed":"` + seed + `"}`), "is that of"},
		"list without a seed":   {"statuslists", "sl_1", []byte(`{"id":"sl_1","length":8,"next":1}`), "cannot be drawn"},
		"list overdrawn":        {"statuslists", "sl_1", []byte(`{"id":"sl_1","length":8,"next":9,"seed":"` + seed + `"}`), "cannot be drawn"},
		"status of no list":     {"statuses", "sl_9\x00\x00\x00\x00\x01", []byte{1}, "no such status list"},
		"status of no index":    {"statuses", "sl_1", []byte{1}, "cannot be read"},
		"status cut short":      {"statuses", "sl_1\x00\x00\x00\x00\x01", []byte{1, 2}, "cannot be read"},
		"status that is none":   {"statuses", "sl_1\x00\x00\x00\x00\x01", []byte{0}, "the status is 0"},
		"status beyond two":     {"statuses", "sl_1\x00\x00\x00\x00\x01", []byte{3}, "the status is 3"},
		"status past the end":   {"statuses", "sl_1\x00\x00\x00\x00\x08", []byte{1}, "the list is of 8"},
		"place in no list":      {"installs", id + "/ins", []byte(`{"id":"ins","license_id":"` + id + `","status":{"list":"sl_9","index":1}}`), "no such status list"},
		"place not drawn":       {"installs", id + "/ins", []byte(`{"id":"ins","license_id":"` + id + `","status":{"list":"sl_1","index":8}}`), "beyond the end"},
		"mark":                  {"marks", "x", []byte{}, "too short"},
		"job unreadable":        {"jobs", "job_1", []byte("{"), "cannot be read"},
		"job of another":        {"jobs", "job_1", job("job_9", "k", "", 1), "is that of"},
		"job of no revision":    {"jobs", "job_1", job("job_1", "k", "", 0), "its revision is 0"},
		"job that is parked":    {"jobs", "job_3", job("job_3", "", "2026-01-01T00:00:00Z", 1), "it is parked"},
		"parked that waits":     {"jobsparked", "job_4", job("job_4", "", "", 1), "it is waiting"},
		"parked and waiting":    {"jobsparked", "job_3", job("job_3", "", "2026-01-01T00:00:00Z", 1), "with the same id"},
		"parked unreadable":     {"jobsparked", "job_4", []byte("x"), "cannot be read"},
		"job gone":              {"jobs", "job_3", nil, "no job \"job_3\" waits"},
		"oldest of a key gone":  {"jobs", "job_1", nil, "no job \"job_1\" waits"},
		"never due":             {"jobsdue", due + "job_3", nil, "never comes to its turn"},
		"oldest never due":      {"jobsdue", due + "job_1", nil, "never comes to its turn"},
		"due at another time":   {"jobs", "job_3", job("job_3", "", "", 1), "never comes to its turn"},
		"due twice":             {"jobsdue", "\x80\x00\x00\x00\x00\x00\x00\x01job_3", []byte{}, "due at another time"},
		"due before its turn":   {"jobsdue", due + "job_2", []byte{}, "not the oldest"},
		"due and parked":        {"jobsdue", due + "job_4", []byte{}, "no job \"job_4\" waits"},
		"due and no job":        {"jobsdue", due, []byte{}, "cannot be read"},
		"no place in its key":   {"jobskeys", "k\x00job_2", nil, "no place among"},
		"key unreadable":        {"jobskeys", "k\x00job_1", []byte("x"), "no place among"},
		"place in another key":  {"jobskeys", "m\x00job_1", []byte(due), "another key"},
		"place of no job":       {"jobskeys", "k\x00job_9", []byte(due), "no job \"job_9\" waits"},
		"place of a parked job": {"jobskeys", "k\x00job_4", []byte(due), "no job \"job_4\" waits"},
		"place of no id":        {"jobskeys", "k\x00", []byte(due), "cannot be read"},
		"order unreadable":      {"orders", "k\x00CS1\x001", []byte("{"), "cannot be read"},
		"order of another":      {"orders", "k\x00CS1\x002", []byte(`{"channel":"k","id":"CS1","line":"1","revision":1}`), "another order line"},
		"order of no link":      {"orderslicense", "lic_7\x00k\x00CS1\x001", nil, "does not lead to it"},
		"order gone":            {"orders", "k\x00CS1\x001", nil, "no such order"},
		"link of another":       {"orderslicense", "lic_8\x00k\x00CS1\x001", []byte{}, "linked to \"lic_7\""},
		"link of no order":      {"orderslicense", "lic_7", []byte{}, "no such order"},
		"order of no revision":  {"orders", "k\x00CS1\x001", []byte(`{"channel":"k","id":"CS1","line":"1"}`), "its revision is 0"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			path := filled(t)
			edit(t, path, func(tx *bolt.Tx) error {
				b := tx.Bucket([]byte(test.bucket))
				if test.value == nil {
					return b.Delete([]byte(test.key))
				}
				return b.Put([]byte(test.key), test.value)
			})
			err := open(t, path).Check(t.Context())
			switch {
			case test.says == "":
				if err != nil {
					t.Error(err)
				}
			case !errors.Is(err, license.Damaged) || !strings.Contains(fmt.Sprintf("%q", err.Error()), test.says) && !strings.Contains(err.Error(), test.says):
				t.Errorf("error is %v", err)
			}
		})
	}
}

func TestCheckUnderLoad(t *testing.T) {
	s := open(t, newPath(t))
	done := make(chan error, 1)
	go func() {
		for n := range int64(60) {
			if err := issue(s, n+1); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		default:
			if err := s.Check(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestUnreadableRecord(t *testing.T) {
	path := filled(t)
	id := benchLicense(1).ID
	edit(t, path, func(tx *bolt.Tx) error {
		return errors.Join(
			tx.Bucket([]byte("licenses")).Put([]byte(id), []byte(`{"id":7}`)),
			tx.Bucket([]byte("installs")).Put([]byte(id+"/ins"), []byte("{}}\n{}")),
			tx.Bucket([]byte("audit")).Put(binary.BigEndian.AppendUint64(nil, 1), []byte("x")),
			tx.Bucket([]byte("pending")).Put([]byte("k\x00p"), []byte("[]")),
			tx.Bucket([]byte("statuslists")).Put([]byte("sl_1"), []byte("[]")),
			tx.Bucket([]byte("statuses")).Put([]byte("sl_1\x00\x00\x00\x00\x01"), []byte("xx")),
			tx.Bucket([]byte("jobs")).Put([]byte("job_3"), []byte(`{"due_at":"today"}`)),
			tx.Bucket([]byte("jobsparked")).Put([]byte("job_4"), []byte("[]")),
			tx.Bucket([]byte("jobsdue")).Put([]byte("x"), nil),
			tx.Bucket([]byte("jobskeys")).Put([]byte("k\x00job_1"), []byte("x")),
			tx.Bucket([]byte("orders")).Put([]byte("k\x00CS1\x001"), []byte("[]")),
		)
	})
	s := open(t, path)
	// A part of a list is read without the rest.
	if err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, _, err := tx.Orders(ctx, store.OrderFilter{Channel: "a"}, store.Page{})
		return err
	}); err != nil {
		t.Errorf("orders of another channel: %v", err)
	}
	// What cannot be written because of it fails in the same way.
	err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		return tx.CreateJob(ctx, newJob("job_9", "k", benchTime))
	})
	if !errors.Is(err, license.Internal) || !strings.Contains(err.Error(), "jobskeys") {
		t.Errorf("jobskeys: error is %v", err)
	}
	for bucket, read := range map[string]func(ctx context.Context, tx store.Tx) error{
		"licenses": func(ctx context.Context, tx store.Tx) error { _, err := tx.License(ctx, id); return err },
		"installs": func(ctx context.Context, tx store.Tx) error { _, err := tx.Installs(ctx, id); return err },
		"audit": func(ctx context.Context, tx store.Tx) error {
			_, _, err := tx.Events(ctx, store.EventFilter{}, store.Page{})
			return err
		},
		"statuslists": func(ctx context.Context, tx store.Tx) error { _, err := tx.LastStatusList(ctx); return err },
		"statuses":    func(ctx context.Context, tx store.Tx) error { _, err := tx.StatusEntries(ctx, "sl_1"); return err },
		"pending":     func(ctx context.Context, tx store.Tx) error { _, err := tx.Pending(ctx, "k", []byte("p")); return err },
		"jobs":        func(ctx context.Context, tx store.Tx) error { _, err := tx.Job(ctx, "job_3"); return err },
		"jobsparked":  func(ctx context.Context, tx store.Tx) error { _, err := tx.Job(ctx, "job_4"); return err },
		"jobsdue":     func(ctx context.Context, tx store.Tx) error { _, _, err := tx.DueJobs(ctx, benchTime, 0); return err },
		"orders":      func(ctx context.Context, tx store.Tx) error { _, err := tx.Order(ctx, "k", "CS1", "1"); return err },
	} {
		err := s.View(t.Context(), read)
		if !errors.Is(err, license.Internal) || !strings.Contains(err.Error(), bucket) || !strings.Contains(err.Error(), "cannot be read") {
			t.Errorf("%s: error is %v", bucket, err)
		}
	}
}

func TestBackup(t *testing.T) {
	path := filled(t)
	s := open(t, path)
	var buf bytes.Buffer
	var c store.Copy
	err := s.Backup(t.Context(), &buf, func(_ context.Context, _ store.Tx, of store.Copy) error {
		c = of
		return nil
	})
	if err != nil || c.Kind != "bolt" || c.Size != int64(buf.Len()) || c.Records["audit"] == 0 {
		t.Fatalf("%+v of %d bytes, %v", c, buf.Len(), err)
	}
	copied := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(copied, buf.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, copied).Check(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = s.Backup(ctx, writerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	}), nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestMarksAreDropped counts what lies in the file: old marks go, a few at a
// time, and the file does not grow for ever.
func TestMarksAreDropped(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	mark := func(until, now time.Time, n int) {
		t.Helper()
		err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			for i := range n {
				if err := tx.MarkSeen(ctx, fmt.Appendf(nil, "%d", i), until, now); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	mark(benchTime, benchTime, 50)
	mark(benchTime.Add(time.Hour), benchTime, 2) // the clock decides, not what others are kept until
	later := benchTime.Add(time.Millisecond)
	mark(later, later, 1)
	mark(later.Add(time.Second), later, 9)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	edit(t, path, func(tx *bolt.Tx) error {
		if n := tx.Bucket([]byte("marks")).Stats().KeyN; n != 50+2+10-4*10 {
			t.Errorf("%d marks are left, want 22", n)
		}
		return nil
	})
}
