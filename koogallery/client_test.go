package koogallery_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/koogallery"
)

const secretCode = "PL20250101000000000001"

var testCode = koogallery.NewCode(secretCode)

// roundTrip is a transport without a network.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func reply(status int, contentType, body string) (*http.Response, error) {
	return &http.Response{
		StatusCode: status,
		Header:     http.Header{"Content-Type": {contentType}},
		Body:       io.NopCloser(strings.NewReader(body)),
	}, nil
}

func clientOptions(bases ...string) koogallery.ClientOptions {
	return koogallery.ClientOptions{
		AccessKeyID: "AK", SecretAccessKey: koogallery.NewSecretKey("very-secret-key"), BaseURLs: bases, Now: at(testNow),
	}
}

func newClient(t *testing.T, opts koogallery.ClientOptions) *koogallery.Client {
	t.Helper()
	c, err := koogallery.NewClient(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// answering makes a client whose only server answers everything so.
func answering(t *testing.T, status int, contentType, body string) *koogallery.Client {
	t.Helper()
	opts := clientOptions("https://mkt.example.com")
	opts.Transport = roundTrip(func(*http.Request) (*http.Response, error) { return reply(status, contentType, body) })
	return newClient(t, opts)
}

func TestNewClientRefuses(t *testing.T) {
	for name, change := range map[string]func(*koogallery.ClientOptions){
		"no access key":      func(o *koogallery.ClientOptions) { o.AccessKeyID = "" },
		"no secret key":      func(o *koogallery.ClientOptions) { o.SecretAccessKey = koogallery.SecretKey{} },
		"http":               func(o *koogallery.ClientOptions) { o.BaseURLs = []string{"http://127.0.0.1:1"} },
		"no scheme":          func(o *koogallery.ClientOptions) { o.BaseURLs = []string{"mkt.example.com"} },
		"no host":            func(o *koogallery.ClientOptions) { o.BaseURLs = []string{"https://"} },
		"query":              func(o *koogallery.ClientOptions) { o.BaseURLs = []string{"https://a?b=c"} },
		"user":               func(o *koogallery.ClientOptions) { o.BaseURLs = []string{"https://u:p@a"} },
		"second is http":     func(o *koogallery.ClientOptions) { o.BaseURLs = []string{"https://a", "http://b"} },
		"roots hold nothing": func(o *koogallery.ClientOptions) { o.ExtraRoots = []byte("nothing") },
		"transport and roots": func(o *koogallery.ClientOptions) {
			o.Transport, o.ExtraRoots = http.DefaultTransport, []byte("x")
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts := clientOptions()
			change(&opts)
			if _, err := koogallery.NewClient(opts); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func TestClientRequests(t *testing.T) {
	var urls, bodies []string
	opts := clientOptions()
	opts.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		body, _ := io.ReadAll(r.Body)
		urls, bodies = append(urls, r.Method+" "+r.URL.String()), append(bodies, string(body))
		again, err := http.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), nil)
		if err != nil {
			return nil, err
		}
		again.Header.Set("Content-Type", "application/json")
		if err := koogallery.SignRequest(again, body, "AK", opts.SecretAccessKey, testNow); err != nil {
			return nil, err
		}
		if diff := cmp.Diff(again.Header.Get("Authorization"), r.Header.Get("Authorization")); diff != "" {
			t.Errorf("Authorization (-want +got):\n%s", diff)
		}
		return reply(200, "application/json", `{"error_code":"92020000","data":{"status":"ALIVE"}}`)
	})
	c := newClient(t, opts)
	effective := time.Date(2026, 1, 2, 23, 35, 55, 0, time.FixedZone("", 8*3600))
	if _, err := c.Activate(t.Context(), testCode, time.Time{}); err != nil {
		t.Error(err)
	}
	if _, err := c.Activate(t.Context(), testCode, effective); err != nil {
		t.Error(err)
	}
	if err := c.ActivateBatch(t.Context(), []koogallery.Code{testCode, koogallery.NewCode("PL2")}, effective); err != nil {
		t.Error(err)
	}
	if _, err := c.Query(t.Context(), testCode); err != nil {
		t.Error(err)
	}
	const api = "POST https://mkt.myhuaweicloud.com/api/mkp-openapi-public/global"
	want := []string{api + "/v1/license/activate", api + "/v1/license/activate", api + "/v2/license/activate", api + "/v1/license/heartbeat"}
	if diff := cmp.Diff(want, urls); diff != "" {
		t.Errorf("URLs (-want +got):\n%s", diff)
	}
	want = []string{
		`{"license":"` + secretCode + `"}`,
		`{"license":"` + secretCode + `","real_effect_time":"20260102153555"}`,
		`{"license_list":["` + secretCode + `","PL2"],"real_effect_time":"20260102153555"}`,
		`{"license":"` + secretCode + `"}`,
	}
	if diff := cmp.Diff(want, bodies); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
}

func TestClientRefusesCodes(t *testing.T) {
	opts := clientOptions()
	opts.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
		t.Error("sent")
		return nil, errors.New("sent")
	})
	c := newClient(t, opts)
	for _, code := range []string{"", strings.Repeat("x", 65), "a\xff"} {
		if _, err := c.Query(t.Context(), koogallery.NewCode(code)); !errors.Is(err, koogallery.ErrInvalidParam) {
			t.Errorf("%q: %v", code, err)
		}
	}
	for _, n := range []int{0, 101} {
		if err := c.ActivateBatch(t.Context(), make([]koogallery.Code, n), time.Time{}); !errors.Is(err, koogallery.ErrInvalidParam) {
			t.Errorf("%d codes: %v", n, err)
		}
	}
}

