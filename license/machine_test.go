package license_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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

func genPolicy() *rapid.Generator[license.Policy] {
	return rapid.SampledFrom([]license.Policy{license.PolicyExact, license.PolicyFuzzy, license.PolicyLoose})
}

// genMachine draws a machine with any of the components, each of one to three
// values.
func genMachine(t *rapid.T) license.Fingerprint {
	fp := license.Fingerprint{Salt: license.ProductSalt("cad-pro"), Components: license.Components{}}
	for _, kind := range license.Kinds() {
		for i := range rapid.IntRange(0, 3).Draw(t, string(kind)) {
			fp.Components[kind] = append(fp.Components[kind], digestOf(t, kind, fmt.Sprintf("here %d", i)))
		}
	}
	return fp
}

func without(fp license.Fingerprint, kind license.Kind) license.Fingerprint {
	c := license.Components{}
	for k, d := range fp.Components {
		if k != kind {
			c[k] = d
		}
	}
	fp.Components = c
	return fp
}

func with(fp license.Fingerprint, kind license.Kind, digests ...license.Digest) license.Fingerprint {
	fp = without(fp, kind)
	fp.Components[kind] = digests
	return fp
}

// TestMatch is the rules of a match: what was bound matches itself and less.
func TestMatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy, fp := genPolicy().Draw(t, "policy"), genMachine(t)
		b, err := license.Bind(policy, fp)
		if err != nil {
			if license.ReasonOf(err) != license.MachineWeak {
				t.Fatal(err)
			}
			return
		}
		if !license.Match(b, fp).OK {
			t.Fatal("a machine does not match itself")
		}
		if license.Match(b, license.Fingerprint{Salt: fp.Salt}).OK {
			t.Fatal("nothing at all matches")
		}
		for _, kind := range license.Kinds() {
			bound := len(b.Components[kind]) > 0
			other := digestOf(t, kind, "elsewhere")
			switch {
			case !bound && !license.Match(b, with(fp, kind, other)).OK:
				t.Fatalf("%s, which was not bound, refuses", kind)
			case bound && len(b.Components) >= 3 && !license.Match(b, without(fp, kind)).OK:
				t.Fatalf("one of %d lost, %s, refuses under %s", len(b.Components), kind, policy)
			case bound && len(b.Components) >= 3 && !license.Match(b, with(fp, kind, other)).OK:
				t.Fatalf("one of %d changed, %s, refuses under %s", len(b.Components), kind, policy)
			case bound && !license.Match(b, with(fp, kind, other, b.Components[kind][0])).OK:
				t.Fatalf("an overlap in %s is not a match", kind)
			}
		}
		all := license.Fingerprint{Components: license.Components{}}
		for _, kind := range license.Kinds() {
			all.Components[kind] = []license.Digest{digestOf(t, kind, "elsewhere")}
		}
		if license.Match(b, all).OK {
			t.Fatal("another machine matches")
		}
		all.Components[license.KindCPU] = fp.Components[license.KindCPU]
		if license.Match(b, all).OK {
			t.Fatal("another machine with the same processor matches")
		}
		b.Policy = "fuzzy-9"
		if license.Match(b, fp).OK {
			t.Fatal("a policy that is not known matches")
		}
	})
}

