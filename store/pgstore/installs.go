package pgstore

import (
	"bytes"
	"cmp"
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

type installKey struct{ license, id string }

func noInstall() error { return license.Errorf(license.NotFound, "there is no such install") }

// encodeInstall gives the record and the answer, which lies beside it: it has to
// come back byte for byte, because signing it again has to give the same signature.
func encodeInstall(i license.Install) (raw string, answer []byte, err error) {
	answer = bytes.Clone(i.Answer)
	i.Answer = nil
	raw, err = encode(utcInstall(i))
	if len(answer) == 0 {
		answer = nil
	}
	return raw, answer, err
}

func decodeInstall(r row) (license.Install, error) {
	i, err := decode[license.Install]("installs", r.key, r.raw)
	if len(r.add) > 0 {
		i.Answer = r.add
	}
	return i, err
}

func (t *txn) rememberInstall(i license.Install) {
	if !t.writable {
		return
	}
	if t.installs == nil {
		t.installs = make(map[installKey]int64)
	}
	t.installs[installKey{i.LicenseID, i.ID}] = i.Revision
}

func scanInstall(rows pgx.Rows) (r row, err error) {
	err = rows.Scan(&r.key, &r.raw, &r.add)
	return r, err
}

// Install returns an install of a licence.
func (t *txn) Install(ctx context.Context, licenseID, installID string) (license.Install, error) {
	if err := t.readable(); err != nil {
		return license.Install{}, err
	}
	if !canBe(licenseID, installID) {
		return license.Install{}, noInstall()
	}
	rows, err := t.rows(ctx, scanInstall, "select id, record, answer from installs where license = $1 and id = $2", licenseID, installID)
	if err == nil && len(rows) == 0 {
		err = noInstall()
	}
	if err != nil {
		return license.Install{}, err
	}
	i, err := decodeInstall(rows[0])
	if err == nil {
		t.rememberInstall(i)
	}
	return i, err
}

// CreateInstall stores a new install with revision 1.
func (t *txn) CreateInstall(ctx context.Context, i license.Install) error {
	if err := cmp.Or(t.mayWrite(), checkKey("license_id", i.LicenseID), checkKey("id", i.ID)); err != nil {
		return err
	}
	var owner, there bool
	if err := t.d.ask(ctx, func(rows pgx.Rows) error { return rows.Scan(&owner, &there) },
		"select exists (select 1 from licenses where id = $1), exists (select 1 from installs where license = $1 and id = $2)", i.LicenseID, i.ID); err != nil {
		return err
	}
	switch {
	case !owner:
		return noLicense()
	case there:
		return license.Errorf(store.Exists, "there is an install with this id already")
	}
	i.Revision = t.firstRevision(i.Revision)
	raw, answer, err := encodeInstall(i)
	if err != nil {
		return err
	}
	t.rememberInstall(i)
	return t.put("insert into installs (license, id, revision, live, record, answer) values ($1, $2, $3, $4, $5, $6)",
		i.LicenseID, i.ID, i.Revision, i.State == license.InstallLive, raw, answer)
}

// UpdateInstall replaces an install and counts its revision up.
func (t *txn) UpdateInstall(ctx context.Context, i license.Install) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	revision, ok := t.installs[installKey{i.LicenseID, i.ID}]
	if !ok {
		if !canBe(i.LicenseID, i.ID) {
			return noInstall()
		}
		if err := t.d.ask(ctx, func(rows pgx.Rows) error {
			ok = true
			return rows.Scan(&revision)
		}, "select revision from installs where license = $1 and id = $2", i.LicenseID, i.ID); err != nil {
			return err
		}
	}
	switch {
	case !ok:
		return noInstall()
	case i.Revision != revision:
		return license.Errorf(license.Conflict, "the install was changed since it was read")
	}
	i.Revision++
	raw, answer, err := encodeInstall(i)
	if err != nil {
		return err
	}
	t.rememberInstall(i)
	return t.put("update installs set revision = $3, live = $4, record = $5, answer = $6 where license = $1 and id = $2",
		i.LicenseID, i.ID, i.Revision, i.State == license.InstallLive, raw, answer)
}

// Installs returns all installs of a licence, in the order of their ids.
func (t *txn) Installs(ctx context.Context, licenseID string) ([]license.Install, error) {
	return t.installsOf(ctx, licenseID, "select id, record, answer from installs where license = $1 order by id")
}

// LiveInstalls returns those that are live.
func (t *txn) LiveInstalls(ctx context.Context, licenseID string) ([]license.Install, error) {
	return t.installsOf(ctx, licenseID, "select id, record, answer from installs where license = $1 and live order by id")
}

func (t *txn) installsOf(ctx context.Context, licenseID, sql string) ([]license.Install, error) {
	if err := t.readable(); err != nil {
		return nil, err
	}
	if !canBe(licenseID) {
		return nil, nil
	}
	rows, err := t.rows(ctx, scanInstall, sql, licenseID)
	if err != nil {
		return nil, err
	}
	var out []license.Install
	for _, r := range rows {
		i, err := decodeInstall(r)
		if err != nil {
			return nil, err
		}
		t.rememberInstall(i)
		out = append(out, i)
	}
	return out, nil
}
