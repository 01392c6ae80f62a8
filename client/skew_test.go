package client_test

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
	"github.com/seed-357fa782/licensed/license/wire"
)

// skews are the rows of the table in docs/time.md. Each returns the install to
// ask, and the instant that is proven then.
var skews = map[string]func(f *field) (g *client.Guard, proven time.Time){
	"none": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.run(time.Hour)
		wantClockWarning(f.t, g, false)
		return g, epoch.Add(time.Hour)
	},
	"ten minutes behind": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.set(epoch.Add(-10 * time.Minute))
		wantClockWarning(f.t, g, false)
		return g, epoch
	},
	"more than ten minutes behind": func(f *field) (*client.Guard, time.Time) {
		g := f.again(f.activated())
		f.set(epoch.Add(-10*time.Minute - time.Second))
		wantClockWarning(f.t, g, true)
		if !g.Status().RefreshDue() {
			f.t.Error("it is not time to call home")
		}
		check(f.t, g.Refresh(f.t.Context()))
		if g.Status().RefreshDue() {
			f.t.Error("it is time to call home again")
		}
		return g, epoch
	},
	"an empty clock battery: 1970": func(f *field) (*client.Guard, time.Time) {
		g := f.again(f.activated())
		f.set(time.Unix(0, 0))
		return g, epoch
	},
	"before 1970": func(f *field) (*client.Guard, time.Time) {
		g := f.again(f.activated())
		f.clock.t = time.Time{}
		return g, epoch
	},
	"set back to a time after all that is proven": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.off(5 * day)
		f.set(epoch.Add(2 * day))
		wantClockWarning(f.t, g, false)
		return g, epoch
	},
	"set back while the product runs": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.run(5 * day)
		f.set(epoch.Add(day))
		wantClockWarning(f.t, g, true)
		f.run(time.Hour)
		return g, epoch.Add(5*day + time.Hour)
	},
	"set back before every start": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		days := 0
		for ; g.Status().Usable; days++ {
			f.run(8 * time.Hour)
			f.off(16 * time.Hour)
			f.set(epoch.Add(time.Hour))
			g = f.again(g)
		}
		if days != 3*14 {
			f.t.Errorf("it ran for 8 hours on %d days", days)
		}
		return g, epoch.Add(14 * day)
	},
	"set back, and the product killed each time": func(f *field) (*client.Guard, time.Time) {
		f.activated()
		for range 50 {
			f.run(8 * time.Hour)
			f.set(epoch.Add(time.Hour))
			wantLicensed(f.t, f.open())
		}
		return f.open(), epoch
	},
	"set back before every start, and run for seconds only": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		for range 50 {
			f.run(9 * time.Second)
			f.set(epoch.Add(time.Hour))
			g = f.again(g)
		}
		return g, epoch
	},
	"hours ahead": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.set(epoch.Add(5 * time.Hour))
		wantClockWarning(f.t, g, false)
		return g, epoch
	},
	"days ahead": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.set(epoch.Add(20 * day))
		wantClockWarning(f.t, g, false)
		return g, epoch
	},
	"days ahead, then set right": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		before := f.memory()
		f.set(epoch.Add(20 * day))
		g = f.again(g)
		f.right()
		f.wantMemory(before)
		return g, epoch
	},
	"years ahead": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.set(epoch.Add(5 * 365 * day))
		wantClockWarning(f.t, g, true)
		return g, epoch
	},
	"years ahead, started again and again, then set right": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		before := f.memory()
		f.set(epoch.Add(5 * 365 * day))
		for range 3 {
			g = f.again(g)
			wantClockWarning(f.t, g, true)
		}
		f.wantMemory(before)
		f.run(day) // the product runs on
		g = f.again(g)
		f.wantFloor(epoch.Add(day))
		f.right()
		return g, epoch.Add(day)
	},
	"years ahead, and the server answers": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.off(day)
		f.set(f.world.now().Add(5 * 365 * day))
		check(f.t, g.Refresh(f.t.Context()))
		wantClockWarning(f.t, g, true)
		f.off(time.Hour) // asleep
		return g, epoch.Add(day)
	},
	"years ahead, the server answers, then set right": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.set(epoch.Add(5 * 365 * day))
		f.refreshed(g)
		f.run(time.Hour)
		f.right()
		wantClockWarning(f.t, g, false)
		return g, epoch.Add(day + time.Hour)
	},
	"years ahead, the server answers, then started again": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.set(epoch.Add(5 * 365 * day))
		f.refreshed(g)
		g = f.again(g)
		if !g.Status().RefreshDue() {
			f.t.Error("it is not time to call home")
		}
		return g, epoch.Add(day)
	},
	"an hour ahead, with a lease of 15 minutes": func(f *field) (*client.Guard, time.Time) {
		f.vendor.grant = func(_ token.Request, c *token.License) {
			c.Mode, c.Dates = license.ModeFloating, license.Schedule{
				Enforcement: license.EnforceBlock, Lease: 15 * time.Minute, Refresh: 5 * time.Minute,
			}.DatesFor(c.Dates.IssuedAt, time.Time{}, epoch.Add(365*day))
		}
		f.set(epoch.Add(time.Hour))
		g := f.activated()
		for range 4 {
			wantLicensed(f.t, g)
			f.run(10 * time.Minute)
			wantLicensed(f.t, g)
			check(f.t, g.Refresh(f.t.Context()))
		}
		f.run(16 * time.Minute)
		if st := g.Status(); st.Usable || st.Reason != license.LeaseOver {
			f.t.Errorf("the lease does not end: %+v", st)
		}
		check(f.t, g.Refresh(f.t.Context()))
		return g, f.world.now()
	},
	"right, on a machine that was off for years": func(f *field) (*client.Guard, time.Time) {
		check(f.t, f.activated().Close())
		f.off(3 * 365 * day)
		g := f.open()
		wantClockWarning(f.t, g, true)
		return g, epoch
	},
	"right, on a machine without a network, a licence without end": func(f *field) (*client.Guard, time.Time) {
		f.perpetual()
		g := f.activated()
		f.off(3 * 365 * day)
		wantClockWarning(f.t, g, false)
		return g, epoch
	},
	"right, after two months, and the server answers": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.off(60 * day)
		g = f.again(g)
		if st := g.Status(); st.Clock != client.ClockUnconfirmed || st.Usable {
			f.t.Errorf("before: %+v", st)
		}
		check(f.t, g.Refresh(f.t.Context()))
		return g, epoch.Add(60 * day)
	},
	"asleep for a night": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.run(time.Hour)
		f.off(10 * time.Hour)
		return g, epoch.Add(time.Hour)
	},
	"another time zone, or summer time": func(f *field) (*client.Guard, time.Time) {
		g := f.activated()
		f.run(time.Hour)
		f.clock.t = f.clock.t.In(time.FixedZone("far west", -12*60*60))
		return g, epoch.Add(time.Hour)
	},
	"the years 2038 and 2106": func(f *field) (*client.Guard, time.Time) {
		f.perpetual()
		g := f.activated()
		for _, n := range []int64{1 << 31, 1 << 32} {
			f.set(time.Unix(n-1, 0))
			wantLicensed(f.t, g)
			f.run(2 * time.Second)
			wantLicensed(f.t, g)
		}
		return g, epoch.Add(4 * time.Second)
	},
	"beyond the year 9999": func(f *field) (*client.Guard, time.Time) {
		f.perpetual()
		g := f.activated()
		f.clock.t = time.Date(30000, 1, 1, 0, 0, 0, 0, time.UTC)
		return g, epoch
	},
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

