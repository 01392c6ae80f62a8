package license_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/license"
)

// published is the example of the access guide (…649268): no board serial.
const published = "04:7C:16:5E:E3:5D|001B_444A_488B_5CEC.||BFEBFBFF00090672"

func device(t *testing.T, s string) license.Device {
	t.Helper()
	d, err := license.ParseDevice(s)
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return d
}

// A device is recognised from its string alone, also where what it shows has
// another order, another case, or one part less.
func TestDeviceString(t *testing.T) {
	salt := license.ProductSalt("cad-pro")
	b, err := license.BindDevice(license.PolicyFuzzy, device(t, published).Fingerprint(salt))
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Components[license.KindMAC]) != 1 || len(b.Components[license.KindDisk]) != 1 || b.Code != "" {
		t.Errorf("bound to %+v", b)
	}
	for s, want := range map[string]bool{
		published: true,
		"  04-7c-16-5e-e3-5d|001b_444a_488b_5cec.||bfebfbff00090672\n":                true,
		"AA:BB:CC:DD:EE:FF,04:7C:16:5E:E3:5D|ZZZ, 001B_444A_488B_5CEC.|B1|BFEBFBFF00": true,
		"|001B_444A_488B_5CEC.||":                        true,
		"04:7C:16:5E:E3:5D|||BFEBFBFF00090672":           false, // too little under fuzzy
		"AA:BB:CC:DD:EE:FF|OTHER||BFEBFBFF00090672":      false,
		"04:7C:16:5E:E3:5D 001B_444A_488B_5CEC.":         false,
		"001B_444A_488B_5CEC.|04:7C:16:5E:E3:5D||":       false, // in the wrong places
		"|||BFEBFBFF00090672":                            false,
		published + "|":                                  false,
		strings.ReplaceAll(published, "|", "/"):          false,
		"04:7C:16:5E:E3:5D|001B_444A_488B_5CEC.|,,|,,, ": true,
	} {
		if got := license.Match(b, device(t, s).Fingerprint(salt)).OK; got != want {
			t.Errorf("%q: %v", s, got)
		}
	}
}

// An opaque code, and a string that shows too little to recognise a device by,
// stand for the device as a whole.
func TestDeviceCode(t *testing.T) {
	salt := license.ProductSalt("cad-pro")
	for _, s := range []string{"8F6034E2-60E1", "||BOARD-7|BFEBFBFF00090672", "a|b", "hw code 7, of 9", "硬件码 42"} {
		for _, p := range []license.Policy{license.PolicyExact, license.PolicyFuzzy} {
			b, err := license.BindDevice(p, device(t, s).Fingerprint(salt))
			if err != nil || b.Code == "" || len(b.Components) != 0 {
				t.Fatalf("%q under %s: bound to %+v, %v", s, p, b, err)
			}
			for other, want := range map[string]bool{s: true, " " + strings.ToLower(s): true, s + "x": false, published: false} {
				if got := license.Match(b, device(t, other).Fingerprint(salt)).OK; got != want {
					t.Errorf("%q is %q: %v", other, s, got)
				}
			}
		}
	}
	if b, err := license.BindDevice(license.PolicyNone, license.Fingerprint{}); err != nil || b.Policy != license.PolicyNone {
		t.Errorf("%+v, %v", b, err)
	}
}

// A processor, and what many machines show, identify nothing.
func TestDeviceWeak(t *testing.T) {
	for _, s := range []string{"|||BFEBFBFF00090672", "00:00:00:00:00:00|TO BE FILLED BY O.E.M.|DEFAULT STRING|BFEBFBFF00090672"} {
		if b, err := license.BindDevice(license.PolicyFuzzy, device(t, s).Fingerprint(license.ProductSalt("cad-pro"))); license.ReasonOf(err) != license.MachineWeak {
			t.Errorf("%q: bound to %+v, %v", s, b, err)
		}
	}
}

func TestDeviceRefused(t *testing.T) {
	for _, s := range []string{"", " \n", "|||", ",|,|,|,", "a\x00b", "a\nb", "\xff", strings.Repeat("x", license.MaxDevice+1)} {
		if _, err := license.ParseDevice(s); license.ReasonOf(err) != license.BadRequest {
			t.Errorf("%.20q: %v", s, err)
		}
	}
	if _, err := license.ParseDevice(strings.Repeat("x", license.MaxDevice)); err != nil {
		t.Error(err)
	}
}

func TestDevicePrintsNothing(t *testing.T) {
	for _, s := range []string{published, "8F6034E2"} {
		if out := fmt.Sprintf("%v %+v %#v %s", device(t, s), device(t, s), device(t, s), device(t, s)); strings.Contains(out, s[:8]) {
			t.Errorf("it prints as %s", out)
		}
	}
}

func FuzzDevice(f *testing.F) {
	for _, s := range []string{published, "8F6034E2", "|||", "a|b|c|d", ",|,|,|,", "00-11-22-33-44-55|||"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := license.ParseDevice(s)
		if err != nil {
			return
		}
		fp := d.Fingerprint(license.ProductSalt("p"))
		b, err := license.BindDevice(license.PolicyFuzzy, fp)
		if err != nil {
			if license.ReasonOf(err) != license.MachineWeak || !strings.Contains(s, "|") {
				t.Fatalf("%q cannot be bound: %v", s, err)
			}
			return
		}
		if !license.Match(b, fp).OK {
			t.Fatalf("%q does not match itself", s)
		}
	})
}
