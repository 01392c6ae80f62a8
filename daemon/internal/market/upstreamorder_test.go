package market_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/daemon/internal/market"
	"github.com/seed-357fa782/licensed/license"
)

// answers is an open API that gives each call the same answer.
type answers string

func (a answers) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(a))),
	}, nil
}

// An order of several lines is told whole where none is named; a time that cannot
// be is none.
func TestOrderLines(t *testing.T) {
	t.Parallel()
	line := func(id, product string) string {
		return `{"orderLineId":"` + id + `","chargingMode":"PERIOD","expireTime":"20270301000000","productInfo":[{"productId":"` + product + `","linearValue":"2"}]}`
	}
	order := func(created string, lines ...string) answers {
		return answers(`{"resultCode":"MKT.0000","orderInfo":{"orderId":"CS1","orderType":"NEW","createTime":"` + created +
			`","buyerInfo":{"customerName":"ACME"},"orderLine":[` + strings.Join(lines, ",") + `]}}`)
	}
	info := func(id, product string, ordered time.Time) authority.OrderInfo {
		return authority.OrderInfo{
			Line: id, Type: "NEW", Product: product, Amount: 2, Customer: "ACME", OrderedAt: ordered, ExpiresAt: time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC),
		}
	}
	placed := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	one, two := line("CS1-1", "OFFI1"), line("CS1-2", "OFFI2")
	for name, c := range map[string]struct {
		answer answers
		line   string
		want   authority.OrderInfo
		reason license.Reason
	}{
		"all": {order("20260301000000", one, two), "", authority.OrderInfo{
			Lines: []authority.OrderInfo{info("CS1-1", "OFFI1", placed), info("CS1-2", "OFFI2", placed)},
		}, ""},
		"the only one":       {order("20260301000000", one), "", info("CS1-1", "OFFI1", placed), ""},
		"one of them":        {order("20260301000000", one, two), "CS1-2", info("CS1-2", "OFFI2", placed), ""},
		"none of them":       {order("20260301000000", one, two), "CS1-3", authority.OrderInfo{}, license.NotFound},
		"placed in the past": {order("19260301000000", one), "", info("CS1-1", "OFFI1", time.Time{}), ""},
	} {
		up, err := market.NewUpstream(market.UpstreamOptions{
			AccessKeyID: "ak", SecretAccessKey: "sk", BaseURLs: []string{"https://mkt.example.com"}, Transport: c.answer,
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err := up.Order(t.Context(), "CS1", c.line)
		if license.ReasonOf(err) != c.reason || !cmp.Equal(got, c.want) {
			t.Errorf("%s: %v: %s", name, err, cmp.Diff(c.want, got))
		}
	}
}
