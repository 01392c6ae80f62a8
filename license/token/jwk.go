package token

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

const (
	keyTypeOKP   = "OKP"
	curveEd25519 = "Ed25519"
	useSig       = "sig"
)

// Thumbprint returns the kid of a public key: the RFC 7638 thumbprint of its
// JWK with SHA-256, base64url without padding, 43 characters. The members that
// count are crv, kty and x (RFC 8037 section 2).
func Thumbprint(pub ed25519.PublicKey) string {
	buf := make([]byte, 0, 96)
	buf = append(buf, `{"crv":"Ed25519","kty":"OKP","x":"`...)
	buf = b64.AppendEncode(buf, pub)
	buf = append(buf, `"}`...)
	sum := sha256.Sum256(buf)
	return b64.EncodeToString(sum[:])
}

// thumbprintLen is the length of a thumbprint: 32 bytes in base64url.
const thumbprintLen = 43

func isThumbprint(s string) bool {
	if len(s) != thumbprintLen {
		return false
	}
	for i := range len(s) {
		if !isBase64URL(s[i]) {
			return false
		}
	}
	return true
}

// isBase64URL reports whether c is of the alphabet of RFC 4648 section 5.
func isBase64URL(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-' || c == '_'
}

// JWK is the JSON form of a public Ed25519 key (RFC 7517, RFC 8037). nbf and
// exp, in seconds since the epoch, are ours: when the key may sign.
type JWK struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	ID        string `json:"kid,omitzero"`
	Algorithm string `json:"alg,omitzero"`
	Use       string `json:"use,omitzero"`
	NotBefore *int64 `json:"nbf,omitzero"`
	NotAfter  *int64 `json:"exp,omitzero"`
}

// JWK returns the JSON form of k, with its thumbprint as kid. Zero times are
// left out.
func (k Key) JWK() JWK {
	return JWK{
		KeyType: keyTypeOKP, Curve: curveEd25519, X: b64.EncodeToString(k.Public),
		ID: Thumbprint(k.Public), Algorithm: algEdDSA, Use: useSig,
		NotBefore: optionalInstant(k.NotBefore), NotAfter: optionalInstant(k.NotAfter),
	}
}

func optionalInstant(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	n := t.Unix()
	return &n
}

// MarshalJWK writes a key as one JWK.
func MarshalJWK(k Key) ([]byte, error) {
	if f := k.check(); f != nil {
		return nil, license.Errorf(license.BadRequest, "not a key: %s", f)
	}
	return json.Marshal(k.JWK())
}

// ParseJWK reads one Ed25519 JWK, as strictly as tokens are read: kid, where
// it stands there, is the thumbprint; alg and use, where they stand there, are
// those of a key that signs. Unknown members are skipped, nbf and exp may be
// absent. What is wrong is Damaged.
func ParseJWK(data []byte) (Key, error) {
	data = trimDocument(data)
	if len(data) > MaxToken {
		return Key{}, license.Errorf(license.Damaged, "not a public key: longer than 64 KiB")
	}
	k, f := decodeJWK(data)
	if f != nil {
		return Key{}, license.Errorf(license.Damaged, "not a public key: %s", f)
	}
	return k, nil
}

// ours reports whether a JWK is a key that could sign one of our forms. Others
// are skipped in a set (RFC 7517 section 5).
func (j JWK) ours() bool {
	return j.KeyType == keyTypeOKP && j.Curve == curveEd25519 &&
		(j.Use == "" || j.Use == useSig) &&
		(j.Algorithm == "" || j.Algorithm == algEdDSA || j.Algorithm == algEd25519)
}

func decodeJWK(data []byte) (Key, *fault) {
	var j JWK
	if f := decode(data, keyShape, &j); f != nil {
		return Key{}, f
	}
	return j.key()
}

func (j JWK) key() (Key, *fault) {
	if !j.ours() {
		return Key{}, malformed("", "not an Ed25519 key that signs")
	}
	// Line breaks, which the decoder would skip, change the length: they fail.
	x, err := b64.DecodeString(j.X)
	if err != nil || len(x) != ed25519.PublicKeySize || len(j.X) != b64.EncodedLen(len(x)) {
		return Key{}, malformed("x", "is not 32 bytes in base64url")
	}
	k := Key{ID: Thumbprint(x), Public: x}
	if j.ID != "" && j.ID != k.ID {
		return Key{}, malformed("kid", "is not the thumbprint of the key")
	}
	if j.NotBefore != nil {
		k.NotBefore = time.Unix(*j.NotBefore, 0).UTC()
	}
	if j.NotAfter != nil {
		k.NotAfter = time.Unix(*j.NotAfter, 0).UTC()
	}
	return k, nil
}

// check judges a key by itself: its length and its kid.
func (k Key) check() *fault {
	if len(k.Public) != ed25519.PublicKeySize {
		return malformed("x", "is not 32 bytes")
	}
	if k.ID != "" && k.ID != Thumbprint(k.Public) {
		return malformed("kid", "is not the thumbprint of the key")
	}
	return nil
}

// rank returns the place of the anchor with this kid.
func (a Anchors) rank(kid string) (int, bool) {
	for i, pub := range a {
		if len(pub) == ed25519.PublicKeySize && Thumbprint(pub) == kid {
			return i, true
		}
	}
	return 0, false
}

// hold reports whether a key is one of the anchors.
func (a Anchors) hold(key ed25519.PublicKey) bool {
	return slices.ContainsFunc(a, func(pub ed25519.PublicKey) bool { return bytes.Equal(pub, key) })
}

type anchorsDocument struct {
	Anchors []JWK `json:"anchors"`
}

// MarshalAnchors writes {"anchors": [JWK, …]}, primary first: what
// licensectl keys anchors prints and licensectl verify reads.
func MarshalAnchors(a Anchors) ([]byte, error) {
	doc := anchorsDocument{Anchors: []JWK{}}
	for _, pub := range a {
		k := Key{Public: pub}
		if f := k.check(); f != nil {
			return nil, license.Errorf(license.BadRequest, "not an anchor: %s", f)
		}
		doc.Anchors = append(doc.Anchors, k.JWK())
	}
	return json.Marshal(doc)
}

// ParseAnchors reads what MarshalAnchors writes. The order is the rank, so an
// anchor that cannot be read, or stands there twice, fails the whole list, and
// so does an empty one; unknown members are skipped. What is wrong is Damaged.
func ParseAnchors(data []byte) (Anchors, error) {
	damaged := func(f *fault) error {
		return license.Errorf(license.Damaged, "not a list of anchors: %s", f)
	}
	data = trimDocument(data)
	if len(data) > MaxFile {
		return nil, damaged(malformed("", "longer than 1 MiB"))
	}
	var doc anchorsDocument
	if f := decode(data, anchorsShape, &doc); f != nil {
		return nil, damaged(f)
	}
	var anchors Anchors
	for _, j := range doc.Anchors {
		k, f := j.key()
		if f != nil {
			return nil, damaged(f.in("anchors"))
		}
		if _, twice := anchors.rank(k.ID); twice {
			return nil, damaged(malformed("anchors", "a key occurs twice"))
		}
		anchors = append(anchors, k.Public)
	}
	if len(anchors) == 0 {
		return nil, damaged(malformed("anchors", "is empty"))
	}
	return anchors, nil
}

// trimDocument takes away what editors put around a JSON file.
func trimDocument(data []byte) []byte {
	return bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
}
