package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

func (p *program) orderAddCommand() *cli.Command {
	return &cli.Command{
		Name: "add", Usage: "record an order that you know from the seller console",
		UsageText: "licensectl order add ORDER [OPTIONS]",
		Description: "The same again changes nothing.\n\n" +
			"Example:\n  licensectl order add CS2211181819B4LVS --stage awaiting_code --customer 'Example Ltd'",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "line", Usage: "the order's line, by `ID`, where it has several"},
			&cli.StringFlag{Name: "channel", Usage: "the marketplace `ENTRY` of the order, or manual; default: the only entry"},
			&cli.StringFlag{Name: "product", Usage: "what was ordered, by the marketplace's `ID`"},
			&cli.IntFlag{Name: "amount", Usage: "the ordered `NUMBER`"},
			&cli.StringFlag{Name: "customer", Usage: "`NAME` of the buyer"},
			&cli.StringFlag{Name: "ordered", Usage: "`WHEN` it was placed: 2027-01-31 (its beginning, UTC) or RFC 3339"},
			&cli.StringFlag{Name: "stage", Usage: "the `STAGE` that it is in: " + stageNames(), Value: string(license.StageToDeliver)},
			&cli.StringFlag{Name: "license", Usage: "the licence that was made for it, by `ID` or code"},
			&cli.StringFlag{Name: "note", Usage: "a `TEXT` for its history"},
			yesFlag(), outputFlag(formTable, formJSON),
		},
		Action: p.orderAdd,
	}
}

func (p *program) orderAdd(c *cli.Context) error {
	add := adminwire.AddOrder{
		Channel: c.String("channel"), Line: c.String("line"), Offer: c.String("product"), Amount: c.Int("amount"), Customer: c.String("customer"),
		License: c.String("license"), Note: strings.TrimSpace(c.String("note")),
	}
	if c.IsSet("amount") && add.Amount < 1 {
		return usagef("--amount must be 1 or more")
	}
	if c.IsSet("stage") {
		stage, err := readStage(c, c.String("stage"))
		if err != nil {
			return err
		}
		add.Stage = stage
	}
	if s := c.String("ordered"); s != "" {
		at, err := parseTime("--ordered", s)
		if err != nil {
			return err
		}
		add.OrderedAt = &at
	}
	args, f, admin, err := p.begin(c, []string{formTable, formJSON}, "the id of an ORDER")
	if err != nil {
		return err
	}
	add.Order = args[0]
	edited, err := admin.AddOrder(c.Context, add)
	if err != nil {
		return orderError("add", args[0], err)
	}
	return p.editedOrder(f, edited, "added, "+string(edited.Order.Stage), "is known already")
}

func (p *program) editedOrder(f string, edited adminwire.OrderEdited, done, same string) error {
	if f == formJSON {
		return writeJSON(p.out, edited)
	}
	if !edited.Changed {
		return p.say("%s %s: nothing changed", printable(orderName(edited.Order)), same)
	}
	if err := p.say("%s %s", printable(orderName(edited.Order)), done); err != nil {
		return err
	}
	for _, w := range edited.Order.Warnings {
		p.note("%s", w.Text)
	}
	return nil
}

func (p *program) orderStageCommand() *cli.Command {
	return &cli.Command{
		Name: "stage", Usage: "say where an order stands by now",
		UsageText: "licensectl order stage ORDER STAGE [--note TEXT] [--correct]",
		Description: "The stages: " + stageNames() + ".\n" +
			"A rejection needs the buyer's reason as its note. Once the code of an order is in use, that is noticed by itself.\n\n" +
			"Examples:\n" +
			"  licensectl order stage CS2211181819B4LVS delivered\n" +
			"  licensectl order stage CS2211181819B4LVS rejected --note 'the licence is for another machine'\n" +
			"  licensectl order stage CS2211181819B4LVS to_deliver --correct --note 'meant another order'",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "note", Usage: "`WHY`, for the history and the audit log"},
			&cli.BoolFlag{Name: "correct", Usage: "take a wrong entry back: any stage may follow"},
			yesFlag(), outputFlag(formTable, formJSON),
		}, lineFlags()...),
		Action: p.orderStage,
	}
}

func (p *program) orderStage(c *cli.Context) error {
	args, f, admin, err := p.begin(c, []string{formTable, formJSON}, "the id of an ORDER", "a STAGE")
	if err != nil {
		return err
	}
	stage, err := readStage(c, args[1])
	if err != nil {
		return err
	}
	set := adminwire.SetStage{OrderLine: readLine(c), Stage: stage, Note: strings.TrimSpace(c.String("note")), Correct: c.Bool("correct")}
	switch {
	case set.Note == "" && stage == license.StageRejected:
		return usagef("rejected needs the buyer's reason: --note TEXT")
	case set.Note == "" && set.Correct:
		return usagef("--correct needs a reason: --note TEXT")
	}
	edited, err := admin.SetStage(c.Context, args[0], set)
	if err != nil {
		return orderError("stage", args[0], err)
	}
	return p.editedOrder(f, edited, "is "+string(stage), "is "+string(stage)+" already")
}

func (p *program) orderLinkCommand() *cli.Command {
	return &cli.Command{
		Name: "link", Usage: "say which licence was made for an order",
		UsageText:   "licensectl order link ORDER LICENSE",
		Description: "LICENSE is the id or the code of a licence; none takes back what was said.\n\nExample:\n  licensectl order link CS2211181819B4LVS lic_01k2m3n4p5q6r7s8t9v0w1x2y3",
		Flags:       append(lineFlags(), yesFlag(), outputFlag(formTable, formJSON)),
		Action: func(c *cli.Context) error {
			args, f, admin, err := p.begin(c, []string{formTable, formJSON}, "the id of an ORDER", "the ID or CODE of a LICENSE")
			if err != nil {
				return err
			}
			link := adminwire.LinkOrder{OrderLine: readLine(c)}
			done, same := "is linked to no licence", "is linked to no licence"
			if args[1] != "none" {
				l, err := lookup(c.Context, admin, args[1])
				if err != nil {
					return err
				}
				link.License = l.ID
				done, same = "is linked to "+l.ID, "is linked to "+l.ID+" already"
			}
			edited, err := admin.LinkOrder(c.Context, args[0], link)
			if err != nil {
				return orderError("link", args[0], err)
			}
			return p.editedOrder(f, edited, done, same)
		},
	}
}
