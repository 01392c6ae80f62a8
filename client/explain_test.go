package client_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
)

var update = flag.Bool("update", false, "write the golden files anew")

// machine is a machine of words such as "os:1 disk:1 disk:2".
func machine(environment, words string) fingerprint.Set {
	set := fingerprint.Set{Environment: environment, Values: map[license.Kind][]string{}}
	for w := range strings.FieldsSeq(words) {
		kind, value, _ := strings.Cut(w, ":")
		set.Values[license.Kind(kind)] = append(set.Values[license.Kind(kind)], "value-"+value)
	}
	return set
}

// explained is what the licence for one machine says about another.
func explained(t *testing.T, policy license.Policy, was, is fingerprint.Set) client.Explanation {
	t.Helper()
	c := claims(epoch)
	b, err := license.Bind(policy, was.Digests(c.Product))
	check(t, err)
	c.Binding = b
	return lic(t, newVerifier(), file(keySet(t, "anchor-1", 1, "sign-1"), sign(t, c, "sign-1"))).Explain(is)
}

// TestExplainGolden: what the support desk reads. The golden file is to be read
// by a person after -update.
func TestExplainGolden(t *testing.T) {
	t.Setenv(fingerprint.CustomVariable, "")
	const pc = "os:1 disk:1 disk:2 mac:1 cpu:1"
	const whole = "os:1 uuid:1 disk:1 mac:1 board:1 cpu:1"
	noted := machine(fingerprint.Metal, "disk:1 mac:1 cpu:1")
	noted.Notes = map[license.Kind]string{license.KindOS: "the operating system has no machine id that can be read"}
	var all strings.Builder
	for _, c := range []struct {
		name, env string
		policy    license.Policy
		was, is   string
		set       *fingerprint.Set
	}{
		{name: "the same machine", env: fingerprint.Metal, policy: license.PolicyFuzzy, was: pc, is: pc},
		{name: "the same in another order, and twice", env: fingerprint.Metal, policy: license.PolicyFuzzy, was: pc, is: "disk:2 disk:2 os:1 disk:1 mac:1 cpu:1 cpu:1"},
		{name: "one of two disks, and a new network card", env: fingerprint.Metal, policy: license.PolicyFuzzy, was: pc, is: "os:1 disk:2 mac:2 cpu:1"},
		{name: "an id was supplied since", env: fingerprint.Metal, policy: license.PolicyFuzzy, was: pc, is: pc + " custom:1"},
		{name: "the system's id is not read", policy: license.PolicyFuzzy, was: pc, set: &noted},
		{name: "the same, exactly", env: fingerprint.Metal, policy: license.PolicyExact, was: whole, is: whole},
		{name: "a new mainboard, exactly", env: fingerprint.Metal, policy: license.PolicyExact, was: whole, is: "os:1 uuid:2 disk:1 mac:2 board:2 cpu:1"},
		{name: "system and disk, exactly", env: fingerprint.Metal, policy: license.PolicyExact, was: whole, is: "os:2 uuid:1 disk:2 mac:1 board:1 cpu:1"},
		{name: "a copy of a virtual machine, exactly", env: fingerprint.VM, policy: license.PolicyExact, was: "os:1 mac:1", is: "os:1 mac:2"},
		{name: "one network card, loosely", env: fingerprint.Metal, policy: license.PolicyLoose, was: pc, is: "os:2 disk:3 mac:1"},
		{name: "one network card", env: fingerprint.Metal, policy: license.PolicyFuzzy, was: pc, is: "os:2 disk:3 mac:1 cpu:1"},
		{name: "another machine", env: fingerprint.Metal, policy: license.PolicyFuzzy, was: pc, is: "os:2 disk:3 mac:2 board:2 cpu:1"},
		{name: "nothing is read", policy: license.PolicyFuzzy, was: pc, set: &fingerprint.Set{}},
		{name: "a container without an id", env: fingerprint.Container, policy: license.PolicyFuzzy, was: pc, is: "cpu:1"},
		{name: "a container with its id", env: fingerprint.Container, policy: license.PolicyFuzzy, was: "custom:1 cpu:1", is: "custom:1 cpu:1"},
		{name: "a container with another id", env: fingerprint.Container, policy: license.PolicyFuzzy, was: "custom:1 cpu:1", is: "custom:2 cpu:1"},
		{name: "the id is missing", env: fingerprint.VM, policy: license.PolicyExact, was: "custom:1", is: "os:1 mac:1"},
		{name: "bound to no machine", env: fingerprint.Metal, policy: license.PolicyNone, was: pc, is: "os:2"},
	} {
		was, is := machine(c.env, c.was), machine(c.env, c.is)
		if c.set != nil {
			is = *c.set
		}
		e := explained(t, c.policy, was, is)
		fmt.Fprintf(&all, "== %s\n%s, bound %s; here %s\n\n%s\n\n", c.name, c.policy, c.was, is, e)
	}
	golden(t, "explain.txt", strings.ReplaceAll(all.String(), fingerprint.CustomFile(), "/etc/licensed/machine-id")) // it is elsewhere on Windows
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		check(t, os.MkdirAll("testdata", 0o755))
		check(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	check(t, err)
	if diff := cmp.Diff(strings.ReplaceAll(string(want), "\r\n", "\n"), got); diff != "" {
		t.Errorf("%s (-update writes it): -want +got\n%s", path, diff)
	}
}

// TestExplainOther: a licence bound to a code, and one bound in a way that is
// not known.
func TestExplainOther(t *testing.T) {
	coded := machine(fingerprint.Metal, "os:1")
	coded.Code = "HW 1"
	if e := explained(t, license.PolicyFuzzy, coded, coded); !e.OK || len(e.Components) != 1 || e.Components[0].Effect != license.EffectFor {
		t.Errorf("its code: %+v", e)
	}
	other := machine(fingerprint.Metal, "os:1")
	for code, want := range map[string]string{"HW 2": "another identification code was entered", "": "no identification code was entered"} {
		other.Code = code
		e := explained(t, license.PolicyFuzzy, coded, other)
		if e.OK || len(e.Components) != 1 || e.Components[0].Advice != want || !strings.Contains(e.Advice, "enter the identification code") {
			t.Errorf("code %q: %+v", code, e)
		}
	}
	c := claims(epoch)
	c.Binding = license.Binding{Policy: "fuzzy-9", Salt: []byte{1}, Components: license.Components{license.KindOS: machine("", "os:1").DigestsWith([]byte{1}).Components[license.KindOS]}}
	l := lic(t, newVerifier(), file(keySet(t, "anchor-1", 1, "sign-1"), sign(t, c, "sign-1")))
	e := l.Explain(machine("", "os:1"))
	if e.OK || e.Advice != "update the product" || e.Components[0].Outcome != license.OutcomeMatch || e.Components[0].Effect != license.EffectNeither {
		t.Errorf("%+v", e)
	}
	if e := (*client.License)(nil).Explain(coded); e.OK || e.Advice != "activate a licence" {
		t.Errorf("%+v", e)
	}
}

// TestExplainShowsEndsOnly: neither a value nor a whole digest is in an
// explanation, in any form.
func TestExplainShowsEndsOnly(t *testing.T) {
	was, is := machine(fingerprint.Metal, "os:1 disk:1 mac:1 cpu:1"), machine(fingerprint.Metal, "os:1 disk:2 mac:1 cpu:1")
	e := explained(t, license.PolicyFuzzy, was, is)
	text, err := json.Marshal(e)
	check(t, err)
	for _, set := range []fingerprint.Set{was, is} {
		for _, digests := range set.Digests(product).Components {
			for _, shown := range []string{string(text), fmt.Sprintf("%+v", e), e.String()} {
				if strings.Contains(shown, string(digests[0])) || strings.Contains(shown, string(digests[0][:6])) || strings.Contains(shown, "value-") {
					t.Errorf("it shows more than ends: %s", shown)
				}
			}
		}
	}
	if !strings.Contains(string(text), `"weight":"strong","effect":"for"`) {
		t.Errorf("%s", text)
	}
	var back client.Explanation
	check(t, json.Unmarshal(text, &back))
	if diff := cmp.Diff(e, back); diff != "" {
		t.Error(diff)
	}
}
