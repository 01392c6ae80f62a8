package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

func (p *program) orderCommand() *cli.Command {
	return &cli.Command{
		Name: "order", Category: "Orders", Usage: "keep the ledger of the marketplace's orders",
		UsageText: "licensectl order COMMAND",
		Description: "No interface of the marketplace tells where an order stands in its service supervision, so the staff\n" +
			"enters it here. An ORDER is the id of an order, or of one of its lines.",
		Subcommands: []*cli.Command{p.orderListCommand(), p.orderShowCommand(), p.orderAddCommand(), p.orderEditCommand(), p.orderStageCommand(), p.orderLinkCommand(), p.orderImportCommand()},
		Action:      unknownCommand,
	}
}

func stageNames() string {
	var names []string
	for _, s := range license.Stages() {
		names = append(names, string(s))
	}
	return strings.Join(names, ", ")
}

func readStage(c *cli.Context, text string) (license.Stage, error) {
	stage, err := license.ParseStage(strings.ReplaceAll(strings.ToLower(text), "-", "_"))
	if err != nil {
		return "", usagef("%q is no stage; %s knows %s", text, c.Command.Name, stageNames())
	}
	return stage, nil
}

// lineFlags say which line of an order is meant.
func lineFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "line", Usage: "the order's line, by `ID`, where it has several"},
		&cli.StringFlag{Name: "channel", Usage: "the marketplace `ENTRY`, where several have such an order"},
	}
}

func readLine(c *cli.Context) adminwire.OrderLine {
	return adminwire.OrderLine{Channel: c.String("channel"), Line: c.String("line")}
}

func (p *program) orderListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list orders, oldest first, and what is to be done about them",
		UsageText:   "licensectl order list [OPTIONS]",
		Description: "Examples:\n  licensectl order list --warned\n  licensectl order list --open --channel koogallery -o csv >orders.csv",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "open", Usage: "only those that still wait for somebody"},
			&cli.BoolFlag{Name: "warned", Usage: "only those about which there is something to do"},
			&cli.StringFlag{Name: "stage", Usage: "only in this `STAGE`: " + stageNames()},
			&cli.StringFlag{Name: "channel", Usage: "only of this marketplace `ENTRY`"},
			&cli.StringFlag{Name: "product", Usage: "only of this product, by `ID`, ours or the marketplace's"},
			&cli.StringFlag{Name: "instance", Usage: "only of this instance, by `ID`"},
			&cli.StringFlag{Name: "license", Usage: "only of this licence, by `ID`"},
		}, pageFlags()...),
		Action: p.orderList,
	}
}

func (p *program) orderList(c *cli.Context) error {
	o := adminclient.OrderOptions{
		Open: c.Bool("open"), Warned: c.Bool("warned"), Channel: c.String("channel"), Product: c.String("product"),
		Instance: c.String("instance"), License: c.String("license"), Limit: c.Int("limit"), Cursor: c.String("cursor"),
	}
	if err := checkLimit(c); err != nil {
		return err
	}
	if s := c.String("stage"); s != "" {
		stage, err := readStage(c, s)
		if err != nil {
			return err
		}
		o.Stage = stage
	}
	_, f, admin, err := p.begin(c, []string{formTable, formJSON, formCSV})
	if err != nil {
		return err
	}
	list, err := allOrders(c.Context, admin, o, c.Bool("all"))
	if err != nil {
		return err
	}
	if err := p.printOrders(f, list); err != nil {
		return fmt.Errorf("print the list: %w", err)
	}
	switch {
	case len(list.Orders) == 0:
		p.note("no order is selected")
	case f != formJSON:
		p.noteNext(list.Next)
	}
	return nil
}

func allOrders(ctx context.Context, admin *adminclient.Client, o adminclient.OrderOptions, all bool) (adminwire.OrderList, error) {
	var list adminwire.OrderList
	var err error
	list.Orders, list.Next, err = everyPage(o.Cursor, all, "orders", func(cursor string) ([]adminwire.Order, string, error) {
		o.Cursor = cursor
		page, err := admin.Orders(ctx, o)
		return page.Orders, page.Next, err
	})
	return list, err
}

func (p *program) printOrders(f string, list adminwire.OrderList) error {
	switch f {
	case formJSON:
		return writeJSON(p.out, list)
	case formCSV:
		records := [][]string{orderCSVHead()}
		for _, o := range list.Orders {
			records = append(records, orderCSVRow(o))
		}
		return writeCSV(p.out, records...)
	}
	if len(list.Orders) == 0 {
		return nil
	}
	t := newTable("~ORDER", "STAGE", "WAITS", "FOR", "~CUSTOMER", "~PRODUCT", "TO DO")
	for _, o := range list.Orders {
		waits, turn := age(o.Waits), string(o.Turn)
		if o.Turn == license.TurnNobody {
			waits, turn = "", ""
		}
		t.add(orderName(o), string(o.Stage), waits, turn, o.Customer, cmp.Or(o.Product, o.Offer), toDo(o))
	}
	return t.flush(p.out)
}

// orderName names a line in one word where its id holds that of its order.
func orderName(o adminwire.Order) string {
	switch {
	case o.Line == "-":
		return o.Order
	case strings.HasPrefix(o.Line, o.Order):
		return o.Line
	}
	return o.Order + " " + o.Line
}

// age shows a time in its two largest units.
func age(seconds int64) string {
	d := time.Duration(seconds) * time.Second
	days, hours, minutes := int(d.Hours())/24, int(d.Hours())%24, int(d.Minutes())%60
	switch {
	case days > 0:
		return fmt.Sprintf("%dd %dh", days, hours)
	case hours > 0:
		return fmt.Sprintf("%dh %dm", hours, minutes)
	}
	return fmt.Sprintf("%dm", minutes)
}

