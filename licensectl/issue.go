package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// maxBatch is how many licences the daemon makes at once.
const maxBatch = 1000

func (p *program) issueCommand() *cli.Command {
	return &cli.Command{
		Name: "issue", Category: "Licences", Usage: "make licences and print their codes",
		UsageText: "licensectl issue --product P (--expires DATE | --for DURATION | --perpetual | --trial) [OPTIONS]\n" +
			"licensectl issue --from FILE [--codes OUT.csv] [OPTIONS]",
		Description: "A code is shown this once: the daemon keeps it encrypted.\n" +
			"--from reads a file with a line for each licence: CSV, whose first line names the columns out of " + strings.Join(issueColumns, ", ") +
			" (features as export=true;projects=10, phases as warn=60d;grace=30d), or, as FILE.jsonl, JSON Lines with these members. What a " +
			"line leaves out is taken from the options; a line that calls itself a trial lasts as long as the product says unless it names its own end. All faults are named by line before anything is issued; then licences are issued a " +
			"thousand at a time, each thousand whole or not at all. With --codes the codes are written there and are on disk before the next " +
			"thousand; after a lost connection the same command goes on where it stood, within a day, and issues nothing twice.\n\n" +
			"Examples:\n" +
			"  licensectl issue --product demo --for 365d --customer 'Example Ltd'\n" +
			"  licensectl issue --product demo --expires 2027-01-31 --machines 5 --feature export=true -n 20 -o csv\n" +
			"  licensectl issue --from resellers.csv --product demo --for 365d --codes codes.csv",
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "product", Usage: "the product's `ID` (required)"},
			&cli.StringFlag{Name: "customer", Usage: "`NAME` of who gets it"},
			&cli.StringFlag{Name: "order", Usage: "`NUMBER` of the order it belongs to"},
			&cli.IntFlag{Name: "machines", Usage: "`NUMBER` of machines, or of floating seats, instead of the product's"},
			&cli.StringSliceFlag{Name: "feature", Usage: "`NAME=VALUE` beside the product's features: true, a number or text; false takes one away (repeatable)"},
			&cli.IntFlag{Name: "overage", Usage: "let in so `MANY` machines more, instead of the product's"},
			&cli.BoolFlag{Name: "trial", Usage: "to try the product out; without an end it lasts as long as the product says"},
			&cli.IntFlag{Name: "count", Aliases: []string{"n"}, Value: 1, Usage: "make so `MANY`"},
			&cli.StringFlag{Name: "from", Usage: "issue what this `FILE` asks for, CSV or JSON Lines; - reads CSV from standard input", TakesFile: true},
			&cli.StringFlag{Name: "codes", Usage: "with --from: write the codes to this CSV `FILE`, or go on with it", TakesFile: true},
			yesFlag(), outputFlag(formTable, formJSON, formCSV),
		}, endFlags("now"), phaseFlags("instead of the product's")),
		Action: p.issue,
	}
}

func (p *program) issue(c *cli.Context) error {
	_, f, err := commandLine(c, []string{formTable, formJSON, formCSV})
	if err != nil {
		return err
	}
	switch {
	case c.String("from") != "":
		return p.issueFrom(c)
	case c.IsSet("from"):
		return usagef("--from needs a FILE")
	case c.IsSet("codes"):
		return usagef("--codes goes with --from")
	}
	order, e, total, err := p.readIssue(c)
	if err != nil {
		return err
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	if err := p.settle(c.Context, admin, &e); err != nil {
		return err
	}
	order.ExpiresAt, order.For, order.Perpetual = e.at, e.in, e.perpetual
	made, failed := p.issueAll(c.Context, admin, order, total, c.String("idempotency-key"))
	if len(made) == 0 && failed != nil {
		return nameProducts(c.Context, admin, failed)
	}
	// What was made is printed even where the rest failed: nothing shows it again.
	if err := p.printIssued(f, made); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("%d of %d licences were issued, then: %w", len(made), total, failed)
	}
	if c.Bool("dry-run") {
		return nil
	}
	p.note("issued %s of %s, %s; the codes are not shown again", count(total, "licence", "licences"), order.Product,
		lifetime(made[0]))
	return nil
}

