package koogallery_test

import (
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
)

// callback makes an authentic call of a body.
func callback(t *testing.T, body string) koogallery.Callback {
	t.Helper()
	cb, err := newVerifier().Verify(koogallery.SignedQuery(testKey, "n", testNow, []byte(body)), []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return cb
}

func TestParseMessage(t *testing.T) {
	code := koogallery.NewCode("PL1")
	expiry := time.Date(2026, 5, 23, 20, 19, 32, 0, time.UTC)
	renewal := koogallery.RefreshLicenseCode{
		Scene: koogallery.SceneRenewal, OrderID: "CS1", OrderLineID: "CS1-000001",
		License: code, ProductID: "OFFI1", ExpireTime: expiry,
	}
	cancelled := renewal
	cancelled.Scene, cancelled.ProductID, cancelled.TestFlag = koogallery.SceneUnsubscribeRenewalPeriod, "", true
	const refresh = `"activity":"refreshLicenseCode","orderId":"CS1","orderLineId":"CS1-000001","license":"PL1",`
	release := koogallery.ReleaseLicenseCode{License: code}
	tested := koogallery.ReleaseLicenseCode{License: code, TestFlag: true}
	const rel = `"activity":"releaseLicenseCode","license":"PL1"`
	for _, tt := range []struct {
		name, body string
		want       koogallery.Message
	}{
		{"renewal", `{` + refresh + `"scene":"RENEWAL","productId":"OFFI1","expireTime":"20260523201932"}`, renewal},
		{"17 digits", `{` + refresh + `"scene":"RENEWAL","productId":"OFFI1","expireTime":"20260523201932999"}`, renewal},
		{"number", `{` + refresh + `"scene":"RENEWAL","productId":"OFFI1","expireTime":20260523201932}`, renewal},
		{"cancelled", `{` + refresh + `"scene":"UNSUBSCRIBE_RENEWAL_PERIOD","expireTime":"20260523201932","testFlag":1}`, cancelled},
		{
			"freeze", `{"activity":"updateLicenseCodeStatus","license":"PL1","status":"FREEZE","testFlag":0}`,
			koogallery.UpdateLicenseCodeStatus{License: code, Status: koogallery.StatusFreeze},
		},
		{
			"unfreeze", `{"activity":"updateLicenseCodeStatus","license":"PL1","status":"UNFREEZE","testFlag":"1"}`,
			koogallery.UpdateLicenseCodeStatus{License: code, Status: koogallery.StatusUnfreeze, TestFlag: true},
		},
		{"release", `{` + rel + `}`, release},
		{"byte order mark", "\ufeff{" + rel + `}`, release},
		{"unsubscribed", `{` + rel + `,"orderId":"CS2","orderLineId":"CS2-000001"}`, koogallery.ReleaseLicenseCode{
			License: code, OrderID: "CS2", OrderLineID: "CS2-000001",
		}},
		{"null is absent", `{` + rel + `,"orderId":null,"testFlag":null}`, release},
		{"empty is absent", `{` + rel + `,"orderId":"","testFlag":""}`, release},
		{"unknown fields", `{` + rel + `,"more":{"a":[1,{}]},"License":"PL2"}`, release},
		{"last duplicate", `{"license":"PL2",` + rel + `,"testFlag":"0","testFlag":"1"}`, tested},
		{"null replaces", `{` + rel + `,"testFlag":"1","testFlag":null}`, release},
		{"nested replaced", `{` + rel + `,"testFlag":{},"testFlag":"1"}`, tested},
		{"escaped name", `{"activity":"releaseLicenseCode","licens\u0065":"P\u004c1"}`, release},
		{"number as code", `{"activity":"releaseLicenseCode","license":1.50e1}`, koogallery.ReleaseLicenseCode{
			License: koogallery.NewCode("1.50e1"),
		}},
		{"boolean as code", `{"activity":"releaseLicenseCode","license":true}`, koogallery.ReleaseLicenseCode{
			License: koogallery.NewCode("true"),
		}},
		{"64 characters", `{"activity":"releaseLicenseCode","license":"` + strings.Repeat("码", 64) + `"}`, koogallery.ReleaseLicenseCode{
			License: koogallery.NewCode(strings.Repeat("码", 64)),
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := koogallery.ParseMessage(callback(t, tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("message (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseMessageRefuses(t *testing.T) {
	refresh := func(more string) string {
		return `{"activity":"refreshLicenseCode","orderId":"o","orderLineId":"l","license":"PL1","scene":"RENEWAL",` + more + `}`
	}
	status := func(more string) string { return `{"activity":"updateLicenseCodeStatus",` + more + `}` }
	release := func(more string) string { return `{"activity":"releaseLicenseCode",` + more + `}` }
	deep := strings.Repeat(`[`, 17) + strings.Repeat(`]`, 17)
	for _, tt := range []struct {
		name, body, field string
		reason            error
	}{
		{"empty body", ``, "", koogallery.ErrPayload},
		{"array", `[]`, "", koogallery.ErrPayload},
		{"cut", `{"activity":"releaseLicenseCode"`, "", koogallery.ErrPayload},
		{"two objects", `{}{}`, "", koogallery.ErrPayload},
		{"not UTF-8", "{\"a\":\"\xff\"}", "", koogallery.ErrPayload},
		{"half a pair", `{"activity":"releaseLicenseCode","license":"\ud800"}`, "", koogallery.ErrPayload},
		{"too deep", release(`"license":"PL1","x":` + deep), "", koogallery.ErrPayload},
		{"bad nested value", release(`"license":"PL1","x":{"a":[1,}`), "", koogallery.ErrPayload},
		{"no activity", `{}`, "activity", koogallery.ErrActivity},
		{"unknown activity", `{"activity":"somethingNew","license":"PL1"}`, "activity", koogallery.ErrActivity},
		{"nested activity", `{"activity":{}}`, "activity", koogallery.ErrField},
		{"no licence", release(`"orderId":"o"`), "license", koogallery.ErrField},
		{"empty licence", release(`"license":""`), "license", koogallery.ErrField},
		{"null licence", release(`"license":null`), "license", koogallery.ErrField},
		{"licence is array", release(`"license":["PL1"]`), "license", koogallery.ErrField},
		{"licence too long", release(`"license":"` + strings.Repeat("x", 65) + `"`), "license", koogallery.ErrField},
		{"optional is object", release(`"license":"PL1","orderId":{}`), "orderId", koogallery.ErrField},
		{"test flag too long", release(`"license":"PL1","testFlag":"001"`), "testFlag", koogallery.ErrField},
		{"test flag unknown", release(`"license":"PL1","testFlag":2`), "testFlag", koogallery.ErrField},
		{"test flag true", release(`"license":"PL1","testFlag":true`), "testFlag", koogallery.ErrField},
		{"status of another interface", status(`"license":"PL1","status":"NORMAL"`), "status", koogallery.ErrField},
		{"no status", status(`"license":"PL1"`), "status", koogallery.ErrField},
		{"first field counts", status(`"testFlag":"9"`), "license", koogallery.ErrField},
		{"no expiry", refresh(`"testFlag":"0"`), "expireTime", koogallery.ErrField},
		{"no such day", refresh(`"expireTime":"20260431000000"`), "expireTime", koogallery.ErrField},
		{"no leap year", refresh(`"expireTime":"20250229000000"`), "expireTime", koogallery.ErrField},
		{"no such hour", refresh(`"expireTime":"20260430240000"`), "expireTime", koogallery.ErrField},
		{"15 digits", refresh(`"expireTime":"202604300000000"`), "expireTime", koogallery.ErrField},
		{"sign", refresh(`"expireTime":"+2026043000000"`), "expireTime", koogallery.ErrField},
		{"year 0", refresh(`"expireTime":"00000430000000"`), "expireTime", koogallery.ErrField},
		{"unknown scene", refresh(`"expireTime":"20260430000000","scene":"OTHER"`), "scene", koogallery.ErrField},
	} {
		t.Run(tt.name, func(t *testing.T) {
			msg, err := koogallery.ParseMessage(callback(t, tt.body))
			if msg != nil {
				t.Errorf("got message %v", msg)
			}
			wantCode(t, err, koogallery.ResultInvalidParam, tt.reason)
			var re *koogallery.ResultError
			if errors.As(err, &re); re.Field != tt.field {
				t.Errorf("names %q, want %q", re.Field, tt.field)
			}
		})
	}
	_, err := koogallery.ParseMessage(koogallery.Callback{})
	wantCode(t, err, koogallery.ResultInvalidParam, koogallery.ErrPayload)
}

func TestParserLocation(t *testing.T) {
	p := koogallery.Parser{Location: time.FixedZone("UTC+8", 8*3600)}
	msg, err := p.Parse(callback(t, `{"activity":"refreshLicenseCode","orderId":"o","orderLineId":"l","license":"PL1",
		"scene":"RENEWAL","expireTime":"20260523201932"}`))
	if err != nil {
		t.Fatal(err)
	}
	want := time.Date(2026, 5, 23, 12, 19, 32, 0, time.UTC)
	if got := msg.(koogallery.RefreshLicenseCode).ExpireTime; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestField(t *testing.T) {
	cb := callback(t, `{"activity":"newInstance","orderId":12.50,"x":[1]}`)
	if got, err := cb.Field("orderId"); got != "12.50" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if got, err := cb.Field("absent"); got != "" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	_, err := cb.Field("x")
	wantCode(t, err, koogallery.ResultInvalidParam, koogallery.ErrField)
}

func TestCanonicalPayload(t *testing.T) {
	for _, tt := range []struct{ name, body, want string }{
		{"scalars", `{"d":false,"c":-0,"b":1.0E+2,"a":null}`, `{"b":"1.0E+2","c":"-0","d":"false"}`},
		{"last wins", `{"a":"1","b":"","a":"2"}`, `{"a":"2","b":""}`},
		{"null wins", `{"a":"1","a":null,"b":"2"}`, `{"b":"2"}`},
		{"as they are", "{\"a\":\"/<>&\u007f\u2028\u2029é\"}", "{\"a\":\"/<>&\u007f\u2028\u2029é\"}"},
		{"controls", `{"a":"\u0008\u0009\u000a\u000b\u000c\u000d\u001b\"\\"}`, `{"a":"\b\t\n\u000B\f\r\u001B\"\\"}`},
		// In UTF-16 U+1F511 begins with 0xD83D and sorts before U+E000.
		{"order", "{\"\ue000\":\"1\",\"\U0001f511\":\"2\",\"\uffff\":\"3\",\"z\":\"4\",\"zz\":\"5\",\"\ud7ff\":\"6\"}", "{\"z\":\"4\",\"zz\":\"5\",\"\ud7ff\":\"6\",\"\U0001f511\":\"2\",\"\ue000\":\"1\",\"\uffff\":\"3\"}"},
		{"empty name", `{"a":"1","":"2"}`, `{"":"2","a":"1"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := koogallery.CanonicalPayload([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	for _, body := range []string{
		``, `null`, `"a"`, `{"a":[]}`, `{"a":{},"a":"1"}`, `{"a":"1"} x`, `{"a":01}`, `{"a":1.}`, `{"a":.5}`,
		`{"a":+1}`, `{"a":"` + "\n" + `"}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{"a":"\udc00"}`, `{"a":"\ud800\u0041"}`, `{a:1}`, `{"a":1,}`, `{"a":tru}`,
	} {
		if got, err := koogallery.CanonicalPayload([]byte(body)); err == nil {
			t.Errorf("%s has the canonical form %s", body, got)
		}
	}
}

func TestResult(t *testing.T) {
	long := strings.Repeat("授", koogallery.MaxResultMsg+1)
	for _, tt := range []struct {
		name string
		r    koogallery.Result
		want string
	}{
		{"success", koogallery.ResultOf(nil), `{"resultCode":"000000","resultMsg":"success."}`},
		{"zero", koogallery.Result{}, `{"resultCode":"000005","resultMsg":"other inner error"}`},
		{"foreign error", koogallery.ResultOf(errors.New("pq: password")), `{"resultCode":"000005","resultMsg":"other inner error"}`},
		{
			"field", koogallery.ResultOf(&koogallery.ResultError{Code: koogallery.ResultInvalidParam, Field: "license", Err: errors.New("internal")}),
			`{"resultCode":"000002","resultMsg":"param is invalid: license"}`,
		},
		{
			"authentication says no more", koogallery.ResultOf(&koogallery.ResultError{Code: koogallery.ResultAuthFailed, Field: "signature"}),
			`{"resultCode":"000001","resultMsg":"token is invalid"}`,
		},
		{"message", koogallery.Result{Code: koogallery.ResultUnknownCode, Msg: "a\"\n<\xff"}, "{\"resultCode\":\"000003\",\"resultMsg\":\"a\\\"\\n<\ufffd\"}"},
		{"cut", koogallery.Result{Code: koogallery.ResultOK, Msg: long}, `{"resultCode":"000000","resultMsg":"` + strings.Repeat("授", 255) + `"}`},
		{
			"instance",
			koogallery.Result{Code: koogallery.ResultInProgress, InstanceID: "i"},
			`{"resultCode":"000004","resultMsg":"request is processing","instanceId":"i"}`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			if err := koogallery.WriteResult(w, tt.r); err != nil {
				t.Fatal(err)
			}
			if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
				t.Errorf("HTTP %d, %v", w.Code, w.Header())
			}
			if diff := cmp.Diff(tt.want, w.Body.String()); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
		})
	}
	texts := map[string]bool{}
	for _, c := range []koogallery.ResultCode{"000000", "000001", "000002", "000003", "000004", "000005", "000100", "000900", "000901", "000902", "000903"} {
		texts[c.Text()] = true
	}
	if len(texts) != 11 || koogallery.ResultCode("x").Text() != "other inner error" {
		t.Errorf("texts of the codes: %v", texts)
	}
}
