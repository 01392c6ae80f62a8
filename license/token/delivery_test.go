package token_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

const deliveryTyp = "license-delivery+jwt"

func deliveryPayload() string {
	at := signedAt.Unix()
	return fmt.Sprintf(`{"iss":"%s","sub":"lic_01","aud":"%s","jti":"prf_01","iat":%d,"delivery":{"ver":1,"customer":"Ärzte \u0026 Söhne",`+
		`"channel":"koogallery","order":"CS1","line":"CS1-000001","code_last4":"9ABC","ordered_at":%d,"activated_at":%d,`+
		`"machines":[{"install":"%s","bound_at":%d},{"install":"dev_1","bound_at":%d,"device":"%s","file_sha256":"%s","file_at":%d}],"machine_count":3}}`,
		issuer, product, at, at-1000, at-10, kidOf("install"), at-20, at-10, digest(product, "code", "HW-1"), strings.Repeat("0f", 32), at-5)
}

func aDelivery() token.Delivery {
	at := signedAt
	return token.Delivery{
		Issuer: issuer, ID: "prf_01", IssuedAt: at, LicenseID: "lic_01", Product: product, Customer: "Ärzte & Söhne", Channel: "koogallery",
		Order: "CS1", Line: "CS1-000001", CodeLast4: "9ABC", OrderedAt: at.Add(-1000 * time.Second), ActivatedAt: at.Add(-10 * time.Second),
		MachineCount: 3, Machines: []token.DeliveredTo{
			{Install: kidOf("install"), At: at.Add(-20 * time.Second)},
			{
				Install: "dev_1", At: at.Add(-10 * time.Second), Device: license.Digest(digest(product, "code", "HW-1")),
				File: bytes.Repeat([]byte{15}, 32), FileAt: at.Add(-5 * time.Second),
			},
		},
	}
}

// What is signed is what DESIGN's form says, byte for byte, and reads as it was.
func TestDelivery(t *testing.T) {
	raw, err := token.SignDelivery(aDelivery(), signingKey(t, "current"))
	if err != nil {
		t.Fatal(err)
	}
	if want := forge("current", header("current", deliveryTyp), deliveryPayload()); raw != want {
		payload, _ := decodeSegment(strings.Split(raw, ".")[1])
		t.Errorf("signed %s\nwant %s", payload, deliveryPayload())
	}
	for _, at := range []string{"current", "retired"} {
		want := aDelivery()
		if at == "retired" { // a proof outlives the rotation of its key
			want.IssuedAt = signedAt.Add(-40 * day)
		}
		raw, err := token.SignDelivery(want, signingKey(t, at))
		if err != nil {
			t.Fatal(err)
		}
		got, err := token.VerifyDelivery(raw, keySet(t))
		if err != nil {
			t.Fatal(err)
		}
		want.Raw, want.KeyID = raw, kidOf(at)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %s: %s", at, diff)
		}
		if peeked, err := token.PeekDelivery(raw); err != nil || !cmp.Equal(peeked, got) {
			t.Errorf("peeked %+v, %v", peeked, err)
		}
	}
}

