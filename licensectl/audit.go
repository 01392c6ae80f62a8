package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// auditFlags select entries.
func auditFlags(more ...cli.Flag) []cli.Flag {
	return append([]cli.Flag{
		&cli.StringFlag{Name: "license", Usage: "only about this licence, by `ID` or CODE"},
		&cli.StringFlag{Name: "action", Usage: "only this `ACTION`, as license.revoke"},
		&cli.StringFlag{Name: "since", Usage: "only what happened since this `TIME` (2027-01-31, from its beginning, or RFC 3339), or within this duration (24h, 30d)"},
	}, more...)
}

func (p *program) auditCommand() *cli.Command {
	return &cli.Command{
		Name: "audit", Category: "Service", Usage: "see who has changed what",
		UsageText: "licensectl audit list|export|verify|head|checkpoint|erase [OPTIONS]",
		Description: "Every change is written to the audit log in the transaction that makes it: when, who, from where, what it was and what it is.\n" +
			"No code and no key is in it. The entries are a chain of hashes that the daemon signs.",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "list entries, oldest first", UsageText: "licensectl audit list [OPTIONS]",
				Description: "Examples:\n  licensectl audit list --since 24h\n  licensectl audit list --license lic_01k2m3n4p5q6r7s8t9v0w1x2y3 -o json",
				Flags:       auditFlags(pageFlags()...),
				Action:      p.auditList,
			},
			{
				Name: "export", Usage: "write all entries to standard output, one JSON document a line", UsageText: "licensectl audit export [OPTIONS] >audit.jsonl",
				Description: "The lines are those that the daemon keeps, byte for byte; audit verify checks them. A selection by licence or\n" +
					"action is no chain and cannot be checked.\n\nExample:\n  licensectl audit export --since 2027-01-01 >2027.jsonl",
				Flags: auditFlags(), Action: p.auditExport,
			},
			p.auditVerifyCommand(), p.auditHeadCommand(), p.auditCheckpointCommand(), p.auditEraseCommand(),
		},
		Action: unknownCommand,
	}
}

// readEvents reads what selects entries.
func (p *program) readEvents(c *cli.Context) (adminclient.EventOptions, error) {
	o := adminclient.EventOptions{
		License: c.String("license"), Action: license.Action(c.String("action")), Limit: c.Int("limit"), Cursor: c.String("cursor"),
	}
	if err := checkLimit(c); err != nil {
		return o, err
	}
	s := c.String("since")
	if s == "" {
		return o, nil
	}
	var err error
	o.Since, err = p.readSince(c, s)
	return o, err
}

// readSince reads --since: an instant, or how long ago it was.
func (p *program) readSince(c *cli.Context, s string) (time.Time, error) {
	return p.readMoment(c, "--since", s, ago, p.zoneThere)
}

// selectedLicense takes the licence that selects entries by its code as well, and says where
// there is none. One that the store does not have (it was restored) can have entries.
func selectedLicense(ctx context.Context, admin *adminclient.Client, o *adminclient.EventOptions) error {
	if o.License == "" {
		return nil
	}
	first := *o
	first.Limit, first.Cursor, first.Action, first.Since = 1, "", "", time.Time{}
	page, err := admin.Events(ctx, first)
	if err != nil || len(page.Events) > 0 {
		return err
	}
	l, err := lookup(ctx, admin, o.License)
	o.License = l.ID
	return err
}

func (p *program) auditList(c *cli.Context) error {
	_, f, admin, err := p.begin(c, []string{formTable, formJSON, formCSV})
	if err != nil {
		return err
	}
	o, err := p.readEvents(c)
	if err != nil {
		return err
	}
	if err := selectedLicense(c.Context, admin, &o); err != nil {
		return err
	}
	var list adminwire.EventList
	if list.Events, list.Next, err = everyPage(o.Cursor, c.Bool("all"), "entries", eventPages(c, admin, o)); err != nil {
		return err
	}
	if err := p.printEvents(f, list); err != nil {
		return fmt.Errorf("print the list: %w", err)
	}
	switch {
	case len(list.Events) == 0:
		p.note("no entry is selected")
	case f != formJSON:
		p.noteNext(list.Next)
	}
	return nil
}

