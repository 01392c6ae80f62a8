package token_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

var equal = cmp.AllowUnexported(license.Feature{})

func testLicense() token.License {
	ten, _ := license.FeatureNumber("10")
	d := license.Schedule{
		Warn: 30 * day, Grace: 15 * day, Enforcement: license.EnforceBlock, Lease: 14 * day, Refresh: day,
	}.DatesFor(signedAt, time.Time{}, signedAt.Add(365*day))
	return token.License{
		Issuer: issuer, ID: "tok-1", LicenseID: "lic_01", Product: product, Dates: d,
		Customer: "Ärzte & Söhne", Order: "CS1", Channel: "koogallery", CodeLast4: "9ABC",
		Features: license.Features{"export": license.FeatureOn(), "projects": ten, "tier": license.FeatureText("gold")},
		Machines: 2, Mode: license.ModeNode,
		Binding: license.Binding{
			Policy: license.PolicyFuzzy, Salt: license.ProductSalt(product), Components: license.Components{
				license.KindDisk: {license.Digest(digest(product, "disk", "WD-123"))},
				license.KindMAC: {
					license.Digest(digest(product, "mac", "00:16:3E:00:00:01")),
					license.Digest(digest(product, "mac", "00:16:3E:00:00:02")),
				},
				license.KindOS: {license.Digest(digest(product, "os", "ABCDEF0123456789"))},
			},
		},
		InstallKey: publicKey("install"), InstallID: kidOf("install"),
	}
}

func TestLicenseReadsWhatOthersSigned(t *testing.T) {
	got, err := token.VerifyLicense(licenseToken(), keySet(t), token.Expect{Product: product, Issuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	want := testLicense()
	want.KeyID, want.Raw = kidOf("current"), licenseToken()
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	peeked, err := token.PeekLicense(licenseToken())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, peeked, equal); diff != "" {
		t.Errorf("peek: -want +got:\n%s", diff)
	}
}

func TestLicenseRoundTrip(t *testing.T) {
	want := testLicense()
	want.Customer = "<Ärzte> & Söhne\u2028"
	want.Features["a<b"] = license.FeatureText("x&y")
	want.StatusMaxAge = 36 * time.Hour
	want.Trial = true
	payload, err := want.Payload()
	if err != nil {
		t.Fatal(err)
	}
	again, err := want.Payload()
	if err != nil || string(again) != string(payload) {
		t.Errorf("the same licence gave other bytes: %v", err)
	}
	stored, err := json.Marshal(struct{ Answer json.RawMessage }{payload})
	if err != nil {
		t.Fatal(err)
	}
	var back struct{ Answer json.RawMessage }
	if err := json.Unmarshal(stored, &back); err != nil {
		t.Fatal(err)
	}
	if string(back.Answer) != string(payload) {
		t.Errorf("a store would change the claims:\n%s\n%s", payload, back.Answer)
	}
	raw, err := token.SignLicense(payload, signingKey(t, "current"))
	if err != nil {
		t.Fatal(err)
	}
	if twice, err := token.SignLicense(payload, signingKey(t, "current")); err != nil || twice != raw {
		t.Errorf("the same claims gave another token: %v", err)
	}
	got, err := token.VerifyLicense(raw, keySet(t), token.Expect{Product: product})
	if err != nil {
		t.Fatal(err)
	}
	want.KeyID, want.Raw = kidOf("current"), raw
	if diff := cmp.Diff(want, got, equal); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A licence for two products is for the programs of both, and of no other; one
// for a single product keeps the plain form of aud.
func TestLicenseOfSeveralProducts(t *testing.T) {
	l := testLicense()
	l.Product, l.Also = "suite", []string{product}
	payload, err := l.Payload()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := token.SignLicense(payload, signingKey(t, "current"))
	if err != nil {
		t.Fatal(err)
	}
	for asked, also := range map[string]string{product: "suite", "suite": product} {
		got, err := token.VerifyLicense(raw, keySet(t), token.Expect{Product: asked})
		if err != nil || got.Product != asked || len(got.Also) != 1 || got.Also[0] != also {
			t.Errorf("%s: %v, %v", asked, got.Also, err)
		}
	}
	if _, err := token.VerifyLicense(raw, keySet(t), token.Expect{Product: "third"}); license.ReasonOf(err) != license.WrongProduct {
		t.Error(err)
	}
	var claims struct {
		Aud any `json:"aud"`
	}
	l.Also = nil
	payload, err = l.Payload()
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Aud != "suite" {
		t.Errorf("%v, %v", claims.Aud, err)
	}
}

func TestPayloadRefusesWhatNobodyCouldRead(t *testing.T) {
	for name, change := range map[string]func(*token.License){
		"no issuer":          func(l *token.License) { l.Issuer = "" },
		"no id":              func(l *token.License) { l.ID = "" },
		"no licence id":      func(l *token.License) { l.LicenseID = "" },
		"no product":         func(l *token.License) { l.Product = "" },
		"an empty audience":  func(l *token.License) { l.Also = []string{""} },
		"no dates":           func(l *token.License) { l.Dates = license.Dates{} },
		"phases in disorder": func(l *token.License) { l.Dates.WarnAt = l.Dates.ExpiresAt.Add(time.Second) },
		"lease beyond exp":   func(l *token.License) { l.Dates.LeaseUntil = l.Dates.Exp.Add(time.Second) },
		"an end under degrade": func(l *token.License) {
			l.Dates.Enforcement = license.EnforceDegrade
		},
		"an end under advisory": func(l *token.License) {
			l.Dates.Enforcement = license.EnforceAdvisory
		},
		"no enforcement":      func(l *token.License) { l.Dates.Enforcement = "" },
		"no policy":           func(l *token.License) { l.Binding.Policy = "" },
		"bad digest":          func(l *token.License) { l.Binding.Components[license.KindOS] = []license.Digest{"x"} },
		"unknown kind":        func(l *token.License) { l.Binding.Components["MAC"] = nil },
		"short key":           func(l *token.License) { l.InstallKey = l.InstallKey[:31] },
		"negative machines":   func(l *token.License) { l.Machines = -1 },
		"too many machines":   func(l *token.License) { l.Machines = 1 << 40 },
		"features that clash": func(l *token.License) { l.Features = license.Features{"\xff": {}, "\xfe": {}} },
	} {
		l := testLicense()
		change(&l)
		if _, err := l.Payload(); license.ReasonOf(err) != license.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSigningKeys(t *testing.T) {
	payload, err := testLicense().Payload()
	if err != nil {
		t.Fatal(err)
	}
	good := signingKey(t, "current")
	for name, key := range map[string]token.SigningKey{
		"none": {}, "other name": {ID: kidOf("next"), Signer: good.Signer}, "no name": {Signer: good.Signer},
	} {
		if _, err := token.SignLicense(payload, key); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	if _, err := token.SignLicense(make([]byte, token.MaxToken), good); err == nil {
		t.Error("signed more than anyone reads")
	}
}