func TestClientErrors(t *testing.T) {
	const js = "application/json"
	jsonError := func(code string) string {
		return `{"error_code":"` + code + `","error_msg":"about ` + secretCode + `","request_id":"r1"}`
	}
	for _, tt := range []struct {
		name      string
		status    int
		media     string
		body      string
		want      error // nil: an APIError of no category
		retryable bool
	}{
		{"internal", 200, js, jsonError("92020001"), koogallery.ErrInternal, true},
		{"param", 200, js, jsonError("92020002"), koogallery.ErrInvalidParam, false},
		{"state", 200, js, jsonError("92020003"), koogallery.ErrAlreadyActive, false},
		{"not received", 200, js, jsonError("92020004"), koogallery.ErrNotReceived, false},
		{"unknown code", 200, js, jsonError("92020005"), koogallery.ErrUnknownCode, false},
		{"not activated", 200, js, jsonError("92020011"), koogallery.ErrNotActivated, false},
		{"batch", 200, js, jsonError("92020020"), koogallery.ErrInvalidBatch, false},
		{"code as number", 200, js, `{"error_code":92020005}`, koogallery.ErrUnknownCode, false},
		{"pattern", 400, js, jsonError("95000001"), koogallery.ErrRequestParam, false},
		{"method", 405, js, jsonError("95000002"), koogallery.ErrRequestMethod, false},
		{"media type", 415, js, jsonError("95000003"), koogallery.ErrRequestContentType, false},
		{"unreadable", 400, js, jsonError("95000004"), koogallery.ErrRequestUnreadable, false},
		{"new code", 200, js, jsonError("92029999"), nil, false},
		{"older edition, unauthorized", 403, js, jsonError("92020001"), koogallery.ErrUnauthorized, false},
		{"older edition, param", 400, js, jsonError("92020002"), koogallery.ErrInvalidParam, false},
		{"older edition, internal", 500, js, jsonError("92020001"), koogallery.ErrInternal, true},
		{"gateway", 401, js, jsonError("APIGW.0301"), koogallery.ErrUnauthorized, false},
		{"gateway throttles", 429, js, jsonError("APIGW.0308"), koogallery.ErrUnavailable, true},
		{"gateway lacks backend", 503, js, jsonError("APIGW.0201"), koogallery.ErrUnavailable, true},
		{"gateway lacks interface", 404, js, jsonError("APIGW.0101"), nil, false},
		{"401 without a body", 401, js, ``, koogallery.ErrUnauthorized, false},
		{"401 in HTML", 401, "text/html", `<html>`, koogallery.ErrUnauthorized, false},
		{"HTML", 200, "text/html; charset=utf-8", `{"error_code":"92020000"}`, koogallery.ErrUnavailable, true},
		{"HTML in disguise", 200, js, `<html>`, koogallery.ErrUnavailable, true},
		{"bad gateway", 502, "text/html", `<html>`, koogallery.ErrUnavailable, true},
		{"empty", 200, js, ``, koogallery.ErrUnavailable, true},
		{"half", 200, js, `{"error_code":"92020000","da`, koogallery.ErrUnavailable, true},
		{"trailing", 200, js, `{"error_code":"92020000"}{`, koogallery.ErrUnavailable, true},
		{"no code", 200, js, `{"data":{}}`, koogallery.ErrUnavailable, true},
		{"array", 200, js, `[]`, koogallery.ErrUnavailable, true},
		{"redirect", 302, js, jsonError("92020000"), koogallery.ErrUnavailable, true},
		{"success with 500", 500, js, `{"error_code":"92020000"}`, koogallery.ErrUnavailable, true},
		{"too long", 200, js, `{"error_code":"92020000","x":"` + strings.Repeat("x", koogallery.MaxAnswer) + `"}`, koogallery.ErrUnavailable, true},
		{"no data", 200, js, `{"error_code":"92020000"}`, koogallery.ErrUnavailable, true},
		{"data without status", 200, js, `{"error_code":"92020000","data":{"license_code":"x"}}`, koogallery.ErrUnavailable, true},
		{"expiry unreadable", 200, js, `{"error_code":"92020000","data":{"status":"ALIVE","expire_time":"soon"}}`, koogallery.ErrUnavailable, true},
		{"expiry without a time", 200, js, `{"error_code":"92020000","data":{"status":"ALIVE","expire_date":"2026-05-23"}}`, koogallery.ErrUnavailable, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := answering(t, tt.status, tt.media, tt.body).Query(t.Context(), testCode)
			var api *koogallery.APIError
			switch {
			case err == nil:
				t.Fatal("no error")
			case tt.want != nil && !errors.Is(err, tt.want):
				t.Errorf("got %v, want %v", err, tt.want)
			case tt.want == nil && (!errors.As(err, &api) || api.Unwrap() != nil):
				t.Errorf("got %v", err)
			case koogallery.Retryable(err) != tt.retryable:
				t.Errorf("retryable is %v", !tt.retryable)
			}
			if errors.As(err, &api) && (api.HTTPStatus != tt.status || api.Retryable() != tt.retryable) {
				t.Errorf("status %d, retryable %v", api.HTTPStatus, api.Retryable())
			}
			if strings.Contains(err.Error(), secretCode) || strings.Contains(err.Error(), "very-secret") {
				t.Errorf("error tells secrets: %v", err)
			}
		})
	}
}

