package token

import (
	"crypto"
	"crypto/ed25519"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

// The typ header of each signed form.
const (
	TypeKeySet     = "license-keys+jwt"
	TypeLicense    = "license+jwt"
	TypeRequest    = "license-request+jwt"
	TypeTime       = "license-time+jwt"
	TypeStatusList = "statuslist+jwt"
	TypeDelivery   = "license-delivery+jwt"
	TypeCheckpoint = "audit-checkpoint+jwt"
)

// Limits of what is read.
const (
	MaxToken = 64 << 10 // bytes of one token
	MaxFile  = 1 << 20  // bytes of a licence or request file
	MaxDepth = 16       // nesting of objects and arrays
)

// Version is the value of lic.ver that this package writes and understands.
const Version = 1

// SigningKey is a key that signs: its private half and its kid, the RFC 7638
// thumbprint of its public half.
type SigningKey struct {
	ID     string
	Signer crypto.Signer
}

// Key is one verification key of a key set, valid from NotBefore until before
// NotAfter.
type Key struct {
	ID        string
	Public    ed25519.PublicKey
	NotBefore time.Time
	NotAfter  time.Time
}

// Anchors are the public halves of the root keys compiled into the product,
// ranked: primary first, then the standbys. A key set by a later anchor is
// newer than any by an earlier one.
type Anchors []ed25519.PublicKey

// KeySet is a verified (or, by a signer, to be signed) set of keys.
type KeySet struct {
	Issuer    string
	IssuedAt  time.Time
	ExpiresAt time.Time // when a verifier that can reach the server wants a newer one
	Seq       int64
	Keys      []Key
	Rank      int    // position of the anchor that signed it; set by VerifyKeySet
	Raw       string // the token; set by VerifyKeySet
}

// License is the claims of a licence for one install (DESIGN: license+jwt).
type License struct {
	Issuer    string
	ID        string // jti
	LicenseID string // sub
	Product   string // aud
	// Also are further audiences: ids of products whose programs may use it too. Set
	// where it is signed; VerifyLicense gives the Product that was asked for.
	Also  []string
	Dates license.Dates

	Customer  string
	Order     string
	Channel   string
	CodeLast4 string
	Features  license.Features
	Machines  int
	Mode      license.Mode
	Binding   license.Binding

	// InstallKey is cnf.jwk, absent (nil) where the licence was made for a
	// machine without an install key. Compare it by thumbprint only.
	InstallKey ed25519.PublicKey
	InstallID  string // its thumbprint, "" where there is none

	// Status is status.status_list, the zero StatusPlace where absent.
	Status StatusPlace
	// StatusMaxAge is lic.status_max_age, zero where absent: a status list older
	// than that counts as a lease that has run out.
	StatusMaxAge time.Duration
	// Trial is lic.trial: it is to try the product out.
	Trial bool

	KeyID string // kid that signed it; set by VerifyLicense
	Raw   string // the token; set by VerifyLicense
}

// StatusPlace says where the status of one install is found: at an index of
// the list whose sub is URI.
type StatusPlace struct {
	URI   string
	Index int
}

// Op is what a request asks for.
type Op string

// The operations of a request.
const (
	OpActivate   Op = "activate"
	OpRefresh    Op = "refresh"
	OpTransfer   Op = "transfer"
	OpDeactivate Op = "deactivate"
)

// Request is the claims of a request, signed by the install key that it
// carries in its header.
type Request struct {
	ID          string    // jti
	IssuedAt    time.Time // recorded, never judged: a wrong clock is who needs the time
	Op          Op
	Product     string
	Prev        string // jti of the newest licence held, "" at first
	Fingerprint license.Fingerprint
	Code        license.Code // activate and transfer; zero where it is given beside the request
	License     string       // refresh and deactivate: the licence token held
	From        string       // transfer: install id whose seat is freed
	Instance    string       // what the install calls itself, by which it takes its floating seat back; optional

	InstallKey ed25519.PublicKey // set by VerifyRequest
	InstallID  string            // thumbprint of InstallKey; set by VerifyRequest
	Digest     []byte            // SHA-256 of the token; set by VerifyRequest
	Raw        string            // the token; set by VerifyRequest
}

// Time is a signed time that answers one request.
type Time struct {
	Issuer    string
	IssuedAt  time.Time
	InstallID string // sub
	Nonce     string // jti of the request that it answers
	Raw       string // the token; set by VerifyTime
}
