package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
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

// csvTime is an instant in RFC 3339, "" where there is none.
func csvTime(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// instant shows a date of a signed licence, where "no end" is an instant too.
func instant(t time.Time) string {
	if !t.Before(license.Forever) {
		return "never"
	}
	return t.UTC().Format(longTime)
}

// parseEnd reads the DATE of --expires as the end of something: RFC 3339, or a day without a
// time, which is taken to its end once it is known in which zone.
func parseEnd(s string) (t time.Time, day string, err error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC().Truncate(time.Second), "", nil
	}
	if _, err := time.Parse(time.DateOnly, s); err != nil {
		return time.Time{}, "", usagef("--expires %q is no date; write 2027-01-31 (its end, in the zone of --zone) or 2027-01-31T18:00:00+08:00, or say how long with --for 30d", s)
	}
	return time.Time{}, s, nil
}

// isDuration reports whether a text is a duration that lies ahead.
func isDuration(s string) bool {
	d, err := config.ParseDuration(s)
	return err == nil && d > 0
}

// direction is where an instant lies that is given as a duration from now.
type direction bool

const (
	ago   direction = false
	ahead direction = true
)

// readMoment reads an option that names an instant to look at, or at which something
// happened: RFC 3339, a duration from now, or a day, which is taken at its
// beginning, in a zone that is said.
func (p *program) readMoment(c *cli.Context, option, s string, d direction, zone zoneSource) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC(), nil
	}
	if length, err := config.ParseDuration(s); err == nil && length > 0 {
		if d == ago {
			length = -length
		}
		t := p.now().UTC().Add(time.Duration(length)).Truncate(time.Second)
		p.note("%s %s is taken as %s", option, s, t.Format(longTime))
		return t, nil
	}
	day, err := time.Parse(time.DateOnly, s)
	if err != nil {
		from := map[direction]string{ago: "ago", ahead: "from now"}[d]
		return time.Time{}, usagef("%s %q is no time; write 2027-01-31 (its beginning), 2027-01-31T18:00:00+08:00, or how long %s, as 24h or 30d", option, s, from)
	}
	in, err := zone(c)
	if err != nil {
		return time.Time{}, err
	}
	t := time.Date(day.Year(), day.Month(), day.Day(), 0, 0, 0, 0, in)
	p.note("%s is taken from its beginning in %s: %s", s, in, inZone(t))
	return t.UTC(), nil
}

// inZone shows an instant in its zone and, where that is another one, in UTC.
func inZone(t time.Time) string {
	if t.Location() == time.UTC {
		return t.Format(longTime)
	}
	return t.Format("2006-01-02 15:04:05 -07:00") + ", which is " + t.UTC().Format(longTime)
}

// zoneSource says in which zone a day is meant.
type zoneSource func(*cli.Context) (*time.Location, error)

// zoneHere is that of the environment, else UTC.
func (p *program) zoneHere(c *cli.Context) (*time.Location, error) {
	zone, err := p.readZone(c, true)
	if err == nil && zone == nil {
		zone = time.UTC
	}
	return zone, err
}

// zoneThere is that of the environment, else the daemon's.
func (p *program) zoneThere(c *cli.Context) (*time.Location, error) {
	if zone, err := p.readZone(c, true); zone != nil || err != nil {
		return zone, err
	}
	admin, err := p.client(c)
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	return zoneOf(c.Context, admin)
}

// zoneOf is the zone in which the daemon takes dates.
func zoneOf(ctx context.Context, admin *adminclient.Client) (*time.Location, error) {
	s, err := admin.Status(ctx)
	if err != nil {
		return nil, err
	}
	zone, err := config.ParseZone(cmp.Or(s.TimeZone, "UTC"))
	if err != nil {
		return nil, fmt.Errorf("time_zone of the daemon: %w", err)
	}
	return zone, nil
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

// zoneVariable names the zone of dates where --zone does not.
const zoneVariable = "LICENSECTL_ZONE"

// end is what --expires, --for and --perpetual say.
type end struct {
	at        *time.Time
	day       string         // --expires without a time: at follows once the zone is known
	zone      *time.Location // of day; nil for the daemon's
	in        string
	perpetual bool
}

func endFlags(from string) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "expires", Usage: "the end: `DATE` as 2027-01-31 (to its last second) or RFC 3339"},
		&cli.StringFlag{
			Name: "zone", Usage: "the time `ZONE` in which a DATE without a time is meant, as Asia/Shanghai (default: $" + zoneVariable +
				", else time_zone of the daemon)",
		},
		&cli.StringFlag{Name: "for", Usage: "a `DURATION` as 365d or 36h, counted from " + from},
		&cli.BoolFlag{Name: "perpetual", Usage: "no end"},
	}
}

// readEnd wants exactly one of the three. A day is settled later.
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
	if s := c.String("expires"); c.IsSet("expires") && isDuration(s) {
		if c.Command.Name != "issue" { // from now, or from the present end? One of them takes time away
			return end{}, usagef("--expires takes a date; write --for %s, which counts from the later of now and the present end", s)
		}
		e.in = s
		p.note("--expires %s is taken as --for %s: from now", s, s)
	} else if c.IsSet("expires") {
		at, day, err := parseEnd(c.String("expires"))
		if err != nil {
			return end{}, err
		}
		e.day = day
		if day == "" {
			e.at = &at
		}
	}
	if c.IsSet("zone") && e.day == "" {
		return end{}, usagef("--zone goes with --expires and a date without a time")
	}
	var err error
	e.zone, err = p.readZone(c, e.day != "")
	return e, err
}

// readZone is the zone that the command line or the environment names, nil
// where neither does or it is not asked for.
func (p *program) readZone(c *cli.Context, wanted bool) (*time.Location, error) {
	source, name := "--zone", c.String("zone")
	if !c.IsSet("zone") {
		source, name = zoneVariable, p.getenv(zoneVariable)
	}
	if !wanted || name == "" && source == zoneVariable {
		return nil, nil
	}
	zone, err := config.ParseZone(name)
	if err != nil {
		return nil, usagef("%s: %v", source, err)
	}
	return zone, nil
}

// settle takes a day to its end, and says in which zone.
func (p *program) settle(ctx context.Context, admin *adminclient.Client, e *end) error {
	if e.day == "" || e.at != nil {
		return nil
	}
	if e.zone == nil {
		var err error
		if e.zone, err = zoneOf(ctx, admin); err != nil {
			return err
		}
	}
	at, err := license.EndOfDay(e.day, e.zone)
	if refused, ok := errors.AsType[*license.Error](err); ok {
		return usagef("--expires: %s", refused.Detail)
	}
	e.at = &at
	p.note("%s is taken to its end in %s: %s", e.day, e.zone, inZone(at.In(e.zone)))
	return nil
}
