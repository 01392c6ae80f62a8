package pgstore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// class is the state of a licence as far as it follows without a clock: the column standing.
type class int16

// The classes, in the order of license.StateAt. The last two are those of licences
// that are in force, or expired.
const (
	classRevoked class = iota + 1
	classReleased
	classSuspended
	classIssued
	classActivated
)

func classOf(l license.License) class {
	switch {
	case !l.RevokedAt.IsZero():
		return classRevoked
	case !l.ReleasedAt.IsZero():
		return classReleased
	case l.Holds != 0:
		return classSuspended
	case l.ActivatedAt.IsZero():
		return classIssued
	}
	return classActivated
}

// perpetual stands for the end of a licence that has none: after all others.
const perpetual = math.MaxInt64

func endOf(l license.License) int64 {
	if l.ExpiresAt.IsZero() {
		return perpetual
	}
	return l.ExpiresAt.Unix()
}

// licenseHead is what UpdateLicense compares with the stored record.
type licenseHead struct {
	Revision int64
	Channel  string
	Index    []byte // of the code
}

func headOf(l license.License) licenseHead {
	return licenseHead{l.Revision, l.Channel, bytes.Clone(l.Code.Index)} // the record belongs to the function, which may change it
}

func (t *txn) remember(l license.License) {
	if !t.writable {
		return
	}
	if t.licenses == nil {
		t.licenses = make(map[string]licenseHead)
	}
	t.licenses[l.ID] = headOf(l)
}

func noLicense() error { return license.Errorf(license.NotFound, "there is no such licence") }

// License returns the licence with the given id.
func (t *txn) License(ctx context.Context, id string) (license.License, error) {
	if err := t.readable(); err != nil {
		return license.License{}, err
	}
	if !canBe(id) {
		return license.License{}, noLicense()
	}
	c, err := t.at(ctx, place{kind: kindLicense, a: id})
	return t.licenseOf(id, c, err)
}

// LicenseByCode returns the licence whose code has the given index.
func (t *txn) LicenseByCode(ctx context.Context, index []byte) (license.License, error) {
	if err := t.readable(); err != nil {
		return license.License{}, err
	}
	if len(index) == 0 {
		return license.License{}, noLicense()
	}
	owner, err := t.at(ctx, place{kind: kindCode, a: string(index)})
	if err != nil || len(owner.ids) == 0 {
		return license.License{}, cmp.Or(err, noLicense())
	}
	c, err := t.at(ctx, place{kind: kindLicense, a: owner.ids[0]})
	return t.licenseOf(owner.ids[0], c, err)
}

// licenseOf reads the record of a licence.
func (t *txn) licenseOf(id string, c *cell, err error) (license.License, error) {
	if err == nil && !c.there {
		err = noLicense()
	}
	if err != nil {
		return license.License{}, err
	}
	l, err := decodeCell[license.License]("licenses", id, c)
	if err == nil {
		t.remember(l)
	}
	return l, err
}

// licenseColumns are those beside the record of a licence by which it is found.
type licenseColumns struct {
	code                               []byte
	standing                           class
	ends                               int64
	customer, instance, last4, ordered *string
}

// putLicense stores a licence.
func (t *txn) putLicense(l license.License) error {
	raw, err := t.encode(store.UTCLicense(l))
	if err != nil {
		return err
	}
	t.remember(l)
	return t.put(place{kind: kindLicense, a: l.ID}, &cell{there: true, revision: l.Revision, raw: raw, row: &licenseColumns{
		bytes.Clone(l.Code.Index), classOf(l), endOf(l), found(l.Customer), found(l.Instance), found(l.Code.Last4), found(l.Order),
	}})
}

// CreateLicense stores a new licence with revision 1.
func (t *txn) CreateLicense(ctx context.Context, l license.License) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("id", l.ID), store.CheckIndex("code", l.Code.Index)); err != nil {
		return err
	}
	if strings.Contains(l.ID, "/") {
		return license.FieldErrorf("id", "id holds a slash")
	}
	at, byCode := place{kind: kindLicense, a: l.ID}, place{kind: kindCode, a: string(l.Code.Index)}
	if err := t.fetchFree(ctx, at, byCode); err != nil {
		return err
	}
	was, err1 := t.at(ctx, at)
	owner, err2 := t.at(ctx, byCode)
	switch {
	case err1 != nil || err2 != nil:
		return cmp.Or(err1, err2)
	case was.there:
		return license.Errorf(store.Exists, "there is a licence with this id already")
	case len(owner.ids) > 0:
		return license.Errorf(store.Exists, "there is a licence with this code already")
	}
	l.Revision = t.firstRevision(l.Revision)
	if err := t.putLicense(l); err != nil {
		return err
	}
	t.cells[byCode] = &cell{there: true, ids: []string{l.ID}}
	return nil
}

