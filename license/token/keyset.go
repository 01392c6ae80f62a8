package token

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/seed-357fa782/licensed/license"
)

type keySetClaims struct {
	Issuer    string            `json:"iss"`
	IssuedAt  int64             `json:"iat"`
	ExpiresAt int64             `json:"exp"`
	Seq       int64             `json:"seq"`
	Keys      []json.RawMessage `json:"keys"`
}

// SignKeySet signs a key set with an anchor. Rank and Raw of ks do not count.
// It refuses, as Internal, what VerifyKeySet would refuse, an empty set, and
// one that holds the anchor itself.
func SignKeySet(ks KeySet, anchor SigningKey) (string, error) {
	if len(ks.Keys) == 0 {
		return "", formKeySet.unsignable(malformed("keys", "is empty"))
	}
	for _, k := range ks.Keys {
		if k.ID == anchor.ID || Thumbprint(k.Public) == anchor.ID {
			return "", formKeySet.unsignable(malformed("keys", "holds the anchor, which signs key sets only"))
		}
	}
	payload, f := ks.payload()
	if f != nil {
		return "", formKeySet.unsignable(f)
	}
	return formKeySet.sign(payload, anchor, "")
}

// VerifyKeySet checks a key set: signed by one of the anchors, whose place
// becomes its Rank. Keys of kinds that this version does not know are left
// out, and so is an anchor, which signs key sets only; exp is not judged, and neither is whether a newer set was seen: ask
// Newer. The reasons are Forged and Damaged.
func VerifyKeySet(raw string, anchors Anchors) (KeySet, error) {
	ks, f := verifyKeySet(raw, anchors)
	if f != nil {
		return KeySet{}, formKeySet.err(f)
	}
	return ks, nil
}

func verifyKeySet(raw string, anchors Anchors) (KeySet, *fault) {
	e, f := formKeySet.open(raw)
	if f != nil {
		return KeySet{}, f
	}
	rank, ok := anchors.rank(e.kid)
	if !ok {
		return KeySet{}, forgery("it is signed with a key that is not an anchor of this product")
	}
	if f := e.verify(anchors[rank]); f != nil {
		return KeySet{}, f
	}
	ks, _, f := decodeKeySet(e.payload)
	if f != nil {
		return KeySet{}, f
	}
	ks.Keys = slices.DeleteFunc(ks.Keys, func(k Key) bool { return anchors.hold(k.Public) })
	ks.Rank, ks.Raw = rank, raw
	return ks, nil
}

// decodeKeySet reads the claims of a key set; skipped is how many keys were
// left out because they are none of ours.
func decodeKeySet(payload []byte) (ks KeySet, skipped int, f *fault) {
	var c keySetClaims
	if f := decode(payload, keySetShape, &c); f != nil {
		return KeySet{}, 0, f
	}
	ks = KeySet{
		Issuer: c.Issuer, IssuedAt: time.Unix(c.IssuedAt, 0).UTC(), ExpiresAt: time.Unix(c.ExpiresAt, 0).UTC(), Seq: c.Seq,
	}
	for _, raw := range c.Keys {
		if !oursIn(raw) {
			skipped++
			continue
		}
		k, f := decodeSetKey(raw)
		if f != nil {
			return KeySet{}, 0, f.in("keys")
		}
		ks.Keys = append(ks.Keys, k)
	}
	return ks, skipped, ks.check()
}

// oursIn reports whether a JWK of any kind is a key that could sign one of our
// forms. What its members hold is not known yet.
func oursIn(raw []byte) bool {
	var kind struct {
		KeyType any `json:"kty"`
		Curve   any `json:"crv"`
		Alg     any `json:"alg"`
		Use     any `json:"use"`
	}
	if decode(raw, looseKeyShape, &kind) != nil {
		return false
	}
	return JWK{
		KeyType: word(kind.KeyType), Curve: word(kind.Curve), Algorithm: word(kind.Alg), Use: word(kind.Use),
	}.ours()
}

// word is a text as it stands, nothing where there is none, and for any other
// value what no key of ours has.
func word(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return "?"
}

// decodeSetKey reads one key of ours in a set, where kid, nbf and exp are required.
func decodeSetKey(raw []byte) (Key, *fault) {
	var j JWK
	if f := decode(raw, keyShape, &j); f != nil {
		return Key{}, f
	}
	switch {
	case j.ID == "":
		return Key{}, malformed("kid", "is missing")
	case j.NotBefore == nil:
		return Key{}, malformed("nbf", "is missing")
	case j.NotAfter == nil:
		return Key{}, malformed("exp", "is missing")
	}
	return j.key()
}

