package token_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// seeds adds the vectors of one form, and the parts of their tokens.
func seeds(f *testing.F, form string) {
	f.Helper()
	for _, v := range allVectors() {
		if v.Form == form && len(v.Input) < 8<<10 {
			f.Add(v.Input)
		}
	}
	f.Add("")
	f.Add("..")
}

// allowed fails unless err has one of the reasons and says something.
func allowed(t *testing.T, err error, reasons ...license.Reason) {
	t.Helper()
	got := license.ReasonOf(err)
	if got != "" && !slices.Contains(reasons, got) {
		t.Errorf("reason %q: %v", got, err)
	}
}

// FuzzLicense: what is accepted reads the same when it is written again.
func FuzzLicense(f *testing.F) {
	seeds(f, "license")
	keys, key := keySet(f), signingKey(f, "current")
	f.Fuzz(func(t *testing.T, raw string) {
		_, err := token.VerifyLicense(raw, keys, token.Expect{Product: product, Issuer: issuer})
		allowed(t, err, license.Forged, license.Damaged, license.WrongProduct)
		l, err := token.PeekLicense(raw)
		allowed(t, err, license.Forged, license.Damaged)
		if err != nil {
			return
		}
		for _, at := range []time.Time{{}, signedAt, license.Forever} {
			l.Dates.PhaseAt(at)
		}
		payload, err := l.Payload()
		if err != nil {
			t.Fatalf("what was read is not written: %v", err)
		}
		again, err := token.SignLicense(payload, key)
		if err != nil {
			t.Fatal(err)
		}
		back, err := token.PeekLicense(again)
		if err != nil {
			t.Fatalf("what was written is not read: %v", err)
		}
		if twice, err := back.Payload(); err != nil || string(twice) != string(payload) {
			t.Errorf("it changes: %v\n%s\n%s", err, payload, twice)
		}
	})
}

// FuzzLicenseClaims signs any claims, so that the fuzzer gets past the signature.
func FuzzLicenseClaims(f *testing.F) {
	f.Add(licensePayload())
	for _, v := range allVectors() {
		if parts := strings.Split(v.Input, "."); v.Form == "license" && len(parts) == 3 && len(v.Input) < 8<<10 {
			if payload, err := decodeSegment(parts[1]); err == nil {
				f.Add(string(payload))
			}
		}
	}
	keys, h := keySet(f), header("current", licenseTyp)
	f.Fuzz(func(t *testing.T, payload string) {
		l, err := token.VerifyLicense(forge("current", h, payload), keys, token.Expect{})
		allowed(t, err, license.Forged, license.Damaged)
		if err == nil {
			if !json.Valid([]byte(payload)) {
				t.Error("accepted what is not JSON")
			}
			if _, err := l.Payload(); err != nil {
				t.Errorf("what was read is not written: %v", err)
			}
		}
	})
}

func FuzzKeySet(f *testing.F) {
	seeds(f, "keys")
	h := header("anchor", keySetTyp)
	f.Add(keySetPayload())
	f.Fuzz(func(t *testing.T, input string) {
		for _, raw := range []string{input, forge("anchor", h, input)} {
			ks, err := token.VerifyKeySet(raw, anchors)
			allowed(t, err, license.Forged, license.Damaged)
			if err != nil {
				continue
			}
			doc, err := ks.MarshalUnsigned()
			if err != nil {
				t.Fatalf("what was read is not written: %v", err)
			}
			if _, err := token.ParseUnsignedKeySet(doc); err != nil {
				t.Fatalf("what was written is not read: %v", err)
			}
			if _, err := ks.JWKS(); err != nil {
				t.Fatal(err)
			}
		}
		_, err := token.ParseUnsignedKeySet([]byte(input))
		allowed(t, err, license.Damaged)
		_, err = token.ParseAnchors([]byte(input))
		allowed(t, err, license.Damaged)
		_, err = token.ParseJWK([]byte(input))
		allowed(t, err, license.Damaged)
	})
}