func eventPages(c *cli.Context, admin *adminclient.Client, o adminclient.EventOptions) pages[adminwire.Event] {
	return func(cursor string) ([]adminwire.Event, string, error) {
		o.Cursor = cursor
		page, err := admin.Events(c.Context, o)
		return page.Events, page.Next, err
	}
}

func (p *program) auditExport(c *cli.Context) error {
	if _, err := arguments(c); err != nil {
		return err
	}
	o, err := p.readEvents(c)
	if err != nil {
		return err
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	if err := selectedLicense(c.Context, admin, &o); err != nil {
		return err
	}
	progress := p.progress("%d entries")
	defer progress.done()
	total, err := exportLines(c.Context, admin, o, p.out, func(total int) {
		if !p.colorful {
			progress.show(total)
		}
	})
	if err != nil && total > 0 {
		err = fmt.Errorf("after %s: %w", count(total, "entry", "entries"), err)
	}
	return err
}

func (p *program) printEvents(f string, list adminwire.EventList) error {
	switch f {
	case formJSON:
		return writeJSON(p.out, list)
	case formCSV:
		records := [][]string{{"seq", "at", "actor", "name", "address", "action", "license", "install", "product", "request", "changes", "note", "erased"}}
		for _, e := range list.Events {
			records = append(records, []string{
				strconv.FormatInt(e.Seq, 10), e.At.UTC().Format(time.RFC3339), string(e.Actor.Kind), e.Actor.Name, e.Actor.Addr, string(e.Action),
				e.License, e.Install, e.Product, e.Request, changes(e), e.Note, erasedText(e),
			})
		}
		return writeCSV(p.out, records...)
	}
	if len(list.Events) == 0 {
		return nil
	}
	t := newTable("SEQ", "TIME (UTC)", "WHO", "ACTION", "LICENCE", "WHAT")
	for _, e := range list.Events {
		what := strings.Join(slices.DeleteFunc([]string{changes(e), e.Note, erasedText(e)}, func(s string) bool { return s == "" }), "; ")
		t.add(strconv.FormatInt(e.Seq, 10), e.At.UTC().Format("2006-01-02 15:04:05"), actorText(e.Actor), string(e.Action), cmp.Or(e.License, "-"), what)
	}
	return t.flush(p.out)
}

// erasedText says that something was taken out of an entry.
func erasedText(e adminwire.Event) string {
	if e.Erased {
		return "personal data erased"
	}
	return ""
}

// changes are the facts of an entry that changed, in a line.
func changes(e adminwire.Event) string {
	names := slices.Sorted(maps.Keys(e.After))
	for _, name := range slices.Sorted(maps.Keys(e.Before)) {
		if _, both := e.After[name]; !both {
			names = append(names, name)
		}
	}
	var out []string
	for _, name := range names {
		was, before := e.Before[name]
		is, after := e.After[name]
		switch {
		case before && after:
			out = append(out, fmt.Sprintf("%s %s → %s", name, fact(was), fact(is)))
		case before:
			out = append(out, fmt.Sprintf("%s %s → none", name, fact(was)))
		default:
			out = append(out, fmt.Sprintf("%s %s", name, fact(is)))
		}
	}
	return strings.Join(out, ", ")
}

// longFact is how long a text may be, in bytes, that stands in a line as it is.
const longFact = 256

// fact is a value of JSON in a line.
func fact(v any) string {
	switch v := v.(type) {
	case nil:
		return "none"
	case string:
		if len(v) > longFact { // a token
			return strings.ToValidUTF8(v[:longFact/2], "") + "…"
		}
		return cmp.Or(v, `""`)
	}
	text, err := json.Marshal(v)
	if err != nil { // it came as JSON
		return "?"
	}
	return string(text)
}
