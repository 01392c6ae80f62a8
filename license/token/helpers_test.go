package token_test

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// What follows writes tokens with plain crypto and text, so that nothing under
// test takes part in making the input.

const (
	issuer  = "https://licence.example.com"
	product = "cad-pro"
	day     = 24 * time.Hour
)

// signedAt is when everything in the tests is signed, unless it says otherwise.
var signedAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func privateKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("licensed test key " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicKey(name string) ed25519.PublicKey {
	return privateKey(name).Public().(ed25519.PublicKey)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// kidOf is the RFC 7638 thumbprint, written out.
func kidOf(name string) string { return thumbprint(publicKey(name)) }

func thumbprint(x []byte) string {
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + encode(x) + `"}`))
	return encode(sum[:])
}

func signingKey(tb testing.TB, name string) token.SigningKey {
	tb.Helper()
	k, err := token.NewSigningKey(privateKey(name))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

// forge signs any header over any content.
func forge(key, header, payload string) string {
	input := encode([]byte(header)) + "." + encode([]byte(payload))
	return input + "." + encode(ed25519.Sign(privateKey(key), []byte(input)))
}

func header(key, typ string) string {
	return fmt.Sprintf(`{"alg":"EdDSA","kid":"%s","typ":"%s"}`, kidOf(key), typ)
}

func requestHeader(key string) string {
	return fmt.Sprintf(`{"alg":"EdDSA","kid":"%s","typ":"license-request+jwt","jwk":{"kty":"OKP","crv":"Ed25519","x":"%s"}}`,
		kidOf(key), encode(publicKey(key)))
}

// hs256 signs with the bytes of a public key as a shared secret.
func hs256(secret []byte, header, payload string) string {
	input := encode([]byte(header)) + "." + encode([]byte(payload))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

func jwk(key string, from, until time.Time) string {
	return fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":"%s","kid":"%s","alg":"EdDSA","use":"sig","nbf":%d,"exp":%d}`,
		encode(publicKey(key)), kidOf(key), from.Unix(), until.Unix())
}

// The keys of the tests: "current" signs, "next" will, "retired" did until a
// month ago, "removed" is in no key set any more.
func keySetPayload() string {
	return fmt.Sprintf(`{"iss":"%s","iat":%d,"exp":%d,"seq":7,"keys":[%s,%s,%s]}`,
		issuer, signedAt.Add(-10*day).Unix(), signedAt.Add(390*day).Unix(),
		jwk("current", signedAt.Add(-30*day), signedAt.Add(370*day)),
		jwk("next", signedAt.Add(-30*day), signedAt.Add(770*day)),
		jwk("retired", signedAt.Add(-400*day), signedAt.Add(-30*day)))
}

func keySetToken() string {
	return forge("anchor", header("anchor", "license-keys+jwt"), keySetPayload())
}

var anchors = token.Anchors{publicKey("anchor"), publicKey("standby")}

func keySet(tb testing.TB) token.KeySet {
	tb.Helper()
	ks, err := token.VerifyKeySet(keySetToken(), anchors)
	if err != nil {
		tb.Fatal(err)
	}
	return ks
}

// digest is API.md's formula, written out.
func digest(product, kind, value string) string {
	salt := sha256.Sum256([]byte("licensed fingerprint v1\n" + product))
	mac := hmac.New(sha256.New, salt[:16])
	mac.Write([]byte(kind + "\n" + value))
	return encode(mac.Sum(nil)[:16])
}

func salt(product string) string {
	sum := sha256.Sum256([]byte("licensed fingerprint v1\n" + product))
	return encode(sum[:16])
}

func licensePayload() string {
	at := func(d time.Duration) int64 { return signedAt.Add(d).Unix() }
	return fmt.Sprintf(`{"iss":"%s","sub":"lic_01","aud":"%s","jti":"tok-1","iat":%d,"nbf":%d,"exp":%d,"lic":{"ver":1,`+
		`"customer":"Ärzte & Söhne","order":"CS1","channel":"koogallery","code_last4":"9ABC",`+
		`"features":{"export":true,"projects":10,"tier":"gold"},"machines":2,"mode":"node",`+
		`"phases":{"warn_at":%d,"expires_at":%d,"block_at":%d,"enforcement":"block"},`+
		`"refresh_after":%d,"lease_until":%d,`+
		`"binding":{"policy":"fuzzy","salt":"%s","components":{"disk":["%s"],"mac":["%s","%s"],"os":["%s"]}}},`+
		`"cnf":{"jwk":{"kty":"OKP","crv":"Ed25519","x":"%s"}}}`,
		issuer, product, at(0), at(-10*time.Minute), at(380*day), at(335*day), at(365*day), at(380*day),
		at(day), at(14*day), salt(product),
		digest(product, "disk", "WD-123"), digest(product, "mac", "00:16:3E:00:00:01"), digest(product, "mac", "00:16:3E:00:00:02"),
		digest(product, "os", "ABCDEF0123456789"), encode(publicKey("install")))
}

func licenseToken() string {
	return forge("current", header("current", "license+jwt"), licensePayload())
}

func fingerprintPayload() string {
	return fmt.Sprintf(`{"salt":"%s","components":{"mac":["%s"],"os":["%s"]},"environment":"metal"}`,
		salt(product), digest(product, "mac", "00:16:3E:00:00:01"), digest(product, "os", "ABCDEF0123456789"))
}

// requestPayload is a request with what the op adds: `"code":"…"`.
func requestPayload(op, more string) string {
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"jti":"req-1","iat":%d,"op":"%s","product":"%s","prev":"","fingerprint":%s%s}`,
		signedAt.Unix(), op, product, fingerprintPayload(), more)
}

func timePayload() string {
	return fmt.Sprintf(`{"iss":"%s","iat":%d,"sub":"%s","nonce":"req-1"}`, issuer, signedAt.Unix(), kidOf("install"))
}

// swap replaces the one occurrence of old.
func swap(s, old, with string) string {
	if strings.Count(s, old) != 1 {
		panic(fmt.Sprintf("%q occurs %d times in %s", old, strings.Count(s, old), s))
	}
	return strings.Replace(s, old, with, 1)
}

// drop takes out the one occurrence of a member and the comma after it.
func drop(s, member string) string { return swap(s, member, "") }

func wantReason(tb testing.TB, err error, want license.Reason) {
	tb.Helper()
	if got := license.ReasonOf(err); got != want {
		tb.Errorf("reason %q, want %q (%v)", got, want, err)
	}
}

var ownCode = func() license.Code {
	c, err := license.NewCode(strings.NewReader("abcdefghijklmnopqrstuvwxyz"))
	if err != nil {
		panic(err)
	}
	return c
}()

func decodeSegment(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(s) }
