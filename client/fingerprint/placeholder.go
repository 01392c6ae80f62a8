package fingerprint

import "github.com/seed-357fa782/licensed/license"

// placeholder reports whether a value, normalized, says nothing about the machine.
func (g *gathering) placeholder(kind license.Kind, normal string) bool {
	if license.Placeholder(kind, normal) {
		return true
	}
	for _, p := range g.Placeholders {
		if n, ok := license.NormalizeValue(canonical(kind, p)); ok && n == normal {
			return true
		}
	}
	return false
}
