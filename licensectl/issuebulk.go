package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/seed-357fa782/licensed/internal/adminclient"
	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/license"
)

// remembers is how long the daemon is sure to know what it has issued under a key, with
// something to spare.
const remembers = 23 * time.Hour

// bulk is one run of issue --from.
type bulk struct {
	p       *program
	admin   *adminclient.Client
	path    string
	file    *issueFile
	batches []batch
	job     string     // names what is asked for, to the daemon
	codes   *codesFile // nil: to standard output
	form    string
	list    jsonPager[bulkMade]
	table   *table
}

// issueFrom issues what a file asks for.
func (p *program) issueFrom(c *cli.Context) (err error) {
	f, err := form(c, formTable, formJSON, formCSV)
	if err != nil {
		return err
	}
	b := &bulk{p: p, path: c.String("from"), form: f, list: jsonPager[bulkMade]{w: p.out}}
	if err := b.read(c); err != nil {
		return err
	}
	if b.admin, err = p.connect(c); err != nil {
		return err
	}
	status, err := b.admin.Status(c.Context)
	if err != nil {
		return err
	}
	if err := b.settle(c, cmp.Or(status.TimeZone, "UTC")); err != nil {
		return err
	}
	var digest string
	if b.batches, digest, err = b.file.cutUp(); err != nil {
		return err
	}
	b.job = "issue-" + digest[:sourceLength]
	done := 0
	if path := c.String("codes"); path != "" && !c.Bool("dry-run") && len(b.file.faults) == 0 {
		if b.codes, err = openCodes(path, digest, b.file.rows); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, b.codes.close()) }()
		done = len(b.codes.have)
	}
	b.file.against(status.Products, p.now(), done)
	if err := b.faulty(); err != nil {
		return err
	}
	if c.Bool("dry-run") {
		return b.check(c.Context)
	}
	if err := b.recent(c, done); err != nil {
		return err
	}
	return b.run(c.Context, done)
}

// read reads the file and the options that go with it.
func (b *bulk) read(c *cli.Context) error {
	switch {
	case c.IsSet("count"):
		return usagef("-n does not go with --from: a line makes one licence")
	case c.IsSet("idempotency-key"):
		return usagef("--idempotency-key does not go with --from, which makes a key for each batch")
	case c.Int("overage") < 0:
		return usagef("--overage must be 0 or more")
	case c.IsSet("machines") && c.Int("machines") < 1:
		return usagef("--machines must be 1 or more")
	}
	rest := adminwire.BulkRow{
		Product: c.String("product"), Customer: c.String("customer"), Order: c.String("order"), Machines: c.Int("machines"),
		Trial: c.Bool("trial"),
	}
	if c.IsSet("overage") {
		rest.Overage = new(c.Int("overage"))
	}
	var err error
	if rest.Features, err = parseFeatures(c.StringSlice("feature")); err != nil {
		return err
	}
	if rest.Phases, err = readPhases(c); err != nil {
		return err
	}
	day := ""
	if c.IsSet("expires") || c.IsSet("for") || c.IsSet("perpetual") {
		e, err := b.p.readEnd(c)
		if err != nil {
			return err
		}
		rest.ExpiresAt, rest.For, rest.Perpetual, day = e.at, e.in, e.perpetual, e.day
	}
	data, err := b.p.readUpTo(b.path, "file of licences", maxIssueFile)
	if err != nil {
		return err
	}
	b.file = readIssueFile(b.path, data, rest, day)
	return nil
}

// settle takes days to their ends, and says in which zone.
func (b *bulk) settle(c *cli.Context, zoneOfDaemon string) error {
	if !b.file.hasDays() {
		if c.IsSet("zone") {
			return usagef("--zone goes with ends that are dates without a time, and there is none")
		}
		return nil
	}
	zone, err := b.p.readZone(c, true)
	if err != nil {
		return err
	}
	if zone == nil {
		if zone, err = config.ParseZone(zoneOfDaemon); err != nil {
			return fmt.Errorf("time_zone of the daemon: %w", err)
		}
	}
	b.file.settle(zone)
	b.p.note("dates without a time are taken to their end in %s", zone)
	return nil
}

