package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// oddIDs sort differently in most languages than they do by their bytes.
var oddIDs = []string{
	"a", "B", "b", "A", "_a", "-a", "a-b", "ab", "a b", "10", "9", "1", "Z", "z", "é", "e", "f", "E", "ß", "ss",
	"ä", "ae", "I", "i", "ı", "İ", "中", "日本", "😀", "\u00e9x", "e\u0301x", "lic_1", "LIC_1", "Lic_1", "a.b", "a+b",
}

func sorted(ids []string) []string {
	out := slices.Clone(ids)
	slices.Sort(out) // Go compares strings bytewise
	return out
}

func (s suite) collation(t *testing.T) {
	st := s.open(t)
	put(t, st, oddIDs...)
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		got, err := listIDs(ctx, tx, store.Filter{}, 7)
		wantSame(t, "order", got, sorted(oddIDs))
		return err
	})
}

func (s suite) installOrder(t *testing.T) {
	st := s.open(t)
	// Ids that begin like another's must not get its installs.
	licenses := []string{"lic_1", "lic_10", "lic_1 ", "lic_1.", "lic_1a", "LIC_1", "lic_"}
	put(t, st, licenses...)
	ids := slices.Concat(oddIDs, []string{"a/b", "/a"})
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		for _, l := range licenses {
			for _, id := range ids {
				if err := tx.CreateInstall(ctx, newInstall(l, id)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		for _, l := range licenses {
			installs, err := tx.Installs(ctx, l)
			if err != nil {
				return err
			}
			var got []string
			for _, i := range installs {
				if i.LicenseID != l {
					t.Errorf("%q got an install of %q", l, i.LicenseID)
				}
				got = append(got, i.ID)
			}
			wantSame(t, "order", got, sorted(ids))
			live, err := tx.LiveInstalls(ctx, l)
			if err != nil {
				return err
			}
			wantSame(t, "live", live, installs)
		}
		none, err := tx.Installs(ctx, "lic_9")
		if len(none) != 0 {
			t.Errorf("a licence that does not exist has %d installs", len(none))
		}
		return err
	})
}

func (s suite) caseCounts(t *testing.T) {
	st := s.open(t)
	upper := newLicense("LIC_1")
	upper.Product, upper.Customer, upper.Order = "CAD-PRO", "MÜLLER", "É"
	lower := newLicense("lic_1")
	lower.Product, lower.Customer, lower.Order = "cad-pro", "Müller", "e\u0301"
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		if err := tx.CreateLicense(ctx, upper); err != nil {
			return err
		}
		return tx.CreateLicense(ctx, lower)
	})
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		for f, want := range map[store.Filter][]string{
			{Product: "cad-pro"}: {"lic_1"}, {Customer: "MÜLLER"}: {"LIC_1"}, {Customer: "müller"}: nil,
			{Order: "É"}: {"LIC_1"}, {Order: "e\u0301"}: {"lic_1"}, {Order: "\u00e9"}: nil, {Customer: "Müller "}: nil,
		} {
			got, err := listIDs(ctx, tx, f, 0)
			if err != nil {
				return err
			}
			wantSame(t, fmt.Sprintf("%+v", f), got, want)
		}
		return nil
	})
}

