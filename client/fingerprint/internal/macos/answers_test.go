package macos_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
	"github.com/seed-357fa782/licensed/client/fingerprint/internal/macos"
	"github.com/seed-357fa782/licensed/client/internal/plist"
	"github.com/seed-357fa782/licensed/license"
)

func recorded(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".plist"))
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

func answers(tb testing.TB, name string) macos.Answers {
	tb.Helper()
	return macos.Answers{
		Platform: recorded(tb, name+"-platform"), Storage: recorded(tb, name+"-storage"), Interfaces: recorded(tb, name+"-interfaces"),
		Processor: "Apple M3 Pro",
	}
}

func TestRecorded(t *testing.T) {
	for name, want := range map[string]machine.Parts{
		// Without the card reader, disks in cases, a disk image, adapters on USB,
		// Thunderbolt's own interface; two names of one disk count once, later on.
		"macbook": {
			Environment: "metal", OS: "5C1E7A90-3B2D-5F48-9E61-A0B4C7D21F36",
			Boards: []string{"H7KQ2M9XYF"}, UUIDs: []string{"5C1E7A90-3B2D-5F48-9E61-A0B4C7D21F36"},
			CPUs: []string{"Apple M3 Pro"}, MACs: []string{"80:a9:97:24:08:3f"},
			Disks: []string{"0ba01923c8f41e27", "0ba01923c8f41e27"},
		},
		// Without the interface to the security chip, an adapter on a cable and a
		// disk of a storage network.
		"imac": {
			Environment: "metal", OS: "7D2F10C4-88AB-5E3D-91F7-06B5E2C9A48D",
			Boards: []string{"C02ZK1AAJV3Q"}, UUIDs: []string{"7D2F10C4-88AB-5E3D-91F7-06B5E2C9A48D"},
			CPUs: []string{"Apple M3 Pro"}, MACs: []string{"a8:60:b6:12:34:5a", "f0:18:98:5c:6d:7e"},
			Disks: []string{"      WD-WCAV5K912345", "C0294820036LVLV1W"},
		},
		"vm": {
			Environment: "vm", OS: "3E9A61B2-0C47-5D8F-A2E5-7B1C4D6F8092",
			Boards: []string{"ZYQ3T7K9PW"}, UUIDs: []string{"3E9A61B2-0C47-5D8F-A2E5-7B1C4D6F8092"},
			CPUs: []string{"Apple M3 Pro"}, MACs: []string{"5e:1b:2c:3d:4e:5f"},
		},
	} {
		a := answers(t, name)
		if name == "vm" {
			a.Model = "VirtualMac2,1"
		}
		if d := cmp.Diff(want, a.Parts()); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	a := answers(t, "imac")
	if a.Hypervisor = true; a.Parts().Environment != "vm" {
		t.Error("a hypervisor goes unseen")
	}
}

// What does not answer is absent, and the rest counts.
func TestAnswersMissing(t *testing.T) {
	kinds := func(p machine.Parts) (out []license.Kind) {
		for _, k := range license.Kinds() {
			if p.Notes[k] != "" {
				out = append(out, k)
			}
		}
		return out
	}
	all := answers(t, "macbook")
	for name, c := range map[string]struct {
		change func(*macos.Answers)
		want   []license.Kind
	}{
		"nothing":           {func(a *macos.Answers) { *a = macos.Answers{} }, []license.Kind{"os", "uuid", "disk", "mac", "board"}},
		"no platform":       {func(a *macos.Answers) { a.Platform = nil }, []license.Kind{"os", "uuid", "board"}},
		"no disks":          {func(a *macos.Answers) { a.Storage = nil }, []license.Kind{"disk"}},
		"no interfaces":     {func(a *macos.Answers) { a.Interfaces = nil }, []license.Kind{"mac"}},
		"binary":            {func(a *macos.Answers) { a.Interfaces = []byte("bplist00\xd2") }, []license.Kind{"mac"}},
		"a text":            {func(a *macos.Answers) { a.Platform = []byte("ioreg: error") }, []license.Kind{"os", "uuid", "board"}},
		"another list":      {func(a *macos.Answers) { a.Platform = a.Interfaces }, []license.Kind{"os", "uuid", "board"}},
		"too long":          {func(a *macos.Answers) { a.Storage = make([]byte, plist.MaxList+1) }, []license.Kind{"disk"}},
		"all there":         {func(*macos.Answers) {}, nil},
		"cut in the middle": {func(a *macos.Answers) { a.Storage = a.Storage[:2*len(a.Storage)/3] }, []license.Kind{"disk"}},
	} {
		a := all
		c.change(&a)
		p := a.Parts()
		if d := cmp.Diff(c.want, kinds(p)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		if name == "cut in the middle" && len(p.Disks) != 2 {
			t.Errorf("%s: %q are left", name, p.Disks)
		}
	}
}

func FuzzParts(f *testing.F) {
	for _, name := range []string{"macbook", "imac", "vm"} {
		a := answers(f, name)
		f.Add(a.Platform, a.Storage, a.Interfaces)
	}
	f.Add([]byte("<plist><array><dict><key>IOPlatformUUID</key><string>x</string></dict></array></plist>"), []byte("<a"), []byte{})
	f.Add([]byte("<plist><array><dict><key>IOPlatformSerialNumber</key><string>&lt;&#65;</string></dict><true/></array></plist>"),
		[]byte("<plist><array><dict><key>Serial Number</key><string>S</string><key>Protocol Characteristics</key><dict>"+
			"<key>Physical Interconnect Location</key><string>Internal</string></dict></dict></array></plist>"),
		[]byte("<plist><dict><key>Interfaces</key><array><dict><key>Active</key><true/><key>IOBuiltin</key><true/><key>IOPathMatch</key>"+
			"<string>a</string><key>IOMACAddress</key><data>gKmXJAg/</data></dict></array></dict></plist>"))
	f.Fuzz(func(t *testing.T, platform, storage, interfaces []byte) {
		p := macos.Answers{Platform: platform, Storage: storage, Interfaces: interfaces}.Parts()
		for _, m := range p.MACs {
			if len(m) != 17 {
				t.Errorf("address %q", m)
			}
		}
		if n := len(strings.Join(p.Disks, "")); n > len(storage) {
			t.Errorf("%d bytes of serials", n)
		}
		if p.OS == "" && p.Notes[license.KindOS] == "" {
			t.Error("nobody is told")
		}
	})
}
