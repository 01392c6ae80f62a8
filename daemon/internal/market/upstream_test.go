package market_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/market"
	"github.com/seed-357fa782/licensed/koogallery"
	"github.com/seed-357fa782/licensed/koogallery/sandbox"
	"github.com/seed-357fa782/licensed/license"
)

// A licence that no application waits for is told from one that is refused.
func TestDeliverToNobody(t *testing.T) {
	t.Parallel()
	s, err := sandbox.New(sandbox.Options{
		Products: []sandbox.Product{{ID: online, Interface: sandbox.Online}},
		Callback: sandbox.Callback{URL: "http://127.0.0.1/marketplace/koogallery", AccessKey: koogallery.NewAccessKey("the key")},
		Manual:   true, AccessKeyID: "ak", SecretAccessKey: koogallery.NewSecretKey("sk"),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	up, err := market.NewUpstream(market.UpstreamOptions{
		AccessKeyID: "ak", SecretAccessKey: "sk", BaseURLs: []string{"https://mkt.example.com"}, Transport: s.Transport(),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = up.Deliver(t.Context(), "no-such-event", []byte("a licence"))
	if !errors.Is(err, authority.ErrNoApplication) || license.ReasonOf(err) != license.Forbidden {
		t.Errorf("delivered to nobody: %v", err)
	}
}

// oneAnswer is a marketplace that answers every call with the same body.
type oneAnswer string

func (a oneAnswer) RoundTrip(rq *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(a))), Request: rq,
	}, nil
}

// An end that an order names is told from one that was only computed from its
// period, which a message about the end overrules.
func TestOrderEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind, more string
		want       time.Time
		estimated  bool
	}{
		"named":           {"NEW", `,"expireTime":"20270601000000"`, time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC), false},
		"computed":        {"NEW", ``, time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC), true},
		"of a renewal":    {"RENEW", ``, time.Time{}, false},
		"renewal's, said": {"RENEW", `,"expireTime":"20280301120000"`, time.Date(2028, 3, 1, 12, 0, 0, 0, time.UTC), false},
	} {
		up, err := market.NewUpstream(market.UpstreamOptions{
			AccessKeyID: "ak", SecretAccessKey: "sk", BaseURLs: []string{"https://mkt.example.com"},
			Transport: oneAnswer(`{"resultCode":"MKT.0000","resultMsg":"success","orderInfo":{"orderId":"CS1","orderType":"` + c.kind + `","createTime":"20260301120000",
				"orderLine":[{"orderLineId":"CS1-000001","chargingMode":"PERIOD","periodType":"year","periodNumber":1` + c.more + `,"productInfo":[{"productId":"OFFI1","linearValue":1}]}]}}`),
		})
		if err != nil {
			t.Fatal(err)
		}
		info, err := up.Order(t.Context(), "CS1", "")
		if err != nil || !info.ExpiresAt.Equal(c.want) || info.Estimated != c.estimated {
			t.Errorf("%s: it ends %s, estimated %v, %v", name, info.ExpiresAt, info.Estimated, err)
		}
	}
}
