package koogallery_test

import (
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
)

// FuzzV1Verify throws queries at a verifier of licence 1.0: unsigned ones must
// be refused, signed ones mean what they say whatever they hold.
func FuzzV1Verify(f *testing.F) {
	for _, v := range vectors(f).V1Tokens {
		u, err := url.Parse(v.URL)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(u.RawQuery)
	}
	f.Add("activity=expireInstance&orderId=o&instanceId=i&testFlag=1&timeStamp=20250101080000123&authToken=+")
	f.Add("customerName=a%26orderId=b&timeStamp=20250101080000")
	f.Add("a%3Db=c&%26=&=&timeStamp=20250101080000123&timeStamp=1")
	f.Add("activity=getLicense&amount=-1&mobilePhone=%ff&timeStamp=20250101080000123")
	f.Fuzz(func(t *testing.T, raw string) {
		query, err := url.ParseQuery(raw)
		if err != nil {
			return
		}
		forged := newV1Verifier(koogallery.NewAccessKey("not the key"))
		if _, err := forged.Verify(query); err == nil {
			t.Fatal("accepted what nobody signed")
		} else if code := koogallery.ResultOf(err).Code; code != koogallery.ResultAuthFailed && code != koogallery.ResultInvalidParam {
			t.Fatalf("refused with %s", code)
		}
		query.Set("timeStamp", "20250101080000123")
		query.Set("authToken", koogallery.V1AuthToken(testKey, query))
		call, err := newV1Verifier().Verify(query)
		if err != nil {
			if code := koogallery.ResultOf(err).Code; code != koogallery.ResultInvalidParam {
				t.Fatalf("refused a genuine call with %v", err)
			}
			return
		}
		for name, values := range query {
			if got := call.Field(name); len(values) != 1 || got != values[0] {
				t.Errorf("%q: got %q, want %q", name, got, values)
			}
		}
		msg, err := koogallery.ParseV1Message(call)
		if (msg == nil) == (err == nil) {
			t.Fatalf("message %v and error %v", msg, err)
		}
	})
}

// FuzzDecrypt: no value makes Decrypt panic, and what it accepts it can make.
func FuzzDecrypt(f *testing.F) {
	for _, v := range vectors(f).V1Encryption {
		f.Add(v.AccessKey, string(v.EncryptType), v.Value)
	}
	f.Add("k", "1", "0123456789abcdef")
	f.Add("k", "", "0123456789abcdefAAAAAAAAAAAAAAAAAAAAAA==")
	f.Add("", "3", "")
	f.Fuzz(func(t *testing.T, key, how, value string) {
		k, e := koogallery.NewAccessKey(key), koogallery.Encryption(how)
		plain, err := koogallery.NewPersonalData(value).Decrypt(k, e)
		if err != nil {
			return
		}
		again, err := plain.EncryptWith(k, e, value[:16])
		if err != nil {
			t.Fatal(err)
		}
		if back, err := koogallery.NewPersonalData(again).Decrypt(k, e); err != nil || !back.Equal(plain) {
			t.Errorf("%q does not come back: %v", value, err)
		}
	})
}

// FuzzTime: what is accepted says the same in the form of the table.
func FuzzTime(f *testing.F) {
	for _, s := range []string{
		"20231027103015", "20231027103015999", "2023-10-27 10:30:15", "2023-10-27 10:30:15 z", "2023-10-27 10:30:15Z",
		"2023-10-27 10:30:15 GMT", "2023-10-27 1:30:15.", "2024-02-29 23:59:59 z", "9999-12-31 23:59:59", "",
	} {
		f.Add(s)
	}
	west := time.FixedZone("", -12*3600)
	f.Fuzz(func(t *testing.T, s string) {
		for _, loc := range []*time.Location{nil, time.UTC, west} {
			got, ok := koogallery.ParseInstant(s, loc)
			if !ok {
				continue
			}
			if got.Location() != time.UTC || got.Nanosecond() != 0 || got.Year() < 1 {
				t.Fatalf("%q: %v", s, got)
			}
			if got.Year() > 9999 {
				continue
			}
			if again, ok := koogallery.ParseInstant(got.Format("20060102150405"), nil); !ok || !again.Equal(got) {
				t.Errorf("%q: %v, then %v", s, got, again)
			}
		}
	})
}

