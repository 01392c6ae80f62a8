//go:build !linux

package fingerprint

import "github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"

// asking returns the step that takes what a system says of its machine. Under
// another root there is no system to ask.
func (g *gathering) asking(ask func() machine.Parts) []func() {
	if g.Root != "" {
		return nil
	}
	return []func(){g.processorID, func() { g.take(ask()) }}
}
