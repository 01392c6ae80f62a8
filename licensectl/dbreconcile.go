package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

func (p *program) dbReconcileCommand() *cli.Command {
	return &cli.Command{
		Name: "reconcile", Usage: "see what a restored store lost, decide about it, and end reconcile mode",
		UsageText: "licensectl db reconcile status\nlicensectl db reconcile list\nlicensectl db reconcile decide ID adopt|drop\nlicensectl db reconcile finish",
		Description: "A daemon whose store was restored from a backup serves in reconcile mode: what the marks beside the store say is made again,\n" +
			"and installs that the store does not know show who they are by the licences that they hold. Leave the mode open until all of\n" +
			"them have called, which takes as long as your longest lease, and then finish it.\n\n" +
			"What there is to decide:\n" +
			"  lost_license  a licence issued after the backup; its code is gone. Issue it anew, or have the buyer activate the\n" +
			"                marketplace's code again; then drop it\n" +
			"  lost_install  an install bound after the backup that has not called yet; its seat is kept. Drop it to give the seat up\n" +
			"  no_seat       an install that calls and finds its seat taken. Adopt it beyond the limit, or drop it\n" +
			"  lost_edit     a change of a licence of which it is not known what it was. Make it again; then drop it",
		Subcommands: []*cli.Command{
			{
				Name: "status", Usage: "say how it stands", UsageText: "licensectl db reconcile status",
				Description: "Example:\n  licensectl db reconcile status -o json",
				Flags:       []cli.Flag{outputFlag(formTable, formJSON)}, Action: p.reconcileStatus,
			},
			{
				Name: "list", Usage: "list what there is to decide", UsageText: "licensectl db reconcile list [OPTIONS]",
				Description: "Example:\n  licensectl db reconcile list --all -o csv",
				Flags:       pageFlags(), Action: p.reconcileList,
			},
			{
				Name: "decide", Usage: "decide about one of them", UsageText: "licensectl db reconcile decide ID adopt|drop",
				Description: "Example:\n  licensectl db reconcile decide lic_01k2m3n4p5q6r7s8t9v0w1x2y3/- drop --yes",
				Flags:       []cli.Flag{yesFlag(), outputFlag(formTable, formJSON)}, Action: p.reconcileDecide,
			},
			{
				Name: "finish", Usage: "end reconcile mode", UsageText: "licensectl db reconcile finish [--drop-rest]",
				Description: "Example:\n  licensectl db reconcile finish --yes",
				Flags: []cli.Flag{
					&cli.BoolFlag{Name: "drop-rest", Usage: "drop what is not decided"},
					yesFlag(), outputFlag(formTable, formJSON),
				},
				Action: p.reconcileFinish,
			},
		},
		Action: unknownCommand,
	}
}

func (p *program) reconcileStatus(c *cli.Context) error {
	_, f, admin, err := p.begin(c, []string{formTable, formJSON})
	if err != nil {
		return err
	}
	st, err := admin.Restore(c.Context)
	if err != nil {
		return err
	}
	if f == formJSON {
		return writeJSON(p.out, st)
	}
	return p.printRestore(st)
}

func (p *program) printRestore(st adminwire.Restore) error {
	if st.BegunAt == nil {
		return p.say("the store was never restored; reconcile mode is not open")
	}
	var list fields
	state := "open, since " + when(st.BegunAt, "")
	if !st.Open {
		state = "finished, " + when(st.FinishedAt, "")
	}
	list.add("reconcile mode", state)
	list.add("restored", fmt.Sprintf("as of %s, entry %d of the audit log", when(st.HeadAt, "the beginning"), st.HeadSeq))
	switch {
	case st.MarkSeq == 0:
		list.add("lost", "unknown: there were no marks beside the store")
	case st.Complete:
		list.add("lost", fmt.Sprintf("entries up to %d, of %s: %s", st.MarkSeq, when(st.MarkAt, ""), count(st.Lost, "change", "changes")))
	default:
		list.add("lost", fmt.Sprintf("entries up to %d, of %s; only the last %s known", st.MarkSeq, when(st.MarkAt, ""), count(st.Lost, "change is", "changes are")))
	}
	list.add("made again", "of "+count(st.Applied, "licence", "licences"))
	list.add("taken in again", count(st.Adopted, "install", "installs"))
	list.add("status list", st.StatusList+" is what new installs draw from")
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(st.ToDecide)) {
		parts = append(parts, fmt.Sprintf("%s %d", kind, st.ToDecide[kind]))
	}
	if st.Open {
		if len(parts) == 0 {
			parts = []string{"nothing at present"}
		}
		list.add("to decide", strings.Join(parts, ", "))
	}
	return list.write(p.out)
}

