package dump_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/internal/pgtest"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/dump"
	"github.com/seed-357fa782/licensed/store/pgstore"
	"github.com/seed-357fa782/licensed/store/storetest"
)

func database(t *testing.T) (*pgstore.Store, string) {
	t.Helper()
	url := pgtest.URL(t)
	s, err := pgstore.Open(t.Context(), url, pgstore.Options{Connections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, url
}

func digestOf(t *testing.T, s store.Store) dump.Summary {
	t.Helper()
	sum, err := dump.Digest(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// A store with every kind of record moves from its file to PostgreSQL and back, and each
// end has the same digest, which is that of the dump, too.
func TestMove(t *testing.T) {
	from := filled(t, 300)
	if err := from.Update(t.Context(), storetest.FillAll); err != nil {
		t.Fatal(err)
	}
	want := digestOf(t, from)
	for _, kind := range store.RecordKinds() {
		if want.Records[kind] == 0 {
			t.Errorf("there is no record of the kind %s to move", kind)
		}
	}
	move := func(from, to store.Store) {
		t.Helper()
		var text bytes.Buffer
		wrote, err := dump.Write(t.Context(), from, &text, dump.Options{Version: "v1", Now: noon})
		if err != nil {
			t.Fatal(err)
		}
		read, err := dump.Load(t.Context(), to, &text, dump.LoadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if wrote.Digest != want.Digest || read.Digest != want.Digest {
			t.Errorf("the digest is %s, that of the dump %s, of what was loaded %s", want.Digest, wrote.Digest, read.Digest)
		}
		if have := digestOf(t, to); have.Digest != want.Digest || have.String() != want.String() {
			t.Errorf("moved:\n%s %s\nthere:\n%s %s", want, want.Digest, have, have.Digest)
		}
	}
	middle, url := database(t)
	move(from, middle)
	back := open(t)
	move(middle, back)
	if err := back.Check(t.Context()); err != nil {
		t.Error(err)
	}

	// One record that is changed behind the store's back changes the digest, and that of its
	// kind only.
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	if _, err := conn.Exec(t.Context(), `update licenses set record = replace(record, '"demo"', '"dema"') where id = (select max(id) from licenses where record like '%"demo"%')`); err != nil {
		t.Fatal(err)
	}
	if have := digestOf(t, middle); have.Digest == want.Digest || have.String() != want.String() {
		t.Errorf("a licence was changed: %s, as before", have.Digest)
	}
	if _, err := conn.Exec(t.Context(), "update licenses set record = '{' where id = (select max(id) from licenses)"); err != nil {
		t.Fatal(err)
	}
	if _, err := dump.Digest(t.Context(), middle, nil); err == nil || !strings.Contains(err.Error(), `"lic_2"`) {
		t.Errorf("a licence that cannot be read: %v", err)
	}
}

// careless stores another product than it is given, once.
type careless struct {
	store.Store
	done bool
}

type carelessTx struct {
	store.Tx
	s *careless
}

func (s *careless) Update(ctx context.Context, fn func(context.Context, store.Tx) error) error {
	return s.Store.Update(ctx, func(ctx context.Context, tx store.Tx) error { return fn(ctx, carelessTx{tx, s}) })
}

func (t carelessTx) PutRecord(ctx context.Context, r store.Record) error {
	if r.Kind == store.RecordLicense && !t.s.done {
		t.s.done = true
		r.Data = json.RawMessage(strings.Replace(string(r.Data), `"demo"`, `"dema"`, 1))
	}
	return t.Tx.PutRecord(ctx, r)
}

// What a load has stored is read back and compared: where it differs the store stays
// unfinished, and says of which kind.
func TestLoadCompares(t *testing.T) {
	text := write(t, filled(t, 20))
	s := &careless{Store: open(t)}
	_, err := dump.Load(t.Context(), s, bytes.NewReader(text), dump.LoadOptions{})
	if !errors.Is(err, license.Damaged) || !strings.Contains(err.Error(), "of the kind license") {
		t.Errorf("error is %v", err)
	}
	if unfinished, err := dump.Unfinished(t.Context(), s); err != nil || !unfinished {
		t.Errorf("it is served: %v", err)
	}
}

// twice is a database that runs a function again after it has written half.
type twice struct{ store.Store }

func (s twice) View(ctx context.Context, fn func(context.Context, store.Tx) error) error {
	return s.Store.View(ctx, func(ctx context.Context, tx store.Tx) error { return errors.Join(fn(ctx, tx), fn(ctx, tx)) })
}

// A dump does not begin anew in the middle of what it has written.
func TestDumpRunAgain(t *testing.T) {
	var text bytes.Buffer
	_, err := dump.Write(t.Context(), twice{filled(t, 3)}, &text, dump.Options{Version: "v1", Now: noon})
	if !errors.Is(err, license.Conflict) || strings.Count(text.String(), "licensed_dump") != 1 {
		t.Errorf("error is %v, and it wrote %d bytes", err, text.Len())
	}
}
