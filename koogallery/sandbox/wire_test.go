package sandbox_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
)

// control calls the control API.
func control(t *testing.T, s *sandbox.Sandbox, method, path, body string) (int, string) {
	t.Helper()
	req := httptest.NewRequest(method, "/sandbox/v1/"+path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+s.ControlToken().Reveal())
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, req)
	return rec.Code, rec.Body.String()
}

// A merchant whose signature check fails sees what was sent, how it was signed,
// and what it answered.
func TestExchange(t *testing.T) {
	var sent string
	s := merchantSays(t, sandbox.Options{}, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = string(body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"resultCode":"000001","resultMsg":"bad signature"}`)
	})
	o := buy(t, s, year)
	must(t, s.Freeze(o.Code))
	must(t, s.Advance(t.Context(), 0))
	d, err := s.Delivery(1)
	must(t, err)
	request, signed, answer := d.Last.Request.Reveal(), d.Last.Signed.Reveal(), d.Last.Answer.Reveal()
	for _, part := range []string{"POST " + address[:len(address)-len("?tenant=7")] + "?", "signature=", "nonce=", "timestamp=", "tenant=7", "Content-Type: application/json", "\n\n" + sent} {
		if !strings.Contains(request, part) {
			t.Errorf("the request does not show %q:\n%s", part, request)
		}
	}
	if !strings.Contains(signed, "payload   = "+sent) || !strings.Contains(signed, "inner     = hex(") || strings.Contains(signed+request, "callback key") {
		t.Errorf("signed:\n%s", signed)
	}
	if want := "HTTP 200\nContent-Type: application/json\n\n" + `{"resultCode":"000001","resultMsg":"bad signature"}`; answer != want {
		t.Errorf("answer:\n%s", answer)
	}
	if text := fmt.Sprintf("%v %+v", d.Last, d); strings.Contains(text, o.Code.Reveal()) || strings.Contains(text, "signature=") {
		t.Errorf("it prints itself: %s", text)
	}
	status, body := control(t, s, "GET", "deliveries/1", "")
	for _, part := range []string{`"what":"FREEZE"`, `"meaning":"authentication failed"`, `"result_msg":"bad signature"`, `"request":"POST `, `"answer":"HTTP 200`} {
		if status != http.StatusOK || !strings.Contains(body, part) {
			t.Errorf("%d, without %s: %s", status, part, body)
		}
	}
	if _, list := control(t, s, "GET", "deliveries", ""); strings.Contains(list, "signature=") {
		t.Error("the list holds whole requests")
	}
	for path, want := range map[string]int{"deliveries/2": http.StatusNotFound, "deliveries/x": http.StatusBadRequest} {
		if status, body := control(t, s, "GET", path, ""); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

// The detail page shows the same, to whoever has the token.
func TestMessagePage(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	must(t, m.s.Start(t.Context()))
	o := m.buy(product, 1, year)
	must(t, m.s.Freeze(o.Ref()))
	must(t, m.s.Unfreeze(o.Ref()))
	m.advance(0)
	b := newBrowser(t, m.s)
	if _, page := b.do(http.MethodGet, "/sandbox/messages/1", nil, nil); strings.Contains(page, "signature") || !strings.Contains(page, "Control token") {
		t.Errorf("a stranger sees %s", page)
	}
	b.login(m.s)
	_, page := b.do(http.MethodGet, "/sandbox/", nil, nil)
	for _, part := range []string{"updateLicenseCodeStatus FREEZE", "updateLicenseCodeStatus UNFREEZE", `href="/sandbox/messages/2"`, "resultCode 000000 (success): “success.”"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page does not show %q", part)
		}
	}
	status, page := b.do(http.MethodGet, "/sandbox/messages/2", nil, nil)
	for _, part := range []string{"Message 2: updateLicenseCodeStatus UNFREEZE", "POST http://127.0.0.1/", "HMAC-SHA256(accessKey, payload)", "000000 (success)"} {
		if status != http.StatusOK || !strings.Contains(page, part) {
			t.Errorf("%d, without %q:\n%s", status, part, page)
		}
	}
	if status, _ := b.do(http.MethodGet, "/sandbox/messages/99", nil, nil); status != http.StatusNotFound {
		t.Errorf("no such message: %d", status)
	}
}

// What is wrong with an answer is said, and a long one is cut.
func TestAnswersThatAreWrong(t *testing.T) {
	for name, tt := range map[string]struct {
		body, want string
		delivered  bool
	}{
		"case":         {`{"ResultCode":"000000"}`, `the answer has no resultCode; "ResultCode" is not "resultCode"`, false},
		"list":         {`[]`, "the answer is a list and no object", false},
		"HTML":         {`<html>`, "the answer is no JSON", false},
		"number":       {`{"resultCode":0}`, "the answer's resultCode is a number, not a text", false},
		"instance":     {`{"resultCode":"000000","instanceId":7}`, "the answer's instanceId is a number, not a text", false},
		"long message": {`{"resultCode":"000000","resultMsg":"` + strings.Repeat("é", 256) + `"}`, "resultMsg has 256 characters, more than 255", true},
		"message":      {`{"resultCode":"000000","ResultMsg":"x"}`, `"ResultMsg" is not "resultMsg"`, true},
		"huge":         {`{"resultCode":"000000","x":"` + strings.Repeat("x", 9000) + `"}`, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			s := merchantSays(t, sandbox.Options{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, tt.body) })
			must(t, s.Freeze(buy(t, s, year).Code))
			must(t, s.Advance(t.Context(), 0))
			var violations []string
			for _, e := range s.Events(0) {
				if e.Kind == sandbox.EventViolation {
					violations = append(violations, e.Text)
				}
			}
			if !has(violations, tt.want) || (tt.want == "") != (violations == nil) {
				t.Errorf("violations %v", violations)
			}
			d := s.Deliveries()[0]
			if (d.State == sandbox.Delivered) != tt.delivered {
				t.Errorf("%s %+v", d.State, d.Attempts)
			}
			if len(d.Last.Answer.Reveal()) > 5000 {
				t.Error("the whole answer is remembered")
			}
		})
	}
}

func TestBodySignIsExplained(t *testing.T) {
	key := koogallery.NewAccessKey("callback key")
	const answer = `{"resultCode":"000000","instanceId":"i","license":"l"}`
	for header, want := range map[string]string{
		"":         "Body-Sign is missing; expected Body-Sign: " + koogallery.BodySign(key, []byte(answer)),
		"nonsense": "Body-Sign is not in the printed form; expected",
		koogallery.BodySign(key, []byte("other")): "Body-Sign is wrong; expected",
	} {
		s := merchantSays(t, sandbox.Options{Products: []sandbox.Product{{ID: "OLD", Interface: sandbox.License1}}}, func(w http.ResponseWriter, _ *http.Request) {
			if header != "" {
				w.Header().Set("Body-Sign", header)
			}
			_, _ = io.WriteString(w, answer)
		})
		_, err := s.Buy(t.Context(), "OLD", 1, year)
		must(t, err)
		must(t, s.Advance(t.Context(), 0))
		if got := s.Deliveries()[0].Attempts[0].Error; !strings.HasPrefix(got, want) || strings.Contains(got, key.Reveal()) {
			t.Errorf("%q: %s", header, got)
		}
		if d := s.Deliveries()[0]; !strings.Contains(d.Last.Signed.Reveal(), `authToken = base64(HMAC-SHA256(accessKey + "2026`) {
			t.Errorf("signed: %s", d.Last.Signed.Reveal())
		}
	}
}

// What the buyer fills in comes by the control API, and personal data goes out
// encrypted as the product says.
func TestBuyerByControl(t *testing.T) {
	m := newShop(t, sandbox.Options{Products: []sandbox.Product{
		{ID: "ONLINE", Interface: sandbox.Online}, {ID: "OLD", Interface: sandbox.License1, Encryption: koogallery.EncryptAES128},
	}})
	const who = `"buyer":{"customer_id":"c1","customer_name":"Zhang","mobile_phone":"+86 1","email":"a@example.com"}`
	for _, body := range []string{
		`{"product":"ONLINE","period":"365d",` + who + `,"extend":{"hardware":"HW-1"}}`, `{"product":"OLD","period":"365d",` + who + `}`,
	} {
		if status, answer := control(t, m.s, "POST", "buy", body); status != http.StatusOK {
			t.Fatal(status, answer)
		}
	}
	m.advance(0)
	order, err := m.c.Order(t.Context(), m.s.Codes()[0].OrderID, "")
	must(t, err)
	if order.Buyer.CustomerID != "c1" || order.Buyer.Email.Reveal() != "a@example.com" || order.Extend["hardware"] != "HW-1" {
		t.Errorf("%+v", order)
	}
	var old koogallery.V1GetLicense
	for _, msg := range m.got {
		if g, ok := msg.(koogallery.V1GetLicense); ok {
			old = g
		}
	}
	phone, err := old.MobilePhone.Decrypt(m.s.AccessKey(), koogallery.EncryptAES128)
	if err != nil || phone.Reveal() != "+86 1" || old.CustomerName != "Zhang" {
		t.Errorf("%v %+v", err, old)
	}
	for _, bad := range []string{
		`{"product":"ONLINE","buyer":{"email":"` + strings.Repeat("x", 101) + `"}}`, `{"product":"ONLINE","extend":{"":"x"}}`,
		`{"product":"OLD","period":"31d"}`, `{"product":"OLD","period":"3000d"}`,
	} {
		if status, answer := control(t, m.s, "POST", "buy", bad); status != http.StatusBadRequest {
			t.Errorf("%.60s: %d %s", bad, status, answer)
		}
	}
	if n := len(m.s.Codes()); n != 2 {
		t.Errorf("%d purchases", n)
	}
}

func TestApplyWithDates(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy("ONLINE", 1, year)
	m.advance(0)
	last := func() koogallery.GetLicenseAsync { return m.got[len(m.got)-1].(koogallery.GetLicenseAsync) }
	if status, answer := control(t, m.s, "POST", "apply", `{"code":"`+o.ID+`","device":"d","effective_at":"2027-01-01T00:00:00Z","expires_at":"2030-01-01T00:00:00Z"}`); status != 200 {
		t.Fatal(answer)
	}
	m.advance(0)
	if got := last(); !got.EffectiveTime.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) || !got.ExpireTime.Equal(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", got)
	}
	if status, answer := control(t, m.s, "POST", "apply", `{"code":"`+o.ID+`","device":"d","no_expiry":true}`); status != 200 {
		t.Fatal(answer)
	}
	m.advance(0)
	if got := last(); !got.ExpireTime.IsZero() {
		t.Errorf("%+v", got)
	}
}

