package freebsd_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client/fingerprint/internal/freebsd"
)

// What is asked of this machine can be understood, and is the same again.
func TestAsk(t *testing.T) {
	p := freebsd.Ask().Parts()
	if len(p.CPUs) == 0 {
		t.Error("the processor has no name")
	}
	if d := cmp.Diff(p, freebsd.Ask().Parts()); d != "" {
		t.Error(d)
	}
}
