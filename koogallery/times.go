package koogallery

import (
	"strings"
	"time"
)

// compactLayout is the marketplace's yyyyMMddHHmmss.
const compactLayout = "20060102150405"

// parseCompact reads yyyyMMddHHmmss, or the 17 digits with milliseconds which a
// published sample has. The calendar is strict: 31 April is refused, not moved
// into May. The result is in UTC and whole seconds.
func parseCompact(s string, loc *time.Location) (time.Time, bool) {
	if len(s) != 14 && len(s) != 17 || !allDigits(s) {
		return time.Time{}, false
	}
	t, err := time.Parse(compactLayout, s[:14]) // refuses impossible dates
	if err != nil || t.Year() == 0 {
		return time.Time{}, false
	}
	return inLocation(t, loc), true
}

// parseInstant reads parseCompact's forms and "yyyy-MM-dd HH:mm:ss z", the form
// of the published getLicenseAsync, where z is the letter in either case, UTC
// or GMT, with or without the blank in front. Without any zone the time is at
// home in loc.
func parseInstant(s string, loc *time.Location) (time.Time, bool) {
	if t, ok := parseCompact(s, loc); ok {
		return t, true
	}
	const n = len(time.DateTime)
	// time.Parse takes an hour of one digit, which would let another character in.
	if len(s) < n || !allDigits(s[11:13]) {
		return time.Time{}, false
	}
	if zone := s[n:]; zone != "" {
		switch strings.TrimPrefix(zone, " ") {
		case "z", "Z", "UTC", "GMT":
			loc = nil
		default:
			return time.Time{}, false
		}
	}
	t, err := time.Parse(time.DateTime, s[:n])
	if err != nil || t.Year() == 0 {
		return time.Time{}, false
	}
	return inLocation(t, loc), true
}

// inLocation takes the calendar and clock of t, which is in UTC, for those of
// loc.
func inLocation(t time.Time, loc *time.Location) time.Time {
	if loc == nil {
		return t
	}
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, loc).UTC()
}

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}
