package storetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// standing are licences in every state, with ends that come in another order
// than their ids, several at one instant and some without one.
func standing() []license.License {
	long := strings.Repeat("Müller & Söhne, ", 20)
	var out []license.License
	for i, id := range numbered(72) {
		l := newLicense(id)
		l.ExpiresAt = base.Add(time.Duration(i*7%24-12) * time.Hour)
		if i%12 == 5 {
			l.ExpiresAt = time.Time{}
		}
		switch i % 6 {
		case 0:
			l.ActivatedAt, l.RevokedAt = base, base
		case 1:
			l.ReleasedAt, l.Holds = base, license.HoldMerchant
		case 2:
			l.Holds = license.HoldMarketplace
		case 3, 4:
			l.ActivatedAt = base
		default:
		}
		l.Customer = fmt.Sprint(long, i%3)
		l.Order, l.Instance = fmt.Sprint("CS", i%4), ""
		l.Code.Last4 = []string{"7K2M", "7k2m", "7K2"}[i%3]
		l.Trial = i%3 == 0
		if i%2 == 1 {
			l.Product, l.Instance = "cad", fmt.Sprint("inst-", i%5)
		}
		out = append(out, l)
	}
	return out
}

// everyFilter is each state and end together with each of the other conditions.
func everyFilter() []store.Filter {
	var out []store.Filter
	customer := standing()[1].Customer
	for _, f := range []store.Filter{
		{},
		{Product: "cad"},
		{Channel: "manual"},
		{Customer: customer},
		{Customer: customer[:len(customer)-1]},
		{Order: "CS2"},
		{Order: "CS"},
		{Instance: "inst-3"},
		{Last4: "7k2m"},
		{Last4: "7K2"},
		{Customer: customer, Order: "CS1", Instance: "inst-3", Last4: "7k2m", Product: "cad"},
		{Forked: true},
		{Trial: true},
		{Trial: true, Product: "cad", Forked: true},
	} {
		for _, state := range append(license.States(), "", "asleep") {
			for _, before := range []time.Time{{}, base.Add(5 * time.Hour), base.AddDate(9, 0, 0)} {
				for _, now := range []time.Time{base, base.Add(2*time.Hour + 500*time.Millisecond)} {
					f.State, f.ExpiringBefore, f.Now = state, before, now
					out = append(out, f)
				}
			}
		}
	}
	return out
}

// wantListed checks each filter against all licences, judged and put in order here.
func wantListed(ctx context.Context, t *testing.T, tx store.Tx, filters []store.Filter, limits ...int) error {
	t.Helper()
	var all []license.License
	for cursor := ""; ; {
		page, next, err := tx.Licenses(ctx, store.Filter{}, store.Page{Cursor: cursor})
		if err != nil {
			return err
		}
		all = append(all, page...)
		if cursor = next; next == "" {
			break
		}
	}
	for _, f := range filters {
		selected := slices.DeleteFunc(slices.Clone(all), func(l license.License) bool { return !f.Match(l) })
		named := f.Customer != "" || f.Order != "" || f.Instance != "" || f.Last4 != ""
		if !named && (f.State != "" || !f.ExpiringBefore.IsZero()) {
			slices.SortFunc(selected, func(a, b license.License) int {
				return cmp.Or(compareEnds(a.ExpiresAt, b.ExpiresAt), cmp.Compare(a.ID, b.ID))
			})
		}
		var want []string
		for _, l := range selected {
			want = append(want, l.ID)
		}
		for _, limit := range limits {
			got, err := listIDs(ctx, tx, f, limit)
			if err != nil {
				return err
			}
			wantSame(t, fmt.Sprintf("%+v, pages of %d", f, limit), got, want)
		}
	}
	return nil
}

func compareEnds(a, b time.Time) int {
	switch {
	case a.IsZero() || b.IsZero():
		return cmp.Compare(endless(a), endless(b))
	default:
		return a.Compare(b)
	}
}

func endless(end time.Time) int {
	if end.IsZero() {
		return 1
	}
	return 0
}

