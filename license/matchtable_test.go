package license_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/seed-357fa782/licensed/license"
)

// How one kind stands in a comparison.
const (
	nowhere = iota // neither bound nor seen
	unbound        // seen only
	absent         // bound only
	changed
	same
	standings
)

// comparison is one way in which the kinds of a machine can stand, by their
// place in license.Kinds.
type comparison []int

// comparisons returns all ways: 5 standings of 7 kinds.
func comparisons() []comparison {
	all := []comparison{{}}
	for range license.Kinds() {
		var longer []comparison
		for _, c := range all {
			for s := range standings {
				longer = append(longer, append(slices.Clip(c), s))
			}
		}
		all = longer
	}
	return all
}

func (c comparison) number() int {
	n := 0
	for _, s := range c {
		n = n*standings + s
	}
	return n
}

// but returns c with kind i standing in another way.
func (c comparison) but(i, standing int) comparison {
	c = slices.Clone(c)
	c[i] = standing
	return c
}

// bindable reports whether Bind could have bound these kinds: the processor
// only beside three others.
func (c comparison) bindable() bool {
	others, processor := 0, false
	for i, s := range c {
		switch {
		case s < absent:
		case license.Kinds()[i] == license.KindCPU:
			processor = true
		default:
			others++
		}
	}
	return !processor || others >= 3
}

func (c comparison) count(standing ...int) (n int) {
	for _, s := range c {
		if slices.Contains(standing, s) {
			n++
		}
	}
	return n
}

// machines returns the binding and the machine of a comparison, each kind with
// one digest.
func (c comparison) machines(t *testing.T, p license.Policy) (license.Binding, license.Fingerprint) {
	t.Helper()
	b := license.Binding{Policy: p, Components: license.Components{}}
	fp := license.Fingerprint{Components: license.Components{}}
	for i, k := range license.Kinds() {
		if c[i] >= absent {
			b.Components[k] = here[k]
		}
		switch c[i] {
		case same:
			fp.Components[k] = here[k]
		case changed, unbound:
			fp.Components[k] = elsewhere[k]
		}
	}
	return b, fp
}

// here and elsewhere are the components of two machines.
var here, elsewhere = machineNamed("here"), machineNamed("elsewhere")

func machineNamed(name string) license.Components {
	c := license.Components{}
	for _, k := range license.Kinds() {
		d, _ := license.DigestValue(license.ProductSalt("cad-pro"), k, name)
		c[k] = []license.Digest{d}
	}
	return c
}

// TestMatchExhaustively goes through all that can happen to a machine of one
// digest a kind, and holds each rule of matching against it.
func TestMatchExhaustively(t *testing.T) {
	all := comparisons()
	for _, policy := range []license.Policy{license.PolicyExact, license.PolicyFuzzy, license.PolicyLoose} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			ok := make([]bool, len(all))
			for _, c := range all {
				b, fp := c.machines(t, policy)
				ok[c.number()] = license.Match(b, fp).OK
			}
			for _, c := range all {
				checkRules(t, policy, c, func(c comparison) bool { return ok[c.number()] })
			}
			wantFrozen(t, policy, ok)
		})
	}
}

func checkRules(t *testing.T, policy license.Policy, c comparison, ok func(comparison) bool) {
	t.Helper()
	wrong := func(rule string) { t.Errorf("%s: %v: %s", policy, c, rule) }
	strong, medium := 0, 0
	for i, k := range license.Kinds() {
		if c[i] != same {
			continue
		}
		switch k {
		case license.KindCustom, license.KindOS, license.KindUUID, license.KindDisk:
			strong++
		case license.KindMAC, license.KindBoard:
			medium++
		case license.KindCPU, license.KindCode:
		}
	}
	enough := strong >= 1 || medium >= 2 || policy == license.PolicyLoose && medium >= 1
	lost, bound := c.count(absent, changed), c.count(absent, changed, same)
	switch {
	case ok(c) && !enough:
		wrong("it matches by too little")
	case !ok(c) && enough && policy != license.PolicyExact:
		wrong("there is enough, and it is refused")
	case ok(c) && c.count(same) == 0:
		wrong("nothing is the same, and it matches")
	case !ok(c) && lost == 0 && enough:
		wrong("a machine does not match itself")
	case !ok(c) && lost == 1 && bound >= 3 && c.bindable():
		wrong("one of three or more is lost, and it is refused")
	}
	for i, k := range license.Kinds() {
		switch {
		case c[i] == unbound && ok(c) != ok(c.but(i, nowhere)):
			wrong(string(k) + " was not bound and makes a difference")
		case c[i] == changed && ok(c) && !ok(c.but(i, absent)):
			wrong(string(k) + " makes it worse by being absent instead of another")
		case c[i] == absent && ok(c) && !ok(c.but(i, same)), c[i] == changed && ok(c) && !ok(c.but(i, same)):
			wrong(string(k) + " makes it worse by being the same")
		}
		if k != license.KindUUID && k != license.KindBoard && k != license.KindCPU {
			continue
		}
		if c[i] >= absent && !ok(c) && ok(c.but(i, nowhere)) { // they only ever add
			wrong(string(k) + " was bound and turns a match into a refusal")
		}
		if k == license.KindCPU && c[i] >= absent && ok(c) != ok(c.but(i, nowhere)) {
			wrong("the processor decides")
		}
	}
}

// wantFrozen compares all that a policy decides with what it decided when it
// was published. Bindings under it are out there: another way of matching is
// another policy, with a name of its own.
func wantFrozen(t *testing.T, policy license.Policy, ok []bool) {
	t.Helper()
	decisions := make([]byte, len(ok))
	for i, yes := range ok {
		if yes {
			decisions[i] = 1
		}
	}
	sum := sha256.Sum256(decisions)
	want := map[license.Policy]string{
		license.PolicyExact: "907f5973b5b03cbf",
		license.PolicyFuzzy: "8e123a5546372dc8",
		license.PolicyLoose: "275693f6d574c584",
	}[policy]
	if got := hex.EncodeToString(sum[:8]); got != want {
		t.Errorf("%s decides otherwise than it did (%s, not %s): give the new way a new name", policy, got, want)
	}
}

// TestBindExhaustively binds machines with any of the kinds.
func TestBindExhaustively(t *testing.T) {
	for _, policy := range []license.Policy{license.PolicyExact, license.PolicyFuzzy, license.PolicyLoose} {
		for mask := range 1 << len(license.Kinds()) {
			fp := license.Fingerprint{Salt: []byte("salt"), Components: license.Components{}}
			shown := license.Binding{Policy: policy, Components: fp.Components}
			for i, k := range license.Kinds() {
				if mask>>i&1 == 1 {
					fp.Components[k] = here[k]
				}
			}
			b, err := license.Bind(policy, fp)
			if err != nil {
				if license.ReasonOf(err) != license.MachineWeak || license.Match(shown, fp).OK {
					t.Errorf("%s: %v: %v", policy, fp.Components, err)
				}
				continue
			}
			if !license.Match(b, fp).OK {
				t.Errorf("%s: %v does not match itself", policy, fp.Components)
			}
			for _, k := range license.Kinds() {
				bound, others := len(b.Components[k]) > 0, len(fp.Components)-1
				if want := len(fp.Components[k]) > 0 && (k != license.KindCPU || others >= 3); bound != want {
					t.Errorf("%s: %v: %s bound: %v", policy, fp.Components, k, bound)
				}
			}
			if !bytes.Equal(b.Salt, fp.Salt) || b.Policy != policy {
				t.Errorf("%+v", b)
			}
		}
	}
}
