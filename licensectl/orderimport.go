package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license"
)

// maxImport is how many orders the daemon takes at once.
const maxImport = 1000

// maxFaults is how many faults of a file are named.
const maxFaults = 20

func (p *program) orderImportCommand() *cli.Command {
	return &cli.Command{
		Name: "import", Usage: "record many orders from a CSV file, all or none of them",
		UsageText: "licensectl order import FILE [--dry-run]",
		Description: "The first line names the columns: " + strings.Join(importColumns(), ", ") + ".\n" +
			"Only order is required; columns that order list prints besides do not count. Times are 2027-01-31 (its beginning, UTC) or\n" +
			"RFC 3339; stage_at is since when an order has been in its stage, so that running orders keep their ages. At most 1000\n" +
			"orders. Orders that are known already and say the same change nothing. - reads standard input.\n\n" +
			"Example:\n  licensectl order import orders.csv --dry-run",
		Flags:  []cli.Flag{&cli.BoolFlag{Name: "dry-run", Usage: "check everything and record nothing"}, yesFlag(), outputFlag(formTable, formJSON)},
		Action: p.orderImport,
	}
}

func (p *program) orderImport(c *cli.Context) error {
	args, f, admin, err := p.begin(c, []string{formTable, formJSON}, "a CSV FILE")
	if err != nil {
		return err
	}
	data, err := p.readUpTo(args[0], "file of orders", adminwire.MaxImport)
	if err != nil {
		return err
	}
	orders, lines, faults := readOrders(data)
	if len(faults) > 0 {
		return p.faultyImport(args[0], faults)
	}
	out, err := admin.ImportOrders(c.Context, adminwire.ImportOrders{Orders: orders, DryRun: c.Bool("dry-run")})
	if err != nil {
		return fmt.Errorf("import %s: %w", args[0], err)
	}
	if f == formJSON {
		if err := writeJSON(p.out, out); err != nil {
			return err
		}
	}
	added := 0
	for i, o := range out.Orders {
		if o.Error != "" && i < len(lines) {
			faults = append(faults, fmt.Sprintf("line %d, %s: %s", lines[i], o.Order, o.Error))
		}
		if o.Added {
			added++
		}
	}
	switch {
	case len(faults) > 0:
		return p.faultyImport(args[0], faults)
	case f == formJSON:
		return nil
	case !out.Recorded:
		return p.say("%s would be added, %d known already; nothing was recorded", count(added, "order", "orders"), len(out.Orders)-added)
	}
	return p.say("%s added, %d known already", count(added, "order", "orders"), len(out.Orders)-added)
}

func (p *program) faultyImport(path string, faults []string) error {
	for _, text := range faults[:min(len(faults), maxFaults)] {
		p.note("%s", text)
	}
	if more := len(faults) - maxFaults; more > 0 {
		p.note("and %d more", more)
	}
	return &statusError{status: exitFailed, text: fmt.Sprintf("%s: nothing was recorded, %s", path, count(len(faults), "fault", "faults"))}
}

// importColumn puts the text of a cell into an order.
type importColumn struct {
	name string
	put  func(o *adminwire.AddOrder, text string) error
}

func importTable() []importColumn {
	text := func(to func(*adminwire.AddOrder) *string) func(*adminwire.AddOrder, string) error {
		return func(o *adminwire.AddOrder, s string) error { *to(o) = s; return nil }
	}
	number := func(to func(*adminwire.AddOrder) *int) func(*adminwire.AddOrder, string) error {
		return func(o *adminwire.AddOrder, s string) error {
			n, err := strconv.Atoi(s)
			if err != nil || n < 0 {
				return fmt.Errorf("%q is no number", s)
			}
			*to(o) = n
			return nil
		}
	}
	instant := func(to func(*adminwire.AddOrder) **time.Time) func(*adminwire.AddOrder, string) error {
		return func(o *adminwire.AddOrder, s string) error {
			at, err := parseTime(s)
			if err != nil {
				return fmt.Errorf("%q is no time", s)
			}
			*to(o) = &at
			return nil
		}
	}
	return []importColumn{
		{"order", text(func(o *adminwire.AddOrder) *string { return &o.Order })},
		{"line", text(func(o *adminwire.AddOrder) *string { return &o.Line })},
		{"channel", text(func(o *adminwire.AddOrder) *string { return &o.Channel })},
		{"stage", func(o *adminwire.AddOrder, s string) (err error) {
			o.Stage, err = license.ParseStage(strings.ReplaceAll(strings.ToLower(s), "-", "_"))
			if err != nil {
				err = fmt.Errorf("%q is no stage; the stages are %s", s, stageNames())
			}
			return err
		}},
		{"stage_at", instant(func(o *adminwire.AddOrder) **time.Time { return &o.StageAt })},
		{"rejections", number(func(o *adminwire.AddOrder) *int { return &o.Rejections })},
		{"marketplace_product", text(func(o *adminwire.AddOrder) *string { return &o.Offer })},
		{"amount", number(func(o *adminwire.AddOrder) *int { return &o.Amount })},
		{"customer", text(func(o *adminwire.AddOrder) *string { return &o.Customer })},
		{"license", text(func(o *adminwire.AddOrder) *string { return &o.License })},
		{"ordered_at", instant(func(o *adminwire.AddOrder) **time.Time { return &o.OrderedAt })},
		{"expires_at", instant(func(o *adminwire.AddOrder) **time.Time { return &o.ExpiresAt })},
		{"note", text(func(o *adminwire.AddOrder) *string { return &o.Note })},
	}
}