// UpdateLicense replaces a licence and counts its revision up.
func (t *txn) UpdateLicense(ctx context.Context, l license.License) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	was, ok := t.licenses[l.ID]
	if !ok {
		if _, err := t.License(ctx, l.ID); err != nil {
			return err
		}
		was = t.licenses[l.ID]
	}
	switch {
	case l.Revision != was.Revision:
		return license.Errorf(license.Conflict, "the licence was changed since it was read")
	case l.Channel != was.Channel, !bytes.Equal(l.Code.Index, was.Index):
		return license.Errorf(license.Internal, "the channel and code of licence %s cannot change", l.ID)
	}
	l.Revision++
	return t.putLicense(l)
}

// Licenses lists licences, in the order of their ends where the filter is one of
// states or ends and names nothing by which they are found, else in that of their ids.
func (t *txn) Licenses(ctx context.Context, f store.Filter, p store.Page) ([]license.License, string, error) {
	if err := t.ranging(); err != nil {
		return nil, "", err
	}
	var out []license.License
	list, read := t.selected(f)
	next, err := walk(ctx, list, p, read, func(r row) (bool, error) {
		l, err := decode[license.License]("licenses", r.key, r.raw)
		if err != nil || !f.Match(l) {
			return false, err
		}
		out = append(out, l)
		return true, nil
	})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}

type readFunc = func(ctx context.Context, after string, n int) ([]row, error)

// selected is how the licences are read that a filter can select, and which list
// that is.
func (t *txn) selected(f store.Filter) (list string, read readFunc) {
	// What the fewest licences share comes first.
	for _, v := range []struct{ column, value string }{
		{"instance", f.Instance}, {"ordered", f.Order}, {"last4", f.Last4}, {"customer", f.Customer},
	} {
		if v.value != "" {
			return "licenses", t.byID("select id, record from licenses where "+v.column+" = $3 and id > $1 order by id limit $2", *found(v.value))
		}
	}
	if f.State == "" && f.ExpiringBefore.IsZero() {
		return "licenses", t.byID("select id, record from licenses where id > $1 order by id limit $2")
	}
	return "licenses by end", t.byEnd(f)
}

// byID reads records in the order of their ids: $1 is the last one, $2 how many.
func (t *txn) byID(sql string, more ...any) readFunc {
	return func(ctx context.Context, after string, n int) ([]row, error) {
		id, err := textsOf(after, 1)
		if err != nil {
			return nil, err
		}
		return t.rows(ctx, scanID, sql, append([]any{id[0], n}, more...)...)
	}
}

// byEnd reads licences in the order of their ends, those of each class by its
// part of the index.
func (t *txn) byEnd(f store.Filter) readFunc {
	// Both ends of the part are in it: Match judges what ends within these seconds.
	from, to := int64(math.MinInt64), int64(perpetual)
	var classes []class
	switch f.State {
	case license.StateRevoked:
		classes = []class{classRevoked}
	case license.StateReleased:
		classes = []class{classReleased}
	case license.StateSuspended:
		classes = []class{classSuspended}
	case license.StateExpired:
		classes, to = []class{classIssued, classActivated}, f.Now.Unix()
	case license.StateActive:
		classes, from = []class{classActivated}, f.Now.Unix()
	case license.StateIssued:
		classes, from = []class{classIssued}, f.Now.Unix()
	case "":
		classes = []class{classRevoked, classReleased, classSuspended, classIssued, classActivated}
	default: // no licence is in it
		return func(_ context.Context, after string, _ int) ([]row, error) {
			_, _, err := numberOf(after, 0)
			return nil, err
		}
	}
	if !f.ExpiringBefore.IsZero() {
		from, to = max(from, f.Now.Unix()), min(to, f.ExpiringBefore.Unix())
	}
	var sql strings.Builder
	sql.WriteString("select ends, id, record from (")
	for i, c := range classes {
		if i > 0 {
			sql.WriteString(" union all ")
		}
		fmt.Fprintf(&sql, "(select ends, id, record from licenses where standing = %d and ends between $1 and $2 and (ends, id) > ($3, $4) order by ends, id limit $5)", c)
	}
	sql.WriteString(") l order by ends, id limit $5")
	return func(ctx context.Context, after string, n int) ([]row, error) {
		end, id, err := numberOf(after, math.MinInt64)
		if err != nil || id != "" && !canBe(id) {
			return nil, cmp.Or(err, errCursor())
		}
		return t.rows(ctx, func(rows pgx.Rows) (r row, err error) {
			var ends int64
			err = rows.Scan(&ends, &r.key, &r.raw)
			r.key = numbered(ends, r.key)
			return r, err
		}, sql.String(), from, to, end, id, n)
	}
}
