package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// outboxFlags are those of the list, which goes by two names.
func outboxFlags() []cli.Flag {
	return append([]cli.Flag{
		&cli.BoolFlag{Name: "parked", Usage: "only those that were given up"},
		&cli.StringFlag{Name: "kind", Usage: "only of this `KIND`: order, deliver, check, usage"},
		&cli.StringFlag{Name: "channel", Usage: "only for this marketplace `ENTRY`"},
		&cli.StringFlag{Name: "license", Usage: "only about this licence, by `ID`"},
	}, pageFlags()...)
}

func (p *program) outboxCommand() *cli.Command {
	return &cli.Command{
		Name: "outbox", Usage: "see which calls to the marketplace are still to be made, and have them tried again",
		UsageText: "licensectl marketplace outbox [list] [--parked]\nlicensectl marketplace outbox retry ID…|--all-parked\nlicensectl marketplace outbox drop ID",
		Description: "A call that fails is tried again by itself, 20 times within about half a day, and then parked: given up\n" +
			"until you have it tried again or drop it.",
		Flags: outboxFlags(),
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list them, oldest first", UsageText: "licensectl marketplace outbox list [OPTIONS]",
				Description: "Example:\n  licensectl marketplace outbox list --parked -o csv",
				Flags:       outboxFlags(), Before: optionsLast, Action: p.outboxList,
			},
			{
				Name: "retry", Usage: "have them tried again at once, with all their tries",
				UsageText:   "licensectl marketplace outbox retry ID…\nlicensectl marketplace outbox retry --all-parked [--channel ENTRY]",
				Description: "Example:\n  licensectl marketplace outbox retry --all-parked",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "all-parked", Usage: "all that were given up"},
					&cli.StringFlag{Name: "channel", Usage: "with --all-parked: only those for this marketplace `ENTRY`"},
					yesFlag(), outputFlag(formTable, formJSON),
				},
				Before: optionsLast, Action: p.outboxRetry,
			},
			{
				Name: "drop", Usage: "give one up for good", UsageText: "licensectl marketplace outbox drop ID",
				Description: "What it was to do is not done: a licence is not delivered, an order not read. The audit log keeps it.\n\n" +
					"Example:\n  licensectl marketplace outbox drop job_01k2m3n4p5q6r7s8t9v0w1x2y3 --yes",
				Flags: []cli.Flag{yesFlag(), outputFlag(formTable, formJSON)}, Before: optionsLast, Action: p.outboxDrop,
			},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return unknownCommand(c)
			}
			return p.outboxList(c)
		},
	}
}

// optionsLast refuses options between a group that has some of its own and a
// command of it: they would have no effect.
func optionsLast(c *cli.Context) error {
	if group := c.Lineage()[1]; group.NumFlags() > 0 {
		return usagef("the options of %s stand after it", commandName(c))
	}
	return nil
}

func (p *program) outboxList(c *cli.Context) error {
	o := adminclient.JobOptions{
		Kind: license.JobKind(c.String("kind")), Channel: c.String("channel"), License: c.String("license"),
		Limit: c.Int("limit"), Cursor: c.String("cursor"),
	}
	if c.Bool("parked") {
		o.State = license.JobParked
	}
	if err := checkLimit(c); err != nil {
		return err
	}
	_, f, admin, err := p.begin(c, []string{formTable, formJSON, formCSV})
	if err != nil {
		return err
	}
	var list adminwire.JobList
	list.Jobs, list.Next, err = everyPage(o.Cursor, c.Bool("all"), "jobs", func(cursor string) ([]adminwire.Job, string, error) {
		o.Cursor = cursor
		page, err := admin.Jobs(c.Context, o)
		return page.Jobs, page.Next, err
	})
	if err != nil {
		return err
	}
	if err := p.printJobs(f, list); err != nil {
		return fmt.Errorf("print the list: %w", err)
	}
	switch {
	case len(list.Jobs) == 0 && o.State == license.JobParked:
		p.note("nothing was given up")
	case len(list.Jobs) == 0:
		p.note("there is nothing to do")
	case f != formJSON:
		p.noteNext(list.Next)
	}
	return nil
}

