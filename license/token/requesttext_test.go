package token_test

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// textVectors is testdata/requesttext.json.
type textVectors struct {
	Dictionary string       `json:"dictionary"`
	Vectors    []textVector `json:"vectors"`
}

type textVector struct {
	Name    string         `json:"name"`
	Text    string         `json:"text"`
	Request string         `json:"request,omitempty"`
	Reason  license.Reason `json:"reason"`
}

// richRequest is one of a machine with eight digests, and as the op says of a
// licence of twelve hundred bytes and more.
func richRequest(tb testing.TB, op token.Op) string {
	tb.Helper()
	r := testRequest(op)
	r.ID, r.Fingerprint.Code = "4KQ7ZJX2M5VW3Y6TRA1B8CDEFG", ""
	r.Fingerprint.Components = license.Components{}
	kinds := []license.Kind{
		license.KindMAC, license.KindMAC, license.KindDisk, license.KindDisk, license.KindBoard,
		license.KindUUID, license.KindCPU, license.KindOS,
	}
	shown := map[license.Kind][]string{}
	for i, k := range kinds {
		d := digest(product, string(k), fmt.Sprint("value ", i))
		r.Fingerprint.Components[k] = append(r.Fingerprint.Components[k], license.Digest(d))
		shown[k] = append(shown[k], d)
	}
	r.Fingerprint.Components = r.Fingerprint.Components.Normalize()
	if r.License != "" {
		components, err := json.Marshal(r.Fingerprint.Components)
		if err != nil {
			tb.Fatal(err)
		}
		held := regexp.MustCompile(`"components":\{.*?\}`).ReplaceAllLiteralString(licensePayload(), `"components":`+string(components))
		held = swap(held, `"tier":"gold"`, `"tier":"gold","cam-5-axis":true,"nesting":true,"render-nodes":16,"cloud-sync":false,"support":"premium-24x7"`)
		held = swap(held, `"lic_01"`, `"lic_01k2m3n4p5q6r7s8t9v0w1x2y3"`)
		held = swap(held, `"tok-1"`, `"7YJ3W5QK2N6M4PXZR8TVAB1CDE"`)
		held = swap(held, `"CS1"`, `"CS2208101523F1DEX"`)
		held = swap(held, `,"cnf"`, `,"status":{"status_list":{"idx":48151,"uri":"https://licence.example.com/v1/status/3"}},"cnf"`)
		r.License, r.Prev = forge("current", header("current", "license+jwt"), held), "7YJ3W5QK2N6M4PXZR8TVAB1CDE"
	} else {
		r.Prev = ""
	}
	raw, err := token.SignRequest(r, signingKey(tb, "install"))
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func requestText(tb testing.TB, raw string) string {
	tb.Helper()
	text, err := token.MarshalRequestText(raw)
	if err != nil {
		tb.Fatal(err)
	}
	return text
}

// oddRequests are tokens that our own signer does not write.
func oddRequests() map[string]string {
	activate := requestPayload("activate", `"code":"x"`)
	refresh := requestPayload("refresh", `"license":"`+licenseToken()+`"`)
	h := requestHeader("install")
	return map[string]string{
		"activate of another client": forge("install", h, activate),
		"refresh of another client":  forge("install", h, refresh),
		"members in another order and blanks": forge("install", " "+swap(h, `"alg":"EdDSA",`, ` `)[:len(h)-14]+`,"alg":"EdDSA"}`,
			swap(activate, `"op":`, "\n\t\"op\" : ")),
		"salt of another product":         forge("install", h, swap(activate, salt(product), salt("another"))),
		"a licence that is no token":      forge("install", h, requestPayload("refresh", `"license":"eyJ.eyJ.x"`)),
		"a licence of another form":       forge("install", h, requestPayload("refresh", `"license":"a.b"`)),
		"two licences":                    forge("install", h, requestPayload("refresh", `"license":"`+licenseToken()+`","license":"`+licenseToken()+`"`)),
		"no header":                       "." + encode([]byte("{}")) + ".",
		"the thumbprint twice":            forge("install", swap(h, `"typ"`, `"x5t":"`+kidOf("install")+`","typ"`), activate),
		"a control character":             forge("install", h, "{\"\x01\":1,"+activate[1:]),
		"a control character and no salt": forge("install", h, "{\"\x01\":1,"+swap(activate, salt(product), "")[1:]),
		"not JSON":                        encode([]byte("\x00\x01\xff")) + "." + encode([]byte("\x01\x01")) + "." + encode([]byte("\x01")),
		"Ärzte":                           forge("install", h, swap(activate, `"product":"cad-pro"`, `"product":"Ärzte & Söhne"`)),
	}
}

// Every token comes back byte for byte, whoever wrote it.
func TestRequestText(t *testing.T) {
	all := oddRequests()
	for _, op := range []token.Op{token.OpActivate, token.OpRefresh, token.OpTransfer, token.OpDeactivate} {
		all["rich "+string(op)] = richRequest(t, op)
	}
	for name, raw := range all {
		text, err := token.MarshalRequestText(raw)
		if err != nil {
			// Only what cannot be a request has no text form.
			if _, bad := token.VerifyRequest(raw); bad == nil || !strings.Contains(name, "control character") && name != "not JSON" {
				t.Errorf("%s: %v", name, err)
			}
			wantReason(t, err, license.BadRequest)
			continue
		}
		if !regexp.MustCompile(`^LR1:[0-9A-Z$%+/-]+:$`).MatchString(text) {
			t.Errorf("%s: %q", name, text)
		}
		if got, err := token.ParseRequestFile([]byte(text)); err != nil || got != raw {
			t.Errorf("%s: came back as %q (%v)", name, got, err)
		}
	}
}

// What a QR code of each op needs: the figures of docs/air-gap.md.
func TestRequestTextIsShort(t *testing.T) {
	for op, most := range map[token.Op]int{token.OpActivate: 667, token.OpTransfer: 758, token.OpRefresh: 1408, token.OpDeactivate: 1408} {
		raw := richRequest(t, op)
		text := requestText(t, raw)
		t.Logf("%s: token %d, PEM %d, text %d", op, len(raw), len(token.MarshalRequestFile(raw)), len(text))
		if len(text) > most {
			t.Errorf("%s: %d characters, want at most %d", op, len(text), most)
		}
	}
}

func TestRequestTextAmongOtherText(t *testing.T) {
	raw := richRequest(t, token.OpActivate)
	text := requestText(t, raw)
	var wrapped strings.Builder
	for i := 0; i < len(text); i += 60 {
		fmt.Fprintf(&wrapped, "> %s \r\n", text[i:min(i+60, len(text))])
	}
	for name, input := range map[string]string{
		"alone": text, "with an end of line": text + "\r\n", "in a mail": "Hello,\n\nhere is what the phone shows:\n" + text + "\n\nRegards\n",
		"in a line": "Content: " + text + " (QR_CODE)", "quoted and wrapped": wrapped.String(), "UTF-16": string(utf16File(text, true)),
		"with blanks that cannot be seen": "\ufeff" + text[:100] + "\u200b\n\u00a0" + text[100:],
		"two blank lines within":          text[:50] + "\n\n" + text[50:],
	} {
		if got, err := token.ParseRequestFile([]byte(input)); err != nil || got != raw {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRequestTextRefused(t *testing.T) {
	raw := richRequest(t, token.OpRefresh)
	text := requestText(t, raw)
	bomb := func(size int) string { return packed(t, bytes.Repeat([]byte{0}, size)) }
	for name, input := range map[string]struct{ text, says string }{
		"its end is missing":         {text[:len(text)-1], "some of it is missing"},
		"cut in the middle":          {text[:len(text)/2], "some of it is missing"},
		"a part is missing":          {text[:200] + text[300:], "not complete or was changed"},
		"a character is missing":     {text[:200] + text[201:], "not complete or was changed"},
		"a small letter":             {strings.ToLower(text[:200]) + text[200:], "no text that begins"},
		"small letters within":       {text[:200] + strings.ToLower(text[200:300]) + text[300:], "not complete or was changed"},
		"a character of no use":      {text[:200] + "*" + text[200:], "not complete or was changed"},
		"empty":                      {"LR1::", "not complete or was changed"},
		"two":                        {text + "\n" + requestText(t, richRequest(t, token.OpActivate)), "more than one request"},
		"of another dictionary":      {"LR1:" + token.Encode41(withDictionary(t, []byte("x"), nil)) + ":", "not complete or was changed"},
		"more after its end":         {text[:len(text)-1] + "000:", "not complete or was changed"},
		"a bomb":                     {bomb(1 << 24), "not complete or was changed"},
		"no parts":                   {packed(t, nil), "not complete or was changed"},
		"a length that is no number": {packed(t, bytes.Repeat([]byte{0xff}, 20)), "not complete or was changed"},
		"a length beyond the end":    {packed(t, []byte{200, 1, 'x'}), "not complete or was changed"},
		"a place beyond the payload": {packed(t, []byte{1, 'x', 1, 'y', 1, 'z', 9, 1, 'x', 1, 'y', 1, 'z'}), "not complete or was changed"},
		"more after the licence":     {packed(t, []byte{1, 'x', 1, 'y', 1, 'z', 1, 1, 'x', 1, 'y', 1, 'z', 0}), "not complete or was changed"},
		"too long a token":           {packed(t, append([]byte{0, 0x80, 0x80, 3}, make([]byte, 0xc000)...)), "not complete or was changed"},
		"a later form":               {"LR2:" + text[4:], "no text that begins with LR1:"},
		"a licence file":             {licenseFile(), "the answer to one"},
	} {
		_, err := token.ParseRequestFile([]byte(input.text))
		wantReason(t, err, license.BadRequest)
		e, ok := errors.AsType[*license.Error](err)
		if !ok || e.Field != "request" || !strings.Contains(e.Detail, input.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, raw := range []string{"", "a.b", "a.b.c.d", "x.y.z", "e30.e30.e30\n", strings.Repeat("A", token.MaxToken) + ".e30.e30"} {
		_, err := token.MarshalRequestText(raw)
		wantReason(t, err, license.BadRequest)
	}
}

// No place of a text can be changed to another character so that it is read as
// another request.
func TestRequestTextChanged(t *testing.T) {
	raw := richRequest(t, token.OpActivate)
	text := requestText(t, raw)
	for i := 0; i < len(text); i += 5 {
		for _, c := range "0Z/" {
			changed := text[:i] + string(c) + text[i+1:]
			if got, err := token.ParseRequestFile([]byte(changed)); err == nil && got != raw {
				t.Fatalf("place %d: another request", i)
			}
		}
	}
}

func TestRequestFileForALicense(t *testing.T) {
	_, err := token.ParseFile(token.MarshalRequestFile(richRequest(t, token.OpActivate)))
	wantReason(t, err, license.Damaged)
	if !strings.Contains(err.Error(), "hand it in to the licence server") {
		t.Errorf("it does not say what to do: %v", err)
	}
}

// TestTextVectors reads what an earlier version wrote. Texts are not compared
// with what is written today: another compressor packs the same in other bytes.
func TestTextVectors(t *testing.T) {
	path := filepath.Join("testdata", "requesttext.json")
	if *update {
		golden(t, "requesttext.json", newTextVectors(t))
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var have textVectors
	if err := json.Unmarshal(data, &have); err != nil {
		t.Fatal(err)
	}
	if have.Dictionary != token.TextWords {
		t.Error("the dictionary was changed: texts that are on their way could not be read any more")
	}
	if want := newTextVectors(t); len(have.Vectors) != len(want.Vectors) {
		t.Errorf("%s holds %d vectors and not %d; run the test with -update", path, len(have.Vectors), len(want.Vectors))
	}
	for _, v := range have.Vectors {
		got, err := token.ParseRequestFile([]byte(v.Text))
		wantReason(t, err, v.Reason)
		if got != v.Request {
			t.Errorf("%s: read as %q", v.Name, got)
		}
	}
}

func newTextVectors(tb testing.TB) textVectors {
	tb.Helper()
	all := textVectors{Dictionary: token.TextWords}
	add := func(name, text, request string, reason license.Reason) {
		all.Vectors = append(all.Vectors, textVector{name, text, request, reason})
	}
	for _, op := range []token.Op{token.OpActivate, token.OpRefresh, token.OpTransfer, token.OpDeactivate} {
		raw := richRequest(tb, op)
		add(string(op), requestText(tb, raw), raw, "")
	}
	raw := oddRequests()["refresh of another client"]
	text := requestText(tb, raw)
	add("refresh of another client", text, raw, "")
	add("wrapped and quoted", "> "+text[:70]+"\r\n> "+text[70:]+"\r\n", raw, "")
	plain := oddRequests()["salt of another product"]
	add("salt of another product", requestText(tb, plain), plain, "")
	add("no end", text[:len(text)-1], "", license.BadRequest)
	add("a character changed", text[:100]+"*"+text[101:], "", license.BadRequest)
	add("a part missing", text[:100]+text[103:], "", license.BadRequest)
	add("more after the end of the compressed bytes", text[:len(text)-1]+"000:", "", license.BadRequest)
	add("inflates to more than 64 KiB", packed(tb, make([]byte, token.MaxToken+1)), "", license.BadRequest)
	add("two", text+text, "", license.BadRequest)
	return all
}

// packed writes parts, right or wrong, as a text.
func packed(tb testing.TB, parts []byte) string {
	tb.Helper()
	return "LR1:" + token.Encode41(withDictionary(tb, parts, []byte(token.TextWords))) + ":"
}

func withDictionary(tb testing.TB, data, dictionary []byte) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w, err := zlib.NewWriterLevelDict(&buf, zlib.BestCompression, dictionary)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return buf.Bytes()
}

// FuzzRequestText: a text is read as the token that it was written from, and
// anything else is read as some token or refused.
func FuzzRequestText(f *testing.F) {
	for _, op := range []token.Op{token.OpActivate, token.OpRefresh} {
		raw := richRequest(f, op)
		f.Add(raw, []byte("x"))
		f.Add(requestText(f, raw), []byte{1, 'x', 1, 'y', 1, 'z', 1, 1, 'x', 1, 'y', 1, 'z'})
	}
	for _, raw := range oddRequests() {
		f.Add(raw, []byte(nil))
	}
	f.Fuzz(func(t *testing.T, input string, parts []byte) {
		text, err := token.MarshalRequestText(input)
		allowed(t, err, license.BadRequest)
		if err == nil {
			if back, err := token.ParseRequestFile([]byte(text)); err != nil || back != input {
				t.Fatalf("%q came back as %q: %v", input, back, err)
			}
		}
		for _, text := range []string{input, "LR1:" + input + ":", packed(t, parts)} {
			raw, err := token.ParseRequestFile([]byte(text))
			allowed(t, err, license.BadRequest)
			if len(raw) > token.MaxToken {
				t.Errorf("%d bytes", len(raw))
			}
		}
	})
}
