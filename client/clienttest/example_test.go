package clienttest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/clienttest"
)

// What is shown as examples passes as tests.
func TestExamples(t *testing.T) {
	t.Parallel()
	t.Run("expiry", exportIsOffAfterExpiry)
	t.Run("outage", survivesTheServerBeingDown)
	t.Run("revoked", userIsToldWhenRevoked)
}

// One loop shows a product a licence in every state. Here the product is a
// Verifier, and is asked whether it may run.
func ExampleLicenses() {
	v := client.Verifier{Anchors: clienttest.Anchors(), Product: clienttest.Product}
	for _, s := range clienttest.Licenses(clienttest.Epoch) {
		usable := false
		if l, err := v.Verify(s.File); err == nil {
			machine, _ := s.Machine.Fingerprint(context.Background())
			usable = l.Match(machine).OK && l.Check(s.Now).Usable
		}
		switch {
		case usable != s.Usable:
			fmt.Println("wrong about a licence that is", s.Kind)
		case usable:
			fmt.Println("runs: ", s.Kind)
		default:
			fmt.Println("stops:", s.Kind, "-", s.Reason)
		}
	}
	// Output:
	// runs:  good
	// runs:  warning
	// runs:  grace
	// runs:  lease grace
	// stops: expired - expired
	// stops: lease over - lease_over
	// stops: not yet valid - not_yet_valid
	// stops: revoked - revoked
	// stops: suspended - suspended
	// stops: wrong machine - machine_mismatch
	// stops: other product - wrong_product
	// stops: forged - forged
	// stops: tampered - forged
	// stops: damaged - damaged
	// runs:  perpetual
	// runs:  degraded
	// runs:  advisory
	// runs:  floating
	// runs:  trial
	// runs:  any machine
}
