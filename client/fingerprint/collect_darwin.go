package fingerprint

import (
	"context"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/machine"
	"github.com/seed-357fa782/licensed/client/fingerprint/internal/macos"
)

func (g *gathering) steps(ctx context.Context) []func() {
	return g.asking(func() machine.Parts { return macos.Ask(ctx).Parts() })
}