func TestSkews(t *testing.T) {
	rows := skewTable(t)
	for _, name := range slices.Sorted(maps.Keys(skews)) {
		if _, ok := rows[name]; !ok {
			t.Errorf("docs/time.md does not say what happens: %s", name)
		}
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			prepare, ok := skews[name]
			if !ok {
				t.Fatal("docs/time.md says what happens, and nothing shows it")
			}
			f := newField(t)
			g, proven := prepare(f)
			at, ok := map[string]time.Time{
				"the clock": f.clock.now(), "what is proven": proven, "the clock less its lead": f.world.now(),
				"the end of 9999": license.Forever.Add(-time.Second),
			}[row.at]
			if !ok {
				t.Fatalf("docs/time.md: judged by %q", row.at)
			}
			st := g.Status()
			if string(st.Clock) != row.clock {
				t.Errorf("the clock is %s, not %s", st.Clock, row.clock)
			}
			if off := st.At.Sub(at); off.Abs() > time.Second || row.at != "the clock less its lead" && off != 0 {
				t.Errorf("judged by %v, not by %s, %v", st.At, row.at, at)
			}
			if usable := "yes"; st.Usable && row.usable != usable || !st.Usable && row.usable != "no: "+string(st.Reason) {
				t.Errorf("usable %v (%s), not %s", st.Usable, st.Reason, row.usable)
			}
			if st.At.Before(proven) {
				t.Errorf("judged by %v, before %v, which is proven", st.At, proven)
			}
		})
	}
}

type skewRow struct{ clock, at, usable string }

// skewTable reads the table in docs/time.md, the one whose head begins "skew".
func skewTable(t *testing.T) map[string]skewRow {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", "time.md"))
	check(t, err)
	rows, inside := map[string]skewRow{}, false
	for line := range strings.Lines(string(data)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case cells[0] == "skew" && len(cells) > 1 && cells[1] == "`Clock`":
			inside = true
		case !strings.HasPrefix(line, "|"):
			inside = false
		case inside && !strings.HasPrefix(cells[0], "---"):
			if _, ok := rows[cells[0]]; ok || len(cells) < 4 {
				t.Errorf("docs/time.md: %q", line)
				continue
			}
			rows[cells[0]] = skewRow{clock: cells[1], at: cells[2], usable: cells[3]}
		}
	}
	if len(rows) == 0 {
		t.Fatal("there is no table in docs/time.md")
	}
	return rows
}
