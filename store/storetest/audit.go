package storetest

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

var errRefused = errors.New("refused by the test")

func (s suite) audit(t *testing.T) {
	st := s.open(t)
	var want []license.AuditEvent
	for i := range int64(5) {
		e := newEvent(license.ActionRenew, "lic_1")
		if i == 3 {
			e.Seq, e.Erased = 77, true // which do not count
		}
		var seq int64
		update(t, st, func(ctx context.Context, tx store.Tx) (err error) {
			seq, err = tx.Append(ctx, e)
			return err
		})
		if seq != i+1 {
			t.Errorf("position is %d, want %d", seq, i+1)
		}
		e.Seq, e.Erased = seq, false
		want = append(want, e)
	}
	wantSame(t, "events", allEvents(t, st), want)
	wantGapless(t, st, 5)
}

func (s suite) auditNoGap(t *testing.T) {
	st := s.open(t)
	appendTwo := func(result error) error {
		return st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			for range 2 {
				if _, err := tx.Append(ctx, newEvent(license.ActionIssue, "")); err != nil {
					return err
				}
			}
			return result
		})
	}
	for i, result := range []error{errRefused, nil, errRefused, errRefused, nil} {
		if err := appendTwo(result); !errors.Is(err, result) {
			t.Errorf("step %d: error is %v, want %v", i, err, result)
		}
	}
	wantGapless(t, st, 4)
}

// allLines are the lines of the audit log, in pages of a few.
func allLines(t *testing.T, s store.Store, f store.EventFilter) (lines [][]byte) {
	t.Helper()
	view(t, s, func(ctx context.Context, tx store.Tx) error {
		lines = nil
		for p := (store.Page{Limit: 3}); ; {
			part, next, err := tx.EventLines(ctx, f, p)
			lines = append(lines, part...)
			if err != nil || next == "" {
				return err
			}
			p.Cursor = next
		}
	})
	return lines
}

// wantChain checks that the lines of the audit log are a chain from its beginning to
// its head, and say what its events are.
func wantChain(t *testing.T, s store.Store) (head license.AuditHead) {
	t.Helper()
	events := allEvents(t, s)
	lines := allLines(t, s, store.EventFilter{})
	if len(lines) != len(events) {
		t.Fatalf("there are %d lines of %d events", len(lines), len(events))
	}
	for i, raw := range lines {
		line, err := license.ParseAuditLine(raw)
		if err != nil {
			t.Fatal(err)
		}
		var fault *license.AuditFault
		if head, fault = head.Follow(line); fault != nil {
			t.Fatal(fault)
		}
		e, err := line.Event()
		if err != nil {
			t.Fatal(err)
		}
		wantSame(t, "the line's event", e, events[i])
	}
	view(t, s, func(ctx context.Context, tx store.Tx) error {
		got, err := tx.AuditHead(ctx)
		if err == nil && got != head {
			t.Errorf("the head is %s, and the log ends with %s", got, head)
		}
		return err
	})
	return head
}

func (s suite) auditChain(t *testing.T) {
	st := s.open(t)
	if h := wantChain(t, st); h != (license.AuditHead{}) {
		t.Errorf("the head of nothing is %s", h)
	}
	var inside license.AuditHead
	appendTwo := func(result error) {
		err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			before, err := tx.AuditHead(ctx)
			for range 2 {
				seq, appendErr := tx.Append(ctx, newEvent(license.ActionIssue, "lic_1"))
				inside, err = tx.AuditHead(ctx)
				if err := errors.Join(err, appendErr); err != nil {
					return err
				}
				if inside.Seq != seq || inside.Hash == before.Hash {
					t.Errorf("the head is %s after entry %d", inside, seq)
				}
			}
			return errors.Join(err, result)
		})
		if !errors.Is(err, result) {
			t.Errorf("error is %v, want %v", err, result)
		}
	}
	for _, result := range []error{nil, errRefused, nil, errRefused} {
		appendTwo(result)
		head := wantChain(t, st)
		if (head == inside) != (result == nil) {
			t.Errorf("the head is %s, inside it was %s", head, inside)
		}
	}
	// What is the same is salted otherwise.
	lines := allLines(t, st, store.EventFilter{})
	if len(lines) != 4 || bytes.Equal(personal(lines[0]), personal(lines[1])) || len(personal(lines[0])) == 0 {
		t.Errorf("the lines are %s", lines)
	}
	// A line that cannot be written leaves everything as it was.
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		e := newEvent(license.ActionIssue, "lic_1")
		e.After = map[string]any{"x": func() {}}
		if _, err := tx.Append(ctx, e); license.ReasonOf(err) != license.Internal {
			t.Errorf("what cannot be written: %v", err)
		}
		_, err := tx.Append(ctx, newEvent(license.ActionIssue, "lic_1"))
		return err
	})
	wantChain(t, st)
}

func personal(line []byte) []byte {
	_, p, _ := bytes.Cut(line, []byte(`"personal":`))
	return p
}

