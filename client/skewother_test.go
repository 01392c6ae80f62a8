package client_test

import (
	"bytes"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// otherSkews are those rows of the table in docs/time.md that say what becomes of
// what else tells the time: the server's answers, files, the product's build and
// the memory.
var otherSkews = map[string]skew{
	"the server five minutes ahead of the machine": func(f *field) (*client.Guard, time.Time) {
		f.server = 5 * time.Minute
		return f.activated(), epoch.Add(5 * time.Minute)
	},
	"the server weeks ahead when it signed": func(f *field) (*client.Guard, time.Time) {
		g, _ := f.mistaken()
		wantClockWarning(f.t, g, true)
		return g, epoch.Add(20 * day)
	},
	"the server weeks ahead, set right, asked again": func(f *field) (*client.Guard, time.Time) {
		g, _ := f.mistaken()
		last := g.License().Dates().IssuedAt
		f.redating(last)
		for range 3 {
			check(f.t, g.Refresh(f.t.Context()))
			wantLicensed(f.t, g)
			f.wantFloor(f.world.now())
			if st := g.Status(); !g.License().Dates().IssuedAt.Equal(last) || st.Clock != client.ClockOK {
				f.t.Errorf("%+v", st)
			}
			f.off(day)
			g = f.again(g)
			wantLicensed(f.t, g)
		}
		for range 30 { // until it is as late as it was thought to be
			f.refreshed(g)
			wantLicensed(f.t, g)
		}
		if m := readState(f.t, f.site); m.Doubt != 0 {
			f.t.Error("there is still doubt")
		}
		return g, f.world.now()
	},
	"the server weeks ahead, and a licence of an earlier date in the answer": func(f *field) (*client.Guard, time.Time) {
		g, _ := f.mistaken()
		check(f.t, g.Refresh(f.t.Context()))
		if got := g.License().Dates().IssuedAt; !got.Equal(f.world.now()) {
			f.t.Errorf("it holds one of %v", got)
		}
		g = f.again(g)
		f.wantFloor(f.world.now())
		return g, f.world.now()
	},
	"the server weeks ahead, set right, the file of then imported again": func(f *field) (*client.Guard, time.Time) {
		g, then := f.mistaken()
		f.redating(epoch.Add(20 * day))
		check(f.t, g.Refresh(f.t.Context()))
		good, before := g.File(), f.memory()
		wantReason(f.t, g.Import(then), license.NotYetValid)
		check(f.t, g.Import(good)) // has the same date
		f.wantMemory(before)
		return g, f.world.now()
	},
	"the server weeks ahead, set right, the status list of then": func(f *field) (*client.Guard, time.Time) {
		says := func(s license.ListStatus) {
			f.vendor.grant = func(_ token.Request, c *token.License) { *c = listed(*c) }
			f.vendor.spoil = func(_ token.Request, a *wire.Answer) { a.Status = statusList(f.t, f.vendor.now(), s) }
		}
		says(license.StatusSuspended)
		g, _ := f.mistaken()
		then := g.File()
		if st := g.Status(); st.Reason != license.Suspended {
			f.t.Fatalf("%+v", st)
		}
		says(license.StatusValid)
		check(f.t, g.Refresh(f.t.Context()))
		wantLicensed(f.t, g)
		parsed, err := token.ParseFile(then)
		check(f.t, err)
		wantReason(f.t, g.Import(token.File{Statuses: parsed.Statuses, KeySets: parsed.KeySets}.Marshal()), license.NotYetValid)
		return g, f.world.now()
	},
	"an answer that was kept back, imported later": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		req, err := g.Request(f.t.Context(), client.OpActivate, client.RequestOptions{Code: otherCode})
		check(f.t, err)
		kept := f.carry(req)
		for range 30 {
			f.refreshed(g)
		}
		floor := f.world.now()
		check(f.t, g.Import(kept))
		f.wantFloor(floor)
		return g, floor
	},
	"the signed time of another install": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		other := token.Request{InstallID: token.Thumbprint(public("x")), ID: "n"}
		f.run(10 * day)
		check(f.t, g.Import(f.fileOf(timeToken(f.t, other, epoch.Add(-day), "sign-1"))))
		later := epoch.Add(12 * day)
		check(f.t, g.Import(f.fileOf(timeToken(f.t, other, later, "sign-1"))))
		f.wantFloor(later)
		check(f.t, g.Import(f.fileOf(timeToken(f.t, other, epoch.Add(11*day), "sign-1"))))
		f.wantFloor(later)
		return g, later
	},
	"an answer imported twice": func(f *field) (*client.Guard, time.Time) {
		g, _ := f.mistaken()
		req, err := g.Request(f.t.Context(), client.OpRefresh, client.RequestOptions{})
		check(f.t, err)
		answer := f.carry(req)
		check(f.t, g.Import(answer))
		f.wantFloor(f.world.now())
		before := f.memory()
		f.off(time.Hour)
		check(f.t, g.Import(answer))
		f.wantMemory(before)
		return g, epoch.Add(day)
	},
	"an answer whose licence is refused, repeated": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.server = 20 * day
		check(f.t, g.Import(f.fileOf(timeToken(f.t, token.Request{InstallID: token.Thumbprint(public("x")), ID: "n"}, f.vendor.now(), "sign-1"))))
		f.server = 0
		f.vendor.spoil = func(_ token.Request, a *wire.Answer) { a.License = a.License[:len(a.License)-4] }
		wantReason(f.t, g.Refresh(f.t.Context()), license.Damaged)
		f.wantFloor(f.world.now())
		f.run(day) // the same answer again, a day later
		wantReason(f.t, g.Refresh(f.t.Context()), license.Damaged)
		f.wantFloor(f.world.now())
		return g, f.world.now()
	},
	"before the build of the product, at the first start": func(f *field) (*client.Guard, time.Time) {
		f.opts.BuildTime = epoch
		f.set(epoch.Add(-365 * day))
		g := f.open()
		wantClockWarning(f.t, g, true)
		return g, epoch
	},
	"a build that was dated in the future": func(f *field) (*client.Guard, time.Time) {
		f.opts.BuildTime = epoch.Add(365 * day)
		g := f.open()
		if st := g.Status(); st.Clock != client.ClockBehind {
			f.t.Errorf("%+v", st)
		}
		check(f.t, g.Activate(f.t.Context(), code))
		f.wantFloor(epoch)
		for range 3 {
			wantLicensed(f.t, g)
			f.off(day)
			g = f.again(g)
		}
		return g, epoch
	},
	"set back, with two processes": func(f *field) (*client.Guard, time.Time) {
		a := f.activated()
		b := f.open()
		f.run(5 * day)
		check(f.t, a.Close())
		f.set(epoch.Add(day))
		c := f.open()
		if st := c.Status(); st.Clock != client.ClockBehind || !st.At.Equal(epoch.Add(5*day)) {
			f.t.Errorf("%+v", st)
		}
		// What both have counted is not added up.
		f.run(time.Hour)
		_, err := b.Request(f.t.Context(), client.OpRefresh, client.RequestOptions{})
		check(f.t, err)
		check(f.t, c.Close())
		f.wantFloor(epoch.Add(5*day + time.Hour))
		return f.open(), epoch.Add(5*day + time.Hour)
	},
	"the memory put back from a copy": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		old := f.memory()
		for range 10 {
			f.refreshed(g)
		}
		check(f.t, g.Close())
		check(f.t, os.WriteFile(filepath.Join(f.opts.StateDir, "install.json"), old, 0o600))
		g = f.open()
		f.set(epoch.Add(14 * day))
		if st := g.Status(); st.Usable || st.Reason != license.LeaseOver {
			f.t.Errorf("%+v", st)
		}
		f.set(epoch.Add(day))
		return g, epoch
	},
	"the memory deleted": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		held := g.File()
		check(f.t, g.Close())
		check(f.t, os.Remove(filepath.Join(f.opts.StateDir, "install.json")))
		g = f.open()
		wantReason(f.t, g.Import(held), license.MachineMismatch)
		check(f.t, g.Close())
		check(f.t, os.RemoveAll(f.opts.StateDir)) // also what the import proved
		return f.open(), time.Unix(0, 0)
	},
	"the memory deleted, and a licence without an install key": func(f *field) (*client.Guard, time.Time) {
		made := file(f.vendor.keys, sign(f.t, bound(f.t, claims(epoch), machineA()), "sign-1"))
		g := f.open()
		check(f.t, g.Import(made))
		f.run(10 * day)
		check(f.t, g.Close())
		f.wantFloor(epoch.Add(10 * day))
		check(f.t, os.RemoveAll(f.opts.StateDir))
		f.set(epoch.Add(time.Hour))
		g = f.open()
		check(f.t, g.Import(made))
		return g, epoch
	},
	"the memory damaged": func(f *field) (*client.Guard, time.Time) {
		check(f.t, f.activated().Close())
		path := filepath.Join(f.opts.StateDir, "install.json")
		check(f.t, os.WriteFile(path, bytes.Replace(f.memory(), []byte(`"floor":17`), []byte(`"floor":16`), 1), 0o600))
		g := f.open()
		if w := g.Warnings(); len(w) != 1 || license.ReasonOf(w[0]) != license.Damaged {
			f.t.Errorf("warnings %v", w)
		}
		if _, err := os.Stat(path + ".damaged"); err != nil {
			f.t.Error(err)
		}
		return g, time.Unix(0, 0)
	},
	"the memory of a version that counted no time": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.server = 20 * day
		check(f.t, g.Import(f.fileOf(timeToken(f.t, token.Request{InstallID: token.Thumbprint(public("x")), ID: "n"}, f.vendor.now(), "sign-1"))))
		f.server = 0
		f.vendor.lose = func(token.Request) bool { return true }
		wantReason(f.t, g.Refresh(f.t.Context()), license.Unreachable)
		f.vendor.lose = nil
		check(f.t, g.Close())
		m := readState(f.t, f.site)
		m.Sent.Refresh.Proven = 0
		old, err := client.Encode(m)
		check(f.t, err)
		if bytes.Contains(old, []byte("proven")) || bytes.Contains(old, []byte("doubt")) {
			f.t.Fatalf("it has what an old one has not: %s", old)
		}
		check(f.t, os.WriteFile(filepath.Join(f.opts.StateDir, "install.json"), old, 0o600))
		g = f.open()
		check(f.t, g.Refresh(f.t.Context()))
		f.wantFloor(epoch.Add(20 * day))
		f.off(time.Minute)
		check(f.t, g.Refresh(f.t.Context())) // a request of its own
		f.wantFloor(f.world.now())
		return g, f.world.now()
	},
}
