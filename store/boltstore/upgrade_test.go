package boltstore_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// format1 is a store as version 0.1 wrote it: two licences, an install, an
// audit event, a mark, a value and something pending.
func format1(t *testing.T) []byte {
	t.Helper()
	f, err := os.Open("testdata/format1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// asFormat2 makes of a file what a program of format 2 would have written.
func asFormat2(t *testing.T, path string) {
	t.Helper()
	names := boltstore.Buckets()
	unchain(t, path)
	dropBucket(names[slices.Index(names, "orderslicense")+1:]...)(t, path)
	setFormat("2")(t, path)
}

func formatOf(t *testing.T, path string) (format string, buckets int) {
	t.Helper()
	edit(t, path, func(tx *bolt.Tx) error {
		format = string(tx.Bucket([]byte("meta")).Get([]byte("format")))
		return tx.ForEach(func([]byte, *bolt.Bucket) error { buckets++; return nil })
	})
	return format, buckets
}

// wantFormat1 checks that everything is there that format1 holds, and that the
// new kinds of record can be used.
func wantFormat1(t *testing.T, s *boltstore.Store) {
	t.Helper()
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		licenses, _, err1 := tx.Licenses(ctx, store.Filter{}, store.Page{})
		inst, err2 := tx.Install(ctx, "lic_1", "ins")
		events, _, err3 := tx.Events(ctx, store.EventFilter{}, store.Page{})
		_, err4 := tx.Pending(ctx, "k", []byte("p"))
		value, err5 := tx.Value(ctx, "v")
		if len(licenses) != 2 || licenses[0].Customer != "ACME" || inst.Seat != "seat_1" || string(inst.Answer) != `{"iss":"x"}` || len(events) != 1 || string(value) != "x" {
			t.Errorf("there is %+v, %+v, %+v, %q", licenses, inst, events, value)
		}
		if inst.Status != (license.StatusRef{}) {
			t.Errorf("the install has the place %+v", inst.Status)
		}
		_, none := tx.LastStatusList(ctx)
		if !errors.Is(none, license.NotFound) {
			t.Errorf("the last status list: %v", none)
		}
		err := errors.Join(err1, err2, err3, err4, err5,
			tx.PutStatusList(ctx, license.StatusList{ID: "sl_1", Length: 8, Seed: make([]byte, license.StatusSeedLen)}),
			tx.PutStatusEntry(ctx, "sl_1", license.StatusEntry{Index: 3, Status: license.StatusRevoked}),
			useNewKinds(ctx, tx))
		if err != nil {
			return err
		}
		return errTest // which undoes it
	})
	if !errors.Is(err, errTest) {
		t.Error(err)
	}
}

// useNewKinds uses the kinds of record that format 2 got last.
func useNewKinds(ctx context.Context, tx store.Tx) error {
	if err := errors.Join(
		tx.CreateJob(ctx, newJob("job_1", "k", benchTime)),
		tx.CreateJob(ctx, parked(newJob("job_2", "k", benchTime))),
		tx.CreateOrder(ctx, license.Order{Channel: "k", ID: "CS1", Line: "1"})); err != nil {
		return err
	}
	due, _, err1 := tx.DueJobs(ctx, benchTime, 0)
	jobs, _, err2 := tx.Jobs(ctx, store.JobFilter{}, store.Page{})
	orders, _, err3 := tx.Orders(ctx, store.OrderFilter{}, store.Page{})
	if len(due) != 1 || len(jobs) != 2 || len(orders) != 1 {
		return fmt.Errorf("%d jobs of %d are due, there are %d orders", len(due), len(jobs), len(orders))
	}
	return errors.Join(err1, err2, err3)
}

// Before it was released format 2 had no jobs and orders. A file of that form
// is completed when it is opened, once.
func TestUpgradeEarly(t *testing.T) {
	path := filled(t)
	final, want := formatOf(t, path)
	asFormat2(t, path)
	_, had := formatOf(t, path)
	dropBucket("jobs", "jobsparked", "jobsdue", "jobskeys", "orders", "orderslicense")(t, path)
	if format, buckets := formatOf(t, path); format != "2" || buckets != had-6 {
		t.Fatalf("the file has format %s with %d buckets", format, buckets)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = boltstore.Open(path, boltstore.Options{ReadOnly: true})
	if !errors.Is(err, license.Conflict) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "format 2") || !strings.Contains(err.Error(), "start the daemon") {
		t.Errorf("for reading only: error is %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed, %v", err)
	}
	for round := range 2 {
		s := open(t, path)
		err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			i, err1 := tx.Install(ctx, benchLicense(1).ID, "ins")
			entries, err2 := tx.StatusEntries(ctx, "sl_1")
			if string(i.Answer) != "{}" || len(entries) != 1 {
				t.Errorf("there is %+v, %+v", i, entries)
			}
			if err := errors.Join(err1, err2, useNewKinds(ctx, tx)); err != nil {
				return err
			}
			return errTest // which undoes it
		})
		if !errors.Is(err, errTest) {
			t.Error(err)
		}
		if err := errors.Join(s.Check(t.Context()), s.Close()); err != nil {
			t.Error(err)
		}
		after, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if round > 0 && !bytes.Equal(before, after) {
			t.Error("the file was written again")
		}
		before = after
	}
	if format, buckets := formatOf(t, path); format != final || buckets != want {
		t.Errorf("the file has format %s with %d buckets, a new one %d", format, buckets, want)
	}
}

