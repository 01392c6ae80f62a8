package authority_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/client"
	machine "github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

func (w *world) identify(ref, device string) (authority.Identified, error) {
	w.t.Helper()
	d, err := license.ParseDevice(device)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.a.Identify(w.t.Context(), admin, authority.Identification{Ref: authority.OrderRef{ID: ref}, Device: d})
}

func (w *world) identified(ref, device string) authority.Identified {
	w.t.Helper()
	made, err := w.identify(ref, device)
	w.must(err, "")
	return made
}

// fits reports whether a product on the machine of set accepts a licence file.
func (w *world) fits(file []byte, set machine.Set) bool {
	w.t.Helper()
	l, err := (&client.Verifier{Anchors: w.ring.Anchors(), Product: "cad", Issuer: issuer}).Verify(file)
	if err != nil {
		w.t.Fatal(err)
	}
	e := l.Explain(set)
	if e.OK != l.Match(set).OK || e.OK != (e.Advice == "") && e.Finding == "" {
		w.t.Errorf("explained as %+v", e)
	}
	return e.OK && l.Check(w.clock()).Usable
}

// The same code on the same licence gives the same file, however it is typed and
// whoever else was licensed since; each other code takes a machine.
func TestIdentify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue(func(o *authority.Order) { o.Machines = 2 })
	one := w.identified(is.License.ID, "8F6034E2-60E1")
	if !one.Made || one.Install.Handed.SHA256 == nil || one.License.ActivatedAt.IsZero() {
		t.Errorf("made %+v", one)
	}
	w.pass(20 * day)
	w.identified(is.Code.Reveal(), pc)
	for _, typed := range []string{"8F6034E2-60E1", " 8f6034e2-60e1\n", "8F60 34E2-60E1"} {
		again := w.identified(is.License.ID, typed)
		if again.Made || !bytes.Equal(again.File, one.File) {
			t.Errorf("%q: another file", typed)
		}
	}
	_, err := w.identify(is.License.ID, "HW-3")
	w.must(err, license.MachineLimit)
	if strings.Contains(err.Error(), "instance") {
		t.Errorf("refused as an instance: %v", err)
	}
	if _, installs := w.license(is.License.ID); len(installs) != 2 || w.events(license.ActionIdentify) != 5 || w.events(license.ActionBind) != 2 {
		t.Errorf("%d installs, %d made, %d bound", len(installs), w.events(license.ActionIdentify), w.events(license.ActionBind))
	}
	if bytes.Contains(one.File, []byte("8F6034E2")) {
		t.Error("the file names the code")
	}
	// A machine that calls home finds no place either.
	w.must(w.install("machine").activate(is.Code), license.MachineLimit)
}

// What was made from a code, or from the marketplace's string, is verified by a
// product that knows no more than that.
func TestIdentifiedIsVerifiedOffline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue(func(o *authority.Order) { o.Machines = 100 })
	parse := func(s string) machine.Set {
		set, err := machine.ParseMarketplace(s)
		w.must(err, "")
		return set
	}
	for device, c := range map[string]struct {
		fits, not []machine.Set
	}{
		"8F6034E2-60E1": {
			[]machine.Set{{Code: "8f6034e2-60e1"}, parse("8F6034E2-60E1"), {Code: " 8F60 34E2-60E1 ", Values: map[license.Kind][]string{license.KindOS: {"x"}}}},
			[]machine.Set{{}, {Code: "8F6034E2-60E2"}, parse(pc)},
		},
		"a code, with | bars": {
			[]machine.Set{{Code: "A code, with | bars"}, parse("a code, with | bars")},
			[]machine.Set{{Code: "a code"}},
		},
		pc: {
			[]machine.Set{
				parse(pc), parse("04-7C-16-5E-E3-5D,AA:AA:AA:11:22:33|001B_444A_488B_5CEC.|BOARD1|BFEBFBFF00090672"),
				{Values: map[license.Kind][]string{license.KindMAC: {"04:7c:16:5e:e3:5d"}, license.KindDisk: {"001B_444A_488B_5CEC."}}},
			},
			[]machine.Set{{}, parse("AA:AA:AA:11:22:33|OTHER||BFEBFBFF00090672"), {Code: "something"}},
		},
	} {
		file := w.identified(is.License.ID, device).File
		for _, set := range c.fits {
			if !w.fits(file, set) {
				t.Errorf("%q does not fit %+v, %q", device, set.Values, set.Code)
			}
		}
		for _, set := range c.not {
			if w.fits(file, set) {
				t.Errorf("%q fits %+v, %q", device, set.Values, set.Code)
			}
		}
	}
}