// toDo is what is to be done about an order, in a column.
func toDo(o adminwire.Order) string {
	var all []string
	for _, w := range o.Warnings {
		switch w.Kind {
		case license.WarnDeliver:
			what := "deliver"
			if o.Stage == license.StageActivated {
				what = "upload the proof"
			}
			all = append(all, what)
		case license.WarnBuyer:
			all = append(all, "may appeal: no answer")
		case license.WarnRejections:
			all = append(all, "may appeal: rejected "+strconv.Itoa(o.Rejections)+"×")
		default:
			all = append(all, string(w.Kind))
		}
	}
	return strings.Join(all, ", ")
}

func orderCSVHead() []string {
	return []string{
		"channel", "order", "line", "stage", "stage_at", "turn", "waits", "rejections", "warnings", "type", "product",
		"marketplace_product", "amount", "customer", "license", "instance", "ordered_at", "expires_at", "seen_at", "read_at",
	}
}

func orderCSVRow(o adminwire.Order) []string {
	var warnings []string
	for _, w := range o.Warnings {
		warnings = append(warnings, string(w.Kind))
	}
	return []string{
		o.Channel, o.Order, o.Line, string(o.Stage), csvTime(&o.StageAt), string(o.Turn), strconv.FormatInt(o.Waits, 10), strconv.Itoa(o.Rejections),
		strings.Join(warnings, " "), o.Type, o.Product, o.Offer, strconv.Itoa(o.Amount), o.Customer, o.License, o.Instance,
		csvTime(o.OrderedAt), csvTime(o.ExpiresAt), csvTime(&o.SeenAt), csvTime(o.ReadAt),
	}
}

func (p *program) orderShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show one order and its history",
		UsageText:   "licensectl order show ORDER",
		Description: "Example:\n  licensectl order show CS2211181819B4LVS-000001",
		Flags:       append(lineFlags(), outputFlag(formTable, formJSON)),
		Action: func(c *cli.Context) error {
			args, f, admin, err := p.begin(c, []string{formTable, formJSON}, "the id of an ORDER")
			if err != nil {
				return err
			}
			id, err := orderID(args[0])
			if err != nil {
				return err
			}
			o, err := admin.Order(c.Context, id, readLine(c))
			if err != nil {
				return orderError("show", id, err)
			}
			if f == formJSON {
				return writeJSON(p.out, o)
			}
			return p.printOrder(o)
		},
	}
}

func (p *program) printOrder(o adminwire.Order) error {
	var f fields
	f.add("order", o.Order)
	f.add("line", o.Line)
	f.add("channel", o.Channel)
	f.add("type", o.Type)
	product := o.Product
	if o.Offer != "" {
		product = strings.TrimSpace(product + " (" + o.Offer + " at the marketplace)")
	}
	f.add("product", product)
	if o.Amount > 0 {
		f.add("quantity", strconv.Itoa(o.Amount))
	}
	f.add("customer", o.Customer)
	f.add("licence", cmp.Or(o.License, "none yet"))
	f.add("instance", o.Instance)
	f.add("ordered", when(o.OrderedAt, ""))
	f.add("ends", when(o.ExpiresAt, ""))
	f.add("heard of", when(&o.SeenAt, ""))
	stage := string(o.Stage)
	if o.Turn != license.TurnNobody {
		stage += " for " + age(o.Waits) + ", waits for the " + string(o.Turn)
	}
	f.add("stage", stage)
	if o.Rejections > 0 {
		f.add("rejected", count(o.Rejections, "time", "times"))
	}
	for _, w := range o.Warnings {
		f.add("to do", w.Text)
	}
	if err := f.write(p.out); err != nil {
		return err
	}
	if len(o.History) > 0 {
		t := newTable("SINCE (UTC)", "STAGE", "BY", "~NOTE")
		for _, h := range o.History {
			t.add(whenShort(&h.At, ""), string(h.Stage), actorText(h.By), stageNote(h))
		}
		if err := p.printBelow(t); err != nil {
			return err
		}
	}
	if len(o.Made) > 0 {
		t := newTable("MADE (UTC)", "FOR", "BY", "~INSTALL", "~SHA-256 OF THE FILE")
		for _, m := range o.Made {
			t.add(whenShort(&m.At, ""), m.Form, actorText(m.By), m.Install, m.SHA256)
		}
		return p.printBelow(t)
	}
	return nil
}

// printBelow prints a table after an empty line.
func (p *program) printBelow(t *table) error {
	if err := p.say(""); err != nil {
		return err
	}
	return t.flush(p.out)
}

func actorText(a adminwire.Actor) string {
	return strings.TrimSpace(string(a.Kind) + " " + a.Name)
}

// stageNote is what there is to say of an entry of the history beside its stage.
func stageNote(h adminwire.StageChange) string {
	var all []string
	if h.Void {
		all = append(all, "(taken back)")
	}
	if h.Correct {
		all = append(all, "(corrected)")
	}
	if h.EnteredAt != nil {
		all = append(all, "(entered "+whenShort(h.EnteredAt, "")+")")
	}
	return strings.TrimSpace(strings.Join(append(all, h.Note), " "))
}

// orderError says which order is meant.
func orderError(what, ref string, err error) error {
	if license.ReasonOf(err) == license.NotFound {
		return notFoundf("there is no order %s; see licensectl order list", printable(ref))
	}
	return fmt.Errorf("%s %s: %w", what, ref, err)
}
