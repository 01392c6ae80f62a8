package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-357fa782/licensed/internal/adminwire"
	"github.com/seed-357fa782/licensed/license/wire"
)

// bulkDaemon issues like the daemon does: once for each Idempotency-Key.
type bulkDaemon struct {
	server  string
	mu      sync.Mutex // held while a call is answered
	made    int
	answers map[string][]byte
	// lose makes the answers from a call on get lost, counted from 1, before or after
	// something was issued. It is more than one call: the HTTP client repeats one that
	// has a key by itself where its connection was an old one.
	lose, calls int
	before      bool
}

func newBulkDaemon(t *testing.T) *bulkDaemon {
	t.Helper()
	d := &bulkDaemon{answers: map[string][]byte{}}
	path := filepath.Join(t.TempDir(), "a.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	d.server = "unix:" + path
	s := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", wire.TypeJSON)
		if r.URL.Path == adminwire.PathStatus {
			if err := json.NewEncoder(w).Encode(adminwire.Status{Products: []string{"demo"}, TimeZone: "Asia/Shanghai"}); err != nil {
				t.Error(err)
			}
			return
		}
		if r.URL.Path != adminwire.PathBulk {
			t.Errorf("unexpected call of %s", r.URL)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		d.calls++
		if d.lost() && d.before {
			panic(http.ErrAbortHandler)
		}
		answer := d.answer(t, r)
		if d.lost() {
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(answer); err != nil {
			t.Error(err)
		}
	})}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return d
}

func (d *bulkDaemon) lost() bool { return d.lose > 0 && d.calls >= d.lose }

func (d *bulkDaemon) answer(t *testing.T, r *http.Request) []byte {
	t.Helper()
	key := r.Header.Get("Idempotency-Key")
	dry := r.URL.Query().Get("dry_run") == "true"
	if known := d.answers[key]; known != nil {
		return known
	}
	var in adminwire.BulkIssue
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.Rows) > maxBatch {
		t.Errorf("%d rows: %v", len(in.Rows), err)
	}
	out := adminwire.BulkIssued{Licenses: []adminwire.BulkLicense{}, Errors: []adminwire.BulkError{}}
	for i, row := range in.Rows {
		if row.Customer == "refused" {
			out.Errors = append(out.Errors, adminwire.BulkError{Row: i, Reason: "bad_request", Field: "features", Detail: "too many"})
		}
	}
	if len(out.Errors) == 0 {
		for _, row := range in.Rows {
			l := adminwire.BulkLicense{ExpiresAt: row.ExpiresAt}
			if !dry {
				d.made++
				l.ID, l.Code = fmt.Sprintf("lic_%05d", d.made), fmt.Sprintf("LIC-%05d", d.made)
			}
			out.Licenses = append(out.Licenses, l)
		}
	}
	data, err := json.Marshal(out)
	if err != nil {
		t.Error(err)
	}
	if !dry && len(out.Errors) == 0 {
		if key == "" {
			t.Error("a batch without an Idempotency-Key")
		}
		d.answers[key] = data
	}
	return data
}

