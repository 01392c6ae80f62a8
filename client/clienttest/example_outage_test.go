package clienttest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/clienttest"
	"github.com/seed-357fa782/licensed/license"
)

// In the product's tests this is TestSurvivesTheServerBeingDown.
func survivesTheServerBeingDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in a bubble two weeks pass at once
		s := clienttest.NewBubbleServer(t, clienttest.ServerOptions{})
		options := s.Options(t)
		g, err := client.Open(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Activate(t.Context(), s.Issue(clienttest.LicenseSpec{})); err != nil {
			t.Fatal(err)
		}

		s.Down()
		time.Sleep(10 * 24 * time.Hour)
		if st := g.Status(); !st.Usable {
			t.Errorf("ten days without a server: %s", st)
		}
		// The product is started anew meanwhile.
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		if g, err = client.Open(t.Context(), options); err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		if st := g.Status(); !st.Usable {
			t.Errorf("after a restart: %s", st)
		}
		time.Sleep(5 * 24 * time.Hour)
		if st := g.Status(); st.Usable || st.Reason != license.LeaseOver {
			t.Errorf("beyond its lease of 14 days: %s", st)
		}
		s.Up()
		if err := g.Refresh(t.Context()); err != nil || !g.Status().Usable {
			t.Errorf("with the server back: %v, %s", err, g.Status())
		}
	})
}

// The product goes on while the licence server is down, as long as its lease
// lasts, over a restart too, and recovers when the server is back.
func Example_outage() {
	_ = survivesTheServerBeingDown
}
