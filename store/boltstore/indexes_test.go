package boltstore_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// change changes one licence of s.
func change(t *testing.T, s *boltstore.Store, id string, fn func(l *license.License)) {
	t.Helper()
	err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		l, err := tx.License(ctx, id)
		if err != nil {
			return err
		}
		fn(&l)
		return tx.UpdateLicense(ctx, l)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func list(t *testing.T, s *boltstore.Store, f store.Filter) []string {
	t.Helper()
	var ids []string
	for p := (store.Page{}); ; {
		err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
			page, next, err := tx.Licenses(ctx, f, p)
			for _, l := range page {
				ids = append(ids, l.ID)
			}
			p.Cursor = next
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if p.Cursor == "" {
			return ids
		}
	}
}

// Values that cannot stand in a key as they are find their licences and no others.
func TestLookupOddValues(t *testing.T) {
	s := open(t, filled(t))
	id := benchLicense(2).ID
	long := strings.Repeat("0123456789", 4_000)
	for _, value := range []string{"a\x00b", "a", "\x00", "a\x00" + id, "\x01", long, long[:64], long[:65], "\xff", "é"} {
		change(t, s, id, func(l *license.License) { l.Customer, l.Order, l.Instance = value, value+"1", value+"2" })
		if err := s.Check(t.Context()); err != nil {
			t.Errorf("%.20q: %v", value, err)
		}
		want := []string{id}
		if value == "\xff" {
			want = nil // is not text, and has been replaced
		}
		for _, f := range []store.Filter{{Customer: value}, {Order: value + "1"}, {Instance: value + "2"}, {Customer: value, Instance: value + "2"}} {
			if got := list(t, s, f); !slices.Equal(got, want) {
				t.Errorf("%.20q: found %q", value, got)
			}
		}
		for _, f := range []store.Filter{{Customer: value + "1"}, {Order: value}, {Instance: "2"}, {Customer: strings.ReplaceAll(value, "\x00", "\x02")}} {
			if f.Customer == value {
				continue
			}
			if got := list(t, s, f); len(got) != 0 {
				t.Errorf("%.20q: %.20q finds %q", value, f.Customer+f.Order+f.Instance, got)
			}
		}
	}
}

// A page that finds next to nothing ends before it has read every licence.
func TestPageEndsEarly(t *testing.T) {
	s := open(t, newPath(t))
	const reads = boltstore.PageReads
	err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		for n := range int64(reads + 5) {
			l := benchLicense(n)
			l.Order = "other" // which is looked for as a product, and is none
			if n == reads+1 {
				l.Product = "other"
			}
			if err := tx.CreateLicense(ctx, l); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []store.Filter{
		{Product: "other"}, {Product: "other", State: license.StateIssued, Now: benchTime}, {Product: "other", Order: "other"},
	} {
		err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
			page, next, err := tx.Licenses(ctx, f, store.Page{})
			if err != nil || len(page) != 0 || next == "" {
				t.Errorf("%+v: a page of %d, next %q", f, len(page), next)
				return err
			}
			page, next, err = tx.Licenses(ctx, f, store.Page{Cursor: next})
			if err != nil || len(page) != 1 || page[0].ID != benchLicense(reads+1).ID || next != "" {
				t.Errorf("%+v: then a page of %d, next %q", f, len(page), next)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// licencesOfFormat2 makes a file of format 2 with so many licences, and says what
// is in the indexes of the same file of today.
func licencesOfFormat2(t *testing.T, n int64) (path string, indexes map[string][]string) {
	t.Helper()
	path = newPath(t)
	s := open(t, path)
	err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		for i := range n {
			l := benchLicense(i)
			l.ExpiresAt = benchTime.Add(time.Duration(i*7919%n) * time.Hour)
			l.Customer = fmt.Sprint("customer ", i%7)
			if i%3 == 0 {
				l.ActivatedAt = benchTime
			}
			if err := tx.CreateLicense(ctx, l); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	indexes = indexesOf(t, path)
	asFormat2(t, path)
	return path, indexes
}

func indexesOf(t *testing.T, path string) map[string][]string {
	t.Helper()
	out := make(map[string][]string)
	edit(t, path, func(tx *bolt.Tx) error {
		for _, name := range []string{"standing", "lookups"} {
			if err := tx.Bucket([]byte(name)).ForEach(func(key, value []byte) error {
				out[name] = append(out[name], string(key)+string(value))
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return out
}

func wantIndexes(t *testing.T, path string, want map[string][]string) {
	t.Helper()
	got := indexesOf(t, path)
	for name := range want {
		if !slices.Equal(got[name], want[name]) {
			t.Errorf("%s has %d keys, want %d: %.200q", name, len(got[name]), len(want[name]), got[name])
		}
	}
}

// An upgrade in many batches says how far it is, is stopped after any of them,
// and goes on where it was.
func TestUpgradeInBatches(t *testing.T) {
	const records, inBatch = 100, 30
	stopped := errors.New("stopped by the test")
	for stop := range 5 {
		path, want := licencesOfFormat2(t, records)
		var told []boltstore.Upgrade
		o := boltstore.WithBatch(boltstore.Options{Upgrading: func(u boltstore.Upgrade) error {
			if told = append(told, u); len(told) == stop {
				return stopped
			}
			return nil
		}}, inBatch)
		if stop > 0 {
			if _, err := boltstore.Open(path, o); !errors.Is(err, stopped) || !strings.Contains(err.Error(), path) {
				t.Fatalf("stopped at %d: %v", stop, err)
			}
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, err = boltstore.Open(path, boltstore.Options{ReadOnly: true})
			if !errors.Is(err, license.Conflict) || !strings.Contains(err.Error(), "on its way from format 2") {
				t.Errorf("for reading only: %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file was changed, %v", err)
			}
			if format, _ := formatOf(t, path); format == "2" {
				t.Error("an older program would take it for its own")
			}
		}
		s, err := boltstore.Open(path, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.Check(t.Context()), s.Close()); err != nil {
			t.Error(err)
		}
		wantIndexes(t, path, want)
		// What was told after the stop begins where it was. The step of the audit log follows.
		told = slices.DeleteFunc(told, func(u boltstore.Upgrade) bool { return u.Step != told[0].Step })
		var done []int64
		for i, u := range told {
			if u.From != 2 || u.Unreadable != 0 {
				t.Errorf("it was told %+v", u)
			}
			if stop == 0 || i != stop {
				done = append(done, u.Done)
			}
		}
		if !slices.Equal(done, []int64{0, 30, 60, 90}) || stop > 0 && told[stop] != told[stop-1] {
			t.Errorf("stopped at %d: it was told %+v", stop, told)
		}
	}
}

// A record that cannot be read does not keep a store from being opened; it is
// counted, and named by the check.
func TestUpgradeUnreadable(t *testing.T) {
	path, _ := licencesOfFormat2(t, 9)
	edit(t, path, func(tx *bolt.Tx) error {
		licenses := tx.Bucket([]byte("licenses"))
		return errors.Join(
			licenses.Put([]byte(benchLicense(3).ID), []byte("{")),
			licenses.Put([]byte(benchLicense(5).ID), licenses.Get([]byte(benchLicense(4).ID))),
		)
	})
	var last boltstore.Upgrade
	s, err := boltstore.Open(path, boltstore.WithBatch(boltstore.Options{Upgrading: func(u boltstore.Upgrade) error {
		last = u
		return nil
	}}, 8))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	if last.Unreadable != 2 {
		t.Errorf("it was told %+v", last)
	}
	err = s.Check(t.Context())
	if !errors.Is(err, license.Damaged) || !strings.Contains(err.Error(), benchLicense(3).ID) || !strings.Contains(err.Error(), benchLicense(5).ID) {
		t.Errorf("the check says %v", err)
	}
	if got := list(t, s, store.Filter{Last4: "7K2M"}); len(got) != 7 {
		t.Errorf("found %q", got)
	}
}

// An upgrade that another version has begun is left to that.
func TestUpgradeOfAnother(t *testing.T) {
	for _, raw := range []string{"{", "", `{"step":"something else","from":2}`} {
		path := filled(t)
		edit(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte("upgrade"), []byte(raw)) })
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := boltstore.Open(path, boltstore.Options{}); !errors.Is(err, license.Damaged) || !strings.Contains(err.Error(), "version that began it") {
			t.Errorf("%q: %v", raw, err)
		}
		if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
			t.Errorf("%q: the file was changed, %v", raw, err)
		}
	}
}

// What a key leads to and is not there is reported, not left out.
func TestIndexOfNoRecord(t *testing.T) {
	path := filled(t)
	edit(t, path, func(tx *bolt.Tx) error {
		return errors.Join(
			tx.Bucket([]byte("lookups")).Put([]byte("cExample GmbH\x00lic_x"), []byte{}),
			tx.Bucket([]byte("standing")).Put([]byte("\x04\xff\xff\xff\xff\xff\xff\xff\xfflic_x"), []byte("i")),
		)
	})
	s := open(t, path)
	for _, f := range []store.Filter{{Customer: "Example GmbH", Product: "cad-pro"}, {State: license.StateIssued, Now: benchTime}} {
		err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
			_, _, err := tx.Licenses(ctx, f, store.Page{})
			return err
		})
		if !errors.Is(err, license.Internal) || !strings.Contains(err.Error(), "lic_x") {
			t.Errorf("%+v: %v", f, err)
		}
	}
}

func record(t *testing.T, l license.License) []byte {
	t.Helper()
	l.Revision = 1
	raw, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
