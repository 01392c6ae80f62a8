package authority_test

import (
	"testing"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// Staff for one product does not spend a code of another: its activation at the
// marketplace, which begins its term, is not asked for before that is refused.
func TestScopeBeforeTheMarketplaceIsAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	code, _ := w.sell("PL001")
	call := authority.Call{Principal: authority.Principal{ID: "t", Name: "t", Role: authority.RoleAdmin, Products: []string{"other"}}, Operation: "sign"}
	staff := admin
	x := w.install("x")
	ask := func() error {
		_, err := w.a.Request(authority.WithCall(t.Context(), &call), x.request(token.OpActivate, withCode(code)), license.Code{}, authority.Caller{Staff: &staff})
		return err
	}
	w.must(ask(), license.Forbidden)
	if n := w.up.count("query") + w.up.count("activate"); n != 0 || w.up.codes["PL001"].active {
		t.Errorf("the marketplace was asked %d times", n)
	}
	call.Principal.Products = []string{"cad"}
	w.must(ask(), "")
}
