package license

import (
	"slices"
	"time"
)

// TrialPolicy is about licences to try a product out.
type TrialPolicy struct {
	For        time.Duration // how long one lasts where no end is given
	PerMachine int           // how many one machine may have; zero for any number
	// Remember is for how long a machine is known to have had one.
	Remember time.Duration
}

// TrialMark is what is kept of a component of a machine that had a trial: which
// licences those were. What names the component is kept as a keyed digest only.
type TrialMark struct {
	Licenses []string  `json:"licenses"` // ids, the newest first, MaxTrialLicenses at most
	At       time.Time `json:"at"`       // of the newest
}

// MaxTrialLicenses is how many licences of one component are known.
const MaxTrialLicenses = 16

// With returns m with one more licence.
func (m TrialMark) With(licenseID string, now time.Time) TrialMark {
	kept := slices.DeleteFunc(slices.Clone(m.Licenses), func(id string) bool { return id == licenseID })
	return TrialMark{Licenses: append([]string{licenseID}, kept[:min(len(kept), MaxTrialLicenses-1)]...), At: now}
}

// Component is one component of a machine.
type Component struct {
	Kind   Kind
	Digest Digest
}

// TrialComponents are the components by which a machine that had a trial is known
// again: those that say something of it under PolicyFuzzy.
func TrialComponents(fp Fingerprint) []Component {
	var out []Component
	for _, kind := range Kinds() {
		for _, d := range fp.Components.bindable()[kind] {
			if PolicyFuzzy.Weight(kind) > WeightNone {
				out = append(out, Component{kind, d})
			}
		}
	}
	return out
}

// Trials counts the licences of which a machine had a trial, but for the one
// given: those that components of it with the weight that PolicyFuzzy wants name.
// Several of one kind count once.
func Trials(marks map[Component]TrialMark, but string) int {
	weights := make(map[string]map[Kind]Weight)
	for c, m := range marks {
		for _, id := range m.Licenses {
			if id == but {
				continue
			}
			if weights[id] == nil {
				weights[id] = make(map[Kind]Weight)
			}
			weights[id][c.Kind] = PolicyFuzzy.Weight(c.Kind)
		}
	}
	n := 0
	for _, kinds := range weights {
		var sum Weight
		for _, w := range kinds {
			sum += w
		}
		if sum >= WeightStrong {
			n++
		}
	}
	return n
}
