package license_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/license"
)

const (
	fingerprintDocument = "../docs/fingerprint.md"
	policiesBegin       = "<!-- tables of license.Policy, written by: go test ./license -run PolicyDocument -update -->\n"
	examplesBegin       = "<!-- examples, each tried by: go test ./license -run PolicyExamples -->\n"
)

func readFingerprintDocument(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(fingerprintDocument)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "\r\n", "\n")
}

// section cuts a table out of the document.
func section(t *testing.T, text, begin string) (head, table, tail string) {
	t.Helper()
	head, rest, ok := strings.Cut(text, begin)
	table, tail, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table: %s", fingerprintDocument, begin)
	}
	return head, table, tail
}

var matching = []license.Policy{license.PolicyExact, license.PolicyFuzzy, license.PolicyLoose}

// TestPolicyDocument compares the tables in docs with those that decide.
func TestPolicyDocument(t *testing.T) {
	var table strings.Builder
	table.WriteString("\n| component | | `exact` | `fuzzy` | `loose` |\n|---|---|---|---|---|\n")
	for _, k := range license.Kinds() {
		fmt.Fprintf(&table, "| `%s` | %s |", k, k.Description())
		for _, p := range matching {
			weight, firm := license.PolicyRow(p, k)
			fmt.Fprintf(&table, " %s", weight)
			if firm {
				table.WriteString(", firm")
			}
			table.WriteString(" |")
		}
		table.WriteString("\n")
	}
	var enough, lose strings.Builder
	for _, p := range matching {
		least, most, anyNumber := license.PolicyLimits(p)
		fmt.Fprintf(&enough, " %d |", least)
		if anyNumber {
			lose.WriteString(" any |")
		} else {
			fmt.Fprintf(&lose, " %d |", most)
		}
	}
	fmt.Fprintf(&table, "| *enough* | what those that are the same must come to |%s\n", &enough)
	fmt.Fprintf(&table, "| *may be lost* | how many firm ones |%s\n\n", &lose)

	text := readFingerprintDocument(t)
	head, have, tail := section(t, text, policiesBegin)
	if *update {
		if err := os.WriteFile(fingerprintDocument, []byte(head+policiesBegin+table.String()+tableEnd+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(table.String(), have); diff != "" {
		t.Errorf("the tables in %s are not those of the policies; -update writes them: %s", fingerprintDocument, diff)
	}
}

// TestPolicyExamples tries every worked example of the document: "same" and
// "another one" are what the machine shows of what was bound, and what is in
// neither column cannot be read.
func TestPolicyExamples(t *testing.T) {
	_, table, _ := section(t, readFingerprintDocument(t), examplesBegin)
	tried := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 7 || strings.Contains(cells[0], "---") || strings.TrimSpace(cells[0]) == "what happened" {
			continue
		}
		tried++
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		bound, same, other := kindsIn(cells[1]), kindsIn(cells[2]), kindsIn(cells[3])
		was := license.Fingerprint{Components: license.Components{}}
		is := license.Fingerprint{Components: license.Components{}}
		for _, k := range bound {
			was.Components[k] = here[k]
		}
		for _, k := range same {
			is.Components[k] = here[k]
		}
		for _, k := range other {
			is.Components[k] = elsewhere[k]
		}
		for i, p := range matching {
			// As when it is activated: a machine that cannot be bound is no example.
			b, err := license.Bind(p, was)
			if err != nil || len(b.Components) != len(bound) {
				t.Errorf("%s: %s binds %v: %v", cells[0], p, b.Components, err)
				continue
			}
			want := map[string]bool{"match": true, "refused": false}
			if ok, known := want[cells[4+i]]; !known || license.Match(b, is).OK != ok {
				t.Errorf("%s: %s: %v, and the document says %q", cells[0], p, license.Match(b, is).OK, cells[4+i])
			}
		}
	}
	if tried < 15 {
		t.Errorf("%d examples were found", tried)
	}
}

// kindsIn reads "`os` `disk`".
func kindsIn(cell string) (kinds []license.Kind) {
	for f := range strings.FieldsSeq(cell) {
		kinds = append(kinds, license.Kind(strings.Trim(f, "`")))
	}
	return kinds
}

func TestPolicyKnown(t *testing.T) {
	for _, p := range append(matching, license.PolicyNone) {
		if !p.Known() {
			t.Errorf("%s is not known", p)
		}
	}
	for _, p := range []license.Policy{"", "Fuzzy", "fuzzy-1", "fuzzy-9"} {
		if p.Known() || p.Weight(license.KindOS) != license.WeightNone {
			t.Errorf("%q is known", p)
		}
	}
}

func TestWeightText(t *testing.T) {
	for _, w := range []license.Weight{license.WeightNone, license.WeightMedium, license.WeightStrong} {
		text, err := w.MarshalText()
		var back license.Weight = 9
		if err != nil || back.UnmarshalText(text) != nil || back != w {
			t.Errorf("%v %s %v", w, text, back)
		}
	}
	if w := license.WeightStrong; w.UnmarshalText([]byte("heavy")) != nil || w != license.WeightNone {
		t.Error("a word that is not known weighs something")
	}
}
