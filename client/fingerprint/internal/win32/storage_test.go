package win32_test

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/win32"
)

// device is a STORAGE_DEVICE_DESCRIPTOR as Windows writes it: the header, then
// maker, product, revision and serial.
func device(bus uint32, removable byte, product, serial string) []byte {
	b := make([]byte, 36)
	le := binary.LittleEndian
	le.PutUint32(b, 40) // version: the size of the structure in C
	b[10] = removable
	le.PutUint32(b[28:], bus)
	for i, s := range []string{"", product, "1.0", serial} {
		if s != "" {
			le.PutUint32(b[12+4*i:], uint32(len(b)))
			b = append(append(b, s...), 0)
		}
	}
	le.PutUint32(b[4:], uint32(len(b)))
	return b
}

// ids is a STORAGE_DEVICE_ID_DESCRIPTOR.
func ids(identifiers ...[]byte) []byte {
	b := make([]byte, 12)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(identifiers)))
	for _, id := range identifiers {
		b = append(b, id...)
	}
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	return b
}

func identifier(codeSet, kind, of uint32, id string) []byte {
	b := make([]byte, 16)
	le := binary.LittleEndian
	le.PutUint32(b, codeSet)
	le.PutUint32(b[4:], kind)
	le.PutUint16(b[8:], uint16(len(id)))
	le.PutUint32(b[12:], of)
	b = append(b, id...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	le.PutUint16(b[10:], uint16(len(b)))
	return b
}

const naa = "\x60\x02\x24\x80\x0a\x1b\x2c\x3d\x4e\x5f\x60\x71\x82\x93\xa4\xb5"

func TestDiskSerial(t *testing.T) {
	vhd := ids(identifier(2, 1, 0, "MSFT    Virtual"), identifier(1, 3, 1, "\x50\x00\x00\x00\x00\x00\x00\x01"), identifier(1, 3, 0, naa))
	for name, c := range map[string]struct {
		disk win32.Disk
		want string
	}{
		"NVMe":           {win32.Disk{Device: device(0x11, 0, "Samsung SSD 990 PRO", "0025_3843_31B0_2C1D.")}, "0025_3843_31B0_2C1D."},
		"SATA":           {win32.Disk{Device: device(0xb, 0, "WDC WD40EFRX", "     WD-WCC4E1234567")}, "WD-WCC4E1234567"},
		"eMMC":           {win32.Disk{Device: device(0xd, 0, "DF4064", "0x9a3b1c2d")}, "0x9a3b1c2d"},
		"RAID":           {win32.Disk{Device: device(8, 0, "PERC H755", "00a1b2c3d4e5f60718293a4b5c6d7e8f")}, "00a1b2c3d4e5f60718293a4b5c6d7e8f"},
		"Hyper-V":        {win32.Disk{Device: device(0xa, 0, "Virtual Disk", ""), IDs: vhd}, "naa.600224800a1b2c3d4e5f60718293a4b5"},
		"by EUI-64":      {win32.Disk{Device: device(0x11, 0, "x", " "), IDs: ids(identifier(1, 2, 0, "\x00\x25\x38\x43\x31\xb0\x2c\x1d"))}, "eui.0025384331b02c1d"},
		"USB":            {win32.Disk{Device: device(7, 0, "DataTraveler", "60A44C413A8CF131B9A1001D")}, ""},
		"FireWire":       {win32.Disk{Device: device(4, 0, "x", "S1")}, ""},
		"memory card":    {win32.Disk{Device: device(0xc, 1, "SD", "1234ABCD")}, ""},
		"removable SATA": {win32.Disk{Device: device(0xb, 1, "x", "S1")}, ""},
		"iSCSI":          {win32.Disk{Device: device(9, 0, "LUN", "LUN1"), IDs: vhd}, ""},
		"fibre channel":  {win32.Disk{Device: device(6, 0, "LUN", "LUN1")}, ""},
		"a mounted VHD":  {win32.Disk{Device: device(0xf, 0, "Virtual Disk", "V1"), IDs: vhd}, ""},
		"storage space":  {win32.Disk{Device: device(0x10, 0, "Storage Space", "{5a3b}")}, ""},
		"over fabrics":   {win32.Disk{Device: device(0x14, 0, "x", "S1")}, ""},
		"no answer":      {win32.Disk{IDs: vhd}, ""},
		"no names":       {win32.Disk{Device: device(0xb, 0, "x", ""), IDs: ids()}, ""},
	} {
		if got := c.disk.Serial(); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestDamagedDescriptors(t *testing.T) {
	whole := device(0x11, 0, "Samsung", "S1")
	for n := range whole {
		if _, err := win32.ParseDevice(whole[:n]); (err != nil) != (n < 36) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for _, at := range []uint32{0, 4, uint32(len(whole)), 0xffffffff} { // an offset that means none, or leads out
		b := device(0x11, 0, "Samsung", "S1")
		binary.LittleEndian.PutUint32(b[24:], at)
		if got := (win32.Disk{Device: b}).Serial(); got != "" {
			t.Errorf("serial at %d: %q", at, got)
		}
	}
	for _, size := range []uint32{0, 1, 36, 0xffffffff} { // a size that is wrong
		b := device(0x11, 0, "Samsung", "S1")
		binary.LittleEndian.PutUint32(b[4:], size)
		if got := (win32.Disk{Device: b}).Serial(); got != "" && got != "S1" {
			t.Errorf("size %d: %q", size, got)
		}
	}
	names := ids(identifier(1, 1, 0, "vendor"), identifier(1, 3, 0, naa))
	for n := range len(names) - 1 {
		if got := win32.WorldwideName(names[:n]); got != "" {
			t.Errorf("%d bytes: %q", n, got)
		}
	}
	endless := ids(identifier(1, 1, 0, "vendor"))
	binary.LittleEndian.PutUint32(endless[8:], 0xffffffff)
	binary.LittleEndian.PutUint16(endless[12+10:], 0)
	if got := win32.WorldwideName(endless); got != "" {
		t.Errorf("%q", got)
	}
	if got := win32.WorldwideName(ids(identifier(1, 3, 0, "\x50"))); got != "" {
		t.Errorf("a name of one byte: %q", got)
	}
}

func TestEverybodyReads(t *testing.T) {
	for sddl, want := range map[string]bool{
		// What a folder below ProgramData hands down.
		"D:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;BU)":      true,
		"O:BAG:SYD:PAI(A;;FA;;;SY)(A;;FA;;;BA)":                     false,
		"O:BAG:DUD:P(A;;FR;;;WD)":                                   true,
		"D:(A;;GR;;;AU)":                                            true,
		"D:(A;;CCDCLCSWRPLO;;;S-1-5-32-545)":                        true,
		"D:(A;;FA;;;S-1-5-21-1004336348-1177238915-682003330-1001)": false,
		"D:(D;;FR;;;WD)(A;;FA;;;BU)":                                false, // denied first
		"D:(A;;FA;;;BU)(D;;FR;;;WD)":                                true,  // allowed first
		"D:(D;;FA;;;S-1-5-32-546)(A;;FR;;;WD)":                      true,  // guests only are denied
		"D:(D;;FW;;;WD)(A;;FR;;;WD)":                                true,  // writing only is denied
		"D:(A;OICIIO;GA;;;WD)":                                      false, // for what will be created below
		"D:(A;;FW;;;WD)":                                            false,
		"D:(A;;0x100116;;;WD)":                                      false,
		"D:(XA;;FR;;;WD;(Member_of {SID(BA)}))":                     false,
		"D:NO_ACCESS_CONTROL":                                       true, // no list at all
		"D:":                                                        false,
		"D:P":                                                       false,
		"O:BAG:SY":                                                  false,
		"":                                                          false,
		"S:(A;;FR;;;WD)":                                            false, // who is watched, not who may
		"D:(A;;FR;;;WD":                                             false,
		"(D:)(A;;FR;;;WD)":                                          false,
	} {
		if got := win32.EverybodyReads(sddl); got != want {
			t.Errorf("%q: %v", sddl, got)
		}
	}
}

func FuzzStorage(f *testing.F) {
	f.Add(device(0x11, 0, "Samsung", "S1"), ids(identifier(1, 3, 0, naa)))
	f.Add(device(0xa, 0, "Virtual Disk", ""), ids(identifier(1, 1, 0, "vendor"), identifier(1, 2, 0, "12345678")))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, device, ids []byte) {
		got := win32.Disk{Device: device, IDs: ids}.Serial()
		if len(got) > len(device)+2*len(ids)+4 || strings.ContainsRune(got, 0) {
			t.Errorf("%q", got)
		}
	})
}

func FuzzEverybodyReads(f *testing.F) {
	f.Add("O:BAG:SYD:AI(A;ID;FA;;;SY)(A;ID;0x1200a9;;;BU)")
	f.Add("D:(D;;FR;;;WD)(A;;FA;;;BU)S:(AU;SA;FA;;;WD)")
	f.Fuzz(func(t *testing.T, sddl string) {
		// Nobody is let in who is not named.
		if win32.EverybodyReads(sddl) && utf8.ValidString(sddl) && !strings.Contains(sddl, "D:") {
			t.Errorf("%q", sddl)
		}
	})
}
