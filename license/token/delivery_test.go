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
		`"text_sha256":"%s","text_at":%d,"machines":[{"install":"%s","bound_at":%d},{"install":"dev_1","bound_at":%d,"device":"%s","file_sha256":"%s","file_at":%d}],"machine_count":3}}`,
		issuer, product, at, at-1000, at-10, strings.Repeat("0a", 32), at-30, kidOf("install"), at-20, at-10, digest(product, "code", "HW-1"), strings.Repeat("0f", 32), at-5)
}

func aDelivery() token.Delivery {
	at := signedAt
	return token.Delivery{
		Issuer: issuer, ID: "prf_01", IssuedAt: at, LicenseID: "lic_01", Product: product, Customer: "Ärzte & Söhne", Channel: "koogallery",
		Order: "CS1", Line: "CS1-000001", CodeLast4: "9ABC", OrderedAt: at.Add(-1000 * time.Second), ActivatedAt: at.Add(-10 * time.Second),
		Text: bytes.Repeat([]byte{10}, 32), TextAt: at.Add(-30 * time.Second),
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
		"a text's hash that is none":   {by("current", swap(p, strings.Repeat("0a", 32), "0a")), license.Damaged},
		"a text's hash in upper case":  {by("current", swap(p, strings.Repeat("0a", 32), strings.Repeat("0A", 32))), license.Damaged},
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
		"a short text":      func(d *token.Delivery) { d.Text = []byte{1} },
		"a text of 1969":    func(d *token.Delivery) { d.TextAt = time.Unix(-1, 0) },
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

// A document that shows more, or anything else, than is signed is forged, however
// its members are ordered.
func TestDeliveryDocumentShowsWhatIsSigned(t *testing.T) {
	raw := forge("current", header("current", deliveryTyp), swap(deliveryPayload(), `"ver":1`, `"ver":1,"more":{"a":[1]}`))
	data, err := token.DeliveryFile{Delivery: raw, Keys: "k"}.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var sorted any
	if err := json.Unmarshal(data, &sorted); err != nil {
		t.Fatal(err)
	}
	other, err := json.Marshal(sorted)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		doc  string
		want license.Reason
	}{
		"as it is":             {string(data), ""},
		"in another order":     {string(other), ""},
		"with a byte mark":     {"\ufeff" + string(data), ""},
		"more":                 {swap(string(data), `"order":"CS1"`, `"order":"CS1","accepted_by_buyer":"yes"`), license.Forged},
		"less":                 {swap(string(data), `,"more":{"a":[1]}`, ``), license.Forged},
		"another of a skipped": {swap(string(data), `"a":[1]`, `"a":[2]`), license.Forged},
		"another number":       {swap(string(data), `"machine_count":3`, `"machine_count":4`), license.Forged},
		"a name twice":         {swap(string(data), `"order":"CS1"`, `"order":"CS1","x":1,"x":1`), license.Damaged},
	} {
		f, err := token.ParseDeliveryFile([]byte(c.doc))
		if license.ReasonOf(err) != c.want || err == nil && f.Delivery != raw {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What was delivered and rejected when, and every file that was handed out, is
// signed and read back; what is out of bounds is not signed.
func TestDeliveryHistory(t *testing.T) {
	d, at := aDelivery(), signedAt
	d.Rejections = 2
	d.History = []token.Supervised{
		{At: at.Add(-9 * time.Second), EnteredAt: at.Add(-8 * time.Second), Stage: license.StageDelivered},
		{At: at.Add(-7 * time.Second), Stage: license.StageRejected, Note: "it does not <start>"},
	}
	d.Machines[1].Earlier = []token.HandedOut{{File: bytes.Repeat([]byte{16}, 32), At: at.Add(-9 * time.Second)}}
	d.Text, d.TextAt = bytes.Repeat([]byte{18}, 32), at
	d.TextBefore = []token.HandedOut{{File: bytes.Repeat([]byte{19}, 32), At: at.Add(-9 * time.Second)}}
	raw, err := token.SignDelivery(d, signingKey(t, "current"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := token.VerifyDelivery(raw, keySet(t))
	d.Raw, d.KeyID = raw, kidOf("current")
	if diff := cmp.Diff(d, got); err != nil || diff != "" {
		t.Errorf("%v: %s", err, diff)
	}
	for n, want := range map[byte]bool{17: false, 18: true, 19: true} {
		if got.HasText(bytes.Repeat([]byte{n}, 32)) != want {
			t.Errorf("text %d: %v", n, !want)
		}
	}
	for n, want := range map[byte]bool{15: true, 16: true, 17: false} {
		if got.Machines[1].Has(bytes.Repeat([]byte{n}, 32)) != want {
			t.Errorf("file %d: %v", n, !want)
		}
	}
	for name, edit := range map[string]func(*token.Delivery){
		"too many":             func(d *token.Delivery) { d.History = make([]token.Supervised, token.MaxSupervised+1) },
		"another stage":        func(d *token.Delivery) { d.History[0].Stage = license.StageAccepted },
		"a short earlier file": func(d *token.Delivery) { d.Machines[1].Earlier[0].File = []byte{1} },
		"a negative number":    func(d *token.Delivery) { d.Rejections = -1 },
	} {
		d := aDelivery()
		d.History = []token.Supervised{{At: at, Stage: license.StageDelivered}}
		d.Machines[1].Earlier = []token.HandedOut{{File: bytes.Repeat([]byte{16}, 32), At: at}}
		edit(&d)
		if raw, err := token.SignDelivery(d, signingKey(t, "current")); license.ReasonOf(err) != license.Internal {
			t.Errorf("%s: signed %q, %v", name, raw, err)
		}
	}
}

// A proof with as much in it as there may be is still a token that can be read.
func TestFullDeliveryFits(t *testing.T) {
	d := aDelivery()
	d.Customer, d.Rejections = strings.Repeat("客", 85), license.MaxHistory
	for range token.MaxSupervised {
		d.History = append(d.History, token.Supervised{
			At: signedAt, EnteredAt: signedAt, Stage: license.StageRejected, Note: token.CutNote(strings.Repeat("<", 512)),
		})
	}
	d.Machines = d.Machines[1:]
	for range token.MaxEarlier {
		d.Machines[0].Earlier = append(d.Machines[0].Earlier, token.HandedOut{File: bytes.Repeat([]byte{16}, 32), At: signedAt})
	}
	for len(d.Machines) < token.MaxDelivered {
		m := d.Machines[0]
		m.Install, m.Earlier = kidOf("install"), nil
		d.Machines = append(d.Machines, m)
	}
	d.MachineCount = len(d.Machines)
	raw, err := token.SignDelivery(d, signingKey(t, "current"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := token.VerifyDelivery(raw, keySet(t)); err != nil {
		t.Error(err)
	}
}
