package token_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func setKey(name string, from, until time.Time) token.Key {
	return token.Key{ID: kidOf(name), Public: publicKey(name), NotBefore: from, NotAfter: until}
}

func testKeySet() token.KeySet {
	return token.KeySet{
		Issuer: issuer, IssuedAt: signedAt.Add(-10 * day), ExpiresAt: signedAt.Add(390 * day), Seq: 7,
		Keys: []token.Key{
			setKey("current", signedAt.Add(-30*day), signedAt.Add(370*day)),
			setKey("next", signedAt.Add(-30*day), signedAt.Add(770*day)),
			setKey("retired", signedAt.Add(-400*day), signedAt.Add(-30*day)),
		},
	}
}

func TestKeySetRoundTrip(t *testing.T) {
	want := testKeySet()
	raw, err := token.SignKeySet(want, signingKey(t, "standby"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := token.VerifyKeySet(raw, anchors)
	if err != nil {
		t.Fatal(err)
	}
	want.Rank, want.Raw = 1, raw
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if k, ok := got.Key(kidOf("next")); !ok || !bytes.Equal(k.Public, publicKey("next")) {
		t.Error("the next key is not found")
	}
	if _, ok := got.Key(kidOf("removed")); ok {
		t.Error("a key is found that is not there")
	}
	if _, err := token.VerifyKeySet(raw, anchors[:1]); license.ReasonOf(err) != license.Forged {
		t.Errorf("a standby that is not compiled in: %v", err)
	}
	if _, err := token.VerifyKeySet(raw, token.Anchors{nil, anchors[1][:5]}); license.ReasonOf(err) != license.Forged {
		t.Errorf("anchors that are no keys: %v", err)
	}
}

func TestSignKeySetRefuses(t *testing.T) {
	for name, change := range map[string]func(*token.KeySet){
		"no issuer":      func(ks *token.KeySet) { ks.Issuer = "" },
		"no keys":        func(ks *token.KeySet) { ks.Keys = nil },
		"no dates":       func(ks *token.KeySet) { ks.IssuedAt = time.Time{} },
		"negative seq":   func(ks *token.KeySet) { ks.Seq = -1 },
		"the anchor":     func(ks *token.KeySet) { ks.Keys[1] = setKey("anchor", signedAt, signedAt.Add(day)) },
		"a key twice":    func(ks *token.KeySet) { ks.Keys[1] = ks.Keys[0] },
		"a wrong kid":    func(ks *token.KeySet) { ks.Keys[1].ID = kidOf("evil") },
		"a short key":    func(ks *token.KeySet) { ks.Keys[1].Public = ks.Keys[1].Public[:31] },
		"a key in doubt": func(ks *token.KeySet) { ks.Keys[1].NotAfter = ks.Keys[1].NotBefore },
		"no nbf":         func(ks *token.KeySet) { ks.Keys[1].NotBefore = time.Time{} },
	} {
		ks := testKeySet()
		change(&ks)
		if _, err := token.SignKeySet(ks, signingKey(t, "anchor")); license.ReasonOf(err) != license.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNewer(t *testing.T) {
	for _, c := range []struct {
		rank, than int
		seq, seen  int64
		want       bool
	}{
		{0, 0, 8, 7, true},
		{0, 0, 7, 7, false},
		{0, 0, 6, 7, false},
		{1, 0, 1, 99, true},
		{0, 1, 99, 1, false},
		{1, 1, 2, 1, true},
	} {
		got := token.KeySet{Rank: c.rank, Seq: c.seq}.Newer(token.KeySet{Rank: c.than, Seq: c.seen})
		if got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

func TestUnsignedKeySet(t *testing.T) {
	doc, err := testKeySet().MarshalUnsigned()
	if err != nil {
		t.Fatal(err)
	}
	got, err := token.ParseUnsignedKeySet(append([]byte("\ufeff"), bytes.ReplaceAll(doc, []byte("\n"), []byte("\r\n"))...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(testKeySet(), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for name, text := range map[string]string{
		"empty":               "",
		"a token":             keySetToken(),
		"unknown member":      swap(string(doc), `"seq"`, `"note": 1, "seq"`),
		"unknown key member":  strings.Replace(string(doc), `"kty"`, `"d": "x", "kty"`, 1),
		"unknown key":         swap(string(doc), `"keys": [`, `"keys": [{"kty": "RSA"},`),
		"twice":               swap(string(doc), `"seq"`, `"seq": 1, "seq"`),
		"key twice":           strings.Replace(string(doc), `"kid": "`+kidOf("next"), `"kid": "`+kidOf("current"), 1),
		"something after":     string(doc) + "{}",
		"longer than a token": swap(string(doc), `"seq"`, strings.Repeat(" ", token.MaxToken)+`"seq"`),
	} {
		if _, err := token.ParseUnsignedKeySet([]byte(text)); license.ReasonOf(err) != license.Damaged {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := (token.KeySet{}).MarshalUnsigned(); err == nil {
		t.Error("wrote an empty key set")
	}
}

func TestJWKS(t *testing.T) {
	doc, err := testKeySet().JWKS()
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(doc, &set); err != nil || len(set.Keys) != 3 {
		t.Fatalf("%v: %s", err, doc)
	}
	want := map[string]any{
		"kty": "OKP", "crv": "Ed25519", "x": encode(publicKey("current")), "kid": kidOf("current"), "alg": "EdDSA", "use": "sig",
		"nbf": float64(signedAt.Add(-30 * day).Unix()), "exp": float64(signedAt.Add(370 * day).Unix()),
	}
	if diff := cmp.Diff(want, set.Keys[0]); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if doc, err := (token.KeySet{}).JWKS(); err != nil || string(doc) != `{"keys":[]}` {
		t.Errorf("%s %v", doc, err)
	}
}

// The key and thumbprint of RFC 8037, appendix A.3.
func TestThumbprint(t *testing.T) {
	const doc = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	const want = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
	k, err := token.ParseJWK([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	if got := token.Thumbprint(k.Public); got != want || k.ID != want {
		t.Errorf("%s", got)
	}
	again, err := token.MarshalJWK(k)
	if err != nil {
		t.Fatal(err)
	}
	back, err := token.ParseJWK(again)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(k, back); diff != "" {
		t.Error(diff)
	}
	for name, text := range map[string]string{
		"empty":           "",
		"other kty":       swap(doc, "OKP", "EC"),
		"other crv":       swap(doc, "Ed25519", "X25519"),
		"for encryption":  swap(doc, `{`, `{"use":"enc",`),
		"other algorithm": swap(doc, `{`, `{"alg":"ES256",`),
		"other kid":       swap(doc, `{`, `{"kid":"x",`),
		"stray bits":      swap(doc, "URo", "URp"),
		"line breaks":     swap(doc, "URo", `URo\n`),
		"twice":           swap(doc, `{`, `{"x":"",`),
	} {
		if _, err := token.ParseJWK([]byte(text)); license.ReasonOf(err) != license.Damaged {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := token.MarshalJWK(token.Key{}); err == nil {
		t.Error("wrote a key that is none")
	}
}

func TestAnchors(t *testing.T) {
	doc, err := token.MarshalAnchors(anchors)
	if err != nil {
		t.Fatal(err)
	}
	got, err := token.ParseAnchors(append(doc, '\n'))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(anchors, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	indented := new(bytes.Buffer)
	if err := json.Indent(indented, []byte(swap(string(doc), `{"anchors"`, `{"made":"2026-01-01","anchors"`)), "", "\t"); err != nil {
		t.Fatal(err)
	}
	if got, err := token.ParseAnchors(indented.Bytes()); err != nil || len(got) != 2 {
		t.Errorf("with blanks and an unknown member: %v", err)
	}
	one := string(doc)[len(`{"anchors":[`):strings.Index(string(doc), "},")] + "}"
	for name, text := range map[string]string{
		"empty": "", "none": `{"anchors":[]}`, "twice": `{"anchors":[` + one + `,` + one + `]}`, "a set": `{"keys":[` + one + `]}`,
		"unknown kind": swap(string(doc), `"anchors":[`, `"anchors":[{"kty":"RSA","crv":"","x":""},`), "after": string(doc) + "x",
		"other case": swap(string(doc), `"anchors"`, `"Anchors"`), "token": keySetToken(), "huge": strings.Repeat(" ", token.MaxFile) + "{",
	} {
		if _, err := token.ParseAnchors([]byte(text)); license.ReasonOf(err) != license.Damaged {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := token.MarshalAnchors(token.Anchors{nil}); err == nil {
		t.Error("wrote an anchor that is none")
	}
}

func TestNewSigningKey(t *testing.T) {
	k, err := token.NewSigningKey(privateKey("current"))
	if err != nil || k.ID != kidOf("current") {
		t.Errorf("%v %v", k, err)
	}
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.NewSigningKey(p256); license.ReasonOf(err) != license.BadRequest {
		t.Errorf("P-256: %v", err)
	}
	if _, err := token.NewSigningKey(nil); license.ReasonOf(err) != license.BadRequest {
		t.Errorf("nil: %v", err)
	}
}
