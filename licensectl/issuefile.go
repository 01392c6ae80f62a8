package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/config"
	"github.com/seed-357fa782/licensed/license"
)

// What a file of licences to issue may hold at most.
const (
	maxIssueFile = 512 << 20
	maxIssueRows = 1_000_000
	maxIssueLine = 64 << 10
)

// issueRow is one licence that a file asks for.
type issueRow struct {
	line int // in the file, from 1
	adminwire.BulkRow
	day string // expires_at without a time: ExpiresAt follows once the zone is known

	full bool // the row says that it is no trial
}

// issueFile reads a file of licences to issue. What a row leaves out is taken from
// rest, which the command line gives.
type issueFile struct {
	rest   adminwire.BulkRow
	day    string // the end of rest, where it is a day
	rows   []issueRow
	faults []fault
}

// fault is what is wrong with a line of a file.
type fault struct {
	line int
	text string
}

func (f fault) String() string { return fmt.Sprintf("line %d: %s", f.line, f.text) }

// readIssueFile reads data, which is JSON Lines where the name says so, else CSV.
func readIssueFile(name string, data []byte, rest adminwire.BulkRow, day string) *issueFile {
	f := &issueFile{rest: rest, day: day}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	switch ext := strings.ToLower(filepath.Ext(name)); {
	case !utf8.Valid(data):
		f.fault(1+bytes.Count(data[:validLength(data)], []byte("\n")), "the text is not UTF-8; save the file as UTF-8")
	case ext == ".jsonl" || ext == ".ndjson":
		f.readLines(data)
	default:
		f.readCSV(data)
	}
	if len(f.rows) == 0 && len(f.faults) == 0 {
		f.fault(2, "there is no licence to issue")
	}
	return f
}

// validLength is how much of data is UTF-8.
func validLength(data []byte) int {
	for n := 0; n < len(data); {
		r, size := utf8.DecodeRune(data[n:])
		if r == utf8.RuneError && size == 1 {
			return n
		}
		n += size
	}
	return len(data)
}

func (f *issueFile) fault(line int, format string, args ...any) {
	f.faults = append(f.faults, fault{line, fmt.Sprintf(format, args...)})
}

// add checks a row and keeps it; it reports false where there are too many.
func (f *issueFile) add(r issueRow) bool {
	if len(f.rows) == maxIssueRows {
		f.fault(r.line, "there are more than %d licences; issue them in parts", maxIssueRows)
		return false
	}
	f.complete(&r)
	f.check(r)
	f.rows = append(f.rows, r)
	return true
}

// complete takes from the command line what a row leaves out.
func (f *issueFile) complete(r *issueRow) {
	if r.Product == "" {
		r.Product = f.rest.Product
	}
	if r.Customer == "" {
		r.Customer = f.rest.Customer
	}
	if r.Order == "" {
		r.Order = f.rest.Order
	}
	// The end of all the others is not meant for what only this row calls a trial.
	own := r.Trial && !f.rest.Trial
	if r.ExpiresAt == nil && r.day == "" && r.For == "" && !r.Perpetual && !own {
		r.ExpiresAt, r.day, r.For, r.Perpetual = f.rest.ExpiresAt, f.day, f.rest.For, f.rest.Perpetual
	}
	if r.Machines == 0 {
		r.Machines = f.rest.Machines
	}
	if len(r.Features) == 0 {
		r.Features = f.rest.Features
	}
	lease, refresh := cmp.Or(r.Phases.Lease, f.rest.Phases.Lease), cmp.Or(r.Phases.Refresh, f.rest.Phases.Refresh)
	if r.Phases.Lease, r.Phases.Refresh = "", ""; r.Phases == (adminwire.Phases{}) {
		r.Phases = f.rest.Phases
	}
	r.Phases.Lease, r.Phases.Refresh = lease, refresh
	if r.Overage == nil {
		r.Overage = f.rest.Overage
	}
	r.Trial = r.Trial || f.rest.Trial && !r.full
}

