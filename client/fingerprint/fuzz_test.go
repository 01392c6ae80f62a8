package fingerprint_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
	"github.com/seed-357fa782/licensed/license"
)

// The marketplace's string has four parts whatever the values are, and neither
// their order nor their repetition matters.
func FuzzSet(f *testing.F) {
	f.Add("04:7c:16:5e:e3:5d", "001b_444a", "b", "c")
	f.Add("|", ",", "\xff", "\x00")
	f.Add("3C-7C-3F-11-22-33", strings.Repeat("9", 256), strings.Repeat("größe ", 50), "BFEBFBFF00090672")
	f.Fuzz(func(t *testing.T, mac, disk, board, cpu string) {
		s := fingerprint.Set{Values: map[license.Kind][]string{
			license.KindMAC: {mac}, license.KindDisk: {disk, mac}, license.KindBoard: {board}, license.KindCPU: {cpu, board},
		}}
		m := s.Marketplace()
		if len(m) > fingerprint.MaxMarketplace || strings.Count(m, "|") != 3 || !utf8.ValidString(m) || strings.ContainsFunc(m, func(r rune) bool { return 'a' <= r && r <= 'z' }) {
			t.Errorf("%q", m)
		}
		for kind, values := range s.Values {
			slices.Reverse(values)
			s.Values[kind] = append(values, values...)
		}
		if again := s.Marketplace(); again != m {
			t.Errorf("%q and %q", m, again)
		}
		for kind, digests := range s.Digests("p").Components {
			for _, d := range digests {
				if !d.Valid() {
					t.Errorf("%s: %q", kind, d)
				}
			}
		}
		// What a set says of itself, the set made of it says again.
		parts := strings.Split(m, "|")
		again := fingerprint.Set{Values: map[license.Kind][]string{
			license.KindMAC: strings.Split(parts[0], ","), license.KindDisk: strings.Split(parts[1], ","), license.KindBoard: {parts[2]}, license.KindCPU: {parts[3]},
		}}
		if got := again.Marketplace(); got != m {
			t.Errorf("%q and %q", m, got)
		}
	})
}

// What counts is plain text in its normal form, whatever a system says.
func FuzzTake(f *testing.F) {
	f.Add("4c4c4544-0036-5910-8052-b4c04f4d3532", "XK1", "3c-7c-3f-11-22-33", "S4EMNX0R123456")
	f.Add("\xff", "a|b", "00:00:00:00:00:00", "QM00001")
	f.Fuzz(func(t *testing.T, id, board, mac, disk string) {
		s := fingerprint.Take(fingerprint.Collector{}, machine.Parts{
			Environment: machine.VM, OS: id, UUIDs: []string{id, board}, Boards: []string{board, id}, CPUs: []string{disk}, MACs: []string{mac, id}, Disks: []string{disk, mac},
		})
		for kind, values := range s.Values {
			if len(values) == 0 || !slices.IsSorted(values) {
				t.Errorf("%s: %q", kind, values)
			}
			for _, v := range values {
				if normal, ok := license.NormalizeValue(v); !ok || normal != v || len(v) > 256 {
					t.Errorf("%s: %q", kind, v)
				}
			}
		}
		for kind, note := range s.Notes {
			for _, v := range []string{id, board, mac, disk} {
				if len(v) > 8 && strings.Contains(note, v) {
					t.Errorf("%s: the note holds the value: %q", kind, note)
				}
			}
		}
	})
}

func FuzzUnitSerial(f *testing.F) {
	f.Add([]byte("\x00\x80\x00\x08ZC1234AB"), "naa.5000c500a1b2c3d4")
	f.Add([]byte("\x00\x80\xff\xffSHORT"), "t10.ATA     ST4000NM0035                            ZC9876XY            ")
	f.Add([]byte("\x00\x83\x00\x01x"), "nvme.1ae0-6e-6e-00000001")
	f.Fuzz(func(t *testing.T, page []byte, wwid string) {
		if got := fingerprint.UnitSerial(page); len(got) > max(0, len(page)-4) || strings.HasSuffix(got, "\x00") {
			t.Errorf("%q", got)
		}
		if got := fingerprint.WorldwideName(wwid); !strings.Contains(wwid, got) {
			t.Errorf("%q of %q", got, wwid)
		}
	})
}

func FuzzProcessorModel(f *testing.F) {
	f.Add("processor\t: 0\nmodel name\t: Intel(R) Xeon(R) CPU\n\nprocessor\t: 1\nmodel name\t: other\n")
	f.Add("CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 1\n")
	f.Add("\n\n:\n: x\ncpu : y")
	f.Fuzz(func(t *testing.T, text string) {
		got := fingerprint.ProcessorModel(text)
		if len(got) > 3*len(text) || strings.ContainsAny(got, "\n\t") {
			t.Errorf("%q", got)
		}
	})
}

// What an administrator supplies is one plain value or none, by whatever
// program the file was written.
func FuzzCustom(f *testing.F) {
	f.Add([]byte("# the cluster\n\n cluster-7 \r\nsecond\n"), "")
	f.Add([]byte("\xff\xfec\x00l\x00u\x00s\x00t\x00e\x00r\x00\r\x00\n\x00"), " ")
	f.Add([]byte("\xef\xbb\xbfasset-17"), "asset|18")
	f.Add([]byte("\xfe\xff\x00"), "unknown")
	root := f.TempDir()
	path := filepath.Join(root, strings.TrimPrefix(fingerprint.CustomFile(), filepath.VolumeName(fingerprint.CustomFile())))
	check(f, os.MkdirAll(filepath.Dir(path), 0o755))
	f.Fuzz(func(t *testing.T, file []byte, variable string) {
		check(t, os.WriteFile(path, file, 0o644))
		c := fingerprint.Collector{Root: root, Getenv: func(string) string { return variable }}
		s, err := c.Collect(t.Context())
		check(t, err)
		values := s.Values[license.KindCustom]
		if len(values) > 1 || len(values) == 0 && s.Notes[license.KindCustom] == "" {
			t.Fatalf("%q, and the note %q", values, s.Notes[license.KindCustom])
		}
		for _, v := range values {
			if normal, ok := license.NormalizeValue(v); !ok || normal != v || len(v) > 256 {
				t.Errorf("%q", v)
			}
		}
		if note := s.Notes[license.KindCustom]; len(variable) > 8 && strings.Contains(note, variable) {
			t.Errorf("the note holds the value: %q", note)
		}
	})
}