// A licence of other terms is another one; one whose terms are as before is not.
func TestIdentifyFollowsTheLicence(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.ownKeys()
	is := w.issue()
	read := func(file []byte) token.License {
		f, err := token.ParseFile(file)
		w.must(err, "")
		return w.verify(f.Licenses[0], "cad")
	}
	first := w.identified(is.License.ID, "HW-1")
	_, _, err := w.a.Edit(t.Context(), admin, is.License.ID, authority.Edit{Event: license.EventRenew, For: 365 * day})
	w.must(err, "")
	renewed := w.identified(is.License.ID, "HW-1")
	a, b := read(first.File), read(renewed.File)
	if !renewed.Made || a.ID == b.ID || !b.Dates.ExpiresAt.Equal(a.Dates.ExpiresAt.Add(365*day)) || !b.Dates.IssuedAt.After(a.Dates.IssuedAt) {
		t.Errorf("after its renewal %+v, before %+v", b.Dates, a.Dates)
	}
	if renewed.Install.ID != first.Install.ID || renewed.Install.Seat != first.Install.Seat || a.Status != b.Status {
		t.Error("the renewed licence takes another place")
	}
	if again := w.identified(is.License.ID, "HW-1"); again.Made || !bytes.Equal(again.File, renewed.File) {
		t.Error("the renewed licence is not the same twice")
	}
	// After a rotation the claims are the same under another signature.
	w.pass(day)
	if _, err := w.a.RotateKeys(t.Context(), admin); err != nil {
		t.Fatal(err)
	}
	rotated := w.identified(is.License.ID, "HW-1")
	if c := read(rotated.File); rotated.Made || c.ID != b.ID || c.KeyID == b.KeyID || bytes.Equal(rotated.Install.Handed.SHA256, renewed.Install.Handed.SHA256) {
		t.Errorf("under new keys: %+v", rotated.Install.Handed)
	}
	// A key that was born later can only sign what is made later.
	w.pass(day)
	w.newKeys()
	if later := w.identified(is.License.ID, "HW-1"); !later.Made || !read(later.File).Dates.IssuedAt.After(b.Dates.IssuedAt) {
		t.Errorf("under a younger key: %+v", later.Install.Handed)
	}
	// One that was removed comes back as another install.
	_, _, err = w.a.RemoveInstall(t.Context(), admin, is.License.ID, rotated.Install.ID, "")
	w.must(err, "")
	back := w.identified(is.License.ID, "HW-1")
	if !back.Made || back.Install.ID == rotated.Install.ID || back.Install.Status == rotated.Install.Status {
		t.Errorf("back as %+v", back.Install)
	}
	if again := w.identified(is.License.ID, "HW-1"); again.Made || again.Install.ID != back.Install.ID {
		t.Error("not the same after it came back")
	}
}

// A licence that is not in good standing, and what names none, makes nothing.
func TestIdentifyRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue()
	w.addOrder(authority.NewOrder{ID: "CS1"})
	for name, c := range map[string]struct {
		ref  string
		want license.Reason
	}{
		"no such licence":         {"lic_01k2m3n4p5q6r7s8t9v0w1x2y3", license.UnknownLicense},
		"no such code":            {"PL404", license.UnknownLicense},
		"nothing":                 {"", license.BadRequest},
		"an order without one":    {"CS1", license.Conflict},
		"a licence of that order": {is.License.ID, ""},
	} {
		_, err := w.identify(c.ref, "HW-1")
		if license.ReasonOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := w.a.Identify(t.Context(), admin, authority.Identification{Ref: authority.OrderRef{ID: is.License.ID}})
	w.must(err, license.BadRequest)
	_, err = w.identify(is.License.ID, "52:54:00:12:34:56|QM00001|Default string|BFEBFBFF00090672")
	w.must(err, license.BadRequest)
	w.must(w.edit(is.License.ID, license.EventSuspend), "")
	_, err = w.identify(is.License.ID, "HW-1")
	w.must(err, license.Suspended)
	w.must(w.edit(is.License.ID, license.EventResume), "")
	w.must(w.edit(is.License.ID, license.EventRelease), "")
	_, err = w.identify(is.License.ID, "HW-1")
	w.must(err, license.Released)
	if _, installs := w.license(is.License.ID); len(installs) != 1 || w.events(license.ActionIdentify) != 1 {
		t.Errorf("made all the same: %d installs", len(installs))
	}
}