// Which orders are linked to a licence follows from the orders: a file that has no
// index of that gets one when it is opened.
func TestUpgradeIndexOfOrders(t *testing.T) {
	path := filled(t)
	asFormat2(t, path)
	dropBucket("orderslicense")(t, path)
	if _, err := boltstore.Open(path, boltstore.Options{ReadOnly: true}); !errors.Is(err, license.Conflict) {
		t.Errorf("for reading only: error is %v", err)
	}
	s := open(t, path)
	orders, err := linkedTo(t, s, "lic_7")
	if err != nil || len(orders) != 1 {
		t.Errorf("%+v, %v", orders, err)
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func linkedTo(t *testing.T, s *boltstore.Store, id string) (orders []license.Order, err error) {
	t.Helper()
	err = s.View(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		orders, _, err = tx.Orders(ctx, store.OrderFilter{License: id}, store.Page{})
		return err
	})
	return orders, err
}

// The orders of a licence are found without a look at any other: one that cannot
// be read does not matter.
func TestOrdersOfALicence(t *testing.T) {
	path := filled(t)
	edit(t, path, func(tx *bolt.Tx) error {
		return tx.Bucket([]byte("orders")).Put([]byte("k\x00CS0\x001"), []byte(`{"license":"lic_7"`))
	})
	s := open(t, path)
	if orders, err := linkedTo(t, s, "lic_7"); err != nil || len(orders) != 1 {
		t.Errorf("%+v, %v", orders, err)
	}
	if orders, err := linkedTo(t, s, "lic_9"); err != nil || len(orders) != 0 {
		t.Errorf("%+v, %v", orders, err)
	}
}

// A link that is changed, or whose order is called otherwise, leaves nothing behind.
func TestOrdersOfALicenceLeaveNothing(t *testing.T) {
	s := open(t, filled(t))
	for name, change := range map[string]func(context.Context, store.Tx, license.Order) error{
		"linked to another": func(ctx context.Context, tx store.Tx, o license.Order) error {
			o.License = "lic_8"
			return tx.UpdateOrder(ctx, o)
		},
		"renamed": func(ctx context.Context, tx store.Tx, o license.Order) error {
			return tx.RenameOrder(ctx, o, o.Line+"1")
		},
	} {
		err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			orders, _, err := tx.Orders(ctx, store.OrderFilter{Channel: "k", ID: "CS1"}, store.Page{})
			if err != nil {
				return err
			}
			return change(ctx, tx, orders[0])
		})
		if err := errors.Join(err, s.Check(t.Context())); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUpgrade(t *testing.T) {
	path := newPath(t)
	write(format1(t))(t, path)
	if format, _ := formatOf(t, path); format != "1" {
		t.Fatalf("the file has format %s", format)
	}
	s := open(t, path)
	wantFormat1(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	format, buckets := formatOf(t, path)
	fresh := newPath(t)
	if err := open(t, fresh).Close(); err != nil {
		t.Fatal(err)
	}
	if wantFormat, want := formatOf(t, fresh); format != wantFormat || buckets != want {
		t.Errorf("the file has format %s with %d buckets, a new one %s with %d", format, buckets, wantFormat, want)
	}
	// Once is enough: opening it again writes nothing.
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantFormat1(t, open(t, path))
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was written again, %v", err)
	}
}

// A file of an older format that is opened for reading only is refused with
// advice, and left as it is.
func TestUpgradeReadOnly(t *testing.T) {
	path := newPath(t)
	before := format1(t)
	write(before)(t, path)
	_, err := boltstore.Open(path, boltstore.Options{ReadOnly: true})
	if !errors.Is(err, license.Conflict) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "format 1") || !strings.Contains(err.Error(), "start the daemon") {
		t.Errorf("error is %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed, %v", err)
	}
	wantFormat1(t, open(t, path))
	s, err := boltstore.Open(path, boltstore.Options{ReadOnly: true, LockTimeout: -1})
	if !errors.Is(err, license.Conflict) || strings.Contains(err.Error(), "format") {
		t.Errorf("while it is open: %v, %v", s, err)
	}
}

// An upgrade that is cut off, by a kill or by the power, after any of the pages
// that it writes, in any order of the disk, leaves a file that is opened and
// upgraded as if nothing had happened: its meta page comes last.
func TestUpgradeCutOff(t *testing.T) {
	before := format1(t)
	path := newPath(t)
	write(before)(t, path)
	if err := open(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096 // of the fixture
	var changed []int // pages, the two meta pages aside
	for from := 0; from < len(after); from += page {
		if n := from / page; n >= 2 && (from >= len(before) || !bytes.Equal(before[from:from+page], after[from:from+page])) {
			changed = append(changed, n)
		}
	}
	if len(changed) == 0 || bytes.Equal(before[:2*page], after[:2*page]) {
		t.Fatalf("the upgrade wrote the pages %v", changed)
	}
	cut := func(pages []int, meta []byte) {
		t.Helper()
		data := slices.Clone(before)
		if len(after) > len(data) {
			data = append(data, make([]byte, len(after)-len(data))...)
		}
		for _, n := range pages {
			copy(data[n*page:(n+1)*page], after[n*page:])
		}
		copy(data, meta)
		path := newPath(t)
		write(data)(t, path)
		wantFormat1(t, open(t, path))
	}
	for n := range changed {
		cut(changed[:n+1], before[:2*page])
		cut(changed[n:], before[:2*page])
	}
	// The meta page itself was torn: its checksum says so.
	torn := slices.Clone(after[:2*page])
	for k := range 2 {
		if at := k * page; !bytes.Equal(before[at:at+page], after[at:at+page]) {
			copy(torn[at+40:at+page], before[at+40:at+page])
		}
	}
	cut(changed, torn)
}
