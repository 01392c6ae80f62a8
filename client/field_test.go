package client_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

const day = 24 * time.Hour

// field is a site whose clock is not the world's, which is the server's.
type field struct {
	*site
	t      *testing.T
	world  *clock
	ran    time.Duration // for how long products have run, all told
	server time.Duration // how far the server's clock is off
}

func newField(t *testing.T) *field {
	t.Helper()
	f := &field{site: newSite(t), t: t, world: newClock()}
	f.vendor.now = func() time.Time { return f.world.now().Add(f.server) }
	return f
}

// open opens the install; its running time is the field's.
func (f *field) open() *client.Guard {
	f.tb.Helper()
	g := f.site.open()
	since := f.ran
	g.SetUptime(func() time.Duration { return f.ran - since })
	return g
}

func (f *field) activated() *client.Guard {
	f.tb.Helper()
	g := f.open()
	check(f.tb, g.Activate(f.tb.Context(), code))
	return g
}

// again closes an install and opens it anew.
func (f *field) again(g *client.Guard) *client.Guard {
	f.tb.Helper()
	check(f.tb, g.Close())
	return f.open()
}

// off lets time pass while no product runs, run while one does.
func (f *field) off(d time.Duration) {
	f.world.add(d)
	f.clock.add(d)
}

func (f *field) run(d time.Duration) {
	f.off(d)
	f.ran += d
}

// set sets the clock of the machine, right makes it right.
func (f *field) set(t time.Time) { f.clock.add(t.Sub(f.clock.now())) }

func (f *field) right() { f.set(f.world.now()) }

// refreshed calls home a day later.
func (f *field) refreshed(g *client.Guard) {
	f.tb.Helper()
	f.run(day)
	check(f.tb, g.Refresh(f.tb.Context()))
}

// perpetual lets the server grant licences without an end and without a lease.
func (f *field) perpetual() {
	f.vendor.grant = func(_ token.Request, c *token.License) {
		c.Dates = license.Schedule{Enforcement: license.EnforceBlock}.DatesFor(c.Dates.IssuedAt, time.Time{}, time.Time{})
	}
}

// redating is what a server does whose clock was set back: what it grants keeps
// the date last, and counts from now.
func (f *field) redating(last time.Time) {
	f.vendor.grant = func(_ token.Request, c *token.License) {
		if c.Dates.IssuedAt.Before(last) {
			c.Dates.IssuedAt = last
		}
	}
}

// mistaken is an install that holds a licence of a server 20 days ahead, which
// has been set right since; with it the file of that licence.
func (f *field) mistaken() (*client.Guard, []byte) {
	f.tb.Helper()
	f.server = 20 * day
	g := f.activated()
	held := g.File()
	f.server = 0
	f.off(day)
	return g, held
}

func (f *field) memory() []byte {
	f.tb.Helper()
	data, err := os.ReadFile(filepath.Join(f.opts.StateDir, "install.json"))
	check(f.tb, err)
	return data
}

func (f *field) wantMemory(want []byte) {
	f.tb.Helper()
	if !bytes.Equal(f.memory(), want) {
		f.tb.Errorf("the memory changed: %s", cmp.Diff(string(want), string(f.memory())))
	}
}

func (f *field) wantFloor(want time.Time) {
	f.tb.Helper()
	if got := readState(f.tb, f.site).Floor; got != want.Unix() {
		f.tb.Errorf("the floor is %v, want %v", time.Unix(got, 0).UTC(), want)
	}
}

// wantClockWarning says whether something should be said about the clock, in
// the status and in the warnings.
func wantClockWarning(tb testing.TB, g *client.Guard, want bool) {
	tb.Helper()
	said := slices.ContainsFunc(g.Warnings(), func(err error) bool { return license.ReasonOf(err) == license.Clock })
	if inStatus := strings.Contains(g.Status().String(), "clock of this machine"); said != want || inStatus != want {
		tb.Errorf("warnings %v, status %s", g.Warnings(), g.Status())
	}
}

// fileOf is a file with a signed time in it.
func (f *field) fileOf(times ...string) []byte {
	return token.File{Licenses: []string{readState(f.tb, f.site).License}, KeySets: []string{f.vendor.keys}, Times: times}.Marshal()
}