// liveInstalls ends some installs, in every way, and has one live again.
func (s suite) liveInstalls(t *testing.T) {
	st := s.open(t)
	put(t, st, "lic_1", "lic_2")
	states := license.InstallStates()
	set := func(state license.InstallState, ids ...string) {
		t.Helper()
		update(t, st, func(ctx context.Context, tx store.Tx) error {
			for _, id := range ids {
				i, err := tx.Install(ctx, "lic_1", id)
				if err != nil {
					return err
				}
				i.State = state
				if err := tx.UpdateInstall(ctx, i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	want := func(ids ...string) {
		t.Helper()
		view(t, st, func(ctx context.Context, tx store.Tx) error {
			live, err := tx.LiveInstalls(ctx, "lic_1")
			var got []string
			for _, i := range live {
				got = append(got, i.ID)
			}
			wantSame(t, "live", got, ids)
			all, err2 := tx.Installs(ctx, "lic_1")
			if len(all) != len(states) {
				t.Errorf("there are %d installs in all, want %d", len(all), len(states))
			}
			return errors.Join(err, err2)
		})
	}
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		for n, state := range states {
			i := newInstall("lic_1", fmt.Sprint("ins_", n))
			i.State = state
			// What else it holds does not make it a live one.
			i.Seat, i.Environment = `"state":"live"`, `\",\"state\":\"live\"`
			i.Answer = []byte(`{"state":"live"}`)
			if err := tx.CreateInstall(ctx, i); err != nil {
				return err
			}
		}
		return tx.CreateInstall(ctx, newInstall("lic_2", "ins_0"))
	})
	want("ins_0")
	set(license.InstallRemoved, "ins_0")
	want()
	set(license.InstallLive, "ins_2", "ins_1")
	want("ins_1", "ins_2")
}

// listIDs reads a whole list page by page.
func listIDs(ctx context.Context, tx store.Tx, f store.Filter, limit int) ([]string, error) {
	var ids []string
	p := store.Page{Limit: limit}
	for {
		list, next, err := tx.Licenses(ctx, f, p)
		if err != nil {
			return nil, err
		}
		if len(list) > p.Size() {
			return nil, fmt.Errorf("a page of %d has %d licences", p.Size(), len(list))
		}
		for _, l := range list {
			ids = append(ids, l.ID)
		}
		if next == "" {
			return ids, nil
		}
		p.Cursor = next
	}
}

func numbered(n int) []string {
	var ids []string
	for i := range n {
		ids = append(ids, fmt.Sprintf("lic_%04d", i))
	}
	return ids
}

func (s suite) pages(t *testing.T) {
	st := s.open(t)
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		list, next, err := tx.Licenses(ctx, store.Filter{}, store.Page{})
		if len(list) != 0 || next != "" {
			t.Errorf("the empty list has %d licences and cursor %q", len(list), next)
		}
		return err
	})
	ids := numbered(23)
	put(t, st, ids...)
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		for _, id := range ids {
			if _, err := tx.Append(ctx, newEvent(license.ActionIssue, id)); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		for _, limit := range []int{1, 2, 22, 23, 24, 0} {
			got, err := listIDs(ctx, tx, store.Filter{}, limit)
			if err != nil {
				return err
			}
			wantSame(t, fmt.Sprintf("pages of %d", limit), got, ids)
			var events []string
			p := store.Page{Limit: limit}
			for more := true; more; more = p.Cursor != "" {
				var list []license.AuditEvent
				if list, p.Cursor, err = tx.Events(ctx, store.EventFilter{}, p); err != nil {
					return err
				}
				for _, e := range list {
					events = append(events, e.License)
				}
			}
			wantSame(t, fmt.Sprintf("events, pages of %d", limit), events, ids)
		}
		// A full last page says that it is the last.
		list, next, err := tx.Licenses(ctx, store.Filter{}, store.Page{Limit: 23})
		if len(list) != 23 || next != "" {
			t.Errorf("the only page has %d licences and cursor %q", len(list), next)
		}
		return err
	})
}

func (s suite) pageLimits(t *testing.T) {
	st := s.open(t)
	put(t, st, numbered(store.MaxPage+5)...)
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		for limit, want := range map[int]int{
			-1: store.DefaultPage, 0: store.DefaultPage, 3: 3, store.MaxPage: store.MaxPage, store.MaxPage + 3: store.MaxPage,
		} {
			list, next, err := tx.Licenses(ctx, store.Filter{}, store.Page{Limit: limit})
			if err != nil {
				return err
			}
			if len(list) != want || next == "" {
				t.Errorf("limit %d gives %d licences and cursor %q, want %d and one", limit, len(list), next, want)
			}
		}
		return nil
	})
}

// pagesWhileAdding reads a list, each page in a transaction of its own, while
// records are added before and behind. What was there at the beginning comes
// exactly once.
func (s suite) pagesWhileAdding(t *testing.T) {
	st := s.open(t)
	ids := numbered(20)
	put(t, st, ids...)
	got := map[string]int{}
	p := store.Page{Limit: 3}
	for n := 0; ; n++ {
		view(t, st, func(ctx context.Context, tx store.Tx) error {
			list, next, err := tx.Licenses(ctx, store.Filter{}, p)
			for _, l := range list {
				got[l.ID]++
			}
			p.Cursor = next
			return err
		})
		if p.Cursor == "" {
			break
		}
		put(t, st, fmt.Sprintf("lic_%04d+", n), fmt.Sprintf("a%d", n))
		if n < 5 {
			put(t, st, fmt.Sprintf("z%d", n))
		}
	}
	for _, id := range append(ids, "z0", "z4") {
		if got[id] != 1 {
			t.Errorf("%s came %d times", id, got[id])
		}
	}
	for id, n := range got {
		if n > 1 {
			t.Errorf("%s came %d times", id, n)
		}
	}
}

func (s suite) foreignCursor(t *testing.T) {
	st := s.open(t)
	put(t, st, numbered(5)...)
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		for range 5 {
			if _, err := tx.Append(ctx, newEvent(license.ActionIssue, "")); err != nil {
				return err
			}
		}
		return nil
	})
	var ofLicenses, ofEvents string
	view(t, st, func(ctx context.Context, tx store.Tx) (err error) {
		if _, ofLicenses, err = tx.Licenses(ctx, store.Filter{}, store.Page{Limit: 2}); err != nil {
			return err
		}
		_, ofEvents, err = tx.Events(ctx, store.EventFilter{}, store.Page{Limit: 2})
		return err
	})
	changed := []byte(ofLicenses)
	changed[len(changed)/2] ^= 1
	for _, cursor := range []string{"x", "lic_0001", "!", "AAAA", "AAAAAAAAAAAA", ofLicenses + "A", string(changed)} {
		wantBadCursor(t, st, cursor, true)
		wantBadCursor(t, st, cursor, false)
	}
	wantBadCursor(t, st, ofEvents, true)
	wantBadCursor(t, st, ofLicenses, false)
}

