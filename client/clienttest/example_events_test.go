package clienttest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/client/clienttest"
)

// untilTold takes events until one of a kind comes.
func untilTold(g *client.Guard, kind client.EventKind) client.Event {
	for e := range g.Events() {
		if e.Kind == kind {
			return e
		}
	}
	return client.Event{}
}

// In a bubble the day passes at once.
func TestEventWhenRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := clienttest.NewBubbleServer(t, clienttest.ServerOptions{})
		code := s.Issue(clienttest.LicenseSpec{})
		g := s.Open(t)
		if err := g.Activate(t.Context(), code); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		s.Revoke(code)
		at := time.Now()
		if e := untilTold(g, client.EventRevoked); e.Status.Usable || e.Err == nil {
			t.Errorf("told %+v", e)
		}
		if took := time.Since(at); took > 48*time.Hour {
			t.Errorf("told after %v", took)
		}
	})
}

// The guard finds out by itself that the licence was revoked, within the time
// between two calls home.
func Example_events() {
	_ = TestEventWhenRevoked
}
