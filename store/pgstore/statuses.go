package pgstore

import (
	"cmp"
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
)

func noList() error { return license.Errorf(license.NotFound, "there is no such status list") }

func (t *txn) rememberList(id string) {
	if !t.writable {
		return
	}
	if t.lists == nil {
		t.lists = make(map[string]bool)
	}
	t.lists[id] = true
}

// LastStatusList returns the status list whose id is the greatest.
func (t *txn) LastStatusList(ctx context.Context) (license.StatusList, error) {
	return t.oneList(ctx, "select id, record from status_lists order by id desc limit 1")
}

// StatusList returns a status list.
func (t *txn) StatusList(ctx context.Context, id string) (license.StatusList, error) {
	if !canBe(id) {
		return license.StatusList{}, cmp.Or(t.readable(), noList())
	}
	return t.oneList(ctx, "select id, record from status_lists where id = $1", id)
}

func (t *txn) oneList(ctx context.Context, sql string, args ...any) (license.StatusList, error) {
	if err := t.readable(); err != nil {
		return license.StatusList{}, err
	}
	l, err := one[license.StatusList](ctx, t, "status_lists", sql, args...)
	if err == nil && l == nil {
		err = noList()
	}
	if err != nil {
		return license.StatusList{}, err
	}
	t.rememberList(l.ID)
	return *l, nil
}

// StatusLists returns all of them in the order of their ids.
func (t *txn) StatusLists(ctx context.Context) ([]license.StatusList, error) {
	if err := t.readable(); err != nil {
		return nil, err
	}
	rows, err := t.rows(ctx, scanID, "select id, record from status_lists order by id")
	if err != nil {
		return nil, err
	}
	var out []license.StatusList
	for _, r := range rows {
		l, err := decode[license.StatusList]("status_lists", r.key, r.raw)
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

// PutStatusList stores or replaces a status list.
func (t *txn) PutStatusList(_ context.Context, l license.StatusList) error {
	if err := cmp.Or(t.mayWrite(), checkKey("id", l.ID)); err != nil {
		return err
	}
	l.SignedAt = l.SignedAt.UTC()
	raw, err := encode(l)
	if err != nil {
		return err
	}
	t.rememberList(l.ID)
	return t.put("insert into status_lists (id, record) values ($1, $2) on conflict (id) do update set record = excluded.record", l.ID, raw)
}

const maxIndex = 1<<31 - 1

// StatusEntry returns what stands at an index of a list.
func (t *txn) StatusEntry(ctx context.Context, list string, index int) (license.StatusEntry, error) {
	if err := t.readable(); err != nil {
		return license.StatusEntry{}, err
	}
	e := license.StatusEntry{Index: index}
	if index < 0 || index > maxIndex || !canBe(list) {
		return e, nil
	}
	err := t.d.ask(ctx, func(rows pgx.Rows) (err error) {
		e, err = scanEntry(rows)
		return err
	}, "select idx, status, final_at from statuses where list = $1 and idx = $2", list, index)
	return e, err
}

func scanEntry(rows pgx.Rows) (e license.StatusEntry, err error) {
	var status int16
	var final *int64
	err = rows.Scan(&e.Index, &status, &final)
	e.Status = license.ListStatus(status)
	if final != nil {
		e.FinalAt = time.Unix(*final, 0).UTC()
	}
	return e, err
}

// StatusEntries returns all that are not the zero Status, by index.
func (t *txn) StatusEntries(ctx context.Context, list string) ([]license.StatusEntry, error) {
	if err := t.readable(); err != nil {
		return nil, err
	}
	if !canBe(list) {
		return nil, nil
	}
	var out []license.StatusEntry
	err := t.d.ask(ctx, func(rows pgx.Rows) error {
		e, err := scanEntry(rows)
		out = append(out, e)
		return err
	}, "select idx, status, final_at from statuses where list = $1 order by idx", list)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// PutStatusEntry stores, replaces or, where it is the zero Status, removes an entry.
func (t *txn) PutStatusEntry(ctx context.Context, list string, e license.StatusEntry) error {
	if err := cmp.Or(t.mayWrite(), checkKey("list", list)); err != nil {
		return err
	}
	if e.Index < 0 || e.Index > maxIndex {
		return license.FieldErrorf("index", "the index %d is out of range", e.Index)
	}
	if !t.lists[list] {
		there, err := t.exists(ctx, "select 1 from status_lists where id = $1", list)
		if err == nil && !there {
			err = noList()
		}
		if err != nil {
			return err
		}
		t.rememberList(list)
	}
	if e.Status == license.StatusValid {
		return t.put("delete from statuses where list = $1 and idx = $2", list, e.Index)
	}
	return t.put(`insert into statuses (list, idx, status, final_at) values ($1, $2, $3, $4)
		on conflict (list, idx) do update set status = excluded.status, final_at = excluded.final_at`, list, e.Index, int16(e.Status), secondsOf(e.FinalAt))
}