func FuzzRequest(f *testing.F) {
	seeds(f, "request")
	h, key := requestHeader("install"), signingKey(f, "install")
	f.Add(requestPayload("activate", `"code":"PL1"`))
	f.Fuzz(func(t *testing.T, input string) {
		for _, raw := range []string{input, forge("install", h, input)} {
			r, err := token.VerifyRequest(raw)
			allowed(t, err, license.BadRequest, license.Unauthorized)
			if err != nil {
				continue
			}
			again, err := token.SignRequest(r, key)
			if err != nil {
				t.Fatalf("what was read is not written: %v", err)
			}
			if _, err := token.VerifyRequest(again); err != nil {
				t.Fatalf("what was written is not read: %v", err)
			}
		}
	})
}

func FuzzTime(f *testing.F) {
	seeds(f, "time")
	keys, h := keySet(f), header("current", "license-time+jwt")
	f.Add(timePayload())
	f.Fuzz(func(t *testing.T, input string) {
		for _, raw := range []string{input, forge("current", h, input)} {
			_, err := token.VerifyTime(raw, keys, "", "")
			allowed(t, err, license.Forged, license.Damaged)
		}
	})
}

// FuzzStatusList: a list that is accepted answers for every index that it has
// and none beyond, and is signed again as it was.
func FuzzStatusList(f *testing.F) {
	seeds(f, "list")
	keys, h, key := keySet(f), header("current", listTyp), signingKey(f, "current")
	f.Add(listPayload())
	f.Fuzz(func(t *testing.T, input string) {
		for _, raw := range []string{input, forge("current", h, input)} {
			l, err := token.VerifyStatusList(raw, keys, token.ExpectStatusList{})
			allowed(t, err, license.Forged, license.Damaged)
			if err != nil {
				continue
			}
			for _, i := range []int{-1, 0, l.Len() - 1, l.Len(), 1 << 40} {
				if _, ok := l.At(i); ok != (i >= 0 && i < l.Len()) {
					t.Errorf("index %d of %d: %v", i, l.Len(), ok)
				}
			}
			again, err := token.SignStatusList(l, key)
			if err != nil && len(raw) < token.MaxToken-4096 {
				t.Fatalf("what was read is not written: %v", err)
			}
			if back, err := token.VerifyStatusList(again, keys, token.ExpectStatusList{URI: l.URI}); again != "" && (err != nil || back.List != l.List) {
				t.Errorf("it changes: %v", err)
			}
		}
	})
}

// FuzzFile: what is read reads the same when it is written again.
func FuzzFile(f *testing.F) {
	for _, v := range fileVectors() {
		if len(v.Input) < 16<<10 {
			f.Add([]byte(v.Input))
		}
	}
	f.Add(utf16File(licenseFile(), false))
	f.Add(token.MarshalRequestFile("a.b.c"))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := token.ParseFile(data)
		allowed(t, err, license.Damaged)
		if err == nil {
			out := file.Marshal()
			back, err := token.ParseFile(out)
			if len(out) <= token.MaxFile && (err != nil || string(back.Marshal()) != string(out)) {
				t.Errorf("it changes: %v", err)
			}
		}
		raw, err := token.ParseRequestFile(data)
		allowed(t, err, license.BadRequest)
		if err == nil {
			if back, err := token.ParseRequestFile(token.MarshalRequestFile(raw)); err != nil || back != raw {
				t.Errorf("the request changes: %v", err)
			}
		}
	})
}

// FuzzScan: the scanner accepts nothing that encoding/json refuses, and what
// it accepts under the shape of our claims decodes without an error.
func FuzzScan(f *testing.F) {
	for _, s := range []string{licensePayload(), keySetPayload(), requestPayload("activate", `"code":"x"`), timePayload(), `{"a":[1e5,"\ud83d\ude00"]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if token.Scan(data) == nil && !json.Valid(data) {
			t.Error("accepted what is not JSON")
		}
		for form, ok := range token.Decodable(data) {
			if scanned, decoded := ok[0], ok[1]; scanned && !decoded {
				t.Errorf("%s: scanned and not decoded", form)
			}
		}
	})
}
