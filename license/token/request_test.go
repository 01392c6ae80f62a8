package token_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

var sameCode = cmp.Comparer(license.Code.Equal)

func testRequest(op token.Op) token.Request {
	r := token.Request{
		ID: "req-1", IssuedAt: signedAt, Op: op, Product: product, Prev: "tok-0",
		Fingerprint: license.Fingerprint{
			Salt: license.ProductSalt(product), Environment: "vm", Code: license.Digest(digest(product, "code", "HW1")),
			Components: license.Components{
				license.KindOS:  {license.Digest(digest(product, "os", "A"))},
				license.KindMAC: {license.Digest(digest(product, "mac", "A")), license.Digest(digest(product, "mac", "B"))},
			},
		},
	}
	switch op {
	case token.OpActivate:
		r.Code = ownCode
	case token.OpTransfer:
		r.Code, r.From = ownCode, kidOf("evil")
	case token.OpRefresh, token.OpDeactivate:
		r.License = licenseToken()
	}
	return r
}

func TestRequestRoundTrip(t *testing.T) {
	for _, op := range []token.Op{token.OpActivate, token.OpRefresh, token.OpTransfer, token.OpDeactivate} {
		want := testRequest(op)
		raw, err := token.SignRequest(want, signingKey(t, "install"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := token.VerifyRequest(raw)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(raw))
		want.Fingerprint.Components = want.Fingerprint.Components.Normalize()
		want.InstallKey, want.InstallID, want.Digest, want.Raw = publicKey("install"), kidOf("install"), sum[:], raw
		if diff := cmp.Diff(want, got, sameCode); diff != "" {
			t.Errorf("%s: -want +got:\n%s", op, diff)
		}
		if again, err := token.SignRequest(want, signingKey(t, "install")); err != nil || again != raw {
			t.Errorf("%s: other bytes for the same request: %v", op, err)
		}
	}
}

func TestSignRequestKeepsTheSmallestDigests(t *testing.T) {
	r := testRequest(token.OpActivate)
	var all []license.Digest
	for i := range 12 {
		all = append(all, license.Digest(digest(product, "mac", fmt.Sprint(i))))
	}
	r.Fingerprint.Components[license.KindMAC] = all
	raw, err := token.SignRequest(r, signingKey(t, "install"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := token.VerifyRequest(raw)
	if err != nil {
		t.Fatal(err)
	}
	want := license.Components{license.KindMAC: all}.Normalize()[license.KindMAC]
	if diff := cmp.Diff(want, got.Fingerprint.Components[license.KindMAC]); diff != "" || len(want) != 8 {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestSignRequestRefuses(t *testing.T) {
	for field, change := range map[string]func(*token.Request){
		"jti":                        func(r *token.Request) { r.ID = "" },
		"iat":                        func(r *token.Request) { r.IssuedAt = time.Time{} },
		"op":                         func(r *token.Request) { r.Op = "" },
		"product":                    func(r *token.Request) { r.Product = "" },
		"prev":                       func(r *token.Request) { r.Prev = "a b" },
		"license":                    func(r *token.Request) { r.License = "x" },
		"from":                       func(r *token.Request) { r.From = "x" },
		"fingerprint.salt":           func(r *token.Request) { r.Fingerprint.Salt = []byte("another") },
		"fingerprint.code":           func(r *token.Request) { r.Fingerprint.Code = "x" },
		"fingerprint.components.mac": func(r *token.Request) { r.Fingerprint.Components[license.KindMAC][0] = "x" },
	} {
		r := testRequest(token.OpActivate)
		change(&r)
		_, err := token.SignRequest(r, signingKey(t, "install"))
		var e *license.Error
		if !errors.As(err, &e) || e.Reason != license.BadRequest || e.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := token.SignRequest(testRequest(token.OpActivate), token.SigningKey{}); err == nil {
		t.Error("signed without a key")
	}
}

func TestTimeRoundTrip(t *testing.T) {
	want := token.Time{Issuer: issuer, IssuedAt: signedAt, InstallID: kidOf("install"), Nonce: "req-1"}
	raw, err := token.SignTime(want, signingKey(t, "current"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := token.VerifyTime(raw, keySet(t), kidOf("install"), "req-1")
	if err != nil {
		t.Fatal(err)
	}
	want.Raw = raw
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for name, change := range map[string]func(*token.Time){
		"no issuer": func(w *token.Time) { w.Issuer = "" }, "no instant": func(w *token.Time) { w.IssuedAt = time.Time{} },
		"no install": func(w *token.Time) { w.InstallID = "" }, "no nonce": func(w *token.Time) { w.Nonce = "" },
	} {
		bad := want
		change(&bad)
		if _, err := token.SignTime(bad, signingKey(t, "current")); license.ReasonOf(err) != license.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNothingSecretIsPrinted prints what holds tokens, codes and private keys
// in every way that a log might.
func TestNothingSecretIsPrinted(t *testing.T) {
	raw, err := token.SignRequest(testRequest(token.OpActivate), signingKey(t, "install"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := token.VerifyRequest(raw)
	if err != nil {
		t.Fatal(err)
	}
	l, err := token.VerifyLicense(licenseToken(), keySet(t), token.Expect{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := token.ParseFile([]byte(licenseFile()))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{r, &r, l, &l, f, &f, signingKey(t, "current")} {
		var log strings.Builder
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "v", v)
		all := fmt.Sprintf("%v %+v %#v %s", v, v, v, v) + log.String()
		seed := fmt.Sprintf("%v", []byte(privateKey("current"))[:4])
		for _, secret := range []string{raw, licenseToken(), ownCode.Reveal(), strings.Trim(seed, "[]")} {
			if strings.Contains(all, secret) {
				t.Errorf("%T shows a secret: %s", v, all)
			}
		}
	}
}