// check judges what a key set says, whoever made it.
func (ks KeySet) check() *fault {
	if f := checkName("iss", ks.Issuer, maxIssuer); f != nil {
		return f
	}
	if f := checkInstants(
		stamp{"iat", ks.IssuedAt}, stamp{"exp", ks.ExpiresAt},
	); f != nil {
		return f
	}
	if ks.ExpiresAt.Before(ks.IssuedAt) {
		return malformed("exp", "is before iat")
	}
	if ks.Seq < 0 || ks.Seq > maxSafe {
		return malformed("seq", "is out of range")
	}
	if len(ks.Keys) > maxKeys {
		return malformed("keys", "has too many elements")
	}
	seen := make(map[string]bool, len(ks.Keys))
	for _, k := range ks.Keys {
		f := k.check()
		if f == nil {
			f = checkInstants(stamp{"nbf", k.NotBefore}, stamp{"exp", k.NotAfter})
		}
		switch kid := Thumbprint(k.Public); {
		case f != nil:
		case !k.NotBefore.Before(k.NotAfter):
			f = malformed("exp", "is not after nbf")
		case seen[kid]:
			f = malformed("kid", "occurs twice")
		default:
			seen[kid] = true
		}
		if f != nil {
			return f.in("keys")
		}
	}
	return nil
}

func (ks KeySet) payload() ([]byte, *fault) {
	if f := ks.check(); f != nil {
		return nil, f
	}
	c := keySetClaims{
		Issuer: ks.Issuer, IssuedAt: ks.IssuedAt.Unix(), ExpiresAt: ks.ExpiresAt.Unix(), Seq: ks.Seq,
		Keys: []json.RawMessage{},
	}
	for _, k := range ks.Keys {
		raw, err := json.Marshal(k.JWK())
		if err != nil {
			return nil, malformed("keys", "cannot be written")
		}
		c.Keys = append(c.Keys, raw)
	}
	payload, err := json.Marshal(c)
	if err != nil {
		return nil, malformed("", "cannot be written")
	}
	return payload, nil
}

// MarshalUnsigned writes the claims of a set that is still to be signed, as
// indented JSON that a person can read before signing it: iss, iat, exp, seq,
// keys.
func (ks KeySet) MarshalUnsigned() ([]byte, error) {
	payload, f := ks.payload()
	if f != nil {
		return nil, license.Errorf(license.BadRequest, "not a key set that could be signed: %s", f)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, payload, "", "  "); err != nil {
		return nil, err
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// ParseUnsignedKeySet reads what MarshalUnsigned writes, and refuses what
// signing would drop: members and kinds of keys that this version does not
// know. What is wrong is Damaged.
func ParseUnsignedKeySet(data []byte) (KeySet, error) {
	damaged := func(f *fault) error {
		return license.Errorf(license.Damaged, "not an unsigned key set: %s", f)
	}
	data = trimDocument(data)
	if len(data) > MaxToken {
		return KeySet{}, damaged(malformed("", "longer than 64 KiB"))
	}
	ks, skipped, f := decodeKeySet(data)
	switch {
	case f != nil:
		return KeySet{}, damaged(f)
	case skipped > 0:
		return KeySet{}, damaged(malformed("keys", "holds a key of a kind that this version does not know"))
	case hasUnknown(data):
		return KeySet{}, damaged(malformed("", "holds a member that this version does not know"))
	}
	return ks, nil
}

// hasUnknown reports whether the claims of a key set hold members beyond those
// that we write.
func hasUnknown(data []byte) bool {
	var c struct {
		keySetClaims
		Keys []JWK `json:"keys"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	return dec.Decode(&c) != nil
}

// Newer reports whether ks replaces than: it was signed by a later anchor, or
// by the same one with a higher Seq.
func (ks KeySet) Newer(than KeySet) bool {
	if ks.Rank != than.Rank {
		return ks.Rank > than.Rank
	}
	return ks.Seq > than.Seq
}

// Key returns the key with this kid.
func (ks KeySet) Key(kid string) (Key, bool) {
	for _, k := range ks.Keys {
		if k.ID == kid {
			return k, true
		}
	}
	return Key{}, false
}

// signer returns the key of the set that may have signed at the instant iat.
// The key must be known before the claims are read, so the instant is judged
// by validAt.
func (ks KeySet) signer(e envelope) (Key, *fault) {
	k, ok := ks.Key(e.kid)
	if !ok {
		return Key{}, forgery("it is signed with a key that is not, or no longer, in the key set")
	}
	return k, e.verify(k.Public)
}

// validAt judges a signature at its iat.
func (k Key) validAt(iat time.Time) *fault {
	if iat.Before(k.NotBefore) || !iat.Before(k.NotAfter) {
		return forgery("its key was not valid when it was signed")
	}
	return nil
}

// JWKS writes the keys as a plain JWK set (RFC 7517 section 5), for
// /.well-known/jwks.json. It is not signed: no verifier of ours reads it.
func (ks KeySet) JWKS() ([]byte, error) {
	set := struct {
		Keys []JWK `json:"keys"`
	}{Keys: []JWK{}}
	for _, k := range ks.Keys {
		if f := k.check(); f != nil {
			return nil, license.Errorf(license.Internal, "not a key: %s", f)
		}
		set.Keys = append(set.Keys, k.JWK())
	}
	return json.Marshal(set)
}
