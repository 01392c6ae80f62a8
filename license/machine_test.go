package license_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/license"
)

func digestOf(tb interface{ Fatalf(string, ...any) }, kind license.Kind, value string) license.Digest {
	d, ok := license.DigestValue(license.ProductSalt("cad-pro"), kind, value)
	if !ok {
		tb.Fatalf("no digest of %q", value)
	}
	return d
}

func TestNormalize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		digests := rapid.SliceOf(rapid.Map(rapid.IntRange(0, 20), func(i int) license.Digest {
			return digestOf(t, license.KindMAC, fmt.Sprint("m", i))
		})).Draw(t, "digests")
		before := slices.Clone(digests)
		got := license.Components{license.KindMAC: digests, license.KindOS: nil}.Normalize()
		if !slices.Equal(before, digests) {
			t.Fatal("it touched what it was given")
		}
		list := got[license.KindMAC]
		if len(list) > license.MaxDigests || !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Fatalf("%v", got)
		}
		if _, there := got[license.KindOS]; there {
			t.Fatal("an empty kind is kept")
		}
		for _, d := range before {
			if !slices.Contains(list, d) && (len(list) < license.MaxDigests || d < list[len(list)-1]) {
				t.Fatalf("%s is lost", d)
			}
		}
	})
}

func TestDigestValid(t *testing.T) {
	good := string(digestOf(t, license.KindMAC, "x"))
	if len(good) != 22 || !license.Digest(good).Valid() {
		t.Error(good)
	}
	for _, bad := range []string{"", good[:21], good + "A", good[:20] + "\n\n", good[:21] + "=", good[:21] + "B", good[:21] + "+", strings.Repeat("é", 11)} {
		if license.Digest(bad).Valid() {
			t.Errorf("%q is valid", bad)
		}
	}
}
