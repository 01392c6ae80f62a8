package fingerprint_test

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/client/fingerprint/internal/freebsd"
	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
	"github.com/seed-357fa782/licensed/client/fingerprint/internal/macos"
	"github.com/seed-357fa782/licensed/client/fingerprint/internal/win32"
	"github.com/seed-357fa782/licensed/license"
)

// These are machines of other systems than the one that runs the tests, by what
// those systems were recorded to say of them.

func recordedFile(tb testing.TB, path ...string) []byte {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(append([]string{"internal"}, path...)...))
	check(tb, err)
	return data
}

// firmware reads bytes as they are recorded: in hex, with comments.
func firmware(tb testing.TB, name string) []byte {
	tb.Helper()
	var all []byte
	for line := range strings.Lines(string(recordedFile(tb, "smbios", "testdata", name+".txt"))) {
		line, _, _ = strings.Cut(line, "#")
		b, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
		check(tb, err)
		all = append(all, b...)
	}
	return all
}

// drive is what Windows says of a disk: STORAGE_DEVICE_DESCRIPTOR.
func drive(bus uint32, serial string) win32.Disk {
	b := make([]byte, 36, 64)
	binary.LittleEndian.PutUint32(b[24:], 36)
	binary.LittleEndian.PutUint32(b[28:], bus)
	b = append(append(b, serial...), 0)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(b)))
	return win32.Disk{Device: b}
}

// row is a row of the table of network adapters of Windows.
func row(instance, address string, change ...func(*win32.Adapter)) win32.Adapter {
	permanent, err := hex.DecodeString(strings.ReplaceAll(address, ":", ""))
	if err != nil {
		panic(err)
	}
	a := win32.Adapter{Type: 6, Medium: 14, Flags: 1 | 4, Instance: instance, Permanent: permanent}
	for _, c := range change {
		c(&a)
	}
	return a
}

// desktop is a desktop with Windows, and with all that such a machine gathers:
// a dock, VPNs, hypervisors, Bluetooth, sticks and cards.
func desktop(tb testing.TB) win32.Answers {
	tb.Helper()
	wifi := func(a *win32.Adapter) { a.Type, a.Medium = 71, 9 }
	software := func(a *win32.Adapter) { a.Flags = 0 }
	return win32.Answers{
		Firmware: firmware(tb, "desktop"), Processor: "12th Gen Intel(R) Core(TM) i7-12700K",
		MachineID: "6f1b8f0e-3c5d-4e2a-9b7c-8d1e0f2a3b4c",
		Adapters: []win32.Adapter{
			row(`PCI\VEN_8086&DEV_15F3&SUBSYS_7D251462&REV_03\047C16FFFF5EE35D00`, "04:7c:16:5e:e3:5d"),
			row(`PCI\VEN_8086&DEV_15F3&SUBSYS_7D251462&REV_03\047C16FFFF5EE35D00`, "04:7c:16:5e:e3:5d", func(a *win32.Adapter) { a.Flags |= 2 }), // a filter upon it
			row(`USB\VID_0BDA&PID_8153\000001`, "00:e0:4c:36:02:11"),
			row(`BTH\MS_BTHPAN\6&2A3B4C5D&0&2`, "04:7c:16:5e:e3:61", func(a *win32.Adapter) { a.Medium = 10 }),
			row(`{5D624F94-8850-40C3-A3FA-A4FD2080BAF3}\VWIFIMP_WFD\5&1B2C3D4E&0&11`, "06:7c:16:5e:e3:5e", wifi),
			row(`ROOT\VMWARE\0000`, "00:50:56:c0:00:08"),
			row(`ROOT\VMS_MP\0000`, "00:15:5d:01:02:03", software),
			row(`ROOT\NET\0000`, "00:ff:a1:b2:c3:d4"),
			row(`SWD\WINTUN\{E5B7A1C0-0000-0000-0000-000000000001}`, "00:00:00:00:00:00"),
			row("", "02:00:4c:4f:4f:50"), // without a device
			row(`PCI\VEN_15B3&DEV_1017\1`, "00:11:22:33:44:55:66:77", func(a *win32.Adapter) { a.Type = 199 }),
		},
		Disks: []win32.Disk{
			drive(0x11, "001B_444A_488B_5CEC."), drive(0x7, "60A44C413A8CF131B9A1001D"), drive(0xc, "12AB34CD"), drive(0xf, "VHD1"), {},
		},
	}
}