// The buyer console asks again for a licence that was delivered; another one is
// a violation.
func TestGetLicenseAgain(t *testing.T) {
	m := newShop(t, sandbox.Options{})
	o := m.buy("OLD", 1, year)
	want(t, m.s.GetLicense(o.Ref()), sandbox.ErrState)
	m.advance(0)
	must(t, m.s.GetLicense(o.Ref()))
	m.advance(0)
	first, second := m.got[0].(koogallery.V1GetLicense), m.got[1].(koogallery.V1GetLicense)
	if first.OrderID != second.OrderID || first.BusinessID == second.BusinessID || m.last().State != sandbox.Delivered {
		t.Errorf("%+v, %+v", first, second)
	}
	m.answer = func(msg koogallery.Message) (koogallery.Result, error) {
		r, err := m.usual(msg)
		r.License = koogallery.NewLicenseText("another")
		return r, err
	}
	must(t, m.s.GetLicense(o.Ref()))
	m.advance(24 * time.Hour)
	if m.last().State != sandbox.Failed || !has(m.events(sandbox.EventViolation), "another licence for the same order") || m.state(o).License.Reveal() == "another" {
		t.Errorf("%s %v", m.last().State, m.events(sandbox.EventViolation))
	}
	want(t, m.s.GetLicense(m.buy("ONLINE", 1, year).Ref()), sandbox.ErrState)
}