// Newest first, a log is paged from its end back: each entry comes once, and none that
// was added meanwhile. A cursor of one order is none of the other.
func (s suite) eventsNewestFirst(t *testing.T) {
	st := s.open(t)
	add := func(n int) {
		update(t, st, func(ctx context.Context, tx store.Tx) error {
			for range n {
				if _, err := tx.Append(ctx, newEvent(license.ActionIssue, "lic_1")); err != nil {
					return err
				}
			}
			return nil
		})
	}
	add(25)
	for _, of := range []string{"", "lic_1"} {
		var head int64
		view(t, st, func(ctx context.Context, tx store.Tx) error {
			h, err := tx.AuditHead(ctx)
			head = h.Seq
			return err
		})
		f, p := store.EventFilter{Newest: true, License: of}, store.Page{Limit: 7}
		want := head
		for {
			var page []license.AuditEvent
			view(t, st, func(ctx context.Context, tx store.Tx) (err error) {
				page, p.Cursor, err = tx.Events(ctx, f, p)
				return err
			})
			for _, e := range page {
				if e.Seq != want {
					t.Fatalf("it is %d, want %d", e.Seq, want)
				}
				want--
			}
			if p.Cursor == "" {
				break
			}
			wantBadCursor(t, st, p.Cursor, false)
			add(1)
		}
		if want != 0 {
			t.Errorf("it ends at %d", want+1)
		}
	}
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		_, next, err := tx.Events(ctx, store.EventFilter{}, store.Page{Limit: 2})
		if err != nil {
			return err
		}
		_, _, err = tx.Events(ctx, store.EventFilter{Newest: true}, store.Page{Cursor: next})
		wantCursorRefused(t, err)
		return nil
	})
}

func wantBadCursor(t *testing.T, st store.Store, cursor string, licenses bool) {
	t.Helper()
	err := st.View(t.Context(), func(ctx context.Context, tx store.Tx) (err error) {
		if licenses {
			_, _, err = tx.Licenses(ctx, store.Filter{}, store.Page{Cursor: cursor})
		} else {
			_, _, err = tx.Events(ctx, store.EventFilter{}, store.Page{Cursor: cursor})
		}
		return err
	})
	wantCursorRefused(t, err)
}

func (s suite) pagesFiltered(t *testing.T) {
	st := s.open(t)
	update(t, st, func(ctx context.Context, tx store.Tx) error {
		for i, id := range numbered(30) {
			l := newLicense(id)
			l.ExpiresAt = base.Add(time.Duration(i) * time.Hour)
			l.Order = fmt.Sprint(i % 3)
			l.Instance = fmt.Sprint("inst-", i/2)
			l.Customer = fmt.Sprintf(`"<%d>" \ `, i%2)
			if i%5 == 0 {
				l.Channel = license.ChannelManual
			}
			if i%10 == 7 {
				l = l.WithFork(base)
			}
			if err := tx.CreateLicense(ctx, l); err != nil {
				return err
			}
		}
		return nil
	})
	view(t, st, func(ctx context.Context, tx store.Tx) error {
		for name, test := range map[string]struct {
			f    store.Filter
			want []string
		}{
			"order":    {store.Filter{Order: "1"}, []string{"01", "04", "07", "10", "13", "16", "19", "22", "25", "28"}},
			"instance": {store.Filter{Instance: "inst-1"}, []string{"02", "03"}},
			"customer": {store.Filter{Customer: `"<1>" \ `, Channel: license.ChannelManual}, []string{"05", "15", "25"}},
			"state":    {store.Filter{State: license.StateExpired, Now: base.Add(2 * time.Hour)}, []string{"00", "01", "02"}},
			"expiring": {store.Filter{ExpiringBefore: base.Add(4 * time.Hour), Now: base.Add(time.Hour)}, []string{"02", "03"}},
			"last 4":   {store.Filter{Last4: "7K2M", Order: "0", Channel: license.ChannelManual}, []string{"00", "15"}},
			"forked":   {store.Filter{Forked: true}, []string{"07", "17", "27"}},
			"none":     {store.Filter{Product: "cad"}, nil},
		} {
			for i := range test.want {
				test.want[i] = "lic_00" + test.want[i]
			}
			for _, limit := range []int{1, 2, 0} {
				got, err := listIDs(ctx, tx, test.f, limit)
				if err != nil {
					return err
				}
				wantSame(t, name, got, test.want)
			}
		}
		return nil
	})
}
