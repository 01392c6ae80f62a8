package client_test

import (
	"time"

	"github.com/seed-357fa782/licensed/client"
	"github.com/seed-357fa782/licensed/license"
	"github.com/seed-357fa782/licensed/license/token"
)

// clockSkews are those rows of the table in docs/time.md that say what the clock of
// a machine does.
var clockSkews = map[string]skew{
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
}
