package client_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// A licence without an install key does not end the install that has one.
func TestKeylessLicenseKeepsTheKey(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	install := g.License().InstallID()
	refresh, err := g.Request(t.Context(), client.OpRefresh, client.RequestOptions{})
	check(t, err)
	s.clock.add(time.Hour)
	keyless := bound(t, claims(s.clock.now()), s.machine)
	check(t, g.Import(file(s.vendor.keys, sign(t, keyless, "sign-1"))))
	wantLicensed(t, g)
	if g.License().InstallID() != "" || len(readState(t, s).Key) == 0 {
		t.Fatal("the key is gone, or the licence was not taken")
	}
	wantErrField(t, g.Refresh(t.Context()), "op")
	check(t, g.Close())
	g = s.open()
	wantLicensed(t, g)
	s.clock.add(time.Hour)
	check(t, g.Import(s.carry(refresh)))
	if g.License().InstallID() != install {
		t.Error("not the install's licence again")
	}
	s.clock.add(time.Hour)
	check(t, g.Refresh(t.Context()))
	wantLicensed(t, g)
}

// A keyless licence does not keep an activation from being answered.
func TestKeylessLicenseBesideAnActivation(t *testing.T) {
	s := newSite(t)
	g := s.open()
	s.vendor.lose = func(token.Request) bool { return true }
	wantReason(t, g.Activate(t.Context(), code), license.Unreachable)
	check(t, g.Import(file(s.vendor.keys, sign(t, bound(t, claims(epoch), s.machine), "sign-1"))))
	s.vendor.lose = nil
	check(t, g.Refresh(t.Context()))
	if g.License().InstallID() == "" {
		t.Error("the activation was not answered")
	}
}

// What is authentic in a file is remembered whatever the licence in it is worth.
func TestImportKeepsWhatIsAuthentic(t *testing.T) {
	s := airGapped(t)
	g := s.open()
	req, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{Code: code})
	check(t, err)
	check(t, g.Import(s.carry(req)))
	newer, later := keySet(t, "anchor-1", 2, "sign-1", "sign-3"), epoch.Add(time.Hour)
	stranger := token.Request{InstallID: token.Thumbprint(public("x")), ID: "n"}
	f := token.File{
		Licenses: []string{sign(t, bound(t, claims(epoch), machineB()), "sign-1")},
		KeySets:  []string{newer}, Times: []string{timeToken(t, stranger, later, "sign-1")},
	}
	wantReason(t, g.Import(f.Marshal()), license.MachineMismatch)
	if m := readState(t, s); m.Keys != newer || m.Floor != later.Unix() {
		t.Errorf("floor %d", m.Floor)
	}
	wantLicensed(t, g)

	// Another set with the same number is not newer than the one seen.
	f.KeySets = []string{keySet(t, "anchor-1", 2, "sign-1", "sign-4")}
	f.Licenses = []string{sign(t, bound(t, claims(epoch.Add(time.Minute)), s.machine), "sign-4")}
	wantReason(t, g.Import(f.Marshal()), license.Forged)
	if m := readState(t, s); m.Keys != newer {
		t.Error("a set with the same number took the place of the one seen")
	}
	check(t, g.Close())
	wantLicensed(t, s.open())
}

// The same of an answer over the network.
func TestAnswerKeepsWhatIsAuthentic(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	s.clock.add(time.Hour)
	s.vendor.keys = keySet(t, "anchor-1", 2, "sign-1")
	s.vendor.grant = func(_ token.Request, c *token.License) { *c = bound(t, *c, machineB()) }
	wantReason(t, g.Refresh(t.Context()), license.MachineMismatch)
	if m := readState(t, s); m.Keys != s.vendor.keys || m.Floor != s.clock.now().Unix() {
		t.Errorf("floor %d", m.Floor)
	}
	wantLicensed(t, g)
}

// rivalSet is a newer key set that an anchor signed for another issuer.
func rivalSet(t *testing.T) string {
	t.Helper()
	raw, err := token.SignKeySet(token.KeySet{
		Issuer: "https://rival.example", IssuedAt: epoch, ExpiresAt: epoch.Add(time.Hour), Seq: 99, Keys: []token.Key{{
			ID: token.Thumbprint(public("sign-9")), Public: public("sign-9"), NotBefore: epoch.Add(-time.Hour), NotAfter: epoch.Add(time.Hour),
		}},
	}, signer(t, "anchor-2"))
	check(t, err)
	return raw
}