func importColumns() (names []string) {
	for _, c := range importTable() {
		names = append(names, c.name)
	}
	return names
}

// readOrders reads a CSV file of orders: those, the lines that they stand on, and
// what is wrong, by its line.
func readOrders(data []byte) (orders []adminwire.AddOrder, lines []int, faults []string) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))))
	r.TrimLeadingSpace = true
	head, err := r.Read()
	if err != nil {
		return nil, nil, []string{"line 1: there is no line that names the columns"}
	}
	columns, fault := readHead(head)
	if fault != "" {
		return nil, nil, []string{"line 1: " + fault}
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if broken, ok := errors.AsType[*csv.ParseError](err); ok {
			faults = append(faults, fmt.Sprintf("line %d: %v", broken.Line, broken.Err))
			if errors.Is(err, csv.ErrFieldCount) {
				continue
			}
			return orders, lines, faults // where the next record begins is not known
		}
		if err != nil {
			return orders, lines, append(faults, err.Error())
		}
		line, _ := r.FieldPos(0)
		if len(orders) == maxImport {
			return orders, lines, append(faults, fmt.Sprintf("line %d: there are more than %d orders; import them in parts", line, maxImport))
		}
		o, wrong := readOrder(columns, record)
		for _, w := range wrong {
			faults = append(faults, fmt.Sprintf("line %d, %s", line, w))
		}
		orders, lines = append(orders, o), append(lines, line)
	}
	if len(orders) == 0 && len(faults) == 0 {
		faults = []string{"line 2: there is no order"}
	}
	return orders, lines, faults
}

// readHead finds what the columns mean; one without a name in the result does not count.
func readHead(head []string) (columns []importColumn, fault string) {
	known, seen := importTable(), map[string]bool{}
	for _, cell := range head {
		name := strings.ToLower(strings.TrimSpace(cell))
		i := slices.IndexFunc(known, func(c importColumn) bool { return c.name == name })
		switch {
		case seen[name]:
			return nil, fmt.Sprintf("the column %q stands there twice", name)
		case i >= 0:
			columns = append(columns, known[i])
		case slices.Contains(orderCSVHead(), name):
			columns = append(columns, importColumn{})
		default:
			return nil, fmt.Sprintf("there is no column %q; the columns are %s", name, strings.Join(importColumns(), ", "))
		}
		seen[name] = true
	}
	if !seen["order"] {
		return nil, "there is no column order"
	}
	return columns, ""
}

func readOrder(columns []importColumn, record []string) (o adminwire.AddOrder, wrong []string) {
	for i, c := range columns {
		text := strings.TrimSpace(fromCell(record[i]))
		if c.put == nil || text == "" || c.name == "line" && text == "-" {
			continue
		}
		if err := c.put(&o, text); err != nil {
			wrong = append(wrong, c.name+": "+err.Error())
		}
	}
	if _, err := orderID(o.Order); err != nil {
		wrong = append(wrong, "order: the id of an order is required")
	}
	return o, wrong
}

// parseTime reads a cell that holds a time: RFC 3339, or a day, which is taken at
// its beginning in UTC.
func parseTime(s string) (t time.Time, err error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err = time.ParseInLocation(layout, s, time.UTC); err == nil {
			break
		}
	}
	return t.UTC(), err
}