type values = map[license.Kind][]string

func TestRecordedSystems(t *testing.T) {
	container := desktop(t)
	container.Container = true
	server := desktop(t)
	server.Firmware, server.MachineID = firmware(t, "server"), ""
	server.Disks = []win32.Disk{drive(0xa, " ZC1234AB "), drive(0xb, "S45RNE0M812345")}
	hyperv := win32.Answers{
		Firmware: firmware(t, "hyperv"), Processor: "AMD EPYC 7763 64-Core Processor", MachineID: "0d9e8f7a-6b5c-4d3e-2f1a-0b9c8d7e6f5a",
		Adapters: []win32.Adapter{row(`VMBUS\{F8615163-DF3E-46C5-913F-F2D2F965ED0E}\5&1&0`, "00:15:5d:0a:0b:0c")},
		Disks:    []win32.Disk{drive(0xa, "")},
	}
	mac := func(name string) macos.Answers {
		return macos.Answers{
			Platform: recordedFile(t, "macos", "testdata", name+"-platform.plist"), Storage: recordedFile(t, "macos", "testdata", name+"-storage.plist"),
			Interfaces: recordedFile(t, "macos", "testdata", name+"-interfaces.plist"), Processor: "Apple M3 Pro",
		}
	}
	bsd := freebsd.Answers{
		Guest: "kvm", Processor: "AMD EPYC", HostID: "d5a3c2b1-e4f6-4a87-9c0b-1e2d3f4a5b6c", UUID: "d5a3c2b1-e4f6-4a87-9c0b-1e2d3f4a5b6c",
		Board: "Not Specified", Geometry: string(recordedFile(t, "freebsd", "testdata", "vm.xml")),
		Interfaces: []freebsd.Interface{{Driver: "vtnet0", Parent: "virtio_pci0", Address: []byte{0x52, 0x54, 0, 0xab, 0xcd, 0xef}}},
	}
	jail := bsd
	jail.Jailed = true
	for name, c := range map[string]struct {
		parts       machine.Parts
		environment string
		want        values
	}{
		"Windows desktop": {desktop(t).Parts(), "metal", values{
			"mac": {"04:7C:16:5E:E3:5D"}, "disk": {"001B_444A_488B_5CEC."}, "os": {"6F1B8F0E-3C5D-4E2A-9B7C-8D1E0F2A3B4C"},
			"uuid": {"7F3C1A52-9B0E-4D8C-A1F6-2C0D5E6B7A89"}, "cpu": {"12TH GEN INTEL(R) CORE(TM) I7-12700K", "BFEBFBFF00090672"},
		}},
		"Windows server": {server.Parts(), "metal", values{
			"mac": {"04:7C:16:5E:E3:5D"}, "disk": {"S45RNE0M812345", "ZC1234AB"}, "board": {".9Y6RM52.CNFCP0008Q00QB."},
			"uuid": {"4C4C4544-0059-3610-8052-B9C04F4D3532"}, "cpu": {"12TH GEN INTEL(R) CORE(TM) I7-12700K", "BFEBFBFF000906ED"},
		}},
		"Windows on Hyper-V": {hyperv.Parts(), "vm", values{
			"mac": {"00:15:5D:0A:0B:0C"}, "os": {"0D9E8F7A-6B5C-4D3E-2F1A-0B9C8D7E6F5A"}, "board": {"6813-7716-4820-3127-0542-1870-11"},
			"uuid": {"D5A3C2B1-E4F6-4A87-9C0B-1E2D3F4A5B6C"}, "cpu": {"178BFBFF00A00F11", "AMD EPYC 7763 64-CORE PROCESSOR"},
		}},
		"Windows container":      {container.Parts(), "container", values{"cpu": {"12TH GEN INTEL(R) CORE(TM) I7-12700K", "BFEBFBFF00090672"}}},
		"Windows that is silent": {win32.Answers{}.Parts(), "metal", values{}},
		"MacBook": {mac("macbook").Parts(), "metal", values{
			"mac": {"80:A9:97:24:08:3F"}, "disk": {"0BA01923C8F41E27"}, "board": {"H7KQ2M9XYF"}, "cpu": {"APPLE M3 PRO"},
			"os": {"5C1E7A90-3B2D-5F48-9E61-A0B4C7D21F36"}, "uuid": {"5C1E7A90-3B2D-5F48-9E61-A0B4C7D21F36"},
		}},
		"iMac": {mac("imac").Parts(), "metal", values{
			"mac": {"A8:60:B6:12:34:5A", "F0:18:98:5C:6D:7E"}, "disk": {"C0294820036LVLV1W", "WD-WCAV5K912345"}, "board": {"C02ZK1AAJV3Q"},
			"cpu": {"APPLE M3 PRO"}, "os": {"7D2F10C4-88AB-5E3D-91F7-06B5E2C9A48D"}, "uuid": {"7D2F10C4-88AB-5E3D-91F7-06B5E2C9A48D"},
		}},
		"FreeBSD on QEMU": {bsd.Parts(), "vm", values{
			"mac": {"52:54:00:AB:CD:EF"}, "disk": {"VOL-0A1B2C3D"}, "cpu": {"AMD EPYC"},
			"os": {"D5A3C2B1-E4F6-4A87-9C0B-1E2D3F4A5B6C"}, "uuid": {"D5A3C2B1-E4F6-4A87-9C0B-1E2D3F4A5B6C"},
		}},
		"FreeBSD jail": {jail.Parts(), "container", values{"cpu": {"AMD EPYC"}}},
	} {
		t.Run(name, func(t *testing.T) {
			s := fingerprint.Take(fingerprint.Collector{}, c.parts)
			if s.Environment != c.environment {
				t.Errorf("environment %q, want %q", s.Environment, c.environment)
			}
			if d := cmp.Diff(c.want, s.Values); d != "" {
				t.Error(d)
			}
			_, err := license.Bind(license.PolicyFuzzy, s.Digests("p"))
			if weak, bare := license.ReasonOf(err) == license.MachineWeak, len(c.want) < 2; weak != bare {
				t.Errorf("too weak to bind to: %v", weak)
			}
			if note := s.Notes[license.KindOS]; c.environment == "container" && !strings.Contains(note, fingerprint.CustomVariable) {
				t.Errorf("note %q", note)
			}
		})
	}
}

