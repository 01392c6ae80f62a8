package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

func (p *program) marketplaceCommand() *cli.Command {
	return &cli.Command{
		Name: "marketplace", Category: "Service", Usage: "see how the marketplace entries are doing, and keep them so",
		UsageText: "licensectl marketplace COMMAND [OPTIONS]",
		Description: "NAME is that of an entry under marketplaces in the daemon's configuration; where there is only one, it\n" +
			"may be left out.",
		Subcommands: []*cli.Command{p.marketplaceStatusCommand(), p.marketplaceSyncCommand(), p.outboxCommand()},
		Action:      unknownCommand,
	}
}

func (p *program) marketplaceStatusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "say what endangers the products on sale, and what to do about it",
		UsageText: "licensectl marketplace status [NAME]\nlicensectl marketplace status [NAME] --self-test [--url ADDRESS]",
		Description: "The marketplace probes twice a day, and freezes trading after 5 days in a row on which a probe failed.\n" +
			"Exits 1 where something will come to that. A probe cannot be told from a debug call of the seller console.\n" +
			"With --self-test the daemon sends itself a signed debug call of each kind, over its own public listener, and says what the " +
			"marketplace would see. That changes nothing and is not counted. With --url it calls that address instead, as the\n" +
			"marketplace has it, through whatever stands before the daemon.\n\n" +
			"Examples:\n  licensectl marketplace status\n  licensectl marketplace status koogallery --self-test -o json\n" +
			"  licensectl marketplace status koogallery --self-test --url https://licence.example.com",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "self-test", Usage: "send debug calls through the public listener"},
			&cli.StringFlag{Name: "url", Usage: "with --self-test: call this public `ADDRESS`, as it stands in the seller console"},
			outputFlag(formTable, formJSON),
		},
		Action: p.marketplaceStatus,
	}
}

// oneName is the argument of a command that may go without; "" is none.
func oneName(c *cli.Context) (string, error) {
	given := c.Args().Slice()
	switch {
	case len(given) > 1:
		return "", usagef("%s does not know what to do with %q; see %s --help", c.Command.Name, given[1], commandName(c))
	case len(given) == 1 && strings.TrimSpace(given[0]) == "":
		return "", usagef("%s needs the NAME of a marketplace entry, or none", c.Command.Name)
	case len(given) == 1:
		return given[0], nil
	}
	return "", nil
}

// entries are the names that a command is about: the one that was given, or all.
func entries(c *cli.Context, admin *adminclient.Client, name string) ([]string, error) {
	if name != "" {
		return []string{name}, nil
	}
	s, err := admin.Status(c.Context)
	if err != nil {
		return nil, err
	}
	if len(s.Channels) == 0 {
		return nil, usagef("the daemon's configuration has no marketplaces")
	}
	return s.Channels, nil
}

