package koogallery_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/koogallery"
)

// The first address cannot be reached and the second refuses for good: that is an
// answer, not an outage.
func TestFinalRefusalByTheFallback(t *testing.T) {
	opts := clientOptions("https://one.example.com", "https://two.example.com")
	opts.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Host == "one.example.com" {
			return nil, errors.New("connection refused")
		}
		return reply(200, "application/json", `{"error_code":"91381037","error_msg":"Invalid license format."}`)
	})
	err := newClient(t, opts).Upload(t.Context(), "event", koogallery.Upload{License: []byte("x")})
	if !errors.Is(err, koogallery.ErrLicenseFormat) || koogallery.Retryable(err) {
		t.Errorf("retryable %v: %v", koogallery.Retryable(err), err)
	}
}

// While the fallback answers, a batch with one bad code is asked singly, as it is
// at the first address.
func TestBatchAtTheFallback(t *testing.T) {
	for _, bases := range [][]string{{"https://two.example.com"}, {"https://one.example.com", "https://two.example.com"}} {
		opts := clientOptions(bases...)
		opts.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			switch {
			case r.URL.Host == "one.example.com":
				return nil, errors.New("connection refused")
			case strings.Contains(r.URL.Path, "/v2/"):
				return reply(200, "application/json", `{"error_code":"92020020","error_msg":"Invalid license code exists."}`)
			}
			return reply(200, "application/json", `{"error_code":"92020000","data":{"status":"ALIVE"}}`)
		})
		c := newClient(t, opts)
		codes := func(yield func(koogallery.Code) bool) {
			_ = yield(koogallery.NewCode("PL1")) && yield(koogallery.NewCode("PL2"))
		}
		for r := range c.QueryAll(t.Context(), codes, nil) {
			if r.Err != nil {
				t.Errorf("%v: %v", bases, r.Err)
			}
		}
	}
}

// An answer that names another code than was asked for is not believed.
func TestQueryAboutAnotherCode(t *testing.T) {
	c := answering(t, 200, "application/json", `{"error_code":"92020000","data":{"license_code":"PL99999999999999999999","status":"RELEASED"}}`)
	info, err := c.Query(t.Context(), testCode)
	if err == nil {
		t.Errorf("asked about one code, and believed about another: %+v", info)
	}
}

// The literal of success is not known for this call, the order that was asked for is
// in the answer.
func TestOrderSuccessLiteral(t *testing.T) {
	c := answering(t, 200, "application/json", `{"resultCode":"0","resultMsg":"success","orderInfo":{"orderId":"CS1","orderType":"NEW","createTime":"20260101000000","orderLine":[{"orderLineId":"1","chargingMode":"PERIOD","expireTime":"20270101000000"}]}}`)
	if _, err := c.Order(t.Context(), "CS1", ""); err != nil {
		t.Error(err)
	}
}
