package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

func TestActivateAndRestart(t *testing.T) {
	s := newSite(t)
	g := s.open()
	if st := g.Status(); st.Usable || st.Reason != license.NoLicense || g.License() != nil || g.File() != nil || g.Feature("export") {
		t.Fatalf("before: %+v", st)
	}
	if entries, err := os.ReadDir(s.opts.StateDir); err != nil || len(entries) != 0 {
		t.Errorf("opening wrote %v %v", entries, err)
	}
	check(t, g.Activate(t.Context(), " "+code+"\n"))
	wantLicensed(t, g)
	r := s.vendor.seen()[0]
	if r.Op != token.OpActivate || r.Prev != "" || r.Code.Reveal() != code || r.Product != product {
		t.Errorf("request %+v", r)
	}
	if n, ok := g.Value("projects").Number(); !ok || n != 10 || g.License().InstallID() != r.InstallID {
		t.Errorf("projects %v", n)
	}
	check(t, g.Close())
	check(t, g.Close())
	wantLicensed(t, g)
	wantReason(t, g.Refresh(t.Context()), license.Conflict)

	s.vendor.respond = func(*http.Request) (*http.Response, error) { return nil, errors.New("the cable is out") }
	g = s.open()
	wantLicensed(t, g)
	if w := g.Warnings(); len(w) != 0 {
		t.Errorf("warnings %v", w)
	}
	wantReason(t, g.Refresh(t.Context()), license.Unreachable)
	wantLicensed(t, g)
	lic(t, newVerifier(), g.File())
	if e := g.Explain(); !e.OK {
		t.Errorf("explain %+v", e)
	}
}

func wantLicensed(tb testing.TB, g *client.Guard) {
	tb.Helper()
	if st := g.Status(); !st.Usable || !g.Feature("export") {
		tb.Fatalf("not licensed: %s (%s) %v", st, st.Reason, g.Warnings())
	}
}

// A clock that is wrong beyond measure keeps nobody from asking.
func TestAbsurdClocks(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(-5, 0), time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC)} {
		s := newSite(t)
		s.opts.Now = func() time.Time { return at }
		g := s.open()
		check(t, g.Activate(t.Context(), code))
		if st := g.Status(); (st.Clock == client.ClockBehind) != at.Before(epoch) {
			t.Errorf("%v: %+v", at, st)
		}
	}
}

func TestGuardDoesNotPrint(t *testing.T) {
	s := newSite(t)
	c := &client.MemoryCache{}
	s.opts.Cache = c
	g := s.open()
	s.vendor.lose = func(token.Request) bool { return true }
	err := g.Activate(t.Context(), code)
	wantReason(t, err, license.Unreachable)
	shown := fmt.Sprintf("%v %+v %#v %v %+v %#v %v", g, g, g, c, c, c, err)
	if strings.Contains(shown, code) || strings.Contains(shown, "eyJ") || strings.Contains(shown, "123 34 102") {
		t.Error(shown)
	}
}