// faulty names what is wrong with the file.
func (b *bulk) faulty() error {
	faults := b.file.faults
	if len(faults) == 0 {
		return nil
	}
	slices.SortStableFunc(faults, func(a, b fault) int { return a.line - b.line })
	for _, f := range faults[:min(len(faults), maxFaults)] {
		b.p.note("%s", printable(f.String()))
	}
	if more := len(faults) - maxFaults; more > 0 {
		b.p.note("and %d more", more)
	}
	return &statusError{status: exitFailed, text: fmt.Sprintf("%s: nothing was issued, %s", b.path, count(len(faults), "fault", "faults"))}
}

// recent refuses to go on with what was begun so long ago that the daemon may have
// forgotten what it has issued.
func (b *bulk) recent(c *cli.Context, done int) error {
	if done == 0 || done == len(b.file.rows) || c.Bool("yes") || b.p.now().Sub(b.codes.last) < remembers {
		return nil
	}
	next := b.file.rows[done]
	return fmt.Errorf("%s was written last on %s: if the daemon has issued line %d since, it may not remember, and would issue it again; "+
		"look with licensectl audit list --action license.issue --since %s, then go on with --yes",
		b.codes.path, when(&b.codes.last, ""), next.line, b.codes.last.UTC().Format(time.RFC3339))
}

// run issues the batches that are not done.
func (b *bulk) run(ctx context.Context, done int) error {
	total, from := len(b.file.rows), done
	progress := b.p.progress("issued %d of %d%s")
	defer progress.done()
	begun := b.p.now()
	for n, part := range b.batches {
		if part.to <= done {
			continue
		}
		skip := max(0, done-part.from)
		if err := b.issue(ctx, n, part, skip); err != nil {
			progress.done()
			return b.stopped(err, done, total)
		}
		done = part.to
		progress.show(done, total, pace(done-from, total-done, b.p.now().Sub(begun)))
	}
	progress.done()
	return b.finish(from, total)
}

// stopped says how far it came, and how to go on.
func (b *bulk) stopped(err error, done, total int) error {
	if b.codes == nil {
		return fmt.Errorf("%d of %d licences were issued, then: %w", done, total, err)
	}
	b.p.note("the codes of %d of %s are in %s; the same command again goes on there", done, count(total, "licence", "licences"), b.codes.path)
	return err
}

// issue issues one batch and puts its codes where they belong.
func (b *bulk) issue(ctx context.Context, n int, part batch, skip int) error {
	rows := b.file.rows[part.from:part.to]
	out, err := b.admin.IssueMany(ctx, wireRows(rows), fmt.Sprintf("%s-%d", b.job, n+1))
	if err != nil {
		return b.named(err, rows)
	}
	if err := b.refused(out, rows); err != nil {
		return err
	}
	if b.codes != nil {
		return b.codes.put(rows, out.Licenses, skip)
	}
	return b.print(rows, out.Licenses)
}

// refused names the lines that the daemon does not take.
func (b *bulk) refused(out adminwire.BulkIssued, rows []issueRow) error {
	if len(out.Errors) > 0 {
		for _, e := range out.Errors {
			if e.Row < 0 || e.Row >= len(rows) {
				return fmt.Errorf("the daemon refuses row %d of %d: %s", e.Row, len(rows), e.Detail)
			}
			text := e.Detail
			if e.Field != "" {
				text = e.Field + ": " + text
			}
			b.file.fault(rows[e.Row].line, "%s", text)
		}
		return b.faulty()
	}
	if len(out.Licenses) != len(rows) {
		return fmt.Errorf("the daemon made %d licences where %d were asked for", len(out.Licenses), len(rows))
	}
	return nil
}

// named puts a line to a refusal of a whole batch that names one of its rows.
func (*bulk) named(err error, rows []issueRow) error {
	refused, ok := errors.AsType[*license.Error](err)
	row, field := 0, ""
	if ok {
		if n, _ := fmt.Sscanf(refused.Field, "rows[%d].%s", &row, &field); n == 2 && row >= 0 && row < len(rows) {
			return fmt.Errorf("line %d: %s: %s", rows[row].line, field, refused.Detail)
		}
	}
	return err
}

