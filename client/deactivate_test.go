package client_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// leaving is an install whose deactivation the server has answered, and the
// answer was lost. As a server does, it knows the install no more: it answers
// only the same bytes again. given are those bytes.
func leaving(t *testing.T) (s *site, g *client.Guard, given string) {
	t.Helper()
	s = newSite(t)
	g = s.activated()
	s.vendor.lose = func(token.Request) bool { return true }
	wantReason(t, g.Deactivate(t.Context()), license.Unreachable)
	wantLicensed(t, g)
	dead := s.vendor.seen()[1]
	s.vendor.refuse = func(r token.Request) error {
		if r.InstallID == dead.InstallID {
			return license.Unauthorized
		}
		return nil
	}
	s.clock.add(24 * time.Hour)
	return s, g, dead.Raw
}

// wantGivenUp checks that nothing is held, and what was sent since the
// deactivation: its own bytes, times over, and nothing else.
func wantGivenUp(t *testing.T, s *site, g *client.Guard, given string, times int) {
	t.Helper()
	if st := g.Status(); st.Reason != license.NoLicense {
		t.Errorf("%+v", st)
	}
	if m := readState(t, s); m.Key != nil || m.License != "" || m.Receipt != given || m.Sent.Deactivation != nil {
		t.Error("not given up, or by other bytes")
	}
	seen := s.vendor.seen()[2:]
	for _, r := range seen {
		if r.Raw != given {
			t.Errorf("sent %s in between", r.Op)
		}
	}
	if len(seen) != times {
		t.Errorf("%d requests, want %d", len(seen), times)
	}
}

// A call home takes no deactivation's place.
func TestRefreshWhileADeactivationWaits(t *testing.T) {
	s, g, given := leaving(t)
	wantReason(t, g.Refresh(t.Context()), license.Unreachable)
	check(t, g.Close())
	g = s.open()
	wantReason(t, g.Refresh(t.Context()), license.Unreachable)
	wantLicensed(t, g)
	s.vendor.lose = nil
	check(t, g.Deactivate(t.Context()))
	wantGivenUp(t, s, g, given, 3)
}

func TestRefreshCompletesADeactivation(t *testing.T) {
	s, g, given := leaving(t)
	check(t, g.Close())
	s.vendor.lose = nil
	g = s.open()
	err := g.Refresh(t.Context())
	wantReason(t, err, license.NoLicense)
	if !strings.Contains(err.Error(), "deactivation") {
		t.Errorf("does not say why: %v", err)
	}
	wantGivenUp(t, s, g, given, 1)
	wantReason(t, g.Deactivate(t.Context()), license.NoLicense)
}

// A problem answer is not signed: it gives nothing up, and costs no bytes.
func TestDeactivationRefusedOnTheWay(t *testing.T) {
	s, g, given := leaving(t)
	s.vendor.lose = nil
	for range 2 {
		s.vendor.respond = func(*http.Request) (*http.Response, error) {
			return response(401, wire.TypeProblem, wire.NewProblem(license.Unauthorized, "r-1")), nil
		}
		wantReason(t, g.Deactivate(t.Context()), license.Unauthorized)
		wantReason(t, g.Refresh(t.Context()), license.Unauthorized)
		wantLicensed(t, g)
		check(t, g.Close())
		g = s.open()
	}
	s.vendor.respond = nil
	check(t, g.Deactivate(t.Context()))
	wantGivenUp(t, s, g, given, 1)
}

// Where the server refused, the licence is kept and refreshed, and what was
// refused is not asked for until it is wished for again.
func TestRefreshAfterADeactivationWasRefused(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	s.vendor.refuse = func(r token.Request) error {
		if r.Op == token.OpDeactivate {
			return license.Forbidden
		}
		return nil
	}
	wantReason(t, g.Deactivate(t.Context()), license.Forbidden)
	s.vendor.refuse = nil
	for range 2 {
		s.clock.add(24 * time.Hour)
		check(t, g.Refresh(t.Context()))
		wantLicensed(t, g)
	}
	check(t, g.Deactivate(t.Context()))
	seen := s.vendor.seen()
	if len(seen) != 5 || seen[4].Prev != "jti-3" || s.vendor.forks != 0 {
		t.Errorf("%d requests, %d forks", len(seen), s.vendor.forks)
	}
}

// An activation has a place of its own, and what it brings stays.
func TestActivateWhileADeactivationWaits(t *testing.T) {
	for name, code := range map[string]string{"another code": otherCode, "the same code": code} {
		for answer, lost := range map[string]bool{"at once": false, "later": true} {
			t.Run(name+" "+answer, func(t *testing.T) {
				s, g, given := leaving(t)
				s.vendor.lose = func(token.Request) bool { return lost }
				if err := g.Activate(t.Context(), code); lost {
					wantReason(t, err, license.Unreachable)
					s.vendor.lose = nil
					check(t, g.Close())
					g = s.open()
					if s.clock.add(time.Second); readState(t, s).Sent.Deactivation.Request != given {
						t.Error("the deactivation was lost")
					}
				} else {
					check(t, err)
				}
				check(t, g.Refresh(t.Context()))
				wantLicensed(t, g)
				if m := readState(t, s); m.Sent.Deactivation != nil || m.Sent.Activation != nil {
					t.Error("something waits still")
				}
				check(t, g.Deactivate(t.Context()))
			})
		}
	}
}

// A deactivation that waits may be carried, too.
func TestRequestWhileADeactivationWaits(t *testing.T) {
	s, g, given := leaving(t)
	receipt, err := g.Request(t.Context(), client.OpDeactivate, client.RequestOptions{})
	check(t, err)
	if string(receipt) != string(token.MarshalRequestFile(given)) {
		t.Error("not the same bytes")
	}
	wantGivenUp(t, s, g, given, 0)
}

// The licence that another process got meanwhile changes no wish to leave.
func TestDeactivationOutlivesARefresh(t *testing.T) {
	s := newSite(t)
	b := s.activated()
	a, connection := s.slow()
	connection.do = func() {
		s.vendor.lose = func(token.Request) bool { return true }
		wantReason(t, b.Deactivate(t.Context()), license.Unreachable)
		s.vendor.lose = nil
	}
	s.clock.add(time.Hour)
	check(t, a.Refresh(t.Context()))
	if a.License().ID() != "jti-2" {
		t.Errorf("holds %s", a.License().ID())
	}
	check(t, a.Deactivate(t.Context()))
	seen := s.vendor.seen()
	if len(seen) != 4 || seen[2].Op != token.OpDeactivate || seen[2].Raw != seen[3].Raw {
		t.Errorf("%d requests, not the same bytes", len(seen))
	}
}

// Files of before have a deactivation where a refresh waits.
func TestDeactivationInAnOldState(t *testing.T) {
	s, g, given := leaving(t)
	check(t, g.Close())
	m := readState(t, s)
	m.Sent.Refresh, m.Sent.Deactivation = m.Sent.Deactivation, nil
	data, err := client.Encode(m)
	check(t, err)
	check(t, os.WriteFile(filepath.Join(s.opts.StateDir, "install.json"), data, 0o600))
	s.vendor.lose = nil
	g = s.open()
	wantReason(t, g.Refresh(t.Context()), license.NoLicense)
	wantGivenUp(t, s, g, given, 1)
}
