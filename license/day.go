package license

import (
	"sort"
	"time"
)

// EndOfDay is the end of a calendar day, written as 2027-01-31, in a zone: its
// last second. That is how a date without a time is meant wherever a person
// gives one as an end.
//
// It is exact where the clock of the zone is changed: the last second of a day
// is the one before the next begins, be that at midnight, later because
// midnight is left out, or after an hour that comes twice. A text that is no
// date, and a day that the zone has left out altogether, are BadRequest.
func EndOfDay(day string, zone *time.Location) (time.Time, error) {
	from, err := time.Parse(time.DateOnly, day) // as if the zone were UTC
	if err != nil {
		return time.Time{}, FieldErrorf("", "%q is no date; write one as 2027-01-31", day)
	}
	// A zone is less than 26 hours away from UTC, and keeps a day for longer than
	// step whenever it comes back to it.
	const reach, step = 26 * time.Hour, 10 * time.Minute
	upTo := func(at time.Time) bool { return dayNumber(at.In(zone)) <= dayNumber(from) }
	last := from.Add(24*time.Hour + reach)
	for !upTo(last) {
		last = last.Add(-step)
	}
	seconds := sort.Search(int(step/time.Second), func(n int) bool { return !upTo(last.Add(time.Duration(n+1) * time.Second)) })
	last = last.Add(time.Duration(seconds) * time.Second)
	if dayNumber(last.In(zone)) != dayNumber(from) {
		return time.Time{}, FieldErrorf("", "there is no %s in %s, which left that day out", day, zone)
	}
	return last, nil
}

// dayNumber grows from day to day.
func dayNumber(t time.Time) int {
	year, month, day := t.Date()
	return (year*100+int(month))*100 + day
}
