package token

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"strings"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-357fa782/licensed/license"
)

// The names of our one algorithm: RFC 8037 section 3.1, and RFC 9864 section
// 2.2 for the same thing fully specified. We sign under the first.
const (
	algEdDSA   = "EdDSA"
	algEd25519 = "Ed25519"
)

// The header that we write is these around kid and typ.
const (
	headerStart  = `{"alg":"` + algEdDSA + `","kid":"`
	headerMiddle = `","typ":"`
	headerEnd    = `"}`
)

// b64 is base64url without padding, without stray bits in the last character
// (RFC 4648 section 3.5). Line breaks, which it would skip, are refused before.
var b64 = base64.RawURLEncoding.Strict()

// NewSigningKey names a key that signs by the thumbprint of its public half.
// It fails with BadRequest for any key but Ed25519.
func NewSigningKey(s crypto.Signer) (SigningKey, error) {
	if s == nil {
		return SigningKey{}, license.Errorf(license.BadRequest, "there is no key to sign with")
	}
	pub, ok := s.Public().(ed25519.PublicKey)
	if !ok || len(pub) != ed25519.PublicKeySize {
		return SigningKey{}, license.Errorf(license.BadRequest, "the key is not an Ed25519 key")
	}
	return SigningKey{ID: Thumbprint(pub), Signer: s}, nil
}

// String returns the kid; the private half is never printed.
func (k SigningKey) String() string { return "token.SigningKey(" + k.ID + ")" }

// GoString hides the private half from %#v.
func (k SigningKey) GoString() string { return k.String() }

// LogValue hides the private half from slog.
func (k SigningKey) LogValue() slog.Value { return slog.StringValue(k.String()) }

// public returns the public half, or nil where there is no Ed25519 key.
func (k SigningKey) public() ed25519.PublicKey {
	if k.Signer == nil {
		return nil
	}
	pub, _ := k.Signer.Public().(ed25519.PublicKey)
	if len(pub) != ed25519.PublicKeySize {
		return nil
	}
	return pub
}

// form is one of our signed forms: its typ, and how its faults are reported.
type form struct {
	typ  string
	noun string
	// request: faults are those of a caller, not of a file.
	request bool
}

var (
	formKeySet     = form{typ: TypeKeySet, noun: "key set"}
	formLicense    = form{typ: TypeLicense, noun: "licence"}
	formRequest    = form{typ: TypeRequest, noun: "request", request: true}
	formTime       = form{typ: TypeTime, noun: "signed time"}
	formStatusList = form{typ: TypeStatusList, noun: "status list"}
	formDelivery   = form{typ: TypeDelivery, noun: "proof of delivery"}
	formCheckpoint = form{typ: TypeCheckpoint, noun: "checkpoint"}
)

// err gives a fault its reason: Damaged or Forged, and BadRequest with its
// field or Unauthorized for a request.
func (f form) err(ft *fault) error {
	switch {
	case f.request && ft.forged:
		return license.Errorf(license.Unauthorized, "the signature of the request is not that of its key: %s", ft)
	case f.request:
		field := ft.path
		if field == "" {
			field = "request"
		}
		return license.FieldErrorf(field, "the request cannot be read: %s", ft)
	case ft.forged:
		return license.Errorf(license.Forged, "the %s is not authentic: %s", f.noun, ft)
	}
	return license.Errorf(license.Damaged, "the %s cannot be read: %s", f.noun, ft)
}

// envelope is a token taken apart, with its header judged and its signature
// not yet.
type envelope struct {
	kid     string
	jwk     json.RawMessage // of the header, as it stands there
	payload []byte
	signed  string // what the signature is over
	sig     []byte
}

// open takes a compact JWS (RFC 7515 section 3.1) apart and judges its header.
func (f form) open(raw string) (envelope, *fault) {
	if len(raw) > MaxToken {
		return envelope{}, malformed("", "longer than 64 KiB")
	}
	if strings.IndexByte(raw, '\n') >= 0 || strings.IndexByte(raw, '\r') >= 0 {
		return envelope{}, malformed("", "holds a line break")
	}
	head, rest, ok := strings.Cut(raw, ".")
	body, sig, ok2 := strings.Cut(rest, ".")
	if !ok || !ok2 || strings.IndexByte(sig, '.') >= 0 {
		return envelope{}, malformed("", "not three parts joined by dots")
	}
	header, err := b64.DecodeString(head)
	if err != nil {
		return envelope{}, malformed("", "its header is not base64url")
	}
	e, ft := f.header(header)
	if ft != nil {
		return envelope{}, ft
	}
	if e.payload, err = b64.DecodeString(body); err != nil {
		return envelope{}, malformed("", "its content is not base64url")
	}
	if e.sig, err = b64.DecodeString(sig); err != nil {
		return envelope{}, malformed("", "its signature is not base64url")
	}
	if len(e.sig) != ed25519.SignatureSize {
		return envelope{}, malformed("", "its signature has the wrong length")
	}
	e.signed = raw[:len(head)+1+len(body)]
	return e, nil
}