// source writes a file of n licences.
func source(t *testing.T, n int) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("customer,order\n")
	for i := range n {
		fmt.Fprintf(&b, "\"Händler, %d\",A-%d\n", i, i)
	}
	return file(t, "in.csv", b.String())
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// issueFrom runs the command, and makes its file of codes one of just now.
func issueFrom(t *testing.T, d *bulkDaemon, from, codes string, more ...string) (int, *screen) {
	t.Helper()
	s := newScreen(t, "")
	s.talkative = true
	args := slices.Concat([]string{"licensectl", "--server", d.server, "issue", "--from", from, "--codes", codes, "--product", "demo", "--perpetual"}, more)
	if now := s.now(); codes != "" {
		if _, err := os.Stat(codes); err == nil {
			if err := os.Chtimes(codes, now, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	return d.during(func() int { return s.run(t.Context(), args) }), s
}

// during runs a command, and returns when no call is being answered any more.
func (d *bulkDaemon) during(run func() int) int {
	status := run()
	d.mu.Lock()
	defer d.mu.Unlock()
	return status
}

// wantCodes wants the codes of n licences in a file, each once.
func wantCodes(t *testing.T, path string, n int) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	records, err := csv.NewReader(bytes.NewReader(data)).ReadAll()
	if err != nil || len(records) != n+1 {
		t.Fatalf("%v: %d lines, want %d", err, len(records), n+1)
	}
	for i, r := range records[1:] {
		if want := []string{fmt.Sprint(i + 2), fmt.Sprintf("LIC-%05d", i+1), fmt.Sprintf("lic_%05d", i+1), "demo", fmt.Sprintf("Händler, %d", i), fmt.Sprintf("A-%d", i), ""}; !slices.Equal(r[:7], want) {
			t.Fatalf("%q, want %q", r, want)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v: the codes are open to others: %v", err, info.Mode())
	}
	return data
}

// A run that breaks off is gone on with by the same command, wherever it broke:
// nothing is issued twice, and no code is missing.
func TestIssueFromResumes(t *testing.T) {
	const rows = 2500
	from := source(t, rows)
	whole := func() []byte {
		d, codes := newBulkDaemon(t), filepath.Join(t.TempDir(), "codes.csv")
		if got, s := issueFrom(t, d, from, codes); got != exitDone || d.calls != 3 || !strings.Contains(s.err.String(), "issued 2000 of 2500") {
			t.Fatalf("exit %d after %d calls: %s", got, d.calls, &s.err)
		}
		return wantCodes(t, codes, rows)
	}()
	for lose := 1; lose <= 3; lose++ {
		for _, before := range []bool{true, false} {
			d, codes := newBulkDaemon(t), filepath.Join(t.TempDir(), "codes.csv")
			d.lose, d.before = lose, before
			got, s := issueFrom(t, d, from, codes)
			if want := fmt.Sprintf("the codes of %d of 2500 licences are in %s; the same command again goes on there", (lose-1)*1000, codes); got != exitFailed || !strings.Contains(s.err.String(), want) {
				t.Fatalf("exit %d: %s", got, &s.err)
			}
			d.lose = 0
			if got, s := issueFrom(t, d, from, codes); got != exitDone || d.made != rows {
				t.Fatalf("lost %d: exit %d, %d made: %s", lose, got, d.made, &s.err)
			}
			wantCodes(t, codes, rows)
			calls := d.calls
			if got, s := issueFrom(t, d, from, codes); got != exitDone || d.calls != calls || !strings.Contains(s.out.String(), "nothing changed") {
				t.Errorf("again: exit %d after %d calls: %s", got, d.calls-calls, &s.out)
			}
		}
	}
	// The file of codes as a power cut may leave it.
	d, codes := newBulkDaemon(t), filepath.Join(t.TempDir(), "codes.csv")
	if got, s := issueFrom(t, d, from, codes); got != exitDone {
		t.Fatalf("exit %d: %s", got, &s.err)
	}
	second := bytes.IndexByte(whole, '\n') + 1
	for _, left := range []int{0, 1, second - 1, second, second + 10, len(whole) / 3, len(whole) / 2, len(whole) - 1} {
		if err := os.WriteFile(codes, whole[:left], 0o600); err != nil {
			t.Fatal(err)
		}
		if got, s := issueFrom(t, d, from, codes); got != exitDone || d.made != rows {
			t.Fatalf("%d bytes left: exit %d, %d made: %s", left, got, d.made, &s.err)
		}
		if !bytes.Equal(wantCodes(t, codes, rows), whole) {
			t.Errorf("%d bytes left: the file is another", left)
		}
	}
}

// A file of codes that does not belong to the source is left as it is.
func TestIssueFromRefusesCodes(t *testing.T) {
	from := source(t, 3)
	d, codes := newBulkDaemon(t), filepath.Join(t.TempDir(), "codes.csv")
	if got, s := issueFrom(t, d, from, codes); got != exitDone {
		t.Fatalf("exit %d: %s", got, &s.err)
	}
	good := wantCodes(t, codes, 3)
	lines := strings.SplitAfter(string(good), "\n")
	for name, tt := range map[string]struct {
		text string
		from string
		more []string
		want string
	}{
		"another source":       {string(good), source(t, 4), nil, "holds the codes of other licences (line 2"},
		"other options":        {string(good), from, []string{"--machines", "2"}, "holds the codes of other licences"},
		"something else":       {"name,phone\nx,1\n", from, nil, "is no file of codes"},
		"something else, torn": {"my notes", from, nil, "is no file of codes"},
		"a line taken out":     {lines[0] + lines[2], from, nil, "line 2: it is out of order"},
		"a line twice":         {string(good) + lines[3], from, nil, "line 5: it is out of order"},
		"a line cut":           {lines[0] + "2,LIC\n", from, nil, "line 2: that is no line of codes"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(codes, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			calls := d.calls
			got, s := issueFrom(t, d, tt.from, codes, tt.more...)
			if got != exitUsage || !strings.Contains(s.err.String(), tt.want) || d.calls != calls {
				t.Errorf("exit %d after %d calls: %s", got, d.calls-calls, &s.err)
			}
			if now, err := os.ReadFile(codes); err != nil || string(now) != tt.text {
				t.Errorf("%v: the file was changed to %q", err, now)
			}
		})
	}
	if got, s := issueFrom(t, d, from, t.TempDir()); got != exitUsage || !strings.Contains(s.err.String(), "is not a file") {
		t.Errorf("a folder: exit %d: %s", got, &s.err)
	}
}

// What was begun so long ago that the daemon may have forgotten it is not gone on
// with unasked, and a batch that was issued anew is not mixed with the old.
func TestIssueFromForgotten(t *testing.T) {
	from := source(t, 2500)
	d, codes := newBulkDaemon(t), filepath.Join(t.TempDir(), "codes.csv")
	d.lose = 2
	if got, _ := issueFrom(t, d, from, codes); got != exitFailed {
		t.Fatalf("exit %d", got)
	}
	d.lose = 0
	s := newScreen(t, "")
	old := s.now().Add(-24 * time.Hour)
	if err := os.Chtimes(codes, old, old); err != nil {
		t.Fatal(err)
	}
	args := []string{"licensectl", "--server", d.server, "issue", "--from", from, "--codes", codes, "--product", "demo", "--perpetual"}
	run := func(args []string) int { return d.during(func() int { return s.run(t.Context(), args) }) }
	if got := run(args); got != exitFailed || d.made != 2000 || !strings.Contains(s.err.String(), "go on with --yes") {
		t.Errorf("exit %d, %d made: %s", got, d.made, &s.err)
	}
	if got := run(append(args, "--yes")); got != exitDone || d.made != 2500 {
		t.Errorf("exit %d, %d made: %s", got, d.made, &s.err)
	}
	data := wantCodes(t, codes, 2500)
	if err := os.WriteFile(codes, data[:len(data)-100], 0o600); err != nil {
		t.Fatal(err)
	}
	clear(d.answers)
	got, s := issueFrom(t, d, from, codes)
	if got != exitFailed || !strings.Contains(s.err.String(), "issued it again, as lic_02501") {
		t.Errorf("exit %d: %s", got, &s.err)
	}
}

// Faults are named by line, all of them, before anything is issued.
func TestIssueFromFaults(t *testing.T) {
	many := strings.Repeat("x\n", 30)
	for name, tt := range map[string]struct {
		file, text string
		more       []string
		want       []string
	}{
		"every line": {
			"in.csv", "product,expires_at,for,perpetual,machines,features,phases\n" +
				"demo,2020-01-01,,,,,\nnone,,1d,,,,\ndemo,soon,,,,,\ndemo,,x,,,,\ndemo,,1d,yes,,,\ndemo,,1d,true,,,\ndemo,,,,0,,\n" +
				"demo,,,,,=1,\ndemo,,,,,,warn\ndemo,,,,,,speed=1\ndemo,,,,,,enforcement=no\ndemo,,,,,a=1;a=2,\n\"demo\x01\",,1d,,,,\ndemo,,,,,,\n",
			nil,
			[]string{
				"line 2: the end, 2020-01-01T15:59:59Z, is not in the future", `line 3: there is no product "none"; the daemon has: demo`,
				`line 4: expires_at: "soon" is no date`, "line 5: for: ", "line 6: perpetual: ", "line 7: exactly one of expires_at, for and perpetual is needed, there are 2",
				`line 8: machines: "0" is no number`, "line 9: features: ", `line 10: phases: "warn" is not of the form`, `line 11: phases: "speed" is none of`,
				`line 12: phases enforcement "no"`, `line 13: features: a is given twice`, "line 14: product holds a character", "line 15: exactly one of",
				"in.csv: nothing was issued, 16 faults",
			},
		},
		"too many":       {"in.csv", "customer,for\n" + strings.ReplaceAll(many, "x", "x,no"), nil, []string{"line 21: for", "and 10 more", "30 faults"}},
		"header":         {"in.csv", "product,colour\nx,y\n", nil, []string{`line 1: there is no column "colour"; the columns are product, customer`}},
		"twice":          {"in.csv", "product,Product\nx,y\n", nil, []string{`line 1: the column "product" stands there twice`}},
		"semicolons":     {"in.csv", "product;customer\nx;y\n", nil, []string{"line 1: the columns must be separated by commas"}},
		"nothing":        {"in.csv", "", nil, []string{"line 1: there is no line that names the columns"}},
		"no line":        {"in.csv", "product\n", nil, []string{"line 2: there is no licence to issue"}},
		"another length": {"in.csv", "customer,order\na,b\nc\n", nil, []string{"line 3: wrong number of fields"}},
		"a quote":        {"in.csv", "customer,order\na,b\nc,\"d\n", nil, []string{"line 3"}},
		"not UTF-8":      {"in.csv", "customer\na\n\xff\n", nil, []string{"line 3: the text is not UTF-8"}},
		"JSON": {
			"in.jsonl", "{\"customer\":\"a\"}\n\n{\"colour\":1}\n{\"machines\":\"1\"}\n[]\n{}{}\n{\"features\":{\"a\":[]}}\n{\"machines\":0}\n{\"expires_at\":\"x\"}\n{\n", nil,
			[]string{`line 3: unknown field "colour"`, "line 4: machines is a string", "line 5: ", "line 6: there is something after", `line 7: features: "a"`, "line 8: machines: 0", "line 9: expires_at", "line 10: it is not a JSON object", "8 faults"},
		},
		"a long line": {"in.jsonl", `{"customer":"` + strings.Repeat("x", 70<<10) + `"}`, nil, []string{"line 1: it is longer than 64 KiB"}},
		"the daemon":  {"in.csv", "customer\na\nrefused\n", nil, []string{"line 3: features: too many", "the codes of 0 of 2 licences"}},
		"dry run":     {"in.csv", "customer\na\nrefused\n", []string{"--dry-run"}, []string{"line 3: features: too many", "nothing was issued, 1 fault"}},
	} {
		t.Run(name, func(t *testing.T) {
			d, codes := newBulkDaemon(t), filepath.Join(t.TempDir(), "codes.csv")
			got, s := issueFrom(t, d, file(t, tt.file, tt.text), codes, tt.more...)
			if name == "every line" { // these lines have ends of their own or none
				s = newScreen(t, "")
				got = s.run(t.Context(), []string{"licensectl", "--server", d.server, "issue", "--from", file(t, tt.file, tt.text), "--codes", codes, "--zone", "Asia/Shanghai"})
			}
			if got != exitFailed || d.made != 0 {
				t.Errorf("exit %d, %d made", got, d.made)
			}
			for _, want := range tt.want {
				if !strings.Contains(s.err.String(), want) {
					t.Errorf("%q is missing in:\n%s", want, &s.err)
				}
			}
		})
	}
}

// What a line says goes to the daemon as it is meant, whichever form it has.
func TestIssueFromReads(t *testing.T) {
	table := "\ufeffProduct,customer,order,expires_at,for,perpetual,machines,features,phases\r\n" +
		"demo,'=山田,A-1,2027-01-31,,,3,export=true; projects=10 ;note=a b,warn=60d; enforcement=Degrade\r\n" +
		"demo,,,2027-01-31T18:00:00+08:00,,,,,\r\n,,,,36h,,,,\r\n,,,,,TRUE,,render=false,\r\n"
	lines := `{"product":"demo","customer":"=山田","order":"A-1","expires_at":"2027-01-31","machines":3,"features":{"export":true,"projects":10,"note":"a b"},"phases":{"warn":"60d","enforcement":"degrade"}}` + "\n" +
		`{"product":"demo","expires_at":"2027-01-31T18:00:00+08:00"}` + "\n" + `{"for":"36h"}` + "\n\n" + `{"perpetual":true,"features":{"render":false}}`
	want := `[{"product":"demo","customer":"=山田","order":"A-1","expires_at":"2027-01-31T15:59:59Z","machines":3,"features":{"export":true,"note":"a b","projects":10},"phases":{"warn":"60d","enforcement":"degrade"}}` +
		`,{"product":"demo","expires_at":"2027-01-31T10:00:00Z"},{"product":"demo","for":"36h"},{"product":"demo","perpetual":true,"features":{"render":false}}]`
	shanghai, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"in.csv": table, "in.jsonl": lines} {
		f := readIssueFile(name, []byte(text), adminwire.BulkRow{Product: "demo"}, "")
		f.settle(shanghai)
		got, err := json.Marshal(wireRows(f.rows))
		if err != nil || len(f.faults) > 0 || string(got) != want {
			t.Errorf("%s: %v, %v:\n%s\nwant\n%s", name, err, f.faults, got, want)
		}
	}
}

// What a licence may have of its own can be given by line, and for the rest by the
// options; what only a line calls a trial does not get the end of the others.
func TestIssueFromPolicies(t *testing.T) {
	rest := adminwire.BulkRow{Product: "demo", For: "365d", Overage: new(1), Phases: adminwire.Phases{Warn: "60d", Lease: "30d"}}
	table := "lease,refresh,overage,trial,for,phases\n60d,12h,0,,,\n,,2,true,,grace=1d\n,,,True,7d,\n,,,false,,lease=9d;refresh=1d\n"
	lines := `{"lease":"60d","refresh":"12h","overage":0}` + "\n" + `{"overage":2,"trial":true,"phases":{"grace":"1d"}}` + "\n" +
		`{"trial":true,"for":"7d"}` + "\n" + `{"trial":false,"phases":{"lease":"9d"},"refresh":"1d"}`
	want := `[{"product":"demo","for":"365d","phases":{"warn":"60d","lease":"60d","refresh":"12h"},"overage":0}` +
		`,{"product":"demo","phases":{"grace":"1d","lease":"30d"},"overage":2,"trial":true}` +
		`,{"product":"demo","for":"7d","phases":{"warn":"60d","lease":"30d"},"overage":1,"trial":true}` +
		`,{"product":"demo","for":"365d","phases":{"warn":"60d","lease":"9d","refresh":"1d"},"overage":1}]`
	for name, text := range map[string]string{"in.csv": table, "in.jsonl": lines} {
		f := readIssueFile(name, []byte(text), rest, "")
		got, err := json.Marshal(wireRows(f.rows))
		if err != nil || len(f.faults) > 0 || string(got) != want {
			t.Errorf("%s: %v, %v:\n%s\nwant\n%s", name, err, f.faults, got, want)
		}
	}
	rest = adminwire.BulkRow{Product: "demo", For: "7d", Trial: true} // all are trials, for so long
	f := readIssueFile("in.csv", []byte("trial,customer\n,a\nfalse,b\n"), rest, "")
	if len(f.faults) > 0 || !f.rows[0].Trial || f.rows[0].For != "7d" || f.rows[1].Trial {
		t.Errorf("%v: %+v", f.faults, f.rows)
	}
	f = readIssueFile("in.csv", []byte("lease,refresh,overage,trial,perpetual,phases\n1x,,,,true,\n,,-1,,true,\n,,x,,true,\n,,,maybe,true,\n,,,true,true,\n2d,,,,true,lease=3d\n"), adminwire.BulkRow{Product: "demo"}, "")
	var got []string
	for _, bad := range f.faults {
		got = append(got, bad.String())
	}
	for i, want := range []string{"lease", "overage -1 is not between", `overage: "x"`, "neither true nor false", "a trial has an end", "given twice"} {
		if i >= len(got) || !strings.HasPrefix(got[i], fmt.Sprintf("line %d: ", i+2)) || !strings.Contains(got[i], want) {
			t.Errorf("%q: %v", want, got)
		}
	}
}

// Large rows go in smaller batches, so that none is larger than the daemon reads.
func TestIssueFromLargeRows(t *testing.T) {
	f := &issueFile{}
	for i := range 300 {
		f.add(issueRow{line: i + 2, BulkRow: adminwire.BulkRow{
			Product: "demo", Perpetual: true, Features: map[string]any{"x": strings.Repeat("y", 50<<10)},
		}})
	}
	batches, _, err := f.cutUp()
	if err != nil || len(f.faults) > 0 {
		t.Fatal(err, f.faults)
	}
	at := 0
	for _, b := range batches {
		data, err := json.Marshal(adminwire.BulkIssue{Rows: wireRows(f.rows[b.from:b.to])})
		if err != nil || b.from != at || b.to <= b.from || len(data) > adminwire.MaxBulk {
			t.Fatalf("%v: %+v has %d bytes", err, b, len(data))
		}
		at = b.to
	}
	if at != 300 {
		t.Errorf("the batches end at %d", at)
	}
}
