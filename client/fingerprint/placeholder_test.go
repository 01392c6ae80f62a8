package fingerprint_test

import (
	"testing"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
	"github.com/seed-357fa782/licensed/license"
)

// taken returns what counts of a value of a kind.
func taken(kind license.Kind, value string) []string {
	p := machine.Parts{Environment: machine.Metal}
	switch kind {
	case license.KindMAC:
		p.MACs = []string{value}
	case license.KindDisk:
		p.Disks = []string{value}
	case license.KindBoard:
		p.Boards = []string{value}
	case license.KindCPU:
		p.CPUs = []string{value}
	case license.KindUUID:
		p.UUIDs = []string{value}
	case license.KindOS:
		p.OS = value
	case license.KindCustom, license.KindCode:
	}
	return fingerprint.Take(fingerprint.Collector{}, p).Values[kind]
}

// Values that makers leave, that hypervisors and clouds give to every machine,
// and that are none.
func TestPlaceholders(t *testing.T) {
	for kind, all := range map[license.Kind][]string{
		license.KindBoard: {
			"To be filled by O.E.M.", "To Be Filled By O.E.M.", " to be filled by o.e.m. ", "Default string", "None", "N/A", "Not Specified",
			"System Serial Number", "Base Board Serial Number", "0123456789", "0123456789ABCDEF", "1234567890", "12345678901234567890",
			"987654321", "ABCDEFGH", "BSN12345678901234567", "MB-1234567890", "................", "XXXXXXXX", "xxxx-xxxx", "0", "00000000", "-",
			"FFFF-FFFF", "INVALID", "Type2 - Board Serial Number", "O.E.M.", "<OUT OF SPEC>", "\u00ff\x01", "a\tb", "a|b", "a,b", "", "   ",
		},
		license.KindUUID: {
			"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "03000200-0400-0500-0006-000700080009",
			"00020003-0004-0005-0006-000700080009", "03020100-0504-0706-0809-0a0b0c0d0e0f", "00000000-0000-0000-0000-000000000001",
			"12345678-1234-5678-90ab-cddeefaabbcc", "4c4c4544-0000-2010-8020-80c04f202020", "Not Settable", "4c4c4544003659108052b4c04f4d3532",
			"4c4c4544-0036-5910-8052-b4c04f4d353", "4c4c4544-0036-5910-8052-b4c04f4d353g", "{c4544000-0036-5910-8052-b4c04f4d3532",
		},
		license.KindDisk: {
			"QM00001", "QM00013", "drive-scsi0", "drive-scsi0-0-0-0", "drive-virtio1", "persistent-disk-0", "local-ssd-3", "nvme_card",
			"nvme_card-pd", "nvme_card12", "SN: 000001", "VMware NVME_0000", "00000000000000000001", "VB00000000-00000000", "0x00000000",
			"eui.0000000000000000", "naa.0000000000000000", "NVME-1", "Volume0", "serial", "0000_0000_0000_0000.",
		},
		license.KindMAC: {
			"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01", "52:54:00:12:34:56", "00-00-00-00-00-00",
			"00:00:00:00:00:01", "12:34:56:78:9a:bc", "00:11:22:33:44:55", "ac:de:48:00:11:22", "00:50:56:c0:00:08", "0a:00:27:00:00:0f",
			"02:00:00:00:00:00", "0c:5b:8f:27:9a:64", "00:05:9a:3c:7a:00", "3c:7c:3f:11:22", "3c:7c:3f:11:22:zz", "3c7c3f112233",
			"3c:7c:3f:11:22:33:44:55", "3c:7c:3f:11-22:33:",
		},
		license.KindOS: {"uninitialized", "00000000000000000000000000000000", "", "\n"},
	} {
		for _, value := range all {
			if got := taken(kind, value); got != nil {
				t.Errorf("%s: %q counts as %q", kind, value, got)
			}
		}
	}
}

// Values that look like placeholders and are none.
func TestNoPlaceholders(t *testing.T) {
	for kind, all := range map[license.Kind][]string{
		license.KindBoard: {"PF2ABCDE", ".9Y6RM52.CNFCP0008Q00QB.", "123456789A1", "1234568", "AB12", "6813-7716-4820-3127-0542-1870-11", "/B9XK2/"},
		license.KindUUID:  {"4c4c4544-0036-5910-8052-b4c04f4d3532", "00000000-0000-0000-0000-ac1f6b112233"}, // made of an address
		license.KindDisk: {
			"S4EMNX0R123456", "001B_444A_488B_5CEC.", "VB0250140b-3cdb5e2c", "vol0a1b2c3d4e5f60718", "QM000012", "QMA0001", "drive-x1",
			"naa.5000c500a1b2c3d4", "0x1234abcd", "000000001234", "WD-WCC4E1234567", "größe1", "PERSISTENT-DISK-A1",
		},
		license.KindMAC: {"3c:7c:3f:11:22:33", "3C-7C-3F-11-22-33", "52:54:00:ab:cd:ef", "00:50:56:c1:00:08", "00:15:5d:01:02:03"},
		license.KindOS:  {"0f1e2d3c4b5a69788796a5b4c3d2e1f0", "6f1b8f0e-3c5d-4e2a-9b7c-8d1e0f2a3b4c"},
		license.KindCPU: {"Apple M1", "0x41 8 0x4 0xd0b 1"},
	} {
		for _, value := range all {
			if got := taken(kind, value); len(got) != 1 {
				t.Errorf("%s: %q is left out", kind, value)
			}
		}
	}
}
