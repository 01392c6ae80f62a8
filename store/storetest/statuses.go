package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

func newList(id string) license.StatusList {
	seed := make([]byte, license.StatusSeedLen)
	copy(seed, id)
	return license.StatusList{ID: id, Length: 1 << 10, Seed: seed, Next: 1}
}

// statusesOf is all that stands in a list.
func statusesOf(t *testing.T, st store.Store, list string) (all []license.StatusEntry) {
	t.Helper()
	view(t, st, func(ctx context.Context, tx store.Tx) (err error) {
		all, err = tx.StatusEntries(ctx, list)
		return err
	})
	return all
}

func (s suite) statusLists(t *testing.T) {
	st := s.open(t)
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		_, last := tx.LastStatusList(ctx)
		_, one := tx.StatusList(ctx, "sl_1")
		_, none := tx.StatusList(ctx, "")
		all, err := tx.StatusLists(ctx)
		wantSame(t, "all of none", all, []license.StatusList(nil))
		return errors.Join(err, expect("the last", last, license.NotFound), expect("one", one, license.NotFound), expect("no id", none, license.NotFound))
	})
	// Bytewise order, however they come in.
	ids := []string{"sl_2", "sl_10", "sl_1", "sl_B", "sl_a"}
	for _, id := range ids {
		update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.PutStatusList(ctx, newList(id)) })
	}
	next := newList("sl_a")
	next.Next, next.Digest, next.SignedAt = 7, []byte{0, 1, 255}, base.In(time.FixedZone("east", 3600))
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.PutStatusList(ctx, next) })
	next.SignedAt = base
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		last, err1 := tx.LastStatusList(ctx)
		one, err2 := tx.StatusList(ctx, "sl_10")
		all, err3 := tx.StatusLists(ctx)
		wantSame(t, "the last", last, next)
		wantSame(t, "one", one, newList("sl_10"))
		wantSame(t, "all", all, []license.StatusList{newList("sl_1"), newList("sl_10"), newList("sl_2"), newList("sl_B"), next})
		if last.SignedAt.Location() != time.UTC {
			t.Errorf("an instant came back as %v", last.SignedAt)
		}
		return errors.Join(err1, err2, err3)
	})
}

func (s suite) statusEntries(t *testing.T) {
	st := s.open(t)
	entries := func(list string, es ...license.StatusEntry) {
		t.Helper()
		update(t, st, func(ctx context.Context, tx store.Tx) error {
			for _, e := range es {
				if err := tx.PutStatusEntry(ctx, list, e); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for _, id := range []string{"sl_1", "sl_10", "sl_2"} { // one begins like another
		update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.PutStatusList(ctx, newList(id)) })
	}
	at := func(index int, status license.ListStatus) license.StatusEntry {
		return license.StatusEntry{Index: index, Status: status}
	}
	waits := license.StatusEntry{Index: 256, Status: license.StatusRevoked, FinalAt: base}
	east := waits
	east.FinalAt = base.In(time.FixedZone("east", 3600))
	entries("sl_1", at(1<<31-1, license.StatusRevoked), at(0, license.StatusSuspended), east, at(255, license.StatusRevoked), at(65536, license.StatusSuspended))
	entries("sl_2", at(1, license.StatusRevoked))
	wantSame(t, "first", statusesOf(t, st, "sl_1"), []license.StatusEntry{
		at(0, license.StatusSuspended), at(255, license.StatusRevoked), waits, at(65536, license.StatusSuspended), at(1<<31-1, license.StatusRevoked),
	})
	wantSame(t, "one whose id begins so", statusesOf(t, st, "sl_10"), []license.StatusEntry(nil))
	wantSame(t, "second", statusesOf(t, st, "sl_2"), []license.StatusEntry{at(1, license.StatusRevoked)})
	wantSame(t, "one that there is not", statusesOf(t, st, "sl_9"), []license.StatusEntry(nil))

	// Replaced, and removed by what is the same as none.
	final := waits
	final.FinalAt = time.Time{}
	entries("sl_1", final, at(0, license.StatusValid), at(255, license.StatusSuspended), at(7, license.StatusValid), at(1<<31-1, license.StatusValid),
		license.StatusEntry{Index: 65536, FinalAt: base})
	wantSame(t, "replaced", statusesOf(t, st, "sl_1"), []license.StatusEntry{at(255, license.StatusSuspended), final})
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		for _, want := range []license.StatusEntry{at(0, 0), at(255, license.StatusSuspended), final, at(-1, 0), at(1<<40, 0)} {
			got, err := tx.StatusEntry(ctx, "sl_1", want.Index)
			if err != nil {
				return err
			}
			wantSame(t, fmt.Sprint("index ", want.Index), got, want)
		}
		got, err := tx.StatusEntry(ctx, "sl_9", 3)
		wantSame(t, "of no list", got, at(3, 0))
		return err
	})
}

