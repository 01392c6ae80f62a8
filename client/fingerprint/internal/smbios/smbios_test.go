package smbios_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/smbios"
)

// recorded reads bytes as they are written in testdata: in hex, with comments.
func recorded(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		tb.Fatal(err)
	}
	var all []byte
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		b, err := hex.DecodeString(strings.Join(strings.Fields(line), ""))
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

func TestRecorded(t *testing.T) {
	for name, want := range map[string]smbios.Table{
		"desktop": {
			Maker: "Micro-Star International Co., Ltd.", Product: "MS-7D25", UUID: "7f3c1a52-9b0e-4d8c-a1f6-2c0d5e6b7a89",
			Boards: []string{"Default string"}, Processors: []string{"BFEBFBFF00090672"},
		},
		"server": {
			Maker: "Dell Inc.", Product: "PowerEdge R240", UUID: "4c4c4544-0059-3610-8052-b9c04f4d3532",
			Boards: []string{".9Y6RM52.CNFCP0008Q00QB.", ".9Y6RM52.BP0012345678."}, Processors: []string{"BFEBFBFF000906ED"},
		},
		"hyperv": {
			Maker: "Microsoft Corporation", Product: "Virtual Machine", UUID: "d5a3c2b1-e4f6-4a87-9c0b-1e2d3f4a5b6c",
			Boards: []string{"6813-7716-4820-3127-0542-1870-11"}, Processors: []string{"178BFBFF00A00F11"},
		},
		"blank": {Maker: "  ", Product: " "},
	} {
		got, err := smbios.ParseRaw(recorded(t, name))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// The first three fields of a UUID are little endian: DSP0134 gives these bytes
// for this UUID.
func TestByteOrder(t *testing.T) {
	table := append([]byte{1, 27, 1, 0, 0, 0, 0, 0},
		0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff, 6, 0, 0, 0, 0)
	got, err := smbios.Parse(table)
	if want := "00112233-4455-6677-8899-aabbccddeeff"; err != nil || got.UUID != want {
		t.Errorf("got %q, %v, want %q", got.UUID, err, want)
	}
}

func TestDamaged(t *testing.T) {
	whole := recorded(t, "server")
	full, err := smbios.ParseRaw(whole)
	if err != nil {
		t.Fatal(err)
	}
	errs := 0
	for n := range whole[8:] { // what stands before the damage is right
		got, err := smbios.Parse(whole[8 : 8+n])
		if err != nil {
			errs++
		}
		if got.UUID != "" && got.UUID != full.UUID || !cmp.Equal(got.Boards, full.Boards[:len(got.Boards)], cmpopts.EquateEmpty()) {
			t.Errorf("%d bytes: %+v", n, got)
		}
	}
	if borders := len(whole) - 8 - errs; borders != 7 { // between the seven structures, at the start too
		t.Errorf("%d cuts are no damage", borders)
	}
	for name, c := range map[string]struct {
		table []byte
		want  string
	}{
		"a length that is too short": {[]byte{1, 3, 0, 0, 0, 0}, "3 bytes"},
		"a length that is too long":  {[]byte{1, 200, 0, 0, 0, 0}, "200 bytes"},
		"texts without an end":       {[]byte{1, 4, 0, 0, 'a', 0, 'b'}, "do not end"},
		"too large":                  {make([]byte, smbios.MaxSize+1), "limit"},
		"a rest":                     {[]byte{0, 4, 0, 0, 0, 0, 9}, "cut short"},
	} {
		if _, err := smbios.Parse(c.table); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, raw := range [][]byte{nil, make([]byte, 7), {0, 3, 0, 0, 1, 0, 0, 0}, {0, 3, 0, 0, 0xff, 0xff, 0xff, 0xff}} {
		if _, err := smbios.ParseRaw(raw); err == nil {
			t.Errorf("%x: no error", raw)
		}
	}
	// A text that is named and not there, and fields beyond the structure.
	got, err := smbios.Parse([]byte{1, 8, 0, 0, 9, 1, 0, 0, 'm', 0, 0, 2, 4, 0, 0, 0, 0, 4, 4, 0, 0, 0, 0})
	if d := cmp.Diff(smbios.Table{Product: "m"}, got); d != "" || err != nil {
		t.Error(d, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"desktop", "server", "hyperv", "blank"} {
		f.Add(recorded(f, name))
	}
	f.Add([]byte{0, 3, 0, 0, 6, 0, 0, 0, 1, 4, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := smbios.ParseRaw(raw)
		if err != nil && len(raw) < 8 && !cmp.Equal(got, smbios.Table{}) {
			t.Errorf("%+v of nothing", got)
		}
		if got.UUID != "" && len(got.UUID) != 36 {
			t.Errorf("UUID %q", got.UUID)
		}
		for _, p := range got.Processors {
			if len(p) != 16 {
				t.Errorf("processor %q", p)
			}
		}
		for _, b := range append(got.Boards, got.Maker, got.Product) {
			if len(b) > len(raw) || strings.ContainsRune(b, 0) {
				t.Errorf("text %q", b)
			}
		}
	})
}
