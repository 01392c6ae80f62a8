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

func genPolicy() *rapid.Generator[license.Policy] {
	return rapid.SampledFrom([]license.Policy{license.PolicyExact, license.PolicyFuzzy, license.PolicyLoose})
}

// genMachine draws a machine with any of the components, each of a few values,
// now and then of more than can be bound.
func genMachine(t *rapid.T) license.Fingerprint {
	most := rapid.SampledFrom([]int{1, 3, 2 * license.MaxDigests}).Draw(t, "most")
	fp := license.Fingerprint{Salt: license.ProductSalt("cad-pro"), Components: license.Components{}}
	for _, kind := range license.Kinds() {
		for i := range rapid.IntRange(0, most).Draw(t, string(kind)) {
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

// TestMatchSets: what matters of the digests of a kind is which there are, and
// showing more of what was bound never turns a match into a refusal.
func TestMatchSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy, was := genPolicy().Draw(t, "policy"), genMachine(t)
		b, err := license.Bind(policy, was)
		if err != nil {
			return
		}
		is := license.Fingerprint{Salt: was.Salt, Components: license.Components{}}
		for _, kind := range license.Kinds() {
			for _, d := range slices.Concat(elsewhere[kind], b.Components[kind]) {
				if len(is.Components[kind]) < license.MaxDigests-1 && rapid.Bool().Draw(t, "shown") {
					is.Components[kind] = append(is.Components[kind], d)
				}
			}
		}
		want := license.Match(b, is)

		other := license.Fingerprint{Salt: is.Salt, Components: license.Components{}}
		shuffled := license.Binding{Policy: b.Policy, Salt: b.Salt, Components: license.Components{}}
		for _, kind := range license.Kinds() {
			other.Components[kind] = slices.Concat(rapid.Permutation(is.Components[kind]).Draw(t, "seen"), is.Components[kind])
			shuffled.Components[kind] = rapid.Permutation(b.Components[kind]).Draw(t, "bound")
		}
		got := license.Match(shuffled, other)
		if got.OK != want.OK || got.Weight != want.Weight || got.Lost != want.Lost {
			t.Fatalf("order or repetition matters: %+v, %+v", want, got)
		}
		if !shuffled.Equal(b) {
			t.Fatal("order makes another binding")
		}
		if again, err := license.Bind(policy, other); err == nil {
			if sorted, err := license.Bind(policy, is); err != nil || !again.Equal(sorted) {
				t.Fatalf("order or repetition is bound: %v", err)
			}
		}

		kind := rapid.SampledFrom(license.Kinds()).Draw(t, "kind")
		if len(b.Components[kind]) > 0 {
			d := rapid.SampledFrom(b.Components[kind]).Draw(t, "digest")
			if more := with(is, kind, append(slices.Clone(is.Components[kind]), d)...); want.OK && !license.Match(b, more).OK {
				t.Fatalf("showing one more %s that was bound is worse", kind)
			}
		} else if license.Match(b, with(is, kind, elsewhere[kind]...)).OK != want.OK {
			t.Fatalf("%s, which was not bound, makes a difference", kind)
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
		{"os mac board cpu", "mac board", "os cpu", true, true, true},
		{"os mac board cpu", "mac board cpu", "os", true, true, true},
		{"os mac board cpu", "cpu", "os mac board", false, false, false},
		{"os mac board", "os", "mac board", false, true, true},
		{"os disk", "os", "", true, true, true},
		{"os disk", "os", "disk", false, true, true},
		{"custom", "custom", "os uuid disk mac board cpu", true, true, true},
		{"disk uuid mac", "uuid", "disk", false, true, true},
		// Board serial and UUID only ever add.
		{"os disk mac uuid board", "os disk mac", "", true, true, true},
		{"os disk mac uuid board", "os disk", "mac uuid board", true, true, true},
		{"os disk mac uuid board", "os mac uuid board", "disk", true, true, true},
		{"os disk mac uuid board", "mac uuid board", "os disk", false, true, true},
		{"os mac uuid", "os", "mac uuid", false, true, true},
		{"os uuid", "os", "uuid", true, true, true},
		{"uuid", "", "uuid", false, false, false},
		{"uuid board", "board", "uuid", false, false, true},
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
	const strong, medium, neither = license.WeightStrong, license.WeightMedium, license.EffectNeither
	want := license.MatchReport{OK: true, Policy: license.PolicyFuzzy, Weight: 2, Enough: 2, Components: []license.ComponentMatch{
		{Kind: license.KindOS, Outcome: license.OutcomeMatch, Weight: strong, Effect: license.EffectFor, Bound: here(license.KindOS), Seen: here(license.KindOS)},
		{Kind: license.KindDisk, Outcome: license.OutcomeAbsent, Weight: strong, Effect: neither, Bound: here(license.KindDisk)},
		{Kind: license.KindMAC, Outcome: license.OutcomeChanged, Weight: medium, Effect: neither, Bound: here(license.KindMAC), Seen: other(license.KindMAC)},
		{Kind: license.KindCPU, Outcome: license.OutcomeUnbound, Effect: neither, Seen: here(license.KindCPU)},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	exact := license.Match(license.Binding{Policy: license.PolicyExact, Components: machineNamed("here")}, license.Fingerprint{Components: elsewhere})
	for _, c := range exact.Components {
		firm := slices.Contains([]license.Kind{license.KindCustom, license.KindOS, license.KindDisk, license.KindMAC}, c.Kind)
		if (c.Effect == license.EffectAgainst) != firm || c.Effect == license.EffectFor {
			t.Errorf("exact: %s counts %s", c.Kind, c.Effect)
		}
	}
	if exact.OK || exact.Lost != 4 || exact.Weight != 0 {
		t.Errorf("%+v", exact)
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
	for name, fp := range map[string]license.Fingerprint{
		"what is no digest": {Components: license.Components{license.KindOS: {"", "x", license.Digest(strings.Repeat("é", 11))}}},
		"unknown kinds":     {Components: license.Components{"tpm": here[license.KindOS], license.KindCode: here[license.KindOS]}},
		"no code":           {Code: "x"},
	} {
		if b, err := license.Bind(license.PolicyLoose, fp); license.ReasonOf(err) != license.MachineWeak {
			t.Errorf("to %s: %+v %v", name, b, err)
		}
	}
	for environment, want := range map[string]string{"container": "a container shows", "vm": "this machine shows", "": "LICENSED_MACHINE_ID"} {
		if _, err := license.Bind(license.PolicyFuzzy, license.Fingerprint{Environment: environment}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("in %q: %v", environment, err)
		}
	}
	// A kind that is not known is not one of three.
	many, err := license.Bind(license.PolicyFuzzy, license.Fingerprint{Components: license.Components{
		"tpm": here[license.KindOS], license.KindMAC: here[license.KindMAC], license.KindBoard: here[license.KindBoard], license.KindCPU: here[license.KindCPU],
	}})
	if err != nil || len(many.Components) != 2 {
		t.Errorf("%+v %v", many, err)
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
