package main

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// clocksApart is how far the clocks of daemons on one store differ without a warning.
const clocksApart = 5 * time.Second

// daemonName is what a daemon is called among people.
func daemonName(d adminwire.DaemonLine) string { return oneLine(cmp.Or(d.Host, d.ID)) }

// daemonText is a daemon in a line.
func daemonText(d adminwire.DaemonLine) string {
	text := fmt.Sprintf("%s, %s, since %s", daemonName(d), oneLine(cmp.Or(d.Version, "unknown version")), when(&d.StartedAt, "?"))
	if d.Self {
		return text + ", this one"
	}
	return text + ", last seen " + when(&d.SeenAt, "?")
}

// daemonChecks are about the daemons on one database.
func daemonChecks(s adminwire.Status) []check {
	if len(s.Daemons) == 0 {
		return nil
	}
	versions := make(map[string]bool)
	var each []string
	var clocks []check
	for _, d := range s.Daemons {
		versions[d.Version] = true
		each = append(each, daemonName(d)+" "+oneLine(d.Version))
		off := time.Duration(d.ClockAhead) * time.Millisecond
		if off.Abs() <= clocksApart {
			continue
		}
		way := "ahead of"
		if off < 0 {
			way = "behind"
		}
		clocks = append(clocks, check{
			"daemon clocks", checkWarn, fmt.Sprintf("the clock of %s is at least %s %s that of %s", daemonName(d), roughly(off.Abs()), way, daemonName(s.Daemons[0])),
			"let a time server set both",
		})
	}
	all := strings.Join(each, ", ")
	list := []check{{Name: "daemons", Result: checkOK, Detail: count(len(s.Daemons), "daemon", "daemons") + " on the database: " + all}}
	if len(versions) > 1 {
		list = append(list, check{
			"daemon versions", checkWarn, "the daemons on the database are of different versions: " + all,
			"that is as it should be during an upgrade; finish it",
		})
	}
	return append(list, clocks...)
}
