package fingerprint_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func TestMarketplaceTooLong(t *testing.T) {
	s := fingerprint.Set{Values: map[license.Kind][]string{license.KindCPU: {"cpu"}}}
	for i := range 100 {
		s.Values[license.KindDisk] = append(s.Values[license.KindDisk], fmt.Sprintf("%03d%s", i, strings.Repeat("x", 97)))
		s.Values[license.KindMAC] = append(s.Values[license.KindMAC], fmt.Sprintf("02:00:00:00:01:%02x", i))
	}
	got := s.Marketplace()
	slices.Reverse(s.Values[license.KindDisk])
	if len(got) > fingerprint.MaxMarketplace || len(got) < fingerprint.MaxMarketplace-200 || got != s.Marketplace() {
		t.Errorf("%d bytes", len(got))
	}
	if strings.Count(got, "|") != 3 || !strings.HasSuffix(got, "||CPU") {
		t.Errorf("parts are missing in %q", got)
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

func FuzzSet(f *testing.F) {
	f.Add("04:7c:16:5e:e3:5d", "001b_444a", "b", "c")
	f.Add("|", ",", "\xff", "\x00")
	f.Fuzz(func(t *testing.T, mac, disk, board, cpu string) {
		s := fingerprint.Set{Values: map[license.Kind][]string{
			license.KindMAC: {mac}, license.KindDisk: {disk, mac}, license.KindBoard: {board}, license.KindCPU: {cpu},
		}}
		m := s.Marketplace()
		if len(m) > fingerprint.MaxMarketplace || strings.Count(m, "|") != 3 {
			t.Errorf("%q", m)
		}
		for kind, digests := range s.Digests("p").Components {
			for _, d := range digests {
				if !d.Valid() {
					t.Errorf("%s: %q", kind, d)
				}
			}
		}
	})
}
