package license_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/license"
)

// TestRebindExhaustively re-binds after all that can happen to a machine of one
// digest a kind.
func TestRebindExhaustively(t *testing.T) {
	for _, policy := range []license.Policy{license.PolicyExact, license.PolicyFuzzy, license.PolicyLoose} {
		t.Run(string(policy), func(t *testing.T) {
			t.Parallel()
			for _, c := range comparisons() {
				if !c.bindable() {
					continue
				}
				b, fp := c.machines(t, policy)
				next, drift := b.Rebind(fp)
				if !license.Match(b, fp).OK {
					if !next.Equal(b) || !drift.IsZero() {
						t.Errorf("%v: it does not match and is bound anew", c)
					}
					continue
				}
				checkRebound(t, c, b, next, drift, fp)
			}
		})
	}
}

func checkRebound(t *testing.T, c comparison, b, next license.Binding, drift license.Drift, fp license.Fingerprint) {
	t.Helper()
	wrong := func(what string) { t.Errorf("%s %v: %s: %+v", b.Policy, c, what, drift) }
	if !license.Match(next, fp).OK {
		wrong("the machine does not match its new binding")
	}
	if again, more := next.Rebind(fp); !again.Equal(next) || !more.IsZero() {
		wrong("binding it again changes something")
	}
	if drift.IsZero() != next.Equal(b) || drift.IsZero() != (len(drift.Kinds()) == 0) {
		wrong("the drift is not what changed")
	}
	binds := license.Fingerprint{Components: next.Components}
	for i, k := range license.Kinds() {
		want := b.Components[k]
		if c[i] == changed || c[i] == unbound && (k != license.KindCPU || c.but(i, same).bindable()) {
			want = fp.Components[k]
		}
		// The processor may be bound because of what was added beside it.
		if k == license.KindCPU && c[i] == unbound && len(next.Components) > 3 {
			want = fp.Components[k]
		}
		if !slices.Equal(next.Components[k], want) {
			wrong(string(k) + " is not bound as it should be")
		}
		if slices.Contains(drift.Changed, k) != (c[i] == changed) {
			wrong(string(k) + " changed, or not")
		}
		if slices.Contains(drift.Added, k) != (len(b.Components[k]) == 0 && len(want) > 0) {
			wrong(string(k) + " was added, or not")
		}
		// The new binding keeps the rule that any one of three may be lost.
		if len(next.Components) >= 3 && len(next.Components[k]) > 0 && !license.Match(next, without(binds, k)).OK {
			wrong("losing " + string(k) + " is refused from now on")
		}
	}
}

func TestRebind(t *testing.T) {
	d := func(k license.Kind, v string) license.Digest { return digestOf(t, k, v) }
	disk := func(names ...string) license.Components {
		c := license.Components{license.KindOS: {d(license.KindOS, "x")}}
		for _, n := range names {
			c[license.KindDisk] = append(c[license.KindDisk], d(license.KindDisk, n))
		}
		return c
	}
	for name, c := range map[string]struct {
		bound, seen, want license.Components
		changed           bool
	}{
		"the same, in another order":     {disk("a", "b"), disk("b", "a"), disk("a", "b"), false},
		"twice the same":                 {disk("a"), disk("a", "a"), disk("a"), false},
		"one of two is not seen":         {disk("a", "b"), disk("b"), disk("a", "b"), false},
		"one more":                       {disk("a"), disk("a", "b"), disk("a", "b"), true},
		"one of two is another":          {disk("a", "b"), disk("b", "c"), disk("b", "c"), true},
		"all are others":                 {disk("a", "b"), disk("c"), disk("c"), true},
		"none is seen":                   {disk("a"), disk(), disk("a"), false},
		"what is no digest is not taken": {disk("a"), license.Components{license.KindOS: disk()[license.KindOS], license.KindDisk: {"b"}, "tpm": disk("b")[license.KindDisk]}, disk("a"), false},
	} {
		salt := []byte("salt")
		b := license.Binding{Policy: license.PolicyFuzzy, Salt: salt, Components: c.bound}
		before := b.Components.Normalize()
		next, drift := b.Rebind(license.Fingerprint{Salt: salt, Components: c.seen})
		want := license.Binding{Policy: b.Policy, Salt: salt, Components: c.want}
		if !next.Equal(want) || drift.IsZero() == c.changed {
			t.Errorf("%s: %v %v", name, next.Components, drift)
		}
		if !b.Equal(license.Binding{Policy: b.Policy, Salt: salt, Components: before}) {
			t.Errorf("%s: it touched what it was given", name)
		}
		if same, drift := b.Rebind(license.Fingerprint{Salt: []byte("pepper"), Components: c.seen}); !same.Equal(b) || !drift.IsZero() {
			t.Errorf("%s: under another salt: %v", name, drift)
		}
	}
	code := license.Binding{Policy: license.PolicyFuzzy, Code: d(license.KindCode, "HW1")}
	for _, b := range []license.Binding{{Policy: license.PolicyNone}, code, {Policy: "fuzzy-9", Components: here}} {
		fp := license.Fingerprint{Components: here, Code: code.Code}
		if next, drift := b.Rebind(fp); !next.Equal(b) || !drift.IsZero() {
			t.Errorf("%+v became %+v", b, next)
		}
	}
}

