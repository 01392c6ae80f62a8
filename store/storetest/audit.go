package storetest

import (
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
		e.Hash, e.PrevHash = []byte{byte(i)}, []byte{0}
		var seq int64
		update(t, st, func(ctx context.Context, tx store.Tx) (err error) {
			seq, err = tx.Append(ctx, e)
			return err
		})
		if seq != i+1 {
			t.Errorf("position is %d, want %d", seq, i+1)
		}
		e.Seq = seq
		want = append(want, e)
	}
	wantSame(t, "events", allEvents(t, st), want)
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
	} {
		t.Run(name, func(t *testing.T) {
			view(t, st, func(ctx context.Context, tx store.Tx) error {
				events, next, err := tx.Events(ctx, test.f, store.Page{})
				var got []int64
				for _, e := range events {
					got = append(got, e.Seq)
				}
				wantSame(t, "positions", got, test.want)
				if next != "" {
					t.Errorf("there is a cursor after the last event")
				}
				return err
			})
		})
	}
}