func (p *program) marketplaceStatus(c *cli.Context) error {
	name, err := oneName(c)
	if err != nil {
		return err
	}
	f, err := form(c, formTable, formJSON)
	if err != nil {
		return err
	}
	if c.IsSet("url") && !c.Bool("self-test") {
		return usagef("--url goes with --self-test")
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	if c.Bool("self-test") {
		return p.selfTests(c, f, admin, name)
	}
	var list adminwire.MarketplaceList
	if name == "" {
		list, err = admin.Marketplaces(c.Context)
	} else {
		var one adminwire.Marketplace
		one, err = admin.Marketplace(c.Context, name)
		list.Marketplaces = []adminwire.Marketplace{one}
	}
	if err != nil {
		return err
	}
	if f == formJSON {
		err = writeJSON(p.out, list)
	} else {
		err = p.printMarketplaces(list.Marketplaces)
	}
	if err != nil {
		return err
	}
	var failing []string
	for _, m := range list.Marketplaces {
		if m.Level == adminwire.LevelFail {
			failing = append(failing, m.Channel)
		}
	}
	if len(failing) > 0 {
		return &statusError{status: exitFailed, text: "left alone, this leads to a delisting: " + strings.Join(failing, ", ")}
	}
	return nil
}

// selfTestList is what status --self-test prints as JSON.
type selfTestList struct {
	SelfTests []adminwire.SelfTest `json:"self_tests"`
}

func (p *program) selfTests(c *cli.Context, f string, admin *adminclient.Client, name string) error {
	names, err := entries(c, admin, name)
	if err != nil {
		return err
	}
	if c.IsSet("url") && len(names) > 1 {
		return usagef("--url is the address of one marketplace entry: name it")
	}
	out := selfTestList{SelfTests: []adminwire.SelfTest{}}
	var failing []string
	for _, name := range names {
		t, err := admin.SelfTest(c.Context, name, c.String("url"))
		if err != nil {
			return fmt.Errorf("self-test of %s: %w", name, err)
		}
		if out.SelfTests = append(out.SelfTests, t); !t.OK {
			failing = append(failing, name)
		}
	}
	if f == formJSON {
		err = writeJSON(p.out, out)
	} else {
		err = p.printSelfTests(out.SelfTests)
	}
	if err == nil && len(failing) > 0 {
		err = &statusError{status: exitFailed, text: "the marketplace's probes would fail: " + strings.Join(failing, ", ")}
	}
	return err
}

func (p *program) printSelfTests(list []adminwire.SelfTest) error {
	for i, t := range list {
		if i > 0 {
			if err := p.say(""); err != nil {
				return err
			}
		}
		var f fields
		f.add("marketplace", t.Channel)
		f.add("address", t.URL)
		f.add("connected to", cmp.Or(t.Listener, "that address"))
		switch {
		case t.TLS != nil:
			f.add("TLS", fmt.Sprintf("%s, certificate for %s until %s", t.TLS.Version, cmp.Or(strings.Join(t.TLS.Names, ", "), "no name"), when(&t.TLS.NotAfter, "")))
		case strings.HasPrefix(t.URL, "http:"):
			f.add("TLS", "not tested: the listener speaks plain text, and a proxy before it was not asked")
		}
		if err := f.write(p.out); err != nil {
			return err
		}
		table := newTable("CALL", "ACTIVITY", "KEY", "RESULT", "TOOK", "~SAYS")
		for _, c := range t.Calls {
			took := "-"
			if c.HTTPStatus != 0 {
				took = fmt.Sprintf("%d ms", c.Milliseconds)
			}
			table.add(c.Method, c.Activity, fmt.Sprint(c.Key), cmp.Or(c.Result, "-"), took, cmp.Or(c.Failure, "a success"))
		}
		if err := p.say(""); err != nil {
			return err
		}
		if err := table.flush(p.out); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) marketplaceSyncCommand() *cli.Command {
	return &cli.Command{
		Name: "sync", Usage: "compare all codes with what the marketplace says, now, and repair what differs",
		UsageText: "licensectl marketplace sync [NAME]",
		Description: "This is what the daemon does by itself once a day (sync.daily), done at once. What was set by hand here\n" +
			"stays as it is. Exits 1 where the marketplace said nothing that can be believed of a code.\n\n" +
			"Example:\n  licensectl marketplace sync koogallery",
		Flags:  []cli.Flag{yesFlag(), outputFlag(formTable, formJSON, formCSV)},
		Action: p.marketplaceSync,
	}
}

// syncReport is what marketplace sync prints as JSON.
type syncReport struct {
	Syncs []adminwire.Synced `json:"syncs"`
}

func (p *program) marketplaceSync(c *cli.Context) error {
	name, err := oneName(c)
	if err != nil {
		return err
	}
	f, err := form(c, formTable, formJSON, formCSV)
	if err != nil {
		return err
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	names, err := entries(c, admin, name)
	if err != nil {
		return err
	}
	report := syncReport{Syncs: []adminwire.Synced{}}
	var failure error
	without := 0 // an open API
	for _, name := range names {
		done, err := p.syncOne(c, admin, name)
		if err != nil && len(names) > 1 && license.ReasonOf(err) == license.NotFound {
			without++
			continue
		}
		if done.Run != "" {
			report.Syncs = append(report.Syncs, done)
		}
		if err != nil {
			failure = errors.Join(failure, fmt.Errorf("compare the codes of %s, after %d: %w", name, done.Total.Checked, err))
		}
	}
	if err := p.printSync(f, report); err != nil {
		return err
	}
	if without == len(names) {
		return license.Errorf(license.NotFound, "none of the marketplace entries has an open API (%s)", strings.Join(names, ", "))
	}
	failed := 0
	for _, s := range report.Syncs {
		failed += s.Total.Failed
	}
	if failure == nil && failed > 0 {
		return &statusError{status: exitFailed, text: "the marketplace said nothing that can be believed of " + count(failed, "code", "codes")}
	}
	return failure
}

// syncOne runs a comparison to its end. What it returns holds the differences of
// all steps.
func (p *program) syncOne(c *cli.Context, admin *adminclient.Client, name string) (adminwire.Synced, error) {
	progress := p.progress("%s: %d codes compared, %d repaired")
	defer progress.done()
	out := adminwire.Synced{Channel: name}
	all := []adminwire.Difference{}
	for {
		step, err := admin.Sync(c.Context, name, out.Run)
		if err != nil {
			return out, err
		}
		all = append(all, step.Step...)
		out, out.Step = step, all
		if step.Done {
			return out, nil
		}
		progress.show(name, step.Total.Checked, step.Total.Repaired)
	}
}

func (p *program) printSync(f string, report syncReport) error {
	switch f {
	case formJSON:
		return writeJSON(p.out, report)
	case formCSV:
		records := [][]string{{"channel", "license", "outcome", "before", "after", "failure"}}
		for _, s := range report.Syncs {
			for _, d := range s.Step {
				records = append(records, []string{s.Channel, d.License, d.Outcome, factsText(d.Before), factsText(d.After), d.Failure})
			}
		}
		return writeCSV(p.out, records...)
	}
	for _, s := range report.Syncs {
		for _, d := range s.Step {
			if err := p.say("%s  %-8s  %s", d.License, d.Outcome, printable(changesText(d))); err != nil {
				return err
			}
		}
		if err := p.say("%s: %s", s.Channel, countsText(s.Total)); err != nil {
			return err
		}
	}
	return nil
}

// changesText is what differs: as it was here, and as the marketplace says.
func changesText(d adminwire.Difference) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(d.After)) {
		parts = append(parts, fmt.Sprintf("%s %s → %s", name, factText(d.Before[name]), factText(d.After[name])))
	}
	return cmp.Or(strings.Join(parts, ", "), d.Failure)
}

// factsText is one side of it, in the order of the names.
func factsText(facts map[string]any) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(facts)) {
		parts = append(parts, name+"="+factText(facts[name]))
	}
	return strings.Join(parts, " ")
}

func factText(v any) string {
	if v == nil || v == "" {
		return "none"
	}
	return fmt.Sprint(v)
}

// marketplaceChecks are what doctor says of the marketplace entries, in one line
// each.
func marketplaceChecks(s adminwire.Status) (list []check) {
	for _, m := range s.Marketplaces {
		result := map[string]string{adminwire.LevelWarn: checkWarn, adminwire.LevelFail: checkFail}[m.Level]
		if result == "" || len(m.Problems) == 0 {
			list = append(list, check{Name: "marketplace", Result: checkOK, Detail: m.Channel + ": nothing endangers it"})
			continue
		}
		detail := m.Channel + ": " + m.Problems[0]
		if more := len(m.Problems) - 1; more > 0 {
			detail += fmt.Sprintf(", and %d more", more)
		}
		list = append(list, check{"marketplace", result, detail, "see licensectl marketplace status " + m.Channel})
	}
	return list
}
