package boltstore

import (
	"bytes"
	"cmp"
	"context"
	"strings"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/store"
)

// installHead is what UpdateInstall compares with the stored record.
type installHead struct {
	ID        string `json:"id"`
	LicenseID string `json:"license_id"`
	Revision  int64  `json:"revision"`
}

func noInstall() error { return license.Errorf(license.NotFound, "there is no such install") }

func installKey(licenseID, installID string) []byte {
	key := make([]byte, 0, len(licenseID)+1+len(installID))
	key = append(key, licenseID...)
	key = append(key, '/')
	return append(key, installID...)
}

// Install returns an install of a licence.
func (t *txn) Install(_ context.Context, licenseID, installID string) (license.Install, error) {
	if err := t.readable(); err != nil {
		return license.Install{}, err
	}
	// No licence has such an id, and the key would be one of another licence.
	if strings.Contains(licenseID, "/") {
		return license.Install{}, noInstall()
	}
	key := installKey(licenseID, installID)
	raw := t.b.get(bucketInstalls).Get(key)
	if raw == nil {
		return license.Install{}, noInstall()
	}
	i, err := decodeInstall(key, raw)
	if err == nil && t.writable {
		t.install = installHead{ID: i.ID, LicenseID: i.LicenseID, Revision: i.Revision}
	}
	return i, err
}

// CreateInstall stores a new install with revision 1.
func (t *txn) CreateInstall(_ context.Context, i license.Install) error {
	if err := cmp.Or(t.mayWrite(), store.CheckKey("license_id", i.LicenseID), store.CheckKey("id", i.ID)); err != nil {
		return err
	}
	if t.license.ID != i.LicenseID && t.b.get(bucketLicenses).Get([]byte(i.LicenseID)) == nil {
		return noLicense()
	}
	key := installKey(i.LicenseID, i.ID)
	if t.b.get(bucketInstalls).Get(key) != nil {
		return license.Errorf(store.Exists, "there is an install with this id already")
	}
	i.Revision = t.firstRevision(i.Revision)
	raw, err := encodeInstall(i)
	if err != nil {
		return err
	}
	t.install = installHead{ID: i.ID, LicenseID: i.LicenseID, Revision: i.Revision}
	return t.putNew(bucketInstalls, key, raw)
}

// UpdateInstall replaces an install and counts its revision up.
func (t *txn) UpdateInstall(_ context.Context, i license.Install) error {
	if err := t.mayWrite(); err != nil {
		return err
	}
	if strings.Contains(i.LicenseID, "/") {
		return noInstall()
	}
	key := installKey(i.LicenseID, i.ID)
	if t.install.ID != i.ID || t.install.LicenseID != i.LicenseID || i.ID == "" {
		raw := t.b.get(bucketInstalls).Get(key)
		if raw == nil {
			return noInstall()
		}
		t.install = installHead{}
		record, _, _ := bytes.Cut(raw, answerMark)
		if err := decode(bucketInstalls, key, record, &t.install); err != nil {
			return err
		}
	}
	if i.Revision != t.install.Revision {
		return license.Errorf(license.Conflict, "the install was changed since it was read")
	}
	i.Revision++
	raw, err := encodeInstall(i)
	if err != nil {
		return err
	}
	t.install.Revision = i.Revision
	return t.put(bucketInstalls, key, raw)
}

// Installs returns all installs of a licence, in the order of their ids.
func (t *txn) Installs(_ context.Context, licenseID string) ([]license.Install, error) {
	return t.installs(licenseID, nil)
}

// isLive is what the record of a live install holds. No text in a record does,
// since quotation marks are escaped there.
var isLive = []byte(`"state":"` + license.InstallLive + `"`) //nolint:gochecknoglobals // a constant

// LiveInstalls returns those that are live.
func (t *txn) LiveInstalls(_ context.Context, licenseID string) ([]license.Install, error) {
	return t.installs(licenseID, isLive)
}

// installs returns those installs of a licence whose records hold the needle.
func (t *txn) installs(licenseID string, needle []byte) ([]license.Install, error) {
	if err := t.readable(); err != nil {
		return nil, err
	}
	if strings.Contains(licenseID, "/") {
		return nil, nil
	}
	prefix := installKey(licenseID, "")
	c := t.b.get(bucketInstalls).Cursor()
	var out []license.Install
	for key, raw := c.Seek(prefix); bytes.HasPrefix(key, prefix); key, raw = c.Next() {
		if !bytes.Contains(raw, needle) {
			continue
		}
		i, err := decodeInstall(key, raw)
		if err != nil {
			return nil, err
		}
		if needle != nil && i.State != license.InstallLive {
			continue // the answer behind the record may hold anything
		}
		out = append(out, i)
	}
	return out, nil
}
