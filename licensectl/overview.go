package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// overviewDays are the days of the overview that are printed.
const overviewDays = 14

func (p *program) overviewCommand() *cli.Command {
	return &cli.Command{
		Name: "overview", Category: "Service", Usage: "say what needs you, and how many licences there are", UsageText: "licensectl overview",
		Description: "Licences are counted beside everything else, a minute or more apart; the overview says when they were.\n\n" +
			"Examples:\n  licensectl overview\n  licensectl overview -o json",
		Flags: []cli.Flag{outputFlag(formTable, formJSON)},
		Action: func(c *cli.Context) error {
			_, f, admin, err := p.begin(c, []string{formTable, formJSON})
			if err != nil {
				return err
			}
			o, err := admin.Overview(c.Context)
			switch {
			case err != nil:
				return err
			case f == formJSON:
				return writeJSON(p.out, o)
			}
			return p.printOverview(o)
		},
	}
}

func (p *program) printOverview(o adminwire.Overview) error {
	if len(o.Attention) == 0 {
		if err := p.say("nothing needs you"); err != nil {
			return err
		}
	}
	for _, a := range o.Attention {
		if err := p.say("%-4s  %s; see %s", a.Level, attentionText(a), a.Command); err != nil {
			return err
		}
	}
	if o.Census == nil {
		p.note("the licences have not been counted yet")
		return nil
	}
	if err := p.say("\nlicences as of %s", when(&o.Census.CountedAt, "")); err != nil {
		return err
	}
	columns := []string{"PRODUCT", "ALL"}
	for _, s := range slices.Backward(license.States()) {
		columns = append(columns, strings.ToUpper(string(s)))
	}
	t := newTable(append(columns, "TRIALS", "END IN 7D", "30D", "90D")...)
	for _, n := range o.Census.Products {
		t.add(productCells(cmp.Or(n.Product, "(others)"), n)...)
	}
	if len(o.Census.Products) != 1 {
		t.add(productCells("all", o.Census.Total)...)
	}
	if err := t.flush(p.out); err != nil {
		return err
	}
	days := newTable("DAY", "ACTIVATED", "MACHINES BOUND")
	printed := 0
	for _, d := range o.Census.Days[max(0, len(o.Census.Days)-overviewDays):] {
		if d.Activated+d.Bound > 0 {
			days.add(d.Day, strconv.Itoa(d.Activated), strconv.Itoa(d.Bound))
			printed++
		}
	}
	if printed == 0 {
		return nil
	}
	if err := p.say(""); err != nil {
		return err
	}
	return days.flush(p.out)
}

// attentionText is what needs somebody, in one line.
func attentionText(a adminwire.Attention) string {
	text := oneLine(a.Detail)
	if a.Count > 0 && a.Code != adminwire.AttentionMarketplace {
		text = fmt.Sprintf("%d: %s", a.Count, text)
	}
	if a.Code == adminwire.AttentionMarketplace && a.Count > 1 {
		text += fmt.Sprintf(", and %d more", a.Count-1)
	}
	if a.About != "" {
		return fmt.Sprintf("%s %s: %s", a.Code, oneLine(a.About), text)
	}
	return fmt.Sprintf("%s: %s", a.Code, text)
}

func productCells(name string, n adminwire.ProductCensus) []string {
	cells := []string{name, strconv.Itoa(n.Licenses)}
	for _, s := range slices.Backward(license.States()) {
		cells = append(cells, strconv.Itoa(n.States[s]))
	}
	return append(cells, strconv.Itoa(n.Trials), strconv.Itoa(n.Ending.Within7), strconv.Itoa(n.Ending.Within30), strconv.Itoa(n.Ending.Within90))
}
