package console

import (
	"encoding/csv"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-357fa782/licensed/daemon/internal/operation"
	"github.com/seed-357fa782/licensed/internal/adminwire"
)

const (
	typeCSV = "text/csv; charset=utf-8"
	// byteOrderMark has Excel read a file as UTF-8.
	byteOrderMark = "\ufeff"
	// csvRows is how many licences a file holds at most, csvPage how many are read at
	// once, and csvStep how long a browser may take for them.
	csvRows = 200_000
	csvPage = 1000
	csvStep = 30 * time.Second
)

// licensesCSV answers with the licences that the filter selects as a file, page by page.
// Codes are in it by their last four characters only. A file that breaks off has no last
// page: the connection breaks with it.
func (v *visit) licensesCSV() {
	f := v.licenseFilter()
	f.Limit, f.Cursor = csvPage, ""
	page, err := v.api.Licenses(v.ctx(), f)
	if err != nil {
		v.refuse(err)
		return
	}
	v.attach("licenses.csv", typeCSV)
	c := http.NewResponseController(v.w)
	err = writeLicenses(v.w, licenseFile{
		first: page, rows: csvRows,
		next: func(cursor string) (adminwire.LicenseList, error) {
			f.Cursor = cursor
			return v.api.Licenses(v.ctx(), f)
		},
		flush: func() error {
			_ = c.SetWriteDeadline(time.Now().Add(csvStep)) //nolint:forbidigo // a deadline of the network, not of a record
			return c.Flush()
		},
		more: func(rows int) string { return v.site.Text(v.r, "csv.more", rows) },
	})
	if err != nil {
		v.o.Log.Warn("a file of licences was broken off", "request_id", operation.RequestID(v.ctx()), "error", err.Error())
		panic(http.ErrAbortHandler) // so that nobody takes it for whole
	}
}

// licenseFile is where the rows of a file come from.
type licenseFile struct {
	first adminwire.LicenseList
	rows  int // that it holds at most
	next  func(cursor string) (adminwire.LicenseList, error)
	flush func() error
	more  func(rows int) string // its last line, where there are more
}

func writeLicenses(to io.Writer, f licenseFile) error {
	if _, err := io.WriteString(to, byteOrderMark); err != nil {
		return err
	}
	w := csv.NewWriter(to)
	_ = w.Write([]string{ // Error tells
		"id", "code_last4", "state", "product", "customer", "order", "channel", "machines", "in_use", "trial",
		"issued_at", "activated_at", "expires_at", "revoked_at", "revoke_reason", "holds", "copies",
	})
	page := f.first
	for rows := 0; ; {
		for _, l := range page.Licenses {
			if rows++; rows > f.rows {
				_ = w.Write([]string{f.more(f.rows)})
				w.Flush()
				return w.Error()
			}
			_ = w.Write(licenseCells(l))
		}
		if w.Flush(); w.Error() != nil {
			return w.Error()
		}
		if err := f.flush(); err != nil || page.Next == "" {
			return err
		}
		next, err := f.next(page.Next)
		if err != nil {
			return err
		}
		page = next
	}
}

func licenseCells(l adminwire.License) []string {
	return safeCells(
		l.ID, l.CodeLast4, string(l.State), l.Product, l.Customer, l.Order, l.Channel, strconv.Itoa(l.Machines), strconv.Itoa(l.InUse),
		strconv.FormatBool(l.Trial), stamp(l.IssuedAt), stamp(l.ActivatedAt), stamp(l.ExpiresAt), stamp(l.RevokedAt), l.RevokeReason,
		strings.Join(l.Holds, " "), strconv.Itoa(l.Forks),
	)
}

// stamp is an instant in a file, "" for none.
func stamp(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// safeCells has a spreadsheet take no cell for a formula
// (owasp.org/www-community/attacks/CSV_Injection): buyers fill some of them.
func safeCells(cells ...string) []string {
	for i, cell := range cells {
		// The wide forms are the same to a spreadsheet in East Asia.
		if first, _ := utf8.DecodeRuneInString(cell); strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
			cells[i] = "'" + cell
		}
	}
	return cells
}