// check lets the daemon look at all batches without issuing anything.
func (b *bulk) check(ctx context.Context) error {
	progress := b.p.progress("checked %d of %d%s")
	defer progress.done()
	begun, total := b.p.now(), len(b.file.rows)
	for _, part := range b.batches {
		rows := b.file.rows[part.from:part.to]
		out, err := b.admin.IssueMany(ctx, wireRows(rows), "") // the client is one for a dry run
		if err != nil {
			return b.named(err, rows)
		}
		for _, e := range out.Errors {
			if e.Row >= 0 && e.Row < len(rows) {
				b.file.fault(rows[e.Row].line, "%s: %s", e.Field, e.Detail)
			}
		}
		progress.show(part.to, total, pace(part.to, total-part.to, b.p.now().Sub(begun)))
	}
	progress.done()
	if err := b.faulty(); err != nil {
		return err
	}
	if b.form == formJSON {
		return writeJSON(b.p.out, bulkSummary{Rows: total, DryRun: true})
	}
	return b.p.say("%s would be issued; nothing was", count(total, "licence", "licences"))
}

func wireRows(rows []issueRow) []adminwire.BulkRow {
	out := make([]adminwire.BulkRow, len(rows))
	for i, r := range rows {
		out[i] = r.BulkRow
	}
	return out
}

// pace is how fast it goes, and how long it will take still.
func pace(done, left int, took time.Duration) string {
	if took <= 0 || done == 0 {
		return ""
	}
	text := fmt.Sprintf(", %.0f a second", float64(done)/took.Seconds())
	if eta := time.Duration(float64(took) / float64(done) * float64(left)); eta >= time.Second {
		text += ", " + roughly(eta) + " left"
	}
	return text
}

// bulkSummary is what issue --from --codes prints as JSON.
type bulkSummary struct {
	Rows    int    `json:"rows"`
	Issued  int    `json:"issued"`  // by this run
	Already int    `json:"already"` // by runs before, as the file of codes says
	Codes   string `json:"codes,omitempty"`
	DryRun  bool   `json:"dry_run,omitempty"`
}

// finish says what was done.
func (b *bulk) finish(already, total int) error {
	issued := total - already
	if b.codes == nil {
		if b.form == formJSON {
			return b.list.end("")
		}
		b.p.note("issued %s; the codes are not shown again", count(issued, "licence", "licences"))
		return nil
	}
	switch {
	case b.form == formJSON:
		return writeJSON(b.p.out, bulkSummary{Rows: total, Issued: issued, Already: already, Codes: b.codes.path})
	case issued == 0:
		return b.p.say("all %s were issued before, their codes are in %s: nothing changed", count(total, "licence", "licences"), b.codes.path)
	case already > 0:
		return b.p.say("issued %s, %d were before; their codes are in %s", count(issued, "licence", "licences"), already, b.codes.path)
	}
	return b.p.say("issued %s; their codes are in %s", count(issued, "licence", "licences"), b.codes.path)
}

// bulkMade is a licence that was made for a line.
type bulkMade struct {
	Line      int        `json:"line"`
	ID        string     `json:"id"`
	Code      string     `json:"code"`
	Product   string     `json:"product"`
	Customer  string     `json:"customer"`
	Order     string     `json:"order"`
	ExpiresAt *time.Time `json:"expires_at"`
}

// print shows a batch on standard output.
func (b *bulk) print(rows []issueRow, made []adminwire.BulkLicense) error {
	switch b.form {
	case formJSON:
		list := make([]bulkMade, len(rows))
		for i, r := range rows {
			list[i] = bulkMade{r.line, made[i].ID, made[i].Code, r.Product, r.Customer, r.Order, made[i].ExpiresAt}
		}
		return b.list.page(list)
	case formCSV:
		var out bytes.Buffer
		var records [][]string
		if b.table == nil { // the first batch
			b.table = newTable("LINE")
			records = append(records, codesHead[:len(codesHead)-1])
		}
		for i, r := range rows {
			records = append(records, []string{fmt.Sprint(r.line), made[i].Code, made[i].ID, r.Product, r.Customer, r.Order, csvTime(made[i].ExpiresAt)})
		}
		if err := writeCSV(&out, records...); err != nil {
			return err
		}
		_, err := out.WriteTo(b.p.out)
		return err
	}
	if b.table == nil {
		b.table = newTable("LINE", "CODE", "LICENCE", "~CUSTOMER", "ENDS (UTC)")
	}
	for i, r := range rows {
		b.table.add(fmt.Sprint(r.line), made[i].Code, made[i].ID, r.Customer, whenShort(made[i].ExpiresAt, "never"))
	}
	return b.table.flush(b.p.out)
}
