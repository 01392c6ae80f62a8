package keys_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/seed-357fa782/licensed/keys"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// TestNothingSecretPrints prints everything that the package gives out, and what
// holds it, in every way, and looks for the secrets that the folder holds.
func TestNothingSecretPrints(t *testing.T) {
	dir, created := newFolder(t)
	o := options()
	o.Passphrase = passphrase(t, "correct horse battery")
	r := open(t, dir)
	unsealed := secretsOf(t, dir, created)
	unsealed = append(unsealed, []byte("correct horse battery"))

	type hidden struct{ inner any } // fmt calls no methods on what it holds
	_, wrong := keys.Open(dir, o)
	before := r.Signing()
	values := map[string]any{
		"passphrase": o.Passphrase, "options": o, "anchor options": keys.AnchorOptions{Passphrase: o.Passphrase},
		"created": created, "ring": r, "code key": r.CodeKey(), "signing": before, "signer": before.Signer,
		"anchor": anchor(t, dir, "primary"), "list": r.List(), "health": r.Health(made), "key set": r.KeySet(),
		"rotation": rotate(t, r, made), "error": wrong,
	}
	for name, v := range values {
		for _, v := range []any{v, &v, []any{v}, hidden{v}, &hidden{v}, map[string]any{"v": v}} {
			for form, text := range printed(v) {
				for _, s := range unsealed {
					if leaks(text, s) {
						t.Errorf("%s prints a secret with %s", name, form)
					}
				}
			}
		}
	}
}

func printed(v any) map[string]string {
	out := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		out[verb] = fmt.Sprintf(verb, v)
	}
	var text, js bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", "v", v)
	slog.New(slog.NewJSONHandler(&js, nil)).Info("x", "v", v)
	out["text log"], out["JSON log"] = text.String(), js.String()
	if b, err := json.Marshal(v); err == nil {
		out["JSON"] = string(b)
	}
	return out
}

// leaks looks for a secret as it is and in the ways in which bytes are printed.
func leaks(text string, s []byte) bool {
	text = strings.ToLower(text)
	list := func(format string) string {
		return strings.Trim(strings.TrimPrefix(fmt.Sprintf(format, s), "[]byte"), "{}[]")
	}
	for _, form := range []string{
		string(s), hex.EncodeToString(s), base64.StdEncoding.EncodeToString(s), base64.RawURLEncoding.EncodeToString(s),
		list("%v"), list("%#v"),
	} {
		if form != "" && strings.Contains(text, strings.ToLower(form)) {
			return true
		}
	}
	return false
}

// secretsOf opens all sealed files of a folder.
func secretsOf(t *testing.T, dir string, created keys.Created) [][]byte {
	t.Helper()
	identity := read(t, filepath.Join(dir, "identity"))
	_, line, _ := bytes.Cut(identity, []byte("AGE-SECRET-KEY-"))
	secrets := [][]byte{bytes.TrimSpace(line)}
	ids, err := age.ParseIdentities(bytes.NewReader(identity))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(created.MoveOffline, filepath.Join(dir, "data.key.age"), private(dir, created.Current), private(dir, created.Next)) {
		r, err := age.Decrypt(bytes.NewReader(read(t, path)), ids...)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if block, _ := pem.Decode(content); block != nil {
			k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
			if err != nil {
				t.Fatal(err)
			}
			content = k.(ed25519.PrivateKey).Seed()
		}
		secrets = append(secrets, content)
	}
	return secrets
}

func TestLeaksIsNotBlind(t *testing.T) {
	seed := []byte("0123456789abcdef0123456789abcdef")
	k := ed25519.NewKeyFromSeed(seed)
	for form, text := range printed(struct{ K ed25519.PrivateKey }{k}) {
		if !leaks(text, seed) && form != "JSON" && form != "JSON log" {
			t.Errorf("%s: not found in %s", form, text)
		}
	}
}

// sealedBefore is PL0123456789 of lic_1, sealed under a data key of ones.
const sealedBefore = "017c55366398d14d6716387e8c7c67917dedffc53cb14bcb1550e2ad48ed274a9d116d263423437250"

