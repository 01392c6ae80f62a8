package license_test

import (
	"testing"
	"time"
	_ "time/tzdata" // what is tested must not depend on the machine

	"pgregory.net/rapid"

	"github.com/seed-357fa782/licensed/license"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// The end of a day is its last second in the zone, also on the days on which
// the clock of the zone is changed, and around midnight at that.
func TestEndOfDay(t *testing.T) {
	for _, c := range []struct{ zone, day, want, why string }{
		{"UTC", "2027-01-31", "2027-01-31T23:59:59Z", "no change ever"},
		{"UTC", "2028-02-29", "2028-02-29T23:59:59Z", "a leap day"},
		{"Asia/Shanghai", "2027-01-31", "2027-01-31T15:59:59Z", "east of UTC"},
		{"America/New_York", "2027-01-31", "2027-02-01T04:59:59Z", "west of UTC"},
		{"Asia/Kolkata", "2027-01-31", "2027-01-31T18:29:59Z", "half an hour"},
		{"Asia/Kathmandu", "2027-01-31", "2027-01-31T18:14:59Z", "three quarters"},
		{"Pacific/Kiritimati", "2027-01-31", "2027-01-31T09:59:59Z", "14 hours east"},
		{"Pacific/Niue", "2027-01-31", "2027-02-01T10:59:59Z", "11 hours west"},
		{"Europe/Berlin", "2027-03-27", "2027-03-27T22:59:59Z", "the day before summer time"},
		{"Europe/Berlin", "2027-03-28", "2027-03-28T21:59:59Z", "a day of 23 hours"},
		{"Europe/Berlin", "2027-10-31", "2027-10-31T22:59:59Z", "a day of 25 hours"},
		{"America/New_York", "2027-03-14", "2027-03-15T03:59:59Z", "summer time begins"},
		{"America/New_York", "2027-11-07", "2027-11-08T04:59:59Z", "summer time ends"},
		{"Australia/Lord_Howe", "2027-04-04", "2027-04-04T13:29:59Z", "set back by half an hour"},
		{"America/Sao_Paulo", "2018-11-03", "2018-11-04T02:59:59Z", "the next day begins at one"},
		{"America/Sao_Paulo", "2018-02-17", "2018-02-18T02:59:59Z", "the last hour of the day comes twice"},
		{"America/Havana", "2027-03-13", "2027-03-14T04:59:59Z", "the next day begins at one"},
		{"America/Havana", "2027-11-06", "2027-11-07T03:59:59Z", "the first hour of the next day comes twice"},
		{"America/Havana", "2027-11-07", "2027-11-08T04:59:59Z", "the first hour of the day comes twice"},
		{"America/St_Johns", "2010-11-06", "2010-11-07T03:29:59Z", "one minute past midnight it is the day before again"},
		{"Pacific/Apia", "2011-12-29", "2011-12-30T09:59:59Z", "the next day is left out"},
		{"Pacific/Apia", "2011-12-31", "2011-12-31T09:59:59Z", "the day before was left out"},
		{"UTC", "9999-12-31", "9999-12-31T23:59:59Z", "the last day"},
		{"UTC", "0001-01-01", "0001-01-01T23:59:59Z", "the first"},
	} {
		got, err := license.EndOfDay(c.day, zone(t, c.zone))
		if err != nil || got.Format(time.RFC3339) != c.want || got.Location() != time.UTC {
			t.Errorf("%s in %s (%s): %s, %v, want %s", c.day, c.zone, c.why, got.Format(time.RFC3339), err, c.want)
		}
	}
	for _, c := range []struct{ zone, day string }{
		{"UTC", ""},
		{"UTC", "31.1.2027"},
		{"UTC", "2027-1-31"},
		{"UTC", "2027-02-29"},
		{"UTC", "2027-01-31T00:00:00Z"},
		{"UTC", " 2027-01-31"},
		{"UTC", "20270131"},
		{"Pacific/Apia", "2011-12-30"}, // it went from the 29th to the 31st
	} {
		if got, err := license.EndOfDay(c.day, zone(t, c.zone)); license.ReasonOf(err) != license.BadRequest {
			t.Errorf("%q in %s: %s, %v", c.day, c.zone, got, err)
		}
	}
}

// In every zone, on every day, the second that is returned has the date of the
// day, and no later one has.
func TestEndOfDayIsTheLast(t *testing.T) {
	zones := []string{
		"UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "America/Havana", "America/Sao_Paulo", "Africa/Cairo", "Asia/Beirut",
		"Australia/Lord_Howe", "Pacific/Kiritimati", "Pacific/Niue", "America/St_Johns", "Asia/Tehran", "Africa/Casablanca", "America/Santiago",
	}
	rapid.Check(t, func(r *rapid.T) {
		loc := zone(t, rapid.SampledFrom(zones).Draw(r, "zone"))
		day := time.Date(2000, 1, 1, 12, 0, 0, 0, time.UTC).AddDate(0, 0, rapid.IntRange(0, 30000).Draw(r, "days")).Format(time.DateOnly)
		end, err := license.EndOfDay(day, loc)
		if err != nil {
			r.Fatalf("%s in %s: %v", day, loc, err)
		}
		if got := end.In(loc).Format(time.DateOnly); got != day {
			r.Fatalf("%s in %s ends on %s, at %s", day, loc, got, end)
		}
		for after := time.Second; after < 26*time.Hour; after += 10 * time.Minute {
			if got := end.Add(after).In(loc).Format(time.DateOnly); got <= day {
				r.Fatalf("%s in %s ends at %s, and %s later it is %s", day, loc, end, after, got)
			}
		}
	})
}
