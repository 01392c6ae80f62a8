package sandbox_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

func merchantSays(t *testing.T, opts sandbox.Options, h http.HandlerFunc) *sandbox.Sandbox {
	t.Helper()
	opts.Manual, opts.Now = true, func() time.Time { return begin }
	opts.Callback = sandbox.Callback{URL: address, AccessKey: koogallery.NewAccessKey("callback key")}
	opts.CallbackTransport = inProcess{h}
	return newSandbox(t, opts)
}

func TestAnswerMembersAreExact(t *testing.T) {
	s := merchantSays(t, sandbox.Options{}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"ResultCode":"000000","ResultMsg":"success."}`))
	})
	o := buy(t, s, year)
	must(t, s.Freeze(o.Code))
	must(t, s.Advance(t.Context(), 0))
	if d := s.Deliveries()[0]; d.State == sandbox.Delivered {
		t.Errorf("an answer without resultCode counts as success: %+v", d)
	}
}

func rawCall(m *shop, path, body string) (int, string) {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), http.MethodPost, "https://mkt.example.com/api/mkp-openapi-public/global"+path, strings.NewReader(body))
	must(m.t, err)
	req.Header.Set("Content-Type", "application/json")
	o := m.s.ClientOptions()
	must(m.t, koogallery.SignRequest(req, []byte(body), o.AccessKeyID, o.SecretAccessKey, m.s.Now()))
	resp, err := (&http.Client{Transport: m.s.Transport()}).Do(req)
	must(m.t, err)
	defer resp.Body.Close()
	b := make([]byte, 4096)
	n, _ := resp.Body.Read(b)
	_, code, _ := strings.Cut(string(b[:n]), `"error_code":"`)
	code, _, _ = strings.Cut(code, `"`)
	return resp.StatusCode, code
}

func TestRequestMembersAreExact(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy(product, 1, year)
	if status, code := rawCall(m, "/v1/license/activate", `{"License":"`+o.Code.Reveal()+`"}`); code == "92020000" {
		t.Errorf(`activate with "License" is answered %d %s`, status, code)
	}
	o = m.buy(product, 1, year)
	_, _ = rawCall(m, "/v1/license/activate", `{"license":"`+o.Code.Reveal()+`"}`)
	body := `{"usage_info":[{"license":"` + o.Code.Reveal() + `","software_usage_info":[{"active_num":3}]}]}`
	if status, code := rawCall(m, "/v2/license/software-usage-info", body); code == "92020000" {
		t.Errorf("usage with software_usage_info is answered %d %s", status, code)
	}
}

func TestUploadPartNeedsItsType(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy("ONLINE", 1, year)
	m.advance(0)
	a, err := m.s.Apply(o.Ref(), sandbox.LicenseRequest{Device: koogallery.NewDeviceFingerprint("d")})
	must(t, err)
	m.advance(0)
	body := form(fileHead, "l", bareHead, `{"type":"FILE","file_name":"l","sha256":"`+sum("l")+`"}`)
	if status, code := m.send(a.EventID, formType, body); code == "CBC.0000" {
		t.Errorf("a JSON part without its content type is answered %d %s", status, code)
	}
}

// What is read of a misspelt or mistyped member is told as a violation.
func TestRequestViolations(t *testing.T) {
	for _, tt := range []struct{ path, body, want string }{
		{"/v1/license/activate", `{"License":"PL1"}`, `activate: "License" is not "license"; names are case-sensitive`},
		{"/v1/license/activate", `{"license":7}`, "activate: license is a number, not a text"},
		{"/v1/license/activate", `[]`, "activate: the body is a list and no object"},
		{"/v2/license/activate", `{"licenseList":["PL1"]}`, `activate v2: "licenseList" is not "license_list"`},
		{"/v2/license/activate", `{"license_list":"PL1"}`, "activate v2: license_list is a text, not a list of texts"},
		{"/v1/license/heartbeat", `{"license":{}}`, "query: license is an object, not a text"},
		{"/v2/license/software-usage-info", `{"usage_info":[{"license":"PL1","software_usage_info":[{"active_num":3}]}]}`, `usage: "software_usage_info" is not "software_usage_Info"`},
		{"/v2/license/software-usage-info", `{"usage_info":["PL1"]}`, "usage: usage_info[0] is a text and no object"},
		{"/v2/license/software-usage-info", `{"usage_info":[{"license":"PL1","software_usage_Info":[{"active_num":"3"}]}]}`, "usage: active_num is a text, not a whole number"},
	} {
		m := newShop(t, sandbox.Options{})
		if status, code := rawCall(m, tt.path, tt.body); status != http.StatusBadRequest || code != "95000001" {
			t.Errorf("%s: %d %s", tt.body, status, code)
		}
		if got := m.events(sandbox.EventViolation); !has(got, tt.want) {
			t.Errorf("%s: violations %q, want %q", tt.body, got, tt.want)
		}
	}
}