func (s suite) auditErase(t *testing.T) {
	st := s.open(t)
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		for _, e := range []license.AuditEvent{
			newEvent(license.ActionIssue, "lic_1"), newEvent(license.ActionIssue, "lic_2"),
			{At: base, Actor: license.Actor{Kind: license.ActorSystem}, Action: license.ActionKeysRotate},
			newEvent(license.ActionRenew, "lic_1"),
		} {
			if _, err := tx.Append(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	head, before := wantChain(t, st), allLines(t, st, store.EventFilter{})
	erase := func(result error, want int, positions ...int64) {
		t.Helper()
		err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			n, err := tx.EraseEvents(ctx, positions...)
			if n != want {
				t.Errorf("%d entries were erased, want %d", n, want)
			}
			return errors.Join(err, result)
		})
		if !errors.Is(err, result) {
			t.Errorf("error is %v, want %v", err, result)
		}
	}
	erase(errRefused, 2, 1, 4)
	erase(license.NotFound, 0, 1, 5)
	erase(license.NotFound, 0, 1, 0)
	erase(license.NotFound, 0, -1)
	wantSame(t, "lines after what was undone", allLines(t, st, store.EventFilter{}), before)
	erase(nil, 2, 1, 3, 4)
	erase(nil, 0, 1, 3, 4)
	erase(nil, 0)
	if got := wantChain(t, st); got != head {
		t.Errorf("the head is %s, and was %s", got, head)
	}
	events, lines := allEvents(t, st), allLines(t, st, store.EventFilter{})
	wantSame(t, "the line of another", lines[1], before[1])
	for i, want := range []bool{true, false, false, true} {
		e := events[i]
		if e.Erased != want || want && (e.Note != "" || e.Before["customer"] != nil || e.After["customer"] != nil || len(personal(lines[i])) > 0) {
			t.Errorf("entry %d is %+v: %s", i+1, e, lines[i])
		}
	}
	err := st.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
		_, err := tx.EraseEvents(ctx, 2)
		return err
	})
	if err == nil {
		t.Error("a View has erased")
	}
}

func (s suite) auditFilter(t *testing.T) {
	st := s.open(t)
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		for i, e := range []license.AuditEvent{
			newEvent(license.ActionIssue, "lic_1"), newEvent(license.ActionRenew, "lic_1"),
			newEvent(license.ActionRenew, `lic_"<2>`), newEvent(license.ActionRenew, "lic_10"),
		} {
			e.At = base.Add(time.Duration(i) * time.Hour)
			if _, err := tx.Append(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
	for name, test := range map[string]struct {
		f    store.EventFilter
		want []int64
	}{
		"all":        {store.EventFilter{}, []int64{1, 2, 3, 4}},
		"licence":    {store.EventFilter{License: "lic_1"}, []int64{1, 2}},
		"odd id":     {store.EventFilter{License: `lic_"<2>`}, []int64{3}},
		"action":     {store.EventFilter{Action: license.ActionRenew}, []int64{2, 3, 4}},
		"since":      {store.EventFilter{Since: base.Add(2 * time.Hour)}, []int64{3, 4}},
		"both":       {store.EventFilter{License: "lic_1", Action: license.ActionRenew}, []int64{2}},
		"after":      {store.EventFilter{After: 2}, []int64{3, 4}},
		"after last": {store.EventFilter{After: 4}, nil},
		"far after":  {store.EventFilter{After: 1 << 40}, nil},
		"after, of":  {store.EventFilter{After: 1, License: "lic_1"}, []int64{2}},
		"none match": {store.EventFilter{License: "lic"}, nil},

		"newest":              {store.EventFilter{Newest: true}, []int64{4, 3, 2, 1}},
		"newest of a licence": {store.EventFilter{Newest: true, License: "lic_1"}, []int64{2, 1}},
		"newest, by action":   {store.EventFilter{Newest: true, Action: license.ActionRenew}, []int64{4, 3, 2}},
		"newest since":        {store.EventFilter{Newest: true, Since: base.Add(2 * time.Hour)}, []int64{4, 3}},
		"newest after":        {store.EventFilter{Newest: true, After: 2}, []int64{4, 3}},
		"newest after, of":    {store.EventFilter{Newest: true, After: 1, License: "lic_1"}, []int64{2}},
		"newest after last":   {store.EventFilter{Newest: true, After: 4}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			view(t, st, func(ctx context.Context, tx store.Tx) error {
				events, next, err := tx.Events(ctx, test.f, store.Page{})
				var got, lines []int64
				for _, e := range events {
					got = append(got, e.Seq)
				}
				wantSame(t, "positions", got, test.want)
				for _, raw := range allLines(t, st, test.f) {
					line, err := license.ParseAuditLine(raw)
					if err != nil {
						return err
					}
					lines = append(lines, line.Seq)
				}
				wantSame(t, "positions of lines", lines, test.want)
				if next != "" {
					t.Errorf("there is a cursor after the last event")
				}
				return err
			})
		})
	}
}
