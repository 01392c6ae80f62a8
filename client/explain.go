package client

import (
	"fmt"
	"strings"

	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
)

// Explanation says to a support desk why a machine is, or is not, the one that
// a licence was made for. It shows ends of digests only. docs/fingerprint.md
// says how machines are matched.
type Explanation struct {
	OK          bool           `json:"ok"`
	Policy      license.Policy `json:"policy,omitzero"`
	Environment string         `json:"environment,omitzero"`
	// Finding is why, and Advice what to do next.
	Finding string `json:"finding,omitzero"`
	Advice  string `json:"advice,omitzero"`
	// Weight is what the components that are the same come to, and Enough what
	// the policy wants: a strong one weighs 2, a medium one 1.
	Weight     int                    `json:"weight"`
	Enough     int                    `json:"enough"`
	Components []ComponentExplanation `json:"components,omitzero"`
}

// ComponentExplanation explains one component: what was bound and what is seen
// (the last four characters of each digest), whether that counts for or against
// the machine under the policy, and what to do.
type ComponentExplanation struct {
	Kind    license.Kind    `json:"kind"`
	Outcome license.Outcome `json:"outcome"`
	Weight  license.Weight  `json:"weight"` // what it weighs where it is the same
	Effect  license.Effect  `json:"effect"`
	Bound   []string        `json:"bound,omitzero"`
	Seen    []string        `json:"seen,omitzero"`
	Advice  string          `json:"advice,omitzero"` // "" where it is the same
}

// Explain compares a machine with the one that the licence was bound to, in words.
func (l *License) Explain(machine fingerprint.Set) Explanation {
	e := Explanation{Environment: machine.Environment}
	if l == nil || l.claims.ID == "" {
		e.Finding, e.Advice = "there is no licence", "activate a licence"
		return e
	}
	report := l.Match(machine)
	e.OK, e.Policy, e.Weight, e.Enough = report.OK, report.Policy, report.Weight, report.Enough
	for _, c := range report.Components {
		e.Components = append(e.Components, ComponentExplanation{
			Kind: c.Kind, Outcome: c.Outcome, Weight: c.Weight, Effect: c.Effect, Bound: ends(c.Bound), Seen: ends(c.Seen),
			Advice: componentAdvice(c, report.OK, machine.Notes[c.Kind]),
		})
	}
	e.Finding = finding(report)
	e.Advice = advice(report, machine)
	return e
}

// String is the explanation in lines of text. It shows no more than the fields do.
func (e Explanation) String() string {
	var b strings.Builder
	for _, c := range e.Components {
		fmt.Fprintf(&b, "%s: %s (weight: %s, counts: %s; bound: %s; here: %s)", c.Kind, c.Outcome, c.Weight, c.Effect,
			orNothing(c.Bound), orNothing(c.Seen))
		if c.Advice != "" {
			b.WriteString(": " + c.Advice)
		}
		b.WriteByte('\n')
	}
	return b.String() + e.Finding + "\n" + e.Advice
}

func orNothing(ends []string) string {
	if len(ends) == 0 {
		return "nothing"
	}
	return "…" + strings.Join(ends, " …")
}

// lastDigits is how many characters of a digest are shown.
const lastDigits = 4

func ends(digests []license.Digest) []string {
	var out []string
	for _, d := range digests {
		out = append(out, string(d[max(0, len(d)-lastDigits):]))
	}
	return out
}

// finding says why a machine matches or does not.
func finding(r license.MatchReport) string {
	same := kindsOf(r, func(c license.ComponentMatch) bool { return c.Effect == license.EffectFor })
	lost := kindsOf(r, func(c license.ComponentMatch) bool { return c.Effect == license.EffectAgainst })
	switch {
	case r.Policy == license.PolicyNone:
		return "the licence is bound to no machine"
	case !r.Policy.Known():
		return fmt.Sprintf("the licence is bound in a way (%.40q) that this version of the product does not know", string(r.Policy))
	case len(r.Components) == 1 && r.Components[0].Kind == license.KindCode:
		if r.OK {
			return "the identification code is the one that the licence was made for"
		}
		return "the licence was made for another identification code"
	case r.OK && r.Lost > 0:
		return fmt.Sprintf("%s the same, which is enough under %s; %s lost, and no other may be", areAll(same), r.Policy, areAll(lost))
	case r.OK:
		return fmt.Sprintf("%s the same, which is enough under %s", areAll(same), r.Policy)
	case len(same) == 0:
		return "nothing that the licence was bound to and that counts is the same here"
	case r.Weight < r.Enough:
		return fmt.Sprintf("only %s the same, which is too little under %s", areAll(same), r.Policy)
	case r.Lost > 1:
		return fmt.Sprintf("%s lost, and %s lets one component be lost at most", areAll(lost), r.Policy)
	}
	return fmt.Sprintf("%s not the same, which %s forgives only where two other components are", areAll(lost), r.Policy)
}

