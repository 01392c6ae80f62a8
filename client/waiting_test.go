package client_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// An activation whose answer does not come keeps no refresh waiting.
func TestRefreshBesideAnActivation(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	down := func(r token.Request) error {
		if r.Op == token.OpActivate {
			return license.Errorf(license.MarketplaceUnavailable, "later")
		}
		return nil
	}
	s.vendor.refuse = down
	wantReason(t, g.Activate(t.Context(), otherCode), license.MarketplaceUnavailable)
	first := g.License().InstallID()
	for range 3 {
		s.clock.add(10 * 24 * time.Hour)
		held := g.License().ID()
		wantReason(t, g.Refresh(t.Context()), license.MarketplaceUnavailable)
		wantLicensed(t, g)
		if g.License().ID() == held || g.License().InstallID() != first {
			t.Fatal("not refreshed")
		}
	}
	s.vendor.refuse = func(r token.Request) error {
		if r.Op == token.OpRefresh {
			return license.Suspended
		}
		return down(r)
	}
	err := g.Refresh(t.Context())
	wantReason(t, err, license.MarketplaceUnavailable)
	wantReason(t, err, license.Suspended)

	check(t, g.Close())
	s.vendor.refuse = nil
	g = s.open()
	check(t, g.Refresh(t.Context()))
	wantLicensed(t, g)
	if g.License().InstallID() == first {
		t.Error("the activation was not taken")
	}
	activations := map[string]bool{}
	for _, r := range s.vendor.seen()[1:] {
		if r.Op == token.OpActivate {
			activations[r.Raw] = true
		}
	}
	if len(activations) != 1 || s.vendor.forks != 0 {
		t.Errorf("%d activations, %d forks", len(activations), s.vendor.forks)
	}
	if seen := s.vendor.seen(); seen[len(seen)-1].Op != token.OpRefresh || seen[len(seen)-1].InstallID != g.License().InstallID() {
		t.Error("an answer that may be old was not refreshed")
	}
}

// replaceKey makes the server sign under a key that was born after what it
// granted so far; what it granted it signs again, as it was.
func replaceKey(s *site) {
	s.clock.add(time.Hour)
	born := s.clock.now()
	granted := map[string]time.Time{}
	for _, r := range s.vendor.seen() {
		granted[r.Raw] = r.IssuedAt
	}
	raw, err := token.SignKeySet(token.KeySet{
		Issuer: issuer, IssuedAt: born, ExpiresAt: born.Add(400 * 24 * time.Hour), Seq: 2, Keys: []token.Key{{
			ID: token.Thumbprint(public("sign-3")), Public: public("sign-3"), NotBefore: born, NotAfter: born.Add(400 * 24 * time.Hour),
		}},
	}, signer(s.tb, "anchor-1"))
	check(s.tb, err)
	s.vendor.keys, s.vendor.signer = raw, "sign-3"
	s.vendor.spoil = func(r token.Request, a *wire.Answer) {
		at, old := granted[r.Raw]
		if !old {
			return
		}
		a.Keys, a.Time = raw, timeToken(s.tb, r, at, "sign-3")
		if r.Op != token.OpDeactivate {
			c := bound(s.tb, claims(at), s.machine)
			c.InstallKey = r.InstallKey
			a.License = sign(s.tb, c, "sign-3")
		}
	}
}

// The answer was lost, and the key that signed it was replaced before it was
// asked for again: a new request heals that.
func TestKeyReplacedAfterTheGrant(t *testing.T) {
	for name, call := range map[string]func(*client.Guard) error{
		"activate": func(g *client.Guard) error { return g.Activate(t.Context(), code) },
		"transfer": func(g *client.Guard) error { return g.Transfer(t.Context(), code, "") },
		"refresh":  func(g *client.Guard) error { return g.Refresh(t.Context()) },
		"refresh after an activation": func(g *client.Guard) error {
			if err := g.Activate(t.Context(), code); !errors.Is(err, license.Unreachable) {
				return err
			}
			return g.Refresh(t.Context())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			g := s.open()
			if name == "refresh" {
				g = s.activated()
				s.clock.add(time.Hour)
			}
			s.vendor.lose = func(token.Request) bool { return true }
			wantReason(t, call(g), license.Unreachable)
			lost := s.vendor.seen()
			check(t, g.Close())
			replaceKey(s)
			s.vendor.lose = nil
			g = s.open()
			if name == "refresh after an activation" {
				check(t, g.Refresh(t.Context()))
			} else {
				check(t, call(g))
			}
			wantLicensed(t, g)
			seen := s.vendor.seen()[len(lost):]
			if seen[0].Raw != lost[len(lost)-1].Raw || s.vendor.forks != 0 {
				t.Errorf("not the same bytes first, or %d forks", s.vendor.forks)
			}
			s.clock.add(time.Hour)
			check(t, g.Refresh(t.Context()))
		})
	}
}

