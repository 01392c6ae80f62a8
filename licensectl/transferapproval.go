package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// transferApprovals are the commands about moves that wait for the staff.
func (p *program) transferApprovals() []*cli.Command {
	return []*cli.Command{
		{
			Name: "list", Usage: "list the moves that were asked for", UsageText: "licensectl transfer list [ID|CODE]",
			Description: "A product's transfers.approval has moves wait for you. A move is forgotten after 30 days.\n\n" +
				"Example:\n  licensectl transfer list",
			Flags: []cli.Flag{outputFlag(formTable, formJSON, formCSV)}, Action: p.transferList,
		},
		p.decideCommand("approve", "let a machine have the licence", "The next try of that machine succeeds, once, while the approval lasts (transfers.approval_for).",
			(*adminclient.Client).ApproveTransfer),
		p.decideCommand("deny", "refuse a machine the licence", "The machine is told so for 30 days.", (*adminclient.Client).DenyTransfer),
	}
}

func (p *program) decideCommand(name, usage, description string,
	do func(*adminclient.Client, context.Context, string, adminwire.DecideTransfer) (adminwire.Decided, error),
) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, UsageText: "licensectl transfer " + name + " ID|CODE [--request R] [--reason WHY]",
		Description: description + " Without --request the only move that waits is meant.\n\n" +
			"Example:\n  licensectl transfer " + name + " lic_01k2m3n4p5q6r7s8t9v0w1x2y3 --reason 'asked by mail'",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "request", Usage: "which move, by its `ID` in licensectl transfer list"},
			&cli.StringFlag{Name: "reason", Usage: "`WHY`, for the audit log"},
			yesFlag(), outputFlag(formTable, formJSON),
		},
		Action: func(c *cli.Context) error {
			on, err := p.beginOn(c, []string{formTable, formJSON}, nil)
			if err != nil {
				return err
			}
			l := on.license
			d := adminwire.DecideTransfer{Request: c.String("request"), Reason: strings.TrimSpace(c.String("reason"))}
			decided, err := do(on.admin, c.Context, l.ID, d)
			switch {
			case err != nil:
				return fmt.Errorf("transfer %s %s: %w", name, l.ID, err)
			case on.form == formJSON:
				return writeJSON(p.out, decided)
			case !decided.Changed:
				return p.say("%s %s is %s already: nothing changed", l.ID, decided.Transfer.ID, decided.Transfer.State)
			}
			return p.say("%s %s %s, until %s", l.ID, decided.Transfer.ID, decided.Transfer.State, when(decided.Transfer.Until, ""))
		},
	}
}

func (p *program) transferList(c *cli.Context) error {
	f, err := form(c, formTable, formJSON, formCSV)
	if err != nil {
		return err
	}
	if c.NArg() > 1 {
		_, err := arguments(c, licenseName)
		return err
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	o := adminclient.TransferOptions{Limit: maxBatch}
	if c.NArg() == 1 {
		l, err := lookup(c.Context, admin, c.Args().First())
		if err != nil {
			return err
		}
		o.License = l.ID
	}
	list, _, err := everyPage("", true, "moves", func(cursor string) ([]adminwire.Transfer, string, error) {
		o.Cursor = cursor
		page, err := admin.Transfers(c.Context, o)
		return page.Transfers, page.Next, err
	})
	if err != nil {
		return err
	}
	return p.printTransfers(f, adminwire.TransferList{Transfers: list})
}

func (p *program) printTransfers(f string, all adminwire.TransferList) error {
	if f == formJSON {
		return writeJSON(p.out, all)
	}
	if f == formCSV {
		records := [][]string{{"id", "license", "state", "asked_at", "addr", "until", "note"}}
		for _, t := range all.Transfers {
			records = append(records, []string{t.ID, t.License, string(t.State), csvTime(t.AskedAt), t.Addr, csvTime(t.Until), t.Note})
		}
		return writeCSV(p.out, records...)
	}
	if len(all.Transfers) == 0 {
		p.note("no move was asked for")
		return nil
	}
	t := newTable("REQUEST", "LICENCE", "STATE", "ASKED (UTC)", "~FROM", "UNTIL (UTC)")
	for _, r := range all.Transfers {
		t.add(r.ID, r.License, string(r.State), whenShort(r.AskedAt, ""), r.Addr, whenShort(r.Until, ""))
	}
	return t.flush(p.out)
}
