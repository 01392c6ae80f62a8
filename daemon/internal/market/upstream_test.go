package market_test

import (
	"errors"
	"testing"

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
