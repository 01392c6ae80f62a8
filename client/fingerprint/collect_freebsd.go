package fingerprint

import (
	"context"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/freebsd"
	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
)

func (g *gathering) steps(context.Context) []func() {
	return g.asking(func() machine.Parts { return freebsd.Ask().Parts() })
}
