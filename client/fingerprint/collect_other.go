//go:build !linux && !windows && !darwin && !freebsd

package fingerprint

import (
	"context"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
)

// steps takes the machine id where the other BSDs have it.
func (g *gathering) steps(context.Context) []func() {
	return g.asking(func() machine.Parts {
		id, mode, err := readSome("/etc/hostid", maxRead)
		if err != nil || mode.Perm()&0o004 == 0 {
			return machine.Parts{}
		}
		return machine.Parts{OS: string(id)}
	})
}
