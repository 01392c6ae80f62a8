package macos_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/macos"
)

// What is asked of this machine can be understood, and is the same again.
func TestAsk(t *testing.T) {
	p := macos.Ask(t.Context()).Parts()
	if p.OS == "" || len(p.CPUs) == 0 {
		t.Errorf("notes: %v", p.Notes)
	}
	if d := cmp.Diff(p, macos.Ask(t.Context()).Parts()); d != "" {
		t.Error(d)
	}
}

func TestAskEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := macos.Ask(ctx); a.Platform != nil || a.Storage != nil {
		t.Error("ioreg ran on")
	}
}
