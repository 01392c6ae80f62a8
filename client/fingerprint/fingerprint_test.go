package fingerprint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
)

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func one(v string) []string {
	if v == "" {
		return nil
	}
	return []string{v}
}

// The marketplace's vectors, the published example among them.
func TestMarketplaceVectors(t *testing.T) {
	data, err := os.ReadFile("testdata/device_fingerprint.json")
	check(t, err)
	var vectors []struct {
		MAC, Disk   []string
		Board, CPU  string
		Fingerprint string
	}
	check(t, json.Unmarshal(data, &vectors))
	for _, v := range vectors {
		s := fingerprint.Set{Values: map[license.Kind][]string{
			license.KindMAC: v.MAC, license.KindDisk: v.Disk, license.KindBoard: one(v.Board), license.KindCPU: one(v.CPU),
		}}
		if got := s.Marketplace(); got != v.Fingerprint {
			t.Errorf("got %q, want %q", got, v.Fingerprint)
		}
		slices.Reverse(v.MAC)
		slices.Reverse(v.Disk)
		if got := s.Marketplace(); got != v.Fingerprint {
			t.Errorf("reversed: got %q, want %q", got, v.Fingerprint)
		}
	}
	if len(vectors) == 0 {
		t.Error("no vectors")
	}
}

func TestMarketplaceOfGarbage(t *testing.T) {
	s := fingerprint.Set{Values: map[license.Kind][]string{
		license.KindMAC:   {"3C-7C-3F-11-22-33"},
		license.KindDisk:  {"a|b", "c,d", "\xff\xfe", " d1 ", "d1", "", "größe", strings.Repeat("x", 300)},
		license.KindBoard: {"|"},
	}}
	if got, want := s.Marketplace(), "3C:7C:3F:11:22:33|D1,GRößE||"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The last values of the longer list are left out until the whole fits: what
// is left does not depend on the order in which values were found.
func TestMarketplaceTooLong(t *testing.T) {
	set := func(macs, disks, length int) fingerprint.Set {
		s := fingerprint.Set{Values: map[license.Kind][]string{license.KindBoard: {"board"}, license.KindCPU: {"cpu"}}}
		for i := range macs {
			s.Values[license.KindMAC] = append(s.Values[license.KindMAC], fmt.Sprintf("3c:7c:3f:00:%02x:%02x", i/256, i%256))
		}
		for i := range disks {
			s.Values[license.KindDisk] = append(s.Values[license.KindDisk], fmt.Sprintf("%03d%s", i, strings.Repeat("x", length-3)))
		}
		return s
	}
	for _, c := range []struct {
		macs, disks, length int // how many there are, and how long a serial is
		leftMACs, leftDisks int
	}{
		{2, 2, 100, 2, 2},
		{2, 51, 98, 2, 51}, // 35 + 1 + 51*99-1 + 10 bytes
		{2, 52, 98, 2, 51},
		{0, 400, 98, 0, 51},
		{400, 0, 98, 283, 0},    // 283*18-1 + 1 + 10 bytes
		{400, 100, 98, 143, 25}, // both lists come to about the half
		{512, 512, 256, 142, 9},
		{1, 1, 256, 1, 1},
	} {
		s := set(c.macs, c.disks, c.length)
		got := s.Marketplace()
		parts := strings.Split(got, "|")
		if len(got) > fingerprint.MaxMarketplace || len(parts) != 4 || parts[2] != "BOARD" || parts[3] != "CPU" {
			t.Fatalf("%+v: %d bytes: %q", c, len(got), parts)
		}
		for i, want := range []int{c.leftMACs, c.leftDisks} {
			all, kind := []string{}, []license.Kind{license.KindMAC, license.KindDisk}[i]
			for _, v := range s.Values[kind] {
				all = append(all, strings.ToUpper(v))
			}
			if left := strings.Join(all[:min(want, len(all))], ","); parts[i] != left {
				t.Errorf("%+v: %d of %s are left", c, strings.Count(parts[i], ",")+1, kind)
			}
		}
		for _, values := range s.Values {
			slices.Reverse(values)
		}
		if again := s.Marketplace(); again != got {
			t.Errorf("%+v: the order matters", c)
		}
	}
}

// Of the processor its id goes before the name of its model.
func TestMarketplaceProcessor(t *testing.T) {
	for want, values := range map[string][]string{
		"|||BFEBFBFF00090672":            {"12th Gen Intel(R) Core(TM) i7-12700K", "bfebfbff00090672"},
		"|||178BFBFF00A20F10":            {"AMD Ryzen 9 5950X 16-Core Processor", "178BFBFF00A20F10"},
		"|||APPLE M3 PRO":                {"Apple M3 Pro"},
		"|||ABCDEF0123456789":            {"ABCDEF012345678", "ABCDEF0123456789", "ABCDEF01234567890"},
		"|||0X41 8 0X4 0XD0B 1":          {"0x41 8 0x4 0xd0b 1", " ", "|"},
		"|||":                            nil,
		"|||INTEL(R) XEON(R) CPU @ 3GHZ": {"Intel(R) Xeon(R) CPU @ 3GHz", "QEMU Virtual CPU"},
	} {
		s := fingerprint.Set{Values: map[license.Kind][]string{license.KindCPU: values}}
		if got := s.Marketplace(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if id := fingerprint.ProcessorID(); runtime.GOARCH == "amd64" && (len(id) != 16 || strings.Trim(id, "0123456789ABCDEF") != "" || strings.HasSuffix(id, "00000000")) {
		t.Errorf("this processor is %q", id)
	}
}

func TestDigests(t *testing.T) {
	s := fingerprint.Set{Environment: fingerprint.Metal, Code: "AB 12 cd", Values: map[license.Kind][]string{
		license.KindMAC: {"3c-7c-3f-11-22-33"}, license.KindDisk: {"a|b"}, license.KindOS: {"0F1E", "0f1e"},
	}}
	fp := s.Digests("cad-pro")
	want := license.Components{}
	mac, _ := license.DigestValue(license.ProductSalt("cad-pro"), license.KindMAC, "3C:7C:3F:11:22:33")
	id, _ := license.DigestValue(license.ProductSalt("cad-pro"), license.KindOS, "0F1E")
	want[license.KindMAC], want[license.KindOS] = []license.Digest{mac}, []license.Digest{id}
	if d := cmp.Diff(want, fp.Components); d != "" {
		t.Error(d)
	}
	code, _ := license.DigestValue(fp.Salt, license.KindCode, "ab12CD")
	if fp.Code != code || fp.Environment != "metal" {
		t.Errorf("code %q", fp.Code)
	}
	if other := s.Digests("viewer"); other.Components[license.KindMAC][0] == mac {
		t.Error("two products share a digest")
	}
	for i := range 20 {
		s.Values[license.KindMAC] = append(s.Values[license.KindMAC], fmt.Sprintf("3c:7c:3f:11:22:%02x", i))
	}
	if n := len(s.Digests("cad-pro").Components[license.KindMAC]); n != license.MaxDigests {
		t.Errorf("%d digests", n)
	}
	if fp := (fingerprint.Set{}).Digests("cad-pro"); len(fp.Components) != 0 || fp.Code != "" {
		t.Errorf("nothing became %v", fp)
	}
}

func TestSetDoesNotPrint(t *testing.T) {
	s := fingerprint.Set{Values: map[license.Kind][]string{license.KindDisk: {"SERIAL77"}}}
	if got := fmt.Sprintf("%v %+v %#v %s", s, s, s, s.LogValue()); strings.Contains(got, "77") {
		t.Error(got)
	}
}

func TestCollectHere(t *testing.T) {
	a, err := fingerprint.Collect(t.Context())
	check(t, err)
	b, err := fingerprint.Collect(t.Context())
	check(t, err)
	if d := cmp.Diff(a.Digests("p"), b.Digests("p")); d != "" {
		t.Error(d)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fingerprint.Collect(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestCustomVariable(t *testing.T) {
	for value, want := range map[string][]string{
		" asset-17 ": {"ASSET-17"}, "a|b": nil, "none": nil, "0000": nil, "": nil,
	} {
		c := fingerprint.Collector{Root: t.TempDir(), Getenv: func(name string) string {
			if name != "LICENSED_MACHINE_ID" {
				t.Errorf("asked for %s", name)
			}
			return value
		}}
		s, err := c.Collect(t.Context())
		check(t, err)
		if d := cmp.Diff(want, s.Values[license.KindCustom]); d != "" {
			t.Errorf("%q: %s", value, d)
		}
		if noted := s.Notes[license.KindCustom] != ""; noted != (want == nil && value != "") {
			t.Errorf("%q: note %q", value, s.Notes[license.KindCustom])
		}
	}
}

func BenchmarkCollect(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, err := fingerprint.Collect(b.Context())
		check(b, err)
	}
}
