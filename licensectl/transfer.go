package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

func (p *program) transferCommand() *cli.Command {
	return &cli.Command{
		Name: "transfer", Category: "Licences", Usage: "free the seat of one machine, so that the licence can move to another",
		UsageText: "licensectl transfer ID|CODE [INSTALL] [--force] [--reason R]\nlicensectl transfer COMMAND",
		Description: "For a customer whose old machine is gone or broken. What is installed on it ends, and the customer activates with the " +
			"code on the new one. INSTALL, or the beginning of its id, names one on the machine that is left; it may be left out where the " +
			"licence is in use on one machine only. It counts as a transfer, as the customer's own would, and the product's limits for " +
			"transfers hold; --force approves one beyond them, which is recorded. Use install remove to end a single copy and to let the " +
			"next activation be judged by itself. The commands are about moves that customers have asked for and that wait for approval.\n\n" +
			"Examples:\n" +
			"  licensectl transfer lic_01k2m3n4p5q6r7s8t9v0w1x2y3 --reason 'the disk is broken'\n" +
			"  licensectl transfer lic_01k2m3n4p5q6r7s8t9v0w1x2y3 x7Qp --force",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "force", Usage: "approve it even beyond the product's limits for transfers"},
			&cli.StringFlag{Name: "reason", Usage: "`WHY`, for the audit log"},
			yesFlag(), outputFlag(formTable, formJSON),
		},
		Subcommands: p.transferApprovals(), Action: p.transfer,
	}
}

func (p *program) transfer(c *cli.Context) error {
	var names []string
	if c.NArg() > 1 {
		names = append(names, installName)
	}
	on, err := p.beginOn(c, []string{formTable, formJSON}, p.canAsk, names...)
	if err != nil {
		return err
	}
	l := on.license
	t := adminwire.MoveOff{Force: c.Bool("force"), Reason: strings.TrimSpace(c.String("reason"))}
	what := "its machine"
	if len(on.args) > 0 {
		i, err := installNamed("transfer", l, on.args[0])
		if err != nil {
			return err
		}
		t.Install, what = i.ID, "the machine of install "+i.ID
	} else if n := seatsTaken(l); n == 0 {
		return usagef("%s is in use on no machine: it can be activated on any", l.ID)
	} else if n > 1 {
		return usagef("%s is in use on %s: name an INSTALL on the one that is left; see licensectl install list %s",
			l.ID, count(n, "machine", "machines"), l.ID)
	}
	if err := p.confirm(c, fmt.Sprintf("Take %s off %s, for another?", describe(l), what)); err != nil {
		return err
	}
	done, err := on.admin.MoveOff(c.Context, l.ID, t)
	switch {
	case errors.Is(err, license.TransferLimit) && !t.Force:
		return fmt.Errorf("transfer %s without --force: %w", l.ID, err)
	case err != nil:
		return fmt.Errorf("transfer %s: %w", l.ID, err)
	case on.form == formJSON:
		return writeJSON(p.out, done)
	case !done.Changed:
		return p.say("%s: the install has ended already: nothing changed", l.ID)
	}
	text := ""
	if done.Forced {
		text = ", beyond the limits for transfers"
	}
	return p.say("%s can be activated on another machine%s; ended: %s", l.ID, text, strings.Join(done.Ended, ", "))
}
