package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"
)

// The forms of output.
const (
	formTable = "table"
	formJSON  = "json"
	formCSV   = "csv"
)

// outputFlag is the -o of a command that prints something.
func outputFlag(forms ...string) cli.Flag {
	return &cli.StringFlag{
		Name: "output", Aliases: []string{"o"}, Value: forms[0],
		Usage: "print as `FORM`: " + strings.Join(forms, ", "),
	}
}

func yesFlag() cli.Flag {
	return &cli.BoolFlag{Name: "yes", Usage: "go ahead without asking"}
}

// form reads -o and refuses what the command cannot print.
func form(c *cli.Context, forms ...string) (string, error) {
	given := strings.ToLower(c.String("output"))
	if !slices.Contains(forms, given) {
		return "", usagef("%s prints as %s, not as %q", c.Command.Name, strings.Join(forms, " or "), c.String("output"))
	}
	return given, nil
}

// writeJSON prints v as one indented document.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	return nil
}

// maxWidth is what a table may take up where the output does not know better.
const maxWidth = 100

// unbounded is more than any table takes up: nothing is cut for a file or a pipe.
const unbounded = 1 << 20

// screenWriter is standard output: it knows how wide a table may be.
type screenWriter struct {
	io.Writer
	columns int
}

func columnsOf(w io.Writer) int {
	if s, ok := w.(screenWriter); ok {
		return s.columns
	}
	return maxWidth
}

// standardOutput is as wide as its terminal, 60 columns at least.
func standardOutput(f *os.File) screenWriter {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return screenWriter{f, unbounded}
	}
	columns, _, err := term.GetSize(fd)
	if err != nil || columns <= 0 {
		columns = maxWidth
	}
	return screenWriter{f, max(columns, 60)}
}

// gap stands between two columns.
const gap = "  "

// table is aligned text. Columns that are marked as elastic give way when the
// whole would be too wide.
type table struct {
	head    []string
	elastic []bool
	rows    [][]string
	widths  []int // once set, later pages keep to them
}

// newTable names the columns; one that begins with "~" is elastic.
func newTable(columns ...string) *table {
	t := &table{}
	for _, c := range columns {
		name, elastic := strings.CutPrefix(c, "~")
		t.head, t.elastic = append(t.head, name), append(t.elastic, elastic)
	}
	return t
}

func (t *table) add(cells ...string) {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	t.rows = append(t.rows, cells)
}

// flush writes the rows so far; the first time with the heading.
func (t *table) flush(w io.Writer) error {
	rows := t.rows
	if t.widths == nil {
		t.fit(columnsOf(w))
		rows = append([][]string{slices.Clone(t.head)}, rows...)
	}
	t.rows = nil
	var b strings.Builder
	for _, row := range rows {
		for i := range row {
			if columnsOf(w) < unbounded {
				row[i] = cut(row[i], t.widths[i])
			}
			row[i] = pad(row[i], t.widths[i])
		}
		b.WriteString(strings.TrimRight(strings.Join(row, gap), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// fit chooses the widths: what the cells need, and where that is too much the
// widest of the elastic columns shrink.
func (t *table) fit(most int) {
	t.widths = make([]int, len(t.head))
	total := len(gap) * (len(t.head) - 1)
	for i, name := range t.head {
		t.widths[i] = width(name)
		for _, row := range t.rows {
			t.widths[i] = max(t.widths[i], width(row[i]))
		}
		total += t.widths[i]
	}
	const least = 6
	for ; total > most; total-- {
		widest := -1
		for i, e := range t.elastic {
			if e && t.widths[i] > max(least, width(t.head[i])) && (widest < 0 || t.widths[i] > t.widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		t.widths[widest]--
	}
}

// fields is a list of names with values, for one thing.
type fields [][2]string

func (f *fields) add(name, value string) {
	if value != "" {
		*f = append(*f, [2]string{name, value})
	}
}

func (f fields) write(w io.Writer) error {
	widest := 0
	for _, p := range f {
		widest = max(widest, width(p[0]))
	}
	var b strings.Builder
	for _, p := range f {
		b.WriteString(strings.TrimRight(pad(p[0], widest)+gap+printable(p[1]), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// writeCSV prints records with the line ends that RFC 4180 wants read by all:
// plain newlines. What a spreadsheet would calculate is made text: names come from
// buyers.
func writeCSV(w io.Writer, records ...[]string) error {
	cw := csv.NewWriter(w)
	safe := make([][]string, len(records))
	for i, r := range records {
		for _, cell := range r {
			safe[i] = append(safe[i], toCell(cell))
		}
	}
	if err := cw.WriteAll(safe); err != nil {
		return fmt.Errorf("print the list: %w", err)
	}
	return nil
}

// formulaStart are the characters by which spreadsheets know a formula, or that
// they skip before one.
const formulaStart = "=+-@\t\r\n"

// toCell puts an apostrophe before a cell that a spreadsheet would take for a
// formula, which shows it as text then. A sole "-" is none.
func toCell(s string) string {
	if s != "" && s != "-" && strings.ContainsRune(formulaStart, rune(s[0])) {
		return "'" + s
	}
	return s
}

// fromCell takes that apostrophe back.
func fromCell(s string) string {
	if len(s) > 1 && s[0] == '\'' && strings.ContainsRune(formulaStart, rune(s[1])) {
		return s[1:]
	}
	return s
}

// printable replaces what would act on a terminal instead of being shown.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return '�'
		}
		return r
	}, s)
}

// width is how many cells of a terminal s takes up.
func width(s string) (n int) {
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// runeWidth is 2 for the characters of East Asia that take two cells, 0 for
// marks that combine, else 1.
func runeWidth(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case r >= 0x1100 && (r <= 0x115f || r >= 0x2e80 && r <= 0x303e || r >= 0x3041 && r <= 0xa4cf || r >= 0xac00 && r <= 0xd7a3 ||
		r >= 0xf900 && r <= 0xfaff || r >= 0xfe30 && r <= 0xfe6f || r >= 0xff00 && r <= 0xff60 || r >= 0xffe0 && r <= 0xffe6 ||
		r >= 0x1f300 && r <= 0x1faff || r >= 0x20000 && r <= 0x3fffd):
		return 2
	}
	return 1
}

func pad(s string, to int) string { return s + strings.Repeat(" ", max(0, to-width(s))) }

// cut shortens s to a width, which an ellipsis shows.
func cut(s string, to int) string {
	if width(s) <= to {
		return s
	}
	n := 0
	for i, r := range s {
		if n += runeWidth(r); n > to-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// count words a number of things.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