// check finds what the daemon would refuse, as far as that can be known here.
func (f *issueFile) check(r issueRow) {
	given := 0
	for _, is := range []bool{r.ExpiresAt != nil || r.day != "", r.For != "", r.Perpetual} {
		if is {
			given++
		}
	}
	switch {
	case r.Trial && given == 0: // it lasts as long as the product says
	case r.Trial && r.Perpetual:
		f.fault(r.line, "a trial has an end, and is not perpetual")
	case given != 1:
		f.fault(r.line, "exactly one of expires_at, for and perpetual is needed, there are %d", given)
	}
	if r.Product == "" {
		f.fault(r.line, "there is no product")
	}
	for _, t := range []struct {
		name, text string
		most       int
	}{{"product", r.Product, 128}, {"customer", r.Customer, 256}, {"order", r.Order, 128}} {
		if n := utf8.RuneCountInString(t.text); n > t.most {
			f.fault(r.line, "%s has %d characters, %d is the most", t.name, n, t.most)
		}
		if strings.ContainsFunc(t.text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			f.fault(r.line, "%s holds a character that cannot be printed", t.name)
		}
	}
	if r.Machines < 0 || r.Machines > 1_000_000 {
		f.fault(r.line, "machines %d is not between 1 and 1000000", r.Machines)
	}
	if r.For != "" {
		if d, err := config.ParseDuration(r.For); err != nil {
			f.fault(r.line, "for: %v", err)
		} else if d <= 0 {
			f.fault(r.line, "for %q is not longer than nothing", r.For)
		}
	}
	if r.Overage != nil && (*r.Overage < 0 || *r.Overage > license.MaxMachines) {
		f.fault(r.line, "overage %d is not between 0 and %d", *r.Overage, license.MaxMachines)
	}
	for _, d := range []struct{ name, text string }{
		{"phases warn", r.Phases.Warn}, {"phases grace", r.Phases.Grace}, {"lease", r.Phases.Lease}, {"refresh", r.Phases.Refresh},
	} {
		if v, err := config.ParseDuration(d.text); d.text != "" && (err != nil || v < 0) {
			f.fault(r.line, "%s %q is no duration such as 30d", d.name, d.text)
		}
	}
	if e := string(r.Phases.Enforcement); e != "" && !slices.Contains(enforcements, e) {
		f.fault(r.line, "phases enforcement %q is none of %s", e, strings.Join(enforcements, ", "))
	}
}

// issueColumns are the columns of a CSV file.
var issueColumns = []string{"product", "customer", "order", "expires_at", "for", "perpetual", "machines", "features", "phases", "lease", "refresh", "overage", "trial"}

func (f *issueFile) readCSV(data []byte) {
	r := csv.NewReader(bytes.NewReader(data))
	r.TrimLeadingSpace, r.ReuseRecord = true, true
	head, err := r.Read()
	if err != nil {
		f.fault(1, "there is no line that names the columns: %s", strings.Join(issueColumns, ", "))
		return
	}
	columns, fault := readIssueHead(head)
	if fault != "" {
		f.fault(1, "%s", fault)
		return
	}
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if broken, ok := errors.AsType[*csv.ParseError](err); ok {
			f.fault(broken.Line, "%v", broken.Err)
			if errors.Is(err, csv.ErrFieldCount) {
				continue
			}
			return // where the next record begins is not known
		}
		if err != nil {
			f.fault(1, "%v", err)
			return
		}
		line, _ := r.FieldPos(0)
		row := issueRow{line: line}
		before := len(f.faults)
		for i, cell := range record {
			if err := row.put(columns[i], strings.TrimSpace(fromCell(cell))); err != nil {
				f.fault(line, "%s: %v", columns[i], err)
			}
		}
		if len(f.faults) == before && !f.add(row) {
			return
		}
	}
}

func readIssueHead(head []string) (columns []string, fault string) {
	for _, cell := range head {
		name := strings.ToLower(strings.TrimSpace(cell))
		switch {
		case slices.Contains(columns, name):
			return nil, fmt.Sprintf("the column %q stands there twice", name)
		case len(head) == 1 && strings.ContainsAny(name, ";\t"):
			return nil, "the columns must be separated by commas"
		case !slices.Contains(issueColumns, name):
			return nil, fmt.Sprintf("there is no column %q; the columns are %s", name, strings.Join(issueColumns, ", "))
		}
		columns = append(columns, name)
	}
	return columns, ""
}

// put reads one cell of a CSV file.
func (r *issueRow) put(column, text string) (err error) {
	if text == "" {
		return nil
	}
	switch column {
	case "product":
		r.Product = text
	case "customer":
		r.Customer = text
	case "order":
		r.Order = text
	case "expires_at":
		return r.putEnd(text)
	case "for":
		r.For = text
	case "perpetual":
		if r.Perpetual, err = strconv.ParseBool(strings.ToLower(text)); err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
	case "machines":
		if r.Machines, err = strconv.Atoi(text); err != nil || r.Machines < 1 {
			return fmt.Errorf("%q is no number of machines", text)
		}
	case "features":
		var pairs []string
		for pair := range strings.SplitSeq(text, ";") {
			if pair = strings.TrimSpace(pair); pair != "" {
				pairs = append(pairs, pair)
			}
		}
		if r.Features, err = parseFeatures(pairs); err != nil {
			return errors.New(strings.TrimPrefix(err.Error(), "--feature "))
		}
	case "phases":
		return r.putPhases(text)
	case "lease":
		return putOnce(&r.Phases.Lease, text)
	case "refresh":
		return putOnce(&r.Phases.Refresh, text)
	case "overage":
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is no number of machines", text)
		}
		r.Overage = &n
	case "trial":
		if r.Trial, err = strconv.ParseBool(strings.ToLower(text)); err != nil {
			return fmt.Errorf("%q is neither true nor false", text)
		}
		r.full = !r.Trial
	}
	return nil
}