// readIssue checks the command line as far as it can be checked here.
func (p *program) readIssue(c *cli.Context) (order adminwire.Issue, e end, total int, err error) {
	order = adminwire.Issue{
		Product: c.String("product"), Customer: c.String("customer"), Order: c.String("order"), Machines: c.Int("machines"),
	}
	total = c.Int("count")
	switch {
	case order.Product == "":
		return order, e, 0, usagef("issue needs --product")
	case total < 1:
		return order, e, 0, usagef("-n must be 1 or more")
	case c.IsSet("machines") && order.Machines < 1:
		return order, e, 0, usagef("--machines must be 1 or more")
	case c.Int("overage") < 0:
		return order, e, 0, usagef("--overage must be 0 or more")
	}
	if c.IsSet("overage") {
		order.Overage = new(c.Int("overage"))
	}
	if order.Features, err = parseFeatures(c.StringSlice("feature")); err != nil {
		return order, e, 0, err
	}
	if order.Phases, err = readPhases(c); err != nil {
		return order, e, 0, err
	}
	if order.Trial = c.Bool("trial"); order.Trial && !c.IsSet("expires") && !c.IsSet("for") && !c.IsSet("perpetual") {
		return order, e, total, nil
	}
	e, err = p.readEnd(c)
	return order, e, total, err
}

// parseFeatures reads name=value; a name alone is switched on, false is off.
func parseFeatures(list []string) (map[string]any, error) {
	features := make(map[string]any, len(list))
	for _, item := range list {
		name, value, given := strings.Cut(item, "=")
		switch {
		case name == "":
			return nil, usagef("--feature %q has no name; write NAME=VALUE", item)
		case given && value == "":
			return nil, usagef("--feature %s has no value; write %s=true", name, name)
		case !given:
			value = "true"
		}
		if _, twice := features[name]; twice {
			return nil, usagef("--feature %s is given twice", name)
		}
		if value == "false" {
			features[name] = false
			continue
		}
		features[name] = license.ParseFeature(value)
	}
	return features, nil
}

// issueAll issues in batches and returns what was made, also where it failed
// on the way.
func (p *program) issueAll(ctx context.Context, admin *adminclient.Client, order adminwire.Issue, total int, key string) (made []adminwire.License, err error) {
	progress := p.progress("issued %d of %d")
	defer progress.done()
	for len(made) < total {
		order.Count = min(maxBatch, total-len(made))
		if key != "" && total > maxBatch { // a key is for one call
			ctx = adminclient.WithIdempotencyKey(ctx, fmt.Sprintf("%s/%d", key, len(made)))
		}
		batch, err := admin.Issue(ctx, order)
		if err != nil {
			return made, err
		}
		if len(batch.Licenses) != order.Count {
			return append(made, batch.Licenses...), fmt.Errorf("the daemon made %d licences where %d were asked for", len(batch.Licenses), order.Count)
		}
		made = append(made, batch.Licenses...)
		if total > maxBatch {
			progress.show(len(made), total)
		}
	}
	return made, nil
}

func (p *program) printIssued(f string, made []adminwire.License) error {
	switch f {
	case formJSON:
		return writeJSON(p.out, adminwire.LicenseList{Licenses: made})
	case formCSV:
		records := [][]string{append([]string{"code"}, csvHead()...)}
		for _, l := range made {
			records = append(records, append([]string{l.Code}, csvRow(l)...))
		}
		return writeCSV(p.out, records...)
	}
	t := newTable("CODE", "LICENCE", "~PRODUCT", "ENDS (UTC)")
	for _, l := range made {
		t.add(l.Code, l.ID, l.Product, whenShort(l.ExpiresAt, "never"))
	}
	return t.flush(p.out)
}

// lifetime says when a licence ends.
func lifetime(l adminwire.License) string {
	if l.ExpiresAt == nil {
		return "perpetual"
	}
	return "until " + when(l.ExpiresAt, "")
}
