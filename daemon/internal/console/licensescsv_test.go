package console

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-357fa782/licensed/internal/adminwire"
)

// A file of licences is bounded and says so, and one that breaks off is no whole one.
func TestLicenseFileIsBounded(t *testing.T) {
	t.Parallel()
	page := func(from, n int, next string) (out adminwire.LicenseList) {
		for i := range n {
			out.Licenses = append(out.Licenses, adminwire.License{ID: "lic_" + strconv.Itoa(from+i)})
		}
		out.Next = next
		return out
	}
	write := func(rows int, second adminwire.LicenseList, fails error) (string, error) {
		var b strings.Builder
		err := writeLicenses(&b, licenseFile{
			first: page(0, 3, "x"), rows: rows, flush: func() error { return nil },
			next: func(string) (adminwire.LicenseList, error) { return second, fails },
			more: func(rows int) string { return "more than " + strconv.Itoa(rows) },
		})
		return b.String(), err
	}
	for _, tt := range []struct {
		rows, second int
		last         string
	}{{5, 2, "lic_4,"}, {5, 3, "more than 5"}, {3, 1, "more than 3"}, {2, 1, "more than 2"}, {3, 0, "lic_2,"}} {
		text, err := write(tt.rows, page(3, tt.second, ""), nil)
		lines := strings.Split(strings.TrimSpace(text), "\n")
		if err != nil || !strings.HasPrefix(lines[len(lines)-1], tt.last) {
			t.Errorf("%d rows of %d: %v, %q", tt.rows, 3+tt.second, err, lines[len(lines)-1])
		}
	}
	broken := errors.New("the store is closed")
	if _, err := write(9, adminwire.LicenseList{}, broken); !errors.Is(err, broken) {
		t.Errorf("a file that breaks off: %v", err)
	}
}

// No cell begins with what a spreadsheet takes for a formula.
func TestSafeCells(t *testing.T) {
	t.Parallel()
	got := safeCells("", "a", "=1", "+1", "-1", "@a", "\t=1", "\r=1", "1=1", "上海")
	want := []string{"", "a", "'=1", "'+1", "'-1", "'@a", "'\t=1", "'\r=1", "1=1", "上海"}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
}
