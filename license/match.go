package license

import "slices"

// Outcome is how one component compares.
type Outcome string

// The outcomes for a component. An unreadable component is absent, never changed.
const (
	OutcomeMatch   Outcome = "match"
	OutcomeChanged Outcome = "changed"
	OutcomeAbsent  Outcome = "absent"
	// OutcomeUnbound: the machine shows it, the licence was not bound to it.
	OutcomeUnbound Outcome = "unbound"
)

// Effect is what the outcome for one component means for the whole.
type Effect string

// The effects of a component. Under the policies PolicyFuzzy and PolicyLoose
// nothing counts against a machine; what is not the same only does not help.
const (
	EffectFor     Effect = "for"     // its weight counts for the machine
	EffectAgainst Effect = "against" // it is one of those of which few may be lost
	EffectNeither Effect = "neither"
)

// ComponentMatch explains one component of a match.
type ComponentMatch struct {
	Kind    Kind     `json:"kind"`
	Outcome Outcome  `json:"outcome"`
	Weight  Weight   `json:"weight"` // under the policy, if it is the same
	Effect  Effect   `json:"effect"`
	Bound   []Digest `json:"bound,omitzero"`
	Seen    []Digest `json:"seen,omitzero"`
}

// MatchReport says whether a machine is the bound one, and why.
type MatchReport struct {
	OK     bool   `json:"ok"`
	Policy Policy `json:"policy"`
	// Weight is what the components that are the same come to, Enough what the
	// policy wants; both are zero where no components were compared.
	Weight int `json:"weight"`
	Enough int `json:"enough"`
	// Lost is how many components count against the machine.
	Lost       int              `json:"lost"`
	Components []ComponentMatch `json:"components,omitzero"`
}

// Match compares a machine with a binding.
//
// Components are compared as sets, of what the machine shows the MaxDigests
// smallest digests of a kind: they match when they overlap. Nothing to
// compare is no match, and a policy that is not known matches nothing. A
// component that was not bound never makes a difference, and the loss of any
// one of three or more that Bind bound is never a refusal. A binding to an
// identification code compares the code and nothing else.
func Match(b Binding, fp Fingerprint) MatchReport {
	r := MatchReport{Policy: b.Policy}
	if b.Policy == PolicyNone {
		r.OK = true
		return r
	}
	t, known := b.Policy.table()
	if b.Code != "" {
		c := compare(row{KindCode, WeightStrong, true}, digests(b.Code), digests(fp.Code))
		r.Components = append(r.Components, c)
		r.OK = known && c.Outcome == OutcomeMatch
		return r
	}
	r.Enough = t.enough
	same, changed := 0, 0 // kinds that weigh, firm kinds
	for _, kind := range Kinds() {
		was, is := b.Components[kind], fp.Components[kind]
		if len(is) > MaxDigests {
			is = counted(is)
		}
		if len(was) == 0 && len(is) == 0 {
			continue
		}
		c := compare(t.row(kind), was, is)
		r.Components = append(r.Components, c)
		switch c.Effect {
		case EffectFor:
			r.Weight += int(c.Weight)
			same++
		case EffectAgainst:
			r.Lost++
			if c.Outcome == OutcomeChanged {
				changed++
			}
		case EffectNeither:
		}
	}
	r.OK = known && r.Weight >= r.Enough && r.Lost <= t.mayLose && (changed == 0 || same >= 2)
	return r
}

func compare(r row, was, is []Digest) ComponentMatch {
	c := ComponentMatch{Kind: r.kind, Weight: r.weight, Bound: was, Seen: is, Outcome: OutcomeChanged, Effect: EffectNeither}
	switch {
	case len(was) == 0:
		c.Outcome = OutcomeUnbound
	case len(is) == 0:
		c.Outcome = OutcomeAbsent
	case slices.ContainsFunc(was, func(d Digest) bool { return slices.Contains(is, d) }):
		c.Outcome = OutcomeMatch
	}
	switch c.Outcome {
	case OutcomeMatch:
		if r.weight > WeightNone {
			c.Effect = EffectFor
		}
	case OutcomeChanged, OutcomeAbsent:
		if r.firm {
			c.Effect = EffectAgainst
		}
	case OutcomeUnbound:
	}
	return c
}

func digests(d Digest) []Digest {
	if d == "" {
		return nil
	}
	return []Digest{d}
}