// joseHeader is what we read of a header (RFC 7515 section 4).
type joseHeader struct {
	Alg string          `json:"alg"`
	Typ string          `json:"typ"`
	Kid string          `json:"kid"`
	JWK json.RawMessage `json:"jwk"` // of a request only
}

func (f form) header(data []byte) (envelope, *fault) {
	if kid, ok := f.usualHeader(data); ok {
		return envelope{kid: kid}, nil
	}
	var h joseHeader
	if ft := decode(data, headerShape, &h); ft != nil {
		return envelope{}, malformed("", "header: "+ft.String())
	}
	switch {
	case h.Alg != algEdDSA && h.Alg != algEd25519:
		return envelope{}, forgery("header: alg is not EdDSA")
	case h.Typ != f.typ:
		return envelope{}, forgery("header: typ is not " + f.typ)
	case !isThumbprint(h.Kid):
		return envelope{}, forgery("header: kid is missing or not the thumbprint of a key")
	}
	return envelope{kid: h.Kid, jwk: h.JWK}, nil
}

// usualHeader recognises the header that sign writes, byte for byte, which
// saves decoding almost every header that is met.
func (f form) usualHeader(data []byte) (kid string, ok bool) {
	rest, ok := bytes.CutPrefix(data, []byte(headerStart))
	if !ok || len(rest) < thumbprintLen || !isThumbprint(string(rest[:thumbprintLen])) {
		return "", false
	}
	return string(rest[:thumbprintLen]), string(rest[thumbprintLen:]) == headerMiddle+f.typ+headerEnd
}

// verify judges the signature by the key that the kid was found to name.
func (e envelope) verify(pub ed25519.PublicKey) *fault {
	if len(pub) != ed25519.PublicKeySize || Thumbprint(pub) != e.kid {
		return forgery("kid is not the thumbprint of the key")
	}
	// jwt's parser is not used: it knows the algorithm under one of its two
	// names only, and would decode the header into a map and the content before
	// the scanner has seen them.
	if jwt.SigningMethodEdDSA.Verify(e.signed, e.sig, pub) != nil {
		return forgery("the signature does not fit")
	}
	return nil
}

// sign makes the compact JWS of payload, under a header with the members that
// extra adds ("" or `,"name":value`).
func (f form) sign(payload []byte, key SigningKey, extra string) (string, error) {
	pub := key.public()
	if pub == nil || Thumbprint(pub) != key.ID {
		return "", license.Errorf(license.Internal, "the %s was not signed: the key is not an Ed25519 key named by its thumbprint", f.noun)
	}
	header := headerStart + key.ID + headerMiddle + f.typ + `"` + extra + `}`
	size := b64.EncodedLen(len(header)) + 1 + b64.EncodedLen(len(payload)) + 1 + b64.EncodedLen(ed25519.SignatureSize)
	if size > MaxToken {
		return "", license.Errorf(license.Internal, "the %s was not signed: it would be longer than 64 KiB", f.noun)
	}
	buf := make([]byte, 0, size)
	buf = b64.AppendEncode(buf, []byte(header))
	buf = append(buf, '.')
	buf = b64.AppendEncode(buf, payload)
	sig, err := jwt.SigningMethodEdDSA.Sign(string(buf), key.Signer)
	if err != nil {
		return "", license.Errorf(license.Internal, "the %s was not signed", f.noun).WithCause(err)
	}
	buf = append(buf, '.')
	return string(b64.AppendEncode(buf, sig)), nil
}

// unsignable is the error for claims that our own verifiers would refuse.
func (f form) unsignable(ft *fault) error {
	if f.request {
		return f.err(&fault{path: ft.path, text: ft.text})
	}
	return license.Errorf(license.Internal, "the %s was not signed, since nobody could read it: %s", f.noun, ft)
}
