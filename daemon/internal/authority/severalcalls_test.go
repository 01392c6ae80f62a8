package authority_test

import (
	"errors"
	"testing"

	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
)

// A token that one daemon has revoked is refused by the others at once.
func TestTokenRevokedByTheOtherDaemon(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.peers()
	made, text, err := one.a.CreateToken(t.Context(), admin, authority.NewToken{Name: "ci", Role: authority.RoleIssuer})
	w.must(err, "")
	_, err = other.a.Authenticate(t.Context(), text)
	w.must(err, "")
	_, _, err = one.a.RevokeToken(t.Context(), admin, made.ID)
	w.must(err, "")
	_, err = other.a.Authenticate(t.Context(), text)
	w.must(err, license.Unauthorized)
}

// A call with one idempotency key comes to two daemons at once: one makes it, the other
// is told to repeat it, and gets what the first has made then.
func TestKeyedCallAtTwoDaemons(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other := w.peers()
	call := func() *authority.Call {
		return &authority.Call{Principal: authority.Principal{ID: "tok_1", Name: "ci", Role: authority.RoleAdmin}, Operation: "issue"}
	}
	first, second := call(), call()
	for _, c := range []struct {
		p peer
		c *authority.Call
	}{{one, first}, {other, second}} { // both have begun before either has changed anything
		kept, end, err := c.p.a.BeginKeyed(t.Context(), c.c, "key-1", []byte("digest"))
		w.must(err, "")
		defer end()
		if kept != nil {
			t.Fatal("it was made before")
		}
	}
	issue := func(p peer, c *authority.Call) error {
		_, err := p.a.Issue(authority.WithCall(t.Context(), c), admin, authority.Order{Product: "cad", Customer: "ACME", For: day})
		return err
	}
	w.must(issue(one, first), "")
	err := issue(other, second)
	w.must(err, license.Conflict)
	if e, ok := errors.AsType[*license.Error](err); !ok || e.RetryAfter == 0 {
		t.Errorf("it is not told when to repeat the call: %v", err)
	}
	if n := w.events(license.ActionIssue); n != 1 {
		t.Errorf("%d licences", n)
	}
	third := w.copied(one.ring)
	kept, end, err := third.a.BeginKeyed(t.Context(), call(), "key-1", []byte("digest"))
	w.must(err, "")
	defer end()
	if kept == nil || len(kept.Made.Licenses) != 1 {
		t.Errorf("kept %+v", kept)
	}
}