func newCodeKey(tb testing.TB, fill byte) *keys.CodeKey {
	tb.Helper()
	k, err := keys.NewCodeKey(bytes.Repeat([]byte{fill}, 32))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func code(tb testing.TB, s string) license.Code {
	tb.Helper()
	c, err := license.ParseCode(s)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestCodeIndex(t *testing.T) {
	k := newCodeKey(t, 1)
	// Stores hold these: they must never change.
	if got := hex.EncodeToString(k.Index(code(t, "PL0123456789"))); got != "2f50367715b582f0350763490101bed6" {
		t.Errorf("index %s", got)
	}
	if got := hex.EncodeToString(k.Check()); got != "9e7f4b11fad49be35649f41f2c0bca88" {
		t.Errorf("check %s", got)
	}
	own, err := license.NewCode(nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(k.Index(own), k.Index(code(t, strings.ToLower(own.Reveal())))) {
		t.Error("the same code has another index")
	}
	if bytes.Equal(k.Index(own), newCodeKey(t, 2).Index(own)) || bytes.Equal(k.Check(), newCodeKey(t, 2).Check()) {
		t.Error("another data key makes no difference")
	}
	k.Check()[0]++
	if got := hex.EncodeToString(k.Check()); got != "9e7f4b11fad49be35649f41f2c0bca88" {
		t.Error("a caller can change the check")
	}
	if _, err := keys.NewCodeKey(make([]byte, 16)); err == nil {
		t.Error("a short data key was accepted")
	}
}

func TestCodeSeal(t *testing.T) {
	k := newCodeKey(t, 1)
	c := code(t, "PL0123456789")
	// Stores hold such ones: they must open for ever.
	old, err := hex.DecodeString(sealedBefore)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Open(old, "lic_1"); err != nil || !got.Equal(c) {
		t.Errorf("one sealed before: %v, %v", got, err)
	}
	sealed, err := k.Seal(c, "lic_1")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := k.Open(sealed, "lic_1"); err != nil || !got.Equal(c) {
		t.Errorf("opened %v, %v", got, err)
	}
	if bytes.Contains(sealed, []byte("0123456789")) {
		t.Error("the code lies open")
	}
	if again, _ := k.Seal(c, "lic_1"); bytes.Equal(again, sealed) {
		t.Error("sealing twice gives the same bytes")
	}
	if _, err := k.Open(sealed, "lic_2"); err == nil {
		t.Error("it opens as another licence's")
	}
	if _, err := newCodeKey(t, 2).Open(sealed, "lic_1"); err == nil {
		t.Error("it opens under another data key")
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, err := k.Open(bad, "lic_1"); err == nil || strings.Contains(err.Error(), "0123456789") {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := k.Open(sealed[:i], "lic_1"); err == nil {
			t.Errorf("cut to %d bytes: opened", i)
		}
	}
	if _, err := k.Seal(license.Code{}, "lic_1"); err == nil {
		t.Error("no code was sealed")
	}
	if _, err := k.Seal(c, ""); err == nil {
		t.Error("a code was sealed for no licence")
	}
}

func TestCodeKeyOfTheFolder(t *testing.T) {
	dir, _ := newFolder(t)
	one, two := open(t, dir).CodeKey(), open(t, dir).CodeKey()
	c := code(t, "PL0123456789")
	sealed, err := one.Seal(c, "lic_1")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := two.Open(sealed, "lic_1"); err != nil || !got.Equal(c) {
		t.Errorf("after reopening: %v, %v", got, err)
	}
	if !bytes.Equal(one.Index(c), two.Index(c)) || !bytes.Equal(one.Check(), two.Check()) {
		t.Error("after reopening codes are not found")
	}
}

func TestCodeKeyConcurrently(t *testing.T) {
	k := newCodeKey(t, 1)
	for i := range 8 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			c := code(t, fmt.Sprintf("PL%d", i))
			want := k.Index(c)
			for range 200 {
				if !bytes.Equal(k.Index(c), want) {
					t.Fatal("another index")
				}
			}
		})
	}
}

func FuzzCodeOpen(f *testing.F) {
	k := newCodeKey(f, 1)
	sealed, err := hex.DecodeString(sealedBefore) // the same in every process of the fuzzer
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := k.Open(b, "lic_1"); err == nil && !bytes.Equal(b, sealed) {
			t.Errorf("%x opens", b)
		}
	})
}

func FuzzFiles(f *testing.F) {
	dir, _ := newFolder(f)
	text, _ := privateHalf(f, dir, filepath.Join("anchors", "primary.pem.age"))
	f.Add(text)
	f.Add(read(f, filepath.Join(dir, "state.json")))
	f.Add(read(f, filepath.Join(dir, "identity")))
	f.Add([]byte("correct horse\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := keys.ParsePrivatePEM(b); err != nil && len(err.Error()) > 200 {
			t.Errorf("long error: %v", err)
		}
		if err := keys.ParseIdentity(b); err != nil && len(err.Error()) > 200 {
			t.Errorf("long error: %v", err)
		}
		_, _ = keys.ParsePassphrase(b)
		if once, err := keys.ParseState(b); err == nil {
			twice, err := keys.ParseState(once)
			if err != nil || !bytes.Equal(once, twice) {
				t.Errorf("what was written is not read: %v", err)
			}
		}
	})
}

func BenchmarkCodeIndex(b *testing.B) {
	k, c := newCodeKey(b, 1), code(b, "PL0123456789")
	b.ReportAllocs()
	for b.Loop() {
		k.Index(c)
	}
}

func BenchmarkCodeSeal(b *testing.B) {
	k, c := newCodeKey(b, 1), code(b, "PL0123456789")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Seal(c, "lic_1"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCodeOpen(b *testing.B) {
	k := newCodeKey(b, 1)
	sealed, err := k.Seal(code(b, "PL0123456789"), "lic_1")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(sealed, "lic_1"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSigning(b *testing.B) {
	r := newRing(b)
	t := token.Time{Issuer: issuer, IssuedAt: made, InstallID: r.Signing().ID, Nonce: "nonce"}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := token.SignTime(t, r.Signing()); err != nil {
			b.Fatal(err)
		}
	}
}