// A machine like the one of the marketplace's published example is known there
// by the published string.
func TestPublishedExample(t *testing.T) {
	s := fingerprint.Take(fingerprint.Collector{}, desktop(t).Parts())
	if got, want := s.Marketplace(), "04:7C:16:5E:E3:5D|001B_444A_488B_5CEC.||BFEBFBFF00090672"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Windows after its hypervisor, VPN and dock were set up or taken away.
func TestWindowsDrift(t *testing.T) {
	take := func(a win32.Answers) fingerprint.Set { return fingerprint.Take(fingerprint.Collector{}, a.Parts()) }
	bare := desktop(t)
	bare.Adapters, bare.Disks = bare.Adapters[:1], bare.Disks[:1]
	if d := cmp.Diff(take(bare), take(desktop(t))); d != "" {
		t.Error(d)
	}
	disabled := desktop(t)
	disabled.Adapters = disabled.Adapters[1:]
	binding, err := license.Bind(license.PolicyExact, take(bare).Digests("p"))
	check(t, err)
	if !license.Match(binding, take(disabled).Digests("p")).OK {
		t.Error("an adapter that is disabled makes it another machine")
	}
	if license.Match(binding, take(win32.Answers{Processor: bare.Processor}).Digests("p")).OK {
		t.Error("a silent machine is the bound one")
	}
}

// Parts that a system hands over are judged as all others are.
func TestTakeGarbage(t *testing.T) {
	s := fingerprint.Take(fingerprint.Collector{Placeholders: []string{"pool-disk"}}, machine.Parts{
		Environment: "metal", OS: "\x00", Boards: []string{"None", "a|b", " B1 ", "B2"}, UUIDs: []string{"4c4c4544-0059-3610-8052-b9c04f4d3532x", "nil"},
		CPUs: []string{"", "x\ty"}, MACs: []string{"00-00-00-00-00-00", "3C-7C-3F-11-22-33", "x"}, Disks: []string{"Pool-Disk", strings.Repeat("9", 300), "S1", "S1"},
		Notes: map[license.Kind]string{"uuid": "first of all"},
	})
	want := values{"board": {"B1"}, "mac": {"3C:7C:3F:11:22:33"}, "disk": {"S1"}}
	if d := cmp.Diff(want, s.Values); d != "" {
		t.Error(d)
	}
	if s.Notes["uuid"] != "first of all" || !slices.Contains([]string{"metal"}, s.Environment) {
		t.Error(s.Notes)
	}
}