func TestKeySetOfAnotherIssuer(t *testing.T) {
	s := newSite(t)
	s.opts.Issuer = issuer
	g := s.activated()
	own := s.vendor.keys
	newer := bound(t, claims(epoch.Add(time.Second)), s.machine)
	newer.InstallKey = s.vendor.seen()[0].InstallKey
	f := token.File{Licenses: []string{sign(t, newer, "sign-1")}, KeySets: []string{rivalSet(t), own}}
	stamp, err := token.SignTime(token.Time{
		Issuer: "https://rival.example", IssuedAt: epoch.Add(time.Minute), InstallID: g.License().InstallID(), Nonce: "n",
	}, signer(t, "sign-9"))
	check(t, err)
	f.Times = []string{stamp}
	check(t, g.Import(f.Marshal()))
	if m := readState(t, s); m.Keys != own || m.Floor > epoch.Add(time.Second).Unix() {
		t.Error("a key set of another issuer counts")
	}
	v := newVerifier()
	v.Issuer = issuer
	lic(t, v, f.Marshal())
	f.KeySets = f.KeySets[:1]
	_, err = v.Verify(f.Marshal())
	wantReason(t, err, license.Forged)

	s.vendor.keys = rivalSet(t)
	s.clock.add(time.Minute)
	wantReason(t, g.Refresh(t.Context()), license.Forged)
	s.opts.Keys = rivalSet(t)
	_, err = client.Open(t.Context(), s.opts)
	wantReason(t, err, license.Forged)
}

// The answer to a deactivation is a file without a licence.
func TestImportAnswerToDeactivation(t *testing.T) {
	s := airGapped(t)
	g := s.open()
	req, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{Code: code})
	check(t, err)
	check(t, g.Import(s.carry(req)))
	s.clock.add(time.Hour)
	receipt, err := g.Request(t.Context(), client.OpDeactivate, client.RequestOptions{})
	check(t, err)
	answer := s.carryAway(receipt)

	// It is nobody else's answer, and no licence.
	other := airGapped(t)
	wantReason(t, other.open().Import(answer), license.Damaged)
	if m := readState(t, other); m.Floor != s.clock.now().Unix() || m.Keys != s.vendor.keys {
		t.Error("what is authentic in it was forgotten")
	}
	_, err = newVerifier().Verify(answer)
	wantReason(t, err, license.Damaged)
	if !strings.Contains(err.Error(), "holds no licence") {
		t.Error(err)
	}

	for range 2 {
		check(t, g.Import(answer))
		if st := g.Status(); st.Reason != license.NoLicense {
			t.Errorf("%+v", st)
		}
	}
	if got := readState(t, s).Floor; got != s.clock.now().Unix() {
		t.Errorf("the floor is %d", got)
	}
}

// carryAway carries a deactivation to the server and brings the answer.
func (s *site) carryAway(requestFile []byte) []byte {
	s.tb.Helper()
	raw, err := token.ParseRequestFile(requestFile)
	check(s.tb, err)
	a, _, err := s.vendor.answer(raw)
	check(s.tb, err)
	return token.File{KeySets: []string{a.Keys}, Times: []string{a.Time}}.Marshal()
}

// An answer over the network that was lost may come by hand.
func TestImportEndsADeactivationThatWaits(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	s.vendor.lose = func(token.Request) bool { return true }
	wantReason(t, g.Deactivate(t.Context()), license.Unreachable)
	wantLicensed(t, g)
	r := s.vendor.seen()[1]
	check(t, g.Import(s.carryAway(token.MarshalRequestFile(r.Raw))))
	if m := readState(t, s); m.License != "" || m.Receipt != r.Raw {
		t.Error("not given up")
	}
}

// A carried activation is still answered after the licence was given up.
func TestImportAfterDeactivation(t *testing.T) {
	s := newSite(t)
	g := s.activated()
	req, err := g.Request(t.Context(), client.OpActivate, client.RequestOptions{})
	check(t, err)
	check(t, g.Deactivate(t.Context()))
	check(t, g.Import(s.carry(req)))
	wantLicensed(t, g)
}
