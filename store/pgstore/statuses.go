package pgstore

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

func noList() error { return license.Errorf(license.NotFound, "there is no such status list") }

// LastStatusList returns the status list whose id is the greatest.
func (t *txn) LastStatusList(ctx context.Context) (license.StatusList, error) {
	if err := t.readable(); err != nil {
		return license.StatusList{}, err
	}
	places, _, err := t.several(ctx, place{kind: kindLastList}, listPlace, func(place) bool { return true })
	if err != nil {
		return license.StatusList{}, err
	}
	last := ""
	for _, p := range places {
		last = max(last, p.a)
	}
	return t.list(ctx, last)
}

// StatusList returns a status list.
func (t *txn) StatusList(ctx context.Context, id string) (license.StatusList, error) {
	if err := t.readable(); err != nil {
		return license.StatusList{}, err
	}
	return t.list(ctx, id)
}

func listPlace(id string) place { return place{kind: kindList, a: id} }

func (t *txn) list(ctx context.Context, id string) (license.StatusList, error) {
	if !canBe(id) {
		return license.StatusList{}, noList()
	}
	c, err := t.at(ctx, listPlace(id))
	if err == nil && !c.there {
		err = noList()
	}
	if err != nil {
		return license.StatusList{}, err
	}
	r, err := decodeCell[listRecord]("status_lists", id, c)
	return license.StatusList(r), err
}

// listRecord is a status list that can be kept beside its record: each change that
// draws a place reads and writes the same one.
type listRecord license.StatusList

// Clone returns a copy that shares no memory.
func (l listRecord) Clone() listRecord {
	l.Seed, l.Digest = slices.Clone(l.Seed), slices.Clone(l.Digest)
	return l
}

// StatusLists returns all of them in the order of their ids.
func (t *txn) StatusLists(ctx context.Context) ([]license.StatusList, error) {
	if err := t.ranging(); err != nil {
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
	if err := cmp.Or(t.mayWrite(), store.CheckKey("id", l.ID)); err != nil {
		return err
	}
	l.SignedAt = l.SignedAt.UTC()
	raw, err := encode(l)
	if err != nil {
		return err
	}
	return t.put(listPlace(l.ID), &cell{there: true, raw: raw})
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
	c, err := t.at(ctx, entryPlace(list, index))
	if err != nil || !c.there {
		return e, err
	}
	e.Status = license.ListStatus(c.status)
	if c.final != nil {
		e.FinalAt = time.Unix(*c.final, 0).UTC()
	}
	return e, nil
}

func entryPlace(list string, index int) place {
	return place{kind: kindEntry, a: list, n: int64(index)}
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
	if err := t.ranging(); err != nil {
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
	if err := cmp.Or(t.mayWrite(), store.CheckKey("list", list)); err != nil {
		return err
	}
	if e.Index < 0 || e.Index > maxIndex {
		return license.FieldErrorf("index", "the index %d is out of range", e.Index)
	}
	of, err := t.at(ctx, listPlace(list))
	if err == nil && !of.there {
		err = noList()
	}
	if err != nil {
		return err
	}
	return t.put(entryPlace(list, e.Index), &cell{there: e.Status != license.StatusValid, status: int16(e.Status), final: secondsOf(e.FinalAt)})
}