// changes are of what licences are found by, and beside it.
func changes() []func(l *license.License, i int) {
	return []func(l *license.License, i int){
		func(l *license.License, i int) { l.ExpiresAt = base.Add(time.Duration(i) * time.Hour) },
		func(l *license.License, _ int) { l.ExpiresAt = time.Time{} },
		func(l *license.License, _ int) { l.RevokedAt = base },
		func(l *license.License, _ int) {
			l.RevokedAt, l.ReleasedAt, l.Holds = time.Time{}, time.Time{}, license.HoldMerchant
		},
		func(l *license.License, _ int) { l.ActivatedAt, l.Holds = base, 0 },
		func(l *license.License, i int) { l.Customer, l.Order = fmt.Sprint("A", i%2), l.Customer },
		func(l *license.License, _ int) { l.Customer, l.Order, l.Instance = "", "", "" },
		func(l *license.License, _ int) { l.Instance, l.Code.Last4 = "inst-3", "7k2m" },
		func(l *license.License, _ int) { l.Machines++; l.Forks = 1; l.ForkedAt = base },
	}
}

// filtersCombined lists by every filter, and by some of them after each kind of
// change, in the transaction of the change and after it was undone.
func (s suite) filtersCombined(t *testing.T) {
	st := s.open(t)
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		for _, l := range standing() {
			if err := tx.CreateLicense(ctx, l); err != nil {
				return err
			}
		}
		return nil
	})
	every := everyFilter()
	view(t, st, func(ctx context.Context, tx store.Tx) error { return wantListed(ctx, t, tx, every, 7) })
	for n, change := range changes() {
		var some []store.Filter
		for i := n; i < len(every); i += 11 { // which has no factor of its numbers
			some = append(some, every[i])
		}
		list := func(ctx context.Context, tx store.Tx) error { return wantListed(ctx, t, tx, some, 0) }
		apply := func(ctx context.Context, tx store.Tx) error {
			for i, id := range numbered(72) {
				if i%3 == 0 {
					continue
				}
				l, err := tx.License(ctx, id)
				if err != nil {
					return err
				}
				change(&l, i)
				if err := tx.UpdateLicense(ctx, l); err != nil {
					return err
				}
			}
			return list(ctx, tx)
		}
		err := st.Update(t.Context(), func(ctx context.Context, tx store.Tx) error {
			if err := apply(ctx, tx); err != nil {
				return err
			}
			return errRefused
		})
		if !errors.Is(err, errRefused) {
			t.Fatal(err)
		}
		view(t, st, list)
		update(t, st, apply)
		view(t, st, list)
	}
}

// endsWhileAdding reads a list in the order of ends, each page in a transaction
// of its own, while the clock goes on and licences are added: what was there at
// the beginning, and is selected at the end, comes exactly once.
func (s suite) endsWhileAdding(t *testing.T) {
	st := s.open(t)
	add := func(id string, hours int) {
		l := newLicense(id)
		l.ExpiresAt = base.Add(time.Duration(hours) * time.Hour)
		update(t, st, func(ctx context.Context, tx store.Tx) error { return tx.CreateLicense(ctx, l) })
	}
	ids := numbered(20)
	for i, id := range ids {
		add(id, 100-i)
	}
	got := map[string]int{}
	f := store.Filter{State: license.StateIssued}
	p := store.Page{Limit: 3}
	for n := 0; n == 0 || p.Cursor != ""; n++ {
		f.Now = base.Add(time.Duration(n) * time.Hour)
		view(t, st, func(ctx context.Context, tx store.Tx) (err error) {
			var list []license.License
			list, p.Cursor, err = tx.Licenses(ctx, f, p)
			for _, l := range list {
				got[l.ID]++
			}
			return err
		})
		if n < 5 {
			add(fmt.Sprint("before", n), 1+n)
			add(fmt.Sprint("behind", n), 200+n)
		}
	}
	for _, id := range append(ids, "behind0", "behind4") {
		if got[id] != 1 {
			t.Errorf("%s came %d times", id, got[id])
		}
	}
}

// cursorOfOrder has a cursor of one order refused by a list of the other.
func (s suite) cursorOfOrder(t *testing.T) {
	st := s.open(t)
	put(t, st, numbered(5)...)
	ends, ids := store.Filter{State: license.StateIssued, Now: base}, store.Filter{}
	of := func(f store.Filter) (cursor string) {
		t.Helper()
		view(t, st, func(ctx context.Context, tx store.Tx) (err error) {
			_, cursor, err = tx.Licenses(ctx, f, store.Page{Limit: 2})
			return err
		})
		if cursor == "" {
			t.Fatalf("%+v: the list ends", f)
		}
		return cursor
	}
	for _, test := range []struct{ made, used store.Filter }{{ends, ids}, {ids, ends}} {
		cursor := of(test.made)
		err := st.View(t.Context(), func(ctx context.Context, tx store.Tx) error {
			_, _, err := tx.Licenses(ctx, test.used, store.Page{Cursor: cursor})
			return err
		})
		wantCursorRefused(t, err)
	}
}
