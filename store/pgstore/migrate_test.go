package pgstore_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/pgstore"
)

// TestMigrateAtOnce has several daemons come to an empty database at once.
func TestMigrateAtOnce(t *testing.T) {
	for range 3 {
		url := pgtest.URL(t)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				s, err := pgstore.Open(t.Context(), url, pgstore.Options{})
				if err != nil {
					t.Error(err)
					return
				}
				if err := errors.Join(s.Update(t.Context(), issueEvent), s.Close()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var n, events int
		err := connect(t, url).QueryRow(t.Context(), "select (select count(*) from schemas), (select count(*) from audit)").Scan(&n, &events)
		if err != nil || n != 1 || events != 8 {
			t.Errorf("there are %d schemas and %d events, %v", n, events, err)
		}
	}
}

func issueEvent(ctx context.Context, tx store.Tx) error {
	_, err := tx.Append(ctx, license.AuditEvent{At: benchTime, Action: license.ActionIssue})
	return err
}

// TestSchemaOfAnotherVersion checks whom a newer schema serves, and what an empty
// one says to who may only read.
func TestSchemaOfAnotherVersion(t *testing.T) {
	url := pgtest.URL(t)
	if s, err := pgstore.Open(t.Context(), url, pgstore.Options{ReadOnly: true}); !errors.Is(err, license.ReadOnly) {
		t.Errorf("an empty database opened for reading: %v, %v", s, err)
	}
	if err := open(t, url, pgstore.Options{}).Update(t.Context(), issueEvent); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, url)
	if _, err := conn.Exec(t.Context(), "insert into schemas (version, serves) values (2, 1)"); err != nil {
		t.Fatal(err)
	}
	if err := open(t, url, pgstore.Options{}).Update(t.Context(), issueEvent); err != nil {
		t.Errorf("beside a daemon that is one release newer: %v", err)
	}
	reading := open(t, url, pgstore.Options{ReadOnly: true})
	if err := reading.Update(t.Context(), issueEvent); !errors.Is(err, license.ReadOnly) {
		t.Errorf("a change of what was opened for reading: %v", err)
	}
	if err := reading.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		head, err := tx.AuditHead(ctx)
		if head.Seq != 2 {
			t.Errorf("the head is %s", head)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	if _, err := conn.Exec(t.Context(), "insert into schemas (version, serves) values (3, 2)"); err != nil {
		t.Fatal(err)
	}
	s, err := pgstore.Open(t.Context(), url, pgstore.Options{})
	if err == nil || !strings.Contains(err.Error(), "schema 3") || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("a schema that is too new: %v, %v", s, err)
	}
}