// TestMatchTable: which overlaps are enough.
func TestMatchTable(t *testing.T) {
	kinds := func(s string) []license.Kind {
		var list []license.Kind
		for f := range strings.FieldsSeq(s) {
			list = append(list, license.Kind(f))
		}
		return list
	}
	machine := func(here, elsewhere string) license.Fingerprint {
		fp := license.Fingerprint{Components: license.Components{}}
		for _, k := range kinds(here) {
			fp.Components[k] = []license.Digest{digestOf(t, k, "here")}
		}
		for _, k := range kinds(elsewhere) {
			fp.Components[k] = []license.Digest{digestOf(t, k, "elsewhere")}
		}
		return fp
	}
	for _, c := range []struct {
		bound, same, changed string
		exact, fuzzy, loose  bool
	}{
		{"os", "os", "", true, true, true},
		{"os", "", "os", false, false, false},
		{"os", "", "mac", false, false, false},
		{"mac", "mac", "", false, false, true},
		{"mac board", "mac board", "", true, true, true},
		{"mac board", "mac", "board", false, false, true},
		{"mac board cpu", "mac cpu", "board", false, false, true},
		{"os mac board cpu", "mac board", "os cpu", false, true, true},
		{"os mac board cpu", "mac board cpu", "os", true, true, true},
		{"os mac board cpu", "cpu", "os mac board", false, false, false},
		{"os mac board", "os", "mac board", false, true, true},
		{"os disk", "os", "", true, true, true},
		{"os disk", "os", "disk", false, true, true},
		{"custom", "custom", "os uuid disk mac board cpu", true, true, true},
		{"disk uuid mac", "uuid", "disk", false, true, true},
	} {
		fp := machine(c.same, c.changed)
		for policy, want := range map[license.Policy]bool{license.PolicyExact: c.exact, license.PolicyFuzzy: c.fuzzy, license.PolicyLoose: c.loose} {
			b := license.Binding{Policy: policy, Components: machine(c.bound, "").Components}
			if got := license.Match(b, fp); got.OK != want {
				t.Errorf("%s: bound %q, same %q, changed %q: %v", policy, c.bound, c.same, c.changed, got.OK)
			}
		}
	}
}

func TestMatchExplains(t *testing.T) {
	here := func(k license.Kind) []license.Digest { return []license.Digest{digestOf(t, k, "here")} }
	other := func(k license.Kind) []license.Digest { return []license.Digest{digestOf(t, k, "elsewhere")} }
	got := license.Match(
		license.Binding{Policy: license.PolicyFuzzy, Components: license.Components{
			license.KindOS: here(license.KindOS), license.KindDisk: here(license.KindDisk), license.KindMAC: here(license.KindMAC),
		}},
		license.Fingerprint{Components: license.Components{
			license.KindOS: here(license.KindOS), license.KindMAC: other(license.KindMAC), license.KindCPU: here(license.KindCPU),
		}})
	want := license.MatchReport{OK: true, Policy: license.PolicyFuzzy, Components: []license.ComponentMatch{
		{Kind: license.KindOS, Outcome: license.OutcomeMatch, Bound: here(license.KindOS), Seen: here(license.KindOS)},
		{Kind: license.KindDisk, Outcome: license.OutcomeAbsent, Bound: here(license.KindDisk)},
		{Kind: license.KindMAC, Outcome: license.OutcomeChanged, Bound: here(license.KindMAC), Seen: other(license.KindMAC)},
		{Kind: license.KindCPU, Outcome: license.OutcomeUnbound, Seen: here(license.KindCPU)},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestBind(t *testing.T) {
	cpu := license.Fingerprint{Components: license.Components{license.KindCPU: {digestOf(t, license.KindCPU, "x")}}}
	for _, p := range []license.Policy{license.PolicyExact, license.PolicyFuzzy, license.PolicyLoose} {
		for name, fp := range map[string]license.Fingerprint{"nothing": {}, "a processor": cpu} {
			if _, err := license.Bind(p, fp); license.ReasonOf(err) != license.MachineWeak {
				t.Errorf("%s to %s: %v", p, name, err)
			}
		}
	}
	b, err := license.Bind(license.PolicyNone, cpu)
	if err != nil || !license.Match(b, license.Fingerprint{}).OK || b.Components != nil {
		t.Errorf("%+v %v", b, err)
	}
	if _, err := license.Bind("fuzzy-9", with(cpu, license.KindOS, digestOf(t, license.KindOS, "x"))); license.ReasonOf(err) != license.MachineWeak {
		t.Errorf("a policy that is not known: %v", err)
	}
	code := license.Fingerprint{Code: digestOf(t, license.KindCode, " HW 1 "), Components: cpu.Components}
	b, err = license.Bind(license.PolicyFuzzy, code)
	if err != nil {
		t.Fatal(err)
	}
	if !license.Match(b, license.Fingerprint{Code: digestOf(t, license.KindCode, "hw1")}).OK || license.Match(b, cpu).OK {
		t.Error("an identification code stands for the whole machine")
	}
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