// An order that waits for its code waits for its delivery once that is known, and
// its proof says what was made.
func TestProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue(func(o *authority.Order) { o.Machines = 2 })
	w.addOrder(authority.NewOrder{ID: "CS1", Line: "CS1-000001", Stage: license.StageAwaitingCode, License: is.License.ID, Customer: "买方 & Co"})
	prove := func(ref string) (token.Delivery, error) {
		t.Helper()
		f, err := w.a.Prove(t.Context(), admin, authority.OrderRef{ID: ref})
		if err != nil {
			return token.Delivery{}, err
		}
		data, err := json.MarshalIndent(f, "", "  ")
		w.must(err, "")
		for _, form := range [][]byte{data, []byte("<pre>\n" + string(f.PEM()) + "</pre>")} {
			if back, err := token.ParseDeliveryFile(form); err != nil || back != f {
				t.Errorf("read as %+v, %v", back, err)
			}
			if bytes.Contains(form, []byte(is.Code.Reveal())) || bytes.Contains(form, []byte("8F6034E2")) {
				t.Error("it holds a code")
			}
		}
		keys, err := token.VerifyKeySet(f.Keys, w.ring.Anchors())
		w.must(err, "")
		return token.VerifyDelivery(f.Delivery, keys)
	}
	_, err := prove("CS1")
	w.must(err, license.Conflict)
	w.pass(time.Hour)
	made := w.identified("CS1", "8F6034E2-60E1")
	if made.Order.Stage != license.StageToDeliver || w.order("CS1").Stage != license.StageToDeliver {
		t.Errorf("the order is %s", made.Order.Stage)
	}
	w.pass(time.Hour)
	w.must(w.install("machine").activate(is.Code), "")
	w.moveOrder("CS1", license.StageDelivered, "uploaded")
	d, err := prove("CS1-000001")
	w.must(err, "")
	digest, _ := license.DigestCode(license.ProductSalt("cad"), "8f6034e2-60e1")
	if len(d.Machines) != 2 || d.MachineCount != 2 || d.Machines[0].Device != digest || !bytes.Equal(d.Machines[0].File, made.Install.Handed.SHA256) ||
		d.Machines[1].Device != "" || d.Machines[1].File != nil {
		t.Errorf("delivered to %+v", d.Machines)
	}
	if d.Order != "CS1" || d.Line != "CS1-000001" || d.LicenseID != is.License.ID || d.CodeLast4 != is.Code.Last4() ||
		!d.DeliveredAt.Equal(w.clock()) || !d.ActivatedAt.Equal(begin.Add(time.Hour)) || d.Issuer != issuer || d.Customer != "ACME" {
		t.Errorf("proven: %+v", d)
	}
	byLicence, err := prove(is.Code.Reveal())
	if err != nil || byLicence.Order != "CS1" || byLicence.ID == d.ID || w.events(license.ActionProof) != 2 {
		t.Errorf("by its licence: %+v, %v", byLicence, err)
	}
	_, err = prove("CS404")
	w.must(err, license.UnknownLicense)
}

// A licence on very many machines has a proof that can be read.
func TestProofIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue(func(o *authority.Order) { o.Machines = 100 })
	for i := range token.MaxDelivered + 5 {
		w.identified(is.License.ID, fmt.Sprintf("HW-%d", i))
		w.pass(time.Minute)
	}
	f, err := w.a.Prove(t.Context(), admin, authority.OrderRef{ID: is.License.ID})
	w.must(err, "")
	d, err := token.PeekDelivery(f.Delivery)
	if err != nil || len(d.Machines) != token.MaxDelivered || d.MachineCount != token.MaxDelivered+5 || !d.Machines[0].At.After(begin.Add(4*time.Minute)) {
		t.Errorf("%d of %d, %v", len(d.Machines), d.MachineCount, err)
	}
}

// An application is answered under a key that was born after its licence, too: by
// a licence of a later date, since no verifier takes the old one under that key.
func TestApplicationUnderAYoungerKey(t *testing.T) {
	t.Parallel()
	inMarket(t, func(m *market) {
		m.stop()
		m.ownKeys()
		m.run()
		id := m.buy("CS1")
		synctest.Wait()
		until := m.a.Now().Add(300 * day)
		m.must(m.apply(id, "event-1", pc, func(a *authority.Application) { a.Until = until }), "")
		synctest.Wait()
		m.desk.set(errUnreachable)
		m.must(m.apply(id, "event-2", "HW-2", func(a *authority.Application) { a.Until = until }), "")
		synctest.Wait()
		m.pass(time.Hour)
		m.newKeys()
		m.desk.set(nil)
		m.must(m.apply(id, "event-1", pc, func(a *authority.Application) { a.Until = until }), "")
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		one, two := m.desk.files("event-1"), m.desk.files("event-2")
		if len(one) != 2 || len(two) != 1 || len(m.jobs()) != 0 {
			t.Fatalf("delivered %d and %d times, left over: %v", len(one), len(two), m.jobs())
		}
		a, b := m.licence(one[0]), m.licence(one[1])
		if m.licence(two[0]).KeyID != b.KeyID || a.KeyID == b.KeyID || !b.Dates.IssuedAt.After(a.Dates.IssuedAt) || !b.Dates.ExpiresAt.Equal(until) || a.Status != b.Status {
			t.Errorf("first %+v, then %+v", a.Dates, b.Dates)
		}
		if _, installs := m.license(m.instance(id).ID); len(installs) != 2 {
			t.Errorf("%d installs", len(installs))
		}
	})
}

// A licence for one machine is on one machine, also after it ran out and was renewed.
func TestRenewedDevicesStayWithinTheMachines(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	is := w.issue() // one machine, a year
	w.identified(is.License.ID, "HW-1")
	w.pass(400 * day) // past the end and the grace
	_, _, err := w.a.Edit(t.Context(), admin, is.License.ID, authority.Edit{Event: license.EventRenew, For: 365 * day})
	w.must(err, "")
	two := w.identified(is.License.ID, "HW-2")
	if _, err := w.identify(is.License.ID, "HW-1"); license.ReasonOf(err) != license.MachineLimit {
		t.Errorf("a licence for 1 machine was made for two that are good at the same time: %v, HW-2 until %v", err, two.Install.LeaseUntil)
	}
}
