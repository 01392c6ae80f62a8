package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

func (p *program) installCommand() *cli.Command {
	return &cli.Command{
		Name: "install", Category: "Licences", Usage: "look at the installed copies of a licence, and end them",
		UsageText: "licensectl install COMMAND [OPTIONS]",
		Description: "An install is one installed copy of the product: a key of its own, on a machine. Several on one\n" +
			"machine take one seat.",
		Subcommands: []*cli.Command{p.installListCommand(), p.installRemoveCommand()},
		Action:      unknownCommand,
	}
}

func (p *program) installListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list the installs of a licence, those in use first",
		UsageText: "licensectl install list ID|CODE [--live]",
		Description: "MACHINE numbers the machines; installs with one number share a seat. AGAIN is how often the machine had\n" +
			"been activated again within one lease. FORKS are signs of copies:\n" +
			"  chain        two holders of one install took turns, or its memory was set back\n" +
			"  retired      it was seen again after its end\n" +
			"  reactivated  its machine was activated again more often than machines need\n" +
			"  shared       another machine has its id, and uses its seat\n" +
			"CHANGES is how often it was bound anew because parts of its machine changed, and which the last time.\n\n" +
			"Example:\n  licensectl install list lic_01k2m3n4p5q6r7s8t9v0w1x2y3 --live",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "live", Usage: "only those in use"},
			outputFlag(formTable, formJSON, formCSV),
		},
		Action: p.installList,
	}
}

// installList is what install list prints as JSON.
type installList struct {
	LicenseID string              `json:"license_id"`
	Installs  []adminwire.Install `json:"installs"`
}

func (p *program) installList(c *cli.Context) error {
	on, err := p.beginOn(c, []string{formTable, formJSON, formCSV}, nil)
	if err != nil {
		return err
	}
	l := on.license
	machines := machineNumbers(l.Installs)
	list := installList{LicenseID: l.ID, Installs: slices.Clone(l.Installs)}
	if c.Bool("live") {
		list.Installs = slices.DeleteFunc(list.Installs, func(i adminwire.Install) bool { return i.State != license.InstallLive })
	}
	slices.SortStableFunc(list.Installs, func(a, b adminwire.Install) int {
		return cmp.Or(cmp.Compare(ended(a), ended(b)), timeOf(b.BoundAt).Compare(timeOf(a.BoundAt)))
	})
	switch on.form {
	case formJSON:
		if list.Installs == nil {
			list.Installs = []adminwire.Install{}
		}
		return writeJSON(p.out, list)
	case formCSV:
		return writeCSV(p.out, installRecords(list.Installs, machines)...)
	}
	if len(list.Installs) == 0 {
		p.note("%s has no install%s", l.ID, map[bool]string{true: " in use"}[c.Bool("live") && len(l.Installs) > 0])
		return nil
	}
	t := newTable("~INSTALL", "STATE", "MACHINE", "SEEN (UTC)", "AGAIN", "FORKS", "CHANGES")
	for _, i := range list.Installs {
		t.add(i.ID, string(i.State), machineCell(i, machines), whenShort(i.SeenAt, ""),
			positive(i.Reactivation), forkText(i.ForkKinds), changeText(i.Drift))
	}
	return t.flush(p.out)
}

// machineNumbers numbers the seats in the order in which they were first taken.
func machineNumbers(installs []adminwire.Install) map[string]int {
	byTime := slices.Clone(installs)
	slices.SortStableFunc(byTime, func(a, b adminwire.Install) int { return timeOf(a.BoundAt).Compare(timeOf(b.BoundAt)) })
	numbers := make(map[string]int)
	for _, i := range byTime {
		if i.OnMachine() && numbers[i.Seat] == 0 {
			numbers[i.Seat] = len(numbers) + 1
		}
	}
	return numbers
}

// machineNumber is the number of the machine that an install is on.
func machineNumber(i adminwire.Install, machines map[string]int) string {
	if !i.OnMachine() {
		return string(license.InstallText)
	}
	return strconv.Itoa(machines[i.Seat])
}

