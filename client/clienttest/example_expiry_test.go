package clienttest_test

import (
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/clienttest"
	"github.com/seed-357fa782/licensed/license"
)

// toolbar is the merchant's own code: its button is there while the licence
// grants the feature.
type toolbar struct{ licence *client.Guard }

func (b toolbar) exportEnabled() bool { return b.licence.Feature("export") }

// In the product's tests this is TestExportIsOffAfterExpiry.
func exportIsOffAfterExpiry(t *testing.T) {
	s := clienttest.NewServer(t, clienttest.ServerOptions{})
	code := s.Issue(clienttest.LicenseSpec{
		For: 30 * 24 * time.Hour, Features: clienttest.Features("export"),
		Phases: license.Phases{Grace: new(5 * 24 * time.Hour), Lease: new(time.Duration(0))},
	})
	bar := toolbar{s.Open(t)}
	if err := bar.licence.Activate(t.Context(), code); err != nil {
		t.Fatal(err)
	}

	s.Clock().Advance(29 * 24 * time.Hour)
	if !bar.exportEnabled() {
		t.Error("a day before the end: the button is off")
	}
	s.Clock().Advance(2 * 24 * time.Hour)
	if !bar.exportEnabled() {
		t.Error("in grace: the button is off")
	}
	s.Clock().Advance(5 * 24 * time.Hour)
	if bar.exportEnabled() {
		t.Error("after its grace: the button is on")
	}
}

// The export button is off after the licence has expired, and not a day earlier.
func Example_expiry() {
	_ = exportIsOffAfterExpiry
}
