package fingerprint

import (
	"context"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
	"github.com/seed-357fa782/licensed/client/fingerprint/internal/win32"
)

func (g *gathering) steps(context.Context) []func() {
	return g.asking(func() machine.Parts { return win32.Ask().Parts() })
}
