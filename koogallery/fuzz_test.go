package koogallery_test

import (
	"bytes"
	"encoding/json"
	"net/url"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/koogallery"
)

// FuzzCanonicalPayload compares our reading of a body with encoding/json.
func FuzzCanonicalPayload(f *testing.F) {
	for _, v := range vectors(f).CallbackPost {
		f.Add(v.Body)
	}
	for _, s := range []string{
		`{"a":1e5,"a":null,"b":[{"c":[[]]}]}`, `{"\ud83d\udd11":"\ud83d"}`, "{\"\ue000\":1,\"\U0001f511\":2}", `{"a":-0.0e-1}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		canonical, err := koogallery.CanonicalPayload(body)
		if err != nil {
			return
		}
		plain := bytes.TrimPrefix(body, []byte("\ufeff"))
		var theirs map[string]any
		dec := json.NewDecoder(bytes.NewReader(plain))
		dec.UseNumber()
		if err := dec.Decode(&theirs); err != nil || !json.Valid(plain) {
			t.Fatalf("accepted %q, which encoding/json refuses: %v", body, err)
		}
		var ours map[string]string
		if err := json.Unmarshal(canonical, &ours); err != nil {
			t.Fatalf("canonical form %q of %q: %v", canonical, body, err)
		}
		for name, value := range theirs {
			want := ""
			switch v := value.(type) {
			case nil:
				if _, ok := ours[name]; ok {
					t.Errorf("null %q kept", name)
				}
				continue
			case bool:
				want = map[bool]string{true: "true", false: "false"}[v]
			case json.Number:
				want = v.String()
			case string:
				want = v
			default:
				t.Fatalf("nested value in %q has a canonical form", body)
			}
			if got, ok := ours[name]; !ok || got != want {
				t.Errorf("%q: got %q, want %q", name, got, want)
			}
		}
		if again, err := koogallery.CanonicalPayload(canonical); err != nil || !bytes.Equal(again, canonical) {
			t.Errorf("canonical form %q is not its own: %q, %v", canonical, again, err)
		}
		if !utf8.Valid(canonical) {
			t.Errorf("canonical form %q is not UTF-8", canonical)
		}
	})
}

// FuzzVerify throws queries and bodies at a verifier: unsigned ones must be
// refused, and the same parameters with a right signature treated alike
// whatever the body holds.
func FuzzVerify(f *testing.F) {
	good := signed("n").Encode()
	f.Add(good, testBody)
	f.Add(good+"&nonce=n", testBody)
	f.Add("timestamp=01735689600123&nonce=Qh7RzT0mWv3LbX9&signature=00", []byte(`{}`))
	f.Add("timestamp=1735689600123&nonce=%00", []byte("\ufeff{\"activity\":{}}"))
	f.Add("a=1;b=2&nonce", []byte(``))
	for _, v := range vectors(f).Published {
		f.Add(good, []byte(v.Body))
	}
	f.Add(good, []byte(`{"activity":"getLicenseAsync","eventId":"e","instanceId":"i","effectiveTime":"2023-10-27 10:30:15 z","expireTime":{},"deviceFingerprint":"||"}`))
	forged := koogallery.NewAccessKey("not the key")
	f.Fuzz(func(t *testing.T, rawQuery string, body []byte) {
		query, err := url.ParseQuery(rawQuery)
		if err != nil {
			return
		}
		v := &koogallery.Verifier{Keys: []koogallery.AccessKey{forged}, Now: at(testNow)}
		if _, err := v.Verify(query, body); err == nil {
			t.Fatal("accepted what nobody signed")
		} else if code := koogallery.ResultOf(err).Code; code != koogallery.ResultAuthFailed && code != koogallery.ResultInvalidParam {
			t.Fatalf("refused with %s", code)
		}
		nonce := query.Get("nonce")
		if nonce == "" || len(nonce) > koogallery.MaxNonce || len(body) > koogallery.MaxBody {
			return
		}
		v = newVerifier()
		cb, err := v.Verify(koogallery.SignedQuery(testKey, nonce, testNow, body), body)
		if err != nil {
			t.Fatalf("refused a genuine call: %v", err)
		}
		msg, err := koogallery.ParseMessage(cb)
		if (msg == nil) == (err == nil) {
			t.Fatalf("message %v and error %v", msg, err)
		}
		if m, ok := msg.(koogallery.RefreshLicenseCode); ok && m.ExpireTime.Truncate(time.Second) != m.ExpireTime {
			t.Errorf("expiry %v", m.ExpireTime)
		}
	})
}
