package client_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
)

// A licence that was made for an identification code, or from the marketplace's
// string, is good where the product knows no more than that, and nowhere else: in
// a verifier, and in a guard, also after a restart.
func TestIdentificationCode(t *testing.T) {
	const published = "04:7C:16:5E:E3:5D|001B_444A_488B_5CEC.||BFEBFBFF00090672"
	parse := func(text string) fingerprint.Set {
		set, err := fingerprint.ParseMarketplace(text)
		check(t, err)
		return set
	}
	for name, c := range map[string]struct {
		device  string
		machine fingerprint.Set
		want    bool
	}{
		"a code":                      {"8F6034E2-60E1", fingerprint.Set{Code: " 8f6034e2-60e1 "}, true},
		"a code beside a machine":     {"8F6034E2-60E1", fingerprint.Set{Code: "8F6034E2-60E1", Values: machineA().Values}, true},
		"another code":                {"8F6034E2-60E1", fingerprint.Set{Code: "8F6034E2-60E2"}, false},
		"no code":                     {"8F6034E2-60E1", machineA(), false},
		"the string":                  {published, parse(published), true},
		"the string as a code":        {published, fingerprint.Set{Code: published}, false}, // its parts are bound
		"the string of another":       {published, parse("AA:AA:AA:11:22:33|OTHER||BFEBFBFF00090672"), false},
		"the machine of the string":   {published, fingerprint.Set{Values: map[license.Kind][]string{license.KindDisk: {"001b_444a_488b_5cec."}}}, true},
		"a string of too little":      {"||BOARD-7|BFEBFBFF00090672", parse("||BOARD-7|BFEBFBFF00090672"), true},
		"another string of as little": {"||BOARD-7|BFEBFBFF00090672", parse("||BOARD-7|BFEBFBFF00090673"), false},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := license.ParseDevice(c.device)
			check(t, err)
			made := claims(epoch)
			made.InstallKey = nil
			made.Binding, err = license.BindDevice(license.PolicyFuzzy, d.Fingerprint(license.ProductSalt(product)))
			check(t, err)
			lic := file(keySet(t, "anchor-1", 1, "sign-1"), sign(t, made, "sign-1"))

			l, err := (&client.Verifier{Anchors: anchors(), Product: product}).Verify(lic)
			check(t, err)
			e := l.Explain(c.machine)
			if e.OK != c.want || l.Match(c.machine).OK != c.want || e.Finding == "" || !c.want && e.Advice == "" {
				t.Errorf("explained as %+v", e)
			}
			s := newSite(t)
			s.opts.Server = ""
			s.opts.Fingerprint = func(context.Context) (fingerprint.Set, error) { return c.machine, nil }
			err = s.open().Import(lic)
			if !c.want {
				wantReason(t, err, license.MachineMismatch)
				return
			}
			check(t, err)
			s.clock.add(time.Hour)
			if st := s.open().Status(); !st.Usable || st.State != license.StateActive {
				t.Errorf("after a restart: %+v", st)
			}
		})
	}
}
