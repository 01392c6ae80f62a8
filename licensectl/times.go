package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/license"
)

// Layouts of what is shown; columns with shortTime say UTC in their heading.
const (
	shortTime = "2006-01-02 15:04"
	longTime  = "2006-01-02 15:04:05 UTC"
)

// when shows an instant with its zone, and an absent one as none.
func when(t *time.Time, none string) string {
	if t == nil || t.IsZero() {
		return none
	}
	return t.UTC().Format(longTime)
}

// whenShort is when for a column.
func whenShort(t *time.Time, none string) string {
	if t == nil || t.IsZero() {
		return none
	}
	return t.UTC().Format(shortTime)
}

// instant shows a date of a signed licence, where "no end" is an instant too.
func instant(t time.Time) string {
	if !t.Before(license.Forever) {
		return "never"
	}
	return t.UTC().Format(longTime)
}

// parseEnd reads a DATE as the end of something: RFC 3339, or a day, which is
// taken to its last second in UTC.
func parseEnd(option, s string) (t time.Time, wholeDay bool, err error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC().Truncate(time.Second), false, nil
	}
	day, err := time.ParseInLocation(time.DateOnly, s, time.UTC)
	if err != nil {
		return time.Time{}, false, usagef("%s %q is no date; write 2027-01-31 (its end, UTC) or 2027-01-31T18:00:00+08:00", option, s)
	}
	return day.AddDate(0, 0, 1).Add(-time.Second), true, nil
}

// parseTime reads an instant to look at things at: RFC 3339, or a day, which
// is taken at its beginning in UTC.
func parseTime(option, s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, usagef("%s %q is no time; write 2027-01-31T18:00:00Z or 2027-01-31 (its beginning, UTC)", option, s)
}

// checkDuration wants a duration that lies ahead; the daemon reads it the same way.
func checkDuration(option, s string) error {
	d, err := config.ParseDuration(s)
	switch {
	case err != nil:
		return usagef("%s: %v", option, err)
	case d <= 0:
		return usagef("%s must be longer than nothing", option)
	}
	return nil
}

// end is what --expires, --for and --perpetual say.
type end struct {
	at        *time.Time
	in        string
	perpetual bool
}

func endFlags(from string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "expires", Usage: "the end: `DATE` as 2027-01-31 (to its last second, UTC) or RFC 3339"},
		&cli.StringFlag{Name: "for", Usage: "a `DURATION` as 365d or 36h, counted from " + from},
		&cli.BoolFlag{Name: "perpetual", Usage: "no end"},
	}
}

// readEnd wants exactly one of the three, and says in which zone it took a day.
func (p *program) readEnd(c *cli.Context) (end, error) {
	e := end{in: c.String("for"), perpetual: c.Bool("perpetual")}
	given := 0
	for _, is := range []bool{c.IsSet("expires"), c.IsSet("for"), e.perpetual} {
		if is {
			given++
		}
	}
	if given != 1 {
		return end{}, usagef("%s needs exactly one of --expires DATE, --for DURATION and --perpetual", c.Command.Name)
	}
	if c.IsSet("for") {
		if err := checkDuration("--for", e.in); err != nil {
			return end{}, err
		}
	}
	if c.IsSet("expires") {
		at, wholeDay, err := parseEnd("--expires", c.String("expires"))
		if err != nil {
			return end{}, err
		}
		if wholeDay {
			p.note("%s is taken to its end: %s", c.String("expires"), at.Format(longTime))
		}
		e.at = &at
	}
	return e, nil
}