func (s suite) statusRefused(t *testing.T) {
	st := s.open(t)
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.PutStatusList(ctx, newList("sl_1")) })
	entry := func(list string, index int) txFunc {
		return func(ctx context.Context, tx store.Tx) error {
			return tx.PutStatusEntry(ctx, list, license.StatusEntry{Index: index, Status: license.StatusRevoked})
		}
	}
	list := func(id string) txFunc {
		return func(ctx context.Context, tx store.Tx) error { return tx.PutStatusList(ctx, newList(id)) }
	}
	for name, test := range map[string]struct {
		do   txFunc
		want license.Reason
	}{
		"list without an id":       {list(""), license.BadRequest},
		"list with a control byte": {list("sl\x00"), license.BadRequest},
		"list that is not text":    {list("sl\xff"), license.BadRequest},
		"entry of no list":         {entry("sl_2", 0), license.NotFound},
		"entry without a list":     {entry("", 0), license.BadRequest},
		"negative index":           {entry("sl_1", -1), license.BadRequest},
		"valid entry of no list": {func(ctx context.Context, tx store.Tx) error {
			return tx.PutStatusEntry(ctx, "sl_2", license.StatusEntry{Index: 1})
		}, license.NotFound},
	} {
		t.Run(name, func(t *testing.T) {
			// What is refused leaves the transaction usable.
			update(t, st, func(ctx context.Context, tx store.Tx) error {
				wantReason(t, test.do(ctx, tx), test.want)
				return tx.SetValue(ctx, "v", []byte(name))
			})
		})
	}
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		all, err := tx.StatusLists(ctx)
		wantSame(t, "lists", all, []license.StatusList{newList("sl_1")})
		return err
	})
	wantSame(t, "entries", statusesOf(t, st, "sl_1"), []license.StatusEntry(nil))
}

// statusDraws has many draw from one list at once, as activations do: no index
// is drawn twice and none is lost.
func (s suite) statusDraws(t *testing.T) {
	st := s.open(t)
	first := newList("sl_1")
	first.Next = 0
	update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.PutStatusList(ctx, first) })
	const n = 40
	drawn := make(chan int, n)
	for k := range n {
		go func() {
			var index int
			err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
				l, err := tx.LastStatusList(ctx)
				if err != nil {
					return err
				}
				index = l.Next
				l.Next++
				if err := tx.PutStatusList(ctx, l); err != nil {
					return err
				}
				if k%4 == 0 {
					return errRefused
				}
				return nil
			})
			if err != nil {
				index = -1
			}
			drawn <- index
		}()
	}
	seen := make(map[int]bool)
	for range n {
		index := <-drawn
		if index >= 0 && seen[index] {
			t.Errorf("index %d was drawn twice", index)
		}
		seen[index] = true
	}
	delete(seen, -1)
	for index := range n - n/4 {
		if !seen[index] {
			t.Errorf("index %d was lost", index)
		}
	}
}