func TestDeliveryRefused(t *testing.T) {
	p := deliveryPayload()
	by := func(key, payload string) string { return forge(key, header(key, deliveryTyp), payload) }
	for name, c := range map[string]struct {
		raw  string
		want license.Reason
	}{
		"as it is":                     {by("current", p), ""},
		"with a member of its own":     {by("current", swap(p, `"ver":1`, `"ver":1,"more":{"a":[1]}`)), ""},
		"under a key that was removed": {by("removed", p), license.Forged},
		"under a retired key":          {by("retired", p), license.Forged},
		"under an anchor":              {by("anchor", p), license.Forged},
		"typ of a licence":             {forge("current", header("current", licenseTyp), p), license.Forged},
		"by another issuer":            {by("current", swap(p, issuer, "https://evil.example")), license.Forged},
		"changed":                      {strings.Replace(by("current", p), ".", ".e", 1), license.Forged},
		"of another version":           {by("current", swap(p, `"ver":1`, `"ver":2`)), license.Damaged},
		"without a version":            {by("current", swap(p, `"ver":1,`, ``)), license.Damaged},
		"a name twice":                 {by("current", swap(p, `"order":"CS1"`, `"order":"CS2","order":"CS1"`)), license.Damaged},
		"Order too":                    {by("current", swap(p, `"order":"CS1"`, `"Order":"CS2","order":"CS1"`)), license.Damaged},
		"a digest that is none":        {by("current", swap(p, digest(product, "code", "HW-1"), "HW-1")), license.Damaged},
		"a hash that is none":          {by("current", swap(p, strings.Repeat("0f", 32), "0f")), license.Damaged},
		"a hash in upper case":         {by("current", swap(p, strings.Repeat("0f", 32), strings.Repeat("0F", 32))), license.Damaged},
		"fewer machines than it names": {by("current", swap(p, `"machine_count":3`, `"machine_count":1`)), license.Damaged},
		"machines that are none":       {by("current", swap(p, `"machines":[{`, `"machines":[7,{`)), license.Damaged},
		"without a licence":            {by("current", swap(p, `"sub":"lic_01",`, ``)), license.Damaged},
		"an order that is a number":    {by("current", swap(p, `"order":"CS1"`, `"order":1`)), license.Damaged},
		"a bound that is no instant":   {by("current", swap(p, `"machine_count":3`, `"machine_count":3.5`)), license.Damaged},
		"cut":                          {by("current", p)[:200], license.Damaged},
		"nothing":                      {"", license.Damaged},
	} {
		_, err := token.VerifyDelivery(c.raw, keySet(t))
		if got := license.ReasonOf(err); got != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, edit := range map[string]func(*token.Delivery){
		"no licence":        func(d *token.Delivery) { d.LicenseID = "" },
		"no number":         func(d *token.Delivery) { d.ID = "" },
		"before 1970":       func(d *token.Delivery) { d.OrderedAt = time.Unix(-1, 0) },
		"too many machines": func(d *token.Delivery) { d.Machines = make([]token.DeliveredTo, token.MaxDelivered+1) },
		"a short hash":      func(d *token.Delivery) { d.Machines[0].File = []byte{1} },
	} {
		d := aDelivery()
		edit(&d)
		if raw, err := token.SignDelivery(d, signingKey(t, "current")); license.ReasonOf(err) != license.Internal {
			t.Errorf("%s: signed %q, %v", name, raw, err)
		}
	}
}

func TestDeliveryFile(t *testing.T) {
	f := token.DeliveryFile{Delivery: forge("current", header("current", deliveryTyp), deliveryPayload()), Keys: keySetToken()}
	doc, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	block := string(f.PEM())
	good := map[string]string{
		"document":         string(doc),
		"compact document": string(must(json.Marshal(f))),
		"without claims":   fmt.Sprintf(`{"delivery":"%s","keys":"%s"}`, f.Delivery, f.Keys),
		"blocks":           block,
		"a page":           "<html>\r\n<pre>\r\n" + strings.ReplaceAll(block, "\n", "\r\n") + "</pre></html>",
	}
	for name, data := range good {
		if got, err := token.ParseDeliveryFile([]byte(data)); err != nil || got != f {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, c := range map[string]struct {
		data string
		want license.Reason
	}{
		"shows another order":    {swap(string(doc), `"order": "CS1"`, `"order": "CS2"`), license.Forged},
		"shows another machine":  {swap(string(doc), `"install": "dev_1"`, `"install": "dev_2"`), license.Forged},
		"shows claims of no use": {swap(string(doc), `"machine_count": 3`, `"machine_count": 0`), license.Forged},
		"no token":               {`{"keys":"x"}`, license.Damaged},
		"a name twice":           {swap(good["without claims"], `"keys"`, `"delivery":"x","keys"`), license.Damaged},
		"not JSON":               {string(doc)[:len(doc)-2], license.Damaged},
		"a licence file":         {licenseFile(), license.Damaged},
		"two of them":            {block + block, license.Damaged},
		"a block that was cut":   {block[:200], license.Damaged},
		"nothing":                {"", license.Damaged},
		"too long":               {strings.Repeat(" ", token.MaxFile+1), license.Damaged},
	} {
		if _, err := token.ParseDeliveryFile([]byte(c.data)); license.ReasonOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A licence file's reader has no use for it, and stumbles over nothing.
	if parsed, err := token.ParseFile([]byte(block + licenseFile())); err != nil || len(parsed.Licenses) != 1 {
		t.Errorf("%+v, %v", parsed, err)
	}
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

// FuzzDelivery signs any claims, so that the fuzzer gets past the signature: what
// is accepted reads the same when it is written again.
func FuzzDelivery(f *testing.F) {
	f.Add(deliveryPayload())
	f.Add(swap(deliveryPayload(), `"ver":1`, `"ver":2`))
	f.Add("{}")
	keys, h := keySet(f), header("current", deliveryTyp)
	key := signingKey(f, "current")
	f.Fuzz(func(t *testing.T, payload string) {
		d, err := token.VerifyDelivery(forge("current", h, payload), keys)
		allowed(t, err, license.Forged, license.Damaged)
		if err != nil {
			return
		}
		raw, err := token.SignDelivery(d, key)
		if err != nil {
			t.Fatalf("what was read is not written: %v", err)
		}
		again, err := token.VerifyDelivery(raw, keys)
		again.Raw, d.Raw = "", ""
		if err != nil || !cmp.Equal(d, again) {
			t.Errorf("it changes: %v\n%+v\n%+v", err, d, again)
		}
	})
}

// FuzzDeliveryFile: no text makes the reader fail otherwise than with a reason.
func FuzzDeliveryFile(f *testing.F) {
	file := token.DeliveryFile{Delivery: forge("current", header("current", deliveryTyp), deliveryPayload()), Keys: keySetToken()}
	f.Add(must(json.Marshal(file)))
	f.Add(file.PEM())
	f.Add([]byte(`{"delivery":"","keys":"","claims":{}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := token.ParseDeliveryFile(data)
		allowed(t, err, license.Forged, license.Damaged)
	})
}
