package client

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"sync/atomic"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// ParseAnchors reads the output of "licensectl keys anchors -o json".
func ParseAnchors(data []byte) (token.Anchors, error) { return token.ParseAnchors(data) }

// Verifier verifies licence files offline. Set Anchors and Product and call
// Verify. It is safe for concurrent use as long as the fields stay as they
// are, and must not be copied once it was used: copy the fields instead.
//
// It remembers the key sets and the file that it verified last, so that the
// same bytes again cost next to nothing. What it remembers counts only for the
// fields that it was verified under.
type Verifier struct {
	// Anchors are the root keys compiled into the product, primary first. Required.
	Anchors token.Anchors
	// Product is the id of the product that a licence must be for. Required.
	Product string
	// Issuer is who must have issued it, and the key set: one of another issuer
	// does not count. "" leaves that to the key set, which an anchor vouches for.
	Issuer string
	// Keys is a signed key set compiled in or seen last. It is a minimum: a file
	// that brings an older one is verified by this one. "" trusts the file's.
	Keys string

	last atomic.Pointer[verified]
}

// verified is what a Verifier remembers. It never changes once it is made.
type verified struct {
	anchors               token.Anchors
	product, issuer, keys string

	sets     []token.KeySet // verified, the last used first
	file     []byte
	licenses []*License
}

// Limits of what a Verifier remembers.
const (
	maxSets       = 4
	maxRemembered = 128 << 10 // bytes of a file
)

// Verify returns the licence for this product in a licence file, the one
// issued last if there are several. It judges no clock and no machine. Status
// lists in the file count with it; one that came by itself is appended to the
// file.
//
// The reasons of its errors are Forged (a signature, key or issuer is not
// right), Damaged (the file is not a licence file, or not a whole one) and
// WrongProduct; a file without a licence, such as the answer to a deactivation,
// is Damaged too, and its Detail says so. BadRequest means that the Verifier itself is not set up.
func (v *Verifier) Verify(file []byte) (*License, error) {
	all, err := v.verify(file)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// VerifyAll returns all licences for this product in a licence file, the one
// issued last first; files made for several machines hold several.
func (v *Verifier) VerifyAll(file []byte) ([]*License, error) {
	all, err := v.verify(file)
	return slices.Clone(all), err
}

func (v *Verifier) verify(file []byte) ([]*License, error) {
	known := v.last.Load()
	if known == nil || !known.belongsTo(v) {
		if err := v.validate(); err != nil {
			return nil, err
		}
		known = &verified{anchors: cloneAnchors(v.Anchors), product: v.Product, issuer: v.Issuer, keys: v.Keys}
	}
	if len(known.licenses) > 0 && bytes.Equal(known.file, file) {
		return known.licenses, nil
	}
	parsed, err := token.ParseFile(file)
	if err != nil {
		return nil, err
	}
	set, err := known.newest(parsed.KeySets)
	if err != nil {
		return nil, err
	}
	licenses, err := verifyLicenses(parsed.Licenses, set, token.Expect{Product: v.Product, Issuer: v.Issuer})
	if err != nil {
		return nil, err
	}
	next := *known
	lists := newestLists(parsed.Statuses, set, v.Issuer)
	for _, l := range licenses {
		l.list = lists[l.claims.Status.URI] // a list has an address, so none is that of a licence which names none
	}
	next.file, next.licenses = nil, nil
	next.sets = known.remember(set)
	if len(file) <= maxRemembered {
		next.file, next.licenses = bytes.Clone(file), licenses
	}
	v.last.Store(&next)
	return licenses, nil
}

func (v *Verifier) validate() error { return validateTrust(v.Anchors, v.Product) }

func validateTrust(anchors token.Anchors, product string) error {
	if product == "" {
		return license.FieldErrorf("product", "no product is set")
	}
	if len(anchors) == 0 {
		return license.FieldErrorf("anchors", "no anchors are set, so nothing can be trusted")
	}
	for _, a := range anchors {
		if len(a) != ed25519.PublicKeySize {
			return license.FieldErrorf("anchors", "an anchor is not an Ed25519 public key")
		}
	}
	return nil
}

func cloneAnchors(a token.Anchors) token.Anchors {
	out := make(token.Anchors, len(a))
	for i := range a {
		out[i] = bytes.Clone(a[i])
	}
	return out
}

func (m *verified) belongsTo(v *Verifier) bool {
	return m.product == v.Product && m.issuer == v.Issuer && m.keys == v.Keys &&
		slices.EqualFunc(m.anchors, v.Anchors, func(a, b ed25519.PublicKey) bool { return bytes.Equal(a, b) })
}

// newest returns the newest key set of a file and the minimum.
func (m *verified) newest(raws []string) (token.KeySet, error) {
	var best token.KeySet
	if m.keys != "" {
		minimum, err := m.set(m.keys)
		if err != nil {
			return token.KeySet{}, err
		}
		best = minimum
	}
	return newestSet(best, raws, m.set)
}

// set verifies a key set, or remembers that it did.
func (m *verified) set(raw string) (token.KeySet, error) {
	for _, s := range m.sets {
		if s.Raw == raw {
			return s, nil
		}
	}
	return verifySet(raw, m.anchors, m.issuer)
}

// verifySet checks a key set, and that it is of the issuer, where one is expected.
func verifySet(raw string, anchors token.Anchors, issuer string) (token.KeySet, error) {
	set, err := token.VerifyKeySet(raw, anchors)
	if err == nil && issuer != "" && set.Issuer != issuer {
		return token.KeySet{}, license.Errorf(license.Forged, "the key set is of another issuer than the expected one")
	}
	return set, err
}

func (m *verified) remember(set token.KeySet) []token.KeySet {
	if len(m.sets) > 0 && m.sets[0].Raw == set.Raw {
		return m.sets
	}
	sets := []token.KeySet{set}
	for _, s := range m.sets {
		if s.Raw != set.Raw && len(sets) < maxSets {
			sets = append(sets, s)
		}
	}
	return sets
}

// newestSet returns the newest of best, which may be none, and those of raws
// that verify, of several the first. It fails where there is none at all.
func newestSet(best token.KeySet, raws []string, verify func(string) (token.KeySet, error)) (token.KeySet, error) {
	var fault error
	for _, raw := range raws {
		set, err := verify(raw)
		switch {
		case err != nil && fault == nil:
			fault = err
		case err == nil && (best.Raw == "" || set.Newer(best)):
			best = set
		}
	}
	switch {
	case best.Raw != "":
		return best, nil
	case fault != nil:
		return token.KeySet{}, fault
	}
	return token.KeySet{}, license.Errorf(license.Damaged, "the file holds no key set, and none is known")
}

func errNoLicenseIn() error {
	return license.Errorf(license.Damaged, "the file holds no licence, though other parts of a licence file")
}

// verifyLicenses returns those that are authentic and ours, the one issued
// last first. Where there is none it says why, and "for another product" only
// where that is all that is wrong.
func verifyLicenses(raws []string, set token.KeySet, want token.Expect) ([]*License, error) {
	var good []*License
	var fault error
	for _, raw := range raws {
		claims, err := token.VerifyLicense(raw, set, want)
		switch {
		case err == nil:
			good = append(good, &License{claims: claims})
		case fault == nil, license.ReasonOf(fault) == license.WrongProduct:
			fault = err
		}
	}
	if len(good) > 0 {
		slices.SortStableFunc(good, func(a, b *License) int { return b.claims.Dates.IssuedAt.Compare(a.claims.Dates.IssuedAt) })
		return good, nil
	}
	if fault == nil {
		fault = errNoLicenseIn()
	}
	return nil, fault
}
