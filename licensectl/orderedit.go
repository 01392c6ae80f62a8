package main

import (
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

func (p *program) orderAddCommand() *cli.Command {
	return &cli.Command{
		Name: "add", Usage: "record an order that you know from the seller console",
		UsageText: "licensectl order add ORDER [OPTIONS]",
		Description: "The same again changes nothing. Where nothing is said of what was ordered (--product, --amount, --customer,\n" +
			"--ordered) and the entry has an open_api, the daemon asks the marketplace for that; --offline keeps it from doing so.\n\n" +
			"Example:\n  licensectl order add CS2211181819B4LVS --stage awaiting_code --customer 'Example Ltd'",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "line", Usage: "the order's line, by `ID`, where it has several"},
			&cli.StringFlag{Name: "channel", Usage: "the marketplace `ENTRY` of the order, or manual; default: the only entry"},
			&cli.StringFlag{Name: "product", Usage: "what was ordered, by the marketplace's `ID`"},
			&cli.IntFlag{Name: "amount", Usage: "the ordered `NUMBER`"},
			&cli.StringFlag{Name: "customer", Usage: "`NAME` of the buyer"},
			&cli.StringFlag{Name: "ordered", Usage: "`WHEN` it was placed: 2027-01-31 (its beginning), RFC 3339, or 3d ago"},
			&cli.StringFlag{Name: "expires", Usage: "`WHEN` it ends: 2027-01-31 (its beginning), RFC 3339, or 365d from now"},
			&cli.StringFlag{Name: "stage", Usage: "the `STAGE` that it is in: " + stageNames(), Value: string(license.StageToDeliver)},
			&cli.StringFlag{Name: "at", Usage: "since `WHEN` it has been in that stage, where that is not now"},
			&cli.IntFlag{Name: "rejections", Usage: "how `OFTEN` the buyer has rejected a delivery"},
			&cli.BoolFlag{Name: "offline", Usage: "do not ask the marketplace what was ordered"},
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
		License: c.String("license"), Note: strings.TrimSpace(c.String("note")), Rejections: c.Int("rejections"), Offline: c.Bool("offline"),
	}
	switch {
	case c.IsSet("amount") && add.Amount < 1:
		return usagef("--amount must be 1 or more")
	case add.Rejections < 0:
		return usagef("--rejections must be 0 or more")
	}
	if c.IsSet("stage") {
		stage, err := readStage(c, c.String("stage"))
		if err != nil {
			return err
		}
		add.Stage = stage
	}
	for _, t := range []struct {
		name string
		d    direction
		to   **time.Time
	}{{"ordered", ago, &add.OrderedAt}, {"expires", ahead, &add.ExpiresAt}, {"at", ago, &add.StageAt}} {
		if err := p.readTime(c, t.name, t.d, t.to); err != nil {
			return err
		}
	}
	args, f, admin, err := p.begin(c, []string{formTable, formJSON}, "the id of an ORDER")
	if err != nil {
		return err
	}
	if add.Order, err = orderID(args[0]); err != nil {
		return err
	}
	edited, err := admin.AddOrder(c.Context, add)
	if err != nil {
		return orderError("add", args[0], err)
	}
	return p.editedOrder(f, edited, "added, "+string(edited.Order.Stage), "is known already")
}

// readTime reads an option that names a time, where it is given.
func (p *program) readTime(c *cli.Context, name string, d direction, to **time.Time) error {
	s := c.String(name)
	if s == "" {
		return nil
	}
	at, err := p.readMoment(c, "--"+name, s, d, p.zoneThere)
	*to = &at
	return err
}

// orderID is the id of an order as an argument, which may have been pasted with
// blanks. No address can name one that consists of dots.
func orderID(arg string) (string, error) {
	switch id := strings.TrimSpace(arg); id {
	case "", ".", "..":
		return "", usagef("%q is no id of an order", arg)
	default:
		return id, nil
	}
}

func (p *program) orderEditCommand() *cli.Command {
	return &cli.Command{
		Name: "edit", Usage: "put right what was entered of an order",
		UsageText: "licensectl order edit ORDER [OPTIONS]",
		Description: "What the marketplace has told of an order stands and cannot be edited.\n\n" +
			"Example:\n  licensectl order edit CS2211181819B4LVS --customer 'Example Ltd' --note 'misread'",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "product", Usage: "what was ordered, by the marketplace's `ID`; empty: not known"},
			&cli.IntFlag{Name: "amount", Usage: "the ordered `NUMBER`; 0: not known"},
			&cli.StringFlag{Name: "customer", Usage: "`NAME` of the buyer; empty: not known"},
			&cli.StringFlag{Name: "ordered", Usage: "`WHEN` it was placed: 2027-01-31 (its beginning), RFC 3339, or 3d ago"},
			&cli.StringFlag{Name: "expires", Usage: "`WHEN` it ends; none: no end, or none that is known"},
			&cli.StringFlag{Name: "note", Usage: "`WHY`, for the audit log"},
			yesFlag(), outputFlag(formTable, formJSON),
		}, lineFlags()...),
		Action: p.orderEdit,
	}
}

