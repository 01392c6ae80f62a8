package license

import (
	"bytes"
	"maps"
	"slices"
	"time"
)

// Drift is what re-binding changed: which kinds are bound to something else or
// to something more than before, in the order of Kinds.
type Drift struct {
	Changed []Kind // the machine shows a digest that was not bound
	Added   []Kind // the kind was not bound at all
	// Gained are the digests that were not bound before. The processor's are not
	// among them, since they never decide anything.
	Gained []Digest
}

// IsZero reports whether nothing changed.
func (d Drift) IsZero() bool { return len(d.Changed) == 0 && len(d.Added) == 0 }

// Kinds returns the kinds that changed or were added, in the order of Kinds.
func (d Drift) Kinds() []Kind {
	var out []Kind
	for _, k := range Kinds() {
		if slices.Contains(d.Changed, k) || slices.Contains(d.Added, k) {
			out = append(out, k)
		}
	}
	return out
}

// Rebind ties a binding anew to the machine that it was made for, after parts
// of it changed. fp has to match b; where it does not, or is made under another
// salt, or where b binds to no machine or to an identification code, b is
// returned as it is.
//
// Kind by kind, next holds what fp shows, where that is anything new, and else
// what b held: what is absent, and what shows less than before, stays bound,
// since what cannot be read is not what is different. So next matches fp, binds
// every kind that b bound, and binding it to fp again changes nothing.
//
// Rebind by itself knows no measure: parts exchanged one by one could lead from
// any machine to any other. DriftBudget.Rebind measures.
func (b Binding) Rebind(fp Fingerprint) (next Binding, drift Drift) {
	if b.Policy == PolicyNone || b.Code != "" || !bytes.Equal(b.Salt, fp.Salt) || !Match(b, fp).OK {
		return b, Drift{}
	}
	seen := fp.Components.bindable()
	next = b
	next.Components = maps.Clone(b.Components)
	for _, kind := range Kinds() {
		was, is := b.Components[kind], seen[kind]
		gained := slices.DeleteFunc(slices.Clone(is), func(d Digest) bool { return slices.Contains(was, d) })
		if len(gained) == 0 || kind == KindCPU && len(was) == 0 && !besideEnough(next.Components) {
			continue
		}
		next.Components[kind] = is
		if len(was) == 0 {
			drift.Added = append(drift.Added, kind)
		} else {
			drift.Changed = append(drift.Changed, kind)
		}
		if kind != KindCPU {
			drift.Gained = append(drift.Gained, gained...)
		}
	}
	return next, drift
}

// Unproven are the digests that drift brought into a binding, each with the
// instant of it. They count in a match like all others. They do not count when
// it is asked whether this still is the machine that was activated, until they
// have been seen beside those that do for as long as DriftBudget wants.
//
// It is a fact of an install, kept beside its Binding; nil after an activation.
type Unproven map[Digest]time.Time

// DefaultDriftWindow is how long a part that was exchanged has to be seen
// beside parts that were not before it counts as they do. It is more than a
// third of a year, so that whoever fakes the old parts of a machine in order to
// wander off with its licence is slower than by the three moves a year that a
// licence allows by default.
const DefaultDriftWindow = 180 * 24 * time.Hour

// DriftBudget measures drift. A binding may spend, within a window, all that it
// holds beyond what a match needs: a machine may change as long as those of its
// parts that were bound before the window are a match by themselves. Where they
// are not, the licence has moved to another machine, in however many steps.
//
// It counts evidence and not changes, because a number of changes that is fair
// to a new mainboard (board, UUID and network card at once) would be far more
// than it takes to walk a licence to another machine: of a machine bound to its
// disk and system a single exchange would do.
type DriftBudget struct {
	Window time.Duration // DefaultDriftWindow where it is not positive
}

// Rebinding is what a check-in leaves of a binding.
type Rebinding struct {
	Binding  Binding
	Unproven Unproven
	Drift    Drift
	// Moved: what was bound before the window does not recognise the machine.
	// Nothing was bound anew. The move is to be allowed and counted like one that
	// was asked for, and the machine then to be bound by Bind; or to be refused.
	Moved bool
}

// Rebind re-binds b at a check-in at now, unless fp has drifted further from
// what is proven than the budget allows; the result says so by Moved, as it does
// where fp does not match b at all.
//
// A digest is proven by a check-in that passes when it was gained at least the
// window before, and not by time alone: otherwise one faked check-in and a long
// absence would do. Instants after now, of a clock that was wrong, are taken as
// now.
func (d DriftBudget) Rebind(b Binding, u Unproven, fp Fingerprint, now time.Time) Rebinding {
	stays := Rebinding{Binding: b, Unproven: u}
	if b.Policy == PolicyNone || b.Code != "" {
		stays.Moved = !Match(b, fp).OK
		return stays
	}
	if !Match(b, fp).OK || !Match(b.proven(u), fp).OK {
		stays.Moved = true
		return stays
	}
	window := d.Window
	if window <= 0 {
		window = DefaultDriftWindow
	}
	r := Rebinding{Unproven: Unproven{}}
	r.Binding, r.Drift = b.Rebind(fp)
	for kind, digests := range r.Binding.Components {
		for _, digest := range digests {
			at, there := u[digest]
			seen := slices.Contains(fp.Components[kind], digest)
			switch {
			case slices.Contains(r.Drift.Gained, digest):
				r.Unproven[digest] = now
			case !there, seen && now.Sub(at) >= window:
			case at.After(now):
				r.Unproven[digest] = now
			default:
				r.Unproven[digest] = at
			}
		}
	}
	if len(r.Unproven) == 0 {
		r.Unproven = nil
	}
	return r
}

// proven is b without the digests in u.
func (b Binding) proven(u Unproven) Binding {
	if len(u) == 0 {
		return b
	}
	all := b.Components
	b.Components = make(Components, len(all))
	for kind, digests := range all {
		left := slices.DeleteFunc(slices.Clone(digests), func(d Digest) bool {
			_, there := u[d]
			return there
		})
		if len(left) > 0 {
			b.Components[kind] = left
		}
	}
	return b
}
