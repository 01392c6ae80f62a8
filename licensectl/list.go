package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

func (p *program) listCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Category: "Licences", Usage: "list licences, oldest first",
		UsageText: "licensectl list [OPTIONS]",
		Description: "Examples:\n" +
			"  licensectl list --product demo --state active --expiring-within 30d\n" +
			"  licensectl list --all -o csv >licences.csv",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "state", Usage: "only in this `STATE`: " + stateNames()},
			&cli.StringFlag{Name: "product", Usage: "only of this product, by `ID`"},
			&cli.StringFlag{Name: "customer", Usage: "only of this customer, by `NAME`"},
			&cli.StringFlag{Name: "order", Usage: "only of this order, by `NUMBER`"},
			&cli.StringFlag{Name: "channel", Usage: "only from this `CHANNEL`: manual or a marketplace entry"},
			&cli.StringFlag{Name: "last4", Usage: "only with a code that ends in these four `CHARACTERS`"},
			&cli.BoolFlag{Name: "forked", Usage: "only those of which forks were recorded: signs of copies"},
			&cli.BoolFlag{Name: "trial", Usage: "only trials"},
			&cli.StringFlag{Name: "expiring-within", Usage: "only those that end within this `DURATION`, as 30d"},
		}, pageFlags()...),
		Action: p.list,
	}
}

func stateNames() string {
	var names []string
	for _, s := range license.States() {
		names = append(names, string(s))
	}
	slices.Reverse(names)
	return strings.Join(names, ", ")
}

