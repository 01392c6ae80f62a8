package token_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// A merchant signs a licence, and the product verifies it with the anchors
// that were compiled into it.
func Example() {
	key := func(name string) token.SigningKey { // keep yours elsewhere
		seed := sha256.Sum256([]byte(name))
		k, err := token.NewSigningKey(ed25519.NewKeyFromSeed(seed[:]))
		if err != nil {
			panic(err)
		}
		return k
	}
	anchor, signing := key("anchor"), key("signing")
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

	// The merchant, once: the anchor vouches for the signing key.
	keys, err := token.SignKeySet(token.KeySet{
		Issuer: "https://licence.example.com", IssuedAt: now, ExpiresAt: now.AddDate(0, 0, 400), Seq: 1,
		Keys: []token.Key{{Public: signing.Signer.Public().(ed25519.PublicKey), NotBefore: now, NotAfter: now.AddDate(1, 0, 0)}},
	}, anchor)
	if err != nil {
		panic(err)
	}

	// The merchant, for each install.
	schedule := license.Schedule{Warn: 30 * 24 * time.Hour, Enforcement: license.EnforceBlock}
	payload, err := token.License{
		Issuer: "https://licence.example.com", ID: "1", LicenseID: "lic_1", Product: "cad-pro",
		Dates:    schedule.DatesFor(now, time.Time{}, now.AddDate(1, 0, 0)),
		Features: license.Features{"export": license.FeatureOn()},
		Binding:  license.Binding{Policy: license.PolicyNone},
	}.Payload()
	if err != nil {
		panic(err)
	}
	raw, err := token.SignLicense(payload, signing)
	if err != nil {
		panic(err)
	}
	file := token.File{Licenses: []string{raw}, KeySets: []string{keys}}.Marshal()

	// The product.
	anchors := token.Anchors{anchor.Signer.Public().(ed25519.PublicKey)}
	read, err := token.ParseFile(file)
	if err != nil {
		panic(err)
	}
	set, err := token.VerifyKeySet(read.KeySets[0], anchors)
	if err != nil {
		panic(err)
	}
	lic, err := token.VerifyLicense(read.Licenses[0], set, token.Expect{Product: "cad-pro"})
	if err != nil {
		panic(err)
	}
	fmt.Println(lic.LicenseID, lic.Features["export"].On(), lic.Dates.PhaseAt(now.AddDate(0, 11, 15)))

	_, err = token.VerifyLicense(read.Licenses[0], set, token.Expect{Product: "cad-lite"})
	fmt.Println(err)
	// Output:
	// lic_1 true warning
	// wrong_product: the licence is for another product
}
