package authority

import (
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// signedOverhead is what a token has besides its claims: header, signature, dots.
const signedOverhead = 512

// fits refuses a licence that could be sold and never be signed: it makes the
// claims with the largest machine that it could be bound to.
func fits(l license.License) error {
	digest := license.Digest(strings.Repeat("A", 22))
	all := make(license.Components)
	for _, kind := range license.Kinds() {
		for range license.MaxDigests {
			all[kind] = append(all[kind], digest)
		}
	}
	salt := license.ProductSalt(l.Product)
	issuer := strings.Repeat("i", maxIssuer)
	claims := token.License{
		Issuer: issuer, ID: "j", LicenseID: "l", Product: l.Product,
		Dates:    license.Schedule{Enforcement: license.EnforceBlock}.DatesFor(time.Unix(1, 0), time.Unix(1, 0), time.Time{}),
		Customer: l.Customer, Order: l.Order, Channel: l.Channel, CodeLast4: l.Code.Last4,
		Features: l.Features, Machines: l.Machines, Mode: l.Mode,
		Binding:      license.Binding{Policy: license.PolicyFuzzy, Salt: salt, Components: all},
		InstallKey:   make(ed25519.PublicKey, ed25519.PublicKeySize),
		Status:       token.StatusPlace{URI: statusURI(issuer, statusListPrefix+strings.Repeat("l", 26)), Index: license.StatusListLength},
		StatusMaxAge: 100 * 366 * 24 * time.Hour, Trial: true, Also: []string{strings.Repeat("p", 63)},
	}
	payload, err := claims.Payload()
	if err != nil {
		return license.FieldErrorf("features", "a licence with these features cannot be signed: %s", err)
	}
	if base64.RawURLEncoding.EncodedLen(len(payload))+signedOverhead > token.MaxToken {
		return license.FieldErrorf("features", "a licence with these features would be longer than %d KiB", token.MaxToken>>10)
	}
	return nil
}

const maxIssuer = 1024

// plain refuses text that cannot stand in a licence as it is: most is in
// characters, as the marketplace's tables count.
func plain(field, s string, most int) error {
	switch {
	case utf8.RuneCountInString(s) > most:
		return license.FieldErrorf(field, "it is longer than %d characters", most)
	case !utf8.ValidString(s), strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }):
		return license.FieldErrorf(field, "it holds a character that cannot be printed")
	}
	return nil
}