func (p *program) printJobs(f string, list adminwire.JobList) error {
	switch f {
	case formJSON:
		return writeJSON(p.out, list)
	case formCSV:
		records := [][]string{{"id", "kind", "state", "channel", "license", "key", "created_at", "due_at", "attempts", "failure", "failed_at", "parked_at"}}
		for _, j := range list.Jobs {
			records = append(records, []string{
				j.ID, string(j.Kind), string(j.State), j.Channel, j.License, j.Key, csvTime(&j.CreatedAt), csvTime(j.DueAt),
				strconv.Itoa(j.Attempts), j.Failure, csvTime(j.FailedAt), csvTime(j.ParkedAt),
			})
		}
		return writeCSV(p.out, records...)
	}
	if len(list.Jobs) == 0 {
		return nil
	}
	t := newTable("JOB", "KIND", "STATE", "SINCE (UTC)", "NEXT (UTC)", "TRIES", "~FAILURE")
	for _, j := range list.Jobs {
		t.add(j.ID, string(j.Kind), string(j.State), whenShort(&j.CreatedAt, ""), whenShort(j.DueAt, "-"), strconv.Itoa(j.Attempts), j.Failure)
	}
	return t.flush(p.out)
}

// retryBatch is how many jobs are named in one call.
const retryBatch = 100

func (p *program) outboxRetry(c *cli.Context) error {
	ids := c.Args().Slice()
	all := c.Bool("all-parked")
	switch {
	case all == (len(ids) > 0):
		return usagef("retry needs the ids of jobs, or --all-parked; see %s --help", commandName(c))
	case c.String("channel") != "" && !all:
		return usagef("--channel goes with --all-parked")
	}
	f, err := form(c, formTable, formJSON)
	if err != nil {
		return err
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	done, err := retryAll(c, admin, ids)
	if err != nil {
		if done.Retried > 0 {
			err = fmt.Errorf("%s tried again, then: %w", count(done.Retried, "job is", "jobs are"), err)
		}
		return err
	}
	if f == formJSON {
		return writeJSON(p.out, done)
	}
	if done.Retried == 0 {
		return p.say("nothing was given up: nothing changed")
	}
	return p.say("%s tried again at once", count(done.Retried, "job is", "jobs are"))
}

// retryAll has the jobs tried again, all parked ones where none is named.
func retryAll(c *cli.Context, admin *adminclient.Client, ids []string) (adminwire.RetriedJobs, error) {
	total := adminwire.RetriedJobs{Jobs: []adminwire.Job{}}
	for {
		r := adminwire.RetryJobs{Jobs: ids[:min(len(ids), retryBatch)]}
		if len(r.Jobs) == 0 {
			r = adminwire.RetryJobs{AllParked: true, Channel: c.String("channel")}
		}
		ids = ids[len(r.Jobs):]
		done, err := admin.RetryJobs(c.Context, r)
		if err != nil {
			return total, err
		}
		total.Retried += done.Retried
		total.Jobs = append(total.Jobs, done.Jobs...)
		if !done.More && len(ids) == 0 {
			return total, nil
		}
	}
}

func (p *program) outboxDrop(c *cli.Context) error {
	args, f, err := commandLine(c, []string{formTable, formJSON}, "the ID of a job")
	if err != nil {
		return err
	}
	if strings.TrimSpace(args[0]) == "" {
		return usagef("drop needs the ID of a job; see licensectl marketplace outbox")
	}
	if err := p.canAsk(c); err != nil {
		return err
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	if err := p.confirm(c, fmt.Sprintf("Drop %s? What it was to do is not done.", printable(args[0]))); err != nil {
		return err
	}
	j, err := admin.DropJob(c.Context, args[0])
	switch {
	case err != nil:
		return err
	case f == formJSON:
		return writeJSON(p.out, j)
	}
	return p.say("%s (%s) is dropped", j.ID, j.Kind)
}