func kindsOf(r license.MatchReport, which func(license.ComponentMatch) bool) []string {
	var out []string
	for _, c := range r.Components {
		if which(c) {
			out = append(out, string(c.Kind))
		}
	}
	return out
}

// areAll lists things with their verb.
func areAll(kinds []string) string {
	if len(kinds) == 1 {
		return kinds[0] + " is"
	}
	last := len(kinds) - 1
	return strings.Join(kinds[:last], ", ") + " and " + kinds[last] + " are"
}

// advice says what to do next.
func advice(r license.MatchReport, machine fingerprint.Set) string {
	of := map[license.Kind]license.Outcome{}
	for _, c := range r.Components {
		of[c.Kind] = c.Outcome
	}
	moved := "to use it here, activate it here if it has a machine left, or have it moved to this machine"
	switch {
	case r.Policy == license.PolicyNone:
		return "it may be used on any machine"
	case r.OK && len(kindsOf(r, differs)) > 0:
		return "this is the machine that the licence was made for; refresh the licence to bind it to what changed"
	case r.OK:
		return "this is the machine that the licence was made for"
	case !r.Policy.Known():
		return "update the product"
	case of[license.KindCode] != "":
		return "enter the identification code that the licence was made for; " + moved
	case of[license.KindCustom] == license.OutcomeChanged, of[license.KindCustom] == license.OutcomeAbsent:
		return "supply the machine id that the licence was made for, by " + supplied() + "; " + moved
	case machine.Environment == fingerprint.Container && len(machine.Values[license.KindCustom]) == 0:
		return "a container has no identity of its own; give it a machine id by " + supplied() + ", then activate again"
	case len(machine.Values) == 0:
		return "nothing of this machine could be read; see that the product may look at it, and start it again"
	case machine.Environment == fingerprint.VM && of[license.KindOS] == license.OutcomeMatch:
		return "this looks like a copy of a virtual machine, which is a machine of its own; " + moved
	}
	return "put back what was exchanged if this is the same machine; " + moved
}

// differs reports whether a component is another one, or a new one.
func differs(c license.ComponentMatch) bool {
	return c.Outcome == license.OutcomeChanged || c.Outcome == license.OutcomeUnbound && c.Weight > license.WeightNone
}

// supplied is where an administrator's machine id comes from.
func supplied() string { return fingerprint.CustomVariable + " or " + fingerprint.CustomFile() }

// componentAdvice says what to do about one component; ok is whether the
// machine is the one that the licence was made for all the same.
func componentAdvice(c license.ComponentMatch, ok bool, note string) string {
	switch c.Outcome {
	case license.OutcomeMatch:
		return ""
	case license.OutcomeUnbound:
		if ok && c.Weight > license.WeightNone {
			return "the licence was not bound to it, so it makes no difference; a refresh binds it"
		}
		return "the licence was not bound to it, so it makes no difference"
	case license.OutcomeChanged:
		return changeOf(c.Kind) + afterChange(c.Kind, ok)
	case license.OutcomeAbsent:
		switch {
		case c.Kind == license.KindCustom:
			return "no machine id is supplied; supply it again by " + supplied()
		case c.Kind == license.KindCode:
			return "no identification code was entered"
		case note != "":
			return note
		}
		return "it cannot be read here now"
	}
	return ""
}

// changeOf says what may have become of a component that is another one.
func changeOf(kind license.Kind) string {
	switch kind {
	case license.KindCustom:
		return "the machine id supplied here is another one"
	case license.KindOS:
		return "the operating system was installed anew, or this is another one"
	case license.KindUUID:
		return "the mainboard or its firmware was exchanged, or this is a copy of a virtual machine"
	case license.KindDisk:
		return "none of the disks that were bound is here"
	case license.KindMAC:
		return "none of the network cards that were bound is here"
	case license.KindBoard:
		return "the mainboard was exchanged, or its firmware"
	case license.KindCPU:
		return "the processor is of another model, which never decides anything"
	case license.KindCode:
		return "another identification code was entered"
	}
	return "it is another one"
}

func afterChange(kind license.Kind, ok bool) string {
	switch {
	case kind == license.KindCPU, kind == license.KindCode:
		return ""
	case ok:
		return "; refresh the licence to bind it to what is here now"
	case kind == license.KindCustom:
		return "; correct it in " + supplied()
	case kind == license.KindDisk, kind == license.KindMAC:
		return "; put one of them back if this is the same machine"
	}
	return ""
}
