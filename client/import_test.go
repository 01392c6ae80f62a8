package client_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// airGapped is a site without a network; what it asks for is carried.
func airGapped(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.opts.Server = ""
	return s
}

// carry takes a request file to the server and brings the answer.
func (s *site) carry(requestFile []byte) []byte {
	s.tb.Helper()
	raw, err := token.ParseRequestFile(requestFile)
	check(s.tb, err)
	a, _, err := s.vendor.answer(raw)
	check(s.tb, err)
	return token.File{Licenses: []string{a.License}, KeySets: []string{a.Keys}, Times: []string{a.Time}}.Marshal()
}

func TestAirGap(t *testing.T) {
	s := airGapped(t)
	g := s.open()
	wantErrField(t, g.Activate(t.Context(), code), "server")
	req, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{Code: code})
	check(t, err)
	again, err := s.open().Request(t.Context(), client.OpActivate, client.RequestOptions{Code: code})
	check(t, err)
	if string(req) != string(again) {
		t.Error("the same wish made other bytes")
	}
	answer := s.carry(req)
	check(t, g.Import(answer))
	wantLicensed(t, g)
	check(t, g.Import(answer)) // twice does no harm
	first := g.License().ID()

	s.clock.add(24 * time.Hour)
	req, err = g.Request(t.Context(), client.OpRefresh, client.RequestOptions{})
	check(t, err)
	check(t, g.Import(s.carry(req)))
	if g.License().ID() == first {
		t.Error("not refreshed")
	}
	wantReason(t, g.Import(answer), license.Older)
	check(t, g.Close())
	g = s.open()
	wantReason(t, g.Import(answer), license.Older)
	wantLicensed(t, g)

	receipt, err := g.Request(t.Context(), client.OpDeactivate, client.RequestOptions{})
	check(t, err)
	if st := g.Status(); st.Reason != license.NoLicense {
		t.Errorf("still licensed with the receipt made: %+v", st)
	}
	again, err = s.open().Request(t.Context(), client.OpDeactivate, client.RequestOptions{})
	check(t, err)
	if string(receipt) != string(again) {
		t.Error("another receipt")
	}
	wantReason(t, g.Import(answer), license.MachineMismatch) // its key is gone
}

func wantErrField(tb testing.TB, err error, field string) {
	tb.Helper()
	var e *license.Error
	if !errors.As(err, &e) || e.Reason != license.BadRequest || e.Field != field {
		tb.Fatalf("got %v, want bad_request of %s", err, field)
	}
}

func TestRequestRefuses(t *testing.T) {
	s := airGapped(t)
	g := s.open()
	for _, c := range []struct {
		op    client.Op
		o     client.RequestOptions
		field string
	}{
		{"format-disk", client.RequestOptions{}, "op"},
		{client.OpActivate, client.RequestOptions{Code: "LIC-AAAAA-AAAAA-AAAAA-AAAAA-AAAAAA"}, "code"},
		{client.OpRefresh, client.RequestOptions{Code: code}, "code"},
		{client.OpActivate, client.RequestOptions{From: "x"}, "from"},
		{client.OpTransfer, client.RequestOptions{Code: code, From: "x"}, "from"},
	} {
		_, err := g.Request(t.Context(), c.op, c.o)
		wantErrField(t, err, c.field)
	}
	for _, op := range []client.Op{client.OpRefresh, client.OpDeactivate} {
		_, err := g.Request(t.Context(), op, client.RequestOptions{})
		wantReason(t, err, license.NoLicense)
	}
}

// Making a request needs no anchors; taking an answer does.
func TestRequestWithoutAnchors(t *testing.T) {
	s := airGapped(t)
	s.opts.Anchors = nil
	g := s.open()
	req, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{})
	check(t, err)
	answer := s.carry(req)
	wantErrField(t, g.Import(answer), "anchors")
	check(t, g.Close())
	s.opts.Anchors = anchors()
	g = s.open()
	check(t, g.Import(answer))
	check(t, g.Close())
	s.opts.Anchors = nil
	g = s.open()
	if g.Status().Usable {
		t.Error("usable without trust")
	}
	req, err = g.Request(t.Context(), client.OpRefresh, client.RequestOptions{})
	check(t, err)
	s.opts.Anchors = anchors()
	s.clock.add(time.Hour)
	check(t, s.open().Import(s.carry(req)))
}

// A request for a seat says which instance asks, and another name is another request.
func TestRequestNamesTheInstance(t *testing.T) {
	s := airGapped(t)
	ask := func(instance string) token.Request {
		t.Helper()
		s.opts.Instance = instance
		g := s.open()
		file, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{Code: code})
		check(t, err)
		raw, err := token.ParseRequestFile(file)
		check(t, err)
		r, err := token.VerifyRequest(raw)
		check(t, err)
		check(t, g.Close())
		return r
	}
	first, again, other := ask("pod-0"), ask("pod-0"), ask("pod-1")
	if first.Instance != "pod-0" || first.Raw != again.Raw || other.Instance != "pod-1" || ask("").Instance != "" {
		t.Errorf("%q, %q", first.Instance, other.Instance)
	}
	for _, bad := range []string{strings.Repeat("x", 129), "a\nb", "\xff"} {
		s.opts.Instance = bad
		_, err := client.Open(t.Context(), s.opts)
		wantErrField(t, err, "instance")
	}
}