func TestStateFileIsPrivate(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("permissions are not in the file mode on Windows")
	}
	s := newSite(t)
	s.opts.StateDir = filepath.Join(s.opts.StateDir, "a", "b")
	s.activated()
	for path, want := range map[string]os.FileMode{"": 0o700, "install.json": 0o600, "install.json.lock": 0o600} {
		info, err := os.Stat(filepath.Join(s.opts.StateDir, path))
		check(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%q has %o", path, got)
		}
	}
	entries, err := os.ReadDir(s.opts.StateDir)
	check(t, err)
	if len(entries) != 2 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestTypingErrorBeforeTheNetwork(t *testing.T) {
	s := newSite(t)
	g := s.open()
	for _, c := range []string{"", "  ", "LIC-AAAAA-AAAAA-AAAAA-AAAAA-AAAAAA", "a\x00b"} {
		err := g.Activate(t.Context(), c)
		var e *license.Error
		if !errors.As(err, &e) || e.Reason != license.BadRequest || e.Field != "code" {
			t.Errorf("%q: %v", c, err)
		}
	}
	if n := len(s.vendor.seen()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestRefresh(t *testing.T) {
	s := newSite(t)
	g := s.open()
	wantReason(t, g.Refresh(t.Context()), license.NoLicense)
	g = s.activated()
	first := g.License().ID()
	s.clock.add(20 * 24 * time.Hour) // the lease is over
	if st := g.Status(); st.Usable || st.Reason != license.LeaseOver {
		t.Fatalf("%+v", st)
	}
	check(t, g.Refresh(t.Context()))
	wantLicensed(t, g)
	seen := s.vendor.seen()
	r := seen[len(seen)-1]
	if r.Op != token.OpRefresh || r.Prev != first || r.License == "" || r.InstallID != seen[0].InstallID {
		t.Errorf("request %+v", r)
	}
	s.clock.add(-12 * time.Hour) // the clock is behind what the server proved
	if st := g.Status(); st.Clock != client.ClockBehind || !st.At.Equal(epoch.Add(20*24*time.Hour)) {
		t.Errorf("%+v", st)
	}
	s.clock.add(12*time.Hour - 5*time.Minute) // within the tolerance
	if st := g.Status(); st.Clock == client.ClockBehind || !st.Usable {
		t.Errorf("%+v", st)
	}
}

// The same bytes are sent until they were answered, by the next process too.
func TestLostAnswer(t *testing.T) {
	for name, call := range map[string]func(*client.Guard, context.Context) error{
		"activate": func(g *client.Guard, ctx context.Context) error { return g.Activate(ctx, code) },
		"refresh":  func(g *client.Guard, ctx context.Context) error { return g.Refresh(ctx) },
		"transfer": func(g *client.Guard, ctx context.Context) error { return g.Transfer(ctx, code, "") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			g := s.open()
			if name == "refresh" {
				g = s.activated()
				s.clock.add(time.Hour)
			}
			before := len(s.vendor.seen())
			s.vendor.lose = func(token.Request) bool { return true }
			wantReason(t, call(g, t.Context()), license.Unreachable)
			wantReason(t, call(g, t.Context()), license.Unreachable)
			check(t, g.Close())
			s.vendor.lose = nil
			s.clock.add(10 * time.Second)
			g = s.open()
			check(t, call(g, t.Context()))
			wantLicensed(t, g)
			seen := s.vendor.seen()[before:]
			if len(seen) != 3 || seen[0].Raw != seen[1].Raw || seen[0].Raw != seen[2].Raw {
				t.Fatalf("%d requests, not the same bytes", len(seen))
			}
			check(t, g.Refresh(t.Context()))
			if all := s.vendor.seen(); all[len(all)-1].Raw == seen[0].Raw {
				t.Error("an answered request was sent again")
			}
		})
	}
}

func TestLostAnswerIsAskedForAgainByRefresh(t *testing.T) {
	s := newSite(t)
	g := s.open()
	s.vendor.lose = func(token.Request) bool { return true }
	wantReason(t, g.Activate(t.Context(), code), license.Unreachable)
	s.vendor.lose = nil
	check(t, g.Refresh(t.Context()))
	wantLicensed(t, g)
	if seen := s.vendor.seen(); len(seen) != 2 || seen[0].Raw != seen[1].Raw {
		t.Error("not the same bytes")
	}
}

// The answer to an old request may be out of date; a new request follows.
func TestStaleAnswer(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	s.vendor.lose = func(token.Request) bool { return true }
	wantReason(t, g.Refresh(t.Context()), license.Unreachable)
	s.vendor.lose = nil
	s.clock.add(20 * 24 * time.Hour)
	check(t, g.Refresh(t.Context()))
	wantLicensed(t, g)
	if seen := s.vendor.seen(); len(seen) != 4 || seen[1].Raw != seen[2].Raw || seen[3].Prev != "jti-2" {
		t.Errorf("%d requests", len(seen))
	}
}

func TestRefusals(t *testing.T) {
	for _, reason := range license.Reasons() {
		t.Run(string(reason), func(t *testing.T) {
			s := newSite(t)
			g := s.activated()
			s.clock.add(time.Hour)
			held := g.License().ID()
			s.vendor.refuse = func(token.Request) error {
				return license.Errorf(reason, "because\nof\x1b[31m it").WithRetryAfter(time.Minute)
			}
			err := g.Refresh(t.Context())
			wantReason(t, err, reason)
			var e *license.Error
			if reason != license.Internal && (!errors.As(err, &e) || e.Detail != "because of [31m it" || e.RetryAfter != time.Minute) {
				t.Errorf("got %#v", e)
			}
			wantLicensed(t, g)
			s.vendor.refuse = nil
			check(t, g.Refresh(t.Context()))
			if g.License().ID() == held {
				t.Error("not refreshed")
			}
			seen := s.vendor.seen()
			transient := map[license.Reason]bool{
				license.RateLimited: true, license.Clock: true, license.MarketplaceUnavailable: true,
				license.ReadOnly: true, license.Internal: true,
			}
			if same := seen[1].Raw == seen[2].Raw; same != transient[reason] {
				t.Errorf("the same bytes again: %v", same)
			}
		})
	}
}

// A request that was overtaken (the memory comes from a backup) is replaced at once.
func TestOvertakenRequest(t *testing.T) {
	for _, reason := range []license.Reason{license.Replayed, license.Conflict} {
		s := newSite(t)
		g := s.activated()
		s.vendor.lose = func(token.Request) bool { return true }
		wantReason(t, g.Refresh(t.Context()), license.Unreachable)
		s.vendor.lose = nil
		waiting := s.vendor.seen()[1]
		delete(s.vendor.answers, string(waiting.Digest))
		s.vendor.refuse = func(r token.Request) error {
			if r.Raw == waiting.Raw {
				return license.Errorf(reason, "an older request")
			}
			return nil
		}
		check(t, g.Refresh(t.Context()))
		wantLicensed(t, g)
	}
}

// What does not come from our server, or not whole, costs nothing that is held.
// Of what is refused only an authentic time is remembered.
func TestSpoiledAnswers(t *testing.T) {
	day := 24 * time.Hour
	type hook = func(*site, token.Request, *wire.Answer)
	resign := func(change func(*token.License), keyName string) hook {
		return func(s *site, r token.Request, a *wire.Answer) {
			c := claims(s.clock.now())
			c.InstallKey = r.InstallKey
			c.Binding, _ = license.Bind(license.PolicyFuzzy, r.Fingerprint)
			change(&c)
			a.License = sign(s.tb, c, keyName)
		}
	}
	for name, c := range map[string]struct {
		spoil hook
		want  license.Reason
		timed bool // its time is authentic
	}{
		"nothing in it":          {func(_ *site, _ token.Request, a *wire.Answer) { *a = wire.Answer{} }, license.Unreachable, false},
		"no licence":             {func(_ *site, _ token.Request, a *wire.Answer) { a.License = "" }, license.Damaged, true},
		"no time":                {func(_ *site, _ token.Request, a *wire.Answer) { a.Time = "" }, license.Damaged, false},
		"cut licence":            {func(_ *site, _ token.Request, a *wire.Answer) { a.License = a.License[:len(a.License)-4] }, license.Damaged, true},
		"stranger's keys":        {func(s *site, _ token.Request, a *wire.Answer) { a.Keys = keySet(s.tb, "stranger", 9, "sign-1") }, license.Forged, false},
		"stranger's licence":     {resign(func(*token.License) {}, "stranger"), license.Forged, true},
		"another product":        {resign(func(c *token.License) { c.Product = "viewer" }, "sign-1"), license.WrongProduct, true},
		"another install's":      {resign(func(c *token.License) { c.InstallKey = public("install-x") }, "sign-1"), license.MachineMismatch, true},
		"no install's":           {resign(func(c *token.License) { c.InstallKey = nil }, "sign-1"), license.MachineMismatch, true},
		"another machine's":      {resign(func(c *token.License) { c.Binding, _ = license.Bind(license.PolicyFuzzy, machineB().Digests(product)) }, "sign-1"), license.MachineMismatch, true},
		"an older one":           {resign(func(c *token.License) { c.Dates.IssuedAt = epoch.Add(-time.Hour) }, "sign-1"), license.Older, true},
		"another issuer":         {resign(func(c *token.License) { c.Issuer = "https://rival.example" }, "sign-1"), license.Forged, true},
		"time for another":       {signTime(func(tm *token.Time) { tm.InstallID = token.Thumbprint(public("install-x")) }), license.Forged, false},
		"time of an old request": {signTime(func(tm *token.Time) { tm.Nonce = "older" }), license.Forged, false},
		"time by a stranger":     {func(s *site, r token.Request, a *wire.Answer) { a.Time = timeToken(s.tb, r, s.clock.now(), "stranger") }, license.Forged, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			g := s.activated()
			s.clock.add(day)
			before := readState(t, s)
			held := g.License().ID()
			s.vendor.spoil = func(r token.Request, a *wire.Answer) { c.spoil(s, r, a) }
			wantReason(t, g.Refresh(t.Context()), c.want)
			wantLicensed(t, g)
			after := readState(t, s)
			if c.timed != (after.Floor == before.Floor+int64(day/time.Second)) {
				t.Errorf("the floor went from %d to %d", before.Floor, after.Floor)
			}
			if g.License().ID() != held || after.Keys != before.Keys || after.License != before.License {
				t.Error("something changed")
			}
			s.vendor.spoil = nil
			check(t, g.Refresh(t.Context()))
			if g.License().ID() == held {
				t.Error("not refreshed afterwards")
			}
		})
	}
}

