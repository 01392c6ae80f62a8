package dump_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
	"github.com/seed-357fa782/licensed/store/boltstore"
	"github.com/seed-357fa782/licensed/store/dump"
	"github.com/seed-357fa782/licensed/store/faultstore"
)

var noon = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

func open(tb testing.TB) *boltstore.Store {
	tb.Helper()
	s, err := boltstore.Open(filepath.Join(tb.TempDir(), "licensed.db"), boltstore.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

// filled returns a store with n licences that were changed since they were made,
// with an install and two audit events each.
func filled(tb testing.TB, n int) *boltstore.Store {
	tb.Helper()
	s := open(tb)
	err := s.Update(tb.Context(), func(ctx context.Context, tx store.Tx) error {
		if err := tx.PutStatusList(ctx, license.StatusList{ID: "sl_1", Length: 8, Seed: bytes.Repeat([]byte{7}, 32), Next: 3}); err != nil {
			return err
		}
		for i := range n {
			l := license.License{
				ID: fmt.Sprintf("lic_%026d", i), Product: "demo", Channel: license.ChannelManual, Customer: "A & B <c>", Machines: 1, Mode: license.ModeNode,
				IssuedAt: noon, Code: license.StoredCode{Last4: "7777", Index: fmt.Appendf(nil, "%032d", i), Sealed: []byte{0, 255, byte(i)}},
			}
			if err := tx.CreateLicense(ctx, l); err != nil {
				return err
			}
			l.Revision, l.ActivatedAt = 1, noon
			if err := tx.UpdateLicense(ctx, l); err != nil {
				return err
			}
			inst := license.Install{
				ID: "install", LicenseID: l.ID, State: license.InstallLive, Seat: "s1", BoundAt: noon, SeenAt: noon, LeaseUntil: noon,
				Answer: []byte("{ \"text\": \"<&>\" }"), Status: license.StatusRef{List: "sl_1", Index: i % 8},
			}
			if err := tx.CreateInstall(ctx, inst); err != nil {
				return err
			}
			for _, a := range []license.Action{license.ActionIssue, license.ActionActivate} {
				if _, err := tx.Append(ctx, license.AuditEvent{At: noon, Action: a, License: l.ID, After: map[string]any{"n": i}}); err != nil {
					return err
				}
			}
		}
		return tx.SetValue(ctx, "codes.check", []byte{1, 2, 3})
	})
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func write(tb testing.TB, s store.Store) []byte {
	tb.Helper()
	var out bytes.Buffer
	if _, err := dump.Write(tb.Context(), s, &out, dump.Options{Version: "v1", Now: noon}); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// A store that was loaded dumps the same bytes, and is sound.
func TestDumpLoadDump(t *testing.T) {
	text := write(t, filled(t, 1500))
	s := open(t)
	var told int64
	sum, err := dump.Load(t.Context(), s, bytes.NewReader(text), dump.LoadOptions{Progress: func(n int64) { told = n }})
	if err != nil {
		t.Fatal(err)
	}
	if sum.Records[store.RecordLicense] != 1500 || sum.Records[store.RecordEvent] != 3000 || sum.Total() != told || sum.Lines != told+2 {
		t.Errorf("loaded %s, %d lines; told of %d", sum, sum.Lines, told)
	}
	if again := write(t, s); !bytes.Equal(text, again) {
		t.Error("the store that was loaded dumps something else")
	}
	if err := s.Check(t.Context()); err != nil {
		t.Error(err)
	}
	// The code leads to its licence, and what comes next follows what was there.
	err = s.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
		l, err := tx.LicenseByCode(ctx, fmt.Appendf(nil, "%032d", 7))
		if err != nil || l.Revision != 2 {
			t.Errorf("revision %d, %v", l.Revision, err)
		}
		inst, err := tx.Install(ctx, l.ID, "install")
		if err != nil || string(inst.Answer) != "{ \"text\": \"<&>\" }" {
			t.Errorf("the answer came back as %q, %v", inst.Answer, err)
		}
		if seq, err := tx.Append(ctx, license.AuditEvent{At: noon}); err != nil || seq != 3001 {
			t.Errorf("position %d, %v", seq, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := dump.Load(t.Context(), s, bytes.NewReader(text), dump.LoadOptions{}); !errors.Is(err, license.Conflict) || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a second load: %v", err)
	}
}

// A load that fails at any of its transactions goes on when it is repeated, with
// nothing twice; until it has ended the store says so.
func TestLoadGoesOn(t *testing.T) {
	text := write(t, filled(t, 1500)) // four batches
	for failAt := range 6 {
		for _, happened := range []bool{false, true} {
			inner := open(t)
			s := faultstore.Wrap(inner)
			fault := faultstore.NotDone
			if happened {
				fault = faultstore.DoneButFails
			}
			s.FailUpdate(faultstore.Nth(failAt+1, fault))
			if _, err := dump.Load(t.Context(), s, bytes.NewReader(text), dump.LoadOptions{}); err == nil {
				t.Fatalf("the load did not fail at transaction %d", failAt)
			}
			if _, err := dump.Write(t.Context(), inner, io.Discard, dump.Options{}); failAt > 0 && failAt < 5 && !errors.Is(err, dump.ErrUnfinished) {
				t.Errorf("%d: the half is dumped: %v", failAt, err)
			}
			if _, err := dump.Load(t.Context(), inner, bytes.NewReader(text), dump.LoadOptions{}); err != nil && (failAt < 5 || !happened) {
				t.Fatalf("%d: repeated: %v", failAt, err)
			}
			if again := write(t, inner); !bytes.Equal(text, again) {
				t.Errorf("%d: the store dumps something else", failAt)
			}
		}
	}
}

func TestAnotherDumpDoesNotGoOn(t *testing.T) {
	text := write(t, filled(t, 2500))
	var other bytes.Buffer
	if _, err := dump.Write(t.Context(), filled(t, 2), &other, dump.Options{Version: "v1", Now: noon.Add(time.Second)}); err != nil {
		t.Fatal(err)
	}
	s := open(t)
	if _, err := dump.Load(t.Context(), s, bytes.NewReader(text[:len(text)/2]), dump.LoadOptions{}); !errors.Is(err, license.Damaged) {
		t.Fatal(err)
	}
	if _, err := dump.Load(t.Context(), s, &other, dump.LoadOptions{}); !errors.Is(err, license.Conflict) || !strings.Contains(err.Error(), "another dump") {
		t.Errorf("got %v", err)
	}
}

// Whatever was done to a dump, the line is named and nothing of its batch is kept.
func TestDamagedDumps(t *testing.T) {
	text := string(write(t, filled(t, 3)))
	lines := strings.SplitAfter(text, "\n")
	lines = lines[:len(lines)-1]
	join := func(change func(l []string) []string) string {
		return strings.Join(change(append([]string{}, lines...)), "")
	}
	last := len(lines)
	for _, test := range []struct{ name, text, says string }{
		{"empty", "", "line 1 of the dump is missing"},
		{"something else", "hello\n", "line 1 of the dump is not the header"},
		{"header only", lines[0], "line 2 of the dump is missing"},
		{"cut at a line", strings.Join(lines[:4], ""), "line 5 of the dump is missing"},
		{"cut in a line", strings.Join(lines[:4], "") + lines[4][:10], "line 5 of the dump was cut short"},
		{"without the end", strings.Join(lines[:last-1], ""), fmt.Sprintf("line %d of the dump is missing", last)},
		{"continued", text + "\n", fmt.Sprintf("line %d of the dump stands behind the end", last+1)},
		{"a value changed", strings.Replace(text, "A \\u0026 B", "A \\u0026 C", 1), "line 3 of the dump was changed"},
		{"another kind", strings.Replace(text, `"kind":"license"`, `"kind":"install"`, 1), "line 3 of the dump was changed"},
		{"a line is missing", join(func(l []string) []string { return append(l[:2], l[3:]...) }), "line 3 of the dump has the number 3 where 2 comes"},
		{"a line is twice", join(func(l []string) []string { return append(l[:3], l[2:]...) }), "has the number"},
		{"two changed places", join(func(l []string) []string { l[3], l[4] = l[4], l[3]; return l }), "line 4 of the dump has the number 4 where 3 comes"},
		{"the header was changed", strings.Replace(text, `"audit_seq":6`, `"audit_seq":7`, 1), "has another SHA-256"},
		{"the counts were changed", strings.Replace(text, `"license":3`, `"license":4`, 1), "counts other records"},
		{"not JSON", join(func(l []string) []string { l[5] = "{]\n"; return l }), "line 6 of the dump cannot be read"},
		{"a member too many", strings.Replace(text, `{"n":1,`, `{"n":1,"x":2,`, 1), "line 2 of the dump cannot be read"},
		{"a line too long", lines[0] + strings.Repeat("x", 5<<20), "is longer than 4 MiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := open(t)
			_, verr := dump.Verify(strings.NewReader(test.text))
			_, lerr := dump.Load(t.Context(), s, strings.NewReader(test.text), dump.LoadOptions{})
			for _, err := range []error{verr, lerr} {
				if !errors.Is(err, license.Damaged) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("got %v", err)
				}
			}
			if err := s.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
				ls, _, err := tx.Licenses(ctx, store.Filter{}, store.Page{})
				if len(ls) > 0 {
					t.Errorf("%d licences were stored", len(ls))
				}
				return err
			}); err != nil {
				t.Error(err)
			}
		})
	}
	if _, err := dump.Verify(strings.NewReader(strings.Replace(text, `"licensed_dump":1`, `"licensed_dump":2`, 1))); !errors.Is(err, license.BadRequest) || !strings.Contains(err.Error(), "form 2") {
		t.Errorf("of a newer form: %v", err)
	}
}

// A line that the store refuses is named, too.
func TestRefusedLine(t *testing.T) {
	s := open(t)
	// A dump with an install of a licence that there is not.
	var out bytes.Buffer
	if _, err := dump.Write(t.Context(), orphan{filled(t, 1)}, &out, dump.Options{Version: "v1", Now: noon}); err != nil {
		t.Fatal(err)
	}
	_, err := dump.Load(t.Context(), s, &out, dump.LoadOptions{})
	if !errors.Is(err, license.NotFound) || !strings.Contains(err.Error(), "line 3 (install)") {
		t.Errorf("got %v", err)
	}
}

// orphan is a store that hides its licences.
type orphan struct{ store.Store }

func (o orphan) View(ctx context.Context, fn func(context.Context, store.Tx) error) error {
	return o.Store.View(ctx, func(ctx context.Context, tx store.Tx) error { return fn(ctx, hiding{tx}) })
}

type hiding struct{ store.Tx }

func (h hiding) Records(ctx context.Context, kind store.RecordKind, p store.Page) ([]store.Record, string, error) {
	if kind == store.RecordLicense {
		return nil, "", nil
	}
	return h.Tx.Records(ctx, kind, p)
}

// Whether a store is loaded to its end has to be known before it is dumped.
func TestDumpOfAnUnknownState(t *testing.T) {
	s := faultstore.Wrap(filled(t, 1))
	s.FailCall(faultstore.Method("Value"))
	if _, err := dump.Write(t.Context(), s, io.Discard, dump.Options{}); !errors.Is(err, faultstore.ErrInjected) {
		t.Errorf("got %v", err)
	}
}