func TestAPIErrorText(t *testing.T) {
	_, err := answering(t, 200, "application/json",
		`{"error_code":"92020005","error_msg":"no `+secretCode+`\nhere","request_id":"r1"}`).Query(t.Context(), testCode)
	const want = "query: marketplace answered 92020005 (HTTP 200): no [redacted] here [request r1]"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestErrorCodeSurvivesShortCode: taking codes out of messages must not make
// another error of it.
func TestErrorCodeSurvivesShortCode(t *testing.T) {
	c := answering(t, 200, "application/json", `{"error_code":"92020005","error_msg":"9 is unknown"}`)
	if _, err := c.Query(t.Context(), koogallery.NewCode("9")); !errors.Is(err, koogallery.ErrUnknownCode) {
		t.Error(err)
	}
}

func TestReadActivation(t *testing.T) {
	full := koogallery.Activation{
		Status: koogallery.CodeAlive, ExpireTime: time.Date(2023, 7, 26, 12, 16, 46, 0, time.UTC),
		ProductID: "12345", OrderID: "CS123", Amount: 2,
	}
	for _, tt := range []struct {
		name, data string
		want       koogallery.Activation
	}{
		{"published", `{"license_code_info":"{\"status\":\"ALIVE\",\"expire_time\":\"20230726121646\",\"product_id\":\"12345\",\"amount\":2,\"order_id\":\"CS123\"}"}`, full},
		{"not wrapped", `{"license_code_info":{"status":"ALIVE","expire_time":"20230726121646","product_id":12345,"amount":"2","order_id":"CS123","new":{}}}`, full},
		{"half inside", `{"license_code_info":"{\"status\":\"AL"}`, koogallery.Activation{Unread: true}},
		{"null", `null`, koogallery.Activation{Unread: true}},
		{"expiry in words", `{"license_code_info":"{\"expire_time\":\"next year\",\"order_id\":\"CS123\"}"}`, koogallery.Activation{Unread: true, OrderID: "CS123"}},
		{"without end", `{"license_code_info":"{\"order_id\":\"CS123\"}"}`, koogallery.Activation{OrderID: "CS123"}},
		{"amount no number", `{"license_code_info":"{\"amount\":\"many\"}"}`, koogallery.Activation{}},
		{"amount negative", `{"license_code_info":"{\"amount\":-1}"}`, koogallery.Activation{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := answering(t, 200, "application/json", `{"error_code":"92020000","error_msg":"success","data":`+tt.data+`}`)
			got, err := c.Activate(t.Context(), testCode, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadCodeInfo(t *testing.T) {
	expiry := time.Date(2026, 5, 23, 20, 19, 32, 0, time.UTC)
	for _, tt := range []struct {
		name, data string
		want       koogallery.CodeInfo
	}{
		{"full", `"status":"EXPIRED","expire_time":"20260523201932","activate_time":"20250523201932","product_id":"p","order_id":"o","amount":"3","x":1`, koogallery.CodeInfo{
			Status: koogallery.CodeExpired, ExpireTime: expiry, ActivateTime: time.Date(2025, 5, 23, 20, 19, 32, 0, time.UTC),
			ProductID: "p", OrderID: "o", Amount: 3,
		}},
		{"least", `"status":"RELEASED","expire_time":null`, koogallery.CodeInfo{Status: koogallery.CodeReleased}},
		{"another spelling", `"status":"ALIVE","expireTime":"20260523201932123"`, koogallery.CodeInfo{Status: koogallery.CodeAlive, ExpireTime: expiry}},
		{"documented spelling first", `"status":"ALIVE","expireDate":"20990101000000","expire_time":20260523201932`, koogallery.CodeInfo{Status: koogallery.CodeAlive, ExpireTime: expiry}},
		{"written out", `"status":"ALIVE","expire_date":"2026-05-23 20:19:32"`, koogallery.CodeInfo{Status: koogallery.CodeAlive, ExpireTime: expiry}},
		{"RFC 3339", `"status":"ALIVE","expire_time":"2026-05-24T04:19:32.5+08:00"`, koogallery.CodeInfo{Status: koogallery.CodeAlive, ExpireTime: expiry}},
		{"milliseconds", `"status":"ALIVE","expire_time":1779567572999`, koogallery.CodeInfo{Status: koogallery.CodeAlive, ExpireTime: expiry}},
		{"activation unreadable", `"status":"ALIVE","activate_time":"yesterday"`, koogallery.CodeInfo{Status: koogallery.CodeAlive}},
		{"new status", `"status":"PAUSED"`, koogallery.CodeInfo{Status: "PAUSED"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := answering(t, 200, "application/json", `{"error_code":"92020000","data":{`+tt.data+`}}`).Query(t.Context(), testCode)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	opts := clientOptions("https://mkt.example.com")
	opts.Location = time.FixedZone("UTC+8", 8*3600)
	opts.Transport = roundTrip(func(*http.Request) (*http.Response, error) {
		return reply(200, "application/json", `{"error_code":"92020000","data":{"status":"ALIVE","expire_time":"20260524041932"}}`)
	})
	if got, err := newClient(t, opts).Query(t.Context(), testCode); err != nil || got.ExpireTime != expiry {
		t.Errorf("in UTC+8: %v, %v", got.ExpireTime, err)
	}
}

func TestClientFailover(t *testing.T) {
	const good = `{"error_code":"92020000","data":{"status":"ALIVE"}}`
	for _, tt := range []struct {
		name  string
		first func() (*http.Response, error)
		hosts string // that were called
		want  error
	}{
		{"first works", func() (*http.Response, error) { return reply(200, "application/json", good) }, "a", nil},
		{"unreachable", func() (*http.Response, error) { return nil, errors.New("no route") }, "ab", nil},
		{"gateway", func() (*http.Response, error) { return reply(502, "text/html", "<html>") }, "ab", nil},
		{"half", func() (*http.Response, error) { return reply(200, "application/json", good[:20]) }, "ab", nil},
		{"redirect", func() (*http.Response, error) { return reply(307, "text/plain", "") }, "ab", nil},
		{"business error", func() (*http.Response, error) { return reply(200, "application/json", `{"error_code":"92020005"}`) }, "a", koogallery.ErrUnknownCode},
		{"older internal error", func() (*http.Response, error) { return reply(500, "application/json", `{"error_code":"92020001"}`) }, "a", koogallery.ErrInternal},
		{"unauthorized", func() (*http.Response, error) { return reply(401, "application/json", `{"error_code":"APIGW.0301"}`) }, "a", koogallery.ErrUnauthorized},
		{"throttled", func() (*http.Response, error) { return reply(429, "application/json", `{"error_code":"APIGW.0308"}`) }, "a", koogallery.ErrUnavailable},
	} {
		t.Run(tt.name, func(t *testing.T) {
			hosts, signatures := "", map[string]bool{}
			opts := clientOptions("https://a", "https://b/")
			opts.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				hosts += r.Host
				signatures[r.Header.Get("Authorization")] = true
				if r.Host == "a" {
					return tt.first()
				}
				return reply(200, "application/json", good)
			})
			_, err := newClient(t, opts).Query(t.Context(), testCode)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if hosts != tt.hosts || len(signatures) != len(hosts) {
				t.Errorf("called %s with %d signatures, want %s", hosts, len(signatures), tt.hosts)
			}
		})
	}
}

func TestClientTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opts := clientOptions("https://a", "https://b")
		opts.Timeout = 3 * time.Second
		var calls atomic.Int32
		opts.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			calls.Add(1)
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		c := newClient(t, opts)
		start := time.Now()
		_, err := c.Query(t.Context(), testCode)
		if !errors.Is(err, koogallery.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 6*time.Second {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		calls.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Query(ctx, testCode); !errors.Is(err, context.DeadlineExceeded) || calls.Load() != 1 {
			t.Errorf("%d calls: %v", calls.Load(), err)
		}
	})
}

// TestClientVerifiesServer runs against a certificate that the system does not
// know, then knows.
func TestClientVerifiesServer(t *testing.T) {
	ts := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"error_code":"92020000","data":{"status":"ALIVE"}}`)
	}))
	var log bytes.Buffer
	ts.Config.ErrorLog = newLogger(&log)
	ts.StartTLS()
	defer ts.Close()
	if _, err := newClient(t, clientOptions(ts.URL)).Query(t.Context(), testCode); !errors.Is(err, koogallery.ErrUnavailable) {
		t.Errorf("a stranger's certificate: %v", err)
	}
	opts := clientOptions(ts.URL)
	opts.ExtraRoots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ts.Certificate().Raw})
	if _, err := newClient(t, opts).Query(t.Context(), testCode); err != nil {
		t.Error(err)
	}
}

func TestSignRequestRefuses(t *testing.T) {
	request := func() *http.Request {
		return httptest.NewRequest(http.MethodGet, "https://a/b?c=d", nil)
	}
	key := koogallery.NewSecretKey("s")
	double := request()
	double.Header["X-Stage"] = []string{"1", "2"}
	query := request()
	query.URL.RawQuery = "a=%zz"
	for name, err := range map[string]error{
		"no access key": koogallery.SignRequest(request(), nil, "", key, testNow),
		"no secret key": koogallery.SignRequest(request(), nil, "AK", koogallery.SecretKey{}, testNow),
		"two values":    koogallery.SignRequest(double, nil, "AK", key, testNow),
		"bad query":     koogallery.SignRequest(query, nil, "AK", key, testNow),
	} {
		if err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}

// TestSignRequestEncoding compares two spellings of one request.
func TestSignRequestEncoding(t *testing.T) {
	key := koogallery.NewSecretKey("s")
	var got []string
	for _, u := range []string{
		"https://a:443/x%20y/%e4%bd%a0/?b=2&a=%2f&a=1&A=&c=x+y",
		"https://a/x%20y/你?A&a=1&a=/&b=2&c=x%20y",
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := koogallery.SignRequest(r, nil, "AK", key, testNow); err != nil {
			t.Fatal(err)
		}
		got = append(got, r.Header.Get("Authorization"))
	}
	if got[0] != got[1] {
		t.Errorf("two signatures of one request:\n%s\n%s", got[0], got[1])
	}
}
