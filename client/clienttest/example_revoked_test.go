package clienttest_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/clienttest"
	"github.com/seed-357fa782/licensed/license"
)

// daily is the merchant's own code: it calls home, and returns what to tell the
// user, "" for nothing.
func daily(t *testing.T, licence *client.Guard) (notice string) {
	t.Helper()
	err := licence.Refresh(t.Context())
	switch st := licence.Status(); {
	case st.Reason == license.Revoked:
		return "Your licence was revoked. Please ask sales@example.com."
	case errors.Is(err, license.Unreachable):
		return "" // it has time until st.LeaseUntil
	case !st.Usable:
		return st.String()
	}
	return ""
}

// In the product's tests this is TestUserIsToldWhenRevoked.
func userIsToldWhenRevoked(t *testing.T) {
	s := clienttest.NewServer(t, clienttest.ServerOptions{})
	code := s.Issue(clienttest.LicenseSpec{})
	g := s.Open(t)
	if err := g.Activate(t.Context(), code); err != nil {
		t.Fatal(err)
	}

	s.Down()
	if notice := daily(t, g); notice != "" {
		t.Errorf("without a network the user is told %q", notice)
	}
	s.Up()
	s.Revoke(code)
	if notice := daily(t, g); !strings.Contains(notice, "revoked") {
		t.Errorf("the user is told %q", notice)
	}
	if g.Feature("export") {
		t.Error("the feature stays")
	}
}

// The user is told when the licence was revoked, and not bothered because there
// is no network.
func Example_revoked() {
	_ = userIsToldWhenRevoked
}