// parts makes components of words such as "os:1 disk:2".
func parts(t *testing.T, words string) license.Fingerprint {
	t.Helper()
	fp := license.Fingerprint{Components: license.Components{}}
	for w := range strings.FieldsSeq(words) {
		kind, value, _ := strings.Cut(w, ":")
		k := license.Kind(kind)
		fp.Components[k] = append(fp.Components[k], digestOf(t, k, value))
	}
	return fp
}

// TestDriftBudget: what a machine may turn into, a day of a window of ten at a
// time.
func TestDriftBudget(t *testing.T) {
	type step struct {
		day   int
		parts string
		want  string // "": it drifts; "moved"; "other": another machine at once
	}
	for name, c := range map[string]struct {
		policy license.Policy
		steps  []step
	}{
		"a new disk, and the system anew on it much later": {license.PolicyFuzzy, []step{
			{0, "os:1 disk:1 mac:1", ""}, {1, "os:1 disk:2 mac:1", ""}, {11, "os:1 disk:2 mac:1", ""}, {12, "os:2 disk:2 mac:1", ""},
		}},
		"a new disk, and the system anew on it at once": {license.PolicyFuzzy, []step{
			{0, "os:1 disk:1 mac:1", ""}, {1, "os:1 disk:2 mac:1", ""}, {2, "os:2 disk:2 mac:1", "moved"}, {3, "os:1 disk:2 mac:1", ""},
		}},
		"a new mainboard": {license.PolicyFuzzy, []step{
			{0, "os:1 disk:1 mac:1 board:1 uuid:1 cpu:1", ""},
			{1, "os:1 disk:1 mac:2 board:2 uuid:2 cpu:2", ""},
			{2, "os:2 disk:1 mac:2 board:2 uuid:2 cpu:2", ""},
			{3, "os:2 disk:2 mac:2 board:2 uuid:2 cpu:2", "moved"},
		}},
		"a walk in two steps": {license.PolicyFuzzy, []step{
			{0, "os:1 disk:1", ""}, {1, "os:1 disk:2", ""}, {1, "os:2 disk:2", "moved"}, {9, "os:2 disk:2", "moved"},
		}},
		"a walk by what was not bound": {license.PolicyFuzzy, []step{
			{0, "os:1", ""}, {1, "os:1 custom:2", ""}, {2, "custom:2", "moved"}, {30, "custom:2", "moved"},
		}},
		"a walk in one kind": {license.PolicyFuzzy, []step{
			{0, "disk:1", ""}, {1, "disk:1 disk:2", ""}, {2, "disk:2", "moved"}, {2, "disk:1", ""},
		}},
		"a long absence proves nothing": {license.PolicyFuzzy, []step{
			{0, "os:1 disk:1", ""}, {1, "os:1 disk:2", ""}, {500, "os:2 disk:2", "moved"}, {501, "os:1 disk:2", ""}, {502, "os:2 disk:2", ""},
		}},
		"not seen on the day is not proven": {license.PolicyFuzzy, []step{
			{0, "os:1 disk:1", ""}, {1, "os:1 disk:2", ""}, {12, "os:1", ""}, {13, "os:2 disk:2", "moved"},
		}},
		"what comes and goes is proven again": {license.PolicyFuzzy, []step{
			{0, "os:1 mac:1 board:1", ""},
			{1, "os:1 mac:1 mac:2 board:1", ""},
			{2, "os:2 mac:1 board:1", ""},
			{3, "os:3 mac:1 mac:2 board:1", ""},
			{4, "os:3 mac:2 board:1", "moved"},
		}},
		"exact counts losses over the window": {license.PolicyExact, []step{
			{0, "os:1 disk:1 mac:1", ""},
			{1, "os:1 disk:2 mac:1", ""},
			{2, "os:1 disk:2 mac:2", "moved"},
			{12, "os:1 disk:2 mac:1", ""},
			{13, "os:1 disk:2 mac:2", ""},
			{14, "os:2 disk:3 mac:2", "other"},
		}},
		"loose wants one": {license.PolicyLoose, []step{
			{0, "os:1 disk:1 mac:1", ""}, {1, "os:2 disk:2 mac:1", ""}, {2, "os:2 disk:2 mac:2", "moved"}, {3, "os:3 disk:3 mac:3", "other"},
		}},
		"a clock that was ahead": {license.PolicyFuzzy, []step{
			{0, "os:1 disk:1", ""}, {900, "os:1 disk:2", ""}, {1, "os:1 disk:2", ""}, {11, "os:1 disk:2", ""}, {12, "os:2 disk:2", ""},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			budget := license.DriftBudget{Window: 10 * day}
			b, err := license.Bind(c.policy, parts(t, c.steps[0].parts))
			if err != nil {
				t.Fatal(err)
			}
			var u license.Unproven
			for _, s := range c.steps {
				fp := parts(t, s.parts)
				got := ""
				r := budget.Rebind(b, u, fp, now.Add(time.Duration(s.day)*day))
				if !license.Match(b, fp).OK {
					got = "other"
				} else if r.Moved {
					got = "moved"
				}
				if got != s.want {
					t.Fatalf("day %d, %s: %q, want %q", s.day, s.parts, got, s.want)
				}
				if r.Moved && (!r.Binding.Equal(b) || !maps.Equal(r.Unproven, u) || !r.Drift.IsZero()) || r.Moved != (got != "") {
					t.Fatalf("day %d: %+v", s.day, r)
				}
				b, u = r.Binding, r.Unproven
			}
		})
	}
}

