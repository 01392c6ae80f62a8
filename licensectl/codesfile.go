package main

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/internal/durable"
)

// codesHead are the columns of a file of codes. Each line names the digest of what
// was asked for, so that a file of codes is never gone on with for anything else.
var codesHead = []string{"line", "code", "id", "product", "customer", "order", "expires_at", "source"}

// sourceLength is how much of the digest a line holds.
const sourceLength = 32

// codesFile is the file that the codes of a bulk issue are written to, batch by batch:
// what is in it is on disk. It is open to its owner only.
type codesFile struct {
	path   string
	f      *os.File
	size   int64
	source string
	have   []string  // the ids that are in it, in the order of the rows
	last   time.Time // when it was written last
}

// openCodes opens or makes the file of codes for the rows of a source. One of other
// rows is refused; a last line that is torn is cut off, and is written again.
func openCodes(path, digest string, rows []issueRow) (*codesFile, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := durable.WriteFile(path, codesLine(codesHead), 0o600); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, fmt.Errorf("open the file of codes: %w", err)
	case !info.Mode().IsRegular():
		return nil, usagef("--codes %s is not a file", path)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("open the file of codes: %w", err)
	}
	out := &codesFile{path: path, f: f, source: digest[:sourceLength]}
	if err := out.resume(rows); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return out, nil
}

// resume reads what is there already.
func (o *codesFile) resume(rows []issueRow) error {
	if err := o.f.Chmod(0o600); err != nil {
		return err
	}
	info, err := o.f.Stat()
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(o.f, maxIssueFile+1))
	if err != nil {
		return err
	}
	if len(data) > maxIssueFile {
		return usagef("--codes %s is too large to be a file of codes", o.path)
	}
	o.last = info.ModTime()
	o.size = int64(bytes.LastIndexByte(data, '\n') + 1)
	r := csv.NewReader(bytes.NewReader(data[:o.size]))
	r.FieldsPerRecord = -1
	head, err := r.Read()
	switch {
	case errors.Is(err, io.EOF) && len(data) > 0 && !bytes.HasPrefix(codesLine(codesHead), data):
		return usagef("--codes %s is there and is no file of codes; name another", o.path)
	case errors.Is(err, io.EOF): // nothing but the beginning of the first line
		o.size = 0
		if err := o.f.Truncate(0); err != nil {
			return err
		}
		return o.append(codesLine(codesHead))
	case err != nil || !slices.Equal(head, codesHead):
		return usagef("--codes %s is there and is no file of codes; name another", o.path)
	}
	for n := 0; ; n++ {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(record) != len(codesHead) {
			return usagef("--codes %s, line %d: that is no line of codes", o.path, n+2)
		}
		if source := record[len(record)-1]; source != o.source {
			return usagef("--codes %s holds the codes of other licences (line %d: source %s, these are %s); name another file",
				o.path, n+2, printable(source), o.source)
		}
		if n >= len(rows) || record[0] != strconv.Itoa(rows[n].line) {
			return usagef("--codes %s, line %d: it is out of order; somebody has edited the file", o.path, n+2)
		}
		o.have = append(o.have, record[2])
	}
	return o.f.Truncate(o.size)
}

// put writes what was made of rows, all but the first skip, which are there.
func (o *codesFile) put(rows []issueRow, made []adminwire.BulkLicense, skip int) error {
	for i := range skip {
		if have := o.have[len(o.have)-skip+i]; have != made[i].ID {
			return fmt.Errorf("the daemon does not remember that it issued line %d as %s and has issued it again, as %s; "+
				"the licences %s to %s are not in %s", rows[i].line, have, made[i].ID, made[0].ID, made[len(made)-1].ID, o.path)
		}
	}
	var data []byte
	for i := skip; i < len(rows); i++ {
		r, m := rows[i], made[i]
		data = append(data, codesLine([]string{strconv.Itoa(r.line), m.Code, m.ID, r.Product, r.Customer, r.Order, csvTime(m.ExpiresAt), o.source})...)
	}
	if err := o.append(data); err != nil {
		return err
	}
	for _, m := range made[skip:] {
		o.have = append(o.have, m.ID)
	}
	return nil
}

// append writes at the end, and returns when it is on disk.
func (o *codesFile) append(data []byte) error {
	info, err := o.f.Stat()
	if err == nil && info.Size() != o.size {
		err = errors.New("something else is writing to it")
	}
	if err == nil {
		_, err = o.f.WriteAt(data, o.size)
	}
	if err == nil {
		err = o.f.Sync()
	}
	if err != nil {
		return fmt.Errorf("write the codes to %s: %w", o.path, err)
	}
	o.size += int64(len(data))
	return nil
}

func (o *codesFile) close() error { return o.f.Close() }

// codesLine is one line of the file. No cell holds a line end.
func codesLine(cells []string) []byte {
	var b bytes.Buffer
	_ = writeCSV(&b, cells) // a buffer takes everything
	return b.Bytes()
}
