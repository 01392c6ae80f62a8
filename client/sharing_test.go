package client_test

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// meanwhile is a connection on which something happens between the server's
// answer and its arrival.
type meanwhile struct {
	via http.RoundTripper
	do  func()
}

func (m *meanwhile) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := m.via.RoundTrip(r)
	if do := m.do; do != nil {
		m.do = nil
		do()
	}
	return resp, err
}

// slow opens the install once more, on a connection of its own.
func (s *site) slow() (*client.Guard, *meanwhile) {
	s.tb.Helper()
	m := &meanwhile{via: s.vendor}
	opts := s.opts
	s.opts.HTTPClient = &http.Client{Transport: m}
	g := s.open()
	s.opts = opts
	return g, m
}

// Two processes share a folder, and one changes the install while the other
// waits for an answer. Nothing that one of them got is lost.
func TestChangedMeanwhile(t *testing.T) {
	activate := func(code string) func(*client.Guard) error {
		return func(g *client.Guard) error { return g.Activate(t.Context(), code) }
	}
	refresh := func(g *client.Guard) error { return g.Refresh(t.Context()) }
	for name, c := range map[string]struct {
		fresh   bool // nothing is held at first
		waiting func(*client.Guard) error
		others  []func(*client.Guard) error
		want    license.Reason // of the one that waits
		held    string         // jti in the end
	}{
		"refresh, and an activation":            {false, refresh, []func(*client.Guard) error{activate(otherCode)}, license.Conflict, "jti-3"},
		"refresh, and the same":                 {false, refresh, []func(*client.Guard) error{refresh}, "", "jti-2"},
		"refresh, and two":                      {false, refresh, []func(*client.Guard) error{refresh, refresh}, "", "jti-3"},
		"refresh, and a deactivation":           {false, refresh, []func(*client.Guard) error{func(g *client.Guard) error { return g.Deactivate(t.Context()) }}, license.Conflict, ""},
		"activation, and the same":              {true, activate(code), []func(*client.Guard) error{activate(code)}, "", "jti-1"},
		"activation, and another":               {true, activate(code), []func(*client.Guard) error{activate(otherCode)}, license.Conflict, "jti-2"},
		"activation, and a refresh":             {false, activate(otherCode), []func(*client.Guard) error{refresh}, "", "jti-2"},
		"deactivation, and another activation":  {false, func(g *client.Guard) error { return g.Deactivate(t.Context()) }, []func(*client.Guard) error{activate(otherCode)}, "", "jti-2"},
		"activation, and a deactivation before": {false, activate(otherCode), []func(*client.Guard) error{func(g *client.Guard) error { return g.Deactivate(t.Context()) }}, "", "jti-2"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			b := s.open()
			if !c.fresh {
				check(t, b.Activate(t.Context(), code))
				s.clock.add(time.Second)
			}
			a, connection := s.slow()
			connection.do = func() {
				for _, do := range c.others {
					s.clock.add(time.Second)
					if err := do(b); err != nil {
						t.Error(err)
					}
				}
			}
			if err := c.waiting(a); license.ReasonOf(err) != c.want {
				t.Errorf("got %v, want %q", err, c.want)
			}
			for _, g := range []*client.Guard{a, s.open()} {
				if got := g.License().ID(); got != c.held {
					t.Errorf("holds %q, want %q", got, c.held)
				}
			}
			if c.held == "" {
				return
			}
			for _, g := range []*client.Guard{a, b} {
				s.clock.add(time.Hour)
				check(t, g.Refresh(t.Context()))
				wantLicensed(t, g)
			}
			if s.vendor.forks != 0 {
				t.Errorf("%d forks", s.vendor.forks)
			}
		})
	}
}

// Copies that all call home at once are one install.
func TestManyAtOnce(t *testing.T) {
	s := newSite(t)
	s.activated()
	var wg sync.WaitGroup
	for range 4 {
		g := s.open()
		wg.Go(func() {
			for range 10 {
				if err := g.Refresh(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	installs := map[string]bool{}
	for _, r := range s.vendor.seen() {
		installs[r.InstallID] = true
	}
	if len(installs) != 1 || s.vendor.forks != 0 {
		t.Errorf("%d installs, %d forks", len(installs), s.vendor.forks)
	}
	wantLicensed(t, s.open())
}

func TestManyActivateAtOnce(t *testing.T) {
	s := newSite(t)
	var wg sync.WaitGroup
	for range 4 {
		g := s.open()
		wg.Go(func() {
			if err := g.Activate(t.Context(), code); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	g := s.open()
	s.clock.add(time.Hour)
	check(t, g.Refresh(t.Context()))
	wantLicensed(t, g)
}

// Only what was read as damaged is set aside, not what came in its place.
func TestSetAsideOnlyWhatWasRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "install.json")
	c := client.NewFileCache(path)
	check(t, c.Store([]byte("good")))
	if moved, err := c.SetAside([]byte("bad")); err != nil || moved {
		t.Errorf("%v %v", moved, err)
	}
	if data, err := c.Load(); err != nil || string(data) != "good" {
		t.Errorf("%q %v", data, err)
	}
	if moved, err := c.SetAside([]byte("good")); err != nil || !moved {
		t.Errorf("%v %v", moved, err)
	}
	if data, err := os.ReadFile(path + ".damaged"); err != nil || string(data) != "good" {
		t.Errorf("%q %v", data, err)
	}
	if moved, err := c.SetAside([]byte("good")); err != nil || !moved { // by somebody else
		t.Errorf("%v %v", moved, err)
	}
}

// What a request waits with survives what another process stores.
func TestMergedMeanwhile(t *testing.T) {
	s := newSite(t)
	b := s.activated()
	a, connection := s.slow()
	s.vendor.refuse = func(r token.Request) error {
		if r.Op == token.OpActivate {
			return license.MarketplaceUnavailable
		}
		return nil
	}
	connection.do = func() {
		wantReason(t, b.Activate(t.Context(), otherCode), license.MarketplaceUnavailable)
	}
	s.clock.add(time.Hour)
	wantReason(t, a.Refresh(t.Context()), license.MarketplaceUnavailable)
	s.vendor.refuse = nil
	check(t, a.Refresh(t.Context()))
	if a.License().ID() != "jti-4" || readState(t, s).Sent.Activation != nil {
		t.Errorf("holds %s", a.License().ID())
	}
}