func (p *program) list(c *cli.Context) error {
	_, f, err := commandLine(c, []string{formTable, formJSON, formCSV})
	if err != nil {
		return err
	}
	o, err := readList(c)
	if err != nil {
		return err
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	out := p.pager(f, o.Forked)
	progress := p.progress("%d licences")
	defer progress.done()
	total := 0
	fetch := pages[adminwire.License](func(cursor string) ([]adminwire.License, string, error) {
		o.Cursor = cursor
		page, err := admin.Licenses(c.Context, o)
		if err != nil && total > 0 {
			err = fmt.Errorf("after %d licences: %w", total, err)
		}
		return page.Licenses, page.Next, nameProducts(c.Context, admin, err)
	})
	next, err := fetch.each(o.Cursor, c.Bool("all"), func(page []adminwire.License) error {
		if err := out.page(page); err != nil {
			return fmt.Errorf("print the list: %w", err)
		}
		if total += len(page); !p.colorful {
			progress.show(total)
		}
		return nil
	})
	if err != nil {
		return err
	}
	progress.done()
	if err := out.end(next); err != nil {
		return fmt.Errorf("print the list: %w", err)
	}
	switch {
	case total == 0:
		p.note("no licence is selected")
	case f != formJSON:
		p.noteNext(next)
	}
	return nil
}

func readList(c *cli.Context) (adminclient.ListOptions, error) {
	o := adminclient.ListOptions{
		Product: c.String("product"), Customer: c.String("customer"), Order: c.String("order"), Channel: c.String("channel"),
		Last4: c.String("last4"), Forked: c.Bool("forked"), Trial: c.Bool("trial"), ExpiringWithin: c.String("expiring-within"), Limit: c.Int("limit"), Cursor: c.String("cursor"),
	}
	if n := utf8.RuneCountInString(o.Last4); n > 4 {
		return o, usagef("--last4 takes the last four characters of a code, and %q has %d", o.Last4, n)
	}
	if s := c.String("state"); s != "" {
		state, err := license.ParseState(strings.ToLower(s))
		if err != nil {
			return o, usagef("--state %q is none of %s", s, stateNames())
		}
		o.State = state
	}
	if o.ExpiringWithin != "" {
		if err := checkDuration("--expiring-within", o.ExpiringWithin); err != nil {
			return o, err
		}
	}
	return o, checkLimit(c)
}

// nameProducts adds to a refusal of a product which ones there are.
func nameProducts(ctx context.Context, admin *adminclient.Client, err error) error {
	var l *license.Error
	if !errors.As(err, &l) || l.Reason != license.BadRequest || l.Field != "product" {
		return err
	}
	s, statusErr := admin.Status(ctx)
	if statusErr != nil {
		return err
	}
	return usagef("%s; the daemon has: %s", l.Detail, strings.Join(s.Products, ", "))
}

// pager prints a list page by page.
type pager interface {
	page([]adminwire.License) error
	end(next string) error
}

func (p *program) pager(form string, forked bool) pager {
	switch form {
	case formJSON:
		return &jsonPager[adminwire.License]{w: p.out}
	case formCSV:
		return &csvPager{w: p.out}
	}
	columns := []string{"LICENCE", "CODE", "~PRODUCT", "~CUSTOMER", "STATE", "ENDS (UTC)", "USED"}
	if forked {
		columns = append(columns, "FORKS", "LAST (UTC)")
	}
	return &tablePager{w: p.out, t: newTable(columns...), forked: forked}
}

// tablePager keeps the columns of the first page.
type tablePager struct {
	w      io.Writer
	t      *table
	forked bool // forks have a column
}

func (g *tablePager) page(list []adminwire.License) error {
	if len(list) == 0 {
		return nil
	}
	for _, l := range list {
		cells := []string{
			l.ID, "…" + l.CodeLast4, l.Product, l.Customer, stateShort(l), whenShort(l.ExpiresAt, "never"),
			fmt.Sprintf("%d/%d", seatsTaken(l), l.Machines),
		}
		if g.forked {
			cells = append(cells, strconv.Itoa(l.Forks), whenShort(l.ForkedAt, ""))
		}
		g.t.add(cells...)
	}
	return g.t.flush(g.w)
}

func (*tablePager) end(string) error { return nil }

// stateShort is the state of a licence, and whether it is a trial.
func stateShort(l adminwire.License) string {
	if l.Trial {
		return string(l.State) + ", trial"
	}
	return string(l.State)
}

// overageOf is how many machines more a licence lets in.
func overageOf(l adminwire.License) int {
	if l.OverageInForce == nil {
		return 0
	}
	return *l.OverageInForce
}

// seatsTaken is how many machines, or floating installs, use a licence.
func seatsTaken(l adminwire.License) int { return l.InUse }

// csvPager writes one record for each licence.
type csvPager struct {
	w    io.Writer
	head bool
}

func (g *csvPager) page(list []adminwire.License) error {
	var records [][]string
	if !g.head {
		g.head = true
		records = append(records, csvHead())
	}
	for _, l := range list {
		records = append(records, csvRow(l))
	}
	return writeCSV(g.w, records...)
}

func (*csvPager) end(string) error { return nil }

func csvHead() []string {
	return []string{
		"id", "code_last4", "product", "customer", "channel", "order", "state", "issued_at", "activated_at", "expires_at",
		"released_at", "revoked_at", "revoke_reason", "holds", "machines", "mode", "features", "installs", "forks", "forked_at",
		"trial", "in_use", "overage",
	}
}

func csvRow(l adminwire.License) []string {
	live := 0
	for _, i := range l.Installs {
		if i.State == license.InstallLive && i.OnMachine() {
			live++
		}
	}
	return []string{
		l.ID, l.CodeLast4, l.Product, l.Customer, l.Channel, l.Order, string(l.State), csvTime(l.IssuedAt), csvTime(l.ActivatedAt),
		csvTime(l.ExpiresAt), csvTime(l.ReleasedAt), csvTime(l.RevokedAt), l.RevokeReason, strings.Join(l.Holds, " "),
		strconv.Itoa(l.Machines), string(l.Mode), featureText(l.Features), strconv.Itoa(live), strconv.Itoa(l.Forks),
		csvTime(l.ForkedAt), strconv.FormatBool(l.Trial), strconv.Itoa(l.InUse), strconv.Itoa(overageOf(l)),
	}
}

// jsonPager writes one document without holding it all.
type jsonPager[T any] struct {
	w     io.Writer
	begun bool
}

func (g *jsonPager[T]) page(list []T) error {
	for _, l := range list {
		data, err := json.MarshalIndent(l, "    ", "  ")
		if err != nil {
			return err
		}
		before := ",\n    "
		if !g.begun {
			g.begun, before = true, "{\n  \"licenses\": [\n    "
		}
		if _, err := io.WriteString(g.w, before+string(data)); err != nil {
			return err
		}
	}
	return nil
}

func (g *jsonPager[T]) end(next string) error {
	if !g.begun {
		return writeJSON(g.w, adminwire.LicenseList{Licenses: []adminwire.License{}, Next: next})
	}
	cursor, err := json.Marshal(next)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(g.w, "\n  ],\n  \"next\": %s\n}\n", cursor)
	return err
}
