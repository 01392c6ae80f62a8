package pgstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

func noInstall() error { return license.Errorf(license.NotFound, "there is no such install") }

func installPlace(licenseID, id string) place {
	return place{kind: kindInstall, a: licenseID, b: id}
}

func decodeInstall(r row) (license.Install, error) {
	i, err := decode[license.Install]("installs", r.key, r.raw)
	if len(r.add) > 0 {
		i.Answer = bytes.Clone(r.add)
	}
	return i, err
}

// readInstall is decodeInstall for what is known of a place.
func readInstall(id string, c *cell) (license.Install, error) {
	i, err := decodeCell[license.Install]("installs", id, c)
	if len(c.add) > 0 {
		i.Answer = bytes.Clone(c.add)
	}
	return i, err
}

// putInstall stores an install. Its answer lies beside the record: it has to come
// back byte for byte, because signing it again has to give the same signature.
func (t *txn) putInstall(i license.Install) error {
	answer := bytes.Clone(i.Answer)
	if len(answer) == 0 {
		answer = nil
	}
	i.Answer = nil
	raw, err := t.encode(store.UTCInstall(i))
	if err != nil {
		return err
	}
	return t.put(installPlace(i.LicenseID, i.ID), &cell{there: true, revision: i.Revision, raw: raw, add: answer, live: i.State == license.InstallLive})
}

// Install returns an install of a licence.
func (t *txn) Install(ctx context.Context, licenseID, installID string) (license.Install, error) {
	if err := t.readable(); err != nil {
		return license.Install{}, err
	}
	if !canBe(licenseID, installID) {
		return license.Install{}, noInstall()
	}
	at := installPlace(licenseID, installID)
	if err := t.fetch(ctx, t.ahead(at)...); err != nil {
		return license.Install{}, err
	}
	c, err := t.at(ctx, at)
	if err == nil && !c.there {
		err = noInstall()
	}
	if err != nil {
		return license.Install{}, err
	}
	return readInstall(installID, c)
}

// ahead returns the place of an install, and those that a change as a rule asks for
// next: its licence, where that is not known; where it is the install is likely to be a new one, which looks at the
// others of the licence and draws a place in the last status list.
func (t *txn) ahead(at place) []place {
	if !t.writable || t.known(at) != nil {
		return []place{at}
	}
	of := place{kind: kindLicense, a: at.a}
	if t.known(of) == nil {
		return []place{at, of}
	}
	out := []place{at, {kind: kindLastList}}
	if t.known(place{kind: kindInstalls, a: at.a}) == nil {
		out = append(out, place{kind: kindOthers, a: at.a, b: at.b})
	}
	return out
}

// CreateInstall stores a new install with revision 1.
func (t *txn) CreateInstall(ctx context.Context, i license.Install) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("license_id", i.LicenseID), store.CheckKey("id", i.ID)); err != nil {
		return err
	}
	of, at := place{kind: kindLicense, a: i.LicenseID}, installPlace(i.LicenseID, i.ID)
	owned := t.licenses[i.LicenseID].Revision > 0 || t.guess(of, true)
	places := []place{at}
	if !owned {
		places = append(places, of)
	}
	if err := t.fetchFree(ctx, places...); err != nil {
		return err
	}
	if !owned {
		owner, err := t.at(ctx, of)
		if err != nil {
			return err
		}
		owned = owner.there
	}
	was, err := t.at(ctx, at)
	switch {
	case err != nil:
		return err
	case !owned:
		return noLicense()
	case was.there:
		return license.Errorf(store.Exists, "there is an install with this id already")
	}
	i.Revision = t.firstRevision(i.Revision)
	return t.putInstall(i)
}

// UpdateInstall replaces an install and counts its revision up.
func (t *txn) UpdateInstall(ctx context.Context, i license.Install) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	if !canBe(i.LicenseID, i.ID) {
		return noInstall()
	}
	was, err := t.at(ctx, installPlace(i.LicenseID, i.ID))
	switch {
	case err != nil:
		return err
	case !was.there:
		return noInstall()
	case i.Revision != was.revision:
		return license.Errorf(license.Conflict, "the install was changed since it was read")
	}
	i.Revision++
	return t.putInstall(i)
}

// Installs returns all installs of a licence, in the order of their ids.
func (t *txn) Installs(ctx context.Context, licenseID string) ([]license.Install, error) {
	return t.installsOf(ctx, kindInstalls, licenseID)
}

// LiveInstalls returns those that are live.
func (t *txn) LiveInstalls(ctx context.Context, licenseID string) ([]license.Install, error) {
	return t.installsOf(ctx, kindLive, licenseID)
}

func (t *txn) installsOf(ctx context.Context, k kind, licenseID string) ([]license.Install, error) {
	if err := t.readable(); err != nil {
		return nil, err
	}
	if !canBe(licenseID) {
		return nil, nil
	}
	places, _, err := t.several(ctx, place{kind: k, a: licenseID},
		func(id string) place { return installPlace(licenseID, id) },
		func(p place) bool { return p.a == licenseID })
	if err != nil {
		return nil, err
	}
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(a.b, b.b) })
	var out []license.Install
	for _, p := range places {
		c, err := t.at(ctx, p)
		if err != nil {
			return nil, err
		}
		if !c.there || k == kindLive && !c.live {
			continue
		}
		i, err := readInstall(p.b, c)
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}
