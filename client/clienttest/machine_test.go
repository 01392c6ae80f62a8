package clienttest_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client/clienttest"
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
)

func shows(t *testing.T, m *clienttest.Machine) fingerprint.Set {
	t.Helper()
	set, err := m.Fingerprint(t.Context())
	must(t, err)
	return set
}

// Every part counts as one of its kind: none is taken for a placeholder.
func TestMachineShowsRealParts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "b", "sample", ""} {
		m := clienttest.NewMachine(name)
		for range 3 {
			set := shows(t, m)
			digests := set.Digests("p")
			for kind, values := range set.Values {
				normal, ok := license.NormalizeValue(values[0])
				if !ok || license.Placeholder(kind, normal) || len(digests.Components[kind]) != 1 {
					t.Errorf("%s %q says nothing", kind, values[0])
				}
			}
			if len(set.Values) != 6 || set.Environment != fingerprint.Metal {
				t.Errorf("shows %s", set)
			}
			m.Replace("mac", "disk", "board", "cpu", "uuid", "os")
		}
	}
}

// A machine is the same in every run, and another one under another name.
func TestMachinesMatch(t *testing.T) {
	t.Parallel()
	m := clienttest.NewMachine("a")
	b, err := license.Bind(license.PolicyFuzzy, shows(t, m).Digests("p"))
	must(t, err)
	matches := func(m *clienttest.Machine) bool { return license.Match(b, shows(t, m).Digests("p")).OK }
	if !matches(clienttest.NewMachine("a")) || matches(clienttest.NewMachine("b")) {
		t.Error("names do not tell machines apart")
	}
	m.Replace("disk")
	if !matches(m) {
		t.Error("one part made it another machine")
	}
	m.Replace("mac", "board", "uuid", "os")
	if matches(m) {
		t.Error("it is the same without any part of it")
	}
	weak := clienttest.NewMachine("a")
	weak.Container()
	if set := shows(t, weak); set.Environment != fingerprint.Container || len(set.Values) != 1 || matches(weak) {
		t.Errorf("a container shows %s", set)
	}
	weak.Supply("node-7")
	if _, err := license.Bind(license.PolicyFuzzy, shows(t, weak).Digests("p")); err != nil {
		t.Errorf("with an id of an administrator: %v", err)
	}
	weak.Supply("")
	weak.Empty()
	if set := shows(t, weak); len(set.Values) != 0 {
		t.Errorf("shows %s", set)
	}
	gone := clienttest.NewMachine("a")
	gone.Remove("disk", "cpu")
	if set := shows(t, gone); len(set.Values) != 4 || !matches(gone) {
		t.Errorf("shows %s", set)
	}
}

// What it showed before stays as it was.
func TestMachineIsCopied(t *testing.T) {
	t.Parallel()
	m := clienttest.NewMachine("a")
	before, again := shows(t, m), shows(t, m)
	m.Replace("disk")
	before.Values["os"][0] = "changed"
	if got := shows(t, m).Values["os"][0]; got == "changed" {
		t.Error("its parts can be changed from outside")
	}
	if cmp.Equal(again.Values["disk"], shows(t, m).Values["disk"]) {
		t.Error("the disk was not replaced")
	}
	failure := errors.New("no permission")
	m.Fail(failure)
	if _, err := m.Fingerprint(t.Context()); !errors.Is(err, failure) {
		t.Errorf("looked at with %v", err)
	}
	m.Fail(nil)
	shows(t, m)
}
