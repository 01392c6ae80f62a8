package boltstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	bolt "go.etcd.io/bbolt"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
)

// unchain makes of the audit log what it was in format 2: no chain.
func unchain(t *testing.T, path string) {
	t.Helper()
	edit(t, path, func(tx *bolt.Tx) error {
		audit := tx.Bucket([]byte("audit"))
		old := make(map[string][]byte)
		if err := audit.ForEach(func(key, raw []byte) error {
			line, err := license.ParseAuditLine(bytes.Clone(raw))
			if err != nil {
				return err
			}
			e, err := line.Event()
			if err != nil {
				return err
			}
			old[string(key)], err = json.Marshal(e)
			return err
		}); err != nil {
			return err
		}
		for key, raw := range old {
			if err := audit.Put([]byte(key), raw); err != nil {
				return err
			}
		}
		return nil
	})
}

// withEvents is a store whose audit log has n events, and these events.
func withEvents(t *testing.T, n int) (path string, events []license.AuditEvent) {
	t.Helper()
	path = newPath(t)
	s := open(t, path)
	err := s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		for i := range n {
			if _, err := tx.Append(ctx, license.AuditEvent{
				At: benchTime, Actor: license.Actor{Kind: license.ActorAdmin}, Action: license.ActionIssue, License: fmt.Sprint("lic_", i),
				After: map[string]any{"customer": "ACME", "machines": 1.0}, Note: "by hand",
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	events = eventsOf(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path, events
}

func eventsOf(t *testing.T, s *boltstore.Store) (events []license.AuditEvent) {
	t.Helper()
	err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		events, _, err = tx.Events(ctx, store.EventFilter{}, store.Page{Limit: store.MaxPage})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// The audit log is chained in batches, and after a crash that goes on where it was.
func TestUpgradeChainsTheAuditLog(t *testing.T) {
	for crash := range int64(12) {
		path, want := withEvents(t, 10)
		asFormat2(t, path)
		o := boltstore.WithBatch(boltstore.Options{Upgrading: func(u boltstore.Upgrade) error {
			if strings.Contains(u.Step, "audit") && u.Done >= crash {
				return errTest
			}
			return nil
		}}, 3)
		if s, err := boltstore.Open(path, o); crash < 10 && !errors.Is(err, errTest) {
			t.Errorf("error is %v", err)
		} else if err == nil {
			_ = s.Close()
		}
		s := open(t, path)
		if err := s.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, eventsOf(t, s)); diff != "" {
			t.Errorf("cut off after %d (-before +after):\n%s", crash, diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// What cannot be read is kept in the chain as it is, and does not keep the store
// from being opened; that entries are missing is found afterwards.
func TestUpgradeOfADamagedAuditLog(t *testing.T) {
	second := binary.BigEndian.AppendUint64(nil, 2)
	for name, test := range map[string]struct {
		spoil func(audit *bolt.Bucket) error
		says  string // the check
	}{
		"gap":         {func(b *bolt.Bucket) error { return b.Delete(second) }, "entry 2 before it is missing"},
		"unreadable":  {func(b *bolt.Bucket) error { return b.Put(second, []byte("{\xff")) }, ""},
		"of another":  {func(b *bolt.Bucket) error { return b.Put(second, []byte(`{"seq":3}`)) }, ""},
		"no position": {func(b *bolt.Bucket) error { return b.Put([]byte("x"), []byte(`{"seq":3}`)) }, "audit \"x\""},
		"not to be kept": {func(b *bolt.Bucket) error {
			return b.Put(second, []byte(`{"seq":2,"after":{"customer":{"a":1,"hash":"x"}}}`))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path, want := withEvents(t, 4)
			asFormat2(t, path)
			edit(t, path, func(tx *bolt.Tx) error { return test.spoil(tx.Bucket([]byte("audit"))) })
			s, err := boltstore.Open(path, boltstore.WithBatch(boltstore.Options{}, 2))
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if err := s.Check(t.Context()); test.says == "" && err != nil || test.says != "" && (err == nil || !strings.Contains(err.Error(), test.says)) {
				t.Errorf("the check says %v", err)
			}
			if test.says != "" {
				return
			}
			got := eventsOf(t, s)
			if len(got) != 4 || got[1].Action != license.ActionUnreadable || got[1].After["record"] == "" || !cmp.Equal(got[3], want[3]) {
				t.Errorf("there is %+v", got)
			}
		})
	}
}