func (p *program) orderEdit(c *cli.Context) error {
	if _, err := arguments(c, "the id of an ORDER"); err != nil {
		return err
	}
	edit := adminwire.EditOrder{OrderLine: readLine(c), Note: strings.TrimSpace(c.String("note"))}
	if c.IsSet("product") {
		edit.Offer = new(c.String("product"))
	}
	if c.IsSet("amount") {
		edit.Amount = new(c.Int("amount"))
	}
	if c.IsSet("customer") {
		edit.Customer = new(c.String("customer"))
	}
	if err := p.readTime(c, "ordered", ago, &edit.OrderedAt); err != nil {
		return err
	}
	if edit.NoEnd = c.String("expires") == "none"; !edit.NoEnd {
		if err := p.readTime(c, "expires", ahead, &edit.ExpiresAt); err != nil {
			return err
		}
	}
	if edit.Offer == nil && edit.Amount == nil && edit.Customer == nil && edit.OrderedAt == nil && edit.ExpiresAt == nil && !edit.NoEnd {
		return usagef("order edit needs at least one of --product, --amount, --customer, --ordered and --expires; see %s --help", commandName(c))
	}
	args, f, admin, err := p.begin(c, []string{formTable, formJSON}, "the id of an ORDER")
	if err != nil {
		return err
	}
	id, err := orderID(args[0])
	if err != nil {
		return err
	}
	edited, err := admin.EditOrder(c.Context, id, edit)
	if err != nil {
		return orderError("edit", id, err)
	}
	return p.editedOrder(f, edited, "changed", "says so already")
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
		UsageText: "licensectl order stage ORDER STAGE [--note TEXT] [--at WHEN] [--correct]",
		Description: "The stages: " + stageNames() + ".\n" +
			"A rejection needs the buyer's reason as its note. Once the code of an order is in use, that is noticed by itself.\n" +
			"A correction back to a stage that the order was in takes back all that was entered since, and keeps that stage's age.\n\n" +
			"Examples:\n" +
			"  licensectl order stage CS2211181819B4LVS delivered --at 2027-01-29T09:30:00+08:00\n" +
			"  licensectl order stage CS2211181819B4LVS rejected --note 'the licence is for another machine'\n" +
			"  licensectl order stage CS2211181819B4LVS to_deliver --correct --note 'meant another order'",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "note", Usage: "`WHY`, for the history and the audit log"},
			&cli.StringFlag{Name: "at", Usage: "`WHEN` that happened, where it is not now: 2027-01-31 (its beginning), RFC 3339, or 2h ago"},
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
	if err := p.readTime(c, "at", ago, &set.At); err != nil {
		return err
	}
	id, err := orderID(args[0])
	if err != nil {
		return err
	}
	switch {
	case set.Note == "" && stage == license.StageRejected:
		return usagef("rejected needs the buyer's reason: --note TEXT")
	case set.Note == "" && set.Correct:
		return usagef("--correct needs a reason: --note TEXT")
	}
	edited, err := admin.SetStage(c.Context, id, set)
	if err != nil {
		return orderError("stage", id, err)
	}
	return p.editedOrder(f, edited, "is "+string(stage), "is "+string(stage)+" already")
}

func (p *program) orderLinkCommand() *cli.Command {
	return &cli.Command{
		Name: "link", Usage: "say which licence was made for an order",
		UsageText: "licensectl order link ORDER LICENSE",
		Description: "LICENSE is the id or the code of a licence; none takes back what was said. A licence that names no order names this one from\n" +
			"then on. It must be of what was ordered, and not made for another order.\n\nExample:\n  licensectl order link CS2211181819B4LVS lic_01k2m3n4p5q6r7s8t9v0w1x2y3",
		Flags: append(lineFlags(), yesFlag(), outputFlag(formTable, formJSON)),
		Action: func(c *cli.Context) error {
			args, f, admin, err := p.begin(c, []string{formTable, formJSON}, "the id of an ORDER", "the ID or CODE of a LICENSE")
			if err != nil {
				return err
			}
			id, err := orderID(args[0])
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
			edited, err := admin.LinkOrder(c.Context, id, link)
			if err != nil {
				return orderError("link", id, err)
			}
			return p.editedOrder(f, edited, done, same)
		},
	}
}
