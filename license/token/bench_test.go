package token_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license/token"
)

// bareClaims is what a program without our rules would decode into.
type bareClaims struct {
	Iss, Sub, Aud, Jti string
	Iat, Nbf, Exp      int64
	Lic                struct {
		Ver                            int
		Customer, Order, Channel, Mode string
		CodeLast4                      string `json:"code_last4"`
		Features                       map[string]any
		Machines                       int
		Phases                         struct {
			WarnAt      int64 `json:"warn_at"`
			ExpiresAt   int64 `json:"expires_at"`
			BlockAt     int64 `json:"block_at"`
			Enforcement string
		}
		RefreshAfter int64 `json:"refresh_after"`
		LeaseUntil   int64 `json:"lease_until"`
		Binding      struct {
			Policy, Salt string
			Components   map[string][]string
		}
	}
	Cnf struct {
		Jwk struct{ Kty, Crv, X string }
	}
}

// bareVerify is one ed25519.Verify, base64 and one JSON decode of the claims.
func bareVerify(tb testing.TB, raw string, pub ed25519.PublicKey) {
	tb.Helper()
	head, rest, _ := strings.Cut(raw, ".")
	body, sig64, _ := strings.Cut(rest, ".")
	if _, err := base64.RawURLEncoding.DecodeString(head); err != nil {
		tb.Fatal(err)
	}
	sig, err := base64.RawURLEncoding.DecodeString(sig64)
	if err != nil {
		tb.Fatal(err)
	}
	if !ed25519.Verify(pub, []byte(raw[:len(head)+1+len(body)]), sig) {
		tb.Fatal("signature")
	}
	payload, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		tb.Fatal(err)
	}
	var c bareClaims
	if err := json.Unmarshal(payload, &c); err != nil {
		tb.Fatal(err)
	}
}

func BenchmarkVerifyLicense(b *testing.B) {
	keys, raw := keySet(b), licenseToken()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := token.VerifyLicense(raw, keys, token.Expect{Product: product}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBareVerify(b *testing.B) {
	raw, pub := licenseToken(), publicKey("current")
	b.ReportAllocs()
	for b.Loop() {
		bareVerify(b, raw, pub)
	}
}

// BenchmarkVerifyRatio alternates the two, and reports the median of the
// ratios: at most 1.25 is wanted.
func BenchmarkVerifyRatio(b *testing.B) {
	keys, raw, pub := keySet(b), licenseToken(), publicKey("current")
	const batch = 50
	var ratios []float64
	for b.Loop() {
		begin := time.Now()
		for range batch {
			bareVerify(b, raw, pub)
		}
		middle := time.Now()
		for range batch {
			if _, err := token.VerifyLicense(raw, keys, token.Expect{Product: product}); err != nil {
				b.Fatal(err)
			}
		}
		ratios = append(ratios, float64(time.Since(middle))/float64(middle.Sub(begin)))
	}
	sort.Float64s(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "ratio")
}

func BenchmarkVerifyRequest(b *testing.B) {
	raw := forge("install", requestHeader("install"), requestPayload("activate", `"code":"`+ownCode.Reveal()+`"`))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := token.VerifyRequest(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSignLicense(b *testing.B) {
	l, key := testLicense(), signingKey(b, "current")
	b.ReportAllocs()
	for b.Loop() {
		payload, err := l.Payload()
		if err != nil {
			b.Fatal(err)
		}
		if _, err := token.SignLicense(payload, key); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPayload(b *testing.B) {
	l := testLicense()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Payload(); err != nil {
			b.Fatal(err)
		}
	}
}
