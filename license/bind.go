package license

import (
	"bytes"
	"slices"
)

// Binding is what a licence was tied to.
type Binding struct {
	Policy     Policy     `json:"policy"`
	Salt       []byte     `json:"salt,omitzero"`
	Components Components `json:"components,omitzero"`
	Code       Digest     `json:"code,omitzero"`
}

// Bind ties a licence to the machine of fp under policy p. It fails with
// MachineWeak when the fingerprint would not even match itself.
//
// The processor's model is bound only beside three other kinds: it is there to
// explain, and must not count as one of three kinds of which any may be lost.
func Bind(p Policy, fp Fingerprint) (Binding, error) {
	if p == PolicyNone {
		return Binding{Policy: p}, nil
	}
	b := Binding{Policy: p, Salt: fp.Salt, Components: fp.Components.bindable()}
	if fp.Code.Valid() {
		b.Code = fp.Code
	}
	if !besideEnough(b.Components) {
		delete(b.Components, KindCPU)
	}
	if !Match(b, fp).OK {
		return Binding{}, weak(p, fp)
	}
	return b, nil
}

// Under returns how an install bound by b, of which u is unproven, is bound at a
// check-in under the policy that its product has by now. A looser policy counts
// at once, also for a machine that has moved under it (DriftBudget). A stricter
// one does where the machine of fp passes it, and no machine that passed so far
// is refused because of it. Under PolicyNone what was bound is dropped; from
// PolicyNone the machine is bound afresh where it can be. A binding to an
// identification code stays.
func (b Binding) Under(p Policy, u Unproven, fp Fingerprint) (Binding, Unproven) {
	switch {
	case p == b.Policy || b.Code != "" || !p.Known():
		return b, u
	case p == PolicyNone:
		return Binding{Policy: p}, nil
	case b.Policy == PolicyNone:
		fresh, err := Bind(p, fp)
		if err != nil {
			return b, u
		}
		return fresh, nil
	}
	other := b
	other.Policy = p
	if Match(other, fp).OK && (Match(other.proven(u), fp).OK || !Match(b, fp).OK) {
		return other, u
	}
	return b, u
}

// Apart reports whether the machine of fp looks like another one than b was
// made for, and yet may pass for it: no more than one kind is the same, and two
// or more are another. The processor is not counted.
//
// It is no proof: a machine that was repaired looks so too. But then not both go
// on calling (ForkShared).
func (b Binding) Apart(fp Fingerprint) bool {
	same, changed := 0, 0
	for _, c := range Match(b, fp).Components {
		switch {
		case c.Kind == KindCPU || c.Kind == KindCode:
		case c.Outcome == OutcomeMatch:
			same++
		case c.Outcome == OutcomeChanged:
			changed++
		}
	}
	return same <= 1 && changed >= 2
}

// besideEnough reports whether c binds enough kinds to bind the processor too.
func besideEnough(c Components) bool {
	others := 0
	for _, kind := range Kinds() {
		if kind != KindCPU && len(c[kind]) > 0 {
			others++
		}
	}
	return others >= 3
}

// environmentContainer is what a fingerprint says of itself in a container.
const environmentContainer = "container"

// weak says why a machine cannot be bound to, and what helps.
func weak(p Policy, fp Fingerprint) *Error {
	const supply = "give it a machine id of your own by LICENSED_MACHINE_ID or /etc/licensed/machine-id " +
		"(on Windows %%ProgramData%%\\licensed\\machine-id)"
	switch {
	case !p.Known():
		return Errorf(MachineWeak, "the product binds its licences in a way that this version does not know: %q", string(p))
	case fp.Environment == environmentContainer:
		return Errorf(MachineWeak, "a container shows nothing of its own to bind a licence to; "+supply+
			", which stays the same when the container is made anew and differs from that of any other")
	}
	return Errorf(MachineWeak, "this machine shows too little of itself to bind a licence to it; "+supply)
}

// Equal reports whether b and o bind to the same in the same way. The order of
// digests makes no difference.
func (b Binding) Equal(o Binding) bool {
	if b.Policy != o.Policy || b.Code != o.Code || !bytes.Equal(b.Salt, o.Salt) {
		return false
	}
	was, is := sorted(b.Components), sorted(o.Components)
	if len(was) != len(is) {
		return false
	}
	for kind, digests := range was {
		if !slices.Equal(digests, is[kind]) {
			return false
		}
	}
	return true
}

// sorted returns the digests of each kind that has any, sorted.
func sorted(c Components) Components {
	out := make(Components, len(c))
	for kind, digests := range c {
		if len(digests) > 0 {
			out[kind] = slices.Compact(slices.Sorted(slices.Values(digests)))
		}
	}
	return out
}