// putOnce sets what may stand among the phases as well.
func putOnce(into *string, text string) error {
	if *into != "" && *into != text {
		return fmt.Errorf("it is given twice, as %q and %q", *into, text)
	}
	*into = text
	return nil
}

func (r *issueRow) putEnd(text string) error {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		at = at.UTC().Truncate(time.Second)
		r.ExpiresAt = &at
		return nil
	}
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		return fmt.Errorf("%q is no date; write 2027-01-31 (its end, in the zone of --zone) or 2027-01-31T18:00:00+08:00", text)
	}
	r.day = text
	return nil
}

func (r *issueRow) putPhases(text string) error {
	for pair := range strings.SplitSeq(text, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		switch {
		case name == "":
			continue
		case !ok || value == "":
			return fmt.Errorf("%q is not of the form warn=60d;grace=30d;enforcement=degrade", pair)
		case name == "warn":
			r.Phases.Warn = value
		case name == "grace":
			r.Phases.Grace = value
		case name == "lease" && (r.Phases.Lease == "" || r.Phases.Lease == value):
			r.Phases.Lease = value
		case name == "refresh" && (r.Phases.Refresh == "" || r.Phases.Refresh == value):
			r.Phases.Refresh = value
		case name == "lease" || name == "refresh":
			return fmt.Errorf("%s is given twice", name)
		case name == "enforcement":
			r.Phases.Enforcement = license.Enforcement(strings.ToLower(value))
		default:
			return fmt.Errorf("%q is none of warn, grace, enforcement, lease, refresh", name)
		}
	}
	return nil
}

// settle takes days to their ends in a zone.
func (f *issueFile) settle(zone *time.Location) {
	ends := map[string]time.Time{}
	for i := range f.rows {
		r := &f.rows[i]
		if r.day == "" {
			continue
		}
		at, known := ends[r.day]
		if !known {
			var err error
			if at, err = license.EndOfDay(r.day, zone); err != nil {
				f.fault(r.line, "expires_at %q: %v", r.day, err)
				continue
			}
			ends[r.day] = at
		}
		r.ExpiresAt = &at
	}
}

// against finds what is wrong with the rows from one on, by what the daemon says of
// itself.
func (f *issueFile) against(products []string, now time.Time, from int) {
	for _, r := range f.rows[from:] {
		if r.Product != "" && !slices.Contains(products, r.Product) {
			f.fault(r.line, "there is no product %q; the daemon has: %s", r.Product, strings.Join(products, ", "))
		}
		if r.ExpiresAt != nil && !r.ExpiresAt.After(now) {
			f.fault(r.line, "the end, %s, is not in the future", r.ExpiresAt.Format(time.RFC3339))
		}
	}
}

// hasDays reports whether a row ends with a day, which needs a zone.
func (f *issueFile) hasDays() bool {
	return slices.ContainsFunc(f.rows, func(r issueRow) bool { return r.day != "" })
}

// batch is a part of the rows that is issued at once: from is the first, to the one
// after the last.
type batch struct{ from, to int }

// maxBatchBytes keeps a batch within what the daemon reads at once.
const maxBatchBytes = adminwire.MaxBulk - maxIssueLine

// cutUp makes batches of the rows, always the same of the same rows, and the digest of
// all that is asked for: what was read from the file, and what was added to it.
func (f *issueFile) cutUp() (batches []batch, digest string, err error) {
	h := sha256.New()
	_, _ = io.WriteString(h, "licensed bulk issue v1\n") // a hash never fails
	size := 0
	for i, r := range f.rows {
		data, err := json.Marshal(r.BulkRow)
		if err != nil {
			return nil, "", err
		}
		if len(data) > maxIssueLine {
			f.fault(r.line, "it asks for more than %d KiB", maxIssueLine>>10)
		}
		_, _ = h.Write(append(data, '\n')) // as above
		size += len(data) + 1
		if last := len(batches) - 1; last < 0 || i-batches[last].from == maxBatch || size > maxBatchBytes {
			batches, size = append(batches, batch{i, i + 1}), len(data)+1
		} else {
			batches[last].to = i + 1
		}
	}
	return batches, hex.EncodeToString(h.Sum(nil)), nil
}
