package koogallery

import (
	"crypto/subtle"
	"log/slog"
)

const redacted = "[redacted]"

// AccessKey is the key which signs callbacks. It comes from the key management
// of the seller console and is not the AK/SK of the open API. The zero value is
// no key: a Verifier never accepts anything signed with it.
type AccessKey struct{ secret }

// NewAccessKey holds s as an access key.
func NewAccessKey(s string) AccessKey { return AccessKey{newSecret(s)} }

// Equal compares in constant time.
func (k AccessKey) Equal(other AccessKey) bool { return k.equal(other.secret) }

// SecretKey is the secret half (SK) of the account's AK/SK pair, which signs
// calls to the open API.
type SecretKey struct{ secret }

// NewSecretKey holds s as a secret key.
func NewSecretKey(s string) SecretKey { return SecretKey{newSecret(s)} }

// Equal compares in constant time.
func (k SecretKey) Equal(other SecretKey) bool { return k.equal(other.secret) }

// Code is an authorization code, "PL…". Who knows it can use the licence, so it
// is a secret like a key.
type Code struct{ secret }

// NewCode holds s as an authorization code. The text is opaque and kept as it
// is: no trimming, no change of case.
func NewCode(s string) Code { return Code{newSecret(s)} }

// Equal compares in constant time.
func (c Code) Equal(other Code) bool { return c.equal(other.secret) }

// LicenseText is a licence as the merchant gives it to the buyer. Who has one
// that is bound to no device can use it.
type LicenseText struct{ secret }

// NewLicenseText holds s as it is.
func NewLicenseText(s string) LicenseText { return LicenseText{newSecret(s)} }

// Equal compares in constant time.
func (l LicenseText) Equal(other LicenseText) bool { return l.equal(other.secret) }

// PersonalData is a person's mobile number, e-mail address or name. Licence 1.0
// sends it encrypted, see Decrypt.
type PersonalData struct{ secret }

// NewPersonalData holds s as it is.
func NewPersonalData(s string) PersonalData { return PersonalData{newSecret(s)} }

// Equal compares in constant time.
func (d PersonalData) Equal(other PersonalData) bool { return d.equal(other.secret) }

// secret is a text which shows itself only when asked by name. It is held
// behind a pointer because fmt prints the unexported fields of a surrounding
// struct without calling their methods; it then prints an address.
type secret struct {
	_ [0]func() // not comparable with ==, which would compare pointers
	p *string
}

func newSecret(s string) secret { return secret{p: &s} }

// Reveal returns the clear text. Keep it out of errors, logs and URLs.
func (s secret) Reveal() string {
	if s.p == nil {
		return ""
	}
	return *s.p
}

// IsZero reports whether there is no text at all.
func (s secret) IsZero() bool { return s.p == nil || *s.p == "" }

// String returns a fixed text, or nothing where there is nothing to hide.
func (s secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// GoString is String.
func (s secret) GoString() string { return s.String() }

// LogValue is String, for log/slog.
func (s secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, so that encoders (JSON among them) redact as well.
func (s secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s secret) equal(other secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}
