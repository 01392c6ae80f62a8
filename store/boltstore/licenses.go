package boltstore

import (
	"bytes"
	"cmp"
	"context"
	"strings"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// licenseHead is what UpdateLicense compares with the stored record: what cannot
// change, and what the indexes hold.
type licenseHead struct {
	ID       string
	Revision int64
	Channel  string
	Index    []byte // of the code
	standing []byte // key in the index of that name
	value    []byte // and its value
	names    names
}

func headOf(l license.License) licenseHead {
	return licenseHead{
		ID: l.ID, Revision: l.Revision, Channel: l.Channel,
		Index:    bytes.Clone(l.Code.Index), // the record belongs to the function, which may change it
		standing: standingKey(l),
		value:    standingValue(l),
		names:    namesOf(l),
	}
}

func noLicense() error { return license.Errorf(license.NotFound, "there is no such licence") }

// License returns the licence with the given id.
func (t *txn) License(_ context.Context, id string) (license.License, error) {
	if err := t.readable(); err != nil {
		return license.License{}, err
	}
	return t.readLicense([]byte(id))
}

// LicenseByCode returns the licence whose code has the given index.
func (t *txn) LicenseByCode(_ context.Context, index []byte) (license.License, error) {
	if err := t.readable(); err != nil {
		return license.License{}, err
	}
	id := t.b.get(bucketCodes).Get(index)
	if id == nil {
		return license.License{}, noLicense()
	}
	return t.readLicense(id)
}

func (t *txn) readLicense(id []byte) (license.License, error) {
	raw := t.b.get(bucketLicenses).Get(id)
	if raw == nil {
		return license.License{}, noLicense()
	}
	var l license.License
	if err := decode(bucketLicenses, id, raw, &l); err != nil {
		return license.License{}, err
	}
	if t.writable {
		t.license = headOf(l)
	}
	return l, nil
}

// CreateLicense stores a new licence with revision 1.
func (t *txn) CreateLicense(_ context.Context, l license.License) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("id", l.ID), store.CheckIndex("code", l.Code.Index)); err != nil {
		return err
	}
	if strings.Contains(l.ID, "/") {
		return license.FieldErrorf("id", "id holds a slash")
	}
	id := []byte(l.ID)
	if t.b.get(bucketLicenses).Get(id) != nil {
		return license.Errorf(store.Exists, "there is a licence with this id already")
	}
	if t.b.get(bucketCodes).Get(l.Code.Index) != nil {
		return license.Errorf(store.Exists, "there is a licence with this code already")
	}
	l.Revision = t.firstRevision(l.Revision)
	raw, err := encode(store.UTCLicense(l))
	if err != nil {
		return err
	}
	if err := t.putNew(bucketLicenses, id, raw); err != nil {
		return err
	}
	t.license = headOf(l)
	if err := t.putNew(bucketCodes, t.license.Index, id); err != nil {
		return err
	}
	return t.index(t.license)
}

// UpdateLicense replaces a licence and counts its revision up.
func (t *txn) UpdateLicense(_ context.Context, l license.License) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	id := []byte(l.ID)
	if t.license.ID != l.ID || l.ID == "" {
		if _, err := t.readLicense(id); err != nil {
			return err
		}
	}
	was := t.license
	switch {
	case l.Revision != was.Revision:
		return license.Errorf(license.Conflict, "the licence was changed since it was read")
	case l.Channel != was.Channel, !bytes.Equal(l.Code.Index, was.Index):
		return license.Errorf(license.Internal, "the channel and code of licence %s cannot change", l.ID)
	}
	l.Revision++
	raw, err := encode(store.UTCLicense(l))
	if err != nil {
		return err
	}
	if err := t.put(bucketLicenses, id, raw); err != nil {
		return err
	}
	t.license = headOf(l)
	return t.reindex(was, t.license)
}

// Licenses lists licences, in the order of their ends where the filter is one of
// states or ends and names nothing by which they are found, else in that of their ids.
func (t *txn) Licenses(ctx context.Context, f store.Filter, p store.Page) ([]license.License, string, error) {
	if err := t.readable(); err != nil {
		return nil, "", err
	}
	var out []license.License
	forked := ""
	if f.Forked {
		forked = "forked_at" // the member's name, which stands in a record only where there was one
	}
	trial := ""
	if f.Trial {
		trial = "trial" // likewise
	}
	c, list := t.selected(f)
	next, err := walk(ctx, c, list, p, needles(f.Product, f.Channel, f.Customer, f.Order, f.Instance, f.Last4, forked, trial),
		func(key, raw []byte) (bool, error) {
			var l license.License
			if err := decode(list, key, raw, &l); err != nil {
				return false, err
			}
			if !f.Match(l) {
				return false, nil
			}
			out = append(out, l)
			return true, nil
		})
	if err != nil {
		return nil, "", err
	}
	return out, next, nil
}
