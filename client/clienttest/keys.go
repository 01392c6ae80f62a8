package clienttest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// The kids of Anchors, which are the same in every version of this package. A
// product that holds an anchor of one of these ids trusts everybody.
const (
	AnchorID  = "cyVfqVaGhxmCzyX8OPTQeVCsAj34xBVTm32PgrxwFN8"
	StandbyID = "5RR7v868BWmLUyZjXfuzDk70hM_3Hplv_RqfkaJn_Kk"
)

// Epoch is when clocks begin that nobody has set.
var Epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// Issuer is who issues all licences of this package. No such host exists (RFC 6761).
const Issuer = "https://licence.test"

// testKey is a key that is the same in every run.
func testKey(name string) token.SigningKey {
	seed := sha256.Sum256([]byte("licensed client/clienttest: this key is public, trust nothing that it signs: " + name))
	k := token.SigningKey{Signer: ed25519.NewKeyFromSeed(seed[:])}
	k.ID = token.Thumbprint(publicOf(k))
	return k
}

func publicOf(k token.SigningKey) ed25519.PublicKey {
	pub, _ := k.Signer.Public().(ed25519.PublicKey) // all keys here are Ed25519
	return pub
}

// Anchors are those of every server and every licence of this package, a primary
// and a standby. They belong in tests only: see the package comment.
func Anchors() token.Anchors {
	return token.Anchors{publicOf(testKey("anchor")), publicOf(testKey("standby"))}
}

// AnchorsJSON is Anchors in the form that "licensectl keys anchors -o json"
// prints and client.ParseAnchors reads, for a product that embeds a file.
func AnchorsJSON() []byte {
	data, err := token.MarshalAnchors(Anchors())
	if err != nil {
		panic(err) // they never change, and a test marshals them
	}
	return data
}

// IsTestAnchor reports whether an anchor is one of Anchors, which a shipped
// product must not trust.
func IsTestAnchor(anchor ed25519.PublicKey) bool {
	id := token.Thumbprint(anchor)
	return id == AnchorID || id == StandbyID
}

// vouched is a key that signs and the set that vouches for it.
type vouched struct {
	key token.SigningKey
	set token.KeySet // verified
}

// vouch has an anchor sign a set in which the named keys stand; the first signs.
// They may sign whatever the clock says.
func vouch(anchor string, at time.Time, seq int64, names ...string) (vouched, error) {
	set := token.KeySet{Issuer: Issuer, IssuedAt: at, ExpiresAt: at.Add(400 * 24 * time.Hour), Seq: seq}
	if set.ExpiresAt.After(license.Forever) {
		set.ExpiresAt = license.Forever
	}
	for _, name := range names {
		k := testKey(name)
		set.Keys = append(set.Keys, token.Key{ID: k.ID, Public: publicOf(k), NotBefore: time.Unix(0, 0), NotAfter: license.Forever})
	}
	signer := testKey(anchor)
	raw, err := token.SignKeySet(set, signer)
	if err != nil {
		return vouched{}, err
	}
	set, err = token.VerifyKeySet(raw, token.Anchors{publicOf(signer)})
	return vouched{key: testKey(names[0]), set: set}, err
}
