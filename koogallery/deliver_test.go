package koogallery_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
)

func TestReportUsage(t *testing.T) {
	var path, body, answer string
	opts := clientOptions("https://a")
	opts.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		b, _ := io.ReadAll(r.Body)
		path, body = r.URL.Path, string(b)
		return reply(200, jsonMedia, answer)
	})
	c := newClient(t, opts)
	reports := []koogallery.Usage{
		{License: koogallery.NewCode("PL1"), IDs: []string{"account1", "账户"}},
		{License: koogallery.NewCode("PL2"), ActiveNum: 100},
		{License: koogallery.NewCode("PL3"), ActiveNum: koogallery.MaxActiveCount},
	}
	for name, tt := range map[string]struct {
		answer   string
		rejected []string
		unread   bool
	}{
		"published":       {okAnswer, nil, false},
		"null":            {`{"error_code":"92020000","data":null}`, nil, false},
		"empty list":      {`{"error_code":"92020000","data":{"check_fail_licenses":[],"more":{}}}`, nil, false},
		"empty text":      {`{"error_code":"92020000","data":{"check_fail_licenses":""}}`, nil, false},
		"codes":           {`{"error_code":"92020000","data":{"check_fail_x":["PL3","PL1","PL1"]}}`, []string{"PL1", "PL3"}, false},
		"camel case":      {`{"error_code":"92020000","data":{"checkFailLicense":["PL2"]}}`, []string{"PL2"}, false},
		"objects":         {`{"error_code":"92020000","data":{"check_fail_list":[{"license":"PL2","reason":"x"}]}}`, []string{"PL2"}, false},
		"one object":      {`{"error_code":"92020000","data":{"check_fail_list":{"license_code":"PL2"}}}`, []string{"PL2"}, false},
		"text":            {`{"error_code":"92020000","data":{"check_fail_list":"[\"PL2\"]"}}`, []string{"PL2"}, false},
		"data as text":    {`{"error_code":"92020000","data":"{\"check_fail_list\":[\"PL2\"]}"}`, []string{"PL2"}, false},
		"strangers":       {`{"error_code":"92020000","data":{"check_fail_list":["PL9","PL2"]}}`, []string{"PL2"}, true},
		"masked":          {`{"error_code":"92020000","data":{"check_fail_list":["PL***"]}}`, nil, true},
		"no codes":        {`{"error_code":"92020000","data":{"check_fail_list":[[],{}]}}`, nil, true},
		"a number":        {`{"error_code":"92020000","data":{"check_fail_count":1}}`, nil, true},
		"data is a list":  {`{"error_code":"92020000","data":["PL1"]}`, nil, true},
		"two such lists":  {`{"error_code":"92020000","data":{"check_fail_a":["PL1"],"check_fail_b":["PL2"]}}`, []string{"PL1", "PL2"}, false},
		"nothing of that": {`{"error_code":"92020000","data":{"checked":["PL1"]}}`, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			answer = tt.answer
			got, err := c.ReportUsage(t.Context(), reports)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(koogallery.UsageResult{Rejected: codes(tt.rejected...), Unread: tt.unread}, got,
				cmp.Transformer("len", func(l []koogallery.Code) map[string]int {
					m := map[string]int{}
					for i, c := range l {
						m[c.Reveal()] = i
					}
					return m
				})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if want := "/api/mkp-openapi-public/global/v2/license/software-usage-info"; path != want {
		t.Errorf("path %s", path)
	}
	if want := `{"usage_info":[{"license":"PL1","software_usage_Info":[{"id":"account1"},{"id":"账户"}]},` +
		`{"license":"PL2","software_usage_Info":[{"active_num":100}]},{"license":"PL3","software_usage_Info":[{"active_num":999999999}]}]}`; body != want {
		t.Errorf("body %s", body)
	}
}

func TestReportUsageRefuses(t *testing.T) {
	opts := clientOptions("https://a")
	opts.Transport = roundTrip(func(*http.Request) (*http.Response, error) { t.Error("sent"); return nil, errors.New("sent") })
	c := newClient(t, opts)
	code := koogallery.NewCode("PL1")
	for name, reports := range map[string][]koogallery.Usage{
		"none":          {},
		"too many":      slices.Repeat([]koogallery.Usage{{License: code, ActiveNum: 1}}, koogallery.MaxBatch+1),
		"twice":         {{License: code, ActiveNum: 1}, {License: code, ActiveNum: 2}},
		"no code":       {{ActiveNum: 1}},
		"neither":       {{License: code}},
		"both":          {{License: code, IDs: []string{"a"}, ActiveNum: 1}},
		"negative":      {{License: code, ActiveNum: -1}},
		"ten digits":    {{License: code, ActiveNum: koogallery.MaxActiveCount + 1}},
		"too many ids":  {{License: code, IDs: slices.Repeat([]string{"a"}, koogallery.MaxUsageIDs+1)}},
		"empty id":      {{License: code, IDs: []string{""}}},
		"long id":       {{License: code, IDs: []string{strings.Repeat("x", koogallery.MaxUsageID+1)}}},
		"id not UTF-8":  {{License: code, IDs: []string{"\xff"}}},
		"second is bad": {{License: code, ActiveNum: 1}, {License: koogallery.NewCode("PL2")}},
	} {
		if _, err := c.ReportUsage(t.Context(), reports); !errors.Is(err, koogallery.ErrInvalidParam) || koogallery.Retryable(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type uploaded struct {
	path, media string
	parts       []uploadedPart
	plain       string
}

type uploadedPart struct{ Disposition, Type, Content string }

func readUpload(t *testing.T, r *http.Request) uploaded {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	media, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	u := uploaded{path: r.URL.EscapedPath(), media: media}
	if media != "multipart/form-data" {
		u.plain = string(body)
		return u
	}
	reader := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for {
		p, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return u
		}
		if err != nil {
			t.Fatal(err)
		}
		content, _ := io.ReadAll(p)
		u.parts = append(u.parts, uploadedPart{p.Header.Get("Content-Disposition"), p.Header.Get("Content-Type"), string(content)})
	}
}

func TestUpload(t *testing.T) {
	long := strings.Repeat("码", koogallery.MaxCharacters)
	sum := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	info := func(content string) uploadedPart {
		return uploadedPart{`form-data; name="isvUpdateFileReq"`, jsonMedia, content}
	}
	for _, tt := range []struct {
		name, event string
		upload      koogallery.Upload
		plain       bool
		want        []uploadedPart
	}{
		{"short", "8c8", koogallery.Upload{License: []byte("a<b>&\n\"")}, false, []uploadedPart{info(`{"type":"CHARACTERS","characters":"a<b>&\n\""}`)}},
		{"longest text", "8c8", koogallery.Upload{License: []byte(long)}, false, []uploadedPart{info(`{"type":"CHARACTERS","characters":"` + long + `"}`)}},
		{"one more", "8c8", koogallery.Upload{License: []byte(long + "x")}, false, []uploadedPart{
			{`form-data; name="file"; filename="license.lic"`, "", long + "x"},
			info(`{"type":"FILE","file_name":"license.lic","sha256":"` + sum(long+"x") + `"}`),
		}},
		{"no text", "8c8", koogallery.Upload{License: []byte("\xff\x00")}, false, []uploadedPart{
			{`form-data; name="file"; filename="license.lic"`, "", "\xff\x00"},
			info(`{"type":"FILE","file_name":"license.lic","sha256":"` + sum("\xff\x00") + `"}`),
		}},
		{"file wanted", "a/b ?", koogallery.Upload{License: []byte("x"), Type: koogallery.UploadFile, FileName: "授权 1.lic"}, false, []uploadedPart{
			{`form-data; name="file"; filename="授权 1.lic"`, "", "x"},
			info(`{"type":"FILE","file_name":"授权 1.lic","sha256":"` + sum("x") + `"}`),
		}},
		{"plain", "8c8", koogallery.Upload{License: []byte("x")}, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got uploaded
			opts := clientOptions("https://a")
			opts.PlainCharacters = tt.plain
			opts.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				if r.Method != http.MethodPost {
					t.Errorf("method %s", r.Method)
				}
				got = readUpload(t, r)
				return reply(200, jsonMedia, `{"error_code":"CBC.0000","error_msg":"Success"}`)
			})
			if err := newClient(t, opts).Upload(t.Context(), tt.event, tt.upload); err != nil {
				t.Fatal(err)
			}
			event := map[string]string{"8c8": "8c8", "a/b ?": "a%2Fb%20%3F"}[tt.event]
			if want := "/api/mkp-openapi-public/global/v1/market-event/" + event + "/file"; got.path != want {
				t.Errorf("path %s, want %s", got.path, want)
			}
			if diff := cmp.Diff(tt.want, got.parts); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
			if tt.plain && (got.media != jsonMedia || got.plain != `{"type":"CHARACTERS","characters":"x"}`) {
				t.Errorf("%s %s", got.media, got.plain)
			}
		})
	}
}

func TestUploadRefuses(t *testing.T) {
	opts := clientOptions("https://a")
	opts.Transport = roundTrip(func(*http.Request) (*http.Response, error) { t.Error("sent"); return nil, errors.New("sent") })
	c := newClient(t, opts)
	file := func(name string) koogallery.Upload {
		return koogallery.Upload{License: []byte("x"), Type: koogallery.UploadFile, FileName: name}
	}
	for name, tt := range map[string]struct {
		event  string
		upload koogallery.Upload
	}{
		"no licence":           {"e", koogallery.Upload{}},
		"no event":             {"", file("")},
		"long event":           {strings.Repeat("e", koogallery.MaxEventID+1), file("")},
		"event is a path":      {"..", file("")},
		"event with a newline": {"e\n", file("")},
		"too many characters":  {"e", koogallery.Upload{License: bytes.Repeat([]byte("x"), koogallery.MaxCharacters+1), Type: koogallery.UploadCharacters}},
		"characters not UTF-8": {"e", koogallery.Upload{License: []byte("\xff"), Type: koogallery.UploadCharacters}},
		"file too long":        {"e", koogallery.Upload{License: make([]byte, koogallery.MaxUpload+1)}},
		"unknown type":         {"e", koogallery.Upload{License: []byte("x"), Type: "BOTH"}},
		"name is a path":       {"e", file("../x")},
		"name with a quote":    {"e", file(`a"; x="`)},
		"name with a newline":  {"e", file("a\r\nb")},
		"name of dots":         {"e", file("..")},
		"name too long":        {"e", file(strings.Repeat("x", koogallery.MaxFileName+1))},
	} {
		if err := c.Upload(t.Context(), tt.event, tt.upload); !errors.Is(err, koogallery.ErrInvalidParam) || koogallery.Retryable(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUploadErrors(t *testing.T) {
	for _, tt := range []struct {
		status    int
		code      string
		want      error
		retryable bool
	}{
		{403, "CBC.0150", koogallery.ErrUnauthorized, false},
		{400, "CBC.0101", koogallery.ErrInvalidParam, false},
		{500, "CBC.0999", koogallery.ErrInternal, true},
		{200, "91381033", koogallery.ErrResourceInvalid, false},
		{200, "91381034", koogallery.ErrApplyInvalid, false},
		{200, "91381035", koogallery.ErrNoRemainder, false},
		{200, "91381036", koogallery.ErrInternal, true},
		{200, "91381037", koogallery.ErrLicenseFormat, false},
		{200, "91381038", koogallery.ErrApplyDenied, false},
		{200, "91380150", koogallery.ErrPermission, false},
		{500, "91389999", koogallery.ErrUnavailable, true},
		{200, "91389999", nil, false},
		{200, "92020000", nil, false}, // success of another interface
		{500, "CBC.0000", koogallery.ErrUnavailable, true},
	} {
		t.Run(tt.code, func(t *testing.T) {
			err := answering(t, tt.status, jsonMedia, `{"error_code":"`+tt.code+`","error_msg":"about LICENCE TEXT"}`).
				Upload(t.Context(), "e", koogallery.Upload{License: []byte("LICENCE TEXT")})
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || koogallery.Retryable(err) != tt.retryable {
				t.Errorf("got %v", err)
			}
			if strings.Contains(err.Error(), "LICENCE TEXT") {
				t.Errorf("error tells the licence: %v", err)
			}
		})
	}
}

func TestOrder(t *testing.T) {
	day := time.Date(2023, 7, 26, 12, 16, 46, 0, time.UTC)
	full := koogallery.Order{
		ID: "CS1", Type: koogallery.OrderNew, CreateTime: day,
		Lines: []koogallery.OrderLine{{
			ID: "CS1-000001", ChargingMode: koogallery.ChargePeriod, ExpireTime: day.AddDate(1, 0, 0), PeriodType: koogallery.PeriodMonth, PeriodNumber: 5,
			Products: []koogallery.OrderProduct{{SKUCode: "s", ProductID: "p", Amount: 3}},
		}, {ID: "CS1-000002", ChargingMode: koogallery.ChargeOneTime}},
		Buyer: koogallery.Buyer{
			CustomerID: "c", CustomerName: koogallery.NewPersonalData("n"), UserID: "u", UserName: koogallery.NewPersonalData("un"),
			MobilePhone: koogallery.NewPersonalData("m"), Email: koogallery.NewPersonalData("e"),
		},
		Extend: map[string]string{"hardware code": "H1", "other": "2"},
	}
	const whole = `{"orderId":"CS1","orderType":"NEW","createTime":"20230726121646","orderLine":[
		{"orderLineId":"CS1-000001","chargingMode":"PERIOD","expireTime":"20240726121646","periodType":"month","periodNumber":5,"orderAmount":12.78,
		 "productInfo":[{"skuCode":"s","productId":"p","linearValue":3}]},
		{"orderLineId":"CS1-000002","chargingMode":"ONE_TIME","productInfo":null}],
		"buyerInfo":{"customerId":"c","customerName":"n","userId":"u","userName":"un","mobilePhone":"m","email":"e"},
		"extendParams":[{"name":"hardware code","value":"H1"},{"key":"other","value":2}],"new":[{}]}`
	for name, tt := range map[string]struct {
		answer string
		want   koogallery.Order
	}{
		"whole":         {`{"resultCode":"MKT.0000","resultMsg":"success","orderInfo":` + whole + `}`, full},
		"other success": {`{"resultCode":"000000","orderInfo":` + whole + `}`, full},
		"least":         {`{"resultCode":"MKT.0000","orderInfo":{"orderId":"CS1"}}`, koogallery.Order{ID: "CS1"}},
		"odd": {
			`{"resultCode":"MKT.0000","orderInfo":{"orderId":"CS1","orderType":"NEWER","createTime":"yesterday","orderLine":{"orderLineId":"l","productInfo":{"productId":"p"}},"buyerInfo":[],"extendParams":{"a":"b"}}}`,
			koogallery.Order{
				ID: "CS1", Type: "NEWER", Lines: []koogallery.OrderLine{{ID: "l", Products: []koogallery.OrderProduct{{ProductID: "p"}}}},
				Extend: map[string]string{"a": "b"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := answering(t, 200, jsonMedia, tt.answer).Order(t.Context(), "CS1", "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if line, ok := full.Line("CS1-000002"); !ok || line.ChargingMode != koogallery.ChargeOneTime {
		t.Errorf("Line: %+v, %v", line, ok)
	}
	if _, ok := full.Line("CS1"); ok {
		t.Error("Line found what is not there")
	}
	for name, tt := range map[string]struct {
		answer string
		want   error
	}{
		"another order":     {`{"resultCode":"MKT.0000","orderInfo":{"orderId":"CS2"}}`, koogallery.ErrUnavailable},
		"no order":          {`{"resultCode":"MKT.0000"}`, koogallery.ErrUnavailable},
		"expiry unreadable": {`{"resultCode":"MKT.0000","orderInfo":{"orderId":"CS1","orderLine":[{"expireTime":"soon"}]}}`, koogallery.ErrUnavailable},
		"refused":           {`{"resultCode":"MKT.0100","resultMsg":"no","orderInfo":{"orderId":"CS1"}}`, nil},
		"gateway's success": {`{"error_code":"APIGW.0101","resultCode":"MKT.0000","orderInfo":{"orderId":"CS1"}}`, nil},
	} {
		_, err := answering(t, 200, jsonMedia, tt.answer).Order(t.Context(), "CS1", "")
		if _, answered := errors.AsType[*koogallery.APIError](err); tt.want != nil && !errors.Is(err, tt.want) || tt.want == nil && !answered {
			t.Errorf("%s: %v", name, err)
		}
	}
	opts := clientOptions("https://a")
	opts.OrderSuccess = []string{"OK"}
	opts.Location = time.FixedZone("UTC+8", 8*3600)
	answer := `{"resultCode":"OK","orderInfo":{"orderId":"CS1","createTime":"20230726201646"}}`
	opts.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return reply(200, jsonMedia, answer) })
	c := newClient(t, opts)
	if got, err := c.Order(t.Context(), "CS1", ""); err != nil || got.CreateTime != day {
		t.Errorf("success as set: %v, %v", got, err)
	}
	answer = `{"resultCode":"MKT.0000","orderInfo":{"orderId":"CS1"}}`
	if _, err := c.Order(t.Context(), "CS1", ""); err == nil {
		t.Error("success not set was believed")
	}
	for _, id := range [][2]string{{"", ""}, {strings.Repeat("o", 65), ""}, {"o\n", ""}, {"o", strings.Repeat("l", 65)}} {
		if _, err := c.Order(t.Context(), id[0], id[1]); !errors.Is(err, koogallery.ErrInvalidParam) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
