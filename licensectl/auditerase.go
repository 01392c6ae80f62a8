package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

func (p *program) auditHeadCommand() *cli.Command {
	return &cli.Command{
		Name: "head", Usage: "print how far the log goes, for safe keeping elsewhere", UsageText: "licensectl audit head",
		Description: "Prints SEQ:HASH of the last entry. Kept where the daemon's machine cannot write, it shows later that no entry\n" +
			"up to there was changed or cut off: licensectl audit verify --head.\n\n" +
			"Example:\n  licensectl audit head >>/mnt/elsewhere/audit-heads",
		Flags:  []cli.Flag{outputFlag(formTable, formJSON)},
		Action: p.auditHead,
	}
}

func (p *program) auditHead(c *cli.Context) error {
	_, f, admin, err := p.begin(c, []string{formTable, formJSON})
	if err != nil {
		return err
	}
	state, err := admin.AuditState(c.Context)
	if err != nil {
		return err
	}
	if f == formJSON {
		return writeJSON(p.out, state)
	}
	return p.say("%s", state.Head)
}

func (p *program) auditCheckpointCommand() *cli.Command {
	return &cli.Command{
		Name: "checkpoint", Usage: "have the log signed now", UsageText: "licensectl audit checkpoint",
		Description: "The daemon signs the log by itself: after 10,000 entries, each hour in which something was added, and when it stops.\n" +
			"The signed form goes into the log and, with -o json, to standard output.\n\n" +
			"Example:\n  licensectl audit checkpoint -o json >>/mnt/elsewhere/checkpoints.json",
		Flags:  []cli.Flag{yesFlag(), outputFlag(formTable, formJSON)},
		Action: p.auditCheckpoint,
	}
}

func (p *program) auditCheckpoint(c *cli.Context) error {
	_, f, admin, err := p.begin(c, []string{formTable, formJSON})
	if err != nil {
		return err
	}
	made, err := admin.Checkpoint(c.Context)
	switch {
	case err != nil:
		return err
	case f == formJSON:
		return writeJSON(p.out, made)
	case made.Checkpoint == nil:
		return p.say("the log is empty: nothing was signed")
	case !made.Changed:
		return p.say("nothing was added since the checkpoint of %s: it signs %s", when(&made.Checkpoint.At, ""), made.Checkpoint.Head)
	}
	return p.say("signed up to entry %d: %s", made.Checkpoint.Head.Seq, made.Checkpoint.Head)
}

func (p *program) auditEraseCommand() *cli.Command {
	return &cli.Command{
		Name: "erase", Usage: "take the personal data of a licence out of the log, for good",
		UsageText: "licensectl audit erase ID|CODE --reason R [--customer]",
		Description: "Takes network addresses, customers' names and notes out of all entries about the licence, and the reason of its\n" +
			"revocation out of the licence. The chain stays whole.\n" +
			"What staff did, and from where, stays. R stays in the log for good: the number of a request, no name.\n" +
			"Exports and backups that were made before still hold what is erased here.\n\n" +
			"Example:\n  licensectl audit erase lic_01k2m3n4p5q6r7s8t9v0w1x2y3 --reason 'request 17' --customer",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "reason", Usage: "`WHY`, for the log (required)"},
			&cli.BoolFlag{Name: "customer", Usage: "clear the licence's customer too"},
			yesFlag(), outputFlag(formTable, formJSON),
		},
		Action: p.auditErase,
	}
}

func (p *program) auditErase(c *cli.Context) error {
	reason := strings.TrimSpace(c.String("reason"))
	on, err := p.beginOn(c, []string{formTable, formJSON}, func(c *cli.Context) error {
		if reason == "" {
			return usagef("erase needs --reason")
		}
		return p.canAsk(c)
	})
	if err != nil {
		return err
	}
	if err := p.confirm(c, "Erase the personal data in the audit log about "+describe(on.license)+" for good?"); err != nil {
		return err
	}
	e, err := on.admin.Erase(c.Context, adminwire.Erase{License: on.license.ID, Reason: reason, Customer: c.Bool("customer")})
	switch {
	case err != nil:
		return err
	case on.form == formJSON:
		return writeJSON(p.out, e)
	case !e.Changed:
		return p.say("%s: there is no personal data to erase", e.License)
	}
	text := ""
	switch {
	case e.Customer && e.Reason:
		text = ", and the customer and the reason of its revocation from the licence"
	case e.Customer:
		text = ", and the customer from the licence"
	case e.Reason:
		text = ", and the reason of its revocation from the licence"
	}
	return p.say("%s: erased from %s up to entry %d%s", e.License, count(e.Entries, "entry", "entries"), e.To, text)
}
