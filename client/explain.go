package client

import (
	"github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/license"
)

// Explanation says to a support desk why a machine is, or is not, the one that
// a licence was made for. It shows ends of digests only.
type Explanation struct {
	OK          bool                   `json:"ok"`
	Policy      license.Policy         `json:"policy,omitzero"`
	Environment string                 `json:"environment,omitzero"`
	Advice      string                 `json:"advice,omitzero"`
	Components  []ComponentExplanation `json:"components,omitzero"`
}

// ComponentExplanation explains one component: what was bound and seen (the
// last four characters of each digest), what that means and what to do.
type ComponentExplanation struct {
	Kind    license.Kind    `json:"kind"`
	Outcome license.Outcome `json:"outcome"`
	Bound   []string        `json:"bound,omitzero"`
	Seen    []string        `json:"seen,omitzero"`
	Advice  string          `json:"advice,omitzero"`
}

// Explain compares a machine with the one that the licence was bound to, in words.
func (l *License) Explain(machine fingerprint.Set) Explanation {
	e := Explanation{Environment: machine.Environment}
	if l == nil || l.claims.ID == "" {
		e.Advice = "there is no licence yet; activate one"
		return e
	}
	report := l.Match(machine)
	e.OK, e.Policy = report.OK, report.Policy
	for _, c := range report.Components {
		e.Components = append(e.Components, ComponentExplanation{
			Kind: c.Kind, Outcome: c.Outcome, Bound: ends(c.Bound), Seen: ends(c.Seen),
			Advice: componentAdvice(c, machine.Notes[c.Kind]),
		})
	}
	switch {
	case report.OK:
		e.Advice = "this is the machine that the licence was made for"
	case !report.Policy.Known():
		e.Advice = "the licence is bound in a way that only a newer version of this product knows; update the product"
	case machine.Environment == fingerprint.Container && len(machine.Values[license.KindCustom]) == 0:
		e.Advice = "a container has no identity of its own; give it a machine id by " + fingerprint.CustomVariable +
			" or " + fingerprint.CustomFile() + ", then activate again"
	default:
		e.Advice = "the licence was made for another machine; activate again here, or ask the merchant to move it to this machine"
	}
	return e
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

func componentAdvice(c license.ComponentMatch, note string) string {
	switch c.Outcome {
	case license.OutcomeMatch:
		return ""
	case license.OutcomeUnbound:
		return "the licence was not bound to it, so it makes no difference"
	case license.OutcomeChanged:
		if c.Kind == license.KindCustom {
			return "the machine id supplied here is another one; correct " + fingerprint.CustomVariable + " or " + fingerprint.CustomFile()
		}
		return "this machine shows another one; if the part was exchanged, refresh the licence while the rest still matches"
	case license.OutcomeAbsent:
		if note != "" {
			return note
		}
		if c.Kind == license.KindCustom {
			return "supply the machine id again by " + fingerprint.CustomVariable + " or " + fingerprint.CustomFile()
		}
		return "it cannot be read here now, which counts neither for nor against this machine"
	}
	return ""
}
