package freebsd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/freebsd"
	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
	"github.com/seed-357fa782/licensed/license"
)

func recorded(tb testing.TB, name string) string {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name+".xml"))
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

// server is a server with a RAID controller, sticks, a memory card and an
// adapter on USB.
func server(tb testing.TB) freebsd.Answers {
	tb.Helper()
	return freebsd.Answers{
		Guest: "none", Processor: "Intel(R) Xeon(R) E-2288G CPU @ 3.70GHz", HostID: "4c4c4544-0059-3610-8052-b9c04f4d3532\n",
		Maker: "Dell Inc.", Product: "PowerEdge R240", UUID: "4c4c4544-0059-3610-8052-b9c04f4d3532", Board: ".9Y6RM52.CNFCP0008Q00QB.",
		Geometry: recorded(tb, "server"),
		Interfaces: []freebsd.Interface{
			{Driver: "igb0", Parent: "pci1", Address: []byte{0x3c, 0x7c, 0x3f, 0x11, 0x22, 0x33}},
			{Driver: "mce0", Parent: "mce", Address: []byte{0x98, 0x03, 0x9b, 1, 2, 3}},
			{Driver: "wlan0", Parent: "pci4", Address: []byte{0xf0, 0x18, 0x98, 4, 5, 6}},
			{Driver: "wlan1", Parent: "uhub2", Address: []byte{0, 0xe0, 0x4c, 7, 8, 9}},
			{Driver: "ue0", Address: []byte{0, 0xe0, 0x4c, 0x68, 0, 1}},
			{Driver: "bridge0", Address: []byte{0x58, 0x9c, 0xfc, 0, 0, 1}},
			{Driver: "lo0"},
			{Driver: "igb1", Parent: "pci1"},
		},
		USBDisks: []string{
			"Kingston DataTraveler 3.0, class 0/0, rev 3.20/1.10, addr 3\nvendor=0x0951 product=0x1666 devclass=0x00 sernum=\"60A44C413A8CF131B9A1001D\" release=0x0110",
			"SanDisk Cruzer Blade, class 0/0, rev 2.10/1.00, addr 4\nvendor=0x0781 product=0x5567 sernum=\"4C530001240512115412\" release=0x0100",
		},
	}
}

func TestRecorded(t *testing.T) {
	metal := machine.Parts{
		Environment: "metal", OS: "4c4c4544-0059-3610-8052-b9c04f4d3532",
		Boards: []string{".9Y6RM52.CNFCP0008Q00QB."}, UUIDs: []string{"4c4c4544-0059-3610-8052-b9c04f4d3532"},
		CPUs: []string{"Intel(R) Xeon(R) E-2288G CPU @ 3.70GHz"},
		MACs: []string{"3c:7c:3f:11:22:33", "98:03:9b:01:02:03", "f0:18:98:04:05:06"},
		// The disk behind a RAID controller by its name; one NVMe disk has two drivers.
		Disks: []string{"S45RNE0M812345", "VAHX4W1L", "S4EMNX0R123456", "S4EMNX0R123456", "61866da08f1a2b3c2a1b2c3d4e5f6071", "9F8E7D6C"},
	}
	if d := cmp.Diff(metal, server(t).Parts()); d != "" {
		t.Error(d)
	}
	vm := freebsd.Answers{Guest: "kvm", UUID: "d5a3c2b1-e4f6-4a87-9c0b-1e2d3f4a5b6c", Geometry: recorded(t, "vm")}
	want := machine.Parts{
		Environment: "vm", OS: "d5a3c2b1-e4f6-4a87-9c0b-1e2d3f4a5b6c", UUIDs: []string{"d5a3c2b1-e4f6-4a87-9c0b-1e2d3f4a5b6c"},
		Disks: []string{"QM00001", "vol-0a1b2c3d"},
	}
	if d := cmp.Diff(want, vm.Parts()); d != "" {
		t.Error(d)
	}
	if e := (freebsd.Answers{Guest: "none", Maker: "QEMU"}).Parts().Environment; e != "vm" {
		t.Error(e)
	}
	if e := (freebsd.Answers{Guest: "kvm", Jailed: true}).Parts().Environment; e != "container" {
		t.Error(e)
	}
}

func TestDamagedGeometry(t *testing.T) {
	whole := recorded(t, "server")
	for name, c := range map[string]struct {
		geometry string
		disks    int
		noted    bool
	}{
		"whole":              {whole, 6, false},
		"none":               {"", 0, false},
		"garbage elsewhere":  {strings.Replace(whole, "data &amp; logs", "\xff\x01&<", 1), 6, false},
		"cut":                {whole[:strings.Index(whole, "da1")], 2, true},
		"cut within a disk":  {whole[:strings.Index(whole, "VAHX4W1L")+3], 2, true},
		"without its end":    {whole[:strings.LastIndex(whole, "</class>")-200], 6, true},
		"too long":           {strings.Repeat(" ", freebsd.MaxGeometry+1), 0, true},
		"a name of no class": {"<name>DISK</name>", 0, true},
	} {
		a := server(t)
		a.Geometry = c.geometry
		p := a.Parts()
		if noted := p.Notes[license.KindDisk] != ""; noted != c.noted {
			t.Errorf("%s: note %q", name, p.Notes[license.KindDisk])
		}
		if len(p.Disks) > c.disks || !c.noted && len(p.Disks) != c.disks {
			t.Errorf("%s: %q", name, p.Disks)
		}
	}
}

func FuzzParts(f *testing.F) {
	f.Add(recorded(f, "server"), "Kingston DataTraveler 3.0\nsernum=\"60A4\"", "igb0")
	f.Add(recorded(f, "vm"), "", "wlan0")
	f.Add("<name>DISK</name><geom><name>da0</name><provider><config><ident>a</ident></config></provider></geom></class>", "sernum=\"a", "")
	f.Fuzz(func(t *testing.T, geometry, usb, driver string) {
		a := freebsd.Answers{
			Geometry: geometry, USBDisks: []string{usb},
			Interfaces: []freebsd.Interface{{Driver: driver, Parent: usb, Address: []byte(driver)}},
		}
		p := a.Parts()
		if n := len(strings.Join(p.Disks, "")); n > 4*len(geometry) {
			t.Errorf("%d bytes of serials", n)
		}
		for _, m := range p.MACs {
			if len(m) != 17 {
				t.Errorf("address %q", m)
			}
		}
	})
}
