package authority_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	machine "github.com/seed-357fa782/licensed/client/fingerprint"
	"github.com/seed-357fa782/licensed/daemon/internal/authority"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// What the server signed when its clock was weeks ahead, and was believed,
// costs an install nothing once the clock is right and it asks again.
func TestInstallsForgiveTheServersClock(t *testing.T) {
	w := newWorld(t)
	is := w.issue()
	cache, clock := &client.MemoryCache{}, w.clock()
	open := func() *client.Guard {
		g, err := client.Open(t.Context(), client.Options{
			Anchors: w.ring.Anchors(), Product: "cad", Cache: cache, Manual: true, Now: func() time.Time { return clock },
			Fingerprint: func(context.Context) (machine.Set, error) {
				return machine.Set{Environment: machine.Metal, Values: map[license.Kind][]string{
					license.KindOS: {"0f1e2d3c4b5a69788796a5b4c3d2e1f0"}, license.KindDisk: {"S3Z9NB0K123456"}, license.KindMAC: {"3c:7c:3f:11:22:33"},
				}}, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	ask := func(g *client.Guard, op client.Op, o client.RequestOptions) error {
		file, err := g.Request(t.Context(), op, o)
		if err != nil {
			return err
		}
		raw, err := token.ParseRequestFile(file)
		if err != nil {
			return err
		}
		a, err := w.a.Request(t.Context(), raw, license.Code{}, authority.Caller{})
		if err != nil {
			return err
		}
		answer := token.File{Licenses: []string{a.License}, KeySets: []string{a.Keys}, Times: []string{a.Time}}
		if a.Status != "" {
			answer.Statuses = []string{a.Status}
		}
		return g.Import(answer.Marshal())
	}
	w.set(25 * day)
	g := open()
	w.must(ask(g, client.OpActivate, client.RequestOptions{Code: is.Code.Reveal()}), "")
	if st := g.Status(); !st.Usable || st.Clock != client.ClockBehind || !st.At.Equal(w.clock()) {
		t.Fatalf("the server is ahead: %+v", st)
	}
	last := w.clock()
	w.set(-24 * day)
	clock = w.clock()
	w.must(ask(g, client.OpRefresh, client.RequestOptions{}), license.Clock)
	w.accepted()
	for range 30 {
		w.must(ask(g, client.OpRefresh, client.RequestOptions{}), "")
		for range 2 {
			if st := g.Status(); !st.Usable || st.Clock != client.ClockOK || !st.At.Equal(clock) || g.License().Dates().IssuedAt.Before(last) && clock.Before(last) {
				t.Fatalf("it is %v: %+v", clock, st)
			}
			if err := g.Close(); err != nil {
				t.Fatal(err)
			}
			g = open()
		}
		w.pass(day)
		clock = w.clock()
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
}