func (p *program) reconcileList(c *cli.Context) error {
	if err := checkLimit(c); err != nil {
		return err
	}
	_, f, admin, err := p.begin(c, []string{formTable, formJSON, formCSV})
	if err != nil {
		return err
	}
	items, next, err := everyPage(c.String("cursor"), c.Bool("all"), "items", itemPages(c, admin))
	if err != nil {
		return err
	}
	switch f {
	case formJSON:
		return writeJSON(p.out, adminwire.RestoreItems{Items: items, Next: next})
	case formCSV:
		records := [][]string{{"id", "kind", "license", "install", "product", "at", "actions", "proven"}}
		for _, i := range items {
			records = append(records, []string{i.ID, i.Kind, i.License, i.Install, i.Product, instant(i.At), strings.Join(i.Actions, " "), fmt.Sprint(i.Proven)})
		}
		err = writeCSV(p.out, records...)
	default:
		t := newTable("ID", "KIND", "AT (UTC)", "~WHAT")
		for _, i := range items {
			t.add(i.ID, i.Kind, i.At.UTC().Format(shortTime), itemText(i))
		}
		if len(items) > 0 {
			t.elastic[0] = false
			err = t.flush(p.out)
		}
	}
	if err != nil {
		return err
	}
	if len(items) == 0 {
		p.note("there is nothing to decide")
	}
	p.noteNext(next)
	return nil
}

func itemPages(c *cli.Context, admin *adminclient.Client) pages[adminwire.RestoreItem] {
	return func(cursor string) ([]adminwire.RestoreItem, string, error) {
		page, err := admin.RestoreItems(c.Context, c.Int("limit"), cursor)
		return page.Items, page.Next, err
	}
}

// itemText says what is known of an item.
func itemText(i adminwire.RestoreItem) string {
	var parts []string
	if i.Product != "" {
		parts = append(parts, i.Product)
	}
	if len(i.Actions) > 0 {
		parts = append(parts, strings.Join(i.Actions, " "))
	}
	for _, name := range []string{"customer", "order", "code_last4"} {
		if v, ok := i.Facts[name].(string); ok && v != "" {
			parts = append(parts, name+" "+v)
		}
	}
	return strings.Join(parts, ", ")
}

func (p *program) reconcileDecide(c *cli.Context) error {
	args, f, admin, err := p.begin(c, []string{formTable, formJSON}, "the ID of an item", "adopt or drop")
	if err != nil {
		return err
	}
	if args[1] != "adopt" && args[1] != "drop" {
		return usagef("decide takes adopt or drop, not %q", args[1])
	}
	if args[1] == "drop" {
		if err := p.confirm(c, "Drop "+args[0]+"? An install that is dropped is ended for good."); err != nil {
			return err
		}
	}
	item, err := admin.RestoreDecide(c.Context, adminwire.RestoreDecide{ID: args[0], Decision: args[1]})
	if err != nil {
		return err
	}
	if f == formJSON {
		return writeJSON(p.out, item)
	}
	return p.say("%s: %s (%s)", item.ID, map[string]string{"adopt": "adopted", "drop": "dropped"}[args[1]], item.Kind)
}

func (p *program) reconcileFinish(c *cli.Context) error {
	_, f, admin, err := p.begin(c, []string{formTable, formJSON})
	if err != nil {
		return err
	}
	if err := p.confirm(c, "End reconcile mode? Installs that were bound after the backup and have not called are strangers from then on."); err != nil {
		return err
	}
	done, err := admin.RestoreFinish(c.Context, adminwire.RestoreFinish{DropRest: c.Bool("drop-rest")})
	if err != nil {
		return err
	}
	if f == formJSON {
		return writeJSON(p.out, done)
	}
	return p.say("reconcile mode is over: %s made again, %s taken in again, %d dropped",
		count(done.Applied, "licence", "licences"), count(done.Adopted, "install", "installs"), done.Dropped)
}