func signTime(change func(*token.Time)) func(*site, token.Request, *wire.Answer) {
	return func(s *site, r token.Request, a *wire.Answer) {
		tm := token.Time{Issuer: issuer, IssuedAt: s.clock.now(), InstallID: r.InstallID, Nonce: r.ID}
		change(&tm)
		raw, err := token.SignTime(tm, signer(s.tb, "sign-1"))
		check(s.tb, err)
		a.Time = raw
	}
}

func timeToken(tb testing.TB, r token.Request, now time.Time, keyName string) string {
	tb.Helper()
	raw, err := token.SignTime(token.Time{Issuer: issuer, IssuedAt: now, InstallID: r.InstallID, Nonce: r.ID}, signer(tb, keyName))
	check(tb, err)
	return raw
}

func readState(tb testing.TB, s *site) client.Memory {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(s.opts.StateDir, "install.json"))
	check(tb, err)
	m, err := client.Decode(data)
	check(tb, err)
	return m
}

// A server that lags behind with its key set is believed, its set is not taken.
func TestKeySetOnlyGrows(t *testing.T) {
	s := newSite(t)
	s.vendor.keys = keySet(t, "anchor-1", 5, "sign-1", "sign-2")
	g := s.activated()
	s.vendor.keys = keySet(t, "anchor-1", 4, "sign-1", "stolen")
	s.clock.add(time.Hour)
	check(t, g.Refresh(t.Context()))
	if got := readState(t, s).Keys; got != keySet(t, "anchor-1", 5, "sign-1", "sign-2") {
		t.Error("an older set was taken")
	}
	s.vendor.signer = "stolen" // revoked by the newer set
	wantReason(t, g.Refresh(t.Context()), license.Forged)
	wantLicensed(t, g)

	// The standby takes over; the thief of the primary is refused for good.
	s.vendor.keys, s.vendor.signer = keySet(t, "anchor-2", 1, "sign-2"), "sign-2"
	s.vendor.answers = map[string]wire.Answer{}
	s.clock.add(time.Hour)
	check(t, g.Refresh(t.Context()))
	s.vendor.keys, s.vendor.signer = keySet(t, "anchor-1", 1000, "sign-1"), "sign-1"
	wantReason(t, g.Refresh(t.Context()), license.Forged)
	check(t, g.Close())
	g = s.open()
	wantLicensed(t, g)
	wantReason(t, g.Refresh(t.Context()), license.Forged)
}

