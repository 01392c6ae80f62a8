package koogallery

import "time"

// compactLayout is the marketplace's yyyyMMddHHmmss.
const compactLayout = "20060102150405"

// parseCompact reads yyyyMMddHHmmss, or the 17 digits with milliseconds which a
// published sample has. The calendar is strict: 31 April is refused, not moved
// into May. The result is in UTC and whole seconds.
func parseCompact(s string, loc *time.Location) (time.Time, bool) {
	if len(s) != 14 && len(s) != 17 {
		return time.Time{}, false
	}
	for i := range len(s) {
		if !isDigit(s[i]) {
			return time.Time{}, false
		}
	}
	t, err := time.Parse(compactLayout, s[:14]) // refuses impossible dates
	if err != nil || t.Year() == 0 {
		return time.Time{}, false
	}
	if loc == nil {
		return t, true
	}
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, loc).UTC(), true
}