func machineCell(i adminwire.Install, machines map[string]int) string {
	text := machineNumber(i, machines)
	if i.Environment != "" {
		text += " " + i.Environment
	}
	return text
}

// ended sorts the installs in use before the others.
func ended(i adminwire.Install) int {
	if i.State == license.InstallLive {
		return 0
	}
	return 1
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// positive shows a number that is worth to be shown.
func positive(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// forkText is as "2 chain, 1 retired".
func forkText(forks []adminwire.Fork) string {
	var list []string
	for _, f := range forks {
		list = append(list, fmt.Sprintf("%d %s", f.Count, f.Kind))
	}
	return strings.Join(list, ", ")
}

// changeText is as "2 (mac, disk)".
func changeText(d *adminwire.Drift) string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf("%d (%s)", d.Count, kindText(d.Kinds, ", "))
}

func kindText(kinds []license.Kind, separator string) string {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		names[i] = string(k)
	}
	return strings.Join(names, separator)
}

func installRecords(installs []adminwire.Install, machines map[string]int) [][]string {
	records := [][]string{{
		"id", "state", "seat", "machine", "environment", "bound", "bound_at", "seen_at", "ended_at", "lease_until", "reactivation",
		"forks", "fork_kinds", "drifts", "drift_at", "drift_kinds",
	}}
	for _, i := range installs {
		d := adminwire.Drift{}
		var driftAt *time.Time
		if i.Drift != nil {
			d, driftAt = *i.Drift, &i.Drift.At
		}
		records = append(records, []string{
			i.ID, string(i.State), i.Seat, machineNumber(i, machines), i.Environment, kindText(i.Bound, " "),
			csvTime(i.BoundAt), csvTime(i.SeenAt), csvTime(i.EndedAt), csvTime(i.LeaseUntil), strconv.Itoa(i.Reactivation),
			strconv.Itoa(i.Forks), forkText(i.ForkKinds), strconv.Itoa(d.Count), csvTime(driftAt), kindText(d.Kinds, " "),
		})
	}
	return records
}

// forksOf sums a licence's forks up, "" where there are none.
func forksOf(l adminwire.License) string {
	if l.Forks == 0 {
		return ""
	}
	counts := make(map[license.ForkKind]int)
	for _, i := range l.Installs {
		for _, f := range i.ForkKinds {
			counts[f.Kind] += f.Count
		}
	}
	var kinds []string
	for _, kind := range license.ForkKinds() {
		if counts[kind] > 0 {
			kinds = append(kinds, fmt.Sprintf("%d %s", counts[kind], kind))
		}
	}
	return fmt.Sprintf("%s, the last %s; see licensectl install list", strings.Join(kinds, ", "), when(l.ForkedAt, ""))
}

// changesOf sums up how the machines of a licence in use changed.
func changesOf(l adminwire.License) string {
	n, unproven := 0, 0
	var last adminwire.Drift
	for _, i := range l.Installs {
		if d := i.Drift; d != nil && i.State == license.InstallLive {
			n, unproven = n+d.Count, unproven+d.Unproven
			if d.At.After(last.At) {
				last = *d
			}
		}
	}
	if n == 0 {
		return ""
	}
	text := fmt.Sprintf("%d, the last %s (%s)", n, when(&last.At, ""), kindText(last.Kinds, ", "))
	if unproven > 0 {
		text += "; " + count(unproven, "part is", "parts are") + " still too new to prove the machine"
	}
	return text
}

// againOf is how often the machine that was activated again most often was.
func againOf(l adminwire.License) string {
	most := 0
	for _, i := range l.Installs {
		if i.State == license.InstallLive {
			most = max(most, i.Reactivation)
		}
	}
	if most == 0 {
		return ""
	}
	return fmt.Sprintf("up to %d on one machine within one lease", most)
}
