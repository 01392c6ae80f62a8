package main

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// What keys affected counts by.
const (
	byCustomer = "customer"
	byProduct  = "product"
	byInstall  = "install"
)

func (p *program) keysAffectedCommand() *cli.Command {
	return &cli.Command{
		Name: "affected", Usage: "list the installs that must get a new licence because of a key",
		UsageText: "licensectl keys affected [KID…] [--by customer|product|install]",
		Description: "Without KID: because of all keys that are being revoked, or were. With one that is not, what it would come to.\n" +
			"Of an anchor: the installs that have not called since a later one took over.\n" +
			"An install that calls home gets its new licence with its next call, and is not listed any more. BY HAND are those\n" +
			"that reach no server: nothing comes to them by itself, and their customers have to be told.\n\n" +
			"Examples:\n  licensectl keys affected\n  licensectl keys affected --by install --all -o csv >refresh.csv",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "by", Value: byCustomer, Usage: "count by `WHAT`: customer, product; or list each install"},
			&cli.IntFlag{Name: "limit", Usage: "with --by install: about so `MANY` on a page, up to 1000"},
			&cli.StringFlag{Name: "cursor", Usage: "with --by install: go on where a page ended, its `NEXT`"},
			&cli.BoolFlag{Name: "all", Usage: "with --by install: all pages"},
			outputFlag(formTable, formJSON, formCSV),
		},
		Action: p.keysAffected,
	}
}

func (p *program) keysAffected(c *cli.Context) error {
	o := adminclient.AffectedOptions{Keys: keyNames(c), Limit: c.Int("limit"), Cursor: c.String("cursor")}
	by := c.String("by")
	if !slices.Contains([]string{byCustomer, byProduct, byInstall}, by) {
		return usagef("--by is customer, product or install, not %q", by)
	}
	for _, name := range []string{"limit", "cursor", "all"} {
		if by != byInstall && c.IsSet(name) {
			return usagef("--%s goes with --by install", name)
		}
	}
	if err := checkLimit(c); err != nil {
		return err
	}
	f, err := form(c, formTable, formJSON, formCSV)
	if err != nil {
		return err
	}
	admin, err := p.connect(c)
	if err != nil {
		return err
	}
	if by != byInstall {
		counts, err := countAffected(c.Context, admin, by, o.Keys)
		if err != nil {
			return err
		}
		return p.printAffected(f, by, counts)
	}
	list, next, err := everyPage(o.Cursor, c.Bool("all"), "installs", affectedPages(c.Context, admin, o))
	if err != nil {
		return err
	}
	return p.printAffectedInstalls(f, list, next)
}

func affectedPages(ctx context.Context, admin *adminclient.Client, o adminclient.AffectedOptions) pages[adminwire.AffectedInstall] {
	return func(cursor string) ([]adminwire.AffectedInstall, string, error) {
		o.Cursor = cursor
		page, err := admin.Affected(ctx, o)
		return page.Installs, page.Next, err
	}
}

// affectedCount is how many installs of a product, of a customer, must get a new licence.
type affectedCount struct {
	Product  string    `json:"product"`
	Customer string    `json:"customer,omitempty"`
	Installs int       `json:"installs"`
	ByHand   int       `json:"by_hand"`
	SeenAt   time.Time `json:"seen_at"` // the last of them
}

// affectedCounts is what keys affected prints as JSON.
type affectedCounts struct {
	Installs int             `json:"installs"`
	ByHand   int             `json:"by_hand"`
	Counts   []affectedCount `json:"counts"`
}