// A deactivation is asked for once: a second one would be a stranger's.
func TestKeyReplacedAfterDeactivation(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	s.vendor.lose = func(token.Request) bool { return true }
	wantReason(t, g.Deactivate(t.Context()), license.Unreachable)
	replaceKey(s)
	spoil := s.vendor.spoil
	s.vendor.lose = nil
	wantReason(t, g.Deactivate(t.Context()), license.Forged)
	s.vendor.spoil = func(r token.Request, a *wire.Answer) {
		spoil(r, a)
		a.Time = timeToken(t, r, s.clock.now(), "sign-3") // a server that knows how to
	}
	check(t, g.Deactivate(t.Context()))
	seen := s.vendor.seen()
	if len(seen) != 4 || seen[1].Raw != seen[2].Raw || seen[2].Raw != seen[3].Raw {
		t.Errorf("%d requests, not the same bytes", len(seen))
	}
}

// A server whose answers never verify is not flooded with new requests.
func TestAnswersThatNeverVerify(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	s.vendor.spoil = func(_ token.Request, a *wire.Answer) { a.License = a.License[:len(a.License)-4] }
	made := func() int {
		distinct := map[string]bool{}
		for _, r := range s.vendor.seen()[1:] {
			distinct[r.Raw] = true
		}
		return len(distinct)
	}
	for range 5 {
		s.clock.add(time.Hour)
		wantReason(t, g.Refresh(t.Context()), license.Damaged)
	}
	if n := made(); n != 2 {
		t.Errorf("%d requests", n)
	}
	s.clock.add(24 * time.Hour)
	wantReason(t, g.Refresh(t.Context()), license.Damaged)
	if n := made(); n != 3 {
		t.Errorf("%d requests a day later", n)
	}
	s.vendor.spoil = nil
	check(t, g.Refresh(t.Context()))
	wantLicensed(t, g)
}

// A laptop that goes in and out of its dock while answers are lost is no copy.
func TestMachineChangesBeforeTheAnswer(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	s.vendor.lose = func(token.Request) bool { return true }
	for _, mac := range []string{"3c:7c:3f:00:00:01", "3c:7c:3f:00:00:02", "3c:7c:3f:00:00:03"} {
		s.clock.add(time.Second)
		s.machine.Values[license.KindMAC] = []string{mac}
		wantReason(t, g.Refresh(t.Context()), license.Unreachable)
	}
	s.vendor.lose = nil
	s.machine.Values[license.KindMAC] = []string{"3c:7c:3f:00:00:04"}
	check(t, g.Refresh(t.Context()))
	seen := s.vendor.seen()
	if len(seen) != 6 || seen[1].Raw != seen[2].Raw || seen[1].Raw != seen[4].Raw || seen[5].Prev != "jti-2" || s.vendor.forks != 0 {
		t.Errorf("%d requests, %d forks", len(seen), s.vendor.forks)
	}
	if !g.Explain().OK || g.License().ID() != "jti-3" {
		t.Error("the machine of now was not told")
	}
}

// An activation that was made on a machine which is another one by now is
// followed by one for this machine.
func TestMachineExchangedBeforeTheAnswer(t *testing.T) {
	s := newSite(t)
	g := s.open()
	s.vendor.lose = func(token.Request) bool { return true }
	wantReason(t, g.Activate(t.Context(), code), license.Unreachable)
	s.vendor.lose = nil
	s.machine = machineB()
	check(t, g.Activate(t.Context(), code))
	wantLicensed(t, g)
	if seen := s.vendor.seen(); len(seen) != 3 || seen[0].Raw != seen[1].Raw {
		t.Errorf("%d requests, not the same bytes", len(seen))
	}
}

// The server may grant twice in a second.
func TestTwiceInASecond(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	for _, want := range []string{"jti-2", "jti-3"} {
		check(t, g.Refresh(t.Context()))
		if g.License().ID() != want || !g.License().Dates().IssuedAt.Equal(epoch) {
			t.Errorf("holds %s", g.License().ID())
		}
	}
	check(t, g.Close())
	wantLicensed(t, s.open())
}

// Giving one licence up costs no activation for another code.
func TestDeactivateBesideAnActivation(t *testing.T) {
	for _, c := range []struct {
		name, code string
		want       license.Reason
	}{{"another code", otherCode, ""}, {"the same code", code, license.NoLicense}} {
		t.Run(c.name, func(t *testing.T) {
			s := newSite(t)
			g := s.activated()
			s.vendor.lose = func(r token.Request) bool { return r.Op == token.OpActivate }
			wantReason(t, g.Activate(t.Context(), c.code), license.Unreachable)
			check(t, g.Deactivate(t.Context()))
			if st := g.Status(); st.Reason != license.NoLicense {
				t.Errorf("%+v", st)
			}
			s.vendor.lose = nil
			err := g.Refresh(t.Context())
			if c.want != "" {
				wantReason(t, err, c.want)
				return
			}
			check(t, err)
			wantLicensed(t, g)
			if seen := s.vendor.seen(); seen[1].Raw != seen[3].Raw {
				t.Error("not the same bytes")
			}
		})
	}
}
