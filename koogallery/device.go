package koogallery

import (
	"slices"
	"strings"
)

// MaxDeviceFingerprint bounds a device fingerprint in bytes. The callback's
// table says 1024 characters, but the desktop client which makes fingerprints
// may send 5K bytes (…649268).
const MaxDeviceFingerprint = 5120

// DeviceFingerprint is what a licence of getLicenseAsync is bound to: the
// string which the marketplace's desktop client makes, see DeviceParts, or an
// opaque hardware code that a person typed. It names somebody's hardware, so it
// redacts itself like a key.
type DeviceFingerprint struct{ secret }

// NewDeviceFingerprint holds s as it is: no trimming, no change of case.
func NewDeviceFingerprint(s string) DeviceFingerprint { return DeviceFingerprint{newSecret(s)} }

// Equal compares the exact texts, in constant time. Network adapters come and
// go and have no defined order; to allow for that compare Parts.
func (f DeviceFingerprint) Equal(other DeviceFingerprint) bool { return f.equal(other.secret) }

// Parts takes the fingerprint apart. It reports false for an opaque hardware
// code, which is anything that has not exactly four parts.
func (f DeviceFingerprint) Parts() (DeviceParts, bool) {
	parts := strings.Split(f.Reveal(), "|")
	if len(parts) != 4 {
		return DeviceParts{}, false
	}
	return DeviceParts{MACs: splitList(parts[0]), Disks: splitList(parts[1]), Board: parts[2], CPU: parts[3]}, true
}

// DeviceParts are what the desktop client reads of a device. One that cannot be
// read is empty.
type DeviceParts struct {
	MACs  []string // hardware addresses, in no defined order
	Disks []string // serial numbers, in no defined order
	Board string   // serial number
	CPU   string   // id
}

// Fingerprint joins the parts by the client's rule (…649268):
// '${macAddr}|${diskId}|${boardId}|${cpuId}'.toUpperCase(), several addresses
// or disks joined by a comma, for software that compares by itself.
func (p DeviceParts) Fingerprint() DeviceFingerprint {
	return NewDeviceFingerprint(strings.ToUpper(strings.Join([]string{
		strings.Join(p.MACs, ","), strings.Join(p.Disks, ","), p.Board, p.CPU,
	}, "|")))
}

// splitList drops empty members, so that an empty part is no member.
func splitList(s string) []string {
	return slices.DeleteFunc(strings.Split(s, ","), func(m string) bool { return m == "" })
}