func countAffected(ctx context.Context, admin *adminclient.Client, by string, kids []string) (affectedCounts, error) {
	out := affectedCounts{Counts: []affectedCount{}}
	at := make(map[[2]string]int)
	fetch := affectedPages(ctx, admin, adminclient.AffectedOptions{Keys: kids, Limit: maxBatch})
	_, err := fetch.each("", true, func(list []adminwire.AffectedInstall) error {
		for _, i := range list {
			key := [2]string{i.Product}
			if by == byCustomer {
				key[1] = i.Customer
			}
			n, known := at[key]
			if !known {
				n, at[key] = len(out.Counts), len(out.Counts)
				out.Counts = append(out.Counts, affectedCount{Product: key[0], Customer: key[1]})
			}
			k := &out.Counts[n]
			k.Installs, out.Installs = k.Installs+1, out.Installs+1
			if i.ByHand {
				k.ByHand, out.ByHand = k.ByHand+1, out.ByHand+1
			}
			if i.SeenAt.After(k.SeenAt) {
				k.SeenAt = i.SeenAt
			}
		}
		return nil
	})
	slices.SortFunc(out.Counts, func(a, b affectedCount) int {
		return cmp.Or(cmp.Compare(b.Installs, a.Installs), cmp.Compare(a.Product, b.Product), cmp.Compare(a.Customer, b.Customer))
	})
	return out, err
}

func (p *program) printAffected(f, by string, counts affectedCounts) error {
	switch f {
	case formJSON:
		return writeJSON(p.out, counts)
	case formCSV:
		records := [][]string{{"product", "customer", "installs", "by_hand", "seen_at"}}
		for _, k := range counts.Counts {
			records = append(records, []string{k.Product, k.Customer, strconv.Itoa(k.Installs), strconv.Itoa(k.ByHand), csvTime(&k.SeenAt)})
		}
		return writeCSV(p.out, records...)
	}
	if counts.Installs == 0 {
		p.note("no install must get a new licence")
		return nil
	}
	t := newTable("PRODUCT", "~CUSTOMER", "INSTALLS", "BY HAND", "LAST SEEN (UTC)")
	if by == byProduct {
		t = newTable("PRODUCT", "INSTALLS", "BY HAND", "LAST SEEN (UTC)")
	}
	for _, k := range counts.Counts {
		cells := []string{k.Product, k.Customer, strconv.Itoa(k.Installs), positive(k.ByHand), whenShort(&k.SeenAt, "")}
		if by == byProduct {
			cells = slices.Delete(cells, 1, 2)
		}
		t.add(cells...)
	}
	if err := t.flush(p.out); err != nil {
		return err
	}
	p.note("%s", affectedText(counts))
	return nil
}

// affectedText sums up who must get a new licence.
func affectedText(c affectedCounts) string {
	text := count(c.Installs, "install", "installs") + " must get a new licence"
	if c.ByHand > 0 {
		text += ", " + strconv.Itoa(c.ByHand) + " of them by hand: they reach no server, and nothing comes to them by itself"
	}
	return text
}

func (p *program) printAffectedInstalls(f string, list []adminwire.AffectedInstall, next string) error {
	switch f {
	case formJSON:
		return writeJSON(p.out, adminwire.AffectedList{Installs: list, Next: next})
	case formCSV:
		records := [][]string{{
			"install_id", "license_id", "product", "customer", "order", "channel", "kid", "guessed", "by_hand", "environment", "seen_at", "lease_until",
		}}
		for _, i := range list {
			records = append(records, []string{
				i.InstallID, i.LicenseID, i.Product, i.Customer, i.Order, i.Channel, i.KID, strconv.FormatBool(i.Guessed),
				strconv.FormatBool(i.ByHand), i.Environment, csvTime(&i.SeenAt), csvTime(i.LeaseUntil),
			})
		}
		if err := writeCSV(p.out, records...); err != nil {
			return err
		}
	default:
		t := newTable("~INSTALL", "LICENCE", "~CUSTOMER", "SEEN (UTC)", "REACHED")
		for _, i := range list {
			reached := "calls home"
			if i.ByHand {
				reached = "by hand"
			}
			t.add(i.InstallID, i.LicenseID, i.Customer, whenShort(&i.SeenAt, ""), reached)
		}
		if len(list) == 0 {
			p.note("no install must get a new licence")
		} else if err := t.flush(p.out); err != nil {
			return err
		}
	}
	p.noteNext(next)
	return nil
}