// A machine that changed, or another code, makes another request.
func TestRequestFollowsTheMachine(t *testing.T) {
	s := airGapped(t)
	s.machine = fingerprint.Set{Environment: fingerprint.Container}
	g := s.open()
	weak, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{Code: code})
	check(t, err)
	s.machine.Values = map[license.Kind][]string{license.KindCustom: {"asset-17"}}
	strong, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{Code: code})
	check(t, err)
	other, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{Code: code + "X"})
	check(t, err)
	if string(weak) == string(strong) || string(strong) == string(other) {
		t.Error("the same bytes")
	}
	check(t, g.Import(s.carry(other)))
	wantLicensed(t, g)
}

// A file that is under way and calls over the network do not disturb each other.
func TestCarriedBesideOnline(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	req, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{})
	check(t, err)
	s.clock.add(time.Hour)
	check(t, g.Refresh(t.Context()))
	s.vendor.refuse = func(token.Request) error { return license.Suspended }
	wantReason(t, g.Refresh(t.Context()), license.Suspended)
	s.vendor.refuse = nil
	online := g.License().InstallID()
	check(t, g.Import(s.carry(req)))
	wantLicensed(t, g)
	if g.License().InstallID() == online {
		t.Error("the carried activation was not taken")
	}
	s.clock.add(time.Hour)
	check(t, g.Refresh(t.Context()))
}

func TestImportRefuses(t *testing.T) {
	keys := keySet(t, "anchor-1", 1, "sign-1")
	made := func(change func(*token.License), keyName string) []byte {
		c := bound(t, claims(epoch.Add(time.Hour)), machineA())
		change(&c)
		return file(keys, sign(t, c, keyName))
	}
	for name, c := range map[string]struct {
		file []byte
		want license.Reason
	}{
		"nothing":           {nil, license.Damaged},
		"a stranger's":      {made(func(*token.License) {}, "stranger"), license.Forged},
		"another product":   {made(func(c *token.License) { c.Product = "viewer" }, "sign-1"), license.WrongProduct},
		"another install's": {made(func(c *token.License) { c.InstallKey = public("install-x") }, "sign-1"), license.MachineMismatch},
		"another machine's": {made(func(c *token.License) { *c = bound(t, *c, machineB()) }, "sign-1"), license.MachineMismatch},
		"older":             {made(func(c *token.License) { c.Dates.IssuedAt = epoch.Add(-time.Second) }, "sign-1"), license.Older},
		"unknown policy":    {made(func(c *token.License) { c.Binding.Policy = "fuzzy-9" }, "sign-1"), license.MachineMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			s := airGapped(t)
			g := s.open()
			req, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{Code: code})
			check(t, err)
			check(t, g.Import(s.carry(req)))
			before := readState(t, s)
			wantReason(t, g.Import(c.file), c.want)
			wantLicensed(t, g)
			if after := readState(t, s); after.License != before.License || after.Floor != before.Floor {
				t.Error("something changed")
			}
		})
	}
}

// A file that the merchant made for a machine needs no request; of those for
// several machines the one for this counts.
func TestImportWithoutInstallKey(t *testing.T) {
	s := airGapped(t)
	g := s.open()
	keys := keySet(t, "anchor-1", 1, "sign-1")
	here, there := bound(t, claims(epoch), machineA()), bound(t, claims(epoch.Add(time.Minute)), machineB())
	check(t, g.Import(file(keys, sign(t, there, "sign-1"), sign(t, here, "sign-1"))))
	wantLicensed(t, g)
	if g.License().ID() != here.ID {
		t.Error("took the other machine's")
	}
	_, err := g.Request(t.Context(), client.OpRefresh, client.RequestOptions{})
	wantErrField(t, err, "op")
	check(t, g.Close())
	wantLicensed(t, s.open())
	s.machine = machineB()
	if st := s.open().Status(); st.Reason != license.MachineMismatch {
		t.Errorf("%+v", st)
	}
}

// Any authentic time raises the floor, and none lowers it.
func TestImportRaisesTheFloor(t *testing.T) {
	s := airGapped(t)
	g := s.open()
	later := epoch.Add(48 * time.Hour)
	stamp := timeToken(t, token.Request{InstallID: token.Thumbprint(public("x")), ID: "n"}, later, "sign-1")
	forged := timeToken(t, token.Request{InstallID: token.Thumbprint(public("x")), ID: "n"}, later.Add(9000*time.Hour), "stranger")
	f := token.File{
		Licenses: []string{sign(t, bound(t, claims(epoch), machineA()), "sign-1")},
		KeySets:  []string{keySet(t, "anchor-1", 1, "sign-1")}, Times: []string{forged, stamp},
	}
	check(t, g.Import(f.Marshal()))
	if st := g.Status(); st.Clock != client.ClockBehind || !st.At.Equal(later) {
		t.Errorf("%+v", st)
	}
	f.Times = nil
	check(t, g.Import(f.Marshal()))
	if got := readState(t, s).Floor; got != later.Unix() {
		t.Errorf("the floor is %d", got)
	}
}
