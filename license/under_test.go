package license_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/license"
)

// Another policy never refuses a machine at a check-in that it would have
// passed, and is taken over wherever the machine passes under it.
func TestUnder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policies := rapid.SampledFrom([]license.Policy{license.PolicyExact, license.PolicyFuzzy, license.PolicyLoose})
		was, is := policies.Draw(t, "was"), policies.Draw(t, "is")
		b, err := license.Bind(was, genMachine(t))
		if err != nil {
			return
		}
		u := license.Unproven{}
		for _, kind := range license.Kinds() {
			for _, d := range b.Components[kind] {
				if rapid.Bool().Draw(t, "unproven "+string(kind)) {
					u[d] = someday
				}
			}
		}
		fp := genMachine(t)
		passes := func(b license.Binding) bool { return !license.DriftBudget{}.Rebind(b, u, fp, someday).Moved }
		got, left := b.Under(is, u, fp)
		other := b
		other.Policy = is
		switch {
		case len(left) != len(u):
			t.Fatal("something is proven by another policy")
		case !other.Equal(got) && !b.Equal(got):
			t.Fatalf("bound to %+v", got)
		case passes(b) && !passes(got):
			t.Fatalf("%s refuses what %s let pass", is, was)
		case was == is:
		case passes(other) && got.Policy != is:
			t.Fatalf("it passes under %s, and is bound by %s", is, got.Policy)
		case license.Match(other, fp).OK && !license.Match(b, fp).OK && got.Policy != is:
			t.Fatalf("%s refuses it, %s would take it for a machine that has moved, and it is bound by %s", was, is, got.Policy)
		case got.Policy == is && !license.Match(got, fp).OK:
			t.Fatalf("bound by %s, which refuses it", is)
		}
	})
}

func TestUnderNone(t *testing.T) {
	fp := parts(t, "os:1 disk:1")
	b, err := license.Bind(license.PolicyFuzzy, fp)
	if err != nil {
		t.Fatal(err)
	}
	u := license.Unproven{fp.Components[license.KindDisk][0]: someday}
	none, left := b.Under(license.PolicyNone, u, fp)
	if none.Policy != license.PolicyNone || len(none.Components) != 0 || left != nil {
		t.Errorf("under none: %+v, %v", none, left)
	}
	if back, _ := none.Under(license.PolicyFuzzy, nil, fp); !back.Equal(b) {
		t.Errorf("and back: %+v", back)
	}
	if weak, _ := none.Under(license.PolicyFuzzy, nil, parts(t, "cpu:1")); !weak.Equal(none) {
		t.Errorf("a machine too weak: %+v", weak)
	}
	if same, _ := b.Under("fuzzy-9", u, fp); !same.Equal(b) {
		t.Errorf("a policy that nobody knows: %+v", same)
	}
	code := license.Binding{Policy: license.PolicyFuzzy, Code: fp.Components[license.KindOS][0]}
	for _, p := range []license.Policy{license.PolicyNone, license.PolicyExact} {
		if same, _ := code.Under(p, nil, fp); !same.Equal(code) {
			t.Errorf("an identification code under %s: %+v", p, same)
		}
	}
}

func TestApart(t *testing.T) {
	for _, c := range []struct {
		bound, shown string
		want         bool
	}{
		{"custom:1 os:1 disk:1 mac:1", "custom:1 os:2 disk:2 mac:2", true},
		{"custom:1 os:1 disk:1", "custom:1 os:2 disk:2 mac:2", true},
		{"custom:1 os:1 disk:1 cpu:1", "custom:1 os:2 disk:1 cpu:2", false},
		{"custom:1 os:1", "custom:1 os:2", false},              // a system set up anew
		{"custom:1 cpu:1", "custom:1 cpu:2", false},            // a container
		{"custom:1 os:1 disk:1 mac:1", "custom:1", false},      // what cannot be read is not different
		{"os:1 disk:1 mac:1", "os:1 disk:2 mac:2", true},       // a virtual machine copied before it was activated
		{"os:1 disk:1 mac:1", "os:1 disk:1 mac:2", false},      // or repaired
		{"os:1 disk:1 mac:1", "os:2 disk:2 mac:2", true},       // not even one
		{"os:1 mac:1", "os:1 mac:1 disk:1 uuid:1", false},      // what was not bound makes no difference
		{"custom:1 os:1 mac:1", "custom:1 mac:1 mac:2", false}, // one of several is enough
	} {
		b, err := license.Bind(license.PolicyFuzzy, parts(t, c.bound))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []license.Policy{license.PolicyExact, license.PolicyFuzzy, license.PolicyLoose} {
			b.Policy = p
			if got := b.Apart(parts(t, c.shown)); got != c.want {
				t.Errorf("%s: %q and %q are apart: %v", p, c.bound, c.shown, got)
			}
		}
	}
}

var someday = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