// TestDriftNeverWalks shows a server fingerprints of two machines mixed in any
// way, and of others, within one window: the licence of the one is never the
// other's, and what the server keeps stays small.
func TestDriftNeverWalks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		machine := func(name string, most int) license.Components {
			c := license.Components{}
			for _, k := range license.Kinds() {
				for i := range rapid.IntRange(0, most).Draw(t, name+" "+string(k)) {
					c[k] = append(c[k], digestOf(t, k, fmt.Sprint(name, i)))
				}
			}
			return c
		}
		mine, theirs := machine("mine", 3), machine("theirs", 9)
		b, err := license.Bind(genPolicy().Draw(t, "policy"), license.Fingerprint{Components: mine})
		if err != nil {
			return
		}
		var budget license.DriftBudget
		var u license.Unproven
		at := now
		for range rapid.IntRange(1, 12).Draw(t, "check-ins") {
			at = at.Add(time.Duration(rapid.Int64Range(0, int64(license.DefaultDriftWindow)/13).Draw(t, "wait")))
			fp := license.Fingerprint{Components: license.Components{}}
			for _, k := range license.Kinds() {
				all := slices.Concat(mine[k], theirs[k], elsewhere[k])
				for _, d := range all {
					if rapid.Bool().Draw(t, "shown") {
						fp.Components[k] = append(fp.Components[k], d)
					}
				}
			}
			r := budget.Rebind(b, u, fp, at)
			if r.Moved {
				continue
			}
			if !license.Match(r.Binding, fp).OK {
				t.Fatal("the machine does not match its new binding")
			}
			if twice := budget.Rebind(r.Binding, r.Unproven, fp, at); twice.Moved || !twice.Binding.Equal(r.Binding) ||
				!maps.Equal(twice.Unproven, r.Unproven) || !twice.Drift.IsZero() {
				t.Fatal("the same check-in again changes something")
			}
			b, u = r.Binding, r.Unproven
			for d := range u {
				if !slices.ContainsFunc(license.Kinds(), func(k license.Kind) bool { return slices.Contains(b.Components[k], d) }) {
					t.Fatal("a digest that is not bound is kept")
				}
			}
			if r := budget.Rebind(b, u, license.Fingerprint{Components: theirs}, at); !r.Moved {
				t.Fatalf("the licence has walked: %v", u)
			}
		}
	})
}

// TestUnprovenIsKept: it survives the store.
func TestUnprovenIsKept(t *testing.T) {
	u := license.Unproven{digestOf(t, license.KindDisk, "2"): now}
	text, err := json.Marshal(u)
	if err != nil {
		t.Fatal(err)
	}
	var got license.Unproven
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(u, got); diff != "" {
		t.Error(diff)
	}
}