// FuzzDeviceParts: taken apart and joined again nothing but case, empty members
// and their commas is lost.
func FuzzDeviceParts(f *testing.F) {
	for _, v := range vectors(f).Devices {
		f.Add(v.Fingerprint)
	}
	f.Add("8e6034e260e1")
	f.Add(",a,,b|,|\xff|c,d")
	f.Fuzz(func(t *testing.T, s string) {
		parts, ok := koogallery.NewDeviceFingerprint(s).Parts()
		if !ok {
			return
		}
		joined := parts.Fingerprint()
		again, ok := joined.Parts()
		if !ok || !again.Fingerprint().Equal(joined) || len(again.MACs) != len(parts.MACs) || len(again.Disks) != len(parts.Disks) {
			t.Errorf("%q: %+v, then %+v", s, parts, again)
		}
	})
}

// FuzzAnswers lets a marketplace answer every call with the same body: no body
// makes the client panic, tell a secret, or believe something about a code that
// was not asked for.
func FuzzAnswers(f *testing.F) {
	for _, body := range []string{
		okAnswer, ``, `null`, `[]`, `{"error_code":92020000,"data":"[]"}`,
		`{"error_code":"92020000","data":{"license_code_info":"{\"status\":\"ALIVE\",\"expire_time\":\"20230726121646\"}"}}`,
		`{"error_code":"92020000","data":[{"license_code":"` + secretCode + `","status":"ALIVE"},{"license":"PL2","license_code_info":"{}"}]}`,
		`{"error_code":"92020000","data":{"` + secretCode + `":{"status":"EXPIRED","expire_time":"x"}}}`,
		`{"error_code":"92020000","data":{"check_fail_x":["` + secretCode + `",{},null,[1]]}}`,
		`{"error_code":"CBC.0000","error_msg":"Success"}`,
		`{"resultCode":"MKT.0000","orderInfo":{"orderId":"CS1","orderLine":[{"productInfo":[{}]}],"extendParams":[{"a":1},[]]}}`,
		`{"error_code":"92020005","error_msg":"about ` + secretCode + `","request_id":{}}`,
	} {
		f.Add(200, jsonMedia, body)
	}
	f.Add(401, jsonMedia, `{"error_code":"APIGW.0301"}`)
	f.Add(404, "text/html", `<html>`)
	f.Fuzz(func(t *testing.T, status int, media, body string) {
		c := answering(t, status, media, body)
		for name, do := range everyCall {
			if err := do(t.Context(), c); err != nil && err.Error() == "" {
				t.Errorf("%s: empty error", name)
			}
		}
		results, err := c.QueryBatch(t.Context(), codes(secretCode, "PL2"))
		if (results == nil) == (err == nil) || err == nil && len(results) != 2 {
			t.Fatalf("%d results and %v", len(results), err)
		}
		for _, r := range results {
			if r.Err == nil && r.Info.Status == "" || r.Err != nil && !errors.Is(r.Err, koogallery.ErrNotAnswered) {
				t.Errorf("%+v", r)
			}
		}
		usage, err := c.ReportUsage(t.Context(), []koogallery.Usage{{License: testCode, ActiveNum: 1}})
		if len(usage.Rejected) > 1 || err == nil && len(usage.Rejected) == 1 && !usage.Rejected[0].Equal(testCode) {
			t.Errorf("rejected %d codes", len(usage.Rejected))
		}
		if order, err := c.Order(t.Context(), "CS1", ""); err == nil && order.ID != "CS1" {
			t.Errorf("order %s", order.ID)
		}
	})
}