// A licence whose key a newer set revokes ends, and the next one heals it.
func TestRevokedKey(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	check(t, g.Close())
	s.opts.Keys = keySet(t, "anchor-1", 2, "sign-2") // came with an update of the product
	g = s.open()
	if st := g.Status(); st.Usable || st.Reason != license.Forged || len(g.Warnings()) != 1 {
		t.Fatalf("%+v %v", st, g.Warnings())
	}
	s.vendor.keys, s.vendor.signer = s.opts.Keys, "sign-2"
	s.clock.add(time.Hour)
	check(t, g.Refresh(t.Context()))
	wantLicensed(t, g)
}

func TestWrongMachine(t *testing.T) {
	s := newSite(t)
	check(t, s.activated().Close())
	s.machine = machineB()
	g := s.open()
	if st := g.Status(); st.Usable || st.Reason != license.MachineMismatch || st.Phase != license.PhaseBlocked || g.Feature("export") {
		t.Fatalf("%+v", st)
	}
	if e := g.Explain(); e.OK || len(e.Components) != 4 {
		t.Errorf("%+v", e)
	}
	s.opts.Fingerprint = func(context.Context) (fingerprint.Set, error) { return machineA(), errors.New("no permission") }
	g = s.open()
	if st := g.Status(); st.Reason != license.MachineMismatch || len(g.Warnings()) != 1 {
		t.Errorf("%+v %v", st, g.Warnings())
	}
	s.opts.Fingerprint = func(context.Context) (fingerprint.Set, error) { return machineA(), nil }
	wantLicensed(t, s.open())
}

func TestDeactivate(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	s.vendor.lose = func(token.Request) bool { return true }
	wantReason(t, g.Deactivate(t.Context()), license.Unreachable)
	wantLicensed(t, g)
	s.vendor.lose = nil
	s.machine = machineB() // leaving is asked for by the same bytes all the same
	check(t, g.Deactivate(t.Context()))
	if st := g.Status(); st.Reason != license.NoLicense {
		t.Errorf("%+v", st)
	}
	seen := s.vendor.seen()
	if len(seen) != 3 || seen[1].Raw != seen[2].Raw {
		t.Error("not the same bytes")
	}
	if m := readState(t, s); m.Key != nil || m.License != "" || m.Receipt != seen[2].Raw || m.Floor == 0 || m.Keys == "" {
		t.Error("kept the wrong things")
	}
	wantReason(t, g.Deactivate(t.Context()), license.NoLicense)
	s.machine = machineA()
	check(t, g.Activate(t.Context(), code))
	if seen := s.vendor.seen(); seen[3].InstallID == seen[0].InstallID {
		t.Error("a key lives once")
	}
}
