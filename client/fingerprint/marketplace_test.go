package fingerprint_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
)

// What the marketplace's string says is what the machine shows, without the
// placeholders in it; the whole stands for the machine where that is too little.
func TestParseMarketplace(t *testing.T) {
	for text, want := range map[string]map[license.Kind][]string{
		"04:7C:16:5E:E3:5D|001B_444A_488B_5CEC.||BFEBFBFF00090672": { // published, …649268
			license.KindMAC: {"04:7C:16:5E:E3:5D"}, license.KindDisk: {"001B_444A_488B_5CEC."}, license.KindCPU: {"BFEBFBFF00090672"},
		},
		" 04-7c-16-5e-e3-5d,3c:7c:3f:11:22:33|d1abc, d2abc|b1abc|\n": {
			license.KindMAC: {"04:7C:16:5E:E3:5D", "3C:7C:3F:11:22:33"}, license.KindDisk: {"D1ABC", "D2ABC"}, license.KindBoard: {"B1ABC"},
		},
		"00:00:00:00:00:00,52:54:00:12:34:56|QM00001|To be filled by O.E.M.|BFEBFBFF00090672": {license.KindCPU: {"BFEBFBFF00090672"}},
		"8F6034E2-60E1": nil,
		"a|b|c":         nil,
	} {
		set, err := fingerprint.ParseMarketplace(text)
		if err != nil || set.Code != strings.TrimSpace(text) || set.Environment != "" {
			t.Fatalf("%q: %+v, %v", text, set.Code, err)
		}
		if diff := cmp.Diff(want, set.Values); diff != "" {
			t.Errorf("%q (-want +got): %s", text, diff)
		}
		if set.Digests("p").Code == "" {
			t.Errorf("%q does not stand for the machine as a whole", text)
		}
	}
	for _, text := range []string{"", "|||", " , ", "a\x00b", "\xff", strings.Repeat("x", license.MaxDevice+1)} {
		if set, err := fingerprint.ParseMarketplace(text); license.ReasonOf(err) != license.BadRequest || set.Code != "" || set.Values != nil {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// A machine that gives the marketplace its string is recognised by it.
func TestMarketplaceThereAndBack(t *testing.T) {
	machine := fingerprint.Set{Values: map[license.Kind][]string{
		license.KindMAC: {"3c:7c:3f:11:22:33"}, license.KindDisk: {"S4EMNX0R123456"}, license.KindBoard: {"PF2ABCDE"}, license.KindCPU: {"BFEBFBFF00090672"},
	}}
	set, err := fingerprint.ParseMarketplace(machine.Marketplace())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(machine.Digests("p").Components, set.Digests("p").Components); diff != "" {
		t.Errorf("(-machine +string): %s", diff)
	}
}

func FuzzParseMarketplace(f *testing.F) {
	f.Add("04:7C:16:5E:E3:5D|001B_444A_488B_5CEC.||BFEBFBFF00090672")
	f.Add("8F6034E2")
	f.Add("a|b,|c|d")
	f.Fuzz(func(t *testing.T, text string) {
		set, err := fingerprint.ParseMarketplace(text)
		if err != nil {
			return
		}
		// What a server binds from the string alone, the product recognises.
		d, err := license.ParseDevice(text)
		if err != nil {
			t.Fatal(err)
		}
		b, err := license.BindDevice(license.PolicyFuzzy, d.Fingerprint(license.ProductSalt("p")))
		if license.ReasonOf(err) == license.MachineWeak {
			return
		}
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if !license.Match(b, set.Digests("p")).OK {
			t.Fatalf("%q is not recognised", text)
		}
	})
}
