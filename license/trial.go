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
	Had []HadTrial `json:"had"` // the newest first, MaxTrialLicenses at most
}

// HadTrial is one licence by which a machine had a trial, and when it was bound to
// it last.
type HadTrial struct {
	License string    `json:"license"`
	At      time.Time `json:"at"`
}

// MaxTrialLicenses is how many licences of one component are known.
const MaxTrialLicenses = 16

// With returns m with one more licence.
func (m TrialMark) With(licenseID string, now time.Time) TrialMark {
	kept := slices.DeleteFunc(slices.Clone(m.Had), func(h HadTrial) bool { return h.License == licenseID })
	return TrialMark{Had: append([]HadTrial{{licenseID, now}}, kept[:min(len(kept), MaxTrialLicenses-1)]...)}
}

// Remembered returns what of m is younger at now than keep: each trial is
// remembered for as long, whatever came after it.
func (m TrialMark) Remembered(keep time.Duration, now time.Time) TrialMark {
	return TrialMark{Had: slices.DeleteFunc(slices.Clone(m.Had), func(h HadTrial) bool { return now.Sub(h.At) >= keep })}
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
		for _, h := range m.Had {
			if h.License == but {
				continue
			}
			if weights[h.License] == nil {
				weights[h.License] = make(map[Kind]Weight)
			}
			weights[h.License][c.Kind] = PolicyFuzzy.Weight(c.Kind)
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
